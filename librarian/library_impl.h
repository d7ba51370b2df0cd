/* library_impl.h - what the files of the library share: library.c (pages in), ask.c (answers out), tend.c. */
#pragma once
#include "librarian/chunk.h"
#include "librarian/library.h"
#include "librarian/shelf.h"

#define GROWN_LEAST    64  /* chunks; below, a snapshot of the words is as good as a newer one */
#define EMBED_BATCH    256 /* chunks of one transaction */
#define PROVIDER_TEXTS 64  /* texts of one call */

struct library {
	struct library_config config;
	char *model;
	struct shelves *shelves;
};

struct tenant_text {
	char s[24];
};
static inline struct tenant_text int_text(long long v)
{
	struct tenant_text t;

	snprintf(t.s, sizeof(t.s), "%lld", v);
	return t;
}

/* What a chunk is embedded from. Lent. */
struct library_text {
	const char *title, *heading, *body;
	const char *hash; /* NULL: of no chunk; then nobody looks whether its vector is known */
};
/* Vectors as pgvector texts, NULL where the provider is away (`bare` counts them). What a
 * provider has embedded for a chunk with the same hash is not paid for again; yours, each and the list. */
char **library_vectors(struct library *lib, struct pg *pg, long long tenant_id,
		       const struct shelf_model *model, const struct library_text *texts, size_t count,
		       unsigned *ret_bare);
/* Locks the tenant's knowledge for writing inside the transaction; the revision to write. */
MUST_CHECK enum oc_err library_lock(struct pg *pg, long long tenant_id, char ret_rev[24],
				    struct oc_fail *reterr);
/* Chunks of a page, put beside those that are there. Inside of a transaction. */
struct library_writer {
	struct library *lib;
	struct pg *pg;
	long long tenant_id;
	char rev[24];
	const struct shelf_model *model;
	struct library_sum sum;
};
MUST_CHECK enum oc_err library_write_chunks(struct library_writer *w, long long doc_id,
					    const struct chunk_list *chunks, struct oc_fail *reterr);
/* The model that new chunks get: the live one, or the first, made from these texts. Yours: shelf_models_done(). */
MUST_CHECK enum oc_err library_model(struct library *lib, struct pg *pg, long long tenant_id,
				     const struct chunk_list *first, size_t first_count,
				     struct shelf_model *ret, struct oc_fail *reterr);
/* Writes a new snapshot's row; name: "ngram-1536/N". */
MUST_CHECK enum oc_err library_model_put(struct pg *pg, long long tenant_id, const struct shelf_model *m,
					 struct oc_fail *reterr);
