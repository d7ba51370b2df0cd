#include "store/incident.h"

#define AT(n) "to_timestamp(" n "::bigint / 1000000.0)"

#define EDGES                                                                                                                       \
	"edge AS MATERIALIZED (SELECT DISTINCT src_resource_id AS src, dst_resource_id AS dst FROM service_call_5m WHERE tenant_id" \
	" = $1::bigint AND bucket >= " AT("$2") " AND bucket < " AT(                                                                \
		"$4") " UNION SELECT src_resource_id, dst_resource_id FROM"                                                         \
		      " topo_edge_time WHERE tenant_id = $1::bigint AND valid @> " AT(                                              \
			      "$3") " AND relation IN ('CALLS', 'DEPENDS_ON', 'RUNS_ON'))"

#define SCOPE                                                                                                                           \
	"WITH RECURSIVE " EDGES                                                                                                         \
	", down AS (SELECT resource_id AS id, 0 AS far FROM dim_resource WHERE tenant_id = $1::bigint AND urn"                          \
	" = $5 UNION SELECT e.dst, d.far + 1 FROM down d JOIN edge e ON e.src = d.id WHERE d.far < 5), scope AS MATERIALIZED ("         \
	" SELECT id FROM down UNION SELECT e.src FROM edge e JOIN dim_resource r ON r.resource_id = e.dst AND r.tenant_id = $1::bigint" \
	" WHERE r.urn = $5 UNION SELECT resource_id FROM dim_resource WHERE tenant_id = $1::bigint AND $5 = '')"

const char SQL_INCIDENT_SCOPE[] = SCOPE
	" SELECT r.resource_id, r.urn FROM scope s JOIN dim_resource r ON r.tenant_id = $1::bigint"
	" AND r.resource_id = s.id ORDER BY r.urn LIMIT 2000";

const char SQL_INCIDENT_EDGES[] = SCOPE
	" SELECT e.src, e.dst FROM edge e JOIN scope a ON a.id = e.src JOIN scope b ON b.id = e.dst"
	" ORDER BY 1, 2 LIMIT 20000";

const char SQL_INCIDENT_METRICS[] = SCOPE
	" SELECT m.series_id, m.resource_id, m.metric, extract(epoch FROM m.bucket)::bigint, m.avg_val FROM metric_1m m"
	" JOIN scope s ON s.id = m.resource_id WHERE m.tenant_id = $1::bigint AND m.bucket >= " AT("$2") " AND m.bucket < " AT(
		"$4") " AND m.avg_val IS NOT NULL ORDER BY m.series_id, m.bucket LIMIT " INCIDENT_ROWS_MAX;

const char SQL_INCIDENT_CALLS[] = SCOPE
	" SELECT c.src_resource_id, c.dst_resource_id, extract(epoch FROM c.bucket)::bigint, c.p95_ms, c.err_rate, c.count"
	" FROM service_call_5m c JOIN scope a ON a.id = c.src_resource_id JOIN scope b ON b.id = c.dst_resource_id"
	" WHERE c.tenant_id = $1::bigint AND c.bucket >= " AT("$2") " AND c.bucket < " AT(
		"$4") " ORDER BY c.dst_resource_id, c.src_resource_id, c.bucket LIMIT " INCIDENT_ROWS_MAX;

const char SQL_INCIDENT_LOGS[] = SCOPE
	" SELECT l.resource_id, l.fingerprint_id, coalesce(sum(l.count_total) FILTER (WHERE l.bucket < " AT(
		"$3") "), 0),"
		      " coalesce(sum(l.count_total) FILTER (WHERE l.bucket >= " AT(
			      "$3") "), 0), sum(l.count_error), min(p.pattern)"
				    " FROM log_pattern_5m l JOIN scope s ON s.id = l.resource_id LEFT JOIN log_pattern p ON p.tenant_id = l.tenant_id AND"
				    " p.fingerprint_id = l.fingerprint_id WHERE l.tenant_id = $1::bigint AND l.bucket >= " AT(
					    "$2") " AND l.bucket < " AT("$4") " GROUP BY 1, 2 ORDER BY 1, 2 LIMIT " INCIDENT_ROWS_MAX;

const char SQL_INCIDENT_CHANGES[] = SCOPE
	" SELECT e.event_id, e.resource_id, extract(epoch FROM e.detected_at)::bigint, e.title FROM event_envelope e"
	" JOIN scope s ON s.id = e.resource_id WHERE e.tenant_id = $1::bigint AND e.kind IN ('deploy', 'change', 'config')"
	" AND e.detected_at >= " AT("$2") " AND e.detected_at < " AT(
		"$4") " ORDER BY e.detected_at, e.event_id LIMIT 1000";

const char SQL_INCIDENT_ONSET[] =
	"SELECT (extract(epoch FROM min(s.first_at)) * 1000000)::bigint FROM signal s JOIN ops_case c ON c.tenant_id = s.tenant_id"
	" AND c.id = s.case_id WHERE s.tenant_id = $1::bigint AND coalesce(c.parent_id, c.id) = $2::uuid";
