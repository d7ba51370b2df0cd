/* look.h - what the adapters say about the steps of a plan: previews, and the state that a decision binds.
 *
 * Changes nothing in the world: only dry_run and probe are called, for all steps at once, each within the gate's
 * time. What does not answer is unknown, never an error. */
#pragma once
#include "domain/plan.h"
#include "gatekeeper/role.h"

struct step_look {
	const struct plan_step *step_ref;
	const struct operation *op; /* NULL: no loaded adapter offers it; lent */
	char *target_key; /* what budgets count by: the urn, or operation and params where there is none */
	struct gate_reply dry, probe;
	json_t *preview; /* of the dry run: {"changes","diff"}, or NULL */
	json_t *binding; /* without what earlier steps write; NULL: not bound */
	json_t *info;    /* of probe, or NULL */
	bool applied;    /* probe says that the wanted state is in place */
	bool reversible;
	char needs[256]; /* what it needs permits for, a blank between */
};

struct plan_look {
	struct step_look *step;
	size_t count;
	json_t *world;             /* per step {"binding","info"} or null */
	char world_hash[HASH_HEX]; /* "" when no step is bound */
	char args_hash[HASH_HEX];
};

struct look_ask {
	const struct gate_world *world_ref;
	const char *tenant, *case_id, *plan_hash;
	int timeout_ms;
	bool dry_run; /* previews too, not only probes */
};
void plan_look(const struct look_ask *ask, const struct plan *plan, struct plan_look *ret);
void plan_look_done(struct plan_look *look);
static inline void oc_auto_plan_look(struct plan_look *look)
{
	plan_look_done(look);
}

/* Over each step's action, target and params. */
void plan_args_hash(const struct plan *plan, char out[HASH_HEX]);
char *plan_target_key(const struct plan_step *step); /* yours */

/* What differs between two worlds, for the steps that were bound: {"steps":[{"step","field","was","is"}]}, or NULL
 * when nothing does. A step that was bound and cannot be seen any more differs. Yours. */
json_t *world_difference(const json_t *was, const json_t *is, struct text *sentence);
