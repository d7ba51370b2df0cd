#define LOG_ROOM "gate"
#include "gatekeeper/role.h"
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "contracts/plan.h"
#include "gatekeeper/card.h"
#include "gatekeeper/gate.h"
#include "store/blast.h"
#include "store/decision.h"

#define NEVER_FAILED   1e15
/* An approval that comes at the last minute must still leave time to begin. */
#define BEGIN_WITHIN_S "900"

/* One evaluation under way. */
struct eval {
	struct gate *gate;
	const struct command *cmd;
	struct answer *ans;
	const struct policy *policy;
	struct gather gather;
	struct plan *plan;
	struct plan_look look;
	struct facts *facts;
	json_t *labels, *tenant_labels; /* the case's and the tenant's */
	char environment[64];
	int64_t started_us;
};

static void eval_done(struct eval *e)
{
	plan_look_done(&e->look);
	plan_free(e->plan);
	free(e->facts);
	json_decref(e->labels);
	json_decref(e->tenant_labels);
}
static inline void oc_auto_eval(struct eval *e)
{
	eval_done(e);
}

static const char *col(const struct eval *e, const char *name)
{
	return pg_named(e->cmd->row, e->cmd->row_at, name);
}

static const char *col_or(const struct eval *e, const char *name, const char *fallback)
{
	const char *v = col(e, name);

	return v ? v : fallback;
}

static long long col_int(const struct eval *e, const char *name)
{
	int at = pg_col(e->cmd->row, name);

	return at < 0 ? 0 : pg_int(e->cmd->row, e->cmd->row_at, (unsigned)at);
}

static double col_num(const struct eval *e, const char *name)
{
	int at = pg_col(e->cmd->row, name);

	return at < 0 ? NAN : pg_num(e->cmd->row, e->cmd->row_at, (unsigned)at);
}

static json_t *col_json(const struct eval *e, const char *name)
{
	json_t *v = NULL;

	if (!col(e, name) || json_read_own(col(e, name), &v, NULL) != OC_OK)
		return NULL;
	return v;
}

/* ---- facts ---- */

struct same {
	char value[64];
	bool known, differ;
};

static void say_env(void *ctx, const char *value)
{
	struct same *s = ctx;

	if (str_empty(value) || strlen(value) >= sizeof(s->value))
		return;
	if (s->known && !str_eq(s->value, value))
		s->differ = true;
	snprintf(s->value, sizeof(s->value), "%s", value);
	s->known = true;
}

/* The tenant, the targets and the case may each say it. Whoever opens a case could call production a test, so a
 * claim that contradicts another makes it unknown. */
static void find_environment(struct eval *e)
{
	struct same s = { .known = false };

	say_env(&s, json_str(e->tenant_labels, "env"));
	if (col(e, "envs"))
		pg_array_each(col(e, "envs"), say_env, &s);
	say_env(&s, json_str(e->labels, "env"));
	say_env(&s, json_str(e->labels, "environment"));
	if (s.known && !s.differ)
		snprintf(e->environment, sizeof(e->environment), "%s", s.value);
}

static bool has_way_back(const struct eval *e)
{
	if (e->plan->rollback_given || e->plan->kind == PLAN_ROLLBACK)
		return true;
	for (size_t i = 0; i < e->plan->step_count; i++) {
		const struct step_look *s = &e->look.step[i];
		bool harmless = s->op->blast == BLAST_NONE;

		if (!harmless && !e->plan->step[i].compensate && !(s->op->has_undo && s->reversible))
			return false;
	}
	return true;
}

static void plan_facts(const struct eval *e, struct facts *f)
{
	const struct plan_verify *v = &e->plan->verify;
	double risk = 0, targets = 0;
	bool metric = false;

	for (size_t i = 0; i < v->count; i++)
		metric |= v->check[i].kind == CHECK_METRIC || v->check[i].kind == CHECK_CALL;
	for (size_t i = 0; i < e->look.count; i++) {
		bool seen = false;

		if (e->look.step[i].op->risk > risk)
			risk = e->look.step[i].op->risk;
		for (size_t j = 0; j < i; j++)
			seen |= str_eq(e->look.step[i].target_key, e->look.step[j].target_key);
		targets += !seen;
	}
	fact_number(f, FACT_RISK_MAX, risk);
	fact_text(f, FACT_PLAN_KIND, col_or(e, "kind", "forward"));
	fact_text(f, FACT_SOURCE, col(e, "source"));
	if (col(e, "model_certified"))
		fact_bool(f, FACT_CERTIFIED, str_eq(col(e, "model_certified"), "t"));
	fact_text(f, FACT_TEMPLATE, col(e, "template"));
	fact_number(f, FACT_STEPS, (double)e->plan->step_count);
	fact_number(f, FACT_TARGETS, targets);
	fact_bool(f, FACT_UNDO_PLAN, has_way_back(e));
	fact_bool(f, FACT_VERIFY_METRIC, metric);
	fact_number(f, FACT_VERIFY_CHECKS, (double)v->count);
	fact_text(f, FACT_TENANT, e->cmd->tenant);
	fact_text(f, FACT_ENVIRONMENT, *e->environment ? e->environment : NULL);
	fact_text(f, FACT_DRIVE, col(e, "drive"));
	fact_text(f, FACT_SEVERITY, col(e, "severity"));
	fact_text(f, FACT_PRINCIPAL, col(e, "opened_by"));
	fact_text(f, FACT_ROLE, col(e, "opener_role"));
	fact_number(f, FACT_TIMES_SUCCEEDED, col_num(e, "times_succeeded"));
	fact_number(f, FACT_TIMES_FAILED, col_num(e, "times_failed"));
	if (col_int(e, "times_failed") == 0)
		fact_number(f, FACT_LAST_FAILED_S, NEVER_FAILED);
	else
		fact_number(f, FACT_LAST_FAILED_S, col_num(e, "last_failed_s"));
}

static void step_facts(const struct step_look *s, struct facts *f)
{
	AUTO(json) json_t *params = NULL;
	const json_t *changes = json_object_get(s->preview, "changes");
	bool network = s->op->network;

	if (json_read_own(s->step_ref->params, &params, NULL) == OC_OK && s->op->network_pointer)
		network |= json_is_true(json_at(params, s->op->network_pointer));
	fact_text(f, FACT_ACTION, s->step_ref->action);
	fact_text(f, FACT_TARGET, s->step_ref->target_urn);
	fact_number(f, FACT_RISK, s->op->risk);
	fact_text(f, FACT_BLAST, operation_blast_name(s->op->blast));
	fact_bool(f, FACT_NETWORK, network);
	fact_bool(f, FACT_REVERSIBLE, s->reversible);
	fact_bool(f, FACT_REPEATABLE, s->op->repeatable);
	fact_text(f, FACT_NEEDS, s->needs);
	fact_bool(f, FACT_SCRIPT_BODY, strstr(s->needs, "script_body") != NULL);
	fact_bool(f, FACT_BOUND, s->binding != NULL);
	fact_bool(f, FACT_PREVIEW, s->dry.said == GATE_WOULD_DO);
	if (json_is_array(changes))
		fact_number(f, FACT_CHANGES, (double)json_array_size(changes));
}

/* The verb lives in the plan's own text: params.action. */
static void verb_fact(struct eval *e, size_t i, json_t *keep)
{
	json_t *params = NULL;

	if (json_read_own(e->plan->step[i].params, &params, NULL) != OC_OK)
		return;
	fact_text(&e->facts[i], FACT_VERB, json_str(params, "action"));
	json_array_append_new(keep, params);
}

static void blast_facts(struct eval *e, struct pg *pg)
{
	AUTO(text) struct text urns = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail fail = { 0 };
	char tenant[24];
	unsigned at = 0;

	for (size_t i = 0; i < e->look.count; i++) {
		if (e->look.step[i].op->blast == BLAST_NONE) {
			fact_number(&e->facts[i], FACT_DOWNSTREAM, 0);
			fact_number(&e->facts[i], FACT_UPSTREAM, 0);
		} else if (e->plan->step[i].target_urn) {
			pg_array_add(&urns, e->plan->step[i].target_urn);
		}
	}
	if (!urns.len || !pg)
		return;
	snprintf(tenant, sizeof(tenant), "%lld", e->cmd->tenant_id);
	if (pg_begin(pg, &fail) != OC_OK ||
	    pg_query(pg, SQL_BLAST_TIMEOUT, PG_NO_ARGS, NULL, &fail) != OC_OK ||
	    pg_query(pg, SQL_BLAST_RADIUS, PG_ARGS(tenant, pg_array_end(&urns)), &r, &fail) != OC_OK) {
		log_warn("case %s: the blast radius is unknown: %s", e->cmd->case_id, fail.text);
		pg_rollback(pg);
		return;
	}
	pg_rollback(pg); /* it only read */
	for (size_t i = 0; i < e->look.count; i++) {
		if (e->look.step[i].op->blast == BLAST_NONE || !e->plan->step[i].target_urn)
			continue;
		if (at < pg_rows(r)) {
			fact_number(&e->facts[i], FACT_DOWNSTREAM, pg_num(r, at, 0));
			fact_number(&e->facts[i], FACT_UPSTREAM, pg_num(r, at, 1));
		}
		at++;
	}
}

/* Does anything have to be read outside of the lease? A plan of steps that touch nothing needs no second trip. */
static bool wants_database(const struct eval *e)
{
	for (size_t i = 0; i < e->look.count; i++)
		if (e->look.step[i].op->blast != BLAST_NONE)
			return true;
	return false;
}

static enum oc_err gather_facts(struct eval *e, json_t *keep, struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = OC_OK;

	find_environment(e);
	e->facts = mem_array(e->look.count + 1, sizeof(*e->facts));
	for (size_t i = 0; i < e->look.count; i++) {
		plan_facts(e, &e->facts[i]);
		step_facts(&e->look.step[i], &e->facts[i]);
		verb_fact(e, i, keep);
	}
	if (wants_database(e) && e->gate->pool) {
		err = pg_pool_take(e->gate->pool, 2000, &pg, reterr);
		if (err != OC_OK)
			return err;
	}
	err = gate_budget(pg, e->policy, &e->gather, &e->look, e->facts, reterr);
	if (err == OC_OK)
		blast_facts(e, pg);
	if (pg)
		pg_pool_give(e->gate->pool, pg);
	gate_set_now(e->policy, &e->gather, e->facts, e->look.count);
	return err;
}

static json_t *facts_list(const struct facts *facts, size_t count)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(steps, facts_json(&facts[i]));
	return json_pack("{s:o}", "steps", steps);
}

/* ---- answers ---- */

static enum oc_err give_up(struct eval *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum oc_err give_up(struct eval *e, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("case %s: %s", e->cmd->case_id, text);
	answer_event(e->ans, "evt.gate.failed.v1", NULL);
	answer_reason(e->ans, "%s", text);
	return OC_OK;
}

static json_t *meta_of(const struct eval *e, const struct policy_decision *d, const char *decision_id)
{
	json_t *meta = json_pack("{s:s,s:s,s:o,s:s,s:b}", "decision_id", decision_id, "answer",
				 policy_answer_name(d->answer), "rules", policy_rules_json(d), "policy",
				 policy_hash(e->policy), "bound", e->look.world_hash[0] != '\0');

	if (d->recurring)
		json_object_set_new(meta, "recurring", json_true());
	return meta;
}

static void notify(struct eval *e, const char *decision_id, const json_t *card, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
static void notify(struct eval *e, const char *decision_id, const json_t *card, const char *fmt, ...)
{
	AUTO(json) json_t *body = json_pack("{s:s,s:O?}", "decision_id", decision_id, "card", card);
	AUTO(str) char *text = json_text(body);
	char id[UUID_TEXT], tenant[24], sentence[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	/* a cut inside a character would be refused by the database */
	while (*sentence && !str_utf8_ok(sentence, strlen(sentence)))
		sentence[strlen(sentence) - 1] = '\0';
	uuid_new(id);
	snprintf(tenant, sizeof(tenant), "%lld", e->cmd->tenant_id);
	answer_do(e->ans, SQL_DECISION_NOTIFY, PG_ARGS(id, tenant, e->cmd->case_id, sentence, text));
}

/* ---- a first look, or a new one ---- */

static json_t *make_card(struct eval *e, const struct policy_decision *d, const char *before)
{
	AUTO(str) char *nearest = policy_nearest_flip(e->policy, e->facts, e->look.count, d);
	AUTO(json) json_t *spent = col_json(e, "models");
	struct card_in in = {
		.case_id = e->cmd->case_id,
		.title = col_or(e, "title", ""),
		.tenant = e->cmd->tenant,
		.plan_id = col_or(e, "plan_id", ""),
		.plan_hash = col_or(e, "plan_hash", ""),
		.kind = col_or(e, "kind", ""),
		.source = col_or(e, "source", ""),
		.template_name = col(e, "template"),
		.revision = (int)col_int(e, "revision"),
		.plan = e->plan,
		.look = &e->look,
		.facts = e->facts,
		.policy = e->policy,
		.decision = d,
		.nearest = nearest,
		.expires_us = e->gather.now_us + d->expires_s * 1000000,
		.exec_budget_s = (int)col_int(e, "exec_budget_s"),
		.verify_budget_s = (int)col_int(e, "verify_budget_s"),
		.opened_by = col(e, "opened_by"),
		.created_by = col(e, "created_by"),
		.model_says = col(e, "model_says"),
		.model_calls = json_int_or(spent, "calls", 0),
		.model_tokens = json_int_or(spent, "tokens", 0),
		.model_money = json_num_or(spent, "money", 0),
		.before = before,
	};

	return card_make(&in);
}

static const char *const statuses[] = { "approved", "pending", "rejected" }; /* by enum policy_answer */

static void write_decision(struct eval *e, const struct policy_decision *d, const json_t *card,
			   const char *id)
{
	AUTO(json) json_t *rules = policy_rules_json(d), *facts = facts_list(e->facts, e->look.count);
	AUTO(json) json_t *who = policy_roles_json(d->roles);
	AUTO(str)
	char *rules_text = json_text(rules), *facts_text = json_text(facts), *card_text = json_text(card);
	AUTO(str) char *who_text = json_text(who), *world = json_text(e->look.world);
	char tenant[24], epoch[16], quorum[16], expires[32];

	snprintf(tenant, sizeof(tenant), "%lld", e->cmd->tenant_id);
	snprintf(epoch, sizeof(epoch), "%d", e->cmd->epoch);
	snprintf(quorum, sizeof(quorum), "%u", d->quorum);
	snprintf(expires, sizeof(expires), "%lld", (long long)d->expires_s);
	answer_do(e->ans, SQL_DECISION_NEW,
		  PG_ARGS(id, tenant, e->cmd->case_id, col(e, "plan_id"), epoch,
			  policy_answer_name(d->answer), statuses[d->answer], col(e, "plan_hash"),
			  e->look.args_hash, *e->look.world_hash ? e->look.world_hash : NULL, world,
			  policy_hash(e->policy), rules_text, facts_text, card_text, quorum, who_text,
			  d->reason, expires));
}

static enum oc_err decide(struct eval *e, const char *before, struct oc_fail *reterr)
{
	AUTO(json) json_t *card = NULL;
	struct policy_decision d;
	char id[UUID_TEXT], tenant[24];

	(void)reterr;
	policy_ask_plan(e->policy, e->facts, e->look.count, &d);
	uuid_new(id);
	snprintf(tenant, sizeof(tenant), "%lld", e->cmd->tenant_id);
	card = make_card(e, &d, before);
	write_decision(e, &d, card, id);
	answer_meta(e->ans, meta_of(e, &d, id));
	answer_reason(e->ans, "%s", str_empty(d.reason) ? "policy" : d.reason);
	switch (d.answer) {
	case POLICY_ALLOW: {
		AUTO(json)
		json_t *body = json_pack("{s:s,s:o,s:s}", "answer", "allow", "rules", policy_rules_json(&d),
					 "policy", policy_hash(e->policy));
		AUTO(str) char *text = json_text(body);

		answer_do(e->ans, SQL_DECISION_APPROVED, PG_ARGS(tenant, id, text));
		answer_event(e->ans, "evt.plan.approved.v1", id);
		break;
	}
	case POLICY_ASK:
		notify(e, id, card, "%.200s: the plan waits for %u approval%s%s%.200s",
		       col_or(e, "title", "a case"), d.quorum, d.quorum == 1 ? "" : "s",
		       before ? ", again: " : "", before ? before : "");
		break;
	case POLICY_DENY:
		answer_event(e->ans, "evt.plan.rejected.v1", id);
		break;
	}
	metric_observe(M_GATE_LATENCY, (double)(clock_mono_us() - e->started_us) / 1e6,
		       policy_answer_name(d.answer), NULL, NULL);
	log_info("case %s: %s (%s), decision %s", e->cmd->case_id, policy_answer_name(d.answer), d.reason,
		 id);
	return OC_OK;
}

/* ---- a decision that waits ---- */

struct count {
	unsigned yes;
	bool break_glass, self;
	const char *no, *no_reason; /* lent from the rows */
	json_t *names;
};

static void count_approvals(struct eval *e, const json_t *rows, const json_t *terms, struct count *c)
{
	struct gate_ask ask = { .status = "pending",
				.expires_us = col_int(e, "d_expires_us"),
				.now_us = e->gather.now_us,
				.terms = terms };
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		struct gate_person who = { .principal = json_str_or(row, "principal", ""),
					   .role = json_str_or(row, "role", ""),
					   .reason = json_str(row, "reason") };
		struct gate_may may;
		struct oc_fail fail = { 0 };

		if (str_eq(json_str(row, "answer"), "reject")) {
			if (!c->no) {
				c->no = who.principal;
				c->no_reason = who.reason;
			}
			continue;
		}
		if (gate_check_approval(&ask, &who, &may, &fail) != OC_OK) {
			log_warn("case %s: the approval of %s does not count: %s", e->cmd->case_id,
				 who.principal, fail.text);
			continue;
		}
		c->yes++; /* principals are distinct: the table's unique key */
		c->break_glass |= may.break_glass;
		c->self |= may.self;
		json_array_append_new(c->names, json_string(who.principal));
	}
}

static void before_of(const struct eval *e, struct policy_decision *ret)
{
	AUTO(json) json_t *who = col_json(e, "d_who");
	const json_t *v;
	size_t i;

	*ret = (struct policy_decision){ .answer = POLICY_ASK, .quorum = (unsigned)col_int(e, "d_quorum") };
	json_array_foreach(who, i, v) ret->roles |= policy_role_bit(json_string_value(v));
}

/* The waiting decision falls, and another look is taken in the same transaction. */
static enum oc_err again(struct eval *e, const char *why, struct oc_fail *reterr)
{
	char tenant[24];

	snprintf(tenant, sizeof(tenant), "%lld", e->cmd->tenant_id);
	answer_do(e->ans, SQL_DECISION_VOID, PG_ARGS(tenant, col(e, "d_id"), why));
	return decide(e, why, reterr);
}

static enum oc_err approve(struct eval *e, const struct count *c)
{
	AUTO(json)
	json_t *body = json_pack("{s:s,s:O,s:b,s:b,s:s}", "answer", "ask", "approved_by", c->names,
				 "break_glass", c->break_glass, "self_approval", c->self, "policy",
				 policy_hash(e->policy));
	AUTO(str) char *text = json_text(body), *names = json_text(c->names);
	const char *id = col(e, "d_id");
	json_t *meta = json_deep_copy(body);
	char tenant[24];

	snprintf(tenant, sizeof(tenant), "%lld", e->cmd->tenant_id);
	json_put(meta, "decision_id", id);
	answer_do(e->ans, SQL_DECISION_APPROVE, PG_ARGS(tenant, id, text, BEGIN_WITHIN_S));
	answer_meta(e->ans, meta);
	answer_reason(e->ans, "approved by %s%s%s", names, c->break_glass ? ", breaking the glass" : "",
		      c->self ? ", one of them the author (self_approval: warn)" : "");
	answer_event(e->ans, "evt.plan.approved.v1", id);
	metric_observe(M_GATE_LATENCY, (double)(clock_mono_us() - e->started_us) / 1e6, "ask", NULL, NULL);
	return OC_OK;
}

static enum oc_err reject(struct eval *e, const struct count *c)
{
	const char *id = col(e, "d_id");
	AUTO(str)
	char *why = mem_printf("%s said no%s%s", c->no, str_empty(c->no_reason) ? "" : ": ",
			       str_empty(c->no_reason) ? "" : c->no_reason);
	char tenant[24];

	snprintf(tenant, sizeof(tenant), "%lld", e->cmd->tenant_id);
	answer_do(e->ans, SQL_DECISION_REJECT, PG_ARGS(tenant, id, why));
	answer_meta(e->ans,
		    json_pack("{s:s,s:s,s:s}", "decision_id", id, "answer", "deny", "rejected_by", c->no));
	answer_reason(e->ans, "%s", why);
	answer_event(e->ans, "evt.plan.rejected.v1", id);
	return OC_OK;
}

/* What people approved must still be what is there. NULL: it is. Yours. */
static char *what_changed(struct eval *e)
{
	AUTO(json) json_t *was = col_json(e, "d_world"), *diff = NULL;
	AUTO(text) struct text sentence = { 0 };

	if (!str_eq(col(e, "d_plan_hash"), col(e, "plan_hash")))
		return mem_strdup("the plan is another one");
	if (!str_eq(col(e, "d_args_hash"), e->look.args_hash))
		return mem_strdup("the arguments of the plan are other ones");
	diff = world_difference(was, e->look.world, &sentence);
	return diff ? mem_printf("the world changed: %s", text_str(&sentence)) : NULL;
}

/* An approval that arrived since the rows were read may have joined this very command: nobody else would count it. */
static enum oc_err wait_on(struct eval *e, size_t rows, unsigned yes, unsigned quorum)
{
	char tenant[24], counted[24];

	snprintf(tenant, sizeof(tenant), "%lld", e->cmd->tenant_id);
	snprintf(counted, sizeof(counted), "%zu", rows);
	answer_do(e->ans, SQL_DECISION_HOLD_CASE, PG_ARGS(tenant, e->cmd->case_id));
	answer_do(e->ans, SQL_DECISION_COUNTED, PG_ARGS(tenant, col(e, "d_id"), counted));
	answer_reason(e->ans, "%u of %u approvals", yes, quorum);
	return OC_OK;
}

static enum oc_err look_again(struct eval *e, struct oc_fail *reterr)
{
	AUTO(json)
	json_t *rows = col_json(e, "approvals"), *card = col_json(e, "d_card"), *names = json_array();
	AUTO(str) char *changed = NULL;
	const json_t *terms = json_object_get(card, "terms");
	struct policy_decision before, now;
	struct count c = { .names = names };

	count_approvals(e, rows, terms, &c);
	if (c.no)
		return reject(e, &c);
	before_of(e, &before);
	policy_ask_plan(e->policy, e->facts, e->look.count, &now);
	if (now.answer == POLICY_DENY || policy_is_stricter(&now, &before)) {
		AUTO(str) char *why = mem_printf("the policy is stricter now: %s", now.reason);

		return again(e, why, reterr);
	}
	if (!c.break_glass && c.yes < before.quorum)
		return wait_on(e, json_array_size(rows), c.yes, before.quorum);
	changed = what_changed(e);
	return changed ? again(e, changed, reterr) : approve(e, &c);
}

/* ---- the command ---- */

static enum oc_err prepare(struct eval *e, bool *ret_ready, struct oc_fail *reterr)
{
	struct look_ask ask = { .world_ref = &e->gate->config.world,
				.tenant = e->cmd->tenant,
				.case_id = e->cmd->case_id,
				.plan_hash = col_or(e, "plan_hash", ""),
				.timeout_ms = e->gate->config.call_timeout_ms,
				.dry_run = true };
	const char *text = col(e, "plan_text");
	char hash[HASH_HEX];
	struct oc_fail fail = { 0 };

	*ret_ready = false;
	if (!text)
		return give_up(e, "the case has no plan to decide about");
	if (!str_eq(col(e, "complete"), "t"))
		return give_up(
			e, "the plan is not complete: it cannot be carried out, so it is not decided about");
	hash_sha256_hex(text, strlen(text), hash);
	if (!str_eq(hash, col(e, "plan_hash")))
		return give_up(e, "the stored plan does not have the hash that is stored with it");
	if (plan_parse_text(text, &e->plan, &fail) != OC_OK)
		return give_up(e, "the stored plan cannot be read: %s", fail.text);
	if (e->plan->step_count == 0)
		return give_up(e, "the plan has no step");
	for (size_t i = 0; i < e->plan->step_count; i++)
		if (!ask.world_ref->operation ||
		    !ask.world_ref->operation(ask.world_ref->ctx, e->plan->step[i].action))
			return give_up(e, "no loaded adapter offers '%s' (step %zu)", e->plan->step[i].action,
				       i + 1);
	plan_look(&ask, e->plan, &e->look);
	e->gather = (struct gather){ .tenant = e->cmd->tenant,
				     .tenant_id = e->cmd->tenant_id,
				     .killed = str_eq(col(e, "killed"), "t"),
				     .now_us = e->cmd->now_us };
	*ret_ready = true;
	(void)reterr;
	return OC_OK;
}

static enum oc_err evaluate(struct eval *e, struct oc_fail *reterr)
{
	AUTO(json) json_t *keep = json_array(); /* texts that facts point to */
	const json_t *args = json_object_get(e->cmd->payload, "args");
	bool ready, named = json_str(args, "decision_id") != NULL;
	enum oc_err err;

	if (!e->cmd->row)
		return give_up(e, "the case of the command is gone");
	if (!str_eq(col(e, "status"), "WAIT_GATE") || col_int(e, "epoch") != e->cmd->epoch)
		return OC_OK; /* it moved on without us */
	if (named && (!str_eq(col(e, "d_status"), "pending") || col_int(e, "d_epoch") != e->cmd->epoch ||
		      !str_eq(col(e, "d_plan_id"), col(e, "plan_id")))) {
		answer_reason(e->ans, "the decision does not wait any more");
		return OC_OK;
	}
	/* The janitor says so; an evaluation after it would bring back what people let lapse. */
	if (named && col_int(e, "d_expires_us") <= e->cmd->now_us)
		return OC_OK;
	err = prepare(e, &ready, reterr);
	if (err != OC_OK || !ready)
		return err;
	e->labels = col_json(e, "case_labels");
	e->tenant_labels = col_json(e, "tenant_labels");
	err = gather_facts(e, keep, reterr);
	if (err != OC_OK)
		return err;
	return col(e, "d_id") ? look_again(e, reterr) : decide(e, NULL, reterr);
}

static enum oc_err work(void *ctx, const struct command *cmd, struct answer *ans, struct oc_fail *reterr)
{
	struct gate *gate = ctx;
	AUTO(policy_lease) struct policy_lease *lease = gate_policy(gate);
	AUTO(eval)
	struct eval e = {
		.gate = gate, .cmd = cmd, .ans = ans, .policy = lease->policy, .started_us = clock_mono_us()
	};

	return evaluate(&e, reterr);
}

struct role gate_role(struct gate *gate)
{
	return (struct role){
		.name = "gatekeeper",
		.topics = { "cmd.gate.eval" },
		.load_sql = SQL_GATE_LOAD,
		.threads = gate->config.threads,
		.max_batch = gate->config.max_batch,
		.lease_ms = 60000,
		.work = work,
		.ctx = gate,
	};
}
