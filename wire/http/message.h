/* message.h - a request and an answer as plain values: what server.c fills from the socket, and tests and
 * fuzzers by hand. Readers use the functions of server.h. Not thread-safe per value. */
#pragma once
#include "wire/http/server.h"

#define HTTP_PAIRS_MAX          128
#define HTTP_ANSWER_HEADERS_MAX 24

struct http_pair {
	char *name, *value;
};

struct http_request {
	char *method, *path;
	struct http_pair *header, *query;
	unsigned headers, queries;
	struct text body;
	char remote[64];
	int64_t started_us;
};

struct http_response {
	int status;
	const char *content_type;
	struct http_pair header[HTTP_ANSWER_HEADERS_MAX];
	unsigned headers;
	char *body;
	size_t len;
};

/* OC_BAD_REQUEST when the target is no path, has broken escapes, NUL or invalid UTF-8, or too many fields. */
MUST_CHECK enum oc_err http_request_init(struct http_request *r, const char *method, const char *target,
					 struct oc_fail *reterr);
/* False when there are too many already. */
bool http_request_header(struct http_request *r, const char *name, const char *value);
void http_request_done(struct http_request *r);
void http_response_done(struct http_response *a);
