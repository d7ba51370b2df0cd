/* What guess.c guesses, held against the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "orchestrator/guess.h"

static bool same(const struct case_move *a, const struct case_move *b)
{
	return a->verdict == b->verdict && a->to == b->to && a->ask == b->ask && a->hold == b->hold &&
	       a->release == b->release && a->entered == b->entered && a->reason == b->reason &&
	       a->resolution == b->resolution && a->cancel == b->cancel;
}

/* The statement asks for the state, the drive and that there is no command; everything else about the case may be as
 * it likes, so it must not matter. */
static void what_a_guess_leaves_open_changes_no_decision(void **state)
{
	(void)state;
	for (size_t g = 0; g < guess_count; g++) {
		struct case_now guessed = guess_now(&guesses[g]);
		struct case_event ev = { .kind = guesses[g].event };
		struct case_move want = case_step(&guessed, &ev);

		assert_int_equal(want.verdict, MOVE_ACCEPT);
		for (unsigned bits = 0; bits < 32; bits++)
			for (int reason = 0; reason < WHY_COUNT; reason++)
				for (int cancel = CAUSE_NONE; cancel <= CAUSE_DEADLINE; cancel++)
					for (int kind = PLAN_NONE; kind <= PLAN_ROLLBACK; kind++) {
						struct case_now now = guessed;
						struct case_move got;

						now.reason = (enum case_reason)reason;
						now.cancel = (enum fsm_cause)cancel;
						now.plan_kind = (enum plan_kind)kind;
						now.dispatched = bits & 1;
						now.applied = bits & 2;
						now.rolled_back_once = bits & 4;
						now.resumes_left = bits & 8;
						now.reopen_window_open = bits & 16;
						got = case_step(&now, &ev);
						assert_true(same(&want, &got));
					}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_guess_leaves_open_changes_no_decision),
	};

	return cmocka_run_group_tests_name("guess", tests, NULL, NULL);
}
