#define LOG_ROOM "executor"
#include "executor/role.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "contracts/plan.h"
#include "executor/run.h"
#include "store/exec.h"

#define LOCK_WAIT_MS 1000

/* ---- a run ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In the order of their names, so that two runs with the same targets wait for one another instead of
 * each holding what the other wants. */
static bool lock_targets(struct run *r)
{
	char **targets = mem_array(r->plan->step_count, sizeof(*targets));
	char tenant[24], ms[16];
	bool ours = true;
	size_t n = 0;

	for (size_t i = 0; i < r->plan->step_count; i++) {
		const struct plan_step *s = &r->plan->step[i];
		const struct operation *op = operation_find(r->x->cfg.operations_ref, s->action);

		/* What touches nothing may go on side by side. */
		if (!op || op->blast != BLAST_NONE || s->target_urn)
			targets[n++] = step_target(s);
	}
	qsort(targets, n, sizeof(*targets), by_text);
	r->locks = n > 0;
	snprintf(tenant, sizeof(tenant), "%lld", r->cmd->tenant_id);
	snprintf(ms, sizeof(ms), "%d", LEASE_MS);
	for (size_t i = 0; i < n && ours; i++) {
		AUTO(pg_result) struct pg_result *got = NULL;

		ours = pg_query(r->pg, SQL_TARGET_LOCK, PG_ARGS(tenant, targets[i], r->id, ms), &got, NULL) ==
			       OC_OK &&
		       pg_rows(got) > 0;
	}
	for (size_t i = 0; i < n; i++)
		free(targets[i]);
	free(targets);
	return ours;
}

static void unlock_targets(struct run *r)
{
	char tenant[24];

	if (!r->locks)
		return;
	snprintf(tenant, sizeof(tenant), "%lld", r->cmd->tenant_id);
	(void)!pg_query(r->pg, SQL_TARGET_UNLOCK, PG_ARGS(tenant, r->id), NULL, NULL);
}

static enum run_end run_steps(struct run *r, const struct pg_result *rows)
{
	for (size_t i = 0; i < r->plan->step_count; i++) {
		struct step_known k = { .last = true };
		bool go_on;
		enum run_end end;

		for (unsigned row = 0; row < pg_rows(rows); row++) {
			if (pg_int(rows, row, XS_SEQ) > (long long)i)
				k.last = false;
			if (pg_int(rows, row, XS_SEQ) == (long long)i) {
				k.attempt = (int)pg_int(rows, row, XS_ATTEMPT);
				k.id = pg_int(rows, row, XS_ID);
				snprintf(k.status, sizeof(k.status), "%s", pg_text(rows, row, XS_STATUS));
			}
		}
		if (!*k.status && run_flag(r, &r->cancelled))
			return run_end_fail(r, END_CANCELLED, (int)i, r->plan->step[i].action,
					    "cancelled before it was dispatched");
		end = run_step(r, &r->plan->step[i], (int)i, &k, &go_on);
		if (!go_on)
			return end;
	}
	return END_DONE;
}

static void answer_run(struct run *r, enum run_end end, const json_t *changed, struct answer *ans)
{
	static const struct {
		const char *topic, *status;
	} ends[] = {
		[END_DONE] = { "evt.exec.done.v1",      "succeeded" },
		[END_FAILED] = { "evt.exec.failed.v1",    "failed"    },
		[END_UNKNOWN] = { "evt.exec.unknown.v1",   "unknown"   },
		[END_CANCELLED] = { "evt.exec.cancelled.v1", "cancelled" },
		[END_VOID] = { "evt.exec.void.v1",      "void"      },
	};
	char tenant[24], applied[16], dispatched[16];
	json_t *meta = json_pack("{s:s, s:i, s:i, s:i}", "run_id", r->id, "steps", (int)r->plan->step_count,
				 "applied", r->applied, "dispatched", r->dispatched);

	snprintf(tenant, sizeof(tenant), "%lld", r->cmd->tenant_id);
	snprintf(applied, sizeof(applied), "%d", r->applied);
	snprintf(dispatched, sizeof(dispatched), "%d", r->dispatched);
	if (changed)
		json_object_set(meta, "changed", (json_t *)changed);
	answer_do(ans, SQL_EXEC_RUN_END,
		  PG_ARGS(r->id, tenant, ends[end].status, applied, dispatched,
			  *r->reason ? r->reason : NULL));
	answer_event(ans, ends[end].topic, r->id);
	answer_meta(ans, meta);
	if (*r->reason)
		answer_reason(ans, "%s", r->reason);
}

static void run_register(struct run *r)
{
	pthread_mutex_lock(&r->x->lock);
	r->next = r->x->running;
	r->x->running = r;
	pthread_mutex_unlock(&r->x->lock);
}

static void run_unregister(struct run *r)
{
	pthread_mutex_lock(&r->x->lock);
	for (struct run **p = &r->x->running; *p; p = &(*p)->next)
		if (*p == r) {
			*p = r->next;
			break;
		}
	pthread_mutex_unlock(&r->x->lock);
}

/* With the connection, the plan and the run's row in place. */
static enum oc_err carry_out(struct run *r, const struct pg_result *rows, struct answer *ans,
			     struct oc_fail *reterr)
{
	struct exec_leave leave = { .go = true };
	const char *plan_id = pg_text(r->cmd->row, r->cmd->row_at, XL_PLAN_ID);
	bool cancelled = pg_text(r->cmd->row, r->cmd->row_at, XL_CANCEL) != NULL;
	enum run_end end;
	enum oc_err err;

	r->cancelled = cancelled;
	if (cancelled && pg_rows(rows) == 0) {
		snprintf(r->reason, sizeof(r->reason), "cancelled before anything was dispatched");
		answer_run(r, END_CANCELLED, NULL, ans);
		return OC_OK;
	}
	err = r->x->cfg.may_begin(r->x->cfg.ctx, r->pg,
				  &(struct exec_permit){ .tenant_id = r->cmd->tenant_id,
							 .tenant = r->cmd->tenant,
							 .case_id = r->cmd->case_id,
							 .plan_id = plan_id,
							 .decision_id = r->decision_id,
							 .run_id = r->id,
							 .epoch = r->cmd->epoch },
				  &leave, reterr);
	if (err != OC_OK)
		return err;
	if (!leave.go && pg_rows(rows) == 0) {
		snprintf(r->reason, sizeof(r->reason), "%s", leave.sentence);
		answer_run(r, END_VOID, leave.changed, ans);
		json_decref(leave.changed);
		json_decref(leave.world);
		return OC_OK;
	}
	FAULT_POINT("exec.permitted");
	/* A run that was taken up again and may not go on: what is open is settled, nothing new begins. */
	if (!leave.go)
		snprintf(r->barred, sizeof(r->barred), "%s", leave.sentence);
	r->world = leave.world;
	if (pthread_create(&r->heart, NULL, run_heart, r) != 0) {
		json_decref(leave.changed);
		return oc_fail(reterr, OC_UNAVAILABLE, "no thread for the heartbeat");
	}
	run_register(r);
	host_leash_extend(r->leash, LEASE_MS - LEASE_MARGIN_MS);
	end = run_steps(r, rows);
	run_unregister(r);
	pthread_mutex_lock(&r->lock);
	r->ended = true;
	pthread_cond_broadcast(&r->beat);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->heart, NULL);
	json_decref(leave.changed);
	/* Whoever has the lease now has the same run, and its locks. */
	if (end == END_LOST || run_flag(r, &r->lost))
		return oc_fail(reterr, OC_STALE, "run %s: the lease was lost; whoever has it now goes on",
			       r->id);
	answer_run(r, end, NULL, ans);
	return OC_OK;
}

static enum oc_err exec_work(void *ctx, const struct command *cmd, struct answer *ans, struct oc_fail *reterr)
{
	struct executor *x = ctx;
	AUTO(plan) struct plan *plan = NULL;
	AUTO(pg_result) struct pg_result *opened = NULL;
	AUTO(pg_result) struct pg_result *rows = NULL;
	struct run r = { .x = x, .cmd = cmd };
	char tenant[24], cmd_id[24], epoch[16], steps[16], new_id[UUID_TEXT];
	pthread_condattr_t mono;
	enum oc_err err;

	if (!cmd->row)
		return OC_OK; /* the case has moved on: done, without an event */
	err = plan_parse_text(pg_text(cmd->row, cmd->row_at, XL_PLAN), &plan, reterr);
	if (err != OC_OK)
		return err;
	err = pg_pool_take(x->pool, 5000, &r.pg, reterr);
	if (err != OC_OK)
		return err;
	r.plan = plan;
	r.plan_hash = pg_text(cmd->row, cmd->row_at, XL_HASH);
	r.decision_id = pg_text_or(cmd->row, cmd->row_at, XL_DECISION, "");
	r.leash = host_leash_new();
	pthread_mutex_init(&r.lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&r.beat, &mono);
	pthread_condattr_destroy(&mono);
	uuid_new(new_id);
	snprintf(tenant, sizeof(tenant), "%lld", cmd->tenant_id);
	snprintf(cmd_id, sizeof(cmd_id), "%lld", cmd->id);
	snprintf(epoch, sizeof(epoch), "%d", cmd->epoch);
	snprintf(steps, sizeof(steps), "%zu", plan->step_count);
	err = pg_query(r.pg, SQL_EXEC_RUN_OPEN,
		       PG_ARGS(new_id, tenant, cmd->case_id, pg_text(cmd->row, cmd->row_at, XL_PLAN_ID),
			       r.decision_id, cmd_id, epoch, steps),
		       &opened, reterr);
	if (err == OC_OK) {
		snprintf(r.id, sizeof(r.id), "%s", pg_text(opened, 0, 0));
		/* A run that is new has no steps yet. */
		if (!pg_bool(opened, 0, 2))
			err = pg_query(r.pg, SQL_EXEC_STEPS, PG_ARGS(tenant, r.id), &rows, reterr);
	}
	FAULT_POINT("exec.opened");
	for (unsigned i = 0; err == OC_OK && i < pg_rows(rows); i++)
		r.dispatched += (int)pg_int(rows, i, XS_ATTEMPT) > 0;
	if (err == OC_OK && !lock_targets(&r)) {
		unlock_targets(&r);
		answer_later(ans, LOCK_WAIT_MS);
	} else if (err == OC_OK) {
		err = carry_out(&r, rows, ans, reterr);
		if (err != OC_STALE)
			unlock_targets(&r);
	}
	json_decref(r.world);
	pthread_cond_destroy(&r.beat);
	pthread_mutex_destroy(&r.lock);
	host_leash_free(r.leash);
	pg_pool_give(x->pool, r.pg);
	return err;
}

/* ---- cancel ---- */

static enum oc_err cancel_work(void *ctx, const struct command *cmd, struct answer *ans,
			       struct oc_fail *reterr)
{
	struct executor *x = ctx;

	(void)ans, (void)reterr;
	/* The run itself answers, with the proof that nothing is left. A run of another replica hears of it by
	 * its heartbeat; one that nobody has leased finds the wish on the case when it is taken up. */
	pthread_mutex_lock(&x->lock);
	for (struct run *r = x->running; r; r = r->next)
		if (str_eq(r->cmd->case_id, cmd->case_id) && r->cmd->epoch == cmd->epoch)
			run_stop(r, &r->cancelled);
	pthread_mutex_unlock(&x->lock);
	return OC_OK;
}

/* ---- life ---- */

enum oc_err executor_new(const struct executor_config *cfg, struct executor **ret, struct oc_fail *reterr)
{
	struct executor *x = mem_alloc(sizeof(*x));

	(void)reterr;
	x->cfg = *cfg;
	if (!x->cfg.threads)
		x->cfg.threads = 8;
	x->conninfo = mem_strdup(cfg->conninfo);
	/* One for each run and a few for the heartbeats, which are short. */
	x->pool = pg_pool_new(x->conninfo, "executor", x->cfg.threads + 4);
	pthread_mutex_init(&x->lock, NULL);
	*ret = x;
	return OC_OK;
}

void executor_free(struct executor *x)
{
	if (!x)
		return;
	pg_pool_free(x->pool);
	pthread_mutex_destroy(&x->lock);
	free(x->conninfo);
	free(x);
}

struct role executor_role(struct executor *x)
{
	return (struct role){ .name = "executor",
			      .topics = { "cmd.exec.run" },
			      .load_sql = SQL_EXEC_LOAD,
			      .threads = x->cfg.threads,
			      .max_batch = 1,
			      .lease_ms = LEASE_MS,
			      .work = exec_work,
			      .ctx = x };
}

struct role executor_cancel_role(struct executor *x)
{
	return (struct role){ .name = "executor-cancel",
			      .topics = { "cmd.exec.cancel" },
			      .threads = 1,
			      .max_batch = 64,
			      .lease_ms = LEASE_MS,
			      .work = cancel_work,
			      .ctx = x };
}
