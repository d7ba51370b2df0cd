#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "ingest/otlp.h"
#include "ingest/otlp_point.h"
#include "wire/json/fast.h"

struct place {
	struct tel_batch *b;
	yyjson_val *resource, *scope; /* or NULL */
	uint32_t resource_index;
	struct tel_str scope_name;
	struct otlp_raw_point *raw;
};

static void doc_free(void *doc)
{
	yyjson_doc_free(doc);
}

static yyjson_val *get(yyjson_val *obj, const char *key)
{
	return yyjson_obj_get(obj, key); /* NULL for what is no object */
}

static struct tel_str text_of(struct place *at, yyjson_val *v)
{
	return yyjson_is_str(v) ? otlp_text(at->b, yyjson_get_str(v), yyjson_get_len(v))
				: (struct tel_str){ "", 0 };
}

/* ---- numbers, which may be texts */

static bool read_u64(yyjson_val *v, uint64_t *ret)
{
	if (yyjson_is_uint(v)) {
		*ret = yyjson_get_uint(v);
		return true;
	}
	if (yyjson_is_str(v)) {
		const char *s = yyjson_get_str(v);
		char *end;

		if (*s < '0' || *s > '9' || yyjson_get_len(v) > 20)
			return false;
		*ret = strtoull(s, &end, 10);
		return *end == '\0';
	}
	/* 1.5447126603e+18, as some JSON writers print it */
	if (yyjson_is_real(v) && yyjson_get_real(v) >= 0 && yyjson_get_real(v) < 18e18) {
		*ret = (uint64_t)yyjson_get_real(v);
		return true;
	}
	return false;
}

static bool read_double(yyjson_val *v, double *ret)
{
	if (yyjson_is_num(v)) {
		*ret = yyjson_get_num(v);
		return true;
	}
	if (yyjson_is_str(v)) {
		const char *s = yyjson_get_str(v);
		char *end;

		*ret = strtod(s, &end);
		return *s && *end == '\0';
	}
	return false;
}

static bool read_i64_as_double(yyjson_val *v, double *ret)
{
	long long n;

	if (yyjson_is_int(v)) {
		*ret = yyjson_is_uint(v) ? (double)yyjson_get_uint(v) : (double)yyjson_get_sint(v);
		return true;
	}
	if (!yyjson_is_str(v) || !str_to_long(yyjson_get_str(v), INT64_MIN, INT64_MAX, &n))
		return false;
	*ret = (double)n;
	return true;
}

static uint64_t u64_or_0(yyjson_val *v)
{
	uint64_t n = 0;

	return read_u64(v, &n) ? n : 0;
}

static int64_t i64_or_0(yyjson_val *v)
{
	double d = 0;

	return read_i64_as_double(v, &d) && fabs(d) < 1e15 ? (int64_t)d : 0;
}

static int64_t time_us(yyjson_val *obj, const char *key)
{
	return (int64_t)(u64_or_0(get(obj, key)) / 1000);
}

static bool hex_id(yyjson_val *v, uint8_t *to, size_t n)
{
	static const uint8_t none[16];

	return yyjson_is_str(v) && str_unhex(yyjson_get_str(v), to, n) && memcmp(to, none, n) != 0;
}

/* ---- AnyValue */

/* What protobuf's mapping wraps is unwrapped: {"arrayValue":{"values":[{"intValue":"1"}]}} is [1]. */
static yyjson_mut_val *unwrap(yyjson_mut_doc *doc, yyjson_val *v, unsigned depth)
{
	yyjson_val *x, *item;
	yyjson_arr_iter it;

	if (depth > 16)
		return yyjson_mut_null(doc);
	if ((x = get(v, "arrayValue"))) {
		yyjson_mut_val *list = yyjson_mut_arr(doc);

		yyjson_arr_iter_init(get(x, "values"), &it);
		while ((item = yyjson_arr_iter_next(&it)))
			yyjson_mut_arr_append(list, unwrap(doc, item, depth + 1));
		return list;
	}
	if ((x = get(v, "kvlistValue"))) {
		yyjson_mut_val *obj = yyjson_mut_obj(doc);

		yyjson_arr_iter_init(get(x, "values"), &it);
		while ((item = yyjson_arr_iter_next(&it)))
			if (yyjson_is_str(get(item, "key")))
				yyjson_mut_obj_add(obj, yyjson_val_mut_copy(doc, get(item, "key")),
						   unwrap(doc, get(item, "value"), depth + 1));
		return obj;
	}
	if ((x = get(v, "intValue")) && yyjson_is_str(x))
		return yyjson_mut_rawncpy(doc, yyjson_get_str(x), yyjson_get_len(x));
	if (yyjson_is_obj(v) && yyjson_obj_size(v) > 0) {
		yyjson_obj_iter oi = yyjson_obj_iter_with(v);

		x = yyjson_obj_iter_get_val(yyjson_obj_iter_next(&oi));
		return yyjson_val_mut_copy(doc, x);
	}
	return yyjson_mut_null(doc);
}

static struct tel_str nested_text(struct place *at, yyjson_val *v)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	struct tel_str s = { "", 0 };
	size_t n = 0;
	char *json;

	yyjson_mut_doc_set_root(doc, unwrap(doc, v, 0));
	json = yyjson_mut_write(doc, 0, &n);
	if (json)
		s = otlp_text(at->b, tel_copy(at->b, json, n).s, n);
	free(json);
	yyjson_mut_doc_free(doc);
	return s;
}

/* s NULL: there is no value. */
static struct tel_str value_text(struct place *at, yyjson_val *v)
{
	yyjson_val *x;

	if ((x = get(v, "stringValue")) && yyjson_is_str(x))
		return text_of(at, x);
	if ((x = get(v, "boolValue")) && yyjson_is_bool(x))
		return yyjson_get_bool(x) ? TEL_STR("true") : TEL_STR("false");
	if ((x = get(v, "intValue"))) {
		if (yyjson_is_str(x))
			return text_of(at, x);
		if (yyjson_is_uint(x))
			return tel_printf(at->b, "%llu", (unsigned long long)yyjson_get_uint(x));
		if (yyjson_is_int(x))
			return tel_printf(at->b, "%lld", (long long)yyjson_get_sint(x));
	}
	if ((x = get(v, "doubleValue"))) {
		if (yyjson_is_num(x))
			return tel_printf(at->b, "%.17g", yyjson_get_num(x));
		if (yyjson_is_str(x))
			return text_of(at, x);
	}
	if ((x = get(v, "bytesValue")) && yyjson_is_str(x))
		return text_of(at, x);
	if (get(v, "arrayValue") || get(v, "kvlistValue"))
		return nested_text(at, v);
	return (struct tel_str){ NULL, 0 };
}

static void attributes(struct place *at, yyjson_val *list, struct tel_attrs *attrs, uint32_t max)
{
	yyjson_arr_iter it;
	yyjson_val *kv;

	yyjson_arr_iter_init(list, &it);
	while ((kv = yyjson_arr_iter_next(&it))) {
		struct tel_str value = value_text(at, get(kv, "value"));

		if (value.s)
			tel_attrs_add(attrs, text_of(at, get(kv, "key")), value, max);
	}
}

/* ---- a rejected record, as a request of its own */

static const char *const data_key[] = { "gauge", "sum", "histogram", "exponentialHistogram", "summary" };

static void keep_rejected(struct place *at, uint32_t before, yyjson_val *record,
			  const struct otlp_shape *shape, yyjson_val *metric)
{
	static const char *const list[][3] = {
		{ "resourceMetrics", "scopeMetrics", "metrics"    },
		{ "resourceLogs",    "scopeLogs",    "logRecords" },
		{ "resourceSpans",   "scopeSpans",   "spans"      },
	};
	const char *const *k = list[at->b->kind];
	AUTO(str) char *resource = NULL, *scope = NULL, *rec = NULL;
	struct text t = { 0 };

	if (at->b->rejects <= before)
		return;
	resource = at->resource ? fast_json_text(at->resource, NULL) : mem_strdup("{}");
	scope = at->scope ? fast_json_text(at->scope, NULL) : mem_strdup("{}");
	rec = fast_json_text(record, NULL);
	text_addf(&t, "{\"%s\":[{\"resource\":%s,\"%s\":[{\"scope\":%s,\"%s\":[", k[0], resource, k[1], scope,
		  k[2]);
	if (shape) {
		AUTO(str) char *name = fast_json_text(get(metric, "name"), NULL);

		text_addf(
			&t,
			"{\"name\":%s,\"%s\":{\"aggregationTemporality\":%d,\"isMonotonic\":%s,\"dataPoints\":[%s]}}",
			name, data_key[shape->data], shape->temporality, shape->monotonic ? "true" : "false",
			rec);
	} else {
		text_add(&t, rec);
	}
	text_add(&t, "]}]}]}");
	if (t.len <= 8000)
		at->b->reject[at->b->rejects - 1].record = text_take(&t);
	text_done(&t);
}

/* ---- metrics */

static void read_buckets(yyjson_val *dp, struct otlp_raw_point *p)
{
	yyjson_arr_iter it;
	yyjson_val *v;

	yyjson_arr_iter_init(get(dp, "explicitBounds"), &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		if (p->bounds == TEL_BUCKETS_MAX) {
			p->over = true;
			break;
		}
		if (!read_double(v, &p->bound[p->bounds]))
			p->bound[p->bounds] = NAN; /* refused with the bounds that do not grow */
		p->bounds++;
	}
	yyjson_arr_iter_init(get(dp, "bucketCounts"), &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		if (p->buckets == TEL_BUCKETS_MAX + 1) {
			p->over = true;
			break;
		}
		if (!read_u64(v, &p->bucket[p->buckets]))
			p->bucket[p->buckets] = UINT64_MAX; /* refused as it adds up to nothing */
		p->buckets++;
	}
}

static void read_side(yyjson_val *side, struct otlp_exponential_side *out, bool *over)
{
	yyjson_arr_iter it;
	yyjson_val *v;
	int64_t offset = i64_or_0(get(side, "offset"));

	if (offset < INT32_MIN / 2 || offset > INT32_MAX / 2)
		*over = true;
	else
		out->offset = (int32_t)offset;
	yyjson_arr_iter_init(get(side, "bucketCounts"), &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		if (out->n == TEL_BUCKETS_MAX) {
			*over = true;
			break;
		}
		out->count[out->n++] = u64_or_0(v);
	}
}

static void read_point(struct place *at, yyjson_val *dp, enum otlp_data data, struct otlp_raw_point *p)
{
	yyjson_val *v, *q;
	yyjson_arr_iter it;

	otlp_raw_reset(p);
	p->start_ns = u64_or_0(get(dp, "startTimeUnixNano"));
	p->time_ns = u64_or_0(get(dp, "timeUnixNano"));
	p->flags = u64_or_0(get(dp, "flags"));
	attributes(at, get(dp, "attributes"), &p->attrs, TEL_LABEL_MAX);
	if (data == OTLP_GAUGE_DATA || data == OTLP_SUM_DATA) {
		v = get(dp, "asDouble");
		p->has_value = (v && read_double(v, &p->value)) ||
			       read_i64_as_double(get(dp, "asInt"), &p->value);
		return;
	}
	p->has_count = read_u64(get(dp, "count"), &p->count);
	p->has_sum = read_double(get(dp, "sum"), &p->sum);
	p->has_min = read_double(get(dp, "min"), &p->min);
	p->has_max = read_double(get(dp, "max"), &p->max);
	if (data == OTLP_HISTOGRAM_DATA) {
		read_buckets(dp, p);
	} else if (data == OTLP_EXPONENTIAL_DATA) {
		int64_t scale = i64_or_0(get(dp, "scale"));

		p->scale = scale > 1000 ? 1000 : scale < -1000 ? -1000 : (int32_t)scale;
		p->zero_count = u64_or_0(get(dp, "zeroCount"));
		(void)read_double(get(dp, "zeroThreshold"), &p->zero_threshold);
		read_side(get(dp, "positive"), &p->positive, &p->over);
		read_side(get(dp, "negative"), &p->negative, &p->over);
	} else {
		yyjson_arr_iter_init(get(dp, "quantileValues"), &it);
		while ((q = yyjson_arr_iter_next(&it)) && p->quantiles < OTLP_QUANTILES_MAX) {
			double *to = p->quantile[p->quantiles++];

			to[0] = to[1] = 0;
			(void)read_double(get(q, "quantile"), &to[0]);
			(void)read_double(get(q, "value"), &to[1]);
		}
	}
}

/* 1 delta, 2 cumulative; by number as the spec wants, or by name as others write it. */
static int temporality(yyjson_val *data)
{
	yyjson_val *t = get(data, "aggregationTemporality");

	if (yyjson_is_str(t))
		return yyjson_equals_str(t, "AGGREGATION_TEMPORALITY_DELTA")        ? 1
		       : yyjson_equals_str(t, "AGGREGATION_TEMPORALITY_CUMULATIVE") ? 2
										    : 0;
	return yyjson_is_uint(t) && yyjson_get_uint(t) < 3 ? (int)yyjson_get_uint(t) : 0;
}

static enum oc_err read_metric(struct place *at, yyjson_val *m, struct oc_fail *reterr)
{
	struct otlp_shape shape = { .resource = at->resource_index, .scope = at->scope_name };
	yyjson_val *data = NULL, *points, *dp;
	yyjson_arr_iter it;
	size_t k = 0;

	while (k < ARRAY_LEN(data_key) && !(data = get(m, data_key[k])))
		k++;
	points = get(data, "dataPoints");
	if (!data || yyjson_arr_size(points) == 0)
		return OC_OK; /* a metric without data is legal and says nothing */
	shape.metric = text_of(at, get(m, "name"));
	shape.unit = text_of(at, get(m, "unit"));
	shape.data = (enum otlp_data)k;
	shape.temporality = k == OTLP_SUMMARY_DATA ? 2 : temporality(data);
	shape.monotonic = k == OTLP_SUM_DATA && yyjson_is_true(get(data, "isMonotonic"));
	if (shape.metric.n == 0 || shape.metric.n > TEL_NAME_MAX) {
		tel_reject(at->b, yyjson_arr_size(points), NULL,
			   "a metric without a name, or with a very long one");
		return OC_OK;
	}
	yyjson_arr_iter_init(points, &it);
	while ((dp = yyjson_arr_iter_next(&it))) {
		uint32_t before = at->b->rejects;
		bool taken = false;
		enum oc_err err = OC_OK;

		if (!yyjson_is_obj(dp)) {
			tel_reject(at->b, 1, NULL, "%.*s: a point that is no object", (int)shape.metric.n,
				   shape.metric.s);
		} else {
			read_point(at, dp, shape.data, at->raw);
			err = otlp_point_take(at->b, &shape, at->raw, &taken, reterr);
		}
		if (err != OC_OK)
			return err;
		if (!taken)
			keep_rejected(at, before, dp, &shape, m);
	}
	return OC_OK;
}

/* ---- logs and spans */

static uint8_t severity_number(yyjson_val *v)
{
	static const char prefix[] = "SEVERITY_NUMBER_";
	const char *s = yyjson_get_str(v);
	size_t n;
	uint8_t base;

	if (yyjson_is_uint(v))
		return yyjson_get_uint(v) <= 24 ? (uint8_t)yyjson_get_uint(v) : 0;
	if (!s || !str_starts(s, prefix))
		return 0;
	s += sizeof(prefix) - 1; /* "ERROR", "ERROR2" */
	n = strcspn(s, "234");
	base = tel_severity((struct tel_str){ s, (uint32_t)n });
	return base && s[n] ? (uint8_t)(base + s[n] - '1') : base;
}

static enum oc_err read_log(struct place *at, yyjson_val *v, struct oc_fail *reterr)
{
	struct tel_attrs attrs = { .n = 0 };
	uint32_t before = at->b->rejects;
	struct tel_log *l;
	enum oc_err err = tel_log_add(at->b, &l, reterr);

	if (err != OC_OK)
		return err;
	l->resource = at->resource_index;
	l->scope = at->scope_name;
	l->time_us = time_us(v, "timeUnixNano");
	l->observed_us = time_us(v, "observedTimeUnixNano");
	if (l->time_us <= 0)
		l->time_us = l->observed_us;
	l->severity_text = tel_cut(text_of(at, get(v, "severityText")), 64);
	l->severity = severity_number(get(v, "severityNumber"));
	if (l->severity == 0)
		l->severity = tel_severity(l->severity_text);
	l->body = value_text(at, get(v, "body"));
	l->body = l->body.s ? tel_cut(l->body, TEL_TEXT_MAX) : (struct tel_str){ "", 0 };
	l->has_trace = hex_id(get(v, "traceId"), l->trace_id, 16);
	l->has_span = hex_id(get(v, "spanId"), l->span_id, 8);
	attributes(at, get(v, "attributes"), &attrs, TEL_TEXT_MAX);
	if (yyjson_is_obj(v) && tel_attrs_end(at->b, &attrs, &l->attr, &l->attrs))
		return OC_OK;
	tel_record_drop(at->b);
	tel_reject(at->b, 1, NULL,
		   yyjson_is_obj(v) ? "a log record with more than %d attributes"
				    : "a log record that is no object, or with more than %d attributes",
		   TEL_ATTRS_MAX);
	keep_rejected(at, before, v, NULL, NULL);
	return OC_OK;
}

static uint8_t span_kind(yyjson_val *v)
{
	static const char *const names[] = { "SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL",
					     "SPAN_KIND_SERVER",      "SPAN_KIND_CLIENT",
					     "SPAN_KIND_PRODUCER",    "SPAN_KIND_CONSUMER" };

	for (uint8_t i = 0; i < ARRAY_LEN(names); i++)
		if (yyjson_equals_str(v, names[i]))
			return i;
	return yyjson_is_uint(v) && yyjson_get_uint(v) < ARRAY_LEN(names) ? (uint8_t)yyjson_get_uint(v) : 0;
}

static enum oc_err read_span(struct place *at, yyjson_val *v, struct oc_fail *reterr)
{
	struct tel_attrs attrs = { .n = 0 };
	uint32_t before = at->b->rejects;
	yyjson_val *status = get(v, "status"), *code = get(status, "code");
	bool ids, whole;
	struct tel_span *s;
	enum oc_err err = tel_span_add(at->b, &s, reterr);

	if (err != OC_OK)
		return err;
	s->resource = at->resource_index;
	s->scope = at->scope_name;
	ids = hex_id(get(v, "traceId"), s->trace_id, 16);
	ids = hex_id(get(v, "spanId"), s->span_id, 8) && ids;
	s->has_parent = hex_id(get(v, "parentSpanId"), s->parent_id, 8);
	s->name = tel_cut(text_of(at, get(v, "name")), 1024);
	s->kind = span_kind(get(v, "kind"));
	s->start_us = time_us(v, "startTimeUnixNano");
	s->end_us = time_us(v, "endTimeUnixNano");
	s->status_text = tel_cut(text_of(at, get(status, "message")), 1024);
	s->error = yyjson_equals_str(code, "STATUS_CODE_ERROR") ||
		   (yyjson_is_uint(code) && yyjson_get_uint(code) == 2);
	attributes(at, get(v, "attributes"), &attrs, TEL_TEXT_MAX);
	whole = tel_attrs_end(at->b, &attrs, &s->attr, &s->attrs);
	if (ids && whole && s->start_us > 0 && s->end_us >= s->start_us)
		return OC_OK;
	tel_record_drop(at->b);
	tel_reject(at->b, 1, NULL, "%s",
		   !ids     ? "a span without a trace id and a span id"
		   : !whole ? "a span with too many attributes"
			    : "a span without times, or one that ends before it begins");
	keep_rejected(at, before, v, NULL, NULL);
	return OC_OK;
}

/* ---- the request */

static enum oc_err read_scope(struct place *at, yyjson_val *sm, struct oc_fail *reterr)
{
	static const char *const list[] = { "metrics", "logRecords", "spans" };
	yyjson_arr_iter it;
	yyjson_val *v;

	at->scope = get(sm, "scope");
	at->scope_name = tel_cut(text_of(at, get(at->scope, "name")), TEL_NAME_MAX);
	yyjson_arr_iter_init(get(sm, list[at->b->kind]), &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		enum oc_err err = at->b->kind == TEL_METRICS ? read_metric(at, v, reterr)
				  : at->b->kind == TEL_LOGS  ? read_log(at, v, reterr)
							     : read_span(at, v, reterr);

		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static enum oc_err read_all(struct place *at, yyjson_val *root, struct oc_fail *reterr)
{
	static const char *const key[] = { "resourceMetrics", "resourceLogs", "resourceSpans" };
	static const char *const scopes[] = { "scopeMetrics", "scopeLogs", "scopeSpans" };
	yyjson_val *list = get(root, key[at->b->kind]), *rm, *sm;
	yyjson_arr_iter it, sit;

	if (!yyjson_is_obj(root) || (list && !yyjson_is_arr(list) && !yyjson_is_null(list))) {
		char field[32];

		snprintf(field, sizeof(field), "/%s", key[at->b->kind]);
		return oc_fail_field(reterr, OC_BAD_REQUEST, field, "not an OTLP request: %s is no list",
				     field + 1);
	}
	yyjson_arr_iter_init(list, &it);
	while ((rm = yyjson_arr_iter_next(&it))) {
		struct tel_attrs attrs = { .n = 0 };
		enum oc_err err;

		at->resource = get(rm, "resource");
		attributes(at, get(at->resource, "attributes"), &attrs, TEL_LABEL_MAX);
		err = tel_resource_add(at->b, &attrs, &at->resource_index, reterr);
		yyjson_arr_iter_init(get(rm, scopes[at->b->kind]), &sit);
		while (err == OC_OK && (sm = yyjson_arr_iter_next(&sit)))
			err = read_scope(at, sm, reterr);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

enum oc_err otlp_read_json(enum tel_kind kind, const char *body, size_t len, struct tel_batch *ret,
			   struct oc_fail *reterr)
{
	struct place at = { .b = ret };
	yyjson_doc *doc = NULL;
	enum oc_err err;

	tel_batch_init(ret, kind);
	err = fast_json_read(body, len, TEL_BYTES_MAX, &doc, reterr);
	if (err != OC_OK)
		return err;
	ret->owned = doc;
	ret->owned_free = doc_free;
	if (kind == TEL_METRICS)
		at.raw = mem_alloc(sizeof(*at.raw));
	err = read_all(&at, yyjson_doc_get_root(doc), reterr);
	free(at.raw);
	if (err != OC_OK)
		tel_batch_done(ret);
	return err;
}
