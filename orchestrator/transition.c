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
#include "orchestrator/door.h"
#include "orchestrator/guess.h"
#include "orchestrator/kept.h"
#include "orchestrator/opening.h"
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

struct handover *door_hand(void)
{
	return hand;
}

struct waker *door_waker(void)
{
	return relay_waker;
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

	if (req->idem.key && kept_ends(answer, 0, GC_IDEM_BODY, &req->idem, ret, &code, reterr))
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
	if (idem && pg_rows(res[1]) != 1 && kept_ends(res[2], 0, 0, &req->idem, ret, &code, reterr))
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
	struct opening one = { .ask = arg, .ret = ret, .fail = reterr };
	enum oc_err err = opening_write(pg, &one, 1, reterr);

	return err == OC_OK ? one.err : err;
}

enum oc_err transition_create(struct pg *pg, const struct case_create *c, struct transition_result *ret,
			      struct oc_fail *reterr)
{
	struct oc_fail own;
	enum oc_err err = opening_check(c, reterr);

	*ret = (struct transition_result){ 0 };
	return err == OC_OK ? with_retries(pg, create_once, c, ret, reterr ? reterr : &own) : err;
}
