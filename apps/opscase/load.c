#include "apps/opscase/load.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"

struct load {
	struct load_shape shape;
	uint64_t state;                     /* of the numbers drawn */
	double requests[LOAD_SERVICES_MAX]; /* counters, as they are now */
	int64_t began_us;                   /* the counters' start; 0 before the first batch */
	uint32_t next_series;
	uint32_t ahead; /* spans of whole traces that the last batch had beyond its count */
};

/* ---- numbers: SplitMix64 (Steele, Lea, Flood 2014), which needs no library and is the same everywhere */

static uint64_t draw(struct load *l)
{
	uint64_t z = l->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
static uint32_t below(struct load *l, uint32_t n)
{
	return (uint32_t)(draw(l) % n);
}
static double share(struct load *l)
{
	return (double)(draw(l) >> 11) / 9007199254740992.0; /* 2^53 */
}
static bool chance(struct load *l, double p)
{
	return share(l) < p;
}
/* Log-normal with this median: how long things take. */
static double latency_ms(struct load *l, double median)
{
	double u = share(l), v = share(l);

	return median * exp(0.6 * sqrt(-2 * log(u > 0 ? u : 1e-12)) * cos(2 * M_PI * v));
}

/* ---- the shop */

static const char *const names[] = { "gateway",  "cart",  "catalog", "checkout", "payment",
				     "shipping", "email", "users",   "search",   "stock" };

static struct tel_str service_name(struct tel_batch *b, unsigned i)
{
	unsigned n = sizeof(names) / sizeof(*names);

	return i < n ? tel_printf(b, "%s", names[i]) : tel_printf(b, "%s-%u", names[i % n], i / n + 1);
}

/* A tree: everybody but the first is called by one that comes before. */
static unsigned parent_of(unsigned i)
{
	return i == 0 ? 0 : (i - 1) / 3;
}
static double median_of(unsigned i)
{
	return 4 + (double)(i * 7 % 23);
}

static enum oc_err resource(struct load *l, struct tel_batch *b, unsigned service, uint32_t *ret,
			    struct oc_fail *reterr)
{
	struct tel_attrs a = { .n = 0 };

	tel_attrs_add(&a, TEL_STR("service.namespace"), TEL_STR("shop"), TEL_LABEL_MAX);
	tel_attrs_add(&a, TEL_STR("service.name"), service_name(b, service), TEL_LABEL_MAX);
	tel_attrs_add(&a, TEL_STR("service.instance.id"),
		      tel_printf(b, "%.*s-%08llx-0", (int)a.attr[1].value.n, a.attr[1].value.s,
				 (unsigned long long)(l->shape.seed * 2654435761u & 0xffffffffu)),
		      TEL_LABEL_MAX);
	return tel_resource_add(b, &a, ret, reterr);
}

static int64_t time_of(int64_t from_us, int64_t to_us, uint32_t i, uint32_t count)
{
	return from_us + (int64_t)((double)(to_us - from_us) * i / count);
}

/* ---- logs */

static const struct {
	uint8_t severity;
	const char *format; /* %1 number, %2 hex, %3 address, %4 path, %5 user, %6 milliseconds */
} lines[] = {
	{ 9,  "GET %4 200 in %6 ms from %3"                     },
	{ 9,  "POST %4 201 in %6 ms from %3"                    },
	{ 9,  "order %1 accepted for user %5"                   },
	{ 9,  "order %1 paid, transaction %2"                   },
	{ 9,  "cache hit for key session:%2"                    },
	{ 5,  "cache miss for key session:%2, loading"          },
	{ 9,  "connection from %3 accepted"                     },
	{ 9,  "user %5 logged in from %3"                       },
	{ 9,  "sent confirmation of order %1 to %5@example.com" },
	{ 9,  "reindexed %1 products in %6 ms"                  },
	{ 5,  "worker %1 took job %2"                           },
	{ 9,  "job %2 done in %6 ms"                            },
	{ 13, "slow query: %6 ms for SELECT on table orders"    },
	{ 13, "retrying %4 after %6 ms, attempt %1"             },
	{ 13, "pool is at %1 of 64 connections"                 },
	{ 9,  "health check of %3 passed"                       },
};
static const struct {
	uint8_t severity;
	const char *format;
} failures[] = {
	{ 17, "GET %4 503 in %6 ms from %3"                               },
	{ 17, "payment of order %1 declined: gateway timeout after %6 ms" },
	{ 17, "cannot connect to %3:5432: connection refused"             },
	{ 17, "order %1 failed: out of stock"                             },
	{ 21, "worker %1 died with signal 11, core in /var/crash/core.%1" },
};

static struct tel_str fill(struct load *l, struct tel_batch *b, const char *format)
{
	static const char *const paths[] = { "/cart/add", "/catalog/items", "/checkout", "/api/v1/orders" };
	AUTO(text) struct text t = { 0 };

	for (; *format; format++) {
		if (*format != '%') {
			text_add_n(&t, format, 1);
			continue;
		}
		switch (*++format) {
		case '1':
			text_addf(&t, "%u", 1 + below(l, 60000));
			break;
		case '2':
			text_addf(&t, "%08x%08x", (unsigned)draw(l), (unsigned)draw(l));
			break;
		case '3':
			text_addf(&t, "10.%u.%u.%u", below(l, 4), below(l, 256), 1 + below(l, 254));
			break;
		case '4':
			text_addf(&t, "%s/%u", paths[below(l, 4)], below(l, 5000));
			break;
		case '5':
			text_addf(&t, "user%u", below(l, 3000));
			break;
		case '6':
			text_addf(&t, "%.1f", latency_ms(l, 12));
			break;
		}
	}
	return tel_copy(b, t.s, t.len);
}

static enum oc_err add_log(struct load *l, struct tel_batch *b, int64_t at, struct oc_fail *reterr)
{
	bool bad = chance(l, l->shape.error_share);
	uint32_t which =
		below(l, bad ? sizeof(failures) / sizeof(*failures) : sizeof(lines) / sizeof(*lines));
	struct tel_log *log;
	uint32_t r;
	enum oc_err err = resource(l, b, below(l, l->shape.services), &r, reterr);

	if (err == OC_OK)
		err = tel_log_add(b, &log, reterr);
	if (err != OC_OK)
		return err;
	log->resource = r;
	log->severity = bad ? failures[which].severity : lines[which].severity;
	log->severity_text = tel_printf(b, "%s", tel_severity_name(log->severity));
	log->body = fill(l, b, bad ? failures[which].format : lines[which].format);
	log->scope = (struct tel_str){ "", 0 };
	log->time_us = log->observed_us = at;
	return OC_OK;
}

/* ---- points: each service has four series, which take their turns */

static enum oc_err add_point(struct load *l, struct tel_batch *b, int64_t at, struct oc_fail *reterr)
{
	static const struct {
		const char *name, *unit;
	} series[] = {
		{ "process.cpu.utilization", "1"         },
		{ "process.memory.usage",    "By"        },
		{ "http.server.requests",    "{request}" },
		{ "http.server.latency",     "ms"        }
	};
	unsigned service = l->next_series / 4 % l->shape.services, which = l->next_series % 4;
	struct tel_point *p;
	uint32_t r;
	enum oc_err err = resource(l, b, service, &r, reterr);
	struct tel_attrs a = { .n = 0 };

	if (err == OC_OK)
		err = tel_point_add(b, &p, reterr);
	if (err != OC_OK)
		return err;
	l->next_series++;
	p->resource = r;
	p->metric = tel_printf(b, "%s", series[which].name);
	p->unit = tel_printf(b, "%s", series[which].unit);
	p->scope = (struct tel_str){ "", 0 };
	p->time_us = at;
	switch (which) {
	case 0:
		p->value = 0.2 + 0.1 * share(l);
		break;
	case 1:
		p->value = 2e8 + 1e6 * below(l, 20);
		break;
	case 2:
		l->requests[service] += 1 + below(l, 40);
		p->kind = TEL_SUM;
		p->cumulative = p->monotonic = true;
		p->start_us = l->began_us;
		p->value = l->requests[service];
		break;
	default:
		p->value = latency_ms(l, median_of(service));
	}
	tel_attrs_add_instance(&a, &b->resource[r]);
	(void)tel_attrs_end(b, &a, &p->attr, &p->attrs);
	return OC_OK;
}

/* ---- traces: one request through the shop, client and server side of each call */

struct trace {
	uint8_t id[16];
	int64_t at;
};

static void fill_id(struct load *l, uint8_t *id, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		uint64_t u = draw(l) | 1;

		memcpy(id + i, &u, 8);
	}
}

static enum oc_err add_span(struct load *l, struct tel_batch *b, const struct trace *t, unsigned service,
			    enum tel_span_kind kind, const uint8_t *parent, int64_t start, int64_t end,
			    bool error, uint8_t ret_id[8], struct oc_fail *reterr)
{
	struct tel_span *s;
	struct tel_attrs a = { .n = 0 };
	uint32_t r;
	enum oc_err err = resource(l, b, kind == TEL_SPAN_CLIENT ? parent_of(service) : service, &r, reterr);

	if (err == OC_OK)
		err = tel_span_add(b, &s, reterr);
	if (err != OC_OK)
		return err;
	fill_id(l, ret_id, 8);
	s->resource = r;
	s->kind = (uint8_t)kind;
	s->error = error;
	s->has_parent = parent != NULL;
	memcpy(s->trace_id, t->id, sizeof(s->trace_id));
	memcpy(s->span_id, ret_id, sizeof(s->span_id));
	if (parent)
		memcpy(s->parent_id, parent, sizeof(s->parent_id));
	s->name = tel_printf(b, "GET /%s", names[service % (sizeof(names) / sizeof(*names))]);
	s->scope = s->status_text = (struct tel_str){ "", 0 };
	s->start_us = start;
	s->end_us = end;
	tel_attrs_add(&a, TEL_STR("http.request.method"), TEL_STR("GET"), TEL_TEXT_MAX);
	tel_attrs_add(&a, TEL_STR("http.response.status_code"), error ? TEL_STR("503") : TEL_STR("200"),
		      TEL_TEXT_MAX);
	if (kind == TEL_SPAN_CLIENT)
		tel_attrs_add(&a, TEL_STR("server.address"), service_name(b, service), TEL_TEXT_MAX);
	(void)tel_attrs_end(b, &a, &s->attr, &s->attrs);
	return OC_OK;
}

/* From the edge down to one service: what the deeper one takes is inside what its caller takes. */
static enum oc_err add_trace(struct load *l, struct tel_batch *b, int64_t at, struct oc_fail *reterr)
{
	unsigned path[16], depth = 0;
	struct trace t = { .at = at };
	bool error = chance(l, l->shape.error_share);
	double own[16], total = 0;
	uint8_t caller[8], id[8];
	int64_t start = at;
	enum oc_err err = OC_OK;

	for (unsigned s = below(l, l->shape.services);; s = parent_of(s)) {
		path[depth++] = s;
		if (s == 0 || depth == 16)
			break;
	}
	for (unsigned i = 0; i < depth; i++) {
		own[i] = latency_ms(l, median_of(path[i]));
		total += own[i];
	}
	fill_id(l, t.id, sizeof(t.id));
	for (unsigned i = depth; i-- > 0 && err == OC_OK;) {
		bool first = i == depth - 1;

		if (!first) {
			err = add_span(l, b, &t, path[i], TEL_SPAN_CLIENT, caller, start,
				       start + (int64_t)(total * 1000) + 400, error, id, reterr);
			memcpy(caller, id, sizeof(caller));
			start += 200;
		}
		if (err == OC_OK)
			err = add_span(l, b, &t, path[i], TEL_SPAN_SERVER, first ? NULL : caller, start,
				       start + (int64_t)(total * 1000), error, id, reterr);
		memcpy(caller, id, sizeof(caller));
		start += (int64_t)(own[i] * 500);
		total -= own[i];
	}
	return err;
}

/* ---- */

struct load *load_new(const struct load_shape *shape)
{
	struct load *l = mem_alloc(sizeof(*l));

	l->shape = *shape;
	l->state = shape->seed;
	return l;
}

void load_free(struct load *l)
{
	free(l);
}

enum oc_err load_batch(struct load *l, enum tel_kind kind, int64_t from_us, int64_t to_us, uint32_t count,
		       struct tel_batch *ret, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;
	uint32_t i = 0;

	tel_batch_init(ret, kind);
	if (l->began_us == 0)
		l->began_us = from_us;

	if (kind == TEL_SPANS) {
		i = l->ahead < count ? l->ahead : count;
		l->ahead -= i;
	}
	while (i < count && err == OC_OK) {
		int64_t at = time_of(from_us, to_us, i, count);
		uint32_t before = ret->records;

		err = kind == TEL_LOGS      ? add_log(l, ret, at, reterr)
		      : kind == TEL_METRICS ? add_point(l, ret, at, reterr)
					    : add_trace(l, ret, at, reterr);
		i += ret->records - before;
	}
	if (kind == TEL_SPANS)
		l->ahead += i - count;
	return err;
}
