#include "store/detector.h"

#define AT(n) "to_timestamp(" n "::bigint / 1000000.0)"

const char SQL_BUCKETS_SINCE[] =
	"SELECT b.tenant_id, b.series_id, (extract(epoch FROM b.bucket) * 1000000)::bigint, b.value, r.urn, b.metric, b.tab, b.src"
	" FROM (SELECT tenant_id, series_id, bucket, avg_val AS value, resource_id, metric, 'metric_1m' AS tab, NULL AS src FROM metric_1m"
	" WHERE bucket > " AT("$1") " AND bucket <= " AT(
		"$2") " UNION ALL"
		      " SELECT c.tenant_id, hashtextextended(format('%s:%s:%s', c.src_resource_id, c.dst_resource_id, f.field), 7), c.bucket, f.value,"
		      " c.dst_resource_id, f.field, 'service_call_5m', s.urn FROM service_call_5m c JOIN dim_resource s ON s.tenant_id = c.tenant_id"
		      " AND s.resource_id = c.src_resource_id CROSS JOIN LATERAL (VALUES ('err_rate', c.err_rate), ('p95_ms', c.p95_ms)) AS f(field, value)"
		      " WHERE c.bucket > " AT("$1") " - interval '4 minutes' AND c.bucket <= " AT(
			      "$2") " - interval '4 minutes') b"
				    " JOIN dim_resource r ON r.tenant_id = b.tenant_id AND r.resource_id = b.resource_id WHERE b.value IS NOT NULL"
				    " ORDER BY b.bucket, b.tenant_id, b.series_id";

const char SQL_DETECTORS_LOAD[] =
	"SELECT tenant_id, series_id, (extract(epoch FROM upto) * 1000000)::bigint, encode(state, 'hex') FROM detector_state"
	" WHERE upto >= " AT("$1");

const char SQL_DETECTORS_SAVE[] =
	"INSERT INTO detector_state (tenant_id, series_id, upto, state) SELECT t, s, to_timestamp(u / 1000000.0), decode(d, 'hex')"
	" FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) AS x(t, s, u, d)"
	" ON CONFLICT (tenant_id, series_id) DO UPDATE SET upto = excluded.upto, state = excluded.state"
	" WHERE detector_state.upto <= excluded.upto";

#define LATER_HALF "x.bucket > " AT("(g.last + ($4::bigint - g.last) / 2)")
const char SQL_SILENT[] =
	"SELECT m.tenant_id, m.series_id, r.urn, m.metric, g.last,"
	" EXISTS (SELECT FROM metric_1m x WHERE x.tenant_id = m.tenant_id AND x.resource_id = m.resource_id AND " LATER_HALF
	"),"
	" EXISTS (SELECT FROM metric_1m x WHERE x.tenant_id = m.tenant_id AND " LATER_HALF ")"
	" FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS g (tenant_id, series_id, last) JOIN metric_1m m ON m.bucket = " AT(
		"g.last") " AND m.tenant_id = g.tenant_id AND m.series_id = g.series_id JOIN dim_resource r"
			  " ON r.tenant_id = m.tenant_id AND r.resource_id = m.resource_id ORDER BY 1, 6, 3, 2";

const char SQL_LOG_SURPRISES[] = "WITH now AS (SELECT tenant_id, resource_id, fingerprint_id, count_total, count_error FROM log_pattern_5m WHERE bucket = " AT(
	"$1") "), day AS (SELECT tenant_id, resource_id, fingerprint_id, max(count_total) AS most, count(*) AS windows FROM log_pattern_5m"
	      " WHERE bucket >= " AT("$1") " - interval '1 day' AND bucket < " AT(
		      "$1") " GROUP BY 1, 2, 3),"
			    " heard AS (SELECT tenant_id, resource_id FROM now GROUP BY 1, 2),"
			    " known AS (SELECT tenant_id, resource_id, count(DISTINCT bucket) AS windows FROM log_pattern_5m WHERE bucket >= " AT("$1") " - interval '1 day' AND bucket < " AT(
				    "$1") " GROUP BY 1, 2),"
					  " said AS (SELECT n.tenant_id, n.resource_id, n.fingerprint_id, CASE WHEN d.most IS NULL THEN 'new' ELSE 'surging' END AS what,"
					  " n.count_total, n.count_error, coalesce(d.most, 0) AS most FROM now n JOIN known k USING (tenant_id, resource_id)"
					  " LEFT JOIN day d USING (tenant_id, resource_id, fingerprint_id) WHERE k.windows >= 12 AND"
					  " ((d.most IS NULL AND n.count_error > 0) OR (n.count_total >= 20 AND n.count_total >= 5 * d.most))"
					  " UNION ALL SELECT d.tenant_id, d.resource_id, d.fingerprint_id, 'vanished', 0, 0, d.most FROM day d JOIN heard h"
					  " USING (tenant_id, resource_id) WHERE d.windows >= 260 AND NOT EXISTS (SELECT FROM log_pattern_5m l WHERE l.tenant_id = d.tenant_id"
					  " AND l.resource_id = d.resource_id AND l.fingerprint_id = d.fingerprint_id AND l.bucket > " AT(
						  "$1") " - interval '15 minutes'"
							" AND l.bucket <= " AT(
								"$1") "))"
								      " SELECT s.tenant_id, r.urn, s.fingerprint_id, p.pattern, s.what, s.count_total, s.count_error, s.most FROM said s"
								      " JOIN dim_resource r USING (tenant_id, resource_id) JOIN log_pattern p USING (tenant_id, fingerprint_id)"
								      " ORDER BY 1, s.count_error DESC, s.count_total DESC, 3 LIMIT 500";
