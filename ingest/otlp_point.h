/* otlp_point.h - what is checked and converted of a data point, whichever encoding it came in. Pure.
 *
 * A reader fills a raw point; otlp_point_take() makes records of it: one, several for a summary, or none with
 * the reason in the batch. */
#pragma once
#include "ingest/telemetry.h"

enum otlp_data {
	OTLP_GAUGE_DATA,
	OTLP_SUM_DATA,
	OTLP_HISTOGRAM_DATA,
	OTLP_EXPONENTIAL_DATA,
	OTLP_SUMMARY_DATA
};

#define OTLP_QUANTILES_MAX 32

struct otlp_exponential_side {
	int32_t offset;
	uint32_t n;
	uint64_t count[TEL_BUCKETS_MAX];
};

/* What all points of a metric share. */
struct otlp_shape {
	enum otlp_data data;
	uint32_t resource;
	struct tel_str metric, unit, scope;
	int temporality; /* 0 not given, 1 delta, 2 cumulative */
	bool monotonic;
};

struct otlp_raw_point {
	struct tel_attrs attrs;
	uint64_t start_ns, time_ns, flags;
	bool has_value, has_count, has_sum, has_min, has_max, over; /* over: more buckets than are taken */
	double value, sum, min, max;
	uint64_t count;
	uint32_t bounds, buckets;
	double bound[TEL_BUCKETS_MAX];
	uint64_t bucket[TEL_BUCKETS_MAX + 1];
	int32_t scale;
	uint64_t zero_count;
	double zero_threshold;
	struct otlp_exponential_side positive, negative;
	uint32_t quantiles;
	double quantile[OTLP_QUANTILES_MAX][2]; /* which, value */
};
void otlp_raw_reset(struct otlp_raw_point *p);

/* False: it was rejected, and the reader may add the record to the batch's last rejection (b->reject[b->rejects - 1]). */
MUST_CHECK enum oc_err otlp_point_take(struct tel_batch *b, const struct otlp_shape *shape,
				       struct otlp_raw_point *p, bool *ret_taken, struct oc_fail *reterr);
/* Lent as it is when it is UTF-8 without NUL; else a copy with '?' for what is not. */
struct tel_str otlp_text(struct tel_batch *b, const void *s, size_t n);
