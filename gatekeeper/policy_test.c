#include "gatekeeper/policy_test.h"
#include "base/clock.h"
#include "wire/yaml/yaml.h"

#define STEPS_MAX      64
#define MONDAY_NOON_US (INT64_C(1772452800) * 1000000) /* 2026-03-02T12:00:00Z */

struct run {
	const struct policy *p;
	const struct yaml_doc *doc;
	struct text *out;
	struct policy_test_result *res;
	struct oc_fail *reterr;
};

static enum oc_err wrong(struct run *r, const char *pointer, const char *what)
{
	return oc_fail_field(r->reterr, OC_INVALID, pointer, "%s:%d: %s", yaml_name(r->doc),
			     yaml_line(r->doc, pointer), what);
}

static enum oc_err only(struct run *r, const json_t *obj, const char *pointer, const char *const *keys,
			size_t n)
{
	const char *key;
	json_t *v;

	if (!json_is_object(obj))
		return wrong(r, pointer, "must be a mapping");
	json_object_foreach((json_t *)obj, key, v)
	{
		bool known = false;
		char text[200];

		for (size_t i = 0; i < n; i++)
			known |= str_eq(key, keys[i]);
		if (known)
			continue;
		snprintf(text, sizeof(text), "there is no '%.100s' here", key);
		return wrong(r, pointer, text);
	}
	return OC_OK;
}

/* Defaults, then the case's facts, then the step's: the later one wins. */
static enum oc_err facts_of(struct run *r, const json_t *merged, const char *pointer, int64_t at_us,
			    struct facts *ret)
{
	struct oc_fail fail = { 0 };
	struct facts given;
	enum oc_err err = facts_read(merged, &given, &fail);

	if (err != OC_OK)
		return wrong(r, pointer, fail.text);
	*ret = given;
	policy_set_time(r->p, ret, at_us);
	/* what the case says itself counts more than the clock */
	for (int i = 0; i < FACT_COUNT; i++)
		if (fact_known(&given, (enum fact_id)i)) {
			ret->known |= UINT64_C(1) << i;
			ret->v[i] = given.v[i];
		}
	if (!fact_known(&given, FACT_KILL_SWITCH) && fact_known(&given, FACT_TENANT))
		fact_bool(ret, FACT_KILL_SWITCH, policy_killed(r->p, given.v[FACT_TENANT].text));
	return OC_OK;
}

static bool has_hit(const struct policy_decision *d, const char *id)
{
	unsigned kept = d->hits_count < POLICY_HITS_MAX ? d->hits_count : POLICY_HITS_MAX;

	for (unsigned i = 0; i < kept; i++)
		if (str_eq(d->hits[i].id, id))
			return true;
	return false;
}

static void compare(const struct policy_decision *d, const json_t *expect, struct text *diff)
{
	const char *answer = json_str(expect, "answer");
	const json_t *rules = json_object_get(expect, "rules"),
		     *exactly = json_object_get(expect, "only_rules"), *v;
	size_t i;

	if (answer && !str_eq(answer, policy_answer_name(d->answer)))
		text_addf(diff, "; the answer is %s, not %s", policy_answer_name(d->answer), answer);
	json_array_foreach(rules, i, v)
	{
		if (!has_hit(d, json_string_value(v)))
			text_addf(diff, "; rule %s was not hit", json_string_value(v));
	}
	json_array_foreach(exactly, i, v)
	{
		if (!has_hit(d, json_string_value(v)))
			text_addf(diff, "; rule %s was not hit", json_string_value(v));
	}
	if (exactly && json_array_size(exactly) != d->hits_count)
		text_addf(diff, "; %u rules were hit, not %zu", d->hits_count, json_array_size(exactly));
	v = json_object_get(expect, "quorum");
	if (v && json_integer_value(v) != (json_int_t)d->quorum)
		text_addf(diff, "; %u people are asked, not %lld", d->quorum,
			  (long long)json_integer_value(v));
	v = json_object_get(expect, "recurring");
	if (v && json_is_true(v) != d->recurring)
		text_addf(diff, "; recurring is %s", d->recurring ? "true" : "false");
	v = json_object_get(expect, "roles");
	if (v) {
		unsigned bits = 0;
		const json_t *role;

		json_array_foreach(v, i, role) bits |= policy_role_bit(json_string_value(role));
		if (bits != d->roles) {
			AUTO(json) json_t *have = policy_roles_json(d->roles);
			AUTO(str) char *s = json_text(have);

			text_addf(diff, "; the roles asked are %s", s);
		}
	}
	if (diff->len) {
		AUTO(json) json_t *hits = policy_rules_json(d);
		AUTO(str) char *s = json_text(hits);

		text_addf(diff, "; hit: %s", s);
	}
}

static enum oc_err run_case(struct run *r, const json_t *c, const json_t *defaults, size_t number)
{
	static const char *const keys[] = { "name", "at", "facts", "steps", "expect" };
	static const char *const expect_keys[] = { "answer", "rules", "only_rules",
						   "quorum", "roles", "recurring" };
	AUTO(text) struct text diff = { 0 };
	AUTO(json) json_t *base = json_object(), *keep = json_array();
	const json_t *steps, *expect;
	struct facts facts[STEPS_MAX];
	struct policy_decision d;
	int64_t at_us = MONDAY_NOON_US;
	char pointer[64], below[80];
	size_t n = 0;
	enum oc_err err;

	snprintf(pointer, sizeof(pointer), "/cases/%zu", number);
	err = only(r, c, pointer, keys, ARRAY_LEN(keys));
	if (err != OC_OK)
		return err;
	expect = json_object_get(c, "expect");
	snprintf(below, sizeof(below), "%s/expect", pointer);
	if (!expect)
		return wrong(r, pointer, "the case expects nothing");
	err = only(r, expect, below, expect_keys, ARRAY_LEN(expect_keys));
	if (err != OC_OK)
		return err;
	if (policy_answer_parse(json_str_or(expect, "answer", "")) < 0)
		return wrong(r, below, "expect needs an answer: allow, ask or deny");
	if (json_object_get(c, "at") && clock_parse(json_str_or(c, "at", ""), &at_us) != 0)
		return wrong(r, pointer, "at must be a time like 2026-03-02T10:00:00Z");
	if (json_object_get(c, "facts") && !json_is_object(json_object_get(c, "facts")))
		return wrong(r, pointer, "facts must be a mapping");
	json_object_update(base, (json_t *)defaults);
	json_object_update(base, json_object_get(c, "facts"));
	steps = json_object_get(c, "steps");
	if (steps && (!json_is_array(steps) || json_array_size(steps) > STEPS_MAX))
		return wrong(r, pointer, "steps must be a list of at most 64 mappings");
	if (!steps) {
		err = facts_of(r, base, pointer, at_us, &facts[n++]);
		if (err != OC_OK)
			return err;
	}
	for (size_t i = 0; i < json_array_size(steps); i++) {
		json_t *merged = json_copy(base);

		json_array_append_new(keep, merged);
		json_object_update(merged, json_array_get(steps, i));
		err = facts_of(r, merged, pointer, at_us, &facts[n++]);
		if (err != OC_OK)
			return err;
	}
	policy_ask_plan(r->p, facts, n, &d);
	compare(&d, expect, &diff);
	text_addf(r->out, "%s %s:%d %s%s\n", diff.len ? "FAIL" : "ok  ", yaml_name(r->doc),
		  yaml_line(r->doc, pointer), json_str_or(c, "name", "(no name)"), text_str(&diff));
	if (diff.len)
		r->res->failed++;
	else
		r->res->passed++;
	return OC_OK;
}

static enum oc_err run_doc(struct run *r)
{
	static const char *const keys[] = { "defaults", "cases" };
	const json_t *top = yaml_value(r->doc), *cases = json_object_get(top, "cases");
	const json_t *defaults = json_object_get(top, "defaults");
	enum oc_err err = only(r, top, "", keys, ARRAY_LEN(keys));

	if (err != OC_OK)
		return err;
	if (defaults && !json_is_object(defaults))
		return wrong(r, "/defaults", "defaults must be a mapping of facts");
	if (!json_is_array(cases) || json_array_size(cases) == 0)
		return wrong(r, "", "cases must be a list, and not an empty one");
	for (size_t i = 0; i < json_array_size(cases); i++) {
		err = run_case(r, json_array_get(cases, i), defaults, i);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

enum oc_err policy_test_text(const struct policy *p, const char *name, const char *text, size_t len,
			     struct text *out, struct policy_test_result *ret, struct oc_fail *reterr)
{
	AUTO(yaml) struct yaml_doc *doc = NULL;
	struct run r = { .p = p, .out = out, .res = ret, .reterr = reterr };
	enum oc_err err = yaml_read(name, text, len, &doc, reterr);

	if (err != OC_OK)
		return err;
	r.doc = doc;
	return run_doc(&r);
}

enum oc_err policy_test_run(const struct policy *p, const char *path, struct text *out,
			    struct policy_test_result *ret, struct oc_fail *reterr)
{
	AUTO(yaml) struct yaml_doc *doc = NULL;
	struct run r = { .p = p, .out = out, .res = ret, .reterr = reterr };
	enum oc_err err = yaml_read_file(path, &doc, reterr);

	if (err != OC_OK)
		return err;
	r.doc = doc;
	return run_doc(&r);
}
