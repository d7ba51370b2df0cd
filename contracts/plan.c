#include "contracts/plan.h"
#include <math.h>
#include "base/mem.h"

/* Where no deadline is given: the longest window, and time for late data and for the bucket to close. */
#define VERIFY_SLACK_S 300
#define CALL_SLACK_S \
	330 /* a call check's windows begin at five-minute marks: up to one more bucket, and its delay */

static json_t *whole(const json_t *v)
{
	double d = json_real_value(v);

	/* beyond 2^53 not every whole number is one double */
	return json_is_real(v) && d == floor(d) && fabs(d) <= 9007199254740992.0 ? json_integer((json_int_t)d)
										 : NULL;
}

void plan_normalize(json_t *v)
{
	const char *key;
	json_t *item;
	void *tmp;
	size_t i;

	json_object_foreach_safe(v, tmp, key, item)
	{
		json_t *n = whole(item);

		if (n)
			json_object_set_new(v, key, n);
		else
			plan_normalize(item);
	}
	json_array_foreach(v, i, item)
	{
		json_t *n = whole(item);

		if (n)
			json_array_set_new(v, i, n);
		else
			plan_normalize(item);
	}
}

/* --- parsing: for documents that passed lint, but certain not to crash on others */

static enum oc_err wrong(struct oc_fail *reterr, const char *at, const char *key, const char *what)
{
	char field[160];

	snprintf(field, sizeof(field), "%s%s%s", at, *key ? "/" : "", key);
	return oc_fail_field(reterr, OC_INVALID, field, "%s: %s", *field ? field : "the plan", what);
}

static enum oc_err get_text(const json_t *o, const char *at, const char *key, bool must, char **ret,
			    struct oc_fail *reterr)
{
	const json_t *v = json_object_get(o, key);

	if (!v && !must)
		return OC_OK;
	if (!json_is_string(v))
		return wrong(reterr, at, key, "must be a text");
	*ret = mem_strdup(json_string_value(v));
	return OC_OK;
}

static enum oc_err get_int(const json_t *o, const char *at, const char *key, bool must, int max, int *ret,
			   struct oc_fail *reterr)
{
	const json_t *v = json_object_get(o, key);
	AUTO(json) json_t *n = whole(v);

	if (!v && !must)
		return OC_OK;
	if (n)
		v = n;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
		return wrong(reterr, at, key, "must be a whole number in range");
	*ret = (int)json_integer_value(v);
	return OC_OK;
}

static enum oc_err get_object(const json_t *o, const char *at, const char *key, const char *fallback,
			      char **ret, struct oc_fail *reterr)
{
	const json_t *v = json_object_get(o, key);

	if (!v) {
		*ret = mem_strdup(fallback);
		return OC_OK;
	}
	if (!json_is_object(v))
		return wrong(reterr, at, key, "must be an object");
	*ret = json_canonical(v);
	return OC_OK;
}

#define TRY(call)                          \
	do {                               \
		enum oc_err err_ = (call); \
		if (err_ != OC_OK)         \
			return err_;       \
	} while (0)

static enum oc_err parse_measure(const json_t *o, const char *at, struct plan_check *c,
				 struct oc_fail *reterr)
{
	const json_t *t = json_object_get(o, "threshold"), *r = json_object_get(o, "ratio_to_baseline");
	const char *no_data = json_str(o, "no_data");

	c->aggregate = plan_aggregate_parse(json_str(o, "aggregate"));
	if (c->aggregate == AGG_NONE && (c->kind == CHECK_METRIC || json_object_get(o, "aggregate")))
		return wrong(reterr, at, "aggregate", "must be avg, max, min, p95, count or sum");
	c->op = plan_op_parse(json_str(o, "op"));
	if (c->op == OP_NONE)
		return wrong(reterr, at, "op", "must be <, <=, >, >= or ==");
	if (json_is_number(t) == json_is_number(r))
		return wrong(reterr, at, "threshold",
			     "exactly one of threshold and ratio_to_baseline is needed");
	c->against_baseline = json_is_number(r);
	c->value = json_number_value(c->against_baseline ? r : t);
	TRY(get_int(o, at, "window_s", true, 86400, &c->window_s, reterr));
	c->min_samples = 1;
	TRY(get_int(o, at, "min_samples", false, 1000000, &c->min_samples, reterr));
	if (c->min_samples < 1)
		return wrong(reterr, at, "min_samples",
			     "must be at least 1: nothing measured is never a PASS");
	if (json_object_get(o, "no_data") && !str_eq(no_data, "fail") && !str_eq(no_data, "insufficient"))
		return wrong(reterr, at, "no_data", "must be insufficient or fail");
	c->no_data = str_eq(no_data, "fail") ? NO_DATA_FAIL : NO_DATA_INSUFFICIENT;
	return OC_OK;
}

static enum oc_err parse_check(const json_t *o, const char *at, struct plan_check *c, struct oc_fail *reterr)
{
	c->kind = plan_check_kind_parse(json_str(o, "kind"));
	TRY(get_text(o, at, "title", false, &c->title, reterr));
	switch (c->kind) {
	case CHECK_METRIC:
		TRY(get_text(o, at, "resource", true, &c->resource, reterr));
		TRY(get_text(o, at, "metric", true, &c->metric, reterr));
		if (json_object_get(o, "labels"))
			TRY(get_object(o, at, "labels", "{}", &c->labels, reterr));
		return parse_measure(o, at, c, reterr);
	case CHECK_CALL:
		TRY(get_text(o, at, "src", true, &c->src, reterr));
		TRY(get_text(o, at, "dst", true, &c->dst, reterr));
		TRY(get_text(o, at, "field", true, &c->field, reterr));
		return parse_measure(o, at, c, reterr);
	case CHECK_PROBE:
		return get_int(o, at, "step", true, PLAN_STEPS_MAX - 1, &c->step, reterr);
	case CHECK_HTTP:
		TRY(get_text(o, at, "url", true, &c->url, reterr));
		c->expect_status = 200;
		return get_int(o, at, "expect_status", false, 599, &c->expect_status, reterr);
	default:
		return wrong(reterr, at, "kind", "must be metric, call, probe or http");
	}
}

static enum oc_err parse_verify(const json_t *o, const char *at, struct plan_verify *v,
				struct oc_fail *reterr)
{
	const json_t *checks = json_object_get(o, "checks");
	size_t count = json_array_size(checks);
	int longest = 0;

	if (count == 0 || count > 32)
		return wrong(reterr, at, "checks", "must be a list of 1 to 32 checks");
	v->check = mem_array(count, sizeof(*v->check));
	v->count = count;
	for (size_t i = 0; i < count; i++) {
		char where[128];

		snprintf(where, sizeof(where), "%s/checks/%zu", at, i);
		TRY(parse_check(json_array_get(checks, i), where, &v->check[i], reterr));
		const int takes = v->check[i].window_s + (v->check[i].kind == CHECK_CALL ? CALL_SLACK_S : 0);

		if (takes > longest)
			longest = takes;
	}
	TRY(get_int(o, at, "settle_s", false, 3600, &v->settle_s, reterr));
	TRY(get_int(o, at, "baseline_s", false, 604800, &v->baseline_s, reterr));
	v->deadline_s = longest + VERIFY_SLACK_S;
	return get_int(o, at, "deadline_s", false, 86400, &v->deadline_s, reterr);
}

static enum oc_err new_verify(const json_t *o, const char *at, struct plan_verify **ret,
			      struct oc_fail *reterr)
{
	*ret = mem_alloc(sizeof(**ret)); /* the plan owns it from here, also when it is half filled */
	return parse_verify(o, at, *ret, reterr);
}

static enum oc_err parse_step(const json_t *o, const char *at, bool plain, struct plan_step *s,
			      struct oc_fail *reterr)
{
	const json_t *v;
	char where[128];

	TRY(get_text(o, at, "action", true, &s->action, reterr));
	TRY(get_object(o, at, "params", "{}", &s->params, reterr));
	TRY(get_object(o, at, "target", "{}", &s->target, reterr));
	snprintf(where, sizeof(where), "%s/target", at);
	TRY(get_text(json_object_get(o, "target"), where, "urn", false, &s->target_urn, reterr));
	TRY(get_int(o, at, "timeout_s", true, 86400, &s->timeout_s, reterr));
	TRY(get_int(o, at, "retry", true, 3, &s->retry, reterr));
	if (plain)
		return OC_OK;
	v = json_object_get(o, "compensate");
	if (v) {
		snprintf(where, sizeof(where), "%s/compensate", at);
		s->compensate = mem_alloc(sizeof(*s->compensate));
		TRY(parse_step(v, where, true, s->compensate, reterr));
	}
	v = json_object_get(o, "verify");
	if (v) {
		snprintf(where, sizeof(where), "%s/verify", at);
		TRY(new_verify(v, where, &s->verify, reterr));
	}
	s->undo = json_bool_or(o, "undo", false);
	TRY(get_int(o, at, "undo_of", s->undo, PLAN_STEPS_MAX - 1, &s->undo_of, reterr));
	if (json_object_get(o, "before"))
		TRY(get_object(o, at, "before", "{}", &s->before, reterr));
	return OC_OK;
}

static enum oc_err parse_steps(const json_t *list, const char *at, bool plain, struct plan_step **steps,
			       size_t *count, struct oc_fail *reterr)
{
	size_t n = json_array_size(list);

	if (n == 0 || n > PLAN_STEPS_MAX)
		return wrong(reterr, at, "", "must be a list of 1 to 50 steps");
	*steps = mem_array(n, sizeof(**steps));
	*count = n;
	for (size_t i = 0; i < n; i++) {
		char where[96];

		snprintf(where, sizeof(where), "%s/%zu", at, i);
		TRY(parse_step(json_array_get(list, i), where, plain, &(*steps)[i], reterr));
	}
	return OC_OK;
}

enum oc_err plan_parse(const json_t *doc, struct plan **ret, struct oc_fail *reterr)
{
	AUTO(plan) struct plan *p = mem_alloc(sizeof(*p));
	const json_t *rollback = json_object_get(doc, "rollback"), *v;

	if (!json_is_object(doc))
		return wrong(reterr, "", "", "must be an object");
	TRY(get_text(doc, "", "title", true, &p->title, reterr));
	v = json_object_get(doc, "kind");
	p->kind = v ? plan_kind_parse(json_string_value(v)) : PLAN_FORWARD;
	if (p->kind == PLAN_NONE)
		return wrong(reterr, "", "kind", "must be forward or rollback");
	v = json_object_get(doc, "risk_score");
	p->has_risk = json_is_number(v);
	p->risk_score = json_number_value(v);
	TRY(parse_steps(json_object_get(doc, "steps"), "/steps", false, &p->step, &p->step_count, reterr));
	TRY(parse_verify(json_object_get(doc, "verify"), "/verify", &p->verify, reterr));
	if (!json_is_object(rollback))
		return wrong(reterr, "", "rollback", "must be an object; {} derives it");
	if (json_object_get(rollback, "steps")) {
		p->rollback_given = true;
		TRY(parse_steps(json_object_get(rollback, "steps"), "/rollback/steps", true, &p->rollback,
				&p->rollback_count, reterr));
	}
	TRY(get_text(rollback, "/rollback", "none", false, &p->rollback_none, reterr));
	if (json_object_get(rollback, "verify"))
		TRY(new_verify(json_object_get(rollback, "verify"), "/rollback/verify", &p->rollback_verify,
			       reterr));

	*ret = TAKE(p);
	return OC_OK;
}

enum oc_err plan_parse_text(const char *plan_text, struct plan **ret, struct oc_fail *reterr)
{
	AUTO(json) json_t *doc = NULL;

	TRY(json_read_own(plan_text, &doc, reterr));
	return plan_parse(doc, ret, reterr);
}

enum oc_err plan_verify_parse(const json_t *doc, struct plan_verify **ret, struct oc_fail *reterr)
{
	AUTO(plan_verify) struct plan_verify *v = NULL;

	TRY(new_verify(doc, "", &v, reterr));
	*ret = TAKE(v);
	return OC_OK;
}

/* --- what a plan is known by */

char *plan_canonical(const json_t *plan)
{
	return json_canonical(plan);
}
void plan_hash(const json_t *plan, char out[HASH_HEX])
{
	json_hash(plan, out);
}

void plan_fingerprint(const json_t *plan, char out[HASH_HEX])
{
	static const char *const parts[] = { "action", "params", "target", "undo" };
	AUTO(json) json_t *all = json_array();
	size_t i;
	json_t *step;

	json_array_foreach(json_object_get(plan, "steps"), i, step)
	{
		json_t *one = json_object();

		for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
			json_t *v = json_object_get(step, parts[k]);
			/* left out and empty mean the same repair */
			bool empty = !v || (json_is_object(v) && json_object_size(v) == 0);

			if (!empty)
				json_object_set(one, parts[k], v);
		}
		json_array_append_new(all, one);
	}
	json_hash(all, out);
}
