/* observed.h - what was observed, for reading: metrics, calls, log patterns and events of a tenant.
 *
 * For opscase_api, in a transaction of the tenant (store/tenant_tx.h): the hypertables are read through the functions that
 * check it. Times are microseconds since 1970, ranges [from, to). Lists are JSON, yours; NULL filters mean all. */
#pragma once
#include "wire/json/json.h"
#include "wire/pg/pg.h"

/* The id of a URN; OC_NOT_FOUND names `field`. */
MUST_CHECK enum oc_err observed_resource(struct pg *pg, long long tenant_id, const char *urn,
					 const char *field, long long *ret, struct oc_fail *reterr);

enum observed_aggregate { AGG_AVG, AGG_MAX, AGG_MIN, AGG_SUM, AGG_COUNT, AGG_P95, AGG_KINDS };
enum observed_by { BY_RESOURCE, BY_SERIES, BY_NONE, BY_KINDS };
extern const char *const observed_aggregate_names[AGG_KINDS];
extern const char *const observed_by_names[BY_KINDS];

struct metric_ask {
	const char *metric;
	long long resource_id;     /* 0: all */
	const char *label, *value; /* a label that has to have this value; NULL: any */
	enum observed_aggregate aggregate;
	enum observed_by by;
	int step_s;
	int64_t from_us, to_us;
};
#define METRIC_POINTS_MAX 50000 /* of one answer; beyond it OC_INVALID says how to ask for less */
/* [{"resource","labels","points":[[seconds, value],...]}]. An average is weighted by the number of samples; p95 is merged
 * from the buckets' sketches (1 %), and from the largest p95 where one of them has none, which `"p95":"upper"` then says. */
MUST_CHECK enum oc_err observed_metric(struct pg *pg, long long tenant_id, const struct metric_ask *a,
				       json_t **ret, struct oc_fail *reterr);

/* The names of all metrics with their kind and unit: rows of text, "metric", "kind", "unit". */
MUST_CHECK enum oc_err observed_metric_names(struct pg *pg, long long tenant_id, struct pg_result **ret,
					     struct oc_fail *reterr);
/* Every series of these metrics (an array literal) that has buckets in the range: metric, urn, labels; in order. */
MUST_CHECK enum oc_err observed_series(struct pg *pg, long long tenant_id, const char *metrics,
				       int64_t from_us, int64_t to_us, struct pg_result **ret,
				       struct oc_fail *reterr);
enum bucket_col { BC_METRIC, BC_URN, BC_LABELS, BC_SECOND, BC_AVG, BC_MAX, BC_MIN, BC_SUM, BC_COUNT, BC_P95 };
#define BUCKETS_MAX 200000 /* of one answer; beyond it OC_INVALID says how to ask for less */
/* Their buckets, series by series, in order of time: enum bucket_col. */
MUST_CHECK enum oc_err observed_buckets(struct pg *pg, long long tenant_id, const char *metrics,
					int64_t from_us, int64_t to_us, struct pg_result **ret,
					struct oc_fail *reterr);

struct call_ask {
	long long src_id, dst_id; /* 0: all */
	int64_t from_us, to_us;
	int limit;
	int64_t after_bucket_us; /* keyset of the list: what was last; 0: from the start */
	long long after_src, after_dst;
};
/* Rows of service_call_5m, oldest first. *ret_more: there are more, after the last row's values in ret_*. */
MUST_CHECK enum oc_err observed_calls(struct pg *pg, long long tenant_id, const struct call_ask *a,
				      json_t **ret, bool *ret_more, int64_t *ret_bucket_us,
				      long long *ret_src, long long *ret_dst, struct oc_fail *reterr);
/* The worst edges of the range: [{"src","dst","count","errors","err_rate","rps","p50_ms","p95_ms"}], slowest first. The
 * quantiles are the buckets' own, weighted by their calls. */
MUST_CHECK enum oc_err observed_calls_top(struct pg *pg, long long tenant_id, const struct call_ask *a,
					  json_t **ret, struct oc_fail *reterr);

struct pattern_ask {
	long long resource_id;
	const char *text, *severity; /* text: in the template, case ignored */
	bool fresh;                  /* only those first seen in the range */
	int64_t from_us, to_us;
	int limit;
	long long after_count, after_id; /* keyset; after_id 0: from the start */
};
/* Most frequent first: [{"pattern_id","pattern","severity","count","errors","first_seen","last_seen","fresh","resources","sample",
 * "sample_ref"}]. */
MUST_CHECK enum oc_err observed_patterns(struct pg *pg, long long tenant_id, const struct pattern_ask *a,
					 json_t **ret, bool *ret_more, long long *ret_count,
					 long long *ret_id, struct oc_fail *reterr);

struct event_ask {
	const char *kind, *severity, *case_id;
	long long resource_id;
	int64_t from_us, to_us;
	int limit;
	int64_t before_us; /* keyset; 0: from the newest */
	const char *before_id;
};
/* Newest first, without evidence. ret_id has UUID_TEXT bytes. */
MUST_CHECK enum oc_err observed_events(struct pg *pg, long long tenant_id, const struct event_ask *a,
				       json_t **ret, bool *ret_more, int64_t *ret_at_us, char *ret_id,
				       struct oc_fail *reterr);
/* One with its evidence, each with its row and the locator of its raw detail. OC_NOT_FOUND. */
MUST_CHECK enum oc_err observed_event(struct pg *pg, long long tenant_id, const char *event_id, json_t **ret,
				      struct oc_fail *reterr);
