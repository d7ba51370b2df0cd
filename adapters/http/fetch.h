/* fetch.h - one HTTP exchange, and what can be said about it afterwards.
 *
 * The question that matters is whether the request may have left: before that nothing can have happened,
 * after that nobody knows until there is a status. */
#ifndef ADAPTERS_HTTP_FETCH_H
#define ADAPTERS_HTTP_FETCH_H

#include "allow.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdint.h>

#define FETCH_BODY_MAX (64 * 1024)

struct http_ctx {
	struct allow allow;
	char *ca_file; /* NULL: the system's */
	int64_t connect_timeout_ms;
	CURLM *multi;
	atomic_bool cancelled;
};

struct fetch {
	const char *method, *url;
	struct curl_slist *headers;        /* all of them */
	struct curl_slist *headers_abroad; /* those that may go to another host after a redirect */
	const char *body;                  /* NULL: none */
	size_t body_len;
	int64_t timeout_ms;
	int follow; /* redirects */
};

enum fetch_end {
	FETCH_ANSWERED,  /* there is a status */
	FETCH_NOT_SENT,  /* it never left */
	FETCH_BLOCKED,   /* the allow-list kept it from leaving */
	FETCH_LOST,      /* it may have left, and no status came */
	FETCH_CANCELLED, /* cancelled before it left */
};

struct fetched {
	enum fetch_end end;
	long status;
	char body[FETCH_BODY_MAX + 1];
	size_t len;
	bool cut;
	char etag[256], content_type[128], retry_after[64], final_url[2048];
	int hops;
	int64_t took_ms;
	char why[2048];
};

/* Parses and checks a URL: scheme, no user, on the list as far as can be said now. */
bool fetch_url_check(const struct http_ctx *ctx, const char *url, char *why, size_t why_size);
void fetch(struct http_ctx *ctx, const struct fetch *what, struct fetched *ret);

#endif
