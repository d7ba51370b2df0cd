/* llm.c - opscase llm: what models said, looked at again. Works on the database, without a service or a network. */
#include "analyst/investigate.h"
#include "apps/opscase/local.h"
#include "apps/opscase/show.h"
#include "base/mem.h"
#include "planner/model.h"
#include "store/llm.h"
#include "wire/pg/pg.h"

/* The last answer that became a plan. */
static enum oc_err replay(struct plan_contract *contract, const struct pg_result *calls, json_t **ret,
			  struct oc_fail *reterr)
{
	enum oc_err err = oc_fail(reterr, OC_NOT_FOUND, "no model was asked for a plan of this case");

	for (unsigned i = pg_rows(calls); i > 0 && err != OC_OK; i--) {
		AUTO(json) json_t *request = NULL;

		err = json_read_own(pg_text_or(calls, i - 1, 0, "{}"), &request, reterr);
		if (err == OC_OK)
			err = model_plan_replay(contract, request, pg_text_or(calls, i - 1, 1, ""), ret,
						reterr);
	}
	return err;
}

/* The last investigation again: what was called in order, and the document it ended in. ret_same: as it was. */
static enum oc_err replay_analysis(struct pg *pg, const char *tenant, const char *id, bool *ret_same,
				   struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *finding = NULL, *looks = NULL, *calls = NULL;
	AUTO(json) json_t *body = NULL, *responses = json_array(), *looked = json_array(), *request = NULL;
	const char *run, *was;
	char hash[HASH_HEX];
	bool same_looks = false;
	enum oc_err err = pg_query(pg, SQL_LLM_FINDING, PG_ARGS(tenant, id), &finding, reterr);

	if (err == OC_OK)
		err = json_read_own(pg_rows(finding) ? pg_text_or(finding, 0, 0, "{}") : "{}", &body, reterr);
	run = err == OC_OK ? json_str(json_object_get(body, "model"), "run") : NULL;
	was = err == OC_OK ? json_str(json_object_get(body, "model"), "hash") : NULL;
	if (err == OC_OK && (!run || !was))
		return oc_fail(reterr, OC_NOT_FOUND, "no model's findings are in the analysis of this case");
	if (err == OC_OK)
		err = pg_query(pg, SQL_LOOKS, PG_ARGS(tenant, id, run), &looks, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_LLM_RUN_CALLS, PG_ARGS(tenant, id, run), &calls, reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(looks); i++) {
		json_t *input = NULL;

		err = json_read_own(pg_text_or(looks, i, 1, "{}"), &input, reterr);
		if (err == OC_OK)
			json_array_append_new(looked, json_pack("{s:s, s:o}", "tool", pg_text(looks, i, 0),
								"input", input));
	}
	for (unsigned i = 0; err == OC_OK && i < pg_rows(calls); i++)
		json_array_append_new(responses, json_string(pg_text_or(calls, i, 1, "")));
	if (err == OC_OK)
		err = json_read_own(pg_rows(calls) ? pg_text_or(calls, pg_rows(calls) - 1, 0, "{}") : "{}",
				    &request, reterr);
	if (err == OC_OK)
		err = investigate_replay(responses, request, looked, hash, &same_looks, reterr);
	if (err != OC_OK)
		return err;
	*ret_same = same_looks && str_eq(hash, was);
	printf("%u calls, %u looks; findings %s\n%s\n", pg_rows(calls), pg_rows(looks), hash,
	       *ret_same     ? "the same looks and findings as were recorded"
	       : !same_looks ? "OTHER looks than were recorded"
			     : "OTHER findings than were recorded");
	return OC_OK;
}

static enum oc_err replay_plan(struct plan_contract *contract, struct pg *pg, const char *tenant,
			       const char *id, bool *ret_same, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *calls = NULL, *was = NULL;
	AUTO(json) json_t *plan = NULL;
	char hash[HASH_HEX];
	enum oc_err err = pg_query(pg, SQL_LLM_CALLS, PG_ARGS(tenant, id), &calls, reterr);

	if (err == OC_OK)
		err = pg_query(pg, SQL_LLM_PLANS, PG_ARGS(tenant, id), &was, reterr);
	if (err == OC_OK)
		err = replay(contract, calls, &plan, reterr);
	if (err != OC_OK)
		return err;
	plan_hash(plan, hash);
	*ret_same = pg_rows(was) && str_eq(pg_text(was, 0, 0), hash);
	printf("%u calls; plan %s\n%s\n", pg_rows(calls), hash,
	       *ret_same      ? "the same plan as was proposed"
	       : pg_rows(was) ? "ANOTHER plan than was proposed"
			      : "no plan of a model was proposed");
	return OC_OK;
}

enum oc_err cli_llm_replay(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(pg) struct pg *pg = NULL;
	AUTO(registry) struct registry *registry = NULL;
	AUTO(plan_contract) struct plan_contract *contract = NULL;
	AUTO(pg_result) struct pg_result *tenant = NULL;
	const char *id = cli_arg(cli, 0);
	struct oc_fail no_analysis = { 0 }, no_plan = { 0 };
	bool analysis = true, plan = true;
	enum oc_err analysed, planned, err = local_registry(cli, &registry, reterr);

	if (err == OC_OK)
		err = plan_contract_new(registry_operations(registry), &contract, reterr);
	if (err == OC_OK)
		err = local_database(cli, "opscase_worker", &pg, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_LLM_TENANT, PG_ARGS(id), &tenant, reterr);
	if (err == OC_OK && !pg_rows(tenant))
		err = oc_fail(reterr, OC_NOT_FOUND, "there is no case %s", id);
	if (err != OC_OK)
		return err;
	/* A case may have only one of them. */
	analysed = replay_analysis(pg, pg_text(tenant, 0, 0), id, &analysis, &no_analysis);
	planned = replay_plan(contract, pg, pg_text(tenant, 0, 0), id, &plan, &no_plan);
	if (analysed != OC_OK && planned != OC_OK)
		return oc_fail(reterr, planned, "%.300s; %.300s", no_analysis.text, no_plan.text);
	cli->exit_code = analysis && plan ? 0 : 1;
	return OC_OK;
}
