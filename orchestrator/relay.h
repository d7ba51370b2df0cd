/* relay.h - hands committed outbox rows to the bus. One leader among all replicas, by advisory lock.
 *
 * It marks rows; it never remembers a highest id, since ids commit out of order. A crash may publish a
 * row twice (JetStream drops a near repeat, the readers' leases and inbox the rest) but cannot lose or
 * invent one. The thread that commits pokes the waker; another replica's commit arrives as a NOTIFY,
 * sent by that replica's own relay at most every 5 ms; the 1 s sweep covers a lost wake. */
#pragma once
#include "base/err.h"

struct bus;
struct waker;
struct relay;

MUST_CHECK enum oc_err relay_start(const char *conninfo, struct bus *bus, struct waker *wake,
				   struct relay **ret, struct oc_fail *reterr);
void relay_stop(struct relay *relay);
