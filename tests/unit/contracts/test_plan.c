#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "contracts/plan.h"
#include "tests/support/operations.h"

/* Operations of every sort, so that a test says what it is about and not how an adapter happens to be. */
static const char manifest[] =
	"{\"name\":\"t\",\"version\":\"1\",\"operations\":["
	"{\"name\":\"t.change\",\"summary\":\"reversible\",\"params\":{\"type\":\"object\",\"additionalProperties\":false,"
	"\"required\":[\"image\"],\"properties\":{\"image\":{\"$ref\":\"#/$defs/image\"}},\"$defs\":{\"image\":{\"type\":"
	"\"string\",\"minLength\":1}}},\"reversible\":true,\"repeatable\":false,\"blast\":\"service\",\"timeout_s\":{"
	"\"default\":60,\"max\":600},\"binding\":[\"image\"]},"
	"{\"name\":\"t.run\",\"summary\":\"reversible when it says how\",\"params\":{\"type\":\"object\"},\"reversible\":true,"
	"\"reversible_when\":\"/undo\",\"blast\":\"host\",\"timeout_s\":{\"default\":60,\"max\":600},\"binding\":[\"x\"]},"
	"{\"name\":\"t.send\",\"summary\":\"not reversible\",\"params\":{\"type\":\"object\",\"properties\":{\"script\":{\"type\":"
	"\"string\"}}},\"reversible\":false,\"repeatable\":false,\"blast\":\"host\",\"timeout_s\":{\"default\":60,\"max\":600},"
	"\"binding\":[],\"needs\":[{\"name\":\"script_body\",\"when\":\"/script\"}]},"
	"{\"name\":\"t.look\",\"summary\":\"changes nothing\",\"params\":{\"type\":\"object\"},\"reversible\":false,\"repeatable\":"
	"true,\"blast\":\"none\",\"timeout_s\":{\"default\":60,\"max\":600},\"binding\":[]}]}";

struct setup {
	struct operation_list ops;
	struct plan_contract *contract;
};

static int set_up(void **state)
{
	struct setup *s = mem_alloc(sizeof(*s));
	struct oc_fail fail = { 0 };

	support_add_manifest(&s->ops, manifest);
	if (plan_contract_new(&s->ops, &s->contract, &fail) != OC_OK) {
		print_error("%s\n", fail.text);
		return -1;
	}
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct setup *s = *state;

	plan_contract_free(s->contract);
	operation_list_done(&s->ops);
	free(s);
	return 0;
}

static json_t *doc(const char *fmt, ...) PRINTF_LIKE(1, 2);
static json_t *doc(const char *fmt, ...)
{
	AUTO(str) char *text = NULL;
	json_error_t e;
	json_t *v;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	v = json_loads(text, 0, &e);
	if (!v)
		fail_msg("%s in %s", e.text, text);
	return v;
}

#define VERIFY      "'verify':{'checks':[{'kind':'http','url':'http://x/'}]}"
#define CHANGE      "{'action':'t.change','params':{'image':'a:2'},'timeout_s':60,'retry':1}"
#define PLAN(steps) "{'title':'x','steps':[" steps "],'rollback':{}," VERIFY "}"
#define CHECKED(c)  "{'title':'x','steps':[" CHANGE "],'rollback':{},'verify':{'checks':[" c "]}}"

static struct plan_findings lint_with(struct setup *s, const struct plan_lint_options *o, const char *text)
{
	AUTO(json) json_t *plan = doc("%s", text);
	struct plan_findings f;
	struct oc_fail fail = { 0 };
	enum oc_err err = plan_lint(s->contract, plan, o, &f, &fail);

	assert_int_equal(err, f.count ? OC_INVALID : OC_OK);
	if (f.count)
		assert_string_equal(fail.field, f.item[0].pointer);
	return f;
}

static void clean(struct setup *s, const char *text)
{
	struct plan_findings f = lint_with(s, NULL, text);

	if (f.count)
		fail_msg("%s %s: %s", f.item[0].pointer, f.item[0].keyword, f.item[0].text);
}

/* The plan has this finding; returns its sentence. */
static const char *has(const struct plan_findings *f, const char *pointer, const char *keyword)
{
	for (size_t i = 0; i < f->count && i < PLAN_FINDINGS_MAX; i++)
		if (str_eq(f->item[i].pointer, pointer) && str_eq(f->item[i].keyword, keyword))
			return f->item[i].text;
	for (size_t i = 0; i < f->count && i < PLAN_FINDINGS_MAX; i++)
		print_error("found: %s %s: %s\n", f->item[i].pointer, f->item[i].keyword, f->item[i].text);
	fail_msg("no finding %s at '%s'", keyword, pointer);
	return NULL;
}

static void expect(struct setup *s, const char *text, const char *pointer, const char *keyword)
{
	struct plan_findings f = lint_with(s, NULL, text);

	has(&f, pointer, keyword);
}

static void a_whole_plan_is_complete(void **state)
{
	struct setup *s = *state;
	AUTO(json) json_t *plan = doc(PLAN(CHANGE));

	clean(s, PLAN(CHANGE));
	assert_true(plan_complete(s->contract, plan));
	clean(s,
	      "{'title':'x','summary':'y','kind':'forward','risk_score':0.5,'steps':[{'action':'t.send','params':{},"
	      "'target':{'urn':'urn:host:web-1'},'timeout_s':10,'retry':0,'compensate':" CHANGE
	      ",'verify':{'checks':["
	      "{'kind':'http','url':'http://x/','expect_status':204}]}}," CHANGE
	      "],'rollback':{'steps':[" CHANGE "]," VERIFY
	      "},'verify':{'settle_s':5,'deadline_s':600,'baseline_s':600,'checks':["
	      "{'kind':'metric','resource':'urn:k8s:svc:a/b','metric':'http.err_rate','labels':{'code':'5xx'},'aggregate':'p95',"
	      "'op':'<','threshold':0.1,'window_s':60,'min_samples':3,'no_data':'fail'},"
	      "{'kind':'call','src':'urn:k8s:svc:a/b','dst':'urn:k8s:svc:a/c','field':'p95_ms','aggregate':'max','op':'<=',"
	      "'ratio_to_baseline':1.2,'window_s':300},{'kind':'probe','step':1}]}}");
}

static void what_the_seeds_require_is_required(void **state)
{
	static const struct {
		const char *text, *pointer, *keyword;
	} cases[] = {
		{ "{'steps':[" CHANGE "],'rollback':{}," VERIFY "}",                              "",                   "required"  },
		{ "{'title':'x','rollback':{}," VERIFY "}",                                       "",                   "required"  },
		{ "{'title':'x','steps':[" CHANGE "]," VERIFY "}",                                "",                   "required"  },
		{ "{'title':'x','steps':[" CHANGE "],'rollback':{}}",                             "",                   "required"  },
		{ "{'title':'x','steps':[],'rollback':{}," VERIFY "}",                            "/steps",             "minItems"  },
		{ "{'title':'x','steps':[" CHANGE "],'rollback':{},'verify':{}}",                 "/verify",            "required"  },
		{ "{'title':'x','steps':[" CHANGE "],'rollback':{},'verify':{'checks':[]}}",      "/verify/checks",
                 "minItems"													 },
		{ "{'title':'','steps':[" CHANGE "],'rollback':{}," VERIFY "}",                   "/title",             "minLength" },
		{ PLAN("{'action':'t.look','retry':0}"),                                          "/steps/0",           "required"  },
		{ PLAN("{'action':'t.look','timeout_s':10}"),                                     "/steps/0",           "required"  },
		{ PLAN("{'timeout_s':10,'retry':0}"),                                             "/steps/0",           "required"  },
		{ PLAN("{'action':'t.look','timeout_s':9,'retry':0}"),                            "/steps/0/timeout_s", "minimum"   },
		{ PLAN("{'action':'t.look','timeout_s':10.5,'retry':0}"),                         "/steps/0/timeout_s", "type"      },
		{ PLAN("{'action':'t.look','timeout_s':10,'retry':4}"),                           "/steps/0/retry",     "maximum"   },
		{ PLAN("{'action':'t.look','timeout_s':10,'retry':-1}"),                          "/steps/0/retry",     "minimum"   },
		{ PLAN("{'action':'t.look','timeout_s':10,'retry':0,'target':{'urn':'web-1'}}"),
                 "/steps/0/target/urn",										 "pattern"   },
		{ "{'title':'x','risk_score':1.5,'steps':[" CHANGE "],'rollback':{}," VERIFY "}",
                 "/risk_score",											 "maximum"   },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect(*state, cases[i].text, cases[i].pointer, cases[i].keyword);
}

static void an_unknown_field_is_not_passed_over(void **state)
{
	struct plan_findings f = lint_with(*state, NULL,
					   "{'title':'x','stepz':[],'steps':[" CHANGE
					   "],'rollback':{}," VERIFY "}");

	assert_int_equal(f.count, 1);
	assert_non_null(strstr(f.item[0].text, "stepz"));
}

static void an_unknown_action_is_told_its_nearest(void **state)
{
	struct plan_findings f =
		lint_with(*state, NULL, PLAN("{'action':'t.chnage','timeout_s':10,'retry':0}"));

	assert_int_equal(f.count, 1);
	assert_non_null(strstr(has(&f, "/steps/0/action", "unknown_action"), "did you mean 't.change'"));
	f = lint_with(*state, NULL, PLAN("{'action':'quite.other.thing','timeout_s':10,'retry':0}"));
	assert_non_null(
		strstr(has(&f, "/steps/0/action", "unknown_action"), "t.change, t.look, t.run, t.send"));
	f = lint_with(*state, NULL,
		      PLAN("{'action':'t.send','timeout_s':10,'retry':0,'compensate':{'action':'t.sent',"
			   "'timeout_s':10,'retry':0}}"));
	has(&f, "/steps/0/compensate/action", "unknown_action");
	f = lint_with(*state, NULL,
		      "{'title':'x','steps':[" CHANGE
		      "],'rollback':{'steps':[{'action':'t.sent','timeout_s':10,"
		      "'retry':0}]}," VERIFY "}");
	has(&f, "/rollback/steps/0/action", "unknown_action");
}

static void params_are_held_against_the_adapters_schema(void **state)
{
	expect(*state, PLAN("{'action':'t.change','params':{'image':''},'timeout_s':10,'retry':0}"),
	       "/steps/0/params/image", "minLength");
	expect(*state, PLAN("{'action':'t.change','params':{'image':7},'timeout_s':10,'retry':0}"),
	       "/steps/0/params/image", "type");
	expect(*state, PLAN("{'action':'t.change','timeout_s':10,'retry':0}"), "/steps/0/params", "required");
	expect(*state,
	       PLAN("{'action':'t.send','timeout_s':10,'retry':0,'compensate':{'action':'t.change','params':{},"
		    "'timeout_s':10,'retry':0}}"),
	       "/steps/0/compensate/params", "required");
	expect(*state,
	       "{'title':'x','steps':[" CHANGE
	       "],'rollback':{'steps':[{'action':'t.change','timeout_s':10,'retry':0}]}," VERIFY "}",
	       "/rollback/steps/0/params", "required");
}

static void a_timeout_stays_within_the_manifest(void **state)
{
	clean(*state, PLAN("{'action':'t.look','timeout_s':600,'retry':0}"));
	expect(*state, PLAN("{'action':'t.look','timeout_s':601,'retry':0}"), "/steps/0/timeout_s",
	       "timeout_max");
}

/* To JSON Schema 601.0 is a whole number. */
static void a_whole_number_written_with_a_point_is_that_number(void **state)
{
	AUTO(json)
	json_t *plan =
		doc(PLAN("{'action':'t.look','params':{'n':[20.0,0.5]},'timeout_s':600.0,'retry':1.0}"));
	AUTO(plan) struct plan *parsed = NULL;

	expect(*state, PLAN("{'action':'t.look','timeout_s':601.0,'retry':0}"), "/steps/0/timeout_s",
	       "timeout_max");
	expect(*state, CHECKED("{'kind':'probe','step':1.0}"), "/verify/checks/0/step", "probe");
	clean(*state, PLAN("{'action':'t.look','timeout_s':600.0,'retry':0}"));
	assert_int_equal(plan_parse(plan, &parsed, NULL), OC_OK);
	assert_int_equal(parsed->step[0].timeout_s, 600);
	plan_normalize(plan);
	assert_true(json_is_integer(json_at(plan, "/steps/0/timeout_s")));
	assert_int_equal(json_integer_value(json_at(plan, "/steps/0/params/n/0")), 20);
	assert_true(json_is_real(json_at(plan, "/steps/0/params/n/1")));
}

static void a_step_that_cannot_be_taken_back_needs_a_way(void **state)
{
	expect(*state, PLAN("{'action':'t.send','timeout_s':10,'retry':0}"), "/steps/0", "rollback");
	clean(*state, PLAN("{'action':'t.send','timeout_s':10,'retry':0,'compensate':" CHANGE "}"));
	clean(*state,
	      "{'title':'x','steps':[{'action':'t.send','timeout_s':10,'retry':0}],'rollback':{'steps':[" CHANGE
	      "]}," VERIFY "}");
	clean(*state, PLAN("{'action':'t.look','timeout_s':10,'retry':0}"));
	clean(*state, PLAN("{'action':'t.run','params':{'undo':{'argv':['x']}},'timeout_s':10,'retry':0}"));
	expect(*state, PLAN("{'action':'t.run','params':{'undo':null},'timeout_s':10,'retry':0}"), "/steps/0",
	       "rollback");
	clean(*state,
	      "{'kind':'rollback','title':'x','steps':[{'action':'t.send','timeout_s':10,'retry':0}],'rollback':{}," VERIFY
	      "}");
	expect(*state,
	       "{'kind':'rollback','title':'x','steps':[" CHANGE "],'rollback':{'steps':[" CHANGE "]}," VERIFY
	       "}",
	       "/rollback", "rollback");
}

static void that_there_is_no_way_back_only_a_person_may_say(void **state)
{
	static const char none[] =
		"{'title':'x','steps':[{'action':'t.send','timeout_s':10,'retry':0}],'rollback':{'none':'a mail is "
		"sent'}," VERIFY "}";
	struct plan_lint_options o = { .none_allowed = true };
	struct plan_findings f = lint_with(*state, &o, none);
	AUTO(json) json_t *plan = doc(none);
	AUTO(plan) struct plan *parsed = NULL;
	struct setup *s = *state;
	struct oc_fail fail = { 0 };
	json_t *back = NULL;

	assert_int_equal(f.count, 0);
	expect(s, none, "/rollback/none", "rollback");
	f = lint_with(s, &o,
		      "{'title':'x','steps':[" CHANGE "],'rollback':{'none':'x','steps':[" CHANGE "]}," VERIFY
		      "}");
	assert_true(f.count > 0);
	assert_int_equal(plan_parse(plan, &parsed, NULL), OC_OK);
	assert_string_equal(parsed->rollback_none, "a mail is sent");
	assert_int_equal(plan_derive_rollback(plan, &s->ops, &(struct plan_applied){ .seq = 0 }, 1, &back,
					      &fail),
			 OC_INVALID);
	assert_non_null(strstr(fail.text, "a mail is sent"));
}

static void checks_have_the_fields_of_their_kind(void **state)
{
	static const struct {
		const char *text, *pointer, *keyword;
	} cases[] = {
		{ CHECKED("{'kind':'smell'}"),											       "/verify/checks/0/kind",     "enum"     },
		{ CHECKED("{}"),													     "/verify/checks/0",          "required" },
		{ CHECKED("{'kind':'http'}"),												"/verify/checks/0/url",      "field"    },
		{ CHECKED("{'kind':'http','url':'ftp://x/'}"),									       "/verify/checks/0/url",      "pattern"  },
		{ CHECKED("{'kind':'http','url':'http://x/','window_s':5}"),                                                                 "/verify/checks/0/window_s",
                 "field"																			     },
		{ CHECKED("{'kind':'http','url':'http://x/','expect_status':99}"),
                 "/verify/checks/0/expect_status",															"minimum"  },
		{ CHECKED("{'kind':'probe'}"),											       "/verify/checks/0/step",     "field"    },
		{ CHECKED("{'kind':'metric','metric':'m','aggregate':'avg','op':'<','threshold':1,'window_s':60}"),
                 "/verify/checks/0/resource",															     "field"    },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','op':'<','threshold':1,'window_s':60}"),
                 "/verify/checks/0/aggregate",															    "field"    },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'p99','op':'<','threshold':1,'window_s':60}"),
                 "/verify/checks/0/aggregate",															    "enum"     },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'!=','threshold':1,'window_s':60}"),
                 "/verify/checks/0/op",																   "enum"     },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'<','threshold':1}"),
                 "/verify/checks/0/window_s",															     "field"    },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'<','threshold':1,"
			  "'window_s':60,'no_data':'pass'}"),
                 "/verify/checks/0/no_data",															      "enum"     },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'<','threshold':1,"
			  "'window_s':60,'min_samples':0}"),
                 "/verify/checks/0/min_samples",															  "minimum"  },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'<','window_s':60}"),
                 "/verify/checks/0",																      "compare"  },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'<','window_s':60,"
			  "'threshold':1,'ratio_to_baseline':1}"),
                 "/verify/checks/0",																      "compare"  },
		{ CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'<','window_s':60,"
			  "'ratio_to_baseline':1}"),
                 "/verify/checks/0",																      "baseline" },
		{ CHECKED("{'kind':'call','src':'urn:host:a','dst':'urn:host:b','field':'p50','op':'<','threshold':1,'window_s':300}"),
                 "/verify/checks/0/field",																"enum"     },
		{ CHECKED("{'kind':'call','src':'urn:host:a','field':'rps','op':'<','threshold':1,'window_s':300}"),
                 "/verify/checks/0/dst",																  "field"    },
		{ CHECKED("{'kind':'call','src':'urn:host:a','dst':'urn:host:b','field':'err_rate','op':'<','threshold':5,'window_s':300}"),
                 "/verify/checks/0/threshold",															    "unit"     },
		{ CHECKED("{'kind':'call','src':'urn:host:a','dst':'urn:host:b','field':'rps','op':'>','threshold':-5,'window_s':300}"),
                 "/verify/checks/0/threshold",															    "unit"     },
		{ "{'title':'x','steps':[" CHANGE
		  "],'rollback':{},'verify':{'deadline_s':30,'checks':[{'kind':'metric','resource':"
		  "'urn:host:a','metric':'m','aggregate':'avg','op':'<','threshold':1,'window_s':60}]}}",		   "/verify/checks/0/window_s", "window"   },
		{ "{'title':'x','steps':[" CHANGE "],'rollback':{'steps':[" CHANGE
		  "],'verify':{'checks':[{'kind':'http'}]}}," VERIFY "}",
                 "/rollback/verify/checks/0/url",															 "field"    },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect(*state, cases[i].text, cases[i].pointer, cases[i].keyword);
}

static void a_window_shorter_than_a_bucket_could_never_be_measured(void **state)
{
	struct plan_lint_options o = { .metric_bucket_s = 60 };
	struct plan_findings f = lint_with(
		*state, &o,
		CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'<',"
			"'threshold':1,'window_s':30}"));

	has(&f, "/verify/checks/0/window_s", "window");
	o.metric_bucket_s = 5;
	f = lint_with(
		*state, &o,
		CHECKED("{'kind':'metric','resource':'urn:host:a','metric':'m','aggregate':'avg','op':'<',"
			"'threshold':1,'window_s':30}"));
	assert_int_equal(f.count, 0);
}

static void a_probe_names_a_step_that_has_run_and_can_be_probed(void **state)
{
	clean(*state, CHECKED("{'kind':'probe','step':0}"));
	expect(*state, CHECKED("{'kind':'probe','step':1}"), "/verify/checks/0/step", "probe");
	expect(*state,
	       "{'title':'x','steps':[{'action':'t.look','timeout_s':10,'retry':0}],'rollback':{},'verify':{'checks':"
	       "[{'kind':'probe','step':0}]}}",
	       "/verify/checks/0/step", "probe");
	/* an inner check knows only the steps up to its own */
	expect(*state,
	       PLAN("{'action':'t.change','params':{'image':'a'},'timeout_s':10,'retry':0,'verify':{'checks':[{'kind':'probe',"
		    "'step':1}]}}," CHANGE),
	       "/steps/0/verify/checks/0/step", "probe");
	clean(*state,
	      PLAN("{'action':'t.change','params':{'image':'a'},'timeout_s':10,'retry':0,'verify':{'checks':[{'kind':'probe',"
		   "'step':0}]}}," CHANGE));
}

static bool never(void *ctx, const char *need, const char *tenant)
{
	*(int *)ctx += str_eq(need, "script_body") && str_eq(tenant, "t-001");
	return false;
}

static void what_policy_must_permit_is_asked_for(void **state)
{
	int asked = 0;
	struct plan_lint_options o = { .permits = never, .ctx = &asked, .tenant = "t-001" };
	struct plan_findings f =
		lint_with(*state, &o,
			  PLAN("{'action':'t.send','params':{'script':'echo ok'},'timeout_s':10,'retry':0,"
			       "'compensate':" CHANGE "}"));

	has(&f, "/steps/0/params/script", "not_permitted");
	assert_int_equal(asked, 1);
	f = lint_with(*state, &o,
		      PLAN("{'action':'t.send','params':{},'timeout_s':10,'retry':0,'compensate':" CHANGE
			   "}"));
	assert_int_equal(f.count, 0);
	assert_int_equal(asked, 1);
	clean(*state,
	      PLAN("{'action':'t.send','params':{'script':'echo ok'},'timeout_s':10,'retry':0,'compensate':" CHANGE
		   "}"));
}

static void undo_steps_are_only_the_systems(void **state)
{
	static const char undo[] =
		"{'kind':'rollback','title':'x','steps':[{'action':'t.change','params':{'image':'a'},'timeout_s':10,"
		"'retry':0,'undo':true,'undo_of':0,'before':{'image':'b'}}],'rollback':{}," VERIFY "}";
	static const char no_undo[] =
		"{'kind':'rollback','title':'x','steps':[{'action':'t.send','timeout_s':10,'retry':0,"
		"'undo':true,'undo_of':0}],'rollback':{}," VERIFY "}";
	struct plan_lint_options o = { .kind = PLAN_ROLLBACK, .undo_allowed = true };
	struct plan_findings f = lint_with(*state, &o, undo);

	assert_int_equal(f.count, 0);
	f = lint_with(*state, &o, no_undo);
	has(&f, "/steps/0/undo", "undo");
	expect(*state, undo, "/steps/0/undo", "undo");
	expect(*state,
	       PLAN("{'action':'t.change','params':{'image':'a'},'timeout_s':10,'retry':0,'undo':true,'undo_of':0}"),
	       "/steps/0/undo", "undo");
	f = lint_with(*state, &o, PLAN(CHANGE));
	has(&f, "/kind", "kind");
}

static void a_plan_has_its_limits(void **state)
{
	struct setup *s = *state;
	AUTO(json)
	json_t *plan = doc(PLAN(CHANGE)), *big = doc(PLAN("{'action':'t.look','timeout_s':10,'retry':0}"));
	AUTO(str) char *text = mem_alloc(PLAN_BYTES_MAX + 1);
	struct plan_findings f;

	for (int i = 1; i < 50; i++)
		json_array_append(json_object_get(plan, "steps"),
				  json_array_get(json_object_get(plan, "steps"), 0));
	assert_int_equal(plan_lint(s->contract, plan, NULL, &f, NULL), OC_OK);
	json_array_append(json_object_get(plan, "steps"), json_array_get(json_object_get(plan, "steps"), 0));
	assert_int_equal(plan_lint(s->contract, plan, NULL, &f, NULL), OC_INVALID);
	has(&f, "/steps", "maxItems");
	memset(text, 'x', PLAN_BYTES_MAX);
	json_object_set_new(json_array_get(json_object_get(big, "steps"), 0), "params",
			    json_pack("{s:s}", "x", text));
	assert_int_equal(plan_lint(s->contract, big, NULL, &f, NULL), OC_INVALID);
	has(&f, "", "size");
}

static void hostile_documents_are_findings_and_not_crashes(void **state)
{
	static const char *const texts[] = {
		"null",
		"1",
		"[]",
		"{}",
		"''",
		"{'title':1,'steps':1,'rollback':1,'verify':1}",
		"{'title':[],'steps':{'0':1},'rollback':[],'verify':[]}",
		"{'title':{},'steps':[1,null,'x',[],{}],'rollback':{'steps':[1]},'verify':{'checks':[1,null,{}]}}",
		"{'title':'x','steps':[{'action':[],'params':[],'timeout_s':'x','retry':{},'compensate':7,'verify':[],'target':'u',"
		"'undo':false,'before':1}],'rollback':{'steps':{},'verify':3},'verify':{'checks':{'a':1}}}",
		"{'title':'x','steps':[{'action':'t.change','params':7,'timeout_s':1e300,'retry':1e300}],'rollback':null,'verify':null}",
		"{'kind':7,'title':'x','steps':[{'action':'t.change'}],'rollback':{},'verify':{'checks':[{'kind':'probe','step':"
		"9223372036854775807},{'kind':'probe','step':-1},{'kind':'probe','step':'0'},{'kind':'metric','threshold':'1'},"
		"{'kind':'call','field':7,'threshold':-1,'window_s':-7}]}}",
	};
	struct setup *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		AUTO(str) char *text = mem_strdup(texts[i]);
		AUTO(json) json_t *plan = NULL, *back = NULL, *list = NULL;
		AUTO(plan) struct plan *parsed = NULL;
		struct plan_findings f;
		char hex[HASH_HEX];

		for (char *p = text; *p; p++)
			if (*p == '\'')
				*p = '"';
		plan = json_loads(text, JSON_DECODE_ANY, NULL);
		assert_non_null(plan);
		assert_int_equal(plan_lint(s->contract, plan, NULL, &f, NULL), OC_INVALID);
		assert_int_equal(plan_parse(plan, &parsed, NULL), OC_INVALID);
		plan_fingerprint(plan, hex);
		if (plan_derive_rollback(plan, &s->ops, &(struct plan_applied){ .seq = 0, .before = "[" }, 1,
					 &back, NULL) == OC_OK)
			assert_true(json_is_object(back));
		list = plan_findings_json(&f);
		assert_true(json_array_size(list) > 0);
	}
	assert_int_equal(plan_lint(s->contract, NULL, NULL, NULL, NULL), OC_INVALID);
}

static void without_any_adapter_every_action_is_unknown(void **state)
{
	struct operation_list none = { 0 };
	AUTO(plan_contract) struct plan_contract *c = NULL;
	AUTO(json) json_t *plan = doc(PLAN(CHANGE));
	struct plan_findings f;

	(void)state;
	assert_int_equal(plan_contract_new(&none, &c, NULL), OC_OK);
	assert_int_equal(plan_lint(c, plan, NULL, &f, NULL), OC_INVALID);
	assert_non_null(strstr(has(&f, "/steps/0/action", "unknown_action"), "none at all"));
}

static void a_contract_over_a_broken_params_schema_names_the_operation(void **state)
{
	struct operation_list ops = { 0 };
	struct plan_contract *c = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	support_add_manifest(
		&ops,
		"{\"name\":\"b\",\"operations\":[{\"name\":\"b.x\",\"params\":{\"$ref\":\"http://elsewhere/\"}}]}");
	assert_int_equal(plan_contract_new(&ops, &c, &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "b.x"));
	operation_list_done(&ops);
}

/* What a model or a person is shown is what lint enforces, params included. */
static void the_published_schema_says_what_lint_says_about_params(void **state)
{
	struct setup *s = *state;
	AUTO(json_schema) struct json_schema *schema = NULL;
	static const struct {
		const char *step;
		bool ok;
	} cases[] = {
		{ CHANGE,								 true  },
		{ "{'action':'t.change','params':{},'timeout_s':10,'retry':0}",           false },
		{ "{'action':'t.change','timeout_s':10,'retry':0}",                       false },
		{ "{'action':'t.change','params':{'image':''},'timeout_s':10,'retry':0}", false },
		{ "{'action':'t.look','timeout_s':10,'retry':0}",                         true  },
		{ "{'action':'t.gone','timeout_s':10,'retry':0}",                         false },
	};
	struct oc_fail fail = { 0 };

	if (json_schema_compile(plan_contract_schema(s->contract), &schema, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(json)
		json_t *plan = doc("{'title':'x','steps':[%s],'rollback':{}," VERIFY "}", cases[i].step);
		AUTO(str) char *text = json_text(plan);

		assert_int_equal(json_schema_check(schema, text, NULL, NULL),
				 cases[i].ok ? OC_OK : OC_INVALID);
		assert_int_equal(plan_complete(s->contract, plan), cases[i].ok);
	}
}

static void a_parsed_plan_has_what_the_document_says(void **state)
{
	AUTO(json)
	json_t *d = doc(
		"{'title':'x','risk_score':0.25,'steps':[{'action':'t.send','params':{'b':1,'a':2},'target':{'urn':'urn:host:a'},"
		"'timeout_s':100,'retry':2,'compensate':" CHANGE "}," CHANGE "],'rollback':{'steps':[" CHANGE
		"],'verify':{'checks':["
		"{'kind':'probe','step':0}]}},'verify':{'settle_s':7,'checks':[{'kind':'metric','resource':'urn:host:a','metric':'m',"
		"'aggregate':'p95','op':'>=','ratio_to_baseline':1.5,'window_s':120,'min_samples':3,'no_data':'fail'},"
		"{'kind':'call','src':'urn:a:1','dst':'urn:b:2','field':'rps','op':'==','threshold':4,'window_s':300},"
		"{'kind':'http','url':'http://x/'}],'baseline_s':900}}");
	AUTO(plan) struct plan *p = NULL;

	(void)state;
	assert_int_equal(plan_parse(d, &p, NULL), OC_OK);
	assert_int_equal(p->kind, PLAN_FORWARD);
	assert_true(p->has_risk && p->risk_score == 0.25);
	assert_int_equal(p->step_count, 2);
	assert_string_equal(p->step[0].params, "{\"a\":2,\"b\":1}");
	assert_string_equal(p->step[0].target_urn, "urn:host:a");
	assert_string_equal(p->step[0].compensate->action, "t.change");
	assert_string_equal(p->step[1].target, "{}");
	assert_null(p->step[1].target_urn);
	assert_true(p->rollback_given && p->rollback_count == 1 &&
		    p->rollback_verify->check[0].kind == CHECK_PROBE);
	assert_int_equal(p->verify.count, 3);
	assert_int_equal(p->verify.check[0].aggregate, AGG_P95);
	assert_int_equal(p->verify.check[0].op, OP_GE);
	assert_true(p->verify.check[0].against_baseline && p->verify.check[0].value == 1.5);
	assert_int_equal(p->verify.check[0].no_data, NO_DATA_FAIL);
	assert_int_equal(p->verify.check[0].min_samples, 3);
	assert_int_equal(p->verify.check[1].aggregate, AGG_NONE);
	assert_int_equal(p->verify.check[1].min_samples, 1);
	assert_int_equal(p->verify.check[1].no_data, NO_DATA_INSUFFICIENT);
	assert_int_equal(p->verify.check[2].expect_status, 200);
	assert_int_equal(p->verify.settle_s, 7);
	assert_int_equal(p->verify.baseline_s, 900);
	/* longest window, a call bucket and five minutes */
	assert_int_equal(p->verify.deadline_s, 930);
	/* 60 + (20 + 100*3 + (2+4)*1.5) + (20 + 60*2 + 3) */
	assert_int_equal(plan_exec_budget_s(p), 60 + 20 + 300 + 9 + 20 + 120 + 3);
	assert_int_equal(plan_verify_budget_s(p), 60 + 7 + 930);
}

static void the_fingerprint_is_of_action_target_and_params(void **state)
{
	static const struct {
		const char *steps;
		bool same;
	} cases[] = {
		{ "{'action':'t.change','params':{'image':'a:2'},'timeout_s':99,'retry':0,'title':'other'}",
                 true													    },
		{ "{'action':'t.change','params':{'image':'a:2'},'timeout_s':60,'retry':1,'compensate':" CHANGE
		  "}",										    true  },
		{ "{'action':'t.change','params':{'image':'a:3'},'timeout_s':60,'retry':1}",                               false },
		{ "{'action':'t.change','params':{'image':'a:2'},'target':{'urn':'urn:host:b'},'timeout_s':60,'retry':1}",
                 false													   },
		{ CHANGE "," CHANGE,										       false },
	};
	AUTO(json)
	json_t *base = doc(PLAN(CHANGE)), *empty = doc(PLAN("{'action':'a','params':{}}")),
	       *out = doc(PLAN("{'action':'a'}"));
	char want[HASH_HEX], got[HASH_HEX];

	(void)state;
	plan_fingerprint(base, want);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(json)
		json_t *other =
			doc("{'title':'another','steps':[%s],'rollback':{},'verify':{}}", cases[i].steps);

		plan_fingerprint(other, got);
		assert_int_equal(strcmp(want, got) == 0, cases[i].same);
	}
	plan_fingerprint(empty, want);
	plan_fingerprint(out, got);
	assert_string_equal(want, got);
}

static void the_hash_does_not_depend_on_the_order_of_keys(void **state)
{
	AUTO(json) json_t *a = doc("{'b':1,'a':{'d':2,'c':3}}"), *b = doc("{'a':{'c':3,'d':2},'b':1}");
	AUTO(str) char *text = plan_canonical(a);
	char ha[HASH_HEX], hb[HASH_HEX], ht[HASH_HEX];

	(void)state;
	plan_hash(a, ha);
	plan_hash(b, hb);
	hash_sha256_hex(text, strlen(text), ht);
	assert_string_equal(ha, hb);
	assert_string_equal(ha, ht);
}

/* --- rollback */

static void lint_rollback_plan(struct setup *s, const json_t *plan)
{
	struct plan_lint_options o = { .kind = PLAN_ROLLBACK, .undo_allowed = true };
	struct plan_findings f;

	if (plan_lint(s->contract, plan, &o, &f, NULL) != OC_OK)
		fail_msg("%s %s: %s", f.item[0].pointer, f.item[0].keyword, f.item[0].text);
}

static void a_derived_rollback_takes_applied_steps_back_last_first(void **state)
{
	struct setup *s = *state;
	AUTO(json)
	json_t *plan = doc(
		"{'title':'Roll out','steps':["
		"{'action':'t.change','params':{'image':'a:2'},'target':{'urn':'urn:host:a'},'timeout_s':60,'retry':1},"
		"{'action':'t.look','timeout_s':10,'retry':0},"
		"{'action':'t.send','params':{},'timeout_s':60,'retry':0,'compensate':{'action':'t.send','params':{'n':2},'timeout_s':30,"
		"'retry':1}}," CHANGE
		"],'rollback':{},'verify':{'settle_s':3,'checks':[{'kind':'probe','step':0},{'kind':'probe','step':3},"
		"{'kind':'http','url':'http://x/'}]}}");
	struct plan_applied applied[] = {
		{ .seq = 0, .before = "{\"binding\":{\"image\":\"h\"},\"info\":{\"image\":\"a:1\"}}" },
		{ .seq = 1 },
		{ .seq = 2, .before = NULL },
	};
	AUTO(json) json_t *back = NULL, *want = NULL;
	AUTO(plan) struct plan *parsed = NULL;

	assert_int_equal(plan_derive_rollback(plan, &s->ops, applied, ARRAY_LEN(applied), &back, NULL),
			 OC_OK);
	want = doc(
		"{'title':'Take back: Roll out','kind':'rollback','steps':["
		"{'action':'t.send','params':{'n':2},'timeout_s':30,'retry':1},"
		"{'action':'t.change','params':{'image':'a:2'},'target':{'urn':'urn:host:a'},'timeout_s':60,'retry':1,"
		"'undo':true,'undo_of':0,'before':{'image':'a:1'}}],'rollback':{},"
		"'verify':{'settle_s':3,'checks':[{'kind':'probe','step':1},{'kind':'http','url':'http://x/'}]}}");
	if (!json_equal(back, want))
		fail_msg("%s", json_pretty(back));
	lint_rollback_plan(s, back);
	assert_int_equal(plan_parse(back, &parsed, NULL), OC_OK);
	assert_int_equal(parsed->kind, PLAN_ROLLBACK);
	assert_true(parsed->step[1].undo && parsed->step[1].undo_of == 0);
	assert_string_equal(parsed->step[1].before, "{\"image\":\"a:1\"}");
}

static void a_given_rollback_is_taken_as_it_is(void **state)
{
	struct setup *s = *state;
	AUTO(json)
	json_t *plan = doc("{'title':'x','steps':[" CHANGE
			   "],'rollback':{'steps':[{'action':'t.send','timeout_s':10,'retry':0}],"
			   "'verify':{'checks':[{'kind':'http','url':'http://back/'}]}}," VERIFY "}");
	AUTO(json) json_t *back = NULL;

	assert_int_equal(plan_derive_rollback(plan, &s->ops, &(struct plan_applied){ .seq = 0 }, 1, &back,
					      NULL),
			 OC_OK);
	assert_string_equal(json_str(json_at(back, "/steps/0"), "action"), "t.send");
	assert_string_equal(json_str(json_at(back, "/verify/checks/0"), "url"), "http://back/");
	lint_rollback_plan(s, back);
}

static void a_rollback_with_nothing_to_measure_is_probed(void **state)
{
	struct setup *s = *state;
	AUTO(json)
	json_t *plan = doc("{'title':'x','steps':[" CHANGE "," CHANGE
			   "],'rollback':{},'verify':{'checks':[{'kind':'probe',"
			   "'step':1}]}}");
	AUTO(json) json_t *back = NULL;

	assert_int_equal(plan_derive_rollback(plan, &s->ops, &(struct plan_applied){ .seq = 0 }, 1, &back,
					      NULL),
			 OC_OK);
	assert_int_equal(json_array_size(json_at(back, "/verify/checks")), 1);
	assert_int_equal(json_int_or(json_at(back, "/verify/checks/0"), "step", -1), 0);
	lint_rollback_plan(s, back);
}

static void what_cannot_be_taken_back_is_said(void **state)
{
	struct setup *s = *state;
	AUTO(json)
	json_t *send = doc(PLAN("{'action':'t.send','timeout_s':10,'retry':0}")),
	       *look = doc(PLAN("{'action':'t.look','timeout_s':10,'retry':0}")), *change = doc(PLAN(CHANGE)),
	       *back = doc("{'kind':'rollback','title':'x','steps':[" CHANGE "],'rollback':{}," VERIFY "}");
	struct plan_applied one = { .seq = 0 }, gone = { .seq = 7 };
	struct oc_fail fail = { 0 };
	json_t *none = NULL;

	assert_int_equal(plan_derive_rollback(send, &s->ops, &one, 1, &none, &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "step 0 (t.send) cannot be taken back"));
	assert_int_equal(plan_derive_rollback(look, &s->ops, &one, 1, &none, &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "nothing to take back"));
	assert_int_equal(plan_derive_rollback(change, &s->ops, NULL, 0, &none, &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "nothing of the plan was applied"));
	assert_int_equal(plan_derive_rollback(change, &s->ops, &gone, 1, &none, &fail), OC_INVALID);
	assert_int_equal(plan_derive_rollback(back, &s->ops, &one, 1, &none, &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "a rollback itself"));
	assert_null(none);
}

static void the_reference_lists_every_rule(void **state)
{
	AUTO(text) struct text t = { 0 };

	(void)state;
	plan_lint_reference(&t);
	assert_non_null(strstr(text_str(&t), "| `unknown_action` |"));
	assert_non_null(strstr(text_str(&t), "| `probe` |"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_plan_is_complete),
		cmocka_unit_test(what_the_seeds_require_is_required),
		cmocka_unit_test(an_unknown_field_is_not_passed_over),
		cmocka_unit_test(an_unknown_action_is_told_its_nearest),
		cmocka_unit_test(params_are_held_against_the_adapters_schema),
		cmocka_unit_test(a_timeout_stays_within_the_manifest),
		cmocka_unit_test(a_whole_number_written_with_a_point_is_that_number),
		cmocka_unit_test(a_step_that_cannot_be_taken_back_needs_a_way),
		cmocka_unit_test(that_there_is_no_way_back_only_a_person_may_say),
		cmocka_unit_test(checks_have_the_fields_of_their_kind),
		cmocka_unit_test(a_window_shorter_than_a_bucket_could_never_be_measured),
		cmocka_unit_test(a_probe_names_a_step_that_has_run_and_can_be_probed),
		cmocka_unit_test(what_policy_must_permit_is_asked_for),
		cmocka_unit_test(undo_steps_are_only_the_systems),
		cmocka_unit_test(a_plan_has_its_limits),
		cmocka_unit_test(hostile_documents_are_findings_and_not_crashes),
		cmocka_unit_test(without_any_adapter_every_action_is_unknown),
		cmocka_unit_test(a_contract_over_a_broken_params_schema_names_the_operation),
		cmocka_unit_test(the_published_schema_says_what_lint_says_about_params),
		cmocka_unit_test(a_parsed_plan_has_what_the_document_says),
		cmocka_unit_test(the_fingerprint_is_of_action_target_and_params),
		cmocka_unit_test(the_hash_does_not_depend_on_the_order_of_keys),
		cmocka_unit_test(a_derived_rollback_takes_applied_steps_back_last_first),
		cmocka_unit_test(a_given_rollback_is_taken_as_it_is),
		cmocka_unit_test(a_rollback_with_nothing_to_measure_is_probed),
		cmocka_unit_test(what_cannot_be_taken_back_is_said),
		cmocka_unit_test(the_reference_lists_every_rule),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
