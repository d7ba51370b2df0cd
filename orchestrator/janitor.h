/* janitor.h - time: what was not delivered is offered again, what took too long becomes an event.
 *
 * One leader among all replicas, by advisory lock; a sweep once a second, always, not only at start. The
 * clock is PostgreSQL's. Cases change only through transition(), as the timer. */
#pragma once
#include "base/err.h"
#include "wire/pg/pg.h"

struct waker;
struct janitor;

struct janitor_deps {
	const char *conninfo;
	struct waker *relay_wake;
	/* Once a minute, for retention; may be NULL. */
	void (*prune)(void *ctx, struct pg *pg);
	void (*on_case)(void *ctx, const char *case_id);
	void *ctx;
};

MUST_CHECK enum oc_err janitor_start(const struct janitor_deps *deps, struct janitor **ret,
				     struct oc_fail *reterr);
void janitor_stop(struct janitor *j);
/* One sweep, for tests and for the thread itself. Returns how many rows needed something. */
unsigned janitor_sweep(struct pg *pg, const struct janitor_deps *deps);
