#include "verifier/plan_verify.h"

#define SECOND           INT64_C(1000000)
/* Where a plan came without lint's default: the longest window and this. */
#define DEADLINE_SPARE_S 300

static int bucket_of(const struct plan_check *c, const struct verify_clock *clock)
{
	int s = c->kind == CHECK_CALL ? clock->call_bucket_s : clock->metric_bucket_s;

	return s > 0 ? s : 1;
}

static int64_t floor_to(int64_t us, int64_t step)
{
	int64_t rest = us % step;

	return us - (rest < 0 ? rest + step : rest);
}

static int64_t ceil_to(int64_t us, int64_t step)
{
	return -floor_to(-us, step);
}

static bool has_window(const struct plan_check *c)
{
	return c->kind == CHECK_METRIC || c->kind == CHECK_CALL;
}

struct check_window verify_window(const struct plan_verify *v, const struct plan_check *c,
				  const struct verify_clock *clock)
{
	struct check_window w = { .bucket_s = bucket_of(c, clock) };
	int64_t step = w.bucket_s * SECOND;
	int64_t length = ceil_to((c->window_s > 0 ? c->window_s : 1) * SECOND, step);

	w.from_us = ceil_to(clock->ended_us + v->settle_s * SECOND, step);
	w.to_us = w.from_us + length;
	return w;
}

struct check_window verify_baseline(const struct plan_verify *v, const struct plan_check *c,
				    const struct verify_clock *clock)
{
	struct check_window w = { .bucket_s = bucket_of(c, clock) };
	int64_t step = w.bucket_s * SECOND;
	int length_s = v->baseline_s > 0 ? v->baseline_s : c->window_s;

	w.to_us = floor_to(clock->began_us, step);
	w.from_us = w.to_us - ceil_to((length_s > 0 ? length_s : 1) * SECOND, step);
	return w;
}

struct verify_schedule verify_schedule(const struct plan_verify *v, const struct verify_clock *clock)
{
	int64_t settled = clock->ended_us + v->settle_s * SECOND;
	struct verify_schedule s = { .ready_us = settled };
	int longest = 0;

	for (size_t i = 0; i < v->count; i++) {
		int64_t closed;

		if (!has_window(&v->check[i]))
			continue;
		closed = verify_window(v, &v->check[i], clock).to_us + clock->delay_s * SECOND;
		if (closed > s.ready_us)
			s.ready_us = closed;
		if (v->check[i].window_s > longest)
			longest = v->check[i].window_s;
	}
	s.deadline_us = settled + (v->deadline_s > 0 ? v->deadline_s : longest + DEADLINE_SPARE_S) * SECOND;
	s.hopeless = s.ready_us > s.deadline_us;
	return s;
}
