#include "orchestrator/fsm.h"
#include <string.h>

/* ---- guards: each a name for the table and a sentence for the one who was refused ---- */

typedef bool guard_fn(const struct case_now *n, const struct case_event *e);

#define GUARDS(G)                                                                                                      \
	G(parent_open, e->parent_open, "the parent case is not open")                                                  \
	G(plan_complete, e->plan_complete, "the plan is not complete")                                                 \
	G(decision_binds, e->decision_binds, "no approved, unexpired decision binds this plan")                        \
	G(revision_given, e->revision_given, "no new revision of the plan is given")                                   \
	G(held_revision, n->command == COMMAND_HELD && e->revision_given,                                              \
	  "execution has begun, or no new revision is given")                                                          \
	G(no_command, n->command == COMMAND_NONE, "a command is outstanding")                                          \
	G(command_out, n->command != COMMAND_NONE, "no command is outstanding")                                        \
	G(may_ask_gate, n->command == COMMAND_NONE || e->approval_given, "a command is outstanding")                   \
	G(command_held, n->command == COMMAND_HELD, "execution is not waiting to be let go")                           \
	G(nothing_dispatched, !e->run_dispatched && !e->run_applied, "a step was dispatched")                          \
	G(steps_succeeded, e->steps_succeeded, "the run does not say that every step succeeded")                       \
	G(first_cancel, n->cancel == CAUSE_NONE, "cancel was asked before")                                            \
	G(cancel_asked, n->cancel != CAUSE_NONE, "cancel was not asked")                                               \
	G(unapplied_person, !e->run_applied && n->cancel == CAUSE_PERSON, "a step was applied")                        \
	G(unapplied_time, !e->run_applied && n->cancel == CAUSE_DEADLINE, "a step was applied")                        \
	G(some_applied, e->run_applied, "no step was applied")                                                         \
	G(pass_forward, e->verdict_pass && n->plan_kind != PLAN_ROLLBACK,                                              \
	  "no verdict row of this run says PASS")                                                                      \
	G(pass_rollback, e->verdict_pass && n->plan_kind == PLAN_ROLLBACK,                                             \
	  "no verdict row of this run says PASS")                                                                      \
	G(fail_forward, e->verdict_fail && n->plan_kind != PLAN_ROLLBACK,                                              \
	  "no verdict row of this run says FAIL")                                                                      \
	G(fail_rollback, e->verdict_fail && n->plan_kind == PLAN_ROLLBACK,                                             \
	  "no verdict row of this run says FAIL")                                                                      \
	G(recurring, e->recurring, "the budget is not used up")                                                        \
	G(resume_reanalyse,                                                                                            \
	  e->mode == RESUME_REANALYSE && n->reason != WHY_OUTCOME_UNKNOWN && n->resumes_left,                          \
	  "resume needs a mode (reanalyse, replan, retry, rollback), and tries left")                                  \
	G(resume_replan,                                                                                               \
	  (e->mode == RESUME_REPLAN || e->mode == RESUME_RETRY) && n->reason != WHY_OUTCOME_UNKNOWN &&                 \
		  n->resumes_left,                                                                                     \
	  "while the outcome is unknown a case is settled first: event settled")                                       \
	G(resume_rollback,                                                                                             \
	  e->mode == RESUME_ROLLBACK && n->reason != WHY_OUTCOME_UNKNOWN && n->applied &&                              \
		  !n->rolled_back_once,                                                                                \
	  "resume needs a mode of reanalyse, replan, retry or rollback; rollback needs something applied, is done at " \
	  "most once a case, and a case whose outcome is unknown is settled first")                                    \
	G(settled_applied, n->reason == WHY_OUTCOME_UNKNOWN && e->outcome_applied && e->proven,                        \
	  "settled needs outcome applied or not_applied, and a reason")                                                \
	G(settled_not_applied, n->reason == WHY_OUTCOME_UNKNOWN && e->outcome_not_applied && e->proven,                \
	  "only a case whose outcome is unknown is settled; it needs outcome applied or not_applied, and a reason")    \
	G(close_named, case_resolution_by_hand(e->resolution) && e->reason_given,                                      \
	  "close needs a resolution (fixed_by_hand, false_alarm, duplicate, accepted, rolled_back, wont_fix) and a "   \
	  "reason")                                                                                                    \
	G(case_untouched, !n->dispatched, "something was dispatched")                                                  \
	G(reopen_window, n->reopen_window_open,                                                                        \
	  "the reopen window is over; open a case that follows this one")

#define G(name, condition, sentence)                                           \
	static bool name(const struct case_now *n, const struct case_event *e) \
	{                                                                      \
		(void)n, (void)e;                                              \
		return condition;                                              \
	}
GUARDS(G)
#undef G

static const struct guard_row {
	guard_fn *fn;
	const char *name, *sentence;
} guards[] = {
#define G(name, condition, sentence) { name, #name, sentence },
	GUARDS(G)
#undef G
};

/* ---- the table ---- */

struct case_rule {
	enum case_state from;
	enum case_event_kind on;
	guard_fn *when;
	enum case_verdict verdict;
	enum case_state to;
	enum case_ask ask;
	enum case_reason why;
	enum case_resolution done;
	unsigned how;
};

/* how: DRIVEN asks only while the case is driven auto; HOLD makes the command and holds it while manual;
 * STAY does not enter the state anew, so the epoch stays; RELEASE lets the held command go. */
enum { ENTER = 0, DRIVEN = 1, HOLD = 2, STAY = 4, RELEASE = 8, BY_PERSON = 16, BY_TIME = 32 };

#define PARK(why)        MOVE_ACCEPT, CASE_PARKED, ASK_NOTIFY, why, DONE_NONE, ENTER
#define PARK_QUIET(why)  MOVE_ACCEPT, CASE_PARKED, ASK_NOTHING, why, DONE_NONE, ENTER
#define CLOSE(done)      MOVE_ACCEPT, CASE_CLOSED, ASK_NOTHING, WHY_NONE, done, ENTER
#define GO(to, ask, how) MOVE_ACCEPT, to, ask, WHY_NONE, DONE_NONE, how
#define IGNORE(at)       MOVE_IGNORE, at, ASK_NOTHING, WHY_NONE, DONE_NONE, STAY

/* clang-format off */
static const struct case_rule rules[] = {
	/* in state        when we hear            and                  we go to ... and ask for */
	{ CASE_ABSENT,    EV_CREATE,             NULL,                GO(CASE_NEW, ASK_NOTHING, ENTER) },

	{ CASE_NEW,       EV_START_ANALYSIS,     NULL,                GO(CASE_ANALYZING, ASK_ANALYSIS, ENTER) },
	{ CASE_NEW,       EV_ABSORBED,           parent_open,         CLOSE(DONE_MERGED) },
	{ CASE_NEW,       EV_CANCEL,             NULL,                CLOSE(DONE_CANCELLED) },
	{ CASE_NEW,       EV_SIGNAL_CLEARED,     case_untouched,      CLOSE(DONE_BY_ITSELF) },

	{ CASE_ANALYZING, EV_ANALYSIS_DONE,      NULL,                GO(CASE_PLANNING, ASK_PLAN, DRIVEN) },
	{ CASE_ANALYZING, EV_ANALYSIS_FAILED,    NULL,                PARK(WHY_UNRESOLVED) },
	{ CASE_ANALYZING, EV_START_ANALYSIS,     command_out,         IGNORE(CASE_ANALYZING) },
	{ CASE_ANALYZING, EV_ABSORBED,           parent_open,         CLOSE(DONE_MERGED) },
	{ CASE_ANALYZING, EV_CANCEL,             NULL,                CLOSE(DONE_CANCELLED) },
	{ CASE_ANALYZING, EV_SIGNAL_CLEARED,     case_untouched,      CLOSE(DONE_BY_ITSELF) },
	{ CASE_ANALYZING, EV_SIGNAL_CLEARED,     NULL,                IGNORE(CASE_ANALYZING) },
	{ CASE_ANALYZING, EV_ATTEMPTS_EXHAUSTED, NULL,                PARK(WHY_NO_WORKER) },
	{ CASE_ANALYZING, EV_DEADLINE,           NULL,                PARK(WHY_DEADLINE) },

	{ CASE_PLANNING,  EV_PLAN_READY,         plan_complete,       GO(CASE_WAIT_GATE, ASK_GATE, DRIVEN) },
	{ CASE_PLANNING,  EV_PLAN_FAILED,        NULL,                PARK(WHY_NO_PLAN) },
	{ CASE_PLANNING,  EV_PLAN_REVISED,       revision_given,      GO(CASE_PLANNING, ASK_PLAN, ENTER) },
	{ CASE_PLANNING,  EV_ASK_PLAN,           no_command,          GO(CASE_PLANNING, ASK_PLAN, STAY) },
	{ CASE_PLANNING,  EV_ASK_PLAN,           command_out,         IGNORE(CASE_PLANNING) },
	{ CASE_PLANNING,  EV_CANCEL,             NULL,                CLOSE(DONE_CANCELLED) },
	{ CASE_PLANNING,  EV_SIGNAL_CLEARED,     case_untouched,      CLOSE(DONE_BY_ITSELF) },
	{ CASE_PLANNING,  EV_SIGNAL_CLEARED,     NULL,                IGNORE(CASE_PLANNING) },
	{ CASE_PLANNING,  EV_ATTEMPTS_EXHAUSTED, NULL,                PARK(WHY_NO_WORKER) },
	{ CASE_PLANNING,  EV_DEADLINE,           NULL,                PARK(WHY_DEADLINE) },

	{ CASE_WAIT_GATE, EV_GATE_APPROVED,      decision_binds,      GO(CASE_EXECUTING, ASK_EXEC, HOLD) },
	/* Approved, and heard too late: it says so instead of waiting for a word that will not come again. */
	{ CASE_WAIT_GATE, EV_GATE_APPROVED,      NULL,                PARK(WHY_APPROVAL_EXPIRED) },
	{ CASE_WAIT_GATE, EV_GATE_REJECTED,      recurring,           PARK(WHY_RECURRING) },
	{ CASE_WAIT_GATE, EV_GATE_REJECTED,      NULL,                PARK(WHY_REJECTED) },
	{ CASE_WAIT_GATE, EV_GATE_EXPIRED,       NULL,                PARK(WHY_APPROVAL_EXPIRED) },
	{ CASE_WAIT_GATE, EV_GATE_FAILED,        NULL,                PARK(WHY_GATE_ERROR) },
	{ CASE_WAIT_GATE, EV_PLAN_REVISED,       revision_given,      GO(CASE_PLANNING, ASK_PLAN, ENTER) },
	{ CASE_WAIT_GATE, EV_ASK_PLAN,           NULL,                GO(CASE_PLANNING, ASK_PLAN, ENTER) },
	{ CASE_WAIT_GATE, EV_ASK_GATE,           may_ask_gate,        GO(CASE_WAIT_GATE, ASK_GATE, STAY) },
	{ CASE_WAIT_GATE, EV_ASK_GATE,           command_out,         IGNORE(CASE_WAIT_GATE) },
	{ CASE_WAIT_GATE, EV_CANCEL,             NULL,                CLOSE(DONE_CANCELLED) },
	{ CASE_WAIT_GATE, EV_SIGNAL_CLEARED,     case_untouched,      CLOSE(DONE_BY_ITSELF) },
	{ CASE_WAIT_GATE, EV_SIGNAL_CLEARED,     NULL,                IGNORE(CASE_WAIT_GATE) },
	{ CASE_WAIT_GATE, EV_ATTEMPTS_EXHAUSTED, NULL,                PARK(WHY_NO_WORKER) },
	{ CASE_WAIT_GATE, EV_DEADLINE,           NULL,                PARK(WHY_DEADLINE) },

	{ CASE_EXECUTING, EV_DECISION_VOID,      nothing_dispatched,  GO(CASE_WAIT_GATE, ASK_GATE, DRIVEN) },
	{ CASE_EXECUTING, EV_DECISION_VOID,      NULL,                PARK(WHY_WORLD_CHANGED) },
	{ CASE_EXECUTING, EV_EXEC_DONE,          steps_succeeded,     GO(CASE_VERIFYING, ASK_VERIFY, DRIVEN) },
	{ CASE_EXECUTING, EV_EXEC_FAILED,        NULL,                PARK(WHY_EXEC_FAILED) },
	{ CASE_EXECUTING, EV_EXEC_UNKNOWN,       NULL,                PARK(WHY_OUTCOME_UNKNOWN) },
	{ CASE_EXECUTING, EV_ASK_EXEC,           command_held,        GO(CASE_EXECUTING, ASK_NOTHING, STAY | RELEASE) },
	{ CASE_EXECUTING, EV_ASK_EXEC,           command_out,         IGNORE(CASE_EXECUTING) },
	{ CASE_EXECUTING, EV_PLAN_REVISED,       held_revision,       GO(CASE_PLANNING, ASK_PLAN, ENTER) },
	{ CASE_EXECUTING, EV_CANCEL,             command_held,        CLOSE(DONE_CANCELLED) },
	{ CASE_EXECUTING, EV_CANCEL,             first_cancel,        GO(CASE_EXECUTING, ASK_CANCEL, STAY | BY_PERSON) },
	{ CASE_EXECUTING, EV_CANCEL,             NULL,                IGNORE(CASE_EXECUTING) },
	{ CASE_EXECUTING, EV_DEADLINE,           first_cancel,        GO(CASE_EXECUTING, ASK_CANCEL, STAY | BY_TIME) },
	{ CASE_EXECUTING, EV_DEADLINE,           NULL,                IGNORE(CASE_EXECUTING) },
	{ CASE_EXECUTING, EV_EXEC_CANCELLED,     unapplied_person,    CLOSE(DONE_CANCELLED) },
	{ CASE_EXECUTING, EV_EXEC_CANCELLED,     unapplied_time,      PARK_QUIET(WHY_DEADLINE) },
	{ CASE_EXECUTING, EV_EXEC_CANCELLED,     some_applied,        PARK(WHY_PARTLY_APPLIED) },
	{ CASE_EXECUTING, EV_CANCEL_GRACE_OVER,  cancel_asked,        PARK(WHY_OUTCOME_UNKNOWN) },
	{ CASE_EXECUTING, EV_SIGNAL_CLEARED,     command_held,        CLOSE(DONE_BY_ITSELF) },
	{ CASE_EXECUTING, EV_SIGNAL_CLEARED,     NULL,                IGNORE(CASE_EXECUTING) },
	{ CASE_EXECUTING, EV_ATTEMPTS_EXHAUSTED, NULL,                PARK(WHY_OUTCOME_UNKNOWN) },

	{ CASE_VERIFYING, EV_VERIFY_PASS,        pass_forward,        MOVE_ACCEPT, CASE_CLOSED, ASK_LEARN, WHY_NONE, DONE_VERIFIED, ENTER },
	{ CASE_VERIFYING, EV_VERIFY_PASS,        pass_rollback,       PARK(WHY_ROLLED_BACK) },
	{ CASE_VERIFYING, EV_VERIFY_FAILED,      fail_forward,        PARK(WHY_VERIFY_FAILED) },
	{ CASE_VERIFYING, EV_VERIFY_FAILED,      fail_rollback,       PARK(WHY_ROLLBACK_FAILED) },
	{ CASE_VERIFYING, EV_VERIFY_UNPROVEN,    NULL,                PARK(WHY_UNVERIFIED) },
	{ CASE_VERIFYING, EV_ASK_VERIFY,         no_command,          GO(CASE_VERIFYING, ASK_VERIFY, STAY) },
	{ CASE_VERIFYING, EV_ASK_VERIFY,         command_out,         IGNORE(CASE_VERIFYING) },
	{ CASE_VERIFYING, EV_CANCEL,             NULL,                PARK(WHY_UNVERIFIED) },
	{ CASE_VERIFYING, EV_SIGNAL_CLEARED,     NULL,                IGNORE(CASE_VERIFYING) },
	{ CASE_VERIFYING, EV_ATTEMPTS_EXHAUSTED, NULL,                PARK(WHY_NO_WORKER) },
	{ CASE_VERIFYING, EV_DEADLINE,           NULL,                PARK(WHY_DEADLINE) },

	{ CASE_PARKED,    EV_RESUME,             resume_reanalyse,    GO(CASE_ANALYZING, ASK_ANALYSIS, ENTER) },
	{ CASE_PARKED,    EV_RESUME,             resume_replan,       GO(CASE_PLANNING, ASK_PLAN, ENTER) },
	{ CASE_PARKED,    EV_RESUME,             resume_rollback,     GO(CASE_PLANNING, ASK_PLAN, ENTER) },
	{ CASE_PARKED,    EV_SETTLED,            settled_applied,     PARK_QUIET(WHY_UNVERIFIED) },
	{ CASE_PARKED,    EV_SETTLED,            settled_not_applied, PARK_QUIET(WHY_EXEC_FAILED) },
	{ CASE_PARKED,    EV_CLOSE,              close_named,         MOVE_ACCEPT, CASE_CLOSED, ASK_NOTHING, WHY_NONE, DONE_COUNT, ENTER },
	{ CASE_PARKED,    EV_SIGNAL_CLEARED,     case_untouched,      CLOSE(DONE_BY_ITSELF) },
	{ CASE_PARKED,    EV_SIGNAL_CLEARED,     NULL,                IGNORE(CASE_PARKED) },

	{ CASE_CLOSED,    EV_REOPEN,             reopen_window,       GO(CASE_ANALYZING, ASK_ANALYSIS, ENTER) },
	/* What arrives after the end is late and harmless: the answer of a role, a timer, a second cancel. */
	{ CASE_CLOSED,    EV_ABSORBED,           NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_ANALYSIS_DONE,      NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_ANALYSIS_FAILED,    NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_PLAN_READY,         NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_PLAN_FAILED,        NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_GATE_APPROVED,      NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_GATE_REJECTED,      NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_GATE_EXPIRED,       NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_GATE_FAILED,        NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_DECISION_VOID,      NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_EXEC_DONE,          NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_EXEC_FAILED,        NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_EXEC_UNKNOWN,       NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_EXEC_CANCELLED,     NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_DEADLINE,           NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_CANCEL_GRACE_OVER,  NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_ATTEMPTS_EXHAUSTED, NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_VERIFY_PASS,        NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_VERIFY_FAILED,      NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_VERIFY_UNPROVEN,    NULL,                IGNORE(CASE_CLOSED) },
	{ CASE_CLOSED,    EV_SIGNAL_CLEARED,     NULL,                IGNORE(CASE_CLOSED) },
};

/* clang-format on */

/* Where the rows of a pair begin: rows of one pair need not be adjacent, so the search goes on from here
 * to the end of the state's rows. */
static unsigned char first_row[CASE_STATE_COUNT + 1][EV_COUNT];
static unsigned char last_row[CASE_STATE_COUNT + 1][EV_COUNT];
_Static_assert(ARRAY_LEN(rules) < 255, "the index holds a row number in a byte");

__attribute__((constructor)) static void index_rules(void)
{
	memset(first_row, 255, sizeof(first_row));
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		unsigned char *f = &first_row[rules[i].from][rules[i].on];

		if (*f == 255)
			*f = (unsigned char)i;
		last_row[rules[i].from][rules[i].on] = (unsigned char)i;
	}
}

static const struct guard_row *guard_of(guard_fn *fn)
{
	for (size_t i = 0; i < ARRAY_LEN(guards); i++)
		if (guards[i].fn == fn)
			return &guards[i];
	return NULL;
}

static struct case_move apply_rule(const struct case_rule *r, const struct case_now *now,
				   const struct case_event *ev)
{
	bool manual = now->drive == DRIVE_MANUAL;
	struct case_move m = {
		.verdict = r->verdict,
		.to = r->to,
		.ask = r->ask,
		.entered = r->verdict == MOVE_ACCEPT && !(r->how & STAY),
		.reason = r->why,
		.resolution = r->done == DONE_COUNT ? ev->resolution : r->done,
		.release = (r->how & RELEASE) != 0,
		.hold = manual && (r->how & HOLD),
		.cancel = r->how & BY_PERSON ? CAUSE_PERSON
			  : r->how & BY_TIME ? CAUSE_DEADLINE
					     : CAUSE_NONE,
	};

	if (manual && (r->how & DRIVEN))
		m.ask = ASK_NOTHING;
	return m;
}

struct case_move case_step(const struct case_now *now, const struct case_event *ev)
{
	struct case_move refused = { .verdict = MOVE_REFUSE, .to = now->state, .refusal = REFUSED_ILLEGAL };
	unsigned i = 255;

	if ((unsigned)now->state <= CASE_STATE_COUNT && (unsigned)ev->kind < EV_COUNT)
		i = first_row[now->state][ev->kind];
	if (i == 255)
		return refused;
	for (unsigned last = last_row[now->state][ev->kind]; i <= last; i++) {
		const struct case_rule *r = &rules[i];

		if (r->from != now->state || r->on != ev->kind)
			continue;
		if (!r->when || r->when(now, ev))
			return apply_rule(r, now, ev);
		refused.refusal = REFUSED_GUARD;
		refused.guard = guard_of(r->when)->sentence;
	}
	return refused;
}

bool case_event_possible(enum case_state state, enum case_reason reason, enum case_event_kind ev)
{
	if (state == CASE_PARKED && ev == EV_RESUME)
		return reason != WHY_OUTCOME_UNKNOWN;
	if (state == CASE_PARKED && ev == EV_SETTLED)
		return reason == WHY_OUTCOME_UNKNOWN;
	if ((unsigned)state > CASE_STATE_COUNT || (unsigned)ev >= EV_COUNT || first_row[state][ev] == 255)
		return false;
	for (unsigned i = first_row[state][ev]; i <= last_row[state][ev]; i++)
		if (rules[i].from == state && rules[i].on == ev && rules[i].verdict == MOVE_ACCEPT)
			return true;
	return false;
}

size_t fsm_rule_count(void)
{
	return ARRAY_LEN(rules);
}

struct fsm_rule_view fsm_rule_at(size_t i)
{
	const struct case_rule *r = &rules[i];

	return (struct fsm_rule_view){
		.from = r->from,
		.to = r->to,
		.on = r->on,
		.guard_name = r->when ? guard_of(r->when)->name : NULL,
		.verdict = r->verdict,
		.ask = r->ask,
		.reason = r->why,
		.resolution = r->done,
	};
}

/* ---- printing ---- */

static void print_target(struct text *out, const struct case_rule *r)
{
	if (r->verdict == MOVE_IGNORE) {
		text_add(out, "ignored");
		return;
	}
	text_add(out, case_state_name(r->to));
	if (r->why != WHY_NONE)
		text_addf(out, " (%s)", case_reason_name(r->why));
	if (r->done == DONE_COUNT)
		text_add(out, " (as given)");
	else if (r->done != DONE_NONE)
		text_addf(out, " (%s)", case_resolution_name(r->done));
	if (r->how & (BY_PERSON | BY_TIME))
		text_add(out, " (cancel asked)");
}

static void print_ask(struct text *out, const struct case_rule *r)
{
	if (r->ask != ASK_NOTHING)
		text_add(out, case_ask_topic(r->ask));
	if (r->how & DRIVEN)
		text_add(out, " when auto");
	if (r->how & HOLD)
		text_add(out, ", held when manual");
	if (r->how & RELEASE)
		text_add(out, "lets the held command go");
}

static void print_rows(struct text *out, bool markdown)
{
	const char *line = markdown ? "| %s | %s | %s | %s | " : "%-10s %-18s %-3s %-20s ";

	if (markdown)
		text_add(out, "| from | event | who | guard | to | asks for |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct case_rule *r = &rules[i];
		unsigned who = case_event_who(r->on);
		char letters[8] = "";

		snprintf(letters, sizeof(letters), "%s%s%s", who & WHO_PERSON ? "P" : "",
			 who & WHO_ROLE ? "R" : "", who & WHO_TIMER ? "T" : "");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		text_addf(out, line, case_state_name(r->from), case_event_name(r->on), letters,
			  r->when ? guard_of(r->when)->name : "");
#pragma GCC diagnostic pop
		print_target(out, r);
		text_add(out, markdown ? " | " : "  ");
		print_ask(out, r);
		text_add(out, markdown ? " |\n" : "\n");
	}
}

static void print_graph(struct text *out, bool dot)
{
	text_add(out, dot ? "digraph case {\n\trankdir=LR;\n\tnode [shape=box, style=rounded];\n"
			  : "stateDiagram-v2\n");
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct case_rule *r = &rules[i];
		const char *from = r->from == CASE_ABSENT ? (dot ? "start" : "[*]")
							  : case_state_name(r->from);

		if (r->verdict != MOVE_ACCEPT)
			continue;
		text_addf(out, dot ? "\t%s -> %s [label=\"%s" : "    %s --> %s: %s", from,
			  case_state_name(r->to), case_event_name(r->on));
		if (r->when)
			text_addf(out, " [%s]", guard_of(r->when)->name);
		if (r->why != WHY_NONE)
			text_addf(out, " / %s", case_reason_name(r->why));
		else if (r->done != DONE_NONE && r->done != DONE_COUNT)
			text_addf(out, " / %s", case_resolution_name(r->done));
		text_add(out, dot ? "\"];\n" : "\n");
	}
	text_add(out, dot ? "}\n" : "    CLOSED --> [*]\n");
}

/* Every state against every event: what happens, row by row, and "refused" where there is no row. */
static void print_matrix(struct text *out)
{
	for (int s = CASE_NEW; s <= CASE_ABSENT; s++)
		for (int e = 0; e < EV_COUNT; e++) {
			bool any = false;

			text_addf(out, "%-10s %-18s ", case_state_name((enum case_state)s),
				  case_event_name((enum case_event_kind)e));
			for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
				const struct case_rule *r = &rules[i];

				if ((int)r->from != s || (int)r->on != e)
					continue;
				text_add(out, any ? "; else " : "");
				if (r->when)
					text_addf(out, "if %s: ", guard_of(r->when)->name);
				print_target(out, r);
				if (r->ask != ASK_NOTHING || r->how & RELEASE) {
					text_add(out, " + ");
					print_ask(out, r);
				}
				any = true;
			}
			text_add(out, any ? "\n" : "refused\n");
		}
}

void fsm_print(enum fsm_format format, struct text *out)
{
	switch (format) {
	case FSM_TEXT:
		print_rows(out, false);
		break;
	case FSM_MARKDOWN:
		print_rows(out, true);
		break;
	case FSM_MERMAID:
		print_graph(out, false);
		break;
	case FSM_DOT:
		print_graph(out, true);
		break;
	case FSM_MATRIX:
		print_matrix(out);
		break;
	}
}
