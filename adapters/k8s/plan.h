/* plan.h - from params and the world as read, to the writes that are needed. Pure: no clock, no I/O.
 *
 * Run, dry run and undo share it, so a preview cannot differ from what is done. */
#ifndef K8S_PLAN_H
#define K8S_PLAN_H

#include "params.h"

#include <opscase/adapter.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What was read. NULL: not there, or not needed by the action. */
struct world {
	json_t *stable;  /* the workload                                                  */
	json_t *canary;  /* the Deployment <name>-canary                                  */
	json_t *history; /* [{"revision", "template", "change_cause"}], the oldest first */
};

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

/* Is what the action wants there already? (restart and undo: the mark of this very key) */
bool world_has(const struct params *p, const struct world *w, const char *key);
bool world_marked(const struct world *w, const char *key);

/* False when it cannot be done: `outcome` and `why` are set. n == 0: nothing is left to do. */
bool plan_make(const struct params *p, const struct world *w, const char *key, const char *now,
	       struct plan *ret_plan);
/* Back to what `before` (an `info` of world_info) says. */
bool plan_undo(const struct params *p, const struct world *w, const json_t *before, struct plan *ret_plan);
void plan_done(struct plan *plan);

/* The strategic merge patch of a WORK_PATCH, tied to the uid and resourceVersion of `object`. New reference. */
json_t *work_patch(const struct work *work, const json_t *object, const char *key);

/* [{"what","from","to"}] and the text for the approver. New references. */
void plan_changes(const struct params *p, const struct world *w, const struct plan *plan,
		  json_t **ret_changes, json_t **ret_diff);

/* What a decision is bound to, and what undo and people need. New references. */
json_t *world_binding(const struct params *p, const struct world *w);
json_t *world_info(const struct params *p, const struct world *w, const char *key);
/* Members of `expected` that `found` does not hold the same, as [names]; NULL when all agree. New reference. */
json_t *binding_differs(const json_t *expected, const json_t *found);
/* Was nothing that the step is about changed between two readings of one object? */
bool object_unchanged(const struct params *p, const json_t *seen, const json_t *now);

/* The history of an owner from a list of ReplicaSets or ControllerRevisions. New reference. */
json_t *history_of(const json_t *list, const char *owner_uid);
bool canary_is_ours(const json_t *canary, const char *stable_name);

#endif
