/* telemetry.h - a batch of telemetry as compact C structs: what every way in (OTLP, remote-write, JSON lines, _bulk)
 * makes, what goes on the stream, and what windows, the pattern miner and the detail store read.
 *
 * A batch has one kind of record. Records name their resource by index into `resource`. Texts are tel_str: a pointer
 * and a length, valid UTF-8 without NUL, *not* ended by 0. They lie in the batch's own arena or in the body that it was
 * read from (lent: the body must live as long as the batch). Nothing in a batch is changed after it was
 * read, so any number of threads may read it; building is for one thread.
 *
 * Everything that strangers size is bounded here (TEL_*_MAX); what is beyond is rejected record by record with
 * tel_reject() and never takes its batch along. Times are microseconds since 1970 UTC.
 *
 * How it flows:
 *	receiver: body → tel_batch → OTLP protobuf → JetStream tel.<kind>.<partition>.<tenant> → ack to the sender
 *	aggregator: message → tel_batch → windows, and a copy for each tel_taker below */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/text.h"

#define TEL_BYTES_MAX     ((size_t)16 << 20) /* one body, after inflating */
#define TEL_RECORDS_MAX   200000
#define TEL_RESOURCES_MAX 2000
#define TEL_ATTRS_MAX     64 /* of a resource, a point, a span or a log record */
#define TEL_BUCKETS_MAX   512
#define TEL_NAME_MAX      255        /* a metric's, an attribute key's */
#define TEL_LABEL_MAX     255        /* an attribute's value of a resource or a metric; longer ones are cut */
#define TEL_TEXT_MAX      (64 << 10) /* a log body, an attribute of a log record or span; longer ones are cut */

struct tel_str {
	const char *s;
	uint32_t n;
};
#define TEL_STR(literal) ((struct tel_str){ (literal), sizeof(literal) - 1 })
static inline bool tel_str_eq(struct tel_str a, struct tel_str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}
static inline bool tel_str_is(struct tel_str a, const char *b)
{
	return strlen(b) == a.n && (a.n == 0 || memcmp(a.s, b, a.n) == 0);
}

/* Values are text whatever they were: "17", "true", {"a":1}. Sorted by key, each key once. */
struct tel_attr {
	struct tel_str key, value;
};

/* Whoever sent it. `urn` follows from the attributes alone (tel_urn()): dim_resource is keyed by it. */
struct tel_resource {
	const struct tel_attr *attr;
	uint32_t attrs;
	struct tel_str urn;               /* "urn:k8s:svc:shop/cart" */
	struct tel_str urn_type;          /* "k8s:svc" */
	struct tel_str name;              /* "shop/cart" */
	struct tel_str env, region, zone; /* n 0: not known */
	uint64_t hash;                    /* of all attributes */
};

enum tel_point_kind { TEL_GAUGE, TEL_SUM, TEL_HISTOGRAM };

/* Exponential histograms have become explicit bounds, a summary has become a gauge for each quantile and a histogram
 * without buckets. */
struct tel_histogram {
	uint64_t count;
	bool has_sum, has_min, has_max;
	double sum, min, max;
	uint32_t bounds;        /* buckets: bounds + 1, or none at all */
	const double *bound;    /* growing */
	const uint64_t *bucket; /* NULL: nobody knows where the values lie */
};

struct tel_point {
	uint32_t resource;
	uint8_t kind; /* enum tel_point_kind */
	bool cumulative, monotonic;
	struct tel_str metric, unit, scope; /* unit and scope may be empty */
	const struct tel_attr *attr; /* with service.instance.id or host.name, where the resource has one */
	uint32_t attrs;
	int64_t start_us, time_us;             /* start 0: not given */
	double value;                          /* gauge, sum: finite */
	const struct tel_histogram *histogram; /* or NULL */
};

/* OpenTelemetry's severity numbers: 1-4 TRACE, 5-8 DEBUG, 9-12 INFO, 13-16 WARN, 17-20 ERROR, 21-24 FATAL, 0 not given. */
struct tel_log {
	uint32_t resource;
	uint8_t severity;
	struct tel_str severity_text, body, scope; /* body: text, or the JSON of what is none */
	const struct tel_attr *attr;
	uint32_t attrs;
	int64_t time_us, observed_us;
	bool has_trace, has_span;
	uint8_t trace_id[16], span_id[8];
};

enum tel_span_kind {
	TEL_SPAN_UNSET,
	TEL_SPAN_INTERNAL,
	TEL_SPAN_SERVER,
	TEL_SPAN_CLIENT,
	TEL_SPAN_PRODUCER,
	TEL_SPAN_CONSUMER
};

struct tel_span {
	uint32_t resource;
	uint8_t kind; /* enum tel_span_kind */
	bool error, has_parent;
	uint8_t trace_id[16], span_id[8], parent_id[8];
	struct tel_str name, scope, status_text;
	const struct tel_attr *attr;
	uint32_t attrs;
	int64_t start_us, end_us;
};

enum tel_kind { TEL_METRICS, TEL_LOGS, TEL_SPANS, TEL_KINDS };
const char *tel_kind_name(enum tel_kind kind); /* "metrics", "logs", "spans" */

/* One record that was not taken, as its sender may send it again by itself. */
struct tel_rejected {
	char *record; /* JSON or text, cut at 8 KiB; NULL: only counted */
	char why[160];
};
#define TEL_REJECTED_KEPT 20 /* with their record; the others are counted */

struct tel_arena;
struct tel_batch {
	enum tel_kind kind;
	struct tel_resource *resource;
	uint32_t resources;
	/* the kind's own array is filled, the others are NULL */
	struct tel_point *point;
	struct tel_log *log;
	struct tel_span *span;
	uint32_t records;
	uint32_t stale; /* "nothing recorded" and staleness marks: no points, and no mistakes */
	uint64_t rejected;
	struct tel_rejected *reject;
	uint32_t rejects;
	char why[400]; /* the first reasons, or a warning where nothing was rejected */
	/* for whoever builds it */
	struct tel_arena *arena;
	void *owned; /* a document that texts are lent from; freed with owned_free */
	void (*owned_free)(void *owned);
	uint32_t cap_records, cap_resources;
};

void tel_batch_init(struct tel_batch *b, enum tel_kind kind);
void tel_batch_done(struct tel_batch *b);
static inline void oc_auto_tel_batch(struct tel_batch *b)
{
	tel_batch_done(b);
}

/* ---- the place where records are handed on
 *
 * An aggregator calls its takers from its own thread: take() for each message in order of the stream, flush() inside
 * the transaction that moves the stream's position past what was taken. So what a taker writes with that
 * connection is exactly once; what it does elsewhere (a file, an object store) is at least once: after a crash, messages since
 * the last flush come again, with the same `seq`. When flush() fails, or the transaction does, forget() is called and the
 * same messages come again. */
struct pg;
struct tel_taker {
	void *ctx;
	void (*take)(void *ctx, long long tenant_id, const char *tenant, const struct tel_batch *batch,
		     uint64_t seq);
	/* upto: the last seq that was taken. Failing keeps the position where it is. */
	enum oc_err (*flush)(void *ctx, struct pg *pg, uint64_t upto, struct oc_fail *reterr);
	void (*committed)(void *ctx); /* the transaction is through; may be NULL */
	void (*forget)(void *ctx);
};

/* ---- building */

/* Memory that lives as long as the batch. */
void *tel_alloc(struct tel_batch *b, size_t size); /* zeroed, aligned */
struct tel_str tel_copy(struct tel_batch *b, const char *s, size_t n);
struct tel_str tel_printf(struct tel_batch *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Cut to at most max bytes, never inside a character. */
struct tel_str tel_cut(struct tel_str s, uint32_t max);

/* A list of attributes under way: unsorted, possibly with keys twice; tel_attrs_end() puts that right (the first of
 * a key stays) and copies it into the batch. False: more than TEL_ATTRS_MAX. */
struct tel_attrs {
	struct tel_attr attr[TEL_ATTRS_MAX];
	uint32_t n;
	bool over;
};
void tel_attrs_add(struct tel_attrs *a, struct tel_str key, struct tel_str value, uint32_t value_max);
bool tel_attrs_end(struct tel_batch *b, struct tel_attrs *a, const struct tel_attr **ret, uint32_t *ret_n);
/* {NULL, 0} if there is none. */
struct tel_str tel_attr_find(const struct tel_attr *attr, uint32_t n, const char *key);
/* Canonical JSON object of texts. */
void tel_attrs_json(const struct tel_attr *attr, uint32_t n, struct text *out);

/* The same attributes again give the same resource. OC_TOO_LARGE beyond TEL_RESOURCES_MAX. */
MUST_CHECK enum oc_err tel_resource_add(struct tel_batch *b, struct tel_attrs *attrs, uint32_t *ret,
					struct oc_fail *reterr);
/* Zeroed; OC_TOO_LARGE beyond TEL_RECORDS_MAX. What is not good is taken back with tel_record_drop(). */
MUST_CHECK enum oc_err tel_point_add(struct tel_batch *b, struct tel_point **ret, struct oc_fail *reterr);
MUST_CHECK enum oc_err tel_log_add(struct tel_batch *b, struct tel_log **ret, struct oc_fail *reterr);
MUST_CHECK enum oc_err tel_span_add(struct tel_batch *b, struct tel_span **ret, struct oc_fail *reterr);
void tel_record_drop(struct tel_batch *b);
/* n records are not taken. record (malloc; taken over) may be NULL. */
void tel_reject(struct tel_batch *b, uint64_t n, char *take_record, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Two processes of one service send series of the same name: what tells them apart becomes a label of the point. */
void tel_attrs_add_instance(struct tel_attrs *a, const struct tel_resource *r);

/* "ERROR", "warn", "W" ... → 17, 13; 0: no word for a severity. */
uint8_t tel_severity(struct tel_str word);
const char *tel_severity_name(uint8_t severity); /* TRACE, DEBUG, INFO, WARN, ERROR, FATAL; INFO for 0 */

/* For tables in memory: seeded once per process, so that strangers cannot choose collisions. */
uint64_t tel_hash(uint64_t seed, const void *p, size_t n);
