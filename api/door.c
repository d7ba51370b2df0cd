/* door.c - how the API knocks at the one door, and how a case looks to clients. */
#include <stdio.h>
#include "api/call.h"
#include "base/mem.h"

/* What a person may type next: one row per event that people may send. */
static const struct next_row {
	enum case_event_kind event;
	const char *command; /* %s: the case id */
} next_rows[] = {
	{ EV_START_ANALYSIS, "opscase case start %s"                                          },
	{ EV_ASK_PLAN,       "opscase case plan %s"                                           },
	{ EV_ASK_GATE,       "opscase case gate %s"                                           },
	{ EV_ASK_EXEC,       "opscase case exec %s"                                           },
	{ EV_ASK_VERIFY,     "opscase case verify %s"                                         },
	{ EV_CANCEL,         "opscase case cancel %s --reason TEXT"                           },
	{ EV_SETTLED,        "opscase case settle %s applied --reason TEXT"                   },
	{ EV_SETTLED,        "opscase case settle %s not_applied --reason TEXT"               },
	{ EV_CLOSE,          "opscase case close %s --resolution fixed_by_hand --reason TEXT" },
	{ EV_REOPEN,         "opscase case reopen %s --reason TEXT"                           },
};

static void say(json_t *list, const char *format, const char *id)
{
	AUTO(text) struct text t = { 0 };
	const char *at = strstr(format, "%s");

	text_add_n(&t, format, (size_t)(at - format));
	text_add(&t, id);
	text_add(&t, at + 2);
	json_array_append_new(list, json_string(text_str(&t)));
}

static json_t *next_commands(const char *id, enum case_state state, enum case_reason reason,
			     const json_t *legal, const char *command)
{
	json_t *list = json_array();
	size_t i;
	json_t *v;

	if (state == CASE_WAIT_GATE) {
		say(list, "opscase case approve %s --as approver", id);
		say(list, "opscase case reject %s --reason TEXT", id);
	}
	if (state == CASE_ANALYZING || (command && state != CASE_CLOSED && state != CASE_PARKED))
		say(list, "opscase case watch %s", id);
	json_array_foreach(legal, i, v)
	{
		enum case_event_kind ev = case_event_parse(json_string_value(v));

		for (size_t k = 0; k < ARRAY_LEN(next_rows); k++)
			if (next_rows[k].event == ev)
				say(list, next_rows[k].command, id);
		if (ev != EV_RESUME)
			continue;
		say(list, "opscase case resume %s reanalyse", id);
		say(list, "opscase case resume %s replan", id);
		if (reason == WHY_VERIFY_FAILED || reason == WHY_EXEC_FAILED ||
		    reason == WHY_PARTLY_APPLIED || reason == WHY_UNVERIFIED || reason == WHY_WORLD_CHANGED)
			say(list, "opscase case resume %s rollback", id);
	}
	return list;
}

json_t *case_present(json_t *take_case)
{
	enum case_state state = case_state_parse(json_str_or(take_case, "status", ""));
	enum case_reason reason = case_reason_parse(json_str_or(take_case, "park_reason", ""));
	json_t *legal;

	if (state == CASE_STATE_COUNT)
		return take_case;
	legal = transition_legal(state, reason == WHY_COUNT ? WHY_NONE : reason);
	json_object_set_new(take_case, "next",
			    next_commands(json_str_or(take_case, "id", ""), state, reason, legal,
					  json_str(take_case, "command")));
	json_object_set_new(take_case, "legal", legal);
	return take_case;
}

void call_case_members(struct api_call *c, int status, const char *id, const char *members, size_t len,
		       enum case_state state, enum case_reason reason, int version, bool command)
{
	AUTO(json) json_t *legal = transition_legal(state, reason == WHY_COUNT ? WHY_NONE : reason);
	AUTO(json) json_t *next = next_commands(id, state, reason, legal, command ? "" : NULL);
	AUTO(str) char *legal_text = json_text(legal);
	AUTO(str) char *next_text = json_text(next);
	struct text out = { 0 };
	char etag[24];

	snprintf(etag, sizeof(etag), "\"%d\"", version);
	call_header(c, "ETag", etag);
	if (status != 200) {
		AUTO(str) char *where = mem_printf("/case/%s", id);

		call_header(c, "Location", where);
	}
	text_add(&out, "{\"data\":{");
	text_add_n(&out, members, len);
	text_add(&out, ",\"next\":");
	text_add(&out, next_text);
	text_add(&out, ",\"legal\":");
	text_add(&out, legal_text);
	text_add(&out, "}}");
	call_text(c, status, "application/json", text_take(&out));
}

void call_result(struct api_call *c, int status, const struct transition_result *res)
{
	static const char last[] = ",\"legal\":[";
	const char *text = res->case_json ? res->case_json : "{}", *end = NULL;

	/* The legal events come last, and no text inside can look like them: its quotes are escaped. */
	for (const char *at = strstr(text, last); at; at = strstr(at + 1, last))
		end = at;
	if (!end) {
		struct oc_fail fail = { 0 };

		oc_fail(&fail, OC_BUG, "the door gave no case back");
		call_problem(c, &fail, NULL);
		return;
	}
	call_case_members(c, status, res->case_id, text + 1, (size_t)(end - text) - 1, res->to, res->reason,
			  res->version, res->command);
}

enum oc_err call_read_case(struct api_call *c, const char *case_id, unsigned include, struct case_read *ret,
			   struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = call_take_pg(c, API_POOL, &pg, reterr);

	if (err != OC_OK)
		return err;
	err = case_read(pg, c->tenant_id, case_id, include, ret, reterr);
	pg_pool_give(c->deps->api_pool, pg);
	return err;
}

enum oc_err call_transition(struct api_call *c, const char *case_id, enum case_event_kind ev,
			    const json_t *args, const char *reason, int expected_version, const char *suffix,
			    struct transition_result *ret, struct oc_fail *reterr)
{
	AUTO(str) char *route = mem_printf("%s%s%s", c->route_name, *suffix ? "#" : "", suffix);
	struct transition_request req = {
		.tenant_id = c->tenant_id,
		.case_id = case_id,
		.event = ev,
		.who = WHO_PERSON,
		.actor = c->who.name,
		.role = token_role_name(c->who.role),
		.reason = reason,
		.trace_id = c->trace_id,
		.expected_version = expected_version,
		.args = json_object_size(args) ? args : NULL,
		.idem = { .principal = c->who.name, .route = route, .key = c->key, .body_hash = c->body_hash },
	};
	struct pg *pg = NULL;
	enum oc_err err = call_take_pg(c, WORKER_POOL, &pg, reterr);

	*ret = (struct transition_result){ 0 };
	if (err != OC_OK)
		return err;
	err = transition(pg, &req, ret, reterr);
	pg_pool_give(c->deps->worker_pool, pg);
	/* The door counts what it refuses, except what it never looked at. */
	c->counted = err == OC_ILLEGAL || err == OC_INVALID || err == OC_STALE;
	return err;
}

void call_refused(struct api_call *c, const char *case_id, const struct oc_fail *fail)
{
	AUTO(json) json_t *more = NULL;
	struct case_read now = { 0 };
	struct oc_fail ignored = { 0 };

	if (fail->err == OC_CONFLICT)
		call_header(c, "Retry-After", "1");
	if ((fail->err == OC_ILLEGAL || fail->err == OC_STALE || fail->err == OC_INVALID) &&
	    call_read_case(c, case_id, 0, &now, &ignored) == OC_OK) {
		more = json_object();
		json_object_set_new(more, "legal", transition_legal(now.state, now.reason));
		json_put(more, "case_status", case_state_name(now.state));
		json_object_set_new(more, "version", json_integer(now.version));
		if (fail->err == OC_STALE) {
			char etag[24];

			snprintf(etag, sizeof(etag), "\"%d\"", now.version);
			call_header(c, "ETag", etag);
		}
	}
	case_read_done(&now);
	call_problem(c, fail, TAKE(more));
}

void call_replayed(struct api_call *c, const struct transition_result *res)
{
	AUTO(json) json_t *doc = NULL;
	struct oc_fail fail = { 0 };
	const char *problem;

	call_header(c, "Idempotency-Replayed", "true");
	if (json_read_own(res->case_json ? res->case_json : "{}", &doc, &fail) != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	problem = json_str(doc, "problem");
	if (!problem) {
		call_case(c, res->stored_status ? res->stored_status : 200, TAKE(doc));
		return;
	}
	fail.err = OC_BUG;
	for (enum oc_err e = OC_OK; e < OC_ERR_COUNT; e++)
		if (str_eq(oc_err_name(e), problem))
			fail.err = e;
	snprintf(fail.text, sizeof(fail.text), "%s", json_str_or(doc, "detail", ""));
	snprintf(fail.field, sizeof(fail.field), "%s", json_str_or(doc, "field", ""));
	c->counted = true;
	call_problem(c, &fail, json_pack("{s:O?}", "legal", json_object_get(doc, "legal")));
}
