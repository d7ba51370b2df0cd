/* detail_taker.h - hands log records and spans of the stream to the detail store, one JSON line each.
 *
 *	{"time_us":1790000000000000,"resource":"urn:k8s:svc:shop/cart","severity":"ERROR","trace_id":"...","span_id":"...",
 *	 "scope":"...","body":"...","attributes":{...}}
 *	{"time_us":..,"resource":"..","trace_id":"..","span_id":"..","parent_id":"..","name":"..","kind":"server","error":true,
 *	 "duration_us":..,"scope":"..","status":"..","attributes":{..}}
 *
 * What is empty is left out. A tel_taker: flush() within the transaction that moves the stream's position, before the windows',
 * so that they can name the locator as their sample_ref. One thread. */
#pragma once
#include "base/text.h"
#include "detail/writer.h"
#include "ingest/telemetry.h"

struct tel_taker detail_taker(struct detail_writer *w); /* lent: it must outlive the taker */

/* One record as its line, also for sinks. */
void tel_log_line(const struct tel_batch *b, const struct tel_log *l, struct text *out);
void tel_span_line(const struct tel_batch *b, const struct tel_span *s, struct text *out);
