/* Log lines as any sender may send them, plain or as _bulk (by the first byte): records, or rejected ones with a reason. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "ingest/gunzip.h"
#include "ingest/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct tel_batch b;
	struct text items = { 0 }, inflated = { 0 };
	struct oc_fail fail = { 0 };
	bool errors = false, was = false;
	char *exact;
	enum oc_err err;

	if (size < 1)
		return 0;
	/* of exactly that size, so that a look beyond it is seen */
	exact = mem_alloc(size);
	for (size_t i = 0; i + 1 < size; i++)
		exact[i] = (char)bytes[i + 1];
	if (bytes[0] & 2) {
		if (gunzip("gzip", exact, size - 1, 1 << 16, &inflated, &was, &fail) != OC_OK &&
		    !fail.text[0])
			abort();
		if (inflated.len > (1 << 16) + (64 << 10))
			abort();
	} else {
		err = bytes[0] & 1 ? lines_read_bulk(exact, size - 1, &b, &items, &errors, &fail)
				   : lines_read(exact, size - 1, &b, &fail);
		if (err != OC_OK || (b.rejected && !b.why[0]))
			abort();
		for (uint32_t i = 0; i < b.records; i++)
			if (b.log[i].resource >= b.resources ||
			    (b.log[i].body.n && !str_utf8_ok(b.log[i].body.s, b.log[i].body.n)))
				abort();
		tel_batch_done(&b);
	}
	text_done(&items);
	text_done(&inflated);
	free(exact);
	return 0;
}
