#include "store/maintenance.h"
#include <stdio.h>
#include "base/mem.h"

#define AT(n)   "to_timestamp(" n "::bigint / 1000000.0)"
#define TS(col) "to_char(" col " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static const char sql_add[] =
	"INSERT INTO maintenance_window (id, tenant_id, starts_at, ends_at, labels, reason, created_by)"
	" VALUES ($1::uuid, $2::bigint, " AT("$3") ", " AT("$4") ", $5::jsonb, $6, $7)";
static const char sql_list[] =
	"SELECT coalesce(json_agg(json_build_object('id', m.id, 'starts_at', " TS("m.starts_at") ", 'ends_at', " TS(
		"m.ends_at") ", 'active', m.starts_at <= now() AND m.ends_at > now(), 'labels', m.labels, 'reason', m.reason,"
			     " 'created_by', m.created_by) ORDER BY m.starts_at DESC, m.id), '[]')::text FROM (SELECT * FROM maintenance_window"
			     " WHERE tenant_id = $1::bigint AND ($2::bool OR ends_at > now()) ORDER BY starts_at DESC, id LIMIT 500) m";
static const char sql_end[] =
	"WITH gone AS (DELETE FROM maintenance_window WHERE tenant_id = $1::bigint AND id = $2::uuid AND starts_at >= now() RETURNING id),"
	" over AS (UPDATE maintenance_window SET ends_at = now() WHERE tenant_id = $1::bigint AND id = $2::uuid AND starts_at < now()"
	" AND ends_at > now() RETURNING id) SELECT id FROM gone UNION ALL SELECT id FROM over";

enum oc_err maintenance_add(struct pg *pg, long long tenant_id, const struct maintenance_new *m,
			    char ret_id[UUID_TEXT], struct oc_fail *reterr)
{
	AUTO(str) char *labels = m->labels ? json_text(m->labels) : NULL;
	char tenant[24], starts[24], ends[24];

	uuid_new(ret_id);
	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(starts, sizeof(starts), "%lld", (long long)m->starts_us);
	snprintf(ends, sizeof(ends), "%lld", (long long)m->ends_us);
	return pg_query(pg, sql_add,
			PG_ARGS(ret_id, tenant, starts, ends, labels ? labels : "{}", m->reason,
				m->created_by),
			NULL, reterr);
}

enum oc_err maintenance_list(struct pg *pg, long long tenant_id, bool past, json_t **ret,
			     struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, sql_list, PG_ARGS(tenant, past ? "true" : "false"), &r, reterr);
	return err == OC_OK ? json_read_own(pg_text(r, 0, 0), ret, reterr) : err;
}

enum oc_err maintenance_end(struct pg *pg, long long tenant_id, const char *id, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, sql_end, PG_ARGS(tenant, id), &r, reterr);
	if (err == OC_OK && !pg_rows(r))
		err = oc_fail(reterr, OC_NOT_FOUND, "there is no maintenance window %s, or it is over", id);
	return err;
}
