/* approval.h - may this person approve this decision now? One answer for REST, CLI and console.
 *
 * Pure. Everything it needs is in the decision's row (the card keeps the terms under which people were
 * asked), so that a process without the policy files can answer too. */
#pragma once
#include <stdint.h>
#include "wire/json/json.h"

struct pg;

struct gate_ask {
	const char *status;      /* gate_decision.status */
	const char *void_reason; /* or NULL */
	int64_t expires_us, now_us;
	const json_t
		*terms; /* the card's "terms": {"roles","quorum","self_approval","authors","break_glass"} */
	const char *const *approved_by; /* who did already */
	size_t approved_count;
};
struct gate_person {
	const char *principal, *role;
	const char *reason; /* "break-glass: ..." asks for it; or NULL */
};
struct gate_may {
	bool self;        /* allowed although it is their own plan (self_approval: warn) */
	bool break_glass; /* counts as the whole quorum */
};
/* OC_OK, OC_FORBIDDEN (role, own plan; the sentence says what to do), OC_ILLEGAL (not pending, expired). */
MUST_CHECK enum oc_err gate_check_approval(const struct gate_ask *ask, const struct gate_person *who,
					   struct gate_may *ret, struct oc_fail *reterr);

/* The same for a decision in the database: the newest one of the case when decision_id is NULL. Fills
 * ret_decision (37 bytes) with its id. The API calls it inside its transaction, through apps/. OC_NOT_FOUND too. */
MUST_CHECK enum oc_err gate_check_approval_row(struct pg *pg, long long tenant_id, const char *case_id,
					       const char *decision_id, const struct gate_person *who,
					       bool reject, char *ret_decision, struct gate_may *ret,
					       struct oc_fail *reterr);
