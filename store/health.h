/* health.h - what a database says about itself, for `opscase doctor`. One statement, changes nothing. */
#pragma once
#include <stdint.h>
#include "wire/pg/pg.h"

struct health {
	int version; /* 170011 */
	char fsync[8], full_page_writes[8], synchronous_commit[24];
	char extensions[256], missing[128]; /* "age 1.5.0, ..."; names */
	char broken_role[64];               /* one of ours that row-level security does not hold; "" */
	char effects[8], effects_reason[512];
	long long outbox_lag_s, dead_letters, bytes;
	int connections, connections_max;
	int64_t now_us;
};
/* Works also on a database that was never migrated. */
MUST_CHECK enum oc_err health_read(struct pg *pg, struct health *ret, struct oc_fail *reterr);
