/* incident.h - the rows that a root cause is looked for in: of one tenant, about one moment. As opscase_worker.
 *
 * All take $1 tenant, $2 from, $3 onset, $4 to (microseconds), $5 the URN to begin at ("" : everything). Where a URN is given the scope is what it
 * calls or runs on, five steps far, and who calls it: by the calls measured in the window and the topology as of the onset. */
#pragma once
#include "wire/pg/pg.h"

#define INCIDENT_ROWS_MAX "400000"

/* resource_id, urn of the scope. */
extern const char SQL_INCIDENT_SCOPE[];
/* from, to (resource ids): who calls whom, or depends on whom. */
extern const char SQL_INCIDENT_EDGES[];
/* Of metric_1m, by series and time: series, resource, metric, time (seconds), value. */
extern const char SQL_INCIDENT_METRICS[];
/* Of service_call_5m, by pair and time: src, dst, time (seconds), p95_ms, err_rate, count. */
extern const char SQL_INCIDENT_CALLS[];
/* resource, fingerprint, before, after, errors (of both), pattern. */
extern const char SQL_INCIDENT_LOGS[];
/* event_id, resource, time (seconds), title: deploys and other changes. */
extern const char SQL_INCIDENT_CHANGES[];
/* $1 tenant, $2 case: the first word of its signals (microseconds), or NULL. */
extern const char SQL_INCIDENT_ONSET[];
