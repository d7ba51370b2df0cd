#include "orchestrator/batch.h"
#include <math.h>
#include "base/clock.h"
#include "base/handover.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/waker.h"
#include "store/step.h"

#define ANALYSIS_S  300.0
#define PLANNING_S  300.0
#define GATE_S      300.0 /* for the gate's answer; people have until the decision expires */
#define GRACE_S     60.0  /* beyond what the plan asks for; also what a cancel may take */
#define RESUMES_MAX 10

enum case_arrays {
	A_TENANT,
	A_CASE,
	A_VERSION,
	A_STATUS,
	A_GROW,
	A_PARK,
	A_SENTENCE,
	A_RESOLUTION,
	A_PLAN,
	A_PLAN_KIND,
	A_DECISION,
	A_RUN,
	A_CMD,
	A_CMD_TOPIC,
	A_CANCEL,
	A_ROLLBACK,
	A_RESUME,
	A_FAILED,
	A_DEADLINE,
	A_SEQ,
	A_HEAD,
	CASE_ARRAYS
};
enum line_arrays {
	L_TENANT,
	L_CASE,
	L_SEQ,
	L_EVENT,
	L_ACTOR,
	L_REASON,
	L_CORR,
	L_META,
	L_CANON,
	L_HASH,
	L_REFUSAL,
	LINE_ARRAYS
};
enum out_arrays {
	O_ID,
	O_TENANT,
	O_CASE,
	O_KIND,
	O_TOPIC,
	O_KEY,
	O_PAYLOAD,
	O_EPOCH,
	O_VERSION,
	O_MAX,
	O_TRACE,
	O_WAY,
	OUT_ARRAYS
};

enum head_arrays { H_TENANT, H_CASE, H_SEQ, H_HEAD, HEAD_ARRAYS };

struct counted {
	enum case_state from, to;
	enum case_event_kind event;
};

struct by_hand {
	const char *topic_ref;
	long long id;
};

struct batch {
	struct handover *hand_ref;
	struct text cases[CASE_ARRAYS], lines[LINE_ARRAYS], out[OUT_ARRAYS], heads[HEAD_ARRAYS], over,
		release;
	size_t accepted, out_rows, refused;
	struct counted *counted;
	struct by_hand *by_hand;
	size_t by_hand_n;
	bool by_bus; /* a command that the relay should see at once */
};

struct batch *batch_new(struct handover *hand)
{
	struct batch *b = mem_alloc(sizeof(*b));

	b->hand_ref = hand;
	return b;
}

static void texts_done(struct text *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text_done(&t[i]);
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	texts_done(b->cases, CASE_ARRAYS);
	texts_done(b->lines, LINE_ARRAYS);
	texts_done(b->out, OUT_ARRAYS);
	texts_done(b->heads, HEAD_ARRAYS);
	text_done(&b->over);
	text_done(&b->release);
	free(b->counted);
	free(b->by_hand);
	free(b);
}

size_t batch_accepted(const struct batch *b)
{
	return b->accepted;
}

double state_deadline_s(enum case_state state, bool waiting_for_person, double exec_budget_s,
			double verify_budget_s)
{
	if (waiting_for_person)
		return NAN;
	switch (state) {
	case CASE_ANALYZING:
		return ANALYSIS_S;
	case CASE_PLANNING:
		return PLANNING_S;
	case CASE_WAIT_GATE:
		return GATE_S;
	case CASE_EXECUTING:
		return (isnan(exec_budget_s) ? 3600 : exec_budget_s) + GRACE_S;
	case CASE_VERIFYING:
		return (isnan(verify_budget_s) ? 3600 : verify_budget_s) + GRACE_S;
	default:
		return NAN; /* PARKED has reminders only */
	}
}

static const char *col(const struct step *s, enum step_col c)
{
	return pg_text(s->row, s->at, c);
}

static bool col_eq(const struct step *s, enum step_col c, const char *want)
{
	return str_eq(col(s, c), want);
}

/* The facts that the caller's arguments hold, whatever the case looks like. */
void step_ask(struct step *s, struct case_event *ev)
{
	const char *outcome = s->args ? json_str(s->args, "outcome") : NULL;
	const char *resolution = s->args ? json_str(s->args, "resolution") : NULL;

	ev->kind = s->event;
	ev->recurring = s->meta && json_bool_or(s->meta, "recurring", false);
	ev->approval_given = s->args && json_object_get(s->args, "decision_id");
	ev->revision_given = s->args &&
			     (json_object_get(s->args, "plan") || json_object_get(s->args, "template") ||
			      json_object_get(s->args, "steps") || json_object_get(s->args, "adapter"));
	ev->outcome_applied = str_eq(outcome, "applied");
	ev->outcome_not_applied = str_eq(outcome, "not_applied");
	ev->reason_given = !str_empty(s->reason);
	ev->proven = s->who == WHO_ROLE || ev->reason_given;
	ev->mode = resume_mode_parse(s->args ? json_str(s->args, "mode") : NULL);
	ev->resolution = resolution ? case_resolution_parse(resolution) : DONE_NONE;
	s->move = case_step(&s->now, ev);
}

void step_decide(struct step *s)
{
	const char *cmd = col(s, SC_CMD_STATE), *cancel = col(s, SC_CANCEL);
	int epoch = (int)pg_int(s->row, s->at, SC_EPOCH);
	struct case_event ev = { .kind = s->event };

	s->now = (struct case_now){
		.state = case_state_parse(col(s, SC_STATUS)),
		.reason = case_reason_parse(pg_text_or(s->row, s->at, SC_PARK_REASON, "")),
		.drive = col_eq(s, SC_DRIVE, "auto") ? DRIVE_AUTO : DRIVE_MANUAL,
		.plan_kind = col_eq(s, SC_PLAN_KIND, "rollback") ? PLAN_ROLLBACK
			     : col(s, SC_PLAN_KIND)              ? PLAN_FORWARD
								 : PLAN_NONE,
		.command = !cmd                  ? COMMAND_NONE
			   : str_eq(cmd, "held") ? COMMAND_HELD
						 : COMMAND_OUT,
		.cancel = !cancel                    ? CAUSE_NONE
			  : str_eq(cancel, "person") ? CAUSE_PERSON
						     : CAUSE_DEADLINE,
		.dispatched = pg_bool(s->row, s->at, SC_DISPATCHED),
		.applied = pg_bool(s->row, s->at, SC_APPLIED),
		.rolled_back_once = pg_int(s->row, s->at, SC_ROLLBACKS) > 0,
		.resumes_left = pg_int(s->row, s->at, SC_RESUMES) < RESUMES_MAX,
		.reopen_window_open = pg_bool(s->row, s->at, SC_REOPENABLE),
	};
	/* A product counts only if it was made in this epoch: an answer to an older question proves nothing. */
	ev.plan_complete = pg_bool(s->row, s->at, SC_P_COMPLETE) &&
			   pg_int(s->row, s->at, SC_P_EPOCH) == epoch;
	ev.decision_binds = pg_bool(s->row, s->at, SC_D_BINDS) && pg_int(s->row, s->at, SC_D_EPOCH) == epoch;
	if (pg_int(s->row, s->at, SC_R_EPOCH) == epoch) {
		ev.steps_succeeded = col_eq(s, SC_R_STATUS, "succeeded");
		ev.run_applied = pg_bool(s->row, s->at, SC_R_APPLIED);
		ev.run_dispatched = pg_bool(s->row, s->at, SC_R_DISPATCHED);
	}
	if (pg_int(s->row, s->at, SC_V_EPOCH) == epoch) {
		ev.verdict_pass = col_eq(s, SC_V_VERDICT, "PASS");
		ev.verdict_fail = col_eq(s, SC_V_VERDICT, "FAIL");
	}
	ev.parent_open = pg_bool(s->row, s->at, SC_PARENT_OPEN);
	step_ask(s, &ev);
	s->version = (int)pg_int(s->row, s->at, SC_VERSION);
	s->epoch = epoch;
	s->cmd_id = pg_int(s->row, s->at, SC_CMD_ID);
}

char *timeline_seal(const struct timeline_row *row, const char *head_hex, char ret_hash_hex[HASH_HEX])
{
	AUTO(json) json_t *o = json_object();
	unsigned char head[HASH_LEN], hash[HASH_LEN];
	char at[40];
	char *canonical;
	size_t head_len = 0;

	clock_format(row->at_us, at, sizeof(at));
	json_put(o, "actor", row->actor);
	json_put(o, "at", at);
	json_put(o, "case", row->case_id);
	json_put(o, "correlation", row->correlation_id);
	json_object_set_new(o, "epoch", json_integer(row->epoch));
	json_put(o, "event", row->event);
	json_put(o, "from", row->from);
	if (row->meta)
		json_object_set(o, "meta", (json_t *)row->meta);
	json_put(o, "reason", row->reason);
	json_object_set_new(o, "seq", json_integer(row->seq));
	json_put(o, "tenant", row->tenant);
	json_put(o, "to", row->to);
	json_object_set_new(o, "version", json_integer(row->version));
	canonical = json_canonical(o);
	if (str_unhex(head_hex ? head_hex : "", head, HASH_LEN))
		head_len = HASH_LEN;
	hash_sha256_2(head, head_len, canonical, strlen(canonical), hash);
	str_hex(hash, HASH_LEN, ret_hash_hex);
	return canonical;
}

/* The members of one stretch between two gaps, without the object's braces. */
static void add_members(struct text *t, json_t *take_members)
{
	AUTO(json) json_t *o = take_members;
	AUTO(str) char *text = json_canonical(o);

	text_add_n(t, text + 1, strlen(text) - 2);
}

/* The same members in the same order as timeline_seal() has them; a test holds the two against each other. */
void timeline_gaps_make(const struct timeline_row *row, struct timeline_gaps *ret)
{
	struct text t = { 0 };
	json_t *o = json_object();

	json_put(o, "actor", row->actor);
	text_add(&t, "{");
	add_members(&t, o);
	text_add(&t, ",\"at\":\"");
	ret->to_time = text_take(&t);

	o = json_object();
	json_put(o, "case", row->case_id);
	json_put(o, "correlation", row->correlation_id);
	text_add(&t, "\",");
	add_members(&t, o);
	text_add(&t, ",\"epoch\":");
	ret->to_epoch = text_take(&t);

	o = json_object();
	json_put(o, "event", row->event);
	json_put(o, "from", row->from);
	if (row->meta)
		json_object_set(o, "meta", (json_t *)row->meta);
	json_put(o, "reason", row->reason);
	text_add(&t, ",");
	add_members(&t, o);
	text_add(&t, ",\"seq\":");
	ret->to_seq = text_take(&t);

	ret->to_tenant = mem_strdup(",\"tenant\":\"");

	o = json_object();
	json_put(o, "to", row->to);
	text_add(&t, "\",");
	add_members(&t, o);
	text_add(&t, ",\"version\":");
	ret->to_version = text_take(&t);
}

void timeline_gaps_done(struct timeline_gaps *g)
{
	free(g->to_time);
	free(g->to_epoch);
	free(g->to_seq);
	free(g->to_tenant);
	free(g->to_version);
	*g = (struct timeline_gaps){ 0 };
}

static void add_int(struct text *t, long long v)
{
	pg_array_addf(t, "%lld", v);
}

static void add_out(struct batch *b, const struct step *s, long long id, const char *kind, const char *topic,
		    const char *payload, int epoch, int version, int attempts, const char *way)
{
	b->out_rows++;
	add_int(&b->out[O_ID], id);
	pg_array_add(&b->out[O_TENANT], col(s, SC_TENANT_ID));
	pg_array_add(&b->out[O_CASE], col(s, SC_CASE_ID));
	pg_array_add(&b->out[O_KIND], kind);
	pg_array_add(&b->out[O_TOPIC], topic);
	pg_array_add(&b->out[O_KEY], col(s, SC_TENANT));
	pg_array_add(&b->out[O_PAYLOAD], payload);
	add_int(&b->out[O_EPOCH], epoch);
	add_int(&b->out[O_VERSION], version);
	add_int(&b->out[O_MAX], attempts);
	pg_array_add(&b->out[O_TRACE], s->trace_id);
	pg_array_add(&b->out[O_WAY], way);
}

/* The commands that a state waits for; notify and learn are errands on the side. */
static bool ask_is_of_state(enum case_ask ask)
{
	return ask == ASK_ANALYSIS || ask == ASK_PLAN || ask == ASK_GATE || ask == ASK_EXEC ||
	       ask == ASK_VERIFY;
}

json_t *step_meta(const struct step *s)
{
	json_t *meta = s->meta ? json_copy((json_t *)s->meta) : json_object();

	if (s->role)
		json_put(meta, "role", s->role);
	if (s->trace_id)
		json_put(meta, "trace_id", s->trace_id);
	if (s->product_id)
		json_put(meta, "product_id", s->product_id);
	if (s->args) {
		json_t *args = json_copy((json_t *)s->args);

		/* A whole plan on the timeline would bury it; the plan has a row of its own, with a hash. */
		if (json_object_get(args, "plan")) {
			char hash[HASH_HEX];

			json_hash(json_object_get(args, "plan"), hash);
			json_object_set_new(args, "plan", json_sprintf("sha256:%s", hash));
		}
		json_object_set_new(meta, "args", args);
	}
	if (s->move.ask != ASK_NOTHING)
		json_put(meta, "asks", case_ask_topic(s->move.ask));
	if (s->move.to == CASE_PARKED && s->move.verdict == MOVE_ACCEPT)
		json_put(meta, "park_reason", case_reason_name(s->move.reason));
	if (s->move.to == CASE_CLOSED && s->move.verdict == MOVE_ACCEPT)
		json_put(meta, "resolution", case_resolution_name(s->move.resolution));
	return meta;
}

static char *step_sentence(const struct step *s)
{
	const char *base = s->move.to == CASE_PARKED ? case_reason_sentence(s->move.reason) : NULL;

	if (s->move.to != CASE_PARKED && s->move.to != CASE_CLOSED)
		return NULL;
	if (!base)
		return mem_strdup(s->reason);
	return str_empty(s->reason) ? mem_strdup(base) : mem_printf("%s: %s", base, s->reason);
}

static double step_deadline(const struct step *s, bool entered, bool waiting)
{
	double exec_s = pg_num(s->row, s->at, SC_CUR_EXEC_S),
	       verify_s = pg_num(s->row, s->at, SC_CUR_VERIFY_S);

	if (s->move.cancel != CAUSE_NONE)
		return GRACE_S;
	if (!entered && !s->move.release && s->move.ask == ASK_NOTHING)
		return -1;
	return state_deadline_s(s->move.to, waiting, exec_s, verify_s);
}

static void accept_case(struct batch *b, struct step *s, const char *head, int seq)
{
	const struct case_move *m = &s->move;
	bool grow = m->entered, own_cmd = ask_is_of_state(m->ask), parked = m->to == CASE_PARKED,
	     closed = m->to == CASE_CLOSED;
	const char *plan = col(s, SC_PLAN_ID), *kind = col(s, SC_PLAN_KIND),
		   *decision = col(s, SC_DECISION_ID), *run = col(s, SC_RUN_ID), *cancel = col(s, SC_CANCEL),
		   *failed = NULL;
	AUTO(str) char *sentence = step_sentence(s);
	bool waiting = m->hold ||
		       (m->ask == ASK_NOTHING && s->now.drive == DRIVE_MANUAL && !m->release && grow);
	double deadline = step_deadline(s, grow, waiting);
	bool rollback = s->event == EV_RESUME && m->to == CASE_PLANNING && s->args &&
			str_eq(json_str(s->args, "mode"), "rollback");

	if (s->event == EV_PLAN_READY) {
		plan = s->product_id;
		kind = col(s, SC_P_KIND);
	} else if (s->event == EV_GATE_APPROVED) {
		decision = s->product_id;
	} else if (s->now.state == CASE_EXECUTING && s->product_id && s->who == WHO_ROLE) {
		run = s->product_id;
	}
	if ((m->reason == WHY_VERIFY_FAILED || m->reason == WHY_EXEC_FAILED) && parked &&
	    s->now.plan_kind == PLAN_FORWARD)
		failed = col(s, SC_CUR_FINGERPRINT);
	if (m->cancel != CAUSE_NONE)
		cancel = m->cancel == CAUSE_PERSON ? "person" : "deadline";
	else if (grow)
		cancel = NULL;

	pg_array_add(&b->cases[A_TENANT], col(s, SC_TENANT_ID));
	pg_array_add(&b->cases[A_CASE], col(s, SC_CASE_ID));
	pg_array_add(&b->cases[A_VERSION], col(s, SC_VERSION));
	pg_array_add(&b->cases[A_STATUS], case_state_name(m->to));
	add_int(&b->cases[A_GROW], grow);
	pg_array_add(&b->cases[A_PARK], parked ? case_reason_name(m->reason) : NULL);
	pg_array_add(&b->cases[A_SENTENCE], sentence);
	pg_array_add(&b->cases[A_RESOLUTION], closed ? case_resolution_name(m->resolution) : NULL);
	pg_array_add(&b->cases[A_PLAN], plan);
	pg_array_add(&b->cases[A_PLAN_KIND], kind);
	pg_array_add(&b->cases[A_DECISION], decision);
	pg_array_add(&b->cases[A_RUN], run);
	if (own_cmd) {
		add_int(&b->cases[A_CMD], s->cmd_id);
		pg_array_add(&b->cases[A_CMD_TOPIC], case_ask_topic(m->ask));
	} else {
		pg_array_add(&b->cases[A_CMD], grow ? NULL : col(s, SC_CMD_ID));
		pg_array_add(&b->cases[A_CMD_TOPIC], grow || !col(s, SC_CMD_ID) ? NULL
						     : s->now.state == CASE_EXECUTING
							     ? case_ask_topic(ASK_EXEC)
							     : NULL);
	}
	pg_array_add(&b->cases[A_CANCEL], cancel);
	add_int(&b->cases[A_ROLLBACK], rollback);
	add_int(&b->cases[A_RESUME], s->event == EV_RESUME);
	pg_array_add(&b->cases[A_FAILED], failed);
	if (isnan(deadline))
		pg_array_add(&b->cases[A_DEADLINE], NULL);
	else
		pg_array_addf(&b->cases[A_DEADLINE], "%.3f", deadline);
	add_int(&b->cases[A_SEQ], seq);
	pg_array_add(&b->cases[A_HEAD], head);
}

char *step_command_text(const struct step *s)
{
	AUTO(json) json_t *cmd = json_object();

	json_put(cmd, "drive", s->now.drive == DRIVE_AUTO ? "auto" : "manual");
	json_put(cmd, "from_event", case_event_name(s->event));
	json_put(cmd, "actor", s->actor);
	if (s->reason)
		json_put(cmd, "reason", s->reason);
	if (s->move.to == CASE_PARKED)
		json_put(cmd, "park_reason", case_reason_name(s->move.reason));
	json_object_set_new(cmd, "args", s->args ? json_copy((json_t *)s->args) : json_object());
	return json_text(cmd);
}

/* A command for a role of this process goes to it by hand after the commit; the relay never sees it. */
static const char *command_way(struct batch *b, const char *topic, long long id, bool held)
{
	if (held)
		return "held";
	if (!handover_room(b->hand_ref, topic)) {
		b->by_bus = true;
		return "bus";
	}
	b->by_hand = mem_grow(b->by_hand, b->by_hand_n + 1, sizeof(*b->by_hand));
	b->by_hand[b->by_hand_n++] = (struct by_hand){ topic, id };
	return "hand";
}

static void accept_outbox(struct batch *b, struct step *s)
{
	const struct case_move *m = &s->move;
	AUTO(json) json_t *fact = json_object();
	AUTO(str) char *fact_text = NULL;

	if (m->ask != ASK_NOTHING) {
		AUTO(str) char *text = step_command_text(s);

		add_out(b, s, pg_int(s->row, s->at, SC_SPARE_1), "c", case_ask_topic(m->ask), text, s->epoch,
			s->version, case_ask_attempts(m->ask),
			command_way(b, case_ask_topic(m->ask), pg_int(s->row, s->at, SC_SPARE_1), m->hold));
	}
	json_put(fact, "case_id", col(s, SC_CASE_ID));
	json_put(fact, "title", col(s, SC_TITLE));
	json_put(fact, "event", case_event_name(s->event));
	json_put(fact, "from", case_state_name(s->now.state));
	json_put(fact, "to", case_state_name(m->to));
	if (m->to == CASE_PARKED)
		json_put(fact, "park_reason", case_reason_name(m->reason));
	if (m->to == CASE_CLOSED)
		json_put(fact, "resolution", case_resolution_name(m->resolution));
	json_object_set_new(fact, "version", json_integer(s->version));
	json_object_set_new(fact, "epoch", json_integer(s->epoch));
	json_put(fact, "actor", s->actor);
	fact_text = json_text(fact);
	add_out(b, s, pg_int(s->row, s->at, SC_SPARE_2), "x", "evt.case.transition.v1", fact_text, s->epoch,
		s->version, 1, "bus");
}

/* One row of the timeline, sealed onto the chain. */
static int add_line(struct batch *b, const struct step *s, enum case_state to, const json_t *meta,
		    char ret_hash[HASH_HEX])
{
	AUTO(str) char *canonical = NULL;
	AUTO(str) char *meta_text = json_text(meta);
	int seq = (int)pg_int(s->row, s->at, SC_SEQ) + 1;
	struct timeline_row row = {
		.tenant = col(s, SC_TENANT),
		.case_id = col(s, SC_CASE_ID),
		.event = case_event_name(s->event),
		.from = case_state_name(s->now.state),
		.to = case_state_name(to),
		.actor = s->actor,
		.reason = s->reason,
		.correlation_id = s->correlation_id,
		.seq = seq,
		.version = s->version,
		.epoch = s->epoch,
		.at_us = pg_int(s->row, s->at, SC_NOW),
		.meta = meta,
	};

	canonical = timeline_seal(&row, col(s, SC_HEAD), ret_hash);
	pg_array_add(&b->lines[L_TENANT], col(s, SC_TENANT_ID));
	pg_array_add(&b->lines[L_CASE], row.case_id);
	add_int(&b->lines[L_SEQ], seq);
	pg_array_add(&b->lines[L_EVENT], row.event);
	pg_array_add(&b->lines[L_ACTOR], s->actor);
	pg_array_add(&b->lines[L_REASON], s->reason);
	pg_array_add(&b->lines[L_CORR], s->correlation_id);
	pg_array_add(&b->lines[L_META], meta_text);
	pg_array_add(&b->lines[L_CANON], canonical);
	pg_array_add(&b->lines[L_HASH], ret_hash);
	pg_array_add(&b->lines[L_REFUSAL], NULL);
	return seq;
}

void batch_accept(struct batch *b, struct step *s)
{
	const struct case_move *m = &s->move;
	AUTO(json) json_t *meta = step_meta(s);
	char hash[HASH_HEX];
	const char *old_cmd = col(s, SC_CMD_ID);
	int seq;

	s->version++;
	s->epoch += m->entered;
	if (ask_is_of_state(m->ask))
		s->cmd_id = pg_int(s->row, s->at, SC_SPARE_1);
	seq = add_line(b, s, m->to, meta, hash);
	accept_case(b, s, hash, seq);
	accept_outbox(b, s);
	/* The command of a state that was left will never be answered in time: nobody needs to try. Most have been. */
	if (m->entered && old_cmd && col(s, SC_CMD_STATE))
		pg_array_add(&b->over, old_cmd);
	if (m->release && old_cmd) {
		pg_array_add(&b->release, old_cmd);
		b->by_bus = true;
	}

	b->counted = mem_grow(b->counted, b->accepted + 1, sizeof(*b->counted));
	b->counted[b->accepted++] = (struct counted){ s->now.state, m->to, s->event };
}

void batch_refuse(struct batch *b, struct step *s)
{
	AUTO(json) json_t *meta = step_meta(s);
	char hash[HASH_HEX];
	int seq;

	json_put(meta, "refused", s->move.guard ? s->move.guard : "not legal in this state");
	seq = add_line(b, s, s->now.state, meta, hash);
	pg_array_add(&b->heads[H_TENANT], col(s, SC_TENANT_ID));
	pg_array_add(&b->heads[H_CASE], col(s, SC_CASE_ID));
	add_int(&b->heads[H_SEQ], seq);
	pg_array_add(&b->heads[H_HEAD], hash);
	b->refused++;
}

static enum oc_err send_arrays(struct pg *pg, const char *sql, struct text *arrays, size_t n,
			       const char *extra, unsigned *sent, struct oc_fail *reterr)
{
	const char *args[CASE_ARRAYS + 1];
	enum oc_err err;

	for (size_t i = 0; i < n; i++)
		args[i] = pg_array_end(&arrays[i]);
	if (extra)
		args[n] = extra;
	err = pg_send(pg, sql, args, (unsigned)n + (extra != NULL), reterr);
	*sent += err == OC_OK;
	return err;
}

enum oc_err batch_send(struct batch *b, struct pg *pg, unsigned *ret_sent, struct oc_fail *reterr)
{
	char count[24];
	enum oc_err err = OC_OK;

	*ret_sent = 0;
	snprintf(count, sizeof(count), "%zu", b->accepted);
	if (b->accepted)
		err = send_arrays(pg, SQL_STEP_CASE, b->cases, CASE_ARRAYS, count, ret_sent, reterr);
	if (err == OC_OK && b->accepted + b->refused)
		err = send_arrays(pg, SQL_STEP_TIMELINE, b->lines, LINE_ARRAYS, NULL, ret_sent, reterr);
	if (err == OC_OK && b->accepted)
		err = send_arrays(pg, SQL_STEP_OUTBOX, b->out, OUT_ARRAYS, NULL, ret_sent, reterr);
	if (err == OC_OK && b->refused)
		err = send_arrays(pg, SQL_STEP_HEADS, b->heads, HEAD_ARRAYS, NULL, ret_sent, reterr);
	if (err == OC_OK && b->over.len)
		err = send_arrays(pg, SQL_STEP_COMMANDS_OVER, &b->over, 1, NULL, ret_sent, reterr);
	if (err == OC_OK && b->release.len)
		err = send_arrays(pg, SQL_STEP_RELEASE, &b->release, 1, NULL, ret_sent, reterr);
	return err;
}

void batch_committed(struct batch *b, struct waker *relay_wake)
{
	for (size_t i = 0; i < b->accepted; i++)
		metric_inc(M_CASE_TRANSITION, case_state_name(b->counted[i].from),
			   case_state_name(b->counted[i].to), case_event_name(b->counted[i].event));
	for (size_t i = 0; i < b->by_hand_n; i++)
		/* Nobody there any more: the sweep offers it in a few seconds. */
		(void)handover_give(b->hand_ref, b->by_hand[i].topic_ref, b->by_hand[i].id);
	b->by_hand_n = 0;
	if (b->by_bus)
		waker_poke(relay_wake);
	else if (b->out_rows)
		waker_poke_within(relay_wake, HANDOVER_FACTS_MS);
}

void command_committed(struct handover *hand, struct waker *relay_wake, const char *topic, long long id,
		       bool by_hand)
{
	if (by_hand)
		(void)handover_give(hand, topic, id);
	if (by_hand)
		waker_poke_within(relay_wake, HANDOVER_FACTS_MS);
	else
		waker_poke(relay_wake);
}
