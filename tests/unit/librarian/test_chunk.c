#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/text.h"
#include "librarian/chunk.h"

static struct chunk_list cut(const char *text)
{
	struct chunk_list list = { 0 };
	struct oc_fail why = { 0 };

	if (chunk_markdown("page", text, strlen(text), &list, &why) != OC_OK)
		fail_msg("%s", why.text);
	return list;
}

static void a_section_is_known_by_its_headings(void **state)
{
	AUTO(chunk_list)
	struct chunk_list l = cut("# Etcd\nintro\n## Repair\nsteps\n### By hand\nmore\n## Escalate\nwho\n");

	(void)state;
	assert_int_equal(l.count, 5);
	assert_string_equal(l.title, "Etcd");
	/* the head: the page's name alone */
	assert_string_equal(l.chunk[0].heading, "");
	assert_string_equal(l.chunk[1].heading, "Etcd");
	assert_string_equal(l.chunk[3].heading, "Etcd > Repair > By hand");
	assert_string_equal(l.chunk[4].heading, "Etcd > Escalate");
	assert_string_equal(l.chunk[4].body, "who");
}

static void a_comment_in_code_is_no_heading(void **state)
{
	AUTO(chunk_list) struct chunk_list l = cut("# A\n```sh\n# not a heading\nls\n```\nend\n");

	(void)state;
	assert_int_equal(l.count, 2);
	assert_non_null(strstr(l.chunk[1].body, "# not a heading"));
}

static void a_text_without_headings_is_one_section_named_by_its_file(void **state)
{
	AUTO(chunk_list) struct chunk_list l = cut("just words\n");

	(void)state;
	assert_int_equal(l.count, 1);
	assert_string_equal(l.title, "page");
}

static void a_long_section_is_cut_and_its_code_stays_code(void **state)
{
	AUTO(text) struct text t = { 0 };
	AUTO(chunk_list) struct chunk_list l = { 0 };

	(void)state;
	text_add(&t, "# Long\n```\n");
	for (int i = 0; i < 400; i++)
		text_addf(&t, "command number %d of many\n", i);
	text_add(&t, "```\n");
	l = cut(t.s);
	assert_true(l.count > 1);
	for (size_t i = 0; i < l.count; i++) {
		unsigned fences = 0;

		for (const char *at = l.chunk[i].body; (at = strstr(at, "```")); at += 3)
			fences++;
		assert_int_equal(fences % 2, 0);
		assert_true(strlen(l.chunk[i].body) < 3 * CHUNK_BYTES);
	}
}

static void only_what_changed_has_another_hash(void **state)
{
	AUTO(chunk_list) struct chunk_list a = cut("# P\n## One\nx\n## Two\ny\n");
	AUTO(chunk_list) struct chunk_list b = cut("# P\n## Zero\nnew\n## One\nx\n## Two\ny changed\n");

	(void)state;
	assert_string_equal(a.chunk[1].hash, b.chunk[2].hash);
	assert_string_not_equal(a.chunk[2].hash, b.chunk[3].hash);
}

static void a_line_without_end_is_cut_between_characters(void **state)
{
	AUTO(text) struct text t = { 0 };
	AUTO(chunk_list) struct chunk_list l = { 0 };

	(void)state;
	for (int i = 0; i < 9000; i++)
		text_add(&t, "字");
	l = cut(t.s);
	assert_true(l.count > 1);
	for (size_t i = 0; i < l.count; i++)
		assert_true(str_utf8_ok(l.chunk[i].body, strlen(l.chunk[i].body)));
}

static void what_is_no_text_is_refused_by_name(void **state)
{
	struct chunk_list l = { 0 };
	struct oc_fail why = { 0 };

	(void)state;
	assert_int_equal(chunk_markdown("bad.md", "a\xff", 2, &l, &why), OC_INVALID);
	assert_non_null(strstr(why.text, "bad.md"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_section_is_known_by_its_headings),
		cmocka_unit_test(a_comment_in_code_is_no_heading),
		cmocka_unit_test(a_text_without_headings_is_one_section_named_by_its_file),
		cmocka_unit_test(a_long_section_is_cut_and_its_code_stays_code),
		cmocka_unit_test(only_what_changed_has_another_hash),
		cmocka_unit_test(a_line_without_end_is_cut_between_characters),
		cmocka_unit_test(what_is_no_text_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
