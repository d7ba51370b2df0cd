/* The crash suite: what is killed, at which point, and what must be true afterwards (docs/reliability.md).
 *
 * OPSCASE_SEED=N repeats a run; the seed is printed. OPSCASE_CRASH=NAME picks tests by pattern. OPSCASE_KEEP=1 leaves
 * the logs of the replicas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/fleet.h"
#include "wire/json/json.h"

static struct fleet fleet;
static uint64_t seed, dice;

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

/* xorshift64*: the same on every machine. */
static unsigned roll(unsigned n)
{
	dice ^= dice >> 12;
	dice ^= dice << 25;
	dice ^= dice >> 27;
	return (unsigned)((dice * 2685821657736338717ULL) >> 33) % n;
}

static void open_case(const char *name, const struct fleet_case *how, char ret_id[UUID_TEXT])
{
	fleet_open(&fleet, name, how, ret_id);
}

/* Every replica is dead, and so are their children: then no lease can be in good hands, and waiting for it to run out
 * would only cost time. PostgreSQL's clock is the only one that counts, so this is the same as waiting. */
static void let_the_leases_run_out(void)
{
	assert_true(fleet_runners_gone(&fleet, 10000));
	free(fleet_one(
		&fleet,
		"UPDATE outbox SET lease_until = now() - interval '1 second' WHERE lease_until > now() AND done_at IS NULL",
		NULL));
	free(fleet_one(&fleet, "UPDATE target_lock SET until = now() - interval '1 second'", NULL));
}

static void everything_ends_well(int ms)
{
	assert_true(fleet_drain(&fleet, ms));
	assert_int_equal(fleet_check(&fleet), 0);
}

/* For whoever reads the output: a run in which everything was parked would show little. */
static void how_they_ended(const char *like)
{
	AUTO(str)
	char *how = fleet_one(
		&fleet,
		"SELECT string_agg(n || ' ' || how, ', ' ORDER BY n DESC) FROM (SELECT coalesce(resolution, park_reason) AS how,"
		" count(*) AS n FROM ops_case WHERE title LIKE $1 GROUP BY 1) x",
		like);

	print_message("           ended: %s\n", how);
}

/* ---- between each pair of steps ---- */

static void a_kill_between_any_two_steps_loses_nothing_and_repeats_nothing(void **state)
{
	static const char *const points[] = { "relay.read",    "relay.published", "relay.marked",
					      "worker.heard",  "worker.leased",   "worker.acked",
					      "worker.worked", "worker.held",     "worker.answered",
					      "loop.heard",    "loop.read",       "loop.stepped",
					      "loop.acked",    "exec.opened",     "exec.permitted",
					      "exec.intended", "exec.ran",        "exec.recorded" };
	char id[UUID_TEXT], name[64], fault[64];

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(points); i++) {
		const char *point = points[i % ARRAY_LEN(points)];
		int64_t until = clock_mono_ms() + 20000;

		/* The first passage is another one than the later ones: analysis, plan, gate, ... */
		snprintf(fault, sizeof(fault), "%s:%u", point, 1 + roll(str_starts(point, "exec.") ? 3 : 6));
		fleet_replica_start(&fleet, 0, fault);
		for (unsigned k = 0; k < 4 && fleet_replica_alive(&fleet, 0); k++) {
			snprintf(name, sizeof(name), "at-%s-%zu-%u", point, i, k);
			(void)fleet_try_open(&fleet, 0, name, NULL, id);
		}
		while (fleet_replica_alive(&fleet, 0) && clock_mono_ms() < until)
			nap(10);
		if (fleet_replica_alive(&fleet, 0))
			fail_msg("%s was not passed", fault);
		let_the_leases_run_out();
	}
	fleet_replica_start(&fleet, 0, NULL);
	everything_ends_well(60000);
	print_message("           %zu deaths\n", 2 * ARRAY_LEN(points));
	how_they_ended("at-%");
}

/* ---- at random ---- */

static void random_postgres(void)
{
	fleet_postgres_kill(&fleet);
	nap(roll(1500));
	fleet_postgres_again(&fleet);
}

static void random_stop_and_start(void)
{
	fleet_postgres_stop(&fleet);
	nap(roll(1500));
	fleet_postgres_again(&fleet);
}

static void random_nats(void)
{
	natstemp_kill(&fleet.nats);
	nap(roll(2500));
	natstemp_again(&fleet.nats);
}

static void random_wipe(void)
{
	fleet_nats_wipe(&fleet);
}

static void random_forget(void)
{
	fleet_nats_forget(&fleet);
}

static void random_replica(void)
{
	unsigned i = roll(FLEET_REPLICAS);

	fleet_replica_signal(&fleet, i, SIGKILL);
	nap(roll(800));
	fleet_replica_start(&fleet, i, NULL);
}

static void random_restart(void)
{
	unsigned i = roll(FLEET_REPLICAS);

	fleet_replica_signal(&fleet, i, SIGTERM);
	fleet_replica_start(&fleet, i, NULL);
}

static void random_runner(void)
{
	pid_t pids[64];
	size_t n = fleet_runners(&fleet, roll(FLEET_REPLICAS), pids, ARRAY_LEN(pids));

	if (n)
		kill(pids[roll((unsigned)n)], SIGKILL);
}

static void random_backends(void)
{
	pgtemp_exec(
		&fleet.db,
		"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
		" AND usename IN ('opscase_worker', 'opscase_api') AND random() < 0.4");
}

static void kills_at_random_under_load_lose_nothing_and_repeat_nothing(void **state)
{
	static const struct {
		const char *what;
		void (*fn)(void);
		unsigned weight;
	} faults[] = {
		{ "opscased",           random_replica,        5 },
                { "opscased in order",  random_restart,        1 },
		{ "opscase-runner",     random_runner,         8 },
                { "nats-server",        random_nats,           3 },
		{ "nats-server's data", random_wipe,           1 },
                { "the streams",        random_forget,         1 },
		{ "postgres",           random_postgres,       3 },
                { "postgres in order",  random_stop_and_start, 1 },
		{ "connections",        random_backends,       3 },
	};
	const unsigned cases = 200;
	unsigned counts[ARRAY_LEN(faults)] = { 0 }, total = 0, opened = 0;
	char id[UUID_TEXT], name[64];
	int64_t began = clock_mono_ms(), next_fault = began + 1500, next_case = began,
		last_fault = began + 75000;

	(void)state;
	for (unsigned i = 0; i < FLEET_REPLICAS; i++)
		if (!fleet_replica_alive(&fleet, i))
			fleet_replica_start(&fleet, i, NULL);
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		total += faults[i].weight;
	while (opened < cases || clock_mono_ms() < last_fault) {
		int64_t now = clock_mono_ms();

		if (now >= next_case && opened < cases) {
			struct fleet_case how = { .sleep_ms = roll(4) ? 0 : (int)roll(1500),
						  .after_ms = roll(4) ? 0 : (int)roll(1500) };

			snprintf(name, sizeof(name), "random-%03u", opened);
			if (fleet_try_open(&fleet, roll(FLEET_REPLICAS), name, &how, id))
				opened++;
			next_case = now + roll(600);
		}
		if (now >= next_fault && now < last_fault) {
			unsigned at = roll(total), i = 0;

			while (at >= faults[i].weight)
				at -= faults[i++].weight;
			faults[i].fn();
			counts[i]++;
			next_fault = clock_mono_ms() + 300 + roll(2200);
		}
		nap(20);
	}
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		print_message("           %2u times: %s\n", counts[i], faults[i].what);
	everything_ends_well(240000);
	how_they_ended("random-%");
}

/* ---- two replicas ---- */

static void two_replicas_on_the_same_cases_do_not_lock_each_other_out(void **state)
{
	char id[UUID_TEXT], name[64];
	long long deadlocks;

	(void)state;
	for (unsigned i = 0; i < FLEET_REPLICAS; i++)
		if (!fleet_replica_alive(&fleet, i))
			fleet_replica_start(&fleet, i, NULL);
	deadlocks = fleet_count(&fleet, "SELECT deadlocks FROM pg_stat_database WHERE datname = 'opscase'");
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "both-%u", i);
		open_case(name, NULL, id);
	}
	everything_ends_well(90000);
	nap(1200); /* statistics are told once a second */
	assert_int_equal(fleet_count(&fleet,
				     "SELECT deadlocks FROM pg_stat_database WHERE datname = 'opscase'") -
				 deadlocks,
			 0);
	assert_int_equal(
		fleet_count(
			&fleet,
			"SELECT count(*) FROM ops_case WHERE title LIKE 'both-%' AND resolution = 'verified'"),
		60);
}

/* ---- a lease that ran out while its child lived ---- */

static void an_executor_that_slept_past_its_lease_does_nothing_twice(void **state)
{
	static const struct {
		const char *name;
		struct fleet_case how;
	} sleepers[] = {
		{ "sleeper-before",
                 { .sleep_ms = 100000 }                    }, /* its child must be gone before somebody else looks */
		{ "sleeper-after",  { .after_ms = 100000 } }, /* the effect is there, the answer is not */
	};
	char id[2][UUID_TEXT];
	pid_t pids[64];

	(void)state;
	for (unsigned i = 0; i < FLEET_REPLICAS; i++)
		fleet_replica_signal(&fleet, i, SIGTERM);
	fleet_replica_start(&fleet, 0, NULL);
	for (size_t i = 0; i < 2; i++)
		open_case(sleepers[i].name, &sleepers[i].how, id[i]);
	for (int64_t until = clock_mono_ms() + 20000; clock_mono_ms() < until; nap(50))
		if (fleet_lines(&fleet, "sleeper-after") == 1 &&
		    fleet_count(
			    &fleet,
			    "SELECT count(*) FROM exec_step s JOIN ops_case c ON c.id = s.case_id WHERE c.title LIKE 'sleeper-%'"
			    " AND s.status = 'intent'") == 2 &&
		    fleet_runners(&fleet, 0, pids, ARRAY_LEN(pids)) >= 2)
			break;
	assert_int_equal(fleet_lines(&fleet, "sleeper-after"), 1);
	fleet_replica_signal(&fleet, 0, SIGSTOP);
	fleet_replica_start(&fleet, 1, NULL);
	/* Whoever comes next goes on with its own sleep: told to stop instead, and asked what is true. */
	for (int64_t until = clock_mono_ms() + 60000; clock_mono_ms() < until; nap(100))
		if (fleet_count(
			    &fleet,
			    "SELECT count(*) FROM exec_step s JOIN ops_case c ON c.id = s.case_id WHERE c.title LIKE 'sleeper-%'"
			    " AND s.result ? 'settled_by_probe'") == 2)
			break;
	assert_int_equal(
		fleet_count(
			&fleet,
			"SELECT count(*) FROM exec_step s JOIN ops_case c ON c.id = s.case_id WHERE c.title = 'sleeper-before'"
			" AND s.status = 'not_applied'"),
		1);
	assert_int_equal(fleet_lines(&fleet, "sleeper-before"), 0);
	/* The sleeper wakes up, with its old lease and an answer that nobody asked for any more. */
	fleet_replica_signal(&fleet, 0, SIGCONT);
	{
		AUTO(str) char *path = mem_printf("/case/%s/transition", id[0]);

		assert_int_equal(fleet_call(&fleet, 1, "PATCH", path, "stop-the-sleeper",
					    "{\"event\":\"cancel\",\"reason\":\"slept enough\"}", NULL),
				 200);
	}
	everything_ends_well(90000);
	assert_true(fleet_lines(&fleet, "sleeper-before") == 0);
	assert_int_equal(fleet_lines(&fleet, "sleeper-after"), 2);
}

/* ---- one bad row ---- */

static void one_poisoned_row_stops_nobody_and_ends_where_a_person_finds_it(void **state)
{
	char id[UUID_TEXT], poisoned[UUID_TEXT], name[64];
	AUTO(str) char *sql = NULL;
	AUTO(str) char *dead = NULL;

	(void)state;
	for (unsigned i = 0; i < FLEET_REPLICAS; i++)
		if (!fleet_replica_alive(&fleet, i))
			fleet_replica_start(&fleet, i, NULL);
	/* A row that PostgreSQL will not take, whoever writes it: every step of this case to WAIT_GATE fails. */
	pgtemp_exec(
		&fleet.db,
		"CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
		" IF NEW.title = 'poisoned' AND NEW.status = 'WAIT_GATE' THEN RAISE EXCEPTION 'poisoned' USING ERRCODE = '23514'; END IF;"
		" RETURN NEW; END $$;"
		"CREATE TRIGGER poison BEFORE UPDATE ON ops_case FOR EACH ROW EXECUTE FUNCTION poison();");
	open_case("poisoned", NULL, poisoned);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "healthy-%u", i);
		open_case(name, NULL, id);
	}
	for (int64_t until = clock_mono_ms() + 60000; clock_mono_ms() < until; nap(100))
		if (fleet_count(
			    &fleet,
			    "SELECT count(*) FROM ops_case WHERE title LIKE 'healthy-%' AND status = 'CLOSED'") ==
		    20)
			break;
	assert_int_equal(
		fleet_count(
			&fleet,
			"SELECT count(*) FROM ops_case WHERE title LIKE 'healthy-%' AND resolution = 'verified'"),
		20);
	for (int64_t until = clock_mono_ms() + 90000; clock_mono_ms() < until; nap(200))
		if (fleet_count(&fleet, "SELECT count(*) FROM dead_letter WHERE kind = 'event'"))
			break;
	dead = fleet_one(
		&fleet,
		"SELECT source || ' ' || (body::jsonb ->> 'case_id' = $1) || ' ' || (reason LIKE '%poisoned%') FROM dead_letter WHERE kind = 'event'",
		poisoned);
	assert_string_equal(dead, "evt.plan.proposed.v1 true true");
	pgtemp_exec(&fleet.db, "DROP TRIGGER poison ON ops_case; DROP FUNCTION poison();");
	sql = mem_printf("/case/%s/transition", poisoned);
	assert_int_equal(fleet_call(&fleet, 0, "PATCH", sql, "poison-over",
				    "{\"event\":\"cancel\",\"reason\":\"poisoned\"}", NULL),
			 200);
	everything_ends_well(60000);
}

/* ---- NATS that forgets ---- */

static void streams_that_vanish_while_running_are_made_again(void **state)
{
	char id[UUID_TEXT], name[64];

	(void)state;
	for (unsigned i = 0; i < FLEET_REPLICAS; i++)
		if (!fleet_replica_alive(&fleet, i))
			fleet_replica_start(&fleet, i, NULL);
	for (unsigned round = 0; round < 2; round++) {
		if (round == 0)
			fleet_nats_forget(&fleet);
		else
			fleet_nats_wipe(&fleet);
		assert_false(fleet_nats_streams(&fleet));
		for (unsigned i = 0; i < 5; i++) {
			snprintf(name, sizeof(name), "forgotten-%u-%u", round, i);
			open_case(name, NULL, id);
		}
		everything_ends_well(60000);
		for (int64_t until = clock_mono_ms() + 30000;
		     !fleet_nats_streams(&fleet) && clock_mono_ms() < until;)
			nap(100);
		assert_true(fleet_nats_streams(&fleet));
	}
}

/* ---- life ---- */

static int setup(void **state)
{
	(void)state;
	fleet_start(&fleet);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	print_message("           %u cases; seed %llu\n", fleet.cases, (unsigned long long)seed);
	fleet_stop(&fleet);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kill_between_any_two_steps_loses_nothing_and_repeats_nothing),
		cmocka_unit_test(two_replicas_on_the_same_cases_do_not_lock_each_other_out),
		cmocka_unit_test(kills_at_random_under_load_lose_nothing_and_repeat_nothing),
		cmocka_unit_test(streams_that_vanish_while_running_are_made_again),
		cmocka_unit_test(one_poisoned_row_stops_nobody_and_ends_where_a_person_finds_it),
		cmocka_unit_test(an_executor_that_slept_past_its_lease_does_nothing_twice),
	};

	seed = getenv("OPSCASE_SEED") ? strtoull(getenv("OPSCASE_SEED"), NULL, 10)
				      : (uint64_t)clock_wall_us();
	if (!seed)
		seed = 1;
	dice = seed;
	print_message("           seed %llu; OPSCASE_SEED=%llu gives it again\n", (unsigned long long)seed,
		      (unsigned long long)seed);
	if (getenv("OPSCASE_CRASH"))
		cmocka_set_test_filter(getenv("OPSCASE_CRASH"));
	return cmocka_run_group_tests(tests, setup, teardown);
}
