#include "store/verdict.h"

const char SQL_VERIFY_LOAD[] =
	"SELECT o.id, p.id, p.plan_text, p.hash, r.id, r.decision_id, "
	"(extract(epoch FROM coalesce((SELECT min(s.started_at) FROM exec_step s WHERE s.tenant_id = r.tenant_id AND s.run_id = r.id), "
	"r.created_at)) * 1000000)::bigint, (extract(epoch FROM r.finished_at) * 1000000)::bigint, "
	"(SELECT jsonb_object_agg(s.seq, s.idempotency_key)::text FROM exec_step s WHERE s.tenant_id = r.tenant_id AND s.run_id = r.id) "
	"FROM outbox o JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id "
	"LEFT JOIN plan_proposed p ON p.tenant_id = c.tenant_id AND p.case_id = c.id AND p.id = c.plan_id "
	"LEFT JOIN exec_run r ON r.tenant_id = c.tenant_id AND r.case_id = c.id AND r.id = c.run_id AND r.plan_id = c.plan_id "
	"WHERE o.id = ANY ($1::bigint[])";

const char SQL_VERDICT_INSERT[] =
	"INSERT INTO verdict (id, tenant_id, case_id, plan_id, run_id, epoch, verdict, checks, reason) "
	"VALUES ($1::uuid, $2::bigint, $3::uuid, $4::uuid, $5::uuid, $6::int, $7, $8::jsonb, $9)";
