#define LOG_ROOM "analyst"
#include "analyst/slo_watch.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include "base/log.h"
#include "base/mem.h"
#include "store/signal.h"
#include "wire/yaml/yaml.h"

#define TENANTS_MAX 4096

struct slo_watch {
	struct slo_list list;
	double min_events;
};

static const char *const span_names[SLO_SPANS] = { "5m", "30m", "1h", "2h", "6h", "1d", "3d", "window" };

static void say(void *ctx, const char *text)
{
	log_info("%s: %s", (const char *)ctx, text);
}

struct slo_watch *slo_watch_new(const char *dir, double min_events)
{
	struct slo_watch *w = mem_alloc(sizeof(*w));
	struct dirent **names = NULL;
	int n = str_empty(dir) ? 0 : scandir(dir, &names, NULL, alphasort);

	w->min_events = min_events;
	if (n < 0)
		log_error("slo.dir %s: %m", dir);
	for (int i = 0; i < n; i++) {
		AUTO(str) char *path = mem_printf("%s/%s", dir, names[i]->d_name);
		AUTO(yaml) struct yaml_doc *doc = NULL;
		struct oc_fail why = { 0 };
		size_t had = w->list.count;

		if ((str_glob("*.yaml", names[i]->d_name) || str_glob("*.yml", names[i]->d_name)) &&
		    (yaml_read_file(path, &doc, &why) != OC_OK ||
		     slo_read(yaml_value(doc), &w->list, say, path, &why) != OC_OK)) {
			w->list.count = had;
			log_error("%s is left out: %s %s", path, why.field, why.text);
		}
		free(names[i]);
	}
	free(names);
	return w;
}

void slo_watch_free(struct slo_watch *w)
{
	if (!w)
		return;
	slo_list_done(&w->list);
	free(w);
}

struct tenant_counts {
	long long tenant_id;
	struct slo_count count[SLO_SPANS];
};

struct counted {
	struct tenant_counts *of;
	size_t n;
};

static struct tenant_counts *counts_of(struct counted *c, long long tenant_id)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->of[i].tenant_id == tenant_id)
			return &c->of[i];
	if (c->n == TENANTS_MAX)
		return NULL;
	c->of = mem_grow(c->of, c->n + 1, sizeof(*c->of));
	c->of[c->n] = (struct tenant_counts){ .tenant_id = tenant_id };
	return &c->of[c->n++];
}

enum part { PART_BAD, PART_GOOD, PART_TOTAL };

static enum oc_err count_part(struct pg *pg, const struct slo *s, const struct slo_source *source,
			      enum part part, long long tenant_id, int64_t now_us, struct counted *c,
			      struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text spans = { 0 };
	char now[24], tenant[24];
	enum oc_err err;

	for (size_t i = 0; i < SLO_SPANS; i++)
		pg_array_addf(&spans, "%d", slo_span_s[i] ? slo_span_s[i] : s->window_s);
	snprintf(now, sizeof(now), "%lld", (long long)now_us);
	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, SQL_SLO_COUNTS,
		       PG_ARGS(source->resource, source->metric, pg_array_end(&spans), now, tenant), &r,
		       reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		struct tenant_counts *t = counts_of(c, pg_int(r, i, 0));
		long long span = pg_int(r, i, 1);
		double bad = pg_num(r, i, 2), total = pg_num(r, i, 3);

		if (!t || span < 0 || span >= SLO_SPANS)
			continue;
		/* Of calls, the errors are the bad ones; of a metric there is one sum. */
		if (part == PART_TOTAL)
			t->count[span].total += total;
		else if (part == PART_BAD)
			t->count[span].bad += bad;
		else
			t->count[span].bad -= source->metric[0] ? total : total - bad;
	}
	return err;
}

static enum oc_err count_slo(struct pg *pg, const struct slo *s, long long tenant_id, int64_t now_us,
			     struct counted *ret, struct oc_fail *reterr)
{
	enum oc_err err = count_part(pg, s, &s->total, PART_TOTAL, tenant_id, now_us, ret, reterr);

	if (err == OC_OK && s->bad.ours)
		return count_part(pg, s, &s->bad, PART_BAD, tenant_id, now_us, ret, reterr);
	if (err == OC_OK)
		err = count_part(pg, s, &s->good, PART_GOOD, tenant_id, now_us, ret, reterr);
	/* What is not good is bad. */
	for (size_t i = 0; err == OC_OK && i < ret->n; i++)
		for (size_t k = 0; k < SLO_SPANS; k++)
			ret->of[i].count[k].bad =
				fmax(ret->of[i].count[k].bad + ret->of[i].count[k].total, 0);
	return err;
}

static enum oc_err raise_slo(struct pg *pg, const struct slo *s, long long tenant_id, const char *print,
			     const struct slo_state *st, int64_t now_us, struct oc_fail *reterr)
{
	AUTO(str)
	char *title = mem_printf("SLO %s burns its error budget %.3g times too fast over %s", s->name,
				 st->burn[st->by], span_names[st->by]);
	AUTO(str)
	char *note = mem_printf("burn rate %.3g over %s, the limit is %.3g; %.1f %% of the budget is left",
				st->burn[st->by], span_names[st->by], st->limit, 100 * st->budget_left);
	AUTO(json)
	json_t *labels = json_pack("{s:s, s:s, s:s, s:s}", "slo", s->name, "service", s->service, "resource",
				   s->total.resource, "metric",
				   s->total.metric[0] ? s->total.metric : "err_rate");
	AUTO(json)
	json_t *links = json_pack("[{s:s, s:{s:s, s:{s:s, s:s}}, s:s}]", "dim",
				  s->total.metric[0] ? "metric" : "topo", "ref_pg", "table",
				  s->total.metric[0] ? "metric_1m" : "service_call_5m", "keys", "resource",
				  s->total.resource, "metric",
				  s->total.metric[0] ? s->total.metric : "errors", "note", note);

	return signal_raise(pg, tenant_id,
			    &(struct signal_new){ .fingerprint = print,
						  .source = "slo",
						  .kind = "slo_violation",
						  .title = title,
						  .summary = note,
						  .resource = s->total.resource,
						  .severity = st->alarm == SLO_PAGE ? "FATAL" : "WARN",
						  .labels = labels,
						  .links = links,
						  .confidence = st->alarm == SLO_PAGE ? .95 : .8,
						  .at_us = now_us },
			    NULL, reterr);
}

enum oc_err slo_pass(const struct slo_watch *w, struct pg *pg, int64_t now_us, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;

	for (size_t i = 0; err == OC_OK && i < w->list.count; i++) {
		const struct slo *s = &w->list.item[i];
		struct counted c = { 0 };
		char print[160];

		if (!slo_measured(s))
			continue;
		snprintf(print, 128, "slo:%.120s", s->name);
		err = count_slo(pg, s, 0, now_us, &c, reterr);
		for (size_t k = 0; err == OC_OK && k < c.n; k++) {
			struct slo_state st;

			slo_judge(s, c.of[k].count, w->min_events, &st);
			err = st.alarm == SLO_QUIET
				      ? signal_clear(pg, c.of[k].tenant_id, print, now_us, NULL, reterr)
				      : raise_slo(pg, s, c.of[k].tenant_id, print, &st, now_us, reterr);
		}
		free(c.of);
	}
	return err;
}

static json_t *number_or_null(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

enum oc_err slo_status(const struct slo_watch *w, struct pg *pg, long long tenant_id, int64_t now_us,
		       json_t **ret, struct oc_fail *reterr)
{
	static const char *const alarms[] = { "quiet", "ticket", "page" };
	AUTO(json) json_t *list = json_array();
	enum oc_err err = OC_OK;

	for (size_t i = 0; err == OC_OK && i < w->list.count; i++) {
		const struct slo *s = &w->list.item[i];
		json_t *o = json_pack("{s:s, s:s, s:f, s:i, s:b}", "name", s->name, "service", s->service,
				      "target", s->target, "window_s", s->window_s, "measured",
				      slo_measured(s));
		struct counted c = { 0 };
		struct slo_state st;

		json_array_append_new(list, o);
		if (!slo_measured(s))
			continue;
		err = count_slo(pg, s, tenant_id, now_us, &c, reterr);
		if (err == OC_OK && c.n) {
			json_t *burn = json_object();

			slo_judge(s, c.of[0].count, w->min_events, &st);
			for (size_t k = 0; k < SLO_WHOLE; k++)
				json_object_set_new(burn, span_names[k], number_or_null(st.burn[k]));
			json_object_set_new(o, "alarm", json_string(alarms[st.alarm]));
			json_object_set_new(o, "budget_left", number_or_null(st.budget_left));
			json_object_set_new(o, "burn", burn);
		}
		free(c.of);
	}
	if (err == OC_OK)
		*ret = TAKE(list);
	return err;
}
