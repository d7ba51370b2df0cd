#include "ingest/fold.h"
#include <math.h>
#include "base/mem.h"

#define SPREAD 32 /* a bucket's values are laid out at so many places at most */

void fold_row_done(struct fold_row *r)
{
	sketch_free(r->sketch);
	memset(r, 0, sizeof(*r));
}

void fold_delta_done(struct fold_delta *d)
{
	free(d->bucket);
	memset(d, 0, sizeof(*d));
}

/* ---- cumulative to delta ---- */

static double seconds_between(int64_t from_us, int64_t to_us)
{
	return from_us > 0 && to_us > from_us ? (double)(to_us - from_us) / 1e6 : 0;
}

static void keep_times(json_t *state, const struct tel_point *p)
{
	json_object_set_new(state, "s", json_integer(p->start_us));
	json_object_set_new(state, "t", json_integer(p->time_us));
}

static bool same_bounds(const json_t *state, const struct tel_point *p)
{
	const json_t *e = json_object_get(state, "e"), *b = json_object_get(state, "b");

	if (!p->histogram->bucket || json_array_size(e) != p->histogram->bounds ||
	    json_array_size(b) != p->histogram->bounds + 1)
		return false;
	for (size_t i = 0; i < p->histogram->bounds; i++)
		if (json_number_value(json_array_get(e, i)) != p->histogram->bound[i])
			return false;
	return true;
}

/* The whole of the point, as if nothing had been before it. */
static void whole(const struct tel_point *p, struct fold_delta *d)
{
	const struct tel_histogram *h = p->histogram;

	d->value = p->value;
	if (!h)
		return;
	d->count = h->count;
	d->has_sum = h->has_sum;
	d->sum = h->sum;
	d->has_min = h->has_min;
	d->min = h->min;
	d->has_max = h->has_max;
	d->max = h->max;
	if (h->bucket) {
		d->bounds = h->bounds;
		d->bound_ref = h->bound;
		d->bucket = mem_array(h->bounds + 1, sizeof(*d->bucket));
		memcpy(d->bucket, h->bucket, (h->bounds + 1) * sizeof(*d->bucket));
	}
}

/* False: something got smaller, so the series began anew in between. */
static bool subtract(const struct tel_point *p, const json_t *state, struct fold_delta *d)
{
	if (p->kind == TEL_SUM) {
		double last = json_num_or(state, "v", 0);

		if (p->value < last)
			return false;
		d->value = p->value - last;
		return true;
	}
	if (p->histogram->count < (uint64_t)json_int_or(state, "n", 0))
		return false;
	d->count = p->histogram->count - (uint64_t)json_int_or(state, "n", 0);
	if (p->histogram->has_sum && json_object_get(state, "u")) {
		d->has_sum = true;
		d->sum = p->histogram->sum - json_num_or(state, "u", 0);
	}
	if (same_bounds(state, p)) {
		const json_t *b = json_object_get(state, "b");

		d->bucket = mem_array(p->histogram->bounds + 1, sizeof(*d->bucket));
		d->bounds = p->histogram->bounds;
		d->bound_ref = p->histogram->bound;
		for (size_t i = 0; i <= p->histogram->bounds; i++) {
			uint64_t last = (uint64_t)json_integer_value(json_array_get(b, i));

			if (p->histogram->bucket[i] < last) {
				fold_delta_done(d);
				d->kind = p->kind;
				return false;
			}
			d->bucket[i] = p->histogram->bucket[i] - last;
		}
	}
	return true;
}

static void keep(json_t *state, const struct tel_point *p)
{
	keep_times(state, p);
	if (p->kind == TEL_SUM) {
		json_object_set_new(state, "v", json_real(p->value));
		return;
	}
	json_object_set_new(state, "n", json_integer((json_int_t)p->histogram->count));
	json_object_del(state, "u");
	json_object_del(state, "b");
	json_object_del(state, "e");
	if (p->histogram->has_sum)
		json_object_set_new(state, "u", json_real(p->histogram->sum));
	if (p->histogram->bucket) {
		json_t *b = json_array(), *e = json_array();

		for (size_t i = 0; i < p->histogram->bounds; i++)
			json_array_append_new(e, json_real(p->histogram->bound[i]));
		for (size_t i = 0; i <= p->histogram->bounds; i++)
			json_array_append_new(b, json_integer((json_int_t)p->histogram->bucket[i]));
		json_object_set_new(state, "b", b);
		json_object_set_new(state, "e", e);
	}
}

enum fold_result fold_point(const struct tel_point *p, json_t *state, int64_t fresh_us,
			    struct fold_delta *ret)
{
	bool first = !json_object_get(state, "t"), anew;
	int64_t last_us = json_int_or(state, "t", 0), last_start = json_int_or(state, "s", 0);

	memset(ret, 0, sizeof(*ret));
	ret->kind = p->kind;
	/* a sum that may go down is a level, once it is cumulative */
	if (p->kind == TEL_GAUGE || (p->kind == TEL_SUM && p->cumulative && !p->monotonic)) {
		ret->kind = TEL_GAUGE;
		ret->value = p->value;
		return FOLD_TAKEN;
	}
	if (!p->cumulative) {
		whole(p, ret);
		ret->seconds = seconds_between(p->start_us, p->time_us);
		return FOLD_TAKEN;
	}
	if (first) {
		bool fresh = p->start_us > 0 && p->time_us - p->start_us <= fresh_us;

		keep(state, p);
		if (!fresh)
			return FOLD_BASELINE;
		whole(p, ret);
		ret->seconds = seconds_between(p->start_us, p->time_us);
		return FOLD_TAKEN;
	}
	if (p->time_us <= last_us)
		return FOLD_REPEATED;
	anew = p->start_us > 0 && last_start > 0 && p->start_us > last_start;
	if (anew || !subtract(p, state, ret)) {
		whole(p, ret);
		ret->seconds =
			seconds_between(anew && p->start_us > last_us ? p->start_us : last_us, p->time_us);
	} else {
		ret->seconds = seconds_between(last_us, p->time_us);
	}
	/* min and max of a cumulative histogram are of its whole life */
	ret->has_min = ret->has_max = false;
	keep(state, p);
	return FOLD_TAKEN;
}

/* ---- into the row ---- */

static void low_high(struct fold_row *row, double low, double high)
{
	row->min = row->has_min ? fmin(row->min, low) : low;
	row->max = row->has_max ? fmax(row->max, high) : high;
	row->has_min = row->has_max = true;
}

static void add_avg(struct fold_row *row, double avg, uint64_t n)
{
	if (!row->count) {
		row->avg = avg;
		row->has_avg = true;
	} else if (row->has_avg) {
		row->avg += (avg - row->avg) * ((double)n / (double)(row->count + n));
	}
}

static void add_sum(struct fold_row *row, bool has, double sum)
{
	if (!row->count) {
		row->has_sum = has;
		row->sum = has ? sum : 0;
	} else {
		row->has_sum = row->has_sum && has;
		row->sum += has ? sum : 0;
	}
}

static void add_sample(struct fold_row *row, double sample, double sum)
{
	add_avg(row, sample, 1);
	add_sum(row, true, sum);
	low_high(row, sample, sample);
	if (row->sketch_whole && !row->sketch)
		row->sketch = sketch_new();
	if (row->sketch_whole)
		sketch_add(row->sketch, sample, 1);
	row->count++;
}

/* A bucket's values, spread evenly over it; the open ends reach to min and max where those are known. */
static void spread(struct sketch *s, const struct fold_delta *d, size_t i, double *low, double *high)
{
	double lo, hi;
	uint64_t n = d->bucket[i], places = n < SPREAD ? n : SPREAD, each = n / places;

	if (d->bounds == 0) {
		lo = d->has_min ? d->min : 0;
		hi = d->has_max ? d->max : lo;
	} else {
		hi = i < d->bounds ? d->bound_ref[i] : d->has_max ? d->max : d->bound_ref[d->bounds - 1];
		lo = i > 0 ? d->bound_ref[i - 1] : d->has_min ? d->min : hi > 0 ? 0 : hi;
	}
	if (d->has_max && hi > d->max)
		hi = d->max;
	if (d->has_min && lo < d->min)
		lo = d->min;
	if (lo > hi)
		lo = hi;
	for (uint64_t k = 0; k < places; k++)
		sketch_add(s, lo + (hi - lo) * ((double)k + 0.5) / (double)places, each + (k < n % places));
	*low = lo;
	*high = hi;
}

static void add_histogram(struct fold_row *row, const struct fold_delta *d)
{
	if (!d->count)
		return;
	if (d->has_sum)
		add_avg(row, d->sum / (double)d->count, d->count);
	else
		row->has_avg = false;
	add_sum(row, d->has_sum, d->sum);
	if (d->bucket) {
		AUTO(sketch) struct sketch *s = sketch_new();
		double p95;

		for (size_t i = 0; i <= d->bounds; i++) {
			double low, high;

			if (!d->bucket[i])
				continue;
			spread(s, d, i, &low, &high);
			low_high(row, low, high);
		}
		p95 = sketch_quantile(s, 0.95);
		row->p95 = row->has_p95 ? fmax(row->p95, p95) : p95;
		row->has_p95 = true;
		if (row->sketch_whole) {
			if (!row->sketch)
				row->sketch = sketch_new();
			sketch_merge(row->sketch, s);
		}
	} else {
		/* nobody knows where these samples lie: what is known of the others is not the whole */
		row->sketch_whole = false;
		sketch_free(row->sketch);
		row->sketch = NULL;
	}
	if (d->has_min)
		low_high(row, d->min, d->min);
	if (d->has_max)
		low_high(row, d->max, d->max);
	row->count += d->count;
}

void fold_add(struct fold_row *row, const struct fold_delta *d, int bucket_s)
{
	switch (d->kind) {
	case TEL_GAUGE:
		add_sample(row, d->value, d->value);
		break;
	case TEL_SUM:
		add_sample(row, d->value / (d->seconds > 0 ? d->seconds : bucket_s), d->value);
		break;
	case TEL_HISTOGRAM:
		add_histogram(row, d);
		break;
	}
}

void fold_end(struct fold_row *row)
{
	if (row->sketch_whole && row->sketch && sketch_count(row->sketch)) {
		row->p95 = sketch_quantile(row->sketch, 0.95);
		/* the sketch's answer is the middle of a bin: never outside of what was seen */
		if (row->has_max && row->p95 > row->max)
			row->p95 = row->max;
		if (row->has_min && row->p95 < row->min)
			row->p95 = row->min;
		row->has_p95 = true;
	}
}
