#include "store/telemetry.h"

#define US(p) "to_timestamp((" p ")::bigint / 1000000.0)"

const char SQL_TEL_LEAD[] = "SELECT pg_try_advisory_lock(hashtext('opscase.tel.' || $1), $2::int)";

const char SQL_TEL_POSITION_READ[] =
	"WITH n AS (INSERT INTO tel_position (kind, part) VALUES ($1, $2::int) ON CONFLICT DO NOTHING RETURNING seq, stream) "
	"SELECT seq, stream FROM n UNION ALL SELECT seq, stream FROM tel_position WHERE kind = $1 AND part = $2::int";
const char SQL_TEL_POSITION_RESET[] =
	"UPDATE tel_position SET seq = 0, stream = $3, updated_at = now() WHERE kind = $1 AND part = $2::int";
const char SQL_TEL_POSITION_MOVE[] =
	"UPDATE tel_position SET seq = $3::bigint, updated_at = now() "
	"WHERE kind = $1 AND part = $2::int AND seq = $4::bigint AND stream = $5";

const char SQL_CALL_PENDING_READ[] =
	"SELECT key, side, start_us, duration_us, error, service, peer FROM call_pending "
	"WHERE tenant_id = $1::bigint AND part = $2::int AND key = ANY ($3::text[])";
const char SQL_CALL_PENDING_DROP[] =
	"DELETE FROM call_pending WHERE tenant_id = $1::bigint AND part = $2::int AND key = ANY ($3::text[])";
const char SQL_CALL_PENDING_ADD[] =
	"INSERT INTO call_pending (tenant_id, part, key, side, start_us, duration_us, error, service, peer, arrived_us) "
	"SELECT $1::bigint, $2::int, w.key, w.side, w.start_us, w.duration_us, w.error, w.service, w.peer, $3::bigint "
	"FROM unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::boolean[], $9::text[], $10::text[]) "
	"AS w (key, side, start_us, duration_us, error, service, peer) ON CONFLICT DO NOTHING";
const char SQL_CALL_PENDING_EXPIRE[] =
	"DELETE FROM call_pending WHERE ctid = ANY (ARRAY(SELECT ctid FROM call_pending WHERE tenant_id = $1::bigint "
	"AND part = $2::int AND arrived_us < $3::bigint LIMIT $4::int)) "
	"RETURNING side, start_us, duration_us, error, service, peer";
const char SQL_CALL_PENDING_TENANTS[] =
	"SELECT DISTINCT tenant_id FROM call_pending WHERE part = $1::int AND arrived_us < $2::bigint LIMIT 100";
const char SQL_CALL_LOCK[] =
	"SELECT pg_advisory_xact_lock(hashtext('opscase.calls'), ($1::bigint % 2147483647)::int)";
const char SQL_CALL_READ[] =
	"SELECT (extract(epoch FROM c.bucket) * 1000000)::bigint, c.src_resource_id, c.dst_resource_id, c.count, c.errors, c.sketch "
	"FROM service_call_5m c JOIN unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS w (at_us, src, dst) "
	"ON c.bucket = " US("w.at_us") " AND c.src_resource_id = w.src AND c.dst_resource_id = w.dst "
				       "WHERE c.tenant_id = $1::bigint AND c.bucket >= " US(
					       "$5") " AND c.bucket <= " US("$6");
const char SQL_CALL_WRITE[] =
	"INSERT INTO service_call_5m AS c (bucket, tenant_id, src_resource_id, dst_resource_id, count, errors, rps, err_rate, p50_ms, "
	"p95_ms, sketch, sample_ref) SELECT " US(
		"w.at_us") ", $1::bigint, w.src, w.dst, w.n, w.e, w.n / $10::float8, w.e / w.n::float8, w.p50, w.p95, w.sketch, "
			   "$12::bigint FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::float8[], "
			   "$8::float8[], $9::bytea[]) AS w (at_us, src, dst, n, e, p50, p95, sketch) ORDER BY 1, 3, 4 "
			   "ON CONFLICT (bucket, tenant_id, src_resource_id, dst_resource_id) DO UPDATE SET count = EXCLUDED.count, "
			   "errors = EXCLUDED.errors, rps = EXCLUDED.rps, err_rate = EXCLUDED.err_rate, p50_ms = EXCLUDED.p50_ms, "
			   "p95_ms = EXCLUDED.p95_ms, sketch = EXCLUDED.sketch, sample_ref = coalesce(EXCLUDED.sample_ref, c.sample_ref), "
			   "revision = c.revision + (c.bucket + make_interval(secs => $11::float8) < now())::int";

const char SQL_PATTERN_5M_ADD[] =
	"INSERT INTO log_pattern_5m AS w (bucket, tenant_id, resource_id, fingerprint_id, count_total, count_error, sample_ref, "
	"first_seen, last_seen) SELECT " US(
		"bucket") ", $1::bigint, resource_id, fingerprint_id, sum(total), sum(errors), "
			  "max(sample_ref), " US("min(first_us)") ", " US(
				  "max(last_us)") " FROM unnest($2::bigint[], $3::bigint[], "
						  "$4::bigint[], $5::bigint[], $6::bigint[], "
						  "$7::bigint[], $8::bigint[], $9::bigint[]) "
						  "AS n (bucket, resource_id, fingerprint_id, total, errors, sample_ref, first_us, last_us) "
						  "GROUP BY bucket, resource_id, fingerprint_id ORDER BY bucket, resource_id, fingerprint_id "
						  "ON CONFLICT (bucket, tenant_id, resource_id, fingerprint_id) DO UPDATE SET "
						  "count_total = w.count_total + excluded.count_total, count_error = w.count_error + excluded.count_error, "
						  "sample_ref = coalesce(w.sample_ref, excluded.sample_ref), first_seen = least(w.first_seen, excluded.first_seen), "
						  "last_seen = greatest(w.last_seen, excluded.last_seen), "
						  "revision = w.revision + (w.bucket + make_interval(secs => $10::float8) < now())::int";

const char SQL_DEAD_TELEMETRY[] =
	"INSERT INTO dead_letter (tenant_id, kind, source, reason, body) "
	"SELECT $1::bigint, 'telemetry', r->>'source', r->>'reason', coalesce(r->>'record', '') "
	"FROM jsonb_array_elements($2::jsonb) AS r";
