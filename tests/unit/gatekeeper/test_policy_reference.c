/* docs/policy.md is what the tables say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "gatekeeper/policy.h"

static void the_reference_in_docs_is_the_printed_one(void **state)
{
	AUTO(text) struct text want = { 0 }, have = { 0 };
	AUTO(file) FILE *f = fopen(OPSCASE_SOURCE_DIR "/docs/policy.md", "r");
	char buf[4096];
	size_t n;

	(void)state;
	policy_print_reference(&want);
	assert_non_null(f);
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add_n(&have, buf, n);
	if (strcmp(text_str(&have), text_str(&want)) != 0)
		fail_msg("docs/policy.md is not what `opscase policy reference` prints");
}

static void every_fact_has_a_row_with_a_sentence(void **state)
{
	AUTO(text) struct text t = { 0 };

	(void)state;
	policy_print_reference(&t);
	for (int i = 0; i < FACT_COUNT; i++) {
		char row[80];

		snprintf(row, sizeof(row), "| `%s` |", fact_row((enum fact_id)i)->name);
		assert_non_null(strstr(text_str(&t), row));
		assert_true(strlen(fact_row((enum fact_id)i)->help) > 10);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reference_in_docs_is_the_printed_one),
		cmocka_unit_test(every_fact_has_a_row_with_a_sentence),
	};

	/* --print writes the page anew */
	if (argc > 1 && str_eq(argv[1], "--print")) {
		AUTO(text) struct text t = { 0 };

		policy_print_reference(&t);
		fputs(text_str(&t), stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
