/* The files under policies/ hold what policies/tests/ promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "gatekeeper/policy_test.h"

static struct policy *shipped(void)
{
	struct policy *p = NULL;
	struct oc_fail fail = { 0 };

	if (policy_load(OPSCASE_SOURCE_DIR "/policies", &p, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return p;
}

static void run_file(const char *path)
{
	AUTO(policy) struct policy *p = shipped();
	AUTO(text) struct text out = { 0 };
	struct policy_test_result res = { 0 };
	struct oc_fail fail = { 0 };

	if (policy_test_run(p, path, &out, &res, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	if (res.failed)
		fail_msg("%s", text_str(&out));
	assert_true(res.passed > 3);
}

static void the_default_policy_answers_as_its_cases_say(void **state)
{
	(void)state;
	run_file(OPSCASE_SOURCE_DIR "/policies/tests/default.yaml");
}

static void the_demo_policy_lets_the_walk_through_pass_and_nobody_else(void **state)
{
	(void)state;
	run_file(OPSCASE_SOURCE_DIR "/policies/tests/demo.yaml");
}

static void what_is_built_in_answers_as_the_default_file_and_permits_the_demo_nothing(void **state)
{
	AUTO(policy) struct policy *p = NULL;
	AUTO(text) struct text out = { 0 };
	struct policy_test_result res = { 0 };

	(void)state;
	assert_int_equal(policy_builtin(&p, NULL), OC_OK);
	assert_int_equal(policy_test_run(p, OPSCASE_SOURCE_DIR "/policies/tests/default.yaml", &out, &res,
					 NULL),
			 OC_OK);
	assert_int_equal(res.failed, 0);
	assert_false(policy_permits(p, "script_body", "t-001"));
}

static void a_case_that_expects_the_wrong_answer_is_reported_with_its_line(void **state)
{
	static const char cases[] =
		"cases:\n"
		"  - name: noop is denied\n"
		"    facts: {action: noop, kill_switch: false, needs: \"\", plan_kind: rollback}\n"
		"    expect: {answer: deny, rules: [no-such]}\n";
	AUTO(policy) struct policy *p = shipped();
	AUTO(text) struct text out = { 0 };
	struct policy_test_result res = { 0 };

	(void)state;
	assert_int_equal(policy_test_text(p, "mine.yaml", cases, strlen(cases), &out, &res, NULL), OC_OK);
	assert_int_equal(res.failed, 1);
	assert_non_null(strstr(text_str(&out), "mine.yaml:2"));
	assert_non_null(strstr(text_str(&out), "not deny"));
	assert_non_null(strstr(text_str(&out), "no-such was not hit"));
}

static void a_test_file_with_an_unknown_fact_is_an_error_with_its_line(void **state)
{
	static const char cases[] = "cases:\n  - facts: {colour: red}\n    expect: {answer: deny}\n";
	AUTO(policy) struct policy *p = shipped();
	AUTO(text) struct text out = { 0 };
	struct policy_test_result res = { 0 };
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(policy_test_text(p, "mine.yaml", cases, strlen(cases), &out, &res, &fail),
			 OC_INVALID);
	assert_non_null(strstr(fail.text, "mine.yaml:2"));
	assert_non_null(strstr(fail.text, "colour"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_default_policy_answers_as_its_cases_say),
		cmocka_unit_test(the_demo_policy_lets_the_walk_through_pass_and_nobody_else),
		cmocka_unit_test(what_is_built_in_answers_as_the_default_file_and_permits_the_demo_nothing),
		cmocka_unit_test(a_case_that_expects_the_wrong_answer_is_reported_with_its_line),
		cmocka_unit_test(a_test_file_with_an_unknown_fact_is_an_error_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
