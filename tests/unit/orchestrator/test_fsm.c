/* The promises of the case machine, held against its table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "orchestrator/fsm.h"

static void no_row_asks_for_execution_except_gate_approved_in_wait_gate(void **state)
{
	unsigned found = 0;

	(void)state;
	for (size_t i = 0; i < fsm_rule_count(); i++) {
		struct fsm_rule_view r = fsm_rule_at(i);

		if (r.ask != ASK_EXEC)
			continue;
		found++;
		assert_int_equal(r.from, CASE_WAIT_GATE);
		assert_int_equal(r.on, EV_GATE_APPROVED);
		assert_string_equal(r.guard_name, "decision_binds");
	}
	assert_int_equal(found, 1);
}

static void a_closed_case_is_left_by_reopen_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < fsm_rule_count(); i++) {
		struct fsm_rule_view r = fsm_rule_at(i);

		if (r.from == CASE_CLOSED && r.verdict == MOVE_ACCEPT)
			assert_int_equal(r.on, EV_REOPEN);
	}
}

static void every_way_to_closed_verified_needs_a_verdict_row(void **state)
{
	struct case_now now = { .state = CASE_VERIFYING, .plan_kind = PLAN_FORWARD };
	unsigned found = 0;

	(void)state;
	for (size_t i = 0; i < fsm_rule_count(); i++) {
		struct fsm_rule_view r = fsm_rule_at(i);

		if (r.resolution != DONE_VERIFIED)
			continue;
		found++;
		assert_int_equal(r.from, CASE_VERIFYING);
		assert_int_equal(r.on, EV_VERIFY_PASS);
		assert_string_equal(r.guard_name, "pass_forward");
	}
	assert_int_equal(found, 1);
	assert_int_equal(case_step(&now, &(struct case_event){ .kind = EV_VERIFY_PASS }).verdict,
			 MOVE_REFUSE);
	assert_int_equal(
		case_step(&now, &(struct case_event){ .kind = EV_VERIFY_PASS, .verdict_fail = true }).verdict,
		MOVE_REFUSE);
	assert_int_equal(case_step(&now, &(struct case_event){ .kind = EV_VERIFY_PASS, .verdict_pass = true })
				 .resolution,
			 DONE_VERIFIED);
}

static void a_second_pass_for_a_closed_case_changes_nothing(void **state)
{
	struct case_now now = { .state = CASE_CLOSED };
	struct case_move move = case_step(&now, &(struct case_event){ .kind = EV_VERIFY_PASS });

	(void)state;
	assert_int_equal(move.verdict, MOVE_IGNORE);
	assert_int_equal(move.to, CASE_CLOSED);
}

static void a_manual_case_holds_its_execution_until_somebody_lets_it_go(void **state)
{
	struct case_now now = { .state = CASE_WAIT_GATE, .drive = DRIVE_MANUAL };
	struct case_move move =
		case_step(&now, &(struct case_event){ .kind = EV_GATE_APPROVED, .decision_binds = true });

	(void)state;
	assert_int_equal(move.ask, ASK_EXEC);
	assert_true(move.hold);
	now = (struct case_now){ .state = CASE_EXECUTING, .drive = DRIVE_MANUAL, .command = COMMAND_HELD };
	move = case_step(&now, &(struct case_event){ .kind = EV_ASK_EXEC });
	assert_int_equal(move.verdict, MOVE_ACCEPT);
	assert_true(move.release);
	assert_false(move.entered);
	assert_int_equal(move.ask, ASK_NOTHING);
}

static void an_unknown_outcome_is_settled_before_anything_else(void **state)
{
	struct case_now now = {
		.state = CASE_PARKED, .reason = WHY_OUTCOME_UNKNOWN, .applied = true, .resumes_left = true
	};

	(void)state;
	for (int mode = RESUME_REANALYSE; mode < RESUME_COUNT; mode++)
		assert_int_equal(case_step(&now, &(struct case_event){ .kind = EV_RESUME,
								       .mode = (enum resume_mode)mode })
					 .verdict,
				 MOVE_REFUSE);
	assert_int_equal(
		case_step(&now, &(struct case_event){ .kind = EV_SETTLED, .outcome_applied = true }).verdict,
		MOVE_REFUSE);
	assert_int_equal(case_step(&now, &(struct case_event){ .kind = EV_SETTLED,
							       .outcome_applied = true,
							       .proven = true })
				 .reason,
			 WHY_UNVERIFIED);
	assert_int_equal(case_step(&now, &(struct case_event){ .kind = EV_SETTLED,
							       .outcome_not_applied = true,
							       .proven = true })
				 .reason,
			 WHY_EXEC_FAILED);
}

static void rollback_is_done_at_most_once_a_case(void **state)
{
	struct case_now now = {
		.state = CASE_PARKED, .reason = WHY_VERIFY_FAILED, .applied = true, .resumes_left = true
	};
	struct case_event ev = { .kind = EV_RESUME, .mode = RESUME_ROLLBACK };

	(void)state;
	assert_int_equal(case_step(&now, &ev).to, CASE_PLANNING);
	now.rolled_back_once = true;
	assert_int_equal(case_step(&now, &ev).verdict, MOVE_REFUSE);
}

static void every_state_has_a_way_out_and_every_event_a_way_in(void **state)
{
	(void)state;
	for (int s = CASE_NEW; s < CASE_STATE_COUNT; s++) {
		bool out = false;

		for (size_t i = 0; i < fsm_rule_count(); i++) {
			struct fsm_rule_view r = fsm_rule_at(i);

			out = out || ((int)r.from == s && (int)r.to != s && r.verdict == MOVE_ACCEPT);
		}
		assert_true(out);
	}
	for (int e = 0; e < EV_COUNT; e++) {
		bool row = false;

		assert_true(*case_event_way_in((enum case_event_kind)e) != '\0');
		assert_true(case_event_who((enum case_event_kind)e) != 0);
		for (size_t i = 0; i < fsm_rule_count(); i++)
			row = row || ((int)fsm_rule_at(i).on == e && fsm_rule_at(i).verdict == MOVE_ACCEPT);
		assert_true(row);
	}
}

static void every_parked_row_names_its_reason_and_every_closed_row_its_resolution(void **state)
{
	(void)state;
	for (size_t i = 0; i < fsm_rule_count(); i++) {
		struct fsm_rule_view r = fsm_rule_at(i);

		if (r.verdict != MOVE_ACCEPT)
			continue;
		assert_int_equal(r.to == CASE_PARKED, r.reason != WHY_NONE);
		assert_int_equal(r.to == CASE_CLOSED, r.resolution != DONE_NONE);
	}
}

static void a_lost_verdict_is_never_a_reason_to_roll_back(void **state)
{
	struct case_now now = { .state = CASE_VERIFYING, .plan_kind = PLAN_FORWARD, .applied = true };
	struct case_move m = case_step(&now, &(struct case_event){ .kind = EV_VERIFY_UNPROVEN });

	(void)state;
	assert_int_equal(m.to, CASE_PARKED);
	assert_int_equal(m.reason, WHY_UNVERIFIED);
	assert_int_equal(m.ask, ASK_NOTIFY);
}

static char *file_text(const char *path)
{
	AUTO(file) FILE *f = fopen(path, "r");
	struct text t = { 0 };
	char buf[4096];
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add_n(&t, buf, n);
	return text_take(&t);
}

/* After a wanted change: build/<preset>/bin/opscase fsm --format matrix > tests/golden/case-matrix.txt */
static void the_matrix_is_the_one_that_was_reviewed(void **state)
{
	AUTO(str) char *want = file_text(OPSCASE_SOURCE_DIR "/tests/golden/case-matrix.txt");
	struct text got = { 0 };

	(void)state;
	fsm_print(FSM_MATRIX, &got);
	if (getenv("OPSCASE_GOLDEN")) {
		AUTO(file) FILE *f = fopen(OPSCASE_SOURCE_DIR "/tests/golden/case-matrix.txt", "w");

		fputs(got.s, f);
	} else {
		assert_non_null(want);
		assert_string_equal(got.s, want);
	}
	text_done(&got);
}

static void the_printed_page_is_made_from_the_table(void **state)
{
	AUTO(str) char *page = file_text(OPSCASE_SOURCE_DIR "/docs/case-machine.md");
	struct text rows = { 0 }, graph = { 0 };

	(void)state;
	fsm_print(FSM_MARKDOWN, &rows);
	fsm_print(FSM_MERMAID, &graph);
	if (getenv("OPSCASE_GOLDEN")) {
		AUTO(file) FILE *f = fopen(OPSCASE_SOURCE_DIR "/docs/case-machine.md", "w");

		fprintf(f,
			"# The case machine\n\nPrinted from the table in `orchestrator/fsm.c` by `opscase fsm`; a test compares. "
			"*Who*: P people and service accounts, R a role of the system with a product row, T the janitor's "
			"timer. Rows are tried from the top; a pair without a row is refused (409), a guard that does not hold "
			"is a 422.\n\n```mermaid\n%s```\n\n%s",
			graph.s, rows.s);
		fclose(TAKE(f));
		page = file_text(OPSCASE_SOURCE_DIR "/docs/case-machine.md");
	}
	assert_non_null(page);
	assert_non_null(strstr(page, rows.s));
	assert_non_null(strstr(page, graph.s));
	text_done(&rows);
	text_done(&graph);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_row_asks_for_execution_except_gate_approved_in_wait_gate),
		cmocka_unit_test(a_closed_case_is_left_by_reopen_only),
		cmocka_unit_test(every_way_to_closed_verified_needs_a_verdict_row),
		cmocka_unit_test(a_second_pass_for_a_closed_case_changes_nothing),
		cmocka_unit_test(a_manual_case_holds_its_execution_until_somebody_lets_it_go),
		cmocka_unit_test(an_unknown_outcome_is_settled_before_anything_else),
		cmocka_unit_test(rollback_is_done_at_most_once_a_case),
		cmocka_unit_test(every_state_has_a_way_out_and_every_event_a_way_in),
		cmocka_unit_test(every_parked_row_names_its_reason_and_every_closed_row_its_resolution),
		cmocka_unit_test(a_lost_verdict_is_never_a_reason_to_roll_back),
		cmocka_unit_test(the_matrix_is_the_one_that_was_reviewed),
		cmocka_unit_test(the_printed_page_is_made_from_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
