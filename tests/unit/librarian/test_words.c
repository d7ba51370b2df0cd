#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/text.h"
#include "librarian/words.h"

static void note(void *ctx, const char *word, size_t n, float weight)
{
	(void)n;
	text_addf(ctx, "%s:%.4g ", word, (double)weight);
}

static void assert_words(const char *text, const char *want)
{
	AUTO(text) struct text got = { 0 };

	words_each(text, strlen(text), 1, note, &got);
	assert_string_equal(text_str(&got), want);
}

static void names_are_split_where_their_case_changes(void **state)
{
	(void)state;
	assert_words("EtcdHighLatency2", "etcdhighlatency2:1 etcd:1 high:1 latenci:1 ");
	assert_words("APIDown", "apidown:1 api:1 down:1 ");
}

static void endings_go_and_empty_words_are_left_out(void **state)
{
	(void)state;
	assert_words("the failing services are restarted", "fail:1 servic:1 restart:1 ");
	assert_words("stopped running policies", "stop:1 run:1 polici:1 ");
}

static void chinese_becomes_pairs_and_speaks_english_of_the_trade(void **state)
{
	(void)state;
	assert_words("内存不足", "内存:1 memori:0.5 存不:1 不足:1 ");
	assert_words("重启pod", "重启:1 restart:0.5 pod:1 ");
}

static void short_forms_say_what_they_stand_for(void **state)
{
	(void)state;
	assert_words("OOM", "oom:1 memori:0.5 ");
}

static void a_question_in_english_and_one_in_chinese_share_words(void **state)
{
	AUTO(text) struct text zh = { 0 };

	(void)state;
	words_each("证书过期", strlen("证书过期"), 1, note, &zh);
	assert_non_null(strstr(zh.s, "certific"));
	assert_non_null(strstr(zh.s, "expir"));
}

static void code_counts_a_quarter_and_addresses_not_at_all(void **state)
{
	AUTO(text) struct text got = { 0 };

	(void)state;
	words_chunk(
		"Title", NULL,
		"see [pods](https://zebra.example/x) https://yak.example <!-- gnu -->\n```\nkubectl\n```\nend",
		note, &got);
	assert_string_equal(got.s, "titl:2 see:1 pod:1 kubectl:0.25 end:1 ");
}

static void broken_utf8_separates_words(void **state)
{
	(void)state;
	assert_words("red\xff\xe5\x86green\xe5", "red:1 green:1 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_split_where_their_case_changes),
		cmocka_unit_test(endings_go_and_empty_words_are_left_out),
		cmocka_unit_test(chinese_becomes_pairs_and_speaks_english_of_the_trade),
		cmocka_unit_test(short_forms_say_what_they_stand_for),
		cmocka_unit_test(a_question_in_english_and_one_in_chinese_share_words),
		cmocka_unit_test(code_counts_a_quarter_and_addresses_not_at_all),
		cmocka_unit_test(broken_utf8_separates_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
