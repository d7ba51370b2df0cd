/* Remote-write as Prometheus sends it, and as nobody should. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include <snappy-c.h>
#include "base/mem.h"
#include "ingest/proto.h"
#include "ingest/remote_write.h"

static void put_label(struct text *t, const char *name, const char *value)
{
	size_t at = pb_open(t, 1);

	pb_put_bytes(t, 1, name, strlen(name));
	pb_put_bytes(t, 2, value, strlen(value));
	pb_close(t, at);
}

static void put_sample(struct text *t, double value, int64_t ms)
{
	size_t at = pb_open(t, 2);

	pb_put_double(t, 1, value);
	pb_put_uint(t, 2, (uint64_t)ms);
	pb_close(t, at);
}

static enum oc_err read_packed(const struct text *request, struct tel_batch *b, struct oc_fail *why)
{
	size_t n = snappy_max_compressed_length(request->len);
	AUTO(str) char *packed = mem_alloc(n);

	assert_int_equal(snappy_compress(text_str(request), request->len, packed, &n), SNAPPY_OK);
	return remote_write_read(packed, n, b, why); /* and the body goes away */
}

static void read_ok(const struct text *request, struct tel_batch *b)
{
	struct oc_fail why = { 0 };

	if (read_packed(request, b, &why) != OC_OK)
		fail_msg("%s", why.text);
}

#define assert_text(s, want) assert_true(tel_str_is(s, want))

static void a_series_becomes_points_of_a_service(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	AUTO(text) struct text t = { 0 };
	size_t at = pb_open(&t, 1);

	(void)state;
	put_label(&t, "__name__", "http_requests_total");
	put_label(&t, "code", "200");
	put_label(&t, "instance", "10.0.0.1:8080");
	put_label(&t, "job", "cart");
	put_label(&t, "namespace", "shop");
	put_sample(&t, 7, 1000);
	put_sample(&t, 9, 61000);
	pb_close(&t, at);
	read_ok(&t, &b);
	assert_int_equal(b.kind, TEL_METRICS);
	assert_int_equal(b.records, 2);
	assert_int_equal(b.resources, 1);
	assert_text(b.resource[0].urn, "urn:k8s:svc:shop/cart");
	assert_text(b.point[0].metric, "http_requests_total");
	assert_text(tel_attr_find(b.point[0].attr, b.point[0].attrs, "code"), "200");
	assert_text(tel_attr_find(b.point[0].attr, b.point[0].attrs, "service.instance.id"), "10.0.0.1:8080");
	assert_null(tel_attr_find(b.point[0].attr, b.point[0].attrs, "job").s);
	assert_int_equal(b.point[0].kind, TEL_SUM);
	assert_true(b.point[0].cumulative && b.point[0].monotonic);
	assert_true(b.point[0].time_us == 1000000 && b.point[1].time_us == 61000000);
	assert_true(b.point[1].value == 9);
}

static void what_a_series_is_follows_from_its_name(void **state)
{
	static const struct {
		const char *name;
		double value;
		enum tel_point_kind kind;
	} names[] = {
		{ "up",          1,  TEL_GAUGE },
                { "x_total",     1,  TEL_SUM   },
                { "x_bucket",    1,  TEL_SUM   },
		{ "x_count",     1,  TEL_SUM   },
                { "x_sum",       1,  TEL_SUM   },
                { "x_sum",       -1, TEL_GAUGE },
		{ "_total_of_x", 1,  TEL_GAUGE }
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		AUTO(tel_batch) struct tel_batch b;
		AUTO(text) struct text t = { 0 };
		size_t at = pb_open(&t, 1);

		put_label(&t, "__name__", names[i].name);
		put_sample(&t, names[i].value, 1000);
		pb_close(&t, at);
		read_ok(&t, &b);
		assert_int_equal(b.records, 1);
		assert_int_equal(b.point[0].kind, names[i].kind);
	}
}

static void a_series_that_went_stale_is_no_mistake(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	AUTO(text) struct text t = { 0 };
	size_t at = pb_open(&t, 1);
	const uint64_t mark = UINT64_C(0x7ff0000000000002);
	double stale;

	(void)state;
	memcpy(&stale, &mark, sizeof(stale));
	put_label(&t, "__name__", "up");
	put_sample(&t, stale, 1000);
	put_sample(&t, NAN, 2000);
	put_sample(&t, 1, 3000);
	pb_close(&t, at);
	read_ok(&t, &b);
	assert_int_equal(b.records, 1);
	assert_int_equal(b.stale, 2);
	assert_int_equal(b.rejected, 0);
}

static void a_broken_series_leaves_the_others_and_can_be_sent_again(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	AUTO(text) struct text t = { 0 };
	size_t at = pb_open(&t, 1);

	(void)state;
	put_label(&t, "job", "nameless");
	put_sample(&t, 1, 1000);
	put_sample(&t, 2, 2000);
	pb_close(&t, at);
	at = pb_open(&t, 1);
	put_label(&t, "__name__", "infinite");
	put_sample(&t, INFINITY, 1000);
	put_sample(&t, 5, 0); /* no time */
	put_sample(&t, 6, -1);
	pb_close(&t, at);
	at = pb_open(&t, 1);
	put_label(&t, "__name__", "fine");
	put_sample(&t, 3, 1000);
	pb_close(&t, at);
	read_ok(&t, &b);
	assert_int_equal(b.records, 1);
	assert_text(b.point[0].metric, "fine");
	assert_int_equal(b.rejected, 5);
	assert_non_null(strstr(b.reject[0].why, "without a name"));
	assert_non_null(b.reject[0].record);
}

static void a_native_histogram_keeps_its_buckets(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	AUTO(text) struct text t = { 0 };
	size_t at = pb_open(&t, 1), h, s;

	(void)state;
	put_label(&t, "__name__", "latency");
	h = pb_open(&t, 4);
	pb_put_uint(&t, 1, 6);
	pb_put_double(&t, 3, 12.5);
	pb_put_uint(&t, 6, 1);
	/* two spans: bucket 1 (1, 2] and 2 (2, 4]; then one left out; then bucket 4 (8, 16] */
	s = pb_open(&t, 11);
	pb_put_uint(&t, 1, 2);
	pb_put_uint(&t, 2, 2);
	pb_close(&t, s);
	s = pb_open(&t, 11);
	pb_put_uint(&t, 1, 2);
	pb_put_uint(&t, 2, 1);
	pb_close(&t, s);
	pb_put_bytes(&t, 12, "\x02\x02\x01", 3); /* +1, +1, -1: 1, 2, 1 */
	pb_put_uint(&t, 15, 1000);
	pb_close(&t, h);
	pb_close(&t, at);
	/* 1 + 1 + 2 + 1 is not 6 */
	read_ok(&t, &b);
	assert_int_equal(b.records, 0);
	assert_int_equal(b.rejected, 1);
	tel_batch_done(&b);
	for (size_t i = 0; i + 1 < t.len; i++)
		if (t.s[i] == 8 && t.s[i + 1] == 6) /* the count: field 1, varint */
			t.s[i + 1] = 5;
	read_ok(&t, &b);
	assert_int_equal(b.rejected, 0);
	assert_int_equal(b.records, 1);
	assert_int_equal(b.point[0].kind, TEL_HISTOGRAM);
	assert_true(b.point[0].histogram->count == 5 && b.point[0].histogram->sum == 12.5);
	for (uint32_t i = 0; i < b.point[0].histogram->bounds; i++) {
		double upper = b.point[0].histogram->bound[i];
		uint64_t n = b.point[0].histogram->bucket[i];

		if (upper == 2 || upper == 16)
			assert_int_equal(n, 1);
		if (upper == 4)
			assert_int_equal(n, 2);
		if (upper == 8)
			assert_int_equal(n, 0);
	}
}

static void what_is_no_request_is_refused(void **state)
{
	static const char *const bodies[] = { "", "hello", "\xff\xff\xff\xff\xff", "\x05\x10zzzzz" };

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		AUTO(tel_batch) struct tel_batch b;
		struct oc_fail why = { 0 };

		if (i == 0) /* an empty block unpacks to nothing, but needs its length */
			assert_int_equal(remote_write_read(bodies[i], 0, &b, &why), OC_BAD_REQUEST);
		else
			assert_int_equal(remote_write_read(bodies[i], strlen(bodies[i]), &b, &why),
					 OC_BAD_REQUEST);
		assert_true(why.text[0]);
	}
}

static void a_block_that_unpacks_beyond_all_bounds_is_refused_before_it_is_unpacked(void **state)
{
	AUTO(tel_batch) struct tel_batch b;
	struct oc_fail why = { 0 };

	(void)state;
	assert_int_equal(remote_write_read("\xff\xff\xff\xff\x0f\x00", 6, &b, &why), OC_TOO_LARGE);
}

/* ---- what a real Prometheus sent, next to what an independent decoder made of it */

static char *file_bytes(const char *path, size_t *ret_n)
{
	AUTO(file) FILE *f = fopen(path, "re");
	struct text t = { 0 };
	char buf[8192];
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add_n(&t, buf, n);
	*ret_n = t.len;
	return text_take(&t);
}

static const struct tel_point *find(const struct tel_batch *b, json_t *labels, int64_t ms, uint32_t *from)
{
	for (uint32_t i = *from; i < b->records; i++) {
		const struct tel_point *p = &b->point[i];
		const char *key;
		json_t *value;
		bool same = p->time_us == ms * 1000 &&
			    tel_str_is(p->metric, json_string_value(json_object_get(labels, "__name__")));

		json_object_foreach(labels, key, value)
		{
			struct tel_str got =
				tel_attr_find(p->attr, p->attrs,
					      strcmp(key, "instance") == 0 ? "service.instance.id" : key);

			if (strcmp(key, "__name__") != 0 && strcmp(key, "job") != 0)
				same = same && got.s && tel_str_is(got, json_string_value(value));
		}
		if (same) {
			*from = i + 1; /* in the order of the request */
			return p;
		}
	}
	return NULL;
}

static void what_prometheus_sent_is_read_as_others_read_it(void **state)
{
	static const char *const numbers[] = { "001", "024", "054" };
	const char *dir = getenv("OPSCASE_DATA");
	AUTO(str)
	char *base = dir ? mem_printf("%s/prom_capture/remote_write", dir)
			 : mem_printf("%s/../shared/data/prom_capture/remote_write", OPSCASE_SOURCE_DIR);

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		AUTO(str) char *body_path = mem_printf("%s/%s.snappy.pb", base, numbers[i]);
		AUTO(str) char *truth_path = mem_printf("%s/%s.expected.json", base, numbers[i]);
		size_t n;
		AUTO(str) char *body = file_bytes(body_path, &n);
		AUTO(tel_batch) struct tel_batch b;
		struct oc_fail why = { 0 };
		json_t *truth, *series, *one;
		uint32_t points = 0, stale = 0, from = 0;
		size_t k, j;

		if (!body) {
			print_message("no %s: set OPSCASE_DATA\n", body_path);
			skip();
		}
		if (remote_write_read(body, n, &b, &why) != OC_OK)
			fail_msg("%s: %s", numbers[i], why.text);
		truth = json_load_file(truth_path, 0, NULL);
		assert_non_null(truth);
		json_array_foreach(json_object_get(truth, "timeseries"), k, series)
			json_array_foreach(json_object_get(series, "samples"), j, one)
		{
			const char *value = json_string_value(json_array_get(one, 1));
			const struct tel_point *p;

			if (strcmp(value, "stale") == 0 || strcmp(value, "nan") == 0) {
				stale++;
				continue;
			}
			points++;
			p = find(&b, json_object_get(series, "labels"),
				 json_integer_value(json_array_get(one, 0)), &from);
			if (!p)
				fail_msg("%s: no %s", numbers[i],
					 json_string_value(json_object_get(json_object_get(series, "labels"),
									   "__name__")));
			assert_true(p->value == strtod(value, NULL));
		}
		assert_int_equal(b.records, points);
		assert_int_equal(b.stale, stale);
		assert_int_equal(b.rejected, 0);
		json_decref(truth);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_series_becomes_points_of_a_service),
		cmocka_unit_test(what_a_series_is_follows_from_its_name),
		cmocka_unit_test(a_series_that_went_stale_is_no_mistake),
		cmocka_unit_test(a_broken_series_leaves_the_others_and_can_be_sent_again),
		cmocka_unit_test(a_native_histogram_keeps_its_buckets),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(a_block_that_unpacks_beyond_all_bounds_is_refused_before_it_is_unpacked),
		cmocka_unit_test(what_prometheus_sent_is_read_as_others_read_it),
	};

	return cmocka_run_group_tests_name("remote-write", tests, NULL, NULL);
}
