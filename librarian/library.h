/* library.h - pages in, answers out: the tenants' knowledge over PostgreSQL, with an index of its words in memory.
 *
 * A page is known by its address (url); the same address again changes it, and only chunks whose text changed are
 * embedded again. The index of a tenant is loaded when it is first asked and follows the table by revision; the least
 * used ones go when all together are larger than the limit. Any thread may use one struct library; connections are the
 * caller's, outside of a transaction. */
#pragma once
#include <stdint.h>
#include "librarian/embed.h"
#include "wire/json/json.h"
#include "worker/worker.h" /* connections */

struct library_config {
	size_t index_bytes;    /* of all indexes; 0: 1 GiB */
	unsigned exact_chunks; /* tenants with up to so many chunks are scanned exactly; 0: 5000 */
	/* Embeds texts with a provider: model name and dimensions (1..EMBED_DIMS), then `count` vectors of `dims` values
	 * into ret. NULL: the built-in embedding. Any thread. */
	const char *model;
	unsigned dims;
	enum oc_err (*embed)(void *ctx, long long tenant_id, const char *const *texts, size_t count,
			     float *ret, struct oc_fail *reterr);
	void *ctx;
};

struct library;
MUST_CHECK enum oc_err library_new(const struct library_config *config, struct library **ret,
				   struct oc_fail *reterr); /* OC_INVALID: dims */
void library_free(struct library *lib);
DEFINE_AUTO(library, struct library *, library_free);

struct library_page {
	const char *url, *text;              /* both needed */
	const char *source, *kind, *service; /* NULL: "", "page", none */
	const char *valid_from, *valid_to;   /* RFC 3339; NULL: open */
};
struct library_sum {
	unsigned pages, same, added, kept, dropped; /* pages changed, pages as they were, chunks */
	unsigned bare; /* chunks that wait for an embedding: the provider is away */
};
/* All or nothing. OC_INVALID names the page. ret_doc (may be NULL): the last page's id. */
MUST_CHECK enum oc_err library_put(struct library *lib, struct pg *pg, long long tenant_id,
				   const struct library_page *pages, size_t count, struct library_sum *ret,
				   long long *ret_doc, struct oc_fail *reterr);
/* Pages of a source that are not among the addresses are retired. ret_n: how many. */
MUST_CHECK enum oc_err library_keep_only(struct library *lib, struct pg *pg, long long tenant_id,
					 const char *source, const char *const *urls, size_t count,
					 unsigned *ret_n, struct oc_fail *reterr);

enum library_how { LIBRARY_FUSED, LIBRARY_WORDS, LIBRARY_VECTOR };
struct library_question {
	const char *text;
	const char *service, *kind; /* NULL: all; pages of no service answer for every service */
	int64_t at_us;              /* pages that hold then; 0: now */
	unsigned limit;             /* 1..100 */
	enum library_how how;
};
/* [{"doc_id","title","heading","content","url","source","kind","service","score","trust","ranks":{..},"case_id"}], best
 * first; yours. ret_note (may be NULL; yours): what was left out, when the provider or the vectors are not there. */
MUST_CHECK enum oc_err library_ask(struct library *lib, struct pg *pg, long long tenant_id,
				   const struct library_question *q, json_t **ret, char **ret_note,
				   struct oc_fail *reterr);

/* Drafts and what became of pages: [{"doc_id","url","title","state","trust",..}]; yours. state NULL: all. */
MUST_CHECK enum oc_err library_list(struct pg *pg, long long tenant_id, const char *state, int limit,
				    json_t **ret, struct oc_fail *reterr);
/* A person's word: "live" (accepts a draft: its text becomes a page), "retired", or "superseded" (by `by`). */
MUST_CHECK enum oc_err library_decide(struct library *lib, struct pg *pg, long long tenant_id,
				      long long doc_id, const char *state, long long by, const char *who,
				      struct oc_fail *reterr);

/* Embeds again what has another model, or none: a batch after the other, so that it goes on where it stopped. A tenant
 * that has doubled gets a new snapshot of its words. `anew`: in any case. Stops when *stop; ret_n: chunks done. */
MUST_CHECK enum oc_err library_embed(struct library *lib, struct pg *pg, long long tenant_id, bool anew,
				     const volatile int *stop, unsigned *ret_n, struct oc_fail *reterr);
/* What is due for every tenant: embedding, the graph of large ones, trust by verdicts. For the janitor. */
void library_tidy(struct library *lib, struct pg *pg, const volatile int *stop);
