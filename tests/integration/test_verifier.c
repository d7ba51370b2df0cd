/* The verifier and the analyst against real tables, driven by the worker's own harness without a bus. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>
#include "analyst/role.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "tests/support/pgtemp.h"
#include "verifier/role.h"

static struct pgtemp *server;
static struct pg *db; /* superuser */
static struct pg_pool *pool;
static long long tenant;

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

static struct pg_result *ask(const char *sql, const char *arg)
{
	struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	must(pg_query(db, sql, &arg, arg ? 1 : 0, &r, &why), &why);
	return r;
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

/* A case in VERIFYING whose run ended `ago` seconds ago, with the outstanding command. */
static void case_to_verify(char id[UUID_TEXT], const char *verify, int ago)
{
	char plan[UUID_TEXT], run[UUID_TEXT];
	AUTO(str)
	char *text = mem_printf(
		"{\"rollback\":{},\"steps\":[{\"action\":\"gateway.flip\",\"params\":{\"to\":\"b\"},\"retry\":0,"
		"\"target\":{\"urn\":\"urn:host:gw\"},\"timeout_s\":30}],\"title\":\"t\",\"verify\":%s}",
		verify);

	uuid_new(id);
	uuid_new(plan);
	uuid_new(run);
	put("INSERT INTO ops_case (id, tenant_id, tenant, title, status, epoch, opened_by, plan_id, plan_kind, decision_id, run_id) "
	    "VALUES ('%s', %lld, 'ten', 'x', 'VERIFYING', 3, 'me', '%s', 'forward', '%s', '%s')",
	    id, tenant, plan, plan, run);
	put("INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash, fingerprint, "
	    "complete, created_by) VALUES ('%s', %lld, '%s', '%s', '%s', 1, 1, 'forward', 'template', 'h', 'f', true, 'x')",
	    plan, tenant, id, text, text);
	put("INSERT INTO exec_run (id, tenant_id, case_id, plan_id, decision_id, cmd_id, epoch, status, steps_total, created_at, "
	    "finished_at) VALUES ('%s', %lld, '%s', '%s', '%s', 1, 2, 'succeeded', 1, now() - interval '%d s', "
	    "now() - interval '%d s')",
	    run, tenant, id, plan, plan, ago + 1, ago);
	put("INSERT INTO exec_step (tenant_id, run_id, case_id, seq, action, target, params, idempotency_key, status, epoch, "
	    "lease_token, started_at, finished_at) VALUES (%lld, '%s', '%s', 0, 'gateway.flip', 'urn:host:gw', '{}', 'key-0', "
	    "'succeeded', 2, '%s', now() - interval '%d s', now())",
	    tenant, run, id, run, ago + 1);
	put("WITH o AS (INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch) "
	    "VALUES (%lld, '%s', 'c', 'cmd.verify.run', 'ten', 3) RETURNING id) "
	    "UPDATE ops_case SET cmd_id = o.id, cmd_topic = 'cmd.verify.run' FROM o WHERE ops_case.id = '%s'",
	    tenant, id, id);
}

static long long resource(const char *urn)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, $1, 'x', 'x') "
		"ON CONFLICT (tenant_id, urn) DO UPDATE SET type = 'x' RETURNING resource_id",
		tenant);

	r = ask(sql, urn);
	return pg_int(r, 0, 0);
}

/* One-second buckets of the last `seconds`. */
static void measured(const char *urn, const char *metric, int seconds, const char *value)
{
	put("INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, series_id, avg_val, max_val, min_val, p95_val, count, sum) "
	    "SELECT date_trunc('second', now()) - make_interval(secs => i), %lld, %lld, '%s', hashtext('%s'), %s, %s, %s, %s, 10, 10 * (%s) "
	    "FROM generate_series(0, %d) AS i",
	    tenant, resource(urn), metric, metric, value, value, value, value, value, seconds);
}

static enum check_probe probe_says;
static char probe_key[80];

static enum oc_err fake_probe(void *ctx, const struct verify_probe *p, enum check_probe *ret, char **ret_info,
			      struct oc_fail *reterr)
{
	(void)ctx;
	snprintf(probe_key, sizeof(probe_key), "%s %s %s", p->idempotency_key, p->step->action,
		 p->step->target_urn);
	if (probe_says == PROBE_NOT_ASKED)
		return oc_fail(reterr, OC_UNAVAILABLE, "no runner");
	*ret = probe_says;
	*ret_info = mem_strdup("{\"active\":\"b\"}");
	return OC_OK;
}

/* Runs the role until the command is done, and reads what it left. */
static void run_role(const struct role *role, const char *case_id)
{
	struct worker_deps deps = { .conninfo = server->worker };
	AUTO(worker) struct worker *w = NULL;
	struct oc_fail why = { 0 };
	int64_t until = clock_mono_ms() + 20000;

	must(worker_start(role, &deps, &w, &why), &why);
	for (;;) {
		AUTO(pg_result)
		struct pg_result *r = ask(
			"SELECT 1 FROM outbox WHERE case_id = $1::uuid AND kind = 'c' AND done_at IS NOT NULL",
			case_id);

		if (pg_rows(r))
			return;
		if (clock_mono_ms() > until)
			fail_msg("the command of %s was not answered", case_id);
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
}

static struct pg_result *verify(const char *case_id)
{
	const struct verifier_config config = {
		.metric_bucket_s = 1, .call_bucket_s = 1, .delay_s = 1, .retry_ms = 200, .threads = 1
	};
	const struct verify_world world = { .probe = fake_probe };
	AUTO(verifier) struct verifier *v = verifier_new(&config, pool, &world);
	struct role role = verifier_role(v);

	run_role(&role, case_id);
	return ask("SELECT e.topic, v.verdict, v.reason, v.checks::text, v.epoch FROM outbox e "
		   "LEFT JOIN verdict v ON v.tenant_id = e.tenant_id AND v.id = e.product_id "
		   "WHERE e.case_id = $1::uuid AND e.kind = 'e'",
		   case_id);
}

static void expect(const char *verify_json, int ago, const char *topic, const char *verdict)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char id[UUID_TEXT];

	case_to_verify(id, verify_json, ago);
	r = verify(id);
	assert_int_equal(pg_rows(r), 1);
	if (!str_eq(pg_text(r, 0, 0), topic) || !str_eq(pg_text(r, 0, 1), verdict))
		fail_msg("%s %s: %s, %s", pg_text(r, 0, 0), pg_text(r, 0, 1), pg_text(r, 0, 2),
			 pg_text(r, 0, 3));
	assert_int_equal(pg_int(r, 0, 4), 3);
}

#define METRIC(name, rest)                                                                  \
	"{\"checks\":[{\"kind\":\"metric\",\"resource\":\"urn:host:gw\",\"metric\":\"" name \
	"\",\"aggregate\":\"avg\","                                                         \
	"\"window_s\":5," rest "}],\"deadline_s\":12}"

static void measured_and_good_is_a_pass_with_the_values_seen(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(json) json_t *checks = NULL;
	char id[UUID_TEXT];

	(void)state;
	measured("urn:host:gw", "err", 60, "0.01");
	case_to_verify(id, METRIC("err", "\"op\":\"<\",\"threshold\":0.05,\"min_samples\":40"), 10);
	r = verify(id);
	assert_string_equal(pg_text(r, 0, 0), "evt.verify.pass.v1");
	assert_string_equal(pg_text(r, 0, 1), "PASS");
	assert_int_equal(json_read_own(pg_text(r, 0, 3), &checks, NULL), OC_OK);
	assert_true(fabs(json_number_value(json_at(checks, "/0/value")) - 0.01) < 1e-9);
	assert_int_equal(json_integer_value(json_at(checks, "/0/samples")), 50);
	assert_string_equal(json_string_value(json_at(checks, "/0/verdict")), "PASS");
	assert_non_null(json_at(checks, "/0/window/from"));
}

static void measured_and_bad_is_a_fail(void **state)
{
	(void)state;
	measured("urn:host:gw", "bad", 60, "0.5");
	expect(METRIC("bad", "\"op\":\"<\",\"threshold\":0.05"), 10, "evt.verify.failed.v1", "FAIL");
}

static void nothing_measured_is_unproven_after_the_deadline(void **state)
{
	(void)state;
	expect(METRIC("never_seen", "\"op\":\"<\",\"threshold\":0.05"), 10, "evt.verify.unproven.v1",
	       "INSUFFICIENT_DATA");
}

static void a_row_that_is_not_a_number_is_unproven(void **state)
{
	(void)state;
	measured("urn:host:gw", "nan", 60, "'NaN'::float8");
	expect(METRIC("nan", "\"op\":\"<\",\"threshold\":0.05"), 10, "evt.verify.unproven.v1",
	       "INCONCLUSIVE");
}

static void a_query_that_fails_is_unproven(void **state)
{
	(void)state;
	measured("urn:host:gw", "locked", 60, "0.01");
	put("REVOKE SELECT ON metric_1m FROM opscase_worker");
	expect(METRIC("locked", "\"op\":\"<\",\"threshold\":0.05"), 11, "evt.verify.unproven.v1",
	       "SOURCE_ERROR");
	put("GRANT SELECT ON metric_1m TO opscase_worker");
}

static void another_tenants_numbers_prove_nothing(void **state)
{
	long long mine = tenant;

	(void)state;
	tenant = pgtemp_tenant(server, "other");
	measured("urn:host:gw", "theirs", 60, "0.01");
	tenant = mine;
	expect(METRIC("theirs", "\"op\":\"<\",\"threshold\":0.05"), 11, "evt.verify.unproven.v1",
	       "INSUFFICIENT_DATA");
}

static void the_window_is_waited_for(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL, *later = NULL;
	char id[UUID_TEXT];

	(void)state;
	/* the run has just ended: three seconds of window and one of delay are still to come */
	case_to_verify(
		id,
		"{\"checks\":[{\"kind\":\"metric\",\"resource\":\"urn:host:gw\",\"metric\":\"fresh\",\"aggregate\":\"max\","
		"\"op\":\"<=\",\"threshold\":1,\"window_s\":3}],\"deadline_s\":30}",
		0);
	put("INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, series_id, avg_val, max_val, min_val, p95_val, count, sum) "
	    "SELECT date_trunc('second', now()) + make_interval(secs => i), %lld, %lld, 'fresh', 77, 1, 1, 1, 1, 1, 1 "
	    "FROM generate_series(0, 9) AS i",
	    tenant, resource("urn:host:gw"));
	r = verify(id);
	assert_string_equal(pg_text(r, 0, 1), "PASS");
	later = ask(
		"SELECT v.created_at >= r.finished_at + interval '4 s', c.attempts FROM verdict v "
		"JOIN exec_run r ON r.id = v.run_id JOIN outbox c ON c.case_id = v.case_id AND c.kind = 'c' "
		"WHERE v.case_id = $1::uuid",
		id);
	assert_true(pg_bool(later, 0, 0));
	/* waiting is no failed attempt */
	assert_true(pg_int(later, 0, 1) <= 1);
}

static void a_ratio_looks_at_the_time_before_the_run(void **state)
{
	(void)state;
	/* 100 before, 20 after: the run began 31 and ended 30 seconds ago */
	measured("urn:host:gw", "lat", 28, "20");
	put("INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, series_id, avg_val, max_val, min_val, p95_val, count, sum) "
	    "SELECT date_trunc('second', now()) - make_interval(secs => i), %lld, %lld, 'lat', hashtext('lat'), 100, 100, 100, 100, 10, 1000 "
	    "FROM generate_series(32, 60) AS i",
	    tenant, resource("urn:host:gw"));
	expect(METRIC("lat", "\"op\":\"<=\",\"ratio_to_baseline\":0.5"), 28, "evt.verify.pass.v1", "PASS");
	expect(METRIC("lat", "\"op\":\"<=\",\"ratio_to_baseline\":0.1"), 28, "evt.verify.failed.v1", "FAIL");
}

static void calls_are_checked_like_metrics(void **state)
{
	long long src = resource("urn:host:gw"), dst = resource("urn:host:b");

	(void)state;
	put("INSERT INTO service_call_5m (bucket, tenant_id, src_resource_id, dst_resource_id, rps, err_rate, p50_ms, p95_ms, count) "
	    "SELECT date_trunc('second', now()) - make_interval(secs => i), %lld, %lld, %lld, 10, 0.0, 3, 9, 10 "
	    "FROM generate_series(0, 60) AS i",
	    tenant, src, dst);
	expect("{\"checks\":[{\"kind\":\"call\",\"src\":\"urn:host:gw\",\"dst\":\"urn:host:b\",\"field\":\"p95_ms\",\"aggregate\":\"max\","
	       "\"op\":\"<\",\"threshold\":10,\"window_s\":5,\"min_samples\":20}],\"deadline_s\":12}",
	       10, "evt.verify.pass.v1", "PASS");
}

static void the_adapters_word_is_asked_with_the_steps_own_key(void **state)
{
	(void)state;
	probe_says = PROBE_IN_PLACE;
	expect("{\"checks\":[{\"kind\":\"probe\",\"step\":0}],\"deadline_s\":12}", 2, "evt.verify.pass.v1",
	       "PASS");
	assert_string_equal(probe_key, "key-0 gateway.flip urn:host:gw");
	probe_says = PROBE_NOT_IN_PLACE;
	expect("{\"checks\":[{\"kind\":\"probe\",\"step\":0}],\"deadline_s\":12}", 2, "evt.verify.failed.v1",
	       "FAIL");
	probe_says = PROBE_NOT_ASKED;
	expect("{\"checks\":[{\"kind\":\"probe\",\"step\":0}],\"deadline_s\":12}", 11,
	       "evt.verify.unproven.v1", "SOURCE_ERROR");
	/* http has no way here: it is never silently fine */
	expect("{\"checks\":[{\"kind\":\"http\",\"url\":\"http://127.0.0.1:1/\"}],\"deadline_s\":12}", 11,
	       "evt.verify.unproven.v1", "SOURCE_ERROR");
}

/* ---- the analyst ---- */

static struct pg_result *analyse(const char *labels, const char *evidence)
{
	AUTO(analyst) struct analyst *a = analyst_new(&(struct analyst_config){ .threads = 1 }, pool);
	struct role role = analyst_role(a);
	char id[UUID_TEXT];

	uuid_new(id);
	put("INSERT INTO ops_case (id, tenant_id, tenant, title, status, epoch, opened_by) "
	    "VALUES ('%s', %lld, 'ten', 'x', 'ANALYZING', 2, 'me')",
	    id, tenant);
	put("INSERT INTO case_body (case_id, tenant_id, labels, evidence) VALUES ('%s', %lld, '%s', '%s')",
	    id, tenant, labels, evidence);
	put("WITH o AS (INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch) "
	    "VALUES (%lld, '%s', 'c', 'cmd.analysis.run', 'ten', 2) RETURNING id) "
	    "UPDATE ops_case SET cmd_id = o.id, cmd_topic = 'cmd.analysis.run' FROM o WHERE ops_case.id = '%s'",
	    tenant, id, id);
	run_role(&role, id);
	return ask("SELECT e.topic, f.summary, f.body::text, f.confidence FROM outbox e "
		   "LEFT JOIN finding f ON f.tenant_id = e.tenant_id AND f.id = e.product_id "
		   "WHERE e.case_id = $1::uuid AND e.kind = 'e'",
		   id);
}

static void the_named_evidence_is_gathered_with_its_values(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(json) json_t *body = NULL;

	(void)state;
	measured("urn:host:gw", "cpu", 60, "0.75");
	r = analyse("{}", "[{\"kind\":\"metric\",\"resource\":\"urn:host:gw\",\"metric\":\"cpu\"}]");
	assert_string_equal(pg_text(r, 0, 0), "evt.analysis.findings.v1");
	assert_int_equal(json_read_own(pg_text(r, 0, 2), &body, NULL), OC_OK);
	assert_true(json_number_value(json_at(body, "/values/cpu/avg")) == 0.75);
	assert_int_equal(json_integer_value(json_at(body, "/evidence/0/series/0/buckets")), 61);
	assert_true(pg_num(r, 0, 3) == 1);
}

static void a_case_that_names_nothing_gets_an_honest_finding(void **state)
{
	AUTO(pg_result) struct pg_result *r = analyse("{}", "[]");

	(void)state;
	assert_string_equal(pg_text(r, 0, 0), "evt.analysis.findings.v1");
	assert_non_null(strstr(pg_text(r, 0, 1), "no evidence named"));
	assert_true(pg_num(r, 0, 3) == 0);
}

static void the_resource_label_is_evidence_as_well(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;

	(void)state;
	measured("urn:host:labelled", "mem", 5, "3");
	r = analyse("{\"resource\":\"urn:host:labelled\"}", "[]");
	assert_non_null(strstr(pg_text(r, 0, 1), "mem at urn:host:labelled"));
}

static void a_source_that_cannot_be_asked_is_a_failed_analysis(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;

	(void)state;
	put("REVOKE SELECT ON metric_1m FROM opscase_worker");
	r = analyse("{\"resource\":\"urn:host:gw\"}", "[]");
	put("GRANT SELECT ON metric_1m TO opscase_worker");
	assert_string_equal(pg_text(r, 0, 0), "evt.analysis.failed.v1");
	assert_null(pg_text(r, 0, 1));
}

static int begin(void **state)
{
	(void)state;
	server = pgtemp_shared();
	db = pgtemp_open(server->super);
	pool = pg_pool_new(server->worker, "test", 4);
	tenant = pgtemp_tenant(server, "ten");
	return 0;
}

static int end(void **state)
{
	(void)state;
	pg_pool_free(pool);
	pg_close(db);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(measured_and_good_is_a_pass_with_the_values_seen),
		cmocka_unit_test(measured_and_bad_is_a_fail),
		cmocka_unit_test(nothing_measured_is_unproven_after_the_deadline),
		cmocka_unit_test(a_row_that_is_not_a_number_is_unproven),
		cmocka_unit_test(a_query_that_fails_is_unproven),
		cmocka_unit_test(another_tenants_numbers_prove_nothing),
		cmocka_unit_test(the_window_is_waited_for),
		cmocka_unit_test(a_ratio_looks_at_the_time_before_the_run),
		cmocka_unit_test(calls_are_checked_like_metrics),
		cmocka_unit_test(the_adapters_word_is_asked_with_the_steps_own_key),
		cmocka_unit_test(the_named_evidence_is_gathered_with_its_values),
		cmocka_unit_test(a_case_that_names_nothing_gets_an_honest_finding),
		cmocka_unit_test(the_resource_label_is_evidence_as_well),
		cmocka_unit_test(a_source_that_cannot_be_asked_is_a_failed_analysis),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
