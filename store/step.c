#include "store/step.h"
#include "store/case_doc.h"

/* NO KEY: a role's answer holds its command and wants the case's key for its product; with the stronger lock the two
 * would wait for each other. */
const char SQL_STEP_LOCK[] =
	"SELECT count(*) FROM (SELECT c.id FROM ops_case c"
	" JOIN unnest($1::bigint[], $2::uuid[]) AS e(tenant_id, id) ON c.tenant_id = e.tenant_id AND c.id = e.id"
	" ORDER BY c.id FOR NO KEY UPDATE OF c) locked";

/* What a step is decided on, around the three that are new with every look. */
#define READ_CASE                                                                                                       \
	"c.tenant_id, c.tenant, c.id, c.status, c.version, c.epoch, c.drive, c.park_reason,"                            \
	" c.plan_id, c.plan_kind, c.decision_id, c.run_id, c.cmd_id,"                                                   \
	" (SELECT CASE WHEN o2.not_before = 'infinity' THEN 'held' ELSE 'out' END FROM outbox o2"                       \
	"   WHERE o2.id = c.cmd_id AND o2.tenant_id = c.tenant_id AND o2.done_at IS NULL),"                             \
	" c.cancel_cause, c.rollbacks, c.resumes, c.timeline_seq, encode(c.timeline_head, 'hex'),"                      \
	" EXISTS (SELECT 1 FROM exec_run x WHERE x.tenant_id = c.tenant_id AND x.case_id = c.id AND x.dispatched > 0)," \
	" EXISTS (SELECT 1 FROM exec_run x WHERE x.tenant_id = c.tenant_id AND x.case_id = c.id AND x.applied > 0),"    \
	" c.closed_at > now() - interval '7 days'"
#define READ_SPARES \
	"(extract(epoch FROM now()) * 1000000)::bigint, nextval('outbox_id_seq'), nextval('outbox_id_seq')"
#define READ_MADE                                                                                                                  \
	"cp.fingerprint, cp.exec_budget_s, cp.verify_budget_s,"                                                                    \
	" p.complete, p.epoch, p.kind,"                                                                                            \
	" (d.status = 'approved' AND d.plan_id = c.plan_id AND d.plan_hash = cp.hash AND d.expires_at > now()), d.epoch,"          \
	" r.status, r.applied > 0, r.dispatched > 0, r.epoch,"                                                                     \
	" v.verdict, v.epoch,"                                                                                                     \
	" (c.parent_id IS NOT NULL AND EXISTS (SELECT 1 FROM ops_case pc WHERE pc.tenant_id = c.tenant_id AND pc.id = c.parent_id" \
	"   AND pc.status <> 'CLOSED')), c.title"
#define READ_COLUMNS READ_CASE ", " READ_SPARES ", " READ_MADE
#define READ_HASH    "md5(ROW(" READ_CASE ", " READ_MADE ")::text)"

#define READ_PRODUCTS                                                                                           \
	" LEFT JOIN plan_proposed cp ON cp.tenant_id = c.tenant_id AND cp.case_id = c.id AND cp.id = c.plan_id" \
	" LEFT JOIN plan_proposed p ON p.tenant_id = c.tenant_id AND p.case_id = c.id AND p.id = e.product"     \
	" LEFT JOIN gate_decision d ON d.tenant_id = c.tenant_id AND d.case_id = c.id AND d.id = e.product"     \
	" LEFT JOIN exec_run r ON r.tenant_id = c.tenant_id AND r.case_id = c.id AND r.id = e.product"          \
	" LEFT JOIN verdict v ON v.tenant_id = c.tenant_id AND v.case_id = c.id AND v.id = e.product"

const char SQL_STEP_READ[] =
	"SELECT e.ord, " READ_COLUMNS ", NULL, NULL, NULL, NULL, NULL, NULL"
	" FROM unnest($1::int[], $2::bigint[], $3::uuid[], $4::uuid[]) AS e(ord, tenant_id, case_id, product)"
	" JOIN ops_case c ON c.tenant_id = e.tenant_id AND c.id = e.case_id" READ_PRODUCTS " ORDER BY e.ord";

#define READ_ONE                                                                                  \
	" FROM (SELECT $1::bigint AS tenant_id, $2::uuid AS case_id, NULL::uuid AS product) AS e" \
	" JOIN ops_case c ON c.tenant_id = e.tenant_id AND c.id = e.case_id" READ_PRODUCTS

const char SQL_STEP_SAME[] = "SELECT opscase_expect(count(*), 1, 'ops_case as it was read')" READ_ONE
			     " WHERE " READ_HASH " = $3::text";

/* Without waiting: a case that somebody else holds is simply not in the answer and is tried again. */
const char SQL_STEP_READ_EVENTS[] =
	"SELECT 0, " READ_COLUMNS ", e.id, e.topic, e.epoch, e.product, e.payload, e.trace_id"
	" FROM (SELECT o.id, o.tenant_id, o.case_id, o.topic, o.epoch, o.product_id AS product, o.payload, o.trace_id"
	"  FROM outbox o WHERE o.id = ANY($1::bigint[]) AND o.kind = 'e' AND o.done_at IS NULL) e"
	" JOIN ops_case c ON c.tenant_id = e.tenant_id AND c.id = e.case_id" READ_PRODUCTS
	" ORDER BY c.id, e.id FOR NO KEY UPDATE OF c SKIP LOCKED";

const char SQL_STEP_OPEN_EVENTS[] =
	"SELECT o.id, EXISTS (SELECT 1 FROM ops_case c WHERE c.tenant_id = o.tenant_id AND c.id = o.case_id)"
	" FROM outbox o WHERE o.id = ANY($1::bigint[]) AND o.kind = 'e' AND o.done_at IS NULL";

const char SQL_STEP_EVENT_ORPHANS[] =
	"WITH o AS (UPDATE outbox SET done_at = now() WHERE id = ANY($1::bigint[]) AND kind = 'e' AND done_at IS NULL"
	"  RETURNING id, tenant_id, topic, payload, case_id)"
	" INSERT INTO dead_letter (tenant_id, kind, source, reason, body, ref_id)"
	" SELECT tenant_id, 'event', topic, 'there is no such case', jsonb_build_object('case_id', case_id, 'payload', payload)::text, id"
	" FROM o";

const char SQL_STEP_CASE[] =
	"WITH e AS (SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::int[], $6::text[], $7::text[],"
	" $8::text[], $9::uuid[], $10::text[], $11::uuid[], $12::uuid[], $13::bigint[], $14::text[], $15::text[], $16::int[],"
	" $17::int[], $18::text[], $19::float8[], $20::int[], $21::text[]) AS e(tenant_id, id, version, status, grow, park_reason,"
	" sentence, resolution, plan_id, plan_kind, decision_id, run_id, cmd_id, cmd_topic, cancel, rollback, resume,"
	" failed, deadline, seq, head)),"
	" u AS (UPDATE ops_case c SET status = e.status, version = c.version + 1, epoch = c.epoch + e.grow,"
	" park_reason = e.park_reason, sentence = e.sentence, resolution = e.resolution,"
	" plan_id = e.plan_id, plan_kind = e.plan_kind, decision_id = e.decision_id, run_id = e.run_id,"
	" cmd_id = e.cmd_id, cmd_topic = e.cmd_topic, cancel_cause = e.cancel,"
	" rollbacks = c.rollbacks + e.rollback, resumes = c.resumes + e.resume,"
	" failed_plans = CASE WHEN e.failed IS NULL OR e.failed = ANY(c.failed_plans) THEN c.failed_plans"
	"  ELSE c.failed_plans || e.failed END,"
	" deadline_at = CASE WHEN e.deadline < 0 THEN c.deadline_at ELSE now() + make_interval(secs => e.deadline) END,"
	" timeline_seq = e.seq, timeline_head = decode(e.head, 'hex'),"
	" entered_at = CASE WHEN e.grow > 0 THEN now() ELSE c.entered_at END, updated_at = now(),"
	" closed_at = CASE WHEN e.status = 'CLOSED' THEN now() END"
	" FROM e WHERE c.tenant_id = e.tenant_id AND c.id = e.id AND c.version = e.version RETURNING 1)"
	" SELECT opscase_expect(count(*), $22::bigint, 'ops_case') FROM u";

const char SQL_STEP_TIMELINE[] =
	"INSERT INTO case_timeline (tenant_id, case_id, seq, event, actor, reason, correlation_id, meta, canonical, hash, refusal_key)"
	" SELECT t, c, s, ev, a, r, co, m, ca, decode(h, 'hex'), k FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::text[],"
	" $5::text[], $6::text[], $7::text[], $8::jsonb[], $9::text[], $10::text[], $11::text[])"
	" AS x(t, c, s, ev, a, r, co, m, ca, h, k)";

const char SQL_STEP_OUTBOX[] =
	"INSERT INTO outbox (id, tenant_id, case_id, kind, topic, key, payload, epoch, case_version, max_attempts, trace_id, not_before,"
	" published_at)"
	" SELECT i, t, c, k::\"char\", tp, ky, p, ep, v, ma, tr, CASE WHEN w = 'held' THEN timestamptz 'infinity' END,"
	" CASE WHEN w = 'hand' THEN now() END"
	" FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::int[], $9::int[],"
	" $10::int[], $11::text[], $12::text[]) AS x(i, t, c, k, tp, ky, p, ep, v, ma, tr, w)";

const char SQL_STEP_COMMANDS_OVER[] =
	"WITH l AS (SELECT id FROM outbox WHERE id = ANY($1::bigint[]) AND done_at IS NULL ORDER BY id FOR UPDATE)"
	" UPDATE outbox o SET done_at = now() FROM l WHERE o.id = l.id";

const char SQL_STEP_RELEASE[] =
	"UPDATE outbox SET not_before = NULL WHERE id = ANY($1::bigint[]) AND done_at IS NULL AND not_before = 'infinity'";

const char SQL_STEP_EVENTS_DONE[] =
	"WITH l AS (SELECT id FROM outbox WHERE id = ANY($1::bigint[]) AND kind = 'e' AND done_at IS NULL ORDER BY id FOR UPDATE),"
	" o AS (UPDATE outbox SET done_at = now(), not_before = NULL FROM l WHERE outbox.id = l.id RETURNING outbox.id, outbox.tenant_id),"
	" i AS (INSERT INTO inbox (consumer, msg_id, tenant_id) SELECT 'orchestrator', id, tenant_id FROM o"
	"  ON CONFLICT DO NOTHING RETURNING 1)"
	" SELECT opscase_expect(count(*), $2::bigint, 'inbox') FROM i";

const char SQL_STEP_EVENT_FAILED[] =
	"WITH o AS (UPDATE outbox SET attempts = attempts + 1,"
	"  done_at = CASE WHEN attempts + 1 >= max_attempts THEN now() END"
	"  WHERE id = $1::bigint AND kind = 'e' AND done_at IS NULL"
	"  RETURNING id, tenant_id, topic, payload, case_id, done_at)"
	" INSERT INTO dead_letter (tenant_id, kind, source, reason, body, ref_id)"
	" SELECT tenant_id, 'event', topic, $2, jsonb_build_object('case_id', case_id, 'payload', payload)::text, id"
	" FROM o WHERE done_at IS NOT NULL RETURNING id";

const char SQL_STEP_REFUSAL[] =
	"WITH again AS (UPDATE case_timeline SET repeats = repeats + 1 WHERE tenant_id = $1::bigint AND case_id = $2::uuid"
	"  AND refusal_key = $11::text RETURNING id),"
	" t AS (INSERT INTO case_timeline (tenant_id, case_id, seq, event, actor, reason, correlation_id, meta, canonical, hash, refusal_key)"
	"  SELECT $1::bigint, $2::uuid, $3::int, $4::text, $5::text, $6::text, $7::text, $8::jsonb, $9::text, decode($10, 'hex'), $11::text"
	"  WHERE NOT EXISTS (SELECT 1 FROM again))"
	" UPDATE ops_case SET timeline_seq = $3::int, timeline_head = decode($10, 'hex')"
	" WHERE tenant_id = $1::bigint AND id = $2::uuid AND NOT EXISTS (SELECT 1 FROM again)";

const char SQL_STEP_HEADS[] =
	"UPDATE ops_case c SET timeline_seq = e.seq, timeline_head = decode(e.head, 'hex')"
	" FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::text[]) AS e(tenant_id, id, seq, head)"
	" WHERE c.tenant_id = e.tenant_id AND c.id = e.id";

#define IDEM_CLAIM                                                                                                      \
	"INSERT INTO idempotency (tenant_id, principal, route, key, body_hash, state)"                                  \
	" VALUES ($1::bigint, $2, $3, $4, $5, 'in_flight') ON CONFLICT (tenant_id, principal, route, key) DO UPDATE"    \
	" SET body_hash = excluded.body_hash, state = 'in_flight', status = NULL, response = NULL, created_at = now()," \
	" expires_at = now() + interval '24 hours' WHERE idempotency.expires_at < now() RETURNING 1"

const char SQL_STEP_IDEM_CLAIM[] = IDEM_CLAIM;

const char SQL_STEP_IDEM_CLAIM_FREE[] = "WITH k AS (" IDEM_CLAIM
					") SELECT opscase_expect(count(*), 1, 'idempotency') FROM k";

const char SQL_STEP_IDEM_SEEN[] =
	"SELECT body_hash, state, status, response::text FROM idempotency"
	" WHERE tenant_id = $1::bigint AND principal = $2 AND route = $3 AND key = $4";

const char SQL_STEP_IDEM_KEEP[] =
	"UPDATE idempotency SET state = 'done', status = $5::int, response = $6::jsonb"
	" WHERE tenant_id = $1::bigint AND principal = $2 AND route = $3 AND key = $4";

const char SQL_STEP_IDEM_KEEP_CASE[] =
	"UPDATE idempotency i SET state = 'done', status = $5::int, response = opscase_case_json(c) FROM ops_case c"
	" WHERE i.tenant_id = $1::bigint AND i.principal = $2 AND i.route = $3 AND i.key = $4"
	" AND c.tenant_id = i.tenant_id AND c.id = $6::uuid";

const char SQL_STEP_CASE_DOC[] = "SELECT c.cmd_id" CASE_DOC_COLUMNS
				 " FROM ops_case c WHERE c.tenant_id = $1::bigint AND c.id = $2::uuid";

/* The canonical text of the timeline's row. What only the row knows is put between what the caller knows. */
#define GUESS_CANONICAL(c, epoch, seq, version)                                                            \
	"$11::text || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || $12::text" \
	" || " epoch " || $13::text || " seq " || $14::text || " c ".tenant || $15::text || " version      \
	" || '}'"

/* cmd_id IS NULL, and no look at the outbox: where the row was changed while this waited for it, PostgreSQL looks at
 * the row's columns again, but would still see the outbox as it was before. */
#define GUESS_WHERE                                                                                          \
	" WHERE c.tenant_id = $1::bigint AND c.id = $2::uuid AND c.status = $3::text AND c.drive = $4::text" \
	" AND c.cmd_id IS NULL AND ($5::int = 0 OR c.version = $5::int) AND ($6::int = 0 OR c.epoch = $6::int)"

#define GUESS_WRITES(where)                                                                                                                                                                        \
	"WITH u AS (UPDATE ops_case c SET status = $7::text, version = c.version + 1, epoch = c.epoch + $8::int,"                                                                                  \
	" park_reason = NULL, sentence = NULL, resolution = NULL, cmd_id = nextval('outbox_id_seq'), cmd_topic = $9::text,"                                                                        \
	" cancel_cause = CASE WHEN $8::int = 0 THEN c.cancel_cause END,"                                                                                                                           \
	" deadline_at = now() + make_interval(secs => $10::float8), timeline_seq = c.timeline_seq + 1,"                                                                                            \
	" timeline_head = sha256(c.timeline_head || convert_to(" GUESS_CANONICAL(                                                                                                                  \
		"c", "(c.epoch + $8::int)", "(c.timeline_seq + 1)",                                                                                                                                \
		"(c.version + 1)") ", 'UTF8')),"                                                                                                                                                   \
				   " entered_at = CASE WHEN $8::int = 0 THEN c.entered_at ELSE now() END, updated_at = now()" where                                                                \
				   " RETURNING c.*),"                                                                                                                                              \
				   " t AS (INSERT INTO case_timeline (tenant_id, case_id, seq, event, actor, reason, correlation_id, meta, canonical, hash)"                                       \
				   "  SELECT u.tenant_id, u.id, u.timeline_seq, $16::text, $17::text, $18::text, $19::text, $20::jsonb, " GUESS_CANONICAL(                                         \
					   "u", "u.epoch", "u.timeline_seq",                                                                                                                       \
					   "u.version") ", u.timeline_head FROM u),"                                                                                                               \
							" o AS (INSERT INTO outbox (id, tenant_id, case_id, kind, topic, key, payload, epoch, case_version, max_attempts, trace_id, published_at)" \
							"  SELECT CASE v.kind WHEN 'c' THEN u.cmd_id ELSE nextval('outbox_id_seq') END, u.tenant_id, u.id, v.kind::\"char\","                      \
							"  v.topic, u.tenant, CASE v.kind WHEN 'c' THEN v.payload ELSE v.payload || jsonb_build_object('title', u.title,"                          \
							"  'version', u.version, 'epoch', u.epoch) END, u.epoch, u.version, v.attempts, $24::text,"                                                \
							"  CASE WHEN v.kind = 'c' AND $25::bool THEN now() END"                                                                                    \
							"  FROM u, (VALUES ('c', $9::text, $21::jsonb, $23::int), ('x', 'evt.case.transition.v1', $22::jsonb, 1))"                                 \
							"  AS v(kind, topic, payload, attempts))"

/* Where the guess was wrong, the same statement says how the case is. opscase_look(): the tables of that answer are
 * opened only then; in the statement itself they cost as much as the step. */
#define LOOK "$look$SELECT 0, " READ_COLUMNS ", " READ_HASH READ_ONE "$look$"
#define GUESS_ANSWER(idem_columns, idem_join)                              \
	" SELECT g.seen, " idem_columns ", c.cmd_id" CASE_DOC_COLUMNS      \
	" FROM (SELECT w.wrong, CASE WHEN w.wrong THEN opscase_look(" LOOK \
	", $1::bigint, $2::uuid) END AS seen"                              \
	"  FROM (SELECT NOT EXISTS (SELECT 1 FROM u) AS wrong) w) g LEFT JOIN u c ON NOT g.wrong" idem_join

const char SQL_STEP_GUESS[] = GUESS_WRITES(GUESS_WHERE) GUESS_ANSWER("NULL, NULL, NULL, NULL", "");

/* A key that is known already is for the caller to answer; one that appears meanwhile ends all this with 23505. */
const char SQL_STEP_GUESS_KEYED[] = GUESS_WRITES(
	GUESS_WHERE
	" AND NOT EXISTS (SELECT 1 FROM idempotency i WHERE i.tenant_id = $1::bigint AND i.principal = $26::text"
	" AND i.route = $27::text AND i.key = $28::text)") ","
							   " k AS (INSERT INTO idempotency (tenant_id, principal, route, key, body_hash, state, status, response)"
							   "  SELECT u.tenant_id, $26::text, $27::text, $28::text, $29::text, 'done', 200, opscase_case_json(u::ops_case) FROM u)" GUESS_ANSWER(
								   "i.body_hash, i.state, i.status, i.response::text",
								   " LEFT JOIN LATERAL (SELECT * FROM idempotency i WHERE i.tenant_id = $1::bigint AND i.principal = $26::text"
								   " AND i.route = $27::text AND i.key = $28::text AND i.expires_at >= now() AND g.wrong) i ON true");

const char SQL_STEP_SPARES[] =
	"SELECT (extract(epoch FROM now()) * 1000000)::bigint, nextval('outbox_id_seq'), nextval('outbox_id_seq'),"
	" nextval('outbox_id_seq') FROM generate_series(1, $1::int)";

const char SQL_STEP_IDEM_KEPT[] =
	"SELECT e.ord, i.body_hash, i.state, i.status, i.response::text"
	" FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::text[]) AS e(ord, tenant_id, principal, route, key)"
	" JOIN idempotency i ON i.tenant_id = e.tenant_id AND i.principal = e.principal AND i.route = e.route AND i.key = e.key"
	" WHERE i.expires_at >= now()";

const char SQL_STEP_NEW_CASES[] =
	"INSERT INTO ops_case (id, tenant_id, tenant, title, status, version, epoch, drive, severity, opened_by, trace_id,"
	" follows_id, parent_id, timeline_seq, timeline_head, cmd_id, cmd_topic, deadline_at)"
	" SELECT i, t, tc, ti, st, v, ep, dr, se, ob, tr, fo, pa, ts, decode(th, 'hex'), ci, ct, now() + make_interval(secs => de)"
	" FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::text[],"
	" $9::text[], $10::text[], $11::text[], $12::uuid[], $13::uuid[], $14::int[], $15::text[], $16::bigint[], $17::text[],"
	" $18::float8[]) AS x(i, t, tc, ti, st, v, ep, dr, se, ob, tr, fo, pa, ts, th, ci, ct, de)";

const char SQL_STEP_NEW_BODIES[] =
	"INSERT INTO case_body (case_id, tenant_id, summary, labels, evidence, template, params)"
	" SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::jsonb[], $5::jsonb[], $6::text[], $7::jsonb[])";

const char SQL_STEP_IDEM_KEEP_NEW[] =
	"WITH k AS (INSERT INTO idempotency (tenant_id, principal, route, key, body_hash, state, status, response)"
	"  SELECT e.tenant_id, e.principal, e.route, e.key, e.body_hash, 'done', 201, opscase_case_json(c)"
	"  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[])"
	"  AS e(tenant_id, principal, route, key, body_hash, case_id) JOIN ops_case c ON c.tenant_id = e.tenant_id AND c.id = e.case_id"
	"  ORDER BY e.tenant_id, e.principal, e.route, e.key"
	"  ON CONFLICT (tenant_id, principal, route, key) DO UPDATE SET body_hash = excluded.body_hash, state = 'done', status = 201,"
	"  response = excluded.response, created_at = now(), expires_at = now() + interval '24 hours'"
	"  WHERE idempotency.expires_at < now() RETURNING 1)"
	" SELECT opscase_expect(count(*), $7::bigint, 'idempotency') FROM k";

const char SQL_STEP_CASE_DOCS[] =
	"SELECT c.cmd_id" CASE_DOC_COLUMNS
	" FROM unnest($1::bigint[], $2::uuid[]) WITH ORDINALITY AS e(tenant_id, case_id, ord)"
	" JOIN ops_case c ON c.tenant_id = e.tenant_id AND c.id = e.case_id ORDER BY e.ord";
