/* Any bytes as a segment of the detail store: read, or refused with a sentence; what is read is bounded. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "detail/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool on_line(void *ctx, const char *line, size_t len)
{
	size_t *sum = ctx;

	for (size_t i = 0; i < len; i++)
		*sum += (unsigned char)line[i];
	return len < SEGMENT_LINE_MAX + SEGMENT_BLOCK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const struct segment_ask asks[] = {
		{ 0 },
		{ .has_trace = true, .trace_id = { 1, 2, 3 } },
		{ .from_us = 1, .to_us = INT64_MAX, .text = { "line" }, .skip = 1, .limit = 2 },
	};
	size_t sum = 0;

	for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
		struct segment_said said;
		struct oc_fail fail = { 0 };

		if (segment_read(bytes, size, &asks[i], on_line, &sum, &said, &fail) != OC_OK &&
		    !fail.text[0])
			abort();
		if (asks[i].limit && said.lines > asks[i].limit)
			abort();
	}
	return 0;
}
