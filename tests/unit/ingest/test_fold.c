#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "ingest/fold.h"

#define S     INT64_C(1000000)
#define FRESH (120 * S)

static struct tel_point counter(int64_t start_s, int64_t at_s, double value)
{
	return (struct tel_point){ .kind = TEL_SUM,
				   .cumulative = true,
				   .monotonic = true,
				   .start_us = start_s * S,
				   .time_us = at_s * S,
				   .value = value };
}

/* -1: not taken */
static double increase(json_t *state, struct tel_point p, double *ret_seconds)
{
	struct fold_delta d;
	enum fold_result r = fold_point(&p, state, FRESH, &d);

	double value = r == FOLD_TAKEN ? d.value : -1;

	if (ret_seconds)
		*ret_seconds = d.seconds;
	fold_delta_done(&d);
	return value;
}

static void a_cumulative_sum_counts_what_it_grew_by(void **state)
{
	AUTO(json) json_t *kept = json_object();
	double seconds;

	(void)state;
	assert_true(increase(kept, counter(1000, 90000, 500), NULL) == -1); /* long under way: only a mark */
	assert_true(increase(kept, counter(1000, 90010, 530), &seconds) == 30);
	assert_true(seconds == 10);
	assert_true(increase(kept, counter(1000, 90020, 530), NULL) == 0);
}

static void one_that_has_just_begun_counts_from_its_beginning(void **state)
{
	AUTO(json) json_t *kept = json_object();
	double seconds;

	(void)state;
	assert_true(increase(kept, counter(1000, 1010, 7), &seconds) == 7);
	assert_true(seconds == 10);
}

static void a_new_start_time_is_a_reset(void **state)
{
	AUTO(json) json_t *kept = json_object();
	double seconds;

	(void)state;
	increase(kept, counter(1000, 90000, 500), NULL);
	/* restarted, and already beyond the old value: only the start time shows it */
	assert_true(increase(kept, counter(90005, 90010, 600), &seconds) == 600);
	assert_true(seconds == 5);
}

static void a_smaller_value_is_a_reset_even_without_start_times(void **state)
{
	AUTO(json) json_t *kept = json_object();

	(void)state;
	increase(kept, counter(0, 90000, 500), NULL);
	assert_true(increase(kept, counter(0, 90010, 20), NULL) == 20);
	assert_true(increase(kept, counter(0, 90020, 25), NULL) == 5);
}

static void an_old_or_repeated_point_adds_nothing(void **state)
{
	AUTO(json) json_t *kept = json_object();

	(void)state;
	increase(kept, counter(1000, 90000, 500), NULL);
	increase(kept, counter(1000, 90010, 510), NULL);
	assert_true(increase(kept, counter(1000, 90010, 510), NULL) == -1);
	assert_true(increase(kept, counter(1000, 90005, 505), NULL) == -1);
	assert_true(increase(kept, counter(1000, 90020, 511), NULL) == 1);
}

static void a_cumulative_sum_that_may_fall_is_a_level(void **state)
{
	AUTO(json) json_t *kept = json_object();
	struct tel_point p = counter(1000, 90000, 12);
	struct fold_delta d;

	(void)state;
	p.monotonic = false;
	assert_int_equal(fold_point(&p, kept, FRESH, &d), FOLD_TAKEN);
	assert_int_equal(d.kind, TEL_GAUGE);
	assert_true(d.value == 12);
}

static void gauges_give_average_max_min_and_sum(void **state)
{
	struct fold_row row = { .sketch_whole = true };

	(void)state;
	for (int i = 1; i <= 100; i++)
		fold_add(&row, &(struct fold_delta){ .kind = TEL_GAUGE, .value = i }, 60);
	assert_int_equal(row.count, 100);
	assert_true(fabs(row.avg - 50.5) < 1e-9 && row.sum == 5050 && row.min == 1 && row.max == 100);
	fold_end(&row);
	assert_true(fabs(row.p95 - 95) <= 1.0);
	fold_row_done(&row);
}

static void counters_give_rates_and_the_increase(void **state)
{
	struct fold_row row = { .sketch_whole = true };

	(void)state;
	fold_add(&row, &(struct fold_delta){ .kind = TEL_SUM, .value = 20, .seconds = 10 }, 60);
	fold_add(&row, &(struct fold_delta){ .kind = TEL_SUM, .value = 60, .seconds = 10 }, 60);
	assert_true(row.sum == 80 && fabs(row.avg - 4) < 1e-9 && row.max == 6 && row.min == 2);
	/* no time given: as if it were the bucket's */
	fold_add(&row, &(struct fold_delta){ .kind = TEL_SUM, .value = 60 }, 60);
	assert_true(row.min == 1);
	fold_row_done(&row);
}

static const double bounds[] = { 10, 20, 50, 100 };

static struct tel_point histogram(struct tel_histogram *h, int64_t at_s, const uint64_t counts[5], double sum,
				  bool cumulative)
{
	*h = (struct tel_histogram){
		.has_sum = true, .sum = sum, .bounds = 4, .bound = bounds, .bucket = counts
	};
	for (int i = 0; i < 5; i++)
		h->count += counts[i];
	return (struct tel_point){ .kind = TEL_HISTOGRAM,
				   .cumulative = cumulative,
				   .monotonic = true,
				   .start_us = 1000 * S,
				   .time_us = at_s * S,
				   .histogram = h };
}

static void a_histogram_gives_average_and_p95(void **state)
{
	AUTO(json) json_t *kept = json_object();
	struct fold_row row = { .sketch_whole = true };
	uint64_t counts[5] = { 0, 90, 0, 10, 0 };
	struct tel_histogram h;
	struct tel_point p = histogram(&h, 2000, counts, 90 * 15 + 10 * 75, false);
	struct fold_delta d;

	(void)state;
	assert_int_equal(fold_point(&p, kept, FRESH, &d), FOLD_TAKEN);
	fold_add(&row, &d, 60);
	fold_delta_done(&d);
	assert_int_equal(row.count, 100);
	assert_true(fabs(row.avg - 21) < 1e-9);
	/* the 95th of 100 is in the middle of the bucket from 50 to 100 */
	fold_end(&row);
	assert_true(row.p95 > 65 && row.p95 < 80);
	assert_true(row.min == 10 && row.max == 100);
	fold_row_done(&row);
}

static void a_cumulative_histogram_is_taken_by_its_difference(void **state)
{
	AUTO(json) json_t *kept = json_object();
	struct fold_row row = { .sketch_whole = true };
	uint64_t before[5] = { 0, 1000, 0, 0, 0 }, after[5] = { 0, 1000, 0, 10, 0 },
		 anew[5] = { 3, 0, 0, 0, 0 };
	struct tel_histogram h[3];
	struct tel_point a = histogram(&h[0], 90000, before, 15000, true),
			 b = histogram(&h[1], 90010, after, 15750, true),
			 c = histogram(&h[2], 90020, anew, 15, true);
	struct fold_delta d;

	(void)state;
	assert_int_equal(fold_point(&a, kept, FRESH, &d), FOLD_BASELINE);
	assert_int_equal(fold_point(&b, kept, FRESH, &d), FOLD_TAKEN);
	assert_int_equal(d.count, 10);
	assert_true(d.sum == 750);
	fold_add(&row, &d, 60);
	fold_delta_done(&d);
	/* the thousand fast ones from before do not hide the ten slow ones */
	fold_end(&row);
	assert_true(row.p95 > 50 && fabs(row.avg - 75) < 1e-9);
	assert_int_equal(fold_point(&c, kept, FRESH, &d), FOLD_TAKEN);
	assert_int_equal(d.count, 3);
	fold_delta_done(&d);
	fold_row_done(&row);
}

static void a_histogram_without_buckets_makes_no_p95_up(void **state)
{
	struct fold_row row = { .sketch_whole = true };

	(void)state;
	fold_add(&row, &(struct fold_delta){ .kind = TEL_HISTOGRAM, .count = 3, .has_sum = true, .sum = 3 },
		 60);
	assert_true(row.has_avg && row.avg == 1 && row.count == 3);
	fold_end(&row);
	assert_false(row.has_p95);
	assert_null(row.sketch);
	fold_row_done(&row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cumulative_sum_counts_what_it_grew_by),
		cmocka_unit_test(one_that_has_just_begun_counts_from_its_beginning),
		cmocka_unit_test(a_new_start_time_is_a_reset),
		cmocka_unit_test(a_smaller_value_is_a_reset_even_without_start_times),
		cmocka_unit_test(an_old_or_repeated_point_adds_nothing),
		cmocka_unit_test(a_cumulative_sum_that_may_fall_is_a_level),
		cmocka_unit_test(gauges_give_average_max_min_and_sum),
		cmocka_unit_test(counters_give_rates_and_the_increase),
		cmocka_unit_test(a_histogram_gives_average_and_p95),
		cmocka_unit_test(a_cumulative_histogram_is_taken_by_its_difference),
		cmocka_unit_test(a_histogram_without_buckets_makes_no_p95_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
