#include "apps/opscased/models.h"
#include <errno.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "llm/key.h"
#include "store/llm.h"
#include "wire/pg/pg.h"

#define RECALL_MAX   4
#define POOL_WAIT_MS 5000

struct models {
	struct llm *llm;
	struct pg_pool *pool;
	struct library *lib;
	char *secrets_dir;
};

static const char *num(char out[32], long long v)
{
	snprintf(out, 32, "%lld", v);
	return out;
}

static enum oc_err key_from_dir(void *ctx, const char *ref, char **ret, struct oc_fail *reterr)
{
	return llm_key_read(((const struct models *)ctx)->secrets_dir, ref, ret, reterr);
}

/* --- one statement on a connection of the pool */

static enum oc_err ask(struct models *m, const char *sql, const char *const *args, unsigned n,
		       struct pg_result **ret, struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = pg_pool_take(m->pool, POOL_WAIT_MS, &pg, reterr);

	if (err != OC_OK)
		return err;
	err = pg_query(pg, sql, args, n, ret, reterr);
	pg_pool_give(m->pool, pg);
	return err;
}

static enum oc_err spent(void *ctx, long long tenant_id, const char *case_id, struct llm_spent *ret,
			 struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[32];
	enum oc_err err = ask(ctx, SQL_LLM_SPENT, PG_ARGS(num(tenant, tenant_id), case_id), &r, reterr);

	if (err == OC_OK)
		*ret = (struct llm_spent){ .case_tokens = pg_int(r, 0, 0),
					   .hour_tokens = pg_int(r, 0, 1),
					   .tenant_tokens = pg_int(r, 0, 2),
					   .case_cost = pg_num(r, 0, 3),
					   .hour_cost = pg_num(r, 0, 4),
					   .tenant_cost = pg_num(r, 0, 5) };
	return err;
}

/* What opscase llm certify wrote down; nothing is no. */
static enum oc_err certified(void *ctx, long long tenant_id, const char *duty, const char *provider,
			     const char *model, bool *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[32];
	enum oc_err err = ask(ctx, SQL_LLM_CERTIFIED, PG_ARGS(num(tenant, tenant_id), provider, model, duty),
			      &r, reterr);

	*ret = err == OC_OK && pg_rows(r) && pg_bool(r, 0, 0);
	return err;
}

static enum oc_err record(void *ctx, const struct llm_record *c, struct oc_fail *reterr)
{
	AUTO(str) char *request = json_canonical(c->request);
	AUTO(str) char *body = json_canonical(json_object_get(c->request, "body"));
	char id[UUID_TEXT], tenant[32], in[32], out[32], ms[32], cost[40], asked[HASH_HEX], said[HASH_HEX];

	uuid_new(id);
	hash_sha256_hex(body, strlen(body), asked);
	if (c->response)
		hash_sha256_hex(c->response, strlen(c->response), said);
	snprintf(cost, sizeof(cost), "%.6f", c->cost);
	return ask(ctx, SQL_LLM_RECORD,
		   PG_ARGS(id, num(tenant, c->tenant_id), c->case_id, c->purpose, c->provider, c->model,
			   request, c->response, asked, c->response ? said : NULL, num(in, c->tokens_in),
			   num(out, c->tokens_out), cost, num(ms, c->latency_ms), c->outcome),
		   NULL, reterr);
}

/* --- what a model may cite */

static json_t *cited_values(const struct pg_result *r, unsigned row)
{
	static const char *const names[] = { "avg", "max", "min", "p95", "count", "revision" };
	json_t *o = json_object();

	for (unsigned k = 0; k < ARRAY_LEN(names); k++)
		if (pg_text(r, row, 3 + k))
			json_object_set_new(o, names[k], json_real(pg_num(r, row, 3 + k)));
	return o;
}

static enum oc_err facts(void *ctx, long long tenant_id, const json_t *evidence, json_t **ret,
			 struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text urns = { 0 };
	AUTO(text) struct text metrics = { 0 };
	const json_t *e;
	char tenant[32];
	json_t *list;
	size_t i;
	enum oc_err err;

	json_array_foreach(evidence, i, e) if (i < 64 && json_str(e, "resource"))
	{
		pg_array_add(&urns, json_str(e, "resource"));
		pg_array_add(&metrics, json_str_or(e, "metric", ""));
	}
	err = ask(ctx, SQL_CITE_ROWS,
		  PG_ARGS(num(tenant, tenant_id), pg_array_end(&urns), pg_array_end(&metrics)), &r, reterr);
	if (err != OC_OK)
		return err;
	list = json_array();
	for (unsigned k = 0; k < pg_rows(r); k++)
		json_array_append_new(list,
				      json_pack("{s:s, s:{s:s, s:s, s:s}, s:o}", "table", "metric_1m", "keys",
						"resource", pg_text(r, k, 0), "metric", pg_text(r, k, 1),
						"bucket", pg_text(r, k, 2), "values", cited_values(r, k)));
	*ret = list;
	return OC_OK;
}

static enum oc_err cite(void *ctx, long long tenant_id, const char *table, const json_t *keys, json_t **ret,
			struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	const char *urn = json_str(keys, "resource"), *metric = json_str(keys, "metric"),
		   *bucket = json_str(keys, "bucket");
	char tenant[32];
	int64_t at;
	enum oc_err err;

	if (!str_eq(table, "metric_1m") || !urn || !metric || !bucket || clock_parse(bucket, &at) != 0)
		return oc_fail(reterr, OC_INVALID, "no such row can be cited");
	err = ask(ctx, SQL_CITE_ONE, PG_ARGS(num(tenant, tenant_id), urn, metric, bucket), &r, reterr);
	if (err == OC_OK)
		*ret = pg_rows(r) ? cited_values(r, 0) : NULL;
	return err;
}

static enum oc_err observed(void *ctx, long long tenant_id, const json_t *urns, int64_t at_us, json_t **ret,
			    struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text list = { 0 };
	const json_t *one;
	char tenant[32], at[32];
	size_t i;
	enum oc_err err;

	json_array_foreach(urns, i, one) pg_array_add(&list, json_string_value(one));
	err = ask(ctx, SQL_CITE_OBSERVED,
		  PG_ARGS(num(tenant, tenant_id), pg_array_end(&list), num(at, at_us)), &r, reterr);
	if (err != OC_OK)
		return err;
	*ret = json_array();
	for (unsigned k = 0; k < pg_rows(r); k++)
		json_array_append_new(*ret, json_string(pg_text(r, k, 0)));
	return OC_OK;
}

static enum oc_err recall(void *ctx, long long tenant_id, const char *question, const char *service,
			  json_t **ret, struct oc_fail *reterr)
{
	struct models *m = ctx;
	struct library_question q = { .text = question, .service = service, .limit = RECALL_MAX };
	struct pg *pg = NULL;
	enum oc_err err;

	if (!m->lib)
		return oc_fail(reterr, OC_UNAVAILABLE, "no knowledge is kept here");
	err = pg_pool_take(m->pool, POOL_WAIT_MS, &pg, reterr);
	if (err != OC_OK)
		return err;
	err = library_ask(m->lib, pg, tenant_id, &q, ret, NULL, reterr);
	pg_pool_give(m->pool, pg);
	return err;
}

static enum oc_err embed(void *ctx, long long tenant_id, const char *const *texts, size_t count, float *ret,
			 struct oc_fail *reterr)
{
	return llm_embed(((struct models *)ctx)->llm, tenant_id, texts, count, ret, reterr);
}

/* --- all of it */

static enum oc_err read_config(const char *path, char **ret, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(text) struct text t = { 0 };
	char buf[4096];
	size_t n;

	if (!f)
		return oc_fail_field(reterr, OC_NOT_FOUND, "llm.config", "%s: %s", path, strerror(errno));
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0 && t.len < (size_t)1 << 20)
		text_add_n(&t, buf, n);
	*ret = text_take(&t);
	return OC_OK;
}

enum oc_err models_new(const struct settings *st, struct pg_pool *pool, const char *secrets_dir,
		       struct models **ret, struct oc_fail *reterr)
{
	AUTO(str) char *config = NULL;
	struct models *m;
	enum oc_err err;

	*ret = NULL;
	if (!setting_given(st, SET_LLM_CONFIG))
		return OC_OK;
	err = read_config(setting_text(st, SET_LLM_CONFIG), &config, reterr);
	if (err != OC_OK)
		return err;
	m = mem_alloc(sizeof(*m));
	m->pool = pool;
	m->secrets_dir = mem_strdup(secrets_dir);
	err = llm_new(config,
		      &(struct llm_hooks){ .secret = key_from_dir,
					   .spent = spent,
					   .record = record,
					   .certified = certified,
					   .ctx = m },
		      &m->llm, reterr);
	if (err != OC_OK) {
		models_free(m);
		return err;
	}
	*ret = m;
	return OC_OK;
}

void models_free(struct models *m)
{
	if (!m)
		return;
	llm_free(m->llm);
	free(m->secrets_dir);
	free(m);
}

void models_embed_into(struct models *m, struct library_config *config)
{
	if (!m || !llm_embeds(m->llm, &config->model, &config->dims))
		return;
	config->embed = embed;
	config->ctx = m;
}

void models_use(struct models *m, struct library *lib)
{
	if (m)
		m->lib = lib;
}

struct planner_model models_for_planner(struct models *m)
{
	if (!m)
		return (struct planner_model){ 0 };
	return (struct planner_model){ .llm_ref = m->llm,
				       .facts = facts,
				       .cite = cite,
				       .observed = observed,
				       .recall = recall,
				       .ctx = m };
}

struct analyst_model models_for_analyst(struct models *m)
{
	if (!m)
		return (struct analyst_model){ 0 };
	return (struct analyst_model){ .llm_ref = m->llm, .recall = recall, .ctx = m };
}
