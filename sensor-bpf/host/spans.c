#include "sensor-bpf/host/spans.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "sensor-bpf/host/series.h"

struct one {
	char service[72], peer[72];
	struct call call;
	int64_t start_wall_ns;
};

struct spans {
	char *host_name;
	unsigned room, count;
	uint64_t offered, left_out;
	uint32_t dice;
	struct one *one;
};

struct spans *spans_new(const char *host_name, unsigned room)
{
	struct spans *s = mem_alloc(sizeof(*s));

	s->host_name = mem_strdup(host_name);
	s->room = room;
	s->dice = 2463534242u;
	s->one = mem_array(room ? room : 1, sizeof(*s->one));
	return s;
}

void spans_free(struct spans *s)
{
	if (!s)
		return;
	free(s->host_name);
	free(s->one);
	free(s);
}

void spans_offer(struct spans *s, const char *service, const char *peer, const struct call *call,
		 int64_t start_wall_ns)
{
	struct one *o;
	uint64_t at;

	if (!s->room)
		return;
	at = s->offered++;
	if (at >= s->room) {
		s->left_out++;
		s->dice ^= s->dice << 13;
		s->dice ^= s->dice >> 17;
		s->dice ^= s->dice << 5;
		at = s->dice % s->offered;
		if (at >= s->room)
			return;
	} else {
		s->count++;
	}
	o = &s->one[at];
	snprintf(o->service, sizeof(o->service), "%s", service);
	snprintf(o->peer, sizeof(o->peer), "%s", peer);
	o->call = *call;
	o->start_wall_ns = start_wall_ns;
}

uint64_t spans_left_out(const struct spans *s)
{
	return s->left_out;
}

/* 00-<32 hex>-<16 hex>-<2 hex>, not all zeros. */
static bool trace_ok(const char *t)
{
	static const char shape[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
	size_t digits = 0;

	for (size_t i = 0; i < sizeof(shape) - 1; i++) {
		bool hex = (t[i] >= '0' && t[i] <= '9') || (t[i] >= 'a' && t[i] <= 'f');

		if (shape[i] == '-' ? t[i] != '-' : !hex)
			return false;
		digits += i >= 3 && i < 35 && t[i] != '0';
	}
	return t[sizeof(shape) - 1] == '\0' && digits > 0;
}

static void ids_add(struct text *t, const struct call *call)
{
	unsigned char bytes[24];
	char hex[49];

	hash_random(bytes, sizeof(bytes));
	str_hex(bytes, sizeof(bytes), hex);
	if (trace_ok(call->trace))
		text_addf(t, "\"traceId\":\"%.32s\",\"parentSpanId\":\"%.16s\",\"spanId\":\"%.16s\"",
			  call->trace + 3, call->trace + 36, hex + 32);
	else
		text_addf(t, "\"traceId\":\"%.32s\",\"spanId\":\"%.16s\"", hex, hex + 32);
}

static void attributes_add(struct text *t, const struct one *o)
{
	const struct call *c = &o->call;
	AUTO(text) struct text a = { 0 };
	bool http = c->proto == PROTO_HTTP1 || c->proto == PROTO_HTTP2;

	attrs_add(&a, "network.protocol.name", proto_name(c->proto));
	attrs_add(&a, http ? "http.request.method" : "rpc.method", c->method);
	attrs_add(&a, http ? "http.route" : "rpc.target", c->route);
	attrs_add(&a, http ? "http.response.status_code" : "rpc.status", c->status);
	attrs_add(&a, c->we_serve ? "client" : "server", o->peer);
	attrs_add(&a, "peer.service", o->peer);
	text_addf(&a,
		  ",{\"key\":\"network.request.size\",\"value\":{\"intValue\":\"%llu\"}}"
		  ",{\"key\":\"network.response.size\",\"value\":{\"intValue\":\"%llu\"}}",
		  (unsigned long long)c->asked_bytes, (unsigned long long)c->answered_bytes);
	text_add(t, text_str(&a));
}

static void span_add(struct text *t, const struct one *o)
{
	AUTO(text) struct text name = { 0 };
	int64_t end = o->start_wall_ns + (int64_t)(o->call.end_ns - o->call.start_ns);

	text_addf(&name, "%s%s%s", o->call.method[0] ? o->call.method : proto_name(o->call.proto),
		  o->call.route[0] ? " " : "", o->call.route);
	text_add(t, "{");
	ids_add(t, &o->call);
	text_add(t, ",\"name\":");
	json_text(t, text_str(&name));
	text_addf(t,
		  ",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\",\"attributes\":[",
		  o->call.we_serve ? 2 : 3, (long long)o->start_wall_ns, (long long)end);
	attributes_add(t, o);
	text_addf(t, "],\"status\":{%s}}", o->call.failed ? "\"code\":2" : "");
}

static int by_service(const void *a, const void *b)
{
	return strcmp(((const struct one *)a)->service, ((const struct one *)b)->service);
}

char *spans_export(struct spans *s)
{
	struct text t = { 0 };

	if (!s->count)
		return NULL;
	qsort(s->one, s->count, sizeof(*s->one), by_service);
	text_add(&t, "{\"resourceSpans\":[");
	for (unsigned i = 0; i < s->count; i++) {
		if (i == 0 || !str_eq(s->one[i].service, s->one[i - 1].service)) {
			AUTO(text) struct text attrs = { 0 };

			attrs_add(&attrs, "service.name", s->one[i].service);
			attrs_add(&attrs, "host.name", s->host_name);
			text_addf(&t,
				  "%s{\"resource\":{\"attributes\":[%s]},\"scopeSpans\":[{\"scope\":{\"name\":"
				  "\"opscase-sensor\",\"version\":\"" OPSCASE_VERSION "\"},\"spans\":[",
				  i ? "]}]}," : "", text_str(&attrs));
		} else {
			text_add(&t, ",");
		}
		span_add(&t, &s->one[i]);
	}
	text_add(&t, "]}]}]}");
	s->count = 0;
	s->offered = 0;
	return text_take(&t);
}
