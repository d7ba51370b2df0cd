#include "librarian/role.h"
#include "base/mem.h"
#include "store/errand.h"

static json_t *own_json(const char *text)
{
	json_t *v = NULL;

	return text && json_read_own(text, &v, NULL) == OC_OK ? v : json_null();
}

static enum oc_err learn_work(void *ctx, const struct command *cmd, struct answer *ans,
			      struct oc_fail *reterr)
{
	AUTO(json) json_t *meta = NULL;
	AUTO(str) char *text = NULL;
	char tenant[24];

	(void)ctx, (void)reterr;
	if (!cmd->row)
		return OC_OK;
	/* A draft is not knowledge: nothing retrieves it before a person has accepted it. */
	meta = json_pack("{s:s, s:s, s:o, s:o}", "state", "draft", "case_id", cmd->case_id, "plan",
			 own_json(pg_text(cmd->row, cmd->row_at, 3)), "checks",
			 own_json(pg_text(cmd->row, cmd->row_at, 4)));
	json_put(meta, "summary", pg_text(cmd->row, cmd->row_at, 2));
	json_put(meta, "timeline", pg_text(cmd->row, cmd->row_at, 5));
	text = json_text(meta);
	snprintf(tenant, sizeof(tenant), "%lld", cmd->tenant_id);
	answer_do(ans, SQL_LEARN_DRAFT,
		  PG_ARGS(tenant, cmd->case_id, pg_text_or(cmd->row, cmd->row_at, 1, ""), text));
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
