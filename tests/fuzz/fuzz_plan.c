/* Whatever is given as a plan: lint says something and never crashes; what passes parses, has budgets and a
 * canonical text that reads back as itself, and its rollback, where one can be made, passes too. */
#include <stddef.h>
#include <stdint.h>
#include "base/mem.h"
#include "contracts/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct {
	const char *name, *schema;
	bool reversible;
	enum operation_blast blast;
} operations[] = {
	{ "a.change",
         "{\"type\":\"object\",\"required\":[\"to\"],\"properties\":{\"to\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\"}}}",
         true,															BLAST_SERVICE },
	{ "a.look",   "{\"type\":\"object\"}",										 false, BLAST_NONE    },
	{ "a.send",   "{\"type\":\"object\",\"additionalProperties\":false}",                                                  false, BLAST_HOST    },
};

static struct plan_contract *contract(void)
{
	static struct operation_list ops;
	static struct plan_contract *c;

	if (c)
		return c;
	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		struct operation *op = operation_list_add(&ops);

		op->name = mem_strdup(operations[i].name);
		op->adapter = mem_strdup("a");
		op->params_schema_text = mem_strdup(operations[i].schema);
		op->reversible = op->has_undo = op->has_probe = operations[i].reversible;
		op->blast = operations[i].blast;
		op->repeatable = operations[i].blast == BLAST_NONE;
		op->timeout_max_s = 600;
	}
	operation_list_sort(&ops);
	if (plan_contract_new(&ops, &c, NULL) != OC_OK)
		abort();
	return c;
}

static void take_back(const struct plan_contract *c, const json_t *plan, size_t steps)
{
	struct plan_applied applied[PLAN_STEPS_MAX];
	AUTO(json) json_t *back = NULL;
	AUTO(plan) struct plan *parsed = NULL;

	for (size_t i = 0; i < steps; i++)
		applied[i] = (struct plan_applied){ .seq = (int)i, .before = "{\"info\":{\"was\":\"x\"}}" };
	if (plan_derive_rollback(plan, plan_contract_operations(c), applied, steps, &back, NULL) != OC_OK)
		return;
	if (plan_parse(back, &parsed, NULL) != OC_OK || parsed->kind != PLAN_ROLLBACK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct plan_lint_options options = { .undo_allowed = size & 1, .none_allowed = size & 2 };
	struct plan_contract *c = contract();
	AUTO(json) json_t *plan = NULL;
	AUTO(json) json_t *again = NULL;
	AUTO(plan) struct plan *parsed = NULL;
	AUTO(str) char *text = NULL;
	AUTO(str) char *second = NULL;
	struct plan_findings findings;
	struct oc_fail fail;
	char hex[HASH_HEX];
	enum oc_err lint, parse;

	if (json_read((const char *)bytes, size, NULL, &plan, NULL) != OC_OK)
		return 0;
	lint = plan_lint(c, plan, &options, &findings, &fail);
	parse = plan_parse(plan, &parsed, NULL);
	plan_fingerprint(plan, hex);
	if ((lint == OC_OK) != (findings.count == 0))
		abort();
	if (lint != OC_OK)
		return 0;
	if (parse != OC_OK || plan_exec_budget_s(parsed) <= 0 || plan_verify_budget_s(parsed) <= 0)
		abort();
	text = plan_canonical(plan);
	if (json_read_own(text, &again, NULL) != OC_OK)
		abort();
	second = plan_canonical(again);
	if (!str_eq(text, second))
		abort();
	take_back(c, plan, parsed->step_count);
	return 0;
}
