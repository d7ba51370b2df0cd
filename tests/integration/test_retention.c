/* What is kept and what goes, against every table of a real database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "store/retention.h"
#include "tests/support/pgtemp.h"

static struct pgtemp *server;
static struct pg *db, *worker;
static long long tenant;

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

static void put(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void put(const char *fmt, ...)
{
	struct oc_fail why = { 0 };
	char *sql = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&sql, fmt, ap) < 0)
		abort();
	va_end(ap);
	must(pg_script(db, sql, &why), &why);
	free(sql);
}

static long long count(const char *from)
{
	AUTO(str) char *sql = mem_printf("SELECT count(*) FROM %s", from);
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	must(pg_query(db, sql, PG_NO_ARGS, &r, &why), &why);
	return pg_int(r, 0, 0);
}

static struct retention_report run(void)
{
	struct retention_report report;
	struct oc_fail why = { 0 };

	must(retention_run(worker, 1, 10, NULL, &report, &why), &why);
	return report;
}

static void every_table_has_an_owner_and_a_retention(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };
	unsigned rules = 0;

	(void)state;
	must(pg_query(
		     db,
		     "SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
		     "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')",
		     PG_NO_ARGS, &r, &why),
	     &why);
	for (unsigned i = 0; i < pg_rows(r); i++) {
		const struct retention_rule *rule = retention_rules;

		while (rule->table && !str_eq(rule->table, pg_text(r, i, 0)))
			rule++;
		if (!rule->table)
			fail_msg("table %s has no row in retention_rules", pg_text(r, i, 0));
		assert_true(rule->owner[0] != '\0');
	}
	for (const struct retention_rule *rule = retention_rules; rule->table; rule++, rules++)
		for (const struct retention_rule *other = rule + 1; other->table; other++)
			if (str_eq(rule->table, other->table))
				fail_msg("table %s has two rows", rule->table);
	assert_int_equal(rules, pg_rows(r)); /* and no rule speaks of a table that is not there */
}

static void every_rule_runs_as_the_worker(void **state)
{
	(void)state;
	run();
}

static const char CASE[] = "00000000-0000-7000-8000-0000000000";

/* A closed case with something in every table that hangs on one. */
static void closed_case(const char *tail, int days_ago)
{
	char id[40];

	snprintf(id, sizeof(id), "%s%s", CASE, tail);
	put("INSERT INTO ops_case (id, tenant_id, tenant, title, status, opened_by, resolution, closed_at, timeline_seq, timeline_head) "
	    "VALUES ('%s', %lld, 'ten', 'x', 'CLOSED', 'me', 'verified', now() - interval '%d days', 3, 'head%s')",
	    id, tenant, days_ago, tail);
	put("INSERT INTO case_body (case_id, tenant_id) VALUES ('%s', %lld);"
	    "INSERT INTO case_timeline (tenant_id, case_id, seq, event, actor, canonical, hash) VALUES (%lld, '%s', 1, 'e', 'a', 'c', 'h');"
	    "INSERT INTO notification (id, tenant_id, case_id, sentence) VALUES ('%s', %lld, '%s', 's');"
	    "INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body) VALUES ('%s', %lld, '%s', 1, 's', '{}');"
	    "INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash, fingerprint,"
	    " complete, created_by) VALUES ('%s', %lld, '%s', '{}', '', 1, 1, 'forward', 'template', 'h', 'f', true, 'x');"
	    "INSERT INTO verdict (id, tenant_id, case_id, plan_id, epoch, verdict, checks) VALUES ('%s', %lld, '%s', '%s', 1, 'PASS', '[]')",
	    id, tenant, tenant, id, id, tenant, id, id, tenant, id, id, tenant, id, id, tenant, id, id);
}

static void an_old_closed_case_goes_whole_and_leaves_its_head(void **state)
{
	static const char *const tables[] = { "ops_case WHERE id",           "case_body WHERE case_id",
					      "case_timeline WHERE case_id", "notification WHERE case_id",
					      "finding WHERE case_id",       "plan_proposed WHERE case_id",
					      "verdict WHERE case_id" };
	struct retention_report report;

	(void)state;
	closed_case("01", 400);
	closed_case("02", 300);
	put("INSERT INTO ops_case (id, tenant_id, tenant, title, status, opened_by, park_reason, created_at) "
	    "VALUES ('%s03', %lld, 'ten', 'x', 'PARKED', 'me', 'no_plan', now() - interval '900 days')",
	    CASE, tenant);
	report = run();
	assert_int_equal(report.cases, 1);
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		AUTO(str)
		char *old = mem_printf("%s = '%s01'", tables[i], CASE),
		     *young = mem_printf("%s = '%s02'", tables[i], CASE);

		assert_int_equal(count(old), 0);
		assert_int_equal(count(young), 1);
	}
	/* open ones stay, however old */
	assert_int_equal(count("ops_case WHERE status = 'PARKED'"), 1);
	assert_int_equal(count("case_tombstone WHERE timeline_seq = 3 AND timeline_head = 'head01'"), 1);
	assert_int_equal(count("case_tombstone"), 1);
}

static void a_case_with_an_open_message_waits(void **state)
{
	(void)state;
	closed_case("04", 500);
	put("INSERT INTO outbox (tenant_id, case_id, kind, topic, key) VALUES (%lld, '%s04', 'c', 'cmd.notify', 'ten')",
	    tenant, CASE);
	assert_int_equal(run().cases, 0);
	put("UPDATE outbox SET done_at = now() WHERE case_id = '%s04'", CASE);
	assert_int_equal(run().cases, 1);
}

static void hypertables_lose_whole_old_chunks(void **state)
{
	struct retention_report report;

	(void)state;
	put("INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, series_id) "
	    "SELECT now() - make_interval(days => d), %lld, 1, 'm', 1 FROM unnest(ARRAY[0, 100, 170, 200, 400]) AS d",
	    tenant);
	report = run();
	assert_int_equal(report.chunks, 2);
	assert_int_equal(count("metric_1m"), 3);
}

static void rows_go_by_age_in_batches_and_open_ones_stay(void **state)
{
	(void)state;
	put("INSERT INTO outbox (tenant_id, kind, topic, key, created_at, done_at) "
	    "SELECT %lld, 'x', 'old', 'k', now() - interval '9 days', CASE WHEN i <= 35 THEN now() - interval '8 days' END "
	    "FROM generate_series(1, 40) AS i",
	    tenant);
	put("INSERT INTO idempotency (tenant_id, principal, route, key, body_hash, state, expires_at) "
	    "VALUES (%lld, 'p', 'r', 'gone', 'b', 'done', now() - interval '1 s'), (%lld, 'p', 'r', 'there', 'b', 'done', now() + interval '1 h')",
	    tenant, tenant);
	assert_true(run().rows >= 36);
	assert_int_equal(count("outbox WHERE topic = 'old'"), 5);
	assert_int_equal(count("idempotency WHERE key = 'gone'"), 0);
	assert_int_equal(count("idempotency WHERE key = 'there'"), 1);
}

static void what_evidence_cites_is_kept(void **state)
{
	(void)state;
	put("INSERT INTO oo_locator (tenant_id, dataset, bucket, object_key, t_from, t_to, pinned) VALUES "
	    "(%lld, 'logs', 'b', 'plain', '2020-01-01', '2020-01-02', false), (%lld, 'logs', 'b', 'pinned', '2020-01-01', '2020-01-02', true), "
	    "(%lld, 'logs', 'b', 'cited', '2020-01-01', '2020-01-02', false);"
	    "INSERT INTO event_envelope (tenant_id, severity, kind, title) VALUES (%lld, 'INFO', 'x', 'cites');"
	    "INSERT INTO evidence_link (tenant_id, event_id, dim, ref_oo) SELECT e.tenant_id, e.event_id, 'log', o.id "
	    "FROM event_envelope e, oo_locator o WHERE e.title = 'cites' AND o.object_key = 'cited'",
	    tenant, tenant, tenant, tenant);
	run();
	assert_int_equal(count("oo_locator WHERE object_key = 'plain'"), 0);
	assert_int_equal(count("oo_locator WHERE object_key IN ('pinned', 'cited')"), 2);
}

static void the_reference_has_a_line_per_table(void **state)
{
	AUTO(text) struct text out = { 0 };

	(void)state;
	retention_reference(&out);
	for (const struct retention_rule *r = retention_rules; r->table; r++)
		assert_non_null(strstr(out.s, r->table));
}

static int begin(void **state)
{
	(void)state;
	server = pgtemp_shared();
	db = pgtemp_open(server->super);
	worker = pgtemp_open(server->worker);
	tenant = pgtemp_tenant(server, "ten");
	return 0;
}

static int end(void **state)
{
	(void)state;
	pg_close(db);
	pg_close(worker);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_table_has_an_owner_and_a_retention),
		cmocka_unit_test(every_rule_runs_as_the_worker),
		cmocka_unit_test(an_old_closed_case_goes_whole_and_leaves_its_head),
		cmocka_unit_test(a_case_with_an_open_message_waits),
		cmocka_unit_test(hypertables_lose_whole_old_chunks),
		cmocka_unit_test(rows_go_by_age_in_batches_and_open_ones_stay),
		cmocka_unit_test(what_evidence_cites_is_kept),
		cmocka_unit_test(the_reference_has_a_line_per_table),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
