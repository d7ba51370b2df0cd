#include "analyst/eyes.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "store/llm.h"
#include "store/observed.h"
#include "store/topology.h"

#define POOL_WAIT_MS 5000
#define ROWS_MAX     60
#define PAGE_BYTES   1500

static const char *num(char out[24], long long v)
{
	snprintf(out, 24, "%lld", v);
	return out;
}

static json_t *row(const char *table, json_t *take_keys, json_t *take_values)
{
	return json_pack("{s:s, s:o, s:o}", "table", table, "keys", take_keys, "values", take_values);
}

static json_t *answer(json_t *take_rows)
{
	return json_pack("{s:o}", "rows", take_rows);
}

static json_t *times(int64_t from_us, int64_t to_us)
{
	char from[40], to[40];

	clock_format(from_us, from, sizeof(from));
	clock_format(to_us, to, sizeof(to));
	return json_pack("{s:s, s:s}", "from", from, "to", to);
}

/* --- one tool each, inside of a read-only transaction of the tenant */

struct looking {
	struct pg *pg;
	const struct investigate_case *c;
	const char *urn;
	const json_t *input;
	int64_t from_us, to_us;
};

static enum oc_err metric_names(const struct looking *l, json_t **ret, struct oc_fail *reterr)
{
	AUTO(json) json_t *series = NULL;
	json_t *rows = json_array();
	const json_t *s;
	bool known = false;
	size_t i;
	enum oc_err err = metric_summary_read(l->pg, l->c->tenant_id, l->urn, NULL, l->from_us, l->to_us,
					      &series, &known, reterr);

	json_array_foreach(series, i, s)
	{
		json_t *keys = times(l->from_us, l->to_us), *values = json_object();
		static const char *const names[] = { "avg", "max", "min", "p95", "count" };

		json_put(keys, "resource", l->urn);
		json_put(keys, "metric", json_str_or(s, "metric", ""));
		json_object_set(keys, "labels", json_object_get(s, "labels"));
		for (size_t k = 0; k < ARRAY_LEN(names); k++)
			if (json_is_number(json_object_get(s, names[k])))
				json_object_set(values, names[k], json_object_get(s, names[k]));
		json_array_append_new(rows, row("metric_summary", keys, values));
	}
	*ret = answer(rows);
	if (err == OC_OK && !known)
		err = oc_fail(reterr, OC_NOT_FOUND, "no resource '%.200s' has been seen", l->urn);
	return err;
}

static enum oc_err look_metric(const struct looking *l, json_t **ret, struct oc_fail *reterr)
{
	static const char *const names[] = { "avg", "max", "min", "p95", "count", "revision" };
	AUTO(pg_result) struct pg_result *r = NULL;
	const char *metric = json_str(l->input, "metric");
	char tenant[24], from[24], to[24];
	json_t *rows;
	enum oc_err err;

	if (str_empty(metric))
		return metric_names(l, ret, reterr);
	err = pg_query(l->pg, SQL_CITE_RANGE,
		       PG_ARGS(num(tenant, l->c->tenant_id), l->urn, metric, num(from, l->from_us),
			       num(to, l->to_us)),
		       &r, reterr);
	if (err != OC_OK)
		return err;
	rows = json_array();
	for (unsigned i = 0; i < pg_rows(r); i++) {
		json_t *values = json_object();

		for (unsigned k = 0; k < ARRAY_LEN(names); k++)
			if (pg_text(r, i, 3 + k))
				json_object_set_new(values, names[k], json_real(pg_num(r, i, 3 + k)));
		json_array_append_new(rows,
				      row("metric_1m",
					  json_pack("{s:s, s:s, s:s}", "resource", pg_text(r, i, 0), "metric",
						    pg_text(r, i, 1), "bucket", pg_text(r, i, 2)),
					  values));
	}
	*ret = answer(rows);
	return OC_OK;
}

/* The fields of `o` that are numbers. */
static json_t *numbers_of(const json_t *o)
{
	json_t *values = json_object(), *v;
	const char *key;

	json_object_foreach((json_t *)o, key, v) if (json_is_number(v)) json_object_set(values, key, v);
	return values;
}

static enum oc_err look_calls(const struct looking *l, json_t **ret, struct oc_fail *reterr)
{
	json_t *rows = json_array();
	long long id = 0;
	enum oc_err err = observed_resource(l->pg, l->c->tenant_id, l->urn, "resource", &id, reterr);

	for (unsigned side = 0; side < 2 && err == OC_OK; side++) {
		AUTO(json) json_t *edges = NULL;
		const json_t *e;
		size_t i;

		err = observed_calls_top(l->pg, l->c->tenant_id,
					 &(struct call_ask){ .src_id = side ? id : 0,
							     .dst_id = side ? 0 : id,
							     .from_us = l->from_us,
							     .to_us = l->to_us,
							     .limit = ROWS_MAX / 2 },
					 &edges, reterr);
		json_array_foreach(edges, i, e)
		{
			json_t *keys = times(l->from_us, l->to_us);

			json_put(keys, "src", json_str_or(e, "src", ""));
			json_put(keys, "dst", json_str_or(e, "dst", ""));
			json_array_append_new(rows, row("service_call_5m", keys, numbers_of(e)));
		}
	}
	*ret = answer(rows);
	return err;
}

static enum oc_err look_patterns(const struct looking *l, json_t **ret, struct oc_fail *reterr)
{
	AUTO(json) json_t *patterns = NULL;
	json_t *rows = json_array();
	const json_t *p;
	long long id = 0, last_count, last_id;
	bool more;
	size_t i;
	enum oc_err err = observed_resource(l->pg, l->c->tenant_id, l->urn, "resource", &id, reterr);

	if (err == OC_OK)
		err = observed_patterns(l->pg, l->c->tenant_id,
					&(struct pattern_ask){
						.resource_id = id,
						.text = json_str(l->input, "text"),
						.fresh = json_bool_or(l->input, "fresh", false),
						.from_us = l->from_us,
						.to_us = l->to_us,
						.limit = ROWS_MAX / 2 },
					&patterns, &more, &last_count, &last_id, reterr);
	json_array_foreach(patterns, i, p)
	{
		json_t *keys = times(l->from_us, l->to_us), *one;

		json_put(keys, "resource", l->urn);
		json_object_set(keys, "pattern_id", json_object_get(p, "pattern_id"));
		one = row("log_pattern_5m", keys,
			  json_pack("{s:O, s:O}", "count", json_object_get(p, "count"), "errors",
				    json_object_get(p, "errors")));
		json_object_set(one, "pattern", json_object_get(p, "pattern"));
		json_object_set(one, "severity", json_object_get(p, "severity"));
		json_object_set(one, "first_seen", json_object_get(p, "first_seen"));
		json_array_append_new(rows, one);
	}
	*ret = answer(rows);
	return err;
}

static enum oc_err look_topology(const struct looking *l, json_t **ret, struct oc_fail *reterr)
{
	json_t *edges = NULL;
	long long src, dst, id;
	char rest[64];
	enum oc_err err = observed_resource(l->pg, l->c->tenant_id, l->urn, "resource", &id, reterr);

	if (err == OC_OK)
		err = topology_edges_read(l->pg, l->c->tenant_id,
					  &(struct topology_filter){
						  .at_us = l->c->onset_us, .urn = l->urn, .limit = ROWS_MAX },
					  &edges, &src, &dst, rest, reterr);
	*ret = json_pack("{s:o}", "edges", edges ? edges : json_array());
	return err;
}

static enum oc_err look_changes(const struct looking *l, json_t **ret, struct oc_fail *reterr)
{
	static const char *const kinds[] = { "deploy", "change", "config" };
	json_t *all = json_array();
	long long id = 0;
	enum oc_err err = OC_OK;

	if (!str_empty(l->urn))
		err = observed_resource(l->pg, l->c->tenant_id, l->urn, "resource", &id, reterr);
	for (size_t k = 0; k < ARRAY_LEN(kinds) && err == OC_OK; k++) {
		AUTO(json) json_t *events = NULL;
		int64_t at;
		char event_id[40];
		bool more;

		err = observed_events(l->pg, l->c->tenant_id,
				      &(struct event_ask){ .kind = kinds[k],
							   .resource_id = id,
							   .from_us = l->from_us,
							   .to_us = l->to_us,
							   .limit = ROWS_MAX / 3 },
				      &events, &more, &at, event_id, reterr);
		if (err == OC_OK)
			json_array_extend(all, events);
	}
	*ret = json_pack("{s:o}", "changes", all);
	return err;
}

static const struct {
	const char *name;
	enum oc_err (*look)(const struct looking *l, json_t **ret, struct oc_fail *reterr);
} tools[] = {
	{ "query_metric", look_metric   },
        { "calls",        look_calls    },
        { "log_patterns", look_patterns },
	{ "topology",     look_topology },
        { "changes",      look_changes  },
};

/* --- pages */

static enum oc_err look_knowledge(struct eyes *e, const struct looking *l, json_t **ret,
				  struct oc_fail *reterr)
{
	AUTO(json) json_t *pages = NULL;
	json_t *list = json_array();
	const json_t *p;
	size_t i;
	enum oc_err err = e->recall ? e->recall(e->ctx, l->c->tenant_id,
						json_str_or(l->input, "question", ""), NULL, &pages, reterr)
				    : oc_fail(reterr, OC_NOT_FOUND, "no knowledge is kept here");

	json_array_foreach(pages, i, p)
	{
		AUTO(str) char *content = mem_strndup(json_str_or(p, "content", ""), PAGE_BYTES);

		while (*content && !str_utf8_ok(content, strlen(content)))
			content[strlen(content) - 1] = '\0';
		json_array_append_new(list, json_pack("{s:I, s:s, s:s}", "doc_id",
						      (json_int_t)json_int_or(p, "doc_id", 0), "heading",
						      json_str_or(p, "heading", ""), "content", content));
	}
	*ret = json_pack("{s:o}", "pages", list);
	return err;
}

/* --- the hooks */

static enum oc_err in_tenant(struct looking *l,
			     enum oc_err (*fn)(const struct looking *, json_t **, struct oc_fail *),
			     json_t **ret, struct oc_fail *reterr)
{
	char tenant[24];
	enum oc_err err =
		pg_query(l->pg, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", PG_NO_ARGS, NULL, reterr);

	if (err == OC_OK)
		err = pg_query(l->pg, "SELECT set_config('opscase.tenant', $1, true)",
			       PG_ARGS(num(tenant, l->c->tenant_id)), NULL, reterr);
	if (err == OC_OK)
		err = fn(l, ret, reterr);
	if (pg_alive(l->pg) && pg_query(l->pg, "ROLLBACK", PG_NO_ARGS, NULL, NULL) != OC_OK && err == OC_OK)
		err = oc_fail(reterr, OC_UNAVAILABLE, "the transaction could not be ended");
	return err;
}

static enum oc_err look(void *ctx, const struct investigate_case *c, const char *tool, const json_t *input,
			int64_t from_us, int64_t to_us, json_t **ret, struct oc_fail *reterr)
{
	struct eyes *e = ctx;
	struct looking l = {
		.c = c, .urn = json_str(input, "resource"), .input = input, .from_us = from_us, .to_us = to_us
	};
	enum oc_err err;

	*ret = NULL;
	if (str_eq(tool, "knowledge"))
		return look_knowledge(e, &l, ret, reterr);
	for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
		if (!str_eq(tools[i].name, tool))
			continue;
		err = pg_pool_take(e->pool_ref, POOL_WAIT_MS, &l.pg, reterr);
		if (err == OC_OK)
			err = in_tenant(&l, tools[i].look, ret, reterr);
		pg_pool_give(e->pool_ref, l.pg);
		return err;
	}
	return oc_fail(reterr, OC_NOT_FOUND, "there is no tool '%.60s'", tool);
}

static enum oc_err one_statement(struct eyes *e, const char *sql, const char *const *args, unsigned n,
				 struct pg_result **ret, struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = pg_pool_take(e->pool_ref, POOL_WAIT_MS, &pg, reterr);

	if (err != OC_OK)
		return err;
	err = pg_query(pg, sql, args, n, ret, reterr);
	pg_pool_give(e->pool_ref, pg);
	return err;
}

static enum oc_err observed(void *ctx, long long tenant_id, const json_t *urns, int64_t at_us, json_t **ret,
			    struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text list = { 0 };
	char tenant[24], at[24];
	const json_t *one;
	size_t i;
	enum oc_err err;

	json_array_foreach(urns, i, one) pg_array_add(&list, json_string_value(one));
	err = one_statement(ctx, SQL_CITE_OBSERVED,
			    PG_ARGS(num(tenant, tenant_id), pg_array_end(&list), num(at, at_us)), &r, reterr);
	if (err != OC_OK)
		return err;
	*ret = json_array();
	for (unsigned k = 0; k < pg_rows(r); k++)
		json_array_append_new(*ret, json_string(pg_text(r, k, 0)));
	return OC_OK;
}

static enum oc_err noted(void *ctx, const struct investigate_case *c, unsigned step, const char *tool,
			 const json_t *input, const char *shown, const char *outcome, int took_ms,
			 struct oc_fail *reterr)
{
	struct eyes *e = ctx;
	AUTO(str) char *text = json_text(input);
	char tenant[24], epoch[24], attempt[24], seq[24], took[24];

	return one_statement(e, SQL_LOOK_INSERT,
			     PG_ARGS(num(tenant, c->tenant_id), c->case_id, num(epoch, e->epoch),
				     num(attempt, e->attempt), num(seq, step), tool, text, shown, outcome,
				     num(took, took_ms)),
			     NULL, reterr);
}

struct investigate_eyes eyes_open(struct eyes *e)
{
	return (struct investigate_eyes){ .look = look, .observed = observed, .noted = noted, .ctx = e };
}
