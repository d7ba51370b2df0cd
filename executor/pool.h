/* pool.h - shared runners between calls: per (adapter, tenant, secret scope), bounded, any thread.
 *
 * Internal to the host. A runner is either idle in here or lent to exactly one call. */
#pragma once
#include "executor/runner.h"

struct pool;

struct pool_config {
	unsigned per_key, total;
	unsigned calls; /* a runner is replaced after so many */
	int64_t idle_ms;
};

struct pool *pool_new(const struct pool_config *config);
void pool_free(struct pool *pool); /* nothing may be lent */

/* Gives an idle runner, or NULL and the right to start one (both are to be given back). OC_BUSY when
 * none came free before until_ms (boot time), OC_CONFLICT when the leash was pulled meanwhile. */
MUST_CHECK enum oc_err pool_take(struct pool *pool, const char *key, int64_t until_ms,
				 const struct host_leash *leash, struct runner **ret);
/* The runner (swallowed), or a NULL: it did not come to be, or is not fit for another call. */
void pool_give(struct pool *pool, const char *key, struct runner **take_runner);
void pool_tidy(struct pool *pool);
void pool_renew(struct pool *pool);
