/* Other people's alerts: any JSON, by every reader; what is handed on is bounded, valid text, and named. The first byte says which
 * reader; headers and query are of the fuzzer's own. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "api/alert.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const char *header(const void *ctx, const char *name)
{
	bool binary = *(const uint8_t *)ctx & 8;

	if (!binary)
		return NULL;
	return str_eq(name, "ce-specversion") ? "1.0" : str_eq(name, "ce-time") ? NULL : "a.b.resolved";
}

static const char *query(const void *ctx, const char *name)
{
	return *(const uint8_t *)ctx & 16 && str_eq(name, "each") ? "/alerts" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	alert_reader *const readers[] = { alert_read_alertmanager, alert_read_grafana, alert_read_cloudevents,
					  alert_read_pagerduty, alert_read_generic };
	AUTO(alert_list) struct alert_list l = { 0 };
	AUTO(json) json_t *doc = NULL;
	struct oc_fail fail = { 0 };

	if (size < 2 || json_read((const char *)bytes + 1, size - 1, NULL, &doc, NULL) != OC_OK)
		return 0;
	if (readers[(bytes[0] & 7) % 5](
		    doc, &(struct alert_around){ .header = header, .query = query, .ctx = bytes }, &l,
		    &fail) != OC_OK) {
		if (l.count || !fail.text[0])
			abort();
		return 0;
	}
	if (l.count > ALERTS_MAX)
		abort();
	for (size_t i = 0; i < l.count; i++) {
		const struct alert *a = &l.item[i];

		if (!a->fingerprint[0] || !a->title || strlen(a->title) > ALERT_TEXT_MAX ||
		    !str_utf8_ok(a->title, strlen(a->title)) || !a->severity ||
		    json_object_size(a->labels) > ALERT_LABELS_MAX ||
		    (a->resource && strlen(a->resource) > 512))
			abort();
	}
	return 0;
}
