/* lines.h - JSON log lines as Vector, Fluent Bit, rsyslog and the clients of Elasticsearch's _bulk write them, to log records. Pure.
 *
 * One object a line, or a list of objects. Which member is the time, the text, the severity, the service, the host and the trace
 * follows from the names that these senders use (the table is in lines.c); other members become attributes, nested ones as
 * JSON. A line without a time gets the time it came, one without a text is its own text. A broken line is rejected by
 * itself. */
#pragma once
#include "ingest/telemetry.h"

/* The batch is initialised here. OC_TOO_LARGE. Nothing else is refused whole. */
MUST_CHECK enum oc_err lines_read(const char *body, size_t len, struct tel_batch *ret,
				  struct oc_fail *reterr);
/* Lines come in pairs: {"index"|"create":{"_index":..}} and the document. `items` gets the "items" of the answer, one for each
 * action in order; *ret_errors: at least one was not taken. */
MUST_CHECK enum oc_err lines_read_bulk(const char *body, size_t len, struct tel_batch *ret,
				       struct text *items, bool *ret_errors, struct oc_fail *reterr);
