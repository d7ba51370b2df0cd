#include "librarian/fuse.h"
#include "base/mem.h"

static int by_score(const void *a, const void *b)
{
	const struct fused *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return x->doc_id < y->doc_id ? -1 : x->doc_id > y->doc_id;
}

const double fuse_weight[FUSE_LEGS] = {
	[FUSE_WIDENED] = 1,
	[FUSE_WORDS] = .3,
	[FUSE_VECTOR] = .2,
	[FUSE_TYPO] = .2,
};

size_t fuse(const struct fuse_leg legs[FUSE_LEGS], float (*trust)(void *ctx, long long doc_id), void *ctx,
	    struct fused *ret, size_t max)
{
	struct fused *all;
	size_t room = 1, n = 0;

	for (unsigned leg = 0; leg < FUSE_LEGS; leg++)
		room += legs[leg].count;
	all = mem_array(room, sizeof(*all));
	for (unsigned leg = 0; leg < FUSE_LEGS; leg++)
		for (size_t i = 0; i < legs[leg].count; i++) {
			const struct index_hit *h = &legs[leg].hit[i];
			size_t k = 0;

			while (k < n && all[k].doc_id != h->doc_id)
				k++;
			if (k == n)
				all[n++] = (struct fused){ .doc_id = h->doc_id,
							   .chunk_id = h->chunk_id,
							   .trust = 1 };
			all[k].score += fuse_weight[leg] / (FUSE_K + (double)i + 1);
			all[k].rank[leg] = (unsigned)i + 1;
		}
	for (size_t i = 0; trust && i < n; i++) {
		all[i].trust = trust(ctx, all[i].doc_id);
		all[i].score *= .5 + .5 * (double)all[i].trust;
	}
	qsort(all, n, sizeof(*all), by_score);
	if (n > max)
		n = max;
	for (size_t i = 0; i < n; i++)
		ret[i] = all[i];
	free(all);
	return n;
}
