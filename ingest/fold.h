/* fold.h - points into buckets. Pure: what a point adds, what a cumulative one is compared with.
 *
 * A gauge's sample is its value: avg, max, min, p95 of the values, sum and count as they say.
 * A counter's sample is a rate per second over the time it covers: avg, max, min and p95 speak of rates,
 * `sum` is the increase. A histogram's samples are what it counted: avg is its sum / count, p95 comes
 * from its buckets, with the values of a bucket spread evenly over it. */
#pragma once
#include "domain/sketch.h"
#include "ingest/telemetry.h"
#include "wire/json/json.h"

/* One row of metric_1m while points are folded into it. */
struct fold_row {
	uint64_t count;
	bool has_avg, has_min, has_max, has_p95, has_sum;
	double avg, min, max, p95, sum;
	struct sketch *sketch;
	bool sketch_whole; /* the sketch has every sample; else p95 is the largest that is known */
};
void fold_row_done(struct fold_row *r);

enum fold_result {
	FOLD_TAKEN,
	FOLD_BASELINE, /* the first of a cumulative series: only something to compare the next one with */
	FOLD_REPEATED, /* not newer than the last one of a cumulative series */
};

/* What a point adds by itself. */
struct fold_delta {
	enum tel_point_kind kind;
	double value;   /* gauge: the value; sum: the increase */
	double seconds; /* the time an increase covers; 0: not known */
	uint64_t count; /* histogram, from here on */
	bool has_sum, has_min, has_max;
	double sum, min, max;
	size_t bounds;
	const double *bound_ref;
	uint64_t *bucket; /* owned; NULL: no buckets */
};
void fold_delta_done(struct fold_delta *d);

/* `state` is what the series kept ({} at first) and is changed in place for cumulative points. Points of one
 * series come in order of time. fresh_us: a cumulative series that began no longer than this before its
 * first point counts from its beginning; an older one only from the next point on. */
enum fold_result fold_point(const struct tel_point *p, json_t *state, int64_t fresh_us,
			    struct fold_delta *ret);
/* A new row is zeroed with sketch_whole true. */
void fold_add(struct fold_row *row, const struct fold_delta *d, int bucket_s);
/* After the last fold_add(): p95 from the sketch. */
void fold_end(struct fold_row *row);
