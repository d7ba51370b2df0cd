/* pattern.h - statements about templates of log lines: log_pattern and their counts in log_pattern_5m.
 *
 * A template's identity is the miner's fingerprint (ingest/log_miner.h), a bigint here: the 64 bits as a signed number. fingerprint_id
 * is the table's own number, which log_pattern_5m refers to. As opscase_worker. Times are microseconds since 1970. */
#pragma once

/* Known templates get wider times and the worse severity; a row that somebody made without a fingerprint gets it.
 * $1 tenant, $2 bigint[] fingerprints, $3 text[] patterns, $4 text[] samples, $5 text[] severities, $6 boolean[] general, $7 bigint[]
 * first seen, $8 bigint[] last seen → fingerprint, fingerprint_id */
extern const char SQL_PATTERN_UPSERT[];
/* Templates that became more general: the old row points to the new one, which was there as early as the old one.
 * $1 tenant, $2 bigint[] from, $3 bigint[] to: fingerprints, in the order of log_miner_merges. */
extern const char SQL_PATTERN_MERGE[];
/* What a miner begins with: the newest that are nobody else's past. $1 tenant, $2 limit → pattern, general */
extern const char SQL_PATTERN_LOAD[];
/* Templates that are like a text, by trigrams. $1 tenant, $2 text, $3 limit → fingerprint_id, pattern, severity, similarity */
extern const char SQL_PATTERN_LIKE[];
/* What a template has become, however many steps that took. $1 tenant, $2 bigint[] fingerprint_ids → id, now */
extern const char SQL_PATTERN_NOW[];
/* One window's counts; the same window again changes nothing, other counts raise the revision.
 * $1 tenant, $2 bigint[] buckets, $3 bigint[] resource_ids, $4 bigint[] fingerprint_ids, $5 bigint[] total, $6 bigint[] errors, $7
 * bigint[] sample_ref or NULL, $8 bigint[] first seen, $9 bigint[] last seen */
extern const char SQL_PATTERN_5M_UPSERT[];
