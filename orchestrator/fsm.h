/* fsm.h - the case machine: a pure function over a table of sentences.
 *
 * No clock, no allocation, no I/O; what it needs to know is in `now` and `event`. The first row that
 * matches wins. A late harmless duplicate is ignored by a row that says so; a pair without a row is
 * refused. The printed table (docs/case-machine.md) is made from the same rows. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/text.h"
#include "domain/case.h"

enum fsm_command {
	COMMAND_NONE,
	COMMAND_HELD,
	COMMAND_OUT
}; /* held: made, waits for a person to let it go */
enum fsm_cause { CAUSE_NONE, CAUSE_PERSON, CAUSE_DEADLINE };

struct case_now {
	enum case_state state;
	enum case_reason reason; /* while PARKED */
	enum case_drive drive;
	enum plan_kind plan_kind;
	enum fsm_command command;
	enum fsm_cause cancel; /* cancel was asked, by whom */
	bool dispatched;       /* some step of the current or an earlier plan was handed to an adapter */
	bool applied;          /* some step is known to be in place */
	bool rolled_back_once;
	bool resumes_left;
	bool reopen_window_open;
};

/* Facts that the door has checked against product rows of the same tenant, case and epoch. */
struct case_event {
	enum case_event_kind kind;
	bool plan_complete;   /* plan_ready: the row is there and says complete */
	bool decision_binds;  /* gate_approved: approved, unexpired, for the current plan and its hash */
	bool steps_succeeded; /* exec_done: the run says every step succeeded */
	bool run_applied;     /* exec_cancelled, decision_void: some step of this run is in place */
	bool run_dispatched;  /* decision_void: some step of this run was handed over */
	bool verdict_pass, verdict_fail;
	bool recurring;                            /* gate_rejected: because the budget is used up */
	bool approval_given;                       /* ask_gate: comes with a decision id to count again */
	bool revision_given;                       /* plan_revised */
	bool parent_open;                          /* absorbed */
	bool outcome_applied, outcome_not_applied; /* settled */
	bool proven;                               /* settled: by probe, or a named person with a reason */
	bool reason_given;
	enum resume_mode mode;
	enum case_resolution resolution;
};

enum case_verdict { MOVE_ACCEPT, MOVE_IGNORE, MOVE_REFUSE };
enum case_refusal { REFUSED_ILLEGAL, REFUSED_GUARD };

struct case_move {
	enum case_verdict verdict;
	enum case_state to;
	enum case_ask ask;
	bool hold;               /* make the command, and hold it until a person lets it go (drive manual) */
	bool release;            /* let the held command go */
	bool entered;            /* a state was entered: the epoch grows */
	enum case_reason reason; /* when to is PARKED */
	enum case_resolution resolution; /* when to is CLOSED */
	enum fsm_cause cancel;           /* set: remember that cancel was asked */
	enum case_refusal refusal;       /* when refused */
	const char *guard; /* the sentence of the guard that did not hold, when refused by one */
};

struct case_move case_step(const struct case_now *now, const struct case_event *ev);

/* Is there any row for this pair at all? What `legal` lists and the 409 are made from. */
bool case_event_possible(enum case_state state, enum case_reason reason, enum case_event_kind ev);

enum fsm_format { FSM_TEXT, FSM_MERMAID, FSM_DOT, FSM_MARKDOWN, FSM_MATRIX };
void fsm_print(enum fsm_format format, struct text *out);
size_t fsm_rule_count(void);

/* For tests that hold the table itself against the promises. */
struct fsm_rule_view {
	enum case_state from, to;
	enum case_event_kind on;
	const char *guard_name; /* NULL: none */
	enum case_verdict verdict;
	enum case_ask ask;
	enum case_reason reason;
	enum case_resolution resolution;
};
struct fsm_rule_view fsm_rule_at(size_t i);
