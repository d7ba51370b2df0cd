#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/text.h"

static void a_number_with_blanks_or_line_ends_before_it_is_none(void **state)
{
	static const char *const not[] = { "",   " 5", "\r5", "\n5", "\t5", "5 ", "5\n",
					   "5x", "x5", "+",   "-",   "0x5", "5.0" };
	long long n = 42;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(not); i++)
		assert_false(str_to_long(not[i], -10, 10, &n));
	assert_false(str_to_long(NULL, -10, 10, &n));
	assert_false(str_to_long("11", -10, 10, &n));
	assert_false(str_to_long("99999999999999999999", -10, 10, &n));
	assert_int_equal(n, 42);
	assert_true(str_to_long("-7", -10, 10, &n));
	assert_int_equal(n, -7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_with_blanks_or_line_ends_before_it_is_none),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
