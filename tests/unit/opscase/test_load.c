/* The made-up shop: the same seed makes the same load, in the numbers that were asked for, and it makes sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "apps/opscase/load.h"
#include "ingest/otlp.h"

#define FROM INT64_C(1767225600000000)
#define TO   (FROM + 60000000)

static const struct load_shape shape = { .seed = 7, .services = 10, .error_share = 0.1 };

static void make(struct load *l, enum tel_kind kind, uint32_t n, struct tel_batch *b)
{
	struct oc_fail why = { 0 };

	if (load_batch(l, kind, FROM, TO, n, b, &why) != OC_OK)
		fail_msg("%s", why.text);
}

static void the_same_seed_makes_the_same_bytes(void **state)
{
	(void)state;
	for (unsigned k = 0; k < TEL_KINDS; k++) {
		struct text bytes[3] = { { 0 } };

		for (int i = 0; i < 3; i++) {
			struct load_shape s = shape;
			AUTO(load) struct load *l = NULL;
			AUTO(tel_batch) struct tel_batch b = { 0 };

			s.seed += i == 2;
			l = load_new(&s);
			make(l, k, 300, &b);
			otlp_write(&b, NULL, 0, b.records, 0, &bytes[i]);
		}
		assert_int_equal(bytes[0].len, bytes[1].len);
		assert_memory_equal(bytes[0].s, bytes[1].s, bytes[0].len);
		assert_true(bytes[2].len != bytes[0].len ||
			    memcmp(bytes[0].s, bytes[2].s, bytes[0].len) != 0);
		for (int i = 0; i < 3; i++)
			text_done(&bytes[i]);
	}
}

static void there_are_as_many_as_were_asked_for_each_in_its_time(void **state)
{
	AUTO(load) struct load *l = load_new(&shape);
	AUTO(tel_batch) struct tel_batch logs = { 0 }, points = { 0 };

	(void)state;
	make(l, TEL_LOGS, 5000, &logs);
	make(l, TEL_METRICS, 500, &points);
	assert_int_equal(logs.records, 5000);
	assert_int_equal(points.records, 500);
	for (uint32_t i = 0; i < logs.records; i++) {
		assert_in_range(logs.log[i].time_us, FROM, TO - 1);
		assert_true(logs.log[i].body.n > 0 && !memchr(logs.log[i].body.s, '%', logs.log[i].body.n));
	}
	assert_int_equal(logs.resources, 10);
}

static void counters_only_grow(void **state)
{
	AUTO(load) struct load *l = load_new(&shape);
	double last[64] = { 0 };

	(void)state;
	for (int round = 0; round < 3; round++) {
		AUTO(tel_batch) struct tel_batch b = { 0 };

		make(l, TEL_METRICS, 40, &b);
		for (uint32_t i = 0; i < b.records; i++)
			if (b.point[i].kind == TEL_SUM) {
				assert_true(b.point[i].value > last[b.point[i].resource]);
				last[b.point[i].resource] = b.point[i].value;
			}
	}
}

static void a_called_one_works_while_its_caller_waits(void **state)
{
	AUTO(load) struct load *l = load_new(&shape);
	AUTO(tel_batch) struct tel_batch b = { 0 };
	uint32_t children = 0;

	(void)state;
	make(l, TEL_SPANS, 1000, &b);
	assert_true(b.records >= 1000 && b.records < 1000 + 2 * 16);
	for (uint32_t i = 0; i < b.records; i++) {
		const struct tel_span *s = &b.span[i];
		bool found = false;

		assert_true(s->end_us > s->start_us);
		for (uint32_t k = 0; k < i && s->has_parent; k++)
			if (memcmp(b.span[k].span_id, s->parent_id, 8) == 0) {
				found = memcmp(b.span[k].trace_id, s->trace_id, 16) == 0;
				assert_true(b.span[k].start_us <= s->start_us &&
					    b.span[k].end_us >= s->end_us);
			}
		assert_true(!s->has_parent || found);
		children += s->has_parent;
	}
	assert_true(children > 500);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_makes_the_same_bytes),
		cmocka_unit_test(there_are_as_many_as_were_asked_for_each_in_its_time),
		cmocka_unit_test(counters_only_grow),
		cmocka_unit_test(a_called_one_works_while_its_caller_waits),
	};

	return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
