/* A case goes round on real PostgreSQL and NATS; the roles here only say what a real one would. */
#include <pthread.h>
#include <signal.h>
#include "tests/integration/rig.h"

/* ---- the tests ---- */

static void an_auto_case_goes_round_and_closes_as_verified(void **state)
{
	struct rig r = { 0 };
	char id[UUID_TEXT];
	AUTO(str) char *resolution = NULL;
	AUTO(str) char *lines = NULL;

	(void)state;
	rig_start(&r);
	open_case(DRIVE_AUTO, id);
	assert_true(wait_status(id, "CLOSED", 15000));
	resolution = one("SELECT resolution FROM ops_case WHERE id = $1::uuid", id);
	assert_string_equal(resolution, "verified");
	lines = one("SELECT string_agg(event, ' ' ORDER BY seq) FROM case_timeline WHERE case_id = $1::uuid",
		    id);
	assert_string_equal(
		lines, "create start_analysis analysis_done plan_ready gate_approved exec_done verify_pass");
	rig_stop(&r);
}

/* While the analyst works, one backend is killed: PostgreSQL ends all connections and recovers. */
static void crash_postgres(const struct command *cmd)
{
	struct pg *victim;
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail fail;

	if (!str_eq(cmd->topic, "cmd.analysis.run"))
		return;
	before_answer = NULL;
	victim = pgtemp_open(db->worker);
	/* the lease is on the disk */
	assert_int_equal(pg_query(victim, "SELECT set_config('synchronous_commit', 'on', false)", PG_NO_ARGS,
				  NULL, &fail),
			 OC_OK);
	assert_int_equal(pg_query(victim, "SELECT pg_logical_emit_message(true, 'test', 'x')", PG_NO_ARGS,
				  NULL, &fail),
			 OC_OK);
	assert_int_equal(pg_query(victim, "SELECT pg_backend_pid()", PG_NO_ARGS, &r, &fail), OC_OK);
	kill((pid_t)pg_int(r, 0, 0), SIGKILL);
	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
	pg_close(victim);
}

/* Its lease is 30 s; without settle_left() in worker.c the case would stand still for as long. */
static void a_crash_of_postgresql_in_the_middle_of_a_command_costs_seconds_and_not_its_lease(void **state)
{
	struct rig r = { 0 };
	char id[UUID_TEXT];

	(void)state;
	rig_start(&r);
	before_answer = crash_postgres;
	open_case(DRIVE_AUTO, id);
	for (int i = 0; i < 500 && before_answer; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	assert_null(before_answer);
	nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	for (int i = 0; i < 100; i++) {
		struct oc_fail fail;

		if (pg_query(pg, "SELECT 1", PG_NO_ARGS, NULL, &fail) == OC_OK)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
	assert_true(wait_status(id, "CLOSED", 20000));
	rig_stop(&r);
}

static void losing_nats_makes_the_loop_slower_never_wrong(void **state)
{
	struct rig r = { 0 };
	char id[UUID_TEXT], id2[UUID_TEXT];

	(void)state;
	rig_start(&r);
	open_case(DRIVE_AUTO, id);
	assert_true(wait_status(id, "CLOSED", 15000));
	natstemp_kill(&nats);
	open_case(DRIVE_AUTO, id2);
	assert_true(wait_status(id2, "CLOSED", 40000));
	natstemp_again(&nats);
	open_case(DRIVE_AUTO, id);
	assert_true(wait_status(id, "CLOSED", 40000));
	rig_stop(&r);
}

static void two_hundred_cases_close_and_the_outbox_is_empty(void **state)
{
	struct rig r = { 0 };
	int64_t until;
	AUTO(str) char *left = NULL;

	(void)state;
	rig_start(&r);
	for (int i = 0; i < 200; i++) {
		char id[UUID_TEXT];

		open_case(DRIVE_AUTO, id);
	}
	for (until = clock_mono_ms() + 60000; clock_mono_ms() < until;) {
		AUTO(str)
		char *open = one(
			"SELECT (SELECT count(*) FROM ops_case WHERE status <> 'CLOSED' AND drive = 'auto')"
			" + (SELECT count(*) FROM outbox WHERE done_at IS NULL)",
			NULL);

		if (str_eq(open, "0"))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	left = one("SELECT count(*) FROM ops_case WHERE status <> 'CLOSED' AND drive = 'auto'", NULL);
	assert_string_equal(left, "0");
	free(left);
	left = one("SELECT count(*) FROM outbox WHERE done_at IS NULL", NULL);
	assert_string_equal(left, "0");
	rig_stop(&r);
}

static unsigned long trips_of(const char *id, enum case_event_kind event, const char *key, enum oc_err want)
{
	struct transition_request req = {
		.tenant_id = tenant,
		.case_id = id,
		.event = event,
		.who = WHO_PERSON,
		.actor = "tester",
		.idem = { key ? "tester" : NULL, key ? "PATCH /x" : NULL, key, key ? "body" : NULL }
	};
	struct transition_result res;
	struct oc_fail fail;
	unsigned long before = pg_round_trips(pg);

	assert_int_equal(transition(pg, &req, &res, &fail), want);
	if (want == OC_OK)
		transition_result_done(&res);
	return pg_round_trips(pg) - before;
}

static void a_transition_takes_one_round_trip_and_never_more_than_two(void **state)
{
	char id[UUID_TEXT];
	unsigned long before;

	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		open_case(DRIVE_MANUAL, id);
		assert_int_equal(trips_of(id, EV_START_ANALYSIS, keyed ? "trip 1" : NULL, OC_OK), 1);
		/* joins: the guess was wrong */
		assert_int_equal(trips_of(id, EV_START_ANALYSIS, keyed ? "trip 2" : NULL, OC_OK), 2);
		assert_int_equal(trips_of(id, EV_CLOSE, keyed ? "trip 3" : NULL, OC_ILLEGAL), 2);
		assert_int_equal(trips_of(id, EV_CANCEL, keyed ? "trip 4" : NULL, OC_OK), 2);
		/* refused where the guess was wrong */
		assert_int_equal(trips_of(id, EV_ASK_GATE, keyed ? "trip 5" : NULL, OC_ILLEGAL), 2);
	}
	/* the kept answer of a key comes with the first, and so does it that there is no such case */
	assert_int_equal(trips_of(id, EV_START_ANALYSIS, "trip 2", OC_OK), 1);
	assert_int_equal(trips_of("00000000-0000-7000-8000-000000000000", EV_START_ANALYSIS, NULL,
				  OC_NOT_FOUND),
			 1);
	before = pg_round_trips(pg);
	open_case(DRIVE_AUTO, id);
	assert_int_equal(pg_round_trips(pg) - before, 2);
}

struct said_aside {
	char id[UUID_TEXT];
	struct transition_result res;
	struct oc_fail fail;
	enum oc_err err;
};

static void *say_aside(void *arg)
{
	struct said_aside *a = arg;
	struct pg *own = pgtemp_open(db->worker);
	struct transition_request req = { .tenant_id = tenant,
					  .case_id = a->id,
					  .event = EV_START_ANALYSIS,
					  .who = WHO_PERSON,
					  .actor = "tester" };

	a->err = transition(own, &req, &a->res, &a->fail);
	pg_close(own);
	return NULL;
}

/* Without SQL_STEP_SAME in begin_as_seen() the second trip would join the command of a case that is parked by then. */
static void a_case_that_changes_between_the_two_round_trips_is_decided_anew(void **state)
{
	struct said_aside a = { 0 };
	struct pg *other = pgtemp_open(db->worker);
	struct oc_fail fail;
	pthread_t thread;
	bool waits = false;

	(void)state;
	open_case(DRIVE_MANUAL, a.id);
	assert_int_equal(say(a.id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	assert_int_equal(pg_begin(other, &fail), OC_OK);
	assert_int_equal(pg_query(other,
				  "UPDATE ops_case SET status = 'PARKED', park_reason = 'canceled',"
				  " version = version + 1 WHERE id = $1::uuid",
				  PG_ARGS(a.id), NULL, &fail),
			 OC_OK);
	assert_int_equal(pthread_create(&thread, NULL, say_aside, &a), 0);
	for (int i = 0; i < 500 && !waits; i++) {
		AUTO(str)
		char *n = one("SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
			      " AND query LIKE '%FOR NO KEY UPDATE OF c) locked%'",
			      NULL);

		waits = !str_eq(n, "0");
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	assert_true(waits);
	assert_int_equal(pg_commit(other, &fail), OC_OK);
	pg_close(other);
	pthread_join(thread, NULL);
	assert_int_equal(a.err, OC_ILLEGAL);
	assert_non_null(strstr(a.fail.text, "PARKED"));
	transition_result_done(&a.res);
}

/* Everything that a step leaves behind, without what differs from case to case by nature. */
static char *traces_of(const char *id)
{
	return one(
		"SELECT (SELECT row(c.status, c.version, c.epoch, c.drive, c.park_reason, c.sentence, c.resolution, c.plan_id,"
		"  c.cmd_id = (SELECT max(id) FROM outbox o WHERE o.case_id = c.id AND o.kind = 'c'), c.cmd_topic, c.cancel_cause,"
		"  c.rollbacks, c.resumes, c.failed_plans, c.deadline_at - c.updated_at, c.entered_at = c.updated_at, c.timeline_seq,"
		"  c.timeline_head = (SELECT hash FROM case_timeline t WHERE t.case_id = c.id ORDER BY seq DESC LIMIT 1), c.closed_at)::text"
		"  FROM ops_case c WHERE c.id = $1::text::uuid)"
		" || (SELECT string_agg(row(t.seq, t.event, t.actor, t.reason, t.correlation_id, t.meta,"
		"  regexp_replace(replace(t.canonical, $1::text, 'ID'), '\"at\":\"[0-9T:.-]+Z\"', 'AT'), t.refusal_key, t.repeats)::text, ' ' ORDER BY seq)"
		"  FROM case_timeline t WHERE t.case_id = $1::text::uuid)"
		" || (SELECT string_agg(row(o.kind, o.topic, o.key, replace(o.payload::text, $1::text, 'ID'), o.epoch, o.case_version, o.cmd_id,"
		"  o.product_id, o.trace_id, o.attempts, o.max_attempts, o.not_before, o.done_at)::text, ' ' ORDER BY id)"
		"  FROM outbox o WHERE o.case_id = $1::text::uuid)",
		id);
}

static void a_guessed_step_leaves_the_same_rows_as_the_long_way(void **state)
{
	char guessed[UUID_TEXT], long_way[UUID_TEXT];
	AUTO(json)
	json_t *args = json_pack("{s:s, s:{s:i}}", "template", "noop \"x\"", "params", "\xc3\xa4", 1);
	AUTO(str) char *a = NULL;
	AUTO(str) char *b = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, guessed);
	open_case(DRIVE_MANUAL, long_way);
	/* a case with a command is none that the guess is about */
	free(one("UPDATE ops_case SET cmd_id = 0 WHERE id = $1::uuid RETURNING id::text", long_way));
	for (int i = 0; i < 2; i++) {
		struct transition_request req = { .tenant_id = tenant,
						  .case_id = i ? long_way : guessed,
						  .event = EV_START_ANALYSIS,
						  .who = WHO_PERSON,
						  .actor = "te\"ster",
						  .role = "operator",
						  .reason = "because\n\xe2\x82\xac",
						  .correlation_id = "corr",
						  .trace_id = "0123456789abcdef0123456789abcdef",
						  .args = args };
		struct transition_result res;
		struct oc_fail fail;
		unsigned long before = pg_round_trips(pg);

		assert_int_equal(transition(pg, &req, &res, &fail), OC_OK);
		assert_int_equal(pg_round_trips(pg) - before, i ? 2 : 1);
		assert_true(res.accepted);
		assert_int_equal(res.version, 2);
		assert_int_equal(res.epoch, 2);
		assert_true(res.cmd_id > 0);
		transition_result_done(&res);
	}
	a = traces_of(guessed);
	b = traces_of(long_way);
	assert_string_equal(a, b);
}

static void the_text_of_a_case_is_what_the_database_makes_of_it(void **state)
{
	char id[UUID_TEXT];
	struct transition_request req = { .tenant_id = tenant,
					  .case_id = id,
					  .event = EV_CANCEL,
					  .who = WHO_PERSON,
					  .actor = "tester",
					  .reason = "\"enough\"\t\\ \xc3\xa4" };
	struct transition_result res;
	struct oc_fail fail;
	AUTO(json) json_t *ours = NULL;
	AUTO(json) json_t *theirs = NULL;
	AUTO(str) char *text = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(transition(pg, &req, &res, &fail), OC_OK);
	assert_int_equal(json_read_own(res.case_json, &ours, &fail), OC_OK);
	transition_result_done(&res);
	assert_true(json_is_array(json_object_get(ours, "legal")));
	json_object_del(ours, "legal");
	text = one("SELECT opscase_case_json(c)::text FROM ops_case c WHERE id = $1::uuid", id);
	assert_int_equal(json_read_own(text, &theirs, &fail), OC_OK);
	assert_true(json_is_string(json_object_get(theirs, "closed_at")));
	assert_true(json_equal(ours, theirs));
}

static void a_refusal_writes_one_row_and_the_same_again_is_counted(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	AUTO(str) char *rows = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_CLOSE, WHO_PERSON, NULL, 0, &fail), OC_ILLEGAL);
	assert_non_null(strstr(fail.text, "start_analysis"));
	assert_int_equal(say(id, EV_CLOSE, WHO_PERSON, NULL, 0, &fail), OC_ILLEGAL);
	rows = one(
		"SELECT count(*) || ' ' || max(repeats) || ' ' || (SELECT version FROM ops_case c WHERE c.id = $1::uuid)"
		" FROM case_timeline WHERE case_id = $1::uuid AND event = 'close'",
		id);
	assert_string_equal(rows, "1 1 1");
}

static void a_stale_version_and_a_foreign_voice_write_nothing(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	AUTO(str) char *rows = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 7, &fail), OC_STALE);
	assert_int_equal(say(id, EV_PLAN_READY, WHO_PERSON, NULL, 0, &fail), OC_FORBIDDEN);
	rows = one("SELECT count(*)::text FROM case_timeline WHERE case_id = $1::uuid", id);
	assert_string_equal(rows, "1");
}

static void the_timeline_is_a_chain_that_breaks_when_a_row_is_changed(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	AUTO(str) char *broken = NULL;
	static const char SQL_CHECK[] =
		"WITH l AS (SELECT seq, canonical, hash, lag(hash, 1, '\\x'::bytea) OVER (ORDER BY seq) AS before FROM case_timeline"
		" WHERE case_id = $1::uuid) SELECT count(*) FILTER (WHERE hash <> sha256(before || convert_to(canonical, 'UTF8')))"
		" || ' of ' || count(*) FROM l";

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	assert_int_equal(say(id, EV_CLOSE, WHO_PERSON, NULL, 0, &fail), OC_ILLEGAL);
	assert_int_equal(say(id, EV_CANCEL, WHO_PERSON, NULL, 0, &fail), OC_OK);
	broken = one(SQL_CHECK, id);
	assert_string_equal(broken, "0 of 4");
	free(broken);
	broken = one(
		"UPDATE case_timeline SET canonical = replace(canonical, 'tester', 'nobody') WHERE case_id = $1::uuid AND seq = 2"
		" RETURNING ''",
		id);
	free(broken);
	broken = one(SQL_CHECK, id);
	assert_string_equal(broken, "1 of 4");
}

static void the_same_key_and_body_gives_the_first_answer_and_another_body_is_refused(void **state)
{
	char id[UUID_TEXT];
	struct transition_result a, b;
	struct oc_fail fail;
	struct transition_request req = {
		.tenant_id = tenant,
		.event = EV_START_ANALYSIS,
		.who = WHO_PERSON,
		.actor = "tester",
		.idem = { .principal = "tester", .route = "PATCH /x", .key = "k1", .body_hash = "b1" }
	};
	AUTO(str) char *rows = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	req.case_id = id;
	assert_int_equal(transition(pg, &req, &a, &fail), OC_OK);
	assert_true(a.accepted);
	assert_int_equal(transition(pg, &req, &b, &fail), OC_OK);
	assert_true(b.replayed);
	assert_int_equal(b.stored_status, 200);
	assert_string_equal(a.case_json, b.case_json);
	transition_result_done(&a);
	transition_result_done(&b);
	req.idem.body_hash = "b2";
	assert_int_equal(transition(pg, &req, &b, &fail), OC_INVALID);
	rows = one("SELECT count(*)::text FROM case_timeline WHERE case_id = $1::uuid", id);
	assert_string_equal(rows, "2");
}

static void an_answer_of_another_epoch_changes_nothing(void **state)
{
	char id[UUID_TEXT], evt[24];
	long long ids[1], again[1];
	size_t n;
	struct oc_fail fail;
	AUTO(str) char *row = NULL;
	AUTO(str) char *status = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	row = one(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch) SELECT tenant_id, id, 'e', 'evt.analysis.findings.v1',"
		" tenant, epoch - 1 FROM ops_case WHERE id = $1::uuid RETURNING id::text",
		id);
	snprintf(evt, sizeof(evt), "%s", row);
	ids[0] = strtoll(evt, NULL, 10);
	assert_int_equal(loop_step(pg, &(struct loop_deps){ 0 }, ids, 1, again, &n, &fail), OC_OK);
	status = one(
		"SELECT status || ' ' || (SELECT count(*) FROM outbox o WHERE o.case_id = c.id AND kind = 'e' AND done_at IS NULL)"
		" FROM ops_case c WHERE id = $1::uuid",
		id);
	assert_string_equal(status, "ANALYZING 0");
}

static void an_event_heard_twice_is_counted_once(void **state)
{
	char id[UUID_TEXT];
	long long ids[2], again[2];
	size_t n;
	struct oc_fail fail;
	AUTO(str) char *row = NULL;
	AUTO(str) char *seen = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	row = one(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch) SELECT tenant_id, id, 'e', 'evt.analysis.findings.v1',"
		" tenant, epoch FROM ops_case WHERE id = $1::uuid RETURNING id::text",
		id);
	ids[0] = ids[1] = strtoll(row, NULL, 10);
	assert_int_equal(loop_step(pg, &(struct loop_deps){ 0 }, ids, 2, again, &n, &fail), OC_OK);
	assert_int_equal(loop_step(pg, &(struct loop_deps){ 0 }, ids, 1, again, &n, &fail), OC_OK);
	seen = one(
		"SELECT status || ' ' || (SELECT count(*) FROM case_timeline t WHERE t.case_id = c.id) FROM ops_case c WHERE id = $1::uuid",
		id);
	assert_string_equal(seen, "PLANNING 3");
}

static void a_plan_ready_without_a_complete_plan_is_refused_on_the_timeline(void **state)
{
	char id[UUID_TEXT];
	long long ids[1], again[1];
	size_t n;
	struct oc_fail fail;
	AUTO(str) char *row = NULL;
	AUTO(str) char *seen = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	row = one("UPDATE ops_case SET status = 'PLANNING' WHERE id = $1::uuid RETURNING ''", id);
	free(row);
	row = one(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch) SELECT tenant_id, id, 'e', 'evt.plan.proposed.v1',"
		" tenant, epoch FROM ops_case WHERE id = $1::uuid RETURNING id::text",
		id);
	ids[0] = strtoll(row, NULL, 10);
	assert_int_equal(loop_step(pg, &(struct loop_deps){ 0 }, ids, 1, again, &n, &fail), OC_OK);
	seen = one(
		"SELECT c.status || ' v' || c.version || ' ' || t.event || ' ' || (t.meta->>'refused') || ' ' || (c.timeline_head = t.hash)"
		" FROM ops_case c JOIN case_timeline t ON t.case_id = c.id AND t.seq = c.timeline_seq WHERE c.id = $1::uuid",
		id);
	assert_string_equal(seen, "PLANNING v1 plan_ready the plan is not complete true");
}

static void a_deadline_parks_and_the_clock_is_the_databases(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	AUTO(str) char *row = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	row = one(
		"UPDATE ops_case SET deadline_at = now() - interval '1 second' WHERE id = $1::uuid RETURNING ''",
		id);
	free(row);
	janitor_sweep(pg, &(struct janitor_deps){ .conninfo = db->worker });
	row = one(
		"SELECT status || ' ' || park_reason || ' ' || coalesce(deadline_at::text, '-') FROM ops_case WHERE id = $1::uuid",
		id);
	assert_string_equal(row, "PARKED deadline -");
}

static void a_command_offered_too_often_parks_the_case_as_no_worker(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	AUTO(str) char *row = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	row = one(
		"UPDATE outbox SET attempts = max_attempts, lease_until = now() - interval '1 second' WHERE case_id = $1::uuid AND kind = 'c'"
		" RETURNING ''",
		id);
	free(row);
	janitor_sweep(pg, &(struct janitor_deps){ .conninfo = db->worker });
	row = one("SELECT status || ' ' || park_reason FROM ops_case WHERE id = $1::uuid", id);
	assert_string_equal(row, "PARKED no_worker");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guessed_step_leaves_the_same_rows_as_the_long_way),
		cmocka_unit_test(the_text_of_a_case_is_what_the_database_makes_of_it),
		cmocka_unit_test(a_transition_takes_one_round_trip_and_never_more_than_two),
		cmocka_unit_test(a_case_that_changes_between_the_two_round_trips_is_decided_anew),
		cmocka_unit_test(a_refusal_writes_one_row_and_the_same_again_is_counted),
		cmocka_unit_test(a_stale_version_and_a_foreign_voice_write_nothing),
		cmocka_unit_test(the_timeline_is_a_chain_that_breaks_when_a_row_is_changed),
		cmocka_unit_test(the_same_key_and_body_gives_the_first_answer_and_another_body_is_refused),
		cmocka_unit_test(an_answer_of_another_epoch_changes_nothing),
		cmocka_unit_test(an_event_heard_twice_is_counted_once),
		cmocka_unit_test(a_plan_ready_without_a_complete_plan_is_refused_on_the_timeline),
		cmocka_unit_test(a_deadline_parks_and_the_clock_is_the_databases),
		cmocka_unit_test(a_command_offered_too_often_parks_the_case_as_no_worker),
		cmocka_unit_test(an_auto_case_goes_round_and_closes_as_verified),
		cmocka_unit_test(two_hundred_cases_close_and_the_outbox_is_empty),
		cmocka_unit_test(
			a_crash_of_postgresql_in_the_middle_of_a_command_costs_seconds_and_not_its_lease),
		cmocka_unit_test(losing_nats_makes_the_loop_slower_never_wrong),
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
