#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/hash.h"
#include "base/mem.h"

static void base64_goes_there_and_back(void **state)
{
	unsigned char bytes[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7);
	for (size_t n = 1; n <= sizeof(bytes); n++) {
		AUTO(str) char *text = hash_base64(bytes, n);
		size_t back_n = 0;
		AUTO(str) char *back = hash_unbase64(text, &back_n);

		assert_non_null(back);
		assert_int_equal(back_n, n);
		assert_memory_equal(back, bytes, n);
	}
}

static void what_is_no_base64_is_none(void **state)
{
	static const char *const wrong[] = { "",     "a",     "abc",  "ab=c",    "====",
					     "ab c", "YWJ\n", "=abc", "abcd=efg" };
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_null(hash_unbase64(wrong[i], &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_goes_there_and_back),
		cmocka_unit_test(what_is_no_base64_is_none),
	};

	return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
