#include "store/idempotency.h"
#include <stdio.h>
#include "base/mem.h"
#include "store/tenant_tx.h"

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x

static const char sql_claim[] =
	"INSERT INTO idempotency (tenant_id, principal, route, key, body_hash, state)"
	" VALUES ($1::bigint, $2, $3, $4, $5, 'in_flight') ON CONFLICT (tenant_id, principal, route, key) DO UPDATE"
	" SET body_hash = excluded.body_hash, state = 'in_flight', status = NULL, response = NULL, created_at = now(),"
	" expires_at = now() + interval '24 hours' WHERE idempotency.expires_at < now()"
	" OR (idempotency.state = 'in_flight' AND idempotency.body_hash = excluded.body_hash"
	"  AND idempotency.created_at < now() - interval '" TEXT_OF(IDEM_TAKEOVER_S) " seconds') RETURNING 1";
static const char sql_seen[] = "SELECT body_hash, state, status, response::text FROM idempotency"
			       " WHERE tenant_id = $1::bigint AND principal = $2 AND route = $3 AND key = $4";
static const char sql_keep[] =
	"UPDATE idempotency SET state = 'done', status = $6::int, response = $7::jsonb"
	" WHERE tenant_id = $1::bigint AND principal = $2 AND route = $3 AND key = $4 AND body_hash = $5 AND state = 'in_flight'";
static const char sql_drop[] =
	"DELETE FROM idempotency WHERE tenant_id = $1::bigint AND principal = $2 AND route = $3 AND key = $4"
	" AND body_hash = $5 AND state = 'in_flight'";

void idem_answer_done(struct idem_answer *a)
{
	free(a->response);
	*a = (struct idem_answer){ 0 };
}

static enum oc_err finish(struct pg *pg, enum oc_err err, struct pg_result **rs, unsigned n,
			  struct oc_fail *reterr)
{
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, rs, n, reterr);
	if (err != OC_OK)
		pg_rollback(pg);
	return err;
}

enum oc_err idem_claim(struct pg *pg, const struct idem_ref *ref, struct idem_answer *ret,
		       struct oc_fail *reterr)
{
	struct pg_result *rs[TENANT_TX_SENT + 2] = { NULL };
	const struct pg_result *mine, *seen;
	char tenant[24];
	enum oc_err err = tenant_tx_send_begin(pg, ref->tenant_id, false, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", ref->tenant_id);
	*ret = (struct idem_answer){ .state = IDEM_MINE };
	if (err == OC_OK)
		err = pg_send(pg, sql_claim,
			      PG_ARGS(tenant, ref->principal, ref->route, ref->key, ref->body_hash), reterr);
	if (err == OC_OK)
		err = pg_send(pg, sql_seen, PG_ARGS(tenant, ref->principal, ref->route, ref->key), reterr);
	err = finish(pg, err, rs, ARRAY_LEN(rs), reterr);
	mine = rs[TENANT_TX_SENT];
	seen = rs[TENANT_TX_SENT + 1];
	if (err == OC_OK && pg_rows(mine) == 0) {
		if (pg_rows(seen) == 0)
			ret->state = IDEM_IN_FLIGHT; /* dropped in this very moment */
		else if (!str_eq(pg_text(seen, 0, 0), ref->body_hash))
			ret->state = IDEM_OTHER_BODY;
		else if (!str_eq(pg_text(seen, 0, 1), "done"))
			ret->state = IDEM_IN_FLIGHT;
		else
			*ret = (struct idem_answer){ .state = IDEM_REPLAY,
						     .status = (int)pg_int(seen, 0, 2),
						     .response = mem_strdup(pg_text_or(seen, 0, 3, "{}")) };
	}
	for (size_t i = 0; i < ARRAY_LEN(rs); i++)
		pg_result_free(rs[i]);
	return err;
}

enum oc_err idem_keep(struct pg *pg, const struct idem_ref *ref, int status, const char *response,
		      struct oc_fail *reterr)
{
	char tenant[24], code[8];
	enum oc_err err = tenant_tx_send_begin(pg, ref->tenant_id, false, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", ref->tenant_id);
	snprintf(code, sizeof(code), "%d", status);
	if (err == OC_OK)
		err = pg_send(pg, sql_keep,
			      PG_ARGS(tenant, ref->principal, ref->route, ref->key, ref->body_hash, code,
				      response),
			      reterr);
	return finish(pg, err, NULL, 0, reterr);
}

enum oc_err idem_drop(struct pg *pg, const struct idem_ref *ref, struct oc_fail *reterr)
{
	char tenant[24];
	enum oc_err err = tenant_tx_send_begin(pg, ref->tenant_id, false, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", ref->tenant_id);
	if (err == OC_OK)
		err = pg_send(pg, sql_drop,
			      PG_ARGS(tenant, ref->principal, ref->route, ref->key, ref->body_hash), reterr);
	return finish(pg, err, NULL, 0, reterr);
}
