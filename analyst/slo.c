#include "analyst/slo.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"

#define DAY_S   86400
#define USUAL_S (30 * DAY_S)

const int slo_span_s[SLO_SPANS] = { 300, 1800, 3600, 7200, 6 * 3600, DAY_S, 3 * DAY_S, 0 };

void slo_list_done(struct slo_list *l)
{
	free(l->item);
	memset(l, 0, sizeof(*l));
}

bool slo_measured(const struct slo *s)
{
	return s->total.ours && (s->bad.ours || s->good.ours);
}

/* ---- reading ---- */

struct reader {
	struct slo_list *list;
	void (*note)(void *ctx, const char *text);
	void *ctx;
	struct oc_fail *reterr;
};

static bool take(char *out, size_t size, const char *text)
{
	if (str_empty(text) || strlen(text) >= size)
		return false;
	memcpy(out, text, strlen(text) + 1);
	return true;
}

static struct slo *add(struct reader *r)
{
	if (r->list->count == SLO_FILE_MAX) {
		oc_fail(r->reterr, OC_INVALID, "more than %d objectives", SLO_FILE_MAX);
		return NULL;
	}
	r->list->item = mem_grow(r->list->item, r->list->count + 1, sizeof(*r->list->item));
	memset(&r->list->item[r->list->count], 0, sizeof(*r->list->item));
	return &r->list->item[r->list->count++];
}

/* "30d", "1h30m" is not in the format: one number and one unit. */
static bool duration(const char *text, int *ret_s)
{
	static const struct {
		char unit;
		int s;
	} units[] = {
		{ 'm', 60         },
                { 'h', 3600       },
                { 'd', DAY_S      },
		{ 'w', 7 * DAY_S  },
                { 'M', 30 * DAY_S },
                { 'Q', 90 * DAY_S }
	};
	char *end;
	long n = text ? strtol(text, &end, 10) : 0;

	if (!text || end == text || !*end || end[1] || n < 1 || n > 10000)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (units[i].unit == *end && n <= 366 * (long)DAY_S / units[i].s) {
			*ret_s = (int)(n * units[i].s);
			return true;
		}
	return false;
}

static enum oc_err read_source(struct reader *r, const json_t *in, const char *where, struct slo_source *ret)
{
	const json_t *source = json_object_get(in, "metricSource");
	const json_t *spec = source ? json_object_get(source, "spec") : in;
	const char *type = source ? json_str(source, "type") : json_str(in, "source");
	const char *calls, *resource, *metric;

	if (!in)
		return OC_OK;
	if (!json_is_object(in))
		return oc_fail_field(r->reterr, OC_INVALID, where, "a source is an object");
	ret->given = true;
	if (!str_eq(type, "opscase")) {
		snprintf(ret->foreign, sizeof(ret->foreign), "%.60s", type ? type : "none");
		return OC_OK;
	}
	calls = json_str(spec, "calls");
	resource = json_str(spec, "resource");
	metric = json_str(spec, "metric");
	if (!calls == !(resource && metric))
		return oc_fail_field(r->reterr, OC_INVALID, where,
				     "a source of type opscase has either calls, or resource and metric");
	if (!take(ret->resource, sizeof(ret->resource), calls ? calls : resource) ||
	    !str_starts(ret->resource, "urn:") || (metric && !take(ret->metric, sizeof(ret->metric), metric)))
		return oc_fail_field(r->reterr, OC_INVALID, where,
				     "the resource is no URN, or a name is too long");
	ret->ours = true;
	return OC_OK;
}

static enum oc_err read_target(struct reader *r, const json_t *in, const char *where, double *ret)
{
	const json_t *target = json_object_get(in, "target"), *percent = json_object_get(in, "targetPercent");

	*ret = json_is_number(target)    ? json_number_value(target)
	       : json_is_number(percent) ? json_number_value(percent) / 100
					 : NAN;
	if (!(*ret > 0 && *ret < 1))
		return oc_fail_field(
			r->reterr, OC_INVALID, where,
			"an objective has a target between 0 and 1, or a targetPercent between 0 and 100");
	return OC_OK;
}

static enum oc_err read_window(struct reader *r, const json_t *spec, int *ret_s)
{
	const json_t *one = json_array_get(json_object_get(spec, "timeWindow"), 0);
	const json_t *old = json_array_get(json_object_get(spec, "timeWindows"), 0);
	long long n = json_int_or(old, "count", 0);
	const char *unit = json_str_or(old, "unit", "");

	*ret_s = USUAL_S;
	if (one && !duration(json_str(one, "duration"), ret_s))
		return oc_fail_field(r->reterr, OC_INVALID, "/spec/timeWindow/0/duration",
				     "a duration is a number and one of m, h, d, w, M, Q, and a year at most");
	if (old) {
		int each = str_eq(unit, "Day")     ? DAY_S
			   : str_eq(unit, "Week")  ? 7 * DAY_S
			   : str_eq(unit, "Month") ? USUAL_S
						   : 0;

		if (!each || n < 1 || n > 366LL * DAY_S / each)
			return oc_fail_field(r->reterr, OC_INVALID, "/spec/timeWindows/0",
					     "a window is a count of Day, Week or Month, and a year at most");
		*ret_s = (int)n * each;
	}
	if (*ret_s < DAY_S)
		return oc_fail_field(r->reterr, OC_INVALID, "/spec/timeWindow/0/duration",
				     "a window shorter than a day leaves nothing to burn");
	return OC_OK;
}

static enum oc_err read_ratio(struct reader *r, const json_t *ratio, const char *where, struct slo *s)
{
	static const char *const names[] = { "bad", "good", "total" };
	struct slo_source *const into[] = { &s->bad, &s->good, &s->total };

	for (size_t i = 0; i < 3; i++) {
		char field[160];
		enum oc_err err;

		snprintf(field, sizeof(field), "%s/%s", where, names[i]);
		err = read_source(r, json_object_get(ratio, names[i]), field, into[i]);
		if (err != OC_OK)
			return err;
	}
	if (!s->total.given || s->good.given == s->bad.given)
		return oc_fail_field(r->reterr, OC_INVALID, where,
				     "a ratio has a total, and either good or bad");
	return OC_OK;
}

static void tell(struct reader *r, const struct slo *s)
{
	AUTO(str) char *text = NULL;

	if (slo_measured(s) || !r->note)
		return;
	text = mem_printf("%s: its source is of type %s: read, and not measured here", s->name,
			  s->total.foreign[0] ? s->total.foreign : "none");
	r->note(r->ctx, text);
}

static enum oc_err read_openslo(struct reader *r, const json_t *doc)
{
	const json_t *spec = json_object_get(doc, "spec"), *objectives = json_object_get(spec, "objectives"),
		     *o;
	const json_t *ratio = json_at(spec, "/indicator/spec/ratioMetric");
	const char *name = json_str(json_object_get(doc, "metadata"), "name");
	int window_s;
	size_t i;
	enum oc_err err = read_window(r, spec, &window_s);

	if (err != OC_OK)
		return err;
	if (str_empty(name) || strlen(name) > 100)
		return oc_fail_field(r->reterr, OC_INVALID, "/metadata/name",
				     "an SLO has a name of at most 100 bytes");
	if (!json_array_size(objectives))
		return oc_fail_field(r->reterr, OC_INVALID, "/spec/objectives",
				     "an SLO has at least one objective");
	if (!ratio &&
	    (json_object_get(spec, "indicatorRef") || json_at(spec, "/indicator/spec/thresholdMetric"))) {
		AUTO(str) char *text = mem_printf("%s: only a ratioMetric of its own can be measured", name);

		if (r->note)
			r->note(r->ctx, text);
	}
	json_array_foreach(objectives, i, o)
	{
		const json_t *own = json_object_get(o, "ratioMetrics");
		char where[80];
		struct slo *s = add(r);

		if (!s)
			return OC_INVALID;
		snprintf(where, sizeof(where), "/spec/objectives/%zu", i);
		snprintf(s->name, sizeof(s->name), json_array_size(objectives) > 1 ? "%s-%zu" : "%s", name,
			 i + 1);
		snprintf(s->service, sizeof(s->service), "%.127s", json_str_or(spec, "service", ""));
		s->window_s = window_s;
		err = read_target(r, o, where, &s->target);
		if (err == OC_OK && (own || ratio)) {
			snprintf(where, sizeof(where),
				 own ? "/spec/objectives/%zu/ratioMetrics"
				     : "/spec/indicator/spec/ratioMetric",
				 i);
			err = read_ratio(r, own ? own : ratio, where, s);
		}
		if (err != OC_OK)
			return err;
		tell(r, s);
	}
	return OC_OK;
}

static enum oc_err read_sloth(struct reader *r, const json_t *doc)
{
	const json_t *slos = json_object_get(doc, "slos"), *one;
	size_t i;

	if (!json_array_size(slos))
		return oc_fail_field(r->reterr, OC_INVALID, "/slos", "there is not one objective");
	json_array_foreach(slos, i, one)
	{
		double percent = json_num_or(one, "objective", NAN);
		const char *name = json_str(one, "name");
		char where[40];
		struct slo *s;

		snprintf(where, sizeof(where), "/slos/%zu", i);
		if (str_empty(name) || strlen(name) > 100)
			return oc_fail_field(r->reterr, OC_INVALID, where,
					     "an objective has a name of at most 100 bytes");
		if (!(percent > 0 && percent < 100))
			return oc_fail_field(r->reterr, OC_INVALID, where,
					     "its objective is a percentage between 0 and 100");
		if (!json_is_object(json_object_get(one, "sli")))
			return oc_fail_field(r->reterr, OC_INVALID, where, "it has no sli");
		s = add(r);
		if (!s)
			return OC_INVALID;
		snprintf(s->name, sizeof(s->name), "%s", name);
		snprintf(s->service, sizeof(s->service), "%.127s", json_str_or(doc, "service", ""));
		s->target = percent / 100;
		s->window_s = USUAL_S;
		snprintf(s->total.foreign, sizeof(s->total.foreign), "prometheus");
		tell(r, s);
	}
	return OC_OK;
}

enum oc_err slo_read(const json_t *doc, struct slo_list *ret, void (*note)(void *ctx, const char *text),
		     void *ctx, struct oc_fail *reterr)
{
	struct reader r = { .list = ret, .note = note, .ctx = ctx, .reterr = reterr };
	const char *api = json_str(doc, "apiVersion");

	if (!json_is_object(doc))
		return oc_fail_field(reterr, OC_INVALID, "", "the file holds no object");
	if (str_starts(json_str_or(doc, "version", ""), "prometheus/"))
		return read_sloth(&r, doc);
	if (!api || !str_starts(api, "openslo/v1"))
		return oc_fail_field(reterr, OC_INVALID, "/apiVersion",
				     "neither openslo/v1 nor a sloth file (version: prometheus/v1)");
	if (!str_eq(json_str(doc, "kind"), "SLO")) {
		if (note)
			note(ctx, "only documents of kind SLO are looked at");
		return OC_OK;
	}
	return read_openslo(&r, doc);
}

/* ---- judging ---- */

void slo_judge(const struct slo *s, const struct slo_count count[SLO_SPANS], double min_events,
	       struct slo_state *ret)
{
	static const struct {
		enum slo_span longer, shorter;
		double burn;
		enum slo_alarm alarm;
	} rules[] = {
		{ SLO_1H, SLO_5M,  14.4, SLO_PAGE   },
		{ SLO_6H, SLO_30M, 6,    SLO_PAGE   },
		{ SLO_1D, SLO_2H,  3,    SLO_TICKET },
		{ SLO_3D, SLO_6H,  1,    SLO_TICKET },
	};
	double allowed = 1 - s->target;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < SLO_SPANS; i++)
		ret->burn[i] = count[i].total >= min_events && count[i].total > 0
				       ? count[i].bad / count[i].total / allowed
				       : NAN;
	ret->budget_left = count[SLO_WHOLE].total > 0
				   ? 1 - count[SLO_WHOLE].bad / count[SLO_WHOLE].total / allowed
				   : NAN;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		double limit = rules[i].burn * s->window_s / USUAL_S;

		/* NaN is above nothing. */
		if (!(ret->burn[rules[i].longer] >= limit && ret->burn[rules[i].shorter] >= limit))
			continue;
		ret->alarm = rules[i].alarm;
		ret->by = rules[i].longer;
		ret->limit = limit;
		return;
	}
}
