/* case.c - open, read, list cases; send them events. */
#include <stdio.h>
#include "api/call.h"
#include "base/clock.h"
#include "base/mem.h"
#include "orchestrator/opening.h"

void case_create(struct api_call *c)
{
	const json_t *b = c->body;
	struct case_create req = {
		.tenant_id = c->tenant_id,
		.tenant = c->tenant,
		.title = json_str(b, "title"),
		.summary = json_str(b, "summary"),
		.severity = json_str(b, "severity"),
		.drive = str_eq(json_str(b, "drive"), "auto") ? DRIVE_AUTO : DRIVE_MANUAL,
		.labels = json_is_object(json_object_get(b, "labels")) ? json_object_get(b, "labels") : NULL,
		.evidence = json_is_array(json_object_get(b, "evidence")) ? json_object_get(b, "evidence")
									  : NULL,
		.params = json_is_object(json_object_get(b, "params")) ? json_object_get(b, "params") : NULL,
		.template_name = json_str(b, "template"),
		.follows_id = json_str(b, "follows_id"),
		.parent_id = json_str(b, "parent_id"),
		.actor = c->who.name,
		.trace_id = c->trace_id,
		.idem = { .principal = c->who.name,
                         .route = c->route_name,
                         .key = c->key,
                         .body_hash = c->body_hash },
	};
	struct transition_result res = { 0 };
	struct oc_fail fail = { 0 };
	enum oc_err err = openings_create(c->api->openings, &req, &res, &fail);

	if (err != OC_OK) {
		if (err == OC_CONFLICT)
			call_header(c, "Retry-After", "1");
		call_problem(c, &fail, NULL);
	} else if (res.replayed) {
		call_replayed(c, &res);
	} else {
		call_result(c, 201, &res);
	}
	transition_result_done(&res);
}

static bool include_parse(const char *list, unsigned *ret, struct oc_fail *reterr)
{
	while (list && *list) {
		size_t n = strcspn(list, ",");
		AUTO(str) char *one = mem_strndup(list, n);
		unsigned bit = case_include_parse(one);

		if (!bit && n > 0) {
			oc_fail_field(reterr, OC_BAD_REQUEST, "include",
				      "'%.40s' cannot be included; choose from %s", one, case_include_names);
			return false;
		}
		*ret |= bit;
		list += n + (list[n] == ',');
	}
	return true;
}

/* The bare case: what people and scripts ask for most. */
static void peek(struct api_call *c)
{
	const char *seen = http_header(c->req, "If-None-Match");
	struct case_peek now = { 0 };
	struct oc_fail fail = { 0 };
	struct pg *pg = call_api_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = case_peek(pg, c->tenant_id, c->path_id, &now, &fail);
	pg_pool_give(c->deps->api_pool, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
	} else if (seen && etag_matches(seen, now.version)) {
		char etag[24];

		snprintf(etag, sizeof(etag), "\"%d\"", now.version);
		call_header(c, "ETag", etag);
		call_text(c, 304, NULL, mem_strdup(""));
	} else {
		call_case_members(c, 200, c->path_id, now.members, strlen(now.members), now.state, now.reason,
				  now.version, now.command);
	}
	case_peek_done(&now);
}

void case_get(struct api_call *c)
{
	struct case_read now = { 0 };
	struct oc_fail fail = { 0 };
	unsigned include = 0;

	if (!include_parse(http_query(c->req, "include"), &include, &fail)) {
		call_problem(c, &fail, NULL);
		return;
	}
	if (!include) {
		peek(c);
		return;
	}
	/* What is included changes without the case's version: it is never "not modified". */
	if (call_read_case(c, c->path_id, include, &now, &fail) != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_case(c, 200, TAKE(now.json));
	case_read_done(&now);
}

static bool query_limit(struct api_call *c, int most, int fallback, int *ret, struct oc_fail *reterr)
{
	const char *text = http_query(c->req, "limit");
	long long n = fallback;

	if (text && !str_to_long(text, 1, most, &n)) {
		oc_fail_field(reterr, OC_BAD_REQUEST, "limit", "limit is a number from 1 to %d", most);
		return false;
	}
	*ret = (int)n;
	return true;
}

void case_timeline_get(struct api_call *c)
{
	const char *cursor = http_query(c->req, "cursor");
	struct oc_fail fail = { 0 };
	long long after = 0;
	char unused[64];
	json_t *list = NULL;
	int limit, next = 0;
	struct pg *pg;
	enum oc_err err;

	if (!query_limit(c, 500, 100, &limit, &fail) ||
	    (cursor && cursor_read(cursor, "timeline", &after, unused, &fail) != OC_OK)) {
		call_problem(c, &fail, NULL);
		return;
	}
	if (after > 2147483647)
		after = 2147483647;
	pg = call_api_pg(c);
	if (!pg)
		return;
	err = case_timeline(pg, c->tenant_id, c->path_id, (int)after, limit, &list, &next, &fail);
	pg_pool_give(c->deps->api_pool, pg);
	if (err != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_page(c, list, next ? cursor_make("timeline", next, NULL) : NULL);
}

#define STATES_MAX 16

static bool states_parse(const char *list, char **own, const char **out, struct oc_fail *reterr)
{
	size_t n = 0;
	char *save = NULL;

	*own = mem_strdup(list);
	for (char *s = strtok_r(*own, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		if (case_state_parse(s) == CASE_STATE_COUNT || n >= STATES_MAX) {
			oc_fail_field(reterr, OC_BAD_REQUEST, "status", "'%.40s' is no state of a case", s);
			return false;
		}
		out[n++] = s;
	}
	out[n] = NULL;
	return true;
}

static bool time_parse(struct api_call *c, const char *name, int64_t *ret, struct oc_fail *reterr)
{
	const char *text = http_query(c->req, name);

	if (text && clock_parse(text, ret) != 0) {
		oc_fail_field(reterr, OC_BAD_REQUEST, name, "%s is a time like 2026-01-02T03:04:05Z", name);
		return false;
	}
	return true;
}

static const char *query_or_null(struct api_call *c, const char *name)
{
	const char *v = http_query(c->req, name);

	return str_empty(v) ? NULL : v;
}

void case_list_get(struct api_call *c)
{
	const char *cursor = query_or_null(c, "cursor"), *status = query_or_null(c, "status");
	const char *states[STATES_MAX + 1];
	AUTO(str) char *own = NULL;
	struct case_filter f = { .severity = query_or_null(c, "severity"),
				 .park_reason = query_or_null(c, "park_reason"),
				 .text = query_or_null(c, "text") };
	struct oc_fail fail = { 0 };
	char after_id[64] = "", next_id[64] = "";
	long long after = 0;
	int64_t next = 0;
	json_t *list = NULL, *v;
	struct pg *pg;
	size_t i;
	enum oc_err err;

	if (!query_limit(c, 200, 50, &f.limit, &fail) ||
	    (status && !states_parse(status, &own, states, &fail)) ||
	    !time_parse(c, "since", &f.since_us, &fail) || !time_parse(c, "until", &f.until_us, &fail) ||
	    (cursor && cursor_read(cursor, "case", &after, after_id, &fail) != OC_OK)) {
		call_problem(c, &fail, NULL);
		return;
	}
	if (after && !after_id[0]) {
		oc_fail_field(&fail, OC_BAD_REQUEST, "cursor", "this is no cursor of ours");
		call_problem(c, &fail, NULL);
		return;
	}
	f.status = status ? states : NULL;
	f.after_us = after;
	f.after_id = after_id;
	pg = call_api_pg(c);
	if (!pg)
		return;
	err = case_list(pg, c->tenant_id, &f, &list, &next, next_id, &fail);
	pg_pool_give(c->deps->api_pool, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	json_array_foreach(list, i, v) case_present(v);
	call_page(c, list, next ? cursor_make("case", next, next_id) : NULL);
}

/* The event's arguments: `args`, and the fields that may stand beside the event's name. */
static json_t *event_args(const json_t *body)
{
	static const char *const beside[] = { "mode", "outcome", "resolution", "plan", "template", "params" };
	const json_t *given = json_object_get(body, "args");
	json_t *args = json_is_object(given) ? json_copy((json_t *)given) : json_object();

	for (size_t i = 0; i < ARRAY_LEN(beside); i++) {
		json_t *v = json_object_get(body, beside[i]);

		if (v && !json_is_null(v))
			json_object_set(args, beside[i], v);
	}
	/* A name in the body proves nothing: it is noted, and the token's own name stays the actor. */
	if (!str_empty(json_str(body, "actor")))
		json_object_set(args, "claimed_actor", json_object_get(body, "actor"));
	return args;
}

static bool expected_version(struct api_call *c, int *ret, struct oc_fail *reterr)
{
	const char *header = http_header(c->req, "If-Match");
	long long in_body = json_int_or(c->body, "expected_version", 0), in_header = 0;
	char number[16];
	size_t n;

	if (header && !str_eq(header, "*")) {
		const char *s = header + strspn(header, " \t");

		s += strncmp(s, "W/", 2) == 0 ? 2 : 0;
		s += *s == '"';
		n = strspn(s, "0123456789");
		snprintf(number, sizeof(number), "%.*s", n < sizeof(number) ? (int)n : 0, s);
		if (!str_to_long(number, 1, 2147483647, &in_header) ||
		    (s[n] != '\0' && !(s[n] == '"' && s[n + 1] == '\0'))) {
			oc_fail_field(reterr, OC_BAD_REQUEST, "If-Match",
				      "If-Match takes the ETag of a case, like \"3\"");
			return false;
		}
		if (in_body && in_body != in_header) {
			oc_fail_field(reterr, OC_BAD_REQUEST, "If-Match",
				      "If-Match and expected_version disagree");
			return false;
		}
		in_body = in_header;
	}
	*ret = (int)in_body;
	return true;
}

void case_transition(struct api_call *c)
{
	AUTO(json) json_t *args = event_args(c->body);
	const char *name = json_str_or(c->body, "event", "");
	enum case_event_kind ev = case_event_parse(name);
	struct transition_result res = { 0 };
	struct oc_fail fail = { 0 };
	int version = 0;
	enum oc_err err;

	if (!expected_version(c, &version, &fail)) {
		call_problem(c, &fail, NULL);
		return;
	}
	if (ev == EV_COUNT) {
		oc_fail_field(&fail, OC_INVALID, "/event", "'%.64s' is no event of a case", name);
		call_refused(c, c->path_id, &fail);
		return;
	}
	err = call_transition(c, c->path_id, ev, args, json_str(c->body, "reason"), version, "", &res, &fail);
	if (err != OC_OK)
		call_refused(c, c->path_id, &fail);
	else if (res.replayed)
		call_replayed(c, &res);
	else
		call_result(c, 200, &res);
	transition_result_done(&res);
}
