/* opening.h - new cases: one caller's, or those of many callers in one transaction.
 *
 * A case that opens is case, body, one or two timeline rows, its facts, and with drive auto the command that asks for
 * its analysis; each is committed whole or not at all, and so is the group. openings_create() lets callers who come
 * at the same time share a commit: whoever finds nobody at work writes for all that wait. What goes wrong with a
 * group is tried again for each of its cases alone, so one that cannot be written takes no other along. */
#pragma once
#include "orchestrator/transition.h"
#include "wire/pg/pg.h"

struct openings;
/* The pool (lent) is of opscase_worker. At most `writers` groups are written at once. */
struct openings *openings_new(struct pg_pool *pool_ref, unsigned writers);
void openings_free(struct openings *o); /* nobody may be inside */
DEFINE_AUTO(openings, struct openings *, openings_free);

/* As transition_create(), on a connection of the pool. Thread-safe. OC_BUSY: no connection was free in 2 s. */
MUST_CHECK enum oc_err openings_create(struct openings *o, const struct case_create *c,
				       struct transition_result *ret, struct oc_fail *reterr);

/* One transaction's worth; used by transition_create() and the tests. */
struct opening {
	const struct case_create *ask;
	struct transition_result *ret;
	struct oc_fail *fail;
	enum oc_err err; /* of this one: a key that is in use, ... */
};
#define OPENINGS_MAX 64
/* OC_OK: every one has its err, and those with OC_OK are committed (or replayed). Else nothing was written. No two
 * may have the same key. */
MUST_CHECK enum oc_err opening_write(struct pg *pg, struct opening *list, size_t n, struct oc_fail *reterr);
/* What is wrong with the wish itself. */
MUST_CHECK enum oc_err opening_check(const struct case_create *c, struct oc_fail *reterr);
