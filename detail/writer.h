/* writer.h - the place where raw records are handed over: log lines and spans become segments of the detail store.
 *
 * Made for an aggregator that reads a stream: add records as they come, then flush inside of the transaction that moves
 * the position past them. A flush seals what is there (a segment for each tenant and dataset), writes and syncs the objects,
 * and inserts their rows; so a committed position has its detail, and a crash before the commit leaves objects that
 * nobody knows (swept) and records that come again. What is kept in memory between flushes is bounded: beyond
 * `buffer_max` segments are written early, their rows still wait for the flush.
 *
 * Detail is worth less than the aggregates: when the store is full or does not answer, records are dropped, counted
 * (detail_records_total{result}) and flush says OC_OK. Not thread-safe: one writer per aggregator. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "detail/store.h"
#include "wire/pg/pg.h"

struct detail_writer_config {
	struct detail_store *store; /* lent */
	size_t buffer_max;          /* bytes of lines kept in memory; 0: 128 MiB */
	size_t tenants_max;         /* with something in the buffer; 0: 256. More: written early */
};

struct detail_writer;
struct detail_writer *detail_writer_new(const struct detail_writer_config *config);
void detail_writer_free(struct detail_writer *w);
DEFINE_AUTO(detail_writer, struct detail_writer *, detail_writer_free);

struct detail_record {
	int64_t time_us;
	const uint8_t *trace_id; /* 16 bytes; NULL: none */
	/* One JSON object without a line feed, beginning with {"time_us":N and with "trace_id":"<32 small hex digits>" where
	 * there is one: what is looked for later. */
	const char *line;
	size_t len;
};
/* dataset: "logs", "traces"; lent for the call. */
void detail_add(struct detail_writer *w, long long tenant_id, const char *tenant, const char *dataset,
		const struct detail_record *record);

/* Within the caller's transaction. Fails only where PostgreSQL does; then, or when the transaction fails: detail_forget. */
MUST_CHECK enum oc_err detail_flush(struct detail_writer *w, struct pg *pg, struct oc_fail *reterr);
/* The newest locator of the last flush: what sample_ref may point to. 0: none. */
long long detail_locator(const struct detail_writer *w, long long tenant_id, const char *dataset);
/* The transaction is through: sinks get the log records that were added since the last one. */
void detail_committed(struct detail_writer *w);
/* The transaction failed: what was flushed or added since the last commit will come again. */
void detail_forget(struct detail_writer *w);
