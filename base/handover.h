/* handover.h - ids of outbox rows on the short way: from whoever committed them to whoever works on them in
 * the same process.
 *
 * A seat is the queue of one reader and says which topics it hears. What a seat brings is a hint, as a message of the
 * bus is one: that the row is open and whose it is, lease, epoch and inbox say. A seat that has enough, or no seat
 * at all, means that the id goes by the bus, where another replica can have it. Nothing here is kept over a
 * restart: what was in a queue is found by the sweeps in PostgreSQL.
 *
 * Any thread may give. A seat's owner closes it when nobody is inside of its calls any more. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"

/* What went by hand is for others to know as well, who listen on the bus; they can wait for company. */
#define HANDOVER_FACTS_MS 10

struct handover;
struct seat;

struct handed {
	long long id;
	void *parcel; /* what came with it by the bus and wants an acknowledgement; NULL by hand */
};

struct handover *handover_new(void);
void handover_free(struct handover *h); /* after its seats; NULL is fine */
DEFINE_AUTO(handover, struct handover *, handover_free);

/* Is there somebody who would take it now? Asked before the commit, while the row is written: a row that is handed
 * over is not published. A yes holds: the seat takes a little more than its room rather than lose one. */
bool handover_room(struct handover *h, const char *topic);
/* After the commit. False: nobody is there any more. */
bool handover_give(struct handover *h, const char *topic, long long id);

/* Topics as the bus writes them: "cmd.plan.generate", or "evt.plan.>" for all below. `room` ids may wait. `h` may be
 * NULL: a seat that only the bus fills. */
struct seat *seat_open(struct handover *h, const char *const *topics, size_t n, size_t room);
void seat_close(struct seat *s); /* NULL is fine */
/* Waits for the first, then takes what is there, up to max, and is at work until seat_back(). While another is at
 * work, less than max is left to gather for up to `patience_ms` since he began: where work is short one thread does it
 * all in large batches, where it is long the next one helps out. Nobody waits where nobody works. */
size_t seat_take(struct seat *s, struct handed *ret, size_t max, int patience_ms, int timeout_ms);
void seat_back(struct seat *s); /* after each take that brought something */
/* For what comes from outside: waits until there is room. False: there was none in that time, or the seat is shut. */
bool seat_put(struct seat *s, struct handed what, int timeout_ms);
/* Nothing more comes in, and whoever waits returns at once; what is there can still be taken. */
void seat_shut(struct seat *s);
