/* measure.h - what was measured in a window: buckets as plain values. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "domain/sketch.h"

#define MEASURE_ROWS_MAX 20000

/* One bucket of one series. A number that the source does not know is NaN and `has_*` is false; a number
 * that the source says is NaN has `has_*` true: the two are not the same. */
struct measure_bucket {
	int64_t at_us;  /* the bucket's beginning */
	uint64_t count; /* samples in it; 0: it says nothing */
	double avg, max, min, p95, sum;
	bool has_avg, has_max, has_min, has_p95, has_sum;
	struct sketch *sketch; /* or NULL */
};

struct measure {
	bool failed;   /* the source could not be asked: there are no buckets, and that means nothing */
	char why[256]; /* then the reason */
	struct measure_bucket *bucket;
	size_t count;
};

void measure_done(struct measure *m);
static inline void oc_auto_measure(struct measure *m)
{
	measure_done(m);
}
struct measure_bucket *measure_add(struct measure *m); /* zeroed, numbers NaN */
