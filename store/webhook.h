/* webhook.h - deliveries that have been seen: replay protection for who sends alerts. As opscase_worker, inside the transaction that
 * has the effect. */
#pragma once
#include "wire/json/json.h"
#include "wire/pg/pg.h"

/* ret_seen: there was one with this key from this source before. */
MUST_CHECK enum oc_err webhook_remember(struct pg *pg, long long tenant_id, const char *source,
					const char *key, const json_t *body, bool *ret_seen,
					struct oc_fail *reterr);
