/* ask.c - a question's answers: words from the index in memory, vectors from the database, fused. */
#include <math.h>
#include "base/clock.h"
#include "base/mem.h"
#include "librarian/fuse.h"
#include "librarian/library_impl.h"
#include "store/kb.h"

#define LEG_MAX   64   /* pages of one ranking */
#define NEAR_MAX  "96" /* chunks that the vectors are asked for */
#define EF_SEARCH "160"

struct asking {
	struct library *lib;
	struct pg *pg;
	const struct library_question *q;
	char tenant[24];
	int64_t at_us;
	const struct shelf *shelf;
	struct index_filter filter;
	struct index_hit widened[LEG_MAX], words[LEG_MAX], vector[LEG_MAX], typo[LEG_MAX];
	struct fuse_leg leg[FUSE_LEGS];
	struct text note;
};

/* --- vectors */

static bool question_vector(struct asking *a, long long tenant_id, const struct shelf_model *m,
			    struct text *out)
{
	float v[EMBED_DIMS];

	if (m->stats) {
		bool any = false;

		embed_question(m->stats, a->q->text, v);
		for (size_t i = 0; i < EMBED_DIMS && !any; i++)
			any = v[i] != 0;
		if (!any)
			return false; /* no words: nothing is nearer than anything else */
		embed_text(v, EMBED_DIMS, out);
		return true;
	}
	if (!a->lib->config.embed || !str_eq(m->name, a->lib->model))
		return false;
	if (a->lib->config.embed(a->lib->config.ctx, tenant_id, &a->q->text, 1, v, NULL) != OC_OK) {
		text_addf(&a->note, "%sthe provider of %s did not answer: words alone",
			  a->note.len ? "; " : "", m->name);
		return false;
	}
	embed_text(v, (size_t)m->dims, out);
	return true;
}

static int by_nearness(const void *x, const void *y)
{
	const struct index_hit *a = x, *b = y;

	if (a->score != b->score)
		return a->score < b->score ? 1 : -1;
	return a->chunk_id < b->chunk_id ? -1 : a->chunk_id > b->chunk_id;
}

/* Pages once, each by its nearest chunk. */
static void take_near(struct asking *a, struct index_hit *all, size_t count)
{
	struct fuse_leg *leg = &a->leg[FUSE_VECTOR];

	if (count) /* an empty list has no place in memory */
		qsort(all, count, sizeof(*all), by_nearness);
	leg->hit = a->vector;
	for (size_t i = 0; i < count && leg->count < LEG_MAX; i++) {
		size_t k = 0;

		while (k < leg->count && a->vector[k].doc_id != all[i].doc_id)
			k++;
		if (k == leg->count && index_page_fits(a->shelf->index, all[i].doc_id, &a->filter, NULL))
			a->vector[leg->count++] = all[i];
	}
}

/* One round trip for each model: inside a transaction of its own, so that the settings end with it. */
static enum oc_err ask_model(struct asking *a, const struct shelf_model *m, const char *vector,
			     struct index_hit **io_all, size_t *io_count, struct oc_fail *reterr)
{
	bool where = a->q->service || a->q->kind || a->q->at_us;
	bool graph = a->shelf->chunks > (long long)a->lib->config.exact_chunks;
	struct pg_result *r[6] = { NULL };
	const char *args[7] = { a->tenant, m->name, vector, NEAR_MAX, a->q->service, a->q->kind, NULL };
	unsigned n = where ? 7 : 4, sent = 0, first = 0;
	char at[40];
	enum oc_err err;

	clock_format(a->at_us, at, sizeof(at));
	args[6] = at;
	err = pg_send(a->pg, "BEGIN READ ONLY", PG_NO_ARGS, reterr);
	sent++;
	if (err == OC_OK && graph) {
		/* A filtered scan of the graph goes on until it has enough. */
		err = pg_send(
			a->pg,
			"SELECT set_config('hnsw.ef_search', '" EF_SEARCH "', true), "
			"set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('jit', 'off', true)",
			PG_NO_ARGS, reterr);
		sent++;
	}
	first = sent;
	if (err == OC_OK && graph) {
		err = pg_send(a->pg, where ? SQL_KB_NEAR_GRAPH_WHERE : SQL_KB_NEAR_GRAPH, args, n, reterr);
		sent++;
	}
	if (err == OC_OK) {
		err = pg_send(a->pg, where ? SQL_KB_NEAR_TAIL_WHERE : SQL_KB_NEAR_TAIL, args, n, reterr);
		sent++;
	}
	if (err == OC_OK) {
		err = pg_send(a->pg, "COMMIT", PG_NO_ARGS, reterr);
		sent++;
	}
	if (err == OC_OK)
		err = pg_sync(a->pg, r, sent, reterr);
	for (unsigned k = first; err == OC_OK && k + 1 < sent; k++)
		for (unsigned i = 0; i < pg_rows(r[k]); i++) {
			*io_all = mem_grow(*io_all, *io_count + 1, sizeof(**io_all));
			(*io_all)[(*io_count)++] = (struct index_hit){ .chunk_id = pg_int(r[k], i, 0),
								       .doc_id = pg_int(r[k], i, 1),
								       .score = 1 - pg_num(r[k], i, 2) };
		}
	for (unsigned k = 0; k < ARRAY_LEN(r); k++)
		pg_result_free(r[k]);
	if (err != OC_OK)
		pg_rollback(a->pg);
	return err;
}

static enum oc_err ask_vectors(struct asking *a, long long tenant_id, struct oc_fail *reterr)
{
	struct index_hit *all = NULL;
	size_t count = 0;
	enum oc_err err = OC_OK;

	/* While a model is being built, some chunks have the old one's vectors: each is asked in its own. */
	for (size_t i = 0; err == OC_OK && i < a->shelf->models; i++) {
		AUTO(text) struct text vector = { 0 };

		if (question_vector(a, tenant_id, &a->shelf->model[i], &vector))
			err = ask_model(a, &a->shelf->model[i], text_str(&vector), &all, &count, reterr);
	}
	if (err == OC_OK)
		take_near(a, all, count);
	free(all);
	return err;
}

/* --- words */

static void ask_words(struct asking *a)
{
	a->leg[FUSE_WIDENED].hit = a->widened;
	a->leg[FUSE_WIDENED].count =
		index_search(a->shelf->index, a->q->text, &a->filter, true, a->widened, LEG_MAX);
	a->leg[FUSE_WORDS].hit = a->words;
	a->leg[FUSE_WORDS].count =
		index_search(a->shelf->index, a->q->text, &a->filter, false, a->words, LEG_MAX);
}

static enum oc_err ask_typo(struct asking *a, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct fuse_leg *leg = &a->leg[FUSE_TYPO];
	enum oc_err err = pg_query(a->pg, SQL_KB_TYPO, PG_ARGS(a->tenant, a->q->text, "20"), &r, reterr);

	leg->hit = a->typo;
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		long long doc = pg_int(r, i, 0);

		if (pg_text(r, i, 1) && index_page_fits(a->shelf->index, doc, &a->filter, NULL))
			a->typo[leg->count++] =
				(struct index_hit){ .doc_id = doc, .chunk_id = pg_int(r, i, 1) };
	}
	return err;
}

static float trust_of(void *ctx, long long doc_id)
{
	struct asking *a = ctx;
	float trust = 1;

	(void)index_page_fits(a->shelf->index, doc_id, &a->filter, &trust);
	return trust;
}

/* --- the answers */

static json_t *ranks(const struct fused *f)
{
	static const char *const names[FUSE_LEGS] = { "widened", "words", "vector", "trigram" };
	json_t *o = json_object();

	for (unsigned i = 0; i < FUSE_LEGS; i++)
		if (f->rank[i])
			json_object_set_new(o, names[i], json_integer(f->rank[i]));
	return o;
}

static json_t *answer(const struct fused *f, const struct pg_result *r, unsigned row)
{
	json_t *o = json_object();

	json_object_set_new(o, "doc_id", json_integer(f->doc_id));
	json_object_set_new(o, "chunk_id", json_integer(f->chunk_id));
	json_put(o, "title", pg_text(r, row, 2));
	json_put(o, "heading", pg_text(r, row, 7));
	json_put(o, "content", pg_text(r, row, 8));
	json_put(o, "url", pg_text(r, row, 3));
	json_put(o, "source", pg_text(r, row, 4));
	json_put(o, "kind", pg_text(r, row, 5));
	json_put(o, "service", pg_text(r, row, 6));
	if (pg_text(r, row, 10))
		json_put(o, "case_id", pg_text(r, row, 10));
	json_object_set_new(o, "score", json_real(round(f->score * 1e6) / 1e6));
	json_object_set_new(o, "trust", json_real(round((double)f->trust * 1000) / 1000));
	json_object_set_new(o, "ranks", ranks(f));
	return o;
}

static enum oc_err read_answers(struct asking *a, const struct fused *f, size_t count, json_t **ret,
				struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text ids = { 0 };
	json_t *list;
	enum oc_err err = OC_OK;

	for (size_t i = 0; i < count; i++)
		pg_array_addf(&ids, "%lld", f[i].chunk_id);
	if (count)
		err = pg_query(a->pg, SQL_KB_READ, PG_ARGS(a->tenant, pg_array_end(&ids)), &r, reterr);
	if (err != OC_OK)
		return err;
	list = json_array();
	for (size_t i = 0; i < count; i++)
		for (unsigned row = 0; row < pg_rows(r); row++)
			/* what was retired or changed since the index was loaded is left out */
			if (pg_int(r, row, 0) == f[i].chunk_id && str_eq(pg_text(r, row, 9), "live"))
				json_array_append_new(list, answer(&f[i], r, row));
	*ret = list;
	return OC_OK;
}

static enum oc_err ask_all(struct asking *a, long long tenant_id, json_t **ret, struct oc_fail *reterr)
{
	struct fused found[100];
	size_t n;
	enum oc_err err = OC_OK;

	if (a->q->how != LIBRARY_VECTOR)
		ask_words(a);
	if (a->q->how != LIBRARY_WORDS)
		err = ask_vectors(a, tenant_id, reterr);
	if (err == OC_OK && a->q->how == LIBRARY_FUSED && a->leg[FUSE_WORDS].count < a->q->limit)
		err = ask_typo(a, reterr);
	if (err != OC_OK)
		return err;
	n = fuse(a->leg, trust_of, a, found, a->q->limit);
	return read_answers(a, found, n, ret, reterr);
}

enum oc_err library_ask(struct library *lib, struct pg *pg, long long tenant_id,
			const struct library_question *q, json_t **ret, char **ret_note,
			struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *state = NULL;
	struct asking *a;
	long long rev, chunks;
	enum oc_err err;

	if (str_empty(q->text) || strlen(q->text) > 16384)
		return oc_fail_field(reterr, OC_INVALID, "q", "a question has 1 to 16384 bytes");
	if (q->limit < 1 || q->limit > 100)
		return oc_fail_field(reterr, OC_INVALID, "limit", "1 to 100 answers");
	a = mem_alloc(sizeof(*a));
	*a = (struct asking){ .lib = lib, .pg = pg, .q = q };
	a->at_us = q->at_us ? q->at_us : clock_wall_us();
	a->filter = (struct index_filter){ .service = q->service, .kind = q->kind, .at_us = a->at_us };
	snprintf(a->tenant, sizeof(a->tenant), "%lld", tenant_id);
	err = pg_query(pg, SQL_KB_STATE, PG_ARGS(a->tenant), &state, reterr);
	rev = err == OC_OK && pg_rows(state) ? pg_int(state, 0, 0) : 0;
	chunks = err == OC_OK && pg_rows(state) ? pg_int(state, 0, 1) : 0;
	if (err == OC_OK)
		err = shelf_take(lib->shelves, pg, tenant_id, rev, chunks, &a->shelf, reterr);
	if (err == OC_OK) {
		err = ask_all(a, tenant_id, ret, reterr);
		shelf_give(lib->shelves, a->shelf);
	}
	if (err == OC_OK && ret_note)
		*ret_note = a->note.len ? text_take(&a->note) : NULL;
	text_done(&a->note);
	free(a);
	return err;
}
