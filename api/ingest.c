/* ingest.c - the ways in for telemetry: bodies go on to the receivers as they are. */
#include "api/call.h"

static void hand_on(struct api_call *c, enum api_way way)
{
	const char *type = http_header(c->req, "Content-Type");
	struct api_telemetry t = { .way = way,
				   .tenant_id = c->tenant_id,
				   .tenant = c->tenant,
				   .content_type = type ? type : "",
				   .content_encoding = http_header(c->req, "Content-Encoding") };
	struct oc_fail fail = { 0 };

	if (!c->deps->telemetry) {
		oc_fail(&fail, OC_UNAVAILABLE, "this process receives no telemetry");
		call_problem(c, &fail, NULL);
		return;
	}
	t.body = http_body(c->req, &t.len);
	if (c->deps->telemetry(c->deps->ctx, &t, &fail) != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	/* each protocol has its own envelope */
	if (way == API_BULK)
		call_header(c, "X-Elastic-Product", "Elasticsearch"); /* its clients look for it */
	call_bytes(c, t.status, t.answer_type, t.answer, t.answer_len);
}

void ingest_metrics(struct api_call *c)
{
	hand_on(c, API_OTLP_METRICS);
}

void ingest_logs(struct api_call *c)
{
	hand_on(c, API_OTLP_LOGS);
}

void ingest_traces(struct api_call *c)
{
	hand_on(c, API_OTLP_TRACES);
}

void ingest_remote_write(struct api_call *c)
{
	hand_on(c, API_REMOTE_WRITE);
}

void ingest_lines(struct api_call *c)
{
	hand_on(c, API_LINES);
}

void ingest_bulk(struct api_call *c)
{
	hand_on(c, API_BULK);
}
