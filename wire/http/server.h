/* server.h - an HTTP/1.1 server: requests come in as values, answers leave as values.
 *
 * A few event threads read and write sockets; a pool of handler threads, which grows up to a limit,
 * runs the handler, so a handler may block (PostgreSQL, `Prefer: wait`) without stopping the sockets.
 * Everything that strangers size is bounded: connections in all and per address, header bytes and
 * count, body, the time a head, a body or a slow reader may take, and requests waiting for a thread.
 * The one file that sees microhttpd.h is server.c. Handlers are called from several threads at once. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/text.h"

struct http_request;

/* All lent for the call of the handler. */
const char *http_method(const struct http_request *r); /* "GET", as sent */
const char *http_path(const struct http_request *r);   /* decoded once: valid UTF-8, no NUL, no query */
const char *http_body(const struct http_request *r, size_t *ret_len);    /* never NULL; ends in 0 */
const char *http_header(const struct http_request *r, const char *name); /* any case; NULL if absent */
const char *http_query(const struct http_request *r, const char *name);  /* decoded; NULL if absent */
/* The fields of a body that is a form; none where there is no body. OC_BAD_REQUEST: it is another one. */
MUST_CHECK enum oc_err http_form_each(const struct http_request *r,
				      void (*fn)(void *ctx, const char *name, const char *value), void *ctx,
				      struct oc_fail *reterr);
void http_query_each(const struct http_request *r, void (*fn)(void *ctx, const char *name, const char *value),
		     void *ctx);
const char *http_remote(const struct http_request *r); /* "127.0.0.1" */
int64_t http_started_us(const struct http_request *r); /* monotonic */

struct http_response;
void http_status(struct http_response *a, int status);
void http_answer_header(struct http_response *a, const char *name,
			const char *value);                        /* copied; CR and LF are dropped */
void http_content_type(struct http_response *a, const char *type); /* constant text */
void http_answer_body(struct http_response *a, char *take_body, size_t len); /* from malloc; taken over */
void http_answer_text(struct http_response *a, const char *body);            /* copied */
int http_answered_status(const struct http_response *a);

struct http_server_config {
	const char *address;            /* NULL: 127.0.0.1. Anything but loopback needs tls_cert */
	unsigned port;                  /* 0: any free one, see http_server_port */
	const char *tls_cert, *tls_key; /* PEM text, or NULL */
	bool plain_anywhere; /* somebody else does TLS in front of it: said aloud in a setting, never a default */

	unsigned event_threads;            /* 0: 2 */
	unsigned handler_threads;          /* at most; 0: 64 */
	unsigned queue_max;                /* requests waiting for a handler thread; beyond it 503. 0: 256 */
	unsigned connections, per_address; /* 0: 1024 and 512 */
	unsigned headers_max;              /* count; 0: 64 */
	size_t head_bytes;                 /* 0: 32 KiB */
	unsigned head_ms;                  /* until a head is complete, also between two requests; 0: 15000 */
	unsigned body_ms;                  /* until the body is; 0: 30000 */
	unsigned write_ms;                 /* until the answer is taken; 0: 60000 */

	/* Decided from the head, before any byte of the body is kept. 0: no body is taken. */
	size_t (*body_max)(void *ctx, const char *method, const char *path);
	void (*handle)(void *ctx, const struct http_request *r, struct http_response *a);
	/* An answer that the server gives by itself (413, 431, 503, 400): fills content type and body.
	 * `detail` is a sentence. NULL: plain text. */
	void (*refuse)(void *ctx, int status, const char *detail, struct http_response *a);
	void *ctx;
};

struct http_server;
MUST_CHECK enum oc_err http_server_start(const struct http_server_config *config, struct http_server **ret,
					 struct oc_fail *reterr);
unsigned http_server_port(const struct http_server *s);
/* True once http_server_stop was called: handlers that wait should come to an end. */
bool http_server_stopping(const struct http_server *s);
/* Takes no new connection, lets running handlers end and their answers leave (up to grace_ms), closes. */
void http_server_stop(struct http_server *s, unsigned grace_ms);
