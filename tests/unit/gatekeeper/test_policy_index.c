/* The index changes nothing but the time: random policies and questions, answered three ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "gatekeeper/policy.h"

/* ---- chance, the same in every run ---- */

static uint64_t seed = UINT64_C(0x5eed);

static unsigned dice(unsigned sides)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 20) % sides);
}

static const char *word(const char *stem, unsigned n)
{
	static char buf[8][32];
	static unsigned at;

	at = (at + 1) % 8;
	snprintf(buf[at], sizeof(buf[at]), "%s%u", stem, dice(n));
	return buf[at];
}

static unsigned spread; /* how many different values each text has */

static void random_leaf(struct text *t)
{
	static const char *const order[] = { "gt", "ge", "lt", "le", "eq", "ne" };

	switch (dice(9)) {
	case 0:
		text_addf(t, "\"action\": \"%s\"", word("op", spread));
		break;
	case 1:
		text_addf(t, "\"tenant\": {\"in\": [\"%s\", \"%s\"]}", word("t", spread), word("t", spread));
		break;
	case 2:
		text_addf(t, "\"environment\": \"%s\"", word("env", 4));
		break;
	case 3:
		text_addf(t, "\"severity\": {\"ne\": \"%s\"}", word("sev", 3));
		break;
	case 4:
		text_addf(t, "\"steps\": {\"%s\": %u}", order[dice(6)], dice(5));
		break;
	case 5:
		text_addf(t, "\"bound\": %s", dice(2) ? "true" : "false");
		break;
	case 6:
		text_addf(t, "\"target\": {\"glob\": \"*%u\"}", dice(10));
		break;
	case 7:
		text_addf(t, "\"template\": {\"exists\": %s}", dice(2) ? "true" : "false");
		break;
	case 8:
		text_addf(t, "\"source\": \"%s\"", dice(2) ? "template" : "llm");
		break;
	}
}

static void random_when(struct text *t, unsigned depth)
{
	unsigned kind = depth < 3 ? dice(5) : 4, n = 1 + dice(3);

	text_add(t, "{");
	if (kind < 2) {
		text_addf(t, "\"%s\": [", kind ? "any" : "all");
		for (unsigned i = 0; i < n; i++) {
			text_add(t, i ? ", " : "");
			random_when(t, depth + 1);
		}
		text_add(t, "]");
	} else if (kind == 2) {
		text_add(t, "\"not\": ");
		random_when(t, depth + 1);
	} else if (kind == 3) {
		/* what most rules look like */
		text_addf(t, "\"action\": \"%s\", \"tenant\": \"%s\", \"steps\": {\"gt\": %u}",
			  word("op", spread), word("t", spread), dice(4));
	} else {
		random_leaf(t);
	}
	text_add(t, "}");
}

static char *random_policy(unsigned rules)
{
	static const char *const answers[] = { "allow", "ask", "deny" };
	struct text t = { 0 };

	text_add(&t, "{\"version\": 1, \"rules\": [");
	for (unsigned i = 0; i < rules; i++) {
		text_addf(&t, "%s\n{\"id\": \"r%u\", \"answer\": \"%s\", \"when\": ", i ? "," : "", i,
			  answers[dice(3)]);
		random_when(&t, 0);
		text_add(&t, "}");
	}
	text_add(&t, "]}");
	return text_take(&t);
}

static json_t *random_facts(void)
{
	json_t *f = json_pack("{s:b,s:b,s:i,s:s,s:s}", "kill_switch", 0, "frozen", 0, "budget_left", 1,
			      "needs", "", "plan_kind", "forward");

	if (dice(8))
		json_put(f, "action", word("op", spread));
	if (dice(8))
		json_put(f, "tenant", word("t", spread));
	if (dice(3))
		json_put(f, "environment", word("env", 4));
	if (dice(3))
		json_put(f, "severity", word("sev", 3));
	if (dice(3))
		json_put(f, "target", word("urn:x:", 30));
	if (dice(3))
		json_put(f, "template", word("tpl", 3));
	if (dice(3))
		json_put(f, "source", dice(2) ? "template" : "llm");
	if (dice(3))
		json_object_set_new(f, "steps", json_integer(dice(5)));
	if (dice(3))
		json_object_set_new(f, "bound", json_boolean(dice(2)));
	return f;
}

/* ---- an evaluator that shares nothing with the one under test: it reads the JSON as it stands.
 * 0 false, 1 not known, 2 true: and is the least, or the greatest, not 2 - x. ---- */

static int naive(const json_t *when, const json_t *f, bool allow);

static int naive_leaf(const char *name, const char *op, const json_t *want, const json_t *f, bool allow)
{
	const json_t *have = json_object_get(f, name), *v;
	size_t i;

	if (strcmp(op, "exists") == 0)
		return have ? (json_is_true(want) ? 2 : 0) : allow ? 1 : json_is_true(want) ? 0 : 2;
	if (!have)
		return 1;
	if (strcmp(op, "eq") == 0)
		return json_equal(have, want) ? 2 : 0;
	if (strcmp(op, "ne") == 0)
		return json_equal(have, want) ? 0 : 2;
	if (strcmp(op, "gt") == 0)
		return json_number_value(have) > json_number_value(want) ? 2 : 0;
	if (strcmp(op, "ge") == 0)
		return json_number_value(have) >= json_number_value(want) ? 2 : 0;
	if (strcmp(op, "lt") == 0)
		return json_number_value(have) < json_number_value(want) ? 2 : 0;
	if (strcmp(op, "le") == 0)
		return json_number_value(have) <= json_number_value(want) ? 2 : 0;
	if (strcmp(op, "glob") == 0) {
		const char *s = json_string_value(have), *suffix = json_string_value(want) + 1;
		size_t n = strlen(s), m = strlen(suffix);

		return n >= m && strcmp(s + n - m, suffix) == 0 ? 2 : 0;
	}
	assert_string_equal(op, "in");
	json_array_foreach(want, i, v) if (json_equal(have, v)) return 2;
	return 0;
}

static int naive(const json_t *when, const json_t *f, bool allow)
{
	int least = 2;
	const char *key, *op;
	json_t *v, *arg;
	size_t i;

	json_object_foreach((json_t *)when, key, v)
	{
		int t = 2;

		if (strcmp(key, "all") == 0) {
			json_array_foreach(v, i, arg)
			{
				int one = naive(arg, f, allow);

				t = one < t ? one : t;
			}
		} else if (strcmp(key, "any") == 0) {
			t = 0;
			json_array_foreach(v, i, arg)
			{
				int one = naive(arg, f, allow);

				t = one > t ? one : t;
			}
		} else if (strcmp(key, "not") == 0) {
			t = 2 - naive(v, f, allow);
		} else if (json_is_object(v)) {
			json_object_foreach(v, op, arg)
			{
				int one = naive_leaf(key, op, arg, f, allow);

				t = one < t ? one : t;
			}
		} else {
			t = naive_leaf(key, "eq", v, f, allow);
		}
		least = t < least ? t : least;
	}
	return least;
}

struct naive_answer {
	int answer;
	unsigned hits;
	char first[32];
};

static struct naive_answer naive_ask(const json_t *policy, const json_t *f)
{
	const json_t *rules = json_object_get(policy, "rules"), *r;
	struct naive_answer a = { .answer = -1 };
	size_t i;

	json_array_foreach(rules, i, r)
	{
		int answer = policy_answer_parse(json_str(r, "answer"));
		int t = naive(json_object_get(r, "when"), f, answer == POLICY_ALLOW);

		if (t == 0 || (t == 1 && answer == POLICY_ALLOW))
			continue;
		if (t == 1)
			answer = POLICY_ASK;
		if (a.hits++ == 0)
			snprintf(a.first, sizeof(a.first), "%s", json_str(r, "id"));
		if (answer > a.answer)
			a.answer = answer;
	}
	if (a.answer < 0)
		a.answer = POLICY_ASK;
	return a;
}

/* ---- all three agree ---- */

static void compare(const struct policy *p, const json_t *doc, unsigned questions)
{
	for (unsigned q = 0; q < questions; q++) {
		AUTO(json) json_t *obj = random_facts();
		struct naive_answer want = naive_ask(doc, obj);
		struct policy_decision fast, slow;
		struct facts f;

		assert_int_equal(facts_read(obj, &f, NULL), OC_OK);
		policy_ask(p, &f, &fast);
		policy_ask_slowly(p, &f, &slow);
		if ((int)fast.answer != want.answer || fast.hits_count != want.hits ||
		    (want.hits && strcmp(fast.hits[0].id, want.first) != 0)) {
			AUTO(str) char *text = json_text(obj);

			fail_msg("answer %d with %u hits, not %d with %u, for %s", fast.answer,
				 fast.hits_count, want.answer, want.hits, text);
		}
		assert_int_equal(fast.answer, slow.answer);
		assert_int_equal(fast.hits_count, slow.hits_count);
		assert_int_equal(fast.quorum, slow.quorum);
		assert_int_equal(fast.roles, slow.roles);
		assert_int_equal(fast.expires_s, slow.expires_s);
		assert_string_equal(fast.reason, slow.reason);
		for (unsigned i = 0; i < fast.hits_count && i < POLICY_HITS_MAX; i++)
			assert_int_equal(fast.hits[i].order, slow.hits[i].order);
	}
}

static void compare_random(unsigned rules, unsigned questions)
{
	AUTO(str) char *text = random_policy(rules);
	AUTO(policy) struct policy *p = NULL;
	AUTO(json) json_t *doc = NULL;
	struct policy_source files[64];
	struct oc_fail fail = { 0 };

	assert_int_equal(json_read_own(text, &doc, NULL), OC_OK);
	if (rules <= 2000) {
		files[0] = (struct policy_source){ "random.yaml", text, strlen(text) };
		if (policy_compile(files, 1, &p, &fail) != OC_OK)
			fail_msg("%s", fail.text);
	} else {
		/* one file may not be larger than a megabyte: many files, the same rules */
		unsigned n = 0;

		for (size_t at = 0; at < rules; at += 2000, n++) {
			AUTO(json) json_t *part = json_pack("{s:i,s:[]}", "version", 1, "rules");

			for (size_t i = at; i < at + 2000 && i < rules; i++)
				json_array_append(json_object_get(part, "rules"),
						  json_array_get(json_object_get(doc, "rules"), i));
			files[n].name = "part.yaml";
			files[n].text = json_text(part);
			files[n].len = strlen(files[n].text);
		}
		if (policy_compile(files, n, &p, &fail) != OC_OK)
			fail_msg("%s", fail.text);
		while (n--)
			free((char *)files[n].text);
	}
	assert_int_equal(policy_rule_count(p), rules);
	compare(p, doc, questions);
}

static void a_thousand_random_policies_answer_as_the_naive_reading_does(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		spread = 1 + dice(6);
		compare_random(1 + dice(40), 5);
	}
}

static void ten_thousand_rules_answer_as_the_naive_reading_does(void **state)
{
	(void)state;
	spread = 100;
	compare_random(10000, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thousand_random_policies_answer_as_the_naive_reading_does),
		cmocka_unit_test(ten_thousand_rules_answer_as_the_naive_reading_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
