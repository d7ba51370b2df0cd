#include "apps/opscase/remote.h"
#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include "apps/opscase/datadir.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/uuid.h"

struct remote {
	struct http_client *http;
	char *url, *tenant;
	bool tenant_named;
};

static char *token_of(const char *data, const char *name)
{
	AUTO(str) char *path = mem_printf("%s/tokens/%s", data, name);

	return file_line(path);
}

enum oc_err remote_open(const struct cli *cli, struct remote **ret, struct oc_fail *reterr)
{
	AUTO(str) char *data = datadir_path(cli_option(cli, "data"));
	AUTO(str) char *url_file = mem_printf("%s/url", data);
	AUTO(str) char *url = NULL, *token = NULL;
	const char *as = cli_option(cli, "as"), *from_env = getenv("OPSCASE_TOKEN"),
		   *tenant = cli_option(cli, "tenant");
	bool embedded = false;
	struct remote *r;

	url = mem_strdup(cli_option(cli, "url") ? cli_option(cli, "url") : getenv("OPSCASE_URL"));
	/* --data says which installation is meant; a variable left over from another one does not count then. */
	if (cli_option(cli, "data") && !cli_option(cli, "url"))
		mem_set(&url, NULL);
	if (str_empty(url)) {
		free(url);
		url = file_line(url_file);
		embedded = true;
	}
	if (!url)
		return oc_fail(
			reterr, OC_UNAVAILABLE,
			"nothing runs on %s: start it with `opscase up`, or say where the service is (OPSCASE_URL and "
			"OPSCASE_TOKEN, or --url)",
			data);
	if (as && (strchr(as, '/') || as[0] == '.'))
		return oc_fail(reterr, OC_BAD_REQUEST, "--as takes the name of a token: admin, approver");
	if (as || str_empty(from_env) || (embedded && cli_option(cli, "data")))
		token = token_of(data, as ? as : "admin");
	else
		token = mem_strdup(from_env);
	if (!token && as)
		return oc_fail(reterr, OC_UNAUTHENTICATED, "there is no readable token %s/tokens/%s", data,
			       as);
	if (!token)
		return oc_fail(
			reterr, OC_UNAUTHENTICATED,
			"no token: set OPSCASE_TOKEN, or point --data at a folder whose tokens/ you may read (%s/tokens)",
			data);
	r = mem_alloc(sizeof(*r));
	if (str_empty(tenant))
		tenant = getenv("OPSCASE_TENANT");
	r->tenant_named = !str_empty(tenant);
	/* the first tokens are good for every tenant; whoever made no other tenant need not know that there are some */
	r->tenant = mem_strdup(r->tenant_named                            ? tenant
			       : embedded && (!as || str_eq(as, "admin")) ? "default"
									  : "");
	r->url = TAKE(url);
	r->http = http_client_new(&(struct http_client_config){
		.base_url = r->url, .bearer = token, .ca_file = getenv("OPSCASE_CA") });
	explicit_bzero(token, strlen(token));
	*ret = r;
	return OC_OK;
}

void remote_close(struct remote *r)
{
	if (!r)
		return;
	http_client_free(r->http);
	free(r->url);
	free(r->tenant);
	free(r);
}

const char *remote_url(const struct remote *r)
{
	return r->url;
}
const char *remote_tenant(const struct remote *r)
{
	return r->tenant;
}

void remote_answer_done(struct remote_answer *a)
{
	json_decref(a->doc);
	*a = (struct remote_answer){ 0 };
}

/* --- problems */

/* "urn:opscase:problem:key-required" → OC_KEY_REQUIRED; else by status. */
static enum oc_err problem_err(const json_t *doc, int status)
{
	const char *type = json_str_or(doc, "type", ""), *slug = strrchr(type, ':');

	for (unsigned e = OC_OK + 1; slug && e < OC_ERR_COUNT; e++) {
		const char *name = oc_err_name(e) + strlen("OC_"), *s = slug + 1;

		while (*s && (toupper((unsigned char)*s) == *name || (*s == '-' && *name == '_'))) {
			s++;
			name++;
		}
		if (!*s && !*name)
			return e;
	}
	for (unsigned e = OC_OK + 1; e < OC_ERR_COUNT; e++)
		if (oc_err_http(e) == status)
			return e;
	return status >= 500 ? OC_UNAVAILABLE : OC_BAD_REQUEST;
}

static enum oc_err explain(const json_t *doc, int status, struct oc_fail *reterr)
{
	enum oc_err err = problem_err(doc, status);
	AUTO(text) struct text said = { 0 };
	const json_t *errors = json_object_get(doc, "errors"), *legal = json_object_get(doc, "legal"), *one;
	size_t i;

	text_add(&said, json_str_or(doc, "detail", json_str_or(doc, "title", oc_err_title(err))));
	if (json_array_size(errors) > 1 || (json_array_size(errors) == 1 && !json_str(doc, "field")))
		json_array_foreach(errors, i, one)
			text_addf(&said, "\n  %s: %s", json_str_or(one, "pointer", "/"),
				  json_str_or(one, "text", ""));
	if (json_array_size(legal) && !strstr(text_str(&said), "legal now")) {
		text_addf(&said, "\n  the case is %s; legal now:", json_str_or(doc, "case_status", "?"));
		json_array_foreach(legal, i, one) text_addf(&said, " %s", json_string_value(one));
	} else if (err == OC_UNAUTHENTICATED || err == OC_BUSY) {
		text_addf(&said, "; %s", json_str_or(doc, "advice", oc_err_advice(err)));
	}
	if (err == OC_BUG && json_str(doc, "trace_id"))
		text_addf(&said, " (trace %s)", json_str(doc, "trace_id"));
	return oc_fail(reterr, err, "%s", said.s);
}

/* --- calls */

#define HEADERS_MAX 8

static enum oc_err once(struct remote *r, const struct remote_call *call, const char *const *headers,
			const char *body, struct remote_answer *ret, struct oc_fail *reterr)
{
	struct http_answer answer = { 0 };
	AUTO(json) json_t *doc = NULL;
	enum oc_err err = http_client_call(r->http, call->method, call->path, headers, body, &answer, reterr);

	if (err != OC_OK)
		return err;
	if (answer.len > 0 && json_read(answer.body, answer.len, &(struct json_limits){ .bytes = 16 << 20 },
					&doc, NULL) != OC_OK)
		err = answer.status < 400
			      ? oc_fail(reterr, OC_BUG, "%s answered what is no JSON: %.80s", r->url,
					answer.body)
			      : oc_fail(reterr, problem_err(NULL, answer.status), "%s answered %d: %.80s",
					r->url, answer.status, answer.body);
	else if (answer.status >= 400)
		err = explain(doc, answer.status, reterr);
	if (err == OC_OK) {
		*ret = (struct remote_answer){ .status = answer.status,
					       .retry_after_s = answer.retry_after_s };
		snprintf(ret->etag, sizeof(ret->etag), "%s", answer.etag);
		ret->doc = TAKE(doc);
		ret->data = json_object_get(ret->doc, "data");
	}
	http_answer_done(&answer);
	return err;
}

enum oc_err remote_send(struct remote *r, const struct remote_call *call, struct remote_answer *ret,
			struct oc_fail *reterr)
{
	bool writes = !str_eq(call->method, "GET");
	AUTO(str) char *body = call->body ? json_text(call->body) : NULL;
	AUTO(str) char *tenant = mem_printf("X-Opscase-Tenant: %s", r->tenant);
	AUTO(str) char *etag = mem_printf("If-None-Match: %s", call->etag ? call->etag : "");
	AUTO(str) char *wait = mem_printf("Prefer: wait=%d", call->wait_s);
	const char *headers[HEADERS_MAX] = { 0 };
	char key[80], uuid[UUID_TEXT];
	size_t n = 0;
	enum oc_err err;

	uuid_new(uuid);
	snprintf(key, sizeof(key), "Idempotency-Key: %s", call->key ? call->key : uuid);
	if (writes)
		headers[n++] = key;
	if (*r->tenant && (r->tenant_named || !call->any_tenant))
		headers[n++] = tenant;
	if (call->etag)
		headers[n++] = etag;
	if (writes && call->wait_s >= 0)
		headers[n++] = wait;
	for (int tries = 0;; tries++) {
		err = once(r, call, headers, body, ret, reterr);
		/* Under the same key a second try cannot do it twice. */
		if (err != OC_UNKNOWN || tries == 2)
			return err;
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	}
}

enum oc_err remote_get(struct remote *r, struct remote_answer *ret, struct oc_fail *reterr, const char *fmt,
		       ...)
{
	char path[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	return remote_send(r,
			   &(struct remote_call){
				   .method = "GET", .path = path, .any_tenant = str_starts(path, "/case/") },
			   ret, reterr);
}

enum oc_err remote_post(struct remote *r, const char *path, const char *content_type, const void *body,
			size_t len, struct http_answer *ret, struct oc_fail *reterr)
{
	AUTO(str) char *tenant = mem_printf("X-Opscase-Tenant: %s", r->tenant);
	const char *headers[] = { *r->tenant ? tenant : NULL, NULL };
	int64_t until = clock_mono_ms() + 60000;

	for (;;) {
		enum oc_err err = http_client_send(r->http, "POST", path, headers, content_type, body, len,
						   ret, reterr);
		unsigned again = ret->retry_after_s ? ret->retry_after_s : 1;

		if (err != OC_OK || ret->status < 400)
			return err;
		if ((ret->status == 429 || ret->status == 503) && clock_mono_ms() < until) {
			http_answer_done(ret);
			nanosleep(&(struct timespec){ .tv_sec = again < 10 ? again : 10 }, NULL);
			continue;
		}
		err = oc_fail(reterr, problem_err(NULL, ret->status), "%s answered %d: %.200s", path,
			      ret->status, ret->body);
		http_answer_done(ret);
		return err;
	}
}

enum oc_err remote_case_id(struct remote *r, const char *typed, char ret_id[40], struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	enum oc_err err;

	if (!str_eq(typed, "last")) {
		if (!uuid_ok(typed))
			return oc_fail(
				reterr, OC_BAD_REQUEST,
				"'%.80s' is no id of a case; `opscase case list` shows them, and `last` is "
				"the newest one",
				typed);
		snprintf(ret_id, 40, "%s", typed);
		return OC_OK;
	}
	err = remote_get(r, &answer, reterr, "/case?limit=1");
	if (err != OC_OK)
		return err;
	if (json_array_size(answer.data) == 0)
		return oc_fail(reterr, OC_NOT_FOUND, "there is no case yet");
	snprintf(ret_id, 40, "%s", json_str_or(json_array_get(answer.data, 0), "id", ""));
	return OC_OK;
}

void url_add(struct text *t, const char *value)
{
	for (const char *c = value; *c; c++)
		text_addf(t, isalnum((unsigned char)*c) || strchr("-_.~", *c) ? "%c" : "%%%02X",
			  (unsigned char)*c);
}
