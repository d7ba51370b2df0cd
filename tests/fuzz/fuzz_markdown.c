/* Pages come from wikis and repositories: whatever they are, they are cut into whole text, counted, and embedded. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "librarian/chunk.h"
#include "librarian/embed.h"
#include "librarian/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct embed_stats stats;
	static float v[EMBED_DIMS];
	AUTO(chunk_list) struct chunk_list list = { 0 };
	AUTO(str) char *text = mem_strndup((const char *)data, size);
	struct index *ix = index_new();
	struct index_hit hit[3];

	stats.idf[0] = 16;
	index_put_page(ix, &(struct index_page){ .doc_id = 1, .trust = 1, .live = true });
	/* questions are not held to UTF-8 */
	embed_question(&stats, text, v);
	if (chunk_markdown("fuzz", (const char *)data, size, &list, NULL) == OC_OK)
		for (size_t i = 0; i < list.count; i++) {
			assert(str_utf8_ok(list.chunk[i].body, strlen(list.chunk[i].body)));
			index_put(ix, (long long)i + 1, 1, list.chunk[i].heading, list.chunk[i].body);
			embed_chunk(&stats, list.title, list.chunk[i].heading, list.chunk[i].body, v);
		}
	(void)index_search(ix, text, &(struct index_filter){ 0 }, true, hit, 3);
	index_free(ix);
	return 0;
}
