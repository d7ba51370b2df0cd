/* certify.c - opscase llm certify: which duties a model may take, by the golden set. */
#include "apps/opscase/certify.h"
#include <errno.h>
#include <stdio.h>
#include "analyst/investigate.h"
#include "apps/opscase/golden.h"
#include "apps/opscase/local.h"
#include "apps/opscase/show.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/settings.h"
#include "llm/key.h"
#include "planner/model.h"
#include "store/llm.h"
#include "wire/pg/pg.h"

/* All golden incidents began at this moment. */
#define ONSET  "2026-01-02T03:00:00Z"
#define BEFORE "2026-01-02T02:45:00Z"
#define SINCE  "2026-01-02T03:05:00Z"
#define NOW    "2026-01-02T03:10:00Z"

static int64_t at(const char *text)
{
	int64_t us = 0;

	if (clock_parse(text, &us) != 0)
		abort();
	return us;
}

/* --- the world of one incident: what the hooks of planner and analyst answer */

static json_t *row_json(const char *urn, const char *metric, const char *bucket, double value)
{
	return json_pack("{s:s, s:{s:s, s:s, s:s}, s:{s:f}}", "table", "metric_1m", "keys", "resource", urn,
			 "metric", metric, "bucket", bucket, "values", "avg", value);
}

/* urn, metric: NULL is all. */
static json_t *rows_of(const struct golden *g, const char *urn, const char *metric)
{
	json_t *list = json_array();

	for (size_t i = 0; i < GOLDEN_ROWS && g->row[i].urn; i++) {
		if ((urn && !str_eq(urn, g->row[i].urn)) || (metric && !str_eq(metric, g->row[i].metric)))
			continue;
		json_array_append_new(list,
				      row_json(g->row[i].urn, g->row[i].metric, BEFORE, g->row[i].before));
		json_array_append_new(list, row_json(g->row[i].urn, g->row[i].metric, SINCE, g->row[i].now));
	}
	return list;
}

static enum oc_err facts(void *ctx, long long tenant, const json_t *evidence, json_t **ret,
			 struct oc_fail *reterr)
{
	(void)tenant, (void)evidence, (void)reterr;
	*ret = rows_of(ctx, NULL, NULL);
	return OC_OK;
}

static enum oc_err cite(void *ctx, long long tenant, const char *table, const json_t *keys, json_t **ret,
			struct oc_fail *reterr)
{
	AUTO(json) json_t *rows = rows_of(ctx, NULL, NULL);
	const json_t *row;
	size_t i;

	(void)tenant, (void)table, (void)reterr;
	*ret = NULL;
	json_array_foreach(rows, i, row) if (json_equal(json_object_get(row, "keys"), keys)) *ret =
		json_incref(json_object_get(row, "values"));
	return OC_OK;
}

static bool is_there(const struct golden *g, const char *urn)
{
	bool is = str_eq(urn, g->alarmed);

	for (size_t i = 0; i < GOLDEN_ROWS && g->row[i].urn; i++)
		is |= str_eq(urn, g->row[i].urn);
	for (size_t i = 0; i < ARRAY_LEN(g->calls) && g->calls[i][0]; i++)
		is |= str_eq(urn, g->calls[i][0]) || str_eq(urn, g->calls[i][1]);
	return is;
}

static enum oc_err observed(void *ctx, long long tenant, const json_t *urns, int64_t at_us, json_t **ret,
			    struct oc_fail *reterr)
{
	const json_t *one;
	size_t i;

	(void)tenant, (void)at_us, (void)reterr;
	*ret = json_array();
	json_array_foreach(urns, i, one) if (is_there(ctx, json_string_value(one)))
		json_array_append(*ret, (json_t *)one);
	return OC_OK;
}

static json_t *pages_of(const struct golden *g)
{
	return g->page ? json_pack("[{s:i, s:s, s:s}]", "doc_id", 1, "heading", "Handbook", "content",
				   g->page)
		       : json_array();
}

static enum oc_err recall(void *ctx, long long tenant, const char *question, const char *service,
			  json_t **ret, struct oc_fail *reterr)
{
	(void)tenant, (void)question, (void)service, (void)reterr;
	*ret = pages_of(ctx);
	return OC_OK;
}

static json_t *calls_of(const struct golden *g, const char *urn)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(g->calls) && g->calls[i][0]; i++)
		if (str_eq(urn, g->calls[i][0]) || str_eq(urn, g->calls[i][1]))
			json_array_append_new(list,
					      json_pack("{s:s, s:{s:s, s:s}, s:{s:i}}", "table",
							"service_call_5m", "keys", "src", g->calls[i][0],
							"dst", g->calls[i][1], "values", "count", 300));
	return list;
}

static enum oc_err look(void *ctx, const struct investigate_case *c, const char *tool, const json_t *input,
			int64_t from_us, int64_t to_us, json_t **ret, struct oc_fail *reterr)
{
	const struct golden *g = ctx;
	const char *urn = json_str_or(input, "resource", ""), *metric = json_str(input, "metric");
	json_t *list;

	(void)c, (void)from_us, (void)to_us;
	if (*urn && !is_there(g, urn))
		return oc_fail(reterr, OC_NOT_FOUND, "no resource '%.200s' has been seen", urn);
	if (str_eq(tool, "query_metric")) {
		list = rows_of(g, urn, str_empty(metric) ? NULL : metric);
	} else if (str_eq(tool, "calls") || str_eq(tool, "topology")) {
		list = calls_of(g, urn);
	} else if (str_eq(tool, "log_patterns")) {
		list = json_array();
		if (g->log && str_eq(urn, g->alarmed))
			json_array_append_new(list, json_pack("{s:s, s:{s:i}, s:{s:i}, s:s}", "table",
							      "log_pattern_5m", "keys", "pattern_id", 1,
							      "values", "count", 40, "pattern", g->log));
	} else {
		list = str_eq(tool, "knowledge") ? pages_of(g) : json_array();
		if (str_eq(tool, "changes") && g->change)
			json_array_append_new(list, json_pack("{s:s, s:s}", "title", g->change, "at", ONSET));
		*ret = json_pack("{s:o}", str_eq(tool, "knowledge") ? "pages" : "changes", list);
		return OC_OK;
	}
	*ret = json_pack("{s:o}", "rows", list);
	return OC_OK;
}

/* --- one incident */

static bool plan_is_right(const struct golden *g, const struct model_plan *m)
{
	const json_t *step;
	bool good = json_array_size(json_object_get(m->plan, "steps")) > 0;
	size_t i;

	if (!g->culprit)
		return m->none;
	json_array_foreach(json_object_get(m->plan, "steps"), i, step)
		good &= str_eq(json_str(json_object_get(step, "target"), "urn"), g->culprit);
	return good;
}

static bool try_plan(struct llm *llm, const struct plan_contract *contract, const struct golden *g,
		     const char *id, char **ret_said)
{
	struct planner_model model = { .llm_ref = llm,
				       .facts = facts,
				       .cite = cite,
				       .observed = observed,
				       .recall = recall,
				       .ctx = (void *)g };
	AUTO(json) json_t *labels = json_pack("{s:s}", "resource", g->alarmed), *evidence = json_array();
	struct model_plan m;
	bool right;

	model_plan_make(&model, contract, &(struct plan_lint_options){ .tenant = "golden" },
			&(struct model_case){ .case_id = id,
					      .title = g->title,
					      .severity = "ERROR",
					      .summary = g->summary,
					      .labels = labels,
					      .evidence = evidence,
					      .opened_us = at(ONSET) },
			&m);
	right = plan_is_right(g, &m);
	*ret_said = m.plan ? mem_printf("plan: %s", json_str_or(m.plan, "title", "")) : mem_strdup(m.why);
	model_plan_done(&m);
	return right;
}

static bool try_analysis(struct llm *llm, const struct golden *g, const char *id, char **ret_said)
{
	struct investigate_eyes eyes = { .look = look, .observed = observed, .ctx = (void *)g };
	AUTO(json) json_t *labels = json_pack("{s:s}", "resource", g->alarmed);
	AUTO(json)
	json_t *said = investigate(llm,
				   &(struct investigate_case){ .case_id = id,
							       .title = g->title,
							       .run = "1.1",
							       .labels = labels,
							       .summary = g->summary,
							       .onset_us = at(ONSET),
							       .now_us = at(NOW) },
				   &eyes);
	const char *decision = json_str(said, "decision");

	*ret_said =
		mem_strdup(decision ? json_str_or(said, "summary", "") : json_str_or(said, "refused", ""));
	if (!g->culprit)
		return str_eq(decision, "unresolved");
	return str_eq(decision, "findings") &&
	       str_eq(json_string_value(json_at(said, "/hypotheses/0/resource")), g->culprit);
}

/* --- the whole set */

enum oc_err certify_run(struct llm *llm, const struct plan_contract *contract, const char *duty, json_t **ret,
			struct oc_fail *reterr)
{
	unsigned passed = 0, soft = 0, soft_passed = 0, hard_failed = 0;
	json_t *cases = json_array();
	char hash[HASH_HEX];

	for (size_t i = 0; i < goldens_count; i++) {
		const struct golden *g = &goldens[i];
		AUTO(str) char *id = mem_printf("golden-%zu", i);
		AUTO(str) char *said = NULL;
		bool hard = g->kind != GOLDEN_PLAIN && g->kind != GOLDEN_HERRING;
		bool right = str_eq(duty, "plan") ? try_plan(llm, contract, g, id, &said)
						  : try_analysis(llm, g, id, &said);

		if (!right && strstr(said, "every provider is out of order")) {
			json_decref(cases);
			return oc_fail(reterr, OC_UNAVAILABLE, "the provider does not answer");
		}
		passed += right;
		soft += !hard;
		soft_passed += !hard && right;
		hard_failed += hard && !right;
		json_array_append_new(cases,
				      json_pack("{s:s, s:s, s:b, s:s}", "name", g->name, "kind",
						golden_kind_names[g->kind], "passed", right, "said", said));
	}
	golden_hash(hash);
	*ret = json_pack("{s:s, s:i, s:i, s:b, s:s, s:o}", "duty", duty, "passed", (int)passed, "total",
			 (int)goldens_count, "certified", !hard_failed && soft_passed >= CERTIFY_SHARE * soft,
			 "golden", hash, "cases", cases);
	return OC_OK;
}

/* --- the command */

struct keys {
	const char *dir;
};

static enum oc_err key(void *ctx, const char *ref, char **ret, struct oc_fail *reterr)
{
	return llm_key_read(((struct keys *)ctx)->dir, ref, ret, reterr);
}

static enum oc_err read_config(const char *path, json_t **ret, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(text) struct text t = { 0 };
	char buf[4096];
	size_t n;

	if (!f)
		return oc_fail(reterr, OC_NOT_FOUND, "%s: %s", path, strerror(errno));
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0 && t.len < (size_t)1 << 20)
		text_add_n(&t, buf, n);
	return json_read(text_str(&t), t.len, NULL, ret, reterr);
}

static enum oc_err keep(struct pg *pg, const json_t *provider, const json_t *said, struct oc_fail *reterr)
{
	AUTO(str) char *detail = json_text(json_object_get(said, "cases"));
	char passed[16], total[16];

	snprintf(passed, sizeof(passed), "%lld", json_int_or(said, "passed", 0));
	snprintf(total, sizeof(total), "%lld", json_int_or(said, "total", 0));
	return pg_query(pg, SQL_LLM_CERTIFY,
			PG_ARGS(json_str(provider, "name"), json_str(provider, "model"),
				json_str(said, "duty"), json_str(said, "golden"), passed, total,
				json_bool_or(said, "certified", false) ? "true" : "false", detail),
			NULL, reterr);
}

static void tell(const struct cli *cli, const json_t *provider, const json_t *said)
{
	const json_t *c;
	size_t i;

	if (cli->json) {
		AUTO(str) char *line = json_text(said);

		puts(line);
		return;
	}
	printf("%s (%s), %s: %lld of %lld, %s\n", json_str(provider, "name"), json_str(provider, "model"),
	       json_str(said, "duty"), json_int_or(said, "passed", 0), json_int_or(said, "total", 0),
	       json_bool_or(said, "certified", false) ? "certified" : "NOT certified");
	json_array_foreach(json_object_get(said, "cases"), i, c) if (!json_bool_or(c, "passed", false))
		printf("  failed: %s (%s): %.200s\n", json_str(c, "name"), json_str(c, "kind"),
		       json_str(c, "said"));
}

static enum oc_err certify_provider(const struct cli *cli, json_t *provider, struct keys *keys,
				    const struct plan_contract *contract, struct pg *pg,
				    struct oc_fail *reterr)
{
	static const char *const duties[] = { "plan", "analysis" };
	AUTO(json) json_t *alone = json_pack("{s:[O]}", "providers", provider);
	AUTO(str) char *text = json_text(alone);
	AUTO(llm) struct llm *llm = NULL;
	enum oc_err err = llm_new(text, &(struct llm_hooks){ .secret = key, .ctx = keys }, &llm, reterr);

	for (size_t i = 0; i < ARRAY_LEN(duties) && err == OC_OK; i++) {
		AUTO(json) json_t *said = NULL;

		if (cli_option(cli, "duty") && !str_eq(cli_option(cli, "duty"), duties[i]))
			continue;
		err = certify_run(llm, contract, duties[i], &said, reterr);
		if (err == OC_OK && pg)
			err = keep(pg, provider, said, reterr);
		if (err == OC_OK)
			tell(cli, provider, said);
	}
	return err;
}

enum oc_err cli_llm_certify(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(pg) struct pg *pg = NULL;
	AUTO(registry) struct registry *registry = NULL;
	AUTO(plan_contract) struct plan_contract *contract = NULL;
	AUTO(json) json_t *config = NULL;
	struct keys keys = { .dir = cli_option(cli, "secrets") };
	const char *only = cli_arg(cli, 1);
	json_t *provider;
	size_t i, tried = 0;
	enum oc_err err = read_config(cli_arg(cli, 0), &config, reterr);

	if (err == OC_OK)
		err = local_registry(cli, &registry, reterr);
	if (err == OC_OK)
		err = plan_contract_new(registry_operations(registry), &contract, reterr);
	if (err == OC_OK && !cli_flag(cli, "no-keep"))
		err = local_database(cli, "opscase_worker", &pg, reterr);
	if (err != OC_OK)
		return err;
	json_array_foreach(json_object_get(config, "providers"), i, provider)
	{
		if (only && !str_eq(only, json_str(provider, "name")))
			continue;
		tried++;
		err = certify_provider(cli, provider, &keys, contract, pg, reterr);
		if (err != OC_OK)
			return err;
	}
	return tried ? OC_OK
		     : oc_fail(reterr, OC_NOT_FOUND, "%s names no provider '%s'", cli_arg(cli, 0),
			       only ? only : "");
}
