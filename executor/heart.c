#define LOG_ROOM "executor"
#include <time.h>
#include "base/log.h"
#include "executor/run.h"
#include "store/command.h"
#include "store/exec.h"

#define BEAT_MS 5000

bool run_flag(struct run *r, const bool *flag)
{
	bool v;

	pthread_mutex_lock(&r->lock);
	v = *flag;
	pthread_mutex_unlock(&r->lock);
	return v;
}

void run_stop(struct run *r, bool *flag)
{
	pthread_mutex_lock(&r->lock);
	*flag = true;
	pthread_cond_broadcast(&r->beat);
	pthread_mutex_unlock(&r->lock);
	host_leash_cancel(r->leash);
}

/* Waits until the time is over or something is to be done; true when the run was told to stop. */
bool run_pause(struct run *r, int ms)
{
	struct timespec until;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&r->lock);
	while (!r->ended && !r->cancelled && !r->lost &&
	       pthread_cond_timedwait(&r->beat, &r->lock, &until) == 0)
		;
	stop = r->ended || r->cancelled || r->lost;
	pthread_mutex_unlock(&r->lock);
	return stop;
}

void run_beat(struct run *r)
{
	AUTO(pg_result) struct pg_result *alive = NULL;
	struct pg *pg = NULL;
	struct oc_fail fail;
	char id[24], tenant[24], ms[16];

	snprintf(id, sizeof(id), "%lld", r->cmd->id);
	snprintf(tenant, sizeof(tenant), "%lld", r->cmd->tenant_id);
	snprintf(ms, sizeof(ms), "%d", LEASE_MS);
	if (pg_pool_take(r->x->pool, 2000, &pg, &fail) != OC_OK)
		return; /* not extended: the leash ends the child before the lease does */
	if (pg_query(pg, SQL_COMMAND_RENEW, PG_ARGS(id, r->cmd->lease_token, ms), &alive, &fail) == OC_OK) {
		if (pg_rows(alive) == 0) {
			log_warn("run %s: the lease is lost", r->id);
			run_stop(r, &r->lost);
		} else {
			host_leash_extend(r->leash, LEASE_MS - LEASE_MARGIN_MS);
			(void)!pg_query(pg, SQL_TARGET_EXTEND, PG_ARGS(tenant, r->id, ms), NULL, NULL);
			if (pg_text(alive, 0, 0) && !run_flag(r, &r->cancelled))
				run_stop(r, &r->cancelled);
		}
	}
	pg_pool_give(r->x->pool, pg);
}

void *run_heart(void *arg)
{
	struct run *r = arg;

	for (;;) {
		struct timespec until;
		bool ended;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += BEAT_MS / 1000;
		pthread_mutex_lock(&r->lock);
		while (!r->ended && !r->lost && pthread_cond_timedwait(&r->beat, &r->lock, &until) == 0)
			if (r->cancelled && !r->ended)
				continue;
		ended = r->ended || r->lost;
		pthread_mutex_unlock(&r->lock);
		if (ended)
			return NULL;
		run_beat(r);
	}
}
