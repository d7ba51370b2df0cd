#include "detail/writer.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "base/uuid.h"
#include "detail/segment.h"
#include "detail/sink.h"
#include "store/locator.h"

/* What one tenant has in one dataset. */
struct lane {
	long long tenant_id;
	char tenant[128], dataset[32];
	struct segment_writer *open;
	long long locator;
};

/* An object that is written and waits for its row. */
struct sealed {
	long long tenant_id;
	char dataset[32];
	char *key;
	struct segment segment; /* without its bytes */
	size_t packed;
	const char *bucket;
	struct sealed *next;
};

/* What sinks get once the transaction is through. */
struct copy {
	char tenant[128];
	int64_t time_us;
	size_t at, len;
};
#define COPIES_MAX ((size_t)64 << 20) /* bytes of lines */

struct detail_writer {
	struct detail_writer_config config;
	struct lane *lane;
	size_t lanes, last;
	size_t buffered;
	struct sealed *sealed, **sealed_end;
	struct text copied;
	struct copy *copy;
	size_t copies, copy_room;
};

struct detail_writer *detail_writer_new(const struct detail_writer_config *config)
{
	struct detail_writer *w = mem_alloc(sizeof(*w));

	w->config = *config;
	if (!w->config.buffer_max)
		w->config.buffer_max = (size_t)128 << 20;
	if (!w->config.tenants_max)
		w->config.tenants_max = 256;
	w->sealed_end = &w->sealed;
	return w;
}

static void sealed_free(struct detail_writer *w)
{
	while (w->sealed) {
		struct sealed *s = w->sealed;

		w->sealed = s->next;
		segment_done(&s->segment);
		free(s->key);
		free(s);
	}
	w->sealed_end = &w->sealed;
}

static void lanes_free(struct detail_writer *w)
{
	for (size_t i = 0; i < w->lanes; i++)
		segment_writer_free(w->lane[i].open);
	free(w->lane);
	w->lane = NULL;
	w->lanes = w->last = w->buffered = 0;
}

void detail_writer_free(struct detail_writer *w)
{
	if (!w)
		return;
	lanes_free(w);
	sealed_free(w);
	text_done(&w->copied);
	free(w->copy);
	free(w);
}

void detail_forget(struct detail_writer *w)
{
	/* the objects of sealed ones are nobody's now: the sweep takes them */
	lanes_free(w);
	sealed_free(w);
	w->copied.len = w->copies = 0;
}

/* TENANT/DATASET/2026/01/31/13/UUID.jsonl.zst, by the time of the first record */
static char *key_of(const struct lane *l, int64_t at_us)
{
	time_t at = (time_t)(at_us / 1000000);
	char id[UUID_TEXT];
	struct tm tm;

	gmtime_r(&at, &tm);
	uuid_new(id);
	return mem_printf("%s/%s/%04d/%02d/%02d/%02d/%s" SEGMENT_SUFFIX, l->tenant, l->dataset,
			  tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, id);
}

static void seal(struct detail_writer *w, struct lane *l)
{
	size_t records = segment_records(l->open);
	struct sealed *s;
	struct oc_fail fail = { 0 };
	enum oc_err err;

	if (!records)
		return;
	s = mem_alloc(sizeof(*s));
	w->buffered -= segment_raw(l->open);
	segment_finish(l->open, &s->segment);
	s->tenant_id = l->tenant_id;
	memcpy(s->dataset, l->dataset, sizeof(s->dataset));
	s->key = key_of(l, s->segment.from_us);
	err = detail_put(w->config.store, s->key, s->segment.bytes, s->segment.len, &s->bucket, &fail);
	s->packed = s->segment.len;
	free(s->segment.bytes);
	s->segment.bytes = NULL;
	if (err != OC_OK) {
		log_warn("%zu records of %s/%s are dropped: %s", records, l->tenant, l->dataset, fail.text);
		metric_add(M_DETAIL_RECORDS, (double)records, l->dataset,
			   err == OC_TOO_LARGE ? "full" : "unavailable", NULL);
		segment_done(&s->segment);
		free(s->key);
		free(s);
		return;
	}
	*w->sealed_end = s;
	w->sealed_end = &s->next;
}

static struct lane *lane_of(struct detail_writer *w, long long tenant_id, const char *tenant,
			    const char *dataset)
{
	struct lane *l;

	if (w->last < w->lanes && w->lane[w->last].tenant_id == tenant_id &&
	    str_eq(w->lane[w->last].dataset, dataset))
		return &w->lane[w->last];
	for (size_t i = 0; i < w->lanes; i++)
		if (w->lane[i].tenant_id == tenant_id && str_eq(w->lane[i].dataset, dataset)) {
			w->last = i;
			return &w->lane[i];
		}
	if (w->lanes >= w->config.tenants_max) {
		for (size_t i = 0; i < w->lanes; i++) {
			seal(w, &w->lane[i]);
			segment_writer_free(w->lane[i].open);
		}
		w->lanes = 0;
	}
	w->lane = mem_grow(w->lane, w->lanes + 1, sizeof(*w->lane));
	l = &w->lane[w->lanes];
	*l = (struct lane){ .tenant_id = tenant_id, .open = segment_writer_new() };
	snprintf(l->tenant, sizeof(l->tenant), "%s", tenant);
	snprintf(l->dataset, sizeof(l->dataset), "%s", dataset);
	w->last = w->lanes++;
	return l;
}

static void copy_for_sinks(struct detail_writer *w, const char *tenant, const struct detail_record *r)
{
	struct copy *c;

	if (w->copied.len + r->len > COPIES_MAX) {
		for (struct sink *const *s = detail_store_sinks(w->config.store); *s; s++)
			sink_dropped(*s, 1);
		return;
	}
	if (w->copies == w->copy_room) {
		w->copy_room = w->copy_room ? w->copy_room * 2 : 256;
		w->copy = mem_grow(w->copy, w->copy_room, sizeof(*w->copy));
	}
	c = &w->copy[w->copies++];
	*c = (struct copy){ .time_us = r->time_us, .at = w->copied.len, .len = r->len };
	snprintf(c->tenant, sizeof(c->tenant), "%s", tenant);
	text_add_n(&w->copied, r->line, r->len);
}

void detail_committed(struct detail_writer *w)
{
	for (size_t i = 0; i < w->copies; i++)
		for (struct sink *const *s = detail_store_sinks(w->config.store); *s; s++)
			sink_add(*s, w->copy[i].tenant, w->copy[i].time_us, w->copied.s + w->copy[i].at,
				 w->copy[i].len);
	w->copied.len = w->copies = 0;
}

void detail_add(struct detail_writer *w, long long tenant_id, const char *tenant, const char *dataset,
		const struct detail_record *record)
{
	struct lane *l = lane_of(w, tenant_id, tenant, dataset);
	size_t before = segment_raw(l->open);

	if (!segment_add(l->open, record->time_us, record->trace_id, record->line, record->len)) {
		metric_inc(M_DETAIL_RECORDS, dataset, "too_long", NULL);
		return;
	}
	if (detail_store_sinks(w->config.store) && str_eq(dataset, "logs"))
		copy_for_sinks(w, tenant, record);
	w->buffered += segment_raw(l->open) - before;
	if (segment_raw(l->open) >= SEGMENT_RAW_MAX)
		seal(w, l);
	if (w->buffered >= w->config.buffer_max)
		for (size_t i = 0; i < w->lanes; i++)
			seal(w, &w->lane[i]);
}

static enum oc_err add_row(struct detail_writer *w, struct pg *pg, const struct sealed *s,
			   struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *row = NULL;
	AUTO(str)
	char *attributes = mem_printf("{\"format\":\"jsonl.zst\",\"records\":%zu,\"raw_bytes\":%zu}",
				      s->segment.records, s->segment.raw);
	char tenant[24], from[24], to[24], bytes[24], id[24], blocks[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", s->tenant_id);
	snprintf(from, sizeof(from), "%lld", (long long)s->segment.from_us);
	snprintf(to, sizeof(to), "%lld", (long long)s->segment.to_us);
	snprintf(bytes, sizeof(bytes), "%zu", s->packed);
	err = pg_query(pg, SQL_LOCATOR_ADD,
		       PG_ARGS(tenant, s->dataset, s->bucket, s->key, from, to, NULL, attributes, bytes),
		       &row, reterr);
	if (err != OC_OK)
		return err;
	snprintf(id, sizeof(id), "%lld", pg_int(row, 0, 0));
	for (size_t i = 0; i < w->lanes; i++)
		if (w->lane[i].tenant_id == s->tenant_id && str_eq(w->lane[i].dataset, s->dataset))
			w->lane[i].locator = pg_int(row, 0, 0);
	if (s->segment.filter_len) {
		AUTO(str) char *hex = mem_alloc(2 * s->segment.filter_len + 3);

		memcpy(hex, "\\x", 2);
		str_hex(s->segment.filter, s->segment.filter_len, hex + 2);
		snprintf(blocks, sizeof(blocks), "%zu", s->segment.filter_len / FILTER_BLOCK);
		err = pg_query(pg, SQL_FILTER_ADD, PG_ARGS(tenant, id, blocks, hex), NULL, reterr);
		if (err != OC_OK)
			return err;
	}
	metric_add(M_DETAIL_RECORDS, (double)s->segment.records, s->dataset, "kept", NULL);
	metric_add(M_DETAIL_BYTES, (double)s->packed, s->dataset, NULL, NULL);
	return OC_OK;
}

enum oc_err detail_flush(struct detail_writer *w, struct pg *pg, struct oc_fail *reterr)
{
	size_t kept = 0;

	/* whoever said nothing since the last flush goes */
	for (size_t i = 0; i < w->lanes; i++)
		if (segment_records(w->lane[i].open))
			w->lane[kept++] = w->lane[i];
		else
			segment_writer_free(w->lane[i].open);
	w->lanes = kept;
	for (size_t i = 0; i < w->lanes; i++) {
		w->lane[i].locator = 0;
		seal(w, &w->lane[i]);
	}
	for (struct sealed *s = w->sealed; s; s = s->next) {
		enum oc_err err = add_row(w, pg, s, reterr);

		if (err != OC_OK)
			return err;
	}
	sealed_free(w);
	return OC_OK;
}

long long detail_locator(const struct detail_writer *w, long long tenant_id, const char *dataset)
{
	for (size_t i = 0; i < w->lanes; i++)
		if (w->lane[i].tenant_id == tenant_id && str_eq(w->lane[i].dataset, dataset))
			return w->lane[i].locator;
	return 0;
}
