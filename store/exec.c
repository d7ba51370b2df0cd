#include "store/exec.h"

const char SQL_EXEC_LOAD[] =
	"SELECT o.id, c.plan_id, p.plan_text, p.hash, c.decision_id, c.cancel_cause, c.status, t.labels->>'env'"
	" FROM outbox o JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id AND c.epoch = o.epoch"
	" JOIN dim_tenant t ON t.tenant_id = o.tenant_id"
	" JOIN plan_proposed p ON p.tenant_id = c.tenant_id AND p.id = c.plan_id"
	" WHERE o.id = ANY($1::bigint[])";

const char SQL_EXEC_RUN_OPEN[] =
	"WITH new AS (INSERT INTO exec_run (id, tenant_id, case_id, plan_id, decision_id, cmd_id, epoch, status, steps_total)"
	" VALUES ($1::uuid, $2::bigint, $3::uuid, $4::uuid, $5::uuid, $6::bigint, $7::int, 'running', $8::int)"
	" ON CONFLICT (tenant_id, case_id, epoch) DO NOTHING RETURNING id, status)"
	" SELECT id, status, true FROM new UNION ALL"
	" SELECT id, status, false FROM exec_run WHERE tenant_id = $2::bigint AND case_id = $3::uuid AND epoch = $7::int";

const char SQL_EXEC_STEPS[] =
	"SELECT DISTINCT ON (seq) seq, attempt, status, before::text, result::text, id FROM exec_step"
	" WHERE tenant_id = $1::bigint AND run_id = $2::uuid ORDER BY seq, attempt DESC";

const char SQL_EXEC_INTENT[] =
	"INSERT INTO exec_step (tenant_id, run_id, case_id, seq, attempt, action, target, params, idempotency_key, status, epoch,"
	" lease_token, before)"
	" SELECT $1::bigint, $2::uuid, $3::uuid, $4::int, $5::int, $6, $7, $8::jsonb, $9, 'intent', $10::int, $11::uuid, $12::jsonb"
	" FROM outbox o JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id"
	" WHERE o.id = $13::bigint AND o.tenant_id = $1::bigint AND o.lease_token = $11::uuid AND o.done_at IS NULL"
	" AND o.lease_until > now() AND c.epoch = o.epoch AND c.cancel_cause IS NULL"
	" RETURNING id";

const char SQL_EXEC_RESULT[] =
	"UPDATE exec_step SET status = $3, result = $4::jsonb, log_ref = $5::bigint, finished_at = now()"
	" WHERE id = $1::bigint AND tenant_id = $2::bigint AND status = 'intent' RETURNING id";

const char SQL_EXEC_STEP_FACT[] =
	"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, payload, epoch, trace_id, max_attempts)"
	" VALUES ($1::bigint, $2::uuid, 'x', 'evt.exec.step_result.v1', $3, $4::jsonb, $5::int, $6, 1)";

const char SQL_EXEC_RUN_END[] =
	"UPDATE exec_run SET status = $3, applied = $4::int, dispatched = $5::int, reason = $6, finished_at = now()"
	" WHERE id = $1::uuid AND tenant_id = $2::bigint AND status = 'running'";

const char SQL_EXEC_RUN_COUNT[] = "UPDATE exec_run SET applied = $3::int, dispatched = $4::int"
				  " WHERE id = $1::uuid AND tenant_id = $2::bigint AND status = 'running'";

const char SQL_TARGET_LOCK[] =
	"INSERT INTO target_lock (tenant_id, target, run_id, until)"
	" VALUES ($1::bigint, $2, $3::uuid, now() + make_interval(secs => $4::float8 / 1000))"
	" ON CONFLICT (tenant_id, target) DO UPDATE SET run_id = excluded.run_id, until = excluded.until"
	" WHERE target_lock.until < now() OR target_lock.run_id = excluded.run_id RETURNING run_id";

const char SQL_TARGET_EXTEND[] =
	"UPDATE target_lock SET until = now() + make_interval(secs => $3::float8 / 1000)"
	" WHERE tenant_id = $1::bigint AND run_id = $2::uuid";

const char SQL_TARGET_UNLOCK[] = "DELETE FROM target_lock WHERE tenant_id = $1::bigint AND run_id = $2::uuid";
