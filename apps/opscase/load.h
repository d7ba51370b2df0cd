/* load.h - telemetry of a shop that does not exist: logs, metric points and spans, as its services would send them.
 *
 * The same seed and the same times give the same batches, byte for byte, so that what comes out at the other end
 * can be counted. Pure: no clock, no I/O. One thread. */
#pragma once
#include "ingest/telemetry.h"

#define LOAD_SERVICES_MAX 200

struct load_shape {
	uint64_t seed;
	unsigned services;  /* 1 to LOAD_SERVICES_MAX */
	double error_share; /* of calls and of log lines, 0 to 1 */
};

struct load;
struct load *load_new(const struct load_shape *shape);
void load_free(struct load *l);
DEFINE_AUTO(load, struct load *, load_free);

/* `count` records with times in [from_us, to_us), in their order; spans come as whole traces, so that there may be some
 * more; the next batch then has fewer. The batch is initialised here. */
MUST_CHECK enum oc_err load_batch(struct load *l, enum tel_kind kind, int64_t from_us, int64_t to_us,
				  uint32_t count, struct tel_batch *ret, struct oc_fail *reterr);
