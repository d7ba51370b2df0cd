/* Whatever arrives as target and body of a request is answered, and never crashes: the dispatcher without
 * sockets and without a database (whose absence is a 503 like any other).
 *
 * Input: a byte that chooses method and route, the rest is the body; or, with the top bit set, the target of a
 * GET up to the first newline. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "api/call.h"
#include "api/revision.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/http/message.h"
#include "orchestrator/opening.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_body(const struct route *r, const char *text, size_t len)
{
	AUTO(json) json_t *body = NULL;
	AUTO(json) json_t *errors = json_array();
	AUTO(json) json_t *plan = NULL;
	AUTO(str) char *canonical = NULL;
	struct oc_fail fail;

	if (json_read(text, len, &(struct json_limits){ .bytes = r->body_max, .depth = 32 }, &body, &fail) !=
	    OC_OK)
		return;
	if (r->request && json_is_object(body) &&
	    fields_check(r->request, body, errors) != (json_array_size(errors) == 0))
		abort();
	canonical = json_canonical(body);
	if (!str_utf8_ok(canonical, strlen(canonical)))
		abort();
	if (json_is_object(body) &&
	    revision_plan(NULL, body, &(struct operation_list){ 0 }, &plan, &fail) == OC_OK && !plan)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct api api;
	struct http_request req = { 0 };
	struct http_response resp = { 0 };
	struct oc_fail fail;
	const struct route *r;
	char *text;
	size_t len;

	if (size < 1)
		return 0;
	if (!api.auth) {
		log_set_level(LOG_ERROR);
		api.deps.api_pool = api.deps.worker_pool = pg_pool_new("host=/nonexistent", "fuzz", 1);
		api.auth = auth_new(api.deps.worker_pool);
		api.openings = openings_new(api.deps.worker_pool, 1);
	}
	text = mem_strndup((const char *)bytes + 1, size - 1);
	len = strlen(text);
	r = &routes[(bytes[0] & 0x7f) % route_count];
	if (bytes[0] & 0x80) {
		text[strcspn(text, "\n")] = '\0';
		if (http_request_init(&req, "GET", text, &fail) == OC_OK) {
			long long n;
			char id[64];

			if (http_query(&req, "cursor"))
				(void)!cursor_read(http_query(&req, "cursor"), "case", &n, id, &fail);
			(void)etag_matches(text, 3);
			(void)prefer_wait(text, 30);
			api_dispatch(&api, &req, &resp);
			if (!http_answered_status(&resp))
				abort();
		}
	} else {
		check_body(r, text, len);
		if (http_request_init(&req, route_method_name(r->method), r->path, &fail) == OC_OK) {
			text_add_n(&req.body, text, len);
			(void)http_request_header(&req, "Idempotency-Key", "k");
			api_dispatch(&api, &req, &resp);
			if (!http_answered_status(&resp))
				abort();
		}
	}
	http_request_done(&req);
	http_response_done(&resp);
	free(text);
	return 0;
}
