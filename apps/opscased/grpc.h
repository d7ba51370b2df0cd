/* grpc.h - OTLP over gRPC: the three Export calls, with the tokens and tenants of the API, into the receivers.
 *
 * An export that cannot be stored now answers UNAVAILABLE with a RetryInfo, as OTLP has it: senders come again. */
#pragma once
#include "ingest/receive.h"
#include "wire/pg/pg.h"

struct otlp_grpc_config {
	unsigned port;            /* on loopback */
	size_t message_max;       /* as it is sent */
	struct pg_pool *pool_ref; /* tokens and tenants are looked up with it */
	const struct receiver *receiver_ref;
};

struct otlp_grpc;
MUST_CHECK enum oc_err otlp_grpc_start(const struct otlp_grpc_config *config, struct otlp_grpc **ret,
				       struct oc_fail *reterr);
void otlp_grpc_stop(struct otlp_grpc *g); /* NULL is fine */
