#include "base/waker.h"
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"

struct waker {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool poked;
	int64_t due_ms; /* when it counts as poked; 0: nobody asked */
};

struct waker *waker_new(void)
{
	struct waker *w = mem_alloc(sizeof(*w));
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&w->lock, NULL);
	return w;
}

void waker_free(struct waker *w)
{
	if (!w)
		return;
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void waker_poke(struct waker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	if (!w->poked) {
		w->poked = true;
		pthread_cond_signal(&w->cond);
	}
	pthread_mutex_unlock(&w->lock);
}

void waker_poke_within(struct waker *w, int ms)
{
	int64_t due = clock_mono_ms() + (ms > 0 ? ms : 0);

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	/* Whoever waits has an earlier one in mind already, or is told of this one. */
	if (!w->due_ms || due < w->due_ms) {
		w->due_ms = due;
		pthread_cond_signal(&w->cond);
	}
	pthread_mutex_unlock(&w->lock);
}

bool waker_wait(struct waker *w, int timeout_ms)
{
	int64_t now = clock_mono_ms(), end = now + timeout_ms;
	bool poked;

	pthread_mutex_lock(&w->lock);
	for (; !w->poked && !(w->due_ms && w->due_ms <= now) && now < end; now = clock_mono_ms()) {
		int64_t until = w->due_ms && w->due_ms < end ? w->due_ms : end;

		pthread_cond_timedwait(&w->cond, &w->lock,
				       &(struct timespec){ .tv_sec = until / 1000,
							   .tv_nsec = (long)(until % 1000) * 1000000 });
	}
	poked = w->poked || (w->due_ms && w->due_ms <= now);
	if (poked) {
		w->poked = false;
		w->due_ms = 0;
	}
	pthread_mutex_unlock(&w->lock);
	return poked;
}
