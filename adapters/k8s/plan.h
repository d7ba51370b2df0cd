/* plan.h - from params and the world as read, to the writes that are needed. Pure: no clock, no I/O.
 *
 * Run, dry run and undo share it, so a preview cannot differ from what is done. */
#ifndef K8S_PLAN_H
#define K8S_PLAN_H

#include "params.h"
#include "world.h"

#include <opscase/adapter.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum work_how { WORK_PATCH, WORK_CREATE, WORK_DELETE };

/* One write. Members that are NULL or -1 leave things as they are. */
struct work {
	enum work_how how;
	bool canary;    /* on the canary, else on the workload        */
	bool mark;      /* leave the step's key                       */
	json_t *images; /* container -> image                         */
	int64_t replicas;
	json_t *restarted;   /* text; null takes the annotation away       */
	json_t *template;    /* the whole pod template                     */
	json_t *annotations; /* of the object; null takes one away         */
	json_t *body;        /* of a CREATE                                */
};

struct plan {
	struct work works[4];
	size_t n;
	enum opscase_outcome outcome; /* when it could not be made */
	char why[768];
};

/* False when it cannot be done: `outcome` and `why` are set. n == 0: nothing is left to do. */
bool plan_make(const struct params *p, const struct world *w, const char *key, const char *now,
	       struct plan *ret_plan);
/* Back to what `before` (an `info` of world_info) says. */
bool plan_undo(const struct params *p, const struct world *w, const json_t *before, struct plan *ret_plan);
void plan_done(struct plan *plan);

/* The strategic merge patch of a WORK_PATCH, tied to the uid and resourceVersion of `object`. New reference. */
json_t *work_patch(const struct work *work, const json_t *object, const char *key);

/* In preview.c: [{"what","from","to"}] and the text for the approver. New references. */
void plan_changes(const struct params *p, const struct world *w, const struct plan *plan,
		  json_t **ret_changes, json_t **ret_diff);

#endif
