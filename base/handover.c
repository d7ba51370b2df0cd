#include "base/handover.h"
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#define TOPICS_MAX 8

struct seat {
	struct seat *next;
	struct handover *at_ref;
	char *topics[TOPICS_MAX];
	size_t topics_n, room;
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct handed *ring;
	size_t first, n, cap;
	unsigned at_work;
	int64_t began_ms; /* when the last one went to work */
	bool shut;
};

struct handover {
	pthread_rwlock_t lock; /* of the list; held while something is given, so that no seat goes meanwhile */
	struct seat *seats;
};

struct handover *handover_new(void)
{
	struct handover *h = mem_alloc(sizeof(*h));

	pthread_rwlock_init(&h->lock, NULL);
	return h;
}

void handover_free(struct handover *h)
{
	if (!h)
		return;
	pthread_rwlock_destroy(&h->lock);
	free(h);
}

static bool hears(const struct seat *s, const char *topic)
{
	for (size_t i = 0; i < s->topics_n; i++) {
		size_t len = strlen(s->topics[i]);

		if (len && s->topics[i][len - 1] == '>' ? strncmp(s->topics[i], topic, len - 1) == 0
							: str_eq(s->topics[i], topic))
			return true;
	}
	return false;
}

static void push(struct seat *s, struct handed what)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct handed *ring = mem_array(cap, sizeof(*ring));

		for (size_t i = 0; i < s->n; i++)
			ring[i] = s->ring[(s->first + i) % s->cap];
		free(s->ring);
		s->ring = ring;
		s->cap = cap;
		s->first = 0;
	}
	s->ring[(s->first + s->n++) % s->cap] = what;
	pthread_cond_signal(&s->filled);
}

bool handover_room(struct handover *h, const char *topic)
{
	bool yes = false;

	if (!h)
		return false;
	pthread_rwlock_rdlock(&h->lock);
	for (struct seat *s = h->seats; s && !yes; s = s->next) {
		if (!hears(s, topic))
			continue;
		pthread_mutex_lock(&s->lock);
		yes = !s->shut && s->n < s->room;
		pthread_mutex_unlock(&s->lock);
	}
	pthread_rwlock_unlock(&h->lock);
	return yes;
}

bool handover_give(struct handover *h, const char *topic, long long id)
{
	bool given = false;

	if (!h)
		return false;
	pthread_rwlock_rdlock(&h->lock);
	for (struct seat *s = h->seats; s && !given; s = s->next) {
		if (!hears(s, topic))
			continue;
		pthread_mutex_lock(&s->lock);
		given = !s->shut;
		if (given)
			push(s, (struct handed){ .id = id });
		pthread_mutex_unlock(&s->lock);
	}
	pthread_rwlock_unlock(&h->lock);
	return given;
}

struct seat *seat_open(struct handover *h, const char *const *topics, size_t n, size_t room)
{
	struct seat *s = mem_alloc(sizeof(*s));
	pthread_condattr_t mono;

	for (; s->topics_n < n && s->topics_n < TOPICS_MAX; s->topics_n++)
		s->topics[s->topics_n] = mem_strdup(topics[s->topics_n]);
	s->room = room ? room : 1;
	s->at_ref = h;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&s->filled, &mono);
	pthread_cond_init(&s->emptied, &mono);
	pthread_condattr_destroy(&mono);
	if (h) {
		pthread_rwlock_wrlock(&h->lock);
		s->next = h->seats;
		h->seats = s;
		pthread_rwlock_unlock(&h->lock);
	}
	return s;
}

void seat_close(struct seat *s)
{
	if (!s)
		return;
	if (s->at_ref) {
		pthread_rwlock_wrlock(&s->at_ref->lock);
		for (struct seat **p = &s->at_ref->seats; *p; p = &(*p)->next)
			if (*p == s) {
				*p = s->next;
				break;
			}
		pthread_rwlock_unlock(&s->at_ref->lock);
	}
	for (size_t i = 0; i < s->topics_n; i++)
		free(s->topics[i]);
	pthread_cond_destroy(&s->filled);
	pthread_cond_destroy(&s->emptied);
	pthread_mutex_destroy(&s->lock);
	free(s->ring);
	free(s);
}

static struct timespec at_ms(int64_t mono_ms)
{
	return (struct timespec){ .tv_sec = mono_ms / 1000, .tv_nsec = (long)(mono_ms % 1000) * 1000000 };
}

/* When what is there may be taken: now, or at the end of the patience, or only when there is something. */
static int64_t takeable_at(const struct seat *s, size_t max, int patience_ms)
{
	if (!s->n)
		return INT64_MAX;
	return !s->at_work || s->n >= max || s->shut ? 0 : s->began_ms + patience_ms;
}

size_t seat_take(struct seat *s, struct handed *ret, size_t max, int patience_ms, int timeout_ms)
{
	int64_t now = clock_mono_ms(), end = now + timeout_ms, from;
	size_t got = 0;

	pthread_mutex_lock(&s->lock);
	while ((from = takeable_at(s, max, patience_ms)) > now && now < end && !s->shut) {
		struct timespec until = at_ms(from < end ? from : end);

		pthread_cond_timedwait(&s->filled, &s->lock, &until);
		now = clock_mono_ms();
	}
	for (; from <= now && got < max && s->n; got++, s->n--) {
		ret[got] = s->ring[s->first];
		s->first = (s->first + 1) % s->cap;
	}
	if (got) {
		s->at_work++;
		s->began_ms = now;
		pthread_cond_signal(&s->emptied);
	}
	if (s->n)
		pthread_cond_signal(&s->filled); /* one signal may have stood for several */
	pthread_mutex_unlock(&s->lock);
	return got;
}

void seat_back(struct seat *s)
{
	pthread_mutex_lock(&s->lock);
	s->at_work--;
	if (s->n)
		pthread_cond_signal(&s->filled);
	pthread_mutex_unlock(&s->lock);
}

bool seat_put(struct seat *s, struct handed what, int timeout_ms)
{
	struct timespec until = at_ms(clock_mono_ms() + timeout_ms);
	bool put;

	pthread_mutex_lock(&s->lock);
	while (s->n >= s->room && !s->shut && pthread_cond_timedwait(&s->emptied, &s->lock, &until) == 0)
		;
	put = s->n < s->room && !s->shut;
	if (put)
		push(s, what);
	pthread_mutex_unlock(&s->lock);
	return put;
}

void seat_shut(struct seat *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->shut = true;
	pthread_cond_broadcast(&s->filled);
	pthread_cond_broadcast(&s->emptied);
	pthread_mutex_unlock(&s->lock);
}
