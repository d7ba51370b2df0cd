#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include "base/handover.h"

static const char *const plans[] = { "cmd.plan.generate" };
static const char *const events[] = { "evt.plan.>", "evt.gate.>" };

static void an_id_comes_out_where_its_topic_is_heard(void **state)
{
	struct handover *h = handover_new();
	struct seat *planner = seat_open(h, plans, 1, 8), *loop = seat_open(h, events, 2, 8);
	struct handed got[4];

	(void)state;
	assert_true(handover_give(h, "cmd.plan.generate", 1));
	assert_true(handover_give(h, "evt.gate.failed.v1", 2));
	assert_false(handover_give(h, "cmd.exec.run", 3));
	assert_false(handover_give(h, "cmd.plan.generated", 4));
	assert_int_equal(seat_take(planner, got, 4, 0, 0), 1);
	assert_int_equal(got[0].id, 1);
	assert_null(got[0].parcel);
	assert_int_equal(seat_take(loop, got, 4, 0, 0), 1);
	assert_int_equal(got[0].id, 2);
	seat_close(loop);
	seat_close(planner);
	handover_free(h);
}

static void a_full_seat_says_no_and_still_takes_what_it_said_yes_to(void **state)
{
	struct handover *h = handover_new();
	struct seat *s = seat_open(h, plans, 1, 2);
	struct handed got[4];

	(void)state;
	assert_true(handover_room(h, plans[0]));
	assert_true(handover_give(h, plans[0], 1));
	assert_true(handover_room(h, plans[0]));
	assert_true(handover_give(h, plans[0], 2));
	assert_false(handover_room(h, plans[0]));
	assert_true(handover_give(h, plans[0], 3)); /* somebody asked before it was full */
	assert_false(seat_put(s, (struct handed){ .id = 4 }, 0));
	assert_int_equal(seat_take(s, got, 4, 0, 0), 3);
	assert_int_equal(got[2].id, 3);
	assert_true(handover_room(h, plans[0]));
	seat_close(s);
	handover_free(h);
}

static void order_is_kept_while_the_queue_grows_and_turns(void **state)
{
	struct seat *s = seat_open(NULL, plans, 1, 1000);
	struct handed got[7];
	long long next_in = 0, next_out = 0;

	(void)state;
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 10; i++)
			assert_true(seat_put(s, (struct handed){ .id = next_in++ }, 0));
		for (size_t i = 0, n = seat_take(s, got, 7, 0, 0); i < n; i++)
			assert_int_equal(got[i].id, next_out++);
	}
	for (size_t n; (n = seat_take(s, got, 7, 0, 0)) > 0;)
		for (size_t i = 0; i < n; i++)
			assert_int_equal(got[i].id, next_out++);
	assert_int_equal(next_out, next_in);
	seat_close(s);
}

static void nobody_is_given_to_once_the_seat_is_shut(void **state)
{
	struct handover *h = handover_new();
	struct seat *s = seat_open(h, plans, 1, 8);
	struct handed got[4];

	(void)state;
	assert_true(handover_give(h, plans[0], 1));
	seat_shut(s);
	assert_false(handover_room(h, plans[0]));
	assert_false(handover_give(h, plans[0], 2));
	assert_false(seat_put(s, (struct handed){ .id = 3 }, 60000));
	assert_int_equal(seat_take(s, got, 4, 0, 60000), 1);
	assert_int_equal(seat_take(s, got, 4, 0, 60000), 0); /* and does not wait */
	seat_close(s);
	assert_false(handover_room(h, plans[0]));
	handover_free(h);
}

static void what_comes_while_another_works_is_left_to_gather(void **state)
{
	struct seat *s = seat_open(NULL, plans, 1, 64);
	struct handed got[4];

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_true(seat_put(s, (struct handed){ .id = i }, 0));
	assert_int_equal(seat_take(s, got, 1, 60000, 0), 1); /* nobody is at work: at once */
	assert_int_equal(seat_take(s, got, 2, 60000, 0), 0); /* one waits, two would do */
	assert_int_equal(seat_take(s, got, 1, 60000, 0), 1);
	seat_back(s);
	assert_true(seat_put(s, (struct handed){ .id = 2 }, 0));
	assert_int_equal(seat_take(s, got, 4, 60000, 0), 0);
	assert_int_equal(seat_take(s, got, 4, 1, 60000), 1); /* he has been at it for long enough */
	seat_back(s);
	seat_back(s);
	seat_close(s);
}

static void *come_back(void *arg)
{
	seat_back(arg);
	return NULL;
}

static void who_comes_back_lets_the_next_one_take(void **state)
{
	struct seat *s = seat_open(NULL, plans, 1, 64);
	struct handed got[4];
	pthread_t t;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_true(seat_put(s, (struct handed){ .id = i }, 0));
	assert_int_equal(seat_take(s, got, 1, 60000, 0), 1);
	assert_int_equal(pthread_create(&t, NULL, come_back, s), 0);
	assert_int_equal(seat_take(s, got, 4, 60000, 50000), 1);
	pthread_join(t, NULL);
	seat_back(s);
	seat_close(s);
}

#define GIVERS 4
#define EACH   20000

struct crowd {
	struct handover *h;
	struct seat *s;
	unsigned char seen[GIVERS * EACH];
	pthread_mutex_t lock;
	size_t got;
};

struct giver {
	struct crowd *c;
	int me;
};

static void *give(void *arg)
{
	struct giver *g = arg;

	for (int i = 0; i < EACH; i++)
		if (!handover_give(g->c->h, plans[0], (long long)g->me * EACH + i))
			return arg;
	return NULL;
}

static void *take(void *arg)
{
	struct crowd *c = arg;

	for (;;) {
		struct handed got[32];
		size_t n = seat_take(c->s, got, 32, 0, 20000);

		pthread_mutex_lock(&c->lock);
		for (size_t i = 0; i < n; i++)
			c->seen[got[i].id]++;
		c->got += n;
		if (c->got == GIVERS * EACH)
			seat_shut(c->s);
		pthread_mutex_unlock(&c->lock);
		if (n == 0)
			return NULL;
		seat_back(c->s);
	}
}

static void each_id_is_taken_by_exactly_one_of_many(void **state)
{
	static struct crowd c;
	struct giver givers[GIVERS];
	pthread_t in[GIVERS], out[3];
	void *failed = NULL;

	(void)state;
	pthread_mutex_init(&c.lock, NULL);
	c.h = handover_new();
	c.s = seat_open(c.h, plans, 1, 64);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&out[i], NULL, take, &c), 0);
	for (int i = 0; i < GIVERS; i++) {
		givers[i] = (struct giver){ &c, i };
		assert_int_equal(pthread_create(&in[i], NULL, give, &givers[i]), 0);
	}
	for (int i = 0; i < GIVERS; i++) {
		pthread_join(in[i], &failed);
		assert_null(failed);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(out[i], NULL);
	for (size_t i = 0; i < sizeof(c.seen); i++)
		assert_int_equal(c.seen[i], 1);
	seat_close(c.s);
	handover_free(c.h);
	pthread_mutex_destroy(&c.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_comes_out_where_its_topic_is_heard),
		cmocka_unit_test(a_full_seat_says_no_and_still_takes_what_it_said_yes_to),
		cmocka_unit_test(order_is_kept_while_the_queue_grows_and_turns),
		cmocka_unit_test(nobody_is_given_to_once_the_seat_is_shut),
		cmocka_unit_test(what_comes_while_another_works_is_left_to_gather),
		cmocka_unit_test(who_comes_back_lets_the_next_one_take),
		cmocka_unit_test(each_id_is_taken_by_exactly_one_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
