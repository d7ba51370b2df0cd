/* sink.h - a copy of raw records for ClickHouse or OpenObserve, over HTTP.
 *
 *	ClickHouse    INSERT INTO TABLE FORMAT JSONEachRow, with a deduplication token: a batch that is sent again because nobody knows
 *	              whether it arrived counts once (where the table keeps a window of tokens)
 *	OpenObserve   POST /api/ORG/STREAM/_json; a batch that is sent again may be there twice
 *
 * Records wait in memory, at most queue_bytes of them; a thread of its own sends batches, one after the other. 429, 5xx and a connection that
 * fails are tried again, with growing pauses (or what Retry-After says); any other refusal drops the batch. Whatever is dropped is
 * counted: sink_records_total{sink,result} = sent, refused (by the far end), full (the queue), stopped. Thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum sink_kind { SINK_CLICKHOUSE, SINK_OPENOBSERVE };

struct sink_config {
	enum sink_kind kind;
	const char *url;                 /* "http://127.0.0.1:8123", "https://openobserve:5080" */
	const char *table;               /* ClickHouse: TABLE or DATABASE.TABLE; OpenObserve: ORG/STREAM */
	const char *user, *password;     /* basic; NULL: none */
	const char *ca_file;             /* NULL: the system's */
	size_t batch_bytes;              /* 0: 1 MiB */
	size_t queue_bytes;              /* 0: 64 MiB */
	unsigned flush_ms;               /* the oldest record waits no longer; 0: 1000 */
	unsigned pause_ms, pause_max_ms; /* between tries: the first, the longest; 0: 200, 30000 */
	unsigned timeout_ms;             /* of one request; 0: 30000 */
};

struct sink;
/* OC_INVALID for a table that is none. Connects later. */
MUST_CHECK enum oc_err sink_start(const struct sink_config *config, struct sink **ret,
				  struct oc_fail *reterr);
/* `line` as the detail store keeps it: an object that begins with {"time_us":N,. False: dropped. */
bool sink_add(struct sink *s, const char *tenant, int64_t time_us, const char *line, size_t len);
/* For whoever had to drop records before they came here. */
void sink_dropped(struct sink *s, size_t records);
/* True when everything that was added before is sent or refused. */
bool sink_drain(struct sink *s, unsigned timeout_ms);
/* Tries to send what is left for so long, then drops it. */
void sink_stop(struct sink *s, unsigned timeout_ms);
