#include "ingest/otlp_point.h"
#include <math.h>
#include <stdio.h>
#include "base/mem.h"

#define NO_RECORDED_VALUE 1 /* DataPointFlags */
#define S(x)              (int)((x).n > 100 ? 100 : (x).n), (x).s

void otlp_raw_reset(struct otlp_raw_point *p)
{
	p->attrs.n = 0;
	p->attrs.over = false;
	p->start_ns = p->time_ns = p->flags = p->count = p->zero_count = 0;
	p->has_value = p->has_count = p->has_sum = p->has_min = p->has_max = p->over = false;
	p->value = p->sum = p->min = p->max = p->zero_threshold = 0;
	p->bounds = p->buckets = p->quantiles = 0;
	p->scale = p->positive.offset = p->negative.offset = 0;
	p->positive.n = p->negative.n = 0;
}

static bool plain(const unsigned char *s, size_t n)
{
	const uint64_t high = UINT64_C(0x8080808080808080), ones = UINT64_C(0x0101010101010101);

	for (; n >= 8; n -= 8, s += 8) {
		uint64_t w;

		memcpy(&w, s, 8);
		if ((w & high) || ((w - ones) & ~w & high))
			return false;
	}
	for (; n; n--, s++)
		if (*s == 0 || *s >= 0x80)
			return false;
	return true;
}

struct tel_str otlp_text(struct tel_batch *b, const void *s, size_t n)
{
	struct tel_str out = { s, (uint32_t)n };
	char *p;

	if (n == 0)
		return (struct tel_str){ "", 0 };
	if (plain(s, n) || str_utf8_ok(s, n))
		return out;
	out = tel_copy(b, s, n);
	p = (char *)out.s;
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)p[i];
		size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

		if (c != 0 && i + len <= n && str_utf8_ok(p + i, len)) {
			i += len;
		} else {
			p[i++] = '?';
		}
	}
	return out;
}

/* ---- exponential buckets as explicit ones */

/* 2^(index / 2^scale). index / 2^scale is exact in a double, so the same edge at another scale is the same number: what is
 * compared with the last point stays comparable after a sender has halved its resolution. */
static double edge(int64_t index, int32_t scale)
{
	return exp2(ldexp((double)index, -scale));
}

struct buckets {
	double bound[2 * TEL_BUCKETS_MAX + 4];
	uint64_t count[2 * TEL_BUCKETS_MAX + 5];
	uint32_t n; /* bounds; counts are one more */
};

/* The bucket (last bound, upper] has c. */
static bool push(struct buckets *out, double upper, uint64_t c)
{
	if (!isfinite(upper))
		return c == 0;
	if (out->n && upper <= out->bound[out->n - 1]) { /* two edges that a double cannot tell apart */
		out->count[out->n - 1] += c;
		return true;
	}
	out->bound[out->n] = upper;
	out->count[out->n++] = c;
	return true;
}

static bool spread_exponential(const struct otlp_raw_point *p, struct buckets *out, uint64_t *ret_total)
{
	const struct otlp_exponential_side *neg = &p->negative, *pos = &p->positive;
	uint64_t total = p->zero_count;
	double zero = p->zero_threshold > 0 ? p->zero_threshold : 0;

	out->n = 0;
	/* bucket i of the negative side is [-edge(i+1), -edge(i)): from the largest magnitude up */
	for (uint32_t k = neg->n; k-- > 0;) {
		int64_t i = (int64_t)neg->offset + k;

		if (k == neg->n - 1 && !push(out, -edge(i + 1, p->scale), 0))
			return false;
		if (!push(out, -edge(i, p->scale), neg->count[k]))
			return false;
		if (__builtin_add_overflow(total, neg->count[k], &total))
			return false;
	}
	if (p->zero_count || zero > 0 || neg->n) {
		if (!neg->n && !push(out, zero > 0 ? -zero : -1e-12, 0))
			return false;
		if (!push(out, zero, p->zero_count))
			return false;
	}
	for (uint32_t k = 0; k < pos->n; k++) {
		int64_t i = (int64_t)pos->offset + k;

		if (k == 0 && !push(out, edge(i, p->scale), 0))
			return false;
		if (!push(out, edge(i + 1, p->scale), pos->count[k]))
			return false;
		if (__builtin_add_overflow(total, pos->count[k], &total))
			return false;
	}
	out->count[out->n] = 0;
	*ret_total = total;
	return true;
}

/* ---- taking */

static struct tel_histogram *new_histogram(struct tel_batch *b, const struct otlp_raw_point *p)
{
	struct tel_histogram *h = tel_alloc(b, sizeof(*h));

	h->count = p->count;
	h->has_sum = p->has_sum && isfinite(p->sum);
	h->sum = h->has_sum ? p->sum : 0;
	h->has_min = p->has_min && isfinite(p->min);
	h->min = h->has_min ? p->min : 0;
	h->has_max = p->has_max && isfinite(p->max);
	h->max = h->has_max ? p->max : 0;
	return h;
}

static void set_buckets(struct tel_batch *b, struct tel_histogram *h, const double *bound,
			const uint64_t *bucket, uint32_t bounds)
{
	double *to = tel_alloc(b, (bounds + 1) * sizeof(*to));
	uint64_t *n = tel_alloc(b, (bounds + 1) * sizeof(*n));

	memcpy(to, bound, bounds * sizeof(*to));
	memcpy(n, bucket, (bounds + 1) * sizeof(*n));
	h->bounds = bounds;
	h->bound = to;
	h->bucket = n;
}

static const struct tel_histogram *histogram(struct tel_batch *b, const struct otlp_shape *s,
					     const struct otlp_raw_point *p)
{
	struct tel_histogram *h;
	uint64_t total = 0;

	if (!p->has_count) {
		tel_reject(b, 1, NULL, "%.*s: a histogram without a count", S(s->metric));
		return NULL;
	}
	if (p->over) {
		tel_reject(b, 1, NULL, "%.*s: a histogram with more than %d buckets", S(s->metric),
			   TEL_BUCKETS_MAX);
		return NULL;
	}
	h = new_histogram(b, p);
	if (p->buckets == 0)
		return h; /* count and sum alone are legal */
	if (p->buckets != p->bounds + 1) {
		tel_reject(b, 0, NULL, "%.*s: bucketCounts does not fit explicitBounds, so there is no p95",
			   S(s->metric));
		return h;
	}
	for (uint32_t i = 0; i < p->bounds; i++)
		if (!isfinite(p->bound[i]) || (i && p->bound[i] <= p->bound[i - 1])) {
			tel_reject(b, 1, NULL, "%.*s: explicitBounds do not grow", S(s->metric));
			return NULL;
		}
	for (uint32_t i = 0; i < p->buckets; i++)
		if (__builtin_add_overflow(total, p->bucket[i], &total)) {
			tel_reject(b, 1, NULL, "%.*s: a bucket count is no number", S(s->metric));
			return NULL;
		}
	if (total != p->count) {
		tel_reject(b, 1, NULL, "%.*s: the buckets do not add up to the count", S(s->metric));
		return NULL;
	}
	set_buckets(b, h, p->bound, p->bucket, p->bounds);
	return h;
}

static const struct tel_histogram *exponential(struct tel_batch *b, const struct otlp_shape *s,
					       const struct otlp_raw_point *p)
{
	AUTO(free) void *mem = NULL;
	struct buckets *out;
	struct tel_histogram *h;
	uint64_t total;

	if (!p->has_count) {
		tel_reject(b, 1, NULL, "%.*s: a histogram without a count", S(s->metric));
		return NULL;
	}
	if (p->over || p->scale < -10 || p->scale > 20 || p->zero_threshold < 0 ||
	    !isfinite(p->zero_threshold)) {
		tel_reject(b, 1, NULL,
			   "%.*s: an exponential histogram with more than %d buckets, or with a scale of %d",
			   S(s->metric), TEL_BUCKETS_MAX, p->scale);
		return NULL;
	}
	mem = mem_alloc(sizeof(*out));
	out = mem;
	if (!spread_exponential(p, out, &total)) {
		tel_reject(b, 1, NULL, "%.*s: a bucket beyond all numbers", S(s->metric));
		return NULL;
	}
	if (total != p->count) {
		tel_reject(b, 1, NULL, "%.*s: the buckets do not add up to the count", S(s->metric));
		return NULL;
	}
	h = new_histogram(b, p);
	set_buckets(b, h, out->bound, out->count, out->n);
	return h;
}

static enum oc_err add(struct tel_batch *b, const struct otlp_shape *s, const struct otlp_raw_point *p,
		       enum tel_point_kind kind, struct tel_point **ret, struct oc_fail *reterr)
{
	enum oc_err err = tel_point_add(b, ret, reterr);

	if (err != OC_OK)
		return err;
	**ret = (struct tel_point){
		.resource = s->resource,
		.kind = (uint8_t)kind,
		.metric = s->metric,
		.unit = s->unit.n > 63 ? (struct tel_str){ "", 0 }
                       : s->unit,
		.scope = s->scope,
		.start_us = p->start_ns <= p->time_ns ? (int64_t)(p->start_ns / 1000) : 0,
		.time_us = (int64_t)(p->time_ns / 1000)
	};
	return OC_OK;
}

static enum oc_err take_summary(struct tel_batch *b, const struct otlp_shape *s, struct otlp_raw_point *p,
				bool *ret_taken, struct oc_fail *reterr)
{
	struct tel_point *pt;
	enum oc_err err;

	for (uint32_t i = 0; i < p->quantiles; i++) {
		struct tel_attrs a = p->attrs;

		if (!isfinite(p->quantile[i][1]))
			continue; /* nobody called in that time */
		tel_attrs_add(&a, TEL_STR("quantile"), tel_printf(b, "%g", p->quantile[i][0]), TEL_LABEL_MAX);
		err = add(b, s, p, TEL_GAUGE, &pt, reterr);
		if (err != OC_OK)
			return err;
		pt->value = p->quantile[i][1];
		if (!tel_attrs_end(b, &a, &pt->attr, &pt->attrs)) {
			tel_record_drop(b);
			tel_reject(b, 1, NULL, "%.*s: more than %d attributes", S(s->metric), TEL_ATTRS_MAX);
			*ret_taken = false;
			return OC_OK;
		}
	}
	if (!p->has_count)
		return OC_OK;
	err = add(b, s, p, TEL_HISTOGRAM, &pt, reterr);
	if (err != OC_OK)
		return err;
	pt->cumulative = pt->monotonic = true;
	pt->histogram = new_histogram(b, p);
	(void)tel_attrs_end(b, &p->attrs, &pt->attr, &pt->attrs);
	return OC_OK;
}

enum oc_err otlp_point_take(struct tel_batch *b, const struct otlp_shape *s, struct otlp_raw_point *p,
			    bool *ret_taken, struct oc_fail *reterr)
{
	const struct tel_histogram *h = NULL;
	struct tel_point *pt;
	enum oc_err err;

	*ret_taken = true;
	/* "nothing recorded" is neither a point nor a mistake */
	if (p->flags & NO_RECORDED_VALUE) {
		b->stale++;
		return OC_OK;
	}
	*ret_taken = false;
	if (p->time_ns == 0 || p->time_ns > INT64_MAX) {
		tel_reject(b, 1, NULL, "%.*s: a point without a time", S(s->metric));
		return OC_OK;
	}
	if (p->attrs.over) {
		tel_reject(b, 1, NULL, "%.*s: more than %d attributes", S(s->metric), TEL_ATTRS_MAX);
		return OC_OK;
	}
	tel_attrs_add_instance(&p->attrs, &b->resource[s->resource]);
	switch (s->data) {
	case OTLP_GAUGE_DATA:
	case OTLP_SUM_DATA:
		if (!p->has_value || !isfinite(p->value)) {
			tel_reject(b, 1, NULL, "%.*s: %s", S(s->metric),
				   p->has_value ? "NaN or infinite" : "a point without a number");
			return OC_OK;
		}
		if (s->data == OTLP_SUM_DATA && s->monotonic && p->value < 0) {
			tel_reject(b, 1, NULL, "%.*s: a monotonic sum below zero", S(s->metric));
			return OC_OK;
		}
		break;
	case OTLP_HISTOGRAM_DATA:
	case OTLP_EXPONENTIAL_DATA:
		h = s->data == OTLP_HISTOGRAM_DATA ? histogram(b, s, p) : exponential(b, s, p);
		if (!h)
			return OC_OK;
		break;
	case OTLP_SUMMARY_DATA:
		*ret_taken = true;
		return take_summary(b, s, p, ret_taken, reterr);
	}
	if (s->data != OTLP_GAUGE_DATA && s->temporality != 1 && s->temporality != 2) {
		tel_reject(b, 1, NULL, "%.*s: neither delta nor cumulative", S(s->metric));
		return OC_OK;
	}
	err = add(b, s, p, s->data == OTLP_GAUGE_DATA ? TEL_GAUGE : h ? TEL_HISTOGRAM : TEL_SUM, &pt, reterr);
	if (err != OC_OK)
		return err;
	pt->cumulative = s->data != OTLP_GAUGE_DATA && s->temporality == 2;
	pt->monotonic = h || (s->data == OTLP_SUM_DATA && s->monotonic);
	pt->value = p->value;
	pt->histogram = h;
	if (!tel_attrs_end(b, &p->attrs, &pt->attr, &pt->attrs)) {
		tel_record_drop(b);
		tel_reject(b, 1, NULL, "%.*s: more than %d attributes", S(s->metric), TEL_ATTRS_MAX);
		return OC_OK;
	}
	*ret_taken = true;
	return OC_OK;
}
