/* waiters.h - who waits for a case to move: a hub inside the process.
 *
 * The orchestrator's loop calls waiters_notify() after each commit that moved a case; a lost or absent
 * call costs at most a second, since waiters read again by themselves. Bounded: a waiting request
 * holds a handler thread. Thread-safe. */
#pragma once
#include <stdbool.h>
#include "base/err.h"

struct waiters;
struct waiter;

struct waiters *waiters_new(unsigned max);
void waiters_free(struct waiters *hub);                        /* nobody may be waiting any more */
void waiters_notify(struct waiters *hub, const char *case_id); /* NULL hub is fine; cheap when nobody waits */
/* From now on every wait ends at once: the service is stopping. */
void waiters_close(struct waiters *hub);
bool waiters_closed(const struct waiters *hub);
unsigned waiters_count(struct waiters *hub);
/* At most so many from now on; never more than at waiters_new. */
void waiters_cap(struct waiters *hub, unsigned max);

/* Enter before reading the case: what happens between the read and the wait is then not missed.
 * OC_BUSY when too many wait. */
MUST_CHECK enum oc_err waiter_enter(struct waiters *hub, const char *case_id, struct waiter **ret,
				    struct oc_fail *reterr);
void waiter_leave(struct waiter *w);
DEFINE_AUTO(waiter, struct waiter *, waiter_leave);
/* True when poked, or closed; false when the time was over. At most a second, whatever timeout_ms says. */
bool waiter_wait(struct waiter *w, int timeout_ms);
