#define LOG_ROOM "verifier"
#include "verifier/role.h"
#include <math.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "contracts/plan.h"
#include "store/metric.h"
#include "store/verdict.h"

#define LEASE_MS 30000

struct verifier {
	struct verifier_config config;
	struct pg_pool *pool_ref;
	struct verify_world world;
};

struct verifier *verifier_new(const struct verifier_config *config, struct pg_pool *pool,
			      const struct verify_world *world)
{
	struct verifier *v = mem_alloc(sizeof(*v));

	v->config = *config;
	if (v->config.metric_bucket_s <= 0)
		v->config.metric_bucket_s = 60;
	if (v->config.call_bucket_s <= 0)
		v->config.call_bucket_s = 300;
	if (v->config.delay_s < 0)
		v->config.delay_s = 0;
	v->pool_ref = pool;
	if (world)
		v->world = *world;
	return v;
}

void verifier_free(struct verifier *v)
{
	free(v);
}

void verify_report_done(struct verify_report *r)
{
	json_decref(r->checks);
	memset(r, 0, sizeof(*r));
}

/* ---- telling ---- */

static void put_number(json_t *o, const char *key, double v)
{
	if (isfinite(v))
		json_object_set_new(o, key, json_real(v));
}

static void put_window(json_t *o, const char *key, const struct check_window *w)
{
	char from[32], to[32];

	clock_format(w->from_us, from, sizeof(from));
	clock_format(w->to_us, to, sizeof(to));
	json_object_set_new(o, key,
			    json_pack("{s:s, s:s, s:i}", "from", from, "to", to, "bucket_s", w->bucket_s));
}

static void put_text(json_t *o, const char *key, const char *s)
{
	if (!str_empty(s))
		json_object_set_new(o, key, json_string(s));
}

static json_t *describe(const struct plan_check *c)
{
	json_t *o = json_pack("{s:s}", "kind", plan_check_kind_name(c->kind));

	put_text(o, "title", c->title);
	put_text(o, "resource", c->resource);
	put_text(o, "metric", c->metric);
	put_text(o, "src", c->src);
	put_text(o, "dst", c->dst);
	put_text(o, "field", c->field);
	put_text(o, "url", c->url);
	if (c->labels) {
		json_t *labels = NULL;

		if (json_read_own(c->labels, &labels, NULL) == OC_OK)
			json_object_set_new(o, "labels", labels);
	}
	if (c->kind == CHECK_METRIC || c->kind == CHECK_CALL) {
		put_text(o, "aggregate", plan_aggregate_name(c->aggregate));
		put_text(o, "op", plan_op_name(c->op));
		put_number(o, c->against_baseline ? "ratio_to_baseline" : "threshold", c->value);
		json_object_set_new(o, "min_samples", json_integer(c->min_samples));
	}
	if (c->kind == CHECK_PROBE)
		json_object_set_new(o, "step", json_integer(c->step));
	return o;
}

static void put_result(json_t *o, const struct check_result *r)
{
	json_object_set_new(o, "verdict", json_string(verdict_name(r->verdict)));
	json_object_set_new(o, "text", json_string(r->text));
	json_object_set_new(o, "samples", json_integer((json_int_t)r->samples));
	if (r->has_value)
		put_number(o, "value", r->value);
	if (r->has_limit)
		put_number(o, "limit", r->limit);
	if (r->has_baseline)
		put_number(o, "baseline", r->baseline);
	if (r->baseline_samples)
		json_object_set_new(o, "baseline_samples", json_integer((json_int_t)r->baseline_samples));
	if (r->p95_from && r->has_value)
		json_object_set_new(o, "p95_from", json_string(r->p95_from));
}

/* ---- looking ---- */

static enum oc_err read_window(const struct verifier *v, struct pg *pg, const struct verify_job *job,
			       const struct plan_check *c, const struct check_window *w, struct measure *ret,
			       struct oc_fail *reterr)
{
	struct oc_fail why = { 0 };
	enum oc_err err;

	if (c->kind == CHECK_METRIC)
		err = metric_window_read(pg, job->who.tenant_id, c->resource, c->metric, c->labels,
					 w->from_us, w->to_us, ret, &why);
	else
		err = call_window_read(pg, job->who.tenant_id, c->src, c->dst, c->field,
				       v->config.call_bucket_s, w->from_us, w->to_us, ret, &why);
	if (err == OC_OK)
		return OC_OK;
	/* With the database gone there is nobody to tell, either: the command is offered again. */
	if (!pg_alive(pg))
		return oc_fail(reterr, err, "%s", why.text);
	measure_done(ret);
	ret->failed = true;
	snprintf(ret->why, sizeof(ret->why), "%.255s", why.text);
	return OC_OK;
}

static enum oc_err look_measured(const struct verifier *v, struct pg *pg, const struct verify_job *job,
				 const struct plan_check *c, const struct verify_clock *clock,
				 struct check_result *ret, json_t *out, struct oc_fail *reterr)
{
	AUTO(measure) struct measure now = { 0 }, before = { 0 };
	struct check_window w = verify_window(job->verify, c, clock),
			    bw = verify_baseline(job->verify, c, clock);
	enum oc_err err = read_window(v, pg, job, c, &w, &now, reterr);

	if (err == OC_OK && c->against_baseline)
		err = read_window(v, pg, job, c, &bw, &before, reterr);
	if (err != OC_OK)
		return err;
	check_measured(c, &w, &now, &bw, c->against_baseline ? &before : NULL, ret);
	put_window(out, "window", &w);
	if (c->against_baseline)
		put_window(out, "baseline_window", &bw);
	return OC_OK;
}

static void look_probed(const struct verifier *v, const struct verify_job *job, const struct plan_check *c,
			struct check_result *ret, json_t *out)
{
	enum check_probe said = PROBE_NOT_ASKED;
	AUTO(str) char *info = NULL;
	struct verify_probe p = job->who;
	struct oc_fail why = { 0 };
	bool want_in_place = true;
	char step[16];

	if (c->step < 0 || (size_t)c->step >= job->plan->step_count) {
		snprintf(why.text, sizeof(why.text), "the plan has no step %d", c->step);
	} else if (!v->world.probe) {
		snprintf(why.text, sizeof(why.text), "no adapters are loaded here");
	} else {
		snprintf(step, sizeof(step), "%d", c->step);
		p.step = &job->plan->step[c->step];
		p.idempotency_key = job->keys ? json_str_or(job->keys, step, "") : "";
		want_in_place = !p.step->undo;
		if (v->world.probe(v->world.ctx, &p, &said, &info, &why) != OC_OK)
			said = PROBE_NOT_ASKED;
		put_text(out, "action", p.step->action);
		put_text(out, "target", p.step->target_urn);
	}
	check_probed(said, want_in_place, why.text, ret);
	if (info) {
		json_t *seen = NULL;

		if (json_read_own(info, &seen, NULL) == OC_OK)
			json_object_set_new(out, "seen", seen);
	}
}

static void look_http(const struct verifier *v, const struct verify_job *job, const struct plan_check *c,
		      struct check_result *ret)
{
	struct oc_fail why = { 0 };
	int status = 0;

	if (!v->world.http)
		snprintf(why.text, sizeof(why.text), "http checks are not available here");
	else if (v->world.http(v->world.ctx, job->who.tenant_id, c->url, &status, &why) != OC_OK)
		status = 0;
	check_http(c, status, why.text, ret);
}

static int64_t retry_ms(const struct verifier *v)
{
	int64_t ms = v->config.retry_ms > 0 ? v->config.retry_ms : v->config.metric_bucket_s * INT64_C(250);

	if (v->config.retry_ms <= 0)
		ms = ms < 1000 ? 1000 : ms > 15000 ? 15000 : ms;
	return ms;
}

static void look_later(struct verify_report *ret, int64_t ms)
{
	ret->later = true;
	ret->later_ms = ms < 1 ? 1 : ms;
}

enum oc_err verifier_look(struct verifier *v, const struct verify_job *job, struct verify_report *ret,
			  struct oc_fail *reterr)
{
	struct verify_clock clock = { .began_us = job->began_us,
				      .ended_us = job->ended_us,
				      .metric_bucket_s = v->config.metric_bucket_s,
				      .call_bucket_s = v->config.call_bucket_s,
				      .delay_s = v->config.delay_s };
	struct verify_schedule when = verify_schedule(job->verify, &clock);
	AUTO(json) json_t *checks = json_array();
	AUTO(free) void *verdict_mem = mem_array(job->verify->count + 1, sizeof(enum verdict));
	enum verdict *verdicts = verdict_mem;
	bool over = job->now_us >= when.deadline_us, may_change = false;
	struct pg *pg = NULL;
	const char *worst = NULL;
	enum oc_err err;

	memset(ret, 0, sizeof(*ret));
	if (!when.hopeless && job->now_us < when.ready_us) {
		look_later(ret, (when.ready_us - job->now_us + 999) / 1000);
		return OC_OK;
	}
	err = pg_pool_take(v->pool_ref, 10000, &pg, reterr);
	for (size_t i = 0; err == OC_OK && i < job->verify->count; i++) {
		const struct plan_check *c = &job->verify->check[i];
		struct check_result r = { .verdict = VERDICT_INCONCLUSIVE };
		json_t *out = describe(c);

		json_array_append_new(checks, out);
		if (c->kind == CHECK_PROBE) {
			look_probed(v, job, c, &r, out);
		} else if (c->kind == CHECK_HTTP) {
			look_http(v, job, c, &r);
		} else if (when.hopeless) {
			/* half a window is no measurement */
			r.verdict = VERDICT_INSUFFICIENT_DATA;
			snprintf(r.text, sizeof(r.text),
				 "the plan's deadline comes before the window closes");
		} else {
			err = look_measured(v, pg, job, c, &clock, &r, out, reterr);
		}
		put_result(out, &r);
		verdicts[i] = r.verdict;
		may_change = may_change || r.may_change;
	}
	pg_pool_give(v->pool_ref, pg);
	if (err != OC_OK)
		return err;
	ret->verdict = verdict_combine(verdicts, job->verify->count);
	if (ret->verdict != VERDICT_PASS && ret->verdict != VERDICT_FAIL && may_change && !over) {
		int64_t left = (when.deadline_us - job->now_us + 999) / 1000, ms = retry_ms(v);

		look_later(ret, ms < left ? ms : left);
		return OC_OK;
	}
	for (size_t i = 0; i < job->verify->count && !worst; i++)
		if (verdicts[i] == ret->verdict)
			worst = json_str(json_array_get(checks, i), "text");
	snprintf(ret->reason, sizeof(ret->reason), "%s%s%s",
		 ret->verdict == VERDICT_PASS ? "every check holds" : verdict_help(ret->verdict),
		 ret->verdict == VERDICT_PASS || !worst ? "" : ": ",
		 ret->verdict == VERDICT_PASS || !worst ? "" : worst);
	ret->checks = TAKE(checks);
	return OC_OK;
}

/* ---- the role ---- */

static const char *topic_of(enum verdict v)
{
	return v == VERDICT_PASS   ? "evt.verify.pass.v1"
	       : v == VERDICT_FAIL ? "evt.verify.failed.v1"
				   : "evt.verify.unproven.v1";
}

static void answer_verdict(const struct command *cmd, const struct verify_report *r, const char *plan_id,
			   const char *run_id, struct answer *ans)
{
	char id[UUID_TEXT], tenant[24], epoch[16];
	AUTO(str) char *checks = r->checks ? json_text(r->checks) : mem_strdup("[]");

	uuid_new(id);
	snprintf(tenant, sizeof(tenant), "%lld", cmd->tenant_id);
	snprintf(epoch, sizeof(epoch), "%d", cmd->epoch);
	answer_do(ans, SQL_VERDICT_INSERT,
		  PG_ARGS(id, tenant, cmd->case_id, plan_id, run_id, epoch, verdict_name(r->verdict), checks,
			  r->reason));
	answer_event(ans, topic_of(r->verdict), id);
	answer_reason(ans, "%s", r->reason);
	answer_meta(ans, json_pack("{s:s, s:s, s:O?}", "verdict_id", id, "verdict", verdict_name(r->verdict),
				   "checks", r->checks));
	log_info("case %s: %s, %s", cmd->case_id, verdict_name(r->verdict), r->reason);
}

/* The verdict when there is nothing to measure with. */
static enum oc_err answer_unmeasurable(const struct command *cmd, const char *plan_id, const char *run_id,
				       const char *reason, struct answer *ans)
{
	struct verify_report r = { .verdict = VERDICT_INCONCLUSIVE };

	snprintf(r.reason, sizeof(r.reason), "%.399s", reason);
	/* a verdict hangs on a plan; without one there can only be the event, and it proves nothing */
	if (plan_id) {
		answer_verdict(cmd, &r, plan_id, run_id, ans);
	} else {
		answer_event(ans, topic_of(r.verdict), NULL);
		answer_reason(ans, "%s", reason);
	}
	return OC_OK;
}

static enum oc_err verifier_work(void *ctx, const struct command *cmd, struct answer *ans,
				 struct oc_fail *reterr)
{
	struct verifier *v = ctx;
	AUTO(plan) struct plan *plan = NULL;
	AUTO(json) json_t *keys = NULL;
	struct verify_report report = { 0 };
	struct oc_fail why = { 0 };
	const char *plan_id = cmd->row ? pg_text(cmd->row, cmd->row_at, VL_PLAN_ID) : NULL;
	const char *run_id = cmd->row ? pg_text(cmd->row, cmd->row_at, VL_RUN_ID) : NULL;
	struct verify_job job = {
		.who = { .tenant_id = cmd->tenant_id, .tenant = cmd->tenant, .case_id = cmd->case_id }
	};
	enum oc_err err;

	if (!plan_id)
		return answer_unmeasurable(cmd, NULL, NULL,
					   "the case has no plan, so nothing says what to measure", ans);
	if (!run_id || !pg_text(cmd->row, cmd->row_at, VL_ENDED_US))
		return answer_unmeasurable(cmd, plan_id, run_id,
					   "no finished run of this plan: there is no before and after", ans);
	if (plan_parse_text(pg_text(cmd->row, cmd->row_at, VL_PLAN_TEXT), &plan, &why) != OC_OK)
		return answer_unmeasurable(cmd, plan_id, run_id, why.text, ans);
	if (pg_text(cmd->row, cmd->row_at, VL_KEYS) &&
	    json_read_own(pg_text(cmd->row, cmd->row_at, VL_KEYS), &keys, &why) != OC_OK)
		return oc_fail(reterr, OC_BUG, "%s", why.text);
	job.who.plan_hash = pg_text_or(cmd->row, cmd->row_at, VL_PLAN_HASH, "");
	job.who.decision_id = pg_text_or(cmd->row, cmd->row_at, VL_DECISION_ID, "");
	job.plan = plan;
	job.verify = &plan->verify;
	job.keys = keys;
	job.began_us = pg_int(cmd->row, cmd->row_at, VL_BEGAN_US);
	job.ended_us = pg_int(cmd->row, cmd->row_at, VL_ENDED_US);
	job.now_us = cmd->now_us;
	err = verifier_look(v, &job, &report, reterr);
	if (err != OC_OK)
		return err;
	if (report.later) {
		answer_later(ans, report.later_ms);
	} else {
		metric_observe(M_VERIFY_LATENCY, (double)(job.now_us - job.ended_us) / 1e6,
			       verdict_name(report.verdict), NULL, NULL);
		answer_verdict(cmd, &report, plan_id, run_id, ans);
	}
	verify_report_done(&report);
	return OC_OK;
}

struct role verifier_role(struct verifier *v)
{
	return (struct role){
		.name = "verifier",
		.topics = { "cmd.verify.run", NULL },
		.load_sql = SQL_VERIFY_LOAD,
		.threads = v->config.threads > 0 ? (unsigned)v->config.threads : 2,
		.max_batch = 8,
		.lease_ms = LEASE_MS,
		.work = verifier_work,
		.ctx = v,
	};
}
