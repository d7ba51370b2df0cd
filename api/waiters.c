#include "api/waiters.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include "base/mem.h"
#include "base/text.h"

#define BUCKETS 64

struct waiter {
	struct waiter *next;
	struct waiters *hub_ref;
	char case_id[40];
	bool poked;
	pthread_cond_t wake;
};

struct waiters {
	pthread_mutex_t lock;
	struct waiter *bucket[BUCKETS];
	unsigned max, count;
	bool closed;
};

static unsigned bucket_of(const char *id)
{
	unsigned h = 5381;

	for (; *id; id++)
		h = h * 33 + (unsigned char)(*id | 0x20);
	return h % BUCKETS;
}

struct waiters *waiters_new(unsigned max)
{
	struct waiters *hub = mem_alloc(sizeof(*hub));

	pthread_mutex_init(&hub->lock, NULL);
	hub->max = max;
	return hub;
}

void waiters_free(struct waiters *hub)
{
	if (!hub)
		return;
	pthread_mutex_destroy(&hub->lock);
	free(hub);
}

void waiters_notify(struct waiters *hub, const char *case_id)
{
	if (!hub || str_empty(case_id))
		return;
	pthread_mutex_lock(&hub->lock);
	for (struct waiter *w = hub->count ? hub->bucket[bucket_of(case_id)] : NULL; w; w = w->next) {
		if (strcasecmp(w->case_id, case_id) == 0) {
			w->poked = true;
			pthread_cond_signal(&w->wake);
		}
	}
	pthread_mutex_unlock(&hub->lock);
}

void waiters_close(struct waiters *hub)
{
	if (!hub)
		return;
	pthread_mutex_lock(&hub->lock);
	hub->closed = true;
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct waiter *w = hub->bucket[i]; w; w = w->next)
			pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&hub->lock);
}

bool waiters_closed(const struct waiters *hub)
{
	struct waiters *h = (struct waiters *)hub;
	bool closed;

	pthread_mutex_lock(&h->lock);
	closed = h->closed;
	pthread_mutex_unlock(&h->lock);
	return closed;
}

unsigned waiters_count(struct waiters *hub)
{
	unsigned n;

	pthread_mutex_lock(&hub->lock);
	n = hub->count;
	pthread_mutex_unlock(&hub->lock);
	return n;
}

void waiters_cap(struct waiters *hub, unsigned max)
{
	if (!hub)
		return;
	pthread_mutex_lock(&hub->lock);
	if (max < hub->max)
		hub->max = max;
	pthread_mutex_unlock(&hub->lock);
}

enum oc_err waiter_enter(struct waiters *hub, const char *case_id, struct waiter **ret,
			 struct oc_fail *reterr)
{
	struct waiter *w = mem_alloc(sizeof(*w));
	pthread_condattr_t mono;
	unsigned b = bucket_of(case_id);

	snprintf(w->case_id, sizeof(w->case_id), "%s", case_id);
	w->hub_ref = hub;
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &mono);
	pthread_condattr_destroy(&mono);
	pthread_mutex_lock(&hub->lock);
	if (hub->count >= hub->max) {
		unsigned max = hub->max;

		pthread_mutex_unlock(&hub->lock);
		pthread_cond_destroy(&w->wake);
		free(w);
		return oc_fail(
			reterr, OC_BUSY,
			"%u requests wait for their cases already; ask with `Prefer: wait=0` and look later",
			max);
	}
	w->next = hub->bucket[b];
	hub->bucket[b] = w;
	hub->count++;
	pthread_mutex_unlock(&hub->lock);
	*ret = w;
	return OC_OK;
}

void waiter_leave(struct waiter *w)
{
	struct waiters *hub;

	if (!w)
		return;
	hub = w->hub_ref;
	pthread_mutex_lock(&hub->lock);
	for (struct waiter **at = &hub->bucket[bucket_of(w->case_id)]; *at; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			hub->count--;
			break;
		}
	}
	pthread_mutex_unlock(&hub->lock);
	pthread_cond_destroy(&w->wake);
	free(w);
}

bool waiter_wait(struct waiter *w, int timeout_ms)
{
	struct waiters *hub = w->hub_ref;
	struct timespec until;
	bool poked;

	if (timeout_ms > 1000)
		timeout_ms = 1000;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	until.tv_sec += timeout_ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&hub->lock);
	while (!w->poked && !hub->closed && pthread_cond_timedwait(&w->wake, &hub->lock, &until) != ETIMEDOUT)
		;
	poked = w->poked || hub->closed;
	w->poked = false;
	pthread_mutex_unlock(&hub->lock);
	return poked;
}
