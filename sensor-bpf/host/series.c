#include "sensor-bpf/host/series.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

#define SLOTS    8192 /* twice SERIES_MAX: a power of two */
#define IDLE_MAX 30   /* exports without anything to tell, until a series goes */

struct histogram {
	uint64_t count;
	double sum, min, max;
	uint32_t bucket[SERIES_BUCKETS];
};

struct series {
	uint64_t hash;
	enum series_kind kind;
	char *service, *metric, *unit, *attrs;
	bool used;
	unsigned idle;
	double value;
	struct histogram *hist;
};

struct series_set {
	char *host_name;
	struct series *slot[SLOTS];
	unsigned count;
	uint64_t generation, folded;
};

struct series_set *series_set_new(const char *host_name)
{
	struct series_set *set = mem_alloc(sizeof(*set));

	set->host_name = mem_strdup(host_name);
	set->generation = 1;
	return set;
}

static void series_free(struct series *s)
{
	if (!s)
		return;
	free(s->service);
	free(s->metric);
	free(s->unit);
	free(s->attrs);
	free(s->hist);
	free(s);
}

void series_set_free(struct series_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		series_free(set->slot[i]);
	free(set->host_name);
	free(set);
}

static uint64_t mix(uint64_t h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 1099511628211ULL;
	return (h ^ 0xff) * 1099511628211ULL;
}

static struct series **place(struct series_set *set, uint64_t hash, const char *service, const char *metric,
			     const char *attrs)
{
	for (size_t i = hash & (SLOTS - 1);; i = (i + 1) & (SLOTS - 1)) {
		struct series *s = set->slot[i];

		if (!s || (s->hash == hash && str_eq(s->service, service) && str_eq(s->metric, metric) &&
			   str_eq(s->attrs, attrs)))
			return &set->slot[i];
	}
}

struct series *series_get(struct series_set *set, enum series_kind kind, const char *service,
			  const char *metric, const char *unit, const char *attrs)
{
	uint64_t hash = mix(mix(mix(14695981039346656037ULL, service), metric), attrs);
	struct series **at = place(set, hash, service, metric, attrs), *s;

	if (*at)
		return *at;
	/* a few places stay for those that others are folded into */
	if (set->count >= SERIES_MAX && *attrs) {
		set->folded++;
		return series_get(set, kind, "(more)", metric, unit, "");
	}
	assert(set->count < SLOTS - 1);
	s = mem_alloc(sizeof(*s));
	s->hash = hash;
	s->kind = kind;
	s->service = mem_strdup(service);
	s->metric = mem_strdup(metric);
	s->unit = mem_strdup(unit);
	s->attrs = mem_strdup(attrs);
	if (kind == SERIES_HISTOGRAM)
		s->hist = mem_alloc(sizeof(*s->hist));
	set->count++;
	*at = s;
	return s;
}

uint64_t series_generation(const struct series_set *set)
{
	return set->generation;
}

uint64_t series_folded(const struct series_set *set)
{
	return set->folded;
}

void series_add(struct series *s, double v)
{
	s->value += v;
	s->used = true;
}

void series_put(struct series *s, double v)
{
	s->value = v;
	s->used = true;
}

/* The upper edge of a bucket, in seconds. */
static double edge(size_t bucket)
{
	return 1e-6 * exp2((double)(bucket + 1) / SERIES_STEPS);
}

void series_observe(struct series *s, double seconds, uint64_t times)
{
	struct histogram *h = s->hist;
	double at;
	size_t i;

	if (!h || !(seconds >= 0) || !times)
		return;
	at = seconds > 1e-6 ? ceil(log2(seconds * 1e6) * SERIES_STEPS) - 1 : 0;
	i = at < 0 ? 0 : at >= SERIES_BUCKETS - 1 ? SERIES_BUCKETS - 1 : (size_t)at;
	h->bucket[i] += (uint32_t)times;
	if (!h->count || seconds < h->min)
		h->min = seconds;
	if (!h->count || seconds > h->max)
		h->max = seconds;
	h->count += times;
	h->sum += seconds * (double)times;
	s->used = true;
}

uint64_t series_count(const struct series *s)
{
	return s->hist ? s->hist->count : 0;
}

double series_sum(const struct series *s)
{
	return s->hist ? s->hist->sum : s->value;
}

double series_quantile(const struct series *s, double q)
{
	uint64_t seen = 0, want;

	if (!s->hist || !s->hist->count)
		return (double)NAN;
	want = (uint64_t)ceil(q * (double)s->hist->count);
	for (size_t i = 0; i < SERIES_BUCKETS; i++) {
		seen += s->hist->bucket[i];
		if (seen >= want && seen)
			return fmin(fmax(edge(i) * exp2(-0.5 / SERIES_STEPS), s->hist->min), s->hist->max);
	}
	return s->hist->max;
}

void series_each(const struct series_set *set,
		 void (*fn)(void *ctx, const char *service, const char *metric, const char *attrs,
			    const struct series *s),
		 void *ctx)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (set->slot[i] && set->slot[i]->used)
			fn(ctx, set->slot[i]->service, set->slot[i]->metric, set->slot[i]->attrs,
			   set->slot[i]);
}

/* --- OTLP */

void json_text(struct text *out, const char *s)
{
	text_add(out, "\"");
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			text_addf(out, "\\%c", c);
		else if (c < ' ' || c >= 0x7f) /* nothing of ours is anything but ASCII */
			text_add(out, "?");
		else
			text_add_n(out, s, 1);
	}
	text_add(out, "\"");
}

void attrs_add(struct text *out, const char *name, const char *value)
{
	if (!*value)
		return;
	text_addf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":", out->len ? "," : "", name);
	json_text(out, value);
	text_add(out, "}}");
}

static void add_point(struct text *t, const struct series *s, int64_t start_ns, int64_t now_ns)
{
	const struct histogram *h = s->hist;
	size_t first = 0, last = SERIES_BUCKETS;

	text_addf(t, "{\"startTimeUnixNano\":\"%lld\",\"timeUnixNano\":\"%lld\",\"attributes\":[%s],",
		  (long long)start_ns, (long long)now_ns, s->attrs);
	if (s->kind != SERIES_HISTOGRAM) {
		text_addf(t, "\"asDouble\":%.17g}", s->value);
		return;
	}
	while (first < SERIES_BUCKETS - 1 && !h->bucket[first])
		first++;
	while (last > first + 1 && !h->bucket[last - 1])
		last--;
	/* bounds: the lower edge of the first bucket that was used, then the upper edge of each; nothing lies outside */
	text_addf(t, "\"count\":\"%llu\",\"sum\":%.9g,\"min\":%.9g,\"max\":%.9g,\"explicitBounds\":[",
		  (unsigned long long)h->count, h->sum, h->min, h->max);
	text_addf(t, "%.9g", first ? edge(first - 1) : 0.0);
	for (size_t i = first; i < last && i < SERIES_BUCKETS - 1; i++)
		text_addf(t, ",%.9g", edge(i));
	text_add(t, "],\"bucketCounts\":[\"0\"");
	for (size_t i = first; i < last; i++)
		text_addf(t, ",\"%u\"", h->bucket[i]);
	/* the bucket beyond the last edge, where that edge is not the end of the scale */
	text_add(t, last < SERIES_BUCKETS ? ",\"0\"]}" : "]}");
}

static void add_metric(struct text *t, const struct series *s, int64_t start_ns, int64_t now_ns)
{
	static const char *const kinds[] = {
		[SERIES_SUM] = "sum",
		[SERIES_GAUGE] = "gauge",
		[SERIES_HISTOGRAM] = "histogram",
	};

	text_add(t, "{\"name\":");
	json_text(t, s->metric);
	text_add(t, ",\"unit\":");
	json_text(t, s->unit);
	text_addf(t, ",\"%s\":{%s\"dataPoints\":[", kinds[s->kind],
		  s->kind == SERIES_SUM         ? "\"aggregationTemporality\":1,\"isMonotonic\":true,"
		  : s->kind == SERIES_HISTOGRAM ? "\"aggregationTemporality\":1,"
						: "");
	add_point(t, s, start_ns, now_ns);
	text_add(t, "]}}");
}

static int by_service(const void *a, const void *b)
{
	const struct series *x = *(const struct series *const *)a, *y = *(const struct series *const *)b;
	int d = strcmp(x->service, y->service);

	return d ? d : strcmp(x->metric, y->metric);
}

static void body_begin(struct text *t)
{
	text_add(t, "{\"resourceMetrics\":[");
}

static void resource_begin(struct text *t, const struct series_set *set, const char *service, bool first)
{
	AUTO(text) struct text attrs = { 0 };

	attrs_add(&attrs, "service.name", service);
	attrs_add(&attrs, "host.name", set->host_name);
	text_addf(
		t,
		"%s{\"resource\":{\"attributes\":[%s]},\"scopeMetrics\":[{\"scope\":{\"name\":\"opscase-sensor\","
		"\"version\":\"" OPSCASE_VERSION "\"},\"metrics\":[",
		first ? "" : ",", text_str(&attrs));
}

static void age(struct series_set *set)
{
	struct series *keep[SLOTS];
	unsigned n = 0;
	bool gone = false;

	for (size_t i = 0; i < SLOTS; i++) {
		struct series *s = set->slot[i];

		if (!s)
			continue;
		s->idle = s->used ? 0 : s->idle + 1;
		s->used = false;
		s->value = 0;
		if (s->hist)
			memset(s->hist, 0, sizeof(*s->hist));
		if (s->idle > IDLE_MAX) {
			series_free(s);
			gone = true;
		} else {
			keep[n++] = s;
		}
	}
	if (!gone)
		return;
	memset(set->slot, 0, sizeof(set->slot));
	for (unsigned i = 0; i < n; i++)
		*place(set, keep[i]->hash, keep[i]->service, keep[i]->metric, keep[i]->attrs) = keep[i];
	set->count = n;
	set->generation++;
}

void series_export(struct series_set *set, int64_t start_ns, int64_t now_ns, size_t body_max,
		   void (*take)(void *ctx, char *take_body), void *ctx)
{
	struct series **used = mem_array(set->count + 1, sizeof(struct series *));
	struct text t = { 0 };
	const char *open = NULL;
	unsigned n = 0;

	for (size_t i = 0; i < SLOTS; i++)
		if (set->slot[i] && set->slot[i]->used)
			used[n++] = set->slot[i];
	qsort(used, n, sizeof(*used), by_service);
	for (unsigned i = 0; i < n; i++) {
		if (t.len > body_max) {
			text_add(&t, "]}]}]}");
			take(ctx, text_take(&t));
			open = NULL;
		}
		if (!t.len)
			body_begin(&t);
		if (!open || !str_eq(open, used[i]->service)) {
			if (open)
				text_add(&t, "]}]}");
			resource_begin(&t, set, used[i]->service, !open);
			open = used[i]->service;
		} else {
			text_add(&t, ",");
		}
		add_metric(&t, used[i], start_ns, now_ns);
	}
	if (t.len) {
		text_add(&t, "]}]}]}");
		take(ctx, text_take(&t));
	}
	free(used);
	age(set);
}
