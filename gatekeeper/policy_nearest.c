/* What would have to be different: tries changes of one fact at a time, the easy ones first. */
#include <stdlib.h>
#include "base/mem.h"
#include "gatekeeper/policy_impl.h"

#define TRIES_MAX 4000 /* questions asked of the policy */

struct search {
	const struct policy *p;
	const struct facts *steps;
	struct facts *changed; /* room for a copy of the steps */
	size_t count;
	enum policy_answer now;
	unsigned tries;

	bool found;
	enum fact_id fact;
	union fact_value value;
	enum policy_answer answer;
};

static bool is_now(const struct search *s, enum fact_id id, union fact_value v)
{
	const struct facts *f = &s->steps[0];

	if (!fact_known(f, id))
		return false;
	switch (fact_row(id)->type) {
	case FACT_IS_BOOL:
		return f->v[id].truth == v.truth;
	case FACT_IS_NUMBER:
		return f->v[id].number == v.number;
	case FACT_IS_TEXT:
		return str_eq(f->v[id].text, v.text);
	}
	return false;
}

static double distance(const struct search *s, enum fact_id id, union fact_value v)
{
	const struct facts *f = &s->steps[0];

	if (fact_row(id)->type != FACT_IS_NUMBER || !fact_known(f, id))
		return 0;
	return fabs(f->v[id].number - v.number);
}

static void try(struct search *s, enum fact_id id, union fact_value v)
{
	const struct fact_row *row = fact_row(id);
	struct policy_decision d;

	if (row->effort == 0 || is_now(s, id, v) || s->tries >= TRIES_MAX)
		return;
	if (s->found && (row->effort > fact_row(s->fact)->effort ||
			 (row->effort == fact_row(s->fact)->effort &&
			  (id != s->fact || distance(s, id, v) >= distance(s, id, s->value)))))
		return;
	s->tries++;
	memcpy(s->changed, s->steps, s->count * sizeof(*s->steps));
	for (size_t i = 0; i < s->count; i++) {
		s->changed[i].known |= UINT64_C(1) << id;
		s->changed[i].v[id] = v;
	}
	policy_ask_plan(s->p, s->changed, s->count, &d);
	if (d.answer >= s->now)
		return;
	s->found = true;
	s->fact = id;
	s->value = v;
	s->answer = d.answer;
}

static void try_text(struct search *s, enum fact_id id, const char *text)
{
	try(s, id, (union fact_value){ .text = text });
}

static void try_number(struct search *s, enum fact_id id, double n)
{
	double step = id == FACT_RISK || id == FACT_RISK_MAX ? 0.01 : 1;

	try(s, id, (union fact_value){ .number = n });
	try(s, id, (union fact_value){ .number = n + step });
	if (n - step >= 0)
		try(s, id, (union fact_value){ .number = n - step });
}

/* Closed lists are tried as a whole; their texts live in the row, so they are kept by position. */
static const char *const *closed_list(enum fact_id id, size_t *count)
{
	static const char *const kinds[] = { "forward", "rollback" };
	static const char *const sources[] = { "template", "person" };
	static const char *const week[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

	*count = id == FACT_SOURCE    ? ARRAY_LEN(sources)
		 : id == FACT_WEEKDAY ? ARRAY_LEN(week)
				      : ARRAY_LEN(kinds);
	return id == FACT_SOURCE ? sources : id == FACT_WEEKDAY ? week : id == FACT_PLAN_KIND ? kinds : NULL;
}

static void try_leaf(struct search *s, const struct cond *c)
{
	enum fact_id id = (enum fact_id)c->fact;
	const struct fact_row *row = fact_row(id);
	const union fact_value *values = c->op == C_IN ? &s->p->lists[c->list.at] : &c->v;
	size_t n = c->op == C_IN ? c->list.count : 1, listed;
	const char *const *list = closed_list(id, &listed);

	if (c->op == C_EXISTS || row->effort == 0)
		return;
	if (row->type == FACT_IS_BOOL) {
		try(s, id, (union fact_value){ .truth = true });
		try(s, id, (union fact_value){ .truth = false });
		return;
	}
	for (size_t i = 0; list && i < listed; i++)
		try_text(s, id, list[i]);
	for (size_t i = 0; i < n && !list; i++) {
		if (row->type == FACT_IS_NUMBER)
			try_number(s, id, values[i].number);
		else if (c->op != C_GLOB)
			try_text(s, id, values[i].text);
	}
}

static void try_rule(struct search *s, const struct rule *r)
{
	uint32_t end = s->p->conds[r->cond].next;

	for (uint32_t i = r->cond; i < end; i++)
		if (s->p->conds[i].op >= C_EQ)
			try_leaf(s, &s->p->conds[i]);
}

static void add_value(struct text *t, enum fact_id id, union fact_value v)
{
	switch (fact_row(id)->type) {
	case FACT_IS_BOOL:
		text_add(t, v.truth ? "true" : "false");
		break;
	case FACT_IS_NUMBER:
		text_addf(t, "%g", v.number);
		break;
	case FACT_IS_TEXT:
		text_add(t, v.text);
		break;
	}
}

static void add_change(const struct search *s, struct text *t)
{
	const struct facts *f = &s->steps[0];

	text_addf(t, "%s if %s were ",
		  s->answer == POLICY_ALLOW ? "it would be allowed" : "people would be asked",
		  fact_row(s->fact)->name);
	add_value(t, s->fact, s->value);
	text_add(t, " (it is ");
	if (fact_known(f, s->fact))
		add_value(t, s->fact, f->v[s->fact]);
	else
		text_add(t, "not known");
	text_add(t, ")");
}

/* The parts of an allow rule that do not hold, over all steps; its names in *ret when they are few. */
static unsigned unmet(const struct search *s, const struct rule *r, struct text *ret)
{
	uint32_t end = s->p->conds[r->cond].next;
	uint64_t named = 0;
	unsigned n = 0;

	for (size_t step = 0; step < s->count; step++) {
		for (uint32_t i = r->cond + 1; i < end; i = s->p->conds[i].next) {
			const struct cond *c = &s->p->conds[i];

			if (cond_truth(s->p, i, &s->steps[step], true) == TRUE_)
				continue;
			if (c->op < C_EQ) {
				n++;
				continue;
			}
			if (named >> c->fact & 1)
				continue;
			named |= UINT64_C(1) << c->fact;
			n++;
			text_addf(ret, "%s%s", ret->len ? ", " : "", fact_row((enum fact_id)c->fact)->name);
		}
	}
	return n;
}

static char *many_changes(const struct search *s, const struct policy_decision *d)
{
	AUTO(text) struct text best = { 0 };
	const struct rule *nearest = NULL;
	unsigned fewest = 5;

	if (!d->by_default) {
		if (d->hits_count == 1)
			return mem_printf("no single change would: rule %s would have to stop applying",
					  d->hits[0].id);
		return mem_printf("no single change would: %u rules apply", d->hits_count);
	}
	for (size_t i = 0; i < s->p->rules_count && i < TRIES_MAX; i++) {
		const struct rule *r = &s->p->rules[i];
		AUTO(text) struct text names = { 0 };
		unsigned n;

		if (r->answer != POLICY_ALLOW)
			continue;
		n = unmet(s, r, &names);
		if (n == 0 || n >= fewest || !names.len)
			continue;
		fewest = n;
		nearest = r;
		text_done(&best);
		best = names;
		names = (struct text){ 0 };
	}
	if (!nearest)
		return mem_strdup("no rule comes near: a rule that allows it would have to be written");
	return mem_printf("rule %s would allow it, were it not for: %s", nearest->id, text_str(&best));
}

char *policy_nearest_flip(const struct policy *p, const struct facts *steps, size_t count,
			  const struct policy_decision *d)
{
	struct search s = { .p = p, .steps = steps, .count = count, .now = d->answer };
	struct text t = { 0 };
	unsigned kept = d->hits_count < POLICY_HITS_MAX ? d->hits_count : POLICY_HITS_MAX;
	char *sentence;

	if (d->answer == POLICY_ALLOW || count == 0)
		return mem_strdup("");
	s.changed = mem_array(count, sizeof(*s.changed));
	try(&s, FACT_FROZEN, (union fact_value){ .truth = false });
	try(&s, FACT_KILL_SWITCH, (union fact_value){ .truth = false });
	try(&s, FACT_SCRIPT_BODY, (union fact_value){ .truth = false });
	try(&s, FACT_BUDGET_LEFT, (union fact_value){ .number = 1 });
	for (unsigned i = 0; i < kept; i++)
		if (d->hits[i].order >= 0)
			try_rule(&s, &p->rules[d->hits[i].order]);
	for (size_t i = 0; i < p->rules_count && s.tries < TRIES_MAX; i++)
		if (p->rules[i].answer == POLICY_ALLOW)
			try_rule(&s, &p->rules[i]);
	if (s.found) {
		add_change(&s, &t);
		sentence = text_take(&t);
	} else {
		sentence = many_changes(&s, d);
	}
	free(s.changed);
	return sentence;
}
