#include "wire/http/client.h"
#include <curl/curl.h>
#include <pthread.h>
#include <strings.h>
#include "base/mem.h"
#include "base/text.h"

struct http_client {
	CURL *curl;
	char *base_url, *bearer, *user_agent, *ca_file, *proxy, *user_password, *sigv4;
	unsigned connect_ms, timeout_ms;
	size_t answer_max;
};

struct reading {
	struct text body;
	size_t max;
	bool over;
	struct http_answer *answer;
};

static void init_once(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct http_client *http_client_new(const struct http_client_config *config)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http_client *c = mem_alloc(sizeof(*c));
	size_t n;

	pthread_once(&once, init_once);
	c->curl = curl_easy_init();
	c->base_url = mem_strdup(config->base_url ? config->base_url : "");
	for (n = strlen(c->base_url); n > 0 && c->base_url[n - 1] == '/'; n--)
		c->base_url[n - 1] = '\0';
	c->bearer = mem_strdup(config->bearer);
	c->user_agent = mem_strdup(config->user_agent ? config->user_agent : "opscase/" OPSCASE_VERSION);
	c->ca_file = mem_strdup(config->ca_file);
	c->proxy = mem_strdup(config->proxy);
	c->sigv4 = mem_strdup(config->sigv4);
	if (config->user)
		c->user_password =
			mem_printf("%s:%s", config->user, config->password ? config->password : "");
	c->connect_ms = config->connect_ms ? config->connect_ms : 5000;
	c->timeout_ms = config->timeout_ms ? config->timeout_ms : 150000;
	c->answer_max = config->answer_max ? config->answer_max : 16 << 20;
	return c;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	if (c->curl)
		curl_easy_cleanup(c->curl);
	if (c->bearer)
		explicit_bzero(c->bearer, strlen(c->bearer));
	if (c->user_password)
		explicit_bzero(c->user_password, strlen(c->user_password));
	free(c->user_password);
	free(c->sigv4);
	free(c->base_url);
	free(c->bearer);
	free(c->user_agent);
	free(c->ca_file);
	free(c->proxy);
	free(c);
}

void http_answer_done(struct http_answer *a)
{
	free(a->body);
	*a = (struct http_answer){ 0 };
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
	struct reading *r = arg;

	if (r->body.len + one * n > r->max) {
		r->over = true;
		return 0;
	}
	text_add_n(&r->body, data, one * n);
	return one * n;
}

static bool header_is(const char *line, size_t n, const char *name, char *out, size_t size)
{
	size_t name_n = strlen(name);

	if (n <= name_n || strncasecmp(line, name, name_n) != 0 || line[name_n] != ':')
		return false;
	line += name_n + 1;
	n -= name_n + 1;
	while (n > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), line);
	return true;
}

static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
	struct http_answer *a = ((struct reading *)arg)->answer;
	size_t len = one * n;
	char number[24];
	long long value;

	/* A 100 Continue comes before the real one: what it said does not count. */
	if (len > 5 && strncmp(data, "HTTP/", 5) == 0) {
		a->etag[0] = a->location[0] = a->replayed[0] = a->trace[0] = '\0';
		a->retry_after_s = 0;
	}
	(void)(header_is(data, len, "ETag", a->etag, sizeof(a->etag)) ||
	       header_is(data, len, "Location", a->location, sizeof(a->location)) ||
	       header_is(data, len, "Idempotency-Replayed", a->replayed, sizeof(a->replayed)) ||
	       header_is(data, len, "traceparent", a->trace, sizeof(a->trace)) ||
	       header_is(data, len, "Content-Type", a->content_type, sizeof(a->content_type)));
	if (header_is(data, len, "Retry-After", number, sizeof(number)) &&
	    str_to_long(number, 0, 86400, &value))
		a->retry_after_s = (unsigned)value;
	return len;
}

struct call {
	struct curl_slist *headers;
};

static void call_done(struct call *call)
{
	curl_slist_free_all(call->headers);
}

static void header_add(struct call *call, const char *line)
{
	struct curl_slist *more = curl_slist_append(call->headers, line);

	if (more)
		call->headers = more;
}

static enum oc_err explain(const struct http_client *c, CURLcode rc, const char *method, const char *url,
			   const struct reading *r, const char *detail, struct oc_fail *reterr)
{
	bool reads = str_eq(method, "GET") || str_eq(method, "HEAD");
	long sent = 0;

	curl_easy_getinfo(c->curl, CURLINFO_REQUEST_SIZE, &sent);
	if (r->over)
		return oc_fail(reterr, OC_TOO_LARGE, "the answer of %s is larger than %zu bytes", url,
			       c->answer_max);
	switch (rc) {
	case CURLE_COULDNT_CONNECT:
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "nobody answers at %s; is opscased running? (opscase up)", url);
	case CURLE_COULDNT_RESOLVE_HOST:
		return oc_fail(reterr, OC_UNAVAILABLE, "the host of %s is not known", url);
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return oc_fail(reterr, OC_BAD_REQUEST, "'%s' is no http or https address", url);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return oc_fail(reterr, OC_UNAVAILABLE, "the certificate of %s is not trusted: %s", url,
			       detail);
	default:
		/* Once a request may have arrived nobody knows what became of a write. */
		return oc_fail(reterr, reads || sent == 0 ? OC_UNAVAILABLE : OC_UNKNOWN, "%s %s: %s", method,
			       url, *detail ? detail : curl_easy_strerror(rc));
	}
}

enum oc_err http_client_call(struct http_client *c, const char *method, const char *path,
			     const char *const *headers, const char *body, struct http_answer *ret,
			     struct oc_fail *reterr)
{
	return http_client_send(c, method, path, headers, "application/json", body, body ? strlen(body) : 0,
				ret, reterr);
}

enum oc_err http_client_send(struct http_client *c, const char *method, const char *path,
			     const char *const *headers, const char *content_type, const void *body,
			     size_t len, struct http_answer *ret, struct oc_fail *reterr)
{
	AUTO(str) char *url = mem_printf("%s%s", c->base_url, path);
	__attribute__((cleanup(call_done))) struct call call = { 0 };
	struct http_answer answer = { 0 };
	struct reading r = { .max = c->answer_max, .answer = &answer };
	char detail[CURL_ERROR_SIZE] = "";
	curl_off_t took = 0;
	CURLcode rc;
	long status = 0;

	if (!c->curl)
		return oc_fail(reterr, OC_BUG, "libcurl did not start");
	curl_easy_reset(c->curl);
	curl_easy_setopt(c->curl, CURLOPT_URL, url);
	curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c->curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
	curl_easy_setopt(c->curl, CURLOPT_USERAGENT, c->user_agent);
	curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_ms);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
	curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &r);
	curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, &r);
	if (c->proxy)
		curl_easy_setopt(c->curl, CURLOPT_PROXY, c->proxy);
	if (c->ca_file)
		curl_easy_setopt(c->curl, CURLOPT_CAINFO, c->ca_file);
	if (c->bearer) {
		AUTO(str) char *line = mem_printf("Authorization: Bearer %s", c->bearer);

		header_add(&call, line);
		explicit_bzero(line, strlen(line));
	}
	if (c->user_password)
		curl_easy_setopt(c->curl, CURLOPT_USERPWD, c->user_password);
	if (c->sigv4)
		curl_easy_setopt(c->curl, CURLOPT_AWS_SIGV4, c->sigv4);
	else
		header_add(&call, "Accept: application/json");
	/* Without this, curl waits a second for 100 Continue before larger bodies. */
	header_add(&call, "Expect:");
	for (; headers && *headers; headers++)
		header_add(&call, *headers);
	if (str_eq(method, "HEAD"))
		curl_easy_setopt(c->curl, CURLOPT_NOBODY, 1L);
	else if (!str_eq(method, "GET"))
		curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	if (body) {
		AUTO(str) char *type = mem_printf("Content-Type: %s", content_type);

		header_add(&call, type);
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
		if (str_eq(method, "GET"))
			curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, "GET");
	} else if (str_eq(method, "POST") || str_eq(method, "PATCH") || str_eq(method, "PUT")) {
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE, 0L);
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, "");
	}
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, call.headers);

	rc = curl_easy_perform(c->curl);
	if (rc != CURLE_OK) {
		enum oc_err err = explain(c, rc, method, url, &r, detail, reterr);

		text_done(&r.body);
		return err;
	}
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(c->curl, CURLINFO_TOTAL_TIME_T, &took);
	answer.status = (int)status;
	answer.elapsed_us = took;
	answer.len = r.body.len;
	answer.body = text_take(&r.body);
	*ret = answer;
	return OC_OK;
}
