/* role.h - the planner: answers cmd.plan.generate with a plan that passed the lint, or says what is missing.
 *
 * Owns the runbooks in force and swaps them on reload; any thread may use one struct planner at once.
 * It proposes; nothing here decides. Arguments of the command (payload.args):
 *   {"template": name, "params": {..}}  that runbook; without a name the case's own wish, else the best match
 *   {"plan": {ChangePlan}}              a revision by a person: linted like any other, source `person`
 *   {"steps": [..], "rollback"?, "verify"?}  the current plan with other steps; the rest stays unless given
 *   {"mode": "rollback"}                the plan's own rollback, else one derived from the applied steps
 *   {"mode": "retry"}                   the case's current plan once more
 * A plan that did not help is refused until the evidence is another one. */
#pragma once
#include "planner/model.h"
#include "planner/template.h"
#include "worker/worker.h"

struct planner;

struct planner_config {
	const char *runbook_path;                /* folder; NULL: the built-in runbooks */
	const struct operation_list *operations; /* outlives the planner */
	/* Policy: may this tenant's plans use what needs `need`? NULL: the gate will say. Any thread. */
	bool (*permits)(void *ctx, const char *need, const char *tenant);
	void *ctx;
	struct planner_model model; /* llm_ref NULL: templates alone */
	bool advise;                /* a model's plan stands beside the template's, not before it */
	int metric_bucket_s,
		call_bucket_s;       /* settings window.metric_s, window.call_s; 0: windows are not checked */
	unsigned threads, max_batch; /* 0: 2 and 32 */
};
/* Refuses bad runbooks with file:line. */
MUST_CHECK enum oc_err planner_new(const struct planner_config *config, struct planner **ret,
				   struct oc_fail *reterr);
void planner_free(struct planner *planner);
DEFINE_AUTO(planner, struct planner *, planner_free);
/* On SIGHUP: takes the new files, or keeps the last good ones and says why. */
MUST_CHECK enum oc_err planner_reload(struct planner *planner, struct oc_fail *reterr);

/* The role for worker_start(); ctx is the planner, which must outlive the worker. */
struct role planner_role(struct planner *planner);

const struct plan_contract *planner_contract(const struct planner *planner);
json_t *planner_runbooks_json(struct planner *planner); /* for GET; yours */
/* For the API, before anything is written: would this revision be taken? `plan` is the whole plan. OC_INVALID with
 * the first pointer in reterr and all findings in ret_errors ([{"pointer","keyword","text"}], may be NULL; yours). */
MUST_CHECK enum oc_err planner_lint_revision(struct planner *planner, const char *tenant, const json_t *plan,
					     json_t **ret_errors, struct oc_fail *reterr);
