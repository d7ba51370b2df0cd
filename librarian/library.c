#include "librarian/library.h"
#include "base/clock.h"
#include "base/mem.h"
#include "librarian/library_impl.h"
#include "store/kb.h"

#define INDEX_BYTES  ((size_t)1 << 30)
#define EXACT_CHUNKS 5000
#define PAGES_MAX    512 /* of one call */

enum oc_err library_new(const struct library_config *config, struct library **ret, struct oc_fail *reterr)
{
	struct library *lib;

	if (config->embed && (config->dims < 1 || config->dims > EMBED_DIMS))
		return oc_fail_field(reterr, OC_INVALID, "dims",
				     "the model '%s' has %u dimensions: 1 to %d fit", config->model,
				     config->dims, EMBED_DIMS);
	lib = mem_alloc(sizeof(*lib));
	lib->config = *config;
	/* Vectors of another length are another model's, also when the provider calls both by one name. */
	lib->model = config->model ? mem_printf("%s@%u", config->model, config->dims) : NULL;
	lib->config.model = lib->model;
	if (!lib->config.exact_chunks)
		lib->config.exact_chunks = EXACT_CHUNKS;
	lib->shelves = shelves_new(config->index_bytes ? config->index_bytes : INDEX_BYTES);
	*ret = lib;
	return OC_OK;
}

void library_free(struct library *lib)
{
	if (!lib)
		return;
	shelves_free(lib->shelves);
	free(lib->model);
	free(lib);
}

/* --- models and vectors */

enum oc_err library_model_put(struct pg *pg, long long tenant_id, const struct shelf_model *m,
			      struct oc_fail *reterr)
{
	AUTO(str) char *hex = m->stats ? mem_alloc(2 * sizeof(*m->stats) + 1) : NULL;

	if (hex)
		str_hex(m->stats->idf, sizeof(m->stats->idf), hex);
	return pg_query(pg, SQL_KB_MODEL_PUT,
			PG_ARGS(int_text(tenant_id).s, m->name, int_text(m->dims).s,
				m->building ? "building" : "live", int_text(m->chunks).s, hex),
			NULL, reterr);
}

enum oc_err library_model(struct library *lib, struct pg *pg, long long tenant_id,
			  const struct chunk_list *first, size_t first_count, struct shelf_model *ret,
			  struct oc_fail *reterr)
{
	struct shelf_model have[SHELF_MODELS_MAX] = { 0 };
	size_t n = 0, at;
	enum oc_err err = shelf_models(pg, tenant_id, have, &n, reterr);

	if (err != OC_OK)
		return err;
	/* What is being built is what will stay. */
	for (at = 0; at < n && !have[at].building; at++)
		;
	if (at == n)
		for (at = 0; at < n; at++)
			if (lib->config.embed ? str_eq(have[at].name, lib->model) : have[at].stats != NULL)
				break;
	if (at < n) {
		*ret = have[at];
		have[at] = (struct shelf_model){ 0 };
		shelf_models_done(have, n);
		return OC_OK;
	}
	shelf_models_done(have, n);
	*ret = (struct shelf_model){ .building = n > 0 };
	if (lib->config.embed) {
		ret->name = mem_strdup(lib->model);
		ret->dims = (int)lib->config.dims;
	} else {
		struct embed_census *census = embed_census_new();

		for (size_t i = 0; i < first_count; i++)
			for (size_t k = 0; k < first[i].count; k++)
				embed_census_add(census, first[i].title, first[i].chunk[k].heading,
						 first[i].chunk[k].body);
		ret->chunks = (long long)embed_census_count(census);
		ret->name = mem_printf("ngram-%d/%s1", EMBED_DIMS, n ? "b" : "");
		ret->dims = EMBED_DIMS;
		ret->stats = mem_alloc(sizeof(*ret->stats));
		embed_census_stats(census, ret->stats);
		embed_census_free(census);
	}
	err = library_model_put(pg, tenant_id, ret, reterr);
	if (err != OC_OK)
		shelf_models_done(ret, 1);
	return err;
}

/* Vectors of chunks that say the same, from this tenant and this model. */
static void known_vectors(struct pg *pg, long long tenant_id, const char *model,
			  const struct library_text *texts, size_t count, char **out)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text hashes = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (texts[i].hash) {
			pg_array_add(&hashes, texts[i].hash);
			n++;
		}
	if (!n || pg_query(pg, SQL_KB_KNOWN, PG_ARGS(int_text(tenant_id).s, model, pg_array_end(&hashes)), &r,
			   NULL) != OC_OK)
		return;
	for (size_t i = 0; i < count; i++)
		for (unsigned k = 0; texts[i].hash && !out[i] && k < pg_rows(r); k++)
			if (str_eq(texts[i].hash, pg_text(r, k, 0)))
				out[i] = mem_strdup(pg_text(r, k, 1));
}

/* Those of a provider, at most PROVIDER_TEXTS to a call. */
static void provider_vectors(struct library *lib, long long tenant_id, const struct shelf_model *model,
			     const struct library_text *texts, size_t count, char **out)
{
	size_t dims = (size_t)model->dims;
	float *v = mem_array(PROVIDER_TEXTS * dims, sizeof(*v));

	if (!lib->config.embed || !str_eq(model->name, lib->model))
		count = 0;
	for (size_t from = 0; from < count;) {
		char *whole[PROVIDER_TEXTS];
		size_t of[PROVIDER_TEXTS], n = 0;
		bool there;

		for (; from < count && n < PROVIDER_TEXTS; from++) {
			if (out[from])
				continue;
			of[n] = from;
			whole[n++] = mem_printf("%s\n%s\n\n%s", texts[from].title, texts[from].heading,
						texts[from].body);
		}
		there = n && lib->config.embed(lib->config.ctx, tenant_id, (const char *const *)whole, n, v,
					       NULL) == OC_OK;
		for (size_t i = 0; i < n; i++) {
			struct text t = { 0 };

			free(whole[i]);
			if (!there)
				continue;
			embed_text(v + i * dims, dims, &t);
			out[of[i]] = text_take(&t);
		}
		/* one that is away, or may not be paid, is not asked for every batch */
		if (n && !there)
			break;
	}
	free(v);
}

char **library_vectors(struct library *lib, struct pg *pg, long long tenant_id,
		       const struct shelf_model *model, const struct library_text *texts, size_t count,
		       unsigned *ret_bare)
{
	char **out = mem_array(count ? count : 1, sizeof(*out));

	if (model->stats) {
		float *v = mem_array(EMBED_DIMS, sizeof(*v));

		for (size_t i = 0; i < count; i++) {
			struct text t = { 0 };

			embed_chunk(model->stats, texts[i].title, texts[i].heading, texts[i].body, v);
			embed_text(v, EMBED_DIMS, &t);
			out[i] = text_take(&t);
		}
		free(v);
		return out;
	}
	known_vectors(pg, tenant_id, model->name, texts, count, out);
	provider_vectors(lib, tenant_id, model, texts, count, out);
	for (size_t i = 0; i < count; i++)
		*ret_bare += out[i] == NULL;
	return out;
}

/* --- writing */

enum oc_err library_lock(struct pg *pg, long long tenant_id, char ret_rev[24], struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err = pg_query(pg, SQL_KB_LOCK, PG_ARGS(int_text(tenant_id).s), &r, reterr);

	if (err == OC_OK)
		snprintf(ret_rev, 24, "%s", pg_text(r, 0, 0));
	return err;
}

/* The lists that go with one statement. */
struct lists {
	struct text ids, moved, places, gone;
	struct text doc, at, heading, body, hash, vec;
};

static void lists_done(struct lists *l)
{
	struct text *const all[] = { &l->ids, &l->moved,   &l->places, &l->gone, &l->doc,
				     &l->at,  &l->heading, &l->body,   &l->hash, &l->vec };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		text_done(all[i]);
}

static enum oc_err add_chunks(struct library_writer *w, long long doc_id, const struct chunk_list *chunks,
			      const bool *kept, struct oc_fail *reterr)
{
	__attribute__((cleanup(lists_done))) struct lists l = { 0 };
	struct library_text *texts = mem_array(chunks->count, sizeof(*texts));
	char **vectors;
	size_t n = 0;

	for (size_t i = 0; i < chunks->count; i++)
		if (!kept[i])
			texts[n++] = (struct library_text){ chunks->title, chunks->chunk[i].heading,
							    chunks->chunk[i].body, chunks->chunk[i].hash };
	vectors = library_vectors(w->lib, w->pg, w->tenant_id, w->model, texts, n, &w->sum.bare);
	n = 0;
	for (size_t i = 0; i < chunks->count; i++) {
		if (kept[i])
			continue;
		pg_array_addf(&l.doc, "%lld", doc_id);
		pg_array_addf(&l.at, "%zu", i);
		pg_array_add(&l.heading, chunks->chunk[i].heading);
		pg_array_add(&l.body, chunks->chunk[i].body);
		pg_array_add(&l.hash, chunks->chunk[i].hash);
		pg_array_add(&l.vec, vectors[n]);
		free(vectors[n++]);
	}
	free(vectors);
	free(texts);
	w->sum.added += (unsigned)n;
	if (!n)
		return OC_OK;
	return pg_query(w->pg, SQL_KB_ADD,
			PG_ARGS(int_text(w->tenant_id).s, pg_array_end(&l.doc), pg_array_end(&l.at),
				pg_array_end(&l.heading), pg_array_end(&l.body), pg_array_end(&l.hash),
				pg_array_end(&l.vec), w->model->name, int_text(w->model->dims).s, w->rev),
			NULL, reterr);
}

/* What is there and says the same stays, with its vector, wherever it stands now. */
enum oc_err library_write_chunks(struct library_writer *w, long long doc_id, const struct chunk_list *chunks,
				 struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *old = NULL;
	__attribute__((cleanup(lists_done))) struct lists l = { 0 };
	bool *kept = mem_array(chunks->count ? chunks->count : 1, sizeof(*kept));
	char tenant[24];
	unsigned moved = 0, gone = 0;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", w->tenant_id);
	err = pg_query(w->pg, SQL_KB_CHUNKS, PG_ARGS(tenant, int_text(doc_id).s), &old, reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(old); i++) {
		const char *hash = pg_text(old, i, 2);
		size_t k = 0;

		while (k < chunks->count && (kept[k] || !str_eq(chunks->chunk[k].hash, hash)))
			k++;
		if (k == chunks->count) {
			pg_array_add(&l.gone, pg_text(old, i, 0));
			gone++;
			continue;
		}
		kept[k] = true;
		w->sum.kept++;
		if (pg_int(old, i, 1) == (long long)k)
			continue;
		pg_array_add(&l.moved, pg_text(old, i, 0));
		pg_array_addf(&l.places, "%zu", k);
		moved++;
	}
	w->sum.dropped += gone;
	if (err == OC_OK && gone)
		err = pg_query(w->pg, SQL_KB_DROP, PG_ARGS(tenant, pg_array_end(&l.gone)), NULL, reterr);
	if (err == OC_OK && moved) {
		const char *ids = pg_array_end(&l.moved);

		/* The place is a unique key: nobody may stand where another one goes. */
		err = pg_query(w->pg, SQL_KB_ASIDE, PG_ARGS(tenant, ids), NULL, reterr);
		if (err == OC_OK)
			err = pg_query(w->pg, SQL_KB_MOVE,
				       PG_ARGS(tenant, ids, pg_array_end(&l.places), w->rev), NULL, reterr);
	}
	if (err == OC_OK)
		err = add_chunks(w, doc_id, chunks, kept, reterr);
	free(kept);
	return err;
}

static bool same(const struct pg_result *r, const struct library_page *p, const char *hash)
{
	/* times are compared by their presence alone: another way to write the same one is no change worth a look */
	return str_eq(pg_text(r, 0, 1), hash) && str_eq(pg_text(r, 0, 2), "live") &&
	       str_eq(pg_text(r, 0, 4), p->kind ? p->kind : "page") && str_eq(pg_text(r, 0, 5), p->service) &&
	       !p->valid_from && !p->valid_to && !pg_text(r, 0, 6) && !pg_text(r, 0, 7);
}

static enum oc_err put_page(struct library_writer *w, const struct library_page *p,
			    const struct chunk_list *chunks, long long *ret_doc, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *found = NULL, *put = NULL;
	char hash[HASH_HEX], tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", w->tenant_id);
	hash_sha256_hex(p->text, strlen(p->text), hash);
	err = pg_query(w->pg, SQL_KB_FIND, PG_ARGS(tenant, p->url), &found, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(found) && same(found, p, hash)) {
		*ret_doc = pg_int(found, 0, 0);
		w->sum.same++;
		w->sum.kept += (unsigned)chunks->count;
		return OC_OK;
	}
	err = pg_query(w->pg, SQL_KB_PUT,
		       PG_ARGS(tenant, pg_rows(found) ? pg_text(found, 0, 0) : NULL, p->source, chunks->title,
			       p->url, p->kind ? p->kind : "page", p->service, p->valid_from, p->valid_to,
			       hash, "{}", w->rev),
		       &put, reterr);
	if (err != OC_OK)
		return err;
	if (!pg_rows(put))
		return oc_fail(reterr, OC_STALE, "%s went away meanwhile", p->url);
	*ret_doc = pg_int(put, 0, 0);
	w->sum.pages++;
	return library_write_chunks(w, *ret_doc, chunks, reterr);
}

static bool bad_time(const char *s)
{
	int64_t us;

	return s && clock_parse(s, &us) != 0;
}

static enum oc_err check_page(const struct library_page *p, size_t at, struct oc_fail *reterr)
{
	char field[64];

	snprintf(field, sizeof(field), "/pages/%zu", at);
	if (str_empty(p->url) || strlen(p->url) > 1000)
		return oc_fail_field(reterr, OC_INVALID, field, "a page needs an address of 1 to 1000 bytes");
	if (!p->text)
		return oc_fail_field(reterr, OC_INVALID, field, "%s has no text", p->url);
	if (bad_time(p->valid_from) || bad_time(p->valid_to))
		return oc_fail_field(reterr, OC_INVALID, field,
				     "%s: a time is written like 2026-01-02T03:04:05Z", p->url);
	if (p->kind && (!*p->kind || strlen(p->kind) > 32 ||
			p->kind[strspn(p->kind, "abcdefghijklmnopqrstuvwxyz0123456789_-")]))
		return oc_fail_field(reterr, OC_INVALID, field, "%s: a kind is a word of a-z, 0-9, _ and -",
				     p->url);
	return OC_OK;
}

/* "a/b/KubeDown.md" names itself KubeDown. */
static char *name_of(const char *url)
{
	const char *slash = strrchr(url, '/'), *from = slash && slash[1] ? slash + 1 : url,
		   *dot = strrchr(from, '.');

	return mem_strndup(from, dot && dot > from ? (size_t)(dot - from) : strlen(from));
}

static enum oc_err write_pages(struct library_writer *w, const struct library_page *pages,
			       const struct chunk_list *lists, size_t count, long long *ret_doc,
			       struct oc_fail *reterr)
{
	struct shelf_model model = { 0 };
	long long doc = 0;
	enum oc_err err = library_lock(w->pg, w->tenant_id, w->rev, reterr);

	if (err == OC_OK)
		err = library_model(w->lib, w->pg, w->tenant_id, lists, count, &model, reterr);
	w->model = &model;
	for (size_t i = 0; err == OC_OK && i < count; i++)
		err = put_page(w, &pages[i], &lists[i], &doc, reterr);
	if (err == OC_OK && (w->sum.pages || w->sum.dropped))
		err = pg_query(w->pg, SQL_KB_DONE, PG_ARGS(int_text(w->tenant_id).s, w->rev), NULL, reterr);
	shelf_models_done(&model, 1);
	if (ret_doc)
		*ret_doc = doc;
	return err;
}

enum oc_err library_put(struct library *lib, struct pg *pg, long long tenant_id,
			const struct library_page *pages, size_t count, struct library_sum *ret,
			long long *ret_doc, struct oc_fail *reterr)
{
	struct library_writer w = { .lib = lib, .pg = pg, .tenant_id = tenant_id };
	struct chunk_list *lists;
	enum oc_err err = OC_OK;

	if (count < 1 || count > PAGES_MAX)
		return oc_fail_field(reterr, OC_INVALID, "/pages", "1 to %d pages at once", PAGES_MAX);
	lists = mem_array(count, sizeof(*lists));
	for (size_t i = 0; err == OC_OK && i < count; i++) {
		AUTO(str) char *name = NULL;

		err = check_page(&pages[i], i, reterr);
		if (err != OC_OK)
			break;
		name = name_of(pages[i].url);
		err = chunk_markdown(name, pages[i].text, strlen(pages[i].text), &lists[i], reterr);
	}
	if (err == OC_OK)
		err = pg_begin(pg, reterr);
	if (err == OC_OK) {
		err = write_pages(&w, pages, lists, count, ret_doc, reterr);
		if (err == OC_OK)
			err = pg_commit(pg, reterr);
		else
			pg_rollback(pg);
	}
	for (size_t i = 0; i < count; i++)
		chunk_list_done(&lists[i]);
	free(lists);
	if (err == OC_OK)
		*ret = w.sum;
	return err;
}

enum oc_err library_keep_only(struct library *lib, struct pg *pg, long long tenant_id, const char *source,
			      const char *const *urls, size_t count, unsigned *ret_n, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text list = { 0 };
	char rev[24], tenant[24];
	enum oc_err err;

	(void)lib;
	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	for (size_t i = 0; i < count; i++)
		pg_array_add(&list, urls[i]);
	err = pg_begin(pg, reterr);
	if (err != OC_OK)
		return err;
	err = library_lock(pg, tenant_id, rev, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_KB_RETIRE_MISSING, PG_ARGS(tenant, source, pg_array_end(&list), rev),
			       &r, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_KB_DONE, PG_ARGS(tenant, rev), NULL, reterr);
	if (err == OC_OK)
		err = pg_commit(pg, reterr);
	else
		pg_rollback(pg);
	if (err == OC_OK)
		*ret_n = pg_rows(r);
	return err;
}
