#include "fetch.h"

#include <common/answer.h>

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

struct place {
	char scheme[8], host[256];
	int port;
};

/* One hop under way. */
struct hop {
	struct http_ctx *ctx;
	struct fetched *ret;
	struct place place;
	bool sent;
	char blocked[128]; /* the address that the list forbids */
};

static bool url_part(CURLU *u, CURLUPart part, unsigned flags, char *text, size_t size)
{
	char *value = NULL;
	bool good = curl_url_get(u, part, &value, flags) == CURLUE_OK && strlen(value) < size;

	if (good)
		strcpy(text, value);
	curl_free(value);
	return good;
}

static bool place_of(const char *url, struct place *ret, char *why, size_t why_size)
{
	struct place p = { 0 };
	char port[16], user[8];
	CURLU *u = curl_url();
	bool good = false;

	if (!u || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
		snprintf(why, why_size, "'%.200s' is no URL", url);
	else if (!url_part(u, CURLUPART_SCHEME, 0, p.scheme, sizeof p.scheme) ||
		 (strcmp(p.scheme, "http") != 0 && strcmp(p.scheme, "https") != 0))
		snprintf(why, why_size, "only http:// and https:// are called");
	else if (url_part(u, CURLUPART_USER, 0, user, sizeof user) || strchr(url, '@'))
		snprintf(why, why_size, "no user and password in a URL: give them as a header with a secret");
	else if (!url_part(u, CURLUPART_HOST, 0, p.host, sizeof p.host) ||
		 !url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof port))
		snprintf(why, why_size, "'%.200s' names no host", url);
	else
		good = true;
	curl_url_cleanup(u);
	if (good) {
		p.port = atoi(port);
		*ret = p;
	}
	return good;
}

static void say_how_to_allow(char *why, size_t why_size, const struct place *p, const char *address)
{
	if (address && *address)
		snprintf(why, why_size,
			 "%s:%d leads to %s, which is not on the allow-list: add \"%s\" (or its network) to `allow` in the "
			 "settings of the http adapter",
			 p->host, p->port, address, address);
	else
		snprintf(
			why, why_size,
			"%s:%d is not on the allow-list: add \"%s:%d\" to `allow` in the settings of the http adapter",
			p->host, p->port, p->host, p->port);
}

bool fetch_url_check(const struct http_ctx *ctx, const char *url, char *why, size_t why_size)
{
	struct place p;

	if (!place_of(url, &p, why, why_size))
		return false;
	if (allow_host(&ctx->allow, p.host, p.port))
		return true;
	say_how_to_allow(why, why_size, &p, NULL);
	return false;
}

/* The last gate: the address that is really connected to, after the name was looked up. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct hop *hop = arg;
	char text[64] = "?";

	if (purpose == CURLSOCKTYPE_IPCXN &&
	    allow_address(&hop->ctx->allow, hop->place.host, hop->place.port, &addr->addr))
		return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
	if (addr->family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&addr->addr)->sin_addr, text, sizeof text);
	else if (addr->family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&addr->addr)->sin6_addr, text, sizeof text);
	snprintf(hop->blocked, sizeof hop->blocked, addr->family == AF_INET6 ? "[%s]:%d" : "%s:%d", text,
		 hop->place.port);
	return CURL_SOCKET_BAD;
}

static int on_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct hop *hop = arg;

	(void)ip, (void)local_ip, (void)port, (void)local_port;
	if (atomic_load(&hop->ctx->cancelled))
		return CURL_PREREQFUNC_ABORT;
	hop->sent = true;
	return CURL_PREREQFUNC_OK;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct fetched *ret = ((struct hop *)arg)->ret;
	size_t room = FETCH_BODY_MAX - ret->len, take = size * n;

	if (take > room) {
		memcpy(ret->body + ret->len, data, room);
		ret->len += room;
		ret->cut = true;
		return 0; /* enough: the status is known */
	}
	memcpy(ret->body + ret->len, data, take);
	ret->len += take;
	return take;
}

static void keep_header(const char *line, size_t n, const char *name, char *text, size_t size)
{
	size_t m = strlen(name);

	if (n <= m || strncasecmp(line, name, m) != 0 || line[m] != ':')
		return;
	for (m++; m < n && (line[m] == ' ' || line[m] == '\t'); m++)
		;
	while (n > m && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	snprintf(text, size, "%.*s", (int)(n - m), line + m);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct fetched *ret = ((struct hop *)arg)->ret;

	n *= size;
	if (n > 5 && strncmp(line, "HTTP/", 5) == 0) { /* the answer after a 1xx begins anew */
		ret->etag[0] = ret->content_type[0] = ret->retry_after[0] = '\0';
		return n;
	}
	keep_header(line, n, "etag", ret->etag, sizeof ret->etag);
	keep_header(line, n, "content-type", ret->content_type, sizeof ret->content_type);
	keep_header(line, n, "retry-after", ret->retry_after, sizeof ret->retry_after);
	return n;
}

static bool prepare(CURL *easy, struct hop *hop, const struct fetch *what, int64_t left_ms, char *error)
{
	const struct http_ctx *ctx = hop->ctx;
	int64_t connect_ms = ctx->connect_timeout_ms < left_ms ? ctx->connect_timeout_ms : left_ms;
	CURLcode bad = CURLE_OK;

#define SET(option, value) (bad = bad ? bad : curl_easy_setopt(easy, option, value))
	SET(CURLOPT_URL, what->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_USERAGENT, "opscase-http/1");
	SET(CURLOPT_HTTPHEADER, what->headers);
	SET(CURLOPT_TIMEOUT_MS, (long)left_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms > 0 ? connect_ms : 1));
	SET(CURLOPT_ERRORBUFFER, error);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
	SET(CURLOPT_OPENSOCKETDATA, hop);
	SET(CURLOPT_PREREQFUNCTION, on_request);
	SET(CURLOPT_PREREQDATA, hop);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, hop);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, hop);
	if (ctx->ca_file)
		SET(CURLOPT_CAINFO, ctx->ca_file);
	if (strcmp(what->method, "HEAD") == 0) {
		SET(CURLOPT_NOBODY, 1L);
	} else if (what->body) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)what->body_len);
		SET(CURLOPT_POSTFIELDS, what->body);
		SET(CURLOPT_CUSTOMREQUEST, what->method);
	} else if (strcmp(what->method, "GET") != 0) {
		if (strcmp(what->method, "POST") == 0 || strcmp(what->method, "PUT") == 0 ||
		    strcmp(what->method, "PATCH") == 0) { /* these say that their body is empty */
			SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
			SET(CURLOPT_POSTFIELDS, "");
		}
		SET(CURLOPT_CUSTOMREQUEST, what->method);
	}
#undef SET
	return bad == CURLE_OK;
}

/* Runs one hop to its end. The CURLcode; CURLE_ABORTED_BY_CALLBACK for a cancel. */
static CURLcode perform(struct http_ctx *ctx, CURL *easy)
{
	CURLcode code = CURLE_OK;
	bool done = false;
	int running = 1;

	if (curl_multi_add_handle(ctx->multi, easy) != CURLM_OK)
		return CURLE_FAILED_INIT;
	while (!done) {
		CURLMsg *msg;
		int left;

		if (atomic_load(&ctx->cancelled)) {
			code = CURLE_ABORTED_BY_CALLBACK;
			break;
		}
		if (curl_multi_perform(ctx->multi, &running) != CURLM_OK) {
			code = CURLE_FAILED_INIT;
			break;
		}
		while ((msg = curl_multi_info_read(ctx->multi, &left)))
			if (msg->msg == CURLMSG_DONE && msg->easy_handle == easy) {
				code = msg->data.result;
				done = true;
			}
		if (!done && curl_multi_poll(ctx->multi, NULL, 0, 1000, NULL) != CURLM_OK) {
			code = CURLE_FAILED_INIT;
			break;
		}
	}
	curl_multi_remove_handle(ctx->multi, easy);
	return code;
}

/* Prepares the next hop of a redirect. False, with the reason, if it must not be followed. */
static bool redirect(struct http_ctx *ctx, struct fetch *now, struct hop *hop, char *next,
		     struct fetched *ret)
{
	struct place to;

	if (!place_of(next, &to, ret->why, sizeof ret->why))
		return false;
	if (strcmp(hop->place.scheme, "https") == 0 && strcmp(to.scheme, "https") != 0) {
		snprintf(ret->why, sizeof ret->why, "a redirect from https to http is not followed");
		return false;
	}
	if (!allow_host(&ctx->allow, to.host, to.port)) {
		char how[1024];

		say_how_to_allow(how, sizeof how, &to, NULL);
		snprintf(ret->why, sizeof ret->why, "the redirect was not followed: %s", how);
		return false;
	}
	if (strcasecmp(to.host, hop->place.host) != 0 || to.port != hop->place.port)
		now->headers = now->headers_abroad;
	if (ret->status <= 303 && strcmp(now->method, "HEAD") != 0) {
		now->method = "GET";
		now->body = NULL;
	}
	snprintf(ret->final_url, sizeof ret->final_url, "%s", next);
	now->url = ret->final_url;
	return strlen(next) < sizeof ret->final_url;
}

void fetch(struct http_ctx *ctx, const struct fetch *what, struct fetched *ret)
{
	int64_t began = answer_clock_ms(), until = began + what->timeout_ms;
	struct hop hop = { .ctx = ctx, .ret = ret };
	struct fetch now = *what;
	bool more = true;

	*ret = (struct fetched){ .end = FETCH_NOT_SENT };
	if (!fetch_url_check(ctx, what->url, ret->why, sizeof ret->why)) {
		ret->end = FETCH_BLOCKED;
		return;
	}
	while (more) {
		char error[CURL_ERROR_SIZE] = "", *next = NULL;
		int64_t left = until - answer_clock_ms();
		CURL *easy = curl_easy_init();
		CURLcode code = CURLE_FAILED_INIT;
		long status = 0;

		more = false;
		hop.blocked[0] = '\0';
		hop.sent = false;
		ret->len = 0;
		ret->cut = false;
		if (left <= 0)
			code = CURLE_OPERATION_TIMEDOUT;
		else if (easy && place_of(now.url, &hop.place, ret->why, sizeof ret->why) &&
			 prepare(easy, &hop, &now, left, error))
			code = perform(ctx, easy);
		if (easy)
			curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		if (hop.sent && status >= 200) {
			/* The status is the answer, also if the rest of the body did not come. */
			ret->end = FETCH_ANSWERED;
			ret->status = status;
			ret->cut = ret->cut || code != CURLE_OK;
			curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &next);
			if (next && status >= 301 && status <= 308 && status != 304 && status != 305 &&
			    status != 306 && ret->hops < what->follow && !atomic_load(&ctx->cancelled)) {
				more = redirect(ctx, &now, &hop, next, ret);
				ret->hops += more;
			} else if (next && !ret->hops) {
				snprintf(ret->final_url, sizeof ret->final_url, "%s", next);
			}
		} else {
			const char *said = error[0] ? error : curl_easy_strerror(code);

			if (atomic_load(&ctx->cancelled))
				said = "cancelled";
			/* A redirect that led nowhere leaves the status before it as the answer. */
			if (!hop.sent && ret->hops > 0) {
				ret->end = FETCH_ANSWERED;
			} else {
				ret->status = 0;
				ret->end = hop.sent                                          ? FETCH_LOST
					   : atomic_load(&ctx->cancelled)                    ? FETCH_CANCELLED
					   : hop.blocked[0] && code == CURLE_COULDNT_CONNECT ? FETCH_BLOCKED
											     : FETCH_NOT_SENT;
			}
			if (hop.blocked[0] && !hop.sent && code == CURLE_COULDNT_CONNECT)
				say_how_to_allow(ret->why, sizeof ret->why, &hop.place, hop.blocked);
			else
				snprintf(ret->why, sizeof ret->why, "%s:%d: %s", hop.place.host,
					 hop.place.port, said);
		}
		curl_easy_cleanup(easy);
	}
	ret->body[ret->len] = '\0';
	ret->took_ms = answer_clock_ms() - began;
}
