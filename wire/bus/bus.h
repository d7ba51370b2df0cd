/* bus.h - NATS JetStream: it wakes, it does not remember. The one room that sees nats.h.
 *
 * A bus may be away at any time: calls answer OC_UNAVAILABLE and the library reconnects by itself for as long
 * as it takes. Messages carry an outbox id; what they mean is read from PostgreSQL. bus_publish is for
 * one thread at a time; a subscription belongs to one thread, its deliveries to whoever they are given to. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct bus;
struct bus_sub;

struct bus_config {
	const char *url;   /* nats://127.0.0.1:4222 */
	const char *token; /* or NULL */
	const char *name;  /* shown in the server's list of connections */
	const char *prefix; /* of stream and consumer names, so that several installations can share a server */
	int replicas;       /* of streams; 0: 1 */
	int64_t tel_bytes; /* what TEL holds before senders are told to wait; 0: 1 GiB */
};

/* Succeeds also when the server is away; bus_ready() says what is true now. */
MUST_CHECK enum oc_err bus_open(const struct bus_config *cfg, struct bus **ret, struct oc_fail *reterr);
void bus_close(struct bus *bus);
DEFINE_AUTO(bus, struct bus *, bus_close);
bool bus_connected(const struct bus *bus);
/* Grows whenever the server may have forgotten our streams and consumers (a reconnect, a refused publish): who holds
 * a subscription of an older generation subscribes again. */
unsigned bus_generation(const struct bus *bus);

struct bus_msg {
	long long id;                        /* outbox id */
	const char *subject, *body, *msg_id; /* lent for the call */
	bool ok;                             /* set: JetStream has it */
};
/* Publishes all, waits for the acknowledgements. OC_OK also when some are not ok. */
MUST_CHECK enum oc_err bus_publish(struct bus *bus, struct bus_msg *msgs, size_t n, int timeout_ms,
				   struct oc_fail *reterr);

/* A durable queue consumer shared by all replicas. `stream` is "CMD" or "EVT". Subjects are filters. */
MUST_CHECK enum oc_err bus_subscribe(struct bus *bus, const char *stream, const char *durable,
				     const char *const *subjects, size_t n, struct bus_sub **ret,
				     struct oc_fail *reterr);
void bus_unsubscribe(struct bus_sub *sub); /* deliveries that are out may still be acknowledged */

struct bus_delivery; /* one received message, waiting for its ack */
/* Waits up to timeout_ms for the first, then takes what is there, up to max. Returns how many. */
size_t bus_fetch(struct bus_sub *sub, struct bus_delivery **ret, size_t max, int timeout_ms);
long long bus_delivery_id(const struct bus_delivery *d); /* outbox id, 0 if it is not ours */
const char *bus_delivery_subject(const struct bus_delivery *d);
void bus_ack(struct bus_delivery *d);    /* and frees it */
void bus_forget(struct bus_delivery *d); /* frees it; the server delivers again later */

/* Plain subscription without durability: calls fn on a library thread for each message. */
MUST_CHECK enum oc_err bus_listen(struct bus *bus, const char *subject,
				  void (*fn)(void *ctx, const char *subject, const char *body, size_t len),
				  void *ctx, struct oc_fail *reterr);
