#define LOG_ROOM "executor"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "contracts/plan.h"
#include "executor/run.h"
#include "detail/store.h"
#include "store/exec.h"
#include "store/locator.h"

#define PROBE_MS    10000
#define OUTPUT_KEPT 4096 /* of stdout and stderr in the row; all of it is in the detail store */

/* ---- words ---- */

static void step_key(const struct run *r, int seq, char out[HASH_HEX])
{
	AUTO(str) char *about = mem_printf("%s|%s|%d|%d", r->cmd->case_id, r->plan_hash, r->cmd->epoch, seq);

	hash_sha256_hex(about, strlen(about), out);
}

/* What two runs must not touch at once. */
char *step_target(const struct plan_step *s)
{
	return s->target_urn ? mem_strdup(s->target_urn) : mem_strdup(s->action);
}

static const char *outcome_status(enum opscase_outcome o)
{
	switch (o) {
	case OPSCASE_DONE:
	case OPSCASE_APPLIED:
		return "succeeded";
	case OPSCASE_NOT_APPLIED:
		return "not_applied";
	case OPSCASE_WORLD_CHANGED:
		return "world_changed";
	case OPSCASE_CANCELLED:
		return "cancelled";
	case OPSCASE_UNCLEAR:
		return "unknown";
	default:
		return "failed";
	}
}

static json_t *json_or_text(const char *text)
{
	json_t *v = NULL;

	if (text && json_read_own(text, &v, NULL) == OC_OK)
		return v;
	return text ? json_string(text) : json_null();
}

/* ---- one step ---- */

struct
try {
	enum opscase_outcome outcome;
	char sentence[1024];
	json_t *result; /* for the row */
	char *log_key;
	const char *log_bucket;
	size_t log_bytes;
	int64_t from_us, to_us;
};

static void try_done(struct try *t)
{
	json_decref(t->result);
	free(t->log_key);
	*t = (struct try){ 0 };
}

static void sentence_of(const json_t *answer, char *out, size_t n)
{
	snprintf(out, n, "%s", json_str_or(answer, "error", json_str_or(answer, "detail", "")));
}

static enum oc_err call_adapter(struct run *r, enum host_entry entry, const struct plan_step *s, int seq,
				const char *before, const char *binding, int64_t timeout_ms, bool leashed,
				struct host_answer *ret, struct oc_fail *reterr)
{
	char key[HASH_HEX];

	step_key(r, seq, key);
	return host_call(r->x->cfg.host,
			 &(struct host_call){ .entry = entry,
					      .operation = s->action,
					      .params = s->params,
					      .target = s->target,
					      .idempotency_key = key,
					      .tenant = r->cmd->tenant,
					      .case_id = r->cmd->case_id,
					      .decision_id = r->decision_id,
					      .plan_hash = r->plan_hash,
					      .expected_binding = binding,
					      .before = before,
					      .timeout_ms = timeout_ms,
					      .leash_ref = leashed ? r->leash : NULL },
			 ret, reterr);
}

/* APPLIED, NOT_APPLIED or UNCLEAR: what is true of this step now. */
static enum opscase_outcome ask_probe(struct run *r, const struct plan_step *s, int seq, char **ret_json)
{
	AUTO(host_answer) struct host_answer a = { 0 };
	enum opscase_outcome o;

	if (call_adapter(r, HOST_PROBE, s, seq, NULL, NULL, PROBE_MS, false, &a, NULL) != OC_OK)
		return OPSCASE_UNCLEAR;
	o = a.outcome;
	if (ret_json)
		*ret_json = TAKE(a.json);
	if (o == OPSCASE_APPLIED && s->undo)
		return OPSCASE_NOT_APPLIED;
	/* The probe speaks of the step's state; an undo step is done when that state is gone. */
	if (o == OPSCASE_NOT_APPLIED && s->undo)
		return OPSCASE_APPLIED;
	return o == OPSCASE_APPLIED || o == OPSCASE_NOT_APPLIED ? o : OPSCASE_UNCLEAR;
}

static void keep_output(struct run *r, int seq, int attempt, const struct host_answer *a, struct try *t)
{
	AUTO(json) json_t *doc = json_object();
	AUTO(str) char *text = NULL;
	AUTO(str) char *key = NULL;
	struct oc_fail fail;

	if (!r->x->cfg.detail || (str_empty(a->out) && str_empty(a->err)))
		return;
	json_put(doc, "run_id", r->id);
	json_object_set_new(doc, "seq", json_integer(seq));
	json_object_set_new(doc, "attempt", json_integer(attempt));
	json_put(doc, "stdout", a->out);
	json_put(doc, "stderr", a->err);
	json_object_set_new(doc, "stdout_cut", json_boolean(a->out_cut));
	json_object_set_new(doc, "stderr_cut", json_boolean(a->err_cut));
	text = json_text(doc);
	key = mem_printf("%s/exec/%s/%d-%d.json", r->cmd->tenant, r->id, seq, attempt);
	if (detail_put(r->x->cfg.detail, key, text, strlen(text), &t->log_bucket, &fail) != OC_OK) {
		log_warn("run %s step %d: %s", r->id, seq, fail.text);
		return;
	}
	t->log_key = TAKE(key);
	t->log_bytes = strlen(text);
}

static json_t *output_head(const char *s)
{
	size_t n = strlen(s);

	/* Never in the middle of a character. */
	if (n > OUTPUT_KEPT)
		for (n = OUTPUT_KEPT; n && ((unsigned char)s[n] & 0xC0) == 0x80; n--)
			;
	return json_stringn(s, n);
}

static void run_adapter(struct run *r, const struct plan_step *s, int seq, int attempt, struct try *t)
{
	AUTO(host_answer) struct host_answer a = { 0 };
	AUTO(str) char *binding = NULL;
	struct oc_fail fail = { 0 };
	const json_t *bound = json_object_get(json_array_get(r->world, (size_t)seq), "binding");
	enum oc_err err;

	/* A retry meets a world in which an unclear try may have left its mark: then nothing is compared. */
	if (json_is_object(bound) && !r->smudged)
		binding = json_text(bound);
	t->from_us = clock_wall_us();
	err = call_adapter(r, s->undo ? HOST_UNDO : HOST_RUN, s, seq, s->before, binding,
			   (int64_t)s->timeout_s * 1000, true, &a, &fail);
	t->to_us = clock_wall_us();
	if (err != OC_OK) {
		t->outcome = OPSCASE_NOT_APPLIED;
		t->result = json_object();
		json_put(t->result, "error", fail.text);
		snprintf(t->sentence, sizeof(t->sentence), "%s", fail.text);
		return;
	}
	t->outcome = a.outcome;
	t->result = json_pack("{s:o, s:I}", "answer", json_or_text(a.json), "duration_us",
			      (json_int_t)a.duration_us);
	json_put(t->result, "outcome", host_outcome_name(a.outcome));
	json_object_set_new(t->result, "everything_gone", json_boolean(a.everything_gone));
	if (a.timed_out)
		json_object_set_new(t->result, "timed_out", json_true());
	if (a.crashed || a.lost)
		json_object_set_new(t->result, "crashed", json_true());
	if (a.cancelled)
		json_object_set_new(t->result, "cancelled", json_true());
	if (!str_empty(a.out))
		json_object_set_new(t->result, "stdout", output_head(a.out));
	if (!str_empty(a.err))
		json_object_set_new(t->result, "stderr", output_head(a.err));
	sentence_of(json_object_get(t->result, "answer"), t->sentence, sizeof(t->sentence));
	keep_output(r, seq, attempt, &a, t);
	metric_observe(M_STEP_LATENCY, (double)a.duration_us / 1e6, s->action, host_outcome_name(a.outcome),
		       NULL);
}

/* What the case is asked about while the run goes on; in the transaction of what it counts. */
static enum oc_err send_counts(struct run *r, struct oc_fail *reterr)
{
	char tenant[24], applied[16], dispatched[16];

	snprintf(tenant, sizeof(tenant), "%lld", r->cmd->tenant_id);
	snprintf(applied, sizeof(applied), "%d", r->applied);
	snprintf(dispatched, sizeof(dispatched), "%d", r->dispatched);
	return pg_send(r->pg, SQL_EXEC_RUN_COUNT, PG_ARGS(r->id, tenant, applied, dispatched), reterr);
}

static enum oc_err write_intent(struct run *r, const struct plan_step *s, int seq, int attempt,
				const char *before, long long *ret_id, struct oc_fail *reterr)
{
	struct pg_result *res[2] = { 0 };
	AUTO(str) char *target = step_target(s);
	char tenant[24], seq_text[16], attempt_text[16], epoch[16], cmd[24], key[HASH_HEX];
	enum oc_err err;

	step_key(r, seq, key);
	snprintf(tenant, sizeof(tenant), "%lld", r->cmd->tenant_id);
	snprintf(seq_text, sizeof(seq_text), "%d", seq);
	snprintf(attempt_text, sizeof(attempt_text), "%d", attempt);
	snprintf(epoch, sizeof(epoch), "%d", r->cmd->epoch);
	snprintf(cmd, sizeof(cmd), "%lld", r->cmd->id);
	/* Without BEGIN: what one round trip sends is one transaction. */
	err = send_counts(r, reterr);
	if (err == OC_OK)
		err = pg_send(r->pg, SQL_EXEC_INTENT,
			      PG_ARGS(tenant, r->id, r->cmd->case_id, seq_text, attempt_text, s->action,
				      target, s->params, key, epoch, r->cmd->lease_token, before, cmd),
			      reterr);
	if (err == OC_OK)
		err = pg_sync(r->pg, res, 2, reterr);
	else
		pg_rollback(r->pg);
	if (err == OC_OK && pg_rows(res[1]) == 0)
		err = oc_fail(reterr, OC_STALE, "the lease is lost, or cancel was asked");
	else if (err == OC_OK)
		*ret_id = pg_int(res[1], 0, 0);
	pg_result_free(res[0]);
	pg_result_free(res[1]);
	return err;
}

static long long write_locator(struct run *r, const struct try *t)
{
	AUTO(pg_result) struct pg_result *row = NULL;
	char tenant[24], from[24], to[24], bytes[24];

	if (!t->log_key)
		return 0;
	snprintf(tenant, sizeof(tenant), "%lld", r->cmd->tenant_id);
	snprintf(from, sizeof(from), "%lld", (long long)t->from_us);
	snprintf(to, sizeof(to), "%lld", (long long)t->to_us);
	snprintf(bytes, sizeof(bytes), "%zu", t->log_bytes);
	if (pg_query(r->pg, SQL_LOCATOR_ADD,
		     PG_ARGS(tenant, "exec", t->log_bucket, t->log_key, from, to,
			     "stdout and stderr of one step", "{\"format\":\"json\"}", bytes),
		     &row, NULL) != OC_OK)
		return 0;
	return pg_rows(row) ? pg_int(row, 0, 0) : 0;
}

/* The result and the world's fact about it. A result that cannot be written leaves the intent: whoever comes
 * next probes. */
static enum oc_err write_result(struct run *r, const struct plan_step *s, int seq, int attempt,
				long long step_id, const char *status, const struct try *t,
				struct oc_fail *reterr)
{
	AUTO(json) json_t *fact = json_object();
	AUTO(str) char *fact_text = NULL;
	AUTO(str) char *result = t->result ? json_text(t->result) : mem_strdup("{}");
	char tenant[24], id[24], epoch[16], ref[24];
	long long locator = write_locator(r, t);
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", r->cmd->tenant_id);
	snprintf(id, sizeof(id), "%lld", step_id);
	snprintf(epoch, sizeof(epoch), "%d", r->cmd->epoch);
	snprintf(ref, sizeof(ref), "%lld", locator);
	json_put(fact, "case_id", r->cmd->case_id);
	json_put(fact, "run_id", r->id);
	json_object_set_new(fact, "seq", json_integer(seq));
	json_object_set_new(fact, "attempt", json_integer(attempt));
	json_put(fact, "action", s->action);
	json_put(fact, "status", status);
	if (*t->sentence)
		json_put(fact, "sentence", t->sentence);
	fact_text = json_text(fact);
	err = pg_send(r->pg, "BEGIN", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_send(r->pg, SQL_EXEC_RESULT,
			      PG_ARGS(id, tenant, status, result, locator ? ref : NULL), reterr);
	if (err == OC_OK)
		err = pg_send(r->pg, SQL_EXEC_STEP_FACT,
			      PG_ARGS(tenant, r->cmd->case_id, r->cmd->tenant, fact_text, epoch,
				      r->cmd->trace_id),
			      reterr);
	if (err == OC_OK)
		err = send_counts(r, reterr);
	if (err == OC_OK)
		err = pg_send(r->pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(r->pg, NULL, 0, reterr);
	if (err != OC_OK)
		pg_rollback(r->pg);
	return err;
}

enum run_end run_end_fail(struct run *r, enum run_end end, int seq, const char *action, const char *what)
{
	snprintf(r->reason, sizeof(r->reason), "step %d (%s): %s", seq, action, what);
	return end;
}

/* What a try comes to, once it is over: try again, go on, or the end of the run. */
enum step_next { STEP_OK, STEP_AGAIN, STEP_END };

static enum step_next judge(struct run *r, const struct plan_step *s, int seq, bool last_try,
			    enum opscase_outcome o, const char *sentence, enum run_end *ret_end)
{
	const struct operation *op = operation_find(r->x->cfg.operations_ref, s->action);
	bool repeatable = op && op->repeatable;
	const char *why = *sentence ? sentence : "no reason given";

	switch (o) {
	case OPSCASE_DONE:
	case OPSCASE_APPLIED:
		return STEP_OK;
	case OPSCASE_NOT_APPLIED:
		if (!last_try)
			return STEP_AGAIN;
		*ret_end = run_end_fail(r, END_FAILED, seq, s->action, why);
		return STEP_END;
	case OPSCASE_FAILED:
	case OPSCASE_REFUSED:
		if (repeatable && !last_try && o == OPSCASE_FAILED)
			return STEP_AGAIN;
		*ret_end = run_end_fail(r, END_FAILED, seq, s->action, why);
		return STEP_END;
	case OPSCASE_WORLD_CHANGED:
		*ret_end = run_end_fail(r, END_VOID, seq, s->action,
					*sentence ? sentence : "the world is not as it was approved");
		return STEP_END;
	case OPSCASE_CANCELLED:
		if (!run_flag(r, &r->cancelled)) {
			*ret_end = run_end_fail(r, END_FAILED, seq, s->action,
						"the adapter says cancelled, and nobody asked for it");
			return STEP_END;
		}
		*ret_end = run_end_fail(r, END_CANCELLED, seq, s->action,
					"cancelled before anything was applied");
		return STEP_END;
	default:
		if (repeatable && !last_try)
			return STEP_AGAIN;
		*ret_end = run_end_fail(r, END_UNKNOWN, seq, s->action,
					*sentence ? sentence : "nobody can say whether it took effect");
		return STEP_END;
	}
}

/* An intent without a result: somebody's crash, or our own. Certain knowledge, or none. */
static enum oc_err settle_intent(struct run *r, const struct plan_step *s, int seq, int attempt,
				 long long step_id, enum opscase_outcome *ret_outcome, struct oc_fail *reterr)
{
	AUTO(str) char *json = NULL;
	struct try t = { .outcome = ask_probe(r, s, seq, &json) };
	enum oc_err err;

	t.result = json_pack("{s:b, s:o}", "settled_by_probe", 1, "answer", json_or_text(json));
	json_put(t.result, "outcome", host_outcome_name(t.outcome));
	snprintf(t.sentence, sizeof(t.sentence), "%s",
		 t.outcome == OPSCASE_UNCLEAR
			 ? "the executor was lost while it ran, and the probe cannot tell"
			 : "settled by probe");
	if (t.outcome == OPSCASE_APPLIED)
		r->applied++;
	*ret_outcome = t.outcome;
	err = write_result(r, s, seq, attempt, step_id, outcome_status(t.outcome), &t, reterr);
	try_done(&t);
	return err;
}

static json_t *step_keys(const struct run *r)
{
	json_t *keys = json_object();

	for (size_t i = 0; i < r->plan->step_count; i++) {
		char key[HASH_HEX], name[24];

		step_key(r, (int)i, key);
		snprintf(name, sizeof(name), "%zu", i);
		json_put(keys, name, key);
	}
	return keys;
}

/* The check between this step and the next. True: go on (or somebody wants to stop; the caller looks). */
static bool hold_after(struct run *r, const struct plan_step *s, int seq, int64_t began_us, int64_t ended_us,
		       enum run_end *ret_end)
{
	AUTO(json) json_t *keys = step_keys(r);
	int64_t until = clock_mono_ms() +
			(int64_t)(s->verify->deadline_s > 0 ? s->verify->deadline_s : 600) * 1000;
	struct exec_hold ask = { .cmd = r->cmd,
				 .plan = r->plan,
				 .verify = s->verify,
				 .plan_hash = r->plan_hash,
				 .decision_id = r->decision_id,
				 .keys = keys,
				 .began_us = began_us,
				 .ended_us = ended_us };

	for (;;) {
		char verdict[32] = "", sentence[512] = "";
		struct oc_fail fail = { 0 };
		enum oc_err err;

		ask.now_us = clock_wall_us();
		err = r->x->cfg.hold(r->x->cfg.ctx, &ask, verdict, sentence, &fail);
		if (err == OC_OK && str_eq(verdict, "PASS"))
			return true;
		if ((err == OC_OK && *verdict) || clock_mono_ms() > until) {
			char why[1200];

			snprintf(why, sizeof(why), "applied, but its check says %s: %s",
				 *verdict ? verdict : "nothing in time", err == OC_OK ? sentence : fail.text);
			*ret_end = run_end_fail(r, END_FAILED, seq, s->action, why);
			return false;
		}
		if (run_pause(r, 500))
			return true;
	}
}

enum run_end run_step(struct run *r, const struct plan_step *s, int seq, const struct step_known *k,
		      bool *ret_go_on)
{
	const struct operation *op = operation_find(r->x->cfg.operations_ref, s->action);
	enum run_end end = END_FAILED;
	int attempt = k->attempt;
	struct oc_fail fail = { 0 };

	*ret_go_on = false;
	r->smudged = false;
	if (str_eq(k->status, "succeeded")) {
		int64_t now = clock_wall_us();

		r->applied++;
		/* Whoever was lost may have been lost during the check: it is made again, from now on. */
		if (k->last && s->verify && r->x->cfg.hold && !hold_after(r, s, seq, now, now, &end))
			return end;
		*ret_go_on = true;
		return END_DONE;
	}
	if (!op)
		return run_end_fail(r, END_FAILED, seq, s->action, "no loaded adapter offers it");
	if (str_eq(k->status, "intent")) {
		enum opscase_outcome o;
		enum step_next next;

		if (settle_intent(r, s, seq, attempt, k->id, &o, &fail) != OC_OK)
			return END_LOST;
		next = judge(r, s, seq, attempt > s->retry, o, "settled by probe after a lost executor",
			     &end);
		if (next == STEP_OK) {
			*ret_go_on = true;
			return END_DONE;
		}
		if (next == STEP_END)
			return end;
	} else if (str_eq(k->status, "not_applied") && attempt > s->retry) {
		return run_end_fail(r, END_FAILED, seq, s->action, "was not applied, and no try is left");
	} else if (*k->status && !str_eq(k->status, "not_applied")) {
		/* Written as over by the one before us, who could not say so any more. */
		return run_end_fail(r,
				    str_eq(k->status, "unknown")     ? END_UNKNOWN
				    : str_eq(k->status, "cancelled") ? END_CANCELLED
								     : END_FAILED,
				    seq, s->action, "ended before");
	}
	for (;;) {
		AUTO(str) char *before = NULL;
		struct try t = { 0 };
		long long step_id = 0;
		enum step_next next;
		enum oc_err err;

		if (run_flag(r, &r->lost))
			return END_LOST;
		if (*r->barred)
			return run_end_fail(r, END_VOID, seq, s->action, r->barred);
		if (run_flag(r, &r->cancelled))
			return run_end_fail(r, END_CANCELLED, seq, s->action,
					    "cancelled before it was dispatched");
		attempt++;
		if (op->has_probe && !s->undo)
			(void)ask_probe(r, s, seq, &before);
		if (before && !str_utf8_ok(before, strlen(before)))
			mem_set(&before, NULL);
		r->dispatched++;
		err = write_intent(r, s, seq, attempt, before, &step_id, &fail);
		if (err == OC_STALE) {
			/* Which of the two the heartbeat will say within a second or so; nothing was done. */
			r->dispatched--;
			run_beat(r);
			if (run_flag(r, &r->cancelled))
				return run_end_fail(r, END_CANCELLED, seq, s->action,
						    "cancelled before it was dispatched");
			return END_LOST;
		}
		if (err != OC_OK) {
			log_warn("run %s step %d: the intent was not written: %s", r->id, seq, fail.text);
			return END_LOST;
		}
		FAULT_POINT("exec.intended");
		run_adapter(r, s, seq, attempt, &t);
		FAULT_POINT("exec.ran");
		if (t.outcome == OPSCASE_UNCLEAR) {
			AUTO(str) char *probed = NULL;
			enum opscase_outcome o = op->has_probe ? ask_probe(r, s, seq, &probed)
							       : OPSCASE_UNCLEAR;

			json_object_set_new(t.result, "probe", json_or_text(probed));
			json_put(t.result, "probe_outcome", host_outcome_name(o));
			t.outcome = o;
		}
		if (t.outcome == OPSCASE_DONE || t.outcome == OPSCASE_APPLIED)
			r->applied++;
		err = write_result(r, s, seq, attempt, step_id, outcome_status(t.outcome), &t, &fail);
		if (err != OC_OK) {
			log_warn("run %s step %d: the result was not written: %s", r->id, seq, fail.text);
			try_done(&t);
			return END_LOST;
		}
		FAULT_POINT("exec.recorded");
		r->smudged = t.outcome != OPSCASE_NOT_APPLIED;
		next = judge(r, s, seq, attempt > s->retry, t.outcome, t.sentence, &end);
		/* Cancelled and unclear: what the person wanted to know is whether it stopped. */
		if (next == STEP_END && run_flag(r, &r->cancelled) && end == END_FAILED &&
		    t.outcome == OPSCASE_NOT_APPLIED)
			end = END_CANCELLED;
		if (next == STEP_OK && s->verify && r->x->cfg.hold &&
		    !hold_after(r, s, seq, t.from_us, t.to_us, &end)) {
			try_done(&t);
			return end;
		}
		try_done(&t);
		if (next == STEP_OK) {
			*ret_go_on = true;
			return END_DONE;
		}
		if (next == STEP_END)
			return end;
		{
			unsigned char jitter = 0;
			int pause_ms = plan_backoff_s(attempt + 1) * 1000;

			hash_random(&jitter, 1);
			if (run_pause(r, pause_ms + pause_ms / 2 * jitter / 255) && run_flag(r, &r->lost))
				return END_LOST;
		}
	}
}
