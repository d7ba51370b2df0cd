/* shelf.h - one tenant's index and models in memory, as new as the table.
 *
 * A cache: what is lost here is read again. shelf_take() gives a tenant's shelf locked for reading, after it has
 * loaded what is newer; shelf_give() lets it go. Of the librarian's own files only. */
#pragma once
#include "librarian/embed.h"
#include "librarian/index.h"
#include "worker/worker.h" /* connections */

#define SHELF_MODELS_MAX 4

struct shelf_model {
	char *name;
	int dims;
	bool building;
	long long chunks;          /* when its statistics were taken */
	struct embed_stats *stats; /* NULL: a provider's */
};

struct shelf {
	struct index *index;
	struct shelf_model model[SHELF_MODELS_MAX]; /* the live one first */
	size_t models;
	long long rev, chunks;
};

struct shelves;
struct shelves *shelves_new(size_t bytes_max);
void shelves_free(struct shelves *s);
/* `rev` and `chunks` as the caller has just read them (SQL_KB_STATE); the shelf is at least that new. */
MUST_CHECK enum oc_err shelf_take(struct shelves *s, struct pg *pg, long long tenant_id, long long rev,
				  long long chunks, const struct shelf **ret, struct oc_fail *reterr);
void shelf_give(struct shelves *s, const struct shelf *shelf);
void shelf_forget(struct shelves *s, long long tenant_id); /* models changed: read again */
/* A tenant's models, read from the table. */
MUST_CHECK enum oc_err shelf_models(struct pg *pg, long long tenant_id,
				    struct shelf_model ret[SHELF_MODELS_MAX], size_t *ret_n,
				    struct oc_fail *reterr);
void shelf_models_done(struct shelf_model *m, size_t n);
/* How many bytes, of how many tenants. */
void shelves_size(struct shelves *s, size_t *ret_bytes, size_t *ret_tenants);
