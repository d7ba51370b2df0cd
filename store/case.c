#include "store/case.h"
#include <stdio.h>
#include "base/mem.h"
#include "store/case_doc.h"
#include "store/tenant_tx.h"

#define TS(col) "to_char(" col " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* The same document that transition() answers with and keeps, and what the case was opened with. */
#define CASE_JSON "opscase_case_json(c)"
#define CASE_BODY_JSON                                                                                                 \
	"jsonb_build_object('summary', b.summary, 'labels', b.labels, 'evidence', b.evidence, 'template', b.template," \
	" 'params', b.params)"
#define CASE_FROM                                                                                  \
	" FROM ops_case c LEFT JOIN case_body b ON b.tenant_id = c.tenant_id AND b.case_id = c.id" \
	" WHERE c.tenant_id = $1::bigint AND c.id = $2::uuid"

const char SQL_CASE_JSON[] = "SELECT (" CASE_JSON " || " CASE_BODY_JSON ")::text" CASE_FROM;

static const char sql_read[] =
	"SELECT (" CASE_JSON " || " CASE_BODY_JSON
	")::text, c.status, c.park_reason, c.drive, c.version, c.epoch,"
	" (SELECT CASE WHEN o.not_before = 'infinity' THEN 'held' ELSE 'out' END FROM outbox o"
	"   WHERE o.id = c.cmd_id AND o.tenant_id = c.tenant_id AND o.done_at IS NULL),"
	" c.plan_id, (SELECT d.id FROM gate_decision d WHERE d.tenant_id = c.tenant_id AND d.case_id = c.id"
	"   AND d.epoch = c.epoch AND d.status = 'pending' ORDER BY d.created_at DESC LIMIT 1), c.opened_by" CASE_FROM;

static const char sql_peek[] =
	"SELECT b.summary, b.labels, b.evidence, b.template, b.params" CASE_DOC_COLUMNS CASE_FROM;

/* What belongs to a case: $1 tenant, $2 case; the newest ones, as one JSON array. */
static const char sql_plans[] =
	"SELECT coalesce(json_agg(x.j), '[]')::text FROM (SELECT json_build_object('id', p.id, 'revision', p.revision,"
	" 'kind', p.kind, 'source', p.source, 'template', p.template, 'hash', p.hash, 'fingerprint', p.fingerprint,"
	" 'complete', p.complete, 'findings', p.findings, 'plan', p.plan, 'epoch', p.epoch, 'exec_budget_s', p.exec_budget_s,"
	" 'verify_budget_s', p.verify_budget_s, 'rollback_of', p.rollback_of, 'created_by', p.created_by, 'created_at', " TS(
		"p.created_at") ") AS j FROM plan_proposed p WHERE p.tenant_id = $1::bigint AND p.case_id = $2::uuid"
				" ORDER BY p.revision DESC LIMIT 20) x";

static const char sql_decisions[] =
	"SELECT coalesce(json_agg(x.j), '[]')::text FROM (SELECT json_build_object('id', d.id, 'plan_id', d.plan_id,"
	" 'epoch', d.epoch, 'answer', d.answer, 'status', d.status, 'plan_hash', d.plan_hash, 'args_hash', d.args_hash,"
	" 'world_hash', d.world_hash, 'policy_hash', d.policy_hash, 'rules', d.rules, 'facts', d.facts, 'card', d.card,"
	" 'quorum', d.quorum, 'who', d.who, 'reason', d.reason, 'void_reason', d.void_reason, 'used_by_run', d.used_by_run,"
	" 'expires_at', " TS("d.expires_at") ", 'decided_at', " TS("d.decided_at") ", 'created_at', " TS(
		"d.created_at") ", 'approvals', (SELECT coalesce(json_agg(json_build_object('principal', a.principal, 'role', a.role,"
				"  'answer', a.answer, 'reason', a.reason, 'created_at', " TS(
					"a.created_at") ") ORDER BY a.id), '[]')"
							"  FROM approval a WHERE a.tenant_id = d.tenant_id AND a.decision_id = d.id)) AS j"
							" FROM gate_decision d WHERE d.tenant_id = $1::bigint AND d.case_id = $2::uuid ORDER BY d.created_at DESC LIMIT 20) x";

static const char sql_runs[] =
	"SELECT coalesce(json_agg(x.j), '[]')::text FROM (SELECT json_build_object('id', r.id, 'plan_id', r.plan_id,"
	" 'decision_id', r.decision_id, 'epoch', r.epoch, 'status', r.status, 'steps_total', r.steps_total,"
	" 'applied', r.applied, 'dispatched', r.dispatched, 'reason', r.reason, 'created_at', " TS("r.created_at") ", 'finished_at', " TS(
		"r.finished_at") ", 'steps', (SELECT coalesce(json_agg(json_build_object('seq', s.seq, 'attempt', s.attempt, 'action', s.action,"
				 "  'target', s.target, 'params', s.params, 'status', s.status, 'before', s.before, 'result', s.result,"
				 "  'log_ref', s.log_ref, 'started_at', " TS("s.started_at") ", 'finished_at', " TS(
					 "s.finished_at") ") ORDER BY s.seq, s.attempt), '[]') FROM exec_step s WHERE s.tenant_id = r.tenant_id AND s.run_id = r.id)) AS j"
							  " FROM exec_run r WHERE r.tenant_id = $1::bigint AND r.case_id = $2::uuid ORDER BY r.created_at DESC LIMIT 20) x";

static const char sql_verdicts[] =
	"SELECT coalesce(json_agg(x.j), '[]')::text FROM (SELECT json_build_object('id', v.id, 'plan_id', v.plan_id,"
	" 'run_id', v.run_id, 'epoch', v.epoch, 'verdict', v.verdict, 'checks', v.checks, 'reason', v.reason, 'created_at', " TS(
		"v.created_at") ") AS j FROM verdict v WHERE v.tenant_id = $1::bigint AND v.case_id = $2::uuid"
				" ORDER BY v.created_at DESC LIMIT 20) x";

static const char sql_findings[] =
	"SELECT coalesce(json_agg(x.j), '[]')::text FROM (SELECT json_build_object('id', f.id, 'epoch', f.epoch,"
	" 'summary', f.summary, 'body', f.body, 'confidence', f.confidence, 'created_at', " TS(
		"f.created_at") ") AS j FROM finding f WHERE f.tenant_id = $1::bigint AND f.case_id = $2::uuid ORDER BY f.created_at DESC LIMIT 20) x";

#define TIMELINE_JSON                                                                                      \
	"json_build_object('seq', t.seq, 'event', t.event, 'actor', t.actor, 'reason', t.reason,"          \
	" 'correlation_id', t.correlation_id, 'refused', t.refusal_key IS NOT NULL, 'repeats', t.repeats," \
	" 'from', t.canonical::json->>'from', 'to', t.canonical::json->>'to', 'meta', t.meta,"             \
	" 'hash', encode(t.hash, 'hex'), 'canonical', t.canonical, 'created_at', " TS("t.created_at") ")"

/* The latest hundred, oldest first; pages are at /case/{id}/timeline. */
static const char sql_latest[] =
	"SELECT coalesce(json_agg(x.j ORDER BY x.seq), '[]')::text FROM (SELECT t.seq, " TIMELINE_JSON " AS j"
	" FROM case_timeline t WHERE t.tenant_id = $1::bigint AND t.case_id = $2::uuid ORDER BY t.seq DESC LIMIT 100) x";

static const char sql_timeline[] =
	"SELECT t.seq, " TIMELINE_JSON
	"::text FROM case_timeline t WHERE t.tenant_id = $1::bigint AND t.case_id = $2::uuid"
	" AND t.seq > $3::int ORDER BY t.seq LIMIT $4::int";

static const char sql_exists[] = "SELECT 1 FROM ops_case WHERE tenant_id = $1::bigint AND id = $2::uuid";

/* Bounds by coalesce, not by OR: one plan for all calls walks the index from the page on, however deep it is. */
static const char sql_list[] =
	"SELECT " CASE_JSON "::text, (extract(epoch FROM c.created_at) * 1000000)::bigint, c.id"
	" FROM ops_case c WHERE c.tenant_id = $1::bigint"
	" AND ($2::text[] IS NULL OR c.status = ANY($2::text[]))"
	" AND ($3::text IS NULL OR c.severity = $3) AND ($4::text IS NULL OR c.park_reason = $4)"
	" AND ($5::text IS NULL OR position(lower($5) in lower(c.title)) > 0)"
	" AND c.created_at >= coalesce(timestamptz 'epoch' + $6::bigint * interval '1 microsecond', '-infinity')"
	" AND c.created_at < coalesce(timestamptz 'epoch' + $7::bigint * interval '1 microsecond', 'infinity')"
	" AND (c.created_at, c.id) < (coalesce(timestamptz 'epoch' + $8::bigint * interval '1 microsecond', 'infinity'),"
	"  coalesce($9::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))"
	" ORDER BY c.created_at DESC, c.id DESC LIMIT $10::int";

static const char sql_plan[] =
	"SELECT plan_text FROM plan_proposed WHERE tenant_id = $1::bigint AND case_id = $2::uuid AND id = $3::uuid";

static const char sql_tenant[] = "SELECT c.tenant_id, c.tenant FROM ops_case c WHERE c.id = $1::uuid";

static const struct include_row {
	unsigned bit;
	const char *name;
	const char *sql;
} includes[] = {
	{ INCLUDE_PLANS,     "plans",     sql_plans     },
	{ INCLUDE_DECISIONS, "decisions", sql_decisions },
	{ INCLUDE_RUNS,      "runs",      sql_runs      },
	{ INCLUDE_VERDICTS,  "verdicts",  sql_verdicts  },
	{ INCLUDE_FINDINGS,  "findings",  sql_findings  },
	{ INCLUDE_TIMELINE,  "timeline",  sql_latest    },
};
const char *const case_include_names = "plans, decisions, runs, verdicts, findings, timeline";

#define RESULTS_MAX 16

/* Results of one pipeline; freed together. */
struct results {
	struct pg_result *r[RESULTS_MAX];
};

static void results_done(struct results *rs)
{
	for (size_t i = 0; i < RESULTS_MAX; i++)
		pg_result_free(rs->r[i]);
}
#define AUTO_RESULTS __attribute__((cleanup(results_done))) struct results

/* Sends COMMIT, reads everything; a failure leaves no transaction behind. */
static enum oc_err finish(struct pg *pg, enum oc_err err, struct results *rs, unsigned sent,
			  struct oc_fail *reterr)
{
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, rs->r, sent + 1, reterr);
	if (err != OC_OK)
		pg_rollback(pg);
	return err;
}

unsigned case_include_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(includes); i++)
		if (str_eq(includes[i].name, name))
			return includes[i].bit;
	return 0;
}

void case_read_done(struct case_read *r)
{
	json_decref(r->json);
	*r = (struct case_read){ 0 };
}

static void fill(struct case_read *out, const struct pg_result *r)
{
	const char *cmd = pg_text(r, 0, 6);

	out->state = case_state_parse(pg_text(r, 0, 1));
	out->reason = case_reason_parse(pg_text_or(r, 0, 2, ""));
	out->drive = str_eq(pg_text(r, 0, 3), "auto") ? DRIVE_AUTO : DRIVE_MANUAL;
	out->version = (int)pg_int(r, 0, 4);
	out->epoch = (int)pg_int(r, 0, 5);
	out->command = !cmd ? CASE_COMMAND_NONE : str_eq(cmd, "held") ? CASE_COMMAND_HELD : CASE_COMMAND_OUT;
	snprintf(out->plan_id, sizeof(out->plan_id), "%s", pg_text_or(r, 0, 7, ""));
	snprintf(out->pending_decision, sizeof(out->pending_decision), "%s", pg_text_or(r, 0, 8, ""));
	snprintf(out->opened_by, sizeof(out->opened_by), "%s", pg_text_or(r, 0, 9, ""));
}

enum oc_err case_read(struct pg *pg, long long tenant_id, const char *case_id, unsigned include,
		      struct case_read *ret, struct oc_fail *reterr)
{
	AUTO_RESULTS rs = { 0 };
	__attribute__((cleanup(case_read_done))) struct case_read out = { 0 };
	char tenant[24];
	unsigned sent = TENANT_TX_SENT + 1, at = TENANT_TX_SENT;
	enum oc_err err = tenant_tx_send_begin(pg, tenant_id, true, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	if (err == OC_OK)
		err = pg_send(pg, sql_read, PG_ARGS(tenant, case_id), reterr);
	for (size_t i = 0; err == OC_OK && i < ARRAY_LEN(includes); i++) {
		if (!(include & includes[i].bit))
			continue;
		err = pg_send(pg, includes[i].sql, PG_ARGS(tenant, case_id), reterr);
		sent++;
	}
	err = finish(pg, err, &rs, sent, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(rs.r[at]) == 0)
		return oc_fail_field(reterr, OC_NOT_FOUND, "case_id", "no case '%s'", case_id);
	err = json_read_own(pg_text(rs.r[at], 0, 0), &out.json, reterr);
	if (err != OC_OK)
		return err;
	fill(&out, rs.r[at++]);
	for (size_t i = 0; i < ARRAY_LEN(includes); i++) {
		json_t *part = NULL;

		if (!(include & includes[i].bit))
			continue;
		err = json_read_own(pg_text_or(rs.r[at++], 0, 0, "[]"), &part, reterr);
		if (err != OC_OK)
			return err;
		json_object_set_new(out.json, includes[i].name, part);
	}
	*ret = out;
	out = (struct case_read){ 0 };
	return OC_OK;
}

void case_peek_done(struct case_peek *p)
{
	free(p->members);
	*p = (struct case_peek){ 0 };
}

static void add_body(struct text *out, const struct pg_result *r)
{
	static const struct body_member {
		const char *name;
		bool json;
	} body[] = {
		{ ",\"summary\":",  false },
		{ ",\"labels\":",   true  },
		{ ",\"evidence\":", true  },
		{ ",\"template\":", false },
		{ ",\"params\":",   true  }
	};

	for (unsigned i = 0; i < ARRAY_LEN(body); i++) {
		const char *v = pg_text(r, 0, i);

		text_add(out, body[i].name);
		if (v && !body[i].json)
			json_quote(out, v);
		else
			text_add(out, v ? v : "null");
	}
}

enum oc_err case_peek(struct pg *pg, long long tenant_id, const char *case_id, struct case_peek *ret,
		      struct oc_fail *reterr)
{
	const unsigned first = 5; /* after what the case was opened with */
	AUTO_RESULTS rs = { 0 };
	struct text out = { 0 };
	char tenant[24];
	const struct pg_result *r;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	/* What is sent until the sync is one transaction, so the setting ends with it as after a BEGIN. */
	err = pg_send(pg, "SELECT set_config('opscase.tenant', $1, true)", PG_ARGS(tenant), reterr);
	if (err == OC_OK)
		err = pg_send(pg, sql_peek, PG_ARGS(tenant, case_id), reterr);
	if (err == OC_OK)
		err = pg_sync(pg, rs.r, 2, reterr);
	if (err != OC_OK) {
		pg_rollback(pg);
		return err;
	}
	r = rs.r[1];
	if (pg_rows(r) == 0)
		return oc_fail_field(reterr, OC_NOT_FOUND, "case_id", "no case '%s'", case_id);
	case_doc_write(&out, r, 0, first);
	add_body(&out, r);
	*ret = (struct case_peek){ .members = text_take(&out),
				   .state = case_state_parse(pg_text(r, 0, first + CD_STATUS)),
				   .reason = case_reason_parse(pg_text_or(r, 0, first + CD_PARK_REASON, "")),
				   .version = (int)pg_int(r, 0, first + CD_VERSION),
				   .command = pg_text(r, 0, first + CD_COMMAND) != NULL };
	return OC_OK;
}

enum oc_err case_list(struct pg *pg, long long tenant_id, const struct case_filter *f, json_t **ret,
		      int64_t *ret_next_us, char *ret_next_id, struct oc_fail *reterr)
{
	AUTO_RESULTS rs = { 0 };
	AUTO(json) json_t *list = json_array();
	AUTO(text) struct text states = { 0 };
	char tenant[24], since[24], until[24], after[24], limit[16];
	const struct pg_result *rows;
	unsigned n;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(since, sizeof(since), "%lld", (long long)f->since_us);
	snprintf(until, sizeof(until), "%lld", (long long)f->until_us);
	snprintf(after, sizeof(after), "%lld", (long long)f->after_us);
	snprintf(limit, sizeof(limit), "%d", f->limit + 1); /* one more says whether there is a next page */
	for (const char *const *s = f->status; s && *s; s++)
		pg_array_add(&states, *s);

	err = tenant_tx_send_begin(pg, tenant_id, true, reterr);
	if (err == OC_OK)
		err = pg_send(pg, sql_list,
			      PG_ARGS(tenant, f->status ? pg_array_end(&states) : NULL, f->severity,
				      f->park_reason, f->text, f->since_us ? since : NULL,
				      f->until_us ? until : NULL, f->after_us ? after : NULL,
				      f->after_us ? f->after_id : NULL, limit),
			      reterr);
	err = finish(pg, err, &rs, TENANT_TX_SENT + 1, reterr);
	if (err != OC_OK)
		return err;
	rows = rs.r[TENANT_TX_SENT];
	n = pg_rows(rows);
	*ret_next_us = 0;
	ret_next_id[0] = '\0';
	for (unsigned i = 0; i < n && i < (unsigned)f->limit; i++) {
		json_t *one = NULL;

		err = json_read_own(pg_text(rows, i, 0), &one, reterr);
		if (err != OC_OK)
			return err;
		json_array_append_new(list, one);
		if (i + 1 == (unsigned)f->limit && n > i + 1) {
			*ret_next_us = pg_int(rows, i, 1);
			snprintf(ret_next_id, 40, "%s", pg_text_or(rows, i, 2, ""));
		}
	}
	*ret = TAKE(list);
	return OC_OK;
}

enum oc_err case_timeline(struct pg *pg, long long tenant_id, const char *case_id, int after_seq, int limit,
			  json_t **ret, int *ret_next, struct oc_fail *reterr)
{
	AUTO_RESULTS rs = { 0 };
	AUTO(json) json_t *list = json_array();
	char tenant[24], after[16], max[16];
	const struct pg_result *rows;
	unsigned n;
	enum oc_err err = tenant_tx_send_begin(pg, tenant_id, true, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(after, sizeof(after), "%d", after_seq);
	snprintf(max, sizeof(max), "%d", limit + 1);
	if (err == OC_OK)
		err = pg_send(pg, sql_exists, PG_ARGS(tenant, case_id), reterr);
	if (err == OC_OK)
		err = pg_send(pg, sql_timeline, PG_ARGS(tenant, case_id, after, max), reterr);
	err = finish(pg, err, &rs, TENANT_TX_SENT + 2, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(rs.r[TENANT_TX_SENT]) == 0)
		return oc_fail_field(reterr, OC_NOT_FOUND, "case_id", "no case '%s'", case_id);
	rows = rs.r[TENANT_TX_SENT + 1];
	n = pg_rows(rows);
	*ret_next = 0;
	for (unsigned i = 0; i < n && i < (unsigned)limit; i++) {
		json_t *one = NULL;

		err = json_read_own(pg_text(rows, i, 1), &one, reterr);
		if (err != OC_OK)
			return err;
		json_array_append_new(list, one);
		if (i + 1 == (unsigned)limit && n > i + 1)
			*ret_next = (int)pg_int(rows, i, 0);
	}
	*ret = TAKE(list);
	return OC_OK;
}

enum oc_err case_plan(struct pg *pg, long long tenant_id, const char *case_id, const char *plan_id,
		      json_t **ret, struct oc_fail *reterr)
{
	AUTO_RESULTS rs = { 0 };
	char tenant[24];
	enum oc_err err = tenant_tx_send_begin(pg, tenant_id, true, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	if (err == OC_OK)
		err = pg_send(pg, sql_plan, PG_ARGS(tenant, case_id, plan_id), reterr);
	err = finish(pg, err, &rs, TENANT_TX_SENT + 1, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(rs.r[TENANT_TX_SENT]) == 0)
		return oc_fail_field(reterr, OC_NOT_FOUND, "plan_id", "no plan '%s'", plan_id);
	return json_read_own(pg_text(rs.r[TENANT_TX_SENT], 0, 0), ret, reterr);
}

enum oc_err case_tenant(struct pg *pg, const char *case_id, long long *ret_id, char *ret_tenant,
			struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err = pg_query(pg, sql_tenant, PG_ARGS(case_id), &r, reterr);

	if (err != OC_OK)
		return err;
	if (pg_rows(r) == 0)
		return oc_fail_field(reterr, OC_NOT_FOUND, "case_id", "no case '%s'", case_id);
	*ret_id = pg_int(r, 0, 0);
	snprintf(ret_tenant, 64, "%s", pg_text_or(r, 0, 1, ""));
	return OC_OK;
}
