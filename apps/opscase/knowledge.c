/* knowledge.c - runbooks, policies and adapters: what people write and load. Works without a server. */
#include <string.h>
#include <unistd.h>
#include "apps/opscase/local.h"
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/mem.h"
#include "gatekeeper/policy.h"
#include "gatekeeper/policy_test.h"
#include "planner/template.h"

/* --- runbooks */

/* Without adapters the plans inside cannot be held against the operations: said, not hidden. */
static enum oc_err contract(const struct cli *cli, struct registry **ret_registry, struct plan_contract **ret,
			    struct oc_fail *reterr)
{
	AUTO(str) char *dir = local_adapters_dir(cli);
	enum oc_err err;

	if (!cli_option(cli, "adapters") && access(dir, R_OK) != 0) {
		fprintf(stderr,
			"opscase: no adapters in %s: actions and their params are not checked (--adapters DIR)\n",
			dir);
		return OC_OK;
	}
	err = local_registry(cli, ret_registry, reterr);
	return err == OC_OK ? plan_contract_new(registry_operations(*ret_registry), ret, reterr) : err;
}

static void add_runbooks(const struct cli *cli, const json_t *list, struct text *out)
{
	AUTO(out_table) struct out_table table;
	const json_t *one, *p;
	const char *key;
	size_t i;

	out_table_init(&table, "RUNBOOK|PARAMETERS|TITLE");
	json_array_foreach(list, i, one)
	{
		AUTO(text) struct text params = { 0 };
		const json_t *all = json_object_get(one, "params");
		size_t k;

		json_object_foreach((json_t *)all, key, p)
			text_addf(&params, "%s%s", params.len ? ", " : "", key);
		json_array_foreach(all, k, p)
			text_addf(&params, "%s%s", params.len ? ", " : "", json_str_or(p, "name", "?"));
		out_table_add(&table, OUT_BOLD, json_str_or(one, "id", json_str(one, "name")));
		out_table_add(&table, OUT_DIM, text_str(&params));
		out_table_add(&table, OUT_PLAIN, json_str(one, "title"));
	}
	out_table_print(&table, cli->width, cli->colour, out);
}

static enum oc_err runbook_set(const struct cli *cli, const char *path, struct runbook_set **ret,
			       struct oc_fail *reterr)
{
	AUTO(runbook_findings) struct runbook_findings findings = { 0 };
	enum oc_err err;

	(void)cli;
	err = path ? runbook_set_load(path, NULL, ret, &findings, reterr)
		   : runbook_set_builtin(NULL, ret, &findings, reterr);
	if (err != OC_OK && findings.count > 1)
		fputs(text_str(&findings.lines), stderr);
	return err;
}

enum oc_err cli_runbook_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(runbook_set) struct runbook_set *set = NULL;
	AUTO(json) json_t *list = NULL;
	AUTO(text) struct text out = { 0 };
	enum oc_err err = runbook_set(cli, cli_arg(cli, 0), &set, reterr);

	if (err != OC_OK)
		return err;
	list = runbook_set_json(set);
	if (cli->json)
		return show_json(list);
	add_runbooks(cli, list, &out);
	fputs(out.s, stdout);
	return OC_OK;
}

enum oc_err cli_runbook_show(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(runbook_set) struct runbook_set *set = NULL;
	const struct runbook *rb;
	enum oc_err err = runbook_set(cli, cli_option(cli, "from"), &set, reterr);

	if (err != OC_OK)
		return err;
	rb = runbook_find(set, cli_arg(cli, 0));
	if (!rb)
		return oc_fail(reterr, OC_NOT_FOUND,
			       "there is no runbook '%s'; `opscase runbook list` shows them",
			       cli_arg(cli, 0));
	return show_json(runbook_json(rb));
}

enum oc_err cli_runbook_lint(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(registry) struct registry *registry = NULL;
	AUTO(plan_contract) struct plan_contract *rules = NULL;
	enum oc_err err = contract(cli, &registry, &rules, reterr);
	size_t bad = 0;

	for (int i = 0; i < cli->argc && err == OC_OK; i++) {
		AUTO(runbook_findings) struct runbook_findings findings = { 0 };
		struct oc_fail fail = { 0 };
		enum oc_err lint = runbook_lint(cli_arg(cli, i), rules, &findings, &fail);

		if (lint == OC_OK) {
			printf("%s: nothing to say\n", cli_arg(cli, i));
			continue;
		}
		if (lint != OC_INVALID && lint != OC_BAD_REQUEST)
			return oc_fail(reterr, lint, "%s", fail.text);
		fputs(findings.lines.len ? text_str(&findings.lines) : fail.text, stdout);
		if (!findings.lines.len)
			puts("");
		bad += findings.count ? findings.count : 1;
	}
	if (err == OC_OK && bad)
		return oc_fail(reterr, OC_INVALID, "%zu finding%s", bad, bad == 1 ? "" : "s");
	return err;
}

/* --- policies */

static enum oc_err load_policy(const char *dir, struct policy **ret, struct oc_fail *reterr)
{
	return dir ? policy_load(dir, ret, reterr) : policy_builtin(ret, reterr);
}

enum oc_err cli_policy_lint(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(policy) struct policy *policy = NULL;
	enum oc_err err = load_policy(cli_arg(cli, 0), &policy, reterr);

	if (err == OC_OK)
		printf("%zu rules, version %.12s: nothing to say\n", policy_rule_count(policy),
		       policy_hash(policy));
	return err;
}

enum oc_err cli_policy_show(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(policy) struct policy *policy = NULL;
	AUTO(json) json_t *doc = NULL;
	AUTO(text) struct text out = { 0 };
	enum oc_err err;

	if (cli_flag(cli, "reference")) {
		policy_print_reference(&out);
		fputs(text_str(&out), stdout);
		return OC_OK;
	}
	err = load_policy(cli_arg(cli, 0), &policy, reterr);
	if (err == OC_OK)
		err = json_read_own(policy_text(policy), &doc, reterr);
	return err == OC_OK ? show_json(doc) : err;
}

enum oc_err cli_policy_test(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(policy) struct policy *policy = NULL;
	AUTO(text) struct text out = { 0 };
	struct policy_test_result sum = { 0 };
	enum oc_err err = load_policy(cli_option(cli, "policies"), &policy, reterr);

	for (int i = 0; i < cli->argc && err == OC_OK; i++) {
		struct policy_test_result one = { 0 };

		err = policy_test_run(policy, cli_arg(cli, i), &out, &one, reterr);
		sum.passed += one.passed;
		sum.failed += one.failed;
	}
	fputs(text_str(&out), stdout);
	if (err == OC_OK)
		printf("%u passed, %u failed\n", sum.passed, sum.failed);
	if (err == OC_OK && sum.failed)
		return oc_fail(reterr, OC_INVALID, "the policy does not say what these cases expect");
	return err;
}

/* --- adapters */

enum oc_err cli_adapter_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(registry) struct registry *registry = NULL;
	AUTO(json) json_t *list = json_array();
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	const struct operation_list *ops;
	enum oc_err err;

	out_table_init(&table, "ADAPTER|VERSION|OPERATION|RISK|BLAST|UNDO|DRY RUN|PROBE|WHAT");
	err = local_registry(cli, &registry, reterr);
	if (err != OC_OK)
		return err;
	ops = registry_operations(registry);
	for (size_t i = 0; i < registry_adapter_count(registry); i++) {
		const struct registry_adapter *a = registry_adapter_at(registry, i);
		json_t *one = json_object(), *names = json_array();

		json_put(one, "name", a->name);
		json_put(one, "version", a->version);
		json_put(one, "file", a->file);
		json_put(one, "summary", a->summary);
		json_put(one, "refusal", a->refusal);
		if (a->refusal) {
			const char *slash = strrchr(a->file, '/');

			out_table_add(&table, OUT_BAD, slash ? slash + 1 : a->file);
			for (int k = 0; k < 7; k++)
				out_table_add(&table, OUT_PLAIN, k == 1 ? "refused" : "");
			out_table_add(&table, OUT_BAD, a->refusal);
		}
		for (size_t k = 0; k < ops->count && !a->refusal; k++) {
			const struct operation *op = &ops->item[k];

			if (!str_eq(op->adapter, a->name))
				continue;
			json_array_append_new(names, json_string(op->name));
			out_table_add(&table, OUT_BOLD, a->name);
			out_table_add(&table, OUT_DIM, a->version);
			out_table_add(&table, OUT_PLAIN, op->name);
			out_table_addf(&table, op->risk >= 0.7 ? OUT_BAD : OUT_PLAIN, "%.1f", op->risk);
			out_table_add(&table, OUT_PLAIN, operation_blast_name(op->blast));
			out_table_add(&table, OUT_PLAIN, op->has_undo ? "yes" : "no");
			out_table_add(&table, OUT_PLAIN, op->has_dry_run ? "yes" : "no");
			out_table_add(&table, OUT_PLAIN, op->has_probe ? "yes" : "no");
			out_table_add(&table, OUT_DIM, op->summary);
		}
		json_object_set_new(one, "operations", names);
		json_array_append_new(list, one);
	}
	if (cli->json)
		return show_json(list);
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(out.s, stdout);
	return OC_OK;
}

enum oc_err cli_adapter_check(struct cli *cli, struct oc_fail *reterr)
{
	unsigned refused = 0;

	for (int i = 0; i < cli->argc; i++) {
		AUTO(str) char *file = realpath(cli_arg(cli, i), NULL);
		struct oc_fail fail = { 0 };
		enum oc_err err = file ? registry_check_file(NULL, file, &fail)
				       : oc_fail(&fail, OC_NOT_FOUND, "there is no such file");

		if (err != OC_OK && err != OC_INVALID)
			return oc_fail(reterr, err, "%s: %s", cli_arg(cli, i), fail.text);
		printf("%s: %s\n", cli_arg(cli, i), err == OC_OK ? "loads" : fail.text);
		refused += err != OC_OK;
	}
	return refused ? oc_fail(reterr, OC_INVALID, "%u refused", refused) : OC_OK;
}
