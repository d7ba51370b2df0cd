/* inside.h - what the files of this room share of a bus. For nobody else. */
#pragma once
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include "wire/bus/bus.h"

struct listener {
	struct listener *next;
	natsSubscription *sub;
	void (*fn)(void *ctx, const char *subject, const char *body, size_t len);
	void *ctx;
};

struct bus {
	natsConnection *nc;
	jsCtx *js;
	char *prefix;
	int replicas;
	int64_t tel_bytes;
	atomic_uint generation;
	pthread_mutex_t streams_lock;
	unsigned streams_made; /* the generation in which the streams were made or seen */
	struct listener *listeners;

	/* The batch under way: acknowledgements arrive on the library's thread. */
	pthread_mutex_t lock;
	pthread_cond_t acked;
	struct bus_msg *batch;
	size_t batch_len, outstanding;
};

/* The stream's name with the installation's prefix. */
const char *bus_stream_name(const struct bus *bus, const char *stream, char *out, size_t n);
/* Makes the streams where the server may have forgotten them. */
MUST_CHECK enum oc_err bus_streams_ensure(struct bus *bus, struct oc_fail *reterr);
/* The server may have lost what we made: look again before the next use. */
static inline void bus_doubt(struct bus *bus)
{
	atomic_fetch_add(&bus->generation, 1);
}
