/* idempotency.h - the first answer of a write, kept under its Idempotency-Key.
 *
 * A write that is one transaction keeps its answer in that transaction (transition() does). A call that
 * takes several (ask, then wait) claims the key first, and keeps its answer when it has one; the step
 * in between is guarded by a key of its own, so that a crash between the two cannot do it twice.
 * For connections as opscase_api outside of a transaction. */
#pragma once
#include "wire/json/json.h"
#include "wire/pg/pg.h"

struct idem_ref {
	long long tenant_id; /* 0: of the installation */
	const char *principal, *route, *key, *body_hash;
};

enum idem_state { IDEM_MINE, IDEM_REPLAY, IDEM_IN_FLIGHT, IDEM_OTHER_BODY };

struct idem_answer {
	enum idem_state state;
	int status;     /* of a replay */
	char *response; /* JSON text; yours */
};
void idem_answer_done(struct idem_answer *a);

/* A claim whose owner is silent for so long (it crashed) is taken over. */
#define IDEM_TAKEOVER_S 180

MUST_CHECK enum oc_err idem_claim(struct pg *pg, const struct idem_ref *ref, struct idem_answer *ret,
				  struct oc_fail *reterr);
MUST_CHECK enum oc_err idem_keep(struct pg *pg, const struct idem_ref *ref, int status, const char *response,
				 struct oc_fail *reterr);
/* What is not stored (412, 429, 5xx): the same key may try again. */
MUST_CHECK enum oc_err idem_drop(struct pg *pg, const struct idem_ref *ref, struct oc_fail *reterr);
