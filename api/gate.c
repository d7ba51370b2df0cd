/* gate.c - POST /gate/eval, and what people answer: approve, reject. Nothing is decided here. */
#include <stdio.h>
#include "api/drive.h"
#include "base/mem.h"
#include "store/approval.h"
#include "store/tenant_tx.h"

static void gate_answer(struct drive *d, int epoch)
{
	if (!drive_while(d, CASE_WAIT_GATE, epoch, "cmd.gate.eval"))
		return;
	drive_done(d);
}

void gate_eval(struct api_call *c)
{
	__attribute__((cleanup(oc_auto_drive))) struct drive d = { 0 };
	int epoch = 0;

	if (!drive_begin(&d, c, json_str(c->body, "case_id")))
		return;
	if (d.now.state == CASE_PLANNING && d.now.command == CASE_COMMAND_OUT &&
	    !drive_while(&d, CASE_PLANNING, d.now.epoch, "cmd.plan.generate"))
		return;
	if (!drive_event(&d, EV_ASK_GATE, NULL, &epoch))
		return;
	gate_answer(&d, epoch);
}

/* Without the gate's own check: the roles that the decision names, and never the one who opened the case. */
static enum oc_err may_answer(struct api_call *c, struct pg *pg, const char *case_id, const char *decision_id,
			      const char *reason, bool reject, char ret_decision[40], struct oc_fail *reterr)
{
	__attribute__((cleanup(approval_ask_done))) struct approval_ask ask = { 0 };
	const char *role = token_role_name(c->who.role);
	bool named = false;
	json_t *v;
	size_t i;
	enum oc_err err;

	if (c->deps->may_approve)
		return c->deps->may_approve(c->deps->ctx, pg, c->tenant_id, case_id, decision_id, c->who.name,
					    role, reason, reject, ret_decision, reterr);
	err = approval_find(pg, c->tenant_id, case_id, decision_id, &ask, reterr);
	if (err != OC_OK)
		return err;
	if (!ask.pending)
		return oc_fail(reterr, OC_ILLEGAL, "no decision of this case waits for an answer");
	json_array_foreach(ask.who, i, v) named = named || str_eq(json_string_value(v), role);
	if (json_array_size(ask.who) == 0)
		named = c->who.role == ROLE_APPROVER || c->who.role == ROLE_ADMIN;
	if (!named)
		return oc_fail(reterr, OC_FORBIDDEN, "this decision is not for role '%s' to answer", role);
	if (!reject && str_eq(ask.opened_by, c->who.name))
		return oc_fail(
			reterr, OC_FORBIDDEN,
			"'%s' opened this case and cannot approve its plan; another person can: opscase token create "
			"NAME --role approver",
			c->who.name);
	snprintf(ret_decision, 40, "%s", ask.decision_id);
	return OC_OK;
}

/* Under row-level security, in one transaction: look, and write the answer down. */
static enum oc_err write_down(struct api_call *c, bool reject, char ret_decision[40], struct oc_fail *reterr)
{
	const char *reason = json_str(c->body, "reason");
	struct approval_new row = { .tenant_id = c->tenant_id,
				    .case_id = c->path_id,
				    .principal = c->who.name,
				    .role = token_role_name(c->who.role),
				    .reason = reason,
				    .reject = reject };
	struct pg *pg = NULL;
	bool again = false;
	enum oc_err err = call_take_pg(c, API_POOL, &pg, reterr);

	if (err != OC_OK)
		return err;
	err = tenant_tx_send_begin(pg, c->tenant_id, false, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, NULL, 0, reterr);
	if (err == OC_OK)
		err = may_answer(c, pg, c->path_id, json_str(c->body, "decision_id"), reason, reject,
				 ret_decision, reterr);
	if (err == OC_OK) {
		row.decision_id = ret_decision;
		err = approval_add(pg, &row, &again, reterr);
	}
	if (err == OC_OK)
		err = pg_commit(pg, reterr);
	if (err != OC_OK)
		pg_rollback(pg);
	pg_pool_give(c->deps->api_pool, pg);
	return err;
}

static void answer(struct api_call *c, bool reject)
{
	__attribute__((cleanup(oc_auto_drive))) struct drive d = { 0 };
	AUTO(json) json_t *args = NULL;
	struct oc_fail fail = { 0 };
	char decision[40] = "";
	int epoch = 0;

	if (reject && str_empty(json_str(c->body, "reason"))) {
		oc_fail_field(&fail, OC_INVALID, "/reason", "say why it is rejected");
		call_problem(c, &fail, NULL);
		return;
	}
	if (!drive_begin(&d, c, c->path_id))
		return;
	if (write_down(c, reject, decision, &fail) != OC_OK) {
		call_refused(c, c->path_id, &fail);
		return;
	}
	/* The row counts nothing by itself: the gate is asked to count again. A crash in between loses nothing either,
	 * since whoever says the same again asks again. */
	args = json_pack("{s:s}", "decision_id", decision);
	if (!drive_event(&d, EV_ASK_GATE, args, &epoch))
		return;
	gate_answer(&d, epoch);
}

void case_approve(struct api_call *c)
{
	answer(c, false);
}
void case_reject(struct api_call *c)
{
	answer(c, true);
}
