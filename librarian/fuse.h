/* fuse.h - several rankings of pages as one: reciprocal rank fusion (Cormack, Clarke, Buettcher: SIGIR 2009).
 *
 * Pure. A page scores weight / (FUSE_K + rank) in each ranking that has it. What is trusted less counts less, down to
 * a half: a page that helped is above one that only sounds alike. */
#pragma once
#include "librarian/index.h"

#define FUSE_K 20

enum fuse_leg_id {
	FUSE_WIDENED, /* words, and those of the best pages */
	FUSE_WORDS,   /* the question's own words */
	FUSE_VECTOR,
	FUSE_TYPO, /* trigrams: only asked when words found little */
	FUSE_LEGS
};
/* What each ranking counts, measured on questions in other words than the pages' (docs/knowledge.md). */
extern const double fuse_weight[FUSE_LEGS];

struct fused {
	long long doc_id, chunk_id;
	double score;
	unsigned rank[FUSE_LEGS]; /* from 1; 0: not in it */
	float trust;
};

struct fuse_leg {
	const struct index_hit *hit; /* one for each page, best first */
	size_t count;
};
/* ret has room for max; trust (may be NULL) says 0..1 for a page. */
size_t fuse(const struct fuse_leg legs[FUSE_LEGS], float (*trust)(void *ctx, long long doc_id), void *ctx,
	    struct fused *ret, size_t max);
