/* bench_fsm N - how many decisions case_step() makes in a second: along the path of a case that closes as
 * verified, and over every pair of state and event there is with random facts. One thread. */
#include "bench/src/bench.h"
#include "orchestrator/fsm.h"

#define MIX 4096

static double run(const struct case_now *now, const struct case_event *ev, size_t mix, long n, unsigned *sum)
{
	double t = bench_now();

	for (long i = 0; i < n; i++) {
		struct case_move m = case_step(&now[(size_t)i & (mix - 1)], &ev[(size_t)i & (mix - 1)]);

		*sum += (unsigned)m.to + (unsigned)m.ask;
	}
	return (double)n / (bench_now() - t);
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 20000000;
	static const struct case_now path_now[8] = {
		{ .state = CASE_ABSENT, .drive = DRIVE_AUTO },
		{ .state = CASE_NEW, .drive = DRIVE_AUTO },
		{ .state = CASE_ANALYZING, .drive = DRIVE_AUTO, .command = COMMAND_OUT },
		{ .state = CASE_PLANNING, .drive = DRIVE_AUTO, .command = COMMAND_OUT },
		{ .state = CASE_WAIT_GATE,
                 .drive = DRIVE_AUTO,
                 .command = COMMAND_OUT,
                 .plan_kind = PLAN_FORWARD },
		{ .state = CASE_EXECUTING,
                 .drive = DRIVE_AUTO,
                 .command = COMMAND_OUT,
                 .plan_kind = PLAN_FORWARD },
		{ .state = CASE_VERIFYING,
                 .drive = DRIVE_AUTO,
                 .command = COMMAND_OUT,
                 .plan_kind = PLAN_FORWARD },
		{ .state = CASE_CLOSED, .drive = DRIVE_AUTO },
	};
	static const struct case_event path_ev[8] = {
		{ .kind = EV_CREATE },
		{ .kind = EV_START_ANALYSIS },
		{ .kind = EV_ANALYSIS_DONE },
		{ .kind = EV_PLAN_READY, .plan_complete = true },
		{ .kind = EV_GATE_APPROVED, .decision_binds = true },
		{ .kind = EV_EXEC_DONE, .steps_succeeded = true },
		{ .kind = EV_VERIFY_PASS, .verdict_pass = true },
		{ .kind = EV_VERIFY_PASS, .verdict_pass = true },
	};
	static struct case_now now[MIX];
	static struct case_event ev[MIX];
	uint64_t seed = 1;
	unsigned sum = 0;
	double path, all;

	for (size_t i = 0; i < MIX; i++) {
		uint64_t r = bench_random(&seed), f = bench_random(&seed);

		now[i] = (struct case_now){ .state = (enum case_state)(r % (CASE_STATE_COUNT + 1)),
					    .reason = (enum case_reason)(r >> 8 & 7),
					    .drive = r >> 16 & 1 ? DRIVE_AUTO : DRIVE_MANUAL,
					    .plan_kind = (enum plan_kind)(r >> 20 & 1),
					    .command = (enum fsm_command)((r >> 24) % 3),
					    .dispatched = r >> 32 & 1,
					    .applied = r >> 33 & 1,
					    .resumes_left = r >> 34 & 1,
					    .reopen_window_open = r >> 35 & 1 };
		ev[i] = (struct case_event){ .kind = (enum case_event_kind)(bench_random(&seed) % EV_COUNT),
					     .plan_complete = f & 1,
					     .decision_binds = f >> 1 & 1,
					     .steps_succeeded = f >> 2 & 1,
					     .run_applied = f >> 3 & 1,
					     .run_dispatched = f >> 4 & 1,
					     .verdict_pass = f >> 5 & 1,
					     .verdict_fail = f >> 6 & 1,
					     .revision_given = f >> 7 & 1,
					     .reason_given = f >> 8 & 1 };
	}
	run(now, ev, MIX, n / 10, &sum);
	path = run(path_now, path_ev, 8, n, &sum);
	all = run(now, ev, MIX, n, &sum);
	printf("{\"path\":%.0f,\"all\":%.0f,\"sum\":%u}\n", path, all, sum);
	return 0;
}
