#include "apps/opscased/grpc.h"
#include <stdio.h>
#include "api/auth.h"
#include "base/mem.h"
#include "store/tenant.h"
#include "wire/grpc/server.h"

#define RETRY_S 1

struct otlp_grpc {
	struct otlp_grpc_config config;
	struct auth *auth;
	struct grpc_server *server;
};

static const struct {
	const char *path;
	enum receive_way way;
} methods[] = {
	{ "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", RECEIVE_OTLP_METRICS },
	{ "/opentelemetry.proto.collector.logs.v1.LogsService/Export",       RECEIVE_OTLP_LOGS    },
	{ "/opentelemetry.proto.collector.trace.v1.TraceService/Export",     RECEIVE_OTLP_TRACES  },
};

static void refuse(struct grpc_answer *answer, enum oc_err err, const char *why)
{
	switch (err) {
	case OC_UNAUTHENTICATED:
		answer->status = GRPC_UNAUTHENTICATED;
		break;
	case OC_FORBIDDEN:
	case OC_NOT_FOUND:
		answer->status = GRPC_PERMISSION_DENIED;
		break;
	case OC_BAD_REQUEST:
	case OC_INVALID:
		answer->status = GRPC_INVALID_ARGUMENT;
		break;
	case OC_TOO_LARGE:
		answer->status = GRPC_RESOURCE_EXHAUSTED;
		break;
	default: /* busy, away, nobody knows: the same body again counts once */
		answer->status = err == OC_BUG ? GRPC_INTERNAL : GRPC_UNAVAILABLE;
		answer->retry_s = err == OC_BUG ? 0 : RETRY_S;
	}
	snprintf(answer->why, sizeof(answer->why), "%.255s", why);
}

/* Who may send, and for which tenant: the rules of POST /v1/... */
static enum oc_err sender(struct otlp_grpc *g, const struct grpc_call *call, struct tenant *ret,
			  struct oc_fail *reterr)
{
	struct token who;
	struct pg *pg = NULL;
	enum oc_err err = auth_check(g->auth, call->authorization, &who, reterr);

	if (err != OC_OK)
		return err;
	if (who.role != ROLE_SERVICE && who.role != ROLE_OPERATOR && who.role != ROLE_ADMIN)
		return oc_fail(reterr, OC_FORBIDDEN, "a token of the role %s may not send telemetry",
			       token_role_name(who.role));
	if (who.tenant_id) {
		if (call->tenant && !str_eq(call->tenant, who.tenant))
			return oc_fail(reterr, OC_FORBIDDEN, "this token is for tenant '%s'", who.tenant);
		ret->id = who.tenant_id;
		snprintf(ret->code, sizeof(ret->code), "%s", who.tenant);
		return OC_OK;
	}
	if (str_empty(call->tenant))
		return oc_fail(reterr, OC_BAD_REQUEST,
			       "this token is for every tenant: name one in the metadata x-opscase-tenant");
	err = pg_pool_take(g->config.pool_ref, 2000, &pg, reterr);
	if (err != OC_OK)
		return oc_fail(reterr, OC_UNAVAILABLE, "the database does not answer now, or is busy");
	err = tenant_find(pg, call->tenant, ret, reterr);
	pg_pool_give(g->config.pool_ref, pg);
	return err;
}

static void export_call(void *ctx, const struct grpc_call *call, struct grpc_answer *answer)
{
	struct otlp_grpc *g = ctx;
	struct receive_answer said = { 0 };
	struct tenant tenant = { 0 };
	struct oc_fail fail = { 0 };
	enum oc_err err = OC_OK;

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		if (!str_eq(call->path, methods[i].path))
			continue;
		err = sender(g, call, &tenant, &fail);
		if (err == OC_OK)
			err = receive(g->config.receiver_ref,
				      &(struct receive_request){ .way = methods[i].way,
								 .tenant_id = tenant.id,
								 .tenant = tenant.code,
								 .content_type = "application/x-protobuf",
								 .content_encoding = call->encoding,
								 .body = call->message,
								 .len = call->len },
				      &said, &fail);
		if (err == OC_OK)
			text_add_n(&answer->message, said.body ? said.body : "", said.len);
		else
			refuse(answer, err, fail.text);
		free(said.body);
		return;
	}
	answer->status = GRPC_UNIMPLEMENTED;
	snprintf(answer->why, sizeof(answer->why), "there is no '%.200s' here", call->path);
}

enum oc_err otlp_grpc_start(const struct otlp_grpc_config *config, struct otlp_grpc **ret,
			    struct oc_fail *reterr)
{
	struct otlp_grpc *g = mem_alloc(sizeof(*g));
	enum oc_err err;

	g->config = *config;
	g->auth = auth_new(config->pool_ref);
	err = grpc_server_start(&(struct grpc_config){ .port = config->port,
						       .message_max = config->message_max,
						       .call = export_call,
						       .ctx = g },
				&g->server, reterr);
	if (err != OC_OK) {
		otlp_grpc_stop(g);
		return err;
	}
	*ret = g;
	return OC_OK;
}

void otlp_grpc_stop(struct otlp_grpc *g)
{
	if (!g)
		return;
	grpc_server_stop(g->server, 5000);
	auth_free(g->auth);
	free(g);
}
