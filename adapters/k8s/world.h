/* world.h - the workload and its canary as they were read, and what is said about them. Pure: no clock, no I/O. */
#ifndef K8S_WORLD_H
#define K8S_WORLD_H

#include "params.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What was read. NULL: not there, or not needed by the action. */
struct world {
	json_t *stable;  /* the workload                                                  */
	json_t *canary;  /* the Deployment <name>-canary                                  */
	json_t *history; /* [{"revision", "template", "change_cause"}], the oldest first */
};

/* Is what the action wants there already? (restart and undo: the mark of this very key) */
bool world_has(const struct params *p, const struct world *w, const char *key);
bool world_marked(const struct world *w, const char *key);

bool runs_image(const json_t *object, const char *container, const char *image);
bool same_template(const json_t *a, const json_t *b);
bool canary_is_ours(const json_t *canary, const char *stable_name);
/* The workload's replicas before its canary, as noted on the canary; -1 when nothing is. */
int64_t noted_replicas(const json_t *canary);
/* The replicas that a weight divides: those asked for, else those noted on the canary, else all there are. */
int64_t weight_total(const struct params *p, const struct world *w);

/* What a decision is bound to, and what undo and people need. New references. */
json_t *world_binding(const struct params *p, const struct world *w);
json_t *world_info(const struct params *p, const struct world *w, const char *key);
/* Members of `expected` that `found` does not hold the same, as [names]; NULL when all agree. New reference. */
json_t *binding_differs(const json_t *expected, const json_t *found);
/* Was nothing that the step is about changed between two readings of one object? */
bool object_unchanged(const struct params *p, const json_t *seen, const json_t *now);

/* The history of an owner from a list of ReplicaSets or ControllerRevisions. New reference. */
json_t *history_of(const json_t *list, const char *owner_uid);

#endif
