#include "verifier/checks.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/text.h"

struct aggregate {
	bool has;          /* there is a value to speak of */
	bool not_a_number; /* the source gave one that is none */
	double value;
	unsigned long long samples;
	unsigned buckets;
	int64_t last_us; /* the last bucket with samples */
	bool by_sketch;
};

static void say(struct check_result *ret, enum verdict v, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void say(struct check_result *ret, enum verdict v, const char *fmt, ...)
{
	va_list ap;

	ret->verdict = v;
	va_start(ap, fmt);
	vsnprintf(ret->text, sizeof(ret->text), fmt, ap);
	va_end(ap);
}

/* What one bucket contributes: false if it does not know this number. */
static bool contribution(const struct measure_bucket *b, enum plan_aggregate how, double *ret)
{
	switch (how) {
	case AGG_AVG:
		*ret = b->avg;
		return b->has_avg;
	case AGG_MAX:
		*ret = b->max;
		return b->has_max;
	case AGG_MIN:
		*ret = b->min;
		return b->has_min;
	case AGG_P95:
		*ret = b->p95;
		return b->has_p95 || b->sketch;
	case AGG_SUM:
		*ret = b->sum;
		return b->has_sum;
	case AGG_COUNT:
		*ret = (double)b->count;
		return true;
	case AGG_NONE:
		break;
	}
	return false;
}

static struct aggregate aggregate_of(const struct measure *m, enum plan_aggregate how,
				     const struct check_window *w)
{
	struct aggregate a = { .by_sketch = how == AGG_P95, .last_us = INT64_MIN };
	AUTO(sketch) struct sketch *merged = how == AGG_P95 ? sketch_new() : NULL;
	double weighted = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct measure_bucket *b = &m->bucket[i];
		double v;

		if (!b->count || b->at_us < w->from_us || b->at_us >= w->to_us || !contribution(b, how, &v))
			continue;
		a.samples += b->count;
		a.buckets++;
		if (b->at_us > a.last_us)
			a.last_us = b->at_us;
		if (merged && b->sketch)
			sketch_merge(merged, b->sketch);
		else
			a.by_sketch = false;
		if (!isfinite(v) && !(merged && b->sketch)) {
			a.not_a_number = true;
			continue;
		}
		switch (how) {
		case AGG_AVG:
			weighted += v * (double)b->count;
			break;
		case AGG_MIN:
			a.value = a.has ? fmin(a.value, v) : v;
			break;
		case AGG_MAX:
			a.value = a.has ? fmax(a.value, v) : v;
			break;
		case AGG_P95: /* only if not every bucket has a sketch; one bucket may have nothing else */
			v = isfinite(v) ? v : sketch_quantile(b->sketch, 0.95);
			a.value = a.has ? fmax(a.value, v) : v;
			break;
		default:
			a.value += v;
		}
		a.has = true;
	}
	if (how == AGG_AVG && a.samples)
		a.value = weighted / (double)a.samples;
	if (merged && a.by_sketch && a.has)
		a.value = sketch_quantile(merged, 0.95);
	if (a.has && !isfinite(a.value))
		a.not_a_number = true;
	return a;
}

static bool holds(double value, enum plan_op op, double limit)
{
	switch (op) {
	case OP_LT:
		return value < limit;
	case OP_LE:
		return value <= limit;
	case OP_GT:
		return value > limit;
	case OP_GE:
		return value >= limit;
	case OP_EQ:
		return value == limit;
	case OP_NONE:
		break;
	}
	return false;
}

/* Silence after a change is not health: samples must reach into the second half of the window. */
static bool fell_silent(const struct aggregate *a, const struct check_window *w)
{
	return a->last_us + (int64_t)w->bucket_s * 1000000 <= w->from_us + (w->to_us - w->from_us) / 2;
}

static void too_few(const struct plan_check *c, struct check_result *ret, const char *what)
{
	ret->may_change = true;
	if (c->no_data == NO_DATA_FAIL) {
		ret->may_change = false;
		say(ret, VERDICT_FAIL, "%s, and the check counts that as failed", what);
	} else {
		say(ret, VERDICT_INSUFFICIENT_DATA, "%s", what);
	}
}

void check_measured(const struct plan_check *c, const struct check_window *w, const struct measure *now,
		    const struct check_window *bw, const struct measure *baseline, struct check_result *ret)
{
	unsigned long long least = c->min_samples > 1 ? (unsigned long long)c->min_samples : 1;
	struct aggregate a, b = { 0 };
	char what[160];

	memset(ret, 0, sizeof(*ret));
	ret->may_change = true;
	if (now->failed || (c->against_baseline && baseline && baseline->failed)) {
		say(ret, VERDICT_SOURCE_ERROR, "the query failed: %s",
		    now->failed ? now->why : baseline->why);
		return;
	}
	a = aggregate_of(now, c->aggregate, w);
	ret->samples = a.samples;
	ret->buckets = a.buckets;
	if (c->aggregate == AGG_P95)
		ret->p95_from = a.by_sketch ? "sketch" : "largest bucket";
	if (a.samples < least) {
		snprintf(what, sizeof(what), "%llu samples in the window, at least %llu are wanted",
			 a.samples, least);
		too_few(c, ret, what);
		return;
	}
	if (a.not_a_number || !a.has) {
		say(ret, VERDICT_INCONCLUSIVE, "a bucket of the window holds no number");
		return;
	}
	ret->has_value = true;
	ret->value = a.value;
	if (fell_silent(&a, w)) {
		too_few(c, ret, "the samples stop in the first half of the window");
		return;
	}
	ret->may_change = false;
	if (c->op >= OP_NONE || !isfinite(c->value)) {
		say(ret, VERDICT_INCONCLUSIVE, "the check compares with nothing");
		return;
	}
	ret->limit = c->value;
	if (c->against_baseline) {
		if (!baseline || !bw || bw->to_us <= bw->from_us) {
			say(ret, VERDICT_INCONCLUSIVE,
			    "there is no window before the change to compare with");
			return;
		}
		b = aggregate_of(baseline, c->aggregate, bw);
		ret->baseline_samples = b.samples;
		if (b.samples < least) {
			say(ret, VERDICT_INSUFFICIENT_DATA,
			    "%llu samples in the window before the change, at least %llu are wanted",
			    b.samples, least);
			return;
		}
		if (b.not_a_number || !b.has || b.value < 0) {
			say(ret, VERDICT_INCONCLUSIVE,
			    "the window before the change has no number to take a ratio of");
			return;
		}
		/* what adds up over time is held against as much time */
		if (c->aggregate == AGG_COUNT || c->aggregate == AGG_SUM)
			b.value *= (double)(w->to_us - w->from_us) / (double)(bw->to_us - bw->from_us);
		ret->has_baseline = true;
		ret->baseline = b.value;
		ret->limit = c->value * b.value;
	}
	ret->has_limit = true;
	say(ret, holds(a.value, c->op, ret->limit) ? VERDICT_PASS : VERDICT_FAIL,
	    "%s is %.6g, wanted %s %.6g%s", plan_aggregate_name(c->aggregate), a.value, plan_op_name(c->op),
	    ret->limit, c->against_baseline ? " (from the baseline)" : "");
}

void check_probed(enum check_probe said, bool want_in_place, const char *why, struct check_result *ret)
{
	const char *more = str_empty(why) ? "" : why, *colon = str_empty(why) ? "" : ": ";

	memset(ret, 0, sizeof(*ret));
	switch (said) {
	case PROBE_IN_PLACE:
	case PROBE_NOT_IN_PLACE: {
		bool in_place = said == PROBE_IN_PLACE;

		ret->samples = 1;
		/* a system may need a moment to show its new state; a FAIL is not taken back, though */
		say(ret, in_place == want_in_place ? VERDICT_PASS : VERDICT_FAIL, "the adapter says: %s%s%s",
		    in_place ? "in place" : "not in place", colon, more);
		return;
	}
	case PROBE_UNCLEAR:
		ret->may_change = true;
		say(ret, VERDICT_INCONCLUSIVE, "the adapter cannot say%s%s", colon, more);
		return;
	case PROBE_NOT_ASKED:
		break;
	}
	ret->may_change = true;
	say(ret, VERDICT_SOURCE_ERROR, "the adapter could not be asked%s%s", colon, more);
}

void check_http(const struct plan_check *c, int status, const char *why, struct check_result *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (status == 0) {
		ret->may_change = true;
		say(ret, VERDICT_SOURCE_ERROR, "no answer: %s", str_empty(why) ? "unknown" : why);
		return;
	}
	ret->samples = 1;
	ret->has_value = ret->has_limit = true;
	ret->value = status;
	ret->limit = c->expect_status;
	say(ret, status == c->expect_status ? VERDICT_PASS : VERDICT_FAIL, "status %d, wanted %d", status,
	    c->expect_status);
}
