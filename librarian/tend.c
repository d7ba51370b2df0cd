/* tend.c - what keeps knowledge good: people's decisions, embedding again, the graph, trust by verdicts. */
#define LOG_ROOM "librarian"
#include "base/log.h"
#include "base/mem.h"
#include "librarian/library_impl.h"
#include "store/kb.h"

/* --- lists and decisions */

enum oc_err library_list(struct pg *pg, long long tenant_id, const char *state, int limit, json_t **ret,
			 struct oc_fail *reterr)
{
	static const char *const names[] = { "doc_id", "url",    "title",   "kind",   "service",   "state",
					     "trust",  "source", "case_id", "chunks", "created_at" };
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24];
	json_t *list;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, SQL_KB_LIST, PG_ARGS(tenant, state, int_text(limit).s), &r, reterr);
	if (err != OC_OK)
		return err;
	list = json_array();
	for (unsigned i = 0; i < pg_rows(r); i++) {
		json_t *o = json_object();

		for (unsigned k = 0; k < ARRAY_LEN(names); k++) {
			if (k == 0 || k == 9)
				json_object_set_new(o, names[k], json_integer(pg_int(r, i, k)));
			else if (k == 6)
				json_object_set_new(o, names[k], json_real(pg_num(r, i, k)));
			else
				json_put(o, names[k], pg_text(r, i, k));
		}
		json_array_append_new(list, o);
	}
	*ret = list;
	return OC_OK;
}

/* A draft becomes a page: now its text is cut, embedded and found. */
static enum oc_err accept_draft(struct library_writer *w, const struct pg_result *draft, long long doc_id,
				struct oc_fail *reterr)
{
	AUTO(chunk_list) struct chunk_list chunks = { 0 };
	struct shelf_model model = { 0 };
	const char *body = pg_text_or(draft, 0, 1, "");
	enum oc_err err =
		chunk_markdown(pg_text_or(draft, 0, 0, "a case"), body, strlen(body), &chunks, reterr);

	if (err == OC_OK)
		err = library_model(w->lib, w->pg, w->tenant_id, &chunks, 1, &model, reterr);
	w->model = &model;
	if (err == OC_OK)
		err = library_write_chunks(w, doc_id, &chunks, reterr);
	shelf_models_done(&model, 1);
	return err;
}

static enum oc_err decide(struct library_writer *w, long long doc_id, const char *state, long long by,
			  const char *who, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *draft = NULL;
	char tenant[24], doc[24], other[24];
	enum oc_err err = library_lock(w->pg, w->tenant_id, w->rev, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", w->tenant_id);
	snprintf(doc, sizeof(doc), "%lld", doc_id);
	snprintf(other, sizeof(other), "%lld", by);
	if (err == OC_OK)
		err = pg_query(w->pg, SQL_KB_DRAFT, PG_ARGS(tenant, doc), &draft, reterr);
	if (err != OC_OK)
		return err;
	if (!pg_rows(draft))
		return oc_fail(reterr, OC_NOT_FOUND, "there is no page %lld", doc_id);
	if (str_eq(state, "live") && str_eq(pg_text(draft, 0, 5), "draft"))
		err = accept_draft(w, draft, doc_id, reterr);
	if (err == OC_OK)
		err = pg_query(w->pg, SQL_KB_DECIDE,
			       PG_ARGS(tenant, doc, state, who, w->rev, by ? other : NULL), NULL, reterr);
	if (err == OC_OK)
		err = pg_query(w->pg, SQL_KB_DONE, PG_ARGS(tenant, w->rev), NULL, reterr);
	return err;
}

enum oc_err library_decide(struct library *lib, struct pg *pg, long long tenant_id, long long doc_id,
			   const char *state, long long by, const char *who, struct oc_fail *reterr)
{
	struct library_writer w = { .lib = lib, .pg = pg, .tenant_id = tenant_id };
	enum oc_err err;

	if (!str_eq(state, "live") && !str_eq(state, "retired") && !str_eq(state, "superseded"))
		return oc_fail_field(reterr, OC_INVALID, "/state", "live, retired or superseded");
	if (str_eq(state, "superseded") != (by > 0) || by == doc_id)
		return oc_fail_field(reterr, OC_INVALID, "/by",
				     "what is superseded names the other page that says it now");
	err = pg_begin(pg, reterr);
	if (err != OC_OK)
		return err;
	err = decide(&w, doc_id, state, by, who, reterr);
	if (err == OC_OK)
		return pg_commit(pg, reterr);
	pg_rollback(pg);
	return err;
}

/* --- embedding again */

/* Words of every chunk, read in pieces. */
static enum oc_err take_census(struct pg *pg, const char *tenant, struct embed_census *census,
			       const volatile int *stop, struct oc_fail *reterr)
{
	char after[24] = "0";

	while (!(stop && *stop)) {
		AUTO(pg_result) struct pg_result *r = NULL;
		enum oc_err err = pg_query(pg, SQL_KB_ALL_TEXTS, PG_ARGS(tenant, after, "1000"), &r, reterr);

		if (err != OC_OK || !pg_rows(r))
			return err;
		for (unsigned i = 0; i < pg_rows(r); i++)
			embed_census_add(census, pg_text(r, i, 1), pg_text(r, i, 2), pg_text(r, i, 3));
		snprintf(after, sizeof(after), "%s", pg_text(r, pg_rows(r) - 1, 0));
	}
	return oc_fail(reterr, OC_UNAVAILABLE, "told to stop");
}

/* "ngram-1536/7": the next one is /8. */
static int generation(const struct shelf_model *m, size_t n)
{
	int last = 0;

	for (size_t i = 0; i < n; i++) {
		const char *slash = strrchr(m[i].name, '/');
		long long g;

		if (m[i].stats && slash && str_to_long(slash + 1 + (slash[1] == 'b'), 0, 1000000000, &g) &&
		    g > last)
			last = (int)g;
	}
	return last + 1;
}

/* The model that all should have: one being built goes on, else a provider's, else a new snapshot where the tenant has
 * grown. *ret_name NULL: nothing to do but what has no vector at all. */
static enum oc_err target(struct library *lib, struct pg *pg, long long tenant_id, long long chunks,
			  bool anew, const volatile int *stop, struct shelf_model *ret,
			  struct oc_fail *reterr)
{
	struct shelf_model have[SHELF_MODELS_MAX] = { 0 };
	char tenant[24];
	size_t n = 0, at;
	enum oc_err err = shelf_models(pg, tenant_id, have, &n, reterr);

	if (err != OC_OK)
		return err;
	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	for (at = 0; at < n && !have[at].building; at++)
		;
	if (at == n && lib->config.embed)
		for (at = 0; at < n && !str_eq(have[at].name, lib->model); at++)
			;
	else if (at == n && !anew)
		for (at = 0;
		     at < n && !(have[at].stats && (chunks < GROWN_LEAST || chunks < 2 * have[at].chunks));
		     at++)
			;
	if (at < n) {
		*ret = have[at];
		have[at] = (struct shelf_model){ 0 };
		shelf_models_done(have, n);
		return OC_OK;
	}
	*ret = (struct shelf_model){ .building = true, .chunks = chunks };
	if (lib->config.embed) {
		ret->name = mem_strdup(lib->model);
		ret->dims = (int)lib->config.dims;
	} else {
		struct embed_census *census = embed_census_new();

		err = take_census(pg, tenant, census, stop, reterr);
		ret->name = mem_printf("ngram-%d/%d", EMBED_DIMS, generation(have, n));
		ret->dims = EMBED_DIMS;
		ret->stats = mem_alloc(sizeof(*ret->stats));
		embed_census_stats(census, ret->stats);
		embed_census_free(census);
	}
	shelf_models_done(have, n);
	if (err == OC_OK)
		err = library_model_put(pg, tenant_id, ret, reterr);
	if (err != OC_OK)
		shelf_models_done(ret, 1);
	return err;
}

static enum oc_err embed_some(struct library *lib, struct pg *pg, long long tenant_id,
			      const struct shelf_model *m, unsigned *ret_n, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text ids = { 0 };
	AUTO(text) struct text vecs = { 0 };
	struct library_text texts[EMBED_BATCH];
	char tenant[24], **vectors;
	unsigned bare = 0;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	/* With a provider a transaction is one call: whoever is killed has paid for one that nobody kept, at most. */
	err = pg_query(pg, SQL_KB_STALE,
		       PG_ARGS(tenant, m->name, int_text(m->stats ? EMBED_BATCH : PROVIDER_TEXTS).s), &r,
		       reterr);
	*ret_n = err == OC_OK ? pg_rows(r) : 0;
	if (!*ret_n)
		return err;
	for (unsigned i = 0; i < *ret_n; i++)
		texts[i] = (struct library_text){ pg_text(r, i, 1), pg_text(r, i, 2), pg_text(r, i, 3),
						  pg_text(r, i, 4) };
	vectors = library_vectors(lib, pg, tenant_id, m, texts, *ret_n, &bare);
	for (unsigned i = 0; i < *ret_n; i++) {
		if (vectors[i]) {
			pg_array_add(&ids, pg_text(r, i, 0));
			pg_array_add(&vecs, vectors[i]);
		}
		free(vectors[i]);
	}
	free(vectors);
	if (bare)
		return oc_fail(reterr, OC_UNAVAILABLE, "the provider of %s does not answer; it goes on later",
			       m->name);
	return pg_query(pg, SQL_KB_EMBEDDED,
			PG_ARGS(tenant, pg_array_end(&ids), pg_array_end(&vecs), m->name,
				int_text(m->dims).s),
			NULL, reterr);
}

/* The model changed: every replica has to look at it. */
static enum oc_err tell(struct pg *pg, long long tenant_id, const char *live, struct oc_fail *reterr)
{
	char tenant[24], rev[24];
	enum oc_err err = pg_begin(pg, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	if (err != OC_OK)
		return err;
	err = library_lock(pg, tenant_id, rev, reterr);
	if (err == OC_OK && live)
		err = pg_query(pg, SQL_KB_MODEL_LIVE, PG_ARGS(tenant, live), NULL, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_KB_DONE, PG_ARGS(tenant, rev), NULL, reterr);
	if (err == OC_OK)
		return pg_commit(pg, reterr);
	pg_rollback(pg);
	return err;
}

enum oc_err library_embed(struct library *lib, struct pg *pg, long long tenant_id, bool anew,
			  const volatile int *stop, unsigned *ret_n, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *state = NULL;
	struct shelf_model m = { 0 };
	long long chunks;
	unsigned n = 0;
	enum oc_err err = pg_query(pg, SQL_KB_STATE, PG_ARGS(int_text(tenant_id).s), &state, reterr);

	*ret_n = 0;
	if (err != OC_OK)
		return err;
	chunks = pg_rows(state) ? pg_int(state, 0, 1) : 0;
	if (!chunks)
		return OC_OK;
	err = target(lib, pg, tenant_id, chunks, anew, stop, &m, reterr);
	if (err == OC_OK && m.building)
		err = tell(pg, tenant_id, NULL, reterr);
	do {
		if (err == OC_OK && stop && *stop)
			err = oc_fail(reterr, OC_UNAVAILABLE, "told to stop; it goes on later");
		if (err == OC_OK)
			err = pg_begin(pg, reterr);
		if (err != OC_OK)
			break;
		err = embed_some(lib, pg, tenant_id, &m, &n, reterr);
		if (err == OC_OK)
			err = pg_commit(pg, reterr);
		else
			pg_rollback(pg);
		*ret_n += n;
	} while (err == OC_OK && n);
	if (err == OC_OK && m.building)
		err = tell(pg, tenant_id, m.name, reterr);
	shelf_forget(lib->shelves, tenant_id);
	shelf_models_done(&m, 1);
	return err;
}

/* --- for the janitor */

#define TAIL_MAX   2000 /* vectors of a large tenant that are scanned beside the graph */
#define GRAPH_STEP "200"

static enum oc_err settle(struct pg *pg, long long tenant_id, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *moved = NULL;
	char tenant[24], rev[24];
	enum oc_err err = pg_begin(pg, reterr);

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	if (err != OC_OK)
		return err;
	err = library_lock(pg, tenant_id, rev, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_KB_SETTLE, PG_ARGS(tenant, rev), &moved, reterr);
	if (err == OC_OK && pg_affected(moved))
		err = pg_query(pg, SQL_KB_DONE, PG_ARGS(tenant, rev), NULL, reterr);
	if (err == OC_OK)
		return pg_commit(pg, reterr);
	pg_rollback(pg);
	return err;
}

static enum oc_err into_graph(struct pg *pg, long long tenant_id, const volatile int *stop,
			      struct oc_fail *reterr)
{
	char tenant[24];

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	while (!(stop && *stop)) {
		AUTO(pg_result) struct pg_result *r = NULL;
		enum oc_err err = pg_query(pg, SQL_KB_GRAPH_IN, PG_ARGS(tenant, GRAPH_STEP), &r, reterr);

		if (err != OC_OK || !pg_affected(r))
			return err;
	}
	return OC_OK;
}

void library_tidy(struct library *lib, struct pg *pg, const volatile int *stop)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail fail = { 0 };

	if (pg_query(pg, SQL_KB_TENANTS, PG_NO_ARGS, &r, &fail) != OC_OK) {
		log_warn("%s", fail.text);
		return;
	}
	for (unsigned i = 0; i < pg_rows(r) && !(stop && *stop); i++) {
		long long tenant = pg_int(r, i, 0);
		unsigned n = 0;
		enum oc_err err = settle(pg, tenant, &fail);

		if (err == OC_OK)
			err = library_embed(lib, pg, tenant, false, stop, &n, &fail);
		if (err == OC_OK && n)
			log_info("tenant %lld: %u chunks embedded", tenant, n);
		if (err == OC_OK && pg_int(r, i, 1) > (long long)lib->config.exact_chunks &&
		    (n || pg_int(r, i, 3) > TAIL_MAX))
			err = into_graph(pg, tenant, stop, &fail);
		if (err != OC_OK)
			log_warn("tenant %lld: %s", tenant, fail.text);
	}
}
