/* remote_write.h - Prometheus remote-write 1.0: a snappy block with a WriteRequest, to a tel_batch. Pure.
 *
 * The protocol does not say what a series is, so the names that Prometheus itself gives do: _total, _bucket, _count and
 * _sum are cumulative, everything else is a gauge. The buckets of a classic histogram stay the series
 * that they are, as the senders spread them over their requests; a native histogram (of whole counts) is one.
 * `job` and `instance` become service.name and service.instance.id, as OpenTelemetry maps them, `namespace`
 * also names the resource; all other labels are the point's attributes.
 *
 * A staleness mark (the NaN with the bits of staleness_nan in Prometheus' model/value) and any other NaN say that
 * nothing was measured: counted in batch->stale, no points and no mistakes. Samples may come in any order. */
#pragma once
#include "ingest/telemetry.h"

/* The batch is initialised here and owns what it needs: the body may go. OC_BAD_REQUEST: no such request;
 * OC_TOO_LARGE: more than TEL_BYTES_MAX when unpacked. A rejected series is kept as such a request in base64. */
MUST_CHECK enum oc_err remote_write_read(const void *body, size_t len, struct tel_batch *ret,
					 struct oc_fail *reterr);
