#include "store/errand.h"

const char SQL_NOTIFY_LOAD[] =
	"SELECT o.id, c.title, c.status, c.park_reason, c.sentence FROM outbox o"
	" JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id WHERE o.id = ANY($1::bigint[])";

const char SQL_NOTIFY_INSERT[] =
	"INSERT INTO notification (id, tenant_id, case_id, sentence, body) VALUES ($1::uuid, $2::bigint, $3::uuid, $4, $5::jsonb)";

const char SQL_LEARN_LOAD[] =
	"SELECT o.id, c.title, b.summary, p.plan_text, v.checks::text,"
	" (SELECT string_agg(t.event || ' by ' || t.actor, '; ' ORDER BY t.seq) FROM case_timeline t"
	"   WHERE t.tenant_id = c.tenant_id AND t.case_id = c.id),"
	" f.summary, f.body::text, b.labels ->> 'service'"
	" FROM outbox o JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id"
	" LEFT JOIN case_body b ON b.tenant_id = c.tenant_id AND b.case_id = c.id"
	" LEFT JOIN plan_proposed p ON p.tenant_id = c.tenant_id AND p.id = c.plan_id"
	" LEFT JOIN LATERAL (SELECT checks FROM verdict v WHERE v.tenant_id = c.tenant_id AND v.case_id = c.id"
	"   ORDER BY created_at DESC LIMIT 1) v ON true"
	" LEFT JOIN LATERAL (SELECT summary, body FROM finding f WHERE f.tenant_id = c.tenant_id AND f.case_id = c.id"
	"   ORDER BY created_at DESC LIMIT 1) f ON true"
	" WHERE o.id = ANY($1::bigint[])";

/* A draft is not knowledge: nothing finds it before a person has accepted it. */
const char SQL_LEARN_DRAFT[] =
	"INSERT INTO kb_doc (tenant_id, source, title, url, kind, state, trust, service, case_id, body)"
	" VALUES ($1::bigint, 'case', $3, 'case:' || $2, 'case', 'draft', 0.5, $5, $2::uuid, $4)"
	" ON CONFLICT (tenant_id, url) WHERE url IS NOT NULL DO NOTHING";
