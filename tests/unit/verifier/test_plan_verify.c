/* When the verifier looks: windows, closing, deadline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "verifier/plan_verify.h"

#define S INT64_C(1000000)

static const struct verify_clock clk = {
	.began_us = 1000 * S, .ended_us = 1030 * S, .metric_bucket_s = 60, .call_bucket_s = 300, .delay_s = 10
};

static void the_window_begins_with_the_first_whole_bucket_after_the_end(void **state)
{
	struct plan_check c = { .kind = CHECK_METRIC, .window_s = 120 };
	struct plan_verify v = { .check = &c, .count = 1 };
	struct check_window w = verify_window(&v, &c, &clk);

	(void)state;
	assert_int_equal(w.from_us, 1080 * S);
	assert_int_equal(w.to_us, 1200 * S);
}

static void settling_moves_the_window(void **state)
{
	struct plan_check c = { .kind = CHECK_METRIC, .window_s = 60 };
	struct plan_verify v = { .check = &c, .count = 1, .settle_s = 50 };

	(void)state;
	/* ended at 1030, settled at 1080: just on an edge, which is still after */
	assert_int_equal(verify_window(&v, &c, &clk).from_us, 1080 * S);
	v.settle_s = 51;
	assert_int_equal(verify_window(&v, &c, &clk).from_us, 1140 * S);
}

static void a_window_is_never_cut_to_less_than_it_asks_for(void **state)
{
	struct plan_check c = { .kind = CHECK_METRIC, .window_s = 61 };
	struct plan_verify v = { .check = &c, .count = 1 };
	struct check_window w = verify_window(&v, &c, &clk);

	(void)state;
	assert_int_equal(w.to_us - w.from_us, 120 * S);
}

static void the_baseline_ends_before_the_execution_began(void **state)
{
	struct plan_check c = { .kind = CHECK_METRIC, .window_s = 120 };
	struct plan_verify v = { .check = &c, .count = 1 };
	struct check_window w = verify_baseline(&v, &c, &clk);

	(void)state;
	assert_int_equal(w.to_us, 960 * S);
	assert_int_equal(w.from_us, 840 * S);
	v.baseline_s = 600;
	w = verify_baseline(&v, &c, &clk);
	assert_int_equal(w.to_us, 960 * S);
	assert_int_equal(w.from_us, 360 * S);
}

static void nobody_looks_before_every_bucket_is_closed(void **state)
{
	struct plan_check c[] = {
		{ .kind = CHECK_METRIC, .window_s = 60 },
		{ .kind = CHECK_CALL, .window_s = 300 },
		{ .kind = CHECK_PROBE }
	};
	struct plan_verify v = { .check = c, .count = 3, .deadline_s = 900 };
	struct verify_schedule s = verify_schedule(&v, &clk);

	(void)state;
	/* the calls' bucket of 1200 to 1500, and ten seconds for the late ones */
	assert_int_equal(s.ready_us, 1510 * S);
	assert_int_equal(s.deadline_us, 1930 * S);
	assert_false(s.hopeless);
}

static void a_probe_alone_waits_for_nothing_but_settling(void **state)
{
	struct plan_check c = { .kind = CHECK_PROBE };
	struct plan_verify v = { .check = &c, .count = 1, .settle_s = 5, .deadline_s = 60 };

	(void)state;
	assert_int_equal(verify_schedule(&v, &clk).ready_us, 1035 * S);
}

static void a_deadline_inside_the_window_is_hopeless(void **state)
{
	struct plan_check c = { .kind = CHECK_METRIC, .window_s = 300 };
	struct plan_verify v = { .check = &c, .count = 1, .deadline_s = 60 };

	(void)state;
	assert_true(verify_schedule(&v, &clk).hopeless);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_window_begins_with_the_first_whole_bucket_after_the_end),
		cmocka_unit_test(settling_moves_the_window),
		cmocka_unit_test(a_window_is_never_cut_to_less_than_it_asks_for),
		cmocka_unit_test(the_baseline_ends_before_the_execution_began),
		cmocka_unit_test(nobody_looks_before_every_bucket_is_closed),
		cmocka_unit_test(a_probe_alone_waits_for_nothing_but_settling),
		cmocka_unit_test(a_deadline_inside_the_window_is_hopeless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
