/* OTLP metrics as any sender may send them: points, or rejected ones with a reason; what is handed on points into
 * the batch and can be written down. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "ingest/otlp_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void look_at(const struct otlp_batch *b, const struct otlp_point *p)
{
	AUTO(json) json_t *labels = NULL;

	if (p->resource >= b->resource_count || !p->metric || !*p->metric || !p->scope)
		abort();
	if (json_read_own(p->labels, &labels, NULL) != OC_OK || !json_is_object(labels))
		abort();
	if (p->bounds > OTLP_BUCKETS_MAX || (p->bounds && (!p->bound || !p->bucket)))
		abort();
	for (size_t i = 1; i < p->bounds; i++)
		if (!(p->bound[i - 1] < p->bound[i]))
			abort();
	if (p->kind == OTLP_HISTOGRAM && p->bounds) {
		uint64_t all = 0;

		for (size_t i = 0; i <= p->bounds; i++)
			all += p->bucket[i];
		if (all != p->count)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	AUTO(otlp_batch) struct otlp_batch b = { 0 };
	AUTO(json) json_t *answer = NULL;
	AUTO(str) char *text = NULL;
	struct oc_fail fail = { 0 };

	if (otlp_metrics_read((const char *)bytes, size, &b, &fail) != OC_OK) {
		if (!fail.text[0])
			abort();
		return 0;
	}
	if (b.point_count > OTLP_POINTS_MAX || b.resource_count > OTLP_RESOURCES_MAX ||
	    (b.rejected && !b.why[0]))
		abort();
	for (size_t i = 0; i < b.resource_count; i++) {
		AUTO(json) json_t *labels = NULL;

		if (!b.resource[i].urn || !b.resource[i].type || !b.resource[i].name ||
		    json_read_own(b.resource[i].labels, &labels, NULL) != OC_OK)
			abort();
	}
	for (size_t i = 0; i < b.point_count; i++)
		look_at(&b, &b.point[i]);
	text = otlp_answer(&b);
	if (json_read_own(text, &answer, NULL) != OC_OK)
		abort();
	return 0;
}
