/* A connection that is lost is made again when that is safe, and only then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "tests/support/pgtemp.h"

static struct pgtemp *db;

static void shoot(struct pg *victim)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(pg) struct pg *killer = pgtemp_open(db->super);
	struct oc_fail fail;

	assert_int_equal(pg_query(victim, "SELECT pg_backend_pid()", PG_NO_ARGS, &r, &fail), OC_OK);
	assert_int_equal(pg_query(killer, "SELECT pg_terminate_backend($1::int, 5000)",
				  PG_ARGS(pg_text(r, 0, 0)), NULL, &fail),
			 OC_OK);
}

/* Once a pipeline stayed open on the dead connection, and nothing made a new one ever again. */
static void after_a_lost_connection_the_next_call_has_a_new_one(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(db->worker);
	struct oc_fail fail;
	int tries = 0;

	(void)state;
	for (int round = 0; round < 3; round++) {
		shoot(pg);
		for (tries = 1; tries <= 3; tries++)
			if (pg_query(pg, "SELECT 1", PG_NO_ARGS, NULL, &fail) == OC_OK)
				break;
		assert_true(tries <= 2);
	}
}

static void a_send_into_a_dead_connection_leaves_no_pipeline_behind(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(db->worker);
	struct oc_fail fail;

	(void)state;
	shoot(pg);
	for (int i = 0; i < 3; i++)
		if (pg_send(pg, "SELECT 1", PG_NO_ARGS, &fail) == OC_OK)
			(void)!pg_sync(pg, NULL, 0, &fail);
	assert_int_equal(pg_query(pg, "SELECT 1", PG_NO_ARGS, NULL, &fail), OC_OK);
}

/* Statements behind a BEGIN that is gone would each commit by itself. */
static void a_connection_lost_inside_a_transaction_is_not_silently_made_again(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(db->worker);
	struct oc_fail fail;

	(void)state;
	assert_int_equal(pg_begin(pg, &fail), OC_OK);
	shoot(pg);
	assert_int_equal(pg_query(pg, "SELECT 1", PG_NO_ARGS, NULL, &fail), OC_UNAVAILABLE);
	assert_int_equal(pg_query(pg, "SELECT 1", PG_NO_ARGS, NULL, &fail), OC_UNAVAILABLE);
	pg_rollback(pg);
	assert_int_equal(pg_query(pg, "SELECT 1", PG_NO_ARGS, NULL, &fail), OC_OK);
}

/* After a restart of PostgreSQL each idle connection failed once, and a command that met one lost an attempt. */
static void the_pool_hands_out_no_connection_that_was_ended_meanwhile(void **state)
{
	struct pg_pool *pool = pg_pool_new(db->worker, "test", 2);
	struct pg *pg = NULL;
	struct oc_fail fail;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pg_pool_take(pool, 1000, &pg, &fail), OC_OK);
		assert_int_equal(pg_query(pg, "SELECT 1", PG_NO_ARGS, NULL, &fail), OC_OK);
		shoot(pg);
		pg_pool_give(pool, pg);
	}
	pg_pool_free(pool);
}

static void a_commit_that_became_a_rollback_is_not_called_a_commit(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(db->worker);
	struct oc_fail fail;

	(void)state;
	assert_int_equal(pg_begin(pg, &fail), OC_OK);
	assert_int_not_equal(pg_query(pg, "SELECT 1 / 0", PG_NO_ARGS, NULL, &fail), OC_OK);
	assert_int_equal(pg_commit(pg, &fail), OC_CONFLICT);
	pg_rollback(pg);
}

static void an_array_comes_back_as_it_was_made(void **state)
{
	static const char *const items[] = { "plain", "with \"quotes\" and \\ back", "{braces, commas}", "",
					     "NULL" };
	AUTO(pg) struct pg *pg = pgtemp_open(db->worker);
	AUTO(pg_result) struct pg_result *r = NULL;
	struct text t = { 0 };
	struct oc_fail fail;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		pg_array_add(&t, items[i]);
	pg_array_add(&t, NULL);
	assert_int_equal(pg_query(pg, "SELECT * FROM unnest($1::text[])", PG_ARGS(pg_array_end(&t)), &r,
				  &fail),
			 OC_OK);
	assert_int_equal(pg_rows(r), ARRAY_LEN(items) + 1);
	for (unsigned i = 0; i < ARRAY_LEN(items); i++)
		assert_string_equal(pg_text(r, i, 0), items[i]);
	assert_null(pg_text(r, ARRAY_LEN(items), 0));
	text_done(&t);
}

static void an_array_is_read_as_a_row(void **state)
{
	static const char literal[] = "{1,NULL,\"NULL\",\"a \\\"b\\\\\",\"\",t}";
	static const char *const items[] = { "1", NULL, "NULL", "a \"b\\", "", "t" };
	AUTO(pg_result) struct pg_result *r = pg_array_row(literal);
	AUTO(pg_result) struct pg_result *none = pg_array_row("{}");

	(void)state;
	assert_int_equal(pg_rows(r), 1);
	for (unsigned i = 0; i < ARRAY_LEN(items); i++)
		if (items[i])
			assert_string_equal(pg_text(r, 0, i), items[i]);
		else
			assert_null(pg_text(r, 0, i));
	assert_int_equal(pg_int(r, 0, 0), 1);
	assert_true(pg_bool(r, 0, 5));
	assert_null(pg_text(none, 0, 0));
	assert_null(pg_array_row(NULL));
}

static int setup(void **state)
{
	(void)state;
	db = pgtemp_shared();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_a_lost_connection_the_next_call_has_a_new_one),
		cmocka_unit_test(a_send_into_a_dead_connection_leaves_no_pipeline_behind),
		cmocka_unit_test(a_connection_lost_inside_a_transaction_is_not_silently_made_again),
		cmocka_unit_test(the_pool_hands_out_no_connection_that_was_ended_meanwhile),
		cmocka_unit_test(a_commit_that_became_a_rollback_is_not_called_a_commit),
		cmocka_unit_test(an_array_comes_back_as_it_was_made),
		cmocka_unit_test(an_array_is_read_as_a_row),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
