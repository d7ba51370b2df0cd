/* aggregator.h - threads that read the stream and fold it into the windows: one for each kind and partition.
 *
 * Each holds a connection and, with it, an advisory lock: one of all replicas leads a partition. It collects messages for
 * up to `gather_ms` or `gather_bytes`, then folds them in one transaction together with the stream's position,
 * which moves only from where it was: a crash, a lost connection or a second leader repeats what was not committed, and
 * nothing else. What is committed is purged from the stream. Losing NATS or PostgreSQL only makes it wait. */
#pragma once
#include "ingest/window.h"
#include "wire/bus/bus.h"

struct detail_store;

struct aggregator_config {
	struct window_config window;
	unsigned partitions; /* of each kind; 0: 1 */
	int gather_ms;       /* 0: 500 */
	size_t gather_bytes; /* 0: 16 MiB */
	struct bus *bus_ref;
	const char *conninfo;            /* as opscase_worker */
	struct detail_store *detail_ref; /* raw log records and spans go there; NULL: nowhere */
};

struct aggregators;
MUST_CHECK enum oc_err aggregators_start(const struct aggregator_config *config, struct aggregators **ret,
					 struct oc_fail *reterr);
void aggregators_stop(struct aggregators *a); /* what was read and not folded stays on the stream */
