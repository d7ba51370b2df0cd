/* index.h - which chunks say these words: BM25 over an inverted index in memory.
 *
 * Pure: pages go in, rankings come out. BM25 as Robertson and Zaragoza give it ("The Probabilistic Relevance
 * Framework", 2009), k1 1.2, b .75, with idf = ln(1 + (N - n + .5) / (n + .5)), over weighted words (words.h). A page
 * counts as its best chunk. A question is widened once by what its best chunks say (relevance model RM3: Abdul-Jaleel
 * et al., 2004). Not thread-safe; readers may share it while nobody changes it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index;
struct index *index_new(void);
void index_free(struct index *ix);

/* What is asked about a page before its words are looked at. */
struct index_page {
	long long doc_id;
	const char *title, *service, *kind; /* NULL: none; copied */
	int64_t from_us, to_us;             /* when it holds; 0: open */
	float trust;                        /* 0..1 */
	bool live;                          /* drafts and retired ones are never found */
};
void index_put_page(struct index *ix, const struct index_page *page); /* new, or changed */
/* A chunk of a page that is there. The same id again replaces it. */
void index_put(struct index *ix, long long chunk_id, long long doc_id, const char *heading, const char *body);
void index_drop(struct index *ix, long long chunk_id);
/* Drops every chunk for which keep says no, and pages without chunks. */
void index_sweep(struct index *ix, bool (*keep)(void *ctx, long long chunk_id), void *ctx);
size_t index_chunks(const struct index *ix);
size_t index_dropped(const struct index *ix); /* chunks that still take room; a new index has none */
size_t index_bytes(const struct index *ix);   /* memory, about */

struct index_filter {
	const char *service; /* pages of this service and of none; NULL: all */
	const char *kind;    /* NULL: all */
	int64_t at_us;       /* pages that hold at this time; 0: all */
};
/* May this page be an answer? false for one that is not there. Fills trust (may be NULL). */
bool index_page_fits(const struct index *ix, long long doc_id, const struct index_filter *filter,
		     float *ret_trust);

struct index_hit {
	long long doc_id, chunk_id; /* the chunk that fits best */
	double score;
};
/* The best pages, best first, at most max. Ties go to the lower id, so that the same question gets the same answer. */
size_t index_search(const struct index *ix, const char *question, const struct index_filter *filter,
		    bool widen, struct index_hit *ret, size_t max);
