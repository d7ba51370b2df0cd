#include "store/metric.h"
#include <math.h>
#include <stdio.h>

#define US(p)      "to_timestamp(" p "::bigint / 1000000.0)"
#define US_TEXT(t) "to_char(" t " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define BUCKET_US  "(extract(epoch FROM m.bucket) * 1000000)::bigint"

/* One row more than is taken, so that "too many" is seen and not cut. */
static const char SQL_METRIC_WINDOW[] =
	"SELECT " BUCKET_US ", m.count, m.avg_val, m.max_val, m.min_val, m.p95_val, m.sum, m.sketch "
	"FROM metric_1m m JOIN dim_resource r ON r.tenant_id = m.tenant_id AND r.resource_id = m.resource_id "
	"WHERE m.tenant_id = $1::bigint AND r.urn = $2 AND m.metric = $3 AND m.labels @> coalesce($4::jsonb, '{}') "
	"AND m.bucket >= " US("$5") " AND m.bucket < " US("$6") " ORDER BY m.bucket LIMIT 20001";

static const char SQL_CALL_WINDOW[] =
	"SELECT " BUCKET_US ", m.count, m.rps, m.err_rate, m.p50_ms, m.p95_ms FROM service_call_5m m "
	"JOIN dim_resource s ON s.tenant_id = m.tenant_id AND s.resource_id = m.src_resource_id "
	"JOIN dim_resource d ON d.tenant_id = m.tenant_id AND d.resource_id = m.dst_resource_id "
	"WHERE m.tenant_id = $1::bigint AND s.urn = $2 AND d.urn = $3 "
	"AND m.bucket >= " US("$4") " AND m.bucket < " US("$5") " ORDER BY m.bucket LIMIT 20001";

static const char SQL_METRIC_SUMMARY[] =
	"SELECT r.urn, m.metric, m.labels::text, count(*), sum(m.count), sum(m.avg_val * m.count) / nullif(sum(m.count), 0), "
	"max(m.max_val), min(m.min_val), max(m.p95_val), sum(m.sum), " US_TEXT("min(m.bucket)") ", " US_TEXT(
		"max(m.bucket)") " "
				 "FROM metric_1m m JOIN dim_resource r ON r.tenant_id = m.tenant_id AND r.resource_id = m.resource_id "
				 "WHERE m.tenant_id = $1::bigint AND r.urn = $2 AND ($3::text IS NULL OR m.metric = $3) "
				 "AND m.bucket >= " US("$4") " AND m.bucket < " US(
					 "$5") " "
					       "GROUP BY r.urn, m.metric, m.labels ORDER BY m.metric, m.labels LIMIT 200";

static const char SQL_RESOURCE_KNOWN[] =
	"SELECT 1 FROM dim_resource WHERE tenant_id = $1::bigint AND urn = $2";

static double number(const struct pg_result *r, unsigned row, unsigned col, bool *has)
{
	*has = pg_text(r, row, col) != NULL;
	return pg_num(r, row, col);
}

static enum oc_err too_many(struct oc_fail *reterr)
{
	return oc_fail(reterr, OC_TOO_LARGE,
		       "more than %d buckets in the window: name labels or take a shorter one",
		       MEASURE_ROWS_MAX);
}

enum oc_err metric_window_read(struct pg *pg, long long tenant_id, const char *urn, const char *metric,
			       const char *labels, int64_t from_us, int64_t to_us, struct measure *ret,
			       struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], from[24], to[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(from, sizeof(from), "%lld", (long long)from_us);
	snprintf(to, sizeof(to), "%lld", (long long)to_us);
	err = pg_query(pg, SQL_METRIC_WINDOW, PG_ARGS(tenant, urn, metric, labels, from, to), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) > MEASURE_ROWS_MAX)
		return too_many(reterr);
	for (unsigned i = 0; i < pg_rows(r); i++) {
		struct measure_bucket *b = measure_add(ret);

		b->at_us = pg_int(r, i, 0);
		b->count = (uint64_t)pg_int(r, i, 1);
		b->avg = number(r, i, 2, &b->has_avg);
		b->max = number(r, i, 3, &b->has_max);
		b->min = number(r, i, 4, &b->has_min);
		b->p95 = number(r, i, 5, &b->has_p95);
		b->sum = number(r, i, 6, &b->has_sum);
		b->sketch = sketch_unhex(pg_text(r, i, 7));
	}
	return OC_OK;
}

/* A bucket of calls counts for as many samples as it had calls; without a call its error rate and its
 * latencies say nothing. The rate itself is one sample per bucket: no calls is a rate as well. */
enum oc_err call_window_read(struct pg *pg, long long tenant_id, const char *src, const char *dst,
			     const char *field, int bucket_s, int64_t from_us, int64_t to_us,
			     struct measure *ret, struct oc_fail *reterr)
{
	static const char *const fields[] = { "rps", "err_rate", "p50_ms", "p95_ms" };
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], from[24], to[24];
	unsigned which = 0;
	enum oc_err err;

	while (which < ARRAY_LEN(fields) && !str_eq(fields[which], field))
		which++;
	if (which == ARRAY_LEN(fields))
		return oc_fail(reterr, OC_INVALID, "calls have no field '%s'", field ? field : "");
	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(from, sizeof(from), "%lld", (long long)from_us);
	snprintf(to, sizeof(to), "%lld", (long long)to_us);
	err = pg_query(pg, SQL_CALL_WINDOW, PG_ARGS(tenant, src, dst, from, to), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) > MEASURE_ROWS_MAX)
		return too_many(reterr);
	for (unsigned i = 0; i < pg_rows(r); i++) {
		struct measure_bucket *b = measure_add(ret);
		double rps = pg_num(r, i, 2), v;
		bool has;

		b->at_us = pg_int(r, i, 0);
		b->count = (uint64_t)pg_int(r, i, 1);
		/* whoever wrote only the seeds' columns: the rate says how many there were */
		if (!b->count && isfinite(rps) && rps > 0)
			b->count = (uint64_t)ceil(rps * bucket_s);
		v = number(r, i, 2 + which, &has);
		if (which == 0)
			b->count = has ? 1 : 0;
		b->avg = b->max = b->min = b->sum = v;
		b->has_avg = b->has_max = b->has_min = has;
		/* the sum of rates or latencies means nothing */
		b->has_sum = false;
		b->p95 = v;
		b->has_p95 = has;
	}
	return OC_OK;
}

enum oc_err metric_summary_read(struct pg *pg, long long tenant_id, const char *urn, const char *metric,
				int64_t from_us, int64_t to_us, json_t **ret, bool *ret_known,
				struct oc_fail *reterr)
{
	static const char *const numbers[] = { "avg", "max", "min", "p95", "sum" };
	AUTO(pg_result) struct pg_result *known = NULL, *r = NULL;
	AUTO(json) json_t *out = json_array();
	char tenant[24], from[24], to[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(from, sizeof(from), "%lld", (long long)from_us);
	snprintf(to, sizeof(to), "%lld", (long long)to_us);
	err = pg_query(pg, SQL_RESOURCE_KNOWN, PG_ARGS(tenant, urn), &known, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_METRIC_SUMMARY, PG_ARGS(tenant, urn, metric, from, to), &r, reterr);
	if (err != OC_OK)
		return err;
	for (unsigned i = 0; i < pg_rows(r); i++) {
		json_t *labels = NULL, *o;

		err = json_read_own(pg_text_or(r, i, 2, "{}"), &labels, reterr);
		if (err != OC_OK)
			return err;
		o = json_pack("{s:s, s:s, s:o, s:I, s:I, s:s, s:s}", "resource", pg_text(r, i, 0), "metric",
			      pg_text(r, i, 1), "labels", labels, "buckets", (json_int_t)pg_int(r, i, 3),
			      "count", (json_int_t)pg_int(r, i, 4), "first", pg_text(r, i, 10), "last",
			      pg_text(r, i, 11));
		for (unsigned k = 0; k < ARRAY_LEN(numbers); k++) {
			double v = pg_num(r, i, 5 + k);

			json_object_set_new(o, numbers[k], isfinite(v) ? json_real(v) : json_null());
		}
		json_array_append_new(out, o);
	}
	if (ret_known)
		*ret_known = pg_rows(known) > 0;
	*ret = TAKE(out);
	return OC_OK;
}

/* ---- writing ---- */

/* The same body twice counts once: the mark is written with what it guards. $1 tenant, $2 consumer, $3 hash. */
const char SQL_INGEST_ONCE[] =
	"INSERT INTO inbox (tenant_id, consumer, msg_id) VALUES ($1::bigint, $2, $3::bigint) "
	"ON CONFLICT DO NOTHING";

/* $1 tenant, $2 URNs, $3 types, $4 names, $5 env, $6 region, $7 zone, $8 labels. Every one comes back with its id. In order
 * of URN, so that two requests wait for each other and never deadlock. */
const char SQL_RESOURCE_UPSERT[] =
	"WITH w AS (SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) "
	"AS w (urn, type, name, env, region, zone, labels) ORDER BY urn), "
	"n AS (INSERT INTO dim_resource (tenant_id, urn, type, name, env, region, zone, labels) "
	"SELECT $1::bigint, urn, type, name, env, region, zone, labels::jsonb FROM w "
	"WHERE NOT EXISTS (SELECT FROM dim_resource d WHERE d.tenant_id = $1::bigint AND d.urn = w.urn) "
	"ON CONFLICT (tenant_id, urn) DO UPDATE SET env = coalesce(EXCLUDED.env, dim_resource.env) RETURNING urn, resource_id) "
	"SELECT urn, resource_id FROM n UNION "
	"SELECT d.urn, d.resource_id FROM dim_resource d JOIN w ON w.urn = d.urn WHERE d.tenant_id = $1::bigint";

/* $1 tenant, $2 series, $3 resources, $4 metrics, $5 labels, $6 kinds, $7 units. */
const char SQL_SERIES_UPSERT[] =
	"INSERT INTO metric_series (tenant_id, series_id, resource_id, metric, labels, kind, unit) "
	"SELECT $1::bigint, w.series_id, w.resource_id, w.metric, w.labels::jsonb, w.kind, w.unit "
	"FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[]) "
	"AS w (series_id, resource_id, metric, labels, kind, unit) ORDER BY w.series_id ON CONFLICT DO NOTHING";
const char SQL_SERIES_LOCK[] =
	"SELECT series_id, state::text FROM metric_series WHERE tenant_id = $1::bigint "
	"AND series_id = ANY($2::bigint[]) ORDER BY series_id FOR UPDATE";
const char SQL_SERIES_STATE[] =
	"UPDATE metric_series s SET state = w.state::jsonb, updated_at = now() "
	"FROM unnest($2::bigint[], $3::text[]) AS w (series_id, state) WHERE s.tenant_id = $1::bigint AND s.series_id = w.series_id";

/* The buckets that are there already, as pairs: $2 series, $3 buckets in microseconds. */
const char SQL_METRIC_READ[] =
	"SELECT m.series_id, " BUCKET_US
	", m.count, m.avg_val, m.max_val, m.min_val, m.p95_val, m.sum, m.sketch "
	"FROM metric_1m m JOIN unnest($2::bigint[], $3::bigint[]) AS w (series_id, at_us) "
	"ON m.series_id = w.series_id AND m.bucket = " US(
		"w.at_us") " WHERE m.tenant_id = $1::bigint "
			   /* so that only the chunks in question are looked at */
			   "AND m.bucket >= " US("$4") " AND m.bucket <= " US("$5");

/* $1 tenant, $2 bucket, $3 resource, $4 metric, $5 labels, $6 series, $7 avg, $8 max, $9 min, $10 p95, $11 count, $12 sum,
 * $13 sketch, $14 seconds after its beginning when a bucket is closed: what comes later re-opens it with a
 * new revision. The whole row is written: the caller has merged it under the lock of its series. */
const char SQL_METRIC_WRITE[] =
	"INSERT INTO metric_1m AS m (bucket, tenant_id, resource_id, metric, labels, series_id, avg_val, max_val, min_val, p95_val, "
	"count, sum, sketch, revision) "
	"SELECT " US(
		"w.at_us") ", $1::bigint, w.resource_id, w.metric, w.labels::jsonb, w.series_id, w.a, w.b, w.c, w.d, w.n, w.s, "
			   "w.sketch, 0 FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::float8[], $8::float8[], "
			   "$9::float8[], $10::float8[], $11::bigint[], $12::float8[], $13::bytea[]) "
			   "AS w (at_us, resource_id, metric, labels, series_id, a, b, c, d, n, s, sketch) ORDER BY w.at_us, w.series_id "
			   "ON CONFLICT (bucket, tenant_id, series_id) DO UPDATE SET avg_val = EXCLUDED.avg_val, max_val = EXCLUDED.max_val, "
			   "min_val = EXCLUDED.min_val, p95_val = EXCLUDED.p95_val, count = EXCLUDED.count, sum = EXCLUDED.sum, "
			   "sketch = EXCLUDED.sketch, revision = m.revision + "
			   "(m.bucket + make_interval(secs => $14::float8) < now())::int";
