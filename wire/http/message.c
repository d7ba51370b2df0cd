#include "wire/http/message.h"
#include <strings.h>
#include "base/clock.h"
#include "base/mem.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* NULL when an escape is broken, or what comes out is no text. */
static char *decode(const char *s, size_t n, bool plus)
{
	AUTO(str) char *out = mem_alloc(n + 1);
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '%') {
			int hi = n - i > 2 ? hex_digit(s[i + 1]) : -1;
			int lo = n - i > 2 ? hex_digit(s[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return NULL;
			c = (char)(hi * 16 + lo);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		out[len++] = c;
	}
	return str_utf8_ok(out, len) ? TAKE(out) : NULL;
}

static bool pair_add(struct http_pair **list, unsigned *count, char *take_name, char *take_value)
{
	if (*count >= HTTP_PAIRS_MAX) {
		free(take_name);
		free(take_value);
		return false;
	}
	if (*count % 16 == 0)
		*list = mem_grow(*list, *count + 16, sizeof(**list));
	(*list)[(*count)++] = (struct http_pair){ .name = take_name, .value = take_value };
	return true;
}

static enum oc_err parse_query(struct http_request *r, const char *s, struct oc_fail *reterr)
{
	while (*s) {
		size_t n = strcspn(s, "&");
		const char *eq = memchr(s, '=', n);
		size_t name_n = eq ? (size_t)(eq - s) : n;
		char *name, *value;

		if (n > 0) {
			name = decode(s, name_n, true);
			value = eq ? decode(eq + 1, n - name_n - 1, true) : mem_strdup("");
			if (!name || !value) {
				free(name);
				free(value);
				return oc_fail_field(reterr, OC_BAD_REQUEST, "query",
						     "the query has a broken escape or is not UTF-8");
			}
			if (!pair_add(&r->query, &r->queries, name, value))
				return oc_fail_field(reterr, OC_BAD_REQUEST, "query",
						     "more than %d query fields", HTTP_PAIRS_MAX);
		}
		s += n;
		if (*s)
			s++;
	}
	return OC_OK;
}

enum oc_err http_request_init(struct http_request *r, const char *method, const char *target,
			      struct oc_fail *reterr)
{
	size_t n = strcspn(target, "?#");

	*r = (struct http_request){ .started_us = clock_mono_us() };
	r->method = mem_strdup(method);
	if (target[0] != '/')
		return oc_fail_field(reterr, OC_BAD_REQUEST, "path", "the request target must be a path");
	r->path = decode(target, n, false);
	if (!r->path)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "path",
				     "the path has a broken escape or is not UTF-8");
	return target[n] == '?' ? parse_query(r, target + n + 1, reterr) : OC_OK;
}

bool http_request_header(struct http_request *r, const char *name, const char *value)
{
	return pair_add(&r->header, &r->headers, mem_strdup(name), mem_strdup(value ? value : ""));
}

static void pairs_free(struct http_pair *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		free(list[i].name);
		free(list[i].value);
	}
}

void http_request_done(struct http_request *r)
{
	free(r->method);
	free(r->path);
	pairs_free(r->header, r->headers);
	free(r->header);
	pairs_free(r->query, r->queries);
	free(r->query);
	text_done(&r->body);
	*r = (struct http_request){ 0 };
}

void http_response_done(struct http_response *a)
{
	pairs_free(a->header, a->headers);
	free(a->body);
	*a = (struct http_response){ 0 };
}

const char *http_method(const struct http_request *r)
{
	return r->method ? r->method : "";
}
const char *http_path(const struct http_request *r)
{
	return r->path ? r->path : "/";
}
const char *http_remote(const struct http_request *r)
{
	return r->remote;
}
int64_t http_started_us(const struct http_request *r)
{
	return r->started_us;
}

const char *http_body(const struct http_request *r, size_t *ret_len)
{
	if (ret_len)
		*ret_len = r->body.len;
	return text_str(&r->body);
}

const char *http_header(const struct http_request *r, const char *name)
{
	for (unsigned i = 0; i < r->headers; i++)
		if (strcasecmp(r->header[i].name, name) == 0)
			return r->header[i].value;
	return NULL;
}

const char *http_query(const struct http_request *r, const char *name)
{
	for (unsigned i = 0; i < r->queries; i++)
		if (strcmp(r->query[i].name, name) == 0)
			return r->query[i].value;
	return NULL;
}

enum oc_err http_form_each(const struct http_request *r, void (*fn)(void *, const char *, const char *),
			   void *ctx, struct oc_fail *reterr)
{
	static const char form[] = "application/x-www-form-urlencoded";
	const char *type = http_header(r, "Content-Type");
	struct http_request body = { 0 };
	enum oc_err err;

	if (r->body.len == 0)
		return OC_OK;
	if (!type || strncasecmp(type, form, sizeof(form) - 1) != 0)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "Content-Type", "a body is a form here: %s",
				     form);
	if (strlen(text_str(&r->body)) != r->body.len)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "body", "the form has a NUL in it");
	err = parse_query(&body, text_str(&r->body), reterr);
	if (err == OC_OK)
		http_query_each(&body, fn, ctx);
	http_request_done(&body);
	return err;
}

void http_query_each(const struct http_request *r, void (*fn)(void *, const char *, const char *), void *ctx)
{
	for (unsigned i = 0; i < r->queries; i++)
		fn(ctx, r->query[i].name, r->query[i].value);
}

void http_status(struct http_response *a, int status)
{
	a->status = status;
}
int http_answered_status(const struct http_response *a)
{
	return a->status;
}
void http_content_type(struct http_response *a, const char *type)
{
	a->content_type = type;
}

void http_answer_header(struct http_response *a, const char *name, const char *value)
{
	char *copy = mem_strdup(value ? value : "");
	char *to = copy;

	/* A value from outside (a path in Location, a trace id) must not begin a header of its own. */
	for (const char *from = copy; *from; from++)
		if ((unsigned char)*from >= ' ' && *from != 0x7f)
			*to++ = *from;
	*to = '\0';
	for (unsigned i = 0; i < a->headers; i++) {
		if (strcasecmp(a->header[i].name, name) == 0) {
			free(a->header[i].value);
			a->header[i].value = copy;
			return;
		}
	}
	if (a->headers == HTTP_ANSWER_HEADERS_MAX) {
		free(copy);
		return;
	}
	a->header[a->headers++] = (struct http_pair){ .name = mem_strdup(name), .value = copy };
}

void http_answer_body(struct http_response *a, char *take_body, size_t len)
{
	free(a->body);
	a->body = take_body;
	a->len = len;
}

void http_answer_text(struct http_response *a, const char *body)
{
	http_answer_body(a, mem_strdup(body), strlen(body));
}
