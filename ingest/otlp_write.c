#include <stdio.h>
#include "ingest/otlp.h"
#include "ingest/proto.h"

/* ---- pieces */

static void put_str(struct text *t, uint32_t num, struct tel_str s)
{
	if (s.n)
		pb_put_bytes(t, num, s.s, s.n);
}

static size_t varint_size(size_t v)
{
	return v < 128 ? 1 : v < 16384 ? 2 : v < 2097152 ? 3 : 4;
}

/* KeyValue { key = 1, value = 2 { string_value = 1 } }, lengths counted beforehand: there are many. */
static void put_attr(struct text *t, uint32_t num, const struct tel_attr *a)
{
	size_t inner = 1 + varint_size(a->value.n) + a->value.n;

	pb_put_key(t, num, PB_BYTES);
	pb_put_varint(t, 1 + varint_size(a->key.n) + a->key.n + 1 + varint_size(inner) + inner);
	pb_put_bytes(t, 1, a->key.s, a->key.n);
	pb_put_key(t, 2, PB_BYTES);
	pb_put_varint(t, inner);
	pb_put_bytes(t, 1, a->value.s, a->value.n);
}

static void put_attrs(struct text *t, uint32_t num, const struct tel_attr *attr, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		put_attr(t, num, &attr[i]);
}

static void put_time(struct text *t, uint32_t num, int64_t us)
{
	if (us > 0)
		pb_put_fixed64(t, num, (uint64_t)us * 1000);
}

static void put_point(struct text *t, const struct tel_point *p)
{
	const struct tel_histogram *h = p->histogram;
	size_t at = pb_open(t, 1);

	put_time(t, 2, p->start_us);
	put_time(t, 3, p->time_us);
	if (!h) {
		pb_put_double(t, 4, p->value);
		put_attrs(t, 7, p->attr, p->attrs);
		pb_close(t, at);
		return;
	}
	pb_put_fixed64(t, 4, h->count);
	if (h->has_sum)
		pb_put_double(t, 5, h->sum);
	if (h->bucket) {
		pb_put_bytes(t, 6, h->bucket, (h->bounds + 1) * sizeof(*h->bucket));
		pb_put_bytes(t, 7, h->bound, h->bounds * sizeof(*h->bound));
	}
	put_attrs(t, 9, p->attr, p->attrs);
	if (h->has_min)
		pb_put_double(t, 11, h->min);
	if (h->has_max)
		pb_put_double(t, 12, h->max);
	pb_close(t, at);
}

static void put_log(struct text *t, const struct tel_log *l)
{
	size_t at = pb_open(t, 2), body;

	put_time(t, 1, l->time_us);
	if (l->severity)
		pb_put_uint(t, 2, l->severity);
	put_str(t, 3, l->severity_text);
	body = pb_open(t, 5);
	put_str(t, 1, l->body);
	pb_close(t, body);
	put_attrs(t, 6, l->attr, l->attrs);
	if (l->has_trace)
		pb_put_bytes(t, 9, l->trace_id, 16);
	if (l->has_span)
		pb_put_bytes(t, 10, l->span_id, 8);
	put_time(t, 11, l->observed_us);
	pb_close(t, at);
}

static void put_span(struct text *t, const struct tel_span *s)
{
	size_t at = pb_open(t, 2), status;

	pb_put_bytes(t, 1, s->trace_id, 16);
	pb_put_bytes(t, 2, s->span_id, 8);
	if (s->has_parent)
		pb_put_bytes(t, 4, s->parent_id, 8);
	put_str(t, 5, s->name);
	if (s->kind)
		pb_put_uint(t, 6, s->kind);
	put_time(t, 7, s->start_us);
	put_time(t, 8, s->end_us);
	put_attrs(t, 9, s->attr, s->attrs);
	if (s->error || s->status_text.n) {
		status = pb_open(t, 15);
		put_str(t, 2, s->status_text);
		if (s->error)
			pb_put_uint(t, 3, 2);
		pb_close(t, status);
	}
	pb_close(t, at);
}

/* ---- the nest: what is open stays open while the next record goes into it */

struct nest {
	struct text *t;
	const struct tel_batch *b;
	size_t resource, scope, metric, data; /* 0: not open */
	const struct tel_point *last;
	uint32_t resource_index;
	struct tel_str scope_name;
};

static void close_metric(struct nest *n)
{
	if (!n->metric)
		return;
	if (n->last->kind != TEL_GAUGE)
		pb_put_uint(n->t, 2, n->last->cumulative ? 2 : 1);
	if (n->last->kind == TEL_SUM && n->last->monotonic)
		pb_put_uint(n->t, 3, 1);
	pb_close(n->t, n->data);
	pb_close(n->t, n->metric);
	n->metric = n->data = 0;
}

static void close_all(struct nest *n)
{
	close_metric(n);
	if (n->scope)
		pb_close(n->t, n->scope);
	if (n->resource)
		pb_close(n->t, n->resource);
	n->scope = n->resource = 0;
}

static void open_scope(struct nest *n, uint32_t resource, struct tel_str scope)
{
	size_t at;

	if (n->resource && n->resource_index == resource && tel_str_eq(n->scope_name, scope))
		return;
	close_all(n);
	n->resource_index = resource;
	n->scope_name = scope;
	n->resource = pb_open(n->t, 1);
	at = pb_open(n->t, 1);
	put_attrs(n->t, 1, n->b->resource[resource].attr, n->b->resource[resource].attrs);
	pb_close(n->t, at);
	n->scope = pb_open(n->t, 2);
	if (scope.n) {
		at = pb_open(n->t, 1);
		put_str(n->t, 1, scope);
		pb_close(n->t, at);
	}
}

static void open_metric(struct nest *n, const struct tel_point *p)
{
	static const uint32_t field[] = { [TEL_GAUGE] = 5, [TEL_SUM] = 7, [TEL_HISTOGRAM] = 9 };
	const struct tel_point *l = n->last;

	if (n->metric && l->kind == p->kind && l->cumulative == p->cumulative &&
	    l->monotonic == p->monotonic && tel_str_eq(l->metric, p->metric) && tel_str_eq(l->unit, p->unit))
		return;
	close_metric(n);
	n->metric = pb_open(n->t, 2);
	put_str(n->t, 1, p->metric);
	put_str(n->t, 3, p->unit);
	n->data = pb_open(n->t, field[p->kind]);
	n->last = p;
}

uint32_t otlp_write(const struct tel_batch *b, const uint32_t *order, uint32_t from, uint32_t to,
		    size_t bytes, struct text *out)
{
	struct nest n = { .t = out, .b = b };
	size_t begin = out->len;
	uint32_t i = from;

	for (; i < to; i++) {
		uint32_t k = order ? order[i] : i;

		if (i > from && bytes && out->len - begin >= bytes)
			break;
		switch (b->kind) {
		case TEL_METRICS:
			open_scope(&n, b->point[k].resource, b->point[k].scope);
			open_metric(&n, &b->point[k]);
			put_point(out, &b->point[k]);
			break;
		case TEL_LOGS:
			open_scope(&n, b->log[k].resource, b->log[k].scope);
			put_log(out, &b->log[k]);
			break;
		default:
			open_scope(&n, b->span[k].resource, b->span[k].scope);
			put_span(out, &b->span[k]);
			break;
		}
	}
	close_all(&n);
	return i;
}

/* ---- answers */

void otlp_answer_protobuf(const struct tel_batch *b, struct text *out)
{
	size_t at;

	/* everything taken and nothing to say: the field stays unset, as the spec has it */
	if (!b->rejected && !b->why[0])
		return;
	at = pb_open(out, 1);
	if (b->rejected)
		pb_put_uint(out, 1, b->rejected);
	pb_put_bytes(out, 2, b->why, strlen(b->why));
	pb_close(out, at);
}

void otlp_answer_json(const struct tel_batch *b, struct text *out)
{
	static const char *const field[] = { "rejectedDataPoints", "rejectedLogRecords", "rejectedSpans" };
	struct tel_attr why = {
		TEL_STR("errorMessage"), { b->why, (uint32_t)strlen(b->why) }
	};
	struct text t = { 0 };

	if (!b->rejected && !b->why[0]) {
		text_add(out, "{}");
		return;
	}
	tel_attrs_json(&why, 1, &t);
	text_addf(out, "{\"partialSuccess\":{\"%s\":\"%llu\",%s}", field[b->kind],
		  (unsigned long long)b->rejected, t.s + 1);
	text_done(&t);
}
