/* metric.h - reading measured windows and writing them: metric_1m, service_call_5m, dim_resource.
 *
 * As opscase_worker: every statement names the tenant. Times are microseconds since 1970. */
#pragma once
#include "domain/measure.h"
#include "wire/json/json.h"
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

/* What there is of a resource in a window, one object per series, at most 200:
 * [{"resource","metric","labels","buckets","count","avg","max","min","p95","sum","first","last"}]. avg is weighted by count,
 * p95 is the largest bucket's. metric NULL: all of them. ret_known (may be NULL): is there such a resource? */
MUST_CHECK enum oc_err metric_summary_read(struct pg *pg, long long tenant_id, const char *urn,
					   const char *metric, int64_t from_us, int64_t to_us, json_t **ret,
					   bool *ret_known, struct oc_fail *reterr);

/* What the way in writes; see ingest/otlp_json.c for their arguments. */
extern const char SQL_INGEST_ONCE[];
extern const char SQL_RESOURCE_UPSERT[];
extern const char SQL_SERIES_UPSERT[];
extern const char SQL_SERIES_LOCK[];
extern const char SQL_SERIES_STATE[];
extern const char SQL_METRIC_READ[];
extern const char SQL_METRIC_WRITE[];
