/* What two strangers say to each other on a connection: any bytes, cut anywhere, with losses. Calls that come of it are whole
 * values: texts end, times are in order.
 *
 * One byte (1: TCP), then records: a byte (bit 0: written by us, bit 1: a loss before it), u16 bytes that are there, u32 bytes
 * that there were, the bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "sensor-bpf/parse/flow.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void look_at(void *ctx, const struct call *call)
{
	(void)ctx;
	if (call->proto == PROTO_NONE || call->proto >= PROTO_COUNT || call->end_ns < call->start_ns)
		abort();
	if (!memchr(call->method, 0, sizeof(call->method)) || !memchr(call->route, 0, sizeof(call->route)) ||
	    !memchr(call->status, 0, sizeof(call->status)) || !memchr(call->trace, 0, sizeof(call->trace)))
		abort();
	/* these become JSON and labels */
	for (const char *c = call->route; *c; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct flow_sink sink = { look_at, NULL };
	AUTO(flow) struct flow *f = NULL;
	uint64_t at = 1000;

	if (size < 1)
		return 0;
	f = flow_new(bytes[0] & 1, 0, bytes[0] & 1 ? 0 : 53);
	bytes++;
	size--;
	while (size >= 7) {
		size_t kept = bytes[1] | (size_t)bytes[2] << 8;
		uint32_t whole = (uint32_t)bytes[3] | (uint32_t)bytes[4] << 8 | (uint32_t)bytes[5] << 16 |
				 (uint32_t)bytes[6] << 24;
		uint8_t what = bytes[0];

		bytes += 7;
		size -= 7;
		if (kept > size)
			kept = size;
		if (what & 2)
			flow_gap(f);
		flow_feed(f, what & 1 ? FLOW_OUT : FLOW_IN, at += 1000, bytes, kept,
			  whole < kept ? kept : whole, &sink);
		bytes += kept;
		size -= kept;
	}
	if (flow_outstanding(f) > 64)
		abort();
	return 0;
}
