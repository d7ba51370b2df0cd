/* metric.h - reading measured windows and writing them: metric_1m, service_call_5m, dim_resource.
 *
 * As opscase_worker: every statement names the tenant. Times are microseconds since 1970. */
#pragma once
#include "domain/measure.h"
#include "wire/pg/pg.h"

/* The buckets [from, to) of every series of the metric at this resource whose labels contain `labels`
 * (JSON object text, or NULL), in order of time. No such resource or series: no rows, which is no error.
 * OC_TOO_LARGE beyond MEASURE_ROWS_MAX rows. */
MUST_CHECK enum oc_err metric_window_read(struct pg *pg, long long tenant_id, const char *urn,
					  const char *metric, const char *labels, int64_t from_us,
					  int64_t to_us, struct measure *ret, struct oc_fail *reterr);
/* One field of the calls from src to dst: "rps", "err_rate", "p50_ms" or "p95_ms". */
MUST_CHECK enum oc_err call_window_read(struct pg *pg, long long tenant_id, const char *src, const char *dst,
					const char *field, int bucket_s, int64_t from_us, int64_t to_us,
					struct measure *ret, struct oc_fail *reterr);

/* One row per series of the resource and of all metrics: urn, metric, labels, buckets, count, avg, max, min, p95, sum, first,
 * last. $1 tenant, $2 URN, $3 metric or NULL, $4 and $5 the window in microseconds. */
extern const char SQL_METRIC_SUMMARY[];
/* $1 tenant, $2 URNs: which of them exist (resource_id, urn). */
extern const char SQL_RESOURCE_FIND[];

/* What the way in writes; see ingest/otlp_json.c for their arguments. */
extern const char SQL_INGEST_ONCE[];
extern const char SQL_RESOURCE_UPSERT[];
extern const char SQL_SERIES_UPSERT[];
extern const char SQL_SERIES_LOCK[];
extern const char SQL_SERIES_STATE[];
extern const char SQL_METRIC_READ[];
extern const char SQL_METRIC_WRITE[];
