#include "store/slo.h"

#define AT(n) "to_timestamp(" n "::bigint / 1000000.0)"

/* A bucket counts by where it begins; the five minutes of calls that are not over yet count nowhere. */
const char SQL_SLO_COUNTS[] =
	"SELECT r.tenant_id, w.n - 1, coalesce(sum(x.bad), 0), coalesce(sum(x.total), 0) FROM dim_resource r"
	" CROSS JOIN unnest($3::int[]) WITH ORDINALITY AS w(s, n) LEFT JOIN LATERAL (SELECT sum(c.errors) AS bad, sum(c.count) AS total"
	" FROM service_call_5m c WHERE $2 = '' AND c.tenant_id = r.tenant_id AND c.dst_resource_id = r.resource_id"
	" AND c.bucket > " AT("$4") " - make_interval(secs => w.s) - interval '10 minutes' AND c.bucket <= " AT(
		"$4") " - interval '5 minutes'"
		      " UNION ALL SELECT sum(m.sum), sum(m.sum) FROM metric_1m m WHERE $2 <> '' AND m.tenant_id = r.tenant_id AND m.resource_id ="
		      " r.resource_id AND m.metric = $2 AND m.bucket > " AT(
			      "$4") " - make_interval(secs => w.s) - interval '1 minute'"
				    " AND m.bucket <= " AT(
					    "$4") " - interval '1 minute') x ON true"
						  " WHERE r.urn = $1 AND ($5::bigint = 0 OR r.tenant_id = $5::bigint) GROUP BY 1, 2 ORDER BY 1, 2";
