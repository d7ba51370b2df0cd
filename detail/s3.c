/* One PUT, GET, DELETE or list at a time per client; clients are kept for the next call. */
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "detail/segment.h"
#include "detail/store_impl.h"
#include "wire/http/client.h"

#define CLIENTS    4
#define TRIES      3
#define PAUSE_MS   100              /* before the second try, then three times as long */
#define REST_US    (15 * 1000000LL) /* nobody asks a bucket that did not answer for so long */
#define LIST_PAGES 10000

struct detail_s3 {
	struct http_client_config http;
	char *url, *bucket, *key_id, *secret, *sigv4, *prefix, *ca_file;
	pthread_mutex_t lock;
	struct http_client *idle[CLIENTS];
	_Atomic int64_t rests_until;
};

static char *path_of(const struct detail_s3 *s3, const char *key)
{
	struct text t = { 0 };

	text_addf(&t, "/%s/", s3->bucket);
	for (int part = 0; part < 2; part++)
		for (const char *p = part ? key : s3->prefix; *p; p++) {
			unsigned char c = (unsigned char)*p;

			if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    memchr("-._~/", c, 5))
				text_add_n(&t, p, 1);
			else
				text_addf(&t, "%%%02X", c);
		}
	return text_take(&t);
}

enum oc_err s3_open(const struct detail_store_config *c, struct detail_s3 **ret, struct oc_fail *reterr)
{
	struct detail_s3 *s3;

	if (str_empty(c->s3_bucket))
		return oc_fail_field(reterr, OC_INVALID, "detail.s3_bucket",
				     "detail.s3_url is given, but no bucket");
	if (str_empty(c->s3_key_id) || str_empty(c->s3_secret))
		return oc_fail_field(reterr, OC_INVALID, "detail.s3_key_id",
				     "detail.s3_url is given, but no key to sign requests with");
	s3 = mem_alloc(sizeof(*s3));
	pthread_mutex_init(&s3->lock, NULL);
	s3->url = mem_strdup(c->s3_url);
	s3->bucket = mem_strdup(c->s3_bucket);
	s3->key_id = mem_strdup(c->s3_key_id);
	s3->secret = mem_strdup(c->s3_secret);
	s3->prefix = mem_strdup(c->s3_prefix ? c->s3_prefix : "");
	s3->ca_file = mem_strdup(str_empty(c->s3_ca_file) ? NULL : c->s3_ca_file);
	s3->sigv4 = mem_printf("aws:amz:%s:s3", str_empty(c->s3_region) ? "us-east-1" : c->s3_region);
	s3->http = (struct http_client_config){ .base_url = s3->url,
						.user = s3->key_id,
						.password = s3->secret,
						.sigv4 = s3->sigv4,
						.ca_file = s3->ca_file,
						.connect_ms = 3000,
						.timeout_ms = c->s3_timeout_ms ? c->s3_timeout_ms : 10000,
						.answer_max = SEGMENT_BYTES_MAX };
	*ret = s3;
	return OC_OK;
}

void s3_close(struct detail_s3 *s3)
{
	if (!s3)
		return;
	for (int i = 0; i < CLIENTS; i++)
		http_client_free(s3->idle[i]);
	explicit_bzero(s3->secret, strlen(s3->secret));
	pthread_mutex_destroy(&s3->lock);
	free(s3->url);
	free(s3->bucket);
	free(s3->key_id);
	free(s3->secret);
	free(s3->sigv4);
	free(s3->prefix);
	free(s3->ca_file);
	free(s3);
}

static struct http_client *client_take(struct detail_s3 *s3)
{
	struct http_client *c = NULL;

	pthread_mutex_lock(&s3->lock);
	for (int i = 0; i < CLIENTS && !c; i++)
		c = TAKE(s3->idle[i]);
	pthread_mutex_unlock(&s3->lock);
	return c ? c : http_client_new(&s3->http);
}

static void client_give(struct detail_s3 *s3, struct http_client *c)
{
	pthread_mutex_lock(&s3->lock);
	for (int i = 0; i < CLIENTS && c; i++)
		if (!s3->idle[i])
			s3->idle[i] = TAKE(c);
	pthread_mutex_unlock(&s3->lock);
	http_client_free(c);
}

/* <Code>...</Code> of an error document */
static const char *said(const struct http_answer *a, char *out, size_t size)
{
	const char *from = a->body ? strstr(a->body, "<Code>") : NULL,
		   *to = from ? strstr(from, "</Code>") : NULL;

	if (to && (size_t)(to - from) < size + 6)
		snprintf(out, size, "%.*s", (int)(to - from - 6), from + 6);
	else
		snprintf(out, size, "HTTP %d", a->status);
	return out;
}

/* A bucket's objects are written under names that are used once, so that each call may be repeated. */
static enum oc_err call(struct detail_s3 *s3, const char *method, const char *path, const void *bytes,
			size_t len, struct http_answer *ret, struct oc_fail *reterr)
{
	struct http_client *client;
	long pause = PAUSE_MS;
	enum oc_err err;
	char code[64];

	if (clock_mono_us() < atomic_load(&s3->rests_until))
		return oc_fail(reterr, OC_UNAVAILABLE, "detail store: %s did not answer a moment ago",
			       s3->url);
	client = client_take(s3);
	for (int i = 1;; i++) {
		struct http_answer a = { 0 };

		err = http_client_send(client, method, path, NULL, "application/octet-stream", bytes, len, &a,
				       reterr);
		if (err == OC_OK && (a.status >= 500 || a.status == 429)) {
			err = oc_fail(reterr, OC_UNAVAILABLE, "detail store: %s of %s%s: %s", method, s3->url,
				      path, said(&a, code, sizeof(code)));
			http_answer_done(&a);
		} else if (err == OC_OK) {
			*ret = a;
			break;
		}
		if (i == TRIES || (err != OC_UNAVAILABLE && err != OC_UNKNOWN)) {
			if (err == OC_UNKNOWN)
				err = oc_fail(reterr, OC_UNAVAILABLE,
					      "detail store: %s of %s%s was not answered", method, s3->url,
					      path);
			atomic_store(&s3->rests_until, clock_mono_us() + REST_US);
			break;
		}
		nanosleep(&(struct timespec){ pause / 1000, pause % 1000 * 1000000 }, NULL);
		pause *= 3;
	}
	client_give(s3, client);
	return err;
}

static enum oc_err refused(struct detail_s3 *s3, const char *method, const char *path, struct http_answer *a,
			   struct oc_fail *reterr)
{
	char code[64];
	int status = a->status;

	said(a, code, sizeof(code));
	http_answer_done(a);
	return oc_fail(reterr,
		       status == 404   ? OC_NOT_FOUND
		       : status == 403 ? OC_FORBIDDEN
				       : OC_UNAVAILABLE,
		       "detail store: %s of %s%s: %s", method, s3->url, path, code);
}

enum oc_err s3_put(struct detail_s3 *s3, const char *key, const void *bytes, size_t len,
		   struct oc_fail *reterr)
{
	AUTO(str) char *path = path_of(s3, key);
	struct http_answer a = { 0 };
	enum oc_err err = call(s3, "PUT", path, bytes, len, &a, reterr);

	if (err != OC_OK)
		return err;
	if (a.status / 100 != 2) {
		err = refused(s3, "PUT", path, &a, reterr);
		/* no such bucket, or not ours to write: somebody has to look; until then the folder takes it */
		return err == OC_NOT_FOUND || err == OC_FORBIDDEN ? OC_UNAVAILABLE : err;
	}
	http_answer_done(&a);
	return OC_OK;
}

enum oc_err s3_get(struct detail_s3 *s3, const char *key, unsigned char **ret, size_t *ret_len,
		   struct oc_fail *reterr)
{
	AUTO(str) char *path = path_of(s3, key);
	struct http_answer a = { 0 };
	enum oc_err err = call(s3, "GET", path, NULL, 0, &a, reterr);

	if (err != OC_OK)
		return err;
	if (a.status != 200)
		return refused(s3, "GET", path, &a, reterr);
	*ret = (unsigned char *)TAKE(a.body);
	*ret_len = a.len;
	http_answer_done(&a);
	return OC_OK;
}

enum oc_err s3_delete(struct detail_s3 *s3, const char *key, struct oc_fail *reterr)
{
	AUTO(str) char *path = path_of(s3, key);
	struct http_answer a = { 0 };
	enum oc_err err = call(s3, "DELETE", path, NULL, 0, &a, reterr);

	if (err != OC_OK)
		return err;
	if (a.status / 100 != 2 && a.status != 404)
		return refused(s3, "DELETE", path, &a, reterr);
	http_answer_done(&a);
	return OC_OK;
}

/* --- the list: the few elements of its XML that matter. Keys of ours have none of the characters that XML escapes but
 * `&` and quotes in a tenant's name; an object whose key reads otherwise is not ours. */

static char *element(const char *from, const char *to, const char *name)
{
	AUTO(str) char *open = mem_printf("<%s>", name);
	AUTO(str) char *close = mem_printf("</%s>", name);
	const char *a = memmem(from, (size_t)(to - from), open, strlen(open)), *b;
	struct text t = { 0 };

	if (!a)
		return NULL;
	a += strlen(open);
	b = memmem(a, (size_t)(to - a), close, strlen(close));
	if (!b)
		return NULL;
	while (a < b) {
		static const char *const name_of[] = { "&amp;", "&",      "&lt;", "<",      "&gt;",
						       ">",     "&quot;", "\"",   "&apos;", "'" };
		size_t i;

		for (i = 0; i < ARRAY_LEN(name_of); i += 2)
			if (strncmp(a, name_of[i], strlen(name_of[i])) == 0)
				break;
		if (i < ARRAY_LEN(name_of)) {
			text_add(&t, name_of[i + 1]);
			a += strlen(name_of[i]);
		} else {
			text_add_n(&t, a++, 1);
		}
	}
	return text_take(&t);
}

/* io_last: the last key of the page. */
static bool each_content(struct detail_s3 *s3, const char *bucket, const char *body, const char *end,
			 char **io_last, bool (*fn)(void *ctx, const struct detail_object *o), void *ctx)
{
	for (const char *p = body; (p = memmem(p, (size_t)(end - p), "<Contents>", 10)) != NULL;) {
		const char *to = memmem(p, (size_t)(end - p), "</Contents>", 11);
		AUTO(str) char *key = NULL;
		AUTO(str) char *size = NULL;
		AUTO(str) char *at = NULL;
		struct detail_object o = { .bucket_ref = bucket };
		size_t skip = strlen(s3->prefix);
		long long bytes = 0;

		if (!to)
			return true;
		key = element(p, to, "Key");
		size = element(p, to, "Size");
		at = element(p, to, "LastModified");
		p = to;
		mem_set(io_last, key);
		if (!key || !size || !at || strncmp(key, s3->prefix, skip) != 0 ||
		    !str_to_long(size, 0, INT64_MAX, &bytes) || clock_parse(at, &o.written_us) != 0)
			continue;
		o.bytes = bytes;
		o.key_ref = key + skip;
		if (!fn(ctx, &o))
			return false;
	}
	return true;
}

static void add_escaped(struct text *t, const char *s)
{
	for (; *s; s++)
		if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
		    memchr("-._~", *s, 4))
			text_add_n(t, s, 1);
		else
			text_addf(t, "%%%02X", (unsigned char)*s);
}

enum oc_err s3_each(struct detail_s3 *s3, const char *bucket,
		    bool (*fn)(void *ctx, const struct detail_object *o), void *ctx, struct oc_fail *reterr)
{
	AUTO(str) char *last = NULL;

	for (int page = 0; page < LIST_PAGES; page++) {
		AUTO(text) struct text path = { 0 };
		AUTO(str) char *more = NULL;
		struct http_answer a = { 0 };
		enum oc_err err;
		bool go_on;

		/* In the order of their names: that is what is signed. The last key, not the server's token, says where to go on:
		 * a token may have a + in it, which libcurl signs as something else than it sends. */
		text_addf(&path, "/%s?list-type=2", s3->bucket);
		if (*s3->prefix) {
			text_add(&path, "&prefix=");
			add_escaped(&path, s3->prefix);
		}
		if (last) {
			text_add(&path, "&start-after=");
			add_escaped(&path, last);
		}
		err = call(s3, "GET", text_str(&path), NULL, 0, &a, reterr);
		if (err != OC_OK)
			return err;
		if (a.status != 200)
			return refused(s3, "GET", text_str(&path), &a, reterr);
		go_on = each_content(s3, bucket, a.body, a.body + a.len, &last, fn, ctx);
		more = element(a.body, a.body + a.len, "IsTruncated");
		http_answer_done(&a);
		if (!go_on || !last || !str_eq(more, "true"))
			return OC_OK;
	}
	return OC_OK;
}
