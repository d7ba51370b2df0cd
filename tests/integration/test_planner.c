/* The planner against real tables, driven by the worker's own harness without a bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/uuid.h"
#include "planner/role.h"
#include "tests/support/operations.h"
#include "tests/support/pgtemp.h"

static struct pgtemp *server;
static struct pg *db; /* superuser */
static long long tenant;
static struct operation_list ops;
static struct planner *planner;
static struct worker *worker;

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

static void put(const char *sql_text)
{
	pg_result_free(ask("%s", sql_text));
}
#define PUT(...)                                                \
	do {                                                    \
		AUTO(str) char *sql_ = mem_printf(__VA_ARGS__); \
		put(sql_);                                      \
	} while (0)

static bool permits(void *ctx, const char *need, const char *code)
{
	(void)ctx, (void)code;
	return !str_eq(need, "script_body");
}

static int set_up(void **state)
{
	struct oc_fail fail = { 0 };
	struct role role;

	(void)state;
	server = pgtemp_shared();
	db = pgtemp_open(server->super);
	tenant = pgtemp_tenant(server, "ten");
	support_operations(&ops);
	if (planner_new(&(struct planner_config){ .operations = &ops, .permits = permits, .threads = 1 },
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
	operation_list_done(&ops);
	pg_close(db);
	return 0;
}

/* A case in PLANNING. */
static void a_case(char id[UUID_TEXT], const char *labels, const char *params, const char *template)
{
	uuid_new(id);
	PUT("INSERT INTO ops_case (id, tenant_id, tenant, title, status, epoch, opened_by) VALUES ('%s', %lld, 'ten', 'p95 spike', "
	    "'PLANNING', 1, 'me')",
	    id, tenant);
	PUT("INSERT INTO case_body (case_id, tenant_id, labels, params, template) VALUES ('%s', %lld, '%s', '%s', %s)",
	    id, tenant, labels, params, template);
}

struct said {
	char topic[64], product[40];
	json_t *payload, *plan;
	char kind[16], source[16], fingerprint[HASH_HEX], template[64], by[64];
	bool complete;
	int revision;
};
static void said_done(struct said *s)
{
	json_decref(s->payload);
	json_decref(s->plan);
}
#define SAID __attribute__((cleanup(said_done))) struct said

/* Asks, waits for the answer, and brings the plan's row along (the newest one). */
static struct said plan_for(const char *id, const char *args)
{
	AUTO(pg_result) struct pg_result *cmd = NULL, *plan = NULL;
	struct said s = { 0 };

	cmd = ask(
		"INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch, payload) SELECT %lld, '%s', 'c', "
		"'cmd.plan.generate', 'ten', epoch, json_build_object('args', $args$%s$args$::json, 'actor', 'ann') FROM ops_case "
		"WHERE id = '%s' RETURNING id",
		tenant, id, args, id);
	for (int i = 0; i < 300 && !s.topic[0]; i++) {
		AUTO(pg_result)
		struct pg_result *evt =
			ask("SELECT topic, product_id, payload::text FROM outbox WHERE cmd_id = %lld",
			    pg_int(cmd, 0, 0));

		if (pg_rows(evt)) {
			snprintf(s.topic, sizeof(s.topic), "%s", pg_text(evt, 0, 0));
			snprintf(s.product, sizeof(s.product), "%s", pg_text_or(evt, 0, 1, ""));
			if (json_read_own(pg_text(evt, 0, 2), &s.payload, NULL) != OC_OK)
				abort();
		} else {
			nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
		}
	}
	assert_true(s.topic[0]);
	plan = ask(
		"SELECT plan_text, kind, source, fingerprint, coalesce(template, ''), created_by, complete, revision FROM plan_proposed "
		"WHERE case_id = '%s' ORDER BY revision DESC LIMIT 1",
		id);
	if (pg_rows(plan)) {
		if (json_read_own(pg_text(plan, 0, 0), &s.plan, NULL) != OC_OK)
			abort();
		snprintf(s.kind, sizeof(s.kind), "%s", pg_text(plan, 0, 1));
		snprintf(s.source, sizeof(s.source), "%s", pg_text(plan, 0, 2));
		snprintf(s.fingerprint, sizeof(s.fingerprint), "%s", pg_text(plan, 0, 3));
		snprintf(s.template, sizeof(s.template), "%s", pg_text(plan, 0, 4));
		snprintf(s.by, sizeof(s.by), "%s", pg_text(plan, 0, 5));
		s.complete = pg_bool(plan, 0, 6);
		s.revision = (int)pg_int(plan, 0, 7);
	}
	return s;
}

static const char *reason(const struct said *s)
{
	return json_str_or(s->payload, "reason", "");
}

static void adopt(const char *id, const struct said *s)
{
	PUT("UPDATE ops_case SET plan_id = '%s', plan_kind = '%s' WHERE id = '%s'", s->product, s->kind, id);
}

static void a_runbook_asked_for_is_filled_and_proposed(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	a_case(id, "{\"drill\":\"x\"}", "{}", "NULL");
	{
		SAID s = plan_for(id, "{\"template\":\"noop\",\"params\":{\"changed\":7}}");
		AUTO(pg_result) struct pg_result *row = NULL;

		assert_string_equal(s.topic, "evt.plan.proposed.v1");
		assert_true(s.complete && s.revision == 1);
		assert_string_equal(s.kind, "forward");
		assert_string_equal(s.source, "template");
		assert_string_equal(s.template, "noop");
		assert_int_equal(json_int_or(json_at(s.plan, "/steps/0/params"), "changed", -1), 7);
		assert_string_equal(json_str(json_at(s.payload, "/meta/filled/changed"), "from"), "request");
		row = ask(
			"SELECT hash = encode(sha256(convert_to(plan_text, 'UTF8')), 'hex'), plan = plan_text::jsonb, exec_budget_s > 0 "
			"AND verify_budget_s > 0, epoch, id FROM plan_proposed WHERE case_id = '%s'",
			id);
		assert_true(pg_bool(row, 0, 0) && pg_bool(row, 0, 1) && pg_bool(row, 0, 2));
		assert_int_equal(pg_int(row, 0, 3), 1);
		assert_string_equal(pg_text(row, 0, 4), s.product);
	}
	{
		SAID again = plan_for(id, "{}"); /* chosen by the label */

		assert_string_equal(again.topic, "evt.plan.proposed.v1");
		assert_string_equal(again.template, "noop");
		assert_int_equal(again.revision, 2);
	}
}

static void the_cases_wish_labels_and_the_tenants_defaults_fill_the_blanks(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	PUT("UPDATE dim_tenant SET labels = '{\"defaults\":{\"container\":\"app\",\"limit\":9}}' WHERE tenant_id = %lld",
	    tenant);
	a_case(id, "{\"namespace\":\"shop\",\"service\":\"cart\"}", "{\"image\":\"cart:2\"}",
	       "'k8s.rollout.canary'");
	PUT("INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body) VALUES (gen_random_uuid(), %lld, '%s', 1, 'x', "
	    "'{\"evidence\":[{\"kind\":\"metric\",\"resource\":\"urn:k8s:svc:shop/cart\",\"metric\":\"p95\"}]}')",
	    tenant, id);
	{
		SAID s = plan_for(id, "{}");

		assert_string_equal(s.topic, "evt.plan.proposed.v1");
		assert_string_equal(s.template, "k8s.rollout.canary");
		assert_string_equal(json_str(json_at(s.plan, "/steps/0/params"), "container"), "app");
		assert_string_equal(json_str(json_at(s.plan, "/verify/checks/1"), "resource"),
				    "urn:k8s:svc:shop/cart");
		assert_string_equal(json_str(json_at(s.payload, "/meta/filled/limit"), "from"), "tenant");
	}
}

static void what_is_missing_is_named_in_the_failure(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	a_case(id, "{}", "{}", "NULL");
	{
		SAID s = plan_for(id, "{\"template\":\"gateway.flip\",\"params\":{\"gateway\":\"edge\"}}");

		assert_string_equal(s.topic, "evt.plan.failed.v1");
		assert_string_equal(s.product, "");
		assert_null(s.plan);
		assert_non_null(strstr(reason(&s), "upstream: no value"));
		assert_non_null(strstr(reason(&s), "to: no value"));
		assert_int_equal(json_array_size(json_at(s.payload, "/meta/missing")), 3);
	}
	{
		SAID s = plan_for(id, "{\"template\":\"nope\"}");

		assert_string_equal(s.topic, "evt.plan.failed.v1");
		assert_non_null(strstr(reason(&s), "there is no runbook 'nope'; there are: gateway.flip, "));
	}
	{
		SAID s = plan_for(id, "{}");

		assert_string_equal(s.topic, "evt.plan.failed.v1");
		assert_non_null(strstr(reason(&s), "no runbook fits"));
	}
}

#define NOOP_PLAN(step)                                  \
	"{\"plan\":{\"title\":\"mine\",\"steps\":[" step \
	"],\"rollback\":{},\"verify\":{\"checks\":[{\"kind\":\"probe\",\"step\":0}]}}}"

static void a_persons_revision_is_linted_like_any_other(void **state)
{
	char id[UUID_TEXT];

	(void)state;
	a_case(id, "{}", "{}", "NULL");
	{
		SAID s = plan_for(id, NOOP_PLAN("{\"action\":\"noop\",\"timeout_s\":10,\"retry\":0}"));

		assert_string_equal(s.topic, "evt.plan.proposed.v1");
		assert_string_equal(s.source, "person");
		assert_string_equal(s.by, "ann");
	}
	{
		SAID s = plan_for(id, NOOP_PLAN("{\"action\":\"nooop\",\"timeout_s\":10,\"retry\":0}"));

		assert_string_equal(s.topic, "evt.plan.failed.v1");
		assert_false(s.complete);
		assert_string_equal(json_str(json_at(s.payload, "/meta/findings/0"), "pointer"),
				    "/steps/0/action");
	}
	{
		SAID s = plan_for(
			id,
			NOOP_PLAN(
				"{\"action\":\"script.exec\",\"params\":{\"script\":\"echo ok\",\"undo\":{\"argv\":[\"true\"]}},"
				"\"timeout_s\":10,\"retry\":0}"));

		assert_string_equal(s.topic, "evt.plan.failed.v1");
		assert_non_null(strstr(reason(&s), "does not permit 'script_body'"));
	}
	{
		SAID s = plan_for(id, "{\"plan\":[7]}");

		assert_string_equal(s.topic, "evt.plan.failed.v1");
	}
}

static void other_steps_keep_the_rest_of_the_plan(void **state)
{
	static const char step[] = "{\"action\":\"noop\",\"timeout_s\":10,\"retry\":0}";
	char id[UUID_TEXT];

	(void)state;
	a_case(id, "{}", "{}", "NULL");
	SAID plan = plan_for(
		id,
		"{\"plan\":{\"title\":\"mine\",\"steps\":[{\"action\":\"noop\",\"timeout_s\":10,\"retry\":0},{\"action\":"
		"\"noop\",\"timeout_s\":10,\"retry\":0}],\"rollback\":{},\"verify\":{\"checks\":[{\"kind\":\"probe\",\"step\":1},"
		"{\"kind\":\"http\",\"url\":\"http://x/\"}]}}}");
	adopt(id, &plan);
	{
		AUTO(str) char *args = mem_printf("{\"steps\":[%s]}", step);
		SAID s = plan_for(id, args);

		assert_string_equal(s.topic, "evt.plan.proposed.v1");
		assert_string_equal(s.source, "person");
		assert_string_equal(json_str(s.plan, "title"), "mine");
		assert_int_equal(json_array_size(json_at(s.plan, "/steps")), 1);
		assert_int_equal(json_array_size(json_at(s.plan, "/verify/checks")), 1);
		assert_string_equal(json_str(json_at(s.plan, "/verify/checks/0"), "kind"), "http");
	}
	{
		AUTO(str)
		char *args = mem_printf(
			"{\"steps\":[%s],\"verify\":{\"checks\":[{\"kind\":\"probe\",\"step\":0}]}}", step);
		SAID s = plan_for(id, args);

		assert_string_equal(json_str(json_at(s.plan, "/verify/checks/0"), "kind"), "probe");
	}
}

/* A run of the case's plan in which these steps were tried, in order. */
static void ran(const char *id, const struct said *s, int epoch, const char *const (*steps)[4], size_t count)
{
	char run[UUID_TEXT];

	uuid_new(run);
	PUT("INSERT INTO exec_run (id, tenant_id, case_id, plan_id, decision_id, cmd_id, epoch, status, steps_total, finished_at) VALUES ('%s', "
	    "%lld, '%s', '%s', '%s', 1, %d, 'failed', 3, now())",
	    run, tenant, id, s->product, run, epoch);
	for (size_t i = 0; i < count; i++)
		PUT("INSERT INTO exec_step (tenant_id, run_id, case_id, seq, attempt, action, target, params, idempotency_key, status, epoch, "
		    "lease_token, before, finished_at) VALUES (%lld, '%s', '%s', %s, %s, 'k8s.rollout', 'urn:x:y', '{\"n\":%s}', 'k', '%s', %d, "
		    "'%s', %s, now())",
		    tenant, run, id, steps[i][0], steps[i][1], steps[i][0], steps[i][2], epoch, run,
		    steps[i][3]);
}

static void a_rollback_takes_back_what_was_applied_with_what_was_there_before_the_first_try(void **state)
{
	static const char *const first[][4] = {
		{ "0", "1", "succeeded",   "'{\"info\":{\"replicas\":3}}'" },
		{ "1", "1", "failed",      "'{\"info\":{\"weight\":0}}'"   },
		{ "1", "2", "failed",      "'{\"info\":{\"weight\":10}}'"  },
		{ "2", "1", "not_applied", "'{\"info\":{}}'"               },
	};
	static const char *const second[][4] = {
		{ "0", "1", "succeeded", "'{\"info\":{\"replicas\":5}}'" }
	};
	char id[UUID_TEXT];

	(void)state;
	a_case(id,
	       "{\"namespace\":\"shop\",\"service\":\"cart\",\"resource\":\"urn:k8s:svc:shop/cart\",\"container\":\"app\"}",
	       "{\"image\":\"cart:2\"}", "'k8s.rollout.canary'");
	{
		SAID none = plan_for(id, "{\"mode\":\"rollback\"}");

		assert_string_equal(none.topic, "evt.plan.failed.v1");
		assert_non_null(strstr(reason(&none), "no plan yet"));
	}
	SAID plan = plan_for(id, "{}");
	adopt(id, &plan);
	{
		SAID nothing = plan_for(id, "{\"mode\":\"rollback\"}");

		assert_string_equal(nothing.topic, "evt.plan.failed.v1");
		assert_non_null(strstr(reason(&nothing), "nothing of the plan was applied"));
	}
	ran(id, &plan, 5, first, ARRAY_LEN(first));
	ran(id, &plan, 6, second, ARRAY_LEN(second));
	{
		SAID back = plan_for(id, "{\"mode\":\"rollback\"}");
		AUTO(pg_result) struct pg_result *of = NULL;

		if (!str_eq(back.topic, "evt.plan.proposed.v1"))
			fail_msg("%s", reason(&back));
		assert_string_equal(back.kind, "rollback");
		assert_string_equal(back.source, "derived");
		assert_int_equal(json_array_size(json_at(back.plan, "/steps")), 2);
		assert_int_equal(json_int_or(json_at(back.plan, "/steps/0"), "undo_of", -1), 1);
		assert_int_equal(json_int_or(json_at(back.plan, "/steps/0/before"), "weight", -1), 0);
		assert_int_equal(json_int_or(json_at(back.plan, "/steps/1/before"), "replicas", -1), 3);
		of = ask("SELECT rollback_of FROM plan_proposed WHERE id = '%s'", back.product);
		assert_string_equal(pg_text(of, 0, 0), plan.product);
		/* and a rollback that failed may be tried once more as it is */
		adopt(id, &back);
		{
			SAID again = plan_for(id, "{\"mode\":\"retry\"}");

			assert_string_equal(again.topic, "evt.plan.proposed.v1");
			assert_string_equal(again.kind, "rollback");
			assert_true(json_equal(again.plan, back.plan));
		}
		{
			SAID twice = plan_for(id, "{\"mode\":\"rollback\"}");

			assert_string_equal(twice.topic, "evt.plan.failed.v1");
			assert_non_null(strstr(reason(&twice), "a rollback itself"));
		}
	}
}

static void a_plan_that_did_not_help_is_refused_until_the_evidence_changed(void **state)
{
	static const char finding[] =
		"INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body, created_at) VALUES (gen_random_uuid(), "
		"%lld, '%s', 1, 'x', '%s', now())";
	char id[UUID_TEXT];

	(void)state;
	a_case(id, "{\"drill\":\"x\"}", "{}", "NULL");
	PUT(finding, tenant, id, "{\"values\":{\"a\":1}}");
	SAID plan = plan_for(id, "{}");
	adopt(id, &plan);
	{
		SAID retry = plan_for(id, "{\"mode\":\"retry\"}"); /* it has not failed */

		assert_string_equal(retry.topic, "evt.plan.proposed.v1");
	}
	PUT("UPDATE ops_case SET failed_plans = ARRAY['%s'] WHERE id = '%s'", plan.fingerprint, id);
	for (size_t i = 0; i < 2; i++) {
		SAID same = plan_for(id, i ? "{\"mode\":\"retry\"}" : "{}");

		assert_string_equal(same.topic, "evt.plan.failed.v1");
		assert_non_null(strstr(reason(&same), "did not help"));
	}
	{
		SAID other = plan_for(id, "{\"params\":{\"changed\":1}}");

		assert_string_equal(other.topic, "evt.plan.proposed.v1");
	}
	PUT(finding, tenant, id, "{\"values\":{\"a\":2}}");
	{
		SAID fresh = plan_for(id, "{}");

		assert_string_equal(fresh.topic, "evt.plan.proposed.v1");
	}
}

static void another_tenants_case_is_not_seen(void **state)
{
	long long other = pgtemp_tenant(server, "other");
	AUTO(pg_result) struct pg_result *r = NULL;
	char id[UUID_TEXT];

	(void)state;
	a_case(id, "{\"drill\":\"x\"}", "{}", "NULL");
	PUT("INSERT INTO outbox (tenant_id, case_id, kind, topic, key, epoch, max_attempts) VALUES (%lld, '%s', 'c', 'cmd.plan.generate', "
	    "'other', 1, 1)",
	    other, id);
	for (int i = 0; i < 300; i++) {
		pg_result_free(r);
		r = ask("SELECT attempts FROM outbox WHERE tenant_id = %lld AND case_id = '%s'", other, id);
		if (pg_int(r, 0, 0) > 0)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	assert_int_equal(pg_int(r, 0, 0), 1);
	pg_result_free(r);
	r = ask("SELECT 1 FROM plan_proposed WHERE case_id = '%s'", id);
	assert_int_equal(pg_rows(r), 0);
}

static void the_api_asks_before_anything_is_written(void **state)
{
	AUTO(json)
	json_t *plan = json_pack("{s:s,s:[{s:s,s:{s:s},s:i,s:i}],s:{s:s},s:{s:[{s:s,s:i}]}}", "title", "x",
				 "steps", "action", "script.exec", "params", "script", "echo ok", "timeout_s",
				 10, "retry", 0, "rollback", "none", "it only prints", "verify", "checks",
				 "kind", "probe", "step", 0);
	AUTO(json) json_t *errors = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	assert_non_null(plan);
	assert_int_equal(planner_lint_revision(planner, "ten", plan, &errors, &fail), OC_INVALID);
	assert_string_equal(fail.field, "/steps/0/params/script");
	assert_int_equal(json_array_size(errors), 1);
	json_object_set_new(json_at(plan, "/steps/0"), "params",
			    json_pack("{s:[s,s]}", "argv", "echo", "ok"));
	assert_int_equal(planner_lint_revision(planner, "ten", plan, NULL, &fail), OC_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_runbook_asked_for_is_filled_and_proposed),
		cmocka_unit_test(the_cases_wish_labels_and_the_tenants_defaults_fill_the_blanks),
		cmocka_unit_test(what_is_missing_is_named_in_the_failure),
		cmocka_unit_test(a_persons_revision_is_linted_like_any_other),
		cmocka_unit_test(other_steps_keep_the_rest_of_the_plan),
		cmocka_unit_test(
			a_rollback_takes_back_what_was_applied_with_what_was_there_before_the_first_try),
		cmocka_unit_test(a_plan_that_did_not_help_is_refused_until_the_evidence_changed),
		cmocka_unit_test(another_tenants_case_is_not_seen),
		cmocka_unit_test(the_api_asks_before_anything_is_written),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
