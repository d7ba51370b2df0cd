/* publish.h - a batch goes on the stream, and its sender may be told so.
 *
 * Subjects are tel.<kind>.<partition>.<tenant>; bodies are OTLP protobuf of at most what NATS takes, whatever the
 * way in was. The partition follows from the kind: metrics by series, logs by resource, spans by trace id. What was
 * rejected goes along on tel.dead.0.<tenant> as JSON, so that it is as durable as the rest. Message ids are made of the
 * body's hash: the same body within two minutes counts once, also after an answer that got lost. */
#pragma once
#include "base/hash.h"
#include "ingest/telemetry.h"
#include "wire/bus/bus.h"

#define TEL_PARTITIONS_MAX 64
#define TEL_DEAD           "dead"

struct tel_sender {
	long long tenant_id;
	const char *tenant; /* code: a token of the subject */
	const char *source; /* "otlp", "remote-write", "lines", ...: what a dead letter says */
};

/* Returns when JetStream has all of it. Any thread. `body` names the request: the same text again is the same request
 * (it is only hashed). ret_again (may be NULL): all of it was there already. OC_UNAVAILABLE, OC_BUSY: send the same body
 * again later. An empty batch is fine. */
MUST_CHECK enum oc_err tel_publish(struct bus *bus, unsigned partitions, const struct tel_sender *from,
				   const struct tel_batch *batch, const void *body, size_t len,
				   bool *ret_again, struct oc_fail *reterr);

unsigned tel_partition(const struct tel_batch *batch, uint32_t record, unsigned partitions);
