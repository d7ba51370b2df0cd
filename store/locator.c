#include "store/locator.h"

#define US(p)      "to_timestamp(" p "::bigint / 1000000.0)"
#define OF_US(col) "(extract(epoch FROM " col ") * 1000000)::bigint"
#define LOCATOR                                                                   \
	"l.id, l.dataset, l.bucket, l.object_key, " OF_US("l.t_from") ", " OF_US( \
		"l.t_to") ", l.query_hint, l.attributes::text, "                  \
			  "l.bytes, l.pinned, " OF_US("l.created_at")
/* What evidence cites stays as long as the evidence, which stays as long as its case. */
#define UNHELD \
	"NOT l.pinned AND NOT EXISTS (SELECT FROM evidence_link e WHERE e.tenant_id = l.tenant_id AND e.ref_oo = l.id)"

const char SQL_LOCATOR_ADD[] =
	"INSERT INTO oo_locator (tenant_id, dataset, bucket, object_key, t_from, t_to, query_hint, attributes, bytes)"
	" VALUES ($1::bigint, $2, $3, $4, " US("$5") ", " US(
		"$6") ", $7, $8::jsonb, $9::bigint) RETURNING id";

const char SQL_FILTER_ADD[] = "INSERT INTO detail_filter (tenant_id, locator_id, blocks, filter)"
			      " VALUES ($1::bigint, $2::bigint, $3::int, $4::bytea)";

const char SQL_LOCATOR_READ[] =
	"SELECT " LOCATOR
	", (SELECT count(*) FROM evidence_link e WHERE e.tenant_id = l.tenant_id AND e.ref_oo = l.id)"
	" FROM oo_locator l WHERE l.tenant_id = $1::bigint AND l.id = $2::bigint";

const char SQL_LOCATOR_LIST[] =
	"SELECT " LOCATOR
	" FROM oo_locator l WHERE l.tenant_id = $1::bigint AND ($2::text IS NULL OR l.dataset = $2)"
	" AND l.t_to >= " US("$3") " AND l.t_from <= " US(
		"$4") " AND ($5::bigint IS NULL OR l.id < $5::bigint)"
		      " ORDER BY l.id DESC LIMIT $6::int";

const char SQL_DETAIL_TRACE[] =
	"SELECT l.id, l.bucket, l.object_key, l.dataset, l.bytes FROM oo_locator l"
	" JOIN detail_filter f ON f.tenant_id = l.tenant_id AND f.locator_id = l.id"
	" CROSS JOIN LATERAL (SELECT substring(f.filter FROM (($5::bigint % f.blocks) * 64 + 1)::int FOR 64) AS b) x"
	" WHERE l.tenant_id = $1::bigint AND ($2::text IS NULL OR l.dataset = $2)"
	" AND l.t_to >= " US("$3") " AND l.t_from <= " US(
		"$4") " AND get_bit(x.b, $6::bigint) + get_bit(x.b, $7::bigint) + get_bit(x.b, $8::bigint) + get_bit(x.b, $9::bigint)"
		      " + get_bit(x.b, $10::bigint) + get_bit(x.b, $11::bigint) = 6"
		      " ORDER BY l.t_to DESC, l.id DESC LIMIT $12::int";

const char SQL_LOCATOR_UNKNOWN[] =
	"SELECT k FROM unnest($1::text[]) AS k"
	" WHERE NOT EXISTS (SELECT FROM oo_locator l WHERE l.object_key = k AND l.bucket = $2)";

const char SQL_LOCATOR_PIN[] = "UPDATE oo_locator SET pinned = $3::boolean"
			       " WHERE tenant_id = $1::bigint AND id = $2::bigint RETURNING id";

const char SQL_LOCATOR_OLDEST[] =
	"SELECT l.tenant_id, l.id, l.object_key, coalesce(l.bytes, 0) FROM oo_locator l WHERE l.bucket = $1 AND " UNHELD
	" ORDER BY l.id LIMIT $2::int";

const char SQL_LOCATOR_DROP[] =
	"DELETE FROM oo_locator l USING unnest($1::bigint[], $2::bigint[]) AS d (tenant_id, id)"
	" WHERE l.tenant_id = d.tenant_id AND l.id = d.id AND " UNHELD " RETURNING l.object_key";

const char SQL_LOCATOR_OF_BUCKET[] = "SELECT tenant_id, id, object_key FROM oo_locator WHERE bucket = $1"
				     " ORDER BY id DESC LIMIT $2::int";

const char SQL_LOCATOR_MOVE[] = "UPDATE oo_locator SET bucket = $3"
				" WHERE tenant_id = $1::bigint AND id = $2::bigint RETURNING id";
