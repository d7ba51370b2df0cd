/* The last look before the first effect: is what was approved still what is there? */
#define LOG_ROOM "gate"
#include <stdlib.h>
#include "base/log.h"
#include "base/mem.h"
#include "contracts/plan.h"
#include "gatekeeper/gate.h"
#include "store/decision.h"

/* A check under way. */
struct check {
	struct gate *gate;
	const struct gate_dispatch *d;
	struct gate_go *ret;
	struct pg_result *row;
	struct plan *plan;
	struct plan_look look;
	json_t *world, *facts_doc;
	struct facts *facts;
	size_t facts_count;
};

static void check_done(struct check *c)
{
	pg_result_free(c->row);
	plan_look_done(&c->look);
	plan_free(c->plan);
	json_decref(c->world);
	json_decref(c->facts_doc);
	free(c->facts);
}
static inline void oc_auto_check(struct check *c)
{
	check_done(c);
}

static const char *at(const struct check *c, enum dispatch_col col)
{
	return pg_text(c->row, 0, (unsigned)col);
}

static bool at_true(const struct check *c, enum dispatch_col col)
{
	return str_eq(at(c, col), "t");
}

void gate_go_done(struct gate_go *go)
{
	json_decref(go->changed);
	json_decref(go->world);
	*go = (struct gate_go){ 0 };
}

/* The decision falls, and the executor says so. */
static enum oc_err fall(struct check *c, struct pg *pg, struct oc_fail *reterr, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
static enum oc_err fall(struct check *c, struct pg *pg, struct oc_fail *reterr, const char *fmt, ...)
{
	char tenant[24];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->ret->sentence, sizeof(c->ret->sentence), fmt, ap);
	va_end(ap);
	while (*c->ret->sentence && !str_utf8_ok(c->ret->sentence, strlen(c->ret->sentence)))
		c->ret->sentence[strlen(c->ret->sentence) - 1] = '\0';
	c->ret->go = false;
	log_info("case %s: decision %s does not hold: %s", c->d->case_id, c->d->decision_id,
		 c->ret->sentence);
	snprintf(tenant, sizeof(tenant), "%lld", c->d->tenant_id);
	return pg_query(pg, SQL_DECISION_VOID, PG_ARGS(tenant, c->d->decision_id, c->ret->sentence), NULL,
			reterr);
}

static enum oc_err read_row(struct check *c, struct pg *pg, struct oc_fail *reterr)
{
	const struct gate_dispatch *d = c->d;
	const json_t *steps, *v;
	char tenant[24], epoch[16];
	enum oc_err err;
	size_t i;

	snprintf(tenant, sizeof(tenant), "%lld", d->tenant_id);
	snprintf(epoch, sizeof(epoch), "%d", d->epoch);
	err = pg_query(pg, SQL_DECISION_DISPATCH,
		       PG_ARGS(tenant, d->case_id, d->plan_id, d->decision_id, epoch), &c->row, reterr);
	if (err != OC_OK || pg_rows(c->row) == 0)
		return err;
	err = json_read_own(at(c, DC_WORLD), &c->world, reterr);
	if (err == OC_OK)
		err = json_read_own(at(c, DC_FACTS), &c->facts_doc, reterr);
	if (err != OC_OK)
		return err;
	steps = json_object_get(c->facts_doc, "steps");
	c->facts = mem_array(json_array_size(steps) + 1, sizeof(*c->facts));
	json_array_foreach(steps, i, v)
	{
		err = facts_read(v, &c->facts[c->facts_count++], reterr);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

/* The terms under which it was let through. */
static void terms_before(const struct check *c, struct policy_decision *ret)
{
	AUTO(json) json_t *who = NULL;
	const json_t *v;
	long long quorum = pg_int(c->row, 0, DC_QUORUM), given = pg_int(c->row, 0, DC_APPROVERS);
	size_t i;

	*ret = (struct policy_decision){ .answer = POLICY_ALLOW };
	if (str_eq(at(c, DC_ANSWER), "allow"))
		return;
	ret->answer = POLICY_ASK;
	/* more people may have said yes than were asked; whoever broke the glass stands for any number */
	ret->quorum = (unsigned)(given > quorum ? given : quorum);
	if (at_true(c, DC_BREAK_GLASS))
		ret->quorum = 1000;
	if (json_read_own(at(c, DC_WHO), &who, NULL) != OC_OK)
		return;
	json_array_foreach(who, i, v) ret->roles |= policy_role_bit(json_string_value(v));
}

/* Facts as they were, but for the clock, the switches and the budget: those are asked again. */
static enum oc_err policy_now(struct check *c, struct pg *pg, bool *ret_stricter, char *why, size_t why_size,
			      struct oc_fail *reterr)
{
	AUTO(policy_lease) struct policy_lease *lease = gate_policy(c->gate);
	struct gather g = { .tenant = c->d->tenant,
			    .tenant_id = c->d->tenant_id,
			    .killed = at_true(c, DC_KILLED),
			    .now_us = pg_int(c->row, 0, DC_NOW) };
	struct policy_decision before, now;
	enum oc_err err;

	*ret_stricter = true;
	snprintf(why, why_size, "the facts that were kept do not fit the plan");
	if (c->facts_count != c->look.count)
		return OC_OK;
	err = gate_budget(pg, lease->policy, &g, &c->look, c->facts, reterr);
	if (err != OC_OK)
		return err;
	gate_set_now(lease->policy, &g, c->facts, c->facts_count);
	policy_ask_plan(lease->policy, c->facts, c->facts_count, &now);
	terms_before(c, &before);
	*ret_stricter = policy_is_stricter(&now, &before);
	snprintf(why, why_size, "policy is stricter now (%s): %s", policy_answer_name(now.answer),
		 now.reason);
	return OC_OK;
}

/* Probes everything again, outside of any transaction. */
static enum oc_err same_world(struct check *c, struct pg *pg, bool *ret_same, struct oc_fail *reterr)
{
	struct look_ask ask = { .world_ref = &c->gate->config.world,
				.tenant = c->d->tenant,
				.case_id = c->d->case_id,
				.plan_hash = at(c, DC_PLAN_HASH),
				.timeout_ms = c->gate->config.call_timeout_ms };
	AUTO(text) struct text sentence = { 0 };
	char hash[HASH_HEX];

	*ret_same = false;
	hash_sha256_hex(at(c, DC_PLAN_TEXT), strlen(at(c, DC_PLAN_TEXT)), hash);
	if (!str_eq(hash, at(c, DC_PLAN_HASH)))
		return fall(c, pg, reterr, "the plan is not the one that was approved");
	if (plan_parse_text(at(c, DC_PLAN_TEXT), &c->plan, reterr) != OC_OK)
		return fall(c, pg, reterr, "the plan cannot be read any more");
	plan_look(&ask, c->plan, &c->look);
	if (!str_eq(c->look.args_hash, at(c, DC_ARGS_HASH)))
		return fall(c, pg, reterr, "the arguments are not those that were approved");
	for (size_t i = 0; i < c->look.count; i++)
		if (!c->look.step[i].op)
			return fall(c, pg, reterr, "no loaded adapter offers '%s' any more",
				    c->plan->step[i].action);
	c->ret->changed = world_difference(c->world, c->look.world, &sentence);
	if (c->ret->changed)
		return fall(c, pg, reterr, "the world changed since the decision: %s", text_str(&sentence));
	*ret_same = true;
	return OC_OK;
}

static enum oc_err use(struct check *c, struct pg *pg, struct oc_fail *reterr)
{
	AUTO(text) struct text targets = { 0 }, operations = { 0 };
	AUTO(pg_result) struct pg_result *used = NULL;
	const struct gate_dispatch *d = c->d;
	char tenant[24];
	enum oc_err err;

	/* The way back is not a repair: it costs nothing. */
	for (size_t i = 0; i < c->look.count && !str_eq(at(c, DC_PLAN_KIND), "rollback"); i++) {
		if (c->look.step[i].op->blast == BLAST_NONE)
			continue;
		pg_array_add(&targets, c->look.step[i].target_key);
		pg_array_add(&operations, c->plan->step[i].action);
	}
	snprintf(tenant, sizeof(tenant), "%lld", d->tenant_id);
	pg_array_end(&targets);
	pg_array_end(&operations);
	err = pg_query(pg, SQL_DECISION_USE,
		       PG_ARGS(tenant, d->decision_id, d->run_id, d->case_id, d->plan_id, at(c, DC_PLAN_HASH),
			       at(c, DC_ARGS_HASH), targets.len ? targets.s : "{}",
			       operations.len ? operations.s : "{}"),
		       &used, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(used) == 0)
		return fall(c, pg, reterr,
			    "the decision expired, was used or was taken back in this very moment");
	c->ret->go = true;
	return OC_OK;
}

/* What the row alone says. True when there is nothing more to look at. */
static bool settled(struct check *c, struct pg *pg, enum oc_err *ret_err, struct oc_fail *reterr)
{
	if (pg_rows(c->row) == 0)
		*ret_err = fall(c, pg, reterr, "there is no such decision about this plan");
	else if (!at_true(c, DC_CASE_OK))
		*ret_err = fall(c, pg, reterr, "the case is not being executed on this decision");
	else if (str_eq(at(c, DC_EFFECTS), "off"))
		*ret_err = fall(c, pg, reterr, "effects are off%s%s", at(c, DC_EFFECTS_REASON) ? ": " : "",
				at(c, DC_EFFECTS_REASON) ? at(c, DC_EFFECTS_REASON) : "");
	else if (str_eq(at(c, DC_STATUS), "used") && str_eq(at(c, DC_USED_BY), c->d->run_id) &&
		 !at_true(c, DC_KILLED))
		c->ret->go = true; /* this very run asked before, and goes on after a crash */
	else if (str_eq(at(c, DC_STATUS), "used") && str_eq(at(c, DC_USED_BY), c->d->run_id))
		*ret_err = fall(c, pg, reterr, "the kill switch is on");
	else if (str_eq(at(c, DC_STATUS), "used"))
		*ret_err = fall(c, pg, reterr, "the decision was used by another run");
	else if (!str_eq(at(c, DC_STATUS), "approved"))
		*ret_err = fall(c, pg, reterr, "the decision is %s", at(c, DC_STATUS));
	else if (at_true(c, DC_EXPIRED))
		*ret_err = fall(c, pg, reterr, "the decision has expired");
	else
		return false;
	return true;
}

enum oc_err gate_dispatch_check(struct gate *gate, struct pg *pg, const struct gate_dispatch *d,
				struct gate_go *ret, struct oc_fail *reterr)
{
	AUTO(check) struct check c = { .gate = gate, .d = d, .ret = ret };
	enum oc_err err;
	bool same, stricter;
	char why[700];

	*ret = (struct gate_go){ 0 };
	err = read_row(&c, pg, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(c.row) > 0) {
		ret->world = json_incref(c.world);
		snprintf(ret->plan_hash, sizeof(ret->plan_hash), "%s", at(&c, DC_PLAN_HASH));
	}
	if (settled(&c, pg, &err, reterr))
		return err;
	err = same_world(&c, pg, &same, reterr);
	if (err != OC_OK || !same)
		return err;
	err = policy_now(&c, pg, &stricter, why, sizeof(why), reterr);
	if (err != OC_OK)
		return err;
	if (stricter)
		return fall(&c, pg, reterr, "%s", why);
	return use(&c, pg, reterr);
}
