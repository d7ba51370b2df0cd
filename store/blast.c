#include "store/blast.h"

const char SQL_BLAST_TIMEOUT[] = "SET LOCAL statement_timeout = '1s'";

/* UNION, not UNION ALL: a node at a depth is walked once, so that a cycle ends after six hops. */
#define WALK(name, from, to)                                                                                  \
	name "(ord, id, depth) AS (SELECT ord, resource_id, 0 FROM start WHERE resource_id IS NOT NULL UNION" \
	     " SELECT w.ord, e." to ", w.depth + 1 FROM " name " w JOIN LATERAL ("                            \
	     "  SELECT " to " FROM topo_edge_time t WHERE t.tenant_id = $1::bigint AND t." from " = w.id"     \
	     "   AND t.valid @> now()"                                                                        \
	     "  UNION SELECT " to " FROM service_call_5m s WHERE s.tenant_id = $1::bigint AND s." from        \
	     " = w.id"                                                                                        \
	     "   AND s.bucket > now() - interval '1 hour') e ON true WHERE w.depth < 6)"

const char SQL_BLAST_RADIUS[] =
	"WITH RECURSIVE start AS (SELECT u.ord, r.resource_id FROM unnest($2::text[]) WITH ORDINALITY AS u(urn, ord)"
	"  LEFT JOIN dim_resource r ON r.tenant_id = $1::bigint AND r.urn = u.urn),"
	" known AS (SELECT EXISTS (SELECT FROM topo_edge_time WHERE tenant_id = $1::bigint AND valid @> now())"
	"  OR EXISTS (SELECT FROM service_call_5m WHERE tenant_id = $1::bigint AND bucket > now() - interval '1 hour') AS k),"
	" " WALK("down", "dst_resource_id", "src_resource_id") ", " WALK(
		"up", "src_resource_id",
		"dst_resource_id") " SELECT CASE WHEN known.k AND start.resource_id IS NOT NULL THEN (SELECT count(DISTINCT id) FROM down"
				   "   WHERE down.ord = start.ord AND down.id <> start.resource_id) END,"
				   "  CASE WHEN known.k AND start.resource_id IS NOT NULL THEN (SELECT count(DISTINCT id) FROM up"
				   "   WHERE up.ord = start.ord AND up.id <> start.resource_id) END"
				   " FROM start CROSS JOIN known ORDER BY start.ord";
