#define LOG_ROOM "sensor"
#include "sensor-bpf/host/sender.h"
#include <pthread.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/http/client.h"

#define WAITING_MAX 64
#define RETRY_MS    2000
#define CALL_MS     15000

struct sender {
	struct http_client *http;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct {
		const char *path;
		char *body;
	} waiting[WAITING_MAX];
	unsigned count;
	bool stop, down;
	uint64_t refused, failures;
};

enum verdict { TAKEN, AGAIN, NEVER };

static enum verdict send_one(struct sender *s, const char *path, const char *body)
{
	struct http_answer answer = { 0 };
	struct oc_fail fail = { 0 };
	enum oc_err err = http_client_call(s->http, "POST", path, NULL, body, &answer, &fail);
	enum verdict v = err != OC_OK                                                           ? AGAIN
			 : answer.status < 300                                                  ? TAKEN
			 : answer.status == 408 || answer.status == 429 || answer.status >= 500 ? AGAIN
												: NEVER;

	if (v == NEVER)
		log_warn("the collector refuses %s: HTTP %d %.200s", path, answer.status, answer.body);
	else if (v == AGAIN && !s->down)
		log_warn("the collector does not take %s (%s); keeping it and trying again", path,
			 err != OC_OK ? fail.text : oc_err_title(OC_UNAVAILABLE));
	else if (v == TAKEN && s->down)
		log_info("the collector takes %s again", path);
	s->down = v == AGAIN;
	http_answer_done(&answer);
	return v;
}

static void *run(void *ctx)
{
	struct sender *s = ctx;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		const char *path;
		char *body;
		enum verdict v;

		while (!s->count && !s->stop)
			pthread_cond_wait(&s->changed, &s->lock);
		if (!s->count)
			break;
		path = s->waiting[0].path;
		body = s->waiting[0].body;
		pthread_mutex_unlock(&s->lock);
		v = send_one(s, path, body);
		pthread_mutex_lock(&s->lock);
		if (v == AGAIN) {
			struct timespec until;

			s->failures++;
			if (s->stop)
				break;
			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_sec += RETRY_MS / 1000;
			pthread_cond_timedwait(&s->changed, &s->lock, &until);
			continue;
		}
		s->refused += v == NEVER;
		free(body);
		memmove(s->waiting, s->waiting + 1, --s->count * sizeof(s->waiting[0]));
		pthread_cond_broadcast(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

struct sender *sender_new(const struct sender_config *config)
{
	struct sender *s = mem_alloc(sizeof(*s));
	struct http_client_config http = {
		.base_url = config->endpoint,
		.bearer = config->token,
		.ca_file = config->ca_file,
		.user_agent = "opscase-sensor/" OPSCASE_VERSION,
		.timeout_ms = CALL_MS,
		.answer_max = 1 << 20,
	};

	s->http = http_client_new(&http);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	if (pthread_create(&s->thread, NULL, run, s) != 0)
		abort(); /* our own allocations abort when there is nothing left */
	return s;
}

void sender_free(struct sender *s, unsigned last_ms)
{
	struct timespec until;

	if (!s)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += last_ms / 1000;
	until.tv_nsec += (long)(last_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&s->lock);
	while (s->count && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
		;
	s->stop = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	if (s->count)
		log_warn("%u exports were not taken and are lost", s->count);
	for (unsigned i = 0; i < s->count; i++)
		free(s->waiting[i].body);
	http_client_free(s->http);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
}

bool sender_ready(struct sender *s)
{
	bool ready;

	pthread_mutex_lock(&s->lock);
	ready = s->count == 0;
	pthread_mutex_unlock(&s->lock);
	return ready;
}

void sender_give(struct sender *s, const char *path, char *take_body)
{
	pthread_mutex_lock(&s->lock);
	if (s->count == WAITING_MAX) {
		s->refused++;
		free(take_body);
	} else {
		s->waiting[s->count].path = path;
		s->waiting[s->count++].body = take_body;
	}
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

uint64_t sender_refused(struct sender *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->refused;
	pthread_mutex_unlock(&s->lock);
	return n;
}

uint64_t sender_failures(struct sender *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->failures;
	pthread_mutex_unlock(&s->lock);
	return n;
}
