/* New cases of several callers in one commit, on real PostgreSQL. */
#include <pthread.h>
#include "tests/integration/rig.h"
#include "orchestrator/opening.h"

static struct pg_pool *pool;
static struct openings *openings;

struct caller {
	struct case_create ask;
	struct transition_result res;
	struct oc_fail fail;
	enum oc_err err;
	pthread_t thread;
};

static void *ask(void *arg)
{
	struct caller *c = arg;

	c->err = openings_create(openings, &c->ask, &c->res, &c->fail);
	return NULL;
}

static struct caller caller_of(const char *title)
{
	return (struct caller){
		.ask = { .tenant_id = tenant,
                        .tenant = "t-loop",
                        .title = title,
                        .drive = DRIVE_AUTO,
                        .actor = "tester" }
	};
}

static void start(struct caller *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pthread_create(&c[i].thread, NULL, ask, &c[i]), 0);
}

static void finish(struct caller *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pthread_join(c[i].thread, NULL);
}

/* Holds back whoever writes a case; the first caller is then inside and the others gather. */
static struct pg *hold_back(void)
{
	struct pg *other = pgtemp_open(db->worker);
	struct oc_fail fail;

	assert_int_equal(pg_begin(other, &fail), OC_OK);
	assert_int_equal(pg_query(other, "LOCK TABLE outbox IN EXCLUSIVE MODE", PG_NO_ARGS, NULL, &fail),
			 OC_OK);
	return other;
}

static void let_go(struct pg *other)
{
	struct oc_fail fail;

	assert_int_equal(pg_commit(other, &fail), OC_OK);
	pg_close(other);
}

static void wait_inside(void)
{
	bool waits = false;

	for (int i = 0; i < 1000 && !waits; i++) {
		AUTO(str)
		char *n = one("SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
			      " AND application_name = 'openings'",
			      NULL);

		waits = !str_eq(n, "0");
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	assert_true(waits);
}

/* The callers who come while one is written: taken together. Without the group in openings_create() each case would
 * have a transaction of its own. */
static void gather(struct caller *c, size_t n)
{
	struct pg *other = hold_back();

	start(c, 1);
	wait_inside();
	start(c + 1, n - 1);
	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
	let_go(other);
	finish(c, n);
}

static void those_who_come_at_the_same_time_share_a_commit_and_get_their_own_case(void **state)
{
	struct caller c[20];
	AUTO(str) char *commits = NULL;
	AUTO(str) char *whole = NULL;
	char title[ARRAY_LEN(c)][32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		snprintf(title[i], sizeof(title[i]), "shared %zu", i);
		c[i] = caller_of(title[i]);
	}
	gather(c, ARRAY_LEN(c));
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		AUTO(str) char *stored = NULL;

		assert_int_equal(c[i].err, OC_OK);
		assert_true(c[i].res.accepted);
		stored = one("SELECT title FROM ops_case WHERE id = $1::uuid", c[i].res.case_id);
		assert_string_equal(stored, title[i]);
		assert_non_null(strstr(c[i].res.case_json, title[i]));
		transition_result_done(&c[i].res);
	}
	commits = one("SELECT count(DISTINCT xmin::text)::text FROM ops_case WHERE title LIKE 'shared %'",
		      NULL);
	assert_string_equal(commits, "2");
	/* each with its two rows of the timeline, its command and its facts, as a case that is opened alone */
	whole = one(
		"SELECT string_agg(DISTINCT (SELECT count(*) FROM case_timeline t WHERE t.case_id = c.id)"
		" || ' ' || (SELECT count(*) FROM case_body b WHERE b.case_id = c.id)"
		" || ' ' || (SELECT string_agg(o.kind::text, '' ORDER BY o.kind) FROM outbox o WHERE o.case_id = c.id)"
		" || ' ' || (c.cmd_id = (SELECT o.id FROM outbox o WHERE o.case_id = c.id AND o.kind = 'c')), ',')"
		" FROM ops_case c WHERE title LIKE 'shared %'",
		NULL);
	assert_string_equal(whole, "2 1 cxx true");
}

/* A text that jsonb cannot hold. Without create_alone() nobody of its group would have a case. */
static void one_case_that_cannot_be_written_takes_no_other_along(void **state)
{
	struct caller c[8];
	AUTO(json) json_t *poison = json_object();
	AUTO(str) char *rows = NULL;

	(void)state;
	json_object_set_new(poison, "x", json_stringn("a\0b", 3));
	for (size_t i = 0; i < ARRAY_LEN(c); i++)
		c[i] = caller_of(i == 4 ? "poisoned" : "beside it");
	c[4].ask.params = poison;
	gather(c, ARRAY_LEN(c));
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		if (i == 4)
			assert_int_equal(c[i].err, OC_INVALID);
		else
			assert_int_equal(c[i].err, OC_OK);
		transition_result_done(&c[i].res);
	}
	rows = one(
		"SELECT string_agg(title || ' ' || n, ', ' ORDER BY title) FROM (SELECT title, count(*) n FROM ops_case"
		" WHERE title IN ('poisoned', 'beside it') GROUP BY 1) x",
		NULL);
	assert_string_equal(rows, "beside it 7");
}

static void one_key_of_many_callers_is_one_case(void **state)
{
	struct caller c[12];
	AUTO(str) char *rows = NULL;
	size_t replayed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		c[i] = caller_of("one key");
		c[i].ask.idem = (struct idem_key){ .principal = "tester",
						   .route = "POST /case/create",
						   .key = "opening",
						   .body_hash = "b" };
	}
	c[7].ask.idem.body_hash = "another";
	gather(c, ARRAY_LEN(c));
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		if (i == 7) {
			assert_int_equal(c[i].err, OC_INVALID);
			assert_string_equal(c[i].fail.field, "Idempotency-Key");
			continue;
		}
		assert_int_equal(c[i].err, OC_OK);
		assert_non_null(strstr(c[i].res.case_json, "one key"));
		replayed += c[i].res.replayed;
		transition_result_done(&c[i].res);
	}
	assert_int_equal(replayed, ARRAY_LEN(c) - 2);
	rows = one("SELECT count(*)::text FROM ops_case WHERE title = 'one key'", NULL);
	assert_string_equal(rows, "1");
}

static void a_key_that_has_expired_may_be_used_again(void **state)
{
	struct caller c = caller_of("expired key");
	AUTO(str) char *rows = NULL;

	(void)state;
	c.ask.idem = (struct idem_key){ "tester", "POST /case/create", "old", "b" };
	for (int i = 0; i < 2; i++) {
		ask(&c);
		assert_int_equal(c.err, OC_OK);
		assert_false(c.res.replayed);
		transition_result_done(&c.res);
		free(one(
			"UPDATE idempotency SET expires_at = now() - interval '1 s' WHERE key = 'old' RETURNING key",
			NULL));
	}
	rows = one("SELECT count(*)::text FROM ops_case WHERE title = 'expired key'", NULL);
	assert_string_equal(rows, "2");
}

static void without_a_database_everybody_is_told_so(void **state)
{
	struct pg_pool *nowhere = pg_pool_new("host=/nonexistent", "nobody", 1);
	struct openings *none = openings_new(nowhere, 1);
	struct caller c = caller_of("nowhere");

	(void)state;
	c.err = openings_create(none, &c.ask, &c.res, &c.fail);
	assert_int_equal(c.err, OC_UNAVAILABLE);
	assert_null(strstr(c.fail.text, "nonexistent"));
	openings_free(none);
	pg_pool_free(nowhere);
}

static int setup(void **state)
{
	(void)state;
	rig_setup(state);
	pool = pg_pool_new(db->worker, "openings", 4);
	openings = openings_new(pool, 1);
	return 0;
}

static int teardown(void **state)
{
	openings_free(openings);
	pg_pool_free(pool);
	return rig_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_who_come_at_the_same_time_share_a_commit_and_get_their_own_case),
		cmocka_unit_test(one_case_that_cannot_be_written_takes_no_other_along),
		cmocka_unit_test(one_key_of_many_callers_is_one_case),
		cmocka_unit_test(a_key_that_has_expired_may_be_used_again),
		cmocka_unit_test(without_a_database_everybody_is_told_so),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
