/* locator.h - statements about where detail lies: oo_locator, and the trace filters of its segments.
 *
 * As opscase_worker, or as opscase_api inside of a tenant's transaction: each names the tenant. Times are
 * microseconds since 1970. */
#pragma once

/* An object that was written. $1 tenant, $2 dataset, $3 bucket, $4 key, $5 from, $6 to, $7 query_hint, $8 attributes,
 * $9 bytes → id. Inside of the transaction that needs it. */
extern const char SQL_LOCATOR_ADD[];
/* $1 tenant, $2 locator, $3 blocks, $4 filter as bytea text. */
extern const char SQL_FILTER_ADD[];
/* $1 tenant, $2 id → id, dataset, bucket, object_key, from, to, query_hint, attributes, bytes, pinned, created (µs), cited:
 * how often evidence cites it */
extern const char SQL_LOCATOR_READ[];
/* Newest first. $1 tenant, $2 dataset or NULL, $3 from, $4 to, $5 id to go on behind or NULL, $6 limit → as above. */
extern const char SQL_LOCATOR_LIST[];
/* Which segments may have a trace, newest first: see detail/filter.h. $1 tenant, $2 dataset or NULL, $3 from, $4 to, $5 hash,
 * $6 to $11 bits, $12 limit → id, bucket, object_key, dataset, bytes */
extern const char SQL_DETAIL_TRACE[];
/* The objects among $1 text[] of keys in bucket $2 that no row knows. */
extern const char SQL_LOCATOR_UNKNOWN[];
/* Keeps it until it is unpinned. $1 tenant, $2 id, $3 boolean → id */
extern const char SQL_LOCATOR_PIN[];
/* The oldest that nothing holds, for a quota: neither pinned nor cited. $1 bucket, $2 limit → tenant_id, id, object_key, bytes */
extern const char SQL_LOCATOR_OLDEST[];
/* $1 bigint[] tenants, $2 bigint[] ids; those that were cited or pinned meanwhile stay → object_key */
extern const char SQL_LOCATOR_DROP[];
/* What waits in a bucket. $1 bucket, $2 limit → tenant_id, id, object_key */
extern const char SQL_LOCATOR_OF_BUCKET[];
/* $1 tenant, $2 id, $3 the bucket that has it now → id */
extern const char SQL_LOCATOR_MOVE[];
