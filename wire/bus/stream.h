/* stream.h - telemetry's stream: put and acknowledged, read in order from a position that PostgreSQL remembers.
 *
 * Nothing is acknowledged to the server by readers: they say where they begin, and what is no longer needed is
 * purged by whoever has committed its position. So a reader may die anywhere, and the stream never forgets what
 * is not folded. When the stream is full it refuses new messages (OC_BUSY) and drops nothing. */
#pragma once
#include "wire/bus/bus.h"

/* Returns when JetStream has it. Any thread; many at once share round trips. `id` makes a resend within two minutes
 * count once (*ret_again, may be NULL). OC_BUSY: the stream is full; OC_UNAVAILABLE: not stored, or nobody knows: send it
 * again with the same id; OC_TOO_LARGE: more than stream_put_max(). */
MUST_CHECK enum oc_err stream_put(struct bus *bus, const char *subject, const void *body, size_t len,
				  const char *id, long long tenant_id, bool *ret_again,
				  struct oc_fail *reterr);
/* The longest body that the server takes. */
size_t stream_put_max(const struct bus *bus);

struct stream_info {
	uint64_t first, last; /* sequence numbers; last 0: nothing was ever in it */
	uint64_t messages, bytes;
	char born[40]; /* tells a stream from one of the same name that was made later */
};
MUST_CHECK enum oc_err stream_info(struct bus *bus, struct stream_info *ret, struct oc_fail *reterr);
/* Forgets what matches `filter` up to and including `upto`. */
MUST_CHECK enum oc_err stream_purge(struct bus *bus, const char *filter, uint64_t upto,
				    struct oc_fail *reterr);

/* One thread per reader. */
struct stream_reader;
MUST_CHECK enum oc_err stream_read(struct bus *bus, const char *filter, uint64_t after,
				   struct stream_reader **ret, struct oc_fail *reterr);
void stream_reader_close(struct stream_reader *r);
DEFINE_AUTO(stream_reader, struct stream_reader *, stream_reader_close);

struct stream_item {
	uint64_t seq;
	int64_t stored_us; /* when JetStream took it */
	long long tenant_id;
	const char *subject, *body; /* lent until stream_item_done */
	size_t len;
	void *handle;
};
/* False: nothing came in that time. Sequence numbers only grow. */
bool stream_next(struct stream_reader *r, int timeout_ms, struct stream_item *ret);
void stream_item_done(struct stream_item *item);
/* False once it is of no use any more (the server was away, the stream was made anew): open another. */
bool stream_reader_ok(const struct stream_reader *r);
