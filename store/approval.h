/* approval.h - what a person said about a decision. The row counts nothing by itself: the gatekeeper counts. */
#pragma once
#include "wire/json/json.h"
#include "wire/pg/pg.h"

struct approval_ask {
	char decision_id[40], opened_by[128];
	json_t *who;  /* roles that may answer; yours */
	bool pending; /* and not expired */
};
void approval_ask_done(struct approval_ask *a);

/* The newest decision of the case's current epoch, or the one given. Inside the caller's transaction.
 * OC_NOT_FOUND when there is no such case or decision. */
MUST_CHECK enum oc_err approval_find(struct pg *pg, long long tenant_id, const char *case_id,
				     const char *decision_id, struct approval_ask *ret,
				     struct oc_fail *reterr);

struct approval_new {
	long long tenant_id;
	const char *case_id, *decision_id, *principal, *role, *reason;
	bool reject;
};
/* OC_ILLEGAL when the decision waits for nobody. Saying the same again is fine (ret_again); saying the
 * opposite is OC_CONFLICT. Inside the caller's transaction. */
MUST_CHECK enum oc_err approval_add(struct pg *pg, const struct approval_new *a, bool *ret_again,
				    struct oc_fail *reterr);
