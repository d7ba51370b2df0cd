/* kept.h - the answer kept under an Idempotency-Key, as the transaction that it guards sees it. */
#pragma once
#include "orchestrator/transition.h"
#include "wire/pg/pg.h"

/* Columns of SQL_STEP_IDEM_SEEN, from `first` on: body hash, state, status, answer. False: nothing is kept, go on.
 * True with *ret_code: the call ends here, with ret replayed or with a failure. */
bool kept_ends(const struct pg_result *r, unsigned row, unsigned first, const struct idem_key *k,
	       struct transition_result *ret, enum oc_err *ret_code, struct oc_fail *reterr);
