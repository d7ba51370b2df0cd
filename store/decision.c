#include "store/decision.h"

#define MICROS(x) "(extract(epoch FROM " x ") * 1000000)::bigint"

/* The history looks at the last 50 uses only: a plan that was used ten thousand times must not cost more. */
const char SQL_GATE_LOAD[] =
	"SELECT o.id, c.status, c.epoch, c.drive, c.severity, c.opened_by, c.title, b.labels::text AS case_labels,"
	" (SELECT k.role FROM api_token k WHERE coalesce(k.tenant_id, 0) IN (c.tenant_id, 0) AND k.name = c.opened_by"
	"   AND k.revoked_at IS NULL ORDER BY k.tenant_id NULLS LAST LIMIT 1) AS opener_role,"
	" t.labels::text AS tenant_labels, t.labels @> '{\"kill_switch\": true}' OR t.disabled_at IS NOT NULL"
	" OR EXISTS (SELECT FROM installation WHERE effects = 'off') AS killed,"
	" p.id AS plan_id, p.plan_text, p.hash AS plan_hash, p.kind, p.source, p.template, p.complete, p.created_by,"
	" p.revision, p.exec_budget_s, p.verify_budget_s,"
	" (SELECT jsonb_build_object('calls', count(*), 'tokens', coalesce(sum(coalesce(l.tokens_in, 0) + coalesce(l.tokens_out, 0)), 0),"
	"   'money', coalesce(sum(l.cost), 0)::float8)::text FROM llm_call l WHERE l.tenant_id = c.tenant_id AND l.case_id = c.id) AS models,"
	" (SELECT tl.meta -> 'llm' ->> 'why' FROM case_timeline tl WHERE p.source = 'llm' AND tl.tenant_id = c.tenant_id"
	"   AND tl.case_id = c.id AND tl.meta ->> 'plan_id' = p.id::text ORDER BY tl.seq DESC LIMIT 1) AS model_says,"
	" (SELECT array_agg(DISTINCT r.env) FROM dim_resource r WHERE r.tenant_id = c.tenant_id AND r.env IS NOT NULL"
	"   AND r.urn IN (SELECT s -> 'target' ->> 'urn' FROM jsonb_array_elements(CASE WHEN jsonb_typeof(p.plan -> 'steps')"
	"   = 'array' THEN p.plan -> 'steps' ELSE '[]' END) AS s)) AS envs,"
	/* of the model that spoke last before the plan was there: it wrote it */
	" (SELECT (SELECT q.certified FROM llm_certificate q WHERE q.tenant_id = l.tenant_id AND q.provider = l.provider"
	"   AND q.model = l.model AND q.duty = 'plan') FROM llm_call l WHERE l.tenant_id = c.tenant_id AND l.case_id = c.id"
	"   AND l.purpose = 'plan' AND l.outcome = 'ok' AND l.created_at <= p.created_at AND p.source = 'llm'"
	"   ORDER BY l.created_at DESC LIMIT 1) AS model_certified,"
	" h.succeeded AS times_succeeded, h.failed AS times_failed, h.last_failed_s,"
	" d.id AS d_id, d.status AS d_status, d.answer AS d_answer, d.epoch AS d_epoch, d.plan_id AS d_plan_id,"
	" d.plan_hash AS d_plan_hash, d.args_hash AS d_args_hash, d.world_hash AS d_world_hash, d.world::text AS d_world,"
	" d.policy_hash AS d_policy_hash, d.facts::text AS d_facts, d.card::text AS d_card, d.quorum AS d_quorum,"
	" d.who::text AS d_who, " MICROS(
		"d.expires_at") " AS d_expires_us,"
				" (SELECT jsonb_agg(jsonb_build_object('principal', a.principal, 'role', a.role, 'answer', a.answer, 'reason', a.reason)"
				"   ORDER BY a.id)::text FROM approval a WHERE a.tenant_id = d.tenant_id AND a.decision_id = d.id) AS approvals"
				" FROM outbox o JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id"
				" JOIN dim_tenant t ON t.tenant_id = c.tenant_id"
				" LEFT JOIN case_body b ON b.tenant_id = c.tenant_id AND b.case_id = c.id"
				" LEFT JOIN plan_proposed p ON p.tenant_id = c.tenant_id AND p.case_id = c.id AND p.id = c.plan_id"
				" LEFT JOIN LATERAL (SELECT * FROM gate_decision x WHERE x.tenant_id = c.tenant_id AND x.case_id = c.id"
				"   AND CASE WHEN o.payload -> 'args' ->> 'decision_id' IS NULL"
				"            THEN x.plan_id = c.plan_id AND x.epoch = c.epoch AND x.status = 'pending'"
				"            ELSE x.id::text = o.payload -> 'args' ->> 'decision_id' END"
				"   ORDER BY x.created_at DESC LIMIT 1) d ON true"
				" LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE hc.resolution = 'verified' AND hc.plan_id = hp.id) AS succeeded,"
				"   count(*) FILTER (WHERE hp.fingerprint = ANY(hc.failed_plans)) AS failed,"
				"   extract(epoch FROM now() - max(hc.updated_at) FILTER (WHERE hp.fingerprint = ANY(hc.failed_plans))) AS last_failed_s"
				"   FROM (SELECT id, case_id, fingerprint FROM plan_proposed y WHERE y.tenant_id = c.tenant_id"
				"         AND y.fingerprint = p.fingerprint AND y.id <> p.id ORDER BY y.created_at DESC LIMIT 50) hp"
				"   JOIN ops_case hc ON hc.tenant_id = c.tenant_id AND hc.id = hp.case_id) h ON true"
				" WHERE o.id = ANY($1::bigint[])";

const char SQL_DECISION_NEW[] =
	"WITH old AS (UPDATE gate_decision SET status = 'void', void_reason = 'a newer decision took its place',"
	"   decided_at = now() WHERE tenant_id = $2::bigint AND case_id = $3::uuid AND status = 'pending' RETURNING id)"
	" INSERT INTO gate_decision (id, tenant_id, case_id, plan_id, epoch, answer, status, plan_hash, args_hash, world_hash,"
	" world, policy_hash, rules, facts, card, quorum, who, reason, expires_at, decided_at)"
	" SELECT $1::uuid, $2::bigint, $3::uuid, $4::uuid, $5::int, $6, $7, $8, $9, $10, $11::jsonb, $12, $13::jsonb,"
	" $14::jsonb, $15::jsonb, $16::int, $17::jsonb, $18, now() + make_interval(secs => $19::float8),"
	" CASE WHEN $7 = 'pending' THEN NULL ELSE now() END FROM (SELECT count(*) FROM old) AS voided";

const char SQL_DECISION_APPROVE[] =
	"WITH d AS (UPDATE gate_decision SET status = 'approved', decided_at = now(),"
	"   expires_at = greatest(expires_at, now() + make_interval(secs => $4::float8))"
	"   WHERE tenant_id = $1::bigint AND id = $2::uuid AND status = 'pending' AND expires_at > now()"
	"   RETURNING id, tenant_id, case_id, plan_id),"
	" a AS (INSERT INTO plan_approved (id, tenant_id, case_id, plan_id, decision)"
	"   SELECT id, tenant_id, case_id, plan_id, $3::jsonb FROM d RETURNING id)"
	" SELECT opscase_expect((SELECT count(*) FROM a), 1, 'gate_decision')";

const char SQL_DECISION_APPROVED[] =
	"INSERT INTO plan_approved (id, tenant_id, case_id, plan_id, decision)"
	" SELECT id, tenant_id, case_id, plan_id, $3::jsonb FROM gate_decision"
	" WHERE tenant_id = $1::bigint AND id = $2::uuid AND status = 'approved'";

const char SQL_DECISION_REJECT[] =
	"WITH d AS (UPDATE gate_decision SET status = 'rejected', reason = $3, decided_at = now()"
	"   WHERE tenant_id = $1::bigint AND id = $2::uuid AND status = 'pending' RETURNING id)"
	" SELECT opscase_expect((SELECT count(*) FROM d), 1, 'gate_decision')";

const char SQL_DECISION_VOID[] =
	"UPDATE gate_decision SET status = 'void', void_reason = $3, decided_at = now()"
	" WHERE tenant_id = $1::bigint AND id = $2::uuid AND status IN ('pending', 'approved')";

const char SQL_DECISION_HOLD_CASE[] =
	"SELECT id FROM ops_case WHERE tenant_id = $1::bigint AND id = $2::uuid FOR UPDATE";

const char SQL_DECISION_COUNTED[] =
	"SELECT opscase_expect((SELECT count(*) FROM approval WHERE tenant_id = $1::bigint AND decision_id = $2::uuid),"
	" $3::bigint, 'approval')";

const char SQL_DECISION_NOTIFY[] =
	"INSERT INTO notification (id, tenant_id, case_id, sentence, body) VALUES ($1::uuid, $2::bigint, $3::uuid, $4, $5::jsonb)";

const char SQL_DECISION_TERMS[] =
	"SELECT d.id, d.status, d.void_reason, " MICROS("d.expires_at") " AS expires_us, " MICROS(
		"now()") " AS now_us,"
			 " (d.card -> 'terms')::text AS terms,"
			 " (SELECT array_agg(a.principal) FROM approval a WHERE a.tenant_id = d.tenant_id AND a.decision_id = d.id"
			 "   AND a.answer = 'approve') AS approved_by"
			 " FROM gate_decision d JOIN ops_case c ON c.tenant_id = d.tenant_id AND c.id = d.case_id"
			 " WHERE d.tenant_id = $1::bigint AND d.case_id = $2::uuid AND ($3::uuid IS NULL OR d.id = $3::uuid)"
			 " ORDER BY (d.status = 'pending') DESC, d.created_at DESC LIMIT 1";

const char SQL_DECISION_DISPATCH[] =
	"SELECT d.status, d.expires_at <= now(), d.used_by_run, d.answer, d.plan_hash, d.args_hash, d.world_hash, d.world::text,"
	" d.facts::text, d.quorum, d.who::text,"
	" c.status = 'EXECUTING' AND c.epoch = $5::int AND c.plan_id = d.plan_id AND c.decision_id = d.id AS case_ok,"
	" p.plan_text, p.kind, i.effects, i.effects_reason,"
	" t.labels @> '{\"kill_switch\": true}' OR t.disabled_at IS NOT NULL, " MICROS(
		"now()") ","
			 " (SELECT count(*) FROM approval a WHERE a.tenant_id = d.tenant_id AND a.decision_id = d.id AND a.answer = 'approve'),"
			 " coalesce((a0.decision ->> 'break_glass')::boolean, false)"
			 " FROM gate_decision d JOIN ops_case c ON c.tenant_id = d.tenant_id AND c.id = d.case_id"
			 " JOIN dim_tenant t ON t.tenant_id = d.tenant_id"
			 " JOIN plan_proposed p ON p.tenant_id = d.tenant_id AND p.id = d.plan_id"
			 " LEFT JOIN plan_approved a0 ON a0.tenant_id = d.tenant_id AND a0.id = d.id"
			 " CROSS JOIN installation i"
			 " WHERE d.tenant_id = $1::bigint AND d.case_id = $2::uuid AND d.plan_id = $3::uuid AND d.id = $4::uuid";

/* The row is locked by its own UPDATE: of two runs only one finds it approved. */
const char SQL_DECISION_USE[] =
	"WITH d AS (UPDATE gate_decision g SET status = 'used', used_by_run = $3::uuid, used_at = now()"
	"   FROM installation i, dim_tenant t WHERE g.tenant_id = $1::bigint AND g.id = $2::uuid AND g.case_id = $4::uuid"
	"   AND g.plan_id = $5::uuid AND g.plan_hash = $6 AND g.args_hash = $7 AND g.status = 'approved' AND g.expires_at > now()"
	"   AND i.effects = 'on' AND t.tenant_id = g.tenant_id AND NOT t.labels @> '{\"kill_switch\": true}'"
	"   RETURNING g.id, g.tenant_id, g.case_id),"
	" b AS (INSERT INTO remediation_budget (tenant_id, target, operation, case_id, run_id)"
	"   SELECT DISTINCT d.tenant_id, w.target, w.operation, d.case_id, $3::uuid FROM d,"
	"   unnest($8::text[], $9::text[]) AS w(target, operation)"
	"   ON CONFLICT (tenant_id, run_id, target, operation) DO NOTHING)"
	" SELECT id FROM d";

const char SQL_POLICY_VERSION[] =
	"INSERT INTO policy_version (hash, text) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";

const char SQL_DECISION_LOOK_AGAIN[] =
	"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, payload, epoch, case_version, trace_id)"
	" SELECT c.tenant_id, c.id, 'c', 'cmd.gate.eval', c.tenant, jsonb_build_object('drive', c.drive, 'args',"
	"   jsonb_build_object('decision_id', d.id, 'policy', $1::text)), c.epoch, c.version, c.trace_id"
	" FROM gate_decision d JOIN ops_case c ON c.tenant_id = d.tenant_id AND c.id = d.case_id"
	" WHERE d.status = 'pending' AND d.expires_at > now() AND d.policy_hash <> $1 AND c.status = 'WAIT_GATE'"
	" AND c.epoch = d.epoch AND NOT EXISTS (SELECT FROM outbox o WHERE o.tenant_id = c.tenant_id AND o.case_id = c.id"
	"   AND o.kind = 'c' AND o.topic = 'cmd.gate.eval' AND o.done_at IS NULL AND o.payload -> 'args' ->> 'policy' = $1)"
	" RETURNING id";
