/* dead_letter.h - what was given up, and the way back. */
#pragma once
#include "base/err.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

struct dead_filter {
	const char *kind; /* command, event, telemetry; NULL: all */
	bool replayed;    /* those that were sent again as well */
	long long before; /* id; 0: from the newest */
	int limit;
};
/* Newest first, [{"id","kind","source","reason","record","message_id","created_at","replayed_at","replayed_by"}]; a list's
 * record is cut at 200 characters. *ret_more: the last id where there are more, else 0. */
MUST_CHECK enum oc_err dead_list(struct pg *pg, long long tenant_id, const struct dead_filter *f,
				 json_t **ret, long long *ret_more, struct oc_fail *reterr);
/* One, whole. OC_NOT_FOUND. */
MUST_CHECK enum oc_err dead_read(struct pg *pg, long long tenant_id, long long id, json_t **ret,
				 struct oc_fail *reterr);

struct dead_letter {
	char *kind, *source, *body;
	long long ref_id;
};
void dead_letter_done(struct dead_letter *d);
/* In the caller's transaction: it is sent again by `who`, and by nobody else. OC_NOT_FOUND, OC_CONFLICT (it was already). */
MUST_CHECK enum oc_err dead_claim(struct pg *pg, long long tenant_id, long long id, const char *who,
				  struct dead_letter *ret, struct oc_fail *reterr);
/* The message behind it is open again, with all its attempts. OC_CONFLICT: it is gone, or of a kind that is not repeated. */
MUST_CHECK enum oc_err dead_reopen(struct pg *pg, long long tenant_id, const struct dead_letter *d,
				   struct oc_fail *reterr);
