/* slo.h - counted events over several spans that end now. As opscase_worker: every row names its tenant. */
#pragma once
#include "wire/pg/pg.h"

/* $1 URN, $2 metric or "" for calls of that service, $3 spans in seconds (int[]), $4 now (microseconds), $5 tenant or 0 for all:
 * tenant, which span (from 0), errors (of a metric: its sum), total. A tenant without that resource has no rows. */
extern const char SQL_SLO_COUNTS[];
