/* OTLP as any sender may send it: the first byte picks encoding and kind. What is taken can be written down as protobuf and
 * reads back as the same number of records; every text is UTF-8 and every number is one. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "ingest/otlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void text_ok(struct tel_str s)
{
	if (s.n && !str_utf8_ok(s.s, s.n))
		abort();
}

static void attrs_ok(const struct tel_attr *a, uint32_t n)
{
	if (n > TEL_ATTRS_MAX)
		abort();
	for (uint32_t i = 0; i < n; i++) {
		text_ok(a[i].key);
		text_ok(a[i].value);
		if (i && tel_str_eq(a[i - 1].key, a[i].key))
			abort();
	}
}

static void point_ok(const struct tel_point *p)
{
	const struct tel_histogram *h = p->histogram;

	text_ok(p->metric);
	attrs_ok(p->attr, p->attrs);
	if (p->metric.n == 0 || p->time_us < 0 || !isfinite(p->value) ||
	    (p->kind == TEL_HISTOGRAM) != (h != NULL))
		abort();
	if (h && h->bucket) {
		uint64_t all = 0;

		for (uint32_t i = 0; i <= h->bounds; i++)
			all += h->bucket[i];
		for (uint32_t i = 1; i < h->bounds; i++)
			if (!(h->bound[i - 1] < h->bound[i]))
				abort();
		if (all != h->count)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct tel_batch b, c;
	struct text out = { 0 };
	struct oc_fail fail = { 0 };
	enum tel_kind kind;
	enum oc_err err;

	if (size < 1)
		return 0;
	kind = bytes[0] % TEL_KINDS;
	err = bytes[0] & 0x80 ? otlp_read_protobuf(kind, bytes + 1, size - 1, &b, &fail)
			      : otlp_read_json(kind, (const char *)bytes + 1, size - 1, &b, &fail);
	if (err != OC_OK) {
		if (!fail.text[0])
			abort();
		return 0;
	}
	if (b.rejected && !b.why[0])
		abort();
	for (uint32_t i = 0; i < b.resources; i++) {
		attrs_ok(b.resource[i].attr, b.resource[i].attrs);
		text_ok(b.resource[i].urn);
	}
	for (uint32_t i = 0; i < b.records; i++) {
		if (kind == TEL_METRICS) {
			point_ok(&b.point[i]);
		} else if (kind == TEL_LOGS) {
			text_ok(b.log[i].body);
			attrs_ok(b.log[i].attr, b.log[i].attrs);
		} else {
			text_ok(b.span[i].name);
			attrs_ok(b.span[i].attr, b.span[i].attrs);
			if (b.span[i].end_us < b.span[i].start_us)
				abort();
		}
	}
	for (uint32_t at = 0, seen = 0; at < b.records; out.len = 0) {
		at = otlp_write(&b, NULL, at, b.records, 1000, &out);
		if (otlp_read_protobuf(kind, out.s, out.len, &c, &fail) != OC_OK)
			abort();
		seen += c.records;
		if (seen != at || c.rejected)
			abort();
		tel_batch_done(&c);
	}
	otlp_answer_json(&b, &out);
	otlp_answer_protobuf(&b, &out);
	text_done(&out);
	tel_batch_done(&b);
	return 0;
}
