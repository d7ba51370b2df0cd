/* Any bytes as log lines: the template is UTF-8, bounded, covered by itself, and the same again the second time. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"
#include "ingest/log_miner.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct log_miner *miner;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *p = (const char *)bytes, *end = p + size;
	struct log_hit hit, again;
	struct log_merge merge[16];
	char kept[LOG_MASK_MAX];

	/* one for all inputs, and small: forgetting is a path, too */
	if (!miner)
		miner = log_miner_new(&(struct log_miner_config){ .variants_max = 200, .bytes_max = 20000 });
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = nl ? (size_t)(nl - p) : (size_t)(end - p);

		log_miner_feed(miner, p, len, &hit);
		if (hit.len > LOG_MASK_MAX || !str_utf8_ok(hit.pattern_ref, hit.len) ||
		    hit.fingerprint != log_hash(hit.pattern_ref, hit.len))
			abort();
		memcpy(kept, hit.pattern_ref, hit.len);
		log_miner_feed(miner, p, len, &again);
		if (again.fingerprint != hit.fingerprint || again.fresh)
			abort();
		log_miner_resolve(miner, kept, hit.len, &again);
		if (again.len > LOG_MASK_MAX)
			abort();
		p += len + 1;
	}
	while (log_miner_merges(miner, merge, 16) == 16) {
	}
	return 0;
}
