/* flow.h - one connection's bytes, turned into calls: which protocol, what was asked, how it ended.
 *
 * Pure: no clock, no I/O; the time and the bytes are handed in. Of each read or write only the first bytes are
 * known (`kept` of `size`), some may be missing altogether (flow_gap), and a connection may be older than we are:
 * parsers take what they recognise and step over the rest. What leaves is a method, a route with ids
 * folded, a status and sizes; no payload. One flow belongs to one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"

enum proto {
	PROTO_NONE,
	PROTO_HTTP1,
	PROTO_HTTP2,
	PROTO_GRPC,
	PROTO_POSTGRES,
	PROTO_MYSQL,
	PROTO_REDIS,
	PROTO_KAFKA,
	PROTO_NATS,
	PROTO_DNS,
	PROTO_COUNT
};
const char *proto_name(enum proto proto); /* "http", "postgresql": OpenTelemetry's words */

enum flow_dir { FLOW_IN, FLOW_OUT }; /* seen from the process: it read, it wrote */

struct call {
	enum proto proto;
	char method[24]; /* GET, SELECT, Produce, A */
	char route[96];  /* "/orders/:id", a table, a subject, a name; "" if there is none */
	char status[16]; /* "200", an SQLSTATE, "NXDOMAIN", "ok" */
	bool failed;     /* the answering side failed: 5xx, an error of the protocol */
	bool we_serve;   /* this end answered; else it asked */
	bool one_way;    /* nobody answers such a message */
	uint64_t start_ns, end_ns;
	uint64_t asked_bytes, answered_bytes; /* of the reads and writes that were seen */
	char trace[56];                       /* traceparent as it was in the head, or "" */
};

struct flow_sink {
	void (*call)(void *ctx, const struct call *call); /* lent for the call */
	void *ctx;
};

enum flow_wants { FLOW_TELL_ALL, FLOW_TELL_TURNS, FLOW_TELL_NOTHING };

struct flow;
/* Ports help to tell protocols apart that look alike; 0: not known. */
struct flow *flow_new(bool tcp, unsigned local_port, unsigned remote_port);
void flow_free(struct flow *f);
DEFINE_AUTO(flow, struct flow *, flow_free);

/* `kept` bytes are there, of `size`. Calls that are complete by now go to the sink. */
void flow_feed(struct flow *f, enum flow_dir dir, uint64_t at_ns, const uint8_t *bytes, size_t kept,
	       size_t size, const struct flow_sink *sink);
/* Something in between was lost: what is outstanding is forgotten, and the parser finds its feet again. Returns how
 * many calls were given up. */
unsigned flow_gap(struct flow *f);
enum proto flow_proto(const struct flow *f);
bool flow_we_serve(const struct flow *f); /* once the protocol is known */
enum flow_wants flow_wants(const struct flow *f);
unsigned flow_outstanding(const struct flow *f);
