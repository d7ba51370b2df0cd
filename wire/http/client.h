/* client.h - one HTTP call after the other, by libcurl. For the CLI and for checks.
 *
 * http and https only, no redirects, bounded answers. One thread per client; connections are kept.
 * "Timed out" after the request may have been received is OC_UNKNOWN for anything but GET and HEAD. */
#pragma once
#include <stddef.h>
#include "base/err.h"

struct http_client_config {
	const char *base_url;        /* "http://127.0.0.1:8080"; "" when calls give whole URLs */
	const char *bearer;          /* or NULL; never logged */
	const char *user, *password; /* or NULL; never logged. Basic, unless sigv4 says what they sign */
	const char *sigv4;           /* "aws:amz:REGION:s3": requests are signed by AWS Signature Version 4 */
	const char *user_agent;      /* NULL: opscase/VERSION */
	const char *ca_file;         /* NULL: the system's */
	const char *proxy;   /* "http://proxy:3128"; NULL: as the environment says. Never for loopback */
	unsigned connect_ms; /* 0: 5000 */
	unsigned timeout_ms; /* whole call; 0: 150000 (longer than the longest Prefer: wait) */
	size_t answer_max;   /* 0: 16 MiB */
};

struct http_client;
struct http_client *http_client_new(const struct http_client_config *config);
void http_client_free(struct http_client *c);
DEFINE_AUTO(http_client, struct http_client *, http_client_free);

struct http_answer {
	int status;
	char *body; /* ends in 0; never NULL on success */
	size_t len;
	char content_type[96];
	char etag[64], location[256], replayed[16],
		trace[80]; /* ETag, Location, Idempotency-Replayed, traceparent */
	unsigned retry_after_s;
	long long elapsed_us;
};
void http_answer_done(struct http_answer *a);

/* `headers` is a NULL-ended list of "Name: value", or NULL. `body` is JSON text, or NULL. An answer with a status of
 * 400 or more is OC_OK here: the caller reads the problem document. */
MUST_CHECK enum oc_err http_client_call(struct http_client *c, const char *method, const char *path,
					const char *const *headers, const char *body, struct http_answer *ret,
					struct oc_fail *reterr);
/* The same with any bytes of any type, and an answer that may be of any type, too; body NULL: none. */
MUST_CHECK enum oc_err http_client_send(struct http_client *c, const char *method, const char *path,
					const char *const *headers, const char *content_type,
					const void *body, size_t len, struct http_answer *ret,
					struct oc_fail *reterr);
