#include "request.h"

#include <ctype.h>
#include <strings.h>

#define KEY_WORD "{idempotency_key}"

/* A copy with every {idempotency_key} replaced. */
static char *with_key(const char *text, const char *key)
{
	char *copy = NULL;
	size_t size;
	FILE *out = open_memstream(&copy, &size);

	if (!out)
		return NULL;
	for (const char *hit; (hit = strstr(text, KEY_WORD)); text = hit + strlen(KEY_WORD)) {
		fwrite(text, 1, (size_t)(hit - text), out);
		fputs(key, out);
	}
	fputs(text, out);
	if (fclose(out) != 0) {
		free(copy);
		return NULL;
	}
	return copy;
}

void request_done(struct request *rq)
{
	curl_slist_free_all(rq->fetch.headers);
	curl_slist_free_all(rq->fetch.headers_abroad);
	free(rq->url);
	free(rq->body);
	free(rq->contains);
	json_decref(rq->shown);
	*rq = (struct request){ 0 };
}

static bool header_name_is_plain(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("!#$%&'*+.^_`|~-", name[i]))
			return false;
	return n > 0 && n <= 64;
}

static bool header_is_ours(const char *name)
{
	static const char *const ours[] = {
		"Host", "Content-Length", "Transfer-Encoding", "Connection",      "Expect", "Upgrade",
		"TE",   "Trailer",        "Keep-Alive",        "Proxy-Connection"
	};

	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		if (strcasecmp(name, ours[i]) == 0)
			return true;
	return false;
}

bool value_is_plain(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value < 0x20 ? *value != '\t' : *value == 0x7f)
			return false;
	return true;
}

static bool add_header(struct curl_slist **list, const char *name, const char *prefix, const char *value)
{
	size_t n = strlen(name) + strlen(prefix) + strlen(value) + 4;
	char *line = malloc(n);
	struct curl_slist *more;

	if (!line)
		return false;
	/* "name;" is how libcurl is told of a header without a value */
	if (*prefix || *value)
		snprintf(line, n, "%s: %s%s", name, prefix, value);
	else
		snprintf(line, n, "%s;", name);
	more = curl_slist_append(*list, line);
	free(line);
	if (more)
		*list = more;
	return more;
}

/* One header of the step. With `look_only`, secrets need not be there yet (validate, dry_run). */
static bool take_header(struct call *call, struct request *rq, const char *name, const json_t *value,
			const char *key, bool look_only, char *why, size_t why_size)
{
	const char *plain = json_string_value(value), *secret = text_of(value, "secret", NULL);
	const char *prefix = secret ? text_of(value, "prefix", "") : "";
	char *filled = NULL;
	bool good;

	if (!header_name_is_plain(name) || (!plain && !secret)) {
		snprintf(why, why_size, "header '%.64s' needs a text, or {\"secret\": name}", name);
		return false;
	}
	if (header_is_ours(name)) {
		snprintf(why, why_size, "header '%s' is set by the adapter itself", name);
		return false;
	}
	if (secret) {
		char shown[128];

		snprintf(shown, sizeof shown, "%.64s<secret %.40s>", prefix, secret);
		json_object_set_new(json_object_get(rq->shown, "headers"), name, json_string(shown));
		plain = json_string_value(json_object_get(call->secrets, secret));
		if (!plain && look_only)
			return true;
		if (!plain) {
			snprintf(why, why_size,
				 "header '%s' wants the secret '%.64s', which this step was not given", name,
				 secret);
			return false;
		}
		if (*plain && call->used_count < SECRETS_MAX)
			call->used[call->used_count++] = plain;
	} else {
		filled = with_key(plain, key);
		plain = filled ? filled : "";
		json_object_set_new(json_object_get(rq->shown, "headers"), name,
				    answer_text(plain, strlen(plain), 4096));
	}
	if (!value_is_plain(plain) || !value_is_plain(prefix)) {
		snprintf(why, why_size, "the value of header '%s' holds a control character", name);
		free(filled);
		return false;
	}
	good = add_header(&rq->fetch.headers, name, prefix, plain);
	if (good && !secret && strcasecmp(name, "Authorization") != 0 && strcasecmp(name, "Cookie") != 0)
		good = add_header(&rq->fetch.headers_abroad, name, prefix, plain);
	free(filled);
	return good;
}

static bool has_header(const json_t *headers, const char *wanted)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)headers, name, value) if (strcasecmp(name, wanted) == 0) return true;
	return false;
}

static bool both_headers(struct request *rq, const char *name, const char *value)
{
	return add_header(&rq->fetch.headers, name, "", value) &&
	       add_header(&rq->fetch.headers_abroad, name, "", value);
}

static bool expect_is_plain(const json_t *expect)
{
	const char *text = json_string_value(expect);
	int from, to, end = 0;
	json_t *one;
	size_t i;

	if (!expect || json_is_integer(expect))
		return true;
	if (text)
		return sscanf(text, "%3d-%3d%n", &from, &to, &end) == 2 && text[end] == '\0';
	json_array_foreach((json_t *)expect, i,
			   one) if (json_is_array(one) || !expect_is_plain(one)) return false;
	return json_array_size(expect) > 0;
}

bool is_expected(const json_t *expect, long status)
{
	const char *text = json_string_value(expect);
	int from, to;
	json_t *one;
	size_t i;

	if (!expect)
		return status >= 200 && status <= 299;
	if (json_is_integer(expect))
		return status == json_integer_value(expect);
	if (text)
		return sscanf(text, "%3d-%3d", &from, &to) == 2 && status >= from && status <= to;
	json_array_foreach((json_t *)expect, i, one) if (is_expected(one, status)) return true;
	return false;
}

bool request_make(struct call *call, const json_t *from, const char *method, const char *key,
		  const char *key_header, bool look_only, struct request *ret, char *why, size_t why_size)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };
	json_t *headers = json_object_get(from, "headers"), *body = json_object_get(from, "body"), *value;
	struct request rq = { .expect = json_object_get(from, "expect_status") };
	bool known = false, good = false;
	const char *name;
	char *text;

	why[0] = '\0';
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (strcmp(method, methods[i]) == 0)
			rq.fetch.method = methods[i], known = true;
	rq.url = with_key(text_of(from, "url", ""), key);
	rq.fetch.url = rq.url;
	rq.fetch.follow = (int)number_of(from, "follow", 0);
	if (rq.fetch.follow < 0 || rq.fetch.follow > 5)
		rq.fetch.follow = 0;
	rq.shown = json_pack("{s:s, s:s, s:{}}", "method", known ? rq.fetch.method : "", "url",
			     rq.url ? rq.url : "", "headers");
	if (!known) {
		snprintf(why, why_size,
			 "method '%.16s' is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", method);
		goto out;
	}
	if (!rq.url || !rq.shown || !fetch_url_check(call->ctx, rq.url, why, why_size))
		goto out;
	if (!expect_is_plain(rq.expect)) {
		snprintf(why, why_size,
			 "`expect_status` is a status, a range \"200-299\", or a list of these");
		goto out;
	}
	json_object_foreach(headers, name, value) if (!take_header(call, &rq, name, value, key, look_only,
								   why, why_size)) goto out;
	if (body && (!strcmp(rq.fetch.method, "GET") || !strcmp(rq.fetch.method, "HEAD"))) {
		snprintf(why, why_size, "a %s has no body", rq.fetch.method);
		goto out;
	}
	if (body) {
		text = json_is_string(body) ? strdup(json_string_value(body))
					    : json_dumps(body, JSON_COMPACT);
		rq.body = text ? with_key(text, key) : NULL;
		free(text);
		if (!rq.body)
			goto out;
		rq.fetch.body = rq.body;
		rq.fetch.body_len = strlen(rq.body);
		json_object_set_new(rq.shown, "body", answer_text(rq.body, rq.fetch.body_len, 16384));
		if (!has_header(headers, "Content-Type") &&
		    !both_headers(&rq, "Content-Type",
				  json_is_string(body) ? "text/plain; charset=utf-8" : "application/json"))
			goto out;
	}
	if (key_header && *key_header && *key && !has_header(headers, key_header)) {
		if (!header_name_is_plain(key_header) || header_is_ours(key_header)) {
			snprintf(why, why_size, "'%.64s' cannot carry the idempotency key", key_header);
			goto out;
		}
		if (!both_headers(&rq, key_header, key))
			goto out;
		json_object_set_new(json_object_get(rq.shown, "headers"), key_header, json_string(key));
	}
	if (text_of(from, "contains", NULL)) {
		rq.contains = with_key(text_of(from, "contains", ""), key);
		if (!rq.contains)
			goto out;
	}
	good = true;
out:
	if (good) {
		*ret = rq;
		return true;
	}
	if (!why[0])
		snprintf(why, why_size, "no memory for the request");
	request_done(&rq);
	return false;
}
