/* Runbooks as strangers would write them, held against operations and then filled for a case: a plan comes out,
 * or a sentence about each value that is missing. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "planner/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct plan_contract *contract(void)
{
	static const char *const names[] = { "noop", "svc.restart" };
	static struct operation_list ops;
	static struct plan_contract *c;

	if (c)
		return c;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct operation *op = operation_list_add(&ops);

		op->name = mem_strdup(names[i]);
		op->adapter = mem_strdup(names[i]);
		op->params_schema_text = mem_strdup(
			"{\"type\":\"object\",\"properties\":{\"count\":{\"type\":\"integer\"},\"name\":{\"type\":\"string\"}}}");
		op->reversible = op->has_undo = op->has_probe = true;
		op->blast = BLAST_SERVICE;
		op->timeout_max_s = 600;
	}
	operation_list_sort(&ops);
	if (plan_contract_new(&ops, &c, NULL) != OC_OK)
		abort();
	return c;
}

static void fill(const struct runbook_set *set, const struct runbook *rb, const struct case_facts *facts)
{
	AUTO(json) json_t *plan = NULL;
	AUTO(json) json_t *filled = NULL;
	AUTO(json) json_t *missing = NULL;
	AUTO(str) char *text = NULL;
	struct oc_fail fail = { 0 };
	enum oc_err err = runbook_fill(rb, facts, &plan, &filled, &missing, &fail);

	(void)runbook_match(set, facts);
	if (err == OC_OK ? !json_is_object(plan) : !fail.text[0])
		abort();
	if (err == OC_OK) {
		text = json_canonical(plan);
		if (!str_utf8_ok(text, strlen(text)))
			abort();
		(void)!plan_lint(contract(), plan, NULL, NULL, &fail);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct runbook_text one = { "f.yaml", (const char *)bytes, size };
	AUTO(runbook_findings) struct runbook_findings findings = { 0 };
	AUTO(runbook_set) struct runbook_set *set = NULL;
	AUTO(text) struct text page = { 0 };
	AUTO(json) json_t *list = NULL;
	AUTO(json) json_t *labels = NULL;
	AUTO(json) json_t *params = NULL;
	AUTO(json) json_t *evidence = NULL;
	struct oc_fail fail = { 0 };
	struct case_facts facts;

	/* compiling the runbook's schema costs a millisecond: only for what looks like one */
	if (size > 4096 || !memmem(bytes, size, "plan", 4))
		return 0;
	if (runbook_set_read(&one, 1, contract(), &set, &findings, &fail) != OC_OK) {
		if (findings.count == 0 || !fail.text[0])
			abort();
		return 0;
	}
	runbook_print_reference(set, &page);
	list = runbook_set_json(set);
	labels = json_pack("{s:s,s:s,s:s}", "drill", "yes", "name", "web", "count", "3");
	params = json_pack("{s:s,s:i,s:b,s:n}", "name", "${count}", "count", 7, "fast", 1, "none");
	evidence =
		json_pack("[{s:s,s:{s:s}}]", "kind", "metric", "metric", "resource", "urn:k8s:svc:shop/web");
	facts = (struct case_facts){ .case_id = "c", .title = "it is slow", .severity = "high" };
	fill(set, runbook_at(set, 0), &facts);
	facts.labels = facts.tenant_defaults = labels;
	facts.params = facts.asked = params;
	facts.evidence = evidence;
	fill(set, runbook_at(set, 0), &facts);
	return 0;
}
