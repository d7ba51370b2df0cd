/* The REST API on real PostgreSQL and NATS, with roles that only say what a real one would: the manual drive as
 * the cURL demo goes, the status code of every error, and requests that mean harm. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "api/api.h"
#include "api/waiters.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "base/waker.h"
#include "contracts/plan.h"
#include "orchestrator/janitor.h"
#include "orchestrator/loop.h"
#include "orchestrator/relay.h"
#include "orchestrator/transition.h"
#include "store/token.h"
#include "tests/support/natstemp.h"
#include "tests/support/operations.h"
#include "tests/support/pgtemp.h"
#include "wire/bus/bus.h"
#include "wire/http/client.h"
#include "worker/worker.h"

static struct natstemp nats;
static struct pgtemp *db;
static struct pg *pg;
static long long tenant, other_tenant, strict_tenant;
static char admin[TOKEN_TEXT], oper[TOKEN_TEXT], viewer[TOKEN_TEXT], approver[TOKEN_TEXT],
	stranger[TOKEN_TEXT], strict[TOKEN_TEXT];

/* --- scripted roles */

enum gate_says { GATE_ALLOWS, GATE_ASKS, GATE_DENIES };
static atomic_int gate_says, hold_planner;

static const char SQL_PLAN[] =
	"INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash, fingerprint, complete,"
	" created_by) SELECT $1::uuid, $2::bigint, $3::uuid, $5::jsonb, $5, 1 + (SELECT count(*) FROM plan_proposed WHERE case_id = $3::uuid),"
	" $4::int, 'forward', 'template', 'h', 'f', true, 'test'";
static const char SQL_DECISION[] =
	"INSERT INTO gate_decision (id, tenant_id, case_id, plan_id, epoch, answer, status, plan_hash, args_hash, policy_hash, expires_at,"
	" who) SELECT $1::uuid, $2::bigint, $3::uuid, c.plan_id, $4::int, $5, $6, 'h', 'a', 'p', now() + interval '1 hour',"
	" '[\"approver\"]' FROM ops_case c WHERE c.id = $3::uuid";
/* Counts: one answer is enough. */
static const char SQL_COUNT[] =
	"UPDATE gate_decision d SET status = CASE a.answer WHEN 'approve' THEN 'approved' ELSE 'rejected' END, decided_at = now()"
	" FROM approval a WHERE d.id = $1::uuid AND a.decision_id = d.id AND d.tenant_id = $2::bigint AND d.status = 'pending'";
static const char SQL_RUN[] =
	"INSERT INTO exec_run (id, tenant_id, case_id, plan_id, decision_id, cmd_id, epoch, status, steps_total, applied, dispatched,"
	" finished_at) SELECT $1::uuid, $2::bigint, $3::uuid, c.plan_id, c.decision_id, 0, $4::int, 'succeeded', 1, 1, 1, now()"
	" FROM ops_case c WHERE c.id = $3::uuid";
static const char SQL_VERDICT[] =
	"INSERT INTO verdict (id, tenant_id, case_id, plan_id, epoch, verdict, checks)"
	" SELECT $1::uuid, $2::bigint, $3::uuid, c.plan_id, $4::int, 'PASS', '[]' FROM ops_case c WHERE c.id = $3::uuid";
static const char SQL_FINDING[] =
	"INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body) VALUES ($1::uuid, $2::bigint, $3::uuid, $4::int, 'x', '{}')";

static const char template_plan[] =
	"{\"title\":\"roll out\",\"steps\":[{\"action\":\"noop\",\"params\":{},\"timeout_s\":10,\"retry\":0}],"
	"\"rollback\":{},\"verify\":{\"checks\":[{\"kind\":\"probe\",\"step\":0}]}}";

static atomic_int reject_next;

static enum oc_err scripted(void *ctx, const struct command *cmd, struct answer *ans, struct oc_fail *reterr)
{
	const json_t *args = json_object_get(cmd->payload, "args");
	char id[UUID_TEXT], t[24], epoch[16];

	(void)ctx, (void)reterr;
	uuid_new(id);
	snprintf(t, sizeof(t), "%lld", cmd->tenant_id);
	snprintf(epoch, sizeof(epoch), "%d", cmd->epoch);
	if (str_eq(cmd->topic, "cmd.analysis.run")) {
		answer_do(ans, SQL_FINDING, PG_ARGS(id, t, cmd->case_id, epoch));
		answer_event(ans, "evt.analysis.findings.v1", id);
	} else if (str_eq(cmd->topic, "cmd.plan.generate")) {
		const json_t *plan = json_object_get(args, "plan");
		AUTO(str) char *text = plan ? json_canonical(plan) : mem_strdup(template_plan);

		if (atomic_load(&hold_planner)) {
			answer_later(ans, 100);
			return OC_OK;
		}
		answer_do(ans, SQL_PLAN, PG_ARGS(id, t, cmd->case_id, epoch, text));
		answer_event(ans, "evt.plan.proposed.v1", id);
	} else if (str_eq(cmd->topic, "cmd.gate.eval")) {
		const char *decision = json_str(args, "decision_id");
		int says = atomic_load(&gate_says);

		if (decision) {
			answer_do(ans, SQL_COUNT, PG_ARGS(decision, t));
			answer_event(ans,
				     atomic_load(&reject_next) ? "evt.plan.rejected.v1"
							       : "evt.plan.approved.v1",
				     decision);
		} else {
			answer_do(ans, SQL_DECISION,
				  PG_ARGS(id, t, cmd->case_id, epoch,
					  says == GATE_ALLOWS ? "allow"
					  : says == GATE_ASKS ? "ask"
							      : "deny",
					  says == GATE_ALLOWS ? "approved"
					  : says == GATE_ASKS ? "pending"
							      : "rejected"));
			if (says == GATE_DENIES)
				answer_reason(ans, "no scripts here");
			if (says != GATE_ASKS)
				answer_event(ans,
					     says == GATE_ALLOWS ? "evt.plan.approved.v1"
								 : "evt.plan.rejected.v1",
					     id);
		}
	} else if (str_eq(cmd->topic, "cmd.exec.run")) {
		answer_do(ans, SQL_RUN, PG_ARGS(id, t, cmd->case_id, epoch));
		answer_event(ans, "evt.exec.done.v1", id);
	} else if (str_eq(cmd->topic, "cmd.verify.run")) {
		answer_do(ans, SQL_VERDICT, PG_ARGS(id, t, cmd->case_id, epoch));
		answer_event(ans, "evt.verify.pass.v1", id);
	}
	return OC_OK;
}

static struct rig {
	struct bus *bus;
	struct waker *wake;
	struct relay *relay;
	struct loop *loop;
	struct janitor *janitor;
	struct worker *workers[6];
	struct waiters *waiters;
	struct pg_pool *api_pool, *worker_pool;
	struct api *api;
	struct operation_list ops;
	struct plan_contract *contract;
	char url[64];
} rig;

static void on_case(void *ctx, const char *case_id)
{
	waiters_notify(ctx, case_id);
}

static bool permits(void *ctx, const char *need, const char *code)
{
	(void)ctx;
	return !str_eq(need, "script_body") || str_eq(code, "t-001");
}

static bool bus_ready(void *ctx, char *word, size_t size)
{
	(void)ctx;
	snprintf(word, size, "connected");
	return true;
}
static const struct api_ready ready[] = {
	{ "nats", bus_ready, NULL },
        { 0 }
};

static void token_for(long long tenant_id, const char *name, enum token_role role, char out[TOKEN_TEXT])
{
	struct oc_fail fail = { 0 };
	char id[UUID_TEXT];

	if (token_create(pg, &(struct token_new){ .tenant_id = tenant_id, .name = name, .role = role }, out,
			 id, &fail) != OC_OK)
		fail_msg("%s", fail.text);
}

static void api_up(void)
{
	struct api_config config = { .handler_threads = 24,
				     /* a slow machine must not be taken for a slow client */
				     .head_ms = 30000,
				     .body_ms = 5000,
				     .default_wait_s = 100 };
	struct api_deps deps = { .waiters_ref = rig.waiters,
				 .operations_ref = &rig.ops,
				 .contract_ref = rig.contract,
				 .permits = permits,
				 .version = "test",
				 .ready = ready };
	struct oc_fail fail = { 0 };

	deps.api_pool = rig.api_pool;
	deps.worker_pool = rig.worker_pool;
	if (api_start(&config, &deps, &rig.api, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	snprintf(rig.url, sizeof(rig.url), "http://127.0.0.1:%u", api_port(rig.api));
}

static int group_start(void **state)
{
	static const char *const roles[][2] = {
		{ "analyst",    "cmd.analysis.run"  },
                { "planner",    "cmd.plan.generate" },
		{ "gatekeeper", "cmd.gate.eval"     },
                { "executor",   "cmd.exec.run"      },
		{ "verifier",   "cmd.verify.run"    },
                { "errands",    "cmd.learn"         }
	};
	struct oc_fail fail = { 0 };

	(void)state;
	natstemp_start(&nats);
	db = pgtemp_shared();
	pg = pgtemp_open(db->worker);
	tenant = pgtemp_tenant(db, "t-001");
	other_tenant = pgtemp_tenant(db, "t-other");
	strict_tenant = pgtemp_tenant(db, "t-strict");
	token_for(0, "root", ROLE_ADMIN, admin);
	token_for(tenant, "olga", ROLE_OPERATOR, oper);
	token_for(tenant, "vera", ROLE_VIEWER, viewer);
	token_for(tenant, "anna", ROLE_APPROVER, approver);
	token_for(other_tenant, "otto", ROLE_ADMIN, stranger);
	token_for(strict_tenant, "stan", ROLE_OPERATOR, strict);

	rig.wake = waker_new();
	rig.waiters = waiters_new(16);
	support_operations(&rig.ops);
	if (plan_contract_new(&rig.ops, &rig.contract, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	transition_set_waker(rig.wake);
	assert_int_equal(bus_open(&(struct bus_config){ .url = nats.url, .name = "test" }, &rig.bus, &fail),
			 OC_OK);
	assert_int_equal(relay_start(db->worker, rig.bus, rig.wake, &rig.relay, &fail), OC_OK);
	assert_int_equal(loop_start(&(struct loop_deps){ .conninfo = db->worker,
							 .bus = rig.bus,
							 .relay_wake = rig.wake,
							 .on_case = on_case,
							 .ctx = rig.waiters },
				    &rig.loop, &fail),
			 OC_OK);
	assert_int_equal(janitor_start(&(struct janitor_deps){ .conninfo = db->worker,
							       .relay_wake = rig.wake },
				       &rig.janitor, &fail),
			 OC_OK);
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		struct role role = {
			.name = roles[i][0],
			.topics = { roles[i][1], i == 5 ? "cmd.notify" : NULL },
			.threads = 1,
			.max_batch = 64,
			.lease_ms = 30000,
			.work = scripted
		};

		assert_int_equal(worker_start(&role,
					      &(struct worker_deps){ .conninfo = db->worker,
								     .bus = rig.bus,
								     .relay_wake = rig.wake },
					      &rig.workers[i], &fail),
				 OC_OK);
	}
	rig.api_pool = pg_pool_new(db->api, "test-api", 8);
	rig.worker_pool = pg_pool_new(db->worker, "test-api-worker", 8);
	api_up();
	return 0;
}

static int group_stop(void **state)
{
	(void)state;
	api_stop(rig.api);
	for (size_t i = 0; i < ARRAY_LEN(rig.workers); i++)
		worker_stop(rig.workers[i]);
	janitor_stop(rig.janitor);
	loop_stop(rig.loop);
	relay_stop(rig.relay);
	transition_set_waker(NULL);
	bus_close(rig.bus);
	waker_free(rig.wake);
	waiters_free(rig.waiters);
	pg_pool_free(rig.api_pool);
	pg_pool_free(rig.worker_pool);
	plan_contract_free(rig.contract);
	operation_list_done(&rig.ops);
	pg_close(pg);
	natstemp_stop(&nats);
	return 0;
}

static int calm(void **state)
{
	(void)state;
	atomic_store(&gate_says, GATE_ALLOWS);
	atomic_store(&hold_planner, 0);
	atomic_store(&reject_next, 0);
	return 0;
}

/* --- calls */

struct got {
	struct http_answer a;
	json_t *doc;
};

static void got_done(struct got *g)
{
	http_answer_done(&g->a);
	json_decref(g->doc);
	*g = (struct got){ 0 };
}
#define AUTO_GOT __attribute__((cleanup(got_done))) struct got

static struct got call(const char *token, const char *method, const char *path, const char *body,
		       const char *const *headers)
{
	AUTO(http_client)
	struct http_client *c = http_client_new(
		&(struct http_client_config){ .base_url = rig.url, .bearer = token, .timeout_ms = 120000 });
	struct oc_fail fail = { 0 };
	struct got g = { 0 };

	if (http_client_call(c, method, path, headers, body, &g.a, &fail) != OC_OK)
		fail_msg("%s %s: %s", method, path, fail.text);
	g.doc = json_loads(g.a.body, JSON_DECODE_ANY, NULL);
	return g;
}
#define WITH(...)                 \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

static const char *data(const struct got *g, const char *key)
{
	return json_str(json_object_get(g->doc, "data"), key);
}

#define assert_status(g, want)                                                                  \
	do {                                                                                    \
		if ((g).a.status != (want))                                                     \
			fail_msg("status %d, wanted %d: %s", (g).a.status, (want), (g).a.body); \
	} while (0)

/* An error is a problem document that says its own status. */
static void is_problem(const struct got *g, int want)
{
	assert_status(*g, want);
	assert_true(str_starts(g->a.content_type, "application/problem+json"));
	assert_int_equal(json_int_or(g->doc, "status", 0), want);
	assert_non_null(json_str(g->doc, "type"));
	assert_non_null(json_str(g->doc, "title"));
	assert_non_null(json_str(g->doc, "detail"));
}

static void open_case(const char *token, char id[UUID_TEXT])
{
	AUTO_GOT g = call(token, "POST", "/case/create", "{\"title\":\"p95 spike\"}", NULL);

	assert_status(g, 201);
	snprintf(id, UUID_TEXT, "%s", data(&g, "id"));
}

static char *one(const char *sql, const char *arg)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail fail;

	if (pg_query(pg, sql, &arg, arg ? 1 : 0, &r, &fail) != OC_OK)
		fail_msg("%s: %s", sql, fail.text);
	return pg_rows(r) ? mem_strdup(pg_text_or(r, 0, 0, "")) : mem_strdup("");
}

static int count(const char *sql, const char *arg)
{
	AUTO(str) char *n = one(sql, arg);

	return atoi(n);
}

static struct got post_for(const char *token, const char *path, const char *id, const char *more,
			   const char *const *headers)
{
	AUTO(str) char *body = mem_printf("{\"case_id\":\"%s\"%s}", id, more);

	return call(token, "POST", path, body, headers);
}

/* Brings a case to EXECUTING by the manual drive. */
static void to_executing(const char *token, char id[UUID_TEXT])
{
	open_case(token, id);
	{
		AUTO_GOT g = post_for(token, "/plan/generate", id, "", NULL);

		assert_status(g, 200);
	}
	{
		AUTO_GOT g = post_for(token, "/gate/eval", id, "", NULL);

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "EXECUTING");
	}
}

/* --- the demo */

static void the_curl_demo_closes_a_case(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;
	AUTO(str) char *lines = NULL;

	(void)state;
	{
		AUTO_GOT g = call(admin, "POST", "/case/create",
				  "{\"title\":\"p95 spike\",\"tenant\":\"t-001\"}", NULL);

		assert_status(g, 201);
		assert_string_equal(data(&g, "id"), data(&g, "case_id"));
		assert_string_equal(data(&g, "status"), "NEW");
		assert_string_equal(g.a.etag, "\"1\"");
		snprintf(id, sizeof(id), "%s", data(&g, "id"));
	}
	path = mem_printf("/case/%s/transition", id);
	{
		AUTO_GOT g = call(admin, "PATCH", path,
				  "{\"event\":\"start_analysis\",\"actor\":\"analyst@svc\"}",
				  WITH("Idempotency-Key: a1"));

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "ANALYZING");
	}
	{
		AUTO_GOT g =
			post_for(admin, "/plan/generate", id, ",\"template\":\"k8s.rollout.canary\"", NULL);

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "WAIT_GATE");
	}
	{
		AUTO_GOT g = post_for(admin, "/gate/eval", id, "", NULL);

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "EXECUTING");
	}
	{
		AUTO_GOT g = post_for(admin, "/adapter/exec", id,
				      ",\"adapter\":\"script\",\"script\":\"echo ok\"", NULL);

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "VERIFYING");
	}
	{
		AUTO_GOT g = post_for(admin, "/verify/run", id, "", NULL);

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "CLOSED");
		assert_string_equal(data(&g, "resolution"), "verified");
	}
	/* The script was another plan: it went through the gate by itself. */
	lines = one("SELECT string_agg(event, ' ' ORDER BY seq) FROM case_timeline WHERE case_id = $1::uuid",
		    id);
	assert_string_equal(
		lines,
		"create start_analysis analysis_done ask_plan plan_ready ask_gate gate_approved plan_revised "
		"plan_ready ask_gate gate_approved ask_exec exec_done ask_verify verify_pass");
}

static void a_script_where_policy_has_no_scripts_is_422_and_changes_nothing(void **state)
{
	char id[UUID_TEXT];
	int before, after;

	(void)state;
	to_executing(strict, id);
	before = count("SELECT version FROM ops_case WHERE id = $1::uuid", id);
	{
		AUTO_GOT g = post_for(strict, "/adapter/exec", id,
				      ",\"adapter\":\"script\",\"script\":\"echo ok\"", NULL);

		is_problem(&g, 422);
		assert_true(json_array_size(json_object_get(g.doc, "errors")) > 0);
		assert_true(str_starts(json_str(json_at(g.doc, "/errors/0"), "pointer"), "/steps/0"));
	}
	after = count("SELECT version FROM ops_case WHERE id = $1::uuid", id);
	assert_int_equal(before, after);
}

static void a_revision_that_the_gate_denies_is_422_and_parks_the_case(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	to_executing(oper, id);
	atomic_store(&gate_says, GATE_DENIES);
	{
		AUTO_GOT g = post_for(oper, "/adapter/exec", id,
				      ",\"adapter\":\"script\",\"script\":\"echo ok\"", NULL);

		is_problem(&g, 422);
		assert_string_equal(json_str(json_object_get(g.doc, "case"), "status"), "PARKED");
		assert_non_null(strstr(json_str(g.doc, "detail"), "no scripts here"));
	}
	assert_int_equal(count("SELECT count(*) FROM exec_run WHERE case_id = $1::uuid", id), 0);
}

static void with_an_empty_body_the_approved_plan_is_carried_out(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	to_executing(oper, id);
	{
		AUTO_GOT g = post_for(oper, "/adapter/exec", id, "", NULL);

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "VERIFYING");
	}
	assert_int_equal(count("SELECT count(*) FROM plan_proposed WHERE case_id = $1::uuid", id), 1);
}

/* --- people */

static void a_pending_decision_is_202_and_an_approval_lets_it_through(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *approve = NULL;

	(void)state;
	atomic_store(&gate_says, GATE_ASKS);
	open_case(oper, id);
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", NULL);

		assert_status(g, 200);
	}
	{
		AUTO_GOT g = post_for(oper, "/gate/eval", id, "", NULL);
		AUTO(str) char *where = mem_printf("/case/%s", id);

		assert_status(g, 202);
		assert_string_equal(g.a.location, where);
		assert_string_equal(json_str(json_at(g.doc, "/data/waits_for"), "for"), "people");
	}
	approve = mem_printf("/case/%s/approve", id);
	{
		AUTO_GOT g = call(viewer, "POST", approve, "{}", NULL);

		is_problem(&g, 403);
	}
	{
		AUTO_GOT g = call(oper, "POST", approve, "{}", NULL);

		is_problem(&g, 403);
	}
	assert_int_equal(count("SELECT count(*) FROM approval WHERE case_id = $1::uuid", id), 0);
	{
		AUTO_GOT g = call(approver, "POST", approve, "{\"reason\":\"looks right\"}", NULL);

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "EXECUTING");
	}
	{
		AUTO_GOT g = call(approver, "POST", approve, "{}", NULL);

		is_problem(&g, 409);
	}
	assert_int_equal(count("SELECT count(*) FROM approval WHERE case_id = $1::uuid", id), 1);
}

static void a_rejection_needs_a_reason_and_parks_the_case(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *reject = NULL;

	(void)state;
	atomic_store(&gate_says, GATE_ASKS);
	atomic_store(&reject_next, 1);
	open_case(oper, id);
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", NULL);
		AUTO_GOT e = post_for(oper, "/gate/eval", id, "", NULL);

		assert_status(g, 200);
		assert_status(e, 202);
	}
	reject = mem_printf("/case/%s/reject", id);
	{
		AUTO_GOT g = call(approver, "POST", reject, "{}", NULL);

		is_problem(&g, 422);
		assert_string_equal(json_str(g.doc, "field"), "/reason");
	}
	{
		AUTO_GOT g = call(approver, "POST", reject, "{\"reason\":\"too risky today\"}", NULL);

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "PARKED");
		assert_string_equal(data(&g, "park_reason"), "rejected");
	}
}

/* --- waiting */

static void *wait_for_plan(void *arg)
{
	AUTO_GOT g = post_for(oper, "/plan/generate", arg, "", WITH("Prefer: wait=100"));

	return (void *)(intptr_t)g.a.status;
}

static void a_call_that_does_not_wait_is_202_and_a_second_one_joins_it(void **state)
{
	char id[UUID_TEXT];
	bool asked = false;
	double joined;
	void *status = NULL;
	pthread_t waiting;

	(void)state;
	atomic_store(&hold_planner, 1);
	open_case(oper, id);
	for (int i = 0; !asked && i < 60; i++) {
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", WITH("Prefer: wait=1"));

		assert_status(g, 202);
		/* "analysis" until that is done */
		asked = str_eq(json_str(json_at(g.doc, "/data/waits_for"), "for"), "cmd.plan.generate");
	}
	assert_true(asked);
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", WITH("Prefer: wait=0"));

		assert_status(g, 202);
	}
	assert_int_equal(
		count("SELECT count(*) FROM outbox WHERE case_id = $1::uuid AND topic = 'cmd.plan.generate'",
		      id),
		1);
	/* The planner is let go only when the third has joined: asked after its answer, it would be asked for another. */
	joined = metric_read(M_EVENT_IGNORED, "ask_plan", NULL, NULL);
	assert_int_equal(pthread_create(&waiting, NULL, wait_for_plan, id), 0);
	for (int i = 0; i < 6000 && metric_read(M_EVENT_IGNORED, "ask_plan", NULL, NULL) <= joined; i++)
		usleep(10000);
	atomic_store(&hold_planner, 0);
	pthread_join(waiting, &status);
	assert_int_equal((intptr_t)status, 200);
	assert_int_equal(count("SELECT count(*) FROM ops_case WHERE id = $1::uuid AND status = 'WAIT_GATE'",
			       id),
			 1);
	assert_int_equal(count("SELECT count(*) FROM plan_proposed WHERE case_id = $1::uuid", id), 1);
}

static void more_waiting_calls_than_the_hub_holds_are_429(void **state)
{
	char id[UUID_TEXT];
	pthread_t t[20];
	int busy = 0, fine = 0, odd = 0;

	(void)state;
	atomic_store(&hold_planner, 1);
	open_case(oper, id);
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", WITH("Prefer: wait=2"));

		assert_status(g, 202);
	}
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, wait_for_plan, id), 0);
	for (int i = 0; i < 6000 && waiters_count(rig.waiters) < 16; i++)
		usleep(10000);
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", WITH("Prefer: wait=5"));

		is_problem(&g, 429);
		assert_true(g.a.retry_after_s > 0);
	}
	atomic_store(&hold_planner, 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		void *status = NULL;

		pthread_join(t[i], &status);
		fine += (intptr_t)status == 200;
		busy += (intptr_t)status == 429;
		odd += (intptr_t)status != 200 && (intptr_t)status != 429;
	}
	assert_int_equal(odd, 0);
	assert_int_equal(fine + busy, ARRAY_LEN(t));
	assert_true(fine >= 16);
}

/* --- idempotency and versions */

static void the_same_key_gives_the_first_answer_and_writes_once(void **state)
{
	static const char body[] = "{\"title\":\"once\"}";
	char id[UUID_TEXT];

	(void)state;
	{
		AUTO_GOT g = call(oper, "POST", "/case/create", body, WITH("Idempotency-Key: create-1"));

		assert_status(g, 201);
		assert_string_equal(g.a.replayed, "");
		snprintf(id, sizeof(id), "%s", data(&g, "id"));
	}
	{
		AUTO_GOT g = call(oper, "POST", "/case/create", "{ \"title\" : \"once\" }",
				  WITH("Idempotency-Key: create-1"));

		assert_status(g, 201);
		assert_string_equal(g.a.replayed, "true");
		assert_string_equal(data(&g, "id"), id);
	}
	{
		AUTO_GOT g = call(oper, "POST", "/case/create", "{\"title\":\"other\"}",
				  WITH("Idempotency-Key: create-1"));

		is_problem(&g, 422);
	}
	{
		/* another principal's key is another key */
		AUTO_GOT g = call(stranger, "POST", "/case/create", body, WITH("Idempotency-Key: create-1"));

		assert_status(g, 201);
		assert_string_equal(g.a.replayed, "");
	}
	assert_int_equal(count("SELECT count(*) FROM ops_case WHERE title = 'once'", NULL), 2);
}

static void a_refusal_is_replayed_as_it_was(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;

	(void)state;
	open_case(oper, id);
	path = mem_printf("/case/%s/transition", id);
	for (int i = 0; i < 2; i++) {
		AUTO_GOT g = call(oper, "PATCH", path, "{\"event\":\"reopen\"}", WITH("Idempotency-Key: r1"));

		is_problem(&g, 409);
		assert_string_equal(g.a.replayed, i ? "true" : "");
		assert_true(json_array_size(json_object_get(g.doc, "legal")) > 0);
	}
	assert_int_equal(
		count("SELECT count(*) FROM case_timeline WHERE case_id = $1::uuid AND refusal_key IS NOT NULL",
		      id),
		1);
}

static void a_composite_call_is_replayed_and_its_key_is_bound_to_its_body(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	open_case(oper, id);
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", WITH("Idempotency-Key: p1"));

		assert_status(g, 200);
		assert_string_equal(g.a.replayed, "");
	}
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", WITH("Idempotency-Key: p1"));

		assert_status(g, 200);
		assert_string_equal(g.a.replayed, "true");
		assert_string_equal(data(&g, "status"), "WAIT_GATE");
		assert_true(*g.a.etag);
	}
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, ",\"template\":\"x\"",
				      WITH("Idempotency-Key: p1"));

		is_problem(&g, 422);
	}
	assert_int_equal(count("SELECT count(*) FROM plan_proposed WHERE case_id = $1::uuid", id), 1);
}

static void a_call_under_way_with_the_same_key_is_409_with_retry_after(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;

	(void)state;
	open_case(oper, id);
	/* as if another process had claimed it */
	{
		AUTO(str) char *body = mem_printf("{\"case_id\":\"%s\"}", id);
		AUTO(json) json_t *v = json_loads(body, 0, NULL);
		AUTO(str) char *canonical = json_canonical(v);
		AUTO(str) char *all = mem_printf("POST\n/plan/generate\n%s", canonical);
		char hash[HASH_HEX], t[24];
		struct oc_fail fail;

		hash_sha256_hex(all, strlen(all), hash);
		snprintf(t, sizeof(t), "%lld", tenant);
		assert_int_equal(
			pg_query(
				pg,
				"INSERT INTO idempotency (tenant_id, principal, route, key, body_hash, state)"
				" VALUES ($1::bigint, 'olga', 'POST /plan/generate', 'busy', $2, 'in_flight')",
				PG_ARGS(t, hash), NULL, &fail),
			OC_OK);
	}
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", WITH("Idempotency-Key: busy"));

		is_problem(&g, 409);
		assert_true(g.a.retry_after_s > 0);
	}
	/* its owner is dead for long: taken over */
	pgtemp_exec(db, "UPDATE idempotency SET created_at = now() - interval '1 hour' WHERE key = 'busy'");
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", id, "", WITH("Idempotency-Key: busy"));

		assert_status(g, 200);
	}
}

static void patch_without_a_key_is_428(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;

	(void)state;
	open_case(oper, id);
	path = mem_printf("/case/%s/transition", id);
	{
		AUTO_GOT g = call(oper, "PATCH", path, "{\"event\":\"cancel\"}", NULL);

		is_problem(&g, 428);
	}
	assert_int_equal(count("SELECT version FROM ops_case WHERE id = $1::uuid", id), 1);
}

static void a_version_that_has_moved_on_is_412_and_not_kept(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;

	(void)state;
	open_case(oper, id);
	path = mem_printf("/case/%s/transition", id);
	{
		AUTO_GOT g = call(oper, "PATCH", path, "{\"event\":\"cancel\"}",
				  WITH("Idempotency-Key: v1", "If-Match: \"7\""));

		is_problem(&g, 412);
		assert_string_equal(g.a.etag, "\"1\"");
	}
	{
		AUTO_GOT g = call(oper, "PATCH", path, "{\"event\":\"cancel\",\"expected_version\":9}",
				  WITH("Idempotency-Key: v1"));

		is_problem(&g, 412);
	}
	{
		AUTO_GOT g = call(oper, "PATCH", path, "{\"event\":\"cancel\"}",
				  WITH("Idempotency-Key: v1", "If-Match: nonsense"));

		is_problem(&g, 400);
	}
	{
		AUTO_GOT g = call(oper, "PATCH", path, "{\"event\":\"cancel\"}",
				  WITH("Idempotency-Key: v1", "If-Match: \"1\""));

		assert_status(g, 200);
		assert_string_equal(data(&g, "status"), "CLOSED");
	}
	/* 412 leaves nothing behind but metrics */
	assert_int_equal(count("SELECT count(*) FROM case_timeline WHERE case_id = $1::uuid", id), 2);
}

static void an_event_of_a_role_or_a_timer_is_403_by_patch(void **state)
{
	static const char *const events[] = { "analysis_done", "plan_ready",  "gate_approved",
					      "exec_done",     "verify_pass", "deadline" };
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;

	(void)state;
	open_case(oper, id);
	path = mem_printf("/case/%s/transition", id);
	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		AUTO(str) char *body = mem_printf("{\"event\":\"%s\"}", events[i]);
		AUTO(str) char *key = mem_printf("Idempotency-Key: e%zu", i);
		AUTO_GOT g = call(admin, "PATCH", path, body, WITH(key));

		is_problem(&g, 403);
	}
	assert_int_equal(count("SELECT count(*) FROM case_timeline WHERE case_id = $1::uuid", id), 1);
}

static void an_illegal_event_is_409_with_the_legal_ones(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;

	(void)state;
	open_case(oper, id);
	path = mem_printf("/case/%s/transition", id);
	{
		AUTO_GOT g = call(oper, "PATCH", path,
				  "{\"event\":\"close\",\"resolution\":\"false_alarm\",\"reason\":\"x\"}",
				  WITH("Idempotency-Key: i1"));
		json_t *legal = json_object_get(g.doc, "legal");
		bool start = false;
		size_t i;
		json_t *v;

		is_problem(&g, 409);
		json_array_foreach(legal, i, v)
			start = start || str_eq(json_string_value(v), "start_analysis");
		assert_true(start);
	}
	{
		AUTO_GOT g = post_for(oper, "/verify/run", id, "", NULL);

		is_problem(&g, 409);
	}
	{
		AUTO_GOT g = post_for(oper, "/adapter/exec", id, "", NULL);

		is_problem(&g, 409);
	}
	{
		AUTO_GOT g =
			call(oper, "PATCH", path, "{\"event\":\"explode\"}", WITH("Idempotency-Key: i2"));

		is_problem(&g, 422);
		assert_string_equal(json_str(json_at(g.doc, "/errors/0"), "pointer"), "/event");
	}
}

/* --- reading */

static void reading_a_case_has_an_etag_and_changes_nothing(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;
	AUTO(str) char *full = NULL;
	int timeline, outbox;

	(void)state;
	to_executing(oper, id);
	path = mem_printf("/case/%s", id);
	full = mem_printf("/case/%s?include=plans,decisions,runs,verdicts,findings,timeline", id);
	timeline = count("SELECT count(*) FROM case_timeline", NULL);
	outbox = count("SELECT count(*) FROM outbox", NULL);
	{
		AUTO_GOT g = call(viewer, "GET", path, NULL, NULL);
		AUTO(str) char *again = mem_printf("If-None-Match: %s", g.a.etag);
		AUTO_GOT n = call(viewer, "GET", path, NULL, WITH(again));
		AUTO_GOT w = call(viewer, "GET", path, NULL, WITH("If-None-Match: \"1\""));

		assert_status(g, 200);
		assert_true(json_array_size(json_at(g.doc, "/data/legal")) > 0);
		assert_true(json_array_size(json_at(g.doc, "/data/next")) > 0);
		assert_status(n, 304);
		assert_int_equal(n.a.len, 0);
		assert_string_equal(n.a.etag, g.a.etag);
		assert_status(w, 200);
	}
	{
		AUTO_GOT g = call(viewer, "GET", full, NULL, NULL);

		assert_status(g, 200);
		assert_int_equal(json_array_size(json_at(g.doc, "/data/plans")), 1);
		assert_int_equal(json_array_size(json_at(g.doc, "/data/decisions")), 1);
		assert_int_equal(json_array_size(json_at(g.doc, "/data/findings")), 1);
		assert_int_equal(json_array_size(json_at(g.doc, "/data/runs")), 0);
		assert_true(json_array_size(json_at(g.doc, "/data/timeline")) >= 6);
	}
	{
		AUTO_GOT g = call(viewer, "GET", "/case?include=everything", NULL, NULL);
		AUTO(str) char *bad = mem_printf("/case/%s?include=secrets", id);
		AUTO_GOT b = call(viewer, "GET", bad, NULL, NULL);
		AUTO_GOT h = call(viewer, "HEAD", path, NULL, NULL);

		assert_status(g, 200);
		is_problem(&b, 400);
		assert_status(h, 200);
	}
	assert_int_equal(timeline, count("SELECT count(*) FROM case_timeline", NULL));
	assert_int_equal(outbox, count("SELECT count(*) FROM outbox", NULL));
}

/* Two services on one database: what one has answered for, the other shows at once, and by its version. */
static void a_read_after_a_write_sees_it_on_any_replica(void **state)
{
	struct api *first = rig.api;
	struct waiters *hub = rig.waiters;
	char first_url[sizeof(rig.url)], second_url[sizeof(rig.url)];

	(void)state;
	snprintf(first_url, sizeof(first_url), "%s", rig.url);
	rig.waiters = waiters_new(4);
	api_up();
	snprintf(second_url, sizeof(second_url), "%s", rig.url);
	assert_string_not_equal(first_url, second_url);
	for (int i = 0; i < 40; i++) {
		char id[UUID_TEXT], etag[48];
		AUTO(str) char *path = NULL;
		AUTO(str) char *patch = NULL;
		AUTO(str) char *key = mem_printf("Idempotency-Key: replica-%d", i);

		snprintf(rig.url, sizeof(rig.url), "%s", i % 2 ? first_url : second_url);
		open_case(oper, id);
		path = mem_printf("/case/%s", id);
		patch = mem_printf("%s/transition", path);
		{
			AUTO_GOT written = call(oper, "PATCH", patch,
						"{\"event\":\"cancel\",\"reason\":\"drill\"}", WITH(key));

			assert_status(written, 200);
		}
		snprintf(rig.url, sizeof(rig.url), "%s", i % 2 ? second_url : first_url);
		{
			AUTO_GOT read = call(oper, "GET", path, NULL, NULL);

			assert_status(read, 200);
			assert_string_equal(data(&read, "status"), "CLOSED");
			snprintf(etag, sizeof(etag), "If-None-Match: \"%lld\"",
				 json_int_or(json_at(read.doc, "/data"), "version", 0));
		}
		{
			AUTO_GOT same = call(oper, "GET", path, NULL, WITH(etag));

			assert_status(same, 304);
		}
	}
	api_stop(rig.api);
	waiters_free(rig.waiters);
	rig.waiters = hub;
	rig.api = first;
	snprintf(rig.url, sizeof(rig.url), "%s", first_url);
}

static void pages_of_a_list_hold_every_case_once(void **state)
{
	AUTO(str) char *cursor = NULL;
	char seen[64][UUID_TEXT];
	size_t n = 0;
	int rounds = 0;

	(void)state;
	for (int i = 0; i < 7; i++) {
		AUTO_GOT g = call(stranger, "POST", "/case/create",
				  "{\"title\":\"page%me_\",\"severity\":\"WARN\"}", NULL);

		assert_status(g, 201);
	}
	do {
		AUTO(str)
		char *path = mem_printf(
			"/case?limit=3&severity=WARN&status=NEW,PARKED&text=E%%25ME_&since=2020-01-01T00:00:00Z%s%s",
			cursor ? "&cursor=" : "", cursor ? cursor : "");
		AUTO_GOT g = call(stranger, "GET", path, NULL, NULL);
		size_t i;
		json_t *v;

		assert_status(g, 200);
		json_array_foreach(json_object_get(g.doc, "data"), i, v)
		{
			for (size_t k = 0; k < n; k++)
				assert_string_not_equal(seen[k], json_str(v, "id"));
			snprintf(seen[n++], UUID_TEXT, "%s", json_str(v, "id"));
		}
		mem_set(&cursor, json_str(g.doc, "next_cursor"));
	} while (cursor && ++rounds < 10);
	assert_int_equal(n, 7);
	assert_int_equal(rounds, 2);
}

static void wrong_questions_are_400(void **state)
{
	static const char *const paths[] = { "/case?limit=0",
					     "/case?limit=201",
					     "/case?limit=ten",
					     "/case?status=SLEEPY",
					     "/case?since=yesterday",
					     "/case?cursor=zz",
					     "/case?cursor=%27%20OR%201%3D1",
					     "/case?limit=" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		AUTO_GOT g = call(viewer, "GET", paths[i], NULL, NULL);

		is_problem(&g, 400);
	}
}

static void the_timeline_has_pages_actors_and_the_trace(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;
	AUTO(str) char *first = NULL;

	(void)state;
	open_case(oper, id);
	path = mem_printf("/case/%s/transition", id);
	{
		AUTO_GOT g =
			call(oper, "PATCH", path,
			     "{\"event\":\"cancel\",\"actor\":\"root\",\"reason\":\"not needed\"}",
			     WITH("Idempotency-Key: t1",
				  "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));

		assert_status(g, 200);
		assert_true(str_starts(g.a.trace, "00-0af7651916cd43dd8448eb211c80319c-"));
	}
	first = mem_printf("/case/%s/timeline?limit=1", id);
	{
		AUTO_GOT g = call(viewer, "GET", first, NULL, NULL);
		AUTO(str)
		char *rest = mem_printf("%s&cursor=%s", first, json_str_or(g.doc, "next_cursor", ""));
		AUTO_GOT r = call(viewer, "GET", rest, NULL, NULL);

		assert_status(g, 200);
		assert_string_equal(json_str(json_at(g.doc, "/data/0"), "event"), "create");
		assert_status(r, 200);
		assert_string_equal(json_str(json_at(r.doc, "/data/0"), "event"), "cancel");
		/* a name in the body is noted and is not the actor */
		assert_string_equal(json_str(json_at(r.doc, "/data/0"), "actor"), "olga");
		assert_string_equal(json_str(json_at(r.doc, "/data/0/meta/args"), "claimed_actor"), "root");
		assert_string_equal(json_str(json_at(r.doc, "/data/0/meta"), "trace_id"),
				    "0af7651916cd43dd8448eb211c80319c");
		assert_true(json_is_null(json_object_get(r.doc, "next_cursor")));
	}
}

/* --- who may */

static void without_a_living_token_everything_is_401(void **state)
{
	char token[TOKEN_TEXT], id[UUID_TEXT];
	struct oc_fail fail;
	static const char *const bad[] = { "oct_", "oct_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
					   "' OR 1=1 --" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_GOT g = call(bad[i], "GET", "/case", NULL, NULL);

		is_problem(&g, 401);
		assert_string_equal(json_str(g.doc, "detail"),
				    "the bearer token is unknown, revoked or expired");
	}
	{
		AUTO_GOT g = call(NULL, "POST", "/case/create", "{\"title\":\"x\"}", NULL);

		is_problem(&g, 401);
	}
	assert_int_equal(token_create(pg,
				      &(struct token_new){
					      .tenant_id = tenant, .name = "brief", .role = ROLE_VIEWER },
				      token, id, &fail),
			 OC_OK);
	{
		AUTO_GOT g = call(token, "GET", "/case", NULL, NULL);
		AUTO(str) char *path = mem_printf("/token/%s", id);
		AUTO_GOT d = call(admin, "DELETE", path, NULL, NULL);
		AUTO_GOT after = call(token, "GET", "/case", NULL, NULL);

		assert_status(g, 200);
		assert_status(d, 200);
		/* at once in this process, although the token was cached a moment ago */
		is_problem(&after, 401);
	}
	pgtemp_exec(
		db,
		"UPDATE api_token SET expires_at = now() - interval '1 second', revoked_at = NULL WHERE name = 'brief'");
	{
		AUTO_GOT g = call(token, "GET", "/case", NULL, NULL);

		is_problem(&g, 401);
	}
}

static void roles_bound_what_one_may_do(void **state)
{
	(void)state;
	{
		AUTO_GOT g = call(viewer, "POST", "/case/create", "{\"title\":\"x\"}", NULL);

		is_problem(&g, 403);
	}
	{
		AUTO_GOT g = call(oper, "GET", "/token", NULL, NULL);

		is_problem(&g, 403);
	}
	{
		/* a tenant's admin makes no tenants */
		AUTO_GOT g = call(stranger, "POST", "/tenant", "{\"code\":\"t-new\"}", NULL);

		is_problem(&g, 403);
	}
	{
		/* nor tokens of the installation, or of others */
		AUTO_GOT g = call(stranger, "POST", "/token",
				  "{\"name\":\"x\",\"role\":\"admin\",\"tenant\":\"t-001\"}", NULL);
		AUTO_GOT own = call(stranger, "POST", "/token", "{\"name\":\"x2\",\"role\":\"admin\"}", NULL);

		is_problem(&g, 403);
		assert_status(own, 201);
		assert_string_equal(data(&own, "tenant"), "t-other");
	}
}

static void tenants_do_not_see_each_other(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *path = NULL;
	AUTO(str) char *timeline = NULL;
	AUTO(str) char *patch = NULL;
	AUTO(str) char *approve = NULL;

	(void)state;
	open_case(oper, id);
	path = mem_printf("/case/%s", id);
	timeline = mem_printf("/case/%s/timeline", id);
	patch = mem_printf("/case/%s/transition", id);
	approve = mem_printf("/case/%s/approve", id);
	{
		AUTO_GOT a = call(stranger, "GET", path, NULL, NULL);
		AUTO_GOT b = call(stranger, "GET", timeline, NULL, NULL);
		AUTO_GOT c =
			call(stranger, "PATCH", patch, "{\"event\":\"cancel\"}", WITH("Idempotency-Key: x1"));
		AUTO_GOT d = call(stranger, "POST", approve, "{}", NULL);
		AUTO_GOT e = post_for(stranger, "/plan/generate", id, "", NULL);
		AUTO_GOT f = call(stranger, "GET", path, NULL, WITH("X-Opscase-Tenant: t-001"));
		AUTO_GOT g = call(stranger, "POST", "/case/create", "{\"title\":\"x\",\"tenant\":\"t-001\"}",
				  NULL);

		is_problem(&a, 404);
		is_problem(&b, 404);
		is_problem(&c, 404);
		is_problem(&d, 404);
		is_problem(&e, 404);
		is_problem(&f, 403);
		is_problem(&g, 403);
	}
	{
		/* a token of the installation is told by the case, or names the tenant */
		AUTO_GOT a = call(admin, "GET", path, NULL, NULL);
		AUTO_GOT b = call(admin, "GET", "/case", NULL, NULL);
		AUTO_GOT c = call(admin, "GET", "/case?tenant=t-001", NULL, NULL);
		AUTO_GOT d = call(admin, "GET", "/case", NULL, WITH("X-Opscase-Tenant: t-001"));
		AUTO_GOT e = call(admin, "GET", "/case?tenant=t-none", NULL, NULL);
		AUTO_GOT f =
			call(admin, "POST", "/case/create", "{\"title\":\"x\",\"tenant\":\"t-none\"}", NULL);
		AUTO_GOT g = call(admin, "GET", path, NULL, WITH("X-Opscase-Tenant: t-other"));

		assert_status(a, 200);
		is_problem(&b, 400);
		assert_status(c, 200);
		assert_status(d, 200);
		is_problem(&e, 404);
		is_problem(&f, 422);
		is_problem(&g, 404);
	}
	assert_int_equal(count("SELECT version FROM ops_case WHERE id = $1::uuid", id), 1);
}

static void a_maintenance_window_is_opened_seen_and_ended_by_its_tenant(void **state)
{
	static const char *const bad[] = {
		"{\"reason\":\"x\"}",
		"{\"reason\":\"x\",\"for_s\":60,\"ends_at\":\"2099-01-01T00:00:00Z\"}",
		"{\"reason\":\"x\",\"ends_at\":\"yesterday\"}",
		"{\"reason\":\"x\",\"ends_at\":\"2001-01-01T00:00:00Z\"}",
		"{\"reason\":\"x\",\"starts_at\":\"2099-01-01T00:00:00Z\",\"ends_at\":\"2098-12-31T00:00:00Z\"}",
		"{\"reason\":\"x\",\"starts_at\":\"2098-01-01T00:00:00Z\",\"ends_at\":\"2099-12-31T00:00:00Z\"}",
		"{\"reason\":\"x\",\"for_s\":60,\"labels\":{\"service\":7}}",
		"{\"for_s\":60}",
	};
	AUTO(str) char *now = NULL, *later = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_GOT g = call(oper, "POST", "/maintenance", bad[i], NULL);

		is_problem(&g, 422);
	}
	{
		AUTO_GOT no = call(viewer, "POST", "/maintenance", "{\"reason\":\"x\",\"for_s\":60}", NULL);
		AUTO_GOT g =
			call(oper, "POST", "/maintenance",
			     "{\"reason\":\"moving house\",\"for_s\":600,\"labels\":{\"service\":\"cart\"}}",
			     WITH("Idempotency-Key: mw1"));
		AUTO_GOT again =
			call(oper, "POST", "/maintenance",
			     "{\"reason\":\"moving house\",\"for_s\":600,\"labels\":{\"service\":\"cart\"}}",
			     WITH("Idempotency-Key: mw1"));
		AUTO_GOT future =
			call(oper, "POST", "/maintenance",
			     "{\"reason\":\"some day\",\"starts_at\":\"2099-01-01T00:00:00Z\",\"for_s\":60}",
			     NULL);

		is_problem(&no, 403);
		assert_status(g, 201);
		assert_status(future, 201);
		assert_string_equal(data(&g, "id"), data(&again, "id"));
		assert_string_equal(data(&future, "ends_at"), "2099-01-01T00:01:00.000000Z");
		now = mem_printf("/maintenance/%s", data(&g, "id"));
		later = mem_printf("/maintenance/%s", data(&future, "id"));
	}
	{
		AUTO_GOT mine = call(viewer, "GET", "/maintenance", NULL, NULL);
		AUTO_GOT theirs = call(stranger, "GET", "/maintenance?past=true", NULL, NULL);
		AUTO_GOT end = call(stranger, "DELETE", now, NULL, NULL);
		const json_t *list = json_object_get(mine.doc, "data"), *first = json_array_get(list, 1);

		assert_int_equal(json_array_size(list), 2);
		assert_string_equal(json_str(json_array_get(list, 0), "reason"), "some day");
		assert_false(json_bool_or(json_array_get(list, 0), "active", true));
		assert_true(json_bool_or(first, "active", false));
		assert_string_equal(json_str(first, "created_by"), "olga");
		assert_string_equal(json_str(json_object_get(first, "labels"), "service"), "cart");
		assert_int_equal(json_array_size(json_object_get(theirs.doc, "data")), 0);
		is_problem(&end, 404);
	}
	{
		AUTO_GOT end = call(oper, "DELETE", now, NULL, NULL);
		AUTO_GOT twice = call(oper, "DELETE", now, NULL, NULL);
		AUTO_GOT gone = call(oper, "DELETE", later, NULL, NULL);
		AUTO_GOT left = call(oper, "GET", "/maintenance", NULL, NULL);
		AUTO_GOT past = call(oper, "GET", "/maintenance?past=true", NULL, NULL);

		assert_status(end, 200);
		is_problem(&twice, 404);
		assert_status(gone, 200);
		assert_int_equal(json_array_size(json_object_get(left.doc, "data")), 0);
		assert_int_equal(json_array_size(json_object_get(past.doc, "data")), 1);
	}
}

static void a_token_is_shown_once(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	{
		AUTO_GOT g = call(admin, "POST", "/token",
				  "{\"name\":\"bot\",\"role\":\"service\",\"tenant\":\"t-001\"}",
				  WITH("Idempotency-Key: tok"));
		const char *token = data(&g, "token");

		assert_status(g, 201);
		assert_int_equal(strlen(token), 47);
		assert_true(str_starts(token, "oct_"));
		snprintf(id, sizeof(id), "%s", data(&g, "id"));
		{
			AUTO_GOT use = call(token, "GET", "/case", NULL, NULL);

			assert_status(use, 200);
		}
	}
	{
		AUTO_GOT g = call(admin, "POST", "/token",
				  "{\"name\":\"bot\",\"role\":\"service\",\"tenant\":\"t-001\"}",
				  WITH("Idempotency-Key: tok"));

		assert_status(g, 201);
		assert_string_equal(g.a.replayed, "true");
		assert_string_equal(data(&g, "id"), id);
		assert_null(data(&g, "token"));
	}
	assert_int_equal(count("SELECT count(*) FROM idempotency WHERE response::text LIKE '%oct_%'", NULL),
			 0);
	{
		AUTO_GOT g = call(admin, "POST", "/token",
				  "{\"name\":\"bot\",\"role\":\"service\",\"tenant\":\"t-001\"}", NULL);
		AUTO_GOT w = call(admin, "POST", "/token", "{\"name\":\"wide\",\"role\":\"viewer\"}", NULL);

		is_problem(&g, 409);
		is_problem(&w, 422);
	}
}

/* --- the service about itself */

static void the_service_says_how_it_is_to_everybody(void **state)
{
	AUTO_GOT h = call(NULL, "GET", "/healthz", NULL, NULL);
	AUTO_GOT r = call(NULL, "GET", "/readyz", NULL, NULL);
	AUTO_GOT m = call(NULL, "GET", "/metrics", NULL, NULL);
	AUTO_GOT o = call(NULL, "GET", "/openapi.json", NULL, NULL);
	AUTO_GOT a = call(viewer, "GET", "/adapter", NULL, NULL);

	(void)state;
	assert_status(h, 200);
	assert_status(r, 200);
	assert_string_equal(json_str(json_at(r.doc, "/parts/postgresql"), "word"), "answers");
	assert_string_equal(json_str(json_at(r.doc, "/parts/nats"), "word"), "connected");
	assert_non_null(json_at(r.doc, "/parts/migrations"));
	assert_status(m, 200);
	assert_non_null(strstr(m.a.body, "http_requests_total{"));
	assert_non_null(strstr(m.a.body, "idempotent_replay_total"));
	assert_non_null(strstr(m.a.body, "conflict_total{reason=\"412\"}"));
	assert_status(o, 200);
	assert_string_equal(json_str(o.doc, "openapi"), "3.1.0");
	assert_status(a, 200);
	assert_true(json_array_size(json_object_get(a.doc, "data")) > 3);
}

/* --- requests that mean harm */

static void bodies_that_are_no_request_get_a_clear_error(void **state)
{
	static const struct {
		const char *body;
		int status;
	} rows[] = {
		{ "{",							   400 },
		{ "nonsense",						    400 },
		{ "[]",							  400 },
		{ "\"x\"",						       400 },
		{ "null",							400 },
		{ "{\"title\":\"x\"} trailing",                                  400 },
		{ "{\"title\":\"x\",\"title\":\"y\"}",                           400 },
		{ "{\"title\":\"\xff\xfe\"}",                                    400 },
		{ "{\"title\":\"a\\u0000b\"}",                                   400 },
		{ "{\"title\":\"\\ud800\"}",                                     400 },
		{ "{\"title\":1e999}",					   400 },
		{ "",							    422 },
		{ "{}",							  422 },
		{ "{\"title\":[]}",					      422 },
		{ "{\"title\":{\"$ne\":null}}",                                  422 },
		{ "{\"title\":null}",					    422 },
		{ "{\"title\":\"x\",\"labels\":\"y\"}",                          422 },
		{ "{\"title\":\"x\",\"drive\":\"warp\"}",                        422 },
		{ "{\"title\":\"x\",\"status\":\"CLOSED\"}",                     422 },
		{ "{\"title\":\"x\",\"follows_id\":\"1; DROP TABLE ops_case\"}", 422 },
	};
	int before = count("SELECT count(*) FROM ops_case", NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_GOT g = call(oper, "POST", "/case/create", rows[i].body, NULL);

		if (g.a.status != rows[i].status)
			fail_msg("%s: %d, wanted %d: %s", rows[i].body, g.a.status, rows[i].status, g.a.body);
		is_problem(&g, rows[i].status);
	}
	assert_int_equal(before, count("SELECT count(*) FROM ops_case", NULL));
}

static void shell_and_sql_metacharacters_are_only_text(void **state)
{
	static const char title[] = "'; DROP TABLE ops_case; -- $(reboot) `id` %s%n <script> \\ \" ${x} |&";
	AUTO(json)
	json_t *body = json_pack("{s:s, s:s, s:{s:s}}", "title", title, "summary", title, "labels", "service",
				 title);
	AUTO(str) char *text = json_text(body);
	AUTO_GOT g = call(oper, "POST", "/case/create", text, WITH("Idempotency-Key: '||pg_sleep(9)||'"));
	AUTO(str) char *path = NULL;

	(void)state;
	assert_status(g, 201);
	assert_string_equal(data(&g, "title"), title);
	path = mem_printf("/case/%s", data(&g, "id"));
	{
		AUTO_GOT r = call(viewer, "GET", path, NULL, NULL);
		AUTO_GOT l = call(viewer, "GET",
				  "/case?text=%27%3B%20DROP%20TABLE&park_reason=%27%20OR%201%3D1--", NULL,
				  NULL);

		assert_string_equal(data(&r, "title"), title);
		assert_string_equal(json_str(json_at(r.doc, "/data/labels"), "service"), title);
		assert_status(l, 200);
		assert_int_equal(json_array_size(json_object_get(l.doc, "data")), 0);
	}
}

static void deep_nesting_and_long_lists_are_refused(void **state)
{
	struct text deep = { 0 }, wide = { 0 };

	(void)state;
	text_add(&deep, "{\"title\":\"x\",\"labels\":");
	for (int i = 0; i < 50000; i++)
		text_add(&deep, "{\"a\":");
	{
		AUTO_GOT g = call(oper, "POST", "/case/create", text_str(&deep), NULL);

		assert_true(g.a.status == 400 || g.a.status == 413);
		is_problem(&g, g.a.status);
	}
	text_add(&wide, "{\"title\":\"x\",\"evidence\":[0");
	for (int i = 0; i < 50000; i++)
		text_add(&wide, ",0");
	text_add(&wide, "]}");
	{
		AUTO_GOT g = call(oper, "POST", "/case/create", text_str(&wide), NULL);

		is_problem(&g, 422);
	}
	text_done(&deep);
	text_done(&wide);
}

static void a_body_over_the_limit_is_413(void **state)
{
	size_t n = 1 << 20;
	AUTO(str) char *body = mem_alloc(n + 32);

	(void)state;
	memset(body, 'a', n);
	memcpy(body, "{\"title\":\"", 10);
	strcpy(body + n, "\"}");
	{
		AUTO_GOT g = call(oper, "POST", "/case/create", body, NULL);

		is_problem(&g, 413);
	}
}

static void ids_that_are_none_are_404_or_422(void **state)
{
	static const char *const ids[] = { "1",
					   "..",
					   "%2e%2e%2f%2e%2e",
					   "0190f0a0-0000-7000-8000-00000000000g",
					   "%27%20OR%201%3D1",
					   "00000000-0000-0000-0000-000000000000",
					   "$(id)" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		AUTO(str) char *path = mem_printf("/case/%s", ids[i]);
		AUTO_GOT g = call(viewer, "GET", path, NULL, NULL);

		is_problem(&g, 404);
	}
	{
		AUTO_GOT g = post_for(oper, "/plan/generate", "x' OR '1'='1", "", NULL);
		AUTO_GOT u = post_for(oper, "/gate/eval", "00000000-0000-7000-8000-000000000000", "", NULL);

		is_problem(&g, 422);
		is_problem(&u, 404);
	}
}

static void unknown_paths_and_methods_say_what_there_is(void **state)
{
	static const char *const odd[] = { "PUT", "DELETE", "TRACE", "BREW", "GET" };

	(void)state;
	{
		AUTO_GOT g = call(viewer, "GET", "/nothing/here", NULL, NULL);
		AUTO_GOT p = call(viewer, "POST", "/", "{}", NULL);
		AUTO_GOT o = call(NULL, "OPTIONS", "/case/create", NULL, NULL);

		is_problem(&g, 404);
		is_problem(&p, 404);
		assert_status(o, 204);
	}
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		AUTO_GOT g = call(viewer, odd[i], "/plan/generate", NULL, NULL);

		is_problem(&g, 405);
	}
}

static int dial(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)api_port(rig.api)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static char *raw(const char *request)
{
	int fd = dial();
	struct text got = { 0 };
	char buf[4096];

	assert_true(send(fd, request, strlen(request), MSG_NOSIGNAL) >= 0);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, 60000) <= 0)
			break;
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			break;
		text_add_n(&got, buf, (size_t)n);
	}
	close(fd);
	return text_take(&got);
}

static void a_100_mb_body_and_a_405_are_refused_by_their_heads(void **state)
{
	AUTO(str)
	char *huge = mem_printf("POST /case/create HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
				"Content-Length: 104857600\r\n\r\n",
				oper);
	AUTO(str) char *a = raw(huge);
	AUTO(str) char *b = raw("PUT /case/create HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	AUTO(str) char *c = raw("GET /case/%00 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");

	(void)state;
	assert_true(str_starts(a, "HTTP/1.1 413 "));
	assert_non_null(strstr(a, "application/problem+json"));
	assert_true(str_starts(b, "HTTP/1.1 405 "));
	assert_non_null(strstr(b, "Allow: POST, OPTIONS"));
	assert_true(str_starts(c, "HTTP/1.1 400 "));
	assert_non_null(strstr(c, "application/problem+json"));
}

static void a_body_cut_short_writes_nothing(void **state)
{
	int before = count("SELECT count(*) FROM ops_case", NULL);
	AUTO(str)
	char *half = mem_printf(
		"POST /case/create HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Length: 400\r\n\r\n"
		"{\"title\":\"half\"}",
		oper);
	AUTO(str) char *a = raw(half);

	(void)state;
	assert_string_equal(a, "");
	assert_int_equal(before, count("SELECT count(*) FROM ops_case", NULL));
}

static void json_is_read_whatever_the_content_type_says(void **state)
{
	AUTO_GOT g = call(oper, "POST", "/case/create", "{\"title\":\"curl -d\"}",
			  WITH("Content-Type: application/x-www-form-urlencoded"));
	AUTO_GOT z = call(oper, "POST", "/case/create", "{\"title\":\"gz\"}", WITH("Content-Encoding: gzip"));

	(void)state;
	assert_status(g, 201);
	is_problem(&z, 400);
}

static void without_the_database_it_is_503_with_retry_after(void **state)
{
	struct api_config config = { 0 };
	struct api_deps deps = { .waiters_ref = rig.waiters };
	struct pg_pool *nowhere = pg_pool_new("host=/nonexistent dbname=x connect_timeout=1", "test", 2);
	struct oc_fail fail = { 0 };
	struct api *alone = NULL;
	struct api *kept = rig.api;
	char url[64];

	(void)state;
	deps.api_pool = deps.worker_pool = nowhere;
	deps.version = "test";
	/* an api of its own: stopping it closes the hub, so it gets one */
	deps.waiters_ref = waiters_new(1);
	assert_int_equal(api_start(&config, &deps, &alone, &fail), OC_OK);
	memcpy(url, rig.url, sizeof(url));
	snprintf(rig.url, sizeof(rig.url), "http://127.0.0.1:%u", api_port(alone));
	{
		AUTO_GOT g = call(oper, "GET", "/case", NULL, NULL);
		AUTO_GOT r = call(NULL, "GET", "/readyz", NULL, NULL);
		AUTO_GOT h = call(NULL, "GET", "/healthz", NULL, NULL);

		is_problem(&g, 503);
		assert_true(g.a.retry_after_s > 0);
		assert_null(strstr(json_str(g.doc, "detail"), "nonexistent"));
		assert_status(r, 503);
		assert_status(h, 200);
	}
	memcpy(rig.url, url, sizeof(url));
	assert_ptr_equal(kept, rig.api);
	api_stop(alone);
	waiters_free(deps.waiters_ref);
	pg_pool_free(nowhere);
}

static void a_stop_ends_those_who_wait_with_202(void **state)
{
	char id[UUID_TEXT];
	pthread_t t;
	void *status = NULL;

	(void)state;
	atomic_store(&hold_planner, 1);
	open_case(oper, id);
	assert_int_equal(pthread_create(&t, NULL, wait_for_plan, id), 0);
	for (int i = 0; i < 6000 && waiters_count(rig.waiters) == 0; i++)
		usleep(5000);
	api_stop(rig.api);
	rig.api = NULL;
	pthread_join(t, &status);
	assert_int_equal((intptr_t)status, 202);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, calm)
	const struct CMUnitTest tests[] = {
		T(the_curl_demo_closes_a_case),
		T(a_script_where_policy_has_no_scripts_is_422_and_changes_nothing),
		T(a_revision_that_the_gate_denies_is_422_and_parks_the_case),
		T(with_an_empty_body_the_approved_plan_is_carried_out),
		T(a_pending_decision_is_202_and_an_approval_lets_it_through),
		T(a_rejection_needs_a_reason_and_parks_the_case),
		T(a_call_that_does_not_wait_is_202_and_a_second_one_joins_it),
		T(more_waiting_calls_than_the_hub_holds_are_429),
		T(the_same_key_gives_the_first_answer_and_writes_once),
		T(a_refusal_is_replayed_as_it_was),
		T(a_composite_call_is_replayed_and_its_key_is_bound_to_its_body),
		T(a_call_under_way_with_the_same_key_is_409_with_retry_after),
		T(patch_without_a_key_is_428),
		T(a_version_that_has_moved_on_is_412_and_not_kept),
		T(an_event_of_a_role_or_a_timer_is_403_by_patch),
		T(an_illegal_event_is_409_with_the_legal_ones),
		T(reading_a_case_has_an_etag_and_changes_nothing),
		T(a_read_after_a_write_sees_it_on_any_replica),
		T(pages_of_a_list_hold_every_case_once),
		T(wrong_questions_are_400),
		T(the_timeline_has_pages_actors_and_the_trace),
		T(without_a_living_token_everything_is_401),
		T(roles_bound_what_one_may_do),
		T(tenants_do_not_see_each_other),
		T(a_maintenance_window_is_opened_seen_and_ended_by_its_tenant),
		T(a_token_is_shown_once),
		T(the_service_says_how_it_is_to_everybody),
		T(bodies_that_are_no_request_get_a_clear_error),
		T(shell_and_sql_metacharacters_are_only_text),
		T(deep_nesting_and_long_lists_are_refused),
		T(a_body_over_the_limit_is_413),
		T(ids_that_are_none_are_404_or_422),
		T(unknown_paths_and_methods_say_what_there_is),
		T(a_100_mb_body_and_a_405_are_refused_by_their_heads),
		T(a_body_cut_short_writes_nothing),
		T(json_is_read_whatever_the_content_type_says),
		T(without_the_database_it_is_503_with_retry_after),
		T(a_stop_ends_those_who_wait_with_202),
	};

	return cmocka_run_group_tests_name("api", tests, group_start, group_stop);
}
