/* request.h - from what a step says to a request that can be sent: headers, body, key and secrets.
 *
 * A call under way belongs to its thread. The values of secrets that went into a request are remembered, so
 * that they can be blotted out of whatever comes back. */
#ifndef ADAPTERS_HTTP_REQUEST_H
#define ADAPTERS_HTTP_REQUEST_H

#include "fetch.h"

#include <common/answer.h>

#include <string.h>

#define SECRETS_MAX 64

/* One action under way. */
struct call {
	struct http_ctx *ctx;
	const struct opscase_action *act;
	struct opscase_reply *reply;
	json_t *params, *secrets, *expected;
	const char *used[SECRETS_MAX]; /* values that must not come back in an answer */
	size_t used_count;
	bool reads; /* http.get */
	int64_t deadline_at_ms;
};

/* A request, made from params, params.probe or params.undo. */
struct request {
	struct fetch fetch;
	char *url, *body;
	const json_t *expect;
	char *contains;
	json_t *shown; /* as people may see it: secrets by name */
};

static inline const char *text_of(const json_t *object, const char *name, const char *fallback)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : fallback;
}

static inline int64_t number_of(const json_t *object, const char *name, int64_t fallback)
{
	const json_t *value = json_object_get(object, name);

	return json_is_integer(value) ? json_integer_value(value) : fallback;
}

/* Makes a request of `from`; false with a sentence. `key_header` NULL or "": none is sent. With `look_only`, secrets
 * need not be there yet. */
bool request_make(struct call *call, const json_t *from, const char *method, const char *key,
		  const char *key_header, bool look_only, struct request *ret, char *why, size_t why_size);
void request_done(struct request *rq);

/* Is this the status that `expect_status` asks for? NULL: 200 to 299. */
bool is_expected(const json_t *expect, long status);
bool value_is_plain(const char *value);

#endif
