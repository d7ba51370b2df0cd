/* detector.h - the closed buckets that detectors look at, and what they remember of their series. As opscase_worker. */
#pragma once
#include <stdint.h>
#include "wire/pg/pg.h"

/* The series of metric_1m and, under a number of their own, error rate and p95 of service_call_5m (four minutes later: they are longer), in buckets that began in ($1, $2]
 * (microseconds), oldest first: columns enum bucket_col. */
extern const char SQL_BUCKETS_SINCE[];
enum bucket_col { BK_TENANT, BK_SERIES, BK_US, BK_VALUE, BK_URN, BK_METRIC, BK_TABLE, BK_SRC };

/* $1 the oldest upto worth loading (microseconds): tenant, series, upto_us, state as hex digits. */
extern const char SQL_DETECTORS_LOAD[];
/* Arrays of the same length: $1 tenants, $2 series, $3 upto_us, $4 states as hex digits. */
extern const char SQL_DETECTORS_SAVE[];

/* Of series that stopped: arrays of the same length, $1 tenants, $2 series, $3 when each was last seen; $4 now (microseconds). Whether
 * anything of the resource, or of the tenant, was seen in the later half of that time. Ordered so that what belongs together
 * follows each other; series of which metric_1m has no row at that time are left out. Columns: enum silent_col. */
extern const char SQL_SILENT[];
enum silent_col { SL_TENANT, SL_SERIES, SL_URN, SL_METRIC, SL_LAST_US, SL_RESOURCE_HEARD, SL_TENANT_HEARD };

/* Log patterns that are new with errors, or came five times as often as in any of the last day's windows, or stopped after a day
 * of being there nearly always; of the five minutes that began at $1 (microseconds). Columns: enum surprise_col. */
extern const char SQL_LOG_SURPRISES[];
enum surprise_col { LS_TENANT, LS_URN, LS_FINGERPRINT, LS_PATTERN, LS_WHAT, LS_COUNT, LS_ERRORS, LS_MOST };
