/* llm.c - opscase llm: what models said, looked at again. Works on the database, without a service or a network. */
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

enum oc_err cli_llm_replay(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(pg) struct pg *pg = NULL;
	AUTO(registry) struct registry *registry = NULL;
	AUTO(plan_contract) struct plan_contract *contract = NULL;
	AUTO(pg_result) struct pg_result *calls = NULL, *was = NULL, *tenant = NULL;
	AUTO(json) json_t *plan = NULL;
	const char *id = cli_arg(cli, 0);
	char hash[HASH_HEX];
	bool same;
	enum oc_err err = local_registry(cli, &registry, reterr);

	if (err == OC_OK)
		err = plan_contract_new(registry_operations(registry), &contract, reterr);
	if (err == OC_OK)
		err = local_database(cli, "opscase_worker", &pg, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_LLM_TENANT, PG_ARGS(id), &tenant, reterr);
	if (err == OC_OK && !pg_rows(tenant))
		err = oc_fail(reterr, OC_NOT_FOUND, "there is no case %s", id);
	if (err == OC_OK)
		err = pg_query(pg, SQL_LLM_CALLS, PG_ARGS(pg_text(tenant, 0, 0), id), &calls, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_LLM_PLANS, PG_ARGS(pg_text(tenant, 0, 0), id), &was, reterr);
	if (err == OC_OK)
		err = replay(contract, calls, &plan, reterr);
	if (err != OC_OK)
		return err;
	plan_hash(plan, hash);
	same = pg_rows(was) && str_eq(pg_text(was, 0, 0), hash);
	printf("%u calls; plan %s\n%s\n", pg_rows(calls), hash,
	       same           ? "the same plan as was proposed"
	       : pg_rows(was) ? "ANOTHER plan than was proposed"
			      : "no plan of a model was proposed");
	cli->exit_code = same ? 0 : 1;
	return OC_OK;
}
