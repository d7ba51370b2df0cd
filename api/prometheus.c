/* prometheus.c - /api/v1/...: the part of Prometheus' API that Grafana and Perses draw from, over metric_1m. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/query.h"
#include "base/clock.h"
#include "base/mem.h"
#include "domain/promql.h"
#include "store/observed.h"

#define STEPS_MAX   11000 /* as Prometheus has it */
#define ANSWERS_MAX 5000
#define MATCHES_MAX 10

/* ---- what was asked ---- */

struct asked {
	char *query, *time, *start, *end, *step;
	char *match[MATCHES_MAX];
	size_t matches;
};

static void take(void *ctx, const char *name, const char *value)
{
	struct asked *a = ctx;
	const struct field_row {
		const char *name;
		char **to;
	} rows[] = {
		{ "query", &a->query },
		{ "time",  &a->time  },
		{ "start", &a->start },
		{ "end",   &a->end   },
		{ "step",  &a->step  }
	};

	if (str_eq(name, "match[]") && a->matches < MATCHES_MAX)
		a->match[a->matches++] = mem_strdup(value);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eq(rows[i].name, name) && *value)
			mem_set(rows[i].to, value);
}

static void oc_auto_asked(struct asked *a)
{
	free(a->query), free(a->time), free(a->start), free(a->end), free(a->step);
	for (size_t i = 0; i < a->matches; i++)
		free(a->match[i]);
}

/* ---- answers in Prometheus' own form ---- */

static void answer(struct api_call *c, json_t *take_data)
{
	AUTO(json) json_t *doc = json_pack("{s:s,s:o}", "status", "success", "data", take_data);

	call_text(c, 200, "application/json", json_text(doc));
}

static void refuse(struct api_call *c, int status, const char *type, const char *text)
{
	AUTO(json)
	json_t *doc = json_pack("{s:s,s:s,s:s}", "status", "error", "errorType", type, "error", text);

	call_text(c, status, "application/json", json_text(doc));
}

/* False: answered. */
static bool asked_read(struct api_call *c, struct asked *a)
{
	struct oc_fail fail = { 0 };

	http_query_each(c->req, take, a);
	if (http_form_each(c->req, take, a, &fail) == OC_OK)
		return true;
	refuse(c, 400, "bad_data", fail.text);
	return false;
}

static void failed(struct api_call *c, const struct oc_fail *fail)
{
	if (fail->err == OC_INVALID || fail->err == OC_BAD_REQUEST)
		refuse(c, 422, "execution", fail->text);
	else
		call_problem(c, fail, NULL);
}

static bool time_of(struct api_call *c, const char *name, const char *text, int64_t *ret_s)
{
	char sentence[160], *end = NULL;
	int64_t us;
	double s;

	if (!text)
		return true;
	s = strtod(text, &end);
	if (*end == '\0' && s >= 0 && s < 1e11) {
		*ret_s = (int64_t)floor(s);
		return true;
	}
	if (clock_parse(text, &us) == 0) {
		*ret_s = us / 1000000;
		return true;
	}
	snprintf(sentence, sizeof(sentence), "invalid parameter \"%s\": '%.60s' is no time", name, text);
	refuse(c, 400, "bad_data", sentence);
	return false;
}

/* "15", "15.5", "1m" */
static bool step_of(struct api_call *c, const char *text, int64_t *ret_s)
{
	static const char units[] = "smhdw";
	static const int64_t unit_s[] = { 1, 60, 3600, 86400, 604800 };
	char *end = NULL;
	double n = text ? strtod(text, &end) : 0;
	const char *unit = end && *end && end[1] == '\0' ? strchr(units, *end) : NULL;

	if (unit)
		n *= (double)unit_s[unit - units];
	if (!text || end == text || (*end && !unit) || !(n > 0) || n > 1e9) {
		refuse(c, 400, "bad_data",
		       "invalid parameter \"step\": a positive number of seconds, or 5m, is expected");
		return false;
	}
	*ret_s = n < 1 ? 1 : (int64_t)n;
	return true;
}

static bool parse(struct api_call *c, const char *name, const char *text, struct promql *ret)
{
	char why[200], sentence[300];

	if (!text) {
		snprintf(sentence, sizeof(sentence), "invalid parameter \"%s\": it is missing", name);
		refuse(c, 400, "bad_data", sentence);
		*ret = (struct promql){ 0 };
		return false;
	}
	if (promql_parse(text, ret, why))
		return true;
	snprintf(sentence, sizeof(sentence), "invalid parameter \"%s\": %s", name, why);
	refuse(c, 400, "bad_data", sentence);
	return false;
}

/* ---- series of rows ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct promql_label *)a)->name, ((const struct promql_label *)b)->name);
}

static void add_label(struct promql_series *s, const char *name, const char *value)
{
	s->labels = mem_grow(s->labels, s->labels_n + 1, sizeof(*s->labels));
	s->labels[s->labels_n++] = (struct promql_label){ promql_name(name), mem_strdup(value) };
}

static void labels_of(struct promql_series *s, const char *metric, const char *urn, const char *labels)
{
	AUTO(json) json_t *doc = NULL;
	const char *name;
	json_t *value;

	add_label(s, "__name__", metric);
	free(s->labels[0].value);
	s->labels[0].value = promql_name(metric);
	add_label(s, "resource", urn);
	if (json_read_own(labels, &doc, NULL) == OC_OK)
		json_object_foreach(doc, name, value)
		{
			AUTO(str)
			char *text = json_is_string(value) ? mem_strdup(json_string_value(value))
							   : json_text(value);

			if (!str_eq(name, "resource") && !str_eq(name, "__name__"))
				add_label(s, name, text);
		}
	qsort(s->labels, s->labels_n, sizeof(*s->labels), by_name);
}

/* The metrics that an expression may mean, as an array literal. */
static enum oc_err names_for(struct pg *pg, long long tenant_id, const struct promql *p, struct text *ret,
			     struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *names = NULL;
	enum oc_err err = observed_metric_names(pg, tenant_id, &names, reterr);

	for (unsigned i = 0; err == OC_OK && i < pg_rows(names); i++)
		if (promql_takes_name(p, pg_text(names, i, 0)))
			pg_array_add(ret, pg_text(names, i, 0));
	pg_array_end(ret);
	return err;
}

static bool next_series(const struct pg_result *r, unsigned i)
{
	return i == 0 || !str_eq(pg_text(r, i, BC_METRIC), pg_text(r, i - 1, BC_METRIC)) ||
	       !str_eq(pg_text(r, i, BC_URN), pg_text(r, i - 1, BC_URN)) ||
	       !str_eq(pg_text(r, i, BC_LABELS), pg_text(r, i - 1, BC_LABELS));
}

struct series_list {
	struct promql_series *item;
	size_t n;
};

static void oc_auto_series_list(struct series_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		promql_series_done(&l->item[i]);
	free(l->item);
}

static void take_buckets(const struct promql *p, const struct pg_result *r, struct series_list *ret)
{
	bool taken = false;

	for (unsigned i = 0; i < pg_rows(r); i++) {
		struct promql_series *s;
		struct promql_point *at;

		if (next_series(r, i)) {
			struct promql_series one = { 0 };

			labels_of(&one, pg_text(r, i, BC_METRIC), pg_text(r, i, BC_URN),
				  pg_text(r, i, BC_LABELS));
			taken = promql_takes(p, one.labels, one.labels_n);
			if (taken) {
				ret->item = mem_grow(ret->item, ret->n + 1, sizeof(*ret->item));
				ret->item[ret->n++] = one;
			} else {
				promql_series_done(&one);
			}
		}
		if (!taken)
			continue;
		s = &ret->item[ret->n - 1];
		if (s->n % 64 == 0)
			s->points = mem_grow(s->points, s->n + 64, sizeof(*s->points));
		at = &s->points[s->n++];
		at->at_s = pg_int(r, i, BC_SECOND);
		for (unsigned k = 0; k < PROMQL_STATS; k++)
			at->v[k] = pg_num(r, i, BC_AVG + k);
	}
}

/* ---- query, query_range ---- */

static json_t *labels_json(const struct promql_label *labels, size_t n)
{
	json_t *o = json_object();

	for (size_t i = 0; i < n; i++)
		json_put(o, labels[i].name, labels[i].value);
	return o;
}

static json_t *sample(int64_t at_s, double value)
{
	char text[40];

	if (isnan(value))
		snprintf(text, sizeof(text), "NaN");
	else if (isinf(value))
		snprintf(text, sizeof(text), value > 0 ? "+Inf" : "-Inf");
	else
		snprintf(text, sizeof(text), "%.15g", value);
	return json_pack("[I,s]", (json_int_t)at_s, text);
}

static json_t *answer_json(const struct promql_answer *a, int64_t from_s, int64_t step_s, size_t steps,
			   bool range)
{
	json_t *values = json_array(), *o;

	for (size_t k = 0; k < steps; k++)
		if (!isnan(a->values[k]))
			json_array_append_new(values, sample(from_s + (int64_t)k * step_s, a->values[k]));
	if (json_array_size(values) == 0) {
		json_decref(values);
		return NULL;
	}
	o = json_object();
	json_object_set_new(o, "metric", labels_json(a->labels, a->labels_n));
	if (range) {
		json_object_set_new(o, "values", values);
	} else {
		json_object_set(o, "value", json_array_get(values, 0));
		json_decref(values);
	}
	return o;
}

static void answer_number(struct api_call *c, double value, int64_t from_s, int64_t step_s, size_t steps,
			  bool range)
{
	json_t *values = json_array();

	if (!range) {
		json_decref(values);
		answer(c, json_pack("{s:s,s:o}", "resultType", "scalar", "result", sample(from_s, value)));
		return;
	}
	for (size_t k = 0; k < steps; k++)
		json_array_append_new(values, sample(from_s + (int64_t)k * step_s, value));
	answer(c, json_pack("{s:s,s:[{s:{},s:o}]}", "resultType", "matrix", "result", "metric", "values",
			    values));
}

static void evaluate(struct api_call *c, const struct promql *p, int64_t from_s, int64_t to_s, int64_t step_s,
		     bool range)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text names = { 0 };
	AUTO(series_list) struct series_list list = { 0 };
	size_t steps = promql_steps(from_s, to_s, step_s), found = 0;
	struct promql_answer *answers;
	struct oc_fail fail = { 0 };
	json_t *result;
	struct pg *pg;
	enum oc_err err;

	if (p->number) {
		answer_number(c, p->value, from_s, step_s, steps, range);
		return;
	}
	pg = query_begin(c);
	if (!pg)
		return;
	err = names_for(pg, c->tenant_id, p, &names, &fail);
	if (err == OC_OK)
		err = observed_buckets(pg, c->tenant_id, text_str(&names),
				       (from_s - promql_reach_s(p)) * 1000000, (to_s + 1) * 1000000, &r,
				       &fail);
	query_end(c, pg);
	if (err != OC_OK) {
		failed(c, &fail);
		return;
	}
	take_buckets(p, r, &list);
	if (p->aggregate < 0 && list.n > ANSWERS_MAX) {
		refuse(c, 422, "execution", "more than 5000 series: name a resource, or aggregate");
		return;
	}
	answers = promql_eval(p, list.item, list.n, from_s, step_s, steps, &found);
	if (!answers) {
		refuse(c, 422, "execution",
		       "more than 1,000,000 values: a larger step, less time, or fewer series");
		return;
	}
	result = json_array();
	for (size_t i = 0; i < found; i++) {
		json_t *one = answer_json(&answers[i], from_s, step_s, steps, range);

		if (one)
			json_array_append_new(result, one);
	}
	promql_answers_free(answers, found);
	answer(c, json_pack("{s:s,s:o}", "resultType", range ? "matrix" : "vector", "result", result));
}

void prom_query(struct api_call *c)
{
	AUTO(asked) struct asked a = { 0 };
	AUTO(promql) struct promql p = { 0 };
	int64_t at = clock_wall_us() / 1000000;

	if (asked_read(c, &a) && time_of(c, "time", a.time, &at) && parse(c, "query", a.query, &p))
		evaluate(c, &p, at, at, 1, false);
}

void prom_query_range(struct api_call *c)
{
	AUTO(asked) struct asked a = { 0 };
	AUTO(promql) struct promql p = { 0 };
	int64_t now = clock_wall_us() / 1000000, from = now - 3600, to = now, step = 60;

	if (!asked_read(c, &a) || !time_of(c, "start", a.start, &from) || !time_of(c, "end", a.end, &to) ||
	    !step_of(c, a.step, &step) || !parse(c, "query", a.query, &p))
		return;
	if (to < from)
		refuse(c, 400, "bad_data", "invalid parameter \"end\": it is before start");
	else if (promql_steps(from, to, step) > STEPS_MAX)
		refuse(c, 400, "bad_data", "more than 11,000 steps: a larger step, or less time");
	else
		evaluate(c, &p, from, to, step, true);
}

/* ---- what there is ---- */

/* The series that any of the matches means; without one, all. False: answered. */
static bool series_asked(struct api_call *c, const struct asked *a, struct series_list *ret)
{
	int64_t now = clock_wall_us() / 1000000, from = now - 3600, to = now;
	size_t times = a->matches ? a->matches : 1;

	if (!time_of(c, "start", a->start, &from) || !time_of(c, "end", a->end, &to))
		return false;
	for (size_t m = 0; m < times; m++) {
		AUTO(promql) struct promql p = { .aggregate = -1 };
		AUTO(pg_result) struct pg_result *r = NULL;
		AUTO(text) struct text names = { 0 };
		struct oc_fail fail = { 0 };
		struct pg *pg;
		enum oc_err err;

		if (a->matches && !parse(c, "match[]", a->match[m], &p))
			return false;
		pg = query_begin(c);
		if (!pg)
			return false;
		err = names_for(pg, c->tenant_id, &p, &names, &fail);
		if (err == OC_OK)
			err = observed_series(pg, c->tenant_id, text_str(&names), from * 1000000,
					      (to + 1) * 1000000, &r, &fail);
		query_end(c, pg);
		if (err != OC_OK) {
			failed(c, &fail);
			return false;
		}
		for (unsigned i = 0; i < pg_rows(r); i++) {
			struct promql_series one = { 0 };

			labels_of(&one, pg_text(r, i, 0), pg_text(r, i, 1), pg_text(r, i, 2));
			if (!promql_takes(&p, one.labels, one.labels_n)) {
				promql_series_done(&one);
				continue;
			}
			ret->item = mem_grow(ret->item, ret->n + 1, sizeof(*ret->item));
			ret->item[ret->n++] = one;
		}
	}
	return true;
}

void prom_series(struct api_call *c)
{
	AUTO(asked) struct asked a = { 0 };
	AUTO(series_list) struct series_list list = { 0 };
	json_t *data;

	if (!asked_read(c, &a))
		return;
	if (!a.matches) {
		refuse(c, 400, "bad_data", "no match[] parameter provided");
		return;
	}
	if (!series_asked(c, &a, &list))
		return;
	data = json_array();
	for (size_t i = 0; i < list.n; i++)
		json_array_append_new(data, labels_json(list.item[i].labels, list.item[i].labels_n));
	answer(c, data);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each once, in order. Lent texts. */
static json_t *sorted_set(const char **texts, size_t n)
{
	json_t *list = json_array();

	if (n)
		qsort(texts, n, sizeof(*texts), by_text);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !str_eq(texts[i], texts[i - 1]))
			json_array_append_new(list, json_string(texts[i]));
	return list;
}

static void answer_labels(struct api_call *c, const char *values_of)
{
	AUTO(asked) struct asked a = { 0 };
	AUTO(series_list) struct series_list list = { 0 };
	const char **texts = NULL;
	size_t n = 0;

	if (!asked_read(c, &a) || !series_asked(c, &a, &list))
		return;
	for (size_t i = 0; i < list.n; i++)
		for (size_t k = 0; k < list.item[i].labels_n; k++) {
			const struct promql_label *l = &list.item[i].labels[k];

			if (values_of && !str_eq(l->name, values_of))
				continue;
			if (n % 64 == 0)
				texts = mem_grow(texts, n + 64, sizeof(*texts));
			texts[n++] = values_of ? l->value : l->name;
		}
	answer(c, sorted_set(texts, n));
	free(texts);
}

void prom_labels(struct api_call *c)
{
	answer_labels(c, NULL);
}

void prom_label_values(struct api_call *c)
{
	answer_labels(c, c->path_id);
}

void prom_metadata(struct api_call *c)
{
	AUTO(pg_result) struct pg_result *names = NULL;
	struct oc_fail fail = { 0 };
	struct pg *pg = query_begin(c);
	json_t *data;
	enum oc_err err;

	if (!pg)
		return;
	err = observed_metric_names(pg, c->tenant_id, &names, &fail);
	query_end(c, pg);
	if (err != OC_OK) {
		failed(c, &fail);
		return;
	}
	data = json_object();
	for (unsigned i = 0; i < pg_rows(names); i++) {
		AUTO(str) char *name = promql_name(pg_text(names, i, 0));

		json_object_set_new(data, name,
				    json_pack("[{s:s,s:s,s:s}]", "type", pg_text_or(names, i, 1, "unknown"),
					      "help", pg_text(names, i, 0), "unit",
					      pg_text_or(names, i, 2, "")));
	}
	answer(c, data);
}

void prom_buildinfo(struct api_call *c)
{
	answer(c, json_pack("{s:s,s:s}", "version", "2.53.0", "application", "opscase"));
}
