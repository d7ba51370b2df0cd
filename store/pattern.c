#include "store/pattern.h"

#define US(p) "to_timestamp(" p " / 1000000.0)"

const char SQL_PATTERN_UPSERT[] =
	"INSERT INTO log_pattern AS p (tenant_id, pattern, sample_message, severity, first_seen, last_seen, fingerprint, general)"
	" SELECT $1::bigint, pattern, sample, severity, " US("first_us") ", " US(
		"last_us") ", fingerprint, general"
			   " FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::bigint[], $8::bigint[])"
			   " AS n (fingerprint, pattern, sample, severity, general, first_us, last_us)"
			   /* in one order for everybody: two replicas that bring the same templates do not wait for each other in a circle */
			   " ORDER BY fingerprint"
			   " ON CONFLICT (tenant_id, pattern_hash) DO UPDATE SET fingerprint = excluded.fingerprint,"
			   " general = p.general OR excluded.general, sample_message = coalesce(p.sample_message, excluded.sample_message),"
			   " severity = CASE WHEN coalesce(array_position(enum_range(NULL::severity)::text[], p.severity), 0) >="
			   "  array_position(enum_range(NULL::severity)::text[], excluded.severity) THEN p.severity ELSE excluded.severity END,"
			   " first_seen = least(p.first_seen, excluded.first_seen), last_seen = greatest(p.last_seen, excluded.last_seen)"
			   " RETURNING fingerprint, fingerprint_id";

const char SQL_PATTERN_MERGE[] =
	"WITH m AS (SELECT DISTINCT ON (f) f, t FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS x (f, t, n)"
	"  ORDER BY f, n DESC),"
	" pair AS (SELECT o.fingerprint_id AS old, n.fingerprint_id AS new, o.first_seen FROM m"
	"  JOIN log_pattern o ON o.tenant_id = $1::bigint AND o.fingerprint = m.f"
	"  JOIN log_pattern n ON n.tenant_id = $1::bigint AND n.fingerprint = m.t"
	"  WHERE o.fingerprint_id <> n.fingerprint_id),"
	" older AS (SELECT new, min(first_seen) AS first_seen FROM pair GROUP BY new),"
	/* one row may be both, old of one step and new of another: one UPDATE for all, as a row is changed once in a statement */
	" change AS (SELECT coalesce(pair.old, older.new) AS id, pair.new AS merged, older.first_seen"
	"  FROM pair FULL JOIN older ON older.new = pair.old)"
	" UPDATE log_pattern p SET merged_into = coalesce(change.merged, p.merged_into),"
	" first_seen = least(p.first_seen, change.first_seen)"
	" FROM change WHERE p.tenant_id = $1::bigint AND p.fingerprint_id = change.id";

const char SQL_PATTERN_LOAD[] =
	"SELECT pattern, general FROM log_pattern WHERE tenant_id = $1::bigint AND merged_into IS NULL"
	" AND fingerprint IS NOT NULL ORDER BY last_seen DESC LIMIT $2::int";

const char SQL_PATTERN_LIKE[] =
	"SELECT fingerprint_id, pattern, severity, similarity(pattern, $2) FROM log_pattern"
	" WHERE tenant_id = $1::bigint AND pattern % $2 AND merged_into IS NULL"
	" ORDER BY similarity(pattern, $2) DESC, fingerprint_id LIMIT $3::int";

const char SQL_PATTERN_NOW[] =
	"WITH RECURSIVE step AS (SELECT fingerprint_id AS id, fingerprint_id AS now, 0 AS depth FROM log_pattern"
	"  WHERE tenant_id = $1::bigint AND fingerprint_id = ANY ($2::bigint[])"
	" UNION ALL SELECT s.id, p.merged_into, s.depth + 1 FROM step s JOIN log_pattern p ON p.tenant_id = $1::bigint"
	"  AND p.fingerprint_id = s.now WHERE p.merged_into IS NOT NULL AND s.depth < 64)"
	" SELECT DISTINCT ON (id) id, now FROM step ORDER BY id, depth DESC";

const char SQL_PATTERN_5M_UPSERT[] =
	"INSERT INTO log_pattern_5m AS w (bucket, tenant_id, resource_id, fingerprint_id, count_total, count_error, sample_ref,"
	" first_seen, last_seen)"
	" SELECT " US("bucket") ", $1::bigint, resource_id, fingerprint_id, total, errors, sample_ref, " US("first_us") ", " US(
		"last_us") " FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],"
			   " $8::bigint[], $9::bigint[])"
			   " AS n (bucket, resource_id, fingerprint_id, total, errors, sample_ref, first_us, last_us)"
			   " ON CONFLICT (bucket, tenant_id, resource_id, fingerprint_id) DO UPDATE SET count_total = excluded.count_total,"
			   " count_error = excluded.count_error, sample_ref = coalesce(excluded.sample_ref, w.sample_ref),"
			   " first_seen = excluded.first_seen, last_seen = excluded.last_seen, revision = w.revision + 1"
			   " WHERE (w.count_total, w.count_error, w.first_seen, w.last_seen) IS DISTINCT FROM"
			   " (excluded.count_total, excluded.count_error, excluded.first_seen, excluded.last_seen)";
