#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "analyst/evidence.h"
#include "base/clock.h"

#define NOW (INT64_C(1800000000) * 1000000)

static json_t *parse(const char *s)
{
	json_t *v = NULL;

	assert_int_equal(json_read_own(s, &v, NULL), OC_OK);
	return v;
}

static void the_named_window_is_taken(void **state)
{
	AUTO(json)
	json_t *ev = parse("[{\"kind\":\"metric\",\"resource\":\"urn:host:h\",\"metric\":\"cpu\","
			   "\"from\":\"2026-01-01T00:00:00Z\",\"to\":\"2026-01-01T00:10:00Z\"},"
			   "{\"resource\":\"urn:host:h\",\"window_s\":60}]");
	struct evidence_wishes w;

	(void)state;
	evidence_wishes_read(NULL, ev, NOW, 1800, &w);
	assert_int_equal(w.count, 2);
	assert_int_equal(w.item[0].to_us - w.item[0].from_us, INT64_C(600000000));
	assert_string_equal(w.item[0].unreadable, "");
	assert_int_equal(w.item[1].to_us, NOW);
	assert_int_equal(w.item[1].from_us, NOW - 60000000);
	assert_string_equal(w.item[1].metric, "");
}

static void the_resource_label_adds_the_last_half_hour_there(void **state)
{
	AUTO(json) json_t *labels = parse("{\"resource\":\"urn:k8s:svc:shop/cart\"}");
	struct evidence_wishes w;

	(void)state;
	evidence_wishes_read(labels, NULL, NOW, 1800, &w);
	assert_int_equal(w.count, 1);
	assert_string_equal(w.item[0].resource, "urn:k8s:svc:shop/cart");
	assert_int_equal(w.item[0].from_us, NOW - INT64_C(1800000000));
}

static void what_cannot_be_looked_up_says_why(void **state)
{
	AUTO(json)
	json_t *ev = parse(
		"[7, {\"kind\":\"log\",\"resource\":\"urn:host:h\"}, {\"metric\":\"cpu\"},"
		"{\"resource\":\"urn:host:h\",\"from\":\"yesterday\"},"
		"{\"resource\":\"urn:host:h\",\"from\":\"2026-01-02T00:00:00Z\",\"to\":\"2026-01-01T00:00:00Z\"},"
		"{\"resource\":\"urn:host:h\",\"window_s\":-5}]");
	struct evidence_wishes w;

	(void)state;
	evidence_wishes_read(NULL, ev, NOW, 1800, &w);
	assert_int_equal(w.count, 6);
	for (size_t i = 0; i < w.count; i++)
		assert_true(w.item[i].unreadable[0] != '\0');
}

static void a_hostile_list_is_cut(void **state)
{
	AUTO(json) json_t *ev = json_array();
	struct evidence_wishes w;

	(void)state;
	for (int i = 0; i < 1000; i++)
		json_array_append_new(ev, json_pack("{s:s}", "resource", "urn:host:h"));
	evidence_wishes_read(NULL, ev, NOW, 1800, &w);
	assert_int_equal(w.count, EVIDENCE_MAX);
	assert_int_equal(w.left_out, 1000 - EVIDENCE_MAX);
}

static void nothing_named_is_said_honestly(void **state)
{
	AUTO(json) json_t *none = json_array(), *body = NULL;
	AUTO(str) char *summary = NULL;
	double trust = 1;

	(void)state;
	body = evidence_body(none, &trust, &summary);
	assert_non_null(strstr(summary, "no evidence named"));
	assert_true(trust == 0);
	assert_int_equal(json_object_size(json_object_get(body, "values")), 0);
}

static void values_come_from_the_busiest_series(void **state)
{
	AUTO(json)
	json_t *series = parse(
		"[{\"resource\":\"urn:host:h\",\"metric\":\"cpu\",\"count\":5,\"avg\":1.0,\"max\":2.0},"
		"{\"resource\":\"urn:host:h\",\"metric\":\"cpu\",\"count\":50,\"avg\":0.5,\"max\":0.75}]");
	struct evidence_wish found = { .resource = "urn:host:h", .from_us = NOW - 60000000, .to_us = NOW },
			     missing = found;
	AUTO(json) json_t *gathered = json_array(), *empty = json_array(), *body = NULL;
	AUTO(str) char *summary = NULL;
	double trust;

	(void)state;
	json_array_append_new(gathered, evidence_answer(&found, series, true));
	json_array_append_new(gathered, evidence_answer(&missing, empty, false));
	body = evidence_body(gathered, &trust, &summary);
	assert_true(trust == 0.5);
	assert_true(json_real_value(json_at(body, "/values/cpu/avg")) == 0.5);
	assert_string_equal(json_string_value(json_at(body, "/evidence/1/why")), "no such resource is known");
	assert_non_null(strstr(summary, "1 of 2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_named_window_is_taken),
		cmocka_unit_test(the_resource_label_adds_the_last_half_hour_there),
		cmocka_unit_test(what_cannot_be_looked_up_says_why),
		cmocka_unit_test(a_hostile_list_is_cut),
		cmocka_unit_test(nothing_named_is_said_honestly),
		cmocka_unit_test(values_come_from_the_busiest_series),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
