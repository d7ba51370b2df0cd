/* What was lost is found again, and what is late moves nothing: the janitor, the bus that forgets, two relays.
 * Each test is named after something that once went wrong. */
#include "tests/integration/rig.h"
#include <pthread.h>

static void exec_sql(const char *sql, const char *arg)
{
	char *row = one(sql, arg);

	free(row);
}

static const struct janitor_deps *deps(void)
{
	static struct janitor_deps d;

	d.conninfo = db->worker;
	return &d;
}

static void to_wait_gate(const char *id, const char *decision_status, const char *expires)
{
	AUTO(str)
	char *sql = mem_printf(
		"WITH p AS (INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash, fingerprint,"
		" complete, created_by) SELECT gen_random_uuid(), tenant_id, id, '{}', '{}', 1, epoch, 'forward', 'template', 'h', 'f', true, 't'"
		" FROM ops_case WHERE id = $1::uuid RETURNING id, tenant_id, case_id, epoch),"
		" c AS (UPDATE ops_case SET status = 'WAIT_GATE', plan_id = p.id FROM p WHERE ops_case.id = p.case_id)"
		" INSERT INTO gate_decision (id, tenant_id, case_id, plan_id, epoch, answer, status, plan_hash, args_hash, policy_hash, expires_at)"
		" SELECT gen_random_uuid(), tenant_id, case_id, p.id, epoch, 'ask', '%s', 'h', 'a', 'p', now() + interval '%s' FROM p"
		" RETURNING id::text",
		decision_status, expires);

	exec_sql(sql, id);
}

static void a_decision_that_expired_parks_its_case_and_only_then_is_marked(void **state)
{
	char id[UUID_TEXT];
	AUTO(str) char *seen = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	to_wait_gate(id, "pending", "-1 second");
	janitor_sweep(pg, deps());
	seen = one(
		"SELECT c.status || ' ' || c.park_reason || ' ' || d.status FROM ops_case c JOIN gate_decision d ON d.case_id = c.id"
		" WHERE c.id = $1::uuid",
		id);
	assert_string_equal(seen, "PARKED approval_expired expired");
}

/* Once the mark came first: whoever died in between left a case that waited for ever. */
static void a_case_that_cannot_hear_of_the_expiry_now_hears_of_it_later(void **state)
{
	AUTO(pg) struct pg *other = pgtemp_open(db->worker);
	char id[UUID_TEXT];
	AUTO(str) char *seen = NULL;
	struct oc_fail fail;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	to_wait_gate(id, "pending", "-1 second");
	exec_sql("SELECT set_config('lock_timeout', '200ms', false)", NULL);
	assert_int_equal(pg_begin(other, &fail), OC_OK);
	assert_int_equal(pg_query(other, "SELECT 1 FROM ops_case WHERE id = $1::uuid FOR UPDATE", PG_ARGS(id),
				  NULL, &fail),
			 OC_OK);
	janitor_sweep(pg, deps());
	seen = one("SELECT status FROM gate_decision WHERE case_id = $1::uuid", id);
	assert_string_equal(seen, "pending");
	pg_rollback(other);
	janitor_sweep(pg, deps());
	free(seen);
	seen = one("SELECT status FROM gate_decision WHERE case_id = $1::uuid", id);
	assert_string_equal(seen, "expired");
	exec_sql("SELECT set_config('lock_timeout', '0', false)", NULL);
}

static void an_approval_heard_after_its_expiry_parks_the_case(void **state)
{
	char id[UUID_TEXT];
	long long ids[1], again[1];
	size_t n;
	struct oc_fail fail;
	AUTO(str) char *row = NULL;
	AUTO(str) char *seen = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	to_wait_gate(id, "approved", "-1 second");
	row = one(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch, product_id) SELECT c.tenant_id, c.id, 'e',"
		" 'evt.plan.approved.v1', c.tenant, c.epoch, d.id FROM ops_case c JOIN gate_decision d ON d.case_id = c.id"
		" WHERE c.id = $1::uuid RETURNING id::text",
		id);
	ids[0] = strtoll(row, NULL, 10);
	assert_int_equal(loop_step(pg, &(struct loop_deps){ 0 }, ids, 1, again, &n, &fail), OC_OK);
	seen = one("SELECT status || ' ' || park_reason FROM ops_case WHERE id = $1::uuid", id);
	assert_string_equal(seen, "PARKED approval_expired");
}

static void a_timer_that_was_read_in_an_earlier_state_moves_nothing(void **state)
{
	char id[UUID_TEXT];
	struct transition_result res;
	struct oc_fail fail;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	assert_int_equal(transition(pg,
				    &(struct transition_request){ .tenant_id = tenant,
								  .case_id = id,
								  .event = EV_DEADLINE,
								  .who = WHO_TIMER,
								  .actor = "janitor",
								  .expected_epoch = 1 },
				    &res, &fail),
			 OC_OK);
	assert_true(res.ignored);
	transition_result_done(&res);
	{
		AUTO(str)
		char *seen =
			one("SELECT status || ' ' || timeline_seq FROM ops_case WHERE id = $1::uuid", id);

		assert_string_equal(seen, "ANALYZING 2");
	}
}

static void a_gate_that_does_not_exist_does_not_hold_a_case_for_ever(void **state)
{
	char id[UUID_TEXT];
	struct oc_fail fail;
	AUTO(str) char *seen = NULL;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	to_wait_gate(id, "void", "1 hour");
	assert_int_equal(say(id, EV_ASK_GATE, WHO_PERSON, NULL, 0, &fail), OC_OK);
	exec_sql(
		"UPDATE ops_case SET deadline_at = deadline_at - interval '400 seconds' WHERE id = $1::uuid AND deadline_at IS NOT NULL RETURNING ''",
		id);
	janitor_sweep(pg, deps());
	seen = one("SELECT status || ' ' || park_reason FROM ops_case WHERE id = $1::uuid", id);
	assert_string_equal(seen, "PARKED deadline");
}

static void an_event_without_a_case_goes_to_dead_letter_and_not_round(void **state)
{
	long long ids[1], again[1];
	size_t n = 9;
	struct oc_fail fail;
	char text[24];
	AUTO(str) char *t = NULL;
	AUTO(str) char *row = NULL;
	AUTO(str) char *seen = NULL;

	(void)state;
	snprintf(text, sizeof(text), "%lld", tenant);
	row = one(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key) VALUES ($1::bigint, gen_random_uuid(), 'e',"
		" 'evt.verify.pass.v1', 't-loop') RETURNING id::text",
		text);
	ids[0] = strtoll(row, NULL, 10);
	assert_int_equal(loop_step(pg, &(struct loop_deps){ 0 }, ids, 1, again, &n, &fail), OC_OK);
	assert_int_equal(n, 0);
	seen = one(
		"SELECT d.reason || ' ' || (o.done_at IS NOT NULL) FROM dead_letter d JOIN outbox o ON o.id = d.ref_id WHERE o.id = $1::bigint",
		row);
	assert_string_equal(seen, "there is no such case true");
}

static void the_answer_of_a_superseded_command_does_not_come_back_as_a_dead_letter(void **state)
{
	struct rig r = { 0 };
	char id[UUID_TEXT];
	struct oc_fail fail;

	(void)state;
	open_case(DRIVE_MANUAL, id);
	assert_int_equal(say(id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	/* A second command of the epoch before, as an approval leaves behind when the case goes on meanwhile. */
	exec_sql("INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch) SELECT tenant_id, id, 'c', 'cmd.gate.eval', tenant, epoch - 1"
		 " FROM ops_case WHERE id = $1::uuid RETURNING ''",
		 id);
	rig_start(&r);
	for (int64_t until = clock_mono_ms() + 20000; clock_mono_ms() < until;) {
		AUTO(str)
		char *open = one(
			"SELECT count(*)::text FROM outbox WHERE case_id = $1::uuid AND topic = 'cmd.gate.eval' AND done_at IS NULL",
			id);

		if (str_eq(open, "0"))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	rig_stop(&r);
	{
		AUTO(str)
		char *seen = one(
			"SELECT attempts || ' ' || (done_at IS NOT NULL) || ' ' || (SELECT count(*) FROM dead_letter d WHERE d.ref_id = o.id)"
			" FROM outbox o WHERE case_id = $1::uuid AND topic = 'cmd.gate.eval'",
			id);

		assert_string_equal(seen, "1 true 0");
	}
}

/* The streams were made once and never again: a broker that came back empty stopped everything until a restart. */
static void a_broker_that_lost_its_storage_is_furnished_again(void **state)
{
	struct rig r = { 0 };
	char id[UUID_TEXT], cmd[160];

	(void)state;
	rig_start(&r);
	open_case(DRIVE_AUTO, id);
	assert_true(wait_status(id, "CLOSED", 20000));
	natstemp_kill(&nats);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s/js'", nats.dir);
	assert_int_equal(system(cmd), 0);
	natstemp_again(&nats);
	for (int i = 0; i < 3; i++) {
		open_case(DRIVE_AUTO, id);
		assert_true(wait_status(id, "CLOSED", 30000));
	}
	rig_stop(&r);
}

static void one_row_that_is_too_large_for_the_bus_keeps_nobody_back(void **state)
{
	struct rig r = { 0 };
	char id[UUID_TEXT];

	(void)state;
	open_case(DRIVE_MANUAL, id);
	exec_sql(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, payload) SELECT tenant_id, id, 'x', 'evt.case.transition.v1', tenant,"
		" jsonb_build_object('big', repeat('x', 3000000)) FROM ops_case WHERE id = $1::uuid RETURNING ''",
		id);
	rig_start(&r);
	open_case(DRIVE_AUTO, id);
	assert_true(wait_status(id, "CLOSED", 20000));
	rig_stop(&r);
}

static void two_relays_do_not_call_each_other_for_ever(void **state)
{
	struct rig r = { 0 };
	struct relay *second;
	struct waker *wake = waker_new();
	struct oc_fail fail;
	long long before, after;
	AUTO(str) char *text = NULL;

	(void)state;
	rig_start(&r);
	assert_int_equal(relay_start(db->worker, r.bus, wake, &second, &fail), OC_OK);
	nanosleep(&(struct timespec){ .tv_sec = 2 }, NULL);
	text = one(
		"SELECT pg_stat_get_db_xact_commit(oid)::text FROM pg_database WHERE datname = current_database()",
		NULL);
	before = strtoll(text, NULL, 10);
	waker_poke(wake);
	nanosleep(&(struct timespec){ .tv_sec = 3 }, NULL);
	free(text);
	text = one(
		"SELECT pg_stat_get_db_xact_commit(oid)::text FROM pg_database WHERE datname = current_database()",
		NULL);
	after = strtoll(text, NULL, 10);
	/* A storm was a thousand a second; sweeps of an idle rig are some ten. */
	assert_true(after - before < 300);
	relay_stop(second);
	rig_stop(&r);
	waker_free(wake);
}

struct door {
	char id[UUID_TEXT];
	enum oc_err err;
};

static void *through_the_door(void *arg)
{
	struct door *d = arg;
	AUTO(pg) struct pg *mine = pgtemp_open(db->worker);
	struct transition_result res;
	struct oc_fail fail;

	d->err = transition(mine,
			    &(struct transition_request){ .tenant_id = tenant,
							  .case_id = d->id,
							  .event = EV_CANCEL,
							  .who = WHO_PERSON,
							  .actor = "tester" },
			    &res, &fail);
	transition_result_done(&res);
	return NULL;
}

/* An answer holds its command and then wants the case's key for its product; the door holds the case and then wants
 * the command. With the stronger row lock one of the two was shot. */
static void the_door_and_an_answer_do_not_wait_for_each_other(void **state)
{
	AUTO(pg) struct pg *role = pgtemp_open(db->worker);
	struct door d = { .err = OC_BUG };
	pthread_t thread;
	struct oc_fail fail;

	(void)state;
	open_case(DRIVE_MANUAL, d.id);
	assert_int_equal(say(d.id, EV_START_ANALYSIS, WHO_PERSON, NULL, 0, &fail), OC_OK);
	assert_int_equal(pg_begin(role, &fail), OC_OK);
	assert_int_equal(pg_query(role,
				  "SELECT 1 FROM outbox WHERE case_id = $1::uuid AND kind = 'c' FOR UPDATE",
				  PG_ARGS(d.id), NULL, &fail),
			 OC_OK);
	assert_int_equal(pthread_create(&thread, NULL, through_the_door, &d), 0);
	/* Until the door waits for the command that we hold. */
	for (int i = 0; i < 500; i++) {
		AUTO(str) char *waits = one("SELECT count(*)::text FROM pg_locks WHERE NOT granted", NULL);

		if (!str_eq(waits, "0"))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	assert_int_equal(
		pg_query(role,
			 "INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body) SELECT gen_random_uuid(), tenant_id, id, epoch,"
			 " 'x', '{}' FROM ops_case WHERE id = $1::uuid",
			 PG_ARGS(d.id), NULL, &fail),
		OC_OK);
	assert_int_equal(pg_commit(role, &fail), OC_OK);
	pthread_join(thread, NULL);
	assert_int_equal(d.err, OC_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_decision_that_expired_parks_its_case_and_only_then_is_marked),
		cmocka_unit_test(a_case_that_cannot_hear_of_the_expiry_now_hears_of_it_later),
		cmocka_unit_test(an_approval_heard_after_its_expiry_parks_the_case),
		cmocka_unit_test(a_timer_that_was_read_in_an_earlier_state_moves_nothing),
		cmocka_unit_test(a_gate_that_does_not_exist_does_not_hold_a_case_for_ever),
		cmocka_unit_test(an_event_without_a_case_goes_to_dead_letter_and_not_round),
		cmocka_unit_test(the_door_and_an_answer_do_not_wait_for_each_other),
		cmocka_unit_test(the_answer_of_a_superseded_command_does_not_come_back_as_a_dead_letter),
		cmocka_unit_test(one_row_that_is_too_large_for_the_bus_keeps_nobody_back),
		cmocka_unit_test(two_relays_do_not_call_each_other_for_ever),
		cmocka_unit_test(a_broker_that_lost_its_storage_is_furnished_again),
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
