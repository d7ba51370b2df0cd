#include "store/approval.h"
#include <stdio.h>

static const char sql_find[] =
	"SELECT d.id, d.who, d.status = 'pending' AND d.expires_at > now(), c.opened_by FROM ops_case c"
	" LEFT JOIN gate_decision d ON d.tenant_id = c.tenant_id AND d.case_id = c.id"
	"  AND CASE WHEN $3::uuid IS NULL THEN d.epoch = c.epoch ELSE d.id = $3::uuid END"
	" WHERE c.tenant_id = $1::bigint AND c.id = $2::uuid ORDER BY d.created_at DESC LIMIT 1";
static const char sql_add[] =
	"INSERT INTO approval (tenant_id, decision_id, case_id, principal, role, answer, reason)"
	" SELECT d.tenant_id, d.id, d.case_id, $4, $5, $6, $7 FROM gate_decision d"
	" WHERE d.tenant_id = $1::bigint AND d.case_id = $2::uuid AND d.id = $3::uuid AND d.status = 'pending'"
	" AND d.expires_at > now() ON CONFLICT (tenant_id, decision_id, principal) DO NOTHING RETURNING id";
static const char sql_said[] =
	"SELECT answer FROM approval WHERE tenant_id = $1::bigint AND decision_id = $2::uuid AND principal = $3";

void approval_ask_done(struct approval_ask *a)
{
	json_decref(a->who);
	*a = (struct approval_ask){ 0 };
}

enum oc_err approval_find(struct pg *pg, long long tenant_id, const char *case_id, const char *decision_id,
			  struct approval_ask *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, sql_find, PG_ARGS(tenant, case_id, decision_id), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) == 0)
		return oc_fail_field(reterr, OC_NOT_FOUND, "case_id", "no case '%s'", case_id);
	*ret = (struct approval_ask){ .pending = pg_bool(r, 0, 2) };
	snprintf(ret->opened_by, sizeof(ret->opened_by), "%s", pg_text_or(r, 0, 3, ""));
	if (!pg_text(r, 0, 0)) {
		if (decision_id)
			return oc_fail_field(reterr, OC_NOT_FOUND, "/decision_id",
					     "no decision '%s' of this case", decision_id);
		return oc_fail(reterr, OC_ILLEGAL, "no decision of this case waits for an answer");
	}
	snprintf(ret->decision_id, sizeof(ret->decision_id), "%s", pg_text(r, 0, 0));
	return json_read_own(pg_text_or(r, 0, 1, "[]"), &ret->who, reterr);
}

enum oc_err approval_add(struct pg *pg, const struct approval_new *a, bool *ret_again, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(pg_result) struct pg_result *said = NULL;
	const char *answer = a->reject ? "reject" : "approve";
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", a->tenant_id);
	err = pg_query(pg, sql_add,
		       PG_ARGS(tenant, a->case_id, a->decision_id, a->principal, a->role, answer, a->reason),
		       &r, reterr);
	if (err != OC_OK)
		return err;
	*ret_again = pg_rows(r) == 0;
	if (!*ret_again)
		return OC_OK;
	err = pg_query(pg, sql_said, PG_ARGS(tenant, a->decision_id, a->principal), &said, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(said) == 0)
		return oc_fail(reterr, OC_ILLEGAL, "the decision does not wait for an answer any more");
	if (!str_eq(pg_text(said, 0, 0), answer))
		return oc_fail(reterr, OC_CONFLICT, "%s answered '%s' already", a->principal,
			       pg_text(said, 0, 0));
	return OC_OK;
}
