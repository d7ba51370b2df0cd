/* exec.c - POST /adapter/exec: carry the approved plan out, or another one once the gate has seen it. */
#include "api/drive.h"
#include "api/revision.h"
#include "base/mem.h"
#include "contracts/plan.h"

/* The plan that the case has now; NULL without an answer given when it has none. */
static bool current_plan(struct drive *d, json_t **ret)
{
	struct oc_fail fail = { 0 };
	struct pg *pg;
	enum oc_err err;

	*ret = NULL;
	if (!d->now.plan_id[0])
		return true;
	pg = call_api_pg(d->c);
	if (!pg)
		return false;
	err = case_plan(pg, d->c->tenant_id, d->case_id, d->now.plan_id, ret, &fail);
	pg_pool_give(d->c->deps->api_pool, pg);
	if (err == OC_OK || err == OC_NOT_FOUND)
		return true;
	call_problem(d->c, &fail, NULL);
	return false;
}

static bool lint(struct api_call *c, const json_t *plan)
{
	struct plan_lint_options options = {
		.tenant = c->tenant, .none_allowed = true, .permits = c->deps->permits, .ctx = c->deps->ctx
	};
	struct plan_findings *found = mem_alloc(sizeof(*found));
	struct oc_fail fail = { 0 };
	bool fine = true;

	if (c->deps->contract_ref &&
	    plan_lint(c->deps->contract_ref, plan, &options, found, &fail) != OC_OK) {
		json_t *more = json_object();

		json_object_set_new(more, "errors", plan_findings_json(found));
		if (fail.err == OC_OK)
			fail.err = OC_INVALID;
		call_problem(c, &fail, more);
		fine = false;
	}
	free(found);
	return fine;
}

/* The gate said no to the plan that came with this call: the call as such is what is not acceptable. */
static void revision_refused(struct drive *d, const char *what)
{
	struct oc_fail fail = { 0 };
	json_t *more = json_object();

	oc_fail(&fail, OC_INVALID, "%s: %s", what,
		json_str_or(d->now.json, "sentence", case_reason_sentence(d->now.reason)));
	json_object_set_new(more, "case", case_present(TAKE(d->now.json)));
	call_problem(d->c, &fail, more);
}

/* From a revision to EXECUTING, as a person would go: wait for the lint, ask the gate. False: answered. */
static bool through_the_gate(struct drive *d, const json_t *plan)
{
	AUTO(json) json_t *args = json_pack("{s:O}", "plan", plan);
	int epoch = 0;

	if (!drive_event(d, EV_PLAN_REVISED, args, &epoch) ||
	    !drive_while(d, CASE_PLANNING, epoch, "cmd.plan.generate"))
		return false;
	if (d->now.state == CASE_PARKED) {
		revision_refused(d, "the revised plan was not taken");
		return false;
	}
	if (d->now.state == CASE_WAIT_GATE) {
		if (!drive_event(d, EV_ASK_GATE, NULL, &epoch) ||
		    !drive_while(d, CASE_WAIT_GATE, epoch, "cmd.gate.eval"))
			return false;
	}
	if (d->now.state == CASE_PARKED) {
		revision_refused(d, "the gate did not let the revised plan through");
		return false;
	}
	return true;
}

/* Did the call before us, under the same key, get as far as the revision? Then the plan is the case's already. */
static bool differs(const json_t *current, const json_t *wanted)
{
	return !json_equal(current, wanted);
}

void adapter_exec(struct api_call *c)
{
	__attribute__((cleanup(oc_auto_drive))) struct drive d = { 0 };
	AUTO(json) json_t *current = NULL;
	AUTO(json) json_t *wanted = NULL;
	struct oc_fail fail = { 0 };
	int epoch = 0;

	if (!drive_begin(&d, c, json_str(c->body, "case_id")))
		return;
	if (!revision_empty(c->body)) {
		if (!current_plan(&d, &current))
			return;
		if (revision_plan(current, c->body, c->deps->operations_ref, &wanted, &fail) != OC_OK) {
			call_problem(c, &fail, NULL);
			return;
		}
		if (differs(current, wanted) && (!lint(c, wanted) || !through_the_gate(&d, wanted)))
			return;
	}
	if (d.now.state == CASE_WAIT_GATE && d.now.command != CASE_COMMAND_NONE &&
	    !drive_while(&d, CASE_WAIT_GATE, d.now.epoch, "cmd.gate.eval"))
		return;
	if (!drive_event(&d, EV_ASK_EXEC, NULL, &epoch) ||
	    !drive_while(&d, CASE_EXECUTING, epoch, "cmd.exec.run"))
		return;
	/* The world changed between decision and dispatch: nothing ran, the gate has it again. */
	if (d.now.state == CASE_WAIT_GATE) {
		drive_pending(&d, "cmd.gate.eval");
		return;
	}
	drive_done(&d);
}
