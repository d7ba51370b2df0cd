/* otlp_metrics.h - the way in for metrics: one OTLP/HTTP JSON request becomes rows of metric_1m.
 *
 * One request is one transaction: the mark of the body, the series with what the next cumulative point is
 * compared with, and the buckets, merged under the lock of their series. So a crash neither loses nor
 * doubles, several senders and replicas may write the same bucket at once, and the same body sent
 * again counts once. What is not covered: gauge and delta points that come again in another body (a sender
 * that re-batches after a lost answer) count twice. Success means that it is stored.
 *
 * Points newer than their bucket's closing re-open it with a new revision. Thread-safe. */
#pragma once
#include "base/err.h"
#include "wire/pg/pg.h"

struct ingest_config {
	int bucket_s;  /* 0: 60 */
	int delay_s;   /* lateness that a bucket is given before a change counts as a revision; negative: 0 */
	int max_age_s; /* older points are refused; 0: a day, negative: any age */
	int max_ahead_s; /* points further in the future are refused; 0: 600 */
};

struct ingest;
struct ingest *ingest_new(const struct ingest_config *config, struct pg_pool *worker_pool); /* pool lent */
void ingest_free(struct ingest *in);
DEFINE_AUTO(ingest, struct ingest *, ingest_free);

/* POST /v1/metrics. ret_answer: ExportMetricsServiceResponse as JSON, for status 200; yours. OC_BAD_REQUEST and
 * OC_TOO_LARGE: do not send it again; OC_UNAVAILABLE, OC_CONFLICT: nothing was stored, send it again later. */
MUST_CHECK enum oc_err ingest_otlp_metrics(struct ingest *in, long long tenant_id, const char *body,
					   size_t len, char **ret_answer, struct oc_fail *reterr);
