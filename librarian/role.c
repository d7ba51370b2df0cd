#include "librarian/role.h"
#include "base/mem.h"
#include "librarian/learn.h"
#include "store/errand.h"

static json_t *own_json(const char *text)
{
	json_t *v = NULL;

	return text && json_read_own(text, &v, NULL) == OC_OK ? v : NULL;
}

static enum oc_err learn_work(void *ctx, const struct command *cmd, struct answer *ans,
			      struct oc_fail *reterr)
{
	AUTO(json) json_t *plan = NULL;
	AUTO(json) json_t *checks = NULL;
	AUTO(json) json_t *finding = NULL;
	AUTO(str) char *page = NULL;
	const struct pg_result *row = cmd->row;
	char tenant[24];

	(void)ctx, (void)reterr;
	if (!row)
		return OC_OK;
	plan = own_json(pg_text(row, cmd->row_at, 3));
	checks = own_json(pg_text(row, cmd->row_at, 4));
	finding = own_json(pg_text(row, cmd->row_at, 7));
	page = learn_page(&(struct learn_case){ .case_id = cmd->case_id,
						.title = pg_text_or(row, cmd->row_at, 1, "a case"),
						.summary = pg_text(row, cmd->row_at, 2),
						.finding = pg_text(row, cmd->row_at, 6),
						.evidence = json_object_get(finding, "evidence"),
						.plan = plan,
						.checks = checks,
						.timeline = pg_text(row, cmd->row_at, 5) });
	snprintf(tenant, sizeof(tenant), "%lld", cmd->tenant_id);
	answer_do(ans, SQL_LEARN_DRAFT,
		  PG_ARGS(tenant, cmd->case_id, pg_text_or(row, cmd->row_at, 1, "a case"), page,
			  pg_text(row, cmd->row_at, 8)));
	return OC_OK;
}

struct role librarian_role(void)
{
	return (struct role){ .name = "librarian",
			      .topics = { "cmd.learn" },
			      .load_sql = SQL_LEARN_LOAD,
			      .threads = 1,
			      .max_batch = 64,
			      .lease_ms = 30000,
			      .work = learn_work };
}
