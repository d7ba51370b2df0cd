/* params.h - the params of k8s.rollout, checked again: what comes in was never worth trusting. Pure. */
#ifndef K8S_PARAMS_H
#define K8S_PARAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum work_kind { KIND_DEPLOYMENT, KIND_STATEFULSET, KIND_DAEMONSET };

enum work_action {
	ACTION_RESTART,
	ACTION_SET_IMAGE,
	ACTION_SCALE,
	ACTION_UNDO,
	ACTION_STATUS,
	ACTION_CANARY,
	ACTION_WEIGHT,
	ACTION_PROMOTE,
};

struct params {
	json_t *json; /* owns the texts below */
	enum work_kind kind;
	enum work_action action;
	const char *namespace_name, *name, *container, *image; /* the last two may be NULL */
	char canary_name[260];
	int64_t replicas;    /* -1: not given */
	int64_t to_revision; /* 0: the one before */
	int64_t weight;      /* -1: not given */
};

const char *kind_word(enum work_kind kind);   /* "deployment" */
const char *kind_plural(enum work_kind kind); /* "deployments", as in the API's paths */
bool action_has_canary(enum work_action action);

/* False with a sentence if they make no sense. params_done afterwards in any case. */
bool params_parse(const char *text, struct params *ret_params, char *ret_why, size_t why_size);
void params_done(struct params *params);

/* The canary's share of `total` pods. False where it cannot be (one pod shared by two). */
bool weight_share(int64_t total, int64_t weight, int64_t *ret_canary, int64_t *ret_stable);

#endif
