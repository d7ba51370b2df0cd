#include "ingest/otlp_json.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include "base/mem.h"

#define LABEL_VALUE_MAX   255
#define NAME_MAX_LEN      255
#define NO_RECORDED_VALUE 1 /* DataPointFlags */

void otlp_reject(struct otlp_batch *b, uint64_t points, const char *fmt, ...)
{
	size_t have = strlen(b->why);
	char text[200];
	va_list ap;

	b->rejected += points;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* each reason once, and only the first ones: a sender's log is not a dump */
	if (strstr(b->why, text) || have + strlen(text) + 3 > sizeof(b->why))
		return;
	snprintf(b->why + have, sizeof(b->why) - have, "%s%s", have ? "; " : "", text);
}

/* ---- values ---- */

static bool read_u64(const json_t *v, uint64_t *ret)
{
	if (json_is_integer(v)) {
		if (json_integer_value(v) < 0)
			return false;
		*ret = (uint64_t)json_integer_value(v);
		return true;
	}
	if (json_is_string(v)) {
		const char *s = json_string_value(v);
		char *end;

		if (*s < '0' || *s > '9' || strlen(s) > 20)
			return false;
		*ret = strtoull(s, &end, 10);
		return *end == '\0';
	}
	/* 1.5447126603e+18, as some JSON writers print it */
	if (json_is_real(v) && json_real_value(v) >= 0 && json_real_value(v) < 18e18) {
		*ret = (uint64_t)json_real_value(v);
		return true;
	}
	return false;
}

static bool read_double(const json_t *v, double *ret)
{
	if (json_is_number(v)) {
		*ret = json_number_value(v);
		return true;
	}
	if (json_is_string(v)) {
		const char *s = json_string_value(v);
		char *end;

		*ret = strtod(s, &end);
		return *s && *end == '\0';
	}
	return false;
}

static bool read_i64_as_double(const json_t *v, double *ret)
{
	long long n;

	if (json_is_integer(v)) {
		*ret = (double)json_integer_value(v);
		return true;
	}
	if (!json_is_string(v) || !str_to_long(json_string_value(v), INT64_MIN, INT64_MAX, &n))
		return false;
	*ret = (double)n;
	return true;
}

static int64_t read_time_us(const json_t *point, const char *key)
{
	uint64_t ns = 0;

	return read_u64(json_object_get(point, key), &ns) ? (int64_t)(ns / 1000) : 0;
}

/* An AnyValue as text; NULL if there is none. */
static char *value_text(const json_t *v)
{
	const json_t *x;
	char buf[64];

	if ((x = json_object_get(v, "stringValue")) && json_is_string(x))
		return mem_strdup(json_string_value(x));
	if ((x = json_object_get(v, "boolValue")) && json_is_boolean(x))
		return mem_strdup(json_is_true(x) ? "true" : "false");
	if ((x = json_object_get(v, "intValue"))) {
		if (json_is_string(x))
			return mem_strdup(json_string_value(x));
		if (json_is_integer(x)) {
			snprintf(buf, sizeof(buf), "%lld", (long long)json_integer_value(x));
			return mem_strdup(buf);
		}
	}
	if ((x = json_object_get(v, "doubleValue")) && json_is_number(x)) {
		snprintf(buf, sizeof(buf), "%.17g", json_number_value(x));
		return mem_strdup(buf);
	}
	if ((x = json_object_get(v, "arrayValue")) || (x = json_object_get(v, "kvlistValue")))
		return json_canonical(x);
	return NULL;
}

/* Cuts at LABEL_VALUE_MAX bytes, never inside a character. */
static void cut(char *s)
{
	size_t n = strlen(s);

	if (n <= LABEL_VALUE_MAX)
		return;
	n = LABEL_VALUE_MAX;
	while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	s[n] = '\0';
}

/* [{"key","value"}] into a flat object of texts. False: more than are taken. */
static bool read_attributes(const json_t *list, json_t *into)
{
	const json_t *kv;
	size_t i;

	json_array_foreach(list, i, kv)
	{
		const char *key = json_str(kv, "key");
		AUTO(str) char *text = value_text(json_object_get(kv, "value"));

		if (str_empty(key) || strlen(key) > NAME_MAX_LEN || !text)
			continue;
		if (json_object_size(into) >= OTLP_LABELS_MAX)
			return false;
		cut(text);
		json_object_set_new(into, key, json_string(text));
	}
	return true;
}

/* ---- resources ---- */

/* What stands in a URN: no blanks, no control characters. */
static char *urn_part(const char *s)
{
	char *out = mem_strndup(s, 200);
	size_t n = strlen(out);

	while (n && !str_utf8_ok(out, n)) /* the cut may have fallen into a character */
		out[--n] = '\0';
	for (char *p = out; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			*p = '_';
	return out;
}

static bool urn_ok(const char *s)
{
	const char *p;

	if (str_empty(s) || !str_starts(s, "urn:") || strlen(s) > 512)
		return false;
	for (p = s + 4; (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-'; p++)
		;
	if (p == s + 4 || *p != ':' || !p[1] || s[4] == '-')
		return false;
	for (; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return false;
	return true;
}

static char *urn_of(const json_t *attrs)
{
	const char *own = json_str(attrs, "opscase.urn"), *service = json_str(attrs, "service.name");
	const char *ns = json_str(attrs, "service.namespace"), *host = json_str(attrs, "host.name");
	AUTO(str) char *a = NULL, *b = NULL;

	if (urn_ok(own))
		return mem_strdup(own);
	if (str_empty(ns))
		ns = json_str(attrs, "k8s.namespace.name");
	if (!str_empty(service)) {
		a = urn_part(service);
		if (str_empty(ns))
			return mem_printf("urn:svc:%s", a);
		b = urn_part(ns);
		return mem_printf("urn:k8s:svc:%s/%s", b, a);
	}
	a = urn_part(str_empty(host) ? "unknown" : host);
	return mem_printf(str_empty(host) ? "urn:svc:%s" : "urn:host:%s", a);
}

static const char *first_of(const json_t *attrs, const char *a, const char *b)
{
	const char *s = json_str(attrs, a);

	return s ? s : b ? json_str(attrs, b) : NULL;
}

static void read_resource(const json_t *attrs, struct otlp_resource *r)
{
	const char *rest, *name;

	r->urn = urn_of(attrs);
	rest = r->urn + strlen("urn:");
	name = strrchr(rest, ':');
	r->type = name ? mem_strndup(rest, (size_t)(name - rest)) : mem_strdup("thing");
	r->name = mem_strdup(name ? name + 1 : rest);
	r->env = mem_strdup(first_of(attrs, "deployment.environment.name", "deployment.environment"));
	r->region = mem_strdup(json_str(attrs, "cloud.region"));
	r->zone = mem_strdup(json_str(attrs, "cloud.availability_zone"));
	r->labels = json_canonical(attrs);
}

/* Two processes of one service send series of the same name: what tells them apart becomes a label, or
 * their counters would look like one that jumps. */
static void add_instance(const json_t *attrs, const char *urn, json_t *labels)
{
	const char *instance = first_of(attrs, "service.instance.id", "k8s.pod.name");
	const char *key = "service.instance.id";

	if (!instance && !str_starts(urn, "urn:host:")) {
		instance = json_str(attrs, "host.name");
		key = "host.name";
	}
	if (instance && !json_object_get(labels, key))
		json_object_set_new(labels, key, json_string(instance));
}

/* ---- points ---- */

static bool read_histogram(const json_t *dp, struct otlp_point *p, struct otlp_batch *b)
{
	const json_t *bounds = json_object_get(dp, "explicitBounds"),
		     *counts = json_object_get(dp, "bucketCounts"), *v;
	size_t n = json_array_size(bounds), i;
	uint64_t total = 0;

	if (!read_u64(json_object_get(dp, "count"), &p->count)) {
		otlp_reject(b, 1, "a histogram without a count");
		return false;
	}
	p->has_sum = read_double(json_object_get(dp, "sum"), &p->sum) && isfinite(p->sum);
	p->has_min = read_double(json_object_get(dp, "min"), &p->min) && isfinite(p->min);
	p->has_max = read_double(json_object_get(dp, "max"), &p->max) && isfinite(p->max);
	if (json_array_size(counts) == 0)
		return true; /* count and sum alone are legal */
	if (n > OTLP_BUCKETS_MAX) {
		otlp_reject(b, 1, "a histogram with more than %d bounds", OTLP_BUCKETS_MAX);
		return false;
	}
	if (json_array_size(counts) != n + 1) {
		otlp_reject(b, 0, "%s: bucketCounts does not fit explicitBounds, so there is no p95",
			    p->metric);
		return true;
	}
	p->bound = mem_array(n + 1, sizeof(*p->bound));
	p->bucket = mem_array(n + 1, sizeof(*p->bucket));
	json_array_foreach(bounds, i, v)
	{
		if (!read_double(v, &p->bound[i]) || !isfinite(p->bound[i]) ||
		    (i && p->bound[i] <= p->bound[i - 1])) {
			otlp_reject(b, 1, "%s: explicitBounds do not grow", p->metric);
			return false;
		}
	}
	json_array_foreach(counts, i, v)
	{
		if (!read_u64(v, &p->bucket[i]) || p->bucket[i] > UINT64_MAX - total) {
			otlp_reject(b, 1, "%s: a bucket count is no number", p->metric);
			return false;
		}
		total += p->bucket[i];
	}
	if (total != p->count) {
		otlp_reject(b, 1, "%s: the buckets do not add up to the count", p->metric);
		return false;
	}
	p->bounds = n;
	return true;
}

static bool read_number(const json_t *dp, struct otlp_point *p, struct otlp_batch *b)
{
	const json_t *d = json_object_get(dp, "asDouble"), *i = json_object_get(dp, "asInt");

	if (!(d && read_double(d, &p->value)) && !(i && read_i64_as_double(i, &p->value))) {
		otlp_reject(b, 1, "%s: a point without a number", p->metric);
		return false;
	}
	if (!isfinite(p->value)) {
		otlp_reject(b, 1, "%s: NaN or infinite", p->metric);
		return false;
	}
	return true;
}

static void point_done(struct otlp_point *p)
{
	free(p->labels);
	free(p->bound);
	free(p->bucket);
}

static enum oc_err read_point(const json_t *dp, const struct otlp_point *shape, const json_t *resource_attrs,
			      struct otlp_batch *b, struct oc_fail *reterr)
{
	AUTO(json) json_t *labels = json_object();
	struct otlp_point p = *shape;
	uint64_t flags = 0;
	bool ok;

	if (b->point_count >= OTLP_POINTS_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %d points in one request", OTLP_POINTS_MAX);
	if (!json_is_object(dp)) {
		otlp_reject(b, 1, "%s: a point that is no object", p.metric);
		return OC_OK;
	}
	/* "nothing recorded" is neither a point nor a mistake */
	if (read_u64(json_object_get(dp, "flags"), &flags) && (flags & NO_RECORDED_VALUE))
		return OC_OK;
	p.start_us = read_time_us(dp, "startTimeUnixNano");
	p.time_us = read_time_us(dp, "timeUnixNano");
	if (p.time_us <= 0) {
		otlp_reject(b, 1, "%s: a point without a time", p.metric);
		return OC_OK;
	}
	if (p.start_us > p.time_us)
		p.start_us = 0;
	if (!read_attributes(json_object_get(dp, "attributes"), labels)) {
		otlp_reject(b, 1, "%s: more than %d attributes", p.metric, OTLP_LABELS_MAX);
		return OC_OK;
	}
	add_instance(resource_attrs, b->resource[p.resource].urn, labels);
	ok = p.kind == OTLP_HISTOGRAM ? read_histogram(dp, &p, b) : read_number(dp, &p, b);
	if (ok && p.kind == OTLP_SUM && p.monotonic && p.value < 0) {
		otlp_reject(b, 1, "%s: a monotonic sum below zero", p.metric);
		ok = false;
	}
	if (!ok) {
		point_done(&p);
		return OC_OK;
	}
	p.labels = json_canonical(labels);
	if ((b->point_count & (b->point_count - 1)) == 0)
		b->point = mem_grow(b->point, b->point_count ? b->point_count * 2 : 1, sizeof(*b->point));
	b->point[b->point_count++] = p;
	return OC_OK;
}

/* 1 delta, 2 cumulative; by number as the spec wants, or by name as others write it. */
static int temporality(const json_t *data)
{
	const json_t *t = json_object_get(data, "aggregationTemporality");

	if (json_is_string(t))
		return str_eq(json_string_value(t), "AGGREGATION_TEMPORALITY_DELTA")        ? 1
		       : str_eq(json_string_value(t), "AGGREGATION_TEMPORALITY_CUMULATIVE") ? 2
											    : 0;
	return json_is_integer(t) ? (int)json_integer_value(t) : 0;
}

static enum oc_err read_metric(const json_t *m, const char *scope, size_t resource, const json_t *attrs,
			       struct otlp_batch *b, struct oc_fail *reterr)
{
	static const struct {
		const char *key;
		enum otlp_kind kind;
		bool taken;
	} kinds[] = {
		{ "gauge",                OTLP_GAUGE,     true  },
		{ "sum",                  OTLP_SUM,       true  },
		{ "histogram",            OTLP_HISTOGRAM, true  },
		{ "exponentialHistogram", OTLP_GAUGE,     false },
		{ "summary",              OTLP_GAUGE,     false }
	};
	struct otlp_point shape = { .metric = json_str(m, "name"),
				    .unit = json_str(m, "unit"),
				    .scope = scope,
				    .resource = resource };
	const json_t *data = NULL, *points, *dp;
	size_t k = 0, i;

	while (k < ARRAY_LEN(kinds) && !(data = json_object_get(m, kinds[k].key)))
		k++;
	points = json_object_get(data, "dataPoints");
	if (!data || json_array_size(points) == 0)
		return OC_OK; /* a metric without data is legal and says nothing */
	if (str_empty(shape.metric) || strlen(shape.metric) > NAME_MAX_LEN) {
		otlp_reject(b, json_array_size(points), "a metric without a name, or with a very long one");
		return OC_OK;
	}
	if (!kinds[k].taken) {
		otlp_reject(b, json_array_size(points), "%s is not taken", kinds[k].key);
		return OC_OK;
	}
	shape.kind = kinds[k].kind;
	if (shape.kind != OTLP_GAUGE) {
		int t = temporality(data);

		if (t != 1 && t != 2) {
			otlp_reject(b, json_array_size(points), "%.100s: neither delta nor cumulative",
				    shape.metric);
			return OC_OK;
		}
		shape.cumulative = t == 2;
		shape.monotonic = shape.kind == OTLP_HISTOGRAM || json_bool_or(data, "isMonotonic", false);
	}
	if (shape.unit && strlen(shape.unit) > 63)
		shape.unit = NULL;
	json_array_foreach(points, i, dp)
	{
		enum oc_err err = read_point(dp, &shape, attrs, b, reterr);

		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static size_t add_resource(const json_t *attrs, struct otlp_batch *b)
{
	struct otlp_resource r = { 0 };

	read_resource(attrs, &r);
	if ((b->resource_count & (b->resource_count - 1)) == 0)
		b->resource = mem_grow(b->resource, b->resource_count ? b->resource_count * 2 : 1,
				       sizeof(*b->resource));
	b->resource[b->resource_count] = r;
	return b->resource_count++;
}

static enum oc_err read_all(struct otlp_batch *b, struct oc_fail *reterr)
{
	const json_t *list = json_object_get(b->doc, "resourceMetrics"), *rm, *sm, *m;
	size_t i, j, k;

	if (!json_is_object(b->doc) || (list && !json_is_array(list)))
		return oc_fail_field(reterr, OC_BAD_REQUEST, "/resourceMetrics",
				     "not an ExportMetricsServiceRequest");
	json_array_foreach(list, i, rm)
	{
		AUTO(json) json_t *attrs = json_object();
		size_t resource;

		if (b->resource_count >= OTLP_RESOURCES_MAX)
			return oc_fail(reterr, OC_TOO_LARGE, "more than %d resources in one request",
				       OTLP_RESOURCES_MAX);
		/* more attributes than are kept: the first ones stand for the resource */
		(void)read_attributes(json_object_get(json_object_get(rm, "resource"), "attributes"), attrs);
		resource = add_resource(attrs, b);
		json_array_foreach(json_object_get(rm, "scopeMetrics"), j, sm)
		{
			const char *scope = json_str_or(json_object_get(sm, "scope"), "name", "");

			json_array_foreach(json_object_get(sm, "metrics"), k, m)
			{
				enum oc_err err = read_metric(m, scope, resource, attrs, b, reterr);

				if (err != OC_OK)
					return err;
			}
		}
	}
	return OC_OK;
}

enum oc_err otlp_metrics_read(const char *body, size_t len, struct otlp_batch *ret, struct oc_fail *reterr)
{
	const struct json_limits limits = { .bytes = OTLP_BYTES_MAX, .depth = 32 };
	enum oc_err err;

	memset(ret, 0, sizeof(*ret));
	err = json_read(body, len, &limits, &ret->doc, reterr);
	if (err == OC_OK)
		err = read_all(ret, reterr);
	if (err != OC_OK)
		otlp_batch_done(ret);
	return err;
}

void otlp_batch_done(struct otlp_batch *b)
{
	for (size_t i = 0; i < b->point_count; i++)
		point_done(&b->point[i]);
	for (size_t i = 0; i < b->resource_count; i++) {
		struct otlp_resource *r = &b->resource[i];

		free(r->urn);
		free(r->type);
		free(r->name);
		free(r->env);
		free(r->region);
		free(r->zone);
		free(r->labels);
	}
	free(b->point);
	free(b->resource);
	json_decref(b->doc);
	memset(b, 0, sizeof(*b));
}

char *otlp_answer(const struct otlp_batch *b)
{
	AUTO(json) json_t *o = NULL;
	char n[24];

	/* everything taken and nothing to say: the field stays unset, as the spec has it */
	if (!b->rejected && !b->why[0])
		return mem_strdup("{}");
	snprintf(n, sizeof(n), "%llu", (unsigned long long)b->rejected);
	o = json_pack("{s:{s:s, s:s}}", "partialSuccess", "rejectedDataPoints", n, "errorMessage", b->why);
	return o ? json_text(o) : mem_printf("{\"partialSuccess\":{\"rejectedDataPoints\":\"%s\"}}", n);
}
