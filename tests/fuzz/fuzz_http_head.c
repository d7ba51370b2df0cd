/* A whole request as a client types it: "METHOD TARGET", header lines, an empty line, the body. The dispatcher
 * without sockets and without a database answers each, and the small parsers of headers agree with themselves. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "api/call.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/http/message.h"
#include "orchestrator/opening.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void small_parsers(const char *value)
{
	char trace[33] = "", id[64];
	long long n;
	struct oc_fail fail;

	(void)etag_matches(value, 7);
	if (prefer_wait(value, 30) < 0 || prefer_wait(value, 30) > 120)
		abort();
	if (trace_parse(value, trace) && strspn(trace, "0123456789abcdef") != 32)
		abort();
	if (idempotency_key_ok(value) && (!*value || strlen(value) > 255))
		abort();
	if (cursor_read(value, "case", &n, id, &fail) == OC_OK) {
		AUTO(str) char *again = cursor_make("case", n, id);
		long long m;
		char id2[64];

		if (cursor_read(again, "case", &m, id2, &fail) != OC_OK || m != n || !str_eq(id, id2))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct api api;
	AUTO(str) char *text = mem_strndup((const char *)bytes, size);
	struct http_request req = { 0 };
	struct http_response resp = { 0 };
	struct oc_fail fail;
	char *line = text, *next, *target;
	bool good = false;

	if (!api.auth) {
		log_set_level(LOG_ERROR);
		api.deps.api_pool = api.deps.worker_pool = pg_pool_new("host=/nonexistent", "fuzz", 1);
		api.auth = auth_new(api.deps.worker_pool);
		api.openings = openings_new(api.deps.worker_pool, 1);
	}
	next = line + strcspn(line, "\n");
	next += *next ? (*next = '\0', 1) : 0;
	target = line + strcspn(line, " ");
	target += *target ? (*target = '\0', 1) : 0;
	good = http_request_init(&req, line, target, &fail) == OC_OK;
	if (!good && !fail.text[0])
		abort();
	while (good && *next && *next != '\n') {
		char *value;

		line = next;
		next = line + strcspn(line, "\n");
		next += *next ? (*next = '\0', 1) : 0;
		value = line + strcspn(line, ":");
		value += *value ? (*value = '\0', 1) : 0;
		value += strspn(value, " ");
		small_parsers(value);
		if (!http_request_header(&req, line, value))
			break;
	}
	if (good) {
		text_add(&req.body, *next ? next + 1 : next);
		api_dispatch(&api, &req, &resp);
		if (http_answered_status(&resp) < 200 || http_answered_status(&resp) > 599)
			abort();
	}
	http_request_done(&req);
	http_response_done(&resp);
	return 0;
}
