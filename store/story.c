#include "store/story.h"
#include <stdio.h>
#include "store/tenant_tx.h"

static const char sql_exists[] = "SELECT FROM ops_case WHERE tenant_id = $1::bigint AND id = $2::uuid";

/* Rank keeps what happened at the same moment in the order in which it follows from each other. */
static const char sql_story[] =
	"WITH c AS MATERIALIZED (SELECT c.id, c.tenant_id, c.created_at - interval '1 hour' AS since, coalesce(c.closed_at, now()) AS upto,"
	" b.labels FROM ops_case c LEFT JOIN case_body b ON b.tenant_id = c.tenant_id AND b.case_id = c.id"
	" WHERE c.tenant_id = $1::bigint AND c.id = $2::uuid),"
	" own AS MATERIALIZED (SELECT o.id FROM ops_case o, c WHERE o.tenant_id = c.tenant_id AND (o.id = c.id OR o.parent_id = c.id)),"
	" place AS MATERIALIZED (SELECT DISTINCT s.resource AS urn FROM signal s JOIN own ON own.id = s.case_id WHERE s.tenant_id = $1::bigint"
	" AND s.resource IS NOT NULL UNION SELECT labels->>'resource' FROM c WHERE labels->>'resource' IS NOT NULL"
	" UNION SELECT a.v->>'resource' FROM finding f, c, jsonb_array_elements(CASE jsonb_typeof(f.body #> '{root_cause,answers}') WHEN 'array'"
	" THEN f.body #> '{root_cause,answers}' ELSE '[]' END) AS a(v) WHERE f.tenant_id = c.tenant_id AND f.case_id = c.id),"
	" heard AS MATERIALIZED (SELECT s.* FROM signal s, c WHERE s.tenant_id = c.tenant_id AND (s.case_id IN (SELECT id FROM own) OR"
	" (s.resource IN (SELECT urn FROM place) AND s.first_at >= c.since AND s.first_at <= c.upto))),"
	" e AS (SELECT h.first_at AS at, 1 AS rank, CASE h.kind WHEN 'log_pattern' THEN 'log' ELSE 'signal' END AS kind, h.title AS what,"
	" h.resource, h.source AS by, jsonb_build_object('table', 'signal', 'id', h.signal_id, 'event', 'raised', 'times', h.times) AS ref"
	" FROM heard h"
	" UNION ALL SELECT h.cleared_at, 1, CASE h.kind WHEN 'log_pattern' THEN 'log' ELSE 'signal' END, 'ended: ' || h.title, h.resource,"
	" h.source, jsonb_build_object('table', 'signal', 'id', h.signal_id, 'event', 'cleared') FROM heard h WHERE h.cleared_at IS NOT NULL"
	" UNION ALL SELECT v.detected_at, 0, 'change', coalesce(v.title, v.kind), r.urn, v.kind, jsonb_build_object('table', 'event_envelope',"
	" 'id', v.event_id) FROM event_envelope v JOIN dim_resource r ON r.tenant_id = v.tenant_id AND r.resource_id = v.resource_id, c"
	" WHERE v.tenant_id = c.tenant_id AND v.kind IN ('deploy', 'change', 'config') AND v.detected_at >= c.since AND v.detected_at <= c.upto"
	" AND r.urn IN (SELECT urn FROM place)"
	" UNION ALL SELECT t.created_at, 2, 'case', t.event || coalesce(': ' || t.reason, ''), NULL, t.actor, jsonb_build_object('table',"
	" 'case_timeline', 'seq', t.seq, 'repeats', t.repeats) FROM case_timeline t, c WHERE t.tenant_id = c.tenant_id AND t.case_id = c.id"
	" UNION ALL SELECT l.created_at, 3, 'look', l.tool || ' ' || l.input::text || ': ' || l.outcome, l.input->>'resource', 'model',"
	" jsonb_build_object('table', 'llm_look', 'epoch', l.epoch, 'attempt', l.attempt, 'seq', l.seq) FROM llm_look l, c"
	" WHERE l.tenant_id = c.tenant_id AND l.case_id = c.id"
	" UNION ALL SELECT f.created_at, 3, 'finding', f.summary, NULL, 'analyst', jsonb_build_object('table', 'finding', 'id', f.id)"
	" FROM finding f, c WHERE f.tenant_id = c.tenant_id AND f.case_id = c.id"
	" UNION ALL SELECT p.created_at, 3, 'plan', coalesce(p.plan->>'title', p.kind), NULL, p.created_by, jsonb_build_object('table',"
	" 'plan_proposed', 'id', p.id, 'revision', p.revision) FROM plan_proposed p, c WHERE p.tenant_id = c.tenant_id AND p.case_id = c.id"
	" UNION ALL SELECT coalesce(d.decided_at, d.created_at), 3, 'decision', d.answer || ', ' || d.status || coalesce(': ' || d.reason, ''),"
	" NULL, 'gatekeeper', jsonb_build_object('table', 'gate_decision', 'id', d.id) FROM gate_decision d, c WHERE d.tenant_id = c.tenant_id"
	" AND d.case_id = c.id"
	" UNION ALL SELECT s.started_at, 3, 'action', s.action || ' begins at ' || s.target, s.target, 'executor', jsonb_build_object('table',"
	" 'exec_step', 'run', s.run_id, 'seq', s.seq, 'attempt', s.attempt) FROM exec_step s, c WHERE s.tenant_id = c.tenant_id"
	" AND s.case_id = c.id"
	" UNION ALL SELECT s.finished_at, 3, 'action', s.action || ' at ' || s.target || ': ' || s.status, s.target, 'executor',"
	" jsonb_build_object('table', 'exec_step', 'run', s.run_id, 'seq', s.seq, 'attempt', s.attempt) FROM exec_step s, c"
	" WHERE s.tenant_id = c.tenant_id AND s.case_id = c.id AND s.finished_at IS NOT NULL"
	" UNION ALL SELECT v.created_at, 3, 'verdict', v.verdict || coalesce(': ' || v.reason, ''), NULL, 'verifier', jsonb_build_object('table',"
	" 'verdict', 'id', v.id) FROM verdict v, c WHERE v.tenant_id = c.tenant_id AND v.case_id = c.id)"
	" SELECT coalesce(json_agg(json_build_object('at', to_char(x.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'kind', x.kind,"
	" 'what', x.what, 'resource', x.resource, 'by', x.by, 'ref', x.ref) ORDER BY x.at, x.rank, x.ref::text), '[]')::text"
	" FROM (SELECT * FROM e ORDER BY at, rank, ref::text LIMIT $3::int) x";

enum oc_err story_read(struct pg *pg, long long tenant_id, const char *case_id, json_t **ret,
		       struct oc_fail *reterr)
{
	struct pg_result *r[TENANT_TX_SENT + 3] = { 0 };
	char tenant[24], most[16];
	enum oc_err err = tenant_tx_send_begin(pg, tenant_id, true, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(most, sizeof(most), "%d", STORY_MAX);
	if (err == OC_OK)
		err = pg_send(pg, sql_exists, PG_ARGS(tenant, case_id), reterr);
	if (err == OC_OK)
		err = pg_send(pg, sql_story, PG_ARGS(tenant, case_id, most), reterr);
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, r, TENANT_TX_SENT + 3, reterr);
	if (err == OC_OK && pg_rows(r[TENANT_TX_SENT]) == 0)
		err = oc_fail_field(reterr, OC_NOT_FOUND, "case_id", "no case '%s'", case_id);
	if (err == OC_OK)
		err = json_read_own(pg_text(r[TENANT_TX_SENT + 1], 0, 0), ret, reterr);
	for (size_t i = 0; i < TENANT_TX_SENT + 3; i++)
		pg_result_free(r[i]);
	return err;
}
