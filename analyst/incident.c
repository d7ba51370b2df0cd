#include "analyst/incident.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"

#define SHOWN 5

/* What a series is, for whoever opens it. */
struct origin {
	const char *metric; /* lent from the result */
	char table[20];
	char key[64]; /* series_id, or "src>dst" */
};

struct incident {
	struct pg_result *scope, *edges, *metrics, *calls, *logs, *changes;
	struct cause_series *series;
	struct origin *origin;
	size_t series_count, series_cap;
	double *numbers; /* times and values of all series */
	size_t used, room;
	struct cause_call *call;
	struct cause_log *log;
	struct cause_change *change;
	struct cause_scene scene;
};

static void incident_done(struct incident *in)
{
	pg_result_free(in->scope);
	pg_result_free(in->edges);
	pg_result_free(in->metrics);
	pg_result_free(in->calls);
	pg_result_free(in->logs);
	pg_result_free(in->changes);
	free(in->series);
	free(in->origin);
	free(in->numbers);
	free(in->call);
	free(in->log);
	free(in->change);
}
static inline void oc_auto_incident(struct incident *in)
{
	incident_done(in);
}

struct numbered {
	long long id;
	uint32_t at;
};

static int by_id(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

struct numbers {
	struct numbered *of;
	size_t count;
};

static uint32_t number_of(const struct numbers *n, long long id)
{
	const struct numbered want = { .id = id },
			      *found = n->count ? bsearch(&want, n->of, n->count, sizeof(want), by_id) : NULL;

	return found ? found->at : CAUSE_NONE;
}

static double *take(struct incident *in, size_t n)
{
	double *at = in->numbers + in->used;

	in->used += n;
	return at;
}

static void add_series(struct incident *in, struct cause_series s, struct origin o)
{
	if (in->series_count == in->series_cap) {
		in->series_cap = in->series_cap ? in->series_cap * 2 : 1024;
		in->series = mem_grow(in->series, in->series_cap, sizeof(*in->series));
		in->origin = mem_grow(in->origin, in->series_cap, sizeof(*in->origin));
	}
	in->series[in->series_count] = s;
	in->origin[in->series_count++] = o;
}

static void read_metrics(struct incident *in, const struct numbers *numbers)
{
	unsigned rows = pg_rows(in->metrics), n;

	for (unsigned i = 0; i < rows; i += n) {
		double *time, *value;
		uint32_t service = number_of(numbers, pg_int(in->metrics, i, 1));
		struct origin o = { .metric = pg_text(in->metrics, i, 2), .table = "metric_1m" };

		for (n = 1; i + n < rows && pg_int(in->metrics, i + n, 0) == pg_int(in->metrics, i, 0); n++)
			;
		if (service == CAUSE_NONE)
			continue;
		time = take(in, n);
		value = take(in, n);
		for (unsigned k = 0; k < n; k++) {
			time[k] = (double)pg_int(in->metrics, i + k, 3);
			value[k] = pg_num(in->metrics, i + k, 4);
		}
		snprintf(o.key, sizeof(o.key), "%.60s", pg_text(in->metrics, i, 0));
		add_series(in,
			   (struct cause_series){ .service = service,
						  .caller = CAUSE_NONE,
						  .kind = cause_kind_of(o.metric),
						  .average = true,
						  .time = time,
						  .value = value,
						  .count = n },
			   o);
	}
}

static void add_call_series(struct incident *in, unsigned first, unsigned n, uint32_t service,
			    uint32_t caller, int column, const char *metric, enum cause_kind kind)
{
	double *time = take(in, n), *value = take(in, n);
	struct origin o = { .metric = metric, .table = "service_call_5m" };

	for (unsigned k = 0; k < n; k++) {
		time[k] = (double)pg_int(in->calls, first + k, 2);
		value[k] = pg_num(in->calls, first + k, (unsigned)column);
	}
	snprintf(o.key, sizeof(o.key), "%.30s>%.30s", pg_text(in->calls, first, 0),
		 pg_text(in->calls, first, 1));
	add_series(in,
		   (struct cause_series){ .service = service,
					  .caller = caller,
					  .kind = kind,
					  .time = time,
					  .value = value,
					  .count = n },
		   o);
}

static int by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What all callers together saw of one service, rows [first, first + n): the mean by count, and the count. */
static void add_callee(struct incident *in, unsigned first, unsigned n, uint32_t service)
{
	static const struct {
		int column;
		const char *metric;
		enum cause_kind kind;
	} fields[] = {
		{ 3, "p95_ms",   CAUSE_LATENCY  },
		{ 4, "err_rate", CAUSE_ERRORS   },
		{ 5, "count",    CAUSE_REQUESTS },
	};
	double *time = take(in, n);
	size_t times = 0;

	for (unsigned k = 0; k < n; k++)
		time[k] = (double)pg_int(in->calls, first + k, 2);
	qsort(time, n, sizeof(*time), by_time);
	for (unsigned k = 0; k < n; k++)
		if (!times || time[times - 1] != time[k])
			time[times++] = time[k];
	for (size_t f = 0; f < ARRAY_LEN(fields); f++) {
		double *value = take(in, n), *weight = mem_array(times + 1, sizeof(*weight));
		struct origin o = { .metric = fields[f].metric, .table = "service_call_5m" };

		for (unsigned k = 0; k < n; k++) {
			double t = (double)pg_int(in->calls, first + k, 2),
			       calls = (double)pg_int(in->calls, first + k, 5),
			       v = pg_num(in->calls, first + k, (unsigned)fields[f].column);
			size_t at =
				(size_t)((double *)bsearch(&t, time, times, sizeof(*time), by_time) - time);

			if (!weight[at])
				value[at] = 0;
			if (isnan(v) || calls <= 0)
				continue;
			weight[at] += calls;
			value[at] += fields[f].kind == CAUSE_REQUESTS ? v : v * calls;
		}
		for (size_t k = 0; k < times; k++)
			value[k] = weight[k] <= 0                     ? NAN
				   : fields[f].kind == CAUSE_REQUESTS ? value[k]
								      : value[k] / weight[k];
		snprintf(o.key, sizeof(o.key), "*>%.30s", pg_text(in->calls, first, 1));
		add_series(in,
			   (struct cause_series){ .service = service,
						  .caller = CAUSE_NONE,
						  .kind = fields[f].kind,
						  .average = true,
						  .time = time,
						  .value = value,
						  .count = times },
			   o);
		free(weight);
	}
}

static void read_calls(struct incident *in, const struct numbers *numbers)
{
	unsigned rows = pg_rows(in->calls), n, pair;

	for (unsigned i = 0; i < rows; i += n) {
		uint32_t to = number_of(numbers, pg_int(in->calls, i, 1));

		for (n = 1; i + n < rows && pg_int(in->calls, i + n, 1) == pg_int(in->calls, i, 1); n++)
			;
		for (unsigned k = 0; to != CAUSE_NONE && k < n; k += pair) {
			uint32_t from = number_of(numbers, pg_int(in->calls, i + k, 0));

			for (pair = 1; k + pair < n &&
				       pg_int(in->calls, i + k + pair, 0) == pg_int(in->calls, i + k, 0);
			     pair++)
				;
			if (from == CAUSE_NONE)
				continue;
			add_call_series(in, i + k, pair, to, from, 3, "p95_ms", CAUSE_LATENCY);
			add_call_series(in, i + k, pair, to, from, 4, "err_rate", CAUSE_ERRORS);
		}
		if (to != CAUSE_NONE)
			add_callee(in, i, n, to);
	}
}

static void read_rest(struct incident *in, const struct numbers *numbers)
{
	size_t n = 0;

	in->call = mem_array(pg_rows(in->edges) + 1u, sizeof(*in->call));
	for (unsigned i = 0; i < pg_rows(in->edges); i++) {
		uint32_t from = number_of(numbers, pg_int(in->edges, i, 0)),
			 to = number_of(numbers, pg_int(in->edges, i, 1));

		if (from != CAUSE_NONE && to != CAUSE_NONE)
			in->call[n++] = (struct cause_call){ from, to };
	}
	in->scene.calls_count = n;
	/* Rows of a service that is beyond the limit of the scope keep their place, so that indices stay those of the result. */
	in->log = mem_array(pg_rows(in->logs) + 1u, sizeof(*in->log));
	for (unsigned i = 0; i < pg_rows(in->logs); i++) {
		uint32_t at = number_of(numbers, pg_int(in->logs, i, 0));

		in->log[i] = (struct cause_log){ .service = at == CAUSE_NONE ? 0 : at,
						 .pattern = (uint64_t)pg_int(in->logs, i, 1),
						 .before = at == CAUSE_NONE ? 0 : pg_num(in->logs, i, 2),
						 .after = at == CAUSE_NONE ? 0 : pg_num(in->logs, i, 3),
						 .error = pg_int(in->logs, i, 4) > 0 };
	}
	in->change = mem_array(pg_rows(in->changes) + 1u, sizeof(*in->change));
	for (unsigned i = 0; i < pg_rows(in->changes); i++) {
		uint32_t at = number_of(numbers, pg_int(in->changes, i, 1));

		in->change[i] = (struct cause_change){ .service = at == CAUSE_NONE ? 0 : at,
						       .time = at == CAUSE_NONE ? -INFINITY
										: pg_num(in->changes, i, 2) };
	}
	in->scene.logs_count = pg_rows(in->logs);
	in->scene.changes_count = pg_rows(in->changes);
}

static enum oc_err ask_all(struct pg *pg, const struct incident_ask *ask, struct incident *in,
			   struct oc_fail *reterr)
{
	char tenant[24], from[24], onset[24], to[24];
	const struct {
		const char *sql;
		struct pg_result **ret;
	} all[] = {
		{ SQL_INCIDENT_SCOPE,   &in->scope   },
                { SQL_INCIDENT_EDGES,   &in->edges   },
		{ SQL_INCIDENT_METRICS, &in->metrics },
                { SQL_INCIDENT_CALLS,   &in->calls   },
		{ SQL_INCIDENT_LOGS,    &in->logs    },
                { SQL_INCIDENT_CHANGES, &in->changes },
	};
	enum oc_err err = OC_OK;

	snprintf(tenant, sizeof(tenant), "%lld", ask->tenant_id);
	snprintf(from, sizeof(from), "%lld", (long long)(ask->onset_us - ask->before_s * INT64_C(1000000)));
	snprintf(onset, sizeof(onset), "%lld", (long long)ask->onset_us);
	snprintf(to, sizeof(to), "%lld", (long long)ask->now_us);
	for (size_t i = 0; err == OC_OK && i < ARRAY_LEN(all); i++)
		err = pg_query(pg, all[i].sql, PG_ARGS(tenant, from, onset, to, ask->urn ? ask->urn : ""),
			       all[i].ret, reterr);
	return err;
}

static const char *urn_of(const struct incident *in, uint32_t service)
{
	return pg_text_or(in->scope, service, 1, "?");
}

static json_t *show_time(double seconds)
{
	char at[32];

	clock_format((int64_t)(seconds * 1000000), at, sizeof(at));
	return json_string(at);
}

static json_t *show_evidence(const struct incident *in, const struct cause_evidence *e)
{
	json_t *o = json_object();

	if (e->kind == CAUSE_BY_SERIES) {
		const struct cause_series *s = &in->series[e->at];

		json_object_set_new(o, "kind", json_string("metric"));
		json_object_set_new(o, "resource", json_string(urn_of(in, s->service)));
		if (s->caller != CAUSE_NONE)
			json_object_set_new(o, "seen_by", json_string(urn_of(in, s->caller)));
		json_object_set_new(o, "metric", json_string(in->origin[e->at].metric));
		json_object_set_new(o, "since", show_time(e->since));
		json_object_set_new(o, "ref_pg",
				    json_pack("{s:s, s:s}", "table", in->origin[e->at].table, "series",
					      in->origin[e->at].key));
	} else if (e->kind == CAUSE_BY_LOG) {
		json_object_set_new(o, "kind", json_string("log"));
		json_object_set_new(o, "resource", json_string(urn_of(in, in->log[e->at].service)));
		json_object_set_new(o, "pattern", json_string(pg_text_or(in->logs, (unsigned)e->at, 5, "")));
		json_object_set_new(o, "ref_pg",
				    json_pack("{s:s, s:s}", "table", "log_pattern_5m", "fingerprint_id",
					      pg_text(in->logs, (unsigned)e->at, 1)));
	} else {
		json_object_set_new(o, "kind", json_string("change"));
		json_object_set_new(o, "title", json_string(pg_text_or(in->changes, (unsigned)e->at, 3, "")));
		json_object_set_new(o, "since", show_time(e->since));
		json_object_set_new(o, "ref_pg",
				    json_pack("{s:s, s:s}", "table", "event_envelope", "event_id",
					      pg_text(in->changes, (unsigned)e->at, 0)));
		return o;
	}
	json_object_set_new(o, "before", json_real(e->before));
	json_object_set_new(o, "after", json_real(e->after));
	return o;
}

static json_t *show_answer(const struct incident *in, const struct cause_answer *a)
{
	json_t *path = json_array(), *evidence = json_array();

	for (size_t i = 0; i < a->path_count; i++)
		json_array_append_new(path, json_string(urn_of(in, a->path[i])));
	for (size_t i = 0; i < a->evidence_count; i++)
		json_array_append_new(evidence, show_evidence(in, &a->evidence[i]));
	return json_pack("{s:s, s:f, s:f, s:f, s:f, s:o, s:o}", "resource", urn_of(in, a->service), "score",
			 a->score, "shift", a->shift, "logs", a->logs, "excess", a->excess, "path", path,
			 "evidence", evidence);
}

static char *sentence(const struct incident *in, const struct cause_verdict *v)
{
	const struct cause_answer *top = &v->answer[0];
	const struct cause_evidence *e = top->evidence;
	struct text t = { 0 };

	if (!v->resolved) {
		text_addf(&t, "root cause unresolved: %s", v->why);
		return text_take(&t);
	}
	text_addf(&t, "root cause: %s", urn_of(in, top->service));
	if (top->evidence_count && e->kind == CAUSE_BY_SERIES)
		text_addf(&t, " (%s from %.4g to %.4g)", in->origin[e->at].metric, e->before, e->after);
	else if (top->evidence_count && e->kind == CAUSE_BY_LOG)
		text_addf(&t, " (%.100s: %.0f times before, %.0f after)",
			  pg_text_or(in->logs, (unsigned)e->at, 5, ""), e->before, e->after);
	else if (top->evidence_count)
		text_addf(&t, " (changed just before: %.100s)",
			  pg_text_or(in->changes, (unsigned)e->at, 3, ""));
	if (top->path_count > 1)
		text_addf(&t, ", %zu calls below %s", top->path_count - 1, urn_of(in, top->path[0]));
	return text_take(&t);
}

enum oc_err incident_explain(struct pg *pg, const struct incident_ask *ask, json_t **ret, double *ret_sure,
			     char **ret_sentence, struct oc_fail *reterr)
{
	AUTO(incident) struct incident in = { 0 };
	struct numbers numbers = { 0 };
	struct cause_verdict v;
	enum cause_kind kind = ask->metric ? cause_kind_of(ask->metric) : CAUSE_RESOURCE;
	json_t *answers = json_array();
	enum oc_err err = ask_all(pg, ask, &in, reterr);

	if (err != OC_OK) {
		json_decref(answers);
		return err;
	}
	numbers.count = pg_rows(in.scope);
	numbers.of = mem_array(numbers.count + 1, sizeof(*numbers.of));
	in.scene.target = CAUSE_NONE;
	for (uint32_t i = 0; i < numbers.count; i++) {
		numbers.of[i] = (struct numbered){ .id = pg_int(in.scope, i, 0), .at = i };
		if (ask->urn && str_eq(ask->urn, pg_text(in.scope, i, 1)) &&
		    (kind == CAUSE_LATENCY || kind == CAUSE_ERRORS || kind == CAUSE_SUCCESS))
			in.scene.target = i;
	}
	qsort(numbers.of, numbers.count, sizeof(*numbers.of), by_id);
	in.room = 2 * (size_t)pg_rows(in.metrics) + 8 * (size_t)pg_rows(in.calls) + 1;
	in.numbers = mem_array(in.room, sizeof(*in.numbers));
	read_metrics(&in, &numbers);
	read_calls(&in, &numbers);
	read_rest(&in, &numbers);
	in.scene.services = (uint32_t)numbers.count;
	in.scene.series = in.series;
	in.scene.series_count = in.series_count;
	in.scene.calls = in.call;
	in.scene.logs = in.log;
	in.scene.changes = in.change;
	in.scene.onset = (double)ask->onset_us / 1e6;
	in.scene.target_kind = kind;
	cause_find(&in.scene, &v);
	for (size_t i = 0; i < v.count && i < SHOWN; i++)
		json_array_append_new(answers, show_answer(&in, &v.answer[i]));
	*ret = json_pack("{s:b, s:o, s:o, s:{s:i, s:i, s:i, s:i, s:i}, s:o}", "resolved", v.resolved, "why",
			 v.why ? json_string(v.why) : json_null(), "onset", show_time(in.scene.onset),
			 "looked_at", "resources", (int)numbers.count, "series", (int)in.series_count,
			 "calls", (int)in.scene.calls_count, "patterns", (int)in.scene.logs_count, "changes",
			 (int)in.scene.changes_count, "answers", answers);
	*ret_sure = !v.resolved   ? 0
		    : v.count > 1 ? v.answer[0].score / (v.answer[0].score + v.answer[1].score)
				  : 1;
	*ret_sentence = sentence(&in, &v);
	free(numbers.of);
	return OC_OK;
}
