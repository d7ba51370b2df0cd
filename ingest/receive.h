/* receive.h - one request of any way in: bytes to a batch, the batch to the stream, and the answer for its sender.
 *
 * Success means that JetStream has it. Any thread. */
#pragma once
#include "ingest/publish.h"

enum receive_way {
	RECEIVE_OTLP_METRICS,
	RECEIVE_OTLP_LOGS,
	RECEIVE_OTLP_TRACES,
	RECEIVE_REMOTE_WRITE,
	RECEIVE_LINES,
	RECEIVE_BULK
};

struct receiver {
	struct bus *bus_ref;
	unsigned partitions;
};

struct receive_request {
	enum receive_way way;
	long long tenant_id;
	const char *tenant;
	const char *content_type, *content_encoding; /* or NULL */
	const char *body;
	size_t len;
	bool whole; /* OC_INVALID where any record of it is no good, and nothing is taken */
};

struct receive_answer {
	int status;
	const char *content_type; /* constant */
	char *body;               /* yours */
	size_t len;
};

/* OC_BAD_REQUEST, OC_TOO_LARGE, OC_INVALID (an encoding that is not known): do not send it again; OC_BUSY, OC_UNAVAILABLE:
 * nothing is lost if it is sent again. */
MUST_CHECK enum oc_err receive(const struct receiver *r, const struct receive_request *q,
			       struct receive_answer *ret, struct oc_fail *reterr);
