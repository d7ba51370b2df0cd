#include "ingest/remote_write.h"
#include <math.h>
#include <snappy-c.h>
#include <stdlib.h>
#include "base/hash.h"
#include "base/mem.h"
#include "ingest/otlp_point.h"
#include "ingest/proto.h"

#define SERIES_KEPT 4096 /* a rejected series larger than this is only counted */

/* The resource of the last series: neighbours nearly always share it. */
struct last_resource {
	struct tel_str job, instance, space;
	uint32_t index;
	bool there;
};

struct writing {
	struct tel_batch *b;
	struct otlp_raw_point *raw;
	struct last_resource last;
	struct tel_attrs attrs; /* of the series under way */
	struct tel_str name, job, instance, space;
};

static enum oc_err broken(const char *what, struct oc_fail *reterr)
{
	return oc_fail(reterr, OC_BAD_REQUEST, "not a remote-write request: %s is broken protobuf", what);
}

/* ---- labels */

static bool label(struct writing *w, const struct pb_field *field)
{
	struct tel_str name = { "", 0 }, value = { "", 0 };
	struct pb in = pb_sub(field);
	struct pb_field f;

	while (pb_next(&in, &f)) {
		if (f.wire == PB_BYTES && f.num == 1)
			name = otlp_text(w->b, f.s, f.n);
		else if (f.wire == PB_BYTES && f.num == 2)
			value = otlp_text(w->b, f.s, f.n);
	}
	if (in.bad)
		return false;
	if (value.n == 0) /* the same as none, says the data model */
		return true;
	if (tel_str_is(name, "__name__"))
		w->name = value;
	else if (tel_str_is(name, "job"))
		w->job = tel_cut(value, TEL_LABEL_MAX);
	else if (tel_str_is(name, "instance"))
		w->instance = tel_cut(value, TEL_LABEL_MAX);
	else
		tel_attrs_add(&w->attrs, name, value, TEL_LABEL_MAX);
	if (tel_str_is(name, "namespace"))
		w->space = tel_cut(value, TEL_LABEL_MAX);
	return true;
}

static enum oc_err resource(struct writing *w, uint32_t *ret, struct oc_fail *reterr)
{
	struct last_resource *l = &w->last;
	struct tel_attrs a = { .n = 0 };
	enum oc_err err;

	if (!l->there || !tel_str_eq(l->job, w->job) || !tel_str_eq(l->instance, w->instance) ||
	    !tel_str_eq(l->space, w->space)) {
		if (w->job.n)
			tel_attrs_add(&a, TEL_STR("service.name"), w->job, TEL_LABEL_MAX);
		if (w->instance.n)
			tel_attrs_add(&a, TEL_STR("service.instance.id"), w->instance, TEL_LABEL_MAX);
		if (w->space.n)
			tel_attrs_add(&a, TEL_STR("k8s.namespace.name"), w->space, TEL_LABEL_MAX);
		err = tel_resource_add(w->b, &a, &l->index, reterr);
		if (err != OC_OK)
			return err;
		*l = (struct last_resource){ w->job, w->instance, w->space, l->index, true };
	}
	*ret = l->index;
	return OC_OK;
}

static bool ends_in(struct tel_str s, const char *with)
{
	size_t n = strlen(with);

	return s.n > n && memcmp(s.s + s.n - n, with, n) == 0;
}

static bool is_cumulative(struct tel_str name)
{
	return ends_in(name, "_total") || ends_in(name, "_bucket") || ends_in(name, "_count") ||
	       ends_in(name, "_sum");
}

/* ---- rejected series */

static void keep_rejected(struct writing *w, uint32_t before, const struct pb_field *series)
{
	AUTO(text) struct text request = { 0 };
	AUTO(str) char *packed = NULL;
	size_t n;

	if (w->b->rejects <= before || series->n > SERIES_KEPT || w->b->reject[w->b->rejects - 1].record)
		return;
	pb_put_bytes(&request, 1, series->s, series->n);
	n = snappy_max_compressed_length(request.len);
	packed = mem_alloc(n);
	if (snappy_compress(request.s, request.len, packed, &n) == SNAPPY_OK)
		w->b->reject[w->b->rejects - 1].record = hash_base64(packed, n);
}

/* ---- samples */

static int64_t milliseconds(uint64_t u)
{
	int64_t ms = (int64_t)u;

	/* what would not fit in nanoseconds is no time: 0 is rejected as such further on */
	return ms < 0 || ms > INT64_MAX / 1000000 ? 0 : ms;
}

static bool sample(struct pb in, double *ret_value, int64_t *ret_ms)
{
	struct pb_field f;

	*ret_value = 0; /* proto3 leaves zeros out */
	*ret_ms = 0;
	while (pb_next(&in, &f)) {
		if (f.num == 1 && f.wire == PB_FIXED64)
			*ret_value = pb_double(&f);
		else if (f.num == 2 && f.wire == PB_VARINT)
			*ret_ms = milliseconds(f.u);
	}
	return !in.bad;
}

static enum oc_err take_sample(struct writing *w, const struct otlp_shape *series, double value, int64_t ms,
			       struct oc_fail *reterr)
{
	struct otlp_shape shape = *series;
	bool taken;

	if (isnan(value)) {
		w->b->stale++;
		return OC_OK;
	}
	otlp_raw_reset(w->raw);
	w->raw->attrs = w->attrs;
	w->raw->time_ns = (uint64_t)ms * 1000000;
	w->raw->has_value = true;
	w->raw->value = value;
	if (shape.data == OTLP_SUM_DATA && value < 0) /* a sum of what may be negative */
		shape.data = OTLP_GAUGE_DATA;
	return otlp_point_take(w->b, &shape, w->raw, &taken, reterr);
}

/* ---- native histograms */

struct side {
	struct {
		int64_t offset;
		uint64_t length;
	} span[64];
	uint32_t spans, deltas;
	int64_t delta[TEL_BUCKETS_MAX];
	bool over;
};

static bool side_span(struct side *s, const struct pb_field *field)
{
	struct pb in = pb_sub(field);
	struct pb_field f;
	int64_t offset = 0;
	uint64_t length = 0;

	while (pb_next(&in, &f)) {
		if (f.num == 1)
			offset = pb_zigzag(f.u);
		else if (f.num == 2)
			length = f.u;
	}
	if (s->spans == sizeof(s->span) / sizeof(*s->span) || length > TEL_BUCKETS_MAX ||
	    offset > INT32_MAX / 4 || offset < INT32_MIN / 4) {
		s->over = true;
		return !in.bad;
	}
	s->span[s->spans].offset = offset;
	s->span[s->spans++].length = length;
	return !in.bad;
}

static bool side_deltas(struct side *s, const struct pb_field *f)
{
	struct pb in = f->wire == PB_BYTES ? pb_sub(f) : pb_of("", 0);
	uint64_t v = f->u;

	for (bool more = f->wire == PB_VARINT || in.p < in.end; more; more = in.p < in.end) {
		if (f->wire == PB_BYTES && !pb_varint(&in, &v))
			return false;
		if (s->deltas == TEL_BUCKETS_MAX) {
			s->over = true;
			return true;
		}
		s->delta[s->deltas++] = pb_zigzag(v);
	}
	return true;
}

/* Spans and deltas as one run of counts. Prometheus' bucket i ends at base^i, OpenTelemetry's i begins there. */
static bool side_lay_out(const struct side *s, struct otlp_exponential_side *out)
{
	int64_t at = 0, count = 0;
	uint32_t used = 0;

	out->n = 0;
	for (uint32_t i = 0; i < s->spans; i++) {
		if (i == 0)
			out->offset = (int32_t)(s->span[0].offset - 1);
		else if (s->span[i].offset < 0)
			return false;
		at = i == 0 ? 0 : at + s->span[i].offset;
		for (uint64_t k = 0; k < s->span[i].length; k++, at++) {
			if (used == s->deltas || at >= TEL_BUCKETS_MAX ||
			    __builtin_add_overflow(count, s->delta[used++], &count) || count < 0)
				return false;
			while (out->n < at)
				out->count[out->n++] = 0;
			out->count[out->n++] = (uint64_t)count;
		}
	}
	return used == s->deltas;
}

static enum oc_err take_histogram(struct writing *w, const struct otlp_shape *series,
				  const struct pb_field *field, struct oc_fail *reterr)
{
	AUTO(free) void *mem = mem_alloc(2 * sizeof(struct side));
	struct side *side = mem; /* negative, positive */
	struct otlp_shape shape = *series;
	struct otlp_raw_point *p = w->raw;
	struct pb in = pb_sub(field);
	struct pb_field f;
	bool floats = false, whole = true, taken;

	memset(side, 0, 2 * sizeof(*side));
	otlp_raw_reset(p);
	p->attrs = w->attrs;
	p->has_count = true;
	while (whole && pb_next(&in, &f)) {
		switch (f.num) {
		case 1:
			p->count = f.u;
			break;
		case 2:
		case 7:
		case 10:
		case 13:
			floats = true;
			break;
		case 3:
			p->has_sum = true;
			p->sum = pb_double(&f);
			break;
		case 4:
			p->scale = (int32_t)pb_zigzag(f.u);
			break;
		case 5:
			p->zero_threshold = pb_double(&f);
			break;
		case 6:
			p->zero_count = f.u;
			break;
		case 8:
		case 11:
			whole = side_span(&side[f.num == 11], &f);
			break;
		case 9:
		case 12:
			whole = side_deltas(&side[f.num == 12], &f);
			break;
		case 15:
			p->time_ns = (uint64_t)milliseconds(f.u) * 1000000;
			break;
		}
	}
	if (in.bad || !whole)
		return broken("a histogram", reterr);
	if (p->has_sum && isnan(p->sum)) { /* how a histogram goes stale */
		w->b->stale++;
		return OC_OK;
	}
	if (floats) {
		tel_reject(w->b, 1, NULL, "%.*s: a native histogram of fractional counts", (int)w->name.n,
			   w->name.s);
		return OC_OK;
	}
	p->over = side[0].over || side[1].over || !side_lay_out(&side[0], &p->negative) ||
		  !side_lay_out(&side[1], &p->positive);
	shape.data = OTLP_EXPONENTIAL_DATA;
	return otlp_point_take(w->b, &shape, p, &taken, reterr);
}

/* ---- a series */

static uint32_t samples_of(const struct pb_field *series)
{
	struct pb in = pb_sub(series);
	struct pb_field f;
	uint32_t n = 0;

	while (pb_next(&in, &f))
		n += f.num == 2 || f.num == 4;
	return n;
}

static enum oc_err take_series(struct writing *w, const struct pb_field *field, struct oc_fail *reterr)
{
	struct otlp_shape shape = {
		.scope = { "", 0 },
                  .unit = { "", 0 },
                  .temporality = 2
	};
	struct pb in = pb_sub(field);
	struct pb_field f;
	enum oc_err err = OC_OK;
	uint32_t before = w->b->rejects;

	w->attrs.n = 0;
	w->attrs.over = false;
	w->name = w->job = w->instance = w->space = (struct tel_str){ "", 0 };
	while (pb_next(&in, &f))
		if (f.num == 1 && f.wire == PB_BYTES && !label(w, &f))
			return broken("a label", reterr);
	if (in.bad)
		return broken("a series", reterr);
	if (w->name.n == 0 || w->name.n > TEL_NAME_MAX) {
		tel_reject(w->b, samples_of(field), NULL, "a series %s",
			   w->name.n ? "with too long a name" : "without a name");
		keep_rejected(w, before, field);
		return OC_OK;
	}
	err = resource(w, &shape.resource, reterr);
	shape.metric = w->name;
	shape.monotonic = is_cumulative(w->name);
	shape.data = shape.monotonic ? OTLP_SUM_DATA : OTLP_GAUGE_DATA;
	for (in = pb_sub(field); err == OC_OK && pb_next(&in, &f);) {
		double value;
		int64_t ms;

		if (f.wire != PB_BYTES)
			continue;
		if (f.num == 2 && !sample(pb_sub(&f), &value, &ms))
			return broken("a sample", reterr);
		if (f.num == 2)
			err = take_sample(w, &shape, value, ms, reterr);
		else if (f.num == 4)
			err = take_histogram(w, &shape, &f, reterr);
	}
	keep_rejected(w, before, field);
	return err;
}

enum oc_err remote_write_read(const void *body, size_t len, struct tel_batch *ret, struct oc_fail *reterr)
{
	AUTO(free)
	void *mem = mem_alloc(sizeof(struct writing)), *raw = mem_alloc(sizeof(struct otlp_raw_point));
	struct writing *w = mem;
	struct pb in;
	struct pb_field f;
	enum oc_err err = OC_OK;
	size_t n = 0;

	tel_batch_init(ret, TEL_METRICS);
	if (snappy_uncompressed_length(body, len, &n) != SNAPPY_OK)
		return oc_fail(reterr, OC_BAD_REQUEST, "the body is no snappy block");
	if (n > TEL_BYTES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "the body is larger than %zu bytes when unpacked",
			       TEL_BYTES_MAX);
	ret->owned = mem_alloc(n + 1);
	ret->owned_free = free;
	if (snappy_uncompress(body, len, ret->owned, &n) != SNAPPY_OK)
		return oc_fail(reterr, OC_BAD_REQUEST, "the body is a broken snappy block");
	memset(w, 0, sizeof(*w));
	w->b = ret;
	w->raw = raw;
	in = pb_of(ret->owned, n);
	while (err == OC_OK && pb_next(&in, &f))
		if (f.num == 1 && f.wire == PB_BYTES)
			err = take_series(w, &f, reterr);
	if (err == OC_OK && in.bad)
		err = broken("it", reterr);
	return err;
}
