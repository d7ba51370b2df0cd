#include "ingest/receive.h"
#include <stdio.h>
#include <strings.h>
#include "base/mem.h"
#include "ingest/gunzip.h"
#include "ingest/lines.h"
#include "ingest/otlp.h"
#include "ingest/remote_write.h"

static const char type_json[] = "application/json";
static const char type_protobuf[] = "application/x-protobuf";

static bool is_protobuf(const char *type)
{
	return type && (strncasecmp(type, type_protobuf, sizeof(type_protobuf) - 1) == 0 ||
			strncasecmp(type, "application/protobuf", 20) == 0);
}

static const char *const source_of[] = {
	[RECEIVE_OTLP_METRICS] = "otlp/metrics",
	[RECEIVE_OTLP_LOGS] = "otlp/logs",
	[RECEIVE_OTLP_TRACES] = "otlp/traces",
	[RECEIVE_REMOTE_WRITE] = "remote-write",
	[RECEIVE_LINES] = "lines",
	[RECEIVE_BULK] = "bulk",
};

static enum oc_err read_batch(const struct receive_request *q, const char *body, size_t len,
			      struct tel_batch *b, struct text *items, bool *errors, struct oc_fail *reterr)
{
	enum tel_kind kind = q->way == RECEIVE_OTLP_METRICS ? TEL_METRICS
			     : q->way == RECEIVE_OTLP_LOGS  ? TEL_LOGS
							    : TEL_SPANS;

	switch (q->way) {
	case RECEIVE_LINES:
		return lines_read(body, len, b, reterr);
	case RECEIVE_BULK:
		return lines_read_bulk(body, len, b, items, errors, reterr);
	case RECEIVE_REMOTE_WRITE:
		return remote_write_read(body, len, b, reterr);
	default:
		/* whatever the type says: JSON begins with a brace, and protobuf's first byte is a line feed */
		if (is_protobuf(q->content_type))
			return otlp_read_protobuf(kind, body, len, b, reterr);
		return otlp_read_json(kind, body, len, b, reterr);
	}
}

static void answer(const struct receive_request *q, const struct tel_batch *b, const struct text *items,
		   bool errors, struct receive_answer *ret)
{
	struct text t = { 0 };

	*ret = (struct receive_answer){ .status = 200, .content_type = type_json };
	switch (q->way) {
	case RECEIVE_REMOTE_WRITE:
		ret->status = 204;
		break;
	case RECEIVE_BULK:
		text_addf(&t, "{\"took\":0,\"errors\":%s,\"items\":[%s]}", errors ? "true" : "false",
			  text_str(items));
		break;
	case RECEIVE_LINES: {
		struct tel_attr why = {
			TEL_STR("error"), { b->why, (uint32_t)strlen(b->why) }
		};
		struct text e = { 0 };

		tel_attrs_json(&why, 1, &e);
		text_addf(&t, "{\"accepted\":%u,\"rejected\":%llu%s%s", b->records,
			  (unsigned long long)b->rejected, b->why[0] ? "," : "", b->why[0] ? e.s + 1 : "}");
		text_done(&e);
		break;
	}
	default:
		if (is_protobuf(q->content_type)) {
			ret->content_type = type_protobuf;
			otlp_answer_protobuf(b, &t);
		} else {
			otlp_answer_json(b, &t);
		}
	}
	ret->len = t.len;
	ret->body = text_take(&t);
}

enum oc_err receive(const struct receiver *r, const struct receive_request *q, struct receive_answer *ret,
		    struct oc_fail *reterr)
{
	AUTO(text) struct text inflated = { 0 }, items = { 0 };
	AUTO(tel_batch) struct tel_batch b;
	struct tel_sender from = { q->tenant_id, q->tenant, source_of[q->way] };
	bool was = false, errors = false;
	const char *body = q->body;
	size_t len = q->len;
	enum oc_err err = OC_OK;

	tel_batch_init(&b, TEL_LOGS);
	/* a remote-write body is one snappy block, and says so in the same header */
	if (q->way != RECEIVE_REMOTE_WRITE)
		err = gunzip(q->content_encoding, q->body, q->len, TEL_BYTES_MAX, &inflated, &was, reterr);
	if (err != OC_OK)
		return err;
	if (was) {
		body = text_str(&inflated);
		len = inflated.len;
	}
	err = read_batch(q, body, len, &b, &items, &errors, reterr);
	if (err == OC_OK && q->whole && b.rejected)
		err = oc_fail_field(reterr, OC_INVALID, "/record", "it would be rejected again: %s", b.why);
	if (err == OC_OK && q->whole && !b.records)
		err = oc_fail_field(reterr, OC_INVALID, "/record", "there is no record in it");
	if (err == OC_OK)
		err = tel_publish(r->bus_ref, r->partitions, &from, &b, body, len, NULL, reterr);
	if (err == OC_OK)
		answer(q, &b, &items, errors, ret);
	return err;
}
