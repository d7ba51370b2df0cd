#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "wire/yaml/yaml.h"

static struct yaml_doc *read_ok(const char *text)
{
	struct yaml_doc *doc = NULL;
	struct oc_fail fail = { 0 };

	if (yaml_read("f.yaml", text, strlen(text), &doc, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return doc;
}

static void refused(const char *text, const char *want)
{
	struct yaml_doc *doc = NULL;
	struct oc_fail fail = { 0 };

	assert_int_equal(yaml_read("f.yaml", text, strlen(text), &doc, &fail), OC_BAD_REQUEST);
	assert_null(doc);
	if (!strstr(fail.text, want))
		fail_msg("'%s' is not in '%s'", want, fail.text);
}

static void same_as_json(const char *yaml, const char *json)
{
	AUTO(yaml) struct yaml_doc *doc = read_ok(yaml);
	AUTO(str) char *got = json_canonical(yaml_value(doc));

	assert_string_equal(got, json);
}

static void plain_scalars_follow_the_json_schema(void **state)
{
	(void)state;
	same_as_json(
		"a: 1\nb: -2\nc: 1.5\nd: 1e3\ne: true\nf: false\ng: null\nh: ~\ni:\n",
		"{\"a\":1,\"b\":-2,\"c\":1.5,\"d\":1000.0,\"e\":true,\"f\":false,\"g\":null,\"h\":null,\"i\":null}");
	same_as_json(
		"[yes, no, on, off, True, 007, 0x10, 1_000, +1, .5, 1., .inf, 2026-01-01, '1', \"true\", 12:30]",
		"[\"yes\",\"no\",\"on\",\"off\",\"True\",\"007\",\"0x10\",\"1_000\",\"+1\",\".5\",\"1.\",\".inf\","
		"\"2026-01-01\",\"1\",\"true\",\"12:30\"]");
	same_as_json("a: !!str 12\nb: |\n  x\n  y\nc: >-\n  x\n  y\n",
		     "{\"a\":\"12\",\"b\":\"x\\ny\\n\",\"c\":\"x y\"}");
	same_as_json("just text", "\"just text\"");
}

static void numbers_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	same_as_json("9223372036854775807", "9223372036854775807");
	refused("a: 1\nb: 9223372036854775808\n", "f.yaml:2: the number");
	refused("a: 1e999\n", "too large");
}

static void every_pointer_knows_its_line(void **state)
{
	AUTO(yaml)
	struct yaml_doc *doc = read_ok("name: x\nrules:\n  - when: 1\n    a/b~c: 2\n  -\n    when: {k: v}\n");

	(void)state;
	assert_int_equal(yaml_line(doc, ""), 1);
	assert_int_equal(yaml_line(doc, "/rules"), 2);
	assert_int_equal(yaml_line(doc, "/rules/0"), 3);
	assert_int_equal(yaml_line(doc, "/rules/0/a~1b~0c"), 4);
	assert_int_equal(yaml_line(doc, "/rules/1/when"), 6);
	assert_int_equal(yaml_line(doc, "/rules/1/when/k"), 6);
	assert_int_equal(yaml_line(doc, "/nothing"), 0);
	assert_string_equal(yaml_name(doc), "f.yaml");
}

static void anchors_and_aliases_are_refused(void **state)
{
	(void)state;
	refused("a: &x 1\nb: *x\n", "f.yaml:1: anchors");
	refused("a: 1\nb: *x\n", "f.yaml:2: anchors");
	refused("a: &x [1]\n", "anchors");
	refused("a: &x {b: 1}\n", "anchors");
	refused("&k a: 1\n", "anchors");
	refused("*k : 1\n", "anchors");
	refused("a: {b: 1}\nc:\n  <<: {d: 1}\n", "f.yaml:3: merge keys");
}

static void duplicate_keys_are_refused(void **state)
{
	(void)state;
	refused("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key 'a' stands here twice");
	refused("x:\n  - {k: 1, \"k\": 2}\n", "f.yaml:2: the key 'k'");
	same_as_json("a: {k: 1}\nb: {k: 2}\n", "{\"a\":{\"k\":1},\"b\":{\"k\":2}}");
}

static void foreign_tags_are_refused(void **state)
{
	(void)state;
	refused("a: !!python/object:os.system x\n", "the tag");
	refused("a: !mine {b: 1}\n", "the tag '!mine'");
	refused("a: !!set {b}\n", "the tag");
	refused("a: !!int 3\n", "the tag");
	refused("!x a: 1\n", "the tag");
}

static void a_key_must_be_text(void **state)
{
	(void)state;
	refused("? [a, b]\n: 1\n", "a key must be a plain text");
}

static void one_file_is_one_document(void **state)
{
	(void)state;
	refused("a: 1\n---\nb: 2\n", "f.yaml:2: a second document");
	refused("", "empty");
	refused("# only a comment\n", "empty");
	same_as_json("---\na: 1\n...\n", "{\"a\":1}");
}

static void broken_text_is_refused_with_its_line(void **state)
{
	struct yaml_doc *doc = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	refused("a: 1\nb: [1, 2\nc: 3\n", "f.yaml:3: ");
	refused("a: 1\n\tb: 2\n", "f.yaml:2: ");
	refused("a: \"\\0\"\n", "NUL");
	refused("a: \xff\xfe\n", "f.yaml:");
	refused("a: \"\\ud800\"\n", "f.yaml:1");
	assert_int_equal(yaml_read("f.yaml", "a: b\0c", 6, &doc, &fail), OC_BAD_REQUEST);
	assert_null(doc);
}

static void depth_and_size_are_bounded(void **state)
{
	AUTO(str) char *deep = mem_alloc(100001);
	AUTO(str) char *big = mem_alloc(((size_t)1 << 20) + 2);
	AUTO(yaml) struct yaml_doc *doc = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	memset(deep, '[', 64);
	memset(deep + 64, ']', 64);
	assert_int_equal(yaml_read("f.yaml", deep, 128, &doc, &fail), OC_OK);
	memset(deep, '[', 100000);
	refused(deep, "nested deeper than 64");
	for (size_t i = 0; i + 2 < 100000; i += 2)
		memcpy(deep + i, "- ", 2);
	refused(deep, "nested deeper than 64");
	memset(big, 'a', ((size_t)1 << 20) + 1);
	refused(big, "at most");
	big[(size_t)1 << 20] = '\0';
	same_as_json("a", "\"a\"");
	yaml_close(doc);
	doc = NULL;
	assert_int_equal(yaml_read("f.yaml", big, (size_t)1 << 20, &doc, &fail), OC_OK);
}

static void a_file_that_is_not_there_is_said_by_name(void **state)
{
	struct yaml_doc *doc = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(yaml_read_file("/nonexistent/x.yaml", &doc, &fail), OC_NOT_FOUND);
	assert_non_null(strstr(fail.text, "/nonexistent/x.yaml"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_scalars_follow_the_json_schema),
		cmocka_unit_test(numbers_that_do_not_fit_are_refused),
		cmocka_unit_test(every_pointer_knows_its_line),
		cmocka_unit_test(anchors_and_aliases_are_refused),
		cmocka_unit_test(duplicate_keys_are_refused),
		cmocka_unit_test(foreign_tags_are_refused),
		cmocka_unit_test(a_key_must_be_text),
		cmocka_unit_test(one_file_is_one_document),
		cmocka_unit_test(broken_text_is_refused_with_its_line),
		cmocka_unit_test(depth_and_size_are_bounded),
		cmocka_unit_test(a_file_that_is_not_there_is_said_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
