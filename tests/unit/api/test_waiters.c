/* The hub where requests wait for their cases. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "api/waiters.h"
#include "base/clock.h"

#define A "0190f0a0-0000-7000-8000-00000000000a"
#define B "0190f0a0-0000-7000-8000-00000000000b"

static void what_happens_before_the_wait_is_not_missed(void **state)
{
	struct waiters *hub = waiters_new(4);
	struct waiter *w = NULL;

	(void)state;
	assert_int_equal(waiter_enter(hub, A, &w, NULL), OC_OK);
	waiters_notify(hub, A);
	assert_true(waiter_wait(w, 0));
	assert_false(waiter_wait(w, 0));
	waiter_leave(w);
	waiters_free(hub);
}

static void only_those_of_the_case_are_woken(void **state)
{
	struct waiters *hub = waiters_new(4);
	struct waiter *a1 = NULL, *a2 = NULL, *b = NULL;

	(void)state;
	assert_int_equal(waiter_enter(hub, A, &a1, NULL), OC_OK);
	assert_int_equal(waiter_enter(hub, A, &a2, NULL), OC_OK);
	assert_int_equal(waiter_enter(hub, B, &b, NULL), OC_OK);
	waiters_notify(hub, A);
	assert_true(waiter_wait(a1, 0));
	assert_true(waiter_wait(a2, 0));
	assert_false(waiter_wait(b, 0));
	waiter_leave(a1);
	waiter_leave(a2);
	waiter_leave(b);
	assert_int_equal(waiters_count(hub), 0);
	waiters_free(hub);
}

static void more_than_the_limit_are_sent_away(void **state)
{
	struct waiters *hub = waiters_new(1);
	struct waiter *w = NULL, *more = NULL;

	(void)state;
	assert_int_equal(waiter_enter(hub, A, &w, NULL), OC_OK);
	assert_int_equal(waiter_enter(hub, B, &more, NULL), OC_BUSY);
	waiter_leave(w);
	assert_int_equal(waiter_enter(hub, B, &more, NULL), OC_OK);
	waiter_leave(more);
	waiters_free(hub);
}

static void a_cap_only_lowers_the_limit(void **state)
{
	struct waiters *hub = waiters_new(2);
	struct waiter *one = NULL, *two = NULL;

	(void)state;
	waiters_cap(hub, 100);
	waiters_cap(hub, 1);
	waiters_cap(hub, 2);
	assert_int_equal(waiter_enter(hub, A, &one, NULL), OC_OK);
	assert_int_equal(waiter_enter(hub, B, &two, NULL), OC_BUSY);
	waiter_leave(one);
	waiters_free(hub);
}

static void *wait_long(void *arg)
{
	struct waiter *w = arg;

	return waiter_wait(w, 60000) ? w : NULL;
}

static void stopping_ends_every_wait(void **state)
{
	struct waiters *hub = waiters_new(4);
	struct waiter *w = NULL;
	pthread_t t;
	void *ended = NULL;

	(void)state;
	assert_int_equal(waiter_enter(hub, A, &w, NULL), OC_OK);
	assert_int_equal(pthread_create(&t, NULL, wait_long, w), 0);
	waiters_close(hub);
	pthread_join(t, &ended);
	assert_ptr_equal(ended, w);
	assert_true(waiters_closed(hub));
	waiter_leave(w);
	waiters_free(hub);
}

static void nobody_sleeps_longer_than_a_second(void **state)
{
	struct waiters *hub = waiters_new(4);
	struct waiter *w = NULL;
	int64_t from = clock_mono_ms();

	(void)state;
	assert_int_equal(waiter_enter(hub, A, &w, NULL), OC_OK);
	assert_false(waiter_wait(w, 60000));
	assert_true(clock_mono_ms() - from < 20000);
	waiter_leave(w);
	waiters_free(hub);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_happens_before_the_wait_is_not_missed),
		cmocka_unit_test(only_those_of_the_case_are_woken),
		cmocka_unit_test(more_than_the_limit_are_sent_away),
		cmocka_unit_test(a_cap_only_lowers_the_limit),
		cmocka_unit_test(stopping_ends_every_wait),
		cmocka_unit_test(nobody_sleeps_longer_than_a_second),
	};

	return cmocka_run_group_tests_name("waiters", tests, NULL, NULL);
}
