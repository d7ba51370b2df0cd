/* Remote-write as any sender may send it, packed or not yet: points that are numbers with a name and a time, or rejected ones
 * with a reason. */
#include <math.h>
#include <snappy-c.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "ingest/remote_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	AUTO(tel_batch) struct tel_batch b;
	AUTO(str) char *packed = NULL;
	const void *body = bytes;
	struct oc_fail why = { 0 };

	/* an even first byte: the rest is the request itself, so that mutations get past the packing */
	if (size > 0 && bytes[0] % 2 == 0) {
		size_t n = snappy_max_compressed_length(size - 1);

		packed = mem_alloc(n);
		if (snappy_compress((const char *)bytes + 1, size - 1, packed, &n) != SNAPPY_OK)
			abort();
		body = packed;
		size = n;
	}
	if (remote_write_read(body, size, &b, &why) != OC_OK) {
		if (!why.text[0])
			abort();
		return 0;
	}
	if (b.rejected && !b.why[0])
		abort();
	for (uint32_t i = 0; i < b.records; i++)
		if (b.point[i].metric.n == 0 || b.point[i].time_us <= 0 || !isfinite(b.point[i].value) ||
		    b.point[i].resource >= b.resources)
			abort();
	return 0;
}
