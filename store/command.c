#include "store/command.h"

const char SQL_COMMIT_LAZILY[] = "SELECT set_config('synchronous_commit', 'off', true)";

/* Waits for a row that is locked: the relay marks it as published while the message is already on its way,
 * and what is skipped here would lie until the sweep. Locks are taken in id order everywhere. */
const char SQL_COMMAND_LEASE[] =
	"WITH free AS (SELECT o.id FROM outbox o WHERE o.id = ANY($1::bigint[]) AND o.kind = 'c' AND o.topic = ANY($4::text[])"
	"  AND o.done_at IS NULL AND (o.lease_until IS NULL OR o.lease_until < now())"
	"  AND (o.not_before IS NULL OR o.not_before <= now()) AND o.attempts < o.max_attempts"
	"  ORDER BY o.id FOR UPDATE)"
	" UPDATE outbox o SET lease_token = $2::uuid, lease_until = now() + make_interval(secs => $3::float8 / 1000),"
	" attempts = o.attempts + 1 FROM free WHERE o.id = free.id"
	" RETURNING o.id, o.tenant_id, o.key, o.case_id, o.topic, o.epoch, o.attempts, o.max_attempts, o.trace_id, o.payload::text,"
	" (extract(epoch FROM now()) * 1000000)::bigint";

const char SQL_COMMAND_OPEN[] =
	"SELECT id FROM outbox WHERE kind = 'c' AND topic = ANY($1::text[]) AND done_at IS NULL"
	" AND (lease_until IS NULL OR lease_until < now()) AND (not_before IS NULL OR not_before <= now())"
	" AND attempts < max_attempts ORDER BY id LIMIT $2::int";

const char SQL_COMMAND_RENEW[] =
	"UPDATE outbox o SET lease_until = now() + make_interval(secs => $3::float8 / 1000) FROM ops_case c"
	" WHERE o.id = $1::bigint AND o.lease_token = $2::uuid AND o.done_at IS NULL"
	" AND c.tenant_id = o.tenant_id AND c.id = o.case_id AND c.epoch = o.epoch RETURNING c.cancel_cause";

const char SQL_COMMAND_HOLD[] =
	"SELECT o.id FROM outbox o LEFT JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id"
	" WHERE o.id = ANY($1::bigint[]) AND o.lease_token = $2::uuid AND o.done_at IS NULL"
	" AND (c.epoch = o.epoch OR o.topic IN ('cmd.notify', 'cmd.learn')) ORDER BY o.id FOR UPDATE OF o";

const char SQL_COMMAND_SUPERSEDED[] =
	"UPDATE outbox o SET done_at = now() FROM ops_case c WHERE o.id = ANY($1::bigint[]) AND o.lease_token = $2::uuid"
	" AND o.done_at IS NULL AND c.tenant_id = o.tenant_id AND c.id = o.case_id AND c.epoch <> o.epoch"
	" AND o.topic NOT IN ('cmd.notify', 'cmd.learn')";

const char SQL_COMMAND_RENEW_MANY[] =
	"WITH l AS (SELECT id FROM outbox WHERE id = ANY($1::bigint[]) AND lease_token = $2::uuid AND done_at IS NULL"
	"  ORDER BY id FOR UPDATE)"
	" UPDATE outbox o SET lease_until = now() + make_interval(secs => $3::float8 / 1000) FROM l WHERE o.id = l.id";

const char SQL_COMMAND_ANSWER[] =
	"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, payload, epoch, case_version, cmd_id, product_id, trace_id, not_before)"
	" SELECT o.tenant_id, o.case_id, 'e', a.topic, o.key, a.payload, o.epoch, o.case_version, o.id, a.product, o.trace_id,"
	" CASE WHEN $5::bool THEN now() + interval '1 second' END"
	" FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::jsonb[]) AS a(id, topic, product, payload)"
	" JOIN outbox o ON o.id = a.id ORDER BY o.id RETURNING id, topic";

const char SQL_COMMAND_FINISH[] =
	"WITH l AS (SELECT o.id FROM outbox o LEFT JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id"
	"  WHERE o.id = ANY($1::bigint[]) AND o.lease_token = $2::uuid AND o.done_at IS NULL"
	"  AND (c.epoch = o.epoch OR o.topic IN ('cmd.notify', 'cmd.learn')) ORDER BY o.id FOR UPDATE OF o),"
	" d AS (UPDATE outbox o SET done_at = now(), published_at = coalesce(o.published_at, now()) FROM l WHERE o.id = l.id"
	"  RETURNING o.id, o.tenant_id, o.case_id, o.key, o.epoch, o.case_version, o.trace_id),"
	" e AS (INSERT INTO outbox (tenant_id, case_id, kind, topic, key, payload, epoch, case_version, cmd_id, product_id, trace_id,"
	"   not_before)"
	"  SELECT d.tenant_id, d.case_id, 'e', a.topic, d.key, a.payload, d.epoch, d.case_version, d.id, a.product, d.trace_id,"
	"  CASE WHEN $8::bool THEN now() + interval '1 second' END"
	"  FROM unnest($4::bigint[], $5::text[], $6::uuid[], $7::jsonb[]) AS a(id, topic, product, payload)"
	"  JOIN d ON d.id = a.id ORDER BY d.id RETURNING id, topic)"
	" SELECT e.id, e.topic, x.held FROM (SELECT opscase_expect((SELECT count(*) FROM d), $3::bigint, 'outbox') AS held) x"
	" LEFT JOIN e ON true ORDER BY e.id";

const char SQL_COMMAND_DONE[] =
	"UPDATE outbox SET done_at = now(), published_at = coalesce(published_at, now())"
	" WHERE id = ANY($1::bigint[]) AND done_at IS NULL";

const char SQL_COMMAND_LATER[] =
	"UPDATE outbox o SET lease_token = NULL, lease_until = NULL, published_at = NULL, attempts = greatest(o.attempts - 1, 0),"
	" not_before = now() + make_interval(secs => l.s) FROM unnest($1::bigint[], $2::float8[]) AS l(id, s)"
	" WHERE o.id = l.id AND o.done_at IS NULL";

const char SQL_COMMAND_BACK[] =
	"UPDATE outbox SET lease_until = now() + make_interval(secs => $3::float8) WHERE id = ANY($1::bigint[])"
	" AND lease_token = $2::uuid AND done_at IS NULL";

const char SQL_OUTBOX_UNPUBLISHED[] =
	"SELECT id, kind, topic, key, payload::text, epoch, case_version, case_id, cmd_id, product_id, trace_id, publish_count,"
	" to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
	" extract(epoch FROM now() - greatest(created_at, coalesce(not_before, created_at))), pg_backend_pid()"
	" FROM outbox WHERE published_at IS NULL AND (done_at IS NULL OR kind = 'e') AND (not_before IS NULL OR not_before <= now())"
	" ORDER BY id LIMIT $1::int";

const char SQL_OUTBOX_PUBLISHED[] =
	"WITH sent AS (SELECT id FROM outbox WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE)"
	" UPDATE outbox o SET published_at = now(), publish_count = publish_count + 1,"
	" done_at = CASE WHEN kind = 'x' THEN now() ELSE done_at END FROM sent WHERE o.id = sent.id";

const char SQL_OUTBOX_EVENTS_OPEN[] =
	"SELECT id FROM outbox WHERE kind = 'e' AND done_at IS NULL ORDER BY id LIMIT $1::int";

const char SQL_SWEEP_REOFFER[] =
	"WITH lost AS (SELECT id FROM outbox WHERE done_at IS NULL AND kind IN ('c', 'e')"
	"  AND published_at < now() - interval '5 seconds'"
	"  AND (kind = 'e' OR ((lease_until IS NULL OR lease_until < now()) AND attempts < max_attempts))"
	"  AND (not_before IS NULL OR not_before <= now())"
	"  ORDER BY published_at LIMIT $1::int FOR UPDATE SKIP LOCKED)"
	" UPDATE outbox o SET published_at = NULL FROM lost WHERE o.id = lost.id RETURNING o.topic";

/* A case that waits for people has the decision's own expiry; the deadline is for the gate's answer. */
const char SQL_SWEEP_DEADLINES[] =
	"SELECT c.tenant_id, c.id, c.status, c.cancel_cause, c.epoch FROM ops_case c WHERE c.deadline_at < now()"
	" AND (c.status <> 'WAIT_GATE' OR EXISTS (SELECT 1 FROM outbox o WHERE o.id = c.cmd_id AND o.tenant_id = c.tenant_id"
	"  AND o.done_at IS NULL)) ORDER BY c.deadline_at LIMIT $1::int";

const char SQL_SWEEP_EXHAUSTED[] =
	"SELECT o.id, o.tenant_id, o.case_id, o.topic, (c.cmd_id = o.id AND c.epoch = o.epoch), o.attempts, o.epoch FROM outbox o"
	" LEFT JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id"
	" WHERE o.kind = 'c' AND o.done_at IS NULL AND o.attempts >= o.max_attempts"
	" AND (o.lease_until IS NULL OR o.lease_until < now()) ORDER BY o.id LIMIT $1::int";

const char SQL_SWEEP_GIVE_UP[] =
	"WITH o AS (UPDATE outbox SET done_at = now() WHERE id = $1::bigint AND done_at IS NULL"
	"  RETURNING id, tenant_id, topic, case_id, payload)"
	" INSERT INTO dead_letter (tenant_id, kind, source, reason, body, ref_id)"
	" SELECT tenant_id, 'command', topic, $2, jsonb_build_object('case_id', case_id, 'payload', payload)::text, id FROM o";

const char SQL_SWEEP_EXPIRED[] =
	"SELECT d.tenant_id, d.case_id, d.id, (c.status = 'WAIT_GATE' AND c.epoch = d.epoch AND c.plan_id = d.plan_id), d.epoch"
	" FROM gate_decision d JOIN ops_case c ON c.tenant_id = d.tenant_id AND c.id = d.case_id"
	" WHERE d.status = 'pending' AND d.expires_at < now() ORDER BY d.expires_at LIMIT $1::int";

const char SQL_SWEEP_EXPIRED_SAID[] =
	"UPDATE gate_decision SET status = 'expired', decided_at = now() WHERE tenant_id = $1::bigint AND id = $2::uuid"
	" AND status = 'pending'";

const char SQL_INSTALLATION[] = "SELECT id, effects FROM installation";
