#include "apps/opscased/hooks.h"
#include "apps/opscased/secrets.h"
#include "base/clock.h"
#include "base/mem.h"
#include "librarian/desk.h"
#include "ingest/discovery.h"

bool hooks_permits(void *ctx, const char *need, const char *tenant)
{
	return gate_permits(((struct hooks *)ctx)->gate, need, tenant);
}

static enum oc_err may_approve(void *ctx, struct pg *pg, long long tenant_id, const char *case_id,
			       const char *decision_id, const char *principal, const char *role,
			       const char *reason, bool reject, char *ret_decision, struct oc_fail *reterr)
{
	struct gate_may may;

	(void)ctx;
	return gate_check_approval_row(pg, tenant_id, case_id, decision_id,
				       &(struct gate_person){
					       .principal = principal, .role = role, .reason = reason },
				       reject, ret_decision, &may, reterr);
}

static json_t *runbooks(void *ctx)
{
	return planner_runbooks_json(((struct hooks *)ctx)->planner);
}

static enum oc_err telemetry(void *ctx, struct api_telemetry *t, struct oc_fail *reterr)
{
	static const enum receive_way ways[] = {
		[API_OTLP_METRICS] = RECEIVE_OTLP_METRICS,
		[API_OTLP_LOGS] = RECEIVE_OTLP_LOGS,
		[API_OTLP_TRACES] = RECEIVE_OTLP_TRACES,
		[API_REMOTE_WRITE] = RECEIVE_REMOTE_WRITE,
		[API_LINES] = RECEIVE_LINES,
		[API_BULK] = RECEIVE_BULK,
	};
	const struct receive_request q = { .way = ways[t->way],
					   .tenant_id = t->tenant_id,
					   .tenant = t->tenant,
					   .content_type = t->content_type,
					   .content_encoding = t->content_encoding,
					   .body = t->body,
					   .len = t->len,
					   .whole = t->whole };
	struct receive_answer a = { 0 };
	enum oc_err err = receive(&((struct hooks *)ctx)->receiver, &q, &a, reterr);

	if (err != OC_OK)
		return err;
	t->status = a.status;
	t->answer_type = a.content_type;
	t->answer = a.body;
	t->answer_len = a.len;
	return OC_OK;
}

static enum oc_err knowledge(void *ctx, long long tenant_id, const char *what, const json_t *args,
			     const char *who, json_t **ret_answer, struct oc_fail *reterr)
{
	struct hooks *h = ctx;
	struct pg *pg = NULL;
	enum oc_err err = pg_pool_take(h->pool, 5000, &pg, reterr);

	if (err != OC_OK)
		return err;
	err = desk_ask(h->library, pg, tenant_id, what, args, who, ret_answer, reterr);
	pg_pool_give(h->pool, pg);
	return err;
}

static enum oc_err webhook_secret(void *ctx, const char *tenant, const char *sender, char **ret,
				  struct oc_fail *reterr)
{
	return secret_from_dir(((struct hooks *)ctx)->secrets_dir, &(struct host_call){ .tenant = tenant },
			       "webhook", sender, ret, reterr);
}

static enum oc_err slos(void *ctx, long long tenant_id, json_t **ret, struct oc_fail *reterr)
{
	struct hooks *h = ctx;
	struct pg *pg = NULL;
	enum oc_err err = pg_pool_take(h->pool, 5000, &pg, reterr);

	if (err == OC_OK)
		err = slo_status(h->slos, pg, tenant_id, clock_wall_us(), ret, reterr);
	pg_pool_give(h->pool, pg);
	return err;
}

static enum oc_err topology(void *ctx, const struct api_topology_ask *ask, const char *body, size_t len,
			    json_t **ret_answer, struct oc_fail *reterr)
{
	AUTO(json) json_t *doc = NULL;
	struct topo_file *files = NULL;
	size_t count = 0;
	enum oc_err err = discovery_files(body, len, &doc, &files, &count, reterr);

	if (err != OC_OK)
		return err;
	err = discovery_run(
		((struct hooks *)ctx)->pool, files, count,
		&(struct discovery_ask){
			.tenant_id = ask->tenant_id,
			.how = { .stack = ask->stack, .inventory = ask->inventory, .applied = ask->applied },
			.at_us = ask->at_us,
			.force = ask->force,
			.dry_run = ask->dry_run
        },
		ret_answer, reterr);
	free(files);
	return err;
}

void hooks_into(struct hooks *h, struct api_deps *deps)
{
	deps->may_approve = may_approve;
	deps->runbooks = runbooks;
	deps->telemetry = h->receiver.bus_ref ? telemetry : NULL;
	deps->knowledge = knowledge;
	deps->topology = topology;
	deps->permits = hooks_permits;
	deps->webhook_secret = webhook_secret;
	deps->slo_status = slos;
	deps->ctx = h;
}
