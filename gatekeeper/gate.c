#define LOG_ROOM "gate"
#include "gatekeeper/gate.h"
#include <stdlib.h>
#include "base/log.h"
#include "base/mem.h"
#include "store/budget.h"
#include "store/decision.h"

/* ---- the policy in force ---- */

void policy_lease_give(struct policy_lease *lease)
{
	if (!lease || atomic_fetch_sub(&lease->refs, 1) != 1)
		return;
	policy_free(lease->policy);
	free(lease);
}

struct policy_lease *gate_policy(struct gate *gate)
{
	struct policy_lease *lease;

	pthread_mutex_lock(&gate->lock);
	lease = gate->now;
	atomic_fetch_add(&lease->refs, 1);
	pthread_mutex_unlock(&gate->lock);
	return lease;
}

static void put_in_force(struct gate *gate, struct policy *policy)
{
	struct policy_lease *lease = mem_alloc(sizeof(*lease)), *old;

	atomic_init(&lease->refs, 1);
	lease->policy = policy;
	pthread_mutex_lock(&gate->lock);
	old = gate->now;
	gate->now = lease;
	pthread_mutex_unlock(&gate->lock);
	policy_lease_give(old);
}

static enum oc_err read_files(const struct gate *gate, struct policy **ret, struct oc_fail *reterr)
{
	if (gate->policy_dir)
		return policy_load(gate->policy_dir, ret, reterr);
	if (gate->config.builtin_count)
		return policy_compile(gate->config.builtin, gate->config.builtin_count, ret, reterr);
	return policy_builtin(ret, reterr);
}

/* So that a decision's policy_hash can be read later. Without a database the set is in force all the same: each
 * decision needs the database anyway. */
static void store_version(struct gate *gate, bool look_again)
{
	AUTO(policy_lease) struct policy_lease *lease = gate_policy(gate);
	struct oc_fail fail = { 0 };
	struct pg *pg = NULL;
	struct pg_result *r = NULL;
	const char *hash = policy_hash(lease->policy);
	enum oc_err err;

	if (!gate->pool)
		return;
	err = pg_pool_take(gate->pool, 5000, &pg, &fail);
	if (err == OC_OK)
		err = pg_query(pg, SQL_POLICY_VERSION, PG_ARGS(hash, policy_text(lease->policy)), NULL,
			       &fail);
	if (err == OC_OK && look_again)
		err = pg_query(pg, SQL_DECISION_LOOK_AGAIN, PG_ARGS(hash), &r, &fail);
	if (err != OC_OK)
		log_warn("policy %.12s was not stored: %s", hash, fail.text);
	else if (pg_rows(r)) {
		log_info("policy %.12s: %u decisions that wait are looked at again", hash, pg_rows(r));
		waker_poke(gate->config.relay_wake);
	}
	pg_result_free(r);
	if (pg)
		pg_pool_give(gate->pool, pg);
}

enum oc_err gate_new(const struct gate_config *config, struct gate **ret, struct oc_fail *reterr)
{
	AUTO(gate) struct gate *gate = mem_alloc(sizeof(*gate));
	struct policy *policy = NULL;
	enum oc_err err;

	pthread_mutex_init(&gate->lock, NULL);
	gate->config = *config;
	gate->policy_dir = mem_strdup(config->policy_dir);
	gate->conninfo = mem_strdup(config->conninfo);
	gate->config.policy_dir = gate->policy_dir;
	gate->config.conninfo = gate->conninfo;
	if (gate->config.call_timeout_ms <= 0)
		gate->config.call_timeout_ms = 5000;
	if (!gate->config.threads)
		gate->config.threads = 2;
	if (!gate->config.max_batch)
		gate->config.max_batch = 16;
	err = read_files(gate, &policy, reterr);
	if (err != OC_OK)
		return err;
	put_in_force(gate, policy);
	if (gate->conninfo)
		gate->pool = pg_pool_new(gate->conninfo, "opscase gate", gate->config.threads + 1);
	store_version(gate, true);
	*ret = TAKE(gate);
	return OC_OK;
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	policy_lease_give(gate->now);
	pg_pool_free(gate->pool);
	pthread_mutex_destroy(&gate->lock);
	free(gate->policy_dir);
	free(gate->conninfo);
	free(gate);
}

enum oc_err gate_reload(struct gate *gate, struct oc_fail *reterr)
{
	struct policy *policy = NULL;
	struct oc_fail fail = { 0 };
	char old[HASH_HEX];
	enum oc_err err = read_files(gate, &policy, &fail);

	gate_policy_hash(gate, old);
	if (err != OC_OK) {
		log_error("the new policy is refused, %.12s stays in force: %s", old, fail.text);
		return oc_fail(reterr, err, "%s (policy %.12s stays in force)", fail.text, old);
	}
	if (str_eq(policy_hash(policy), old)) {
		policy_free(policy);
		log_info("the policy is the same as before, %.12s", old);
		return OC_OK;
	}
	log_info("policy %.12s with %zu rules is in force, after %.12s", policy_hash(policy),
		 policy_rule_count(policy), old);
	put_in_force(gate, policy);
	store_version(gate, true);
	return OC_OK;
}

bool gate_permits(struct gate *gate, const char *need, const char *tenant)
{
	AUTO(policy_lease) struct policy_lease *lease = gate_policy(gate);

	return policy_permits(lease->policy, need, tenant);
}

void gate_policy_hash(struct gate *gate, char out[HASH_HEX])
{
	AUTO(policy_lease) struct policy_lease *lease = gate_policy(gate);

	memcpy(out, policy_hash(lease->policy), HASH_HEX);
}

/* ---- facts that role and dispatch share ---- */

void gate_set_now(const struct policy *p, const struct gather *g, struct facts *facts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		fact_bool(&facts[i], FACT_KILL_SWITCH, g->killed || policy_killed(p, g->tenant));
		policy_set_time(p, &facts[i], g->now_us);
	}
}

/* What touches nothing is not counted: it repairs nothing, so it cannot recur. */
static struct policy_budget budget_of(const struct policy *p, const struct gather *g,
				      const struct step_look *s)
{
	if (s->op && s->op->blast == BLAST_NONE)
		return (struct policy_budget){ .limit = -1 };
	return policy_budget(p, g->tenant, s->step_ref->action);
}

enum oc_err gate_budget(struct pg *pg, const struct policy *p, const struct gather *g,
			const struct plan_look *look, struct facts *facts, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text targets = { 0 }, operations = { 0 }, windows = { 0 };
	char tenant[24];
	unsigned asked = 0;
	enum oc_err err;

	for (size_t i = 0; i < look->count; i++) {
		struct policy_budget b = budget_of(p, g, &look->step[i]);

		fact_number(&facts[i], FACT_BUDGET_LEFT, INFINITY);
		if (b.limit < 0)
			continue;
		pg_array_add(&targets, look->step[i].target_key);
		pg_array_add(&operations, look->step[i].step_ref->action);
		pg_array_addf(&windows, "%lld", (long long)b.window_s);
		asked++;
	}
	if (!asked)
		return OC_OK;
	if (!pg)
		return oc_fail(reterr, OC_UNAVAILABLE, "there is no database to ask for the budget");
	snprintf(tenant, sizeof(tenant), "%lld", g->tenant_id);
	pg_array_end(&targets);
	pg_array_end(&operations);
	err = pg_query(pg, SQL_BUDGET_USED, PG_ARGS(tenant, targets.s, operations.s, pg_array_end(&windows)),
		       &r, reterr);
	if (err != OC_OK)
		return err;
	asked = 0;
	for (size_t i = 0; i < look->count && asked < pg_rows(r); i++) {
		struct policy_budget b = budget_of(p, g, &look->step[i]);

		if (b.limit >= 0)
			fact_number(&facts[i], FACT_BUDGET_LEFT,
				    (double)b.limit - (double)pg_int(r, asked++, 0));
	}
	return OC_OK;
}
