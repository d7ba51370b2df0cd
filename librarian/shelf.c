#include "librarian/shelf.h"
#include <pthread.h>
#include "base/mem.h"
#include "store/kb.h"

#define LOAD_BATCH "2000"

struct held {
	struct shelf shelf; /* first: a struct shelf * is a struct held * */
	long long tenant_id;
	pthread_rwlock_t lock;
	unsigned users;
	unsigned long used;
	size_t bytes;
	bool fresh_models;
};

struct shelves {
	pthread_mutex_t lock;
	struct held **held;
	size_t count, bytes_max;
	unsigned long clock;
};

struct shelves *shelves_new(size_t bytes_max)
{
	struct shelves *s = mem_alloc(sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	s->bytes_max = bytes_max;
	return s;
}

void shelf_models_done(struct shelf_model *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(m[i].name);
		free(m[i].stats);
		m[i] = (struct shelf_model){ 0 };
	}
}

static void held_free(struct held *h)
{
	index_free(h->shelf.index);
	shelf_models_done(h->shelf.model, h->shelf.models);
	pthread_rwlock_destroy(&h->lock);
	free(h);
}

void shelves_free(struct shelves *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		held_free(s->held[i]);
	free(s->held);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

enum oc_err shelf_models(struct pg *pg, long long tenant_id, struct shelf_model ret[SHELF_MODELS_MAX],
			 size_t *ret_n, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, SQL_KB_MODELS, PG_ARGS(tenant), &r, reterr);
	if (err != OC_OK)
		return err;
	*ret_n = 0;
	for (unsigned i = 0; i < pg_rows(r) && *ret_n < SHELF_MODELS_MAX; i++) {
		struct shelf_model *m = &ret[(*ret_n)++];
		const char *hex = pg_text(r, i, 4);

		*m = (struct shelf_model){ .name = mem_strdup(pg_text(r, i, 0)),
					   .dims = (int)pg_int(r, i, 1),
					   .building = str_eq(pg_text(r, i, 2), "building"),
					   .chunks = pg_int(r, i, 3) };
		if (!hex)
			continue;
		m->stats = mem_alloc(sizeof(*m->stats));
		if (!str_unhex(hex, m->stats->idf, sizeof(m->stats->idf)))
			return oc_fail(reterr, OC_BUG, "the statistics of model %s are damaged", m->name);
	}
	return OC_OK;
}

/* --- following the table */

static enum oc_err load_pages(struct shelf *shelf, struct pg *pg, const char *tenant, const char *rev,
			      struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err = pg_query(pg, SQL_KB_PAGES_NEW, PG_ARGS(tenant, rev), &r, reterr);

	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++)
		index_put_page(shelf->index, &(struct index_page){
						     .doc_id = pg_int(r, i, KB_DOC),
						     .title = pg_text(r, i, KB_TITLE),
						     .service = pg_text(r, i, KB_SERVICE),
						     .kind = pg_text(r, i, KB_KIND),
						     .from_us = pg_int(r, i, KB_FROM_US),
						     .to_us = pg_int(r, i, KB_TO_US),
						     .trust = (float)pg_num(r, i, KB_TRUST),
						     .live = pg_bool(r, i, KB_LIVE),
					     });
	return err;
}

static enum oc_err load_chunks(struct shelf *shelf, struct pg *pg, const char *tenant, const char *rev,
			       struct oc_fail *reterr)
{
	char after[24] = "0";

	for (;;) {
		AUTO(pg_result) struct pg_result *r = NULL;
		enum oc_err err =
			pg_query(pg, SQL_KB_CHUNKS_NEW, PG_ARGS(tenant, rev, after, LOAD_BATCH), &r, reterr);

		if (err != OC_OK || !pg_rows(r))
			return err;
		for (unsigned i = 0; i < pg_rows(r); i++)
			index_put(shelf->index, pg_int(r, i, 0), pg_int(r, i, 1), pg_text(r, i, 2),
				  pg_text(r, i, 3));
		snprintf(after, sizeof(after), "%s", pg_text(r, pg_rows(r) - 1, 0));
	}
}

struct alive {
	long long *id;
	size_t count;
};

static int by_id(const void *a, const void *b)
{
	const long long *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static bool is_alive(void *ctx, long long chunk_id)
{
	struct alive *a = ctx;

	return bsearch(&chunk_id, a->id, a->count, sizeof(*a->id), by_id) != NULL;
}

static enum oc_err drop_deleted(struct shelf *shelf, struct pg *pg, const char *tenant,
				struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct alive a = { 0 };
	enum oc_err err = pg_query(pg, SQL_KB_IDS, PG_ARGS(tenant), &r, reterr);

	if (err != OC_OK)
		return err;
	a.count = pg_rows(r);
	a.id = mem_array(a.count ? a.count : 1, sizeof(*a.id));
	for (size_t i = 0; i < a.count; i++)
		a.id[i] = pg_int(r, (unsigned)i, 0);
	qsort(a.id, a.count, sizeof(*a.id), by_id);
	index_sweep(shelf->index, is_alive, &a);
	free(a.id);
	return OC_OK;
}

/* Under the write lock. Read committed: what commits meanwhile has a higher revision, or is read twice. */
static enum oc_err follow(struct held *h, struct pg *pg, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *state = NULL;
	struct shelf *shelf = &h->shelf;
	char tenant[24], rev[24];
	long long now, chunks;
	enum oc_err err;

	/* Mostly of what is gone: read it all again, which leaves that behind. */
	if (shelf->index && index_dropped(shelf->index) > index_chunks(shelf->index) + 10000) {
		index_free(TAKE(shelf->index));
		shelf->rev = 0;
	}
	snprintf(tenant, sizeof(tenant), "%lld", h->tenant_id);
	snprintf(rev, sizeof(rev), "%lld", shelf->rev);
	if (!shelf->index)
		shelf->index = index_new();
	err = pg_query(pg, SQL_KB_STATE, PG_ARGS(tenant), &state, reterr);
	if (err != OC_OK)
		return err;
	now = pg_rows(state) ? pg_int(state, 0, 0) : 0;
	chunks = pg_rows(state) ? pg_int(state, 0, 1) : 0;
	if (now != shelf->rev)
		err = load_pages(shelf, pg, tenant, rev, reterr);
	if (err == OC_OK && now != shelf->rev)
		err = load_chunks(shelf, pg, tenant, rev, reterr);
	if (err == OC_OK && (long long)index_chunks(shelf->index) != chunks)
		err = drop_deleted(shelf, pg, tenant, reterr);
	if (err != OC_OK)
		return err;
	h->fresh_models = h->fresh_models && shelf->rev == now;
	shelf->rev = now;
	shelf->chunks = chunks;
	if (!h->fresh_models) {
		shelf_models_done(shelf->model, shelf->models);
		shelf->models = 0;
		err = shelf_models(pg, h->tenant_id, shelf->model, &shelf->models, reterr);
		h->fresh_models = err == OC_OK;
	}
	h->bytes = index_bytes(shelf->index) + shelf->models * sizeof(struct embed_stats);
	return err;
}

/* --- which ones are kept */

static void evict(struct shelves *s, const struct held *keep)
{
	for (;;) {
		struct held *oldest = NULL;
		size_t bytes = 0, at = 0;

		for (size_t i = 0; i < s->count; i++) {
			bytes += s->held[i]->bytes;
			if (s->held[i] != keep && !s->held[i]->users &&
			    (!oldest || s->held[i]->used < oldest->used)) {
				oldest = s->held[i];
				at = i;
			}
		}
		if (bytes <= s->bytes_max || !oldest)
			return;
		s->held[at] = s->held[--s->count];
		held_free(oldest);
	}
}

static struct held *find(struct shelves *s, long long tenant_id)
{
	struct held *h;

	for (size_t i = 0; i < s->count; i++)
		if (s->held[i]->tenant_id == tenant_id)
			return s->held[i];
	h = mem_alloc(sizeof(*h));
	h->tenant_id = tenant_id;
	pthread_rwlock_init(&h->lock, NULL);
	s->held = mem_grow(s->held, s->count + 1, sizeof(struct held *));
	s->held[s->count++] = h;
	return h;
}

enum oc_err shelf_take(struct shelves *s, struct pg *pg, long long tenant_id, long long rev, long long chunks,
		       const struct shelf **ret, struct oc_fail *reterr)
{
	struct held *h;
	enum oc_err err = OC_OK;
	bool new_enough;

	pthread_mutex_lock(&s->lock);
	h = find(s, tenant_id);
	h->users++;
	h->used = ++s->clock;
	pthread_mutex_unlock(&s->lock);

	pthread_rwlock_rdlock(&h->lock);
	new_enough = h->shelf.index && h->fresh_models && h->shelf.rev >= rev &&
		     (h->shelf.rev > rev || h->shelf.chunks == chunks);
	if (!new_enough) {
		pthread_rwlock_unlock(&h->lock);
		pthread_rwlock_wrlock(&h->lock);
		err = follow(h, pg, reterr);
		pthread_rwlock_unlock(&h->lock);
		pthread_mutex_lock(&s->lock);
		evict(s, h);
		pthread_mutex_unlock(&s->lock);
		pthread_rwlock_rdlock(&h->lock);
	}
	if (err != OC_OK) {
		shelf_give(s, &h->shelf);
		return err;
	}
	*ret = &h->shelf;
	return OC_OK;
}

void shelf_give(struct shelves *s, const struct shelf *shelf)
{
	struct held *h = (struct held *)shelf;

	if (!shelf)
		return;
	pthread_rwlock_unlock(&h->lock);
	pthread_mutex_lock(&s->lock);
	h->users--;
	pthread_mutex_unlock(&s->lock);
}

void shelf_forget(struct shelves *s, long long tenant_id)
{
	struct held *h;

	pthread_mutex_lock(&s->lock);
	h = find(s, tenant_id);
	h->users++;
	pthread_mutex_unlock(&s->lock);
	pthread_rwlock_wrlock(&h->lock);
	h->fresh_models = false;
	pthread_rwlock_unlock(&h->lock);
	pthread_mutex_lock(&s->lock);
	h->users--;
	pthread_mutex_unlock(&s->lock);
}

void shelves_size(struct shelves *s, size_t *ret_bytes, size_t *ret_tenants)
{
	pthread_mutex_lock(&s->lock);
	*ret_tenants = s->count;
	*ret_bytes = 0;
	for (size_t i = 0; i < s->count; i++)
		*ret_bytes += s->held[i]->bytes;
	pthread_mutex_unlock(&s->lock);
}
