#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "ingest/telemetry.h"

static struct tel_str str(const char *s)
{
	return (struct tel_str){ s, (uint32_t)strlen(s) };
}

/* "key=value key=value" */
static uint32_t resource(struct tel_batch *b, const char *const *pairs)
{
	struct tel_attrs a = { 0 };
	struct oc_fail fail;
	uint32_t i;

	for (; *pairs; pairs += 2)
		tel_attrs_add(&a, str(pairs[0]), str(pairs[1]), TEL_LABEL_MAX);
	assert_int_equal(tel_resource_add(b, &a, &i, &fail), OC_OK);
	return i;
}
#define R(...) resource(&b, (const char *const[]){ __VA_ARGS__, NULL })

static struct tel_str urn(struct tel_batch *b, uint32_t i)
{
	return b->resource[i].urn;
}
#define URN(...) urn(&b, R(__VA_ARGS__))

static void a_resource_is_named_by_what_it_says_of_itself(void **state)
{
	AUTO(tel_batch) struct tel_batch b;

	(void)state;
	tel_batch_init(&b, TEL_METRICS);
	assert_true(tel_str_is(URN("service.name", "cart", "service.namespace", "shop"),
			       "urn:k8s:svc:shop/cart"));
	assert_true(tel_str_is(b.resource[0].urn_type, "k8s:svc") &&
		    tel_str_is(b.resource[0].name, "shop/cart"));
	assert_true(tel_str_is(URN("service.name", "my cart"), "urn:svc:my_cart"));
	assert_true(tel_str_is(URN("host.name", "h1"), "urn:host:h1"));
	assert_true(tel_str_is(URN("db.system", "postgres", "host.name", "c", "db.name", "d"),
			       "urn:db:postgres:c/d"));
	assert_true(tel_str_is(URN("opscase.urn", "urn:pod:x", "service.name", "y"), "urn:pod:x"));
	assert_true(tel_str_is(URN("opscase.urn", "urn:pod x", "service.name", "y"), "urn:svc:y"));
}

static void the_same_attributes_in_another_order_are_the_same_resource(void **state)
{
	AUTO(tel_batch) struct tel_batch b;

	(void)state;
	tel_batch_init(&b, TEL_LOGS);
	assert_int_equal(R("service.name", "a", "x", "1"), R("x", "1", "service.name", "a"));
	assert_int_not_equal(R("service.name", "a", "x", "1"), R("service.name", "a", "x", "2"));
}

static void attributes_are_sorted_and_the_first_of_a_key_stays(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	AUTO(text) struct text json = { 0 };
	struct tel_attrs a = { 0 };
	const struct tel_attr *attr;
	uint32_t n;

	(void)state;
	tel_batch_init(&b, TEL_METRICS);
	tel_attrs_add(&a, str("b"), str("say \"hi\"\n"), TEL_LABEL_MAX);
	tel_attrs_add(&a, str("a"), str("1"), TEL_LABEL_MAX);
	tel_attrs_add(&a, str("b"), str("other"), TEL_LABEL_MAX);
	assert_true(tel_attrs_end(&b, &a, &attr, &n));
	tel_attrs_json(attr, n, &json);
	assert_string_equal(json.s, "{\"a\":\"1\",\"b\":\"say \\\"hi\\\"\\u000a\"}");
}

static void more_attributes_than_are_taken_are_said(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	struct tel_attrs a = { 0 };
	const struct tel_attr *attr;
	uint32_t n;

	(void)state;
	tel_batch_init(&b, TEL_METRICS);
	for (int i = 0; i <= TEL_ATTRS_MAX; i++)
		tel_attrs_add(&a, tel_printf(&b, "k%d", i), str("v"), TEL_LABEL_MAX);
	assert_false(tel_attrs_end(&b, &a, &attr, &n));
}

static void a_cut_never_splits_a_character(void **state)
{
	(void)state;
	assert_int_equal(tel_cut(str("ab\xc3\xa9"), 3).n, 2);
	assert_int_equal(tel_cut(str("ab\xc3\xa9"), 4).n, 4);
	assert_int_equal(tel_cut(str("abc"), 2).n, 2);
}

static void reasons_are_kept_once_and_records_are_bounded(void **state)
{
	AUTO(tel_batch) struct tel_batch b;

	(void)state;
	tel_batch_init(&b, TEL_LOGS);
	for (int i = 0; i < 100; i++)
		tel_reject(&b, 1, mem_strdup("{}"), "no body");
	assert_int_equal(b.rejected, 100);
	assert_int_equal(b.rejects, TEL_REJECTED_KEPT);
	assert_string_equal(b.why, "no body");
}

static void words_for_severities_become_numbers(void **state)
{
	(void)state;
	assert_int_equal(tel_severity(str("Warning")), 13);
	assert_int_equal(tel_severity(str("ERR")), 17);
	assert_int_equal(tel_severity(str("hello")), 0);
	assert_string_equal(tel_severity_name(18), "ERROR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_resource_is_named_by_what_it_says_of_itself),
		cmocka_unit_test(the_same_attributes_in_another_order_are_the_same_resource),
		cmocka_unit_test(attributes_are_sorted_and_the_first_of_a_key_stays),
		cmocka_unit_test(more_attributes_than_are_taken_are_said),
		cmocka_unit_test(a_cut_never_splits_a_character),
		cmocka_unit_test(reasons_are_kept_once_and_records_are_bounded),
		cmocka_unit_test(words_for_severities_become_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
