/* otlp_json.h - OTLP/HTTP JSON metrics, read into points. Pure: no clock, no database.
 *
 * Taken: gauge, sum (delta and cumulative), histogram with explicit bounds. Other kinds and broken points are
 * rejected one by one and counted; they never take their request along. 64-bit numbers may be
 * numbers or texts, as protobuf's JSON mapping has it. */
#pragma once
#include <stdint.h>
#include "wire/json/json.h"

#define OTLP_BYTES_MAX     ((size_t)8 << 20)
#define OTLP_POINTS_MAX    50000
#define OTLP_RESOURCES_MAX 1000
#define OTLP_LABELS_MAX    64
#define OTLP_BUCKETS_MAX   512

enum otlp_kind { OTLP_GAUGE, OTLP_SUM, OTLP_HISTOGRAM };

struct otlp_resource {
	char *urn, *type, *name;   /* "urn:k8s:svc:shop/cart", "k8s:svc", "shop/cart" */
	char *env, *region, *zone; /* or NULL */
	char *labels;              /* JSON object: the other attributes */
};

struct otlp_point {
	size_t resource;                   /* index into the batch */
	const char *metric, *unit, *scope; /* lent from the document; unit may be NULL, scope "" */
	char *labels;                      /* canonical JSON object */
	enum otlp_kind kind;
	bool cumulative, monotonic;
	int64_t start_us, time_us; /* start 0: not given */
	double value;              /* gauge, sum */
	/* histogram */
	uint64_t count;
	bool has_sum, has_min, has_max;
	double sum, min, max;
	size_t bounds; /* buckets: bounds + 1, or none at all */
	double *bound;
	uint64_t *bucket;
};

struct otlp_batch {
	json_t *doc;
	struct otlp_resource *resource;
	size_t resource_count;
	struct otlp_point *point;
	size_t point_count;
	uint64_t rejected;
	char why[400]; /* the first reasons, or a warning where nothing was rejected */
};

/* OC_BAD_REQUEST: not JSON, or not an ExportMetricsServiceRequest; OC_TOO_LARGE. */
MUST_CHECK enum oc_err otlp_metrics_read(const char *body, size_t len, struct otlp_batch *ret,
					 struct oc_fail *reterr);
void otlp_batch_done(struct otlp_batch *b);
static inline void oc_auto_otlp_batch(struct otlp_batch *b)
{
	otlp_batch_done(b);
}

void otlp_reject(struct otlp_batch *b, uint64_t points, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* ExportMetricsServiceResponse: {} or {"partialSuccess":{...}}; yours. */
char *otlp_answer(const struct otlp_batch *b);
