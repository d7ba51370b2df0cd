/* rig.h - a loop in a test: real PostgreSQL and NATS, and roles that only say what a real one would. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "base/handover.h"
#include "base/waker.h"
#include "orchestrator/janitor.h"
#include "orchestrator/loop.h"
#include "orchestrator/relay.h"
#include "orchestrator/transition.h"
#include "tests/support/natstemp.h"
#include "tests/support/pgtemp.h"
#include "wire/bus/bus.h"
#include "worker/worker.h"

static __attribute__((unused)) struct natstemp nats;
static __attribute__((unused)) struct pgtemp *db;
static __attribute__((unused)) struct pg *pg;
static __attribute__((unused)) long long tenant;

/* ---- scripted roles: each writes the product a real one would ---- */

static const char SQL_PLAN[] =
	"INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash, fingerprint, complete,"
	" created_by) SELECT $1::uuid, $2::bigint, $3::uuid, '{}', '{}', 1 + (SELECT count(*) FROM plan_proposed WHERE case_id = $3::uuid),"
	" $4::int, 'forward', 'template', 'h', 'f', true, 'test'";
static const char SQL_DECISION[] =
	"INSERT INTO gate_decision (id, tenant_id, case_id, plan_id, epoch, answer, status, plan_hash, args_hash, policy_hash, expires_at)"
	" SELECT $1::uuid, $2::bigint, $3::uuid, c.plan_id, $4::int, 'allow', 'approved', 'h', 'a', 'p', now() + interval '1 hour'"
	" FROM ops_case c WHERE c.id = $3::uuid";
static const char SQL_RUN[] =
	"INSERT INTO exec_run (id, tenant_id, case_id, plan_id, decision_id, cmd_id, epoch, status, steps_total, applied, dispatched,"
	" finished_at) SELECT $1::uuid, $2::bigint, $3::uuid, c.plan_id, c.decision_id, 0, $4::int, 'succeeded', 1, 1, 1, now()"
	" FROM ops_case c WHERE c.id = $3::uuid";
static const char SQL_VERDICT[] =
	"INSERT INTO verdict (id, tenant_id, case_id, plan_id, epoch, verdict, checks)"
	" SELECT $1::uuid, $2::bigint, $3::uuid, c.plan_id, $4::int, 'PASS', '[]' FROM ops_case c WHERE c.id = $3::uuid";
static const char SQL_FINDING[] =
	"INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body) VALUES ($1::uuid, $2::bigint, $3::uuid, $4::int, 'x', '{}')";

/* Called by the roles for each command, when set. */
static __attribute__((unused)) void (*_Atomic before_answer)(const struct command *cmd);

static __attribute__((unused)) enum oc_err scripted(void *ctx, const struct command *cmd, struct answer *ans,
						    struct oc_fail *reterr)
{
	static const struct {
		const char *topic, *sql, *evt;
	} lines[] = {
		{ "cmd.analysis.run",  SQL_FINDING,  "evt.analysis.findings.v1" },
		{ "cmd.plan.generate", SQL_PLAN,     "evt.plan.proposed.v1"     },
		{ "cmd.gate.eval",     SQL_DECISION, "evt.plan.approved.v1"     },
		{ "cmd.exec.run",      SQL_RUN,      "evt.exec.done.v1"         },
		{ "cmd.verify.run",    SQL_VERDICT,  "evt.verify.pass.v1"       },
	};
	char id[UUID_TEXT], t[24], epoch[16];

	(void)ctx, (void)reterr;
	void (*hook)(const struct command *) = before_answer;

	if (hook)
		hook(cmd);
	uuid_new(id);
	snprintf(t, sizeof(t), "%lld", cmd->tenant_id);
	snprintf(epoch, sizeof(epoch), "%d", cmd->epoch);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (str_eq(cmd->topic, lines[i].topic)) {
			answer_do(ans, lines[i].sql, PG_ARGS(id, t, cmd->case_id, epoch));
			answer_event(ans, lines[i].evt, id);
		}
	return OC_OK;
}

struct rig {
	struct bus *bus;
	struct waker *wake;
	struct handover *hand;
	struct relay *relay;
	struct loop *loop;
	struct janitor *janitor;
	struct worker *workers[6];
};

static __attribute__((unused)) void rig_start(struct rig *r)
{
	static const char *const roles[][2] = {
		{ "analyst",    "cmd.analysis.run"  },
                { "planner",    "cmd.plan.generate" },
		{ "gatekeeper", "cmd.gate.eval"     },
                { "executor",   "cmd.exec.run"      },
		{ "verifier",   "cmd.verify.run"    },
                { "errands",    "cmd.learn"         }
	};
	struct oc_fail fail;

	r->wake = waker_new();
	r->hand = handover_new();
	transition_set_waker(r->wake);
	transition_set_handover(r->hand);
	assert_int_equal(bus_open(&(struct bus_config){ .url = nats.url, .name = "test" }, &r->bus, &fail),
			 OC_OK);
	assert_int_equal(relay_start(db->worker, r->bus, r->wake, &r->relay, &fail), OC_OK);
	assert_int_equal(loop_start(&(struct loop_deps){ .conninfo = db->worker,
							 .bus = r->bus,
							 .relay_wake = r->wake,
							 .hand = r->hand },
				    &r->loop, &fail),
			 OC_OK);
	assert_int_equal(janitor_start(&(struct janitor_deps){ .conninfo = db->worker,
							       .relay_wake = r->wake },
				       &r->janitor, &fail),
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
								     .bus = r->bus,
								     .relay_wake = r->wake,
								     .hand = r->hand },
					      &r->workers[i], &fail),
				 OC_OK);
	}
}

static __attribute__((unused)) void rig_stop(struct rig *r)
{
	for (size_t i = 0; i < ARRAY_LEN(r->workers); i++)
		worker_stop(r->workers[i]);
	janitor_stop(r->janitor);
	loop_stop(r->loop);
	relay_stop(r->relay);
	transition_set_waker(NULL);
	transition_set_handover(NULL);
	bus_close(r->bus);
	handover_free(r->hand);
	waker_free(r->wake);
}

/* ---- small helpers ---- */

static __attribute__((unused)) char *one(const char *sql, const char *arg)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail fail;

	if (pg_query(pg, sql, &arg, arg ? 1 : 0, &r, &fail) != OC_OK)
		fail_msg("%s: %s", sql, fail.text);
	return pg_rows(r) ? mem_strdup(pg_text_or(r, 0, 0, "")) : mem_strdup("");
}

static __attribute__((unused)) void open_case(enum case_drive drive, char ret_id[UUID_TEXT])
{
	struct transition_result res;
	struct oc_fail fail = { 0 };
	AUTO(json) json_t *doc = NULL;
	enum oc_err err = transition_create(pg,
					    &(struct case_create){ .tenant_id = tenant,
								   .tenant = "t-loop",
								   .title = "p95 spike",
								   .drive = drive,
								   .actor = "tester" },
					    &res, &fail);

	if (err != OC_OK)
		fail_msg("%s", fail.text);
	assert_int_equal(json_read_own(res.case_json, &doc, NULL), OC_OK);
	snprintf(ret_id, UUID_TEXT, "%s", json_str(doc, "id"));
	transition_result_done(&res);
}

static __attribute__((unused)) bool wait_status(const char *id, const char *want, int ms)
{
	for (int64_t until = clock_mono_ms() + ms; clock_mono_ms() < until;) {
		AUTO(str) char *status = one("SELECT status FROM ops_case WHERE id = $1::uuid", id);

		if (str_eq(status, want))
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return false;
}

static __attribute__((unused)) enum oc_err say(const char *id, enum case_event_kind ev, unsigned who,
					       json_t *take_args, int version, struct oc_fail *fail)
{
	struct transition_result res;
	AUTO(json) json_t *args = take_args;
	enum oc_err err =
		transition(pg,
			   &(struct transition_request){ .tenant_id = tenant,
							 .case_id = id,
							 .event = ev,
							 .who = who,
							 .actor = "tester",
							 .reason = args ? json_str(args, "why") : NULL,
							 .args = args,
							 .expected_version = version },
			   &res, fail);

	transition_result_done(&res);
	return err;
}

static __attribute__((unused)) int rig_setup(void **state)
{
	(void)state;
	db = pgtemp_shared();
	natstemp_start(&nats);
	pg = pgtemp_open(db->worker);
	tenant = pgtemp_tenant(db, "t-loop");
	return 0;
}

static __attribute__((unused)) int rig_teardown(void **state)
{
	(void)state;
	pg_close(pg);
	natstemp_stop(&nats);
	return 0;
}
