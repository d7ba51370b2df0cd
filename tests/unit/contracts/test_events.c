#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "contracts/files.h"
#include "domain/case.h"
#include "tests/support/operations.h"

#define UUID1 "018f3c6e-7d2a-7cc3-98c4-dc0c0c07398f"

/* What the relay prints, with this type and data. */
static char *message(const char *type, const char *data)
{
	char *s = mem_printf(
		"{'specversion':'1.0','id':'" UUID1 ":42','source':'opscase/" UUID1
		"','type':'%s','subject':'" UUID1
		"','time':'2026-01-02T03:04:05.678901Z','datacontenttype':'application/json','tenant':'t-001','epoch':3,"
		"'caseversion':7,'traceparent':'00-0af7651916cd43dd8448eb211c80319c-0af7651916cd43dd-01','productid':'" UUID1
		"','commandid':'41','data':%s}",
		type, data);

	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	return s;
}

static void check(const char *type, const char *data, bool ok)
{
	AUTO(json_schema) struct json_schema *s = NULL;
	AUTO(str) char *text = message(type, data);
	struct oc_fail fail = { 0 };

	if (contract_event(type, &s, &fail) != OC_OK)
		fail_msg("%s: %s", type, fail.text);
	if ((json_schema_check(s, text, NULL, &fail) == OC_OK) != ok)
		fail_msg("%s should %sbe taken: %s %s", text, ok ? "" : "not ", fail.field, fail.text);
}

static void compiles(void *ctx, const char *name, const char *text)
{
	AUTO(json_schema) struct json_schema *s = NULL;
	struct json_schema *meta = ctx;
	struct oc_fail fail = { 0 };

	if (!str_glob("*.schema.json", name)) /* openapi.json */
		return;
	if (contract_compile(name, &s, &fail) != OC_OK || json_schema_check(meta, text, NULL, &fail) != OC_OK)
		fail_msg("%s: %s", name, fail.text);
	if (!strstr(text, name))
		fail_msg("%s has the $id of another file", name);
}

static void every_contract_is_a_schema_that_knows_its_own_name(void **state)
{
	AUTO(json_schema) struct json_schema *meta = NULL;

	(void)state;
	assert_int_equal(json_schema_compile("{\"$ref\":\"https://json-schema.org/draft/2020-12/schema\"}",
					     &meta, NULL),
			 OC_OK);
	contract_each(compiles, meta);
}

static void every_event_on_the_bus_has_a_schema(void **state)
{
	(void)state;
	for (int e = 0; e < EV_COUNT; e++) {
		const char *way = case_event_way_in((enum case_event_kind)e);

		if (str_starts(way, "evt."))
			check(way,
			      str_eq(way, "evt.plan.proposed.v1") || str_eq(way, "evt.analysis.findings.v1")
				      ? "{'meta':{'plan_id':'" UUID1
					"','kind':'forward','source':'template','finding_id':'" UUID1
					"','fingerprint':'0af7651916cd43dd8448eb211c80319c0af7651916cd43dd8448eb211c80319c'},'reason':'x'}"
				      : "{'meta':{},'reason':'x'}",
			      true);
	}
}

static void every_command_has_a_schema(void **state)
{
	(void)state;
	for (int a = ASK_NOTHING + 1; a < ASK_COUNT; a++)
		check(case_ask_topic((enum case_ask)a),
		      "{'drive':'auto','from_event':'create','actor':'me','args':{}}", true);
}

static void facts_for_the_world_have_a_schema(void **state)
{
	(void)state;
	check("evt.case.transition.v1",
	      "{'case_id':'" UUID1
	      "','title':'x','event':'create','from':'(none)','to':'NEW','version':1,'epoch':1,"
	      "'actor':'me'}",
	      true);
	check("evt.case.transition.v1",
	      "{'case_id':'" UUID1 "','event':'create','from':'OPEN','to':'NEW','version':1}", false);
	check("evt.exec.step_result.v1",
	      "{'case_id':'" UUID1 "','run_id':'" UUID1
	      "','seq':0,'attempt':1,'action':'noop','status':'succeeded'}",
	      true);
	check("evt.exec.step_result.v1",
	      "{'case_id':'" UUID1 "','run_id':'" UUID1
	      "','seq':0,'attempt':1,'action':'noop','status':'fine'}",
	      false);
}

static void what_is_wrong_with_a_message_is_found(void **state)
{
	(void)state;
	check("cmd.plan.generate", "{'drive':'auto','from_event':'create'}", false);
	check("cmd.plan.generate", "{'drive':'often','from_event':'create','args':{}}", false);
	check("cmd.plan.generate", "{'args':{'mode':'sideways'}}", false);
	check("cmd.plan.generate", "{'args':{'plan':[]}}", false);
	check("cmd.plan.generate", "{'args':{'template':'noop','params':{'changed':1}}}", true);
	check("cmd.gate.eval", "{'args':{'decision_id':'7'}}", false);
	check("evt.plan.proposed.v1", "{'meta':{}}", false);
	check("evt.plan.proposed.v1", "{}", false);
	check("evt.plan.failed.v1", "{'meta':{'findings':[{'pointer':'/steps'}]}}", false);
	check("evt.plan.failed.v1", "{'meta':{'missing':[{'param':'image','text':'no value'}]},'reason':'x'}",
	      true);
	check("evt.verify.pass.v1", "{'meta':{'verdict':'FAIL'}}", false);
	check("evt.verify.unproven.v1", "{'meta':{'verdict':'INSUFFICIENT_DATA'}}", true);
	check("evt.exec.done.v1", "{'meta':{'steps':-1}}", false);
}

/* One field at a time is taken away or spoilt. */
static void the_envelope_is_held_to_its_form(void **state)
{
	static const char *const needed[] = { "specversion",     "id",       "source", "type",        "time",
					      "datacontenttype", "tenant",   "epoch",  "caseversion", "data",
					      "productid",       "commandid" };
	AUTO(json_schema) struct json_schema *s = NULL;
	AUTO(str) char *text = message("evt.plan.approved.v1", "{'meta':{}}");

	(void)state;
	assert_int_equal(contract_event("evt.plan.approved.v1", &s, NULL), OC_OK);
	assert_int_equal(json_schema_check(s, text, NULL, NULL), OC_OK);
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		AUTO(json) json_t *less = json_loads(text, 0, NULL), *wrong = json_loads(text, 0, NULL);
		AUTO(str) char *less_text = NULL, *wrong_text = NULL;

		json_object_del(less, needed[i]);
		json_object_set_new(wrong, needed[i], json_pack("[n]"));
		less_text = json_text(less);
		wrong_text = json_text(wrong);
		if (json_schema_check(s, less_text, NULL, NULL) == OC_OK ||
		    json_schema_check(s, wrong_text, NULL, NULL) == OC_OK)
			fail_msg("%s may be missing or wrong", needed[i]);
	}
}

static void there_is_no_schema_for_what_nobody_says(void **state)
{
	struct json_schema *s = NULL;

	(void)state;
	assert_int_equal(contract_event("evt.nothing.v1", &s, NULL), OC_NOT_FOUND);
	assert_int_equal(contract_event("../plan", &s, NULL), OC_NOT_FOUND);
	assert_null(s);
}

static void every_adapters_manifest_fits_its_schema(void **state)
{
	static const char *const names[] = { "noop", "script", "k8s", "gateway", "http" };
	AUTO(json_schema) struct json_schema *s = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(contract_compile("contracts/manifest.schema.json", &s, NULL), OC_OK);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(str)
		char *path = mem_printf("%s/adapters/%s/%s.json", OPSCASE_SOURCE_DIR, names[i], names[i]);
		AUTO(str) char *text = support_read_file(path);

		assert_non_null(text);
		if (json_schema_check(s, text, NULL, &fail) != OC_OK)
			fail_msg("%s: %s %s", names[i], fail.field, fail.text);
	}
	assert_int_equal(
		json_schema_check(s, "{\"name\":\"x\",\"version\":\"1\",\"summary\":\"s\",\"operations\":[]}",
				  NULL, NULL),
		OC_INVALID);
}

static void a_finding_needs_evidence(void **state)
{
	AUTO(json_schema) struct json_schema *s = NULL;

	(void)state;
	assert_int_equal(contract_compile("contracts/findings.schema.json", &s, NULL), OC_OK);
	assert_int_equal(
		json_schema_check(
			s,
			"{\"kind\":\"leak\",\"evidence\":[{\"kind\":\"metric\",\"resource\":\"urn:a:b\",\"value\":1.5}],"
			"\"values\":{\"image\":\"a:2\"},\"confidence\":0.5}",
			NULL, NULL),
		OC_OK);
	assert_int_equal(json_schema_check(s, "{}", NULL, NULL), OC_INVALID);
	assert_int_equal(json_schema_check(s, "{\"evidence\":[{}]}", NULL, NULL), OC_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_contract_is_a_schema_that_knows_its_own_name),
		cmocka_unit_test(every_event_on_the_bus_has_a_schema),
		cmocka_unit_test(every_command_has_a_schema),
		cmocka_unit_test(facts_for_the_world_have_a_schema),
		cmocka_unit_test(what_is_wrong_with_a_message_is_found),
		cmocka_unit_test(the_envelope_is_held_to_its_form),
		cmocka_unit_test(there_is_no_schema_for_what_nobody_says),
		cmocka_unit_test(every_adapters_manifest_fits_its_schema),
		cmocka_unit_test(a_finding_needs_evidence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
