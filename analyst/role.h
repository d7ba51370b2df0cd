/* role.h - the analyst: hears cmd.analysis.run, gathers the evidence that the case names, looks for the root cause,
 * writes a finding row with the values, answers evt.analysis.findings.v1.
 *
 * A case names its evidence: [{"kind":"metric","resource":URN,"metric":NAME,"from"?,"to"?,"window_s"?}]. A case with the
 * label "resource" (a URN) gets everything that was measured there in the last half hour as well. The body's
 * "root_cause" is cause.h's ranking over what the alarmed resource calls, each answer with rows that can be opened and the calls that lead
 * there. That nothing was named, or nothing was measured, is a finding, and it says so. Only a
 * source that could not be asked is a failure (evt.analysis.failed.v1).
 *
 * With a model, it looks further (investigate.h): the body's "model" is what it says. Its hypotheses stand beside the root cause, and the
 * finding's confidence is never more than it was without. That a model fails changes nothing. Thread-safe. */
#pragma once
#include "llm/llm.h"
#include "worker/worker.h"

/* What the analyst asks of rooms that it does not know; llm_ref NULL: there is no model. */
struct analyst_model {
	struct llm *llm_ref;
	/* Pages about this: [{"doc_id","heading","content",..}]; yours. */
	enum oc_err (*recall)(void *ctx, long long tenant_id, const char *question, const char *service,
			      json_t **ret, struct oc_fail *reterr);
	void *ctx;
};

struct analyst_config {
	struct analyst_model model;
	int look_back_s; /* 0: 1800 */
	int threads;     /* 0: 2 */
};

struct analyst;
/* `pool` (as opscase_worker) is lent and outlives it. */
struct analyst *analyst_new(const struct analyst_config *config, struct pg_pool *pool);
void analyst_free(struct analyst *a);
DEFINE_AUTO(analyst, struct analyst *, analyst_free);
struct role analyst_role(struct analyst *a); /* for worker_start(); points into a */
