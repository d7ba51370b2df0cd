#define LOG_ROOM "api"
#include <stdio.h>
#include <strings.h>
#include "api/call.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "store/idempotency.h"
#include "store/tenant.h"

/* --- answers */

static const char type_json[] = "application/json";
static const char type_problem[] = "application/problem+json";

void call_header(struct api_call *c, const char *name, const char *value)
{
	http_answer_header(c->resp, name, value);
}

void call_document(struct api_call *c, int status, json_t *take_document)
{
	char *text = json_text(take_document);

	json_decref(c->answer);
	c->answer = take_document;
	c->status = status;
	http_status(c->resp, status);
	http_content_type(c->resp, status >= 400 ? type_problem : type_json);
	http_answer_body(c->resp, text, strlen(text));
}

void call_data(struct api_call *c, int status, json_t *take_data)
{
	json_t *doc = json_object();

	json_object_set_new(doc, "data", take_data);
	call_document(c, status, doc);
}

void call_page(struct api_call *c, json_t *take_list, char *take_cursor)
{
	json_t *doc = json_object();

	json_object_set_new(doc, "data", take_list);
	json_put(doc, "next_cursor", take_cursor);
	free(take_cursor);
	call_document(c, 200, doc);
}

void call_bytes(struct api_call *c, int status, const char *type, char *take_bytes, size_t len)
{
	c->status = status;
	http_status(c->resp, status);
	http_content_type(c->resp, type);
	http_answer_body(c->resp, take_bytes, len);
}

void call_text(struct api_call *c, int status, const char *type, char *take_text)
{
	call_bytes(c, status, type, take_text, strlen(take_text));
}

/* "OC_KEY_REQUIRED" → "key-required" */
static void slug_of(enum oc_err err, char *out, size_t size)
{
	const char *name = oc_err_name(err);
	size_t n = 0;

	for (name += str_starts(name, "OC_") ? 3 : 0; *name && n + 1 < size; name++)
		out[n++] = *name == '_' ? '-' : (char)(*name | 0x20);
	out[n] = '\0';
}

/* The text of a failure may quote what the client sent, cut in the middle of a character. */
static json_t *sentence(const char *text)
{
	size_t n = strlen(text);

	while (n > 0 && !str_utf8_ok(text, n))
		n--;
	return json_stringn(text, n);
}

static json_t *problem_document(const struct oc_fail *fail, int status, const char *trace_id)
{
	json_t *doc = json_object();
	char slug[64];

	slug_of(fail->err, slug, sizeof(slug));
	json_object_set_new(doc, "type", json_sprintf("urn:opscase:problem:%s", slug));
	json_put(doc, "title", oc_err_title(fail->err));
	json_object_set_new(doc, "status", json_integer(status));
	json_object_set_new(doc, "detail", sentence(fail->text));
	json_put(doc, "advice", oc_err_advice(fail->err));
	if (fail->field[0] == '/') {
		json_t *one = json_object(), *list = json_array();

		json_object_set_new(one, "pointer", sentence(fail->field));
		json_object_set_new(one, "text", sentence(fail->text));
		json_array_append_new(list, one);
		json_object_set_new(doc, "errors", list);
	}
	if (fail->field[0])
		json_object_set_new(doc, "field", sentence(fail->field));
	if (trace_id && *trace_id)
		json_put(doc, "trace_id", trace_id);
	return doc;
}

void call_problem(struct api_call *c, const struct oc_fail *fail, json_t *take_more)
{
	struct oc_fail said = *fail;
	int status = oc_err_http(fail->err);
	json_t *doc;

	if (said.err == OC_BUG || said.err == OC_OK) {
		/* What broke inside is for the log: it may name tables, paths or other people's data. */
		log_error("%s: %s trace=%s", c->route_name ? c->route_name : "request", fail->text,
			  c->trace_id);
		said.err = OC_BUG;
		status = 500;
		said.field[0] = '\0';
		snprintf(said.text, sizeof(said.text),
			 "something broke inside; the log has it under trace %s", c->trace_id);
	} else if (said.err == OC_UNAVAILABLE) {
		log_warn("%s: %s trace=%s", c->route_name ? c->route_name : "request", fail->text,
			 c->trace_id);
		if (str_starts(said.text, "PostgreSQL:"))
			snprintf(said.text, sizeof(said.text), "the database does not answer now");
	}
	doc = problem_document(&said, status, c->trace_id);
	if (take_more)
		json_object_update(doc, take_more);
	json_decref(take_more);
	if (status == 429 || status == 503)
		call_header(c, "Retry-After", "1");
	if (status == 401)
		call_header(c, "WWW-Authenticate", "Bearer realm=\"opscase\"");
	/* What the one door refused it has counted itself. */
	if (!c->counted && (status == 409 || status == 412 || status == 422)) {
		char reason[8];

		snprintf(reason, sizeof(reason), "%d", status);
		metric_inc(M_CONFLICT, reason, NULL, NULL);
	}
	call_document(c, status, doc);
}

void call_case(struct api_call *c, int status, json_t *take_case)
{
	char etag[24];
	const char *id = json_str_or(take_case, "id", "");

	snprintf(etag, sizeof(etag), "\"%lld\"", json_int_or(take_case, "version", 0));
	call_header(c, "ETag", etag);
	if (status != 200) {
		AUTO(str) char *where = mem_printf("/case/%s", id);

		call_header(c, "Location", where);
	}
	call_data(c, status, case_present(take_case));
}

/* --- connections */

enum oc_err call_take_pg(struct api_call *c, enum call_pool pool, struct pg **ret, struct oc_fail *reterr)
{
	struct oc_fail why = { 0 };

	if (pg_pool_take(pool == API_POOL ? c->deps->api_pool : c->deps->worker_pool, 2000, ret, &why) ==
	    OC_OK)
		return OC_OK;
	/* Host names and socket paths are nobody's business out there. */
	log_warn("no connection: %s trace=%s", why.text, c->trace_id);
	return oc_fail(reterr, OC_UNAVAILABLE, "the database does not answer now, or is busy");
}

static struct pg *take(struct api_call *c, enum call_pool pool)
{
	struct oc_fail fail = { 0 };
	struct pg *pg = NULL;

	if (call_take_pg(c, pool, &pg, &fail) == OC_OK)
		return pg;
	call_problem(c, &fail, NULL);
	return NULL;
}

struct pg *call_api_pg(struct api_call *c)
{
	return take(c, API_POOL);
}

struct pg *call_worker_pg(struct api_call *c)
{
	return take(c, WORKER_POOL);
}

/* --- the way of a request */

static void trace_begin(struct api_call *c)
{
	unsigned char random[24];
	char span[17], header[64];

	hash_random(random, sizeof(random));
	if (!trace_parse(http_header(c->req, "traceparent"), c->trace_id))
		str_hex(random, 16, c->trace_id);
	str_hex(random + 16, 8, span);
	snprintf(header, sizeof(header), "00-%s-%s-01", c->trace_id, span);
	call_header(c, "traceparent", header);
}

static bool method_parse(const char *name, enum route_method *ret)
{
	if (str_eq(name, "HEAD"))
		name = "GET";
	for (enum route_method m = 0; m < METHOD_COUNT; m++) {
		if (str_eq(route_method_name(m), name)) {
			*ret = m;
			return true;
		}
	}
	return false;
}

/* A status that the error table has no row for. */
static void odd_problem(struct api_call *c, int status, const char *title, const char *detail)
{
	json_t *doc = json_object();

	json_put(doc, "type", "about:blank");
	json_put(doc, "title", title);
	json_object_set_new(doc, "status", json_integer(status));
	json_put(doc, "detail", detail);
	json_put(doc, "trace_id", c->trace_id);
	call_document(c, status, doc);
}

static void no_route(struct api_call *c)
{
	AUTO(text) struct text allow = { 0 };
	struct oc_fail fail = { 0 };
	const char *path = http_path(c->req);

	if (!route_allow(path, &allow)) {
		oc_fail_field(&fail, OC_NOT_FOUND, "path",
			      "there is nothing at %.200s; GET /openapi.json lists what is", path);
		call_problem(c, &fail, NULL);
		return;
	}
	call_header(c, "Allow", text_str(&allow));
	if (str_eq(http_method(c->req), "OPTIONS")) {
		call_text(c, 204, type_json, mem_strdup(""));
		return;
	}
	odd_problem(c, 405, "method not allowed", "this path has other methods; see Allow");
}

/* Keys of a JSON object that are arguments, not the event's name etc. */
static enum oc_err body_parse(struct api_call *c, json_t **ret_errors, struct oc_fail *reterr)
{
	size_t len;
	const char *text = http_body(c->req, &len);
	enum oc_err err;

	if (strspn(text, " \t\r\n") == len) {
		c->body = json_object();
	} else {
		err = json_read(text, len, &(struct json_limits){ .bytes = c->route->body_max, .depth = 32 },
				&c->body, reterr);
		if (err != OC_OK)
			return err;
	}
	if (!json_is_object(c->body))
		return oc_fail_field(reterr, OC_BAD_REQUEST, "body", "the body must be a JSON object");
	*ret_errors = json_array();
	if (!fields_check(c->route->request, c->body, *ret_errors)) {
		const json_t *first = json_array_get(*ret_errors, 0);

		return oc_fail_field(reterr, OC_INVALID, json_str_or(first, "pointer", ""), "%s %s",
				     json_str_or(first, "pointer", ""), json_str_or(first, "text", ""));
	}
	return OC_OK;
}

const char *call_case_id(const struct api_call *c)
{
	if (str_starts(c->route->path, "/case/{id}"))
		return c->path_id;
	return c->body ? json_str(c->body, "case_id") : NULL;
}

/* A tenant's token speaks for its tenant. One of the installation names it, or the case does. */
static enum oc_err tenant_resolve(struct api_call *c, struct oc_fail *reterr)
{
	const char *named = c->body ? json_str(c->body, "tenant") : NULL;
	const char *case_id = call_case_id(c);
	struct pg *pg = NULL;
	struct tenant t = { 0 };
	enum oc_err err;

	if (!named)
		named = http_header(c->req, "X-Opscase-Tenant");
	if (!named)
		named = http_query(c->req, "tenant");
	if (c->who.tenant_id) {
		if (named && !str_eq(named, c->who.tenant))
			return oc_fail_field(reterr, OC_FORBIDDEN, "tenant", "this token is for tenant '%s'",
					     c->who.tenant);
		c->tenant_id = c->who.tenant_id;
		snprintf(c->tenant, sizeof(c->tenant), "%s", c->who.tenant);
		return OC_OK;
	}
	if (!named && !case_id) {
		if (c->route->tenant == ANY_TENANT)
			return OC_OK;
		return oc_fail_field(
			reterr, OC_BAD_REQUEST, "tenant",
			"this token is for every tenant: name one (body.tenant, X-Opscase-Tenant or ?tenant=)");
	}
	err = call_take_pg(c, WORKER_POOL, &pg, reterr);
	if (err != OC_OK)
		return err;
	if (named) {
		err = tenant_find(pg, named, &t, reterr);
		/* In the body it is a field at fault like any other. */
		if (err == OC_NOT_FOUND && c->body && json_str(c->body, "tenant"))
			err = reterr->err = OC_INVALID;
		c->tenant_id = t.id;
		snprintf(c->tenant, sizeof(c->tenant), "%s", t.code);
	} else {
		err = case_tenant(pg, case_id, &c->tenant_id, c->tenant, reterr);
	}
	pg_pool_give(c->deps->worker_pool, pg);
	return err;
}

static void hash_body(struct api_call *c)
{
	AUTO(str) char *body = c->body ? json_canonical(c->body) : mem_strdup(http_body(c->req, NULL));
	AUTO(str) char *all = mem_printf("%s\n%s\n%s", http_method(c->req), http_path(c->req), body);

	hash_sha256_hex(all, strlen(all), c->body_hash);
}

/* Headers of a kept answer follow from its document. */
static void replay(struct api_call *c, int status, const char *response)
{
	struct oc_fail fail = { 0 };
	json_t *doc = NULL;
	const json_t *data;

	if (json_read_own(response, &doc, &fail) != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	metric_inc(M_IDEMPOTENT_REPLAY, NULL, NULL, NULL);
	call_header(c, "Idempotency-Replayed", "true");
	data = json_object_get(doc, "data");
	if (json_is_integer(json_object_get(data, "version"))) {
		AUTO(str) char *etag = mem_printf("\"%lld\"", json_int_or(data, "version", 0));
		AUTO(str) char *where = mem_printf("/case/%s", json_str_or(data, "id", ""));

		call_header(c, "ETag", etag);
		if (status == 201 || status == 202)
			call_header(c, "Location", where);
	}
	call_document(c, status, doc);
}

/* Round a call that takes several transactions: claim the key, run, keep the answer. */
static void handle_keyed(struct api_call *c)
{
	struct idem_ref ref = { .tenant_id = c->tenant_id,
				.principal = c->who.name,
				.route = c->route_name,
				.key = c->key,
				.body_hash = c->body_hash };
	struct idem_answer seen = { 0 };
	struct oc_fail fail = { 0 };
	struct pg *pg = call_api_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = idem_claim(pg, &ref, &seen, &fail);
	pg_pool_give(c->deps->api_pool, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	switch (seen.state) {
	case IDEM_REPLAY:
		replay(c, seen.status, seen.response);
		idem_answer_done(&seen);
		return;
	case IDEM_OTHER_BODY:
		oc_fail_field(&fail, OC_INVALID, "Idempotency-Key", "this key was used with another request");
		call_problem(c, &fail, NULL);
		return;
	case IDEM_IN_FLIGHT:
		call_header(c, "Retry-After", "1");
		oc_fail_field(&fail, OC_CONFLICT, "Idempotency-Key",
			      "the first request with this key is still being answered");
		call_problem(c, &fail, NULL);
		return;
	case IDEM_MINE:
		break;
	}
	c->route->handle(c);
	if (call_take_pg(c, API_POOL, &pg, &fail) != OC_OK)
		return; /* the claim is taken over later; the steps inside have keys of their own */
	if (c->answer && idempotency_keeps(c->status)) {
		AUTO(str) char *text = json_text(c->keep ? c->keep : c->answer);

		err = idem_keep(pg, &ref, c->status, text, &fail);
	} else {
		err = idem_drop(pg, &ref, &fail);
	}
	if (err != OC_OK)
		log_warn("the answer of %s was not kept: %s", c->route_name, fail.text);
	pg_pool_give(c->deps->api_pool, pg);
}

static enum oc_err prepare(struct api_call *c, json_t **ret_errors, struct oc_fail *reterr)
{
	const char *encoding = http_header(c->req, "Content-Encoding");
	long long number;
	enum oc_err err;

	if (c->route->roles != MAY_ALL) {
		err = auth_check(c->api->auth, http_header(c->req, "Authorization"), &c->who, reterr);
		if (err != OC_OK)
			return err;
		if (!route_may(c->route->roles, c->who.role))
			return oc_fail(reterr, OC_FORBIDDEN, "role '%s' of token '%s' may not do this",
				       token_role_name(c->who.role), c->who.name);
	}
	if (c->path_id[0] && !route_worded(c->route) &&
	    (route_numbered(c->route) ? !str_to_long(c->path_id, 1, INT64_MAX, &number)
				      : !uuid_ok(c->path_id)))
		return oc_fail_field(reterr, OC_NOT_FOUND, "id", "'%s' is no id", c->path_id);
	if (encoding && *encoding && strcasecmp(encoding, "identity") != 0)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "Content-Encoding",
				     "send the body as it is: '%.40s' is not read here", encoding);
	if (c->route->request && c->route->body_max) {
		err = body_parse(c, ret_errors, reterr);
		if (err != OC_OK)
			return err;
	}
	if (c->route->tenant != NO_TENANT) {
		err = tenant_resolve(c, reterr);
		if (err != OC_OK)
			return err;
	}
	c->key = http_header(c->req, "Idempotency-Key");
	if (c->route->key == KEY_NONE)
		c->key = NULL;
	if (c->route->key == KEY_REQUIRED && str_empty(c->key))
		return oc_fail_field(
			reterr, OC_KEY_REQUIRED, "Idempotency-Key",
			"send an Idempotency-Key, so that a repeated request changes nothing twice");
	if (c->key && !idempotency_key_ok(c->key))
		return oc_fail_field(reterr, OC_BAD_REQUEST, "Idempotency-Key",
				     "a key has 1 to 200 characters without blanks");
	if (c->key)
		hash_body(c);
	return OC_OK;
}

void api_dispatch(struct api *api, const struct http_request *req, struct http_response *resp)
{
	struct api_call c = { .api = api, .deps = &api->deps, .req = req, .resp = resp };
	AUTO(json) json_t *errors = NULL;
	struct oc_fail fail = { 0 };
	enum route_method method;
	char status[16];

	trace_begin(&c);
	if (method_parse(http_method(req), &method))
		c.route = route_find(method, http_path(req), c.path_id);
	if (!c.route) {
		no_route(&c);
	} else {
		c.route_name = mem_printf("%s %s", route_method_name(c.route->method), c.route->path);
		if (prepare(&c, &errors, &fail) != OC_OK) {
			json_t *more = NULL;

			if (fail.err == OC_INVALID && json_array_size(errors))
				more = json_pack("{s:O}", "errors", errors);
			call_problem(&c, &fail, more);
		} else if (c.route->key == KEY_OUTER && c.key) {
			handle_keyed(&c);
		} else {
			c.route->handle(&c);
		}
		if (!c.status) {
			oc_fail(&fail, OC_BUG, "no answer was made");
			call_problem(&c, &fail, NULL);
		}
	}
	snprintf(status, sizeof(status), "%d", c.status);
	metric_inc(M_HTTP_REQUESTS, c.route_name ? c.route_name : "none", status, NULL);
	metric_observe(M_HTTP_LATENCY, (double)(clock_mono_us() - http_started_us(req)) / 1e6,
		       c.route_name ? c.route_name : "none", NULL, NULL);
	free(c.route_name);
	json_decref(c.body);
	json_decref(c.answer);
	json_decref(c.keep);
}
