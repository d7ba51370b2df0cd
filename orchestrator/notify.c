#define LOG_ROOM "notifier"
#include "orchestrator/notify.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "store/errand.h"

static enum oc_err notify_work(void *ctx, const struct command *cmd, struct answer *ans,
			       struct oc_fail *reterr)
{
	AUTO(str) char *sentence = NULL;
	AUTO(json) json_t *body = json_object();
	AUTO(str) char *body_text = NULL;
	char id[UUID_TEXT], tenant[24];
	const char *title, *reason;

	(void)ctx, (void)reterr;
	if (!cmd->row)
		return OC_OK;
	title = pg_text_or(cmd->row, cmd->row_at, 1, "");
	reason = json_str_or(cmd->payload, "park_reason", pg_text_or(cmd->row, cmd->row_at, 3, ""));
	sentence = mem_printf("%s: %s", title, pg_text_or(cmd->row, cmd->row_at, 4, reason));
	json_put(body, "park_reason", reason);
	json_put(body, "from_event", json_str(cmd->payload, "from_event"));
	json_put(body, "status", pg_text(cmd->row, cmd->row_at, 2));
	body_text = json_text(body);
	uuid_new(id);
	snprintf(tenant, sizeof(tenant), "%lld", cmd->tenant_id);
	answer_do(ans, SQL_NOTIFY_INSERT, PG_ARGS(id, tenant, cmd->case_id, sentence, body_text));
	log_info("case %s of %s needs somebody: %s", cmd->case_id, cmd->tenant, sentence);
	return OC_OK;
}

struct role notify_role(void)
{
	return (struct role){ .name = "notifier",
			      .topics = { "cmd.notify" },
			      .load_sql = SQL_NOTIFY_LOAD,
			      .threads = 1,
			      .max_batch = 64,
			      .lease_ms = 30000,
			      .work = notify_work };
}
