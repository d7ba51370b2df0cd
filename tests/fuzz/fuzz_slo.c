/* Objectives as any file may hold them: read or refused with a place, and judged by any counts without a trap. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "analyst/slo.h"
#include "wire/yaml/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void hear(void *ctx, const char *text)
{
	(void)ctx;
	if (!text || !*text)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	AUTO(yaml) struct yaml_doc *doc = NULL;
	AUTO(slo_list) struct slo_list l = { 0 };
	struct oc_fail fail = { 0 };

	if (yaml_read("x", (const char *)bytes, size, &doc, NULL) != OC_OK)
		return 0;
	if (slo_read(yaml_value(doc), &l, hear, NULL, &fail) != OC_OK) {
		if (!fail.text[0])
			abort();
		return 0;
	}
	if (l.count > SLO_FILE_MAX)
		abort();
	for (size_t i = 0; i < l.count; i++) {
		struct slo_count count[SLO_SPANS];
		struct slo_state st;

		if (!(l.item[i].target > 0 && l.item[i].target < 1) || l.item[i].window_s < 86400 ||
		    !l.item[i].name[0])
			abort();
		for (size_t k = 0; k < SLO_SPANS; k++)
			count[k] = (struct slo_count){ .bad = (double)(size % 7),
						       .total = (double)(size % 5 * 10) };
		slo_judge(&l.item[i], count, 20, &st);
		if (st.alarm != SLO_QUIET && !(st.burn[st.by] >= st.limit))
			abort();
	}
	return 0;
}
