#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/clock.h"
#include "gatekeeper/policy.h"

/* ---- making policies and facts in plain sight ---- */

static struct policy *compile(const char *yaml)
{
	struct policy_source file = { .name = "t.yaml", .text = yaml, .len = strlen(yaml) };
	struct policy *p = NULL;
	struct oc_fail fail = { 0 };

	if (policy_compile(&file, 1, &p, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return p;
}

static struct policy *one_rule(const char *when, const char *answer)
{
	AUTO(str) char *yaml = NULL;
	struct text t = { 0 };

	text_addf(&t, "version: 1\nrules:\n  - {id: r, answer: %s, when: %s}\n", answer, when);
	yaml = text_take(&t);
	return compile(yaml);
}

/* Facts that no built-in rule minds; `more` is a JSON object on top. Its texts live until the next call. */
static struct facts facts(const char *more)
{
	static json_t *keep;
	json_t *obj = NULL, *extra = NULL;
	struct facts f;
	struct oc_fail fail = { 0 };

	json_decref(keep);
	if (json_read_own("{\"kill_switch\":false,\"frozen\":false,\"budget_left\":2,\"needs\":\"\","
			  "\"script_body\":false,\"plan_kind\":\"forward\",\"tenant\":\"t-1\"}",
			  &obj, &fail) != OC_OK ||
	    json_read_own(more, &extra, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	json_object_update(obj, extra);
	json_decref(extra);
	keep = obj;
	if (facts_read(obj, &f, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return f;
}

static struct policy_decision ask(const struct policy *p, const char *more)
{
	struct facts f = facts(more);
	struct policy_decision d;

	policy_ask(p, &f, &d);
	return d;
}

static void refused(const char *yaml, const char *sentence)
{
	struct policy_source file = { .name = "bad.yaml", .text = yaml, .len = strlen(yaml) };
	struct policy *p = NULL;
	struct oc_fail fail = { 0 };

	assert_int_not_equal(policy_compile(&file, 1, &p, &fail), OC_OK);
	assert_null(p);
	if (!strstr(fail.text, sentence))
		fail_msg("'%s' is not in '%s'", sentence, fail.text);
}

/* ---- operators ---- */

static void each_comparison_holds_and_fails_where_it_should(void **state)
{
	static const struct {
		const char *when, *yes, *no;
	} rows[] = {
		{ "{steps: 3}",                         "{\"steps\":3}",                "{\"steps\":4}"            },
		{ "{steps: {eq: 3}}",                   "{\"steps\":3}",                "{\"steps\":2}"            },
		{ "{steps: {ne: 3}}",                   "{\"steps\":4}",                "{\"steps\":3}"            },
		{ "{steps: {gt: 3}}",                   "{\"steps\":4}",                "{\"steps\":3}"            },
		{ "{steps: {ge: 3}}",                   "{\"steps\":3}",                "{\"steps\":2}"            },
		{ "{steps: {lt: 3}}",                   "{\"steps\":2}",                "{\"steps\":3}"            },
		{ "{steps: {le: 3}}",                   "{\"steps\":3}",                "{\"steps\":4}"            },
		{ "{steps: {gt: 1, lt: 3}}",            "{\"steps\":2}",                "{\"steps\":3}"            },
		{ "{steps: [1, 3]}",                    "{\"steps\":3}",                "{\"steps\":2}"            },
		{ "{severity: ERROR}",                  "{\"severity\":\"ERROR\"}",     "{\"severity\":\"error\"}" },
		{ "{severity: {ne: ERROR}}",            "{\"severity\":\"INFO\"}",      "{\"severity\":\"ERROR\"}" },
		{ "{severity: {in: [A, B]}}",           "{\"severity\":\"B\"}",         "{\"severity\":\"C\"}"     },
		{ "{target: {glob: 'urn:k8s:*'}}",      "{\"target\":\"urn:k8s:x\"}",
                 "{\"target\":\"urn:host:x\"}"								     },
		{ "{bound: true}",                      "{\"bound\":true}",             "{\"bound\":false}"        },
		{ "{bound: {ne: true}}",                "{\"bound\":false}",            "{\"bound\":true}"         },
		{ "{steps: {exists: true}}",            "{\"steps\":0}",                "{}"                       },
		{ "{not: {steps: 3}}",                  "{\"steps\":4}",                "{\"steps\":3}"            },
		{ "{any: [{steps: 3}, {bound: true}]}", "{\"steps\":1,\"bound\":true}",
                 "{\"steps\":1,\"bound\":false}"								   },
		{ "{all: [{steps: 3}, {bound: true}]}", "{\"steps\":3,\"bound\":true}",
                 "{\"steps\":3,\"bound\":false}"								   },
		{ "[{steps: 3}, {bound: true}]",        "{\"steps\":3,\"bound\":true}",
                 "{\"steps\":1,\"bound\":true}"								    },
		{ "{steps: 3, bound: true}",            "{\"steps\":3,\"bound\":true}",
                 "{\"steps\":3,\"bound\":false}"								   },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(policy) struct policy *p = one_rule(rows[i].when, "allow");
		AUTO(policy) struct policy *never = one_rule(rows[i].when, "deny");

		if (ask(p, rows[i].yes).answer != POLICY_ALLOW || ask(p, rows[i].no).answer == POLICY_ALLOW)
			fail_msg("allow when %s", rows[i].when);
		if (ask(never, rows[i].yes).answer != POLICY_DENY ||
		    ask(never, rows[i].no).answer == POLICY_DENY)
			fail_msg("deny when %s", rows[i].when);
	}
}

static void what_is_not_known_satisfies_no_rule_that_allows(void **state)
{
	static const char *const whens[] = {
		"{steps: 3}",
		"{steps: {ne: 3}}",
		"{steps: {lt: 3}}",
		"{steps: {ge: 0}}",
		"{not: {steps: 3}}",
		"{not: {not: {steps: 3}}}",
		"{steps: {exists: false}}",
		"{steps: {exists: true}}",
		"{not: {steps: {exists: true}}}",
		"{not: {severity: A}}",
		"{severity: {glob: '*'}}",
		"{bound: false}",
		"{all: [{tenant: t-1}, {steps: {ne: 3}}]}",
		"{not: {all: [{tenant: t-1}, {steps: 3}]}}",
		"{not: {any: [{tenant: t-2}, {steps: 3}]}}",
		"{any: [{tenant: t-2}, {not: {steps: {in: [1]}}}]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(whens); i++) {
		AUTO(policy) struct policy *p = one_rule(whens[i], "allow");
		struct policy_decision d = ask(p, "{}");

		if (d.answer != POLICY_ASK || !d.by_default)
			fail_msg("allow when %s, and nothing known", whens[i]);
	}
}

static void an_unknown_beside_a_sure_truth_does_not_matter(void **state)
{
	AUTO(policy) struct policy *any = one_rule("{any: [{tenant: t-1}, {steps: 3}]}", "allow");
	AUTO(policy) struct policy *all = one_rule("{all: [{tenant: t-2}, {steps: 3}]}", "deny");
	struct policy_decision d;

	(void)state;
	assert_int_equal(ask(any, "{}").answer, POLICY_ALLOW);
	d = ask(all, "{}");
	assert_true(d.by_default);
}

static void a_rule_that_would_deny_and_cannot_know_asks(void **state)
{
	AUTO(policy)
	struct policy *p = compile("version: 1\nrules:\n"
				   "  - {id: a, answer: allow, when: always}\n"
				   "  - {id: d, answer: deny, when: {environment: prod}}\n");
	struct policy_decision d = ask(p, "{}");

	(void)state;
	assert_int_equal(d.answer, POLICY_ASK);
	assert_int_equal(d.hits_count, 2);
	assert_string_equal(d.hits[1].id, "d");
	assert_true(d.hits[1].unsure);
	assert_int_equal(d.quorum, 1);
	assert_int_equal(ask(p, "{\"environment\":\"prod\"}").answer, POLICY_DENY);
	assert_int_equal(ask(p, "{\"environment\":\"test\"}").answer, POLICY_ALLOW);
}

static void a_rule_that_would_ask_and_cannot_know_asks(void **state)
{
	AUTO(policy)
	struct policy *p = compile(
		"version: 1\nrules:\n"
		"  - {id: a, answer: allow, when: always}\n"
		"  - {id: q, answer: ask, approvers: {roles: [admin], count: 3}, when: {downstream: {gt: 5}}}\n");
	struct policy_decision d = ask(p, "{}");

	(void)state;
	assert_int_equal(d.answer, POLICY_ASK);
	assert_int_equal(d.quorum, 3);
	assert_int_equal(d.roles, ROLE_ADMIN);
	assert_int_equal(ask(p, "{\"downstream\":5}").answer, POLICY_ALLOW);
}

static void exists_lets_a_rule_that_asks_leave_the_unknown_alone(void **state)
{
	AUTO(policy)
	struct policy *p = compile("version: 1\nrules:\n"
				   "  - {id: a, answer: allow, when: always}\n"
				   "  - {id: q, answer: ask, when: {downstream: {exists: true, gt: 5}}}\n"
				   "  - {id: u, answer: deny, when: {upstream: {exists: false}}}\n");

	(void)state;
	assert_int_equal(ask(p, "{\"upstream\":1}").answer, POLICY_ALLOW);
	assert_int_equal(ask(p, "{\"upstream\":1,\"downstream\":6}").answer, POLICY_ASK);
	assert_int_equal(ask(p, "{}").answer, POLICY_DENY);
}

/* ---- combination ---- */

static void deny_beats_ask_beats_allow_in_any_order(void **state)
{
	static const char *const orders[] = { "allow,ask,deny", "deny,ask,allow", "ask,deny,allow" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
		AUTO(text) struct text t = { 0 };
		AUTO(policy) struct policy *p = NULL;
		char order[64];
		char *save, *answer;
		int n = 0;
		struct policy_decision d;

		snprintf(order, sizeof(order), "%s", orders[i]);
		text_add(&t, "version: 1\nrules:\n");
		for (answer = strtok_r(order, ",", &save); answer; answer = strtok_r(NULL, ",", &save), n++)
			text_addf(&t, "  - {id: r%d-%s, answer: %s, when: {%s: t-1}, reason: because %s}\n",
				  n, answer, answer, str_eq(answer, "deny") ? "severity" : "tenant", answer);
		p = compile(text_str(&t));
		d = ask(p, "{\"severity\":\"t-1\"}");
		assert_int_equal(d.answer, POLICY_DENY);
		assert_int_equal(d.hits_count, 3);
		assert_string_equal(d.reason, "because deny");
		for (unsigned h = 1; h < 3; h++)
			assert_true(d.hits[h].order > d.hits[h - 1].order);
		d = ask(p, "{\"severity\":\"other\"}");
		assert_int_equal(d.answer, POLICY_ASK);
		assert_string_equal(d.reason, "because ask");
	}
}

static void rules_that_ask_add_up_to_the_strictest_terms(void **state)
{
	AUTO(policy)
	struct policy *p = compile(
		"version: 1\nrules:\n"
		"  - {id: a, answer: ask, when: always, approvers: {roles: [approver, admin], count: 1}, expires: 1h}\n"
		"  - {id: b, answer: ask, when: always, approvers: {roles: [admin, service], count: 2}, expires: 2h}\n"
		"  - {id: c, answer: ask, when: {severity: X}, approvers: {roles: [operator]}}\n");
	struct policy_decision d = ask(p, "{\"severity\":\"Y\"}");

	(void)state;
	assert_int_equal(d.quorum, 2);
	assert_int_equal(d.roles, ROLE_ADMIN);
	assert_int_equal(d.expires_s, 3600);
	/* nobody has every role that is asked: admins stand in */
	assert_int_equal(ask(p, "{\"severity\":\"X\"}").roles, ROLE_ADMIN);
}

static void no_rule_asks_unless_the_default_denies(void **state)
{
	AUTO(policy) struct policy *asks = compile("version: 1\n");
	AUTO(policy)
	struct policy *denies = compile("version: 1\ndefault: {answer: deny, reason: nobody spoke for it}\n");
	struct policy_decision d = ask(asks, "{}");

	(void)state;
	assert_int_equal(d.answer, POLICY_ASK);
	assert_true(d.by_default);
	assert_int_equal(d.quorum, 1);
	assert_int_equal(d.roles, ROLE_APPROVER | ROLE_ADMIN);
	d = ask(denies, "{}");
	assert_int_equal(d.answer, POLICY_DENY);
	assert_string_equal(d.reason, "nobody spoke for it");
}

static void the_strictest_step_decides_for_the_plan(void **state)
{
	AUTO(policy)
	struct policy *p = compile("version: 1\nrules:\n"
				   "  - {id: a, answer: allow, when: {risk: {lt: 0.5}}}\n"
				   "  - {id: d, answer: deny, when: {risk: {ge: 0.9}}}\n");
	struct facts steps[3] = { facts("{\"risk\":0.1}") };
	struct policy_decision d;

	(void)state;
	steps[1] = steps[2] = steps[0];
	policy_ask_plan(p, steps, 3, &d);
	assert_int_equal(d.answer, POLICY_ALLOW);
	assert_int_equal(d.hits_count, 1);
	fact_number(&steps[2], FACT_RISK, 0.6);
	policy_ask_plan(p, steps, 3, &d);
	assert_int_equal(d.answer, POLICY_ASK);
	fact_number(&steps[1], FACT_RISK, 0.95);
	policy_ask_plan(p, steps, 3, &d);
	assert_int_equal(d.answer, POLICY_DENY);
	policy_ask_plan(p, steps, 0, &d);
	assert_int_equal(d.answer, POLICY_DENY);
}

static void stricter_means_a_harder_answer_more_people_or_fewer_roles(void **state)
{
	struct policy_decision allow = { .answer = POLICY_ALLOW }, deny = { .answer = POLICY_DENY };
	struct policy_decision one = { .answer = POLICY_ASK,
				       .quorum = 1,
				       .roles = ROLE_APPROVER | ROLE_ADMIN };
	struct policy_decision two = { .answer = POLICY_ASK,
				       .quorum = 2,
				       .roles = ROLE_APPROVER | ROLE_ADMIN };
	struct policy_decision admins = { .answer = POLICY_ASK, .quorum = 1, .roles = ROLE_ADMIN };

	(void)state;
	assert_true(policy_is_stricter(&one, &allow));
	assert_true(policy_is_stricter(&deny, &two));
	assert_true(policy_is_stricter(&two, &one));
	assert_true(policy_is_stricter(&admins, &one));
	assert_false(policy_is_stricter(&one, &one));
	assert_false(policy_is_stricter(&one, &admins));
	assert_false(policy_is_stricter(&one, &two));
	assert_false(policy_is_stricter(&allow, &one));
}

/* ---- what is built in ---- */

static const char allow_all[] = "version: 1\nrules: [{id: all, answer: allow, when: always}]\n";

static void the_kill_switch_bars_everything_rollbacks_too(void **state)
{
	AUTO(policy) struct policy *p = compile(allow_all);
	AUTO(policy) struct policy *global = compile("version: 1\nkill_switch: true\n");
	AUTO(policy) struct policy *some = compile("version: 1\nkill_switch: {tenants: ['bad-*']}\n");

	(void)state;
	assert_int_equal(ask(p, "{\"kill_switch\":true}").answer, POLICY_DENY);
	assert_int_equal(ask(p, "{\"kill_switch\":true,\"plan_kind\":\"rollback\"}").answer, POLICY_DENY);
	assert_int_equal(ask(p, "{\"kill_switch\":null}").answer, POLICY_ASK);
	assert_true(policy_killed(global, "anyone"));
	assert_true(policy_killed(some, "bad-1"));
	assert_false(policy_killed(some, "good"));
	assert_false(policy_killed(p, "good"));
}

static void the_budget_bars_repairs_and_not_the_way_back(void **state)
{
	AUTO(policy) struct policy *p = compile(allow_all);
	struct policy_decision d = ask(p, "{\"budget_left\":0}");

	(void)state;
	assert_int_equal(d.answer, POLICY_DENY);
	assert_true(d.recurring);
	assert_int_equal(ask(p, "{\"budget_left\":1}").answer, POLICY_ALLOW);
	d = ask(p, "{\"budget_left\":0,\"plan_kind\":\"rollback\"}");
	assert_int_equal(d.answer, POLICY_ALLOW);
	assert_false(d.recurring);
	assert_int_equal(ask(p, "{\"budget_left\":null}").answer, POLICY_ASK);
}

static void the_last_budget_that_fits_counts(void **state)
{
	AUTO(policy) struct policy *none = compile("version: 1\n");
	AUTO(policy)
	struct policy *p = compile("version: 1\nbudgets:\n"
				   "  - {limit: 5, window: 12h}\n"
				   "  - {tenant: 't-*', operation: 'k8s.*', limit: 1, window: 1d}\n"
				   "  - {tenant: t-9, limit: none}\n");

	(void)state;
	assert_int_equal(policy_budget(none, "x", "y").limit, 2);
	assert_int_equal(policy_budget(none, "x", "y").window_s, 86400);
	assert_int_equal(policy_budget(p, "x", "noop").limit, 5);
	assert_int_equal(policy_budget(p, "x", "noop").window_s, 12 * 3600);
	assert_int_equal(policy_budget(p, "t-1", "k8s.rollout").limit, 1);
	assert_int_equal(policy_budget(p, "t-9", "k8s.rollout").limit, -1);
	assert_int_equal(policy_budget_longest_s(p), 86400);
}

static void a_permit_is_given_to_tenants_by_name(void **state)
{
	AUTO(policy)
	struct policy *p = compile("version: 1\npermits: {script_body: [t-1], script_network: ['x-*']}\n"
				   "rules: [{id: all, answer: allow, when: always}]\n");

	(void)state;
	assert_true(policy_permits(p, "script_body", "t-1"));
	assert_false(policy_permits(p, "script_body", "t-11"));
	assert_false(policy_permits(p, "other", "t-1"));
	assert_int_equal(ask(p, "{\"script_body\":true}").answer, POLICY_ALLOW);
	assert_int_equal(ask(p, "{\"needs\":\"script_body\"}").answer, POLICY_ALLOW);
	assert_int_equal(ask(p, "{\"script_body\":true,\"tenant\":\"t-2\"}").answer, POLICY_DENY);
	assert_int_equal(ask(p, "{\"needs\":\"script_body script_network\"}").answer, POLICY_DENY);
	assert_int_equal(ask(p, "{\"needs\":null,\"script_body\":null}").answer, POLICY_ASK);
}

static bool frozen_at(const struct policy *p, const char *more, const char *at, bool *known)
{
	struct facts f = facts(more);
	int64_t us;

	assert_int_equal(clock_parse(at, &us), 0);
	policy_set_time(p, &f, us);
	if (known)
		*known = fact_known(&f, FACT_FROZEN);
	return fact_known(&f, FACT_FROZEN) && f.v[FACT_FROZEN].truth;
}

static void a_freeze_window_opens_and_closes_on_the_minute(void **state)
{
	AUTO(policy)
	struct policy *p =
		compile("version: 1\nfreeze:\n"
			"  - {name: xmas, from: '2026-12-20T00:00:00Z', to: '2027-01-04T06:00:00+01:00'}\n"
			"  - {name: friday, cron: '30-59 18-23 * * fri', except: [noop]}\n"
			"rules: [{id: all, answer: allow, when: always}]\n");

	(void)state;
	assert_false(frozen_at(p, "{}", "2026-12-19T23:59:59Z", NULL));
	assert_true(frozen_at(p, "{}", "2026-12-20T00:00:00Z", NULL));
	assert_true(frozen_at(p, "{}", "2027-01-04T04:59:59Z", NULL));
	assert_false(frozen_at(p, "{}", "2027-01-04T05:00:00Z", NULL));
	assert_true(frozen_at(p, "{\"action\":\"x\"}", "2026-03-06T18:30:00Z", NULL));
	assert_false(frozen_at(p, "{\"action\":\"x\"}", "2026-03-06T18:29:59Z", NULL));
	assert_false(frozen_at(p, "{\"action\":\"x\"}", "2026-03-06T19:29:59Z", NULL));
	assert_false(frozen_at(p, "{\"action\":\"x\"}", "2026-03-05T18:30:00Z", NULL));
	assert_false(frozen_at(p, "{\"action\":\"noop\"}", "2026-03-06T18:30:00Z", NULL));
	assert_int_equal(ask(p, "{\"frozen\":true}").answer, POLICY_DENY);
	assert_int_equal(ask(p, "{\"frozen\":true,\"plan_kind\":\"rollback\"}").answer, POLICY_ALLOW);
}

static void a_freeze_of_one_environment_is_unknown_where_the_environment_is(void **state)
{
	AUTO(policy)
	struct policy *p = compile(
		"version: 1\nfreeze_answer: ask\nfreeze: [{name: w, cron: '* * * * *', environments: [prod*]}]\n"
		"rules: [{id: all, answer: allow, when: always}]\n");
	bool known;

	(void)state;
	assert_true(frozen_at(p, "{\"environment\":\"production\"}", "2026-03-06T18:30:00Z", &known));
	assert_false(frozen_at(p, "{\"environment\":\"test\"}", "2026-03-06T18:30:00Z", &known));
	assert_true(known);
	frozen_at(p, "{}", "2026-03-06T18:30:00Z", &known);
	assert_false(known);
	assert_int_equal(ask(p, "{\"frozen\":true}").answer, POLICY_ASK);
}

static void hour_and_weekday_come_from_the_time_handed_in(void **state)
{
	static const struct {
		const char *at, *weekday;
		int hour;
	} rows[] = {
		{ "2026-03-02T00:00:00Z",      "mon", 0  },
                { "2026-03-01T23:59:59Z",      "sun", 23 },
		{ "2024-02-29T12:34:56Z",      "thu", 12 },
                { "1970-01-01T00:00:00Z",      "thu", 0  },
		{ "2100-03-01T01:00:00Z",      "mon", 1  },
                { "2026-11-21T10:00:00+02:00", "sat", 8  },
	};
	AUTO(policy) struct policy *p = compile("version: 1\n");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct facts f = { 0 };
		int64_t us;

		assert_int_equal(clock_parse(rows[i].at, &us), 0);
		policy_set_time(p, &f, us);
		assert_int_equal((int)f.v[FACT_HOUR].number, rows[i].hour);
		assert_string_equal(f.v[FACT_WEEKDAY].text, rows[i].weekday);
	}
}

/* ---- what would flip it ---- */

static void flips(const struct policy *p, const char *more, const char *sentence)
{
	struct facts f = facts(more);
	struct policy_decision d;
	AUTO(str) char *got = NULL;

	policy_ask(p, &f, &d);
	got = policy_nearest_flip(p, &f, 1, &d);
	if (*sentence ? !strstr(got, sentence) : *got)
		fail_msg("'%s' is not in '%s'", sentence, got);
}

static void the_nearest_flip_is_the_easiest_single_change(void **state)
{
	AUTO(policy)
	struct policy *p =
		compile("version: 1\nrules:\n"
			"  - {id: night, answer: deny, when: {hour: {lt: 6}}}\n"
			"  - {id: ok, answer: allow, when: {risk: {le: 0.3}, undo_plan: true, bound: true}}\n"
			"  - {id: two, answer: allow, when: {risk: {le: 0.3}, steps: {lt: 3}}}\n");

	(void)state;
	flips(p, "{\"risk\":0.2,\"undo_plan\":true,\"bound\":true,\"hour\":9}", "");
	flips(p, "{\"risk\":0.2,\"undo_plan\":false,\"bound\":true,\"hour\":9,\"steps\":9}",
	      "it would be allowed if undo_plan were true (it is false)");
	flips(p, "{\"risk\":0.2,\"undo_plan\":true,\"bound\":true,\"hour\":3,\"steps\":9}",
	      "it would be allowed if hour were 6 (it is 3)");
	flips(p, "{\"risk\":0.8,\"undo_plan\":true,\"bound\":true,\"hour\":9,\"steps\":9}",
	      "risk were 0.3 (it is 0.8)");
	flips(p, "{\"risk\":0.2,\"undo_plan\":true,\"bound\":true,\"hour\":9,\"frozen\":true,\"steps\":9}",
	      "frozen were false");
	flips(p, "{\"risk\":0.8,\"undo_plan\":false,\"bound\":true,\"hour\":9,\"steps\":9}",
	      "would allow it, were it not for: ");
}

/* ---- files ---- */

static void a_bad_file_is_refused_with_its_line(void **state)
{
	(void)state;
	refused("rules: []\n", "version: 1 is missing");
	refused("version: 2\n", "bad.yaml:1: version must be 1");
	refused("version: 1\nrulez: []\n", "bad.yaml:2: there is no 'rulez'");
	refused("version: 1\nrules:\n  - {id: a, when: always}\n", "the answer must be");
	refused("version: 1\nrules:\n  - {id: a, when: always, answer: maybe}\n",
		"bad.yaml:3: the answer must be");
	refused("version: 1\nrules:\n  - {id: a, answer: deny}\n", "says no when");
	refused("version: 1\nrules:\n  - {id: a, answer: deny, when: {}}\n", "a condition is");
	refused("version: 1\nrules:\n  - {id: a, answer: deny, when: {any: []}}\n", "not an empty one");
	refused("version: 1\nrules:\n  - id: a\n    answer: deny\n    when:\n      colour: red\n",
		"bad.yaml:6: there is no fact 'colour'");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {steps: many}}]\n",
		"fact 'steps' is a number");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {bound: 1}}]\n", "true or false");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {bound: [true]}}]\n", "true or false");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {severity: {gt: a}}}]\n", "it has no order");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {steps: {glob: '1*'}}}]\n",
		"glob needs a text");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {steps: {over: 1}}}]\n",
		"no comparison 'over'");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {steps: {}}}]\n", "compared with nothing");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {plan_kind: sideways}}]\n",
		"forward|rollback");
	refused("version: 1\nrules: [{id: a, answer: deny, when: {weekday: {in: [mon, someday]}}}]\n",
		"never 'someday'");
	refused("version: 1\nrules: [{id: 'a b', answer: deny, when: always}]\n", "needs an id");
	refused("version: 1\nrules: [{id: builtin.x, answer: deny, when: always}]\n", "builtin. is taken");
	refused("version: 1\nrules: [{id: a, answer: deny, when: always, expiry: 1h}]\n", "has no 'expiry'");
	refused("version: 1\nrules: [{id: a, answer: deny, when: always, expires: soon}]\n",
		"must be a time");
	refused("version: 1\nrules: [{id: a, answer: ask, when: always, approvers: {roles: [boss]}}]\n",
		"no such role");
	refused("version: 1\nrules: [{id: a, answer: ask, when: always, approvers: {count: 0}}]\n",
		"1 to 20");
	refused("version: 1\nrules: [{id: a, answer: deny, when: always, approvers: {count: 1}}]\n",
		"answer is ask");
	refused("version: 1\nrules:\n  - {id: a, answer: deny, when: always}\n  - {id: a, answer: allow, when: always}\n",
		"bad.yaml:4: there is a rule 'a' already, at bad.yaml:3");
	refused("version: 1\nrules: [{id: a, answer: deny, when: always, replaces: true}]\n",
		"replaces nothing");
	refused("version: 1\ndefault: {answer: allow}\n", "never allowed");
	refused("version: 1\nfreeze_answer: allow\n", "a freeze asks or denies");
	refused("version: 1\nself_approval: maybe\n", "deny or warn");
	refused("version: 1\nfreeze: [{name: w}]\n", "needs from and to, or cron");
	refused("version: 1\nfreeze: [{name: w, cron: '* * * *'}]\n", "five fields");
	refused("version: 1\nfreeze: [{name: w, cron: '* * * * * *'}]\n", "five fields");
	refused("version: 1\nfreeze: [{name: w, cron: '60 * * * *'}]\n", "five fields");
	refused("version: 1\nfreeze: [{name: w, from: yesterday, to: '2026-01-01T00:00:00Z'}]\n",
		"a time like");
	refused("version: 1\nfreeze: [{name: w, from: '2026-01-02T00:00:00Z', to: '2026-01-01T00:00:00Z'}]\n",
		"ends before it begins");
	refused("version: 1\nbudgets: [{limit: -1}]\n", "whole number");
	refused("version: 1\npermits: {script_body: t-1}\n", "list of texts");
	refused("version: 1\nkill_switch: {tenants: [1]}\n", "must be a text");
	refused("version: 1\nrules: [", "bad.yaml");
	refused("- a\n- b\n", "mapping");
	refused("", "bad.yaml");
}

static void conditions_nested_too_deep_are_refused(void **state)
{
	AUTO(text) struct text t = { 0 };

	(void)state;
	text_add(&t, "version: 1\nrules: [{id: a, answer: deny, when: ");
	for (int i = 0; i < 20; i++)
		text_add(&t, "{not: ");
	text_add(&t, "{steps: 1}");
	for (int i = 0; i < 20; i++)
		text_add(&t, "}");
	text_add(&t, "}]\n");
	refused(text_str(&t), "nested deeper");
}

static void a_later_file_may_put_its_rule_in_the_place_of_an_earlier_one(void **state)
{
	static const char first[] = "version: 1\nrules: [{id: a, answer: deny, when: always}]\n";
	static const char second[] =
		"version: 1\nrules: [{id: a, answer: allow, when: always, replaces: true}]\n";
	struct policy_source files[] = {
		{ "1.yaml", first,  strlen(first)  },
                { "2.yaml", second, strlen(second) }
	};
	AUTO(policy) struct policy *p = NULL;

	(void)state;
	assert_int_equal(policy_compile(files, 2, &p, NULL), OC_OK);
	assert_int_equal(policy_rule_count(p), 1);
	assert_int_equal(ask(p, "{}").answer, POLICY_ALLOW);
}

static void what_may_be_said_once_is_refused_in_a_second_file(void **state)
{
	static const char first[] = "version: 1\nself_approval: deny\n",
			  second[] = "version: 1\nself_approval: warn\n";
	struct policy_source files[] = {
		{ "1.yaml", first,  strlen(first)  },
                { "2.yaml", second, strlen(second) }
	};
	struct policy *p = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(policy_compile(files, 2, &p, &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "2.yaml:2"));
	assert_non_null(strstr(fail.text, "set in 1.yaml already"));
}

static void the_version_changes_with_the_meaning_and_not_with_the_layout(void **state)
{
	AUTO(policy) struct policy *a = compile("version: 1\nself_approval: deny\n");
	AUTO(policy) struct policy *b = compile("# a comment\nself_approval:    deny\nversion: 1\n");
	AUTO(policy) struct policy *c = compile("version: 1\nself_approval: warn\n");

	(void)state;
	assert_string_equal(policy_hash(a), policy_hash(b));
	assert_string_not_equal(policy_hash(a), policy_hash(c));
	assert_int_equal(strlen(policy_hash(a)), 64);
}

static void more_hits_than_are_kept_still_give_the_right_answer(void **state)
{
	AUTO(text) struct text t = { 0 };
	AUTO(policy) struct policy *p = NULL;
	struct policy_decision d;

	(void)state;
	text_add(&t, "version: 1\nrules:\n");
	for (int i = 0; i < 100; i++)
		text_addf(&t, "  - {id: r%d, answer: %s, when: {tenant: t-1}, reason: r%d}\n", i,
			  i == 99 ? "deny" : "ask", i);
	p = compile(text_str(&t));
	d = ask(p, "{}");
	assert_int_equal(d.answer, POLICY_DENY);
	assert_string_equal(d.reason, "r99");
	assert_int_equal(d.hits_count, 100);
	for (int i = 0; i < POLICY_HITS_MAX; i++)
		assert_int_equal(d.hits[i].order, i);
}

static void facts_go_to_json_and_back(void **state)
{
	struct facts f = facts("{\"risk\":0.25,\"bound\":false,\"environment\":null}"), back;
	AUTO(json) json_t *obj = NULL;

	(void)state;
	fact_number(&f, FACT_TIMES_FAILED, NAN);
	fact_number(&f, FACT_STEPS, INFINITY);
	obj = facts_json(&f);
	assert_int_equal(facts_read(obj, &back, NULL), OC_OK);
	assert_false(fact_known(&back, FACT_ENVIRONMENT));
	assert_false(fact_known(&back, FACT_TIMES_FAILED));
	assert_true(back.v[FACT_STEPS].number >= 1e15);
	assert_true(back.v[FACT_RISK].number == 0.25);
	assert_false(back.v[FACT_BOUND].truth);
	assert_int_equal(back.known, f.known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_comparison_holds_and_fails_where_it_should),
		cmocka_unit_test(what_is_not_known_satisfies_no_rule_that_allows),
		cmocka_unit_test(an_unknown_beside_a_sure_truth_does_not_matter),
		cmocka_unit_test(a_rule_that_would_deny_and_cannot_know_asks),
		cmocka_unit_test(a_rule_that_would_ask_and_cannot_know_asks),
		cmocka_unit_test(exists_lets_a_rule_that_asks_leave_the_unknown_alone),
		cmocka_unit_test(deny_beats_ask_beats_allow_in_any_order),
		cmocka_unit_test(rules_that_ask_add_up_to_the_strictest_terms),
		cmocka_unit_test(no_rule_asks_unless_the_default_denies),
		cmocka_unit_test(the_strictest_step_decides_for_the_plan),
		cmocka_unit_test(stricter_means_a_harder_answer_more_people_or_fewer_roles),
		cmocka_unit_test(the_kill_switch_bars_everything_rollbacks_too),
		cmocka_unit_test(the_budget_bars_repairs_and_not_the_way_back),
		cmocka_unit_test(the_last_budget_that_fits_counts),
		cmocka_unit_test(a_permit_is_given_to_tenants_by_name),
		cmocka_unit_test(a_freeze_window_opens_and_closes_on_the_minute),
		cmocka_unit_test(a_freeze_of_one_environment_is_unknown_where_the_environment_is),
		cmocka_unit_test(hour_and_weekday_come_from_the_time_handed_in),
		cmocka_unit_test(the_nearest_flip_is_the_easiest_single_change),
		cmocka_unit_test(a_bad_file_is_refused_with_its_line),
		cmocka_unit_test(conditions_nested_too_deep_are_refused),
		cmocka_unit_test(a_later_file_may_put_its_rule_in_the_place_of_an_earlier_one),
		cmocka_unit_test(what_may_be_said_once_is_refused_in_a_second_file),
		cmocka_unit_test(the_version_changes_with_the_meaning_and_not_with_the_layout),
		cmocka_unit_test(more_hits_than_are_kept_still_give_the_right_answer),
		cmocka_unit_test(facts_go_to_json_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
