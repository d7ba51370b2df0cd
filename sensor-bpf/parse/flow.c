#include "sensor-bpf/parse/parser.h"

#define UNKNOWN_MAX 4 /* reads and writes that no parser recognises, before a connection is left alone */

static const char *const names[PROTO_COUNT] = {
	[PROTO_NONE] = "",       [PROTO_HTTP1] = "http",          [PROTO_HTTP2] = "http2",
	[PROTO_GRPC] = "grpc",   [PROTO_POSTGRES] = "postgresql", [PROTO_MYSQL] = "mysql",
	[PROTO_REDIS] = "redis", [PROTO_KAFKA] = "kafka",         [PROTO_NATS] = "nats",
	[PROTO_DNS] = "dns",
};

const char *proto_name(enum proto proto)
{
	return proto < PROTO_COUNT ? names[proto] : "";
}

/* In this order: those whose first bytes are least like anything else come first. */
static const struct parser *const parsers[] = { &parser_http2, &parser_http1,    &parser_nats,  &parser_redis,
						&parser_mysql, &parser_postgres, &parser_kafka, &parser_dns };

struct flow *flow_new(bool tcp, unsigned local_port, unsigned remote_port)
{
	struct flow *f = mem_alloc(sizeof(*f));

	f->tcp = tcp;
	f->local_port = local_port;
	f->remote_port = remote_port;
	f->skip[0] = f->skip[1] = -1;
	return f;
}

void flow_free(struct flow *f)
{
	if (!f)
		return;
	if (f->parser && f->parser->done)
		f->parser->done(f);
	free(f->asked);
	free(f);
}

static void recognise(struct flow *f, enum flow_dir dir, const uint8_t *bytes, size_t kept, size_t size)
{
	for (size_t i = 0; i < ARRAY_LEN(parsers); i++) {
		enum sniffed s;

		if ((parsers[i]->proto == PROTO_DNS) == f->tcp && f->local_port != 53 && f->remote_port != 53)
			continue;
		s = parsers[i]->sniff(f, bytes, kept, size);
		if (s == SNIFF_NO)
			continue;
		f->parser = parsers[i];
		f->we_serve = (s == SNIFF_ASKS) == (dir == FLOW_IN);
		return;
	}
}

void flow_feed(struct flow *f, enum flow_dir dir, uint64_t at_ns, const uint8_t *bytes, size_t kept,
	       size_t size, const struct flow_sink *sink)
{
	if (f->gave_up || !size || kept > size)
		return;
	if (!f->parser)
		recognise(f, dir, bytes, kept, size);
	if (!f->parser) {
		f->gave_up = ++f->unknown >= UNKNOWN_MAX;
		return;
	}
	f->sink = sink;
	f->parser->feed(f, f->we_serve == (dir == FLOW_IN), at_ns, bytes, kept, size);
	f->sink = NULL;
}

unsigned flow_gap(struct flow *f)
{
	unsigned lost = f->asked_count;

	f->asked_count = 0;
	f->skip[0] = f->skip[1] = -1;
	if (f->parser && f->parser->gap)
		f->parser->gap(f);
	return lost;
}

enum proto flow_proto(const struct flow *f)
{
	return f->parser ? f->parser->proto : PROTO_NONE;
}

bool flow_we_serve(const struct flow *f)
{
	return f->we_serve;
}

enum flow_wants flow_wants(const struct flow *f)
{
	if (f->gave_up)
		return FLOW_TELL_NOTHING;
	return f->parser && f->parser->turns ? FLOW_TELL_TURNS : FLOW_TELL_ALL;
}

unsigned flow_outstanding(const struct flow *f)
{
	return f->asked_count;
}

/* --- what is outstanding: oldest first */

struct asked *asked_new(struct flow *f, uint64_t id, uint64_t at, size_t bytes, const char *method)
{
	struct asked *a;

	if (f->asked_count == ASKED_MAX) {
		f->given_up++;
		asked_forget(f, &f->asked[0]);
	}
	if (f->asked_count == f->asked_cap) {
		f->asked_cap = f->asked_cap ? 2 * f->asked_cap : 1;
		f->asked = mem_grow(f->asked, f->asked_cap, sizeof(*f->asked));
	}
	a = &f->asked[f->asked_count++];
	memset(a, 0, sizeof(*a));
	a->id = id;
	a->start_ns = a->last_ns = at;
	a->bytes = bytes;
	a->proto = f->parser->proto;
	snprintf(a->method, sizeof(a->method), "%s", method);
	return a;
}

struct asked *asked_find(struct flow *f, uint64_t id)
{
	for (unsigned i = 0; i < f->asked_count; i++)
		if (f->asked[i].id == id)
			return &f->asked[i];
	return NULL;
}

struct asked *asked_oldest(struct flow *f)
{
	return f->asked_count ? &f->asked[0] : NULL;
}

struct asked *asked_newest(struct flow *f)
{
	return f->asked_count ? &f->asked[f->asked_count - 1] : NULL;
}

void asked_forget(struct flow *f, struct asked *a)
{
	size_t i = (size_t)(a - f->asked);

	memmove(a, a + 1, (f->asked_count - i - 1) * sizeof(*a));
	f->asked_count--;
}

static void tell(struct flow *f, const struct asked *a, uint64_t end_ns, const char *status, bool failed,
		 bool one_way)
{
	struct call call = {
		.proto = a->proto,
		.failed = failed,
		.we_serve = f->we_serve,
		.one_way = one_way,
		.start_ns = a->start_ns,
		.end_ns = end_ns > a->start_ns ? end_ns : a->start_ns,
		.asked_bytes = a->bytes,
		.answered_bytes = a->answered_bytes,
	};

	memcpy(call.method, a->method, sizeof(call.method));
	memcpy(call.route, a->route, sizeof(call.route));
	memcpy(call.trace, a->trace, sizeof(call.trace));
	snprintf(call.status, sizeof(call.status), "%s", status);
	if (f->sink)
		f->sink->call(f->sink->ctx, &call);
}

void asked_tell(struct flow *f, struct asked *a, uint64_t end_ns, const char *status, bool failed)
{
	tell(f, a, end_ns, status, failed, false);
	asked_forget(f, a);
}

void told_at_once(struct flow *f, uint64_t at, size_t bytes, const char *method, const char *route,
		  const char *status, bool failed)
{
	struct asked a = { .start_ns = at, .bytes = bytes, .proto = f->parser->proto };

	snprintf(a.method, sizeof(a.method), "%s", method);
	snprintf(a.route, sizeof(a.route), "%s", route);
	tell(f, &a, at, status, failed, true);
}
