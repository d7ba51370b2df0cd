#define LOG_ROOM "transition"
#include "orchestrator/transition.h"
#include <math.h>
#include "base/handover.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "base/waker.h"
#include "orchestrator/batch.h"
#include "orchestrator/guess.h"
#include "store/case_doc.h"
#include "store/step.h"

#define TRIES          6
#define ARGS_BYTES_MAX (256 * 1024)

static struct waker *relay_waker;
static struct handover *hand;

void transition_set_waker(struct waker *relay_wake)
{
	relay_waker = relay_wake;
}

void transition_set_handover(struct handover *h)
{
	hand = h;
}

void transition_result_done(struct transition_result *r)
{
	free(r->case_json);
	*r = (struct transition_result){ 0 };
}

json_t *transition_legal(enum case_state state, enum case_reason reason)
{
	json_t *names = json_array();

	for (int e = 0; e < EV_COUNT; e++)
		if (case_event_who((enum case_event_kind)e) & WHO_PERSON && e != EV_CREATE &&
		    case_event_possible(state, reason, (enum case_event_kind)e))
			json_array_append_new(names, json_string(case_event_name((enum case_event_kind)e)));
	return names;
}

/* "a, b" or "\"a\",\"b\"": what people may send now. */
static void add_legal(struct text *out, enum case_state state, enum case_reason reason, const char *quote,
		      const char *comma)
{
	bool any = false;

	for (int e = 0; e < EV_COUNT; e++) {
		if (!(case_event_who((enum case_event_kind)e) & WHO_PERSON) || e == EV_CREATE ||
		    !case_event_possible(state, reason, (enum case_event_kind)e))
			continue;
		text_add(out, any ? comma : "");
		text_add(out, quote);
		text_add(out, case_event_name((enum case_event_kind)e));
		text_add(out, quote);
		any = true;
	}
}

void transition_result_case(struct transition_result *ret, const struct pg_result *r, unsigned row,
			    unsigned first)
{
	struct text out = { 0 };

	snprintf(ret->case_id, sizeof(ret->case_id), "%s", pg_text_or(r, row, first + CD_ID, ""));
	ret->reason = case_reason_parse(pg_text_or(r, row, first + CD_PARK_REASON, ""));
	ret->command = pg_text(r, row, first + CD_COMMAND) != NULL;
	text_add(&out, "{");
	case_doc_write(&out, r, row, first);
	text_add(&out, ",\"legal\":[");
	add_legal(&out, case_state_parse(pg_text(r, row, first + CD_STATUS)), ret->reason, "\"", ",");
	text_add(&out, "]}");
	ret->case_json = text_take(&out);
}

/* Adds the legal events to the stored case. */
static char *with_legal(const char *case_text)
{
	AUTO(json) json_t *v = NULL;

	if (!case_text || json_read_own(case_text, &v, NULL) != OC_OK || !json_is_object(v) ||
	    !json_str(v, "status"))
		return mem_strdup(case_text ? case_text : "{}");
	json_object_set_new(v, "legal",
			    transition_legal(case_state_parse(json_str(v, "status")),
					     case_reason_parse(json_str_or(v, "park_reason", ""))));
	return json_text(v);
}

/* ---- idempotency, inside the transaction it guards ---- */

static enum oc_err idem_send(struct pg *pg, long long tenant_id, const struct idem_key *k,
			     struct oc_fail *reterr)
{
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_send(pg, SQL_STEP_IDEM_CLAIM, PG_ARGS(tenant, k->principal, k->route, k->key, k->body_hash),
		      reterr);
	if (err != OC_OK)
		return err;
	return pg_send(pg, SQL_STEP_IDEM_SEEN, PG_ARGS(tenant, k->principal, k->route, k->key), reterr);
}

/* What is kept under the key, from this column on: true with *ret_code, the call ends here. */
static bool idem_kept(const struct pg_result *seen, unsigned first, const struct idem_key *k,
		      struct transition_result *ret, enum oc_err *ret_code, struct oc_fail *reterr)
{
	if (pg_rows(seen) != 1 || !str_eq(pg_text(seen, 0, first + 1), "done")) {
		*ret_code = oc_fail(reterr, OC_CONFLICT,
				    "a request with this Idempotency-Key is still under way");
		return true;
	}
	if (!str_eq(pg_text(seen, 0, first), k->body_hash)) {
		*ret_code = oc_fail_field(reterr, OC_INVALID, "Idempotency-Key",
					  "this Idempotency-Key was used before with another body");
		return true;
	}
	metric_inc(M_IDEMPOTENT_REPLAY, NULL, NULL, NULL);
	ret->replayed = true;
	ret->stored_status = (int)pg_int(seen, 0, first + 2);
	ret->case_json = with_legal(pg_text(seen, 0, first + 3));
	*ret_code = OC_OK;
	return true;
}

/* After both answers: true with *ret_code when the call ends here. */
static bool idem_ends(const struct pg_result *claim, const struct pg_result *seen, const struct idem_key *k,
		      struct transition_result *ret, enum oc_err *ret_code, struct oc_fail *reterr)
{
	return pg_rows(claim) != 1 && idem_kept(seen, 0, k, ret, ret_code, reterr);
}

/* The transaction of a decision that was made on a wrong guess's row, which nobody holds: it holds the case, claims
 * the key, and fails with 40001 where either is no longer as it was seen. Nothing to send where `seen` is NULL: then
 * the first round trip has begun it. */
static enum oc_err begin_as_seen(struct pg *pg, const struct transition_request *req,
				 const struct pg_result *seen, unsigned *ret_sent, struct oc_fail *reterr)
{
	struct text tenants = { 0 }, cases = { 0 };
	char tenant[24];
	enum oc_err err;

	*ret_sent = 0;
	if (!seen)
		return OC_OK;
	snprintf(tenant, sizeof(tenant), "%lld", req->tenant_id);
	pg_array_add(&tenants, tenant);
	pg_array_add(&cases, req->case_id);
	err = pg_send(pg, "BEGIN", PG_NO_ARGS, reterr);
	if (err == OC_OK && req->idem.key)
		err = pg_send(pg, SQL_STEP_IDEM_CLAIM_FREE,
			      PG_ARGS(tenant, req->idem.principal, req->idem.route, req->idem.key,
				      req->idem.body_hash),
			      reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_LOCK, PG_ARGS(pg_array_end(&tenants), pg_array_end(&cases)),
			      reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_SAME, PG_ARGS(tenant, req->case_id, pg_text(seen, 0, SEEN_HASH)),
			      reterr);
	*ret_sent = req->idem.key ? 4 : 3;
	text_done(&tenants);
	text_done(&cases);
	return err;
}

/* ---- refusals: one row on the timeline, and nothing else ---- */

static char *legal_text(const struct case_now *now)
{
	struct text t = { 0 };

	add_legal(&t, now->state, now->reason, "", ", ");
	return text_take(&t);
}

static enum oc_err refusal_fail(const struct step *s, struct oc_fail *reterr)
{
	AUTO(str) char *legal = legal_text(&s->now);

	if (s->move.refusal == REFUSED_GUARD)
		return oc_fail_field(reterr, OC_INVALID, "event", "%s is refused in %s: %s",
				     case_event_name(s->event), case_state_name(s->now.state), s->move.guard);
	return oc_fail_field(reterr, OC_ILLEGAL, "event", "%s is not legal in %s%s%s%s; legal now: %s",
			     case_event_name(s->event), case_state_name(s->now.state),
			     s->now.state == CASE_PARKED ? " (" : "",
			     s->now.state == CASE_PARKED ? case_reason_name(s->now.reason) : "",
			     s->now.state == CASE_PARKED ? ")" : "", *legal ? legal : "nothing");
}

static enum oc_err send_refusal(struct pg *pg, const struct step *s, const struct oc_fail *why,
				struct oc_fail *reterr)
{
	AUTO(json) json_t *meta = json_object();
	AUTO(str) char *canonical = NULL;
	AUTO(str) char *meta_text = NULL;
	char hash[HASH_HEX], key[HASH_HEX], seq_text[16];
	const char *case_id = pg_text(s->row, s->at, SC_CASE_ID);
	int seq = (int)pg_int(s->row, s->at, SC_SEQ) + 1;
	AUTO(str)
	char *about = mem_printf("%s|%s|%d|%d|%s", case_event_name(s->event), case_state_name(s->now.state),
				 s->epoch, (int)s->move.refusal, s->actor ? s->actor : "");

	hash_sha256_hex(about, strlen(about), key);
	json_put(meta, "refused", why->text);
	if (s->role)
		json_put(meta, "role", s->role);
	if (s->trace_id)
		json_put(meta, "trace_id", s->trace_id);
	meta_text = json_text(meta);
	canonical = timeline_seal(&(struct timeline_row){ .tenant = pg_text(s->row, s->at, SC_TENANT),
							  .case_id = case_id,
							  .event = case_event_name(s->event),
							  .from = case_state_name(s->now.state),
							  .to = case_state_name(s->now.state),
							  .actor = s->actor,
							  .reason = s->reason,
							  .correlation_id = s->correlation_id,
							  .seq = seq,
							  .version = s->version,
							  .epoch = s->epoch,
							  .at_us = pg_int(s->row, s->at, SC_NOW),
							  .meta = meta },
				  pg_text(s->row, s->at, SC_HEAD), hash);
	snprintf(seq_text, sizeof(seq_text), "%d", seq);
	return pg_send(pg, SQL_STEP_REFUSAL,
		       PG_ARGS(pg_text(s->row, s->at, SC_TENANT_ID), case_id, seq_text,
			       case_event_name(s->event), s->actor, s->reason, s->correlation_id, meta_text,
			       canonical, hash, key),
		       reterr);
}

/* The second round trip of a step that is refused. */
static enum oc_err refuse(struct pg *pg, const struct transition_request *req, const struct step *s,
			  const struct pg_result *seen, struct oc_fail *reterr)
{
	struct pg_result *res[8] = { 0 };
	struct oc_fail why;
	enum oc_err code = refusal_fail(s, &why), err;
	unsigned begun;

	metric_inc(M_CONFLICT, code == OC_ILLEGAL ? "409" : "422", NULL, NULL);
	err = begin_as_seen(pg, req, seen, &begun, reterr);
	if (err == OC_OK)
		err = send_refusal(pg, s, &why, reterr);
	if (err == OC_OK && req->idem.key) {
		AUTO(json) json_t *problem = json_object();
		AUTO(str) char *text = NULL;
		char tenant[24], status[8];

		json_put(problem, "problem", oc_err_name(code));
		json_put(problem, "detail", why.text);
		json_put(problem, "field", why.field);
		json_object_set_new(problem, "legal", transition_legal(s->now.state, s->now.reason));
		text = json_text(problem);
		snprintf(tenant, sizeof(tenant), "%lld", req->tenant_id);
		snprintf(status, sizeof(status), "%d", oc_err_http(code));
		err = pg_send(pg, SQL_STEP_IDEM_KEEP,
			      PG_ARGS(tenant, req->idem.principal, req->idem.route, req->idem.key, status,
				      text),
			      reterr);
	}
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, ARRAY_LEN(res), reterr);
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		pg_result_free(res[i]);
	if (err != OC_OK)
		return err;
	if (reterr)
		*reterr = why;
	return code;
}

/* ---- the door ---- */

/* The second round trip: what the step writes, the case as it is then, the kept answer, COMMIT. */
static enum oc_err finish(struct pg *pg, const struct transition_request *req, struct batch *b,
			  const struct pg_result *seen, struct transition_result *ret, struct oc_fail *reterr)
{
	struct pg_result *res[16] = { 0 };
	char tenant[24];
	unsigned begun = 0, sent = 0, json_at;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", req->tenant_id);
	err = begin_as_seen(pg, req, seen, &begun, reterr);
	if (err == OC_OK)
		err = batch_send(b, pg, &sent, reterr);
	json_at = begun + sent;
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_CASE_DOC, PG_ARGS(tenant, req->case_id), reterr);
	if (err == OC_OK && req->idem.key)
		err = pg_send(pg, SQL_STEP_IDEM_KEEP_CASE,
			      PG_ARGS(tenant, req->idem.principal, req->idem.route, req->idem.key, "200",
				      req->case_id),
			      reterr);
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, ARRAY_LEN(res), reterr);
	if (err == OC_OK && pg_rows(res[json_at]) == 1)
		transition_result_case(ret, res[json_at], 0, 1);
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		pg_result_free(res[i]);
	return err;
}

/* Decides about the case as s->row has it, which is locked or was seen in passing, and writes. */
static enum oc_err decide(struct pg *pg, const struct transition_request *req, struct step *s,
			  const struct pg_result *seen, struct transition_result *ret, struct oc_fail *reterr)
{
	AUTO(batch) struct batch *b = batch_new(hand);
	enum oc_err err;

	step_decide(s);
	if (req->expected_version > 0 && req->expected_version != s->version) {
		metric_inc(M_CONFLICT, "412", NULL, NULL);
		return oc_fail_field(reterr, OC_STALE, "If-Match", "the case is at version %d, not %d",
				     s->version, req->expected_version);
	}
	ret->from = s->now.state;
	if (req->expected_epoch > 0 && req->expected_epoch != s->epoch) {
		ret->ignored = true;
		metric_inc(M_EVENT_IGNORED, case_event_name(s->event), NULL, NULL);
		if (!seen)
			pg_rollback(pg);
		return OC_OK;
	}
	if (s->move.verdict == MOVE_REFUSE)
		return refuse(pg, req, s, seen, reterr);
	ret->ignored = s->move.verdict == MOVE_IGNORE;
	ret->joined = ret->ignored && s->now.command != COMMAND_NONE;
	if (s->move.verdict == MOVE_ACCEPT)
		batch_accept(b, s);
	else
		metric_inc(M_EVENT_IGNORED, case_event_name(s->event), NULL, NULL);
	err = finish(pg, req, b, seen, ret, reterr);
	if (err != OC_OK)
		return err;
	batch_committed(b, relay_waker);
	ret->accepted = s->move.verdict == MOVE_ACCEPT;
	ret->to = s->move.verdict == MOVE_ACCEPT ? s->move.to : s->now.state;
	ret->version = s->version;
	ret->epoch = s->epoch;
	ret->cmd_id = s->cmd_id;
	return OC_OK;
}

static struct step step_of(const struct transition_request *req)
{
	return (struct step){
		.event = req->event,
		.who = req->who,
		.actor = req->actor,
		.role = req->role,
		.reason = req->reason,
		.correlation_id = req->correlation_id,
		.trace_id = req->trace_id,
		.args = req->args,
	};
}

static enum oc_err no_such_case(const struct transition_request *req, struct oc_fail *reterr)
{
	return oc_fail_field(reterr, OC_NOT_FOUND, "case_id", "no case '%s' in this tenant", req->case_id);
}

/* The case is not as it was guessed to be, and the answer says how it is. */
static enum oc_err as_seen(struct pg *pg, const struct transition_request *req,
			   const struct pg_result *answer, struct transition_result *ret,
			   struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *seen = pg_array_row(pg_text(answer, 0, GC_SEEN));
	struct step s = step_of(req);
	enum oc_err code = OC_OK;

	if (req->idem.key && pg_text(answer, 0, GC_IDEM_STATE) &&
	    idem_kept(answer, GC_IDEM_BODY, &req->idem, ret, &code, reterr))
		return code;
	if (!seen)
		return no_such_case(req, reterr);
	s.row = seen;
	return decide(pg, req, &s, seen, ret, reterr);
}

/* Holds the case, reads it, decides, writes. */
static enum oc_err try_once(struct pg *pg, const struct transition_request *req,
			    struct transition_result *ret, struct oc_fail *reterr)
{
	struct pg_result *res[8] = { 0 };
	struct text tenants = { 0 }, cases = { 0 };
	char tenant[24];
	bool idem = req->idem.key != NULL;
	unsigned lock_at = idem ? 3 : 1;
	enum oc_err err, code = OC_OK;
	struct step s = step_of(req);

	snprintf(tenant, sizeof(tenant), "%lld", req->tenant_id);
	pg_array_add(&tenants, tenant);
	pg_array_add(&cases, req->case_id);
	pg_array_end(&tenants);
	pg_array_end(&cases);
	err = pg_send(pg, "BEGIN", PG_NO_ARGS, reterr);
	if (err == OC_OK && idem)
		err = idem_send(pg, req->tenant_id, &req->idem, reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_LOCK, PG_ARGS(tenants.s, cases.s), reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_READ, PG_ARGS("{0}", tenants.s, cases.s, "{NULL}"), reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, ARRAY_LEN(res), reterr);
	text_done(&tenants);
	text_done(&cases);
	if (err != OC_OK)
		goto out;
	s.row = res[lock_at + 1];
	if (idem && idem_ends(res[1], res[2], &req->idem, ret, &code, reterr))
		err = code;
	else if (pg_rows(s.row) == 0)
		err = no_such_case(req, reterr);
	else
		err = decide(pg, req, &s, NULL, ret, reterr);
out:
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		pg_result_free(res[i]);
	return err;
}

static enum oc_err with_retries(struct pg *pg,
				enum oc_err (*once)(struct pg *, const void *, struct transition_result *,
						    struct oc_fail *),
				const void *req, struct transition_result *ret, struct oc_fail *reterr)
{
	enum oc_err err = OC_BUG;

	for (int i = 0; i < TRIES; i++) {
		bool again;

		*ret = (struct transition_result){ 0 };
		err = once(pg, req, ret, reterr);
		again = err != OC_OK && pg_retryable(pg);
		if (err != OC_OK || ret->replayed) {
			if (err != OC_OK)
				transition_result_done(ret);
			pg_rollback(pg);
		}
		if (!again)
			break;
		metric_inc(M_CONFLICT, "race", NULL, NULL);
	}
	return err;
}

static enum oc_err once_transition(struct pg *pg, const void *req, struct transition_result *ret,
				   struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *answer = NULL;
	bool written;
	enum oc_err err = guess_step(pg, req, hand, relay_waker, &written, &answer, ret, reterr);

	if (err != OC_OK || written)
		return err;
	return answer ? as_seen(pg, req, answer, ret, reterr) : try_once(pg, req, ret, reterr);
}

enum oc_err transition(struct pg *pg, const struct transition_request *req, struct transition_result *ret,
		       struct oc_fail *reterr)
{
	struct oc_fail own;

	*ret = (struct transition_result){ 0 };
	if (!uuid_ok(req->case_id))
		return oc_fail_field(reterr, OC_NOT_FOUND, "case_id", "'%.64s' is not a case id",
				     req->case_id ? req->case_id : "");
	if ((unsigned)req->event >= EV_COUNT)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "event", "no such event");
	if (!(case_event_who(req->event) & req->who))
		return oc_fail_field(reterr, OC_FORBIDDEN, "event",
				     "%s is not for %s to say; it comes from %s", case_event_name(req->event),
				     req->who == WHO_PERSON ? "people" : "this source",
				     case_event_way_in(req->event));
	if (req->args) {
		size_t n = json_dumpb(req->args, NULL, 0, JSON_COMPACT);

		if (n > ARGS_BYTES_MAX)
			return oc_fail_field(reterr, OC_TOO_LARGE, "args",
					     "the arguments have %zu bytes; at most %d are taken", n,
					     ARGS_BYTES_MAX);
	}
	return with_retries(pg, once_transition, req, ret, reterr ? reterr : &own);
}

/* ---- create ---- */

static enum oc_err create_once(struct pg *pg, const void *arg, struct transition_result *ret,
			       struct oc_fail *reterr)
{
	const struct case_create *c = arg;
	struct pg_result *res[12] = { 0 };
	bool idem = c->idem.key != NULL, automatic = c->drive == DRIVE_AUTO;
	unsigned at = idem ? 3 : 1, n = 0, json_at = 0;
	char tenant[24], id[UUID_TEXT], hash[HASH_HEX], version[16], epoch[16], seq[16], deadline[32];
	struct case_now absent = { .state = CASE_ABSENT, .drive = c->drive };
	struct case_move m = case_step(&absent, &(struct case_event){ .kind = EV_CREATE });
	struct text lines[11] = { 0 }, out[12] = { 0 };
	AUTO(json) json_t *meta = json_object();
	AUTO(str) char *meta_text = NULL;
	const char *head = "", *cmd = NULL, *line_args[11], *out_args[12];
	enum oc_err err, code = OC_OK;
	long long cmd_id = 0;
	bool by_hand = false;
	int steps = 0;

	snprintf(tenant, sizeof(tenant), "%lld", c->tenant_id);
	uuid_new(id);
	err = pg_send(pg, "BEGIN", PG_NO_ARGS, reterr);
	if (err == OC_OK && idem)
		err = idem_send(pg, c->tenant_id, &c->idem, reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_SPARES, PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, ARRAY_LEN(res), reterr);
	if (err != OC_OK)
		goto out;
	if (idem && idem_ends(res[1], res[2], &c->idem, ret, &code, reterr)) {
		err = code;
		goto out;
	}
	json_put(meta, "title", c->title);
	json_put(meta, "drive", automatic ? "auto" : "manual");
	if (c->trace_id)
		json_put(meta, "trace_id", c->trace_id);
	meta_text = json_text(meta);

	/* create, and for an auto case start_analysis in the same transaction: two rows, one commit. */
	for (enum case_event_kind ev = EV_CREATE;; ev = EV_START_ANALYSIS) {
		struct case_now at_now = { .state = steps ? CASE_NEW : CASE_ABSENT, .drive = c->drive };
		char seq_text[16], spare[24];
		AUTO(str) char *canonical = NULL;
		AUTO(json) json_t *fact = json_object();
		AUTO(str) char *fact_text = NULL;

		m = case_step(&at_now, &(struct case_event){ .kind = ev });
		steps++;
		snprintf(seq_text, sizeof(seq_text), "%d", steps);
		canonical = timeline_seal(&(struct timeline_row){ .tenant = c->tenant,
								  .case_id = id,
								  .event = case_event_name(ev),
								  .from = case_state_name(at_now.state),
								  .to = case_state_name(m.to),
								  .actor = c->actor,
								  .seq = steps,
								  .version = steps,
								  .epoch = steps,
								  .at_us = pg_int(res[at], 0, 0),
								  .meta = meta },
					  head, hash);
		head = hash;
		{
			const char *one[] = { tenant,    id,   seq_text, case_event_name(ev),
					      c->actor,  NULL, NULL,     meta_text,
					      canonical, hash, NULL };

			for (size_t i = 0; i < ARRAY_LEN(one); i++)
				pg_array_add(&lines[i], one[i]);
		}
		json_put(fact, "case_id", id);
		json_put(fact, "title", c->title);
		json_put(fact, "event", case_event_name(ev));
		json_put(fact, "from", case_state_name(at_now.state));
		json_put(fact, "to", case_state_name(m.to));
		json_object_set_new(fact, "version", json_integer(steps));
		json_put(fact, "actor", c->actor);
		fact_text = json_text(fact);
		snprintf(spare, sizeof(spare), "%lld", pg_int(res[at], 0, (unsigned)steps));
		{
			const char *one[] = {
				spare,       tenant,    id,       "x",      "evt.case.transition.v1",
				c->tenant,   fact_text, seq_text, seq_text, "1",
				c->trace_id, "bus"
			};

			for (size_t i = 0; i < ARRAY_LEN(one); i++)
				pg_array_add(&out[i], one[i]);
		}
		if (!automatic || ev == EV_START_ANALYSIS)
			break;
	}
	snprintf(seq, sizeof(seq), "%d", steps);
	snprintf(version, sizeof(version), "%d", steps);
	snprintf(epoch, sizeof(epoch), "%d", steps);
	if (m.ask != ASK_NOTHING) {
		char attempts[8];

		cmd_id = pg_int(res[at], 0, 3);
		cmd = pg_text(res[at], 0, 3);
		by_hand = handover_room(hand, case_ask_topic(m.ask));
		snprintf(attempts, sizeof(attempts), "%d", case_ask_attempts(m.ask));
		const char *one[] = { cmd,
				      tenant,
				      id,
				      "c",
				      case_ask_topic(m.ask),
				      c->tenant,
				      "{\"drive\":\"auto\",\"from_event\":\"start_analysis\",\"args\":{}}",
				      epoch,
				      version,
				      attempts,
				      c->trace_id,
				      by_hand ? "hand" : "bus" };

		for (size_t i = 0; i < ARRAY_LEN(one); i++)
			pg_array_add(&out[i], one[i]);
	}
	snprintf(deadline, sizeof(deadline), "%.3f", state_deadline_s(CASE_ANALYZING, false, NAN, NAN));
	{
		AUTO(str) char *labels = c->labels ? json_text(c->labels) : mem_strdup("{}");
		AUTO(str) char *evidence = c->evidence ? json_text(c->evidence) : mem_strdup("[]");
		AUTO(str) char *params = c->params ? json_text(c->params) : mem_strdup("{}");

		err = pg_send(pg, SQL_STEP_NEW_CASE,
			      PG_ARGS(id, tenant, c->tenant, c->title, case_state_name(m.to), version, epoch,
				      automatic ? "auto" : "manual", c->severity ? c->severity : "ERROR",
				      c->actor, c->trace_id, c->follows_id, c->parent_id, seq, hash, cmd,
				      cmd ? case_ask_topic(m.ask) : NULL, cmd ? deadline : NULL),
			      reterr);
		if (err == OC_OK)
			err = pg_send(pg, SQL_STEP_NEW_BODY,
				      PG_ARGS(id, tenant, c->summary, labels, evidence, c->template_name,
					      params),
				      reterr);
	}
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		line_args[i] = pg_array_end(&lines[i]);
	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		out_args[i] = pg_array_end(&out[i]);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_TIMELINE, line_args, ARRAY_LEN(line_args), reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_OUTBOX, out_args, ARRAY_LEN(out_args), reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_CASE_DOC, PG_ARGS(tenant, id), reterr);
	json_at = 4;
	if (err == OC_OK && idem)
		err = pg_send(pg, SQL_STEP_IDEM_KEEP_CASE,
			      PG_ARGS(tenant, c->idem.principal, c->idem.route, c->idem.key, "201", id),
			      reterr);
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	for (n = 0; n < ARRAY_LEN(res); n++) {
		pg_result_free(res[n]);
		res[n] = NULL;
	}
	if (err == OC_OK)
		err = pg_sync(pg, res, ARRAY_LEN(res), reterr);
	if (err != OC_OK)
		goto out;
	if (pg_rows(res[json_at]))
		transition_result_case(ret, res[json_at], 0, 1);
	ret->accepted = true;
	ret->from = CASE_ABSENT;
	ret->to = m.to;
	ret->version = ret->epoch = steps;
	ret->cmd_id = cmd_id ? -1 : 0;
	if (cmd_id)
		command_committed(hand, relay_waker, case_ask_topic(m.ask), cmd_id, by_hand);
	else
		waker_poke_within(relay_waker, HANDOVER_FACTS_MS);
	metric_inc(M_CASE_TRANSITION, "(none)", "NEW", "create");
	if (automatic)
		metric_inc(M_CASE_TRANSITION, "NEW", "ANALYZING", "start_analysis");
out:
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		text_done(&lines[i]);
	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		text_done(&out[i]);
	for (n = 0; n < ARRAY_LEN(res); n++)
		pg_result_free(res[n]);
	return err;
}

enum oc_err transition_create(struct pg *pg, const struct case_create *c, struct transition_result *ret,
			      struct oc_fail *reterr)
{
	struct oc_fail own;

	*ret = (struct transition_result){ 0 };
	if (str_empty(c->title) || strlen(c->title) > 500)
		return oc_fail_field(reterr, OC_INVALID, "/title", "a case needs a title of 1 to 500 bytes");
	if (!str_utf8_ok(c->title, strlen(c->title)))
		return oc_fail_field(reterr, OC_BAD_REQUEST, "/title", "the title is not valid UTF-8");
	return with_retries(pg, create_once, c, ret, reterr ? reterr : &own);
}
