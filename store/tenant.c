#include "store/tenant.h"
#include <stdio.h>
#include "base/mem.h"

static const char sql_create[] =
	"INSERT INTO dim_tenant (code, name, labels) VALUES ($1, $2, $3::jsonb) ON CONFLICT DO NOTHING RETURNING tenant_id";
static const char sql_find[] =
	"SELECT tenant_id, code FROM opscase_tenant_by_code($1) WHERE disabled_at IS NULL";
static const char sql_list[] =
	"SELECT coalesce(json_agg(json_build_object('tenant_id', tenant_id, 'code', code, 'name', name, 'labels', labels,"
	" 'disabled', disabled_at IS NOT NULL, 'created_at',"
	" to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) ORDER BY tenant_id), '[]')::text"
	" FROM dim_tenant WHERE $1::bigint = 0 OR tenant_id = $1::bigint";

static bool code_ok(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	return n >= 1 && n <= 63 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n && *s != '_' &&
	       *s != '-';
}

enum oc_err tenant_create(struct pg *pg, const char *code, const char *name, const json_t *labels,
			  struct tenant *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str) char *text = labels ? json_text(labels) : mem_strdup("{}");
	enum oc_err err;

	/* The code is a token of every bus subject and a word in every URL: no dots, blanks or wildcards. */
	if (!code_ok(code))
		return oc_fail_field(reterr, OC_INVALID, "/code",
				     "a code has 1 to 63 of a-z 0-9 _ -, and begins with a letter or digit");
	err = pg_query(pg, sql_create, PG_ARGS(code, str_empty(name) ? code : name, text), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) == 0)
		return oc_fail_field(reterr, OC_CONFLICT, "/code", "there is a tenant '%s' already", code);
	ret->id = pg_int(r, 0, 0);
	snprintf(ret->code, sizeof(ret->code), "%s", code);
	return OC_OK;
}

enum oc_err tenant_find(struct pg *pg, const char *code, struct tenant *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err;

	if (!code_ok(code))
		return oc_fail_field(reterr, OC_NOT_FOUND, "/tenant", "no tenant '%s'", code ? code : "");
	err = pg_query(pg, sql_find, PG_ARGS(code), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) == 0)
		return oc_fail_field(reterr, OC_NOT_FOUND, "/tenant",
				     "no tenant '%s'; opscase tenant create %s", code, code);
	ret->id = pg_int(r, 0, 0);
	snprintf(ret->code, sizeof(ret->code), "%s", pg_text_or(r, 0, 1, ""));
	return OC_OK;
}

enum oc_err tenant_list(struct pg *pg, long long tenant_id, json_t **ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char id[24];
	enum oc_err err;

	snprintf(id, sizeof(id), "%lld", tenant_id);
	err = pg_query(pg, sql_list, PG_ARGS(id), &r, reterr);
	return err == OC_OK ? json_read_own(pg_text(r, 0, 0), ret, reterr) : err;
}
