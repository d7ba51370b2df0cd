/* Tenants do not see each other: every table of the catalog, tried both ways as opscase_api. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "tests/support/pgtemp.h"

static struct pgtemp *server;
static long long tenant_a, tenant_b;

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

/* Every table of ours, but hypertables: name, has tenant_id. */
static const char SQL_TABLES[] =
	"SELECT c.oid::regclass::text, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'), "
	"has_table_privilege('opscase_api', c.oid, 'SELECT'), c.relrowsecurity AND c.relforcerowsecurity, c.relowner::regrole::text "
	"FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
	"AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') "
	"AND c.relname NOT IN (SELECT hypertable_name FROM timescaledb_information.hypertables) ORDER BY 1";
static const char SQL_HYPERTABLES[] =
	"SELECT format('%I.%I', hypertable_schema, hypertable_name) FROM timescaledb_information.hypertables "
	"UNION ALL SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks";

/* One row of the tenant in every table. The replica role turns off foreign keys, so that the order and
 * the neighbours do not matter; NOT NULL and CHECK still hold. */
static const char SEED[] =
	"SET session_replication_role = replica;"
	"INSERT INTO api_token VALUES (u, t, 'n', 'viewer', decode(md5(t::text || 'tok'), 'hex'));"
	"INSERT INTO ops_case (id, tenant_id, tenant, title, status, opened_by) VALUES (u, t, 'x', 'x', 'NEW', 'x');"
	"INSERT INTO case_body (case_id, tenant_id) VALUES (u, t);"
	"INSERT INTO case_timeline (tenant_id, case_id, seq, event, actor, canonical, hash) VALUES (t, u, 1, 'e', 'a', 'c', 'h');"
	"INSERT INTO timeline_checkpoint (tenant_id, cases, root, heads) VALUES (t, 1, 'r', 'h');"
	"INSERT INTO case_tombstone (case_id, tenant_id, timeline_seq, timeline_head) VALUES (u, t, 1, 'h');"
	"INSERT INTO outbox (tenant_id, kind, topic, key) VALUES (t, 'x', 't', 'k');"
	"INSERT INTO inbox (consumer, msg_id, tenant_id) VALUES ('c', 1, t);"
	"INSERT INTO idempotency (tenant_id, principal, route, key, body_hash, state) VALUES (t, 'p', 'r', 'k', 'b', 'done');"
	"INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash, fingerprint,"
	" complete, created_by) VALUES (u, t, u, '{}', '', 1, 1, 'forward', 'template', 'h', 'f', true, 'x');"
	"INSERT INTO gate_decision (id, tenant_id, case_id, plan_id, epoch, answer, status, plan_hash, args_hash, policy_hash,"
	" expires_at) VALUES (u, t, u, u, 1, 'deny', 'rejected', 'h', 'a', 'p', now());"
	"INSERT INTO plan_approved (id, tenant_id, case_id, plan_id, decision) VALUES (u, t, u, u, '{}');"
	"INSERT INTO approval (tenant_id, decision_id, case_id, principal, role, answer) VALUES (t, u, u, 'p', 'r', 'approve');"
	"INSERT INTO remediation_budget (tenant_id, target, operation, case_id, run_id) VALUES (t, 'x', 'o', u, u);"
	"INSERT INTO exec_run (id, tenant_id, case_id, plan_id, decision_id, cmd_id, epoch, status, steps_total)"
	" VALUES (u, t, u, u, u, 1, 1, 'running', 1);"
	"INSERT INTO exec_step (tenant_id, run_id, case_id, seq, action, target, params, idempotency_key, status, epoch,"
	" lease_token) VALUES (t, u, u, 0, 'a', 't', '{}', 'k', 'intent', 1, u);"
	"INSERT INTO target_lock VALUES (t, 'x', u, now());"
	"INSERT INTO verdict (id, tenant_id, case_id, plan_id, epoch, verdict, checks) VALUES (u, t, u, u, 1, 'PASS', '[]');"
	"INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body) VALUES (u, t, u, 1, 's', '{}');"
	"INSERT INTO notification (id, tenant_id, case_id, sentence) VALUES (u, t, u, 's');"
	"INSERT INTO llm_call (id, tenant_id, purpose, provider, model, request, request_hash, outcome)"
	" VALUES (u, t, 'p', 'p', 'm', '{}', 'h', 'o');"
	"INSERT INTO llm_look (tenant_id, case_id, epoch, attempt, seq, tool, input, shown, outcome)"
	" VALUES (t, u, 1, 1, 0, 'x', '{}', 's', 'o');"
	"INSERT INTO llm_certificate (tenant_id, provider, model, duty, golden, passed, total, certified)"
	" VALUES (t, 'p', 'm', 'plan', 'h', 1, 1, true);"
	"INSERT INTO webhook_delivery (id, tenant_id, source, dedup_key, body) VALUES (u, t, 's', 'k', '{}');"
	"INSERT INTO dead_letter (tenant_id, kind, source, reason, body) VALUES (t, 'k', 's', 'r', 'b');"
	"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (t, 'urn:host:h', 'host', 'h');"
	"INSERT INTO oo_locator (tenant_id, dataset, bucket, object_key, t_from, t_to) VALUES (t, 'logs', 'b', 'k', now(), now());"
	"INSERT INTO detail_filter (tenant_id, locator_id, blocks, filter) VALUES (t, t, 1, decode(repeat('00', 64), 'hex'));"
	"INSERT INTO metric_series (tenant_id, series_id, resource_id, metric, kind) VALUES (t, 1, 1, 'm', 'gauge');"
	"INSERT INTO log_pattern (tenant_id, pattern) VALUES (t, 'p');"
	"INSERT INTO topo_edge_time (tenant_id, src_resource_id, dst_resource_id, relation, source, valid)"
	" VALUES (t, 1, 2, 'CALLS', 'otlp', '[2026-01-01,)');"
	"INSERT INTO topo_resource VALUES (t, 'iac', 's', 1, 'a', '{}', now(), now());"
	"INSERT INTO topo_discovery (tenant_id, source, stack, at, status) VALUES (t, 'iac', 's', now(), 'applied');"
	"INSERT INTO kb_doc (tenant_id, title) VALUES (t, 'd');"
	"INSERT INTO kb_chunk (tenant_id, doc_id, chunk_idx, content) VALUES (t, 1, 0, 'c');"
	"INSERT INTO kb_state (tenant_id) VALUES (t);"
	"INSERT INTO kb_model (tenant_id, model, dims, state, chunks) VALUES (t, 'm', 8, 'live', 0);"
	"INSERT INTO kb_use (tenant_id, case_id, plan_id, doc_id) VALUES (t, u, u, 1);"
	"INSERT INTO event_envelope (tenant_id, severity, kind) VALUES (t, 'INFO', 'k');"
	"INSERT INTO evidence_link (tenant_id, event_id, dim) VALUES (t, u, 'metric');"
	"INSERT INTO etl_job_run (job, tenant_id, window_from, window_to) VALUES ('j', t, '2026-01-01', '2026-01-02');"
	"INSERT INTO signal (tenant_id, fingerprint, source, kind, title, severity, confidence, first_at, last_at, ready_at)"
	" VALUES (t, 'f', 's', 'k', 'x', 'WARN', 1, now(), now(), now());"
	"INSERT INTO maintenance_window (tenant_id, starts_at, ends_at, reason, created_by)"
	" VALUES (t, '2026-01-01', '2026-01-02', 'r', 'me');"
	"INSERT INTO detector_state (tenant_id, series_id, upto, state) VALUES (t, 1, now(), '\\x00');"
	"INSERT INTO call_pending (tenant_id, part, key, side, start_us, duration_us, error, service, arrived_us)"
	" VALUES (t, 0, 'k', 'c', 0, 1, false, 'urn:svc:s', 0);"
	"INSERT INTO etl_job_circuit (job, tenant_id) VALUES ('j', t);"
	"INSERT INTO table_registry (tenant_id, table_name) VALUES (t, 'x');"
	"INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, series_id) VALUES (now(), t, 1, 'm', 1);"
	"INSERT INTO service_call_5m (bucket, tenant_id, src_resource_id, dst_resource_id) VALUES (now(), t, 1, 2);"
	"INSERT INTO log_pattern_5m (bucket, tenant_id, resource_id, fingerprint_id, count_total) VALUES (now(), t, 1, 1, 1);"
	"SET session_replication_role = origin;";

/* `t` and `u` of SEED stand for the tenant and one uuid. */
static void seed(long long tenant, const char *uuid)
{
	AUTO(text) struct text sql = { 0 };

	for (const char *p = SEED; *p; p++) {
		bool start = p == SEED || strchr("(, ", p[-1]);

		if (start && *p == 't' && strchr(",):", p[1]))
			text_addf(&sql, "%lld", tenant);
		else if (start && *p == 'u' && strchr(",)", p[1]))
			text_addf(&sql, "'%s'", uuid);
		else
			text_add_n(&sql, p, 1);
	}
	pgtemp_exec(server, sql.s);
}

static long long count_rows(struct pg *pg, const char *table)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str) char *sql = mem_printf("SELECT count(*) FROM %s", table);
	struct oc_fail why = { 0 };

	must(pg_query(pg, sql, PG_NO_ARGS, &r, &why), &why);
	return pg_int(r, 0, 0);
}

static void act_as(struct pg *pg, long long tenant)
{
	struct oc_fail why = { 0 };
	char id[32];

	snprintf(id, sizeof(id), "%lld", tenant);
	must(pg_begin(pg, &why), &why);
	if (tenant)
		must(pg_query(pg, "SELECT set_config('opscase.tenant', $1, true)", PG_ARGS(id), NULL, &why),
		     &why);
}

static struct pg_result *tables(const char *sql)
{
	AUTO(pg) struct pg *pg = pgtemp_open(server->super);
	struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	must(pg_query(pg, sql, PG_NO_ARGS, &r, &why), &why);
	return r;
}

static void every_table_of_a_tenant_is_behind_forced_row_security(void **state)
{
	AUTO(pg_result) struct pg_result *t = tables(SQL_TABLES);
	unsigned guarded = 0;

	(void)state;
	for (unsigned i = 0; i < pg_rows(t); i++) {
		if (str_eq(pg_text(t, i, 0), "schema_migration"))
			continue;
		if (pg_bool(t, i, 1) && !pg_bool(t, i, 3))
			fail_msg(
				"table %s has tenant_id and no forced row security: opscase_secure() was forgotten",
				pg_text(t, i, 0));
		assert_string_equal(pg_text(t, i, 4), "opscase_owner");
		guarded += pg_bool(t, i, 1);
	}
	assert_true(guarded >= 35);
}

static void a_tenant_sees_its_own_rows_and_no_others(void **state)
{
	AUTO(pg_result) struct pg_result *t = tables(SQL_TABLES);
	AUTO(pg) struct pg *super = pgtemp_open(server->super);
	AUTO(pg) struct pg *api = pgtemp_open(server->api);
	struct oc_fail why = { 0 };

	(void)state;
	act_as(api, tenant_a);
	for (unsigned i = 0; i < pg_rows(t); i++) {
		const char *table = pg_text(t, i, 0);
		AUTO(pg_result) struct pg_result *own = NULL;
		AUTO(str) char *sql = NULL;

		if (!pg_bool(t, i, 1))
			continue;
		/* both tenants have something there, or the test would show nothing */
		if (count_rows(super, table) < 2)
			fail_msg("SEED has no row for table %s", table);
		sql = mem_printf("SELECT count(*), count(*) FILTER (WHERE tenant_id = %lld) FROM %s",
				 tenant_a, table);
		must(pg_query(api, sql, PG_NO_ARGS, &own, &why), &why);
		if (pg_int(own, 0, 0) != pg_int(own, 0, 1) || pg_int(own, 0, 1) < 1)
			fail_msg("%s: tenant A sees %lld rows, %lld are its own", table, pg_int(own, 0, 0),
				 pg_int(own, 0, 1));
	}
}

static void without_a_tenant_there_are_no_rows(void **state)
{
	AUTO(pg_result) struct pg_result *t = tables(SQL_TABLES);
	AUTO(pg) struct pg *api = pgtemp_open(server->api);

	(void)state;
	for (unsigned i = 0; i < pg_rows(t); i++)
		if (pg_bool(t, i, 1) && count_rows(api, pg_text(t, i, 0)) != 0)
			fail_msg("%s shows rows to a session without a tenant", pg_text(t, i, 0));
	/* set, and unset again: the empty text is no tenant either */
	act_as(api, tenant_a);
	assert_int_equal(pg_commit(api, NULL), OC_OK);
	assert_int_equal(count_rows(api, "ops_case"), 0);
}

/* Tries one statement in a savepoint; the rows it touched, or -1 when it was refused. */
static long long attempt(struct pg *pg, const char *sql)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };
	long long n = -1;

	must(pg_script(pg, "SAVEPOINT s", &why), &why);
	if (pg_query(pg, sql, PG_NO_ARGS, &r, &why) == OC_OK) {
		n = pg_affected(r);
	} else if (why.err != OC_FORBIDDEN) {
		fail_msg("%s: %s", sql, why.text);
	}
	must(pg_script(pg, "ROLLBACK TO s", &why), &why);
	return n;
}

static void no_row_of_another_tenant_can_be_written(void **state)
{
	AUTO(pg_result) struct pg_result *t = tables(SQL_TABLES);
	AUTO(pg) struct pg *api = pgtemp_open(server->api);

	(void)state;
	act_as(api, tenant_a);
	for (unsigned i = 0; i < pg_rows(t); i++) {
		const char *table = pg_text(t, i, 0);
		AUTO(str) char *take = mem_printf("UPDATE %s SET tenant_id = %lld", table, tenant_b);
		AUTO(str)
		char *touch = mem_printf("UPDATE %s SET tenant_id = tenant_id WHERE tenant_id = %lld", table,
					 tenant_b);
		AUTO(str) char *drop = mem_printf("DELETE FROM %s WHERE tenant_id = %lld", table, tenant_b);
		AUTO(str) char *empty = mem_printf("TRUNCATE %s CASCADE", table);

		if (attempt(api, empty) != -1)
			fail_msg("opscase_api can truncate %s", table);
		if (!pg_bool(t, i, 1))
			continue;
		/* giving a row away is refused, by row security or for want of the right */
		if (attempt(api, take) != -1)
			fail_msg("a row of %s was given to another tenant", table);
		if (attempt(api, touch) > 0 || attempt(api, drop) > 0)
			fail_msg("a row of another tenant in %s was written", table);
	}
}

static void a_row_for_another_tenant_is_not_inserted(void **state)
{
	AUTO(pg) struct pg *api = pgtemp_open(server->api);
	AUTO(str)
	char *own = mem_printf("INSERT INTO dim_resource (tenant_id, urn, type, name) "
			       "VALUES (%lld, 'urn:host:new', 'host', 'new')",
			       tenant_a);
	AUTO(str)
	char *other = mem_printf("INSERT INTO dim_resource (tenant_id, urn, type, name) "
				 "VALUES (%lld, 'urn:host:new', 'host', 'new')",
				 tenant_b);

	(void)state;
	act_as(api, tenant_a);
	assert_int_equal(attempt(api, own), 1);
	assert_int_equal(attempt(api, other), -1);
}

static void a_request_cannot_write_what_only_a_role_produces(void **state)
{
	static const char *const products[] = { "plan_proposed", "plan_approved", "gate_decision",
						"exec_run",      "exec_step",     "verdict",
						"finding",       "installation" };
	AUTO(pg) struct pg *api = pgtemp_open(server->api);

	(void)state;
	act_as(api, tenant_a);
	for (size_t i = 0; i < ARRAY_LEN(products); i++) {
		AUTO(str)
		char *insert = mem_printf("INSERT INTO %s SELECT * FROM %s", products[i], products[i]);
		AUTO(str) char *drop = mem_printf("DELETE FROM %s", products[i]);

		assert_int_equal(attempt(api, insert), -1);
		assert_int_equal(attempt(api, drop), -1);
	}
}

static void hypertables_are_not_read_directly(void **state)
{
	AUTO(pg_result) struct pg_result *t = tables(SQL_HYPERTABLES);
	AUTO(pg) struct pg *api = pgtemp_open(server->api);

	(void)state;
	assert_true(pg_rows(t) >= 6); /* three, and their chunks */
	act_as(api, tenant_a);
	for (unsigned i = 0; i < pg_rows(t); i++) {
		AUTO(str) char *sql = mem_printf("SELECT * FROM %s", pg_text(t, i, 0));

		if (attempt(api, sql) != -1)
			fail_msg("opscase_api reads %s", pg_text(t, i, 0));
	}
}

static void the_windows_answer_for_the_own_tenant_only(void **state)
{
	static const char *const calls[] = {
		"metric_window(%lld, NULL, NULL, now() - interval '1 day', now() + interval '1 day')",
		"service_calls(%lld, NULL, NULL, now() - interval '1 day', now() + interval '1 day')",
		"log_patterns(%lld, NULL, now() - interval '1 day', now() + interval '1 day')"
	};
	AUTO(pg) struct pg *api = pgtemp_open(server->api);
	AUTO(pg) struct pg *nobody = pgtemp_open(server->api);

	(void)state;
	act_as(api, tenant_a);
	act_as(nobody, 0);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		AUTO(text) struct text own = { 0 }, other = { 0 };

		text_add(&own, "SELECT * FROM ");
		text_add(&other, "SELECT * FROM ");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		text_addf(&own, calls[i], tenant_a);
		text_addf(&other, calls[i], tenant_b);
#pragma GCC diagnostic pop
		assert_int_equal(attempt(api, own.s), 1);
		assert_int_equal(attempt(api, other.s), -1);
		assert_int_equal(attempt(nobody, own.s), -1);
	}
}

static void a_token_is_found_by_its_hash_alone(void **state)
{
	AUTO(pg) struct pg *api = pgtemp_open(server->api);
	AUTO(pg_result) struct pg_result *r = NULL, *none = NULL, *code = NULL;
	AUTO(str)
	char *sql =
		mem_printf("SELECT tenant_id, tenant FROM opscase_token_lookup(decode(md5('%lldtok'), 'hex'))",
			   tenant_b);
	struct oc_fail why = { 0 };

	(void)state;
	must(pg_query(api, sql, PG_NO_ARGS, &r, &why), &why);
	assert_int_equal(pg_rows(r), 1);
	assert_int_equal(pg_int(r, 0, 0), tenant_b);
	assert_string_equal(pg_text(r, 0, 1), "ten-b");
	must(pg_query(api, "SELECT * FROM opscase_token_lookup('\\x00')", PG_NO_ARGS, &none, &why), &why);
	assert_int_equal(pg_rows(none), 0);
	must(pg_query(api, "SELECT tenant_id FROM opscase_tenant_by_code('ten-a')", PG_NO_ARGS, &code, &why),
	     &why);
	assert_int_equal(pg_int(code, 0, 0), tenant_a);
}

static void nobody_points_into_another_tenant(void **state)
{
	AUTO(pg) struct pg *super = pgtemp_open(server->super);
	struct oc_fail why = { 0 };
	AUTO(str)
	char *other =
		mem_printf("INSERT INTO event_envelope (tenant_id, severity, kind, resource_id) "
			   "SELECT %lld, 'INFO', 'x', resource_id FROM dim_resource WHERE tenant_id = %lld",
			   tenant_a, tenant_b);

	(void)state;
	assert_int_equal(pg_query(super, other, PG_NO_ARGS, NULL, &why), OC_INVALID);
}

static void the_worker_spans_tenants_and_reaches_the_graph(void **state)
{
	AUTO(pg) struct pg *worker = pgtemp_open(server->worker);
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	assert_true(count_rows(worker, "ops_case") >= 2);
	assert_true(count_rows(worker, "metric_1m") >= 2);
	must(pg_script(worker, "SET search_path = public, ag_catalog", &why), &why);
	must(pg_script(
		     worker,
		     "SELECT * FROM ag_catalog.cypher('ops', $$ MERGE (s:Resource {tenant_id: 1, resource_id: 5}) "
		     "MERGE (d:Resource {tenant_id: 1, resource_id: 6}) MERGE (s)-[e:CALLS]->(d) SET e.rps = 2.0 RETURN 1 $$) "
		     "AS (ok ag_catalog.agtype)",
		     &why),
	     &why);
	must(pg_query(worker,
		      "SELECT * FROM ag_catalog.cypher('ops', $$ MATCH (:Resource)-[e:CALLS]->(:Resource) RETURN e.rps $$) "
		      "AS (rps ag_catalog.agtype)",
		      PG_NO_ARGS, &r, &why),
	     &why);
	assert_int_equal(pg_rows(r), 1);
	assert_int_equal(pg_query(worker, "TRUNCATE metric_1m", PG_NO_ARGS, NULL, &why), OC_FORBIDDEN);
}

static int begin(void **state)
{
	(void)state;
	server = pgtemp_shared();
	/* a test that failed leaves its transaction open: what waits for its locks shall fail, not hang */
	pgtemp_exec(
		server,
		"ALTER ROLE opscase_worker SET lock_timeout = '30s'; ALTER ROLE opscase_api SET lock_timeout = '30s'");
	tenant_a = pgtemp_tenant(server, "ten-a");
	tenant_b = pgtemp_tenant(server, "ten-b");
	seed(tenant_a, "00000000-0000-7000-8000-00000000000a");
	seed(tenant_b, "00000000-0000-7000-8000-00000000000b");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_table_of_a_tenant_is_behind_forced_row_security),
		cmocka_unit_test(a_tenant_sees_its_own_rows_and_no_others),
		cmocka_unit_test(without_a_tenant_there_are_no_rows),
		cmocka_unit_test(no_row_of_another_tenant_can_be_written),
		cmocka_unit_test(a_row_for_another_tenant_is_not_inserted),
		cmocka_unit_test(a_request_cannot_write_what_only_a_role_produces),
		cmocka_unit_test(hypertables_are_not_read_directly),
		cmocka_unit_test(the_windows_answer_for_the_own_tenant_only),
		cmocka_unit_test(a_token_is_found_by_its_hash_alone),
		cmocka_unit_test(nobody_points_into_another_tenant),
		cmocka_unit_test(the_worker_spans_tenants_and_reaches_the_graph),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
