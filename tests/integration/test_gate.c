/* The gate on a real PostgreSQL, in the real harness; only the adapters are played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "contracts/plan.h"
#include "gatekeeper/card.h"
#include "gatekeeper/role.h"
#include "store/decision.h"
#include "tests/support/pgtemp.h"

static struct pgtemp *db;
static struct pg *pg;
static struct gate *gate;
static struct worker *worker;
static char policy_dir[] = "/tmp/gate-policy-XXXXXX";

/* ---- the world, as the adapters tell it ---- */

static char *restart_writes[] = { "generation" };
static struct operation_need script_needs[] = {
	{ "script_body", "/script" }
};
static const struct operation operations[] = {
	{ .name = "noop", .adapter = "noop", .reversible = true, .repeatable = true, .blast = BLAST_NONE },
	{ .name = "svc.restart",
         .adapter = "svc",
         .risk = 0.4,
         .reversible = true,
         .blast = BLAST_SERVICE,
         .has_dry_run = true,
         .has_probe = true,
         .has_undo = true,
         .writes = restart_writes,
         .writes_count = 1 },
	{ .name = "svc.wipe",
         .adapter = "svc",
         .risk = 0.9,
         .blast = BLAST_SERVICE,
         .has_dry_run = true,
         .has_probe = true },
	{ .name = "script.exec",
         .adapter = "script",
         .risk = 0.6,
         .blast = BLAST_HOST,
         .has_dry_run = true,
         .has_probe = true,
         .needs = script_needs,
         .needs_count = 1 },
};

static pthread_mutex_t world_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	int generation, replicas;
	bool silent; /* probes get no answer */
	unsigned probes, previews;
} world;

static const struct operation *find_operation(void *ctx, const char *name)
{
	(void)ctx;
	for (size_t i = 0; i < ARRAY_LEN(operations); i++)
		if (str_eq(operations[i].name, name))
			return &operations[i];
	return NULL;
}

static void call_world(void *ctx, const struct gate_call *call, struct gate_reply *ret)
{
	(void)ctx;
	pthread_mutex_lock(&world_lock);
	if (call->entry == GATE_DRY_RUN) {
		world.previews++;
		ret->said = GATE_WOULD_DO;
		ret->json = mem_strdup(
			"{\"changes\":[{\"what\":\"pods\",\"from\":\"old\",\"to\":\"new\"}],\"diff\":\"- old\\n+ new\"}");
	} else if (world.silent) {
		ret->said = GATE_NO_ANSWER;
		snprintf(ret->sentence, sizeof(ret->sentence), "the cluster did not answer");
	} else {
		world.probes++;
		ret->said = GATE_NOT_APPLIED;
		ret->json = mem_printf("{\"binding\":{\"generation\":%d,\"replicas\":%d},\"info\":{}}",
				       world.generation, world.replicas);
	}
	pthread_mutex_unlock(&world_lock);
}

static void world_is(int generation, int replicas, bool silent)
{
	pthread_mutex_lock(&world_lock);
	world.generation = generation;
	world.replicas = replicas;
	world.silent = silent;
	pthread_mutex_unlock(&world_lock);
}

/* ---- small helpers ---- */

static char *one(const char *sql, const char *a, const char *b)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	const char *args[] = { a, b };
	struct oc_fail fail;

	if (pg_query(pg, sql, args, b ? 2 : a ? 1 : 0, &r, &fail) != OC_OK)
		fail_msg("%s: %s", sql, fail.text);
	return pg_rows(r) ? mem_strdup(pg_text_or(r, 0, 0, "")) : mem_strdup("");
}

static void same(char *take_have, const char *want)
{
	AUTO(str) char *have = take_have;

	assert_string_equal(have, want);
}

static void run(const char *sql, const char *a, const char *b)
{
	free(one(sql, a, b));
}

struct fixture {
	long long tenant;
	char code[40], id[UUID_TEXT], plan[UUID_TEXT], tenant_text[24];
};

static char *plan_of(const char *steps)
{
	AUTO(json) json_t *doc = NULL;
	AUTO(str)
	char *text = mem_printf(
		"{\"title\":\"repair\",\"steps\":%s,\"rollback\":{},\"verify\":{\"checks\":[{\"kind\":"
		"\"probe\",\"step\":0}]}}",
		steps);
	struct oc_fail fail;

	if (json_read_own(text, &doc, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return plan_canonical(doc);
}

static void set_plan(struct fixture *f, const char *steps, const char *kind, const char *source)
{
	AUTO(str) char *text = plan_of(steps);
	AUTO(json) json_t *doc = NULL;
	char hash[HASH_HEX], print[HASH_HEX];
	struct oc_fail fail;

	assert_int_equal(json_read_own(text, &doc, NULL), OC_OK);
	hash_sha256_hex(text, strlen(text), hash);
	plan_fingerprint(doc, print);
	uuid_new(f->plan);
	if (pg_query(
		    pg,
		    "WITH p AS (INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash,"
		    " fingerprint, complete, created_by) SELECT $1::uuid, $2::bigint, $3::uuid, $4::text::jsonb, $4::text, 1 + (SELECT count(*) FROM"
		    " plan_proposed WHERE case_id = $3::uuid), 1, $5, $6, $7, $8, true, 'planner' RETURNING id)"
		    " UPDATE ops_case SET plan_id = $1::uuid, plan_kind = $5 WHERE id = $3::uuid",
		    PG_ARGS(f->plan, f->tenant_text, f->id, text, kind, source, hash, print), NULL,
		    &fail) != OC_OK)
		fail_msg("%s", fail.text);
}

static void open_case(struct fixture *f)
{
	struct oc_fail fail;

	uuid_new(f->id);
	if (pg_query(pg,
		     "INSERT INTO ops_case (id, tenant_id, tenant, title, status, epoch, opened_by)"
		     " VALUES ($1::uuid, $2::bigint, $3, 'p95 spike', 'WAIT_GATE', 4, 'olivia')",
		     PG_ARGS(f->id, f->tenant_text, f->code), NULL, &fail) != OC_OK)
		fail_msg("%s", fail.text);
}

/* A tenant of its own for each test, with a case that waits at the gate. */
static struct fixture begin(const char *env, const char *steps)
{
	static int n;
	struct fixture f;

	snprintf(f.code, sizeof(f.code), "t-gate-%d", n++);
	f.tenant = pgtemp_tenant(db, f.code);
	snprintf(f.tenant_text, sizeof(f.tenant_text), "%lld", f.tenant);
	if (env) {
		AUTO(str) char *labels = mem_printf("{\"env\":\"%s\"}", env);

		run("UPDATE dim_tenant SET labels = $2::jsonb WHERE code = $1", f.code, labels);
	}
	world_is(1, 3, false);
	open_case(&f);
	set_plan(&f, steps, "forward", "template");
	return f;
}

static char *send_args(struct fixture *f, const char *args)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str) char *payload = mem_printf("{\"drive\":\"auto\",\"args\":%s}", args);
	struct oc_fail fail;

	if (pg_query(pg,
		     "INSERT INTO outbox (tenant_id, case_id, kind, topic, key, payload, epoch) SELECT $1::bigint, $2::uuid, 'c',"
		     " 'cmd.gate.eval', $3, $4::jsonb, epoch FROM ops_case WHERE id = $2::uuid RETURNING id",
		     PG_ARGS(f->tenant_text, f->id, f->code, payload), &r, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return mem_strdup(pg_text(r, 0, 0));
}

static void wait_done(const char *id)
{
	for (int64_t until = clock_mono_ms() + 20000; clock_mono_ms() < until;) {
		AUTO(str)
		char *done = one("SELECT done_at IS NOT NULL FROM outbox WHERE id = $1::bigint", id, NULL);

		if (str_eq(done, "t"))
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	fail_msg("command %s was not done", id);
}

/* Returns the topic of the answering event, "" when there is none. Yours. */
static char *eval_args(struct fixture *f, const char *args)
{
	AUTO(str) char *id = send_args(f, args);

	wait_done(id);
	return one("SELECT topic FROM outbox WHERE kind = 'e' AND cmd_id = $1::bigint", id, NULL);
}

static char *eval(struct fixture *f)
{
	return eval_args(f, "{}");
}

static char *newest(const struct fixture *f, const char *what)
{
	AUTO(str)
	char *sql = mem_printf(
		"SELECT %s FROM gate_decision d WHERE case_id = $1::uuid ORDER BY created_at DESC LIMIT 1",
		what);

	return one(sql, f->id, NULL);
}

static void say(const struct fixture *f, const char *who, const char *role, const char *answer,
		const char *reason)
{
	AUTO(str) char *decision = newest(f, "id");
	struct oc_fail fail;

	if (pg_query(pg,
		     "INSERT INTO approval (tenant_id, decision_id, case_id, principal, role, answer, reason)"
		     " VALUES ($1::bigint, $2::uuid, $3::uuid, $4, $5, $6, $7)",
		     PG_ARGS(f->tenant_text, decision, f->id, who, role, answer, reason), NULL,
		     &fail) != OC_OK)
		fail_msg("%s", fail.text);
}

static char *eval_decision(struct fixture *f)
{
	AUTO(str) char *decision = newest(f, "id");
	AUTO(str) char *args = mem_printf("{\"decision_id\":\"%s\"}", decision);

	return eval_args(f, args);
}

#define NOOP "[{\"action\":\"noop\",\"params\":{},\"timeout_s\":10,\"retry\":0}]"
#define WEB  "\"target\":{\"urn\":\"urn:k8s:deploy:shop/web\"}"
#define RESTART                                                                 \
	"[{\"action\":\"svc.restart\",\"params\":{\"action\":\"restart\"}," WEB \
	",\"timeout_s\":60,\"retry\":0}]"
#define WIPE "[{\"action\":\"svc.wipe\",\"params\":{}," WEB ",\"timeout_s\":60,\"retry\":0}]"
#define SCRIPT \
	"[{\"action\":\"script.exec\",\"params\":{\"script\":\"echo ok\"},\"timeout_s\":60,\"retry\":0}]"

/* ---- the first look ---- */

static void what_policy_allows_is_approved_with_its_rows_and_event(void **state)
{
	struct fixture f = begin(NULL, NOOP);

	(void)state;
	same(eval(&f), "evt.plan.approved.v1");
	same(newest(&f,
		    "answer || ' ' || status || ' ' || epoch || ' ' || (plan_id = (SELECT plan_id FROM ops_case WHERE id = case_id))"),
	     "allow approved 4 true");
	same(newest(&f, "d.plan_hash = (SELECT hash FROM plan_proposed p WHERE p.id = d.plan_id)"), "t");
	same(newest(&f, "rules -> 0 ->> 'id'"), "noop");
	same(newest(&f, "EXISTS (SELECT FROM plan_approved a WHERE a.id = d.id AND a.plan_id = d.plan_id)"),
	     "t");
	same(newest(&f, "EXISTS (SELECT FROM outbox o WHERE o.product_id = d.id AND o.epoch = d.epoch)"),
	     "t");
	same(newest(&f, "EXISTS (SELECT FROM policy_version v WHERE v.hash = d.policy_hash)"), "t");
}

static void what_policy_asks_about_waits_for_people_and_shows_them_a_card(void **state)
{
	struct fixture f = begin("prod", RESTART);
	AUTO(json) json_t *card = NULL;
	AUTO(text) struct text t = { 0 };
	AUTO(str) char *text = NULL;

	(void)state;
	same(eval(&f), "");
	same(newest(&f, "answer || ' ' || status || ' ' || quorum || ' ' || who::text"),
	     "ask pending 1 [\"approver\", \"admin\"]");
	same(newest(&f, "world -> 0 -> 'binding'"), "{\"replicas\": 3, \"generation\": 1}");
	same(newest(&f, "world_hash IS NOT NULL AND expires_at > now() + interval '3 hours'"), "t");
	same(one("SELECT count(*) FROM notification WHERE case_id = $1::uuid AND sentence LIKE '%waits for 1 approval%'",
		 f.id, NULL),
	     "1");
	text = newest(&f, "card::text");
	assert_int_equal(json_read_own(text, &card, NULL), OC_OK);
	assert_string_equal(json_str(json_at(card, "/steps/0/changes/0"), "to"), "new");
	assert_string_equal(json_str(json_at(card, "/undo/0"), "how"),
			    "the adapter's undo, from what was before");
	assert_string_equal(json_string_value(json_at(card, "/terms/authors/0")), "olivia");
	assert_non_null(json_str(card, "nearest"));
	card_print(card, &t);
	assert_non_null(strstr(text_str(&t), "+ new"));
	assert_non_null(strstr(text_str(&t), "asks       1 of"));
}

static void the_card_says_what_models_cost_the_case_and_what_the_planning_one_said(void **state)
{
	struct fixture f = begin("prod", RESTART);
	AUTO(str) char *meta = NULL;

	(void)state;
	set_plan(&f, RESTART, "forward", "llm");
	meta = mem_printf("{\"plan_id\":\"%s\",\"llm\":{\"why\":\"it hangs; risk 0\"}}", f.plan);
	run("INSERT INTO case_timeline (tenant_id, case_id, seq, event, actor, meta, canonical, hash) SELECT tenant_id, id, 1,"
	    " 'plan_ready', 'planner', $2::jsonb, '', '' FROM ops_case WHERE id = $1::uuid",
	    f.id, meta);
	run("INSERT INTO llm_call (id, tenant_id, case_id, purpose, provider, model, request, request_hash, tokens_in,"
	    " tokens_out, cost, outcome) SELECT gen_random_uuid(), tenant_id, CASE WHEN n < 3 THEN id END, 'plan', 'p', 'm', '{}', 'h',"
	    " 100, 20, 0.5, 'ok' FROM ops_case, generate_series(1, 3) n WHERE id = $1::uuid",
	    f.id, NULL);
	same(eval(&f), "");
	same(newest(&f, "card -> 'cost' -> 'models'"), "{\"calls\": 2, \"money\": 1.0, \"tokens\": 240}");
	same(newest(&f, "card #>> '{risk,model_says}'"), "it hangs; risk 0");
	/* words move no number */
	same(newest(&f, "round((card #>> '{risk,highest}')::numeric, 6)::float8"), "0.4");
	same(newest(&f, "answer"), "ask");
}

static void low_risk_outside_of_production_passes_when_the_world_is_bound(void **state)
{
	struct fixture f = begin("staging", RESTART);
	struct fixture blind = begin("staging", RESTART);

	(void)state;
	world_is(1, 3, false);
	same(eval(&f), "evt.plan.approved.v1");
	world_is(1, 3, true);
	same(eval(&blind), "");
	same(newest(&blind, "world_hash IS NULL"), "t");
	same(newest(&blind, "card ->> 'warnings' LIKE '%world not bound (the cluster did not answer)%'"),
	     "t");
}

static void a_script_body_is_rejected_where_nobody_permitted_it(void **state)
{
	struct fixture f = begin("staging", SCRIPT);

	(void)state;
	same(eval(&f), "evt.plan.rejected.v1");
	same(newest(&f, "answer || ' ' || status || ' ' || (rules -> 0 ->> 'id')"),
	     "deny rejected builtin.permit");
	assert_false(gate_permits(gate, "script_body", f.code));
}

static void environments_that_contradict_each_other_are_unknown(void **state)
{
	struct fixture f = begin("prod", RESTART);

	(void)state;
	run("INSERT INTO case_body (case_id, tenant_id, labels) VALUES ($1::uuid, $2::bigint, '{\"env\":\"staging\"}')",
	    f.id, f.tenant_text);
	same(eval(&f), "");
	same(newest(&f, "coalesce(facts -> 'steps' -> 0 ->> 'environment', 'unknown')"), "unknown");
}

static void a_step_does_not_bind_what_an_earlier_step_of_the_plan_writes(void **state)
{
	struct fixture f =
		begin("prod",
		      "[{\"action\":\"svc.restart\",\"params\":{}," WEB ",\"timeout_s\":60,\"retry\":0},"
		      "{\"action\":\"svc.wipe\",\"params\":{}," WEB ",\"timeout_s\":60,\"retry\":0},"
		      "{\"action\":\"svc.wipe\",\"params\":{},\"target\":{\"urn\":\"urn:k8s:deploy:shop/db\"},"
		      "\"timeout_s\":60,\"retry\":0}]");

	(void)state;
	same(eval(&f), "");
	same(newest(&f, "world -> 0 -> 'binding'"), "{\"replicas\": 3, \"generation\": 1}");
	same(newest(&f, "world -> 1 -> 'binding'"), "{\"replicas\": 3}");
	same(newest(&f, "world -> 2 -> 'binding'"), "{\"replicas\": 3, \"generation\": 1}");
}

static void a_plan_that_nobody_can_carry_out_is_an_error_of_the_gate(void **state)
{
	struct fixture f =
		begin(NULL, "[{\"action\":\"no.such\",\"params\":{},\"timeout_s\":10,\"retry\":0}]");
	struct fixture tampered = begin(NULL, NOOP);

	(void)state;
	same(eval(&f), "evt.gate.failed.v1");
	run("UPDATE plan_proposed SET plan_text = plan_text || ' ' WHERE case_id = $1::uuid", tampered.id,
	    NULL);
	same(eval(&tampered), "evt.gate.failed.v1");
	same(one("SELECT count(*) FROM gate_decision WHERE case_id IN ($1::uuid, $2::uuid)", f.id,
		 tampered.id),
	     "0");
}

static void the_blast_radius_comes_from_the_topology_as_of_now(void **state)
{
	struct fixture f = begin("staging", RESTART);

	(void)state;
	same(eval(&f), "evt.plan.approved.v1");
	same(newest(&f, "coalesce(facts -> 'steps' -> 0 ->> 'downstream', 'unknown')"), "unknown");
	run("INSERT INTO dim_resource (tenant_id, urn, type, name) SELECT $1::bigint, u, 'k8s:svc', u FROM unnest(ARRAY["
	    "'urn:k8s:deploy:shop/web', 'urn:k8s:svc:a', 'urn:k8s:svc:b', 'urn:k8s:svc:c', 'urn:k8s:svc:old', 'urn:k8s:db:d']) u",
	    f.tenant_text, NULL);
	/* a -> web, b -> a, c -> b, web -> d, and a cycle; one edge is over */
	run("INSERT INTO topo_edge_time (tenant_id, src_resource_id, dst_resource_id, relation, source, valid)"
	    " SELECT s.tenant_id, s.resource_id, d.resource_id, 'CALLS', 'person', e.v FROM (VALUES"
	    " ('svc:a', 'deploy:shop/web', tstzrange(now() - interval '1 day', NULL)),"
	    " ('svc:b', 'svc:a', tstzrange(now() - interval '1 day', NULL)), ('svc:c', 'svc:b', tstzrange(now() - interval '1 day', NULL)),"
	    " ('deploy:shop/web', 'db:d', tstzrange(now() - interval '1 day', NULL)),"
	    " ('svc:a', 'svc:c', tstzrange(now() - interval '1 day', NULL)),"
	    " ('svc:old', 'deploy:shop/web', tstzrange(now() - interval '2 day', now() - interval '1 day'))) e(src, dst, v)"
	    " JOIN dim_resource s ON s.urn = 'urn:k8s:' || e.src AND s.tenant_id = $1::bigint"
	    " JOIN dim_resource d ON d.urn = 'urn:k8s:' || e.dst AND d.tenant_id = $1::bigint",
	    f.tenant_text, NULL);
	open_case(&f);
	set_plan(&f, RESTART, "forward", "template");
	free(eval(&f));
	same(newest(&f,
		    "(facts -> 'steps' -> 0 ->> 'downstream') || ' ' || (facts -> 'steps' -> 0 ->> 'upstream')"),
	     "3 1");
}

/* The planner would choose the old way for a handful of rows: what matters is that it can use the index at all. */
static void the_history_of_a_plan_is_read_by_its_index(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text plan = { 0 };
	AUTO(str) char *sql = mem_printf("EXPLAIN %s", SQL_GATE_LOAD);
	struct oc_fail fail;

	(void)state;
	run("SET enable_seqscan = off", NULL, NULL);
	run("SET enable_bitmapscan = off", NULL, NULL);
	if (pg_query(pg, sql, PG_ARGS("{1}"), &r, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	run("RESET ALL", NULL, NULL);
	for (unsigned i = 0; i < pg_rows(r); i++)
		text_addf(&plan, "%s\n", pg_text(r, i, 0));
	assert_non_null(strstr(text_str(&plan), "ix_plan_fingerprint"));
}

/* ---- people ---- */

static void the_approval_of_another_person_lets_it_through(void **state)
{
	struct fixture f = begin("prod", RESTART);

	(void)state;
	free(eval(&f));
	say(&f, "anna", "approver", "approve", NULL);
	same(eval_decision(&f), "evt.plan.approved.v1");
	same(newest(&f, "status"), "approved");
	same(newest(&f, "(SELECT decision -> 'approved_by' ->> 0 FROM plan_approved a WHERE a.id = d.id)"),
	     "anna");
}

static void the_own_approval_of_the_opener_does_not_count(void **state)
{
	struct fixture f = begin("prod", RESTART);

	(void)state;
	free(eval(&f));
	say(&f, "olivia", "admin", "approve", NULL);
	same(eval_decision(&f), "");
	same(newest(&f, "status"), "pending");
	say(&f, "victor", "viewer", "approve", NULL);
	same(eval_decision(&f), "");
	same(newest(&f, "status"), "pending");
}

static void two_people_are_needed_where_two_are_asked(void **state)
{
	struct fixture f = begin("staging", WIPE);

	(void)state;
	free(eval(&f));
	same(newest(&f, "quorum"), "2");
	say(&f, "anna", "approver", "approve", NULL);
	same(eval_decision(&f), "");
	say(&f, "bert", "admin", "approve", NULL);
	same(eval_decision(&f), "evt.plan.approved.v1");
}

static void an_approval_that_arrives_while_the_others_are_counted_is_not_lost(void **state)
{
	struct fixture f = begin("staging", WIPE);
	AUTO(pg) struct pg *late = pgtemp_open(db->worker);
	AUTO(str) char *args = NULL, *id = NULL, *decision = NULL;
	struct oc_fail fail;

	(void)state;
	free(eval(&f));
	say(&f, "anna", "approver", "approve", NULL);
	decision = newest(&f, "id");
	/* as the one door does it: the case is locked, the row is written, and the outstanding command is joined */
	assert_int_equal(pg_begin(late, &fail), OC_OK);
	assert_int_equal(pg_query(late, "SELECT id FROM ops_case WHERE id = $1::uuid FOR UPDATE",
				  PG_ARGS(f.id), NULL, &fail),
			 OC_OK);
	assert_int_equal(
		pg_query(late,
			 "INSERT INTO approval (tenant_id, decision_id, case_id, principal, role, answer)"
			 " VALUES ($1::bigint, $2::uuid, $3::uuid, 'bert', 'admin', 'approve')",
			 PG_ARGS(f.tenant_text, decision, f.id), NULL, &fail),
		OC_OK);
	args = mem_printf("{\"decision_id\":\"%s\"}", decision);
	id = send_args(&f, args);
	for (int i = 0; i < 500; i++) {
		AUTO(str)
		char *leased =
			one("SELECT lease_token IS NOT NULL FROM outbox WHERE id = $1::bigint", id, NULL);

		if (str_eq(leased, "t"))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	assert_int_equal(pg_commit(late, &fail), OC_OK);
	wait_done(id);
	same(one("SELECT topic FROM outbox WHERE kind = 'e' AND cmd_id = $1::bigint", id, NULL),
	     "evt.plan.approved.v1");
}

static void breaking_the_glass_stands_for_everybody_and_is_written_down(void **state)
{
	struct fixture f = begin("staging", WIPE);

	(void)state;
	free(eval(&f));
	say(&f, "olivia", "admin", "approve", "break-glass: the shop is down and nobody answers");
	same(eval_decision(&f), "evt.plan.approved.v1");
	same(newest(&f, "(SELECT decision ->> 'break_glass' FROM plan_approved a WHERE a.id = d.id)"),
	     "true");
}

static void one_no_rejects_whatever_others_said(void **state)
{
	struct fixture f = begin("staging", WIPE);

	(void)state;
	free(eval(&f));
	say(&f, "anna", "approver", "approve", NULL);
	say(&f, "bert", "approver", "reject", "not on a Friday");
	same(eval_decision(&f), "evt.plan.rejected.v1");
	same(newest(&f, "status || ': ' || reason"), "rejected: bert said no: not on a Friday");
}

static void a_world_that_changed_before_the_last_approval_is_asked_about_again(void **state)
{
	struct fixture f = begin("prod", RESTART);

	(void)state;
	free(eval(&f));
	world_is(1, 5, false);
	say(&f, "anna", "approver", "approve", NULL);
	same(eval_decision(&f), "");
	same(one("SELECT string_agg(status, ' ' ORDER BY created_at) FROM gate_decision WHERE case_id = $1::uuid",
		 f.id, NULL),
	     "void pending");
	same(one("SELECT void_reason FROM gate_decision WHERE case_id = $1::uuid AND status = 'void'", f.id,
		 NULL),
	     "the world changed: step 1: replicas was 3 and is 5");
	same(newest(&f, "world -> 0 -> 'binding' ->> 'replicas'"), "5");
}

static void whether_one_may_approve_is_said_before_anything_is_written(void **state)
{
	struct fixture f = begin("prod", RESTART);
	struct gate_may may;
	struct oc_fail fail = { 0 };
	char decision[UUID_TEXT] = "";

	(void)state;
	free(eval(&f));
	assert_int_equal(gate_check_approval_row(pg, f.tenant, f.id, NULL,
						 &(struct gate_person){ .principal = "anna",
									.role = "approver" },
						 false, decision, &may, &fail),
			 OC_OK);
	same(newest(&f, "id"), decision);
	assert_int_equal(gate_check_approval_row(pg, f.tenant, f.id, NULL,
						 &(struct gate_person){ .principal = "olivia",
									.role = "admin" },
						 false, NULL, &may, &fail),
			 OC_FORBIDDEN);
	assert_non_null(strstr(fail.text, "opscase token create --role approver --name"));
	assert_int_equal(gate_check_approval_row(pg, f.tenant, f.id, NULL,
						 &(struct gate_person){ .principal = "olivia",
									.role = "operator" },
						 true, NULL, &may, &fail),
			 OC_OK);
	run("UPDATE gate_decision SET expires_at = now() - interval '1 second' WHERE case_id = $1::uuid",
	    f.id, NULL);
	assert_int_equal(gate_check_approval_row(pg, f.tenant, f.id, NULL,
						 &(struct gate_person){ .principal = "anna",
									.role = "approver" },
						 false, NULL, &may, &fail),
			 OC_ILLEGAL);
	assert_int_equal(gate_check_approval_row(pg, f.tenant + 1000, f.id, NULL,
						 &(struct gate_person){ .principal = "anna",
									.role = "approver" },
						 false, NULL, &may, &fail),
			 OC_NOT_FOUND);
}

/* ---- right before effects ---- */

static struct gate_dispatch execute(struct fixture *f, char decision[UUID_TEXT], char run_id[UUID_TEXT])
{
	AUTO(str) char *id = newest(f, "id");

	snprintf(decision, UUID_TEXT, "%s", id);
	uuid_new(run_id);
	run("UPDATE ops_case SET status = 'EXECUTING', epoch = 5, decision_id = $2::uuid WHERE id = $1::uuid",
	    f->id, id);
	return (struct gate_dispatch){ .tenant_id = f->tenant,
				       .tenant = f->code,
				       .case_id = f->id,
				       .plan_id = f->plan,
				       .decision_id = decision,
				       .run_id = run_id,
				       .epoch = 5 };
}

static bool goes(const struct gate_dispatch *d, char *sentence, size_t size, json_t **ret_changed)
{
	struct gate_go go;
	struct oc_fail fail = { 0 };
	bool yes;

	if (gate_dispatch_check(gate, pg, d, &go, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	yes = go.go;
	if (sentence)
		snprintf(sentence, size, "%s", go.sentence);
	if (ret_changed)
		*ret_changed = json_incref(go.changed);
	if (yes)
		assert_non_null(go.world);
	gate_go_done(&go);
	return yes;
}

static void a_decision_is_used_once(void **state)
{
	struct fixture f = begin("staging", RESTART);
	char decision[UUID_TEXT], run_id[UUID_TEXT], other[UUID_TEXT], sentence[1024];
	struct gate_dispatch d;

	(void)state;
	free(eval(&f));
	d = execute(&f, decision, run_id);
	assert_true(goes(&d, NULL, 0, NULL));
	same(newest(&f, "status || ' ' || (used_by_run IS NOT NULL)"), "used true");
	assert_true(goes(&d, NULL, 0, NULL)); /* the same run, after a crash */
	uuid_new(other);
	d.run_id = other;
	assert_false(goes(&d, sentence, sizeof(sentence), NULL));
	assert_non_null(strstr(sentence, "used by another run"));
	same(newest(&f, "status"), "used");
	same(one("SELECT count(*) FROM remediation_budget WHERE tenant_id = $1::bigint", f.tenant_text, NULL),
	     "1");
}

static void a_world_that_changed_since_voids_the_decision_and_says_what(void **state)
{
	struct fixture f = begin("staging", RESTART);
	char decision[UUID_TEXT], run_id[UUID_TEXT], sentence[1024];
	AUTO(json) json_t *changed = NULL;
	struct gate_dispatch d;

	(void)state;
	free(eval(&f));
	d = execute(&f, decision, run_id);
	world_is(2, 3, false);
	assert_false(goes(&d, sentence, sizeof(sentence), &changed));
	assert_string_equal(sentence,
			    "the world changed since the decision: step 1: generation was 1 and is 2");
	assert_int_equal(json_integer_value(json_at(changed, "/steps/0/is")), 2);
	same(newest(&f, "status"), "void");
	world_is(1, 3, false);
	assert_false(goes(&d, sentence, sizeof(sentence), NULL)); /* void stays void */
}

static void a_world_that_cannot_be_seen_any_more_voids_the_decision(void **state)
{
	struct fixture f = begin("staging", RESTART);
	char decision[UUID_TEXT], run_id[UUID_TEXT];
	struct gate_dispatch d;

	(void)state;
	free(eval(&f));
	d = execute(&f, decision, run_id);
	world_is(1, 3, true);
	assert_false(goes(&d, NULL, 0, NULL));
	same(newest(&f, "status"), "void");
}

static void a_plan_that_was_swapped_is_not_dispatched(void **state)
{
	struct fixture f = begin("staging", RESTART);
	char decision[UUID_TEXT], run_id[UUID_TEXT], sentence[1024];
	struct gate_dispatch d;

	(void)state;
	free(eval(&f));
	d = execute(&f, decision, run_id);
	run("UPDATE plan_proposed SET plan_text = replace(plan_text, 'restart', 'destroy') WHERE id = $1::uuid",
	    f.plan, NULL);
	assert_false(goes(&d, sentence, sizeof(sentence), NULL));
	assert_non_null(strstr(sentence, "not the one that was approved"));
}

static void expiry_epoch_kill_switch_and_effects_each_stop_it(void **state)
{
	static const char *const before[][2] = {
		{ "UPDATE gate_decision SET expires_at = now() - interval '1 second' WHERE case_id = $1::uuid",
                 "expired"														},
		{ "UPDATE ops_case SET epoch = 6 WHERE id = $1::uuid",                                               "not being executed" },
		{ "UPDATE ops_case SET decision_id = gen_random_uuid() WHERE id = $1::uuid",
                 "not being executed"												     },
		{ "UPDATE gate_decision SET status = 'pending' WHERE case_id = $1::uuid",                            "is pending"         },
		{ "UPDATE dim_tenant SET labels = labels || '{\"kill_switch\":true}' WHERE tenant_id = (SELECT tenant_id FROM ops_case"
		  " WHERE id = $1::uuid)",							  "kill switch"        },
		{ "UPDATE installation SET effects = 'off', effects_reason = 'restored' WHERE $1::uuid IS NOT NULL",
                 "effects are off"													},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(before); i++) {
		struct fixture f = begin("staging", RESTART);
		char decision[UUID_TEXT], run_id[UUID_TEXT], sentence[1024];
		struct gate_dispatch d;

		free(eval(&f));
		d = execute(&f, decision, run_id);
		run(before[i][0], f.id, NULL);
		if (goes(&d, sentence, sizeof(sentence), NULL) || !strstr(sentence, before[i][1]))
			fail_msg("'%s' is not in '%s'", before[i][1], sentence);
		same(newest(&f, "used_at IS NULL"), "t");
	}
	run("UPDATE installation SET effects = 'on', effects_reason = NULL", NULL, NULL);
}

static void the_kill_switch_also_rejects_at_the_gate(void **state)
{
	struct fixture f = begin("staging", NOOP);

	(void)state;
	run("UPDATE dim_tenant SET labels = labels || '{\"kill_switch\":true}' WHERE code = $1", f.code,
	    NULL);
	same(eval(&f), "evt.plan.rejected.v1");
}

static void the_third_repair_of_the_same_thing_in_a_day_is_recurring(void **state)
{
	struct fixture f = begin("staging", RESTART);
	char decision[UUID_TEXT], run_id[UUID_TEXT];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct gate_dispatch d;

		same(eval(&f), "evt.plan.approved.v1");
		d = execute(&f, decision, run_id);
		assert_true(goes(&d, NULL, 0, NULL));
		open_case(&f);
		set_plan(&f, RESTART, "forward", "template");
	}
	same(eval(&f), "evt.plan.rejected.v1");
	same(one("SELECT payload -> 'meta' ->> 'recurring' FROM outbox WHERE case_id = $1::uuid AND kind = 'e'",
		 f.id, NULL),
	     "true");
	/* the way back is not held up, and costs nothing */
	open_case(&f);
	set_plan(&f, RESTART, "rollback", "derived");
	same(eval(&f), "evt.plan.approved.v1");
	{
		struct gate_dispatch d = execute(&f, decision, run_id);

		assert_true(goes(&d, NULL, 0, NULL));
	}
	same(one("SELECT count(*) FROM remediation_budget WHERE tenant_id = $1::bigint", f.tenant_text, NULL),
	     "2");
}

/* ---- a new policy ---- */

static void write_policy(const char *text)
{
	AUTO(str) char *path = mem_printf("%s/50-test.yaml", policy_dir);
	AUTO(file) FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
}

static void reload(enum oc_err want)
{
	struct oc_fail fail = { 0 };

	if (gate_reload(gate, &fail) != want)
		fail_msg("%s", fail.text);
	if (want != OC_OK)
		assert_non_null(strstr(fail.text, "50-test.yaml:"));
}

static void wait_commands(const struct fixture *f)
{
	AUTO(str)
	char *id = one("SELECT max(id) FROM outbox WHERE kind = 'c' AND case_id = $1::uuid", f->id, NULL);

	wait_done(id);
}

static void a_bad_policy_keeps_the_last_good_one_in_force(void **state)
{
	char before[HASH_HEX], after[HASH_HEX];

	(void)state;
	gate_policy_hash(gate, before);
	write_policy("version: 1\nrules: [{id: x, answer: perhaps, when: always}]\n");
	reload(OC_INVALID);
	gate_policy_hash(gate, after);
	assert_string_equal(before, after);
	write_policy("version: 1\n");
	reload(OC_OK);
}

static void a_stricter_policy_voids_what_waits_and_asks_again(void **state)
{
	struct fixture f = begin("prod", RESTART);

	(void)state;
	write_policy("version: 1\n");
	reload(OC_OK);
	free(eval(&f));
	say(&f, "anna", "approver", "approve", NULL);
	write_policy(
		"version: 1\nrules: [{id: two-now, answer: ask, approvers: {count: 2}, when: {environment: prod}, reason: two now}]\n");
	reload(OC_OK);
	wait_commands(&f);
	same(one("SELECT string_agg(status || quorum, ' ' ORDER BY created_at) FROM gate_decision WHERE case_id = $1::uuid",
		 f.id, NULL),
	     "void1 pending2");
	/* who approved the old one has not approved the new one */
	same(eval_decision(&f), "");
	same(newest(&f, "status"), "pending");
	write_policy("version: 1\n# milder\nrules: [{id: all, answer: allow, when: {environment: prod}}]\n");
	reload(OC_OK);
	wait_commands(&f);
	same(newest(&f, "status || quorum"), "pending2");
	write_policy(
		"version: 1\nrules: [{id: none, answer: deny, when: {environment: prod}, reason: not any more}]\n");
	reload(OC_OK);
	wait_commands(&f);
	same(newest(&f, "status"), "rejected");
	write_policy("version: 1\n");
	reload(OC_OK);
}

static void a_policy_that_became_stricter_stops_an_approved_plan_at_dispatch(void **state)
{
	struct fixture f = begin("staging", RESTART);
	char decision[UUID_TEXT], run_id[UUID_TEXT], sentence[1024];
	struct gate_dispatch d;

	(void)state;
	same(eval(&f), "evt.plan.approved.v1");
	d = execute(&f, decision, run_id);
	write_policy(
		"version: 1\nrules: [{id: none, answer: ask, when: {action: svc.restart}, reason: ask me first}]\n");
	reload(OC_OK);
	assert_false(goes(&d, sentence, sizeof(sentence), NULL));
	assert_string_equal(sentence, "policy is stricter now (ask): ask me first");
	write_policy("version: 1\n");
	reload(OC_OK);
}

static void a_gate_does_not_start_on_a_bad_policy(void **state)
{
	static const char bad[] = "version: 1\nrules: [{id: x}]\n";
	struct policy_source files[] = {
		{ "bad.yaml", bad, sizeof(bad) - 1 }
	};
	struct gate *none = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_not_equal(gate_new(&(struct gate_config){ .builtin = files, .builtin_count = 1 }, &none,
				      &fail),
			     OC_OK);
	assert_null(none);
	assert_non_null(strstr(fail.text, "bad.yaml:2"));
}

/* ---- ---- */

static int start(void **state)
{
	AUTO(str) char *copy = NULL;
	struct role role;
	struct oc_fail fail = { 0 };

	(void)state;
	db = pgtemp_shared();
	pg = pgtemp_open(db->worker);
	assert_non_null(mkdtemp(policy_dir));
	copy = mem_printf("cp '%s/policies/default.yaml' '%s/10-default.yaml'", OPSCASE_SOURCE_DIR,
			  policy_dir);
	assert_int_equal(system(copy), 0);
	if (gate_new(
		    &(struct gate_config){
			    .policy_dir = policy_dir,
			    .conninfo = db->worker,
			    .world = { .operation = find_operation, .call = call_world },
			    .threads = 4
        },
		    &gate, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	role = gate_role(gate);
	assert_int_equal(worker_start(&role, &(struct worker_deps){ .conninfo = db->worker }, &worker, &fail),
			 OC_OK);
	return 0;
}

static int stop(void **state)
{
	AUTO(str) char *away = mem_printf("rm -rf '%s'", policy_dir);

	(void)state;
	worker_stop(worker);
	gate_free(gate);
	pg_close(pg);
	return system(away);
}

/* The model that wrote the plan is the last that answered before it was there. */
static void policy_may_ask_whether_the_plans_model_is_certified(void **state)
{
	static const char fact[] =
		"coalesce(facts -> 'steps' -> 0 ->> 'model_certified', facts -> 'plan' ->> "
		"'model_certified', 'unknown')";
	static const char call[] =
		"INSERT INTO llm_call (id, tenant_id, case_id, purpose, provider, model, request, request_hash, outcome, created_at)"
		" SELECT gen_random_uuid(), tenant_id, id, 'plan', 'p', $2, '{}', 'h', 'ok', now() - interval '1 minute' FROM ops_case"
		" WHERE id = $1::uuid";
	static const char certificate[] =
		"INSERT INTO llm_certificate (tenant_id, provider, model, duty, golden, passed, total, certified) SELECT tenant_id, 'p', 'good',"
		" 'plan', 'h', 13, 13, $2::boolean FROM ops_case WHERE id = $1::uuid";
	struct fixture f = begin(NULL, NOOP);

	(void)state;
	/* a template's plan has no model */
	free(eval(&f));
	same(newest(&f, fact), "unknown");
	set_plan(&f, NOOP, "forward", "llm");
	run(certificate, f.id, "true");
	run(call, f.id, "another");
	free(eval(&f));
	same(newest(&f, fact), "unknown");
	run("DELETE FROM llm_call WHERE case_id = $1::uuid", f.id, NULL);
	run(call, f.id, "good");
	set_plan(&f, NOOP, "forward", "llm");
	free(eval(&f));
	same(newest(&f, fact), "true");
	run("UPDATE llm_certificate SET certified = false WHERE tenant_id = $1::bigint", f.tenant_text, NULL);
	set_plan(&f, NOOP, "forward", "llm");
	free(eval(&f));
	same(newest(&f, fact), "false");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_policy_allows_is_approved_with_its_rows_and_event),
		cmocka_unit_test(what_policy_asks_about_waits_for_people_and_shows_them_a_card),
		cmocka_unit_test(the_card_says_what_models_cost_the_case_and_what_the_planning_one_said),
		cmocka_unit_test(low_risk_outside_of_production_passes_when_the_world_is_bound),
		cmocka_unit_test(a_script_body_is_rejected_where_nobody_permitted_it),
		cmocka_unit_test(environments_that_contradict_each_other_are_unknown),
		cmocka_unit_test(a_step_does_not_bind_what_an_earlier_step_of_the_plan_writes),
		cmocka_unit_test(a_plan_that_nobody_can_carry_out_is_an_error_of_the_gate),
		cmocka_unit_test(the_blast_radius_comes_from_the_topology_as_of_now),
		cmocka_unit_test(the_history_of_a_plan_is_read_by_its_index),
		cmocka_unit_test(the_approval_of_another_person_lets_it_through),
		cmocka_unit_test(the_own_approval_of_the_opener_does_not_count),
		cmocka_unit_test(two_people_are_needed_where_two_are_asked),
		cmocka_unit_test(an_approval_that_arrives_while_the_others_are_counted_is_not_lost),
		cmocka_unit_test(breaking_the_glass_stands_for_everybody_and_is_written_down),
		cmocka_unit_test(one_no_rejects_whatever_others_said),
		cmocka_unit_test(a_world_that_changed_before_the_last_approval_is_asked_about_again),
		cmocka_unit_test(whether_one_may_approve_is_said_before_anything_is_written),
		cmocka_unit_test(a_decision_is_used_once),
		cmocka_unit_test(a_world_that_changed_since_voids_the_decision_and_says_what),
		cmocka_unit_test(a_world_that_cannot_be_seen_any_more_voids_the_decision),
		cmocka_unit_test(a_plan_that_was_swapped_is_not_dispatched),
		cmocka_unit_test(expiry_epoch_kill_switch_and_effects_each_stop_it),
		cmocka_unit_test(the_kill_switch_also_rejects_at_the_gate),
		cmocka_unit_test(the_third_repair_of_the_same_thing_in_a_day_is_recurring),
		cmocka_unit_test(a_bad_policy_keeps_the_last_good_one_in_force),
		cmocka_unit_test(a_stricter_policy_voids_what_waits_and_asks_again),
		cmocka_unit_test(a_policy_that_became_stricter_stops_an_approved_plan_at_dispatch),
		cmocka_unit_test(a_gate_does_not_start_on_a_bad_policy),
		cmocka_unit_test(policy_may_ask_whether_the_plans_model_is_certified),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
