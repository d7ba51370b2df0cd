#include <stdio.h>
#include "base/mem.h"
#include "ingest/otlp.h"
#include "ingest/otlp_point.h"
#include "ingest/proto.h"

#define VALUE_DEPTH 16

/* Where a record stands, so that a rejected one can be written down as a request of its own. */
struct place {
	struct tel_batch *b;
	struct pb_field resource, scope; /* s NULL: not given */
	uint32_t resource_index;
	struct tel_str scope_name;
	struct otlp_raw_point *raw;
};

static struct tel_str text_of(struct place *at, const struct pb_field *f)
{
	return f->wire == PB_BYTES ? otlp_text(at->b, f->s, f->n) : (struct tel_str){ "", 0 };
}

static enum oc_err broken(const char *what, struct oc_fail *reterr)
{
	return oc_fail(reterr, OC_BAD_REQUEST, "not an OTLP request: %s is broken protobuf", what);
}

/* ---- AnyValue */

static void quote(struct text *out, struct tel_str s)
{
	struct tel_attr one = {
		{ "", 0 },
                s
	};
	struct text t = { 0 };

	tel_attrs_json(&one, 1, &t); /* {"":"..."} */
	text_add_n(out, t.s + 4, t.len - 5);
	text_done(&t);
}

static void hex_of(const struct pb_field *f, struct text *out)
{
	for (uint32_t i = 0; i < f->n; i++)
		text_addf(out, "%02x", f->s[i]);
}

static void value_json(struct place *at, struct pb in, unsigned depth, struct text *out);

static void list_json(struct place *at, struct pb in, bool pairs, unsigned depth, struct text *out)
{
	struct pb_field f, kv;
	bool first = true;

	text_add(out, pairs ? "{" : "[");
	while (pb_next(&in, &f) && out->len < TEL_TEXT_MAX) {
		struct pb_field value = { 0 };
		struct tel_str key = { "", 0 };

		if (f.num != 1 || f.wire != PB_BYTES)
			continue;
		if (!first)
			text_add(out, ",");
		first = false;
		if (!pairs) {
			value_json(at, pb_sub(&f), depth, out);
			continue;
		}
		for (struct pb kin = pb_sub(&f); pb_next(&kin, &kv);) {
			if (kv.num == 1)
				key = text_of(at, &kv);
			else if (kv.num == 2 && kv.wire == PB_BYTES)
				value = kv;
		}
		quote(out, key);
		text_add(out, ":");
		value_json(at, value.s ? pb_sub(&value) : pb_of("", 0), depth, out);
	}
	text_add(out, pairs ? "}" : "]");
}

static void value_json(struct place *at, struct pb in, unsigned depth, struct text *out)
{
	struct pb_field f, v = { 0 };
	char buf[40];

	while (pb_next(&in, &f))
		v = f; /* a oneof: the last one counts */
	switch (depth < VALUE_DEPTH ? v.num : 0) {
	case 1:
		quote(out, text_of(at, &v));
		return;
	case 2:
		text_add(out, v.u ? "true" : "false");
		return;
	case 3:
		text_addf(out, "%lld", (long long)v.u);
		return;
	case 4:
		snprintf(buf, sizeof(buf), "%.17g", pb_double(&v));
		text_add(out, strpbrk(buf, "in") ? "null" : buf); /* inf, nan */
		return;
	case 5:
	case 6:
		list_json(at, pb_sub(&v), v.num == 6, depth + 1, out);
		return;
	case 7:
		text_add(out, "\"");
		hex_of(&v, out);
		text_add(out, "\"");
		return;
	default:
		text_add(out, "null");
	}
}

static struct tel_str value_text(struct place *at, struct pb in)
{
	struct pb_field f, v = { 0 };
	struct text t = { 0 };
	struct tel_str s;

	while (pb_next(&in, &f))
		v = f;
	switch (v.num) {
	case 1:
		return text_of(at, &v);
	case 2:
		return v.u ? TEL_STR("true") : TEL_STR("false");
	case 3:
		return tel_printf(at->b, "%lld", (long long)v.u);
	case 4:
		return tel_printf(at->b, "%.17g", pb_double(&v));
	case 5:
	case 6:
		list_json(at, pb_sub(&v), v.num == 6, 1, &t);
		break;
	case 7:
		if (v.n <= TEL_TEXT_MAX / 2)
			hex_of(&v, &t);
		break;
	}
	s = tel_copy(at->b, text_str(&t), t.len);
	text_done(&t);
	return s;
}

static void attribute(struct place *at, const struct pb_field *field, struct tel_attrs *attrs, uint32_t max)
{
	struct tel_str key = { "", 0 }, value = { NULL, 0 };
	struct pb_field f;

	for (struct pb in = pb_sub(field); pb_next(&in, &f);) {
		if (f.num == 1)
			key = text_of(at, &f);
		else if (f.num == 2 && f.wire == PB_BYTES)
			value = value_text(at, pb_sub(&f));
	}
	if (value.s)
		tel_attrs_add(attrs, key, value, max);
}

/* ---- a rejected record, as a request of its own in base64 */

static char *base64(const struct text *t)
{
	static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = mem_alloc(t->len / 3 * 4 + 8), *p = out;
	const unsigned char *s = (const unsigned char *)t->s;

	for (size_t i = 0; i < t->len; i += 3) {
		size_t n = t->len - i < 3 ? t->len - i : 3;
		uint32_t w = (uint32_t)s[i] << 16 | (n > 1 ? (uint32_t)s[i + 1] << 8 : 0) |
			     (n > 2 ? s[i + 2] : 0);

		*p++ = abc[w >> 18];
		*p++ = abc[w >> 12 & 63];
		*p++ = n > 1 ? abc[w >> 6 & 63] : '=';
		*p++ = n > 2 ? abc[w & 63] : '=';
	}
	return out;
}

/* `open` numbers: the messages from the scope's list down to the record's parent. */
static void keep_rejected(struct place *at, uint32_t before, const struct pb_field *record,
			  const struct otlp_shape *shape)
{
	static const uint32_t data_field[] = { 5, 7, 9, 10, 11 };
	struct tel_rejected *r;
	AUTO(text) struct text t = { 0 };
	size_t rm, sm, m = 0, d = 0;

	if (at->b->rejects <= before || record->n > 4096)
		return;
	r = &at->b->reject[at->b->rejects - 1];
	rm = pb_open(&t, 1);
	if (at->resource.s)
		pb_put_bytes(&t, 1, at->resource.s, at->resource.n);
	sm = pb_open(&t, 2);
	if (at->scope.s)
		pb_put_bytes(&t, 1, at->scope.s, at->scope.n);
	if (shape) {
		m = pb_open(&t, 2);
		pb_put_bytes(&t, 1, shape->metric.s, shape->metric.n);
		pb_put_bytes(&t, 3, shape->unit.s, shape->unit.n);
		d = pb_open(&t, data_field[shape->data]);
		pb_put_bytes(&t, 1, record->s, record->n);
		if (shape->temporality)
			pb_put_uint(&t, 2, (uint64_t)shape->temporality);
		if (shape->monotonic && shape->data == OTLP_SUM_DATA)
			pb_put_uint(&t, 3, 1);
		pb_close(&t, d);
		pb_close(&t, m);
	} else {
		pb_put_bytes(&t, 2, record->s, record->n);
	}
	pb_close(&t, sm);
	pb_close(&t, rm);
	if (t.len <= 6000)
		r->record = base64(&t);
}

/* ---- metrics */

static bool packed64(const struct pb_field *f, uint64_t *list, uint32_t *n, uint32_t max)
{
	if (f->wire == PB_FIXED64) {
		if (*n == max)
			return false;
		list[(*n)++] = f->u;
		return true;
	}
	if (f->wire != PB_BYTES || f->n % 8 || f->n / 8 > max - *n)
		return false;
	memcpy(list + *n, f->s, f->n);
	*n += f->n / 8;
	return true;
}

static bool exponential_side(const struct pb_field *field, struct otlp_exponential_side *side)
{
	struct pb_field f;

	for (struct pb in = pb_sub(field); pb_next(&in, &f);) {
		if (f.num == 1) {
			int64_t o = pb_zigzag(f.u);

			if (o < INT32_MIN / 2 || o > INT32_MAX / 2)
				return false;
			side->offset = (int32_t)o;
		} else if (f.num == 2 && f.wire == PB_VARINT) {
			if (side->n == TEL_BUCKETS_MAX)
				return false;
			side->count[side->n++] = f.u;
		} else if (f.num == 2) {
			struct pb list = pb_sub(&f);
			uint64_t v;

			while (list.p < list.end) {
				if (side->n == TEL_BUCKETS_MAX || !pb_varint(&list, &v))
					return false;
				side->count[side->n++] = v;
			}
		}
	}
	return true;
}

static void histogram_field(const struct pb_field *f, struct otlp_raw_point *p)
{
	switch (f->num) {
	case 4:
		p->has_count = f->wire == PB_FIXED64;
		p->count = f->u;
		break;
	case 5:
		p->has_sum = true;
		p->sum = pb_double(f);
		break;
	case 6:
		p->over |= !packed64(f, p->bucket, &p->buckets, TEL_BUCKETS_MAX + 1);
		break;
	case 7:
		p->over |= !packed64(f, (uint64_t *)(void *)p->bound, &p->bounds, TEL_BUCKETS_MAX);
		break;
	case 11:
		p->has_min = true;
		p->min = pb_double(f);
		break;
	case 12:
		p->has_max = true;
		p->max = pb_double(f);
		break;
	}
}

static void exponential_field(const struct pb_field *f, struct otlp_raw_point *p)
{
	int64_t scale;

	switch (f->num) {
	case 4:
	case 5:
		histogram_field(f, p);
		break;
	case 6:
		scale = pb_zigzag(f->u);
		p->scale = scale > 1000 ? 1000 : scale < -1000 ? -1000 : (int32_t)scale;
		break;
	case 7:
		p->zero_count = f->u;
		break;
	case 8:
		p->over |= !exponential_side(f, &p->positive);
		break;
	case 9:
		p->over |= !exponential_side(f, &p->negative);
		break;
	case 12:
		p->has_min = true;
		p->min = pb_double(f);
		break;
	case 13:
		p->has_max = true;
		p->max = pb_double(f);
		break;
	case 14:
		p->zero_threshold = pb_double(f);
		break;
	}
}

static void summary_field(const struct pb_field *f, struct otlp_raw_point *p)
{
	struct pb_field q;

	if (f->num == 4 || f->num == 5) {
		histogram_field(f, p);
	} else if (f->num == 6 && p->quantiles < OTLP_QUANTILES_MAX) {
		double *at = p->quantile[p->quantiles++];

		at[0] = at[1] = 0;
		for (struct pb in = pb_sub(f); pb_next(&in, &q);)
			if (q.num == 1 || q.num == 2)
				at[q.num - 1] = pb_double(&q);
	}
}

static bool read_point(struct place *at, const struct pb_field *field, enum otlp_data data,
		       struct otlp_raw_point *p)
{
	bool number = data == OTLP_GAUGE_DATA || data == OTLP_SUM_DATA;
	uint32_t attrs = data == OTLP_EXPONENTIAL_DATA ? 1
			 : data == OTLP_HISTOGRAM_DATA ? 9
						       : 7,
		 flags = number || data == OTLP_SUMMARY_DATA ? 8 : 10;
	struct pb in = pb_sub(field);
	struct pb_field f;

	otlp_raw_reset(p);
	while (pb_next(&in, &f)) {
		if (f.num == 2 && f.wire == PB_FIXED64)
			p->start_ns = f.u;
		else if (f.num == 3 && f.wire == PB_FIXED64)
			p->time_ns = f.u;
		else if (f.num == attrs)
			attribute(at, &f, &p->attrs, TEL_LABEL_MAX);
		else if (f.num == flags)
			p->flags = f.u;
		else if (data == OTLP_HISTOGRAM_DATA)
			histogram_field(&f, p);
		else if (data == OTLP_EXPONENTIAL_DATA)
			exponential_field(&f, p);
		else if (data == OTLP_SUMMARY_DATA)
			summary_field(&f, p);
		else if (f.num == 4 && f.wire == PB_FIXED64)
			p->has_value = true, p->value = pb_double(&f);
		else if (f.num == 6 && f.wire == PB_FIXED64)
			p->has_value = true, p->value = (double)(int64_t)f.u;
	}
	return !in.bad;
}

static enum oc_err read_metric(struct place *at, const struct pb_field *field, struct oc_fail *reterr)
{
	struct otlp_shape shape = {
		.resource = at->resource_index, .scope = at->scope_name, .metric = { "", 0 },
                        .unit = { "", 0 }
	};
	struct pb_field f, data = { 0 };
	struct pb in = pb_sub(field);
	uint32_t points = 0;

	/* fields may come in any order: first what holds for all points */
	while (pb_next(&in, &f)) {
		if (f.num == 1)
			shape.metric = text_of(at, &f);
		else if (f.num == 3)
			shape.unit = text_of(at, &f);
		else if ((f.num == 5 || f.num == 7 || (f.num >= 9 && f.num <= 11)) && f.wire == PB_BYTES)
			data = f;
	}
	if (in.bad)
		return broken("a metric", reterr);
	if (!data.s)
		return OC_OK; /* a metric without data is legal and says nothing */
	shape.data = data.num == 5    ? OTLP_GAUGE_DATA
		     : data.num == 7  ? OTLP_SUM_DATA
		     : data.num == 9  ? OTLP_HISTOGRAM_DATA
		     : data.num == 10 ? OTLP_EXPONENTIAL_DATA
				      : OTLP_SUMMARY_DATA;
	for (in = pb_sub(&data); pb_next(&in, &f);) {
		if (f.num == 1)
			points++;
		else if (f.num == 2)
			shape.temporality = (int)(f.u < 3 ? f.u : 0);
		else if (f.num == 3 && data.num == 7)
			shape.monotonic = f.u != 0;
	}
	if (shape.data == OTLP_SUMMARY_DATA)
		shape.temporality = 2;
	if (in.bad)
		return broken("a metric's data", reterr);
	if (points && (shape.metric.n == 0 || shape.metric.n > TEL_NAME_MAX)) {
		tel_reject(at->b, points, NULL, "a metric without a name, or with a very long one");
		return OC_OK;
	}
	for (in = pb_sub(&data); pb_next(&in, &f);) {
		uint32_t before = at->b->rejects;
		bool taken;
		enum oc_err err;

		if (f.num != 1 || f.wire != PB_BYTES)
			continue;
		if (!read_point(at, &f, shape.data, at->raw))
			return broken("a data point", reterr);
		err = otlp_point_take(at->b, &shape, at->raw, &taken, reterr);
		if (err != OC_OK)
			return err;
		if (!taken)
			keep_rejected(at, before, &f, &shape);
	}
	return OC_OK;
}

/* ---- logs */

static bool id_of(const struct pb_field *f, uint8_t *to, uint32_t n)
{
	static const uint8_t none[16];

	if (f->wire != PB_BYTES || f->n != n || memcmp(f->s, none, n) == 0)
		return false;
	memcpy(to, f->s, n);
	return true;
}

static enum oc_err read_log(struct place *at, const struct pb_field *field, struct oc_fail *reterr)
{
	struct tel_attrs attrs = { .n = 0 };
	struct pb in = pb_sub(field);
	uint32_t before = at->b->rejects;
	struct tel_log *l;
	struct pb_field f;
	enum oc_err err = tel_log_add(at->b, &l, reterr);

	if (err != OC_OK)
		return err;
	l->resource = at->resource_index;
	l->scope = at->scope_name;
	l->body = l->severity_text = (struct tel_str){ "", 0 };
	while (pb_next(&in, &f)) {
		switch (f.num) {
		case 1:
			l->time_us = (int64_t)(f.u / 1000);
			break;
		case 2:
			l->severity = f.u <= 24 ? (uint8_t)f.u : 0;
			break;
		case 3:
			l->severity_text = tel_cut(text_of(at, &f), 64);
			break;
		case 5:
			l->body = tel_cut(value_text(at, pb_sub(&f)), TEL_TEXT_MAX);
			break;
		case 6:
			attribute(at, &f, &attrs, TEL_TEXT_MAX);
			break;
		case 9:
			l->has_trace = id_of(&f, l->trace_id, 16);
			break;
		case 10:
			l->has_span = id_of(&f, l->span_id, 8);
			break;
		case 11:
			l->observed_us = (int64_t)(f.u / 1000);
			break;
		}
	}
	if (in.bad)
		return broken("a log record", reterr);
	if (l->time_us <= 0)
		l->time_us = l->observed_us;
	if (l->severity == 0)
		l->severity = tel_severity(l->severity_text);
	if (!tel_attrs_end(at->b, &attrs, &l->attr, &l->attrs)) {
		tel_record_drop(at->b);
		tel_reject(at->b, 1, NULL, "a log record with more than %d attributes", TEL_ATTRS_MAX);
		keep_rejected(at, before, field, NULL);
	}
	return OC_OK;
}

/* ---- spans */

static enum oc_err read_span(struct place *at, const struct pb_field *field, struct oc_fail *reterr)
{
	struct tel_attrs attrs = { .n = 0 };
	struct pb in = pb_sub(field);
	uint32_t before = at->b->rejects;
	bool has_trace = false, has_id = false, whole;
	struct pb_field f, st;
	struct tel_span *s;
	enum oc_err err = tel_span_add(at->b, &s, reterr);

	if (err != OC_OK)
		return err;
	s->resource = at->resource_index;
	s->scope = at->scope_name;
	s->name = s->status_text = (struct tel_str){ "", 0 };
	while (pb_next(&in, &f)) {
		switch (f.num) {
		case 1:
			has_trace = id_of(&f, s->trace_id, 16);
			break;
		case 2:
			has_id = id_of(&f, s->span_id, 8);
			break;
		case 4:
			s->has_parent = id_of(&f, s->parent_id, 8);
			break;
		case 5:
			s->name = tel_cut(text_of(at, &f), 1024);
			break;
		case 6:
			s->kind = f.u <= TEL_SPAN_CONSUMER ? (uint8_t)f.u : 0;
			break;
		case 7:
			s->start_us = (int64_t)(f.u / 1000);
			break;
		case 8:
			s->end_us = (int64_t)(f.u / 1000);
			break;
		case 9:
			attribute(at, &f, &attrs, TEL_TEXT_MAX);
			break;
		case 15:
			for (struct pb sin = pb_sub(&f); pb_next(&sin, &st);) {
				if (st.num == 2)
					s->status_text = tel_cut(text_of(at, &st), 1024);
				else if (st.num == 3)
					s->error = st.u == 2;
			}
			break;
		}
	}
	if (in.bad)
		return broken("a span", reterr);
	whole = tel_attrs_end(at->b, &attrs, &s->attr, &s->attrs);
	if (has_trace && has_id && whole && s->start_us > 0 && s->end_us >= s->start_us)
		return OC_OK;
	tel_record_drop(at->b);
	tel_reject(at->b, 1, NULL, "%s",
		   !has_trace || !has_id ? "a span without a trace id and a span id"
		   : !whole              ? "a span with too many attributes"
					 : "a span without times, or one that ends before it begins");
	keep_rejected(at, before, field, NULL);
	return OC_OK;
}

/* ---- the request */

static enum oc_err read_scope(struct place *at, const struct pb_field *field, struct oc_fail *reterr)
{
	struct pb in = pb_sub(field);
	struct pb_field f, x;

	at->scope = (struct pb_field){ 0 };
	at->scope_name = (struct tel_str){ "", 0 };
	while (pb_next(&in, &f))
		if (f.num == 1 && f.wire == PB_BYTES)
			at->scope = f;
	if (at->scope.s)
		for (struct pb sin = pb_sub(&at->scope); pb_next(&sin, &x);)
			if (x.num == 1)
				at->scope_name = tel_cut(text_of(at, &x), TEL_NAME_MAX);
	if (in.bad)
		return broken("a scope", reterr);
	for (in = pb_sub(field); pb_next(&in, &f);) {
		enum oc_err err;

		if (f.num != 2 || f.wire != PB_BYTES)
			continue;
		err = at->b->kind == TEL_METRICS ? read_metric(at, &f, reterr)
		      : at->b->kind == TEL_LOGS  ? read_log(at, &f, reterr)
						 : read_span(at, &f, reterr);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static enum oc_err read_resource(struct place *at, const struct pb_field *field, struct oc_fail *reterr)
{
	struct tel_attrs attrs = { .n = 0 };
	struct pb in = pb_sub(field);
	struct pb_field f, x;
	enum oc_err err;

	at->resource = (struct pb_field){ 0 };
	while (pb_next(&in, &f))
		if (f.num == 1 && f.wire == PB_BYTES)
			at->resource = f;
	if (in.bad)
		return broken("a resource", reterr);
	if (at->resource.s)
		for (struct pb rin = pb_sub(&at->resource); pb_next(&rin, &x);)
			if (x.num == 1)
				attribute(at, &x, &attrs, TEL_LABEL_MAX);
	err = tel_resource_add(at->b, &attrs, &at->resource_index, reterr);
	for (in = pb_sub(field); err == OC_OK && pb_next(&in, &f);)
		if (f.num == 2 && f.wire == PB_BYTES)
			err = read_scope(at, &f, reterr);
	return err;
}

enum oc_err otlp_read_protobuf(enum tel_kind kind, const void *body, size_t len, struct tel_batch *ret,
			       struct oc_fail *reterr)
{
	struct place at = { .b = ret };
	struct pb in = pb_of(body, len);
	struct pb_field f;
	enum oc_err err = OC_OK;

	tel_batch_init(ret, kind);
	if (len > TEL_BYTES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %zu bytes", TEL_BYTES_MAX);
	if (kind == TEL_METRICS)
		at.raw = mem_alloc(sizeof(*at.raw));
	while (err == OC_OK && pb_next(&in, &f)) {
		if (f.num == 1 && f.wire == PB_BYTES)
			err = read_resource(&at, &f, reterr);
		else if (f.num == 1)
			err = broken("the request", reterr);
	}
	if (err == OC_OK && in.bad)
		err = broken("the request", reterr);
	free(at.raw);
	if (err != OC_OK)
		tel_batch_done(ret);
	return err;
}
