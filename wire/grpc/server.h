/* server.h - a gRPC server for unary calls: one message in, one message out, over HTTP/2 without TLS.
 *
 * One thread reads and writes all sockets (nghttp2); a pool of worker threads runs the handler, so that a handler may
 * block. Everything that strangers size is bounded: connections, calls at once on each, header bytes, the message,
 * the bytes that unfinished calls hold together, and how long a call may take to arrive.
 *
 * The address has to be loopback: gRPC with TLS is what a proxy in front of it does (nginx: grpc_pass). The one
 * room that sees nghttp2.h. */
#pragma once
#include <stddef.h>
#include "base/err.h"
#include "base/text.h"

/* The codes of the gRPC status page that a server of ours answers with. */
enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

/* Lent for the call of the handler. */
struct grpc_call {
	const char *path;          /* "/package.Service/Method" */
	const char *authorization; /* as sent, or NULL */
	const char *tenant;        /* the metadata x-opscase-tenant, or NULL */
	const char *encoding;      /* how the message is packed ("gzip"), or NULL: it is not */
	const void *message;
	size_t len;
};

/* Zeroed when the handler gets it. */
struct grpc_answer {
	enum grpc_status status;
	char why[256];       /* grpc-message, where the status is not GRPC_OK */
	unsigned retry_s;    /* with GRPC_UNAVAILABLE: sent as RetryInfo, at most 127; 0: none */
	struct text message; /* sent with GRPC_OK only; freed by the server */
};

struct grpc_config {
	const char *address;  /* NULL: 127.0.0.1 */
	unsigned port;        /* 0: any free one, see grpc_server_port */
	unsigned workers;     /* 0: 8 */
	unsigned connections; /* 0: 256 */
	unsigned calls;       /* at once on one connection; 0: 64 */
	size_t message_max;   /* as sent, packed or not; 0: 4 MiB */
	size_t held_max;      /* bytes of calls that have not been answered; 0: 64 MiB */
	unsigned arrive_ms;   /* from a call's first header to its last byte; 0: 30000 */
	unsigned idle_ms;     /* a connection without a call; 0: 600000 */
	void (*call)(void *ctx, const struct grpc_call *call, struct grpc_answer *answer);
	void *ctx;
};

struct grpc_server;
MUST_CHECK enum oc_err grpc_server_start(const struct grpc_config *config, struct grpc_server **ret,
					 struct oc_fail *reterr);
unsigned grpc_server_port(const struct grpc_server *s);
/* Takes nothing new, waits up to grace_ms for the calls under way and their answers, closes. NULL is fine. */
void grpc_server_stop(struct grpc_server *s, unsigned grace_ms);
