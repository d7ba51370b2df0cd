#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "domain/verdict.h"

#define COMBINE(...)                                           \
	verdict_combine((const enum verdict[]){ __VA_ARGS__ }, \
			sizeof((const enum verdict[]){ __VA_ARGS__ }) / sizeof(enum verdict))

static void all_must_pass(void **state)
{
	(void)state;
	assert_int_equal(COMBINE(VERDICT_PASS, VERDICT_PASS), VERDICT_PASS);
	assert_int_equal(COMBINE(VERDICT_PASS, VERDICT_INSUFFICIENT_DATA), VERDICT_INSUFFICIENT_DATA);
}

static void one_fail_fails(void **state)
{
	(void)state;
	assert_int_equal(COMBINE(VERDICT_PASS, VERDICT_SOURCE_ERROR, VERDICT_FAIL), VERDICT_FAIL);
}

static void else_the_worst_is_told(void **state)
{
	(void)state;
	assert_int_equal(COMBINE(VERDICT_INCONCLUSIVE, VERDICT_SOURCE_ERROR, VERDICT_INSUFFICIENT_DATA),
			 VERDICT_SOURCE_ERROR);
}

static void no_checks_at_all_prove_nothing(void **state)
{
	(void)state;
	assert_int_equal(verdict_combine(NULL, 0), VERDICT_INCONCLUSIVE);
}

static void names_come_back(void **state)
{
	(void)state;
	for (int i = 0; i < VERDICT_COUNT; i++)
		assert_int_equal(verdict_parse(verdict_name(i)), i);
	assert_int_equal(verdict_parse("MAYBE"), VERDICT_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_must_pass),          cmocka_unit_test(one_fail_fails),
		cmocka_unit_test(else_the_worst_is_told), cmocka_unit_test(no_checks_at_all_prove_nothing),
		cmocka_unit_test(names_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
