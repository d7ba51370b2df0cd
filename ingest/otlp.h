/* otlp.h - OTLP requests and answers, protobuf and JSON: bytes to tel_batch and back. Pure: no clock, no database.
 *
 * Taken: gauge, sum (delta and cumulative), histogram, exponential histogram, summary; log records; spans. What is
 * broken is rejected record by record with a reason; a request is refused whole only if its encoding is broken
 * or it is too large. */
#pragma once
#include "ingest/telemetry.h"

/* The batch is initialised here; texts in it are lent from the body. OC_BAD_REQUEST: not such a request; OC_TOO_LARGE. */
MUST_CHECK enum oc_err otlp_read_protobuf(enum tel_kind kind, const void *body, size_t len,
					  struct tel_batch *ret, struct oc_fail *reterr);
/* 64-bit numbers may be numbers or texts, as protobuf's JSON mapping has it. The body may go when this returns. */
MUST_CHECK enum oc_err otlp_read_json(enum tel_kind kind, const char *body, size_t len, struct tel_batch *ret,
				      struct oc_fail *reterr);

/* An Export*ServiceRequest with the records [from, to) of `order` (indexes into the batch, NULL: as they lie),
 * as long as it does not grow beyond `bytes` (0: any length). Returns where it stopped: `to`, or the record to go on
 * with. At least one record is written. */
uint32_t otlp_write(const struct tel_batch *b, const uint32_t *order, uint32_t from, uint32_t to,
		    size_t bytes, struct text *out);

/* Export*ServiceResponse: empty, or with its partial success; for status 200. */
void otlp_answer_protobuf(const struct tel_batch *b, struct text *out);
void otlp_answer_json(const struct tel_batch *b, struct text *out);
