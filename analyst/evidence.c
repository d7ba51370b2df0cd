#include "analyst/evidence.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"

#define WINDOW_MAX_S (7 * 24 * 3600)

static void copy(char *out, size_t size, const char *s)
{
	snprintf(out, size, "%s", s ? s : "");
}

static void unreadable(struct evidence_wish *w, const char *why)
{
	copy(w->unreadable, sizeof(w->unreadable), why);
}

static void read_window(struct evidence_wish *w, const json_t *named, int64_t now_us, int look_back_s)
{
	const char *from = json_str(named, "from"), *to = json_str(named, "to");
	long long window_s = json_int_or(named, "window_s", look_back_s);

	w->to_us = now_us;
	if (to && clock_parse(to, &w->to_us) != 0)
		unreadable(w, "'to' is not a time");
	if (window_s < 1 || window_s > WINDOW_MAX_S) {
		unreadable(w, "'window_s' is not between a second and a week");
		window_s = look_back_s;
	}
	w->from_us = w->to_us - window_s * 1000000;
	if (from && clock_parse(from, &w->from_us) != 0)
		unreadable(w, "'from' is not a time");
	if (w->from_us >= w->to_us)
		unreadable(w, "the window ends before it begins");
	else if (w->to_us - w->from_us > (int64_t)WINDOW_MAX_S * 1000000)
		unreadable(w, "the window is longer than a week");
}

void evidence_wishes_read(const json_t *labels, const json_t *evidence, int64_t now_us, int look_back_s,
			  struct evidence_wishes *ret)
{
	const char *resource = json_is_object(labels) ? json_str(labels, "resource") : NULL;
	const json_t *named;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	json_array_foreach(evidence, i, named)
	{
		struct evidence_wish *w = &ret->item[ret->count];
		const char *kind, *urn;

		if (ret->count == EVIDENCE_MAX) {
			ret->left_out++;
			continue;
		}
		ret->count++;
		w->named = named;
		if (!json_is_object(named)) {
			unreadable(w, "it is not an object");
			continue;
		}
		kind = json_str_or(named, "kind", "metric");
		urn = json_str(named, "resource");
		copy(w->resource, sizeof(w->resource), urn);
		copy(w->metric, sizeof(w->metric), json_str(named, "metric"));
		read_window(w, named, now_us, look_back_s);
		if (!str_eq(kind, "metric"))
			unreadable(w, "only evidence of kind 'metric' is looked up so far");
		else if (str_empty(urn))
			unreadable(w, "it names no resource");
		else if (strlen(urn) >= sizeof(w->resource) ||
			 strlen(json_str_or(named, "metric", "")) >= sizeof(w->metric))
			unreadable(w, "a name is too long");
	}
	if (str_empty(resource) || strlen(resource) >= sizeof(ret->item[0].resource))
		return;
	copy(ret->item[ret->count].resource, sizeof(ret->item[0].resource), resource);
	ret->item[ret->count].to_us = now_us;
	ret->item[ret->count].from_us = now_us - look_back_s * INT64_C(1000000);
	ret->count++;
}

json_t *evidence_answer(const struct evidence_wish *w, const json_t *series, bool resource_known)
{
	json_t *o = json_object();
	char from[32], to[32];
	size_t n = json_array_size(series);

	if (w->named)
		json_object_set(o, "named", (json_t *)w->named);
	else
		json_object_set_new(o, "from_label", json_string("resource"));
	if (w->unreadable[0]) {
		json_object_set_new(o, "status", json_string("not looked up"));
		json_object_set_new(o, "why", json_string(w->unreadable));
		return o;
	}
	clock_format(w->from_us, from, sizeof(from));
	clock_format(w->to_us, to, sizeof(to));
	json_object_set_new(o, "kind", json_string("metric"));
	json_object_set_new(o, "resource", json_string(w->resource));
	json_object_set_new(o, "from", json_string(from));
	json_object_set_new(o, "to", json_string(to));
	json_object_set_new(o, "status", json_string(n ? "found" : "no data"));
	if (!n)
		json_object_set_new(o, "why",
				    json_string(resource_known ? "nothing was measured there in the window"
							       : "no such resource is known"));
	json_object_set(o, "series", series ? (json_t *)series : json_array());
	return o;
}

/* The busiest series stands for its metric. */
static void add_values(json_t *values, const json_t *series)
{
	const json_t *s;
	size_t i;

	json_array_foreach(series, i, s)
	{
		const char *metric = json_str_or(s, "metric", "");
		json_t *have = json_object_get(values, metric);

		if (!have || json_int_or(have, "count", 0) < json_int_or(s, "count", 0))
			json_object_set(values, metric, (json_t *)s);
	}
}

json_t *evidence_body(const json_t *gathered, double *ret_trust, char **ret_summary)
{
	json_t *values = json_object();
	size_t found = 0, i, total = json_array_size(gathered);
	struct text said = { 0 };
	const json_t *g;

	json_array_foreach(gathered, i, g)
	{
		if (!str_eq(json_str(g, "status"), "found"))
			continue;
		found++;
		add_values(values, json_object_get(g, "series"));
	}
	if (!total) {
		text_add(&said, "no evidence named: the case names no metric and no resource");
	} else {
		const char *metric;
		json_t *v;
		int shown = 0;

		text_addf(&said, "%zu of %zu pieces of evidence have data", found, total);
		json_object_foreach(values, metric, v)
		{
			if (++shown > 3)
				break;
			text_addf(&said, "%s %s at %s: average %.6g, at most %.6g", shown == 1 ? ":" : ";",
				  metric, json_str_or(v, "resource", "?"), json_num_or(v, "avg", 0),
				  json_num_or(v, "max", 0));
		}
		if (json_object_size(values) > 3)
			text_addf(&said, "; and %zu more", json_object_size(values) - 3);
	}
	*ret_trust = total ? (double)found / (double)total : 0;
	*ret_summary = text_take(&said);
	return json_pack("{s:O, s:o}", "evidence", (json_t *)gathered, "values", values);
}
