#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "analyst/detect.h"

#define MONDAY INT64_C(1767571200) /* 2026-01-05T00:00:00Z */
#define DAY    INT64_C(86400)
#define WEEK   (7 * DAY)

/* Its own generator: the same numbers everywhere. */
static uint64_t seed;

static double uniform(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (double)(seed >> 11) / 9007199254740992.0;
}

static double normal(void)
{
	double sum = -6;

	for (int i = 0; i < 12; i++)
		sum += uniform();
	return sum;
}

/* A day's rise and fall with noise, as traffic has it. */
static double traffic(int64_t t)
{
	return 100 - 40 * cos(2 * M_PI * (double)(t % DAY) / DAY) + 3 * normal();
}

static int feed(struct detector *d, double (*at)(int64_t), int64_t from, int64_t to, int64_t step,
		struct detect_result *ret_first)
{
	struct detect_result r;
	int alarms = 0;

	for (int64_t t = from; t < to; t += step) {
		detector_step(d, t, at(t), DETECT_FALSE_ALARMS_DEFAULT, &r);
		if (r.alarm && ++alarms == 1 && ret_first)
			*ret_first = r;
	}
	return alarms;
}

static void quiet_week_of(double (*at)(int64_t), double limit, double *ret_per_week)
{
	int alarms = 0, weeks = 0;

	for (int series = 0; series < 40; series++) {
		struct detector d;
		struct detect_result r;

		seed = (uint64_t)series * 7919 + 1;
		detector_init(&d);
		for (int64_t t = MONDAY; t < MONDAY + 4 * WEEK; t += 300) {
			detector_step(&d, t, at(t), limit, &r);
			alarms += r.alarm && t >= MONDAY + WEEK;
		}
		weeks += 3;
	}
	*ret_per_week = (double)alarms / weeks;
}

static double noise(int64_t t)
{
	(void)t;
	return 50 + 5 * normal();
}

static double skewed(int64_t t)
{
	(void)t;
	return exp(3 + .5 * normal());
}

static double counts(int64_t t)
{
	double n = 0, product = uniform();

	(void)t;
	for (; product > exp(-3); n++)
		product *= uniform();
	return n;
}

static double working_week(int64_t t)
{
	int64_t day = (t / DAY + 4) % 7;

	return (day == 0 || day == 6 ? .5 : 1) * traffic(t);
}

static void the_score_means_false_alarms_a_week_whatever_the_series_looks_like(void **state)
{
	double (*const quiet[])(int64_t) = { noise, skewed, counts, traffic, working_week };
	double sum = 0, seen;

	(void)state;
	for (size_t i = 0; i < sizeof(quiet) / sizeof(quiet[0]); i++) {
		quiet_week_of(quiet[i], DETECT_FALSE_ALARMS_DEFAULT, &seen);
		assert_true(seen <= 3 * DETECT_FALSE_ALARMS_DEFAULT);
		sum += seen;
	}
	sum /= sizeof(quiet) / sizeof(quiet[0]);
	assert_true(sum > DETECT_FALSE_ALARMS_DEFAULT / 3 && sum < DETECT_FALSE_ALARMS_DEFAULT * 2);
	quiet_week_of(noise, DETECT_FALSE_ALARMS_DEFAULT / 10, &seen);
	assert_true(seen <= 2 * DETECT_FALSE_ALARMS_DEFAULT / 10);
}

static double level_from;

static double shifted(int64_t t)
{
	return noise(t) + (t >= (int64_t)level_from ? 40 : 0);
}

static void a_change_of_level_is_one_alarm_within_minutes(void **state)
{
	struct detector d;
	struct detect_result r = { 0 };

	(void)state;
	seed = 11;
	detector_init(&d);
	level_from = (double)(MONDAY + 3 * DAY);
	feed(&d, shifted, MONDAY, MONDAY + 3 * DAY, 60, NULL);
	assert_int_equal(feed(&d, shifted, MONDAY + 3 * DAY, MONDAY + 3 * DAY + 300, 60, &r), 1);
	assert_true(r.level > 45 && r.level < 55);
	/* The longer it holds, the surer: a single sample may be one in a month. */
	detector_step(&d, MONDAY + 3 * DAY + 300, 92, DETECT_FALSE_ALARMS_DEFAULT, &r);
	assert_true(r.odd && !r.alarm);
	assert_true(r.false_alarms < DETECT_FALSE_ALARMS_DEFAULT / 10);
	assert_int_equal(feed(&d, shifted, MONDAY + 3 * DAY + 360, MONDAY + 3 * DAY + 3600, 60, NULL), 0);
}

static double no_morning(int64_t t)
{
	return t >= MONDAY + 9 * DAY ? 60 + 3 * normal() : traffic(t);
}

static void a_morning_rise_that_does_not_come_is_found_though_the_value_is_an_old_friend(void **state)
{
	struct detector d;
	struct detect_result r = { 0 };

	(void)state;
	seed = 5;
	detector_init(&d);
	feed(&d, no_morning, MONDAY, MONDAY + 9 * DAY, 300, NULL);
	assert_true(feed(&d, no_morning, MONDAY + 9 * DAY, MONDAY + 9 * DAY + DAY / 2, 300, &r) >= 1);
	assert_true(r.look == DETECT_SEASON || r.look == DETECT_SUSTAINED);
	assert_true(r.lo > 60);
}

static double stuck(int64_t t)
{
	return t >= MONDAY + 2 * DAY ? 51.5 : noise(t);
}

static void a_series_that_stops_moving_is_found(void **state)
{
	struct detector d;
	struct detect_result r = { 0 };

	(void)state;
	seed = 3;
	detector_init(&d);
	feed(&d, stuck, MONDAY, MONDAY + 2 * DAY, 60, NULL);
	assert_true(feed(&d, stuck, MONDAY + 2 * DAY, MONDAY + 2 * DAY + 6 * 3600, 60, &r) >= 1);
	assert_int_equal(r.look, DETECT_FLAT);
}

static double constant(int64_t t)
{
	(void)t;
	return 7;
}

static void a_series_that_never_moved_is_no_news(void **state)
{
	struct detector d;

	(void)state;
	detector_init(&d);
	assert_int_equal(feed(&d, constant, MONDAY, MONDAY + 5 * DAY, 60, NULL), 0);
}

static void a_gap_is_five_steps_and_longer_than_the_gaps_before(void **state)
{
	struct detector d;

	(void)state;
	seed = 1;
	detector_init(&d);
	feed(&d, noise, MONDAY, MONDAY + DAY, 60, NULL);
	assert_false(detector_gap(&d, MONDAY + DAY + 180));
	assert_true(detector_gap(&d, MONDAY + DAY + 360));
	feed(&d, noise, MONDAY + DAY + 900, MONDAY + DAY + 1800, 60, NULL);
	assert_false(detector_gap(&d, MONDAY + DAY + 1800 + 1800));
	assert_true(detector_gap(&d, MONDAY + DAY + 1800 + 3600));
}

static void what_is_no_number_or_comes_late_changes_nothing(void **state)
{
	struct detector d, same;
	struct detect_result r;

	(void)state;
	seed = 2;
	detector_init(&d);
	feed(&d, noise, MONDAY, MONDAY + DAY, 60, NULL);
	same = d;
	detector_step(&d, MONDAY + 2 * DAY, NAN, .6, &r);
	assert_false(r.odd);
	detector_step(&d, MONDAY + 2 * DAY, INFINITY, .6, &r);
	detector_step(&d, MONDAY + 2 * DAY, 1e300, .6, &r);
	detector_step(&d, MONDAY + DAY - 60, 1e9, .6, &r);
	assert_false(r.odd);
	assert_memory_equal(&d, &same, sizeof(d));
}

static void the_unit_of_a_series_does_not_matter(void **state)
{
	struct detector a, b;
	struct detect_result ra, rb;
	int alarms = 0;

	(void)state;
	seed = 9;
	detector_init(&a);
	detector_init(&b);
	for (int64_t t = MONDAY; t < MONDAY + 2 * WEEK; t += 300) {
		double x = skewed(t);

		detector_step(&a, t, x, 2, &ra);
		detector_step(&b, t, x * 1048576, 2, &rb);
		assert_int_equal(ra.alarm, rb.alarm);
		alarms += ra.alarm;
	}
	assert_true(alarms > 0);
}

static double filling(int64_t t)
{
	return 40 + (double)(t - MONDAY) / 3600 * 2 + .5 * normal();
}

static void a_filling_disk_says_when_it_is_full(void **state)
{
	struct detector d;
	struct detect_forecast f;

	(void)state;
	seed = 4;
	detector_init(&d);
	feed(&d, filling, MONDAY, MONDAY + 10 * 3600, 60, NULL);
	assert_true(detector_forecast(&d, 100, &f));
	/* 40 + 2 an hour: 60 now, full in 20 hours. */
	assert_true(f.reaches_in_s > 18 * 3600 && f.reaches_in_s < 22 * 3600);
	assert_true(detector_forecast(&d, 0, &f));
	assert_true(f.reaches_in_s < 0);
}

static void noise_has_no_trend(void **state)
{
	struct detector d;
	struct detect_forecast f;

	(void)state;
	seed = 6;
	detector_init(&d);
	feed(&d, noise, MONDAY, MONDAY + 10 * 3600, 60, NULL);
	assert_false(detector_forecast(&d, 100, &f));
	assert_true(f.reaches_in_s < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_score_means_false_alarms_a_week_whatever_the_series_looks_like),
		cmocka_unit_test(a_change_of_level_is_one_alarm_within_minutes),
		cmocka_unit_test(
			a_morning_rise_that_does_not_come_is_found_though_the_value_is_an_old_friend),
		cmocka_unit_test(a_series_that_stops_moving_is_found),
		cmocka_unit_test(a_series_that_never_moved_is_no_news),
		cmocka_unit_test(a_gap_is_five_steps_and_longer_than_the_gaps_before),
		cmocka_unit_test(what_is_no_number_or_comes_late_changes_nothing),
		cmocka_unit_test(the_unit_of_a_series_does_not_matter),
		cmocka_unit_test(a_filling_disk_says_when_it_is_full),
		cmocka_unit_test(noise_has_no_trend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
