#include "orchestrator/guess.h"
#include <math.h>
#include "base/handover.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "orchestrator/batch.h"
#include "orchestrator/door.h"
#include "store/case_doc.h"
#include "store/step.h"

const struct guess guesses[] = {
	{ EV_START_ANALYSIS, CASE_NEW       },
	{ EV_ASK_PLAN,       CASE_PLANNING  },
	{ EV_ASK_GATE,       CASE_WAIT_GATE },
};
const size_t guess_count = ARRAY_LEN(guesses);

struct case_now guess_now(const struct guess *g)
{
	return (struct case_now){ .state = g->state, .drive = DRIVE_MANUAL };
}

static const struct guess *guess_for(enum case_event_kind event)
{
	for (size_t i = 0; i < guess_count; i++)
		if (guesses[i].event == event)
			return &guesses[i];
	return NULL;
}

/* What one statement can write: a new command of a state, and nothing of what only other rows know. */
static bool is_plain(const struct case_move *m)
{
	return m->verdict == MOVE_ACCEPT && m->ask != ASK_NOTHING && m->to != CASE_PARKED &&
	       m->to != CASE_CLOSED && m->to != CASE_EXECUTING && m->to != CASE_VERIFYING && !m->hold &&
	       !m->release && m->cancel == CAUSE_NONE;
}

static char *fact_text(const struct step *s)
{
	AUTO(json) json_t *fact = json_object();

	json_put(fact, "case_id", s->case_id);
	json_put(fact, "event", case_event_name(s->event));
	json_put(fact, "from", case_state_name(s->now.state));
	json_put(fact, "to", case_state_name(s->move.to));
	json_put(fact, "actor", s->actor);
	return json_text(fact);
}

enum oc_err guess_step(struct pg *pg, const struct transition_request *req, struct handover *hand,
		       struct waker *relay_wake, bool *ret_written, struct pg_result **ret_answer,
		       struct transition_result *ret, struct oc_fail *reterr)
{
	const struct guess *g = guess_for(req->event);
	AUTO(pg_result) struct pg_result *r = NULL;
	struct step s = {
		.event = req->event,
		.who = req->who,
		.case_id = req->case_id,
		.actor = req->actor,
		.role = req->role,
		.reason = req->reason,
		.correlation_id = req->correlation_id,
		.trace_id = req->trace_id,
		.args = req->args,
	};
	AUTO(json) json_t *meta = NULL;
	AUTO(str) char *meta_text = NULL;
	AUTO(str) char *command = NULL;
	AUTO(str) char *fact = NULL;
	struct timeline_gaps gaps;
	char tenant[24], version[16], epoch[16], grow[4], deadline[32], attempts[8];
	bool keyed = req->idem.key != NULL, by_hand;
	enum oc_err err;

	*ret_written = false;
	*ret_answer = NULL;
	if (!g)
		return OC_OK;
	s.now = guess_now(g);
	step_ask(&s, &(struct case_event){ .kind = req->event });
	if (!is_plain(&s.move))
		return OC_OK;
	by_hand = handover_room(hand, case_ask_topic(s.move.ask));
	meta = step_meta(&s);
	meta_text = json_text(meta);
	command = step_command_text(&s);
	fact = fact_text(&s);
	timeline_gaps_make(&(struct timeline_row){ .case_id = req->case_id,
						   .event = case_event_name(req->event),
						   .from = case_state_name(s.now.state),
						   .to = case_state_name(s.move.to),
						   .actor = req->actor,
						   .reason = req->reason,
						   .correlation_id = req->correlation_id,
						   .meta = meta },
			   &gaps);
	snprintf(tenant, sizeof(tenant), "%lld", req->tenant_id);
	snprintf(version, sizeof(version), "%d", req->expected_version);
	snprintf(epoch, sizeof(epoch), "%d", req->expected_epoch);
	snprintf(grow, sizeof(grow), "%d", s.move.entered);
	snprintf(deadline, sizeof(deadline), "%.3f", state_deadline_s(s.move.to, false, NAN, NAN));
	snprintf(attempts, sizeof(attempts), "%d", case_ask_attempts(s.move.ask));
	{
		const char *args[] = { tenant,
				       req->case_id,
				       case_state_name(s.now.state),
				       "manual",
				       version,
				       epoch,
				       case_state_name(s.move.to),
				       grow,
				       case_ask_topic(s.move.ask),
				       deadline,
				       gaps.to_time,
				       gaps.to_epoch,
				       gaps.to_seq,
				       gaps.to_tenant,
				       gaps.to_version,
				       case_event_name(req->event),
				       req->actor,
				       req->reason,
				       req->correlation_id,
				       meta_text,
				       command,
				       fact,
				       attempts,
				       req->trace_id,
				       by_hand ? "t" : "f",
				       req->idem.principal,
				       req->idem.route,
				       req->idem.key,
				       req->idem.body_hash };

		err = pg_query(pg, keyed ? SQL_STEP_GUESS_KEYED : SQL_STEP_GUESS, args,
			       ARRAY_LEN(args) - (keyed ? 0 : 4), &r, reterr);
	}
	timeline_gaps_done(&gaps);
	if (err !=
	    OC_OK) /* the key was written by somebody else in this very moment: his answer is replayed */
		return str_eq(pg_sqlstate(pg), "23505") ? OC_OK : err;
	if (!pg_text(r, 0, GC_CMD_ID)) {
		*ret_answer = r;
		r = NULL;
		return OC_OK;
	}
	*ret_written = true;
	*ret = (struct transition_result){ .accepted = true,
					   .from = s.now.state,
					   .to = s.move.to,
					   .version = (int)pg_int(r, 0, GC_DOC + CD_VERSION),
					   .epoch = (int)pg_int(r, 0, GC_DOC + CD_EPOCH),
					   .cmd_id = pg_int(r, 0, GC_CMD_ID) };
	transition_result_case(ret, r, 0, GC_DOC);
	command_committed(hand, relay_wake, case_ask_topic(s.move.ask), ret->cmd_id, by_hand);
	metric_inc(M_CASE_TRANSITION, case_state_name(s.now.state), case_state_name(s.move.to),
		   case_event_name(req->event));
	return OC_OK;
}
