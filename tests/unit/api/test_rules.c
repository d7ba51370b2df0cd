/* The pure rules of the API: routes, entity tags, preferences, traces, cursors, request bodies, revisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "api/call.h"
#include "api/revision.h"
#include "base/mem.h"

static void a_fixed_path_wins_over_a_pattern(void **state)
{
	char id[64];
	const struct route *r = route_find(POST, "/case/create", id);

	(void)state;
	assert_non_null(r);
	assert_string_equal(r->path, "/case/create");
	assert_string_equal(id, "");
	r = route_find(GET, "/case/0190-x/timeline", id);
	assert_non_null(r);
	assert_string_equal(r->path, "/case/{id}/timeline");
	assert_string_equal(id, "0190-x");
	assert_null(route_find(GET, "/case//timeline", id));
	assert_null(route_find(GET, "/case/x/timeline/", id));
	assert_null(route_find(GET, "/cas", id));
	assert_null(route_find(GET, "", id));
}

static void a_path_with_other_methods_says_which(void **state)
{
	AUTO(text) struct text a = { 0 };
	AUTO(text) struct text b = { 0 };
	AUTO(text) struct text c = { 0 };

	(void)state;
	assert_true(route_allow("/case/create", &a));
	assert_string_equal(text_str(&a), "POST, OPTIONS");
	assert_true(route_allow("/token", &b));
	assert_string_equal(text_str(&b), "GET, HEAD, POST, OPTIONS");
	assert_false(route_allow("/nothing", &c));
}

static void every_write_honours_a_key_and_no_read_has_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < route_count; i++) {
		if (routes[i].method == GET)
			assert_int_equal(routes[i].key, KEY_NONE);
		else if (!routes[i].raw)
			assert_true(routes[i].key != KEY_NONE);
		if (routes[i].method == PATCH)
			assert_int_equal(routes[i].key, KEY_REQUIRED);
	}
}

static void only_pages_about_the_service_itself_are_open_to_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < route_count; i++)
		if (routes[i].roles == MAY_ALL)
			assert_int_equal(routes[i].tenant, NO_TENANT);
	assert_false(route_may(MAY_OPERATE, ROLE_VIEWER));
	assert_false(route_may(MAY_OPERATE, ROLE_APPROVER));
	assert_false(route_may(MAY_APPROVE, ROLE_VIEWER));
	assert_false(route_may(MAY_APPROVE, ROLE_SERVICE));
	assert_false(route_may(MAY_ADMIN, ROLE_OPERATOR));
	assert_true(route_may(MAY_READ, ROLE_VIEWER));
	assert_false(route_may(MAY_READ, ROLE_COUNT));
}

static void entity_tags_are_versions(void **state)
{
	(void)state;
	assert_true(etag_matches("\"3\"", 3));
	assert_true(etag_matches("W/\"3\"", 3));
	assert_true(etag_matches("\"1\", \"3\"", 3));
	assert_true(etag_matches("*", 3));
	assert_true(etag_matches("3", 3));
	assert_false(etag_matches("\"33\"", 3));
	assert_false(etag_matches("\"3", 3));
	assert_false(etag_matches("", 3));
	assert_false(etag_matches(NULL, 3));
	assert_false(etag_matches("\"99999999999999999999\"", 3));
}

static void a_wait_is_from_0_to_120_seconds(void **state)
{
	(void)state;
	assert_int_equal(prefer_wait(NULL, 30), 30);
	assert_int_equal(prefer_wait("wait=5", 30), 5);
	assert_int_equal(prefer_wait("handling=strict, wait=7", 30), 7);
	assert_int_equal(prefer_wait("wait=0", 30), 0);
	assert_int_equal(prefer_wait("wait=9999", 30), 120);
	assert_int_equal(prefer_wait("wait=99999999999999999", 30), 120);
	assert_int_equal(prefer_wait("wait=x", 30), 30);
	assert_int_equal(prefer_wait("respond-async", 30), 0);
	assert_int_equal(prefer_wait("respond-async, wait=10", 30), 10);
	assert_int_equal(prefer_wait(",;,;  ,", 30), 30);
}

static void a_trace_is_taken_over_only_when_it_is_one(void **state)
{
	char id[33];

	(void)state;
	assert_true(trace_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", id));
	assert_string_equal(id, "0af7651916cd43dd8448eb211c80319c");
	assert_false(trace_parse("00-00000000000000000000000000000000-b7ad6b7169203331-01", id));
	assert_false(trace_parse("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", id));
	assert_false(trace_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", id));
	assert_false(trace_parse("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", id));
	assert_false(trace_parse("", id));
	assert_false(trace_parse(NULL, id));
}

static void a_cursor_comes_back_as_it_left_and_serves_its_own_list_only(void **state)
{
	AUTO(str) char *c = cursor_make("case", 1234567890123456LL, "0190f0a0-0000-7000-8000-000000000001");
	AUTO(str) char *t = cursor_make("timeline", 7, NULL);
	struct oc_fail fail;
	long long n = 0;
	char id[64];

	(void)state;
	assert_int_equal(cursor_read(c, "case", &n, id, &fail), OC_OK);
	assert_int_equal(n, 1234567890123456LL);
	assert_string_equal(id, "0190f0a0-0000-7000-8000-000000000001");
	assert_int_equal(cursor_read(t, "timeline", &n, id, &fail), OC_OK);
	assert_int_equal(cursor_read(t, "case", &n, id, &fail), OC_BAD_REQUEST);
	assert_int_equal(cursor_read("", "case", &n, id, &fail), OC_BAD_REQUEST);
	assert_int_equal(cursor_read("zz", "case", &n, id, &fail), OC_BAD_REQUEST);
	assert_int_equal(cursor_read("636173653a313a27", "case", &n, id, &fail), OC_BAD_REQUEST);
	assert_int_equal(cursor_read("636173653a2d313a", "case", &n, id, &fail), OC_BAD_REQUEST);
}

static void what_the_next_try_may_mend_is_not_kept_under_a_key(void **state)
{
	(void)state;
	assert_true(idempotency_keeps(200));
	assert_true(idempotency_keeps(202));
	assert_true(idempotency_keeps(409));
	assert_true(idempotency_keeps(422));
	assert_false(idempotency_keeps(412));
	assert_false(idempotency_keeps(429));
	assert_false(idempotency_keeps(500));
	assert_false(idempotency_keeps(503));
	assert_true(idempotency_key_ok("a1"));
	assert_false(idempotency_key_ok(""));
	assert_false(idempotency_key_ok("a b"));
}

static size_t faults(const struct field_table *t, const char *body, char *first, size_t size)
{
	AUTO(json) json_t *v = json_loads(body, 0, NULL);
	AUTO(json) json_t *errors = json_array();

	assert_non_null(v);
	(void)fields_check(t, v, errors);
	if (first)
		snprintf(first, size, "%s %s", json_str_or(json_array_get(errors, 0), "pointer", ""),
			 json_str_or(json_array_get(errors, 0), "text", ""));
	return json_array_size(errors);
}

static void a_wrong_body_gets_a_pointer_for_each_fault(void **state)
{
	char first[200];

	(void)state;
	assert_int_equal(faults(&fields_case_create, "{\"title\":\"p95 spike\",\"tenant\":\"t-001\"}", NULL,
				0),
			 0);
	assert_int_equal(faults(&fields_case_create, "{}", first, sizeof(first)), 1);
	assert_string_equal(first, "/title is missing");
	assert_int_equal(faults(&fields_case_create, "{\"title\":5,\"labels\":[],\"drive\":\"fast\"}", NULL,
				0),
			 3);
	assert_int_equal(faults(&fields_case_create, "{\"title\":\"x\",\"a/b~c\":1}", first, sizeof(first)),
			 1);
	assert_string_equal(first, "/a~1b~0c is not known here");
	assert_int_equal(faults(&fields_case_transition, "{\"event\":\"x\",\"expected_verison\":3}", first,
				sizeof(first)),
			 1);
	assert_int_equal(faults(&fields_case_transition, "{\"event\":\"x\",\"expected_version\":3.5}", first,
				sizeof(first)),
			 1);
	assert_string_equal(first, "/expected_version must be an integer");
	assert_int_equal(faults(&fields_plan_generate, "{\"case_id\":\"'; DROP TABLE ops_case; --\"}", first,
				sizeof(first)),
			 1);
	assert_string_equal(first, "/case_id must be a UUID");
	assert_int_equal(faults(&fields_case_create, "{\"title\":\"a\\u0007b\"}", first, sizeof(first)), 1);
	assert_int_equal(faults(&fields_case_create, "{\"title\":\"\"}", first, sizeof(first)), 1);
}

static void a_thousand_faults_get_a_short_answer(void **state)
{
	AUTO(json) json_t *body = json_object();
	AUTO(json) json_t *errors = json_array();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "x%d", i);
		json_object_set_new(body, name, json_null());
	}
	assert_false(fields_check(&fields_case_create, body, errors));
	assert_true(json_array_size(errors) <= 32);
}

/* --- revisions */

static struct operation op_items[] = {
	{ .name = "k8s.rollout",
         .adapter = "k8s",
         .reversible = true,
         .has_undo = true,
         .timeout_default_s = 300 },
	{ .name = "k8s.scale",
         .adapter = "k8s",
         .reversible = true,
         .has_undo = true,
         .timeout_default_s = 300 },
	{ .name = "noop", .adapter = "noop", .reversible = true, .has_undo = true, .timeout_default_s = 10 },
	{ .name = "script.exec", .adapter = "script", .timeout_default_s = 60 },
};
static const struct operation_list ops = { .item = op_items, .count = ARRAY_LEN(op_items) };

static const char approved[] =
	"{\"title\":\"roll out\",\"risk_score\":0.2,\"steps\":[{\"action\":\"k8s.rollout\",\"params\":{},\"timeout_s\":300,\"retry\":0},"
	"{\"action\":\"noop\",\"params\":{},\"timeout_s\":10,\"retry\":0}],\"rollback\":{\"steps\":[{\"action\":\"noop\"}]},"
	"\"verify\":{\"checks\":[{\"kind\":\"probe\",\"step\":1},{\"kind\":\"http\",\"url\":\"http://x/\",\"expect_status\":200}]}}";

static json_t *revise(const char *body, enum oc_err want)
{
	AUTO(json) json_t *current = json_loads(approved, 0, NULL);
	AUTO(json) json_t *b = json_loads(body, 0, NULL);
	struct oc_fail fail = { 0 };
	json_t *plan = NULL;

	assert_non_null(current);
	assert_non_null(b);
	assert_int_equal(revision_plan(current, b, &ops, &plan, &fail), want);
	return plan;
}

static void a_body_without_a_wish_is_the_approved_plan(void **state)
{
	AUTO(json)
	json_t *body = json_loads("{\"case_id\":\"x\",\"reason\":\"go\",\"script\":null}", 0, NULL);
	AUTO(json) json_t *current = json_loads(approved, 0, NULL);
	AUTO(json) json_t *plan = revise("{\"case_id\":\"x\"}", OC_OK);

	(void)state;
	assert_true(revision_empty(body));
	assert_true(json_equal(plan, current));
}

static void a_script_in_the_body_replaces_the_steps_and_keeps_the_proof(void **state)
{
	AUTO(json)
	json_t *plan = revise("{\"case_id\":\"x\",\"adapter\":\"script\",\"script\":\"echo ok\"}", OC_OK);

	(void)state;
	assert_int_equal(json_array_size(json_object_get(plan, "steps")), 1);
	assert_string_equal(json_str(json_at(plan, "/steps/0"), "action"), "script.exec");
	assert_string_equal(json_str(json_at(plan, "/steps/0/params"), "script"), "echo ok");
	assert_int_equal(json_int_or(json_at(plan, "/steps/0"), "timeout_s", 0), 60);
	/* the probe of a step that is gone is gone; the measurement stays */
	assert_int_equal(json_array_size(json_at(plan, "/verify/checks")), 1);
	assert_string_equal(json_str(json_at(plan, "/verify/checks/0"), "kind"), "http");
	/* what would have taken back the other steps is not carried over; that nothing takes it back is said */
	assert_non_null(strstr(json_str(json_at(plan, "/rollback"), "none"), "has no undo"));
	assert_null(json_object_get(plan, "risk_score"));
}

static void an_adapter_with_several_operations_wants_one_named(void **state)
{
	AUTO(json) json_t *none = revise("{\"adapter\":\"k8s\"}", OC_INVALID);
	AUTO(json) json_t *unknown = revise("{\"adapter\":\"ssh\"}", OC_INVALID);
	AUTO(json) json_t *other = revise("{\"adapter\":\"k8s\",\"action\":\"noop\"}", OC_INVALID);
	AUTO(json) json_t *bare = revise("{\"script\":\"echo\"}", OC_INVALID);
	AUTO(json)
	json_t *named =
		revise("{\"adapter\":\"k8s\",\"action\":\"k8s.scale\",\"params\":{\"replicas\":2}}", OC_OK);

	(void)state;
	assert_null(none);
	assert_null(unknown);
	assert_null(other);
	assert_null(bare);
	assert_string_equal(json_str(json_at(named, "/steps/0"), "action"), "k8s.scale");
}

/* --- the page */

static void the_openapi_page_in_contracts_is_the_one_that_is_served(void **state)
{
	AUTO(str) char *text = api_openapi_text(OPSCASE_VERSION);
	AUTO(str) char *path = mem_printf("%s/contracts/openapi.json", OPSCASE_SOURCE_DIR);
	AUTO(text) struct text kept = { 0 };
	char buf[4096];
	size_t n;

	(void)state;
	if (getenv("OPSCASE_UPDATE")) {
		AUTO(file) FILE *out = fopen(path, "w");

		assert_non_null(out);
		fprintf(out, "%s\n", text);
		return;
	}
	{
		AUTO(file) FILE *in = fopen(path, "r");

		if (!in)
			fail_msg("%s is missing: run this test with OPSCASE_UPDATE=1", path);
		while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
			text_add_n(&kept, buf, n);
	}
	text_add(&kept, "");
	if (kept.len > 0 && kept.s[kept.len - 1] == '\n')
		kept.s[--kept.len] = '\0';
	if (strcmp(text_str(&kept), text) != 0)
		fail_msg(
			"contracts/openapi.json is not what the routes say: run this test with OPSCASE_UPDATE=1 and read the diff");
}

static void every_reference_of_the_page_leads_somewhere(void **state)
{
	AUTO(str) char *text = api_openapi_text("0");
	AUTO(json) json_t *doc = json_loads(text, 0, NULL);

	(void)state;
	assert_non_null(doc);
	assert_int_equal(json_object_size(json_at(doc, "/paths")) > 10, 1);
	for (const char *at = strstr(text, "\"#/"); at; at = strstr(at + 1, "\"#/")) {
		AUTO(str) char *pointer = mem_strndup(at + 2, strcspn(at + 2, "\""));

		if (!json_at(doc, pointer))
			fail_msg("%s leads nowhere", pointer);
	}
	for (size_t i = 0; i < route_count; i++)
		assert_non_null(json_object_get(json_at(doc, "/paths"), routes[i].path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fixed_path_wins_over_a_pattern),
		cmocka_unit_test(a_path_with_other_methods_says_which),
		cmocka_unit_test(every_write_honours_a_key_and_no_read_has_one),
		cmocka_unit_test(only_pages_about_the_service_itself_are_open_to_all),
		cmocka_unit_test(entity_tags_are_versions),
		cmocka_unit_test(a_wait_is_from_0_to_120_seconds),
		cmocka_unit_test(a_trace_is_taken_over_only_when_it_is_one),
		cmocka_unit_test(a_cursor_comes_back_as_it_left_and_serves_its_own_list_only),
		cmocka_unit_test(what_the_next_try_may_mend_is_not_kept_under_a_key),
		cmocka_unit_test(a_wrong_body_gets_a_pointer_for_each_fault),
		cmocka_unit_test(a_thousand_faults_get_a_short_answer),
		cmocka_unit_test(a_body_without_a_wish_is_the_approved_plan),
		cmocka_unit_test(a_script_in_the_body_replaces_the_steps_and_keeps_the_proof),
		cmocka_unit_test(an_adapter_with_several_operations_wants_one_named),
		cmocka_unit_test(the_openapi_page_in_contracts_is_the_one_that_is_served),
		cmocka_unit_test(every_reference_of_the_page_leads_somewhere),
	};

	return cmocka_run_group_tests_name("api rules", tests, NULL, NULL);
}
