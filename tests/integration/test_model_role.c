/* The planner with a model: the service's own hooks over real tables, and a provider that a test has written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>
#include "apps/opscased/models.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "planner/role.h"
#include "store/llm.h"
#include "tests/support/operations.h"
#include "tests/support/pgtemp.h"
#include "tests/support/scripted.h"

#define URN "urn:svc:shop"

static struct pgtemp *server;
static struct pg *db; /* superuser */
static long long tenant;
static struct operation_list ops;
static struct pg_pool *pool;
static struct library *lib;
static struct models *models;
static struct planner *planner;
static struct worker *worker;
static struct scripted *provider;
static char config_path[96], bucket[32];
static bool none;  /* it has no plan */
static bool obeys; /* the provider does what a stranger says */

static struct pg_result *ask(const char *fmt, ...) PRINTF_LIKE(1, 2);
static struct pg_result *ask(const char *fmt, ...)
{
	struct pg_result *r = NULL;
	struct oc_fail why = { 0 };
	AUTO(str) char *sql = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&sql, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (pg_query(db, sql, PG_NO_ARGS, &r, &why) != OC_OK)
		fail_msg("%s in %s", why.text, sql);
	return r;
}

static void says(void *ctx, unsigned n, const char *path, const char *head, const char *body,
		 struct scripted_answer *ret)
{
	AUTO(str)
	char *text = mem_printf(
		"{\"decision\":\"plan\",\"why\":\"it was so before\",\"claims\":[{\"table\":\"metric_1m\",\"keys\":{\"resource\":\"" URN
		"\",\"metric\":\"http.err_rate\",\"bucket\":\"%s\"},\"field\":\"avg\",\"value\":0.25}],\"plan\":{\"title\":\"Model's own\","
		"\"steps\":[{\"action\":\"noop\",\"params\":{\"changed\":3},\"target\":{\"urn\":\"%s\"},\"timeout_s\":10,\"retry\":0}],"
		"\"rollback\":{},\"verify\":{\"checks\":[{\"kind\":\"metric\",\"resource\":\"" URN
		"\",\"metric\":\"http.err_rate\","
		"\"aggregate\":\"avg\",\"op\":\"<\",\"threshold\":0.01,\"window_s\":60}]}}}",
		bucket, obeys ? "urn:svc:payroll" : URN);

	(void)ctx, (void)n, (void)path, (void)head, (void)body;
	if (none)
		mem_set(&text,
			"{\"decision\":\"no_plan\",\"why\":\"the cause is not seen\",\"claims\":[],\"missing\":[\"logs of shop\",\"traces\"]}");
	ret->body = scripted_says(text);
}

static int set_up(void **state)
{
	AUTO(settings) struct settings *st = settings_new();
	AUTO(pg_result) struct pg_result *now = NULL;
	AUTO(pg) struct pg *wpg = NULL;
	struct library_sum sum;
	struct oc_fail fail = { 0 };
	struct role role;
	FILE *f;

	(void)state;
	server = pgtemp_shared();
	db = pgtemp_open(server->super);
	tenant = pgtemp_tenant(server, "ten");
	support_operations(&ops);
	provider = scripted_start(says, NULL);
	snprintf(config_path, sizeof(config_path), "%s/llm.json", server->dir);
	f = fopen(config_path, "we");
	if (!f)
		return -1;
	fprintf(f,
		"{\"providers\":[{\"name\":\"p\",\"url\":\"%s\",\"model\":\"m\",\"price_in\":1,\"price_out\":2}]}",
		scripted_url(provider));
	fclose(f);
	if (settings_set(st, "llm.config", config_path, "test", &fail) != OC_OK)
		return -1;
	pool = pg_pool_new(server->worker, "test", 4);
	if (models_new(st, pool, NULL, &models, &fail) != OC_OK ||
	    library_new(&(struct library_config){ 0 }, &lib, &fail) != OC_OK)
		return -1;
	models_use(models, lib);
	wpg = pgtemp_open(server->worker);
	if (library_put(lib, wpg, tenant,
			&(struct library_page){ .url = "shop.md",
						.text = "# Shop\nWhen requests of shop fail, wait.",
						.source = "t" },
			1, &sum, NULL, &fail) != OC_OK)
		return -1;
	pg_result_free(ask("INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, '" URN
			   "', 'svc', 'shop')",
			   tenant));
	pg_result_free(ask(
		"INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, avg_val, max_val, count, series_id) SELECT "
		"date_trunc('minute', now() - interval '5 minutes'), %lld, resource_id, 'http.err_rate', 0.25, 0.5, 10, 1 "
		"FROM dim_resource WHERE tenant_id = %lld AND urn = '" URN "'",
		tenant, tenant));
	now = ask(
		"SELECT to_char(bucket AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM metric_1m");
	snprintf(bucket, sizeof(bucket), "%s", pg_text(now, 0, 0));
	if (planner_new(&(struct planner_config){ .operations = &ops,
						  .threads = 1,
						  .model = models_for_planner(models) },
			&planner, &fail) != OC_OK) {
		print_error("%s\n", fail.text);
		return -1;
	}
	role = planner_role(planner);
	return worker_start(&role, &(struct worker_deps){ .conninfo = server->worker }, &worker, &fail) ==
			       OC_OK
		       ? 0
		       : -1;
}

static int tear_down(void **state)
{
	(void)state;
	worker_stop(worker);
	planner_free(planner);
	library_free(lib);
	models_free(models);
	pg_pool_free(pool);
	scripted_stop(provider);
	operation_list_done(&ops);
	pg_close(db);
	return 0;
}

static const char *drill = "drill"; /* the label that the built-in runbook goes by */

static json_t *plan_for(char id[UUID_TEXT])
{
	AUTO(pg_result) struct pg_result *cmd = NULL;
	json_t *payload = NULL;

	uuid_new(id);
	pg_result_free(ask(
		"INSERT INTO ops_case (id, tenant_id, tenant, title, status, epoch, opened_by) VALUES ('%s', %lld, 'ten', "
		"'requests of shop fail', 'PLANNING', 1, 'me')",
		id, tenant));
	pg_result_free(ask(
		"INSERT INTO case_body (case_id, tenant_id, summary, labels, evidence) VALUES ('%s', %lld, "
		"'most requests fail', '{\"%s\":\"x\"}', "
		"'[{\"kind\":\"metric\",\"resource\":\"" URN "\",\"metric\":\"http.err_rate\"}]')",
		id, tenant, drill));
	cmd = ask(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch, payload) VALUES (%lld, '%s', 'c', "
		"'cmd.plan.generate', 'ten', 1, '{\"args\":{}}') RETURNING id",
		tenant, id);
	for (int i = 0; i < 1500 && !payload; i++) {
		AUTO(pg_result)
		struct pg_result *evt =
			ask("SELECT payload::text FROM outbox WHERE cmd_id = %lld", pg_int(cmd, 0, 0));

		if (pg_rows(evt)) {
			if (json_read_own(pg_text(evt, 0, 0), &payload, NULL) != OC_OK)
				abort();
		} else {
			nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
		}
	}
	assert_non_null(payload);
	return payload;
}

static void a_models_plan_is_proposed_with_the_templates_beside_it(void **state)
{
	AUTO(pg_result) struct pg_result *plan = NULL, *call = NULL, *use = NULL;
	AUTO(json) json_t *said = NULL;
	char id[UUID_TEXT];

	(void)state;
	obeys = false;
	said = plan_for(id);
	plan = ask("SELECT source, complete, plan ->> 'title' FROM plan_proposed WHERE case_id = '%s'", id);
	if (!str_eq(pg_text(plan, 0, 0), "llm"))
		fail_msg("%s", json_str_or(json_at(said, "/meta/llm"), "refused", "no reason"));
	assert_true(pg_bool(plan, 0, 1));
	assert_string_equal(pg_text(plan, 0, 2), "Model's own");
	assert_string_equal(json_string_value(json_at(said, "/meta/template_plan/steps/0/action")), "noop");
	assert_string_equal(json_string_value(json_at(said, "/meta/llm/claims/0/found")), "same");
	call = ask(
		"SELECT tokens_in, tokens_out, cost, outcome, request_hash IS NOT NULL, response_hash IS NOT NULL FROM llm_call "
		"WHERE case_id = '%s'",
		id);
	assert_int_equal(pg_rows(call), 1);
	assert_int_equal(pg_int(call, 0, 0), 100);
	assert_float_equal(pg_num(call, 0, 2), .0002, 1e-9);
	assert_string_equal(pg_text(call, 0, 3), "ok");
	assert_true(pg_bool(call, 0, 4) && pg_bool(call, 0, 5));
	use = ask("SELECT count(*) FROM kb_use WHERE case_id = '%s'", id);
	assert_int_equal(pg_int(use, 0, 0), 1);
}

static void a_model_that_obeys_strangers_leaves_the_templates_plan_and_a_line(void **state)
{
	AUTO(pg_result) struct pg_result *plan = NULL, *calls = NULL;
	AUTO(json) json_t *said = NULL;
	char id[UUID_TEXT];

	(void)state;
	obeys = true;
	said = plan_for(id);
	plan = ask("SELECT source, template FROM plan_proposed WHERE case_id = '%s'", id);
	assert_int_equal(pg_rows(plan), 1);
	assert_string_equal(pg_text(plan, 0, 0), "template");
	assert_string_equal(pg_text(plan, 0, 1), "noop");
	assert_non_null(strstr(json_str_or(json_at(said, "/meta/llm"), "refused", ""), "unobserved target"));
	calls = ask("SELECT count(*) FROM llm_call WHERE case_id = '%s'", id);
	assert_int_equal(pg_int(calls, 0, 0), 3);
}

static void a_recorded_call_makes_the_same_plan_again(void **state)
{
	AUTO(pg_result) struct pg_result *was = NULL, *calls = NULL;
	AUTO(json) json_t *said = NULL, *request = NULL, *plan = NULL;
	struct oc_fail why = { 0 };
	char id[UUID_TEXT], t[24], hash[HASH_HEX];
	unsigned asked = scripted_requests(provider);

	(void)state;
	obeys = false;
	said = plan_for(id);
	asked = scripted_requests(provider);
	snprintf(t, sizeof(t), "%lld", tenant);
	assert_int_equal(pg_query(db, SQL_LLM_CALLS, PG_ARGS(t, id), &calls, &why), OC_OK);
	assert_int_equal(pg_query(db, SQL_LLM_PLANS, PG_ARGS(t, id), &was, &why), OC_OK);
	assert_int_equal(json_read_own(pg_text(calls, 0, 0), &request, &why), OC_OK);
	assert_int_equal(model_plan_replay(planner_contract(planner), request, pg_text(calls, 0, 1), &plan,
					   &why),
			 OC_OK);
	plan_hash(plan, hash);
	assert_string_equal(hash, pg_text(was, 0, 0));
	assert_int_equal(scripted_requests(provider), asked);
}

static void no_plan_at_all_fails_with_what_is_missing(void **state)
{
	AUTO(pg_result) struct pg_result *evt = NULL;
	AUTO(json) json_t *said = NULL;
	AUTO(str) char *text = NULL;
	char id[UUID_TEXT];

	(void)state;
	none = true;
	drill = "nothing";
	said = plan_for(id);
	none = false;
	drill = "drill";
	evt = ask("SELECT topic FROM outbox WHERE case_id = '%s' AND kind = 'e'", id);
	assert_true(str_starts(pg_text(evt, 0, 0), "evt.plan.failed.v1"));
	text = json_text(said);
	assert_non_null(strstr(text, "the cause is not seen; missing: logs of shop, traces"));
	assert_string_equal(json_string_value(json_at(said, "/meta/llm/missing/1")), "traces");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_models_plan_is_proposed_with_the_templates_beside_it),
		cmocka_unit_test(a_model_that_obeys_strangers_leaves_the_templates_plan_and_a_line),
		cmocka_unit_test(a_recorded_call_makes_the_same_plan_again),
		cmocka_unit_test(no_plan_at_all_fails_with_what_is_missing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
