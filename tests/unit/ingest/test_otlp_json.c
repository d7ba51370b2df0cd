#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "ingest/otlp_json.h"

#define ATTR(k, v) "{\"key\":\"" k "\",\"value\":{\"stringValue\":\"" v "\"}}"
#define BATCH(attrs, metrics)                                         \
	"{\"resourceMetrics\":[{\"resource\":{\"attributes\":[" attrs \
	"]},\"scopeMetrics\":[{\"scope\":{\"name\":\"s\"},"           \
	"\"metrics\":[" metrics "]}]}]}"
#define GAUGE(points) "{\"name\":\"m\",\"unit\":\"1\",\"gauge\":{\"dataPoints\":[" points "]}}"

static struct otlp_batch read_ok(const char *body)
{
	struct otlp_batch b;
	struct oc_fail why = { 0 };

	if (otlp_metrics_read(body, strlen(body), &b, &why) != OC_OK)
		fail_msg("%s", why.text);
	return b;
}

static void numbers_may_be_texts(void **state)
{
	AUTO(otlp_batch)
	struct otlp_batch b =
		read_ok(BATCH(ATTR("service.name", "x"),
			      GAUGE("{\"timeUnixNano\":\"1544712660300000000\",\"asInt\":\"-42\"},"
				    "{\"timeUnixNano\":1544712660300000000,\"asInt\":42},"
				    "{\"timeUnixNano\":\"1544712660300000000\",\"asDouble\":1.5}")));

	(void)state;
	assert_int_equal(b.point_count, 3);
	assert_true(b.point[0].value == -42 && b.point[1].value == 42 && b.point[2].value == 1.5);
	assert_int_equal(b.point[0].time_us, INT64_C(1544712660300000));
	assert_int_equal(b.rejected, 0);
}

static void resources_become_urns(void **state)
{
	static const struct {
		const char *attrs, *urn, *type, *name;
	} rows[] = {
		{ ATTR("service.name", "cart") "," ATTR("service.namespace", "shop"), "urn:k8s:svc:shop/cart",
                 "k8s:svc", "shop/cart" },
		{ ATTR("service.name", "cart") "," ATTR("k8s.namespace.name", "shop"),
                 "urn:k8s:svc:shop/cart", "k8s:svc", "shop/cart" },
		{ ATTR("service.name", "cart"), "urn:svc:cart", "svc", "cart" },
		{ ATTR("host.name", "web 1"), "urn:host:web_1", "host", "web_1" },
		{ ATTR("service.name", "cart") "," ATTR("opscase.urn", "urn:db:postgres:main/shop"),
                 "urn:db:postgres:main/shop", "db:postgres", "main/shop" },
		/* one that is none does not win */
		{ ATTR("service.name", "cart") "," ATTR("opscase.urn", "not a urn"), "urn:svc:cart", "svc",
                 "cart" },
		{ "", "urn:svc:unknown", "svc", "unknown" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(str)
		char *body = mem_printf("{\"resourceMetrics\":[{\"resource\":{\"attributes\":[%s]}}]}",
					rows[i].attrs);
		AUTO(otlp_batch) struct otlp_batch b = read_ok(body);

		assert_string_equal(b.resource[0].urn, rows[i].urn);
		assert_string_equal(b.resource[0].type, rows[i].type);
		assert_string_equal(b.resource[0].name, rows[i].name);
	}
}

static void two_instances_of_a_service_are_two_series(void **state)
{
	AUTO(otlp_batch)
	struct otlp_batch b = read_ok(
		BATCH(ATTR("service.name", "x") "," ATTR("service.instance.id", "i-1"),
		      GAUGE("{\"timeUnixNano\":\"1544712660300000000\",\"asInt\":1,\"attributes\":[" ATTR(
			      "a", "b") "]}")));

	(void)state;
	assert_string_equal(b.point[0].labels, "{\"a\":\"b\",\"service.instance.id\":\"i-1\"}");
}

static void broken_points_are_counted_one_by_one(void **state)
{
	AUTO(otlp_batch)
	struct otlp_batch b = read_ok(BATCH(
		"",
		GAUGE("{\"timeUnixNano\":\"1544712660300000000\",\"asInt\":1}, {\"asInt\":1}, {\"timeUnixNano\":\"1544712660300000000\"},"
		      "{\"timeUnixNano\":\"1544712660300000000\",\"asDouble\":\"NaN\"}, 7") ","
											    "{\"name\":\"old\",\"summary\":{\"dataPoints\":[{},{}]}},"
											    "{\"name\":\"exp\",\"exponentialHistogram\":{\"dataPoints\":[{}]}},"
											    "{\"name\":\"s\",\"sum\":{\"dataPoints\":[{\"timeUnixNano\":\"1544712660300000000\",\"asInt\":1}]}}"));
	AUTO(str) char *answer = otlp_answer(&b);

	(void)state;
	assert_int_equal(b.point_count, 1);
	assert_int_equal(b.rejected, 4 + 2 + 1 + 1);
	assert_non_null(strstr(answer, "\"rejectedDataPoints\":\"8\""));
	assert_non_null(strstr(answer, "summary is not taken"));
	assert_non_null(strstr(answer, "neither delta nor cumulative"));
}

static void all_taken_answers_with_an_empty_object(void **state)
{
	AUTO(otlp_batch) struct otlp_batch b = read_ok("{}");
	AUTO(str) char *answer = otlp_answer(&b);

	(void)state;
	assert_string_equal(answer, "{}");
}

static void what_is_no_request_is_refused_whole(void **state)
{
	static const char *const bodies[] = { "", "[]", "{\"resourceMetrics\":7}", "{\"resourceMetrics\":[",
					      "null" };
	struct otlp_batch b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		assert_int_equal(otlp_metrics_read(bodies[i], strlen(bodies[i]), &b, NULL), OC_BAD_REQUEST);
}

static void nothing_recorded_is_neither_taken_nor_refused(void **state)
{
	AUTO(otlp_batch)
	struct otlp_batch b =
		read_ok(BATCH("", GAUGE("{\"timeUnixNano\":\"1544712660300000000\",\"flags\":1}")));

	(void)state;
	assert_int_equal(b.point_count, 0);
	assert_int_equal(b.rejected, 0);
}

static void strange_shapes_do_no_harm(void **state)
{
	static const char *const bodies[] = {
		"{\"resourceMetrics\":[7,null,{},{\"resource\":7},{\"scopeMetrics\":7},{\"scopeMetrics\":[7,{\"metrics\":[7,{},"
		"{\"name\":7,\"gauge\":7},{\"name\":\"x\",\"gauge\":{\"dataPoints\":{}}}]}]}]}",
		BATCH("7,{\"key\":7},{\"key\":\"a\"},{\"key\":\"b\",\"value\":7},{\"key\":\"c\",\"value\":{\"arrayValue\":{}}}",
		      "7"),
		BATCH("",
		      "{\"name\":\"h\",\"histogram\":{\"aggregationTemporality\":1,\"dataPoints\":[{\"timeUnixNano\":\"1544712660300000000\","
		      "\"count\":\"18446744073709551615\",\"bucketCounts\":[\"18446744073709551615\",\"1\"],\"explicitBounds\":[1]}]}}"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		AUTO(otlp_batch) struct otlp_batch b = read_ok(bodies[i]);

		assert_int_equal(b.point_count, 0);
	}
}

static void the_specs_own_example_is_read(void **state)
{
	const char *root = getenv("OPSCASE_SOURCE_DIR");
	AUTO(str) char *path = mem_printf("%s/../shared/data/otlp_examples/metrics.json", root ? root : ".");
	AUTO(file) FILE *f = fopen(path, "r");
	AUTO(str) char *body = mem_alloc(65536);
	AUTO(otlp_batch) struct otlp_batch b = { 0 };

	(void)state;
	if (!f) {
		print_message("skipped: no example at %s\n", path);
		skip();
	}
	assert_true(fread(body, 1, 65535, f) > 0);
	b = read_ok(body);
	assert_int_equal(b.point_count, 3);
	assert_int_equal(b.rejected, 0);
	assert_string_equal(b.resource[0].urn, "urn:svc:my.service");
	assert_string_equal(b.point[0].metric, "my.counter");
	assert_true(b.point[0].kind == OTLP_SUM && b.point[0].monotonic && !b.point[0].cumulative &&
		    b.point[0].value == 5);
	assert_true(b.point[1].kind == OTLP_GAUGE && b.point[1].value == 10);
	assert_true(b.point[2].kind == OTLP_HISTOGRAM && b.point[2].count == 3 && b.point[2].sum == 3);
	/* three buckets for one bound do not fit together: the sum is taken, the p95 is not made up */
	assert_null(b.point[2].bucket);
	assert_non_null(strstr(b.why, "no p95"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_may_be_texts),
		cmocka_unit_test(resources_become_urns),
		cmocka_unit_test(two_instances_of_a_service_are_two_series),
		cmocka_unit_test(broken_points_are_counted_one_by_one),
		cmocka_unit_test(all_taken_answers_with_an_empty_object),
		cmocka_unit_test(what_is_no_request_is_refused_whole),
		cmocka_unit_test(nothing_recorded_is_neither_taken_nor_refused),
		cmocka_unit_test(strange_shapes_do_no_harm),
		cmocka_unit_test(the_specs_own_example_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
