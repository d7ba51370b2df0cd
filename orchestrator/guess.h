/* guess.h - the commonest steps as one statement, in one round trip.
 *
 * The machine is asked about the case as it nearly always is when people send such an event; what it decides is
 * then written by one statement whose WHERE clause is that guess. Where the case is otherwise nothing is written, and
 * the statement answers with the case as it is: transition.c decides on that and writes in a second round trip, as
 * long as the case is still so. The decision stays case_step()'s, and the fence stays: the row is changed only as
 * long as it is what the decision was made about. One thread per connection. */
#pragma once
#include "orchestrator/fsm.h"
#include "orchestrator/transition.h"

/* A case in this state, driven manually and without a command, is the guess for this event. Nothing else of a case
 * may change what the machine answers then: a test tries all of it. */
struct guess {
	enum case_event_kind event;
	enum case_state state;
};
extern const struct guess guesses[];
extern const size_t guess_count;
struct case_now guess_now(const struct guess *g);

/* *ret_written: the step is committed and ret filled. Else, with OC_OK, *ret_answer (yours) is the row that
 * SQL_STEP_GUESS describes, or NULL: nobody has looked yet. */
MUST_CHECK enum oc_err guess_step(struct pg *pg, const struct transition_request *req, struct handover *hand,
				  struct waker *relay_wake, bool *ret_written, struct pg_result **ret_answer,
				  struct transition_result *ret, struct oc_fail *reterr);
