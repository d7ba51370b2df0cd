/* call.h - one request on its way through the API: what the dispatcher found out about it, and how a
 * handler answers. A handler answers exactly once; what it returns without is an internal error. */
#pragma once
#include "api/api.h"
#include "api/auth.h"
#include "api/fields.h"
#include "orchestrator/transition.h"
#include "store/case.h"
#include "wire/http/server.h"

struct api {
	struct api_deps deps;
	struct http_server *server;
	struct auth *auth;
	struct openings *openings; /* new cases of several callers in one commit */
	int default_wait_s;
};

enum route_roles { MAY_ALL, MAY_READ, MAY_OPERATE, MAY_APPROVE, MAY_ADMIN, MAY_SEND };
enum route_tenant { NO_TENANT, IN_TENANT, ANY_TENANT };
enum route_key { KEY_NONE, KEY_DOOR, KEY_REQUIRED, KEY_OUTER };
enum route_method { GET, POST, PATCH, DELETE, METHOD_COUNT };

struct api_call;

struct route {
	enum route_method method;
	const char *path;
	enum route_roles roles;
	enum route_tenant tenant;
	enum route_key key;
	size_t body_max;
	void (*handle)(struct api_call *c);
	const struct field_table *request; /* NULL: none */
	bool raw;                          /* the body is the handler's own business */
	const char *answer, *summary, *help;
};
extern const struct route routes[];
extern const size_t route_count;
const char *route_method_name(enum route_method m);
bool route_may(enum route_roles roles, enum token_role role);

struct api_call {
	struct api *api;
	const struct api_deps *deps;
	const struct http_request *req;
	struct http_response *resp;
	const struct route *route;
	char path_id[64]; /* {id}, a UUID; a number where route_numbered(), anything where route_worded() */
	struct token who;
	long long tenant_id; /* 0: none (ANY_TENANT only) */
	char tenant[64];
	json_t *body; /* an object, {} when nothing was sent; NULL for raw and bodyless routes */
	char trace_id[33];
	char *route_name;         /* "POST /plan/generate" */
	const char *key;          /* Idempotency-Key or NULL */
	char body_hash[HASH_HEX]; /* over path and canonical body */
	/* the answer */
	int status;     /* 0: not yet */
	json_t *answer; /* the document that was sent; NULL for text */
	bool counted;   /* conflict_total has this failure already */
	json_t *keep;   /* what a replay gets instead of it, where that differs */
};

/* --- answers */
void call_data(struct api_call *c, int status, json_t *take_data); /* {"data":..} */
void call_page(struct api_call *c, json_t *take_list,
	       char *take_cursor); /* {"data":[..],"next_cursor":..|null} */
void call_document(struct api_call *c, int status, json_t *take_document); /* as it is */
void call_text(struct api_call *c, int status, const char *type, char *take_text);
void call_bytes(struct api_call *c, int status, const char *type, char *take_bytes, size_t len);
/* A problem document. `more` (may be NULL, taken over): errors, legal, case, ... */
void call_problem(struct api_call *c, const struct oc_fail *fail, json_t *take_more);
void call_header(struct api_call *c, const char *name, const char *value);
/* The case as clients see it: with legal events and the commands that come next. */
json_t *case_present(json_t *take_case);
/* 200/201/202 with the case, ETag and, unless 200, Location. */
void call_case(struct api_call *c, int status, json_t *take_case);

/* The same from text: the case's JSON members, without parsing them. */
void call_case_members(struct api_call *c, int status, const char *id, const char *members, size_t len,
		       enum case_state state, enum case_reason reason, int version, bool command);
void call_result(struct api_call *c, int status,
		 const struct transition_result *res); /* what the door has just written */

/* --- connections: taken for one step, never while waiting */
enum call_pool { API_POOL, WORKER_POOL };
/* OC_UNAVAILABLE with a sentence for clients; what really happened is in the log. */
MUST_CHECK enum oc_err call_take_pg(struct api_call *c, enum call_pool pool, struct pg **ret,
				    struct oc_fail *reterr);
struct pg *call_api_pg(struct api_call *c); /* NULL: answered with 503; give it back to its pool */
struct pg *call_worker_pg(struct api_call *c);

/* Sends an event through the one door. `suffix` tells the steps of one call apart under its key ("" when the
 * call is the step). On failure the problem is *not* answered yet. */
MUST_CHECK enum oc_err call_transition(struct api_call *c, const char *case_id, enum case_event_kind ev,
				       const json_t *args, const char *reason, int expected_version,
				       const char *suffix, struct transition_result *ret,
				       struct oc_fail *reterr);
/* Answers a failure of the door: a 409 with the events that are legal now. */
void call_refused(struct api_call *c, const char *case_id, const struct oc_fail *fail);
/* Answers a replay of the door: the case, or the refusal, as it was answered the first time. */
void call_replayed(struct api_call *c, const struct transition_result *res);
MUST_CHECK enum oc_err call_read_case(struct api_call *c, const char *case_id, unsigned include,
				      struct case_read *ret, struct oc_fail *reterr);
const char *call_case_id(const struct api_call *c); /* path or body; NULL if none */

/* --- small pure things, for tests */
/* Its {id} is a number of PostgreSQL's, not a UUID. */
bool route_numbered(const struct route *r);
bool route_worded(const struct route *r);
const struct route *route_find(enum route_method m, const char *path, char ret_id[64]);
/* "GET, HEAD" for the methods that a path has; false when it has none. */
bool route_allow(const char *path, struct text *ret);
bool etag_matches(const char *header,
		  int version); /* If-None-Match, If-Match: list of tags, weak ones, or * */
int prefer_wait(const char *header, int fallback_s); /* seconds, 0..120 */
bool trace_parse(const char *traceparent, char ret_trace_id[33]);
bool idempotency_key_ok(const char *key);
/* Which answers are kept for a replay. */
bool idempotency_keeps(int status);
char *cursor_make(const char *kind, long long number, const char *id);
MUST_CHECK enum oc_err cursor_read(const char *cursor, const char *kind, long long *ret_number,
				   char ret_id[64], struct oc_fail *reterr);

/* The handlers of routes.def. */
#define ROUTE(method, path, roles, tenant, key, max, handler, request, answer, summary, help) \
	void handler(struct api_call *c);
#include "api/routes.def"
#undef ROUTE

/* The whole way of a request; also for tests and fuzzers, without sockets. */
void api_dispatch(struct api *api, const struct http_request *req, struct http_response *resp);
