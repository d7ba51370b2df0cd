#include "executor/pool.h"
#include <pthread.h>
#include <string.h>
#include <time.h>
#include "base/mem.h"
#include "base/text.h"

struct group {
	char *key;
	unsigned live, waiting; /* live: idle and lent */
	struct runner *idle;    /* the last used first */
	struct group *next;
};

struct pool {
	struct pool_config config;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct group *groups;
	unsigned live;
	int64_t renewed_ms; /* runners started before this are not used again */
};

struct pool *pool_new(const struct pool_config *config)
{
	struct pool *p = mem_alloc(sizeof(*p));
	pthread_condattr_t attr;

	p->config = *config;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->changed, &attr);
	pthread_condattr_destroy(&attr);
	return p;
}

static void free_list(struct runner *r)
{
	while (r) {
		struct runner *next = r->next;

		runner_free(r);
		r = next;
	}
}

static struct group *group_of(struct pool *p, const char *key)
{
	struct group *g;

	for (g = p->groups; g; g = g->next) {
		if (strcmp(g->key, key) == 0)
			return g;
	}
	g = mem_alloc(sizeof(*g));
	g->key = mem_strdup(key);
	g->next = p->groups;
	p->groups = g;
	return g;
}

static void drop_empty(struct pool *p)
{
	struct group **at = &p->groups;

	while (*at) {
		struct group *g = *at;

		if (g->live || g->waiting) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		free(g->key);
		free(g);
	}
}

/* Takes out the idle runners that are older than `before`; their list is the caller's to end. */
static struct runner *take_idle(struct pool *p, int64_t before_ms, unsigned max)
{
	struct runner *out = NULL;

	for (struct group *g = p->groups; g; g = g->next) {
		struct runner **at = &g->idle;

		while (*at && max) {
			struct runner *r = *at;

			if (r->idle_since_ms > before_ms) {
				at = &r->next;
				continue;
			}
			*at = r->next;
			r->next = out;
			out = r;
			g->live--;
			p->live--;
			max--;
		}
	}
	return out;
}

static void wait_a_little(struct pool *p)
{
	struct timespec until;

	/* A pulled leash wakes nobody here, so look again from time to time. */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += 100000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&p->changed, &p->lock, &until);
}

enum oc_err pool_take(struct pool *p, const char *key, int64_t until_ms, const struct host_leash *leash,
		      struct runner **ret)
{
	struct runner *dead = NULL, *found = NULL;
	enum oc_err err = OC_OK;
	struct group *g;

	pthread_mutex_lock(&p->lock);
	g = group_of(p, key);
	g->waiting++;
	for (;;) {
		while ((found = g->idle) != NULL) {
			g->idle = found->next;
			found->next = NULL;
			if (runner_idle_ok(found))
				break;
			found->next = dead;
			dead = found;
			g->live--;
			p->live--;
		}
		if (found)
			break;
		if (g->live < p->config.per_key && p->live >= p->config.total) {
			/* Somebody else's idle runner makes room. */
			struct runner *old = take_idle(p, INT64_MAX, 1);

			if (old) {
				old->next = dead;
				dead = old;
			}
		}
		if (g->live < p->config.per_key && p->live < p->config.total) {
			g->live++;
			p->live++;
			break;
		}
		if (leash && atomic_load(&leash->cancel))
			err = OC_CONFLICT;
		else if (runner_boot_ms() >= until_ms)
			err = OC_BUSY;
		if (err != OC_OK)
			break;
		wait_a_little(p);
	}
	g->waiting--;
	pthread_mutex_unlock(&p->lock);
	free_list(dead);
	if (err == OC_OK)
		*ret = found;
	return err;
}

void pool_give(struct pool *p, const char *key, struct runner **take_runner)
{
	struct runner *r = take_runner ? TAKE(*take_runner) : NULL, *dead = NULL;
	struct group *g;

	pthread_mutex_lock(&p->lock);
	g = group_of(p, key);
	if (r && (r->calls >= p->config.calls || r->started_ms < p->renewed_ms)) {
		dead = r;
		r = NULL;
	}
	if (r) {
		r->idle_since_ms = runner_boot_ms();
		r->next = g->idle;
		g->idle = r;
	} else {
		g->live--;
		p->live--;
	}
	/* Waiters of other keys may be waiting for the total. */
	pthread_cond_broadcast(&p->changed);
	drop_empty(p);
	pthread_mutex_unlock(&p->lock);
	free_list(dead);
}

void pool_tidy(struct pool *p)
{
	struct runner *dead;

	pthread_mutex_lock(&p->lock);
	dead = take_idle(p, runner_boot_ms() - p->config.idle_ms, ~0u);
	drop_empty(p);
	pthread_mutex_unlock(&p->lock);
	free_list(dead);
}

void pool_renew(struct pool *p)
{
	struct runner *dead;

	pthread_mutex_lock(&p->lock);
	p->renewed_ms = runner_boot_ms() + 1;
	dead = take_idle(p, INT64_MAX, ~0u);
	drop_empty(p);
	pthread_mutex_unlock(&p->lock);
	free_list(dead);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pool_renew(p);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
