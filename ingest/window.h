/* window.h - messages of the stream into rows: one-minute metrics, five-minute calls, five-minute log patterns.
 *
 * Each function is called inside the transaction that moves the stream's position past the messages, and writes what they
 * add to the buckets that are there already. So a bucket's row is its state: a crash loses nothing that was committed and
 * the rest comes again, and late data re-opens its bucket with a new revision. Aligned to the epoch; the
 * time is the record's own. One thread per aggregator. */
#pragma once
#include "ingest/telemetry.h"
#include "wire/pg/pg.h"

#define WINDOW_CALL_S 300
#define WINDOW_LOG_S  300

struct window_config {
	int bucket_s;    /* of metrics; 0: 60 */
	int delay_s;     /* lateness that a bucket is given before a change counts as a revision */
	int max_age_s;   /* older records are counted as late and not folded; 0: a day, negative: any age */
	int max_ahead_s; /* the same for records further in the future; 0: 600 */
	bool drop_late;  /* records of a closed bucket are counted as late, too, and it stays as it is */
	int join_s;      /* how long a span waits for its other half; 0: 15 */
	unsigned part;   /* of the aggregator */
};
void window_config_default(struct window_config *c);

/* A message that was read and is not folded yet. */
struct tel_held {
	long long tenant_id;
	char tenant[64];
	uint64_t seq;
	int64_t stored_us; /* when the stream took it: what is late is judged by that, so that a replay judges alike */
	struct tel_batch batch;
};

enum window_fit { WINDOW_FITS, WINDOW_LATE, WINDOW_AHEAD };
enum window_fit window_fit(const struct window_config *c, int bucket_s, int64_t time_us, int64_t stored_us);

/* ---- dim_resource: URNs of one tenant to ids */
struct window_names;
struct window_names *window_names_new(void);
void window_names_free(struct window_names *n);
DEFINE_AUTO(window_names, struct window_names *, window_names_free);
uint32_t window_name(struct window_names *n, const struct tel_resource *r);
uint32_t window_name_urn(struct window_names *n, const char *urn, size_t len); /* known by its URN alone */
MUST_CHECK enum oc_err window_names_find(struct window_names *n, struct pg *pg, long long tenant_id,
					 struct oc_fail *reterr);
long long window_name_id(const struct window_names *n, uint32_t i);

/* ---- the folds: `held` are of one tenant, in order of seq */
MUST_CHECK enum oc_err window_metrics(struct pg *pg, const struct window_config *c,
				      struct tel_held *const *held, size_t n, struct oc_fail *reterr);
MUST_CHECK enum oc_err window_calls(struct pg *pg, const struct window_config *c,
				    struct tel_held *const *held, size_t n, long long sample_ref,
				    struct oc_fail *reterr);
/* Spans that waited long enough for their other half: by what the client says of its peer. */
MUST_CHECK enum oc_err window_calls_expire(struct pg *pg, const struct window_config *c, long long tenant_id,
					   int64_t before_us, unsigned *ret_n, struct oc_fail *reterr);

struct window_miners; /* one miner for each tenant, begun with what log_pattern knows */
struct window_miners *window_miners_new(void);
void window_miners_free(struct window_miners *m);
MUST_CHECK enum oc_err window_logs(struct pg *pg, const struct window_config *c, struct window_miners *m,
				   struct tel_held *const *held, size_t n, long long sample_ref,
				   struct oc_fail *reterr);
