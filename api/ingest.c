/* ingest.c - POST /v1/metrics: hands OTLP on to the receivers. */
#include "api/call.h"

void ingest_metrics(struct api_call *c)
{
	const char *type = http_header(c->req, "Content-Type"), *body;
	struct oc_fail fail = { 0 };
	json_t *answer = NULL;
	size_t len;

	if (!c->deps->otlp_metrics) {
		oc_fail(&fail, OC_UNAVAILABLE, "this process receives no metrics");
		call_problem(c, &fail, NULL);
		return;
	}
	body = http_body(c->req, &len);
	if (c->deps->otlp_metrics(c->deps->ctx, c->tenant_id, c->tenant, type ? type : "", body, len, &answer,
				  &fail) != OC_OK) {
		json_decref(answer);
		call_problem(c, &fail, NULL);
		return;
	}
	/* OTLP/HTTP has its own envelope. */
	call_document(c, 200, answer ? answer : json_object());
}
