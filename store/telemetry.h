/* telemetry.h - statements of the aggregators: how far the stream is folded, calls, counts of log patterns.
 *
 * As opscase_worker; every statement about tenants' rows names the tenant. Times are microseconds since 1970. */
#pragma once

/* $1 kind, $2 part: true for one session at a time. */
extern const char SQL_TEL_LEAD[];
/* $1 kind, $2 part → seq, stream; makes the row. */
extern const char SQL_TEL_POSITION_READ[];
/* Another stream: $1 kind, $2 part, $3 its birth. */
extern const char SQL_TEL_POSITION_RESET[];
/* $1 kind, $2 part, $3 seq, $4 seq as it was, $5 stream. No row: somebody else leads now. */
extern const char SQL_TEL_POSITION_MOVE[];

/* $1 tenant, $2 part, $3 keys → key, side, start_us, duration_us, error, service, peer */
extern const char SQL_CALL_PENDING_READ[];
/* $1 tenant, $2 part, $3 keys that found their other half */
extern const char SQL_CALL_PENDING_DROP[];
/* $1 tenant, $2 part, $3 arrived, $4 keys, $5 sides, $6 starts, $7 durations, $8 errors, $9 services, $10 peers */
extern const char SQL_CALL_PENDING_ADD[];
/* What waited since before $3, at most $4: → side, start_us, duration_us, error, service, peer. $1 tenant, $2 part */
extern const char SQL_CALL_PENDING_EXPIRE[];
/* Tenants that have something older than $2: $1 part → tenant_id */
extern const char SQL_CALL_PENDING_TENANTS[];
/* Until the end of the transaction nobody else merges calls of this tenant: $1 */
extern const char SQL_CALL_LOCK[];
/* $1 tenant, $2 buckets, $3 sources, $4 destinations, $5 least bucket, $6 largest → at, src, dst, count, errors, sketch */
extern const char SQL_CALL_READ[];
/* $1 tenant, $2 buckets, $3 src, $4 dst, $5 count, $6 errors, $7 p50, $8 p95, $9 sketch, $10 seconds of a bucket, $11 seconds
 * after its beginning when it is closed, $12 sample_ref or NULL */
extern const char SQL_CALL_WRITE[];

/* Adds to the counts. $1 tenant, $2 buckets, $3 resources, $4 fingerprint ids, $5 total, $6 errors, $7 sample_ref or NULL, $8 first
 * seen, $9 last seen, $10 seconds after its beginning when a bucket is closed */
extern const char SQL_PATTERN_5M_ADD[];

/* $1 tenant, $2 JSON list of {"source","reason","record"} */
extern const char SQL_DEAD_TELEMETRY[];
