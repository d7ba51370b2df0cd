/* The ten promises of docs/reliability.md, one test each, or a few. Each says which line keeps the
 * promise: with that line taken out it fails, which was tried once for every one of them (docs/reliability.md). */
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include "base/metrics.h"
#include "orchestrator/batch.h"
#include "store/step.h"
#include "tests/integration/rig.h"
#include "tests/support/fleet.h"

static struct fleet fleet;

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static void expect(const char *sql, const char *arg, const char *want)
{
	AUTO(str) char *got = one(sql, arg);

	assert_string_equal(got, want);
}

static void hear(const char *topic, const char *case_id, const char *product, int epoch_back)
{
	AUTO(pg_result) struct pg_result *row = NULL;
	long long ids[1], again[1];
	char back[16];
	struct oc_fail fail = { 0 };
	size_t n;

	snprintf(back, sizeof(back), "%d", epoch_back);
	if (pg_query(pg,
		     "INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch, product_id) SELECT tenant_id, id, 'e', $2, tenant,"
		     " epoch - $4::int, $3::uuid FROM ops_case WHERE id = $1::uuid RETURNING id",
		     PG_ARGS(case_id, topic, product, back), &row, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	ids[0] = pg_int(row, 0, 0);
	if (loop_step(pg, &(struct loop_deps){ 0 }, ids, 1, again, &n, &fail) != OC_OK)
		fail_msg("%s", fail.text);
}

/* A case in a state, as if it had come there. */
static void put(const char *id, const char *state)
{
	assert_int_equal(
		pg_query(pg,
			 "UPDATE ops_case SET status = $2, epoch = epoch + 1, plan_kind = 'forward', decision_id = gen_random_uuid()"
			 " WHERE id = $1::uuid",
			 PG_ARGS(id, state), NULL, NULL),
		OC_OK);
}

/* ---- 1. one door ---- */

/* batch_send(), orchestrator/batch.c: send_arrays(pg, SQL_STEP_OUTBOX, ...) is in the same transaction as the rest. */
static void promise_1_a_step_is_case_timeline_and_outbox_or_nothing(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	static const char all[] =
		"SELECT c.status || ' v' || c.version || ' ' || (SELECT count(*) FROM case_timeline t WHERE t.case_id = c.id)"
		" || ' ' || (SELECT count(*) FROM outbox o WHERE o.case_id = c.id AND o.case_version = c.version)"
		" FROM ops_case c WHERE id = $1::uuid";
	AUTO(str) char *before = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	before = one(all, id);
	pgtemp_exec(
		db,
		"CREATE FUNCTION no_outbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'full'; END $$;"
		"CREATE TRIGGER no_outbox BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION no_outbox();");
	assert_int_not_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	pgtemp_exec(db, "DROP TRIGGER no_outbox ON outbox; DROP FUNCTION no_outbox();");
	expect(all, id, before);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	expect(all, id, "ANALYZING v2 2 2");
}

/* write_refusal(), orchestrator/transition.c: `pg_rows(again) > 0` folds the same refusal; a stale version returns before it. */
static void promise_1_a_refusal_is_one_row_and_a_stale_version_is_none(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	static const char rows[] =
		"SELECT c.status || ' v' || c.version || ' ' || (SELECT count(*) || ' ' || max(repeats) FROM case_timeline t"
		" WHERE t.case_id = c.id) || ' ' || (SELECT count(*) FROM outbox o WHERE o.case_id = c.id)"
		" FROM ops_case c WHERE id = $1::uuid";

	(void)state;
	open_case(DRIVE_MANUAL, id);
	expect(rows, id, "NEW v1 1 0 1");
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 9, &fail), OC_STALE);
	expect(rows, id, "NEW v1 1 0 1");
	for (int i = 0; i < 3; i++)
		assert_int_equal(say(id, EV_CLOSE, WHO_PERSON, NULL, 0, &fail), OC_ILLEGAL);
	expect(rows, id, "NEW v1 2 2 1");
}

/* Every file that is linked into the service: only store/step.c (called from orchestrator/) writes ops_case; a restore is no
 * event and does it itself. Another line with UPDATE ops_case anywhere breaks it. */
static void promise_1_nobody_else_writes_a_case(void **state)
{
	static const char command[] =
		"cd '" OPSCASE_SOURCE_DIR
		"' && grep -rlE --include='*.c' '(UPDATE|INSERT INTO|DELETE FROM) ops_case\\b' base domain"
		" wire store contracts worker orchestrator planner gatekeeper executor verifier analyst librarian ingest api apps"
		" | sort | tr '\\n' ' '; grep -rlE --include='*.c' 'SQL_STEP_(CASE|NEW_CASES|HEAD|HEADS)\\b' base worker orchestrator"
		" planner gatekeeper executor verifier analyst librarian ingest api apps | grep -v ^orchestrator/";
	char line[1024] = "", more[1024] = "";
	FILE *f = popen(command, "r");

	(void)state;
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	assert_null(fgets(more, sizeof(more), f));
	pclose(f);
	/* retention removes closed cases as a whole, with a tombstone */
	assert_string_equal(line, "store/restore.c store/retention.c store/step.c ");
}

/* ---- 2. PostgreSQL holds the truth; NATS only wakes ---- */

/* lane_run(), worker/worker.c: take_open(); and take_sweep() in loop_run(), orchestrator/loop.c. */
static void promise_2_without_nats_the_loop_is_slower_and_not_wrong(void **state)
{
	struct rig r = { 0 };
	char id[UUID_TEXT];

	(void)state;
	rig_start(&r);
	natstemp_kill(&nats);
	open_case(DRIVE_AUTO, id);
	assert_true(wait_status(id, "CLOSED", 40000));
	natstemp_again(&nats);
	rig_stop(&r);
}

/* janitor_sweep(), orchestrator/janitor.c: sweep_reoffer(). */
static void promise_2_a_message_that_nats_lost_is_offered_again(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	static const char offered[] =
		"SELECT (published_at IS NULL)::text FROM outbox WHERE case_id = $1::uuid AND kind = 'c' AND done_at IS NULL";

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	free(one(
		"UPDATE outbox SET published_at = now() - interval '6 seconds' WHERE case_id = $1::uuid AND kind = 'c' RETURNING ''",
		id));
	expect(offered, id, "false");
	janitor_sweep(pg, &(struct janitor_deps){ .conninfo = db->worker });
	expect(offered, id, "true");
	free(one("UPDATE outbox SET done_at = now() WHERE case_id = $1::uuid RETURNING ''", id));
}

/* ---- 3. a side effect happens once, or the case says that nobody knows ---- */

static void die_at(const char *fault, const char *name, char id[UUID_TEXT])
{
	fleet_replica_start(&fleet, 0, fault);
	fleet_open(&fleet, name, NULL, id);
	for (int64_t until = clock_mono_ms() + 30000;
	     fleet_replica_alive(&fleet, 0) && clock_mono_ms() < until;)
		nap(10);
	assert_false(fleet_replica_alive(&fleet, 0));
	assert_true(fleet_runners_gone(&fleet, 10000));
	free(fleet_one(
		&fleet,
		"UPDATE outbox SET lease_until = now() - interval '1 second' WHERE lease_until > now() RETURNING ''",
		NULL));
}

static void fleet_expect(const char *sql, const char *arg, const char *want)
{
	AUTO(str) char *got = fleet_one(&fleet, sql, arg);

	assert_string_equal(got, want);
}

/* run_step(), executor/role.c: `if (str_eq(k->status, "intent"))` asks the probe before anything else. */
static void promise_3_after_a_crash_the_probe_is_asked_and_nothing_is_done_twice(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	die_at("exec.ran:1", "crashed-after", id);
	assert_int_equal(fleet_lines(&fleet, "crashed-after"), 1);
	fleet_expect("SELECT string_agg(status, ' ') FROM exec_step WHERE case_id = $1::uuid", id, "intent");
	fleet_replica_start(&fleet, 0, NULL);
	assert_true(fleet_drain(&fleet, 40000));
	fleet_expect("SELECT resolution FROM ops_case WHERE id = $1::uuid", id, "verified");
	assert_int_equal(fleet_lines(&fleet, "crashed-after"), 2); /* of its two steps one each */
	assert_int_equal(fleet_check(&fleet), 0);
}

/* run_step(), executor/role.c: write_intent() stands before run_adapter(). */
static void promise_3_the_intent_is_there_before_the_effect(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	die_at("exec.intended:1", "crashed-before", id);
	assert_int_equal(fleet_lines(&fleet, "crashed-before"), 0);
	fleet_expect("SELECT string_agg(status, ' ') FROM exec_step WHERE case_id = $1::uuid", id, "intent");
	fleet_replica_start(&fleet, 0, NULL);
	assert_true(fleet_drain(&fleet, 40000));
	fleet_expect("SELECT resolution FROM ops_case WHERE id = $1::uuid", id, "verified");
	assert_int_equal(fleet_lines(&fleet, "crashed-before"), 2);
}

/* judge(), executor/role.c: what is neither applied nor not applied ends as END_UNKNOWN, and is not tried again. */
static void promise_3_what_nobody_can_tell_parks_as_outcome_unknown(void **state)
{
	AUTO(str) char *path = mem_printf("%s/ledger/unclear", fleet.dir);
	char id[UUID_TEXT];

	(void)state;
	die_at("exec.ran:1", "unclear", id);
	/* The ledger cannot be read any more: the probe cannot tell. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	fleet_replica_start(&fleet, 0, NULL);
	assert_true(fleet_drain(&fleet, 40000));
	fleet_expect("SELECT status || ' ' || park_reason FROM ops_case WHERE id = $1::uuid", id,
		     "PARKED outcome_unknown");
	fleet_expect("SELECT count(*)::text FROM exec_step WHERE case_id = $1::uuid", id, "1");
}

/* ---- 4. nothing runs ungated ---- */

static int post(const char *path, const char *key, const char *id)
{
	AUTO(str) char *body = mem_printf("{\"case_id\":\"%s\"}", id);

	return fleet_call(&fleet, 0, "POST", path, key, body, NULL);
}

/* same_world(), gatekeeper/dispatch.c: `if (c->ret->changed) return fall(...)`. */
static void promise_4_a_world_that_changed_since_the_approval_stops_the_run(void **state)
{
	AUTO(str) char *path = mem_printf("%s/ledger/gated", fleet.dir);
	char id[UUID_TEXT];
	FILE *f;

	(void)state;
	fleet_replica_start(&fleet, 0, NULL);
	fleet_open(&fleet, "gated", &(struct fleet_case){ .manual = true }, id);
	assert_int_equal(post("/plan/generate", "gated-1", id), 200);
	assert_int_equal(post("/gate/eval", "gated-2", id), 200);
	fleet_expect("SELECT status FROM ops_case WHERE id = $1::uuid", id, "EXECUTING");
	f = fopen(path, "ae");
	assert_non_null(f);
	fputs("somebody else was here\n", f);
	fclose(f);
	(void)post("/adapter/exec", "gated-3", id);
	for (int64_t until = clock_mono_ms() + 20000; clock_mono_ms() < until; nap(50)) {
		AUTO(str)
		char *status = fleet_one(&fleet, "SELECT status FROM ops_case WHERE id = $1::uuid", id);

		if (!str_eq(status, "EXECUTING"))
			break;
	}
	fleet_expect("SELECT status FROM ops_case WHERE id = $1::uuid", id, "WAIT_GATE");
	fleet_expect(
		"SELECT count(*) || ' ' || (SELECT string_agg(status, ' ') FROM gate_decision WHERE case_id = $1::uuid) FROM exec_step"
		" WHERE case_id = $1::uuid",
		id, "0 void");
	assert_int_equal(fleet_lines(&fleet, "gated"), 1);
}

/* The handlers of GET in api/ only read; one that wrote, or asked the gate, would be seen here. */
static void promise_4_reading_never_decides(void **state)
{
	static const char *const paths[] = { "", "?include=plans,decisions,runs,verdicts,findings,timeline",
					     "/timeline" };
	static const char sums[] =
		"SELECT (SELECT count(*) FROM gate_decision) || ' ' || (SELECT count(*) FROM outbox) || ' ' || (SELECT count(*) FROM case_timeline)"
		" || ' ' || (SELECT sum(version) FROM ops_case)";
	AUTO(str) char *before = NULL;
	char id[UUID_TEXT];

	(void)state;
	fleet_replica_start(&fleet, 0, NULL);
	fleet_open(&fleet, "read", &(struct fleet_case){ .manual = true }, id);
	assert_int_equal(post("/plan/generate", "read-1", id), 200);
	nap(300);
	before = fleet_one(&fleet, sums, NULL);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		AUTO(str) char *path = mem_printf("/case/%s%s", id, paths[i]);

		assert_int_equal(fleet_call(&fleet, 0, "GET", path, NULL, NULL, NULL), 200);
	}
	assert_int_equal(fleet_call(&fleet, 0, "GET", "/case", NULL, NULL, NULL), 200);
	nap(300);
	fleet_expect(sums, NULL, before);
}

/* ---- 5. CLOSED as verified needs a verdict row ---- */

/* step_decide(), orchestrator/batch.c: `ev.verdict_pass = ... "PASS"` under `SC_V_EPOCH == epoch`. */
static void promise_5_only_a_pass_of_this_very_epoch_closes_as_verified(void **state)
{
	static const struct {
		const char *verdict;
		int back;
	} no[] = {
		{ NULL,                0 },
                { "INSUFFICIENT_DATA", 0 },
		{ "SOURCE_ERROR",      0 },
                { "INCONCLUSIVE",      0 },
		{ "FAIL",              0 },
                { "PASS",              1 }
	};
	static const char verdict[] =
		"INSERT INTO verdict (id, tenant_id, case_id, plan_id, epoch, verdict, checks) SELECT $1::uuid, tenant_id, id,"
		" gen_random_uuid(), epoch - $4::int, $3, '[]' FROM ops_case WHERE id = $2::uuid";
	char id[UUID_TEXT], product[UUID_TEXT];

	(void)state;
	open_case(DRIVE_MANUAL, id);
	put(id, "VERIFYING");
	for (size_t i = 0; i < ARRAY_LEN(no); i++) {
		char back[8];

		snprintf(back, sizeof(back), "%d", no[i].back);
		uuid_new(product);
		if (no[i].verdict)
			assert_int_equal(pg_query(pg, verdict, PG_ARGS(product, id, no[i].verdict, back),
						  NULL, NULL),
					 OC_OK);
		hear("evt.verify.pass.v1", id, no[i].verdict ? product : NULL, 0);
		expect("SELECT status FROM ops_case WHERE id = $1::uuid", id, "VERIFYING");
	}
	uuid_new(product);
	assert_int_equal(pg_query(pg, verdict, PG_ARGS(product, id, "PASS", "0"), NULL, NULL), OC_OK);
	hear("evt.verify.pass.v1", id, product, 0);
	expect("SELECT status || ' ' || resolution FROM ops_case WHERE id = $1::uuid", id, "CLOSED verified");
}

/* ---- 6. the model holds no write tool ---- */

/* step_decide(), orchestrator/batch.c: `ev.plan_complete = ...`; what is written down as a plan is not yet one. */
static void promise_6_a_document_that_is_no_complete_plan_moves_nothing(void **state)
{
	char id[UUID_TEXT], product[UUID_TEXT];

	(void)state;
	open_case(DRIVE_MANUAL, id);
	put(id, "PLANNING");
	uuid_new(product);
	assert_int_equal(
		pg_query(
			pg,
			"INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash, fingerprint,"
			" complete, created_by) SELECT $1::uuid, tenant_id, id, '{}', '{}', 1, epoch, 'forward', 'llm', 'h', 'f', false, 'model'"
			" FROM ops_case WHERE id = $2::uuid",
			PG_ARGS(product, id), NULL, NULL),
		OC_OK);
	hear("evt.plan.proposed.v1", id, product, 0);
	expect("SELECT status FROM ops_case WHERE id = $1::uuid", id, "PLANNING");
}

/* transition(), orchestrator/transition.c: `if (!(case_event_who(req->event) & req->who))`. */
static void promise_6_what_a_role_says_cannot_be_said_by_anybody_else(void **state)
{
	static const enum case_event_kind events[] = { EV_PLAN_READY, EV_GATE_APPROVED, EV_EXEC_DONE,
						       EV_VERIFY_PASS };
	char id[UUID_TEXT];
	struct oc_fail fail;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		assert_int_equal(say(id, events[i], WHO_PERSON, NULL, 0, &fail), OC_FORBIDDEN);
	expect("SELECT count(*)::text FROM case_timeline WHERE case_id = $1::uuid", id, "1");
}

/* The plan's schema (contracts/plan.c) lists the operations of the loaded adapters, and no others. */
static void promise_6_an_operation_that_no_adapter_offers_is_refused(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *answer = NULL;
	AUTO(str) char *body = NULL;

	(void)state;
	fleet_replica_start(&fleet, 0, NULL);
	fleet_open(&fleet, "invented", &(struct fleet_case){ .manual = true }, id);
	assert_int_equal(post("/plan/generate", "invented-1", id), 200);
	body = mem_printf(
		"{\"case_id\":\"%s\",\"plan\":{\"title\":\"t\",\"steps\":[{\"action\":\"shell.anything\",\"params\":{},\"timeout_s\":10,"
		"\"retry\":0}],\"rollback\":{},\"verify\":{\"checks\":[{\"kind\":\"probe\",\"step\":0}]}}}",
		id);
	assert_int_equal(fleet_call(&fleet, 0, "POST", "/adapter/exec", "invented-2", body, &answer), 422);
	assert_non_null(strstr(answer, "shell.anything"));
	fleet_expect(
		"SELECT count(*)::text FROM plan_proposed WHERE case_id = $1::uuid AND complete AND plan_text LIKE '%shell.anything%'",
		id, "0");
}

/* ---- 7. every write is fenced ---- */

/* SQL_STEP_CASE, store/step.c: `AND c.version = e.version`, and opscase_expect() that looks at the count. */
static void promise_7_a_step_decided_on_an_old_version_is_not_written(void **state)
{
	char id[UUID_TEXT], t[24];
	AUTO(str) char *quoted_id = NULL;
	struct oc_fail fail;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	snprintf(t, sizeof(t), "{%lld}", tenant);
	quoted_id = mem_printf("{%s}", id);
	assert_int_equal(pg_query(pg, SQL_STEP_CASE,
				  PG_ARGS(t, quoted_id, "{7}", "{ANALYZING}", "{1}", "{NULL}", "{NULL}",
					  "{NULL}", "{NULL}", "{NULL}", "{NULL}", "{NULL}", "{NULL}",
					  "{NULL}", "{NULL}", "{0}", "{0}", "{NULL}", "{-1}", "{2}",
					  "{\"00\"}", "1"),
				  NULL, &fail),
			 OC_CONFLICT);
	pg_rollback(pg);
	assert_non_null(strstr(fail.text, "fence"));
	expect("SELECT status || ' v' || version FROM ops_case WHERE id = $1::uuid", id, "NEW v1");
}

/* An answer while somebody else has got the command: the role takes it from itself, by the row. */
static enum oc_err robbed(void *ctx, const struct command *cmd, struct answer *ans, struct oc_fail *reterr)
{
	AUTO(pg) struct pg *other = pgtemp_open(db->worker);
	char id[24], product[UUID_TEXT], t[24], epoch[16];

	(void)reterr;
	snprintf(id, sizeof(id), "%lld", cmd->id);
	snprintf(t, sizeof(t), "%lld", cmd->tenant_id);
	snprintf(epoch, sizeof(epoch), "%d", cmd->epoch);
	if (pg_query(
		    other,
		    "UPDATE outbox SET lease_token = gen_random_uuid(), lease_until = now() + interval '1 hour' WHERE id = $1::bigint",
		    PG_ARGS(id), NULL, NULL) != OC_OK)
		abort();
	uuid_new(product);
	answer_do(ans, SQL_FINDING, PG_ARGS(product, t, cmd->case_id, epoch));
	answer_event(ans, "evt.analysis.findings.v1", product);
	atomic_store((atomic_bool *)ctx, true);
	return OC_OK;
}

/* SQL_COMMAND_FINISH and SQL_COMMAND_HOLD, store/command.c: `o.lease_token = $2::uuid`. */
static void promise_7_an_answer_under_a_lease_that_was_lost_is_dropped_whole(void **state)
{
	atomic_bool worked = false;
	struct role role = { .name = "robbed",
			     .topics = { "cmd.analysis.run" },
			     .threads = 1,
			     .max_batch = 8,
			     .lease_ms = 30000,
			     .work = robbed,
			     .ctx = &worked };
	struct worker *w = NULL;
	struct bus *bus = NULL;
	struct waker *wake = waker_new();
	struct oc_fail fail;
	char id[UUID_TEXT];

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	assert_int_equal(bus_open(&(struct bus_config){ .url = nats.url, .name = "robbed" }, &bus, &fail),
			 OC_OK);
	assert_int_equal(worker_start(&role,
				      &(struct worker_deps){
					      .conninfo = db->worker, .bus = bus, .relay_wake = wake },
				      &w, &fail),
			 OC_OK);
	for (int64_t until = clock_mono_ms() + 20000; !worked && clock_mono_ms() < until;)
		nap(10);
	assert_true(worked);
	worker_stop(w);
	expect("SELECT (SELECT count(*) FROM outbox WHERE case_id = $1::uuid AND kind = 'e') || ' ' || (SELECT count(*) FROM finding WHERE"
	       " case_id = $1::uuid) || ' ' || (SELECT count(*) FROM outbox WHERE case_id = $1::uuid AND kind = 'c' AND done_at IS NULL)",
	       id, "0 0 1");
	bus_close(bus);
	waker_free(wake);
	free(one("UPDATE outbox SET done_at = now() WHERE case_id = $1::uuid RETURNING ''", id));
}

/* step_rows(), orchestrator/loop.c: `SC_EV_EPOCH != SC_EPOCH`. */
static void promise_7_an_answer_to_an_older_question_changes_nothing(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	hear("evt.analysis.findings.v1", id, NULL, 1);
	expect("SELECT status FROM ops_case WHERE id = $1::uuid", id, "ANALYZING");
	hear("evt.analysis.findings.v1", id, NULL, 0);
	expect("SELECT status FROM ops_case WHERE id = $1::uuid", id, "PLANNING");
}

/* ---- 8. nothing is lost silently ---- */

/* sweep_exhausted(), orchestrator/janitor.c: SQL_SWEEP_GIVE_UP. */
static void promise_8_an_errand_that_nobody_could_run_is_a_dead_letter_with_its_reason(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	open_case(DRIVE_MANUAL, id);
	free(one("INSERT INTO outbox (tenant_id, case_id, kind, topic, key, payload, attempts, max_attempts) SELECT tenant_id, id, 'c', 'cmd.notify',"
		 " tenant, '{\"park_reason\":\"x\"}', 3, 3 FROM ops_case WHERE id = $1::uuid RETURNING ''",
		 id));
	janitor_sweep(pg, &(struct janitor_deps){ .conninfo = db->worker });
	expect("SELECT kind || ' ' || source || ' ' || reason || ' ' || (body::jsonb -> 'payload' ->> 'park_reason') FROM dead_letter"
	       " WHERE body::jsonb ->> 'case_id' = $1",
	       id, "command cmd.notify cmd.notify was offered 3 times x");
	expect("SELECT count(*)::text FROM outbox WHERE case_id = $1::uuid AND topic = 'cmd.notify' AND done_at IS NULL",
	       id, "0");
}

/* loop_step(), orchestrator/loop.c: the three metric_add() of what was heard twice, has no case, or is of another epoch. */
static void promise_8_what_is_dropped_is_counted(void **state)
{
	double twice = metric_read(M_INBOX_DEDUP, NULL, NULL, NULL),
	       dead = metric_read(M_DEAD_LETTER, "event", NULL, NULL),
	       late = metric_read(M_EVENT_IGNORED, "analysis_done", NULL, NULL);
	AUTO(str) char *row = NULL;
	char id[UUID_TEXT];
	struct oc_fail fail;
	long long ids[1], again[1];
	size_t n;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	hear("evt.analysis.findings.v1", id, NULL, 1);
	assert_int_equal(metric_read(M_EVENT_IGNORED, "analysis_done", NULL, NULL) - late, 1);
	row = one("SELECT max(id) FROM outbox WHERE case_id = $1::uuid AND kind = 'e'", id);
	ids[0] = strtoll(row, NULL, 10);
	assert_int_equal(loop_step(pg, &(struct loop_deps){ 0 }, ids, 1, again, &n, &fail), OC_OK);
	assert_int_equal(metric_read(M_INBOX_DEDUP, NULL, NULL, NULL) - twice, 1);
	free(TAKE(row));
	row = one(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key) SELECT tenant_id, gen_random_uuid(), 'e', 'evt.plan.failed.v1', tenant"
		" FROM ops_case WHERE id = $1::uuid RETURNING id",
		id);
	ids[0] = strtoll(row, NULL, 10);
	assert_int_equal(loop_step(pg, &(struct loop_deps){ 0 }, ids, 1, again, &n, &fail), OC_OK);
	assert_int_equal(metric_read(M_DEAD_LETTER, "event", NULL, NULL) - dead, 1);
}

/* sweep_exhausted(), orchestrator/janitor.c: pg_affected(); the case that was parked has its reason, and no dead letter. */
static void promise_8_a_dead_letter_is_counted_when_there_is_one(void **state)
{
	double dead = metric_read(M_DEAD_LETTER, "command", NULL, NULL);
	char id[UUID_TEXT];
	struct oc_fail fail;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	free(one(
		"UPDATE outbox SET attempts = max_attempts WHERE case_id = $1::uuid AND kind = 'c' RETURNING ''",
		id));
	janitor_sweep(pg, &(struct janitor_deps){ .conninfo = db->worker });
	expect("SELECT status || ' ' || park_reason FROM ops_case WHERE id = $1::uuid", id,
	       "PARKED no_worker");
	expect("SELECT count(*)::text FROM dead_letter WHERE body::jsonb ->> 'case_id' = $1", id, "0");
	assert_int_equal(metric_read(M_DEAD_LETTER, "command", NULL, NULL) - dead, 0);
}

/* ---- 9. secrets are references ---- */

static bool holds(const char *path, const char *what)
{
	FILE *f = fopen(path, "re");
	char *buf = mem_alloc(1 << 20);
	size_t n = f ? fread(buf, 1, (1 << 20) - 1, f) : 0;
	bool found = memmem(buf, n, what, strlen(what)) != NULL;

	free(buf);
	if (f)
		fclose(f);
	return found;
}

/* order_make(), executor/host.c: gather_secrets() hands the value to the child alone, on its own line; without it the child
 * has none. Anything that put the value elsewhere would be found by the second half. */
static void promise_9_a_secret_is_seen_by_the_adapter_and_by_nobody_else(void **state)
{
	static const char value[] = "hunter2-is-no-password";
	AUTO(str) char *dir = mem_printf("%s/r0/secrets", fleet.dir);
	AUTO(str) char *tables = NULL;
	char id[UUID_TEXT], *save = NULL;
	unsigned looked = 0;

	(void)state;
	fleet_replica_start(&fleet, 0, NULL); /* makes its folders */
	for (const char *const *below = (const char *const[]){ "", "/t-crash", "/t-crash/ledger", NULL };
	     *below; below++) {
		AUTO(str) char *path = mem_printf("%s%s", dir, *below);

		(void)!mkdir(path, 0700);
	}
	{
		AUTO(str) char *path = mem_printf("%s/t-crash/ledger/token", dir);
		FILE *f = fopen(path, "we");

		assert_non_null(f);
		fchmod(fileno(f), 0600);
		fputs(value, f);
		fclose(f);
	}
	fleet_open(&fleet, "secret", &(struct fleet_case){ .show_secret = true, .sleep_ms = 1500 }, id);
	for (int64_t until = clock_mono_ms() + 20000; looked < 2 && clock_mono_ms() < until; nap(20)) {
		pid_t pids[64];
		size_t n = fleet_runners(&fleet, 0, pids, ARRAY_LEN(pids));

		for (size_t i = 0; i < n; i++) {
			char path[64];

			snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pids[i]);
			assert_false(holds(path, value));
			snprintf(path, sizeof(path), "/proc/%d/environ", (int)pids[i]);
			assert_false(holds(path, value));
			looked++;
		}
	}
	assert_true(looked >= 2);
	assert_true(fleet_drain(&fleet, 40000));
	/* {"token":"..."}: it did get it */
	fleet_expect(
		"SELECT (result -> 'answer' ->> 'secrets_bytes')::int > 20 FROM exec_step WHERE case_id = $1::uuid AND seq = 0",
		id, "t");
	tables = fleet_one(&fleet,
			   "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'",
			   NULL);
	for (char *t = strtok_r(tables, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
		AUTO(str)
		char *sql = mem_printf("SELECT count(*) FROM %s x WHERE x::text LIKE '%%%s%%'", t, value);
		AUTO(pg_result) struct pg_result *r = NULL;

		/* what the worker may not read it cannot have written either */
		if (pg_query(fleet.pg, sql, PG_NO_ARGS, &r, NULL) == OC_OK && pg_int(r, 0, 0))
			fail_msg("%s holds the secret", t);
	}
	assert_false(holds(fleet.replica[0].log, value));
}

/* ---- 10. tenants do not see each other ---- */

/* migrations/0003_roles.up.sql, opscase_secure(): ENABLE ROW LEVEL SECURITY and the policy p_api. */
static void promise_10_a_request_sees_its_own_tenant_and_nothing_without_one(void **state)
{
	AUTO(pg) struct pg *api = pgtemp_open(db->api);
	AUTO(pg_result) struct pg_result *r = NULL;
	char ours[24], theirs[24], id[UUID_TEXT];
	struct oc_fail fail = { 0 };

	(void)state;
	open_case(DRIVE_MANUAL, id);
	snprintf(ours, sizeof(ours), "%lld", tenant);
	snprintf(theirs, sizeof(theirs), "%lld", pgtemp_tenant(db, "t-theirs"));
	for (int i = 0; i < 3; i++) {
		const char *who = i == 0 ? "" : i == 1 ? theirs : ours;

		assert_int_equal(pg_begin(api, &fail), OC_OK);
		assert_int_equal(pg_query(api, "SELECT set_config('opscase.tenant', $1, true)", PG_ARGS(who),
					  NULL, &fail),
				 OC_OK);
		assert_int_equal(pg_query(api, "SELECT count(*) FROM ops_case WHERE id = $1::uuid",
					  PG_ARGS(id), &r, &fail),
				 OC_OK);
		assert_int_equal(pg_int(r, 0, 0), i == 2);
		pg_result_free(TAKE(r));
		assert_int_equal(pg_query(api, "SELECT count(*) FROM case_timeline WHERE case_id = $1::uuid",
					  PG_ARGS(id), &r, &fail),
				 OC_OK);
		assert_int_equal(pg_int(r, 0, 0), i == 2);
		pg_result_free(TAKE(r));
		assert_int_equal(pg_commit(api, &fail), OC_OK);
	}
}

/* call_read_case() and its kin, api/: the tenant is a claim of the token, not something the request says. */
static void promise_10_a_token_of_another_tenant_finds_nothing(void **state)
{
	AUTO(str) char *path = NULL;
	char id[UUID_TEXT], token_id[UUID_TEXT], mine[TOKEN_TEXT];
	struct oc_fail fail = { 0 };

	(void)state;
	fleet_replica_start(&fleet, 0, NULL);
	fleet_open(&fleet, "ours", &(struct fleet_case){ .manual = true }, id);
	path = mem_printf("/case/%s", id);
	assert_int_equal(fleet_call(&fleet, 0, "GET", path, NULL, NULL, NULL), 200);
	memcpy(mine, fleet.token, sizeof(mine));
	if (token_create(fleet.pg,
			 &(struct token_new){ .tenant_id = pgtemp_tenant(&fleet.db, "t-theirs"),
					      .name = "otto",
					      .role = ROLE_ADMIN },
			 fleet.token, token_id, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	assert_int_equal(fleet_call(&fleet, 0, "GET", path, NULL, NULL, NULL), 404);
	memcpy(fleet.token, mine, sizeof(mine));
}

/* ---- life ---- */

static int no_replica(void **state)
{
	(void)state;
	fleet_replica_signal(&fleet, 0, SIGTERM);
	return 0;
}

static int setup(void **state)
{
	fleet_start(&fleet);
	return rig_setup(state);
}

static int teardown(void **state)
{
	fleet_stop(&fleet);
	return rig_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(promise_1_a_step_is_case_timeline_and_outbox_or_nothing),
		cmocka_unit_test(promise_1_a_refusal_is_one_row_and_a_stale_version_is_none),
		cmocka_unit_test(promise_1_nobody_else_writes_a_case),
		cmocka_unit_test(promise_2_a_message_that_nats_lost_is_offered_again),
		cmocka_unit_test(promise_2_without_nats_the_loop_is_slower_and_not_wrong),
		cmocka_unit_test_teardown(
			promise_3_after_a_crash_the_probe_is_asked_and_nothing_is_done_twice, no_replica),
		cmocka_unit_test_teardown(promise_3_the_intent_is_there_before_the_effect, no_replica),
		cmocka_unit_test_teardown(promise_4_a_world_that_changed_since_the_approval_stops_the_run,
					  no_replica),
		cmocka_unit_test_teardown(promise_4_reading_never_decides, no_replica),
		cmocka_unit_test(promise_5_only_a_pass_of_this_very_epoch_closes_as_verified),
		cmocka_unit_test(promise_6_a_document_that_is_no_complete_plan_moves_nothing),
		cmocka_unit_test(promise_6_what_a_role_says_cannot_be_said_by_anybody_else),
		cmocka_unit_test_teardown(promise_6_an_operation_that_no_adapter_offers_is_refused,
					  no_replica),
		cmocka_unit_test(promise_7_a_step_decided_on_an_old_version_is_not_written),
		cmocka_unit_test(promise_7_an_answer_under_a_lease_that_was_lost_is_dropped_whole),
		cmocka_unit_test(promise_7_an_answer_to_an_older_question_changes_nothing),
		cmocka_unit_test(promise_8_an_errand_that_nobody_could_run_is_a_dead_letter_with_its_reason),
		cmocka_unit_test(promise_8_what_is_dropped_is_counted),
		cmocka_unit_test(promise_8_a_dead_letter_is_counted_when_there_is_one),
		cmocka_unit_test_teardown(promise_9_a_secret_is_seen_by_the_adapter_and_by_nobody_else,
					  no_replica),
		cmocka_unit_test(promise_10_a_request_sees_its_own_tenant_and_nothing_without_one),
		cmocka_unit_test_teardown(promise_10_a_token_of_another_tenant_finds_nothing, no_replica),
		/* last: it leaves a ledger that cannot be checked */
		cmocka_unit_test_teardown(promise_3_what_nobody_can_tell_parks_as_outcome_unknown,
					  no_replica),
	};

	if (getenv("OPSCASE_PROMISE"))
		cmocka_set_test_filter(getenv("OPSCASE_PROMISE"));
	return cmocka_run_group_tests(tests, setup, teardown);
}
