#include "store/signal.h"
#include <stdio.h>

#define AT(n) "to_timestamp(" n "::bigint / 1000000.0)"
/* What is measured here; other people's alerts have been grouped by whoever sent them. */
#define OURS  "'analyst', 'slo'"

static const char sql_raise[] =
	"WITH s AS (INSERT INTO signal (tenant_id, fingerprint, source, kind, resource, title, summary, severity, labels, evidence,"
	" confidence, first_at, last_at, ready_at) VALUES ($1::bigint, $2, $3, $4, $5, $6, $7, $8::severity, $9::jsonb,"
	" $10::jsonb, $11::float8, " AT("$13") ", " AT("$13") ", " AT(
		"$13") " + make_interval(secs => $14::int))"
		       " ON CONFLICT (tenant_id, fingerprint) WHERE status = 'open' DO UPDATE SET times = signal.times + 1,"
		       " last_at = greatest(signal.last_at, excluded.last_at), severity = greatest(signal.severity, excluded.severity),"
		       " confidence = greatest(signal.confidence, excluded.confidence) RETURNING signal_id, tenant_id, (xmax = 0) AS fresh),"
		       " e AS (INSERT INTO event_envelope (event_id, detected_at, tenant_id, resource_id, severity, kind, title, summary, labels,"
		       " fingerprints) SELECT s.signal_id, " AT(
			       "$13") ", s.tenant_id, (SELECT resource_id FROM dim_resource r WHERE r.tenant_id ="
				      " s.tenant_id AND r.urn = $5), $8::severity, $4, $6, $7, $9::jsonb, jsonb_build_object('signal', $2, 'source', $3)"
				      " FROM s WHERE s.fresh RETURNING event_id, tenant_id),"
				      " l AS (INSERT INTO evidence_link (event_id, tenant_id, dim, ref_pg, note) SELECT e.event_id, e.tenant_id, x.v->>'dim',"
				      " x.v->'ref_pg', x.v->>'note' FROM e, jsonb_array_elements($12::jsonb) AS x(v) ON CONFLICT DO NOTHING)"
				      " SELECT fresh FROM s";

static const char sql_clear[] = "UPDATE signal SET status = 'cleared', cleared_at = greatest(first_at, " AT(
	"$3") ")"
	      " WHERE tenant_id = $1::bigint AND fingerprint = $2 AND status = 'open' AND first_at <= " AT(
		      "$3");

/* A calls or needs b: measured within the hour, or as the topology has it. Arguments: tenant, ids of resources, now. */
#define CALLS(t, a, b, now)                                                                                   \
	"(EXISTS (SELECT FROM service_call_5m cc WHERE cc.tenant_id = " t " AND cc.src_resource_id = " a      \
	" AND cc.dst_resource_id = " b " AND cc.bucket > " AT(                                                \
		now) " - interval '1 hour') OR EXISTS (SELECT FROM topo_edge_time ee WHERE ee.tenant_id = " t \
		     " AND ee.src_resource_id = " a " AND ee.dst_resource_id = " b                            \
		     " AND ee.valid @> " AT(now) "))"

/* What is known of the resource goes into the case below the signal's own labels: runbooks find there what to do. */
#define KNOWN_LABELS                                                                                                                \
	"((coalesce((SELECT jsonb_object_agg(k, v) FROM (SELECT k, v FROM jsonb_each(r.labels) AS x (k, v) WHERE"                   \
	" jsonb_typeof(v) = 'string' AND length(v #>> '{}') <= 256 AND length(k) <= 64 ORDER BY k LIMIT 32) y), '{}') || s.labels)" \
	" - 'storm')::text"

/* Where a caller's signal is still in its debounce, its callee's waits: the end nearer to the customer opens the case. */
const char SQL_SIGNAL_DUE[] =
	"SELECT s.signal_id, s.tenant_id, t.code, s.fingerprint, s.title, s.summary, s.severity, " KNOWN_LABELS
	", s.evidence::text,"
	" s.source, s.resource, c.id, c.status <> 'CLOSED', (extract(epoch FROM c.closed_at) * 1000000)::bigint"
	" FROM signal s JOIN dim_tenant t ON t.tenant_id = s.tenant_id AND t.disabled_at IS NULL"
	" LEFT JOIN dim_resource r ON r.tenant_id = s.tenant_id AND r.urn = s.resource LEFT JOIN LATERAL ("
	" SELECT coalesce(oc.parent_id, oc.id) AS root FROM signal o JOIN ops_case oc ON oc.tenant_id = o.tenant_id AND oc.id = o.case_id"
	" WHERE o.tenant_id = s.tenant_id AND o.fingerprint = s.fingerprint AND o.case_id IS NOT NULL AND o.signal_id <> s.signal_id"
	" ORDER BY o.first_at DESC LIMIT 1) e ON true"
	" LEFT JOIN ops_case c ON c.tenant_id = s.tenant_id AND c.id = e.root"
	" LEFT JOIN LATERAL (SELECT bool_or(o.ready_at > " AT(
		"$1") ") AS waits, true AS called FROM signal o JOIN dim_resource q ON"
		      " q.tenant_id = o.tenant_id AND q.urn = o.resource WHERE o.tenant_id = s.tenant_id AND o.status = 'open' AND o.case_id IS NULL"
		      " AND o.resource <> s.resource AND o.confidence >= $2::float8 AND " CALLS(
			      "s.tenant_id", "q.resource_id", "r.resource_id",
			      "$1") " HAVING count(*) > 0) up ON s.source IN (" OURS ")"
				    " WHERE s.status = 'open' AND s.case_id IS NULL AND s.ready_at <= " AT(
					    "$1") " AND s.confidence >= $2::float8 AND up.waits IS NOT TRUE"
						  " AND NOT EXISTS (SELECT FROM maintenance_window m WHERE m.tenant_id = s.tenant_id AND m.starts_at <= " AT(
							  "$1") " AND m.ends_at > " AT("$1") " AND s.labels @> m.labels)"
											     " ORDER BY s.tenant_id, up.called NULLS FIRST, s.ready_at, s.signal_id LIMIT $3::int";

/* The oldest: later ones would have joined it, too. */
const char SQL_SIGNAL_NEAR[] =
	"SELECT c.id FROM signal s JOIN dim_resource r ON r.tenant_id = s.tenant_id AND r.urn = s.resource"
	" JOIN signal o ON o.tenant_id = s.tenant_id AND o.case_id IS NOT NULL AND o.source IN (" OURS ")"
	" JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id AND c.status <> 'CLOSED' AND c.opened_by = 'service:analyst'"
	" AND c.created_at > " AT(
		"$3") " - make_interval(secs => $4::int) JOIN dim_resource q ON q.tenant_id = o.tenant_id AND q.urn = o.resource"
		      " WHERE s.tenant_id = $1::bigint AND s.signal_id = $2::uuid AND s.source IN (" OURS
		      ") AND (q.resource_id = r.resource_id OR " CALLS(
			      "s.tenant_id", "q.resource_id", "r.resource_id",
			      "$3") " OR " CALLS("s.tenant_id", "r.resource_id", "q.resource_id",
						 "$3") ") ORDER BY c.created_at, c.id LIMIT 1";

const char SQL_SIGNAL_STORM[] =
	"SELECT (SELECT count(*) FROM signal s JOIN ops_case c ON c.tenant_id = s.tenant_id AND c.id = s.case_id WHERE s.tenant_id ="
	" $1::bigint AND s.last_at > " AT("$2") " - make_interval(secs => $3::int) AND c.created_at > " AT(
		"$2") " - make_interval(secs => $3::int)), (SELECT c.id FROM ops_case c JOIN case_body b ON b.tenant_id = c.tenant_id AND b.case_id = c.id"
		      " WHERE c.tenant_id = $1::bigint AND c.status <> 'CLOSED' AND c.opened_by = 'service:analyst' AND b.labels @> '{\"storm\":\"true\"}'"
		      " ORDER BY c.created_at DESC LIMIT 1)";

const char SQL_SIGNAL_ATTACH[] =
	"WITH s AS (UPDATE signal SET case_id = $3::uuid WHERE tenant_id = $1::bigint AND signal_id = $2::uuid RETURNING signal_id)"
	" UPDATE event_envelope e SET case_id = $3::uuid FROM s WHERE e.tenant_id = $1::bigint AND e.event_id = s.signal_id";

/* A child that was merged speaks for its parent. */
const char SQL_SIGNAL_ENDED[] =
	"SELECT r.tenant_id, r.root FROM (SELECT DISTINCT c.tenant_id, coalesce(c.parent_id, c.id) AS root FROM signal s JOIN ops_case c"
	" ON c.tenant_id = s.tenant_id AND c.id = s.case_id WHERE s.status = 'cleared' AND s.told_at IS NULL AND s.case_id IS NOT NULL) r"
	" WHERE NOT EXISTS (SELECT FROM signal o JOIN ops_case oc ON oc.tenant_id = o.tenant_id AND oc.id = o.case_id"
	" WHERE o.status = 'open' AND o.tenant_id = r.tenant_id AND (oc.id = r.root OR oc.parent_id = r.root)) LIMIT $1::int";

const char SQL_SIGNAL_TOLD[] = "UPDATE signal s SET told_at = " AT(
	"$3") " FROM ops_case c WHERE s.tenant_id = $1::bigint AND c.tenant_id = s.tenant_id"
	      " AND c.id = s.case_id AND coalesce(c.parent_id, c.id) = $2::uuid AND s.status = 'cleared' AND s.told_at IS NULL";

const char SQL_LOG_SIGNALS_OVER[] =
	"UPDATE signal SET status = 'cleared', cleared_at = greatest(first_at, " AT(
		"$1") ") WHERE status = 'open' AND source = 'analyst'"
		      " AND kind = 'log_pattern' AND last_at < " AT("$1") " - interval '10 minutes'";

enum oc_err signal_raise(struct pg *pg, long long tenant_id, const struct signal_new *s, bool *ret_new,
			 struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str) char *labels = s->labels ? json_text(s->labels) : NULL;
	AUTO(str) char *evidence = s->evidence ? json_text(s->evidence) : NULL;
	AUTO(str) char *links = s->links ? json_text(s->links) : NULL;
	char tenant[24], confidence[32], at[24], debounce[16], title[SIGNAL_TITLE_MAX + 1];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(confidence, sizeof(confidence), "%.6f", s->confidence);
	snprintf(at, sizeof(at), "%lld", (long long)s->at_us);
	snprintf(debounce, sizeof(debounce), "%d", s->debounce_s);
	snprintf(title, sizeof(title), "%s", s->title);
	/* Never half a character. */
	for (size_t n = strlen(title); n && !str_utf8_ok(title, n);)
		title[--n] = '\0';
	err = pg_query(pg, sql_raise,
		       PG_ARGS(tenant, s->fingerprint, s->source, s->kind, s->resource, title, s->summary,
			       s->severity, labels ? labels : "{}", evidence ? evidence : "[]", confidence,
			       links ? links : "[]", at, debounce),
		       &r, reterr);
	if (err == OC_OK && ret_new)
		*ret_new = pg_bool(r, 0, 0);
	return err;
}

enum oc_err signal_clear(struct pg *pg, long long tenant_id, const char *fingerprint, int64_t at_us,
			 bool *ret_was_open, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], at[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(at, sizeof(at), "%lld", (long long)at_us);
	err = pg_query(pg, sql_clear, PG_ARGS(tenant, fingerprint, at), &r, reterr);
	if (err == OC_OK && ret_was_open)
		*ret_was_open = pg_affected(r) > 0;
	return err;
}
