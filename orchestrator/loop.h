/* loop.h - hears the roles' events and steps the cases, many in one transaction.
 *
 * Whoever commits an event in this process, or the bus, only says which outbox rows to look at; what happened is read
 * from PostgreSQL. A batch locks its
 * cases in id order without waiting, steps each once, and commits; what was locked by somebody else
 * comes again at once. A batch that fails is split, so one bad row stops nobody; a lone failure counts an
 * attempt and ends in dead_letter. The bus is acked after the commit. */
#pragma once
#include "base/err.h"

struct bus;
struct handover;
struct waker;
struct loop;

struct loop_deps {
	const char *conninfo; /* as opscase_worker */
	struct bus *bus;
	struct waker *relay_wake;
	struct handover *hand;                           /* or NULL: ids come and go by the bus alone */
	void (*on_case)(void *ctx, const char *case_id); /* after each commit; may be NULL */
	void *ctx;
	unsigned threads; /* 0: 1 */
};

MUST_CHECK enum oc_err loop_start(const struct loop_deps *deps, struct loop **ret, struct oc_fail *reterr);
void loop_stop(struct loop *loop);

struct pg;
/* One batch, for tests and for the loop itself: ids of evt rows. ret_again gets those that were busy (their number in
 * *ret_again_n), at most n. Of the deps only hand, relay_wake, on_case and ctx are used. */
MUST_CHECK enum oc_err loop_step(struct pg *pg, const struct loop_deps *deps, const long long *ids, size_t n,
				 long long *ret_again, size_t *ret_again_n, struct oc_fail *reterr);
