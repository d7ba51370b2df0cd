/* Migrations against a real PostgreSQL: up, down, up again, and what they refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "store/migrate.h"
#include "tests/support/pgtemp.h"

static char conninfo[160];
static struct pgtemp *server;

/* Everything that the catalog says about what is ours: one line per object, with owner, rights, shape. */
static const char SQL_SHAPE[] =
	"WITH ext AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'), "
	"ns AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('public', 'ops')) "
	"SELECT string_agg(line, E'\\n' ORDER BY line) FROM ("
	" SELECT format('%s %s.%s owner=%s acl=%s rls=%s%s opt=%s', c.relkind, n.nspname, c.relname, c.relowner::regrole,"
	"   c.relacl, c.relrowsecurity, c.relforcerowsecurity, c.reloptions) AS line"
	" FROM pg_class c JOIN ns n ON n.oid = c.relnamespace"
	" WHERE NOT EXISTS (SELECT FROM ext WHERE classid = 'pg_class'::regclass AND objid = c.oid)"
	" UNION ALL SELECT format('column %s.%s %s notnull=%s default=%s', a.attrelid::regclass, a.attname,"
	"   format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))"
	" FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN ns n ON n.oid = c.relnamespace"
	" LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
	" WHERE a.attnum > 0 AND NOT a.attisdropped"
	" AND NOT EXISTS (SELECT FROM ext WHERE classid = 'pg_class'::regclass AND objid = c.oid)"
	" UNION ALL SELECT format('constraint %s %s %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))"
	" FROM pg_constraint k JOIN ns n ON n.oid = k.connamespace WHERE k.conrelid <> 0"
	" UNION ALL SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM pg_index i"
	" JOIN pg_class c ON c.oid = i.indexrelid JOIN ns n ON n.oid = c.relnamespace"
	" UNION ALL SELECT format('policy %s %s %s %s', polrelid::regclass, polname, pg_get_expr(polqual, polrelid),"
	"   polroles::regrole[]::text) FROM pg_policy"
	" UNION ALL SELECT format('function %s owner=%s acl=%s definer=%s', p.oid::regprocedure, p.proowner::regrole, p.proacl,"
	"   p.prosecdef) FROM pg_proc p JOIN ns n ON n.oid = p.pronamespace"
	" WHERE NOT EXISTS (SELECT FROM ext WHERE classid = 'pg_proc'::regclass AND objid = p.oid)"
	" UNION ALL SELECT format('type %s %s', t.typname, t.typowner::regrole) FROM pg_type t JOIN ns n ON n.oid = t.typnamespace"
	" WHERE t.typtype = 'e' UNION ALL SELECT format('schema %s %s %s', nspname, nspowner::regrole, nspacl)"
	" FROM pg_namespace WHERE nspname = 'ops'"
	" UNION ALL SELECT format('graph %s', name) FROM ag_catalog.ag_graph"
	" UNION ALL SELECT format('hypertable %s %s', hypertable_name, (SELECT time_interval FROM timescaledb_information.dimensions d"
	"   WHERE d.hypertable_name = h.hypertable_name)) FROM timescaledb_information.hypertables h"
	" UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE 'opscase%'"
	") AS x";

static char *shape(struct pg *pg)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail fail = { 0 };

	if (pg_query(pg, SQL_SHAPE, PG_NO_ARGS, &r, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return mem_strdup(pg_text_or(r, 0, 0, ""));
}

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

static int fresh(void **state)
{
	(void)state;
	pgtemp_database(server, "trial");
	return 0;
}

static void up_down_up_ends_where_the_first_up_ended(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(conninfo);
	AUTO(str) char *first = NULL, *empty = NULL, *second = NULL;
	struct oc_fail why = { 0 };
	int n = 0;

	(void)state;
	must(migrate_up(pg, MIGRATE_LATEST, &n, &why), &why);
	assert_int_equal(n, migrate_latest());
	first = shape(pg);
	assert_non_null(strstr(first, "hypertable metric_1m"));
	assert_non_null(strstr(first, "graph ops"));

	must(migrate_down(pg, 0, &n, &why), &why);
	assert_int_equal(n, migrate_latest());
	empty = shape(pg);
	assert_string_equal(empty, "");

	must(migrate_up(pg, MIGRATE_LATEST, &n, &why), &why);
	second = shape(pg);
	assert_string_equal(first, second);
}

static void every_single_step_goes_down_and_up_again(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(conninfo);
	struct oc_fail why = { 0 };

	(void)state;
	for (int v = 1; v <= migrate_latest(); v++) {
		AUTO(str) char *first = NULL, *second = NULL;
		int n = 0;

		must(migrate_up(pg, v, &n, &why), &why);
		assert_int_equal(n, 1);
		/* age is there from the second one on; without it the shape cannot be asked for */
		if (v < 2)
			continue;
		first = shape(pg);
		must(migrate_down(pg, v - 1, &n, &why), &why);
		assert_int_equal(n, 1);
		must(migrate_up(pg, v, &n, &why), &why);
		second = shape(pg);
		assert_string_equal(first, second);
	}
}

static void a_second_up_does_nothing(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(conninfo);
	struct oc_fail why = { 0 };
	int n = -1;

	(void)state;
	must(migrate_up(pg, MIGRATE_LATEST, &n, &why), &why);
	must(migrate_up(pg, MIGRATE_LATEST, &n, &why), &why);
	assert_int_equal(n, 0);
	must(migrate_check(pg, &why), &why);
}

static void a_migration_that_changed_after_it_was_applied_is_refused(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(conninfo);
	AUTO(json) json_t *status = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	must(migrate_up(pg, MIGRATE_LATEST, NULL, &why), &why);
	must(pg_script(pg, "UPDATE schema_migration SET checksum = repeat('0', 64) WHERE version = 2", &why),
	     &why);
	assert_int_equal(migrate_up(pg, MIGRATE_LATEST, NULL, &why), OC_INVALID);
	assert_non_null(strstr(why.text, "0002_observability"));
	assert_non_null(strstr(why.text, "changed since"));
	assert_int_equal(migrate_down(pg, 0, NULL, &why), OC_INVALID);
	assert_int_equal(migrate_check(pg, &why), OC_INVALID);
	must(migrate_status(pg, &status, &why), &why);
	assert_string_equal(json_str(json_array_get(status, 1), "state"), "changed");
	assert_string_equal(json_str(json_array_get(status, 0), "state"), "applied");
}

static void a_database_newer_than_the_binary_is_left_alone(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(conninfo);
	struct oc_fail why = { 0 };

	(void)state;
	must(migrate_up(pg, MIGRATE_LATEST, NULL, &why), &why);
	must(pg_script(pg, "INSERT INTO schema_migration VALUES (9999, 'tomorrow', 'x')", &why), &why);
	assert_int_equal(migrate_up(pg, MIGRATE_LATEST, NULL, &why), OC_ILLEGAL);
	assert_non_null(strstr(why.text, "9999_tomorrow"));
	assert_int_equal(migrate_down(pg, 0, NULL, &why), OC_ILLEGAL);
}

static void a_migration_that_fails_leaves_nothing_of_itself(void **state)
{
	AUTO(pg) struct pg *pg = pgtemp_open(conninfo);
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(json) json_t *status = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	/* stands in the way of the last table of 0002 */
	must(pg_script(pg, "CREATE TABLE table_registry (x int)", &why), &why);
	assert_int_not_equal(migrate_up(pg, MIGRATE_LATEST, NULL, &why), OC_OK);
	assert_non_null(strstr(why.text, "0002_observability.up was rolled back"));
	must(pg_query(pg,
		      "SELECT to_regclass('dim_tenant') IS NOT NULL, to_regclass('dim_resource') IS NOT NULL",
		      PG_NO_ARGS, &r, &why),
	     &why);
	assert_true(pg_bool(r, 0, 0));
	assert_false(pg_bool(r, 0, 1));
	must(migrate_status(pg, &status, &why), &why);
	assert_string_equal(json_str(json_array_get(status, 0), "state"), "applied");
	assert_string_equal(json_str(json_array_get(status, 1), "state"), "pending");
	assert_int_equal(migrate_check(pg, &why), OC_UNAVAILABLE);
}

static void a_role_that_may_not_make_extensions_is_told_so(void **state)
{
	AUTO(pg) struct pg *pg = NULL;
	char info[160];
	struct oc_fail why = { 0 };

	(void)state;
	pgtemp_exec(server,
		    "DO $$ BEGIN CREATE ROLE plain LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
	pgtemp_conninfo(server, "plain", "trial", info, sizeof(info));
	pg = pgtemp_open(info);
	assert_int_equal(migrate_up(pg, MIGRATE_LATEST, NULL, &why), OC_UNAVAILABLE);
	assert_non_null(strstr(why.text, "CREATE EXTENSION"));
	assert_non_null(strstr(why.text, "'plain'"));
}

static void the_owner_migrates_without_being_a_superuser(void **state)
{
	AUTO(pg) struct pg *super = pgtemp_open(conninfo);
	AUTO(pg) struct pg *pg = NULL;
	struct oc_fail why = { 0 };
	char info[160];
	int n = 0;

	(void)state;
	must(pg_script(
		     super,
		     "DROP ROLE IF EXISTS opscase_owner, opscase_worker, opscase_api;"
		     "CREATE ROLE opscase_owner LOGIN; CREATE ROLE opscase_worker LOGIN; CREATE ROLE opscase_api LOGIN;"
		     "GRANT CREATE ON SCHEMA public TO opscase_owner WITH GRANT OPTION;"
		     "CREATE EXTENSION timescaledb; CREATE EXTENSION vector; CREATE EXTENSION age; CREATE EXTENSION pgcrypto;"
		     "CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gist",
		     &why),
	     &why);
	pgtemp_conninfo(server, "opscase_owner", "trial", info, sizeof(info));
	pg = pgtemp_open(info);
	assert_int_equal(migrate_up(pg, MIGRATE_LATEST, &n, &why), OC_UNAVAILABLE);
	assert_non_null(strstr(why.text, "GRANT USAGE ON SCHEMA ag_catalog"));
	assert_int_equal(n, 0);
	must(pg_script(
		     super,
		     "GRANT CREATE ON DATABASE trial TO opscase_owner;"
		     "GRANT USAGE ON SCHEMA ag_catalog TO opscase_owner WITH GRANT OPTION;"
		     "GRANT SELECT, INSERT, UPDATE, DELETE ON ag_catalog.ag_graph, ag_catalog.ag_label TO opscase_owner",
		     &why),
	     &why);
	must(migrate_up(pg, MIGRATE_LATEST, &n, &why), &why);
	assert_int_equal(n, migrate_latest());
	must(migrate_down(pg, 0, &n, &why), &why);
	must(migrate_up(pg, MIGRATE_LATEST, &n, &why), &why);
	must(migrate_down(pg, 0, &n, &why), &why);
	must(pg_script(
		     super,
		     "DROP OWNED BY opscase_owner, opscase_worker, opscase_api; DROP ROLE IF EXISTS opscase_owner, "
		     "opscase_worker, opscase_api",
		     &why),
	     &why);
}

static void a_server_without_the_preload_is_told_what_to_write_where(void **state)
{
	struct pgtemp bare = { .empty = true, .options = "-c shared_preload_libraries=age" };
	struct oc_fail why = { 0 };

	(void)state;
	pgtemp_start(&bare);
	{
		AUTO(pg) struct pg *pg = pgtemp_open(bare.super);

		assert_int_equal(migrate_up(pg, MIGRATE_LATEST, NULL, &why), OC_UNAVAILABLE);
	}
	pgtemp_stop(&bare);
	assert_string_equal(why.field, "timescaledb");
	assert_non_null(strstr(why.text, "shared_preload_libraries"));
	assert_int_equal(access(bare.dir, F_OK), -1);
}

static void two_replicas_that_start_at_once_migrate_once(void **state)
{
	AUTO(pg) struct pg *lock = pgtemp_open(conninfo);
	AUTO(pg) struct pg *pg = pgtemp_open(conninfo);
	struct oc_fail why = { 0 };

	(void)state;
	/* the other one holds the lock: ours waits for it rather than running into half a schema */
	must(pg_script(lock, "SELECT pg_advisory_lock(31370001983292261)", &why), &why);
	must(pg_script(pg, "SET lock_timeout = '200ms'", &why), &why);
	assert_int_equal(migrate_up(pg, MIGRATE_LATEST, NULL, &why), OC_CONFLICT);
	must(pg_script(lock, "SELECT pg_advisory_unlock(31370001983292261)", &why), &why);
	must(migrate_up(pg, MIGRATE_LATEST, NULL, &why), &why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(up_down_up_ends_where_the_first_up_ended, fresh),
		cmocka_unit_test_setup(every_single_step_goes_down_and_up_again, fresh),
		cmocka_unit_test_setup(a_second_up_does_nothing, fresh),
		cmocka_unit_test_setup(a_migration_that_changed_after_it_was_applied_is_refused, fresh),
		cmocka_unit_test_setup(a_database_newer_than_the_binary_is_left_alone, fresh),
		cmocka_unit_test_setup(a_migration_that_fails_leaves_nothing_of_itself, fresh),
		cmocka_unit_test_setup(a_role_that_may_not_make_extensions_is_told_so, fresh),
		cmocka_unit_test_setup(the_owner_migrates_without_being_a_superuser, fresh),
		cmocka_unit_test(a_server_without_the_preload_is_told_what_to_write_where),
		cmocka_unit_test_setup(two_replicas_that_start_at_once_migrate_once, fresh),
	};
	static struct pgtemp own = {
		.empty = true
	}; /* roles are per cluster: nobody else's database may use them */

	server = &own;
	pgtemp_start(server);
	pgtemp_conninfo(server, "postgres", "trial", conninfo, sizeof(conninfo));
	{
		int failed = cmocka_run_group_tests(tests, NULL, NULL);

		pgtemp_stop(server);
		return failed;
	}
}
