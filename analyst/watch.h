/* watch.h - looks at every bucket as it closes, and raises and clears signals.
 *
 * Holds one detector per series in memory (about a KiB each) and writes them back every few minutes; after a restart it loads them and looks at
 * the buckets since. What lies further back than watch_config.fresh_s only teaches: it raises nothing. One thread. */
#pragma once
#include "store/detector.h"

struct watch_config {
	int bucket_s, delay_s; /* of metric_1m */
	double false_alarms;   /* per series and week: what is odd */
	int debounce_s;
	int fresh_s;         /* 0: 900 */
	int history_s;       /* how far back to learn from at the first start; 0: two weeks */
	unsigned series_max; /* 0: 200,000; what is beyond is counted and said, not watched */
};

struct watch;
struct watch *watch_new(const struct watch_config *config);
void watch_free(struct watch *w);
DEFINE_AUTO(watch, struct watch *, watch_free);

struct watch_done {
	unsigned buckets, samples, raised, cleared, refused;
};
/* All that has closed by now_us. A failure leaves off where it was. */
MUST_CHECK enum oc_err watch_pass(struct watch *w, struct pg *pg, int64_t now_us, struct watch_done *ret,
				  struct oc_fail *reterr);
/* Writes back what changed. */
MUST_CHECK enum oc_err watch_save(struct watch *w, struct pg *pg, struct oc_fail *reterr);
