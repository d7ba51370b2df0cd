#include "base/waker.h"
#include <pthread.h>
#include <time.h>
#include "base/mem.h"

struct waker {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool poked;
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

bool waker_wait(struct waker *w, int timeout_ms)
{
	struct timespec until;
	bool poked;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&w->lock);
	while (!w->poked && pthread_cond_timedwait(&w->cond, &w->lock, &until) == 0)
		;
	poked = w->poked;
	w->poked = false;
	pthread_mutex_unlock(&w->lock);
	return poked;
}
