#include "api.h"

#include "common/answer.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BODY_MAX = 16 << 20,  /* a list of a hundred ReplicaSets is about 1 MB */
	STOP_GRACE_MS = 2000, /* what a write under way gets after a cancel    */
};

struct api {
	CURLM *multi;
	char *server, *ca_file, *ca;
	const char *token_ref;
};

struct bytes {
	char *data;
	size_t len;
	bool too_long;
};

struct api *api_new(const char *server, const char *ca_file, const char *ca)
{
	struct api *api = calloc(1, sizeof *api);
	size_t n;

	if (!api)
		return NULL;
	api->multi = curl_multi_init();
	api->server = strdup(server);
	api->ca_file = ca_file ? strdup(ca_file) : NULL;
	api->ca = ca ? strdup(ca) : NULL;
	if (!api->multi || !api->server || (ca_file && !api->ca_file) || (ca && !api->ca)) {
		api_free(api);
		return NULL;
	}
	n = strlen(api->server);
	while (n > 0 && api->server[n - 1] == '/')
		api->server[--n] = '\0';
	return api;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	curl_multi_cleanup(api->multi);
	free(api->server);
	free(api->ca_file);
	free(api->ca);
	free(api);
}

void api_use(struct api *api, const char *token)
{
	api->token_ref = token;
}

static size_t take_bytes(char *data, size_t size, size_t n, void *user)
{
	struct bytes *b = user;
	size_t len = size * n;
	char *more;

	if (len > BODY_MAX - b->len) {
		b->too_long = true;
		return 0;
	}
	more = realloc(b->data, b->len + len + 1);
	if (!more)
		return 0;
	b->data = more;
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return len;
}

static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
	size_t n = strlen(name) + strlen(value) + 3;
	char *line = malloc(n);
	struct curl_slist *more;

	if (!line)
		return false;
	snprintf(line, n, "%s: %s", name, value);
	more = curl_slist_append(*list, line);
	explicit_bzero(line, n); /* it may be the token */
	free(line);
	if (more)
		*list = more;
	return more != NULL;
}

static void drop_headers(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(list);
}

/* Drives the transfer. CURLE_OK, what curl says, or CURLE_ABORTED_BY_CALLBACK when stopped. */
static CURLcode drive(struct api *api, CURL *easy, bool write, int64_t until_ms, const atomic_bool *stop)
{
	int64_t grace = 0;
	int running = 1;

	while (curl_multi_perform(api->multi, &running) == CURLM_OK && running) {
		int64_t now = answer_clock_ms();

		if (stop && atomic_load(stop)) {
			if (!grace)
				grace = now + STOP_GRACE_MS;
			if (!write || now >= grace)
				return CURLE_ABORTED_BY_CALLBACK;
		}
		if (now >= until_ms)
			return CURLE_OPERATION_TIMEDOUT;
		curl_multi_poll(api->multi, NULL, 0, until_ms - now < 100 ? (int)(until_ms - now) : 100,
				NULL);
	}
	for (int left; !running;) {
		CURLMsg *msg = curl_multi_info_read(api->multi, &left);

		if (!msg)
			break;
		if (msg->msg == CURLMSG_DONE && msg->easy_handle == easy)
			return msg->data.result;
	}
	return CURLE_RECV_ERROR;
}

static void judge(struct api_answer *a, CURLcode code, CURL *easy, const struct bytes *in, bool write,
		  const char *detail)
{
	long sent = 0;
	curl_off_t retry = 0;

	curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &a->http);
	if (code != CURLE_OK) {
		a->result = sent > 0                            ? API_LOST
			    : code == CURLE_ABORTED_BY_CALLBACK ? API_STOPPED
								: API_NOT_SENT;
		if (!write && code == CURLE_ABORTED_BY_CALLBACK)
			a->result = API_STOPPED;
		a->http = 0;
		snprintf(a->error, sizeof a->error, "%s: %s",
			 a->result == API_LOST ? "no answer from the API server"
					       : "the API server was not reached",
			 code == CURLE_ABORTED_BY_CALLBACK ? "cancelled"
			 : in->too_long                    ? "the answer is too long"
			 : *detail                         ? detail
							   : curl_easy_strerror(code));
		return;
	}
	a->body = in->data ? json_loadb(in->data, in->len, 0, NULL) : NULL;
	if (a->http >= 200 && a->http < 300 && json_is_object(a->body)) {
		a->result = API_OK;
		return;
	}
	if (a->http >= 200 && a->http < 300) {
		a->result = API_LOST;
		snprintf(a->error, sizeof a->error,
			 "the API server answered %ld with something that is no JSON object", a->http);
		return;
	}
	a->result = API_HTTP;
	curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry);
	a->retry_after_ms = retry > 0 && retry < 3600 ? (int64_t)retry * 1000 : 0;
	{
		const char *message = json_string_value(json_object_get(a->body, "message"));

		snprintf(a->error, sizeof a->error, "the API server says %ld: %.640s", a->http,
			 message ? message : "(no reason given)");
	}
}

void api_call(struct api *api, const char *method, const char *path, const char *content_type,
	      const json_t *body, int64_t until_ms, const atomic_bool *stop, struct api_answer *ret_answer)
{
	bool write = strcmp(method, "GET") != 0;
	size_t url_size = strlen(api->server) + strlen(path) + 1,
	       auth_size = strlen(api->token_ref) + sizeof "Bearer ";
	char *url = malloc(url_size), *auth = malloc(auth_size),
	     *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	char detail[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = NULL;
	struct bytes in = { 0 };
	CURL *easy = curl_easy_init();
	int64_t left = until_ms - answer_clock_ms();

	*ret_answer = (struct api_answer){ .result = API_NOT_SENT };
	snprintf(ret_answer->error, sizeof ret_answer->error, "there is not enough memory");
	if (left <= 0) {
		snprintf(ret_answer->error, sizeof ret_answer->error,
			 "there was no time left to ask the API server");
		goto out;
	}
	if (!url || !auth || !easy || (body && !text))
		goto out;
	snprintf(url, url_size, "%s%s", api->server, path);
	snprintf(auth, auth_size, "Bearer %s", api->token_ref);
	if (!add_header(&headers, "Authorization", auth) ||
	    !add_header(&headers, "Accept", "application/json") || !add_header(&headers, "Expect", "") ||
	    (text && !add_header(&headers, "Content-Type", content_type)))
		goto out;

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (text) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, text);
	}
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &in);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "opscase-k8s/1");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* the token goes nowhere else */
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(left < 10000 ? left : 10000));
	/* curl silently repeats a request on a reused connection that dies before an answer. A write must not be
	 * repeated behind our back, so it gets a connection of its own. */
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, write ? 1L : 0L);
	if (api->ca_file) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, api->ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	} else if (api->ca) {
		struct curl_blob blob = { .data = api->ca, .len = strlen(api->ca), .flags = CURL_BLOB_COPY };

		curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	if (curl_multi_add_handle(api->multi, easy) != CURLM_OK)
		goto out;
	ret_answer->error[0] = '\0';
	judge(ret_answer, drive(api, easy, write, until_ms, stop), easy, &in, write, detail);
	curl_multi_remove_handle(api->multi, easy);
out:
	curl_easy_cleanup(easy);
	drop_headers(headers);
	if (auth)
		explicit_bzero(auth, auth_size);
	free(auth);
	free(url);
	free(text);
	free(in.data);
}

void api_answer_done(struct api_answer *answer)
{
	json_decref(answer->body);
	answer->body = NULL;
}

void api_sleep(struct api *api, int64_t until_ms)
{
	int64_t left = until_ms - answer_clock_ms();

	if (left > 0)
		curl_multi_poll(api->multi, NULL, 0, left < 60000 ? (int)left : 60000, NULL);
}

void api_wake(struct api *api)
{
	curl_multi_wakeup(api->multi);
}

char *api_escape(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = malloc(strlen(text) * 3 + 1), *p = out;

	if (!out)
		return NULL;
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    strchr("-._~", c)) {
			*p++ = (char)c;
		} else {
			*p++ = '%';
			*p++ = hex[c >> 4];
			*p++ = hex[c & 15];
		}
	}
	*p = '\0';
	return out;
}
