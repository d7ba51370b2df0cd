#include "ingest/publish.h"
#include <stdio.h>
#include "base/mem.h"
#include "base/metrics.h"
#include "ingest/otlp.h"
#include "wire/bus/stream.h"

/* The same everywhere and for ever, unlike tel_hash(): replicas must agree, also after a restart. FNV-1a. */
static uint64_t steady(uint64_t h, const void *p, size_t n)
{
	const unsigned char *s = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ s[i]) * UINT64_C(0x100000001b3);
	return h;
}

unsigned tel_partition(const struct tel_batch *b, uint32_t i, unsigned partitions)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	if (partitions <= 1)
		return 0;
	if (b->kind == TEL_SPANS) {
		h = steady(h, b->span[i].trace_id, 16);
	} else if (b->kind == TEL_LOGS) {
		h = steady(h, b->resource[b->log[i].resource].urn.s, b->resource[b->log[i].resource].urn.n);
	} else {
		const struct tel_point *p = &b->point[i];

		h = steady(h, b->resource[p->resource].urn.s, b->resource[p->resource].urn.n);
		h = steady(h, p->metric.s, p->metric.n);
		for (uint32_t k = 0; k < p->attrs; k++) {
			h = steady(h, p->attr[k].key.s, p->attr[k].key.n);
			h = steady(h, p->attr[k].value.s, p->attr[k].value.n);
		}
	}
	return (unsigned)((h ^ h >> 32) % partitions);
}

struct put {
	struct bus *bus;
	const struct tel_sender *from;
	char hash[HASH_HEX];
	bool all_again;
};

static enum oc_err put_one(struct put *p, const char *kind, unsigned partition, unsigned part,
			   const struct text *body, struct oc_fail *reterr)
{
	char subject[160], id[160];
	bool again = false;
	enum oc_err err;

	snprintf(subject, sizeof(subject), "tel.%s.%u.%s", kind, partition, p->from->tenant);
	snprintf(id, sizeof(id), "%lld:%.40s:%s:%u:%u", p->from->tenant_id, p->hash, kind, partition, part);
	err = stream_put(p->bus, subject, body->s, body->len, id, p->from->tenant_id, &again, reterr);
	p->all_again = p->all_again && again;
	return err;
}

static enum oc_err put_records(struct put *p, const struct tel_batch *b, const uint32_t *order, uint32_t n,
			       unsigned partition, struct oc_fail *reterr)
{
	AUTO(text) struct text body = { 0 };
	/* a record is looked at after it was written, and the largest has 64 attributes of 64 KiB: rare, and refused */
	size_t most = stream_put_max(p->bus), room = most - most / 4;
	unsigned part = 0;
	enum oc_err err = OC_OK;

	for (uint32_t at = 0; err == OC_OK && at < n; part++) {
		uint32_t from = at;

		body.len = 0;
		at = otlp_write(b, order, from, n, room, &body);
		if (body.len > most && at - from > 1) {
			/* the last one was a large one: it goes by itself */
			body.len = 0;
			at = otlp_write(b, order, from, at - 1, 0, &body);
		}
		err = put_one(p, tel_kind_name(b->kind), partition, part, &body, reterr);
	}
	return err;
}

static enum oc_err put_parted(struct put *p, const struct tel_batch *b, unsigned partitions,
			      struct oc_fail *reterr)
{
	AUTO(free) void *order_mem = mem_array(b->records + 1, sizeof(uint32_t));
	AUTO(free) void *which_mem = mem_array(b->records + 1, sizeof(uint8_t));
	uint32_t *order = order_mem;
	uint8_t *which = which_mem;
	enum oc_err err = OC_OK;

	for (uint32_t i = 0; i < b->records; i++)
		which[i] = (uint8_t)tel_partition(b, i, partitions);
	for (unsigned k = 0; err == OC_OK && k < partitions; k++) {
		uint32_t n = 0;

		for (uint32_t i = 0; i < b->records; i++)
			if (which[i] == k)
				order[n++] = i;
		if (n)
			err = put_records(p, b, order, n, k, reterr);
	}
	return err;
}

/* [{"source","reason","record"}, ...] */
static enum oc_err put_rejected(struct put *p, const struct tel_batch *b, struct oc_fail *reterr)
{
	AUTO(text) struct text body = { 0 };

	for (uint32_t i = 0; i < b->rejects; i++) {
		const struct tel_rejected *r = &b->reject[i];
		const char *record = r->record ? r->record : "";
		struct tel_attr row[3] = {
			{ TEL_STR("source"), { p->from->source, (uint32_t)strlen(p->from->source) } },
			{ TEL_STR("reason"), { r->why, (uint32_t)strlen(r->why) }                   },
			{ TEL_STR("record"), { record, (uint32_t)strlen(record) }                   },
		};

		text_add(&body, i ? "," : "[");
		tel_attrs_json(row, 3, &body);
	}
	text_add(&body, "]");
	return put_one(p, TEL_DEAD, 0, 0, &body, reterr);
}

enum oc_err tel_publish(struct bus *bus, unsigned partitions, const struct tel_sender *from,
			const struct tel_batch *b, const void *body, size_t len, bool *ret_again,
			struct oc_fail *reterr)
{
	struct put p = { .bus = bus, .from = from, .all_again = true };
	const char *kind = tel_kind_name(b->kind);
	enum oc_err err = OC_OK;

	if (partitions > TEL_PARTITIONS_MAX)
		partitions = TEL_PARTITIONS_MAX;
	hash_sha256_hex(body, len, p.hash);
	if (b->records && partitions > 1)
		err = put_parted(&p, b, partitions, reterr);
	else if (b->records)
		err = put_records(&p, b, NULL, b->records, 0, reterr);
	if (err == OC_OK && b->rejects)
		err = put_rejected(&p, b, reterr);
	if (ret_again)
		*ret_again = err == OC_OK && p.all_again && (b->records || b->rejects);
	if (err != OC_OK)
		return err;
	metric_add(M_INGEST_POINTS, (double)b->rejected, kind, "refused", NULL);
	metric_add(M_INGEST_POINTS, (double)b->stale, kind, "stale", NULL);
	metric_add(M_INGEST_POINTS, (double)b->records, kind, p.all_again ? "repeated" : "received", NULL);
	return OC_OK;
}
