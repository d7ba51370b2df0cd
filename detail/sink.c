#include "detail/sink.h"
#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "wire/http/client.h"
#include "wire/json/json.h"

static const char lead[] = "{\"time_us\":";

struct batch {
	struct text body;
	size_t records;
	struct batch *next;
};

struct sink {
	enum sink_kind kind;
	const char *name;
	char *url, *path, *user, *password, *ca_file;
	size_t batch_bytes, queue_bytes;
	unsigned flush_ms, pause_ms, pause_max_ms;
	struct http_client *client; /* the thread's own */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more, idle;
	struct batch *filling;
	int64_t filling_since_us;
	struct batch *head, **tail;
	size_t queued;
	bool sending, stop;
	int64_t give_up_us; /* after stop */
};

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	text_done(&b->body);
	free(b);
}

static void count(const struct sink *s, const char *result, size_t n)
{
	metric_add(M_SINK_RECORDS, (double)n, s->name, result, NULL);
}

/* --- what is sent */

/* The token is what the batch is: the same bytes are the same insert. */
static char *path_of(const struct sink *s, const struct batch *b)
{
	unsigned char hash[HASH_LEN];
	char token[33];

	if (s->kind == SINK_OPENOBSERVE)
		return mem_strdup(s->path);
	hash_sha256(b->body.s, b->body.len, hash);
	str_hex(hash, 16, token);
	return mem_printf("%s&insert_deduplication_token=%s", s->path, token);
}

/* {"code":200,"status":[{"name":"logs","successful":98,"failed":2,"error":"..."}]} */
static size_t failed_of(const struct http_answer *a, char *why, size_t size)
{
	AUTO(json) json_t *doc = NULL;
	const json_t *one;
	long long failed = 0;
	size_t i;

	if (json_read(a->body, a->len, NULL, &doc, NULL) != OC_OK)
		return 0;
	json_array_foreach(json_object_get(doc, "status"), i, one)
	{
		failed += json_int_or(one, "failed", 0);
		if (json_int_or(one, "failed", 0))
			snprintf(why, size, "%s", json_str_or(one, "error", "no reason given"));
	}
	return failed > 0 ? (size_t)failed : 0;
}

static void told(const struct sink *s, const struct batch *b, const struct http_answer *a)
{
	char why[160] = "";
	size_t failed = s->kind == SINK_OPENOBSERVE ? failed_of(a, why, sizeof(why)) : 0;

	if (failed > b->records)
		failed = b->records;
	count(s, "sent", b->records - failed);
	if (failed) {
		count(s, "refused", failed);
		log_warn("sink %s: %zu of %zu records are refused: %s", s->name, failed, b->records, why);
	}
}

/* Waits, unless it is told to stop: then only as long as there is time. */
static bool pause_for(struct sink *s, unsigned ms)
{
	struct timespec until;
	int64_t end = clock_mono_us() + (int64_t)ms * 1000;
	bool go_on = true;

	pthread_mutex_lock(&s->lock);
	while (go_on && clock_mono_us() < end) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += 50 * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
		pthread_cond_timedwait(&s->more, &s->lock, &until);
		go_on = !s->stop || clock_mono_us() < s->give_up_us;
	}
	pthread_mutex_unlock(&s->lock);
	return go_on;
}

static void send_batch(struct sink *s, struct batch *b)
{
	AUTO(str) char *path = NULL;
	unsigned pause = s->pause_ms;

	if (s->kind == SINK_OPENOBSERVE)
		text_add(&b->body, "]");
	path = path_of(s, b);
	for (;;) {
		struct http_answer a = { 0 };
		struct oc_fail fail = { 0 };
		unsigned wait = pause;
		enum oc_err err = http_client_send(s->client, "POST", path, NULL,
						   s->kind == SINK_OPENOBSERVE ? "application/json"
									       : "application/x-ndjson",
						   b->body.s, b->body.len, &a, &fail);

		if (err == OC_OK && a.status / 100 == 2) {
			told(s, b, &a);
			http_answer_done(&a);
			return;
		}
		if (err == OC_OK && a.status != 429 && a.status != 408 && a.status / 100 != 5) {
			log_warn("sink %s: %zu records are refused: HTTP %d: %.200s", s->name, b->records,
				 a.status, a.body);
			http_answer_done(&a);
			count(s, "refused", b->records);
			return;
		}
		if (err == OC_OK && a.retry_after_s)
			wait = a.retry_after_s * 1000 < s->pause_max_ms ? a.retry_after_s * 1000
									: s->pause_max_ms;
		http_answer_done(&a);
		metric_inc(M_SINK_RETRIES, s->name, NULL, NULL);
		if (!pause_for(s, wait)) {
			count(s, "stopped", b->records);
			return;
		}
		pause = pause * 2 < s->pause_max_ms ? pause * 2 : s->pause_max_ms;
	}
}

/* --- the queue */

static void seal(struct sink *s)
{
	if (!s->filling)
		return;
	*s->tail = s->filling;
	s->tail = &s->filling->next;
	s->filling = NULL;
}

static struct batch *next_batch(struct sink *s)
{
	struct batch *b;

	for (;;) {
		struct timespec until;

		if (s->filling &&
		    (s->stop || clock_mono_us() - s->filling_since_us >= (int64_t)s->flush_ms * 1000))
			seal(s);
		b = s->head;
		if (b) {
			s->head = b->next;
			if (!s->head)
				s->tail = &s->head;
			return b;
		}
		if (s->stop)
			return NULL;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += 50 * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
		pthread_cond_timedwait(&s->more, &s->lock, &until);
	}
}

static void *run(void *arg)
{
	struct sink *s = arg;
	struct batch *b;

	pthread_mutex_lock(&s->lock);
	while ((b = next_batch(s)) != NULL) {
		size_t bytes = b->body.len;

		s->sending = true;
		pthread_mutex_unlock(&s->lock);
		send_batch(s, b);
		batch_free(b);
		pthread_mutex_lock(&s->lock);
		s->sending = false;
		s->queued -= bytes;
		metric_set(M_SINK_QUEUE, (double)s->queued, s->name, NULL, NULL);
		pthread_cond_broadcast(&s->idle);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

bool sink_add(struct sink *s, const char *tenant, int64_t time_us, const char *line, size_t len)
{
	size_t before;

	/* anything else is no line of ours; what follows the time is the record */
	if (len < sizeof(lead) || memcmp(line, lead, sizeof(lead) - 1) != 0)
		return false;
	pthread_mutex_lock(&s->lock);
	if (s->stop || s->queued + len + 128 > s->queue_bytes) {
		pthread_mutex_unlock(&s->lock);
		count(s, "full", 1);
		return false;
	}
	if (!s->filling) {
		s->filling = mem_alloc(sizeof(*s->filling));
		s->filling_since_us = clock_mono_us();
	}
	before = s->filling->body.len;
	if (s->kind == SINK_OPENOBSERVE) {
		text_addf(&s->filling->body, "%s{\"_timestamp\":%" PRId64 ",\"tenant\":", before ? "," : "[",
			  time_us);
		json_quote(&s->filling->body, tenant);
		text_add_n(&s->filling->body, ",", 1);
		text_add_n(&s->filling->body, line + 1, len - 1);
	} else {
		text_add(&s->filling->body, "{\"tenant\":");
		json_quote(&s->filling->body, tenant);
		text_add_n(&s->filling->body, ",", 1);
		text_add_n(&s->filling->body, line + 1, len - 1);
		text_add_n(&s->filling->body, "\n", 1);
	}
	s->filling->records++;
	s->queued += s->filling->body.len - before;
	if (s->filling->body.len >= s->batch_bytes) {
		seal(s);
		pthread_cond_broadcast(&s->more);
	}
	pthread_mutex_unlock(&s->lock);
	return true;
}

void sink_dropped(struct sink *s, size_t records)
{
	count(s, "full", records);
}

/* --- its life */

static bool table_ok(const struct sink_config *c)
{
	size_t slashes = 0;

	for (const char *p = c->table; *p; p++) {
		if (*p == '/' && c->kind == SINK_OPENOBSERVE)
			slashes++;
		else if (!isalnum((unsigned char)*p) && *p != '_' &&
			 *p != (c->kind == SINK_CLICKHOUSE ? '.' : '-'))
			return false;
	}
	return *c->table && slashes == (c->kind == SINK_OPENOBSERVE);
}

static void sink_free(struct sink *s)
{
	http_client_free(s->client);
	batch_free(s->filling);
	while (s->head) {
		struct batch *b = s->head;

		s->head = b->next;
		batch_free(b);
	}
	if (s->password)
		explicit_bzero(s->password, strlen(s->password));
	free(s->url);
	free(s->path);
	free(s->user);
	free(s->password);
	free(s->ca_file);
	pthread_cond_destroy(&s->more);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

enum oc_err sink_start(const struct sink_config *c, struct sink **ret, struct oc_fail *reterr)
{
	pthread_condattr_t monotonic;
	struct sink *s;

	if (str_empty(c->url))
		return oc_fail_field(reterr, OC_INVALID, "url", "where is the sink?");
	if (!c->table || !table_ok(c))
		return oc_fail_field(reterr, OC_INVALID, "table", "'%.80s' is no %s",
				     c->table ? c->table : "",
				     c->kind == SINK_CLICKHOUSE ? "TABLE or DATABASE.TABLE"
								: "ORGANISATION/STREAM");
	s = mem_alloc(sizeof(*s));
	s->kind = c->kind;
	s->name = c->kind == SINK_CLICKHOUSE ? "clickhouse" : "openobserve";
	s->url = mem_strdup(c->url);
	s->user = mem_strdup(c->user);
	s->password = mem_strdup(c->password);
	s->ca_file = mem_strdup(c->ca_file);
	s->path =
		c->kind == SINK_CLICKHOUSE
			? mem_printf(
				  "/?query=INSERT%%20INTO%%20%s%%20FORMAT%%20JSONEachRow&input_format_skip_unknown_fields=1",
				  c->table)
			: mem_printf("/api/%s/_json", c->table);
	s->batch_bytes = c->batch_bytes ? c->batch_bytes : 1 << 20;
	s->queue_bytes = c->queue_bytes ? c->queue_bytes : 64 << 20;
	s->flush_ms = c->flush_ms ? c->flush_ms : 1000;
	s->pause_ms = c->pause_ms ? c->pause_ms : 200;
	s->pause_max_ms = c->pause_max_ms ? c->pause_max_ms : 30000;
	s->tail = &s->head;
	s->client = http_client_new(
		&(struct http_client_config){ .base_url = s->url,
					      .user = s->user,
					      .password = s->password,
					      .ca_file = s->ca_file,
					      .timeout_ms = c->timeout_ms ? c->timeout_ms : 30000,
					      .answer_max = 1 << 20 });
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->more, &monotonic);
	pthread_cond_init(&s->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (pthread_create(&s->thread, NULL, run, s) != 0) {
		sink_free(s);
		return oc_fail(reterr, OC_UNAVAILABLE, "no thread for the sink");
	}
	*ret = s;
	return OC_OK;
}

bool sink_drain(struct sink *s, unsigned timeout_ms)
{
	int64_t end = clock_mono_us() + (int64_t)timeout_ms * 1000;
	bool done;

	pthread_mutex_lock(&s->lock);
	seal(s);
	pthread_cond_broadcast(&s->more);
	while ((s->head || s->filling || s->sending) && clock_mono_us() < end) {
		struct timespec until = { end / 1000000, end % 1000000 * 1000 };

		pthread_cond_timedwait(&s->idle, &s->lock, &until);
	}
	done = !s->head && !s->filling && !s->sending;
	pthread_mutex_unlock(&s->lock);
	return done;
}

void sink_stop(struct sink *s, unsigned timeout_ms)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	s->give_up_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
	pthread_cond_broadcast(&s->more);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	sink_free(s);
}
