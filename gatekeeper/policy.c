#include "gatekeeper/policy_impl.h"

static const char *const answers[] = { "allow", "ask", "deny" };
static const char *const roles[] = { "viewer", "operator", "approver", "admin", "service" };
static const char *const weekdays[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

const char *policy_answer_name(enum policy_answer a)
{
	return answers[a];
}

int policy_answer_parse(const char *name)
{
	for (int i = 0; i < (int)ARRAY_LEN(answers); i++)
		if (str_eq(name, answers[i]))
			return i;
	return -1;
}

unsigned policy_role_bit(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(roles); i++)
		if (str_eq(name, roles[i]))
			return 1u << i;
	return 0;
}

json_t *policy_roles_json(unsigned bits)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < ARRAY_LEN(roles); i++)
		if (bits >> i & 1)
			json_array_append_new(list, json_string(roles[i]));
	return list;
}

const char *policy_hash(const struct policy *p)
{
	return p->hash;
}

const char *policy_text(const struct policy *p)
{
	return p->text;
}

size_t policy_rule_count(const struct policy *p)
{
	return p->rules_count;
}

enum policy_self_approval policy_self_approval(const struct policy *p)
{
	return p->self_approval;
}

unsigned policy_break_glass_roles(const struct policy *p)
{
	return p->break_glass;
}

bool glob_in(const json_t *list, const char *text)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		if (str_glob(json_string_value(v), text))
			return true;
	}
	return false;
}

bool policy_permits(const struct policy *p, const char *need, const char *tenant)
{
	return glob_in(json_object_get(p->permits, need), tenant);
}

bool policy_killed(const struct policy *p, const char *tenant)
{
	return p->killed_all || glob_in(p->killed, tenant);
}

struct policy_budget policy_budget(const struct policy *p, const char *tenant, const char *operation)
{
	for (size_t i = p->budgets_count; i--;) {
		const struct budget_row *b = &p->budgets[i];

		if (str_glob(b->tenant, tenant) && str_glob(b->operation, operation))
			return b->budget;
	}
	return (struct policy_budget){ .limit = -1 };
}

int64_t policy_budget_longest_s(const struct policy *p)
{
	int64_t longest = 0;

	for (size_t i = 0; i < p->budgets_count; i++)
		if (p->budgets[i].budget.window_s > longest)
			longest = p->budgets[i].budget.window_s;
	return longest;
}

/* ---- time ---- */

struct moment {
	int minute, hour, dom, month, dow; /* dow: 0 is Monday */
};

/* Days since 1970 to a date, proleptic Gregorian (Hinnant's civil_from_days). gmtime_r takes a lock. */
static struct moment moment_of(int64_t wall_us)
{
	int64_t s = wall_us / 1000000 - (wall_us % 1000000 < 0);
	int64_t days = s / 86400 - (s % 86400 < 0);
	int64_t in_day = s - days * 86400;
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	return (struct moment){
		.minute = (int)(in_day / 60 % 60),
		.hour = (int)(in_day / 3600),
		.dom = (int)(doy - (153 * mp + 2) / 5 + 1),
		.month = (int)(mp < 10 ? mp + 3 : mp - 9),
		.dow = (int)(((days + 3) % 7 + 7) % 7),
	};
}

bool cron_fits(const struct cron *c, int64_t wall_us)
{
	struct moment m = moment_of(wall_us);

	return c->minute >> m.minute & 1 && c->hour >> m.hour & 1 && c->dom >> m.dom & 1 &&
	       c->month >> m.month & 1 && c->dow >> m.dow & 1;
}

static enum truth globs_truth(const json_t *list, const struct facts *f, enum fact_id id)
{
	if (!list)
		return TRUE_;
	if (!fact_known(f, id))
		return UNKNOWN;
	return glob_in(list, f->v[id].text) ? TRUE_ : FALSE_;
}

static enum truth and3(enum truth a, enum truth b)
{
	if (a == FALSE_ || b == FALSE_)
		return FALSE_;
	return a == UNKNOWN || b == UNKNOWN ? UNKNOWN : TRUE_;
}

static enum truth not3(enum truth a)
{
	return a == UNKNOWN ? UNKNOWN : a == TRUE_ ? FALSE_ : TRUE_;
}

void policy_set_time(const struct policy *p, struct facts *f, int64_t wall_us)
{
	struct moment m = moment_of(wall_us);
	enum truth frozen = FALSE_;

	fact_number(f, FACT_HOUR, m.hour);
	fact_text(f, FACT_WEEKDAY, weekdays[m.dow]);
	for (size_t i = 0; i < p->freezes_count && frozen != TRUE_; i++) {
		const struct freeze *w = &p->freezes[i];
		enum truth here;

		if (wall_us < w->from_us || wall_us >= w->to_us ||
		    (w->has_cron && !cron_fits(&w->cron, wall_us)))
			continue;
		here = and3(globs_truth(w->tenants, f, FACT_TENANT),
			    globs_truth(w->environments, f, FACT_ENVIRONMENT));
		if (w->except)
			here = and3(here, not3(globs_truth(w->except, f, FACT_ACTION)));
		if (here != FALSE_)
			frozen = here;
	}
	if (frozen == UNKNOWN)
		fact_forget(f, FACT_FROZEN);
	else
		fact_bool(f, FACT_FROZEN, frozen == TRUE_);
}

/* ---- truth ---- */

static enum truth leaf_truth(const struct policy *p, const struct cond *c, const struct facts *f, bool allows)
{
	const union fact_value *have = &f->v[c->fact];
	enum fact_type type = fact_row((enum fact_id)c->fact)->type;

	if (c->op == C_EXISTS) {
		/* Where a rule would allow, nothing about an unknown fact is true, not even that it is unknown. */
		if (!fact_known(f, (enum fact_id)c->fact))
			return allows ? UNKNOWN : c->v.truth ? FALSE_ : TRUE_;
		return c->v.truth ? TRUE_ : FALSE_;
	}
	if (!fact_known(f, (enum fact_id)c->fact))
		return UNKNOWN;
	switch ((enum cond_op)c->op) {
	case C_EQ:
	case C_NE: {
		bool same = type == FACT_IS_TEXT     ? strcmp(have->text, c->small ? c->copy : c->v.text) == 0
			    : type == FACT_IS_NUMBER ? have->number == c->v.number
						     : have->truth == c->v.truth;

		return same == (c->op == C_EQ) ? TRUE_ : FALSE_;
	}
	case C_GT:
		return have->number > c->v.number ? TRUE_ : FALSE_;
	case C_GE:
		return have->number >= c->v.number ? TRUE_ : FALSE_;
	case C_LT:
		return have->number < c->v.number ? TRUE_ : FALSE_;
	case C_LE:
		return have->number <= c->v.number ? TRUE_ : FALSE_;
	case C_IN:
		for (uint32_t i = 0; i < c->list.count; i++) {
			const union fact_value *v = &p->lists[c->list.at + i];

			if (type == FACT_IS_TEXT ? strcmp(have->text, v->text) == 0
						 : have->number == v->number)
				return TRUE_;
		}
		return FALSE_;
	case C_GLOB:
		return str_glob(c->v.text, have->text) ? TRUE_ : FALSE_;
	default:
		return UNKNOWN;
	}
}

/* Depth is bounded by the loader. */
enum truth cond_truth(const struct policy *p, uint32_t at, const struct facts *f, bool allows)
{
	const struct cond *c = &p->conds[at];
	enum truth all;

	switch ((enum cond_op)c->op) {
	case C_ALWAYS:
		return TRUE_;
	case C_NOT:
		return not3(cond_truth(p, at + 1, f, allows));
	case C_ALL:
		all = TRUE_;
		for (uint32_t i = at + 1; i < c->next; i = p->conds[i].next) {
			enum truth t = cond_truth(p, i, f, allows);

			if (t == FALSE_)
				return FALSE_;
			if (t == UNKNOWN)
				all = UNKNOWN;
		}
		return all;
	case C_ANY:
		all = FALSE_;
		for (uint32_t i = at + 1; i < c->next; i = p->conds[i].next) {
			enum truth t = cond_truth(p, i, f, allows);

			if (t == TRUE_)
				return TRUE_;
			if (t == UNKNOWN)
				all = UNKNOWN;
		}
		return all;
	default:
		return leaf_truth(p, c, f, allows);
	}
}

/* ---- the tally of one question ---- */

struct tally {
	struct policy_decision *d;
	int best_order; /* of `reason` */
	unsigned ask_roles, ask_quorum;
	int64_t ask_expires, allow_expires;
	bool any, any_ask;
};

static void keep_hit(struct policy_decision *d, const struct policy_hit *hit)
{
	unsigned kept = d->hits_count < POLICY_HITS_MAX ? d->hits_count : POLICY_HITS_MAX;
	unsigned at = kept;

	d->hits_count++;
	while (at > 0 && d->hits[at - 1].order > hit->order)
		at--;
	if (at == POLICY_HITS_MAX)
		return;
	if (kept == POLICY_HITS_MAX)
		kept--;
	memmove(&d->hits[at + 1], &d->hits[at], (kept - at) * sizeof(d->hits[0]));
	d->hits[at] = *hit;
}

static void count_hit(struct tally *t, const struct policy_hit *hit, unsigned by, unsigned quorum,
		      int64_t expires)
{
	struct policy_decision *d = t->d;

	keep_hit(d, hit);
	if (!t->any || hit->answer > d->answer || (hit->answer == d->answer && hit->order < t->best_order)) {
		d->reason = hit->reason;
		t->best_order = hit->order;
	}
	if (!t->any || hit->answer > d->answer)
		d->answer = hit->answer;
	t->any = true;
	if (hit->answer == POLICY_ASK) {
		t->ask_roles = t->any_ask ? t->ask_roles & by : by;
		if (!t->any_ask || quorum > t->ask_quorum)
			t->ask_quorum = quorum;
		if (!t->any_ask || expires < t->ask_expires)
			t->ask_expires = expires;
		t->any_ask = true;
	} else if (hit->answer == POLICY_ALLOW && (!t->allow_expires || expires < t->allow_expires)) {
		t->allow_expires = expires;
	}
}

static void count_builtin(const struct policy *p, struct tally *t, enum truth truth, const char *id,
			  const char *reason, enum policy_answer answer)
{
	struct policy_hit hit = { .id = id, .reason = reason, .answer = answer, .order = -1 };

	if (truth == FALSE_)
		return;
	if (truth == UNKNOWN && answer == POLICY_DENY) {
		hit.answer = POLICY_ASK;
		hit.unsure = true;
	}
	count_hit(t, &hit, p->default_roles, p->default_quorum, p->default_expires_s);
}

static enum truth bool_truth(const struct facts *f, enum fact_id id)
{
	return !fact_known(f, id) ? UNKNOWN : f->v[id].truth ? TRUE_ : FALSE_;
}

/* Is a permit missing? */
static enum truth needs_truth(const struct policy *p, const struct facts *f)
{
	bool body = fact_known(f, FACT_SCRIPT_BODY) && f->v[FACT_SCRIPT_BODY].truth;
	const char *needs = fact_known(f, FACT_NEEDS) ? f->v[FACT_NEEDS].text : NULL;

	if (!needs && !fact_known(f, FACT_SCRIPT_BODY))
		return UNKNOWN;
	if (!body && (!needs || !*needs))
		return FALSE_;
	if (!fact_known(f, FACT_TENANT))
		return UNKNOWN;
	if (body && !policy_permits(p, "script_body", f->v[FACT_TENANT].text))
		return TRUE_;
	while (needs && *needs) {
		size_t n = strcspn(needs, " ");
		char need[64];

		if (n >= sizeof(need))
			return TRUE_;
		memcpy(need, needs, n);
		need[n] = '\0';
		if (n && !policy_permits(p, need, f->v[FACT_TENANT].text))
			return TRUE_;
		needs += n + (needs[n] == ' ');
	}
	return FALSE_;
}

static void ask_builtin(const struct policy *p, const struct facts *f, struct tally *t)
{
	enum truth forward = !fact_known(f, FACT_PLAN_KIND)                       ? UNKNOWN
			     : strcmp(f->v[FACT_PLAN_KIND].text, "rollback") == 0 ? FALSE_
										  : TRUE_;
	enum truth spent = !fact_known(f, FACT_BUDGET_LEFT)     ? UNKNOWN
			   : f->v[FACT_BUDGET_LEFT].number <= 0 ? TRUE_
								: FALSE_;

	count_builtin(p, t, bool_truth(f, FACT_KILL_SWITCH), "builtin.kill-switch",
		      "the kill switch is on: nothing is carried out, rollbacks neither", POLICY_DENY);
	count_builtin(
		p, t, needs_truth(p, f), "builtin.permit",
		"a step needs a permit (such as script_body) that the policy does not give to this tenant",
		POLICY_DENY);
	count_builtin(p, t, and3(forward, bool_truth(f, FACT_FROZEN)), "builtin.freeze",
		      "a freeze window is open: only rollbacks may pass", p->freeze_answer);
	spent = and3(forward, spent);
	count_builtin(
		p, t, spent, "builtin.budget",
		"recurring: this operation was used on this target as often as the budget allows, so the repair "
		"does not last",
		POLICY_DENY);
	t->d->recurring = spent == TRUE_;
}

static void ask_rule(const struct policy *p, uint32_t i, const struct facts *f, struct tally *t)
{
	const struct rule *r = &p->rules[i];
	enum truth truth = cond_truth(p, r->cond, f, r->answer == POLICY_ALLOW);
	struct policy_hit hit = { .id = r->id, .reason = r->reason, .answer = r->answer, .order = (int)i };

	if (truth == FALSE_ || (truth == UNKNOWN && r->answer == POLICY_ALLOW))
		return;
	if (truth == UNKNOWN) {
		hit.unsure = true;
		hit.answer = POLICY_ASK;
	}
	count_hit(t, &hit, r->roles && r->answer == POLICY_ASK ? r->roles : p->default_roles,
		  r->quorum && r->answer == POLICY_ASK ? r->quorum : p->default_quorum,
		  r->expires_s ? r->expires_s : p->default_expires_s);
}

static void tally_begin(struct tally *t, struct policy_decision *d)
{
	*t = (struct tally){ .d = d };
	d->answer = POLICY_ALLOW;
	d->hits_count = 0;
	d->reason = "";
	d->recurring = d->by_default = false;
}

static void tally_end(const struct policy *p, struct tally *t)
{
	struct policy_decision *d = t->d;

	if (!t->any) {
		d->by_default = true;
		d->answer = p->default_answer;
		d->reason = p->default_reason;
		t->ask_roles = p->default_roles;
		t->ask_quorum = p->default_quorum;
		t->ask_expires = p->default_expires_s;
	}
	d->recurring = d->recurring && d->answer == POLICY_DENY;
	d->roles = 0;
	d->quorum = 0;
	d->expires_s = d->answer == POLICY_ALLOW && t->allow_expires ? t->allow_expires
								     : p->default_expires_s;
	if (d->answer == POLICY_ASK) {
		/* Rules that name different roles: whoever satisfies all of them, and admins at the least. */
		d->roles = t->ask_roles ? t->ask_roles : ROLE_ADMIN;
		d->quorum = t->ask_quorum;
		d->expires_s = t->ask_expires;
	}
}

uint64_t policy_key_hash(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return h;
}

static const struct slot *slot_find(const struct policy *p, uint32_t hash)
{
	for (size_t at = hash & p->slots_mask; p->slots[at].count; at = (at + 1) & p->slots_mask)
		if (p->slots[at].hash == hash)
			return &p->slots[at];
	return NULL;
}

/* A large set does not stay in the caches near the core. So everything is asked for before it is looked at: first the
 * slots of all masks, then the rules and their conditions, and the waits for memory happen at the same time. */
void policy_ask(const struct policy *p, const struct facts *f, struct policy_decision *ret)
{
	uint64_t hashes[FACT_COUNT];
	uint32_t wanted[MASKS_MAX];
	const struct slot *found[MASKS_MAX];
	unsigned n = 0;
	struct tally t;

	for (uint64_t bits = p->key_facts & f->known; bits; bits &= bits - 1) {
		int id = __builtin_ctzll(bits);

		hashes[id] = policy_key_hash(f->v[id].text);
	}
	for (unsigned m = 0; m < p->masks_count; m++) {
		uint64_t known = p->masks[m] & f->known, h = policy_mix(p->masks[m], known);

		for (uint64_t bits = known; bits; bits &= bits - 1)
			h = policy_mix(h, hashes[__builtin_ctzll(bits)]);
		wanted[m] = (uint32_t)h;
		__builtin_prefetch(&p->slots[wanted[m] & p->slots_mask]);
	}
	tally_begin(&t, ret);
	ask_builtin(p, f, &t);
	for (unsigned m = 0; m < p->masks_count; m++) {
		const struct slot *s = slot_find(p, wanted[m]);

		if (!s)
			continue;
		found[n++] = s;
		if (s->count == 1) {
			__builtin_prefetch(&p->rules[s->at]);
			__builtin_prefetch(&p->conds[s->cond]);
			__builtin_prefetch(&p->conds[s->cond] + 2);
		} else {
			__builtin_prefetch(&p->cand[s->at]);
		}
	}
	for (size_t i = 0; i < p->always_count; i++)
		ask_rule(p, p->always[i], f, &t);
	for (unsigned k = 0; k < n; k++) {
		const struct slot *s = found[k];

		if (s->count == 1)
			ask_rule(p, s->at, f, &t);
		for (uint32_t i = 0; i < s->count && s->count > 1; i++)
			ask_rule(p, p->cand[s->at + i], f, &t);
	}
	tally_end(p, &t);
}

void policy_ask_slowly(const struct policy *p, const struct facts *f, struct policy_decision *ret)
{
	struct tally t;

	tally_begin(&t, ret);
	ask_builtin(p, f, &t);
	for (size_t i = 0; i < p->rules_count; i++)
		ask_rule(p, (uint32_t)i, f, &t);
	tally_end(p, &t);
}

bool policy_is_stricter(const struct policy_decision *now, const struct policy_decision *before)
{
	if (now->answer != before->answer)
		return now->answer > before->answer;
	if (now->answer != POLICY_ASK)
		return false;
	return now->quorum > before->quorum || (before->roles & ~now->roles) != 0;
}

/* The same rule hit by another step is one hit, with the stricter of the two answers. */
static bool already_hit(struct policy_decision *d, const struct policy_hit *hit)
{
	unsigned kept = d->hits_count < POLICY_HITS_MAX ? d->hits_count : POLICY_HITS_MAX;

	for (unsigned i = 0; i < kept; i++) {
		if (d->hits[i].order != hit->order || d->hits[i].id != hit->id)
			continue;
		if (hit->answer > d->hits[i].answer)
			d->hits[i] = *hit;
		return true;
	}
	return false;
}

/* What one step needs on top of what the others need. */
static void join(struct policy_decision *all, const struct policy_decision *one)
{
	unsigned kept = one->hits_count < POLICY_HITS_MAX ? one->hits_count : POLICY_HITS_MAX;

	for (unsigned i = 0; i < kept; i++)
		if (!already_hit(all, &one->hits[i]))
			keep_hit(all, &one->hits[i]);
	all->recurring |= one->recurring;
	all->by_default &= one->by_default;
	if (one->answer > all->answer) {
		all->answer = one->answer;
		all->reason = one->reason;
		all->roles = one->roles;
		all->quorum = one->quorum;
		all->expires_s = one->expires_s;
		return;
	}
	if (one->answer < all->answer)
		return;
	if (one->answer == POLICY_ASK) {
		all->roles &= one->roles;
		if (!all->roles)
			all->roles = ROLE_ADMIN;
		if (one->quorum > all->quorum)
			all->quorum = one->quorum;
	}
	if (one->expires_s < all->expires_s)
		all->expires_s = one->expires_s;
}

void policy_ask_plan(const struct policy *p, const struct facts *steps, size_t count,
		     struct policy_decision *ret)
{
	struct policy_decision one;

	if (count == 0) {
		*ret = (struct policy_decision){ .answer = POLICY_DENY,
						 .reason = "the plan has no step",
						 .expires_s = p->default_expires_s };
		return;
	}
	policy_ask(p, &steps[0], ret);
	for (size_t i = 1; i < count; i++) {
		policy_ask(p, &steps[i], &one);
		join(ret, &one);
	}
}

json_t *policy_rules_json(const struct policy_decision *d)
{
	unsigned kept = d->hits_count < POLICY_HITS_MAX ? d->hits_count : POLICY_HITS_MAX;
	json_t *list = json_array();

	for (unsigned i = 0; i < kept; i++) {
		const struct policy_hit *h = &d->hits[i];
		json_t *o = json_object();

		json_put(o, "id", h->id);
		json_put(o, "answer", policy_answer_name(h->answer));
		if (!str_empty(h->reason))
			json_put(o, "reason", h->reason);
		if (h->unsure)
			json_object_set_new(o, "unsure", json_true());
		json_array_append_new(list, o);
	}
	return list;
}
