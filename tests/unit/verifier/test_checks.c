/* What measured buckets mean. Values in plain sight; no database. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "verifier/checks.h"

#define S INT64_C(1000000)

static const struct check_window five = { .from_us = 600 * S, .to_us = 900 * S, .bucket_s = 60 };
static const struct check_window five_before = { .from_us = 0, .to_us = 300 * S, .bucket_s = 60 };

static struct plan_check below(double threshold)
{
	return (struct plan_check){ .kind = CHECK_METRIC,
				    .aggregate = AGG_AVG,
				    .op = OP_LT,
				    .value = threshold,
				    .min_samples = 1,
				    .window_s = 300 };
}

static void bucket(struct measure *m, int64_t at_s, uint64_t count, double value)
{
	struct measure_bucket *b = measure_add(m);

	b->at_us = at_s * S;
	b->count = count;
	b->avg = b->max = b->min = b->p95 = value;
	b->sum = value * (double)count;
	b->has_avg = b->has_max = b->has_min = b->has_p95 = b->has_sum = true;
}

static struct check_result eval(const struct plan_check *c, const struct measure *now,
				const struct measure *before)
{
	struct check_result r;

	check_measured(c, &five, now, &five_before, before, &r);
	return r;
}

static void enough_good_samples_pass_and_bad_ones_fail(void **state)
{
	AUTO(measure) struct measure m = { 0 };
	struct plan_check c = below(0.05), d = below(0.01);
	struct check_result r;

	(void)state;
	for (int i = 0; i < 5; i++)
		bucket(&m, 600 + i * 60, 10, 0.02);
	r = eval(&c, &m, NULL);
	assert_int_equal(r.verdict, VERDICT_PASS);
	assert_true(fabs(r.value - 0.02) < 1e-9);
	assert_int_equal(r.samples, 50);
	assert_int_equal(eval(&d, &m, NULL).verdict, VERDICT_FAIL);
}

static void no_data_is_never_a_pass_whatever_the_check_asks(void **state)
{
	AUTO(measure) struct measure none = { 0 }, empty = { 0 };

	(void)state;
	bucket(&empty, 840, 0, 0.0); /* a row without samples */
	for (int agg = AGG_AVG; agg < AGG_NONE; agg++)
		for (int op = OP_LT; op < OP_NONE; op++) {
			struct plan_check c = below(1e9);

			c.aggregate = agg;
			c.op = op;
			c.value = op >= OP_GT ? 0 : 1e9;
			assert_int_equal(eval(&c, &none, NULL).verdict, VERDICT_INSUFFICIENT_DATA);
			assert_int_equal(eval(&c, &empty, NULL).verdict, VERDICT_INSUFFICIENT_DATA);
			c.no_data = NO_DATA_FAIL;
			assert_int_equal(eval(&c, &none, NULL).verdict, VERDICT_FAIL);
		}
}

static void a_query_that_failed_is_a_source_error(void **state)
{
	AUTO(measure) struct measure m = { .failed = true, .why = "statement timeout" };
	struct plan_check c = below(1);
	struct check_result r = eval(&c, &m, NULL);

	(void)state;
	c.no_data = NO_DATA_FAIL;
	assert_int_equal(r.verdict, VERDICT_SOURCE_ERROR);
	assert_non_null(strstr(r.text, "statement timeout"));
	assert_true(r.may_change);
	/* not even where missing data counts as failed: nobody knows whether it is missing */
	assert_int_equal(eval(&c, &m, NULL).verdict, VERDICT_SOURCE_ERROR);
}

static void not_a_number_is_inconclusive(void **state)
{
	static const double bad[] = { NAN, INFINITY, -INFINITY };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		for (int agg = AGG_AVG; agg <= AGG_P95; agg++) {
			AUTO(measure) struct measure m = { 0 };
			struct plan_check c = below(1e300);

			c.aggregate = agg;
			bucket(&m, 780, 10, 0.1);
			bucket(&m, 840, 10, bad[i]);
			assert_int_equal(eval(&c, &m, NULL).verdict, VERDICT_INCONCLUSIVE);
		}
}

static void too_few_samples_are_insufficient_however_good(void **state)
{
	AUTO(measure) struct measure m = { 0 };
	struct plan_check c = below(1);

	(void)state;
	c.min_samples = 11;
	bucket(&m, 840, 10, 0.0);
	assert_int_equal(eval(&c, &m, NULL).verdict, VERDICT_INSUFFICIENT_DATA);
	bucket(&m, 780, 1, 0.0);
	assert_int_equal(eval(&c, &m, NULL).verdict, VERDICT_PASS);
}

static void a_source_that_fell_silent_after_the_change_proves_nothing(void **state)
{
	AUTO(measure) struct measure m = { 0 };
	struct plan_check c = below(1);

	(void)state;
	bucket(&m, 600, 100, 0.0);
	bucket(&m, 660, 100, 0.0);
	assert_int_equal(eval(&c, &m, NULL).verdict, VERDICT_INSUFFICIENT_DATA);
	bucket(&m, 720, 100, 0.0);
	assert_int_equal(eval(&c, &m, NULL).verdict, VERDICT_PASS);
}

static void samples_outside_of_the_window_do_not_count(void **state)
{
	AUTO(measure) struct measure m = { 0 };
	struct plan_check c = below(1);

	(void)state;
	bucket(&m, 540, 100, 0.0); /* the bucket in which the change fell */
	bucket(&m, 900, 100, 0.0);
	assert_int_equal(eval(&c, &m, NULL).verdict, VERDICT_INSUFFICIENT_DATA);
}

static void the_average_is_weighted_by_the_number_of_samples(void **state)
{
	AUTO(measure) struct measure m = { 0 };
	struct plan_check c = below(10);

	(void)state;
	bucket(&m, 720, 99, 1);
	bucket(&m, 840, 1, 101);
	assert_true(fabs(eval(&c, &m, NULL).value - 2.0) < 1e-9);
}

static void max_min_sum_and_count_are_what_they_say(void **state)
{
	static const struct {
		enum plan_aggregate how;
		double want;
	} rows[] = {
		{ AGG_MAX,   7             },
                { AGG_MIN,   3             },
                { AGG_SUM,   2 * 3 + 4 * 7 },
                { AGG_COUNT, 6             }
	};
	AUTO(measure) struct measure m = { 0 };

	(void)state;
	bucket(&m, 720, 2, 3);
	bucket(&m, 840, 4, 7);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct plan_check c = below(1000);

		c.aggregate = rows[i].how;
		assert_true(fabs(eval(&c, &m, NULL).value - rows[i].want) < 1e-9);
	}
}

static void p95_comes_from_merged_sketches_where_every_bucket_has_one(void **state)
{
	AUTO(measure) struct measure m = { 0 };
	struct plan_check c = below(1000);
	struct check_result r;

	(void)state;
	c.aggregate = AGG_P95;
	/* one slow sample in a small bucket: its own p95 is 500, that of all samples is 10 */
	bucket(&m, 720, 1000, 10);
	m.bucket[0].sketch = sketch_new();
	sketch_add(m.bucket[0].sketch, 10, 1000);
	bucket(&m, 840, 1, 500);
	m.bucket[1].sketch = sketch_new();
	sketch_add(m.bucket[1].sketch, 500, 1);
	r = eval(&c, &m, NULL);
	assert_true(fabs(r.value - 10) <= 0.1);
	assert_string_equal(r.p95_from, "sketch");

	sketch_free(m.bucket[0].sketch);
	m.bucket[0].sketch = NULL;
	r = eval(&c, &m, NULL);
	assert_true(fabs(r.value - 500) < 1e-9);
	assert_string_equal(r.p95_from, "largest bucket");
}

static struct plan_check half_of_before(void)
{
	struct plan_check c = below(0.5);

	c.against_baseline = true;
	c.op = OP_LE;
	return c;
}

static void a_ratio_is_held_against_the_window_before(void **state)
{
	AUTO(measure) struct measure now = { 0 }, before = { 0 };
	struct plan_check c = half_of_before();
	struct check_result r;

	(void)state;
	bucket(&before, 120, 10, 100);
	bucket(&now, 840, 10, 50);
	r = eval(&c, &now, &before);
	assert_int_equal(r.verdict, VERDICT_PASS);
	assert_true(r.limit == 50 && r.baseline == 100);
	bucket(&now, 780, 10, 60);
	assert_int_equal(eval(&c, &now, &before).verdict, VERDICT_FAIL);
}

static void without_a_baseline_a_ratio_never_passes(void **state)
{
	AUTO(measure)
	struct measure now = { 0 }, none = { 0 }, broken = { .failed = true }, nan = { 0 }, negative = { 0 };
	struct plan_check c = half_of_before();

	(void)state;
	bucket(&now, 840, 10, 0);
	bucket(&nan, 120, 10, NAN);
	bucket(&negative, 120, 10, -5);
	c.no_data = NO_DATA_FAIL; /* speaks of the window after the change only */
	assert_int_equal(eval(&c, &now, &none).verdict, VERDICT_INSUFFICIENT_DATA);
	assert_int_equal(eval(&c, &now, NULL).verdict, VERDICT_INCONCLUSIVE);
	assert_int_equal(eval(&c, &now, &broken).verdict, VERDICT_SOURCE_ERROR);
	assert_int_equal(eval(&c, &now, &nan).verdict, VERDICT_INCONCLUSIVE);
	assert_int_equal(eval(&c, &now, &negative).verdict, VERDICT_INCONCLUSIVE);
}

static void a_baseline_of_zero_passes_only_zero(void **state)
{
	AUTO(measure) struct measure zero = { 0 }, some = { 0 }, before = { 0 };
	struct plan_check c = half_of_before();

	(void)state;
	bucket(&before, 120, 10, 0);
	bucket(&zero, 840, 10, 0);
	bucket(&some, 840, 10, 1);
	assert_int_equal(eval(&c, &zero, &before).verdict, VERDICT_PASS);
	assert_int_equal(eval(&c, &some, &before).verdict, VERDICT_FAIL);
}

static void sums_are_compared_over_equal_time(void **state)
{
	AUTO(measure) struct measure now = { 0 }, before = { 0 };
	static const struct check_window hour = { .from_us = -3300 * S, .to_us = 300 * S, .bucket_s = 60 };
	struct plan_check c = half_of_before();
	struct check_result r;

	(void)state;
	c.aggregate = AGG_SUM;
	bucket(&before, 120, 1200, 1); /* 1200 in an hour are 100 in five minutes */
	bucket(&now, 840, 40, 1);
	check_measured(&c, &five, &now, &hour, &before, &r);
	assert_true(fabs(r.baseline - 100) < 1e-9);
	assert_int_equal(r.verdict, VERDICT_PASS);
}

static void what_the_adapter_says_is_a_verdict(void **state)
{
	struct check_result r;

	(void)state;
	check_probed(PROBE_IN_PLACE, true, NULL, &r);
	assert_int_equal(r.verdict, VERDICT_PASS);
	check_probed(PROBE_NOT_IN_PLACE, true, NULL, &r);
	assert_int_equal(r.verdict, VERDICT_FAIL);
	check_probed(PROBE_UNCLEAR, true, NULL, &r);
	assert_int_equal(r.verdict, VERDICT_INCONCLUSIVE);
	check_probed(PROBE_NOT_ASKED, true, "runner lost", &r);
	assert_int_equal(r.verdict, VERDICT_SOURCE_ERROR);
	/* of a step that takes another back */
	check_probed(PROBE_NOT_IN_PLACE, false, NULL, &r);
	assert_int_equal(r.verdict, VERDICT_PASS);
	check_probed(PROBE_IN_PLACE, false, NULL, &r);
	assert_int_equal(r.verdict, VERDICT_FAIL);
	check_probed(PROBE_UNCLEAR, false, NULL, &r);
	assert_int_equal(r.verdict, VERDICT_INCONCLUSIVE);
}

static void a_url_without_an_answer_is_a_source_error(void **state)
{
	struct plan_check c = { .kind = CHECK_HTTP, .expect_status = 204 };
	struct check_result r;

	(void)state;
	check_http(&c, 0, "connection refused", &r);
	assert_int_equal(r.verdict, VERDICT_SOURCE_ERROR);
	check_http(&c, 204, NULL, &r);
	assert_int_equal(r.verdict, VERDICT_PASS);
	check_http(&c, 200, NULL, &r);
	assert_int_equal(r.verdict, VERDICT_FAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enough_good_samples_pass_and_bad_ones_fail),
		cmocka_unit_test(no_data_is_never_a_pass_whatever_the_check_asks),
		cmocka_unit_test(a_query_that_failed_is_a_source_error),
		cmocka_unit_test(not_a_number_is_inconclusive),
		cmocka_unit_test(too_few_samples_are_insufficient_however_good),
		cmocka_unit_test(a_source_that_fell_silent_after_the_change_proves_nothing),
		cmocka_unit_test(samples_outside_of_the_window_do_not_count),
		cmocka_unit_test(the_average_is_weighted_by_the_number_of_samples),
		cmocka_unit_test(max_min_sum_and_count_are_what_they_say),
		cmocka_unit_test(p95_comes_from_merged_sketches_where_every_bucket_has_one),
		cmocka_unit_test(a_ratio_is_held_against_the_window_before),
		cmocka_unit_test(without_a_baseline_a_ratio_never_passes),
		cmocka_unit_test(a_baseline_of_zero_passes_only_zero),
		cmocka_unit_test(sums_are_compared_over_equal_time),
		cmocka_unit_test(what_the_adapter_says_is_a_verdict),
		cmocka_unit_test(a_url_without_an_answer_is_a_source_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
