#include "apps/opscased/world.h"
#include "base/mem.h"

/* ---- the gate: dry runs and probes ---- */

static const struct operation *world_operation(void *ctx, const char *name)
{
	const struct world *w = ctx;

	return operation_find(w->operations, name);
}

static void gate_call(void *ctx, const struct gate_call *call, struct gate_reply *ret)
{
	struct world *w = ctx;
	AUTO(host_answer) struct host_answer a = { 0 };
	struct oc_fail fail = { 0 };
	enum oc_err err = host_call(w->host,
				    &(struct host_call){ .entry = call->entry == GATE_DRY_RUN ? HOST_DRY_RUN
											      : HOST_PROBE,
							 .operation = call->operation,
							 .params = call->params,
							 .target = call->target,
							 .idempotency_key = call->idempotency_key,
							 .tenant = call->tenant,
							 .case_id = call->case_id,
							 .plan_hash = call->plan_hash,
							 .timeout_ms = call->timeout_ms },
				    &a, &fail);

	*ret = (struct gate_reply){ .said = GATE_NO_ANSWER };
	if (err != OC_OK) {
		ret->said = err == OC_ILLEGAL   ? GATE_NO_ENTRY
			    : err == OC_INVALID ? GATE_REFUSED
						: GATE_NO_ANSWER;
		snprintf(ret->sentence, sizeof(ret->sentence), "%.500s", fail.text);
		return;
	}
	switch (a.outcome) {
	case OPSCASE_WOULD_DO:
		ret->said = GATE_WOULD_DO;
		break;
	case OPSCASE_APPLIED:
		ret->said = GATE_APPLIED;
		break;
	case OPSCASE_NOT_APPLIED:
		ret->said = GATE_NOT_APPLIED;
		break;
	case OPSCASE_REFUSED:
		ret->said = GATE_REFUSED;
		break;
	default:
		ret->said = GATE_NO_ANSWER;
	}
	if (ret->said == GATE_NO_ANSWER || ret->said == GATE_REFUSED) {
		AUTO(json) json_t *doc = NULL;

		if (json_read_own(a.json, &doc, NULL) == OC_OK)
			snprintf(ret->sentence, sizeof(ret->sentence), "%s",
				 json_str_or(doc, "error", host_outcome_name(a.outcome)));
	}
	ret->json = TAKE(a.json);
}

struct gate_world world_for_gate(struct world *w)
{
	return (struct gate_world){ .ctx = w, .operation = world_operation, .call = gate_call };
}

/* ---- the verifier: probes and plain GETs ---- */

static enum oc_err verify_probe(void *ctx, const struct verify_probe *p, enum check_probe *ret,
				char **ret_info, struct oc_fail *reterr)
{
	struct world *w = ctx;
	AUTO(host_answer) struct host_answer a = { 0 };
	enum oc_err err = host_call(w->host,
				    &(struct host_call){ .entry = HOST_PROBE,
							 .operation = p->step->action,
							 .params = p->step->params,
							 .target = p->step->target,
							 .idempotency_key = p->idempotency_key,
							 .tenant = p->tenant,
							 .case_id = p->case_id,
							 .decision_id = p->decision_id,
							 .plan_hash = p->plan_hash,
							 .before = p->step->before,
							 .timeout_ms = 10000 },
				    &a, reterr);

	if (err != OC_OK)
		return err;
	*ret = a.outcome == OPSCASE_APPLIED       ? PROBE_IN_PLACE
	       : a.outcome == OPSCASE_NOT_APPLIED ? PROBE_NOT_IN_PLACE
						  : PROBE_UNCLEAR;
	if (ret_info)
		*ret_info = TAKE(a.json);
	return OC_OK;
}

/* Through the http adapter's probe: its list of destinations holds for the verifier as well. */
static enum oc_err verify_http(void *ctx, long long tenant_id, const char *url, int *ret_status,
			       struct oc_fail *reterr)
{
	struct world *w = ctx;
	AUTO(host_answer) struct host_answer a = { 0 };
	AUTO(json) json_t *params = json_pack("{s:s, s:i}", "url", url, "timeout_s", 10);
	AUTO(str) char *text = json_text(params);
	AUTO(json) json_t *doc = NULL;
	const json_t *status;
	enum oc_err err = host_call(w->host,
				    &(struct host_call){ .entry = HOST_PROBE,
							 .operation = "http.get",
							 .params = text,
							 .timeout_ms = 12000 },
				    &a, reterr);

	(void)tenant_id;
	if (err != OC_OK)
		return err;
	if (json_read_own(a.json, &doc, NULL) != OC_OK)
		return oc_fail(reterr, OC_UNAVAILABLE, "the http adapter's answer is not JSON");
	status = json_at(doc, "/binding/probe_status");
	if (!json_is_integer(status))
		return oc_fail(reterr, OC_UNAVAILABLE, "%s", json_str_or(doc, "error", "no answer"));
	*ret_status = (int)json_integer_value(status);
	return OC_OK;
}

struct verify_world world_for_verifier(struct world *w)
{
	return (struct verify_world){ .ctx = w, .probe = verify_probe, .http = verify_http };
}

/* ---- the executor: may it begin, and the check between two steps ---- */

enum oc_err world_may_begin(void *ctx, struct pg *pg, const struct exec_permit *ask, struct exec_leave *ret,
			    struct oc_fail *reterr)
{
	struct world *w = ctx;
	struct gate_go go = { 0 };
	enum oc_err err = gate_dispatch_check(w->gate, pg,
					      &(struct gate_dispatch){ .tenant_id = ask->tenant_id,
								       .tenant = ask->tenant,
								       .case_id = ask->case_id,
								       .plan_id = ask->plan_id,
								       .decision_id = ask->decision_id,
								       .run_id = ask->run_id,
								       .epoch = ask->epoch },
					      &go, reterr);

	if (err != OC_OK)
		return err;
	*ret = (struct exec_leave){ .go = go.go, .changed = TAKE(go.changed), .world = TAKE(go.world) };
	snprintf(ret->sentence, sizeof(ret->sentence), "%s", go.sentence);
	gate_go_done(&go);
	return OC_OK;
}

enum oc_err world_hold(void *ctx, const struct exec_hold *ask, char ret_verdict[32], char ret_sentence[512],
		       struct oc_fail *reterr)
{
	struct world *w = ctx;
	struct verify_report report = { 0 };
	struct verify_job job = {
		.who = { .tenant_id = ask->cmd->tenant_id,
                        .tenant = ask->cmd->tenant,
                        .case_id = ask->cmd->case_id,
                        .plan_hash = ask->plan_hash,
                        .decision_id = ask->decision_id },
		.plan = ask->plan,
		.verify = ask->verify,
		.keys = ask->keys,
		.began_us = ask->began_us,
		.ended_us = ask->ended_us,
		.now_us = ask->now_us,
	};
	enum oc_err err = verifier_look(w->verifier, &job, &report, reterr);

	if (err != OC_OK)
		return err;
	snprintf(ret_verdict, 32, "%s", report.later ? "" : verdict_name(report.verdict));
	snprintf(ret_sentence, 512, "%s", report.reason);
	verify_report_done(&report);
	return OC_OK;
}
