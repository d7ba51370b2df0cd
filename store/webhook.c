#include "store/webhook.h"
#include <stdio.h>

static const char sql_remember[] =
	"INSERT INTO webhook_delivery (id, tenant_id, source, dedup_key, body) VALUES (gen_random_uuid(), $1::bigint, $2, $3, $4::jsonb)"
	" ON CONFLICT (tenant_id, source, dedup_key) DO NOTHING";

enum oc_err webhook_remember(struct pg *pg, long long tenant_id, const char *source, const char *key,
			     const json_t *body, bool *ret_seen, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str) char *text = json_text(body);
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, sql_remember, PG_ARGS(tenant, source, key, text), &r, reterr);
	if (err == OC_OK)
		*ret_seen = pg_affected(r) == 0;
	return err;
}
