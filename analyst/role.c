#define LOG_ROOM "analyst"
#include "analyst/role.h"
#include <stdio.h>
#include "analyst/evidence.h"
#include "analyst/eyes.h"
#include "analyst/incident.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "store/finding.h"
#include "store/metric.h"

#define LEASE_MS       30000
/* a model takes its time: llm/ ends an investigation after four minutes */
#define LEASE_MODEL_MS 300000
#define BEFORE_S       7200 /* what is compared with, before the onset */

struct analyst {
	struct analyst_config config;
	struct pg_pool *pool_ref;
};

struct analyst *analyst_new(const struct analyst_config *config, struct pg_pool *pool)
{
	struct analyst *a = mem_alloc(sizeof(*a));

	a->config = *config;
	if (a->config.look_back_s <= 0)
		a->config.look_back_s = 1800;
	a->pool_ref = pool;
	return a;
}

void analyst_free(struct analyst *a)
{
	free(a);
}

/* What the wishes were answered with; false in ret_answered: the source could not be asked. */
static enum oc_err gather(struct analyst *a, const struct command *cmd, const struct evidence_wishes *wishes,
			  json_t *out, bool *ret_answered, struct oc_fail *why, struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = pg_pool_take(a->pool_ref, 10000, &pg, reterr);

	*ret_answered = true;
	for (size_t i = 0; err == OC_OK && i < wishes->count; i++) {
		const struct evidence_wish *w = &wishes->item[i];
		json_t *series = NULL;
		bool known = false;

		if (w->unreadable[0]) {
			json_array_append_new(out, evidence_answer(w, NULL, false));
			continue;
		}
		err = metric_summary_read(pg, cmd->tenant_id, w->resource, w->metric[0] ? w->metric : NULL,
					  w->from_us, w->to_us, &series, &known, why);
		if (err == OC_OK) {
			json_array_append_new(out, evidence_answer(w, series, known));
			json_decref(series);
		} else if (pg_alive(pg)) {
			*ret_answered = false;
			err = OC_OK;
			break;
		} else {
			oc_fail(reterr, err, "%s", why->text);
		}
	}
	pg_pool_give(a->pool_ref, pg);
	return err;
}

/* Who is at fault, into the finding's body; what was alarmed is in the labels. No rows at all: nothing is said. */
static enum oc_err explain(struct analyst *a, const struct command *cmd, const json_t *labels, json_t *body,
			   char **summary, double *trust, int64_t *ret_onset_us, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *first = NULL;
	AUTO(str) char *sentence = NULL, *both = NULL;
	AUTO(json) json_t *said = NULL;
	struct pg *pg = NULL;
	char tenant[24];
	double sure = 0;
	int64_t onset_us = pg_int(cmd->row, cmd->row_at, AL_CREATED_US);
	enum oc_err err = pg_pool_take(a->pool_ref, 10000, &pg, reterr);

	if (err != OC_OK)
		return err;
	snprintf(tenant, sizeof(tenant), "%lld", cmd->tenant_id);
	err = pg_query(pg, SQL_INCIDENT_ONSET, PG_ARGS(tenant, cmd->case_id), &first, reterr);
	if (err == OC_OK && pg_text(first, 0, 0))
		onset_us = pg_int(first, 0, 0);
	*ret_onset_us = onset_us;
	if (err == OC_OK)
		err = incident_explain(pg,
				       &(struct incident_ask){ .tenant_id = cmd->tenant_id,
							       .urn = json_str(labels, "resource"),
							       .metric = json_str(labels, "metric"),
							       .onset_us = onset_us,
							       .now_us = cmd->now_us,
							       .before_s = BEFORE_S },
				       &said, &sure, &sentence, reterr);
	pg_pool_give(a->pool_ref, pg);
	if (err != OC_OK || !json_int_or(json_object_get(said, "looked_at"), "series", 0))
		return err;
	json_object_set(body, "root_cause", said);
	/* A cause that was found comes first; that none was found does not. */
	both = sure > 0 ? mem_printf("%s; %s", sentence, *summary) : mem_printf("%s; %s", *summary, sentence);
	mem_set(summary, both);
	if (sure > *trust)
		*trust = sure;
	return OC_OK;
}

/* A model looks further, after the rules and beside them. */
static void ask_model(struct analyst *a, const struct command *cmd, const json_t *labels, json_t *body,
		      char **summary, double *trust, int64_t onset_us)
{
	const struct analyst_model *m = &a->config.model;
	struct eyes eyes = { .pool_ref = a->pool_ref,
			     .recall = m->recall,
			     .ctx = m->ctx,
			     .epoch = cmd->epoch,
			     .attempt = cmd->attempts };
	struct investigate_eyes open = eyes_open(&eyes);
	json_t *said;
	char run[40];

	snprintf(run, sizeof(run), "%d.%d", cmd->epoch, cmd->attempts);
	said = investigate(m->llm_ref,
			   &(struct investigate_case){ .tenant_id = cmd->tenant_id,
						       .case_id = cmd->case_id,
						       .title = pg_text(cmd->row, cmd->row_at, AL_TITLE),
						       .run = run,
						       .labels = labels,
						       .summary = *summary,
						       .root_cause = json_object_get(body, "root_cause"),
						       .onset_us = onset_us,
						       .now_us = cmd->now_us },
			   &open);
	json_object_set_new(body, "model", said);
	*trust = investigate_trust(said, *trust);
	if (json_str(said, "summary")) {
		AUTO(str)
		char *both = mem_printf("%s; the model (%s): %s", *summary, json_str_or(said, "decision", ""),
					json_str(said, "summary"));

		mem_set(summary, both);
	}
}

static enum oc_err analyst_work(void *ctx, const struct command *cmd, struct answer *ans,
				struct oc_fail *reterr)
{
	struct analyst *a = ctx;
	AUTO(json) json_t *labels = NULL, *evidence = NULL, *gathered = json_array(), *body = NULL;
	AUTO(str) char *text = NULL, *summary = NULL;
	struct evidence_wishes wishes;
	struct oc_fail why = { 0 };
	char id[UUID_TEXT], tenant[24], epoch[16], confidence[32];
	int64_t onset_us = 0;
	json_t *meta;
	double trust;
	bool answered;
	enum oc_err err;

	if (!cmd->row)
		return oc_fail(reterr, OC_BUG, "the command's case was not read");
	err = json_read_own(pg_text_or(cmd->row, cmd->row_at, AL_LABELS, "{}"), &labels, reterr);
	if (err == OC_OK)
		err = json_read_own(pg_text_or(cmd->row, cmd->row_at, AL_EVIDENCE, "[]"), &evidence, reterr);
	if (err != OC_OK)
		return err;
	evidence_wishes_read(labels, evidence, cmd->now_us, a->config.look_back_s, &wishes);
	err = gather(a, cmd, &wishes, gathered, &answered, &why, reterr);
	if (err != OC_OK)
		return err;
	if (!answered) {
		answer_event(ans, "evt.analysis.failed.v1", NULL);
		answer_reason(ans, "the evidence could not be read: %s", why.text);
		answer_meta(ans, json_pack("{s:s}", "error", why.text));
		return OC_OK;
	}

	body = evidence_body(gathered, &trust, &summary);
	err = explain(a, cmd, labels, body, &summary, &trust, &onset_us, reterr);
	if (err != OC_OK)
		return err;
	if (a->config.model.llm_ref)
		ask_model(a, cmd, labels, body, &summary, &trust, onset_us);
	text = json_text(body);
	uuid_new(id);
	snprintf(tenant, sizeof(tenant), "%lld", cmd->tenant_id);
	snprintf(epoch, sizeof(epoch), "%d", cmd->epoch);
	snprintf(confidence, sizeof(confidence), "%.3f", trust);
	answer_do(ans, SQL_FINDING_INSERT,
		  PG_ARGS(id, tenant, cmd->case_id, epoch, summary, text, confidence));
	answer_event(ans, "evt.analysis.findings.v1", id);
	answer_reason(ans, "%s", summary);
	meta = json_pack("{s:s, s:s, s:f}", "finding_id", id, "summary", summary, "confidence", trust);
	if (json_object_get(body, "model"))
		json_object_set(meta, "llm", json_object_get(body, "model"));
	answer_meta(ans, meta);
	log_info("case %s: %s", cmd->case_id, summary);
	return OC_OK;
}

struct role analyst_role(struct analyst *a)
{
	return (struct role){
		.name = "analyst",
		.topics = { "cmd.analysis.run", NULL },
		.load_sql = SQL_ANALYSIS_LOAD,
		.threads = a->config.threads > 0 ? (unsigned)a->config.threads : 2,
		/* one by one where each takes long: what is leased waits */
		.max_batch = a->config.model.llm_ref ? 1 : 8,
		.lease_ms = a->config.model.llm_ref ? LEASE_MODEL_MS : LEASE_MS,
		.work = analyst_work,
		.ctx = a,
	};
}
