/* checks.h - from what was measured to what it means. Pure: no clock, no database.
 *
 * PASS needs enough samples of real numbers from a source that answered, up to the end of the window:
 * no data, NaN, a failed query, too few samples, or a source that fell silent are never PASS.
 *
 * Aggregates over the buckets of a window: avg is the buckets' average weighted by their count; max,
 * min, sum and count are what they say; p95 comes from the merged sketches where every bucket has one, else
 * it is the largest of the buckets' p95s, an upper bound. */
#pragma once
#include "domain/measure.h"
#include "domain/plan.h"
#include "domain/verdict.h"

struct check_window {
	int64_t from_us, to_us; /* whole buckets */
	int bucket_s;
};

struct check_result {
	enum verdict verdict;
	bool has_value, has_baseline, has_limit;
	double value, baseline;
	double limit; /* what the value was held against: the threshold, or ratio x baseline */
	unsigned long long samples, baseline_samples;
	unsigned buckets;
	const char *p95_from; /* "sketch" or "largest bucket"; NULL for other aggregates */
	bool may_change;      /* more data, or asking again, may still give another verdict */
	char text[300];       /* one sentence */
};

/* Of kind metric or call. `baseline` may be NULL where the check has a threshold. */
void check_measured(const struct plan_check *check, const struct check_window *window,
		    const struct measure *now, const struct check_window *baseline_window,
		    const struct measure *baseline, struct check_result *ret);

enum check_probe { PROBE_IN_PLACE, PROBE_NOT_IN_PLACE, PROBE_UNCLEAR, PROBE_NOT_ASKED };
/* want_in_place is false for a step that undoes: what it took back must be gone. */
void check_probed(enum check_probe said, bool want_in_place, const char *why, struct check_result *ret);

/* status 0: no answer, `why` says more. */
void check_http(const struct plan_check *check, int status, const char *why, struct check_result *ret);
