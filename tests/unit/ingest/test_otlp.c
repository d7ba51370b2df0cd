#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "ingest/otlp.h"
#include "ingest/proto.h"

#define ATTR(k, v) "{\"key\":\"" k "\",\"value\":{\"stringValue\":\"" v "\"}}"
#define METRICS(metrics)                                              \
	"{\"resourceMetrics\":[{\"resource\":{\"attributes\":[" ATTR( \
		"service.name",                                       \
		"cart") "]},"                                         \
			"\"scopeMetrics\":[{\"scope\":{\"name\":\"s\"},\"metrics\":[" metrics "]}]}]}"
#define AT "\"startTimeUnixNano\":\"1000000000\",\"timeUnixNano\":\"2000000000\""

static void read_json(enum tel_kind kind, const char *body, struct tel_batch *b)
{
	struct oc_fail why = { 0 };

	if (otlp_read_json(kind, body, strlen(body), b, &why) != OC_OK)
		fail_msg("%s", why.text);
}

/* Written as protobuf and read again. */
static void again(const struct tel_batch *b, struct text *bytes, struct tel_batch *ret)
{
	struct oc_fail why = { 0 };

	assert_int_equal(otlp_write(b, NULL, 0, b->records, 0, bytes), b->records);
	if (otlp_read_protobuf(b->kind, bytes->s, bytes->len, ret, &why) != OC_OK)
		fail_msg("%s", why.text);
}

static void points_survive_protobuf(void **state)
{
	AUTO(tel_batch) struct tel_batch b, c;
	AUTO(text) struct text bytes = { 0 };

	(void)state;
	read_json(
		TEL_METRICS,
		METRICS("{\"name\":\"g\",\"unit\":\"ms\",\"gauge\":{\"dataPoints\":[{" AT
			",\"asDouble\":1.5,\"attributes\":[" ATTR(
				"k",
				"v\\u00e9") "]},{" AT ",\"asInt\":\"-42\"}]}},"
					    "{\"name\":\"c\",\"sum\":{\"aggregationTemporality\":2,\"isMonotonic\":true,\"dataPoints\":[{" AT
					    ",\"asInt\":7}]}},"
					    "{\"name\":\"h\",\"histogram\":{\"aggregationTemporality\":1,\"dataPoints\":[{" AT
					    ",\"count\":\"3\",\"sum\":6,\"min\":1,\"max\":3,\"bucketCounts\":[1,2],\"explicitBounds\":[1.5]}]}}"),
		&b);
	again(&b, &bytes, &c);
	assert_int_equal(c.records, 4);
	assert_int_equal(c.rejected, 0);
	for (int i = 0; i < 2; i++) {
		const struct tel_batch *x = i ? &c : &b;

		assert_true(tel_str_is(x->resource[x->point[0].resource].urn, "urn:svc:cart"));
		assert_true(tel_str_is(x->point[0].metric, "g") && tel_str_is(x->point[0].unit, "ms"));
		assert_true(tel_str_is(x->point[0].scope, "s"));
		assert_true(x->point[0].value == 1.5 && x->point[1].value == -42);
		assert_true(tel_str_is(tel_attr_find(x->point[0].attr, x->point[0].attrs, "k"), "v\xc3\xa9"));
		assert_int_equal(x->point[0].time_us, 2000000);
		assert_int_equal(x->point[0].start_us, 1000000);
		assert_true(x->point[2].cumulative && x->point[2].monotonic && x->point[2].value == 7);
		assert_true(!x->point[3].cumulative && x->point[3].histogram->count == 3);
		assert_true(x->point[3].histogram->bucket[1] == 2 && x->point[3].histogram->bound[0] == 1.5);
		assert_true(x->point[3].histogram->max == 3 && x->point[3].histogram->sum == 6);
	}
}

static void exponential_buckets_become_bounds(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	const struct tel_histogram *h;

	(void)state;
	/* scale 0: (1,2] has 1, (2,4] has 2; [-2,-1) has 4; zero 3 */
	read_json(
		TEL_METRICS,
		METRICS("{\"name\":\"e\",\"exponentialHistogram\":{\"aggregationTemporality\":1,\"dataPoints\":[{" AT
			",\"count\":10,\"scale\":0,\"zeroCount\":3,\"positive\":{\"offset\":0,\"bucketCounts\":[\"1\",\"2\"]},"
			"\"negative\":{\"offset\":0,\"bucketCounts\":[\"4\"]}}]}}"),
		&b);
	assert_int_equal(b.records, 1);
	h = b.point[0].histogram;
	assert_non_null(h);
	assert_int_equal(h->bounds, 6);
	for (uint32_t i = 0; i < h->bounds; i++) {
		static const double bound[] = { -2, -1, 0, 1, 2, 4 };
		static const uint64_t count[] = { 0, 4, 3, 0, 1, 2 };

		assert_true(h->bound[i] == bound[i]);
		assert_int_equal(h->bucket[i], count[i]);
	}
}

static void a_summary_is_its_quantiles_and_a_count(void **state)
{
	AUTO(tel_batch) struct tel_batch b;

	(void)state;
	read_json(
		TEL_METRICS,
		METRICS("{\"name\":\"s\",\"summary\":{\"dataPoints\":[{" AT
			",\"count\":\"10\",\"sum\":20,\"attributes\":[" ATTR(
				"z",
				"1") "],"
				     "\"quantileValues\":[{\"quantile\":0.5,\"value\":2},{\"quantile\":0.99,\"value\":5}]}]}}"),
		&b);
	assert_int_equal(b.records, 3);
	assert_int_equal(b.point[0].kind, TEL_GAUGE);
	assert_true(b.point[1].value == 5);
	assert_true(tel_str_is(tel_attr_find(b.point[1].attr, b.point[1].attrs, "quantile"), "0.99"));
	assert_true(tel_str_is(tel_attr_find(b.point[1].attr, b.point[1].attrs, "z"), "1"));
	assert_true(b.point[2].kind == TEL_HISTOGRAM && b.point[2].cumulative &&
		    b.point[2].histogram->sum == 20);
	assert_true(tel_attr_find(b.point[2].attr, b.point[2].attrs, "quantile").n == 0);
}

static void a_broken_point_never_takes_its_batch_along(void **state)
{
	AUTO(tel_batch) struct tel_batch b, one;
	AUTO(text) struct text answer = { 0 };

	(void)state;
	read_json(TEL_METRICS,
		  METRICS("{\"name\":\"g\",\"gauge\":{\"dataPoints\":[{" AT ",\"asDouble\":\"NaN\"},{" AT
			  ",\"asDouble\":2},{\"asDouble\":3},{" AT "},{" AT ",\"flags\":1},7]}}"),
		  &b);
	assert_int_equal(b.records, 1);
	assert_int_equal(b.rejected, 4);
	assert_int_equal(b.stale, 1);
	otlp_answer_json(&b, &answer);
	assert_non_null(strstr(answer.s, "\"rejectedDataPoints\":\"4\""));
	/* what was rejected can be sent again by itself */
	read_json(TEL_METRICS, b.reject[1].record, &one);
	assert_int_equal(one.records, 0);
	assert_int_equal(one.rejected, 1);
	assert_string_equal(one.reject[0].why, b.reject[1].why);
}

static void log_records_survive_protobuf(void **state)
{
	AUTO(tel_batch) struct tel_batch b, c;
	AUTO(text) struct text bytes = { 0 };

	(void)state;
	read_json(
		TEL_LOGS,
		"{\"resourceLogs\":[{\"resource\":{\"attributes\":[" ATTR(
			"host.name",
			"h") "]},\"scopeLogs\":[{\"logRecords\":["
			     "{\"timeUnixNano\":\"1544712660300000000\",\"severityNumber\":17,\"severityText\":\"Error\","
			     "\"traceId\":\"5B8EFFF798038103D269B633813FC60C\",\"spanId\":\"EEE19B7EC3C1B174\",\"body\":{\"stringValue\":\"it\\u0000broke\"},"
			     "\"attributes\":[{\"key\":\"n\",\"value\":{\"intValue\":\"10\"}},{\"key\":\"m\",\"value\":{\"kvlistValue\":{\"values\":["
			     "{\"key\":\"a\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"},{\"boolValue\":true}]}}}]}}}]},"
			     "{\"observedTimeUnixNano\":\"1544712660300000000\",\"severityText\":\"warn\"}]}]}]}",
		&b);
	again(&b, &bytes, &c);
	assert_int_equal(c.records, 2);
	assert_true(tel_str_is(c.log[0].body, "it?broke"));
	assert_int_equal(c.log[0].severity, 17);
	assert_true(c.log[0].has_trace && c.log[0].trace_id[0] == 0x5b && c.log[0].has_span);
	assert_true(tel_str_is(tel_attr_find(c.log[0].attr, c.log[0].attrs, "m"), "{\"a\":[1,true]}"));
	assert_true(tel_str_is(tel_attr_find(c.log[0].attr, c.log[0].attrs, "n"), "10"));
	assert_int_equal(c.log[1].severity, 13);
	assert_int_equal(c.log[1].time_us, INT64_C(1544712660300000));
}

static void spans_survive_protobuf_and_need_ids_and_times(void **state)
{
	AUTO(tel_batch) struct tel_batch b, c;
	AUTO(text) struct text bytes = { 0 };

	(void)state;
	read_json(
		TEL_SPANS,
		"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":["
		"{\"traceId\":\"5b8efff798038103d269b633813fc60c\",\"spanId\":\"eee19b7ec3c1b174\",\"parentSpanId\":\"eee19b7ec3c1b173\","
		"\"name\":\"GET\",\"kind\":\"SPAN_KIND_CLIENT\",\"startTimeUnixNano\":\"1000000000\",\"endTimeUnixNano\":\"1500000000\","
		"\"status\":{\"code\":2,\"message\":\"no\"}},"
		"{\"traceId\":\"00000000000000000000000000000000\",\"spanId\":\"eee19b7ec3c1b174\",\"startTimeUnixNano\":\"1\",\"endTimeUnixNano\":\"2\"},"
		"{\"traceId\":\"5b8efff798038103d269b633813fc60c\",\"spanId\":\"eee19b7ec3c1b174\",\"startTimeUnixNano\":\"3000\",\"endTimeUnixNano\":\"2000\"}"
		"]}]}]}",
		&b);
	assert_int_equal(b.rejected, 2);
	again(&b, &bytes, &c);
	assert_int_equal(c.records, 1);
	assert_true(c.span[0].error && c.span[0].has_parent && c.span[0].kind == TEL_SPAN_CLIENT);
	assert_true(c.span[0].end_us - c.span[0].start_us == 500000 &&
		    tel_str_is(c.span[0].status_text, "no"));
}

static void a_large_batch_is_written_in_parts_that_fit(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	AUTO(text) struct text body = { 0 };
	uint32_t at = 0, seen = 0;
	struct oc_fail why;

	(void)state;
	text_add(&body, "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[");
	for (int i = 0; i < 1000; i++)
		text_addf(&body, "%s{\"timeUnixNano\":\"%d000000\",\"body\":{\"stringValue\":\"line %d\"}}",
			  i ? "," : "", i + 1, i);
	text_add(&body, "]}]}]}");
	read_json(TEL_LOGS, body.s, &b);
	while (at < b.records) {
		AUTO(text) struct text part = { 0 };
		AUTO(tel_batch) struct tel_batch c;

		at = otlp_write(&b, NULL, at, b.records, 4096, &part);
		assert_true(part.len < 4096 + 200);
		assert_int_equal(otlp_read_protobuf(TEL_LOGS, part.s, part.len, &c, &why), OC_OK);
		for (uint32_t i = 0; i < c.records; i++)
			assert_int_equal(c.log[i].time_us, (int64_t)(++seen) * 1000);
	}
	assert_int_equal(seen, 1000);
}

static void broken_protobuf_is_refused_whole(void **state)
{
	AUTO(tel_batch) struct tel_batch b, c;
	AUTO(text) struct text bytes = { 0 };
	struct oc_fail why = { 0 };

	(void)state;
	read_json(TEL_METRICS,
		  METRICS("{\"name\":\"g\",\"gauge\":{\"dataPoints\":[{" AT ",\"asDouble\":1.5}]}}"), &b);
	otlp_write(&b, NULL, 0, 1, 0, &bytes);
	for (size_t n = 1; n < bytes.len; n++) /* cut anywhere */
		assert_int_equal(otlp_read_protobuf(TEL_METRICS, bytes.s, n, &c, &why), OC_BAD_REQUEST);
	assert_int_equal(otlp_read_protobuf(TEL_METRICS, "\x0a\xff\xff\xff\xff\x0f", 6, &c, &why),
			 OC_BAD_REQUEST);
}

static void an_answer_says_what_was_rejected(void **state)
{
	struct tel_batch b;
	AUTO(text) struct text none = { 0 }, some = { 0 };
	struct pb in;
	struct pb_field f, g;

	(void)state;
	tel_batch_init(&b, TEL_SPANS);
	otlp_answer_protobuf(&b, &none);
	assert_int_equal(none.len, 0);
	tel_reject(&b, 3, NULL, "no good");
	otlp_answer_protobuf(&b, &some);
	in = pb_of(some.s, some.len);
	assert_true(pb_next(&in, &f) && f.num == 1);
	in = pb_sub(&f);
	assert_true(pb_next(&in, &g) && g.num == 1 && g.u == 3);
	assert_true(pb_next(&in, &g) && g.num == 2 && g.n == 7);
	tel_batch_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_survive_protobuf),
		cmocka_unit_test(exponential_buckets_become_bounds),
		cmocka_unit_test(a_summary_is_its_quantiles_and_a_count),
		cmocka_unit_test(a_broken_point_never_takes_its_batch_along),
		cmocka_unit_test(log_records_survive_protobuf),
		cmocka_unit_test(spans_survive_protobuf_and_need_ids_and_times),
		cmocka_unit_test(a_large_batch_is_written_in_parts_that_fit),
		cmocka_unit_test(broken_protobuf_is_refused_whole),
		cmocka_unit_test(an_answer_says_what_was_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
