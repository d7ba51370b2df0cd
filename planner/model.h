/* model.h - a plan from a model: what it is shown, what it must answer, and what is looked up again.
 *
 * Text from outside is shown between fences with a nonce, with names taken out, and what speaks to the model instead of
 * telling what happened is withheld. The answer is a document: a plan or none, and claims that cite rows. It stands only
 * if the plan passes the lint, every target was observed before the incident, and every cited value is found again. */
#pragma once
#include "contracts/plan.h"
#include "llm/llm.h"

/* What the planner asks of rooms that it does not know; any thread. */
struct planner_model {
	struct llm *llm_ref;
	/* Rows that may be cited: [{"table","keys":{"resource","metric","bucket"},"values":{"avg": n, ..}}]; yours. */
	enum oc_err (*facts)(void *ctx, long long tenant_id, const json_t *evidence, json_t **ret,
			     struct oc_fail *reterr);
	/* The same rows as they are now, for these keys. ret: the values, or NULL when there is no such row; yours. */
	enum oc_err (*cite)(void *ctx, long long tenant_id, const char *table, const json_t *keys,
			    json_t **ret, struct oc_fail *reterr);
	/* Which of these URNs were there at that time: an array of texts; yours. */
	enum oc_err (*observed)(void *ctx, long long tenant_id, const json_t *urns, int64_t at_us,
				json_t **ret, struct oc_fail *reterr);
	/* Pages about this: [{"doc_id","heading","content",...}]; yours. NULL: none are shown. */
	enum oc_err (*recall)(void *ctx, long long tenant_id, const char *question, const char *service,
			      json_t **ret, struct oc_fail *reterr);
	void *ctx;
};

struct model_case {
	long long tenant_id;
	const char *case_id, *title, *severity, *summary;
	const json_t *labels, *evidence, *finding; /* may be NULL */
	int64_t opened_us;                         /* targets must have been observed by then */
	const json_t *other_plan; /* the template's; its targets count as known. May be NULL */
};

struct model_plan {
	json_t *plan;    /* NULL: none, see why */
	json_t *meta;    /* for the timeline: provider, tokens, cost, claims, what was withheld, why none */
	json_t *doc_ids; /* pages that were shown; for their trust */
	bool none;       /* the model says that there is no plan to be made from what is known */
	char why[512];
};
void model_plan_done(struct model_plan *m);
/* Never fails: what went wrong is in why. `lint` holds the planner's own rules. */
void model_plan_make(const struct planner_model *model, const struct plan_contract *contract,
		     const struct plan_lint_options *lint, const struct model_case *c,
		     struct model_plan *ret);
/* Where two plans differ: {"steps":[..],"fingerprint":..} of the other one; NULL: they are the same repair. Yours. */
json_t *model_plan_differs(const json_t *plan, const json_t *other);
/* From a recorded call: the plan that its answer is, as it would be proposed. OC_INVALID: it holds none. Yours. */
MUST_CHECK enum oc_err model_plan_replay(const struct plan_contract *contract, const json_t *request,
					 const char *response, json_t **ret, struct oc_fail *reterr);
