#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "planner/template.h"
#include "tests/support/operations.h"

static struct operation_list ops;
static struct plan_contract *contract;

static int set_up(void **state)
{
	struct oc_fail fail = { 0 };

	(void)state;
	support_operations(&ops);
	if (plan_contract_new(&ops, &contract, &fail) == OC_OK)
		return 0;
	print_error("%s\n", fail.text);
	return -1;
}

static int tear_down(void **state)
{
	(void)state;
	plan_contract_free(contract);
	operation_list_done(&ops);
	return 0;
}

static json_t *doc(const char *text)
{
	AUTO(str) char *s = mem_strdup(text);
	json_t *v;

	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	v = json_loads(s, 0, NULL);
	if (!v)
		fail_msg("not JSON: %s", s);
	return v;
}

#define HEAD "name: a\ntitle: A\n"
#define PLAN                                                                                                        \
	"plan:\n  title: x\n  steps:\n    - {action: noop, params: {changed: \"${n}\"}, timeout_s: 10, retry: 0}\n" \
	"  rollback: {}\n  verify: {checks: [{kind: probe, step: 0}]}\n"
#define N "params:\n  n: {type: int, help: h, example: 1}\n"

static struct runbook *read_ok(const char *text)
{
	struct runbook *rb = NULL;
	struct oc_fail fail = { 0 };

	if (runbook_read("a.yaml", text, strlen(text), NULL, &rb, NULL, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return rb;
}

/* With this text for the plan's title and these params. */
static struct runbook *with_title(const char *title, const char *params)
{
	AUTO(str)
	char *text = mem_printf(HEAD
				"params:\n%splan:\n  title: %s\n  steps: []\n  rollback: {}\n  verify: {}\n",
				params, title);

	return read_ok(text);
}

static void refused(const char *text, const char *want)
{
	AUTO(runbook_findings) struct runbook_findings f = { 0 };
	struct runbook *rb = NULL;
	struct oc_fail fail = { 0 };

	assert_int_equal(runbook_read("a.yaml", text, strlen(text), contract, &rb, &f, &fail), OC_INVALID);
	assert_null(rb);
	assert_true(f.count > 0);
	if (!strstr(text_str(&f.lines), want))
		fail_msg("'%s' is not in '%s'", want, text_str(&f.lines));
	assert_true(str_starts(fail.text, "a.yaml:"));
}

static json_t *fill_ok(const struct runbook *rb, const struct case_facts *facts)
{
	struct oc_fail fail = { 0 };
	json_t *plan = NULL;

	if (runbook_fill(rb, facts, &plan, NULL, NULL, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	return plan;
}

/* --- filling */

static void a_whole_blank_keeps_the_type_and_a_longer_text_prints_it(void **state)
{
	AUTO(runbook)
	struct runbook *rb = read_ok(
		HEAD
		"params:\n"
		"  i: {type: int, help: h, default: 3}\n  f: {type: number, help: h, default: 0.5}\n"
		"  b: {type: bool, help: h, default: true}\n  s: {type: string, help: h, default: \"7\"}\n"
		"plan:\n  title: \"${i} ${f} ${b} ${s} $${s} $\"\n  steps: [\"${i}\", \"${f}\", \"${b}\", \"${s}\", {k: [\"x${i}\"]}]\n"
		"  rollback: {}\n  verify: {}\n");
	AUTO(json) json_t *plan = fill_ok(rb, &(struct case_facts){ 0 });
	AUTO(json)
	json_t *want = doc(
		"{'title':'3 0.5 true 7 ${s} $','steps':[3,0.5,true,'7',{'k':['x3']}],'rollback':{},'verify':{}}");

	(void)state;
	if (!json_equal(plan, want))
		fail_msg("%s", json_text(plan));
}

/* Each source alone is found, and each one hides those after it. */
static void values_come_in_the_order_that_is_promised(void **state)
{
	AUTO(runbook)
	struct runbook *rb = with_title(
		"\"${p}\"",
		"  p: {type: string, help: h, default: the-default, from: [evidence.metric.name, finding.cause, labels.app, params.other, "
		"case.title]}\n");
	AUTO(json)
	json_t *asked = doc("{'p':'asked'}"), *labels = doc("{'app':'label'}"),
	       *params = doc("{'other':'param'}"),
	       *evidence = doc(
		       "[{'kind':'log','name':'no'},{'kind':'metric'},{'kind':'metric','name':'evidence'}]"),
	       *finding = doc("{'values':{'cause':'finding'}}"), *tenant = doc("{'p':'tenant'}");
	struct case_facts f = { .asked = asked,
				.labels = labels,
				.params = params,
				.title = "title",
				.evidence = evidence,
				.finding = finding,
				.tenant_defaults = tenant };
	static const char *const want[] = { "asked",    "label",   "param",  "title",
					    "evidence", "finding", "tenant", "the-default" };
	static const char *const from[] = {
		"request",       "labels.app", "params.other", "case.title", "evidence.metric.name",
		"finding.cause", "tenant",     "default"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		AUTO(json) json_t *plan = NULL, *filled = NULL;

		assert_int_equal(runbook_fill(rb, &f, &plan, &filled, NULL, NULL), OC_OK);
		assert_string_equal(json_str(plan, "title"), want[i]);
		assert_string_equal(json_str(json_object_get(filled, "p"), "from"), from[i]);
		switch (i) { /* take the winner away */
		case 0:
			f.asked = NULL;
			break;
		case 1:
			f.labels = NULL;
			break;
		case 2:
			f.params = NULL;
			break;
		case 3:
			f.title = NULL;
			break;
		case 4:
			f.evidence = NULL;
			break;
		case 5:
			f.finding = NULL;
			break;
		case 6:
			f.tenant_defaults = NULL;
			break;
		}
	}
}

static void without_from_the_cases_params_and_labels_of_that_name_count(void **state)
{
	AUTO(runbook)
	struct runbook *rb = with_title("\"${p}\"", "  p: {type: string, help: h, example: e}\n");
	AUTO(json)
	json_t *labels = doc("{'p':'label'}"), *params = doc("{'p':'param'}"), *null = doc("{'p':null}");
	AUTO(json) json_t *a = fill_ok(rb, &(struct case_facts){ .labels = labels, .params = params });
	AUTO(json)
	json_t *b = fill_ok(rb, &(struct case_facts){ .labels = labels, .params = null, .asked = null });

	(void)state;
	assert_string_equal(json_str(a, "title"), "param");
	assert_string_equal(json_str(b, "title"), "label");
}

static void every_missing_parameter_is_named(void **state)
{
	AUTO(runbook)
	struct runbook *rb = with_title(
		"\"${image} ${ns} ${n}\"",
		"  image: {type: string, help: the image, example: e, from: [labels.image]}\n  ns: {type: string, help: h, example: e}\n"
		"  n: {type: int, help: h, default: 1}\n");
	AUTO(json) json_t *missing = NULL, *asked = doc("{'imgae':'x','n':'many'}");
	struct oc_fail fail = { 0 };
	json_t *plan = NULL;

	(void)state;
	assert_int_equal(runbook_fill(rb, &(struct case_facts){ .asked = asked }, &plan, NULL, &missing,
				      &fail),
			 OC_INVALID);
	assert_null(plan);
	assert_int_equal(json_array_size(missing), 4);
	assert_string_equal(json_str(json_array_get(missing, 0), "param"), "imgae");
	assert_non_null(strstr(fail.text, "imgae: the runbook 'a' has no parameter 'imgae'"));
	assert_non_null(strstr(fail.text, "image: no value was given or found"));
	assert_non_null(strstr(fail.text, "ns: no value"));
	assert_non_null(strstr(fail.text, "n: the value from request must be a whole number"));
	assert_string_equal(json_string_value(
				    json_array_get(json_object_get(json_array_get(missing, 1), "from"), 0)),
			    "labels.image");
}

static void a_value_is_held_against_its_type(void **state)
{
	static const struct {
		const char *param, *value;
		bool ok;
	} cases[] = {
		{ "{type: int, min: 1, max: 5, help: h, example: 1}",         "3",              true  },
		{ "{type: int, min: 1, max: 5, help: h, example: 1}",         "'3'",            true  },
		{ "{type: int, min: 1, max: 5, help: h, example: 1}",         "0",              false },
		{ "{type: int, min: 1, max: 5, help: h, example: 1}",         "6",              false },
		{ "{type: int, help: h, example: 1}",                         "1.5",            false },
		{ "{type: int, help: h, example: 1}",                         "'1x'",           false },
		{ "{type: int, help: h, example: 1}",                         "''",             false },
		{ "{type: int, help: h, example: 1}",                         "true",           false },
		{ "{type: int, help: h, example: 1}",                         "[1]",            false },
		{ "{type: number, help: h, example: 1}",                      "1.5",            true  },
		{ "{type: number, help: h, example: 1}",                      "'0.25'",         true  },
		{ "{type: number, help: h, example: 1}",                      "'nan'",          false },
		{ "{type: number, help: h, example: 1}",                      "'1e999'",        false },
		{ "{type: number, help: h, example: 1}",                      "'0x10'",         false },
		{ "{type: bool, help: h, example: true}",                     "false",          true  },
		{ "{type: bool, help: h, example: true}",                     "'true'",         true  },
		{ "{type: bool, help: h, example: true}",                     "1",              false },
		{ "{type: bool, help: h, example: true}",                     "'yes'",          false },
		{ "{type: enum, values: [a, b], help: h, example: a}",        "'b'",            true  },
		{ "{type: enum, values: [a, b], help: h, example: a}",        "'c'",            false },
		{ "{type: urn, help: h, example: \"urn:host:a\"}",            "'urn:host:b'",   true  },
		{ "{type: urn, help: h, example: \"urn:host:a\"}",            "'host b'",       false },
		{ "{type: urn, help: h, example: \"urn:host:a\"}",            "'urn:host:b c'", false },
		{ "{type: string, help: h, example: a}",                      "7",              false },
		{ "{type: string, help: h, example: a}",                      "{}",             false },
		{ "{type: string, help: h, example: a}",                      "''",             false },
		{ "{type: string, min: 0, help: h, example: a}",              "''",             true  },
		{ "{type: string, max: 3, help: h, example: a}",              "'abcd'",         false },
		{ "{type: string, pattern: \"[a-z]+\", help: h, example: a}", "'abc'",          true  },
		{ "{type: string, pattern: \"[a-z]+\", help: h, example: a}", "'ab1'",          false },
		{ "{type: string, pattern: \"a|b\", help: h, example: a}",    "'ax'",           false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(str) char *params = mem_printf("  p: %s\n", cases[i].param);
		AUTO(runbook) struct runbook *rb = with_title("\"${p}\"", params);
		AUTO(str) char *asked_text = mem_printf("{'p':%s}", cases[i].value);
		AUTO(json) json_t *asked = doc(asked_text);
		AUTO(json) json_t *plan = NULL;

		if ((runbook_fill(rb, &(struct case_facts){ .asked = asked }, &plan, NULL, NULL, NULL) ==
		     OC_OK) != cases[i].ok)
			fail_msg("%s with %s", cases[i].param, cases[i].value);
	}
}

static void a_field_without_a_value_is_left_out(void **state)
{
	AUTO(runbook)
	struct runbook *rb = read_ok(
		HEAD
		"params:\n  p: {type: string, required: false, help: h, example: e}\nplan:\n  title: x\n"
		"  steps: [{a: 1, b: \"${p}\"}, \"${p}\", {only: \"${p}\"}, {}]\n  rollback: {}\n  verify: {}\n");
	AUTO(json) json_t *plan = fill_ok(rb, &(struct case_facts){ 0 });
	AUTO(json) json_t *want = doc("{'title':'x','steps':[{'a':1},{}],'rollback':{},'verify':{}}");

	(void)state;
	if (!json_equal(plan, want))
		fail_msg("%s", json_text(plan));
}

/* A value is a value: it cannot become structure, another blank, or a key. */
static void a_hostile_value_stays_a_value(void **state)
{
	AUTO(runbook)
	struct runbook *rb = with_title("\"<${p}>\"", "  p: {type: string, help: h, example: e}\n");
	AUTO(json) json_t *asked = json_pack("{s:s}", "p", "${p}\", \"steps\": [] $${p} %s\n");
	AUTO(json) json_t *plan = fill_ok(rb, &(struct case_facts){ .asked = asked });

	(void)state;
	assert_true(str_starts(json_str(plan, "title"), "<${p}\", \"steps\": [] "));
	assert_int_equal(json_array_size(json_object_get(plan, "steps")), 0);
}

static void a_label_may_have_dots(void **state)
{
	AUTO(runbook)
	struct runbook *rb = with_title(
		"\"${p}\"",
		"  p: {type: string, help: h, example: e, from: [labels.app.kubernetes.io/name]}\n");
	AUTO(json) json_t *labels = doc("{'app.kubernetes.io/name':'cart'}");
	AUTO(json) json_t *plan = fill_ok(rb, &(struct case_facts){ .labels = labels });

	(void)state;
	assert_string_equal(json_str(plan, "title"), "cart");
}

/* --- choosing */

#define MATCH(name, match)                                             \
	{ name ".yaml",                                                \
	  "name: " name "\ntitle: T\nmatch: " match                    \
	  "\nplan: {title: x, steps: [], rollback: {}, verify: {}}\n", \
	  0 }

static const char *chosen(const char *labels_text, const char *severity, const char *evidence_text)
{
	static struct runbook_text texts[] = {
		MATCH("any-k8s", "{labels: {platform: k8s}}"),
		MATCH("glob-ns", "{labels: {platform: k8s, ns: \"sh*\"}}"),
		MATCH("exact-ns", "{labels: {platform: k8s, ns: shop}}"),
		MATCH("fatal", "{severity: [FATAL, \"ERR*\"], labels: {db: \"*\"}}"),
		MATCH("kind", "{kind: [leak, hang]}"),
		MATCH("same-b", "{labels: {twin: \"*\"}}"),
		MATCH("same-a", "{labels: {twin: \"*\"}}"),
	};
	static char name[64];
	AUTO(runbook_set) struct runbook_set *set = NULL;
	AUTO(json) json_t *labels = doc(labels_text), *evidence = doc(evidence_text);
	struct case_facts f = { .labels = labels, .severity = severity, .evidence = evidence };
	const struct runbook *rb;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		texts[i].len = strlen(texts[i].text);
	assert_int_equal(runbook_set_read(texts, ARRAY_LEN(texts), NULL, &set, NULL, NULL), OC_OK);
	rb = runbook_match(set, &f);
	snprintf(name, sizeof(name), "%s", rb ? runbook_name(rb) : "(none)");
	return name;
}

static void the_best_match_is_chosen(void **state)
{
	(void)state;
	assert_string_equal(chosen("{'platform':'k8s'}", "ERROR", "[]"), "any-k8s");
	assert_string_equal(chosen("{'platform':'k8s','ns':'ship'}", "ERROR", "[]"), "glob-ns");
	assert_string_equal(chosen("{'platform':'k8s','ns':'shop'}", "ERROR", "[]"), "exact-ns");
	assert_string_equal(chosen("{'platform':'host'}", "ERROR", "[]"), "(none)");
	assert_string_equal(chosen("{}", NULL, "[]"), "(none)");
	assert_string_equal(chosen("{'db':'x'}", "ERROR", "[]"), "fatal");
	assert_string_equal(chosen("{'db':'x'}", "WARN", "[]"), "(none)");
	assert_string_equal(chosen("{}", "WARN", "[{'kind':'metric'},{'kind':'leak'}]"), "kind");
	assert_string_equal(chosen("{'kind':'hang'}", "WARN", "[]"), "kind");
	assert_string_equal(chosen("{'twin':1}", "WARN", "[]"), "same-a");
}

/* --- lint */

static void what_is_wrong_with_a_runbook_is_said_with_its_line(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "",																		   "a.yaml:1:"							 },
		{ "name: a\ntitle: [\n",																"a.yaml:"							   },
		{ "[]",																		 "a.yaml:1:"							 },
		{ "name: a\nplan: {title: x, steps: [], rollback: {}, verify: {}}\n",                                                                                   "title"                                                             },
		{ "name: A B\ntitle: A\n" PLAN N,														       "a.yaml:1: /name"                                                   },
		{ HEAD "extra: 1\n" PLAN N,															     "extra"							     },
		{ HEAD "match: {}\n" PLAN N,															    "a.yaml:3: /match"                                                  },
		{ HEAD PLAN "params:\n  n: {type: int, example: 1}\n",												  "help"                                                              },
		{ HEAD PLAN "params:\n  n: {type: integer, help: h, example: 1}\n",
                 "a.yaml:10: /params/n/type"																								},
		{ HEAD PLAN "params:\n  n: {type: int, help: h}\n",
                 "a.yaml:10: /params/n: needs an example"																						   },
		{ HEAD PLAN "params:\n  n: {type: int, help: h, example: x}\n",
                 "a.yaml:10: /params/n/example: the example must be a whole number"																			 },
		{ HEAD PLAN "params:\n  n: {type: int, help: h, default: 9, max: 5}\n",
                 "the default is 9, and must be at most 5"																						  },
		{ HEAD PLAN "params:\n  n: {type: int, help: h, example: 1, min: 3, max: 2}\n",
                 "min 3 is greater"																									 },
		{ HEAD PLAN "params:\n  n: {type: int, help: h, example: 1, pattern: x}\n",
                 "only a string or a urn has a pattern"																						     },
		{ HEAD PLAN
		  "params:\n  n: {type: int, help: h, example: 1}\n  s: {type: string, help: h, example: a, pattern: \"(\"}\n",
                 "not a POSIX extended expression"																							  },
		{ HEAD PLAN "params:\n  n: {type: enum, help: h, example: 1}\n",											"an enum needs values"                                              },
		{ HEAD PLAN "params:\n  n: {type: int, help: h, example: 1, values: [a]}\n",
                 "only an enum has values"																								  },
		{ HEAD PLAN "params:\n  n: {type: int, help: h, example: 1, from: [tenant.x]}\n",
                 "/params/n/from/0"																									 },
		{ HEAD PLAN,																	    "a.yaml:6: /plan/steps/0/params/changed: '${n}' is not a parameter" },
		{ HEAD PLAN N "  m: {type: int, help: h, example: 1}\n",
                 "/params/m: nothing in the plan uses it"																						   },
		{ HEAD N "plan: {title: \"${n\", steps: [], rollback: {}, verify: {}}\n",                                                                               "not closed"                                                        },
		{ HEAD N "plan: {title: \"x ${n}\", steps: [{\"${n}\": 1}], rollback: {}, verify: {}}\n",
                 "a key cannot be a blank"																								  },
		{ HEAD
		  "params:\n  n: {type: int, required: false, help: h, example: 1}\nplan: {title: \"x ${n}\", steps: [], rollback: {}, verify: {}}\n",
                 "cannot stand inside a longer text"																							},
		{ HEAD N
		  "plan:\n  title: x\n  steps:\n    - {action: nop, params: {changed: \"${n}\"}, timeout_s: 10, retry: 0}\n  rollback: {}\n"
		  "  verify: {checks: [{kind: probe, step: 0}]}\n",										    "a.yaml:8: /plan/steps/0/action: 'nop' is not an operation"         },
		{ HEAD N
		  "plan:\n  title: x\n  steps:\n    - action: noop\n      params: {changed: \"${n}\"}\n      timeout_s: 5\n      retry: 0\n"
		  "  rollback: {}\n  verify: {checks: [{kind: probe, step: 0}]}\n",								    "a.yaml:10: /plan/steps/0/timeout_s"                                },
		{ HEAD
		  "params:\n  n: {type: string, help: h, example: a}\nplan:\n  title: x\n  steps:\n    - action: script.exec\n      params: {script: "
		  "\"rm ${n}\", undo: {argv: [\"true\"]}}\n      timeout_s: 10\n      retry: 0\n  rollback: {}\n"
		  "  verify: {checks: [{kind: probe, step: 0}]}\n",										    "would be read as code"					     },
		{ HEAD "params: &p\n  n: {type: int, help: h, example: 1}\n" PLAN,										      "a.yaml:3: anchors"                                                 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		refused(cases[i].text, cases[i].want);
}

static void one_bad_file_makes_no_set_and_all_findings_are_told(void **state)
{
	struct runbook_text texts[] = {
		{ "one.yaml",   "name: 1 2\ntitle: x\n" PLAN N, 0 },
		{ "two.yaml",   HEAD PLAN N,                    0 },
		{ "three.yaml", HEAD PLAN N,                    0 }
	};
	AUTO(runbook_findings) struct runbook_findings f = { 0 };
	struct runbook_set *set = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		texts[i].len = strlen(texts[i].text);
	assert_int_equal(runbook_set_read(texts, ARRAY_LEN(texts), NULL, &set, &f, &fail), OC_INVALID);
	assert_null(set);
	assert_true(str_starts(fail.text, "one.yaml:1: "));
	assert_non_null(strstr(text_str(&f.lines),
			       "three.yaml:1: /name: there is a runbook 'a' already, in two.yaml"));
	assert_int_equal(f.count, 2);
}

static void a_folder_without_runbooks_is_more_likely_a_wrong_path(void **state)
{
	AUTO(runbook_set) struct runbook_set *set = NULL;
	char dir[] = "/tmp/opscase-runbooks-XXXXXX";
	struct oc_fail fail = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(runbook_set_load(dir, NULL, &set, NULL, &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "no *.yaml"));
	rmdir(dir);
	assert_int_equal(runbook_set_load(dir, NULL, &set, NULL, &fail), OC_NOT_FOUND);
}

static void hostile_files_are_findings_and_not_crashes(void **state)
{
	AUTO(text) struct text deep = { 0 }, wide = { 0 };

	(void)state;
	text_add(&deep, HEAD "plan: ");
	for (int i = 0; i < 5000; i++)
		text_add(&deep, "{a: ");
	refused(text_str(&deep), "deeper");
	text_add(&wide, HEAD "params:\n");
	for (int i = 0; i < 100; i++)
		text_addf(&wide, "  p%d: {type: int, help: h, example: 1}\n", i);
	text_add(&wide, PLAN);
	refused(text_str(&wide), "/params");
	refused("name: 7\ntitle: {}\nmatch: 7\nparams: [1]\nplan: x\n", "a.yaml:");
	refused(HEAD "params: {n: 7}\nplan: {title: 1, steps: 2, rollback: 3, verify: 4}\n", "/params/n");
	/* the runbook's form allows it, the plan's lint does not */
	refused(HEAD "plan: {title: 1, steps: [7, [], {action: {}}], rollback: 3, verify: [1]}\n",
		"/plan/steps/0");
}

/* --- the shipped ones */

static void every_shipped_runbook_is_clean_against_the_real_manifests(void **state)
{
	AUTO(runbook_findings) struct runbook_findings f = { 0 };
	struct oc_fail fail = { 0 };

	(void)state;
	if (runbook_lint(OPSCASE_SOURCE_DIR "/runbooks", contract, &f, &fail) != OC_OK)
		fail_msg("%s", text_str(&f.lines));
}

static void shipped_runbooks_fill_from_what_a_case_knows(void **state)
{
	static const struct {
		const char *name, *labels, *asked, *tenant, *evidence, *title;
	} cases[] = {
		{ "noop",                 "{'drill':'x'}",						  "{}",                 "{}", "[]",											    "Do nothing"                                 },
		{ "gateway.flip",
                 "{'gateway':'edge','upstream':'shop','standby':'10.0.0.2:80','resource':'urn:svc:shop'}",  "{}",                 "{}", "[]",											    "Flip shop on edge to 10.0.0.2:80"           },
		{ "k8s.rollout.canary",   "{'namespace':'shop','service':'cart'}",                          "{'image':'cart:2'}",
                 "{'container':'app'}",												 "[{'kind':'metric','resource':'urn:k8s:svc:shop/cart','metric':'http.p95_ms','threshold':250}]",
                 "Roll cart:2 out to shop/cart by a canary"																											   },
		{ "k8s.rollout.undo",
                 "{'namespace':'shop','service':'cart','platform':'k8s','kind':'bad_release'}",             "{}",                 "{}",
                 "[{'kind':'metric','resource':'urn:k8s:svc:shop/cart','metric':'http.p95_ms'}]",																	"Take shop/cart back to an earlier revision" },
		{ "service.restart",      "{'namespace':'shop','service':'cart','resource':'urn:x:y'}",
                 "{'kind':'statefulset'}",											"{}", "[]",											    "Restart shop/cart"                          },
		{ "service.restart.host", "{'service':'nginx','host':'web-1','resource':'urn:host:web-1'}",
                 "{}",													    "{}", "[]",											    "Restart nginx on web-1"                     },
		{ "script.exec",          "{}",
                 "{'program':'/bin/true','undo_program':'/bin/true','check_program':'/bin/true','arg1':'a b;c'}",
                 "{}",														  "[]",											    "Run /bin/true on localhost"                 },
	};
	AUTO(runbook_set) struct runbook_set *set = NULL;

	(void)state;
	assert_int_equal(runbook_set_builtin(contract, &set, NULL, NULL), OC_OK);
	assert_int_equal(runbook_count(set), ARRAY_LEN(cases));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(json)
		json_t *labels = doc(cases[i].labels), *asked = doc(cases[i].asked),
		       *tenant = doc(cases[i].tenant), *evidence = doc(cases[i].evidence);
		struct case_facts facts = { .labels = labels,
					    .asked = asked,
					    .tenant_defaults = tenant,
					    .evidence = evidence,
					    .title = "p95 spike",
					    .severity = "ERROR" };
		const struct runbook *rb = runbook_find(set, cases[i].name);
		AUTO(json) json_t *plan = NULL;
		AUTO(plan) struct plan *parsed = NULL;
		struct plan_findings f;
		struct oc_fail fail = { 0 };

		assert_non_null(rb);
		if (runbook_fill(rb, &facts, &plan, NULL, NULL, &fail) != OC_OK)
			fail_msg("%s: %s", cases[i].name, fail.text);
		if (plan_lint(contract, plan, NULL, &f, &fail) != OC_OK)
			fail_msg("%s: %s", cases[i].name, fail.text);
		assert_string_equal(json_str(plan, "title"), cases[i].title);
		assert_int_equal(plan_parse(plan, &parsed, NULL), OC_OK);
	}
}

static void the_canary_is_measured_between_its_steps(void **state)
{
	AUTO(runbook_set) struct runbook_set *set = NULL;
	const json_t *plan;

	(void)state;
	assert_int_equal(runbook_set_builtin(contract, &set, NULL, NULL), OC_OK);
	plan = json_object_get(runbook_json(runbook_find(set, "k8s.rollout.canary")), "plan");
	assert_string_equal(json_str(json_at(plan, "/steps/1/params"), "action"), "weight");
	assert_string_equal(json_str(json_at(plan, "/steps/1/verify/checks/0"), "kind"), "metric");
	assert_string_equal(json_str(json_at(plan, "/steps/2/params"), "action"), "promote");
}

/* docs/runbooks.md is printed, so it cannot say something else. OPSCASE_UPDATE=1 writes it. */
static void the_printed_reference_is_the_page_in_docs(void **state)
{
	static const char path[] = OPSCASE_SOURCE_DIR "/docs/runbooks.md";
	AUTO(runbook_set) struct runbook_set *set = NULL;
	AUTO(text) struct text t = { 0 };
	AUTO(str) char *page = NULL;

	(void)state;
	assert_int_equal(runbook_set_builtin(contract, &set, NULL, NULL), OC_OK);
	runbook_print_reference(set, &t);
	if (getenv("OPSCASE_UPDATE")) {
		AUTO(file) FILE *f = fopen(path, "we");

		assert_non_null(f);
		fputs(text_str(&t), f);
	}
	page = support_read_file(path);
	assert_non_null(page);
	assert_string_equal(text_str(&t), page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_blank_keeps_the_type_and_a_longer_text_prints_it),
		cmocka_unit_test(values_come_in_the_order_that_is_promised),
		cmocka_unit_test(without_from_the_cases_params_and_labels_of_that_name_count),
		cmocka_unit_test(every_missing_parameter_is_named),
		cmocka_unit_test(a_value_is_held_against_its_type),
		cmocka_unit_test(a_field_without_a_value_is_left_out),
		cmocka_unit_test(a_hostile_value_stays_a_value),
		cmocka_unit_test(a_label_may_have_dots),
		cmocka_unit_test(the_best_match_is_chosen),
		cmocka_unit_test(what_is_wrong_with_a_runbook_is_said_with_its_line),
		cmocka_unit_test(one_bad_file_makes_no_set_and_all_findings_are_told),
		cmocka_unit_test(a_folder_without_runbooks_is_more_likely_a_wrong_path),
		cmocka_unit_test(hostile_files_are_findings_and_not_crashes),
		cmocka_unit_test(every_shipped_runbook_is_clean_against_the_real_manifests),
		cmocka_unit_test(shipped_runbooks_fill_from_what_a_case_knows),
		cmocka_unit_test(the_canary_is_measured_between_its_steps),
		cmocka_unit_test(the_printed_reference_is_the_page_in_docs),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
