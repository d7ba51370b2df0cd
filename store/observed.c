#include "store/observed.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/uuid.h"
#include "domain/sketch.h"

#define US(p)      "to_timestamp(" p "::bigint / 1000000.0)"
#define US_TEXT(t) "to_char(" t " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
#define US_OF(t)   "(extract(epoch FROM " t ") * 1000000)::bigint"

const char *const observed_aggregate_names[AGG_KINDS] = { "avg", "max", "min", "sum", "count", "p95" };
const char *const observed_by_names[BY_KINDS] = { "resource", "series", "none" };

/* ---- rows that are JSON already ---- */

struct number {
	char s[24];
};

static const char *num(struct number *n, long long v)
{
	snprintf(n->s, sizeof(n->s), "%lld", v);
	return n->s;
}

static const char *id_or_null(struct number *n, long long id)
{
	return id ? num(n, id) : NULL;
}

/* The first `limit` rows' first column; one row more says that there are more. */
static enum oc_err rows_of(struct pg *pg, const char *sql, const char *const *args, unsigned n, int limit,
			   json_t **ret, bool *ret_more, struct pg_result **ret_rows, struct oc_fail *reterr)
{
	struct pg_result *r = NULL;
	enum oc_err err = pg_query(pg, sql, args, n, &r, reterr);
	unsigned rows;

	if (err != OC_OK)
		return err;
	rows = pg_rows(r) > (unsigned)limit ? (unsigned)limit : pg_rows(r);
	*ret = json_array();
	*ret_more = pg_rows(r) > rows;
	for (unsigned i = 0; i < rows && err == OC_OK; i++) {
		json_t *one = NULL;

		err = json_read_own(pg_text(r, i, 0), &one, reterr);
		if (err == OC_OK)
			json_array_append_new(*ret, one);
	}
	if (err != OC_OK || !ret_rows)
		pg_result_free(r);
	else
		*ret_rows = r;
	return err;
}

static const char SQL_RESOURCE[] =
	"SELECT resource_id FROM dim_resource WHERE tenant_id = $1::bigint AND urn = $2";

enum oc_err observed_resource(struct pg *pg, long long tenant_id, const char *urn, const char *field,
			      long long *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct number tenant;
	enum oc_err err = pg_query(pg, SQL_RESOURCE, PG_ARGS(num(&tenant, tenant_id), urn), &r, reterr);

	if (err == OC_OK && pg_rows(r) == 0)
		err = oc_fail_field(reterr, OC_NOT_FOUND, field,
				    "no resource '%.200s' has been seen in this tenant", urn);
	if (err == OC_OK)
		*ret = pg_int(r, 0, 0);
	return err;
}

/* ---- metrics ---- */

#define METRIC_FROM                                                                                        \
	" FROM metric_window($1::bigint, $2::bigint, $3::text, " US("$4") ", " US(                         \
		"$5") ") m"                                                                                \
		      " JOIN dim_resource r ON r.tenant_id = $1::bigint AND r.resource_id = m.resource_id" \
		      " WHERE ($6::text IS NULL OR m.labels ->> $6::text = $7::text)"
#define METRIC_GROUP                                                                                \
	"CASE WHEN $9::int = 2 THEN NULL ELSE r.urn END, CASE WHEN $9::int = 1 THEN m.labels END, " \
	"floor(extract(epoch FROM m.bucket) / $8::int)::bigint * $8::int"

/* urn, labels, second, avg, max, min, sum, count */
static const char SQL_METRIC[] =
	"SELECT " METRIC_GROUP
	", sum(m.avg_val * m.count) / nullif(sum(m.count), 0), max(m.max_val), min(m.min_val), sum(m.sum),"
	" sum(m.count)" METRIC_FROM " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT $10::int";
/* urn, labels, second, p95, sketch */
static const char SQL_METRIC_SKETCHES[] = "SELECT " METRIC_GROUP ", m.p95_val, m.sketch" METRIC_FROM
					  " AND m.count > 0 ORDER BY 1, 2, 3 LIMIT $10::int";

static bool same_text(const char *a, const char *b)
{
	return (!a && !b) || str_eq(a, b);
}

/* The series that a row belongs to: the last one, or a new one. */
static json_t *series_of(json_t *list, const struct pg_result *r, unsigned i)
{
	json_t *s, *labels = NULL;

	if (i > 0 && same_text(pg_text(r, i, 0), pg_text(r, i - 1, 0)) &&
	    same_text(pg_text(r, i, 1), pg_text(r, i - 1, 1)))
		return json_array_get(list, json_array_size(list) - 1);
	s = json_object();
	json_put(s, "resource", pg_text(r, i, 0));
	if (pg_text(r, i, 1) && json_read_own(pg_text(r, i, 1), &labels, NULL) == OC_OK)
		json_object_set_new(s, "labels", labels);
	json_object_set_new(s, "points", json_array());
	json_array_append_new(list, s);
	return s;
}

static void add_point(json_t *series, long long second, double value)
{
	json_t *point = json_array();

	json_array_append_new(point, json_integer(second));
	json_array_append_new(point, isfinite(value) ? json_real(value) : json_null());
	json_array_append_new(json_object_get(series, "points"), point);
}

/* Rows of one series and step follow each other: their sketches are merged. */
static void add_p95(json_t *list, const struct pg_result *r)
{
	AUTO(sketch) struct sketch *merged = NULL;
	double upper = NAN;
	bool whole = true;

	for (unsigned i = 0; i < pg_rows(r); i++) {
		AUTO(sketch) struct sketch *one = sketch_unhex(pg_text(r, i, 4));
		json_t *series = series_of(list, r, i);
		long long second = pg_int(r, i, 2);

		if (!merged)
			merged = sketch_new();
		if (one)
			sketch_merge(merged, one);
		whole = whole && one;
		upper = fmax(upper, pg_num(r, i, 3));
		if (i + 1 < pg_rows(r) && pg_int(r, i + 1, 2) == second &&
		    same_text(pg_text(r, i + 1, 0), pg_text(r, i, 0)) &&
		    same_text(pg_text(r, i + 1, 1), pg_text(r, i, 1)))
			continue;
		add_point(series, second, whole ? sketch_quantile(merged, 0.95) : upper);
		if (!whole)
			json_put(series, "p95", "upper");
		sketch_free(merged);
		merged = NULL;
		upper = NAN;
		whole = true;
	}
}

enum oc_err observed_metric(struct pg *pg, long long tenant_id, const struct metric_ask *a, json_t **ret,
			    struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct number tenant, resource, from, to, step, by, limit;
	const char *args[] = { num(&tenant, tenant_id),
			       id_or_null(&resource, a->resource_id),
			       a->metric,
			       num(&from, a->from_us),
			       num(&to, a->to_us),
			       a->label,
			       a->value,
			       num(&step, a->step_s),
			       num(&by, a->by),
			       num(&limit, METRIC_POINTS_MAX + 1) };
	enum oc_err err = pg_query(pg, a->aggregate == AGG_P95 ? SQL_METRIC_SKETCHES : SQL_METRIC, args,
				   ARRAY_LEN(args), &r, reterr);

	if (err != OC_OK)
		return err;
	if (pg_rows(r) > METRIC_POINTS_MAX)
		return oc_fail_field(
			reterr, OC_INVALID, "from",
			"more than %d rows: ask for less time, a larger step, one resource, or by=none",
			METRIC_POINTS_MAX);
	*ret = json_array();
	if (a->aggregate == AGG_P95)
		add_p95(*ret, r);
	else
		for (unsigned i = 0; i < pg_rows(r); i++)
			add_point(series_of(*ret, r, i), pg_int(r, i, 2), pg_num(r, i, 3 + a->aggregate));
	return OC_OK;
}

/* ---- series as they are ---- */

static const char SQL_METRIC_NAMES[] =
	"SELECT metric, min(kind), min(unit) FROM metric_series WHERE tenant_id = $1::bigint GROUP BY 1 ORDER BY 1 LIMIT 20000";
#define SERIES_FROM                                                                                               \
	" FROM unnest($2::text[]) AS w(metric) CROSS JOIN LATERAL metric_window($1::bigint, NULL, w.metric, " US( \
		"$3") ", " US("$4") ") m JOIN dim_resource r ON r.tenant_id = $1::bigint AND r.resource_id = m.resource_id"
static const char SQL_SERIES[] = "SELECT DISTINCT m.metric, r.urn, m.labels::text" SERIES_FROM
				 " ORDER BY 1, 2, 3 LIMIT 20000";
static const char SQL_BUCKETS[] =
	"SELECT m.metric, r.urn, m.labels::text, extract(epoch FROM m.bucket)::bigint, m.avg_val, m.max_val, m.min_val, m.sum, m.count,"
	" m.p95_val" SERIES_FROM " ORDER BY m.metric, r.urn, m.series_id, m.bucket LIMIT $5::int";

enum oc_err observed_metric_names(struct pg *pg, long long tenant_id, struct pg_result **ret,
				  struct oc_fail *reterr)
{
	struct number tenant;

	return pg_query(pg, SQL_METRIC_NAMES, PG_ARGS(num(&tenant, tenant_id)), ret, reterr);
}

enum oc_err observed_series(struct pg *pg, long long tenant_id, const char *metrics, int64_t from_us,
			    int64_t to_us, struct pg_result **ret, struct oc_fail *reterr)
{
	struct number n[3];

	return pg_query(pg, SQL_SERIES,
			PG_ARGS(num(&n[0], tenant_id), metrics, num(&n[1], from_us), num(&n[2], to_us)), ret,
			reterr);
}

enum oc_err observed_buckets(struct pg *pg, long long tenant_id, const char *metrics, int64_t from_us,
			     int64_t to_us, struct pg_result **ret, struct oc_fail *reterr)
{
	struct number n[4];
	enum oc_err err = pg_query(pg, SQL_BUCKETS,
				   PG_ARGS(num(&n[0], tenant_id), metrics, num(&n[1], from_us),
					   num(&n[2], to_us), num(&n[3], BUCKETS_MAX + 1)),
				   ret, reterr);

	if (err == OC_OK && pg_rows(*ret) > BUCKETS_MAX) {
		pg_result_free(*ret);
		*ret = NULL;
		err = oc_fail(reterr, OC_INVALID,
			      "more than %d buckets: ask for less time, or name a resource", BUCKETS_MAX);
	}
	return err;
}

/* ---- calls ---- */

static const char SQL_CALLS[] = "SELECT jsonb_build_object('bucket', " US_TEXT(
	"c.bucket") ", 'src', s.urn, 'dst', d.urn, 'rps', c.rps, 'err_rate', c.err_rate,"
		    " 'p50_ms', c.p50_ms, 'p95_ms', c.p95_ms, 'count', c.count, 'errors', c.errors, 'sample_ref', c.sample_ref,"
		    " 'revision', c.revision)::text, " US_OF(
			    "c.bucket") ", c.src_resource_id, c.dst_resource_id"
					" FROM service_calls($1::bigint, $2::bigint, $3::bigint, " US("$4") ", " US(
						"$5") ") c"
						      " JOIN dim_resource s ON s.tenant_id = $1::bigint AND s.resource_id = c.src_resource_id"
						      " JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.resource_id = c.dst_resource_id"
						      " WHERE $6::bigint = 0 OR (c.bucket, c.src_resource_id, c.dst_resource_id) > (" US(
							      "$6") ", $7::bigint, $8::bigint)"
								    " ORDER BY c.bucket, c.src_resource_id, c.dst_resource_id LIMIT $9::int";

enum oc_err observed_calls(struct pg *pg, long long tenant_id, const struct call_ask *a, json_t **ret,
			   bool *ret_more, int64_t *ret_bucket_us, long long *ret_src, long long *ret_dst,
			   struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct number n[9];
	const char *args[] = { num(&n[0], tenant_id),        id_or_null(&n[1], a->src_id),
			       id_or_null(&n[2], a->dst_id), num(&n[3], a->from_us),
			       num(&n[4], a->to_us),         num(&n[5], a->after_bucket_us),
			       num(&n[6], a->after_src),     num(&n[7], a->after_dst),
			       num(&n[8], a->limit + 1) };
	enum oc_err err = rows_of(pg, SQL_CALLS, args, ARRAY_LEN(args), a->limit, ret, ret_more, &r, reterr);

	if (err == OC_OK && *ret_more) {
		*ret_bucket_us = pg_int(r, (unsigned)a->limit - 1, 1);
		*ret_src = pg_int(r, (unsigned)a->limit - 1, 2);
		*ret_dst = pg_int(r, (unsigned)a->limit - 1, 3);
	}
	return err;
}

/* The first of the book's typical queries: what a service depends on, the slowest and most faulty first. */
static const char SQL_CALLS_TOP[] =
	"SELECT jsonb_build_object('src', s.urn, 'dst', d.urn, 'count', c.n, 'errors', c.errors, 'err_rate', c.errors / nullif(c.n, 0)::float8,"
	" 'rps', c.n / extract(epoch FROM " US("$5") " - " US(
		"$4") "), 'p50_ms', c.p50, 'p95_ms', c.p95)::text"
		      " FROM (SELECT src_resource_id, dst_resource_id, sum(count) AS n, sum(errors) AS errors,"
		      "  sum(p50_ms * count) / nullif(sum(count) FILTER (WHERE p50_ms IS NOT NULL), 0) AS p50,"
		      "  sum(p95_ms * count) / nullif(sum(count) FILTER (WHERE p95_ms IS NOT NULL), 0) AS p95"
		      "  FROM service_calls($1::bigint, $2::bigint, $3::bigint, " US("$4") ", " US(
			      "$5") ") GROUP BY 1, 2) c"
				    " JOIN dim_resource s ON s.tenant_id = $1::bigint AND s.resource_id = c.src_resource_id"
				    " JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.resource_id = c.dst_resource_id"
				    " ORDER BY c.p95 DESC NULLS LAST, c.errors / nullif(c.n, 0)::float8 DESC NULLS LAST, 1 LIMIT $6::int";

enum oc_err observed_calls_top(struct pg *pg, long long tenant_id, const struct call_ask *a, json_t **ret,
			       struct oc_fail *reterr)
{
	struct number n[6];
	const char *args[] = { num(&n[0], tenant_id),        id_or_null(&n[1], a->src_id),
			       id_or_null(&n[2], a->dst_id), num(&n[3], a->from_us),
			       num(&n[4], a->to_us),         num(&n[5], a->limit) };
	bool more;

	return rows_of(pg, SQL_CALLS_TOP, args, ARRAY_LEN(args), a->limit, ret, &more, NULL, reterr);
}

/* ---- log patterns ---- */

static const char SQL_PATTERNS[] =
	"SELECT jsonb_build_object('pattern_id', p.fingerprint_id, 'pattern', p.pattern, 'severity', p.severity, 'count', l.n,"
	" 'errors', l.errors, 'first_seen', " US_TEXT("l.first_seen") ", 'last_seen', " US_TEXT(
		"l.last_seen") ","
			       " 'fresh', p.first_seen >= " US(
				       "$3") ", 'resources', (SELECT jsonb_agg(r.urn ORDER BY r.urn) FROM dim_resource r"
					     "  WHERE r.tenant_id = $1::bigint AND r.resource_id = ANY(l.resources)),"
					     " 'sample', p.sample_message, 'sample_ref', l.sample_ref)::text, l.n, p.fingerprint_id"
					     " FROM (SELECT fingerprint_id, sum(count_total)::bigint AS n, sum(count_error)::bigint AS errors, min(first_seen) AS first_seen,"
					     "  max(last_seen) AS last_seen, max(sample_ref) AS sample_ref, array_agg(DISTINCT resource_id) AS resources"
					     "  FROM log_patterns($1::bigint, $2::bigint, " US("$3") ", " US(
						     "$4") ") GROUP BY 1) l"
							   " JOIN log_pattern p ON p.tenant_id = $1::bigint AND p.fingerprint_id = l.fingerprint_id"
							   " WHERE ($5::text IS NULL OR p.pattern ILIKE '%' || replace(replace(replace($5::text, '\\', '\\\\'), '%', '\\%'), '_', '\\_') || '%')"
							   " AND ($6::text IS NULL OR p.severity = $6::text) AND (NOT $7::bool OR p.first_seen >= " US(
								   "$3") ")"
									 " AND ($9::bigint = 0 OR (l.n, p.fingerprint_id) < ($8::bigint, $9::bigint))"
									 " ORDER BY l.n DESC, p.fingerprint_id DESC LIMIT $10::int";

enum oc_err observed_patterns(struct pg *pg, long long tenant_id, const struct pattern_ask *a, json_t **ret,
			      bool *ret_more, long long *ret_count, long long *ret_id, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct number n[7];
	const char *args[] = { num(&n[0], tenant_id),
			       id_or_null(&n[1], a->resource_id),
			       num(&n[2], a->from_us),
			       num(&n[3], a->to_us),
			       a->text,
			       a->severity,
			       a->fresh ? "t" : "f",
			       num(&n[4], a->after_count),
			       num(&n[5], a->after_id),
			       num(&n[6], a->limit + 1) };
	enum oc_err err =
		rows_of(pg, SQL_PATTERNS, args, ARRAY_LEN(args), a->limit, ret, ret_more, &r, reterr);

	if (err == OC_OK && *ret_more) {
		*ret_count = pg_int(r, (unsigned)a->limit - 1, 1);
		*ret_id = pg_int(r, (unsigned)a->limit - 1, 2);
	}
	return err;
}

/* ---- events ---- */

#define EVENT_MEMBERS                                                        \
	"'event_id', e.event_id, 'detected_at', " US_TEXT(                   \
		"e.detected_at") ", 'severity', e.severity, 'kind', e.kind," \
				 " 'title', e.title, 'summary', e.summary, 'resource', r.urn, 'labels', e.labels, 'case_id', e.case_id"
#define EVENT_FROM               \
	" FROM event_envelope e" \
	" LEFT JOIN dim_resource r ON r.tenant_id = e.tenant_id AND r.resource_id = e.resource_id WHERE e.tenant_id = $1::bigint"

static const char SQL_EVENTS[] = "SELECT jsonb_build_object(" EVENT_MEMBERS ")::text, " US_OF(
	"e.detected_at") ", e.event_id" EVENT_FROM
			 " AND e.detected_at >= " US("$2") " AND e.detected_at < " US(
				 "$3") " AND ($4::text IS NULL OR e.kind = $4::text) AND ($5::text IS NULL OR e.severity::text = $5::text)"
				       " AND ($6::bigint IS NULL OR e.resource_id = $6::bigint) AND ($7::uuid IS NULL OR e.case_id = $7::uuid)"
				       " AND ($8::bigint = 0 OR (e.detected_at, e.event_id) < (" US(
					       "$8") ", $9::uuid))"
						     " ORDER BY e.detected_at DESC, e.event_id DESC LIMIT $10::int";
/* The second of the book's typical queries. */
static const char SQL_EVENT[] =
	"SELECT jsonb_build_object(" EVENT_MEMBERS
	", 'fingerprints', e.fingerprints, 'evidence', coalesce((SELECT jsonb_agg("
	"  jsonb_build_object('dim', v.dim, 'row', v.ref_pg, 'note', v.note, 'locator', CASE WHEN o.id IS NOT NULL THEN"
	"  jsonb_build_object('id', o.id, 'dataset', o.dataset, 'bucket', o.bucket, 'object_key', o.object_key,"
	"  'query_hint', o.query_hint, 'from', " US_TEXT("o.t_from") ", 'to', " US_TEXT(
		"o.t_to") ") END) ORDER BY v.evidence_id)"
			  "  FROM evidence_link v LEFT JOIN oo_locator o ON o.tenant_id = v.tenant_id AND o.id = v.ref_oo"
			  "  WHERE v.tenant_id = e.tenant_id AND v.event_id = e.event_id), '[]'))::text" EVENT_FROM
			  " AND e.event_id = $2::uuid";

enum oc_err observed_events(struct pg *pg, long long tenant_id, const struct event_ask *a, json_t **ret,
			    bool *ret_more, int64_t *ret_at_us, char *ret_id, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct number n[6];
	const char *args[] = { num(&n[0], tenant_id),
			       num(&n[1], a->from_us),
			       num(&n[2], a->to_us),
			       a->kind,
			       a->severity,
			       id_or_null(&n[3], a->resource_id),
			       a->case_id,
			       num(&n[4], a->before_us),
			       a->before_id,
			       num(&n[5], a->limit + 1) };
	enum oc_err err = rows_of(pg, SQL_EVENTS, args, ARRAY_LEN(args), a->limit, ret, ret_more, &r, reterr);

	if (err == OC_OK && *ret_more) {
		*ret_at_us = pg_int(r, (unsigned)a->limit - 1, 1);
		snprintf(ret_id, UUID_TEXT, "%s", pg_text_or(r, (unsigned)a->limit - 1, 2, ""));
	}
	return err;
}

enum oc_err observed_event(struct pg *pg, long long tenant_id, const char *event_id, json_t **ret,
			   struct oc_fail *reterr)
{
	AUTO(json) json_t *list = NULL;
	struct number tenant;
	bool more;
	enum oc_err err = rows_of(pg, SQL_EVENT, PG_ARGS(num(&tenant, tenant_id), event_id), 1, &list, &more,
				  NULL, reterr);

	if (err == OC_OK && json_array_size(list) == 0)
		err = oc_fail_field(reterr, OC_NOT_FOUND, "id", "no event '%s' in this tenant", event_id);
	if (err == OC_OK)
		*ret = json_incref(json_array_get(list, 0));
	return err;
}
