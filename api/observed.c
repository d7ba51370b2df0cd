/* observed.c - GET /metrics/query, /calls, /logs/patterns and /events: what was observed. */
#include <stdio.h>
#include <string.h>
#include "api/query.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "store/observed.h"

#define HOUR     INT64_C(3600)
#define WEEK     (7 * 24 * HOUR)
#define MONTH    (31 * 24 * HOUR)
#define STEP_MAX 86400

/* ---- what they have in common ---- */

/* One of a few words. False: answered. */
static bool query_word(struct api_call *c, const char *name, const char *const *words, size_t n, int *ret)
{
	const char *text = query_text(c, name);
	AUTO(text) struct text sentence = { 0 };

	if (!text)
		return true;
	for (size_t i = 0; i < n; i++)
		if (str_eq(words[i], text)) {
			*ret = (int)i;
			return true;
		}
	text_addf(&sentence, "%s is one of", name);
	for (size_t i = 0; i < n; i++)
		text_addf(&sentence, "%s %s", i ? "," : "", words[i]);
	query_bad(c, name, text_str(&sentence));
	return false;
}

static const char *query_severity(struct api_call *c, bool *ret_ok)
{
	static const char *const words[] = { "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL" };
	int at = 0;

	*ret_ok = query_word(c, "severity", words, ARRAY_LEN(words), &at);
	return query_text(c, "severity") ? words[at] : NULL;
}

/* 0 where it is not asked for; OC_NOT_FOUND for a URN that was never seen. */
static enum oc_err resource_of(struct api_call *c, struct pg *pg, const char *name, long long *ret,
			       struct oc_fail *reterr)
{
	const char *urn = query_text(c, name);

	*ret = 0;
	return urn ? observed_resource(pg, c->tenant_id, urn, name, ret, reterr) : OC_OK;
}

static void parts_free(char **part, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(part[i]);
}

static bool cursor_number(struct api_call *c, const char *text, long long *ret)
{
	if (!text || str_to_long(text, 0, INT64_MAX, ret))
		return true;
	query_bad(c, "cursor", "this is no cursor of this list");
	return false;
}

/* ---- metrics ---- */

/* label=NAME:VALUE */
static bool label_of(struct api_call *c, struct metric_ask *a, char **ret_own)
{
	const char *text = query_text(c, "label"), *colon = text ? strchr(text, ':') : NULL;

	if (!text)
		return true;
	if (!colon || colon == text) {
		query_bad(c, "label", "label is NAME:VALUE");
		return false;
	}
	*ret_own = mem_strndup(text, (size_t)(colon - text));
	a->label = *ret_own;
	a->value = colon + 1;
	return true;
}

void metrics_query_get(struct api_call *c)
{
	struct metric_ask a = { .metric = query_text(c, "metric") };
	AUTO(str) char *label = NULL;
	int aggregate = AGG_AVG, by = BY_RESOURCE;
	long long step = 60;
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	struct pg *pg;
	enum oc_err err;

	if (!a.metric) {
		query_bad(c, "metric", "which metric?");
		return;
	}
	if (!query_range(c, HOUR, MONTH, &a.from_us, &a.to_us) ||
	    !query_word(c, "aggregate", observed_aggregate_names, AGG_KINDS, &aggregate) ||
	    !query_word(c, "by", observed_by_names, BY_KINDS, &by) ||
	    !query_int(c, "step", 1, STEP_MAX, &step) || !label_of(c, &a, &label))
		return;
	a.aggregate = (enum observed_aggregate)aggregate;
	a.by = (enum observed_by)by;
	a.step_s = (int)step;
	pg = query_begin(c);
	if (!pg)
		return;
	err = resource_of(c, pg, "resource", &a.resource_id, &fail);
	if (err == OC_OK)
		err = observed_metric(pg, c->tenant_id, &a, &list, &fail);
	query_end(c, pg);
	if (err != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_page(c, list, NULL);
}

/* ---- calls ---- */

#define CALLS "calls"

static void answer_calls(struct api_call *c, const struct call_ask *a, struct pg *pg, bool top)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	int64_t bucket = 0;
	long long src = 0, dst = 0;
	bool more = false;
	struct call_ask ask = *a;
	enum oc_err err = resource_of(c, pg, "src", &ask.src_id, &fail);

	if (err == OC_OK)
		err = resource_of(c, pg, "dst", &ask.dst_id, &fail);
	if (err == OC_OK)
		err = top ? observed_calls_top(pg, c->tenant_id, &ask, &list, &fail)
			  : observed_calls(pg, c->tenant_id, &ask, &list, &more, &bucket, &src, &dst, &fail);
	query_end(c, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
	} else {
		char b[24], s[24], d[24];

		snprintf(b, sizeof(b), "%lld", (long long)bucket);
		snprintf(s, sizeof(s), "%lld", src);
		snprintf(d, sizeof(d), "%lld", dst);
		call_page(c, list, more ? query_cursor(CALLS, (const char *const[]){ b, s, d }, 3) : NULL);
	}
}

void calls_get(struct api_call *c)
{
	struct call_ask a = { 0 };
	char *part[3] = { 0 };
	long long limit = 200, bucket = 0;
	struct pg *pg;

	if (!query_range(c, HOUR, WEEK, &a.from_us, &a.to_us) || !query_int(c, "limit", 1, 1000, &limit) ||
	    !query_cursor_read(c, CALLS, 3, part))
		return;
	a.limit = (int)limit;
	if (cursor_number(c, part[0], &bucket) && cursor_number(c, part[1], &a.after_src) &&
	    cursor_number(c, part[2], &a.after_dst)) {
		a.after_bucket_us = bucket;
		pg = query_begin(c);
		if (pg)
			answer_calls(c, &a, pg, false);
	}
	parts_free(part, ARRAY_LEN(part));
}

void calls_top_get(struct api_call *c)
{
	struct call_ask a = { 0 };
	long long limit = 5;
	struct pg *pg;

	if (!query_range(c, HOUR / 2, WEEK, &a.from_us, &a.to_us) || !query_int(c, "limit", 1, 100, &limit))
		return;
	a.limit = (int)limit;
	pg = query_begin(c);
	if (pg)
		answer_calls(c, &a, pg, true);
}

/* ---- log patterns ---- */

#define PATTERNS "patterns"

static void answer_patterns(struct api_call *c, struct pattern_ask *a, struct pg *pg)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	long long count = 0, id = 0;
	bool more = false;
	enum oc_err err = resource_of(c, pg, "resource", &a->resource_id, &fail);

	if (err == OC_OK)
		err = observed_patterns(pg, c->tenant_id, a, &list, &more, &count, &id, &fail);
	query_end(c, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
	} else {
		char n[24], i[24];

		snprintf(n, sizeof(n), "%lld", count);
		snprintf(i, sizeof(i), "%lld", id);
		call_page(c, list, more ? query_cursor(PATTERNS, (const char *const[]){ n, i }, 2) : NULL);
	}
}

void log_patterns_get(struct api_call *c)
{
	struct pattern_ask a = { .text = query_text(c, "text") };
	char *part[2] = { 0 };
	long long limit = 50;
	bool ok;
	struct pg *pg;

	a.severity = query_severity(c, &ok);
	if (!ok || !query_range(c, HOUR, WEEK, &a.from_us, &a.to_us) ||
	    !query_int(c, "limit", 1, 500, &limit) || !query_bool(c, "fresh", &a.fresh) ||
	    !query_cursor_read(c, PATTERNS, 2, part))
		return;
	a.limit = (int)limit;
	if (cursor_number(c, part[0], &a.after_count) && cursor_number(c, part[1], &a.after_id)) {
		pg = query_begin(c);
		if (pg)
			answer_patterns(c, &a, pg);
	}
	parts_free(part, ARRAY_LEN(part));
}

/* ---- events ---- */

#define EVENTS "events"

static void answer_events(struct api_call *c, struct event_ask *a, struct pg *pg)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	char id[UUID_TEXT] = "", at[24];
	int64_t us = 0;
	bool more = false;
	enum oc_err err = resource_of(c, pg, "resource", &a->resource_id, &fail);

	if (err == OC_OK)
		err = observed_events(pg, c->tenant_id, a, &list, &more, &us, id, &fail);
	query_end(c, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
	} else {
		snprintf(at, sizeof(at), "%lld", (long long)us);
		call_page(c, list, more ? query_cursor(EVENTS, (const char *const[]){ at, id }, 2) : NULL);
	}
}

void events_get(struct api_call *c)
{
	struct event_ask a = { .kind = query_text(c, "kind"), .case_id = query_text(c, "case_id") };
	char *part[2] = { 0 };
	long long limit = 50, before = 0;
	bool ok;
	struct pg *pg;

	a.severity = query_severity(c, &ok);
	if (!ok || !query_range(c, 24 * HOUR, 12 * MONTH, &a.from_us, &a.to_us) ||
	    !query_int(c, "limit", 1, 500, &limit))
		return;
	if (a.case_id && !uuid_ok(a.case_id)) {
		query_bad(c, "case_id", "case_id is the id of a case");
		return;
	}
	if (!query_cursor_read(c, EVENTS, 2, part))
		return;
	a.limit = (int)limit;
	if (part[1] && !uuid_ok(part[1])) {
		query_bad(c, "cursor", "this is no cursor of this list");
	} else if (cursor_number(c, part[0], &before)) {
		a.before_us = before;
		a.before_id = part[1];
		pg = query_begin(c);
		if (pg)
			answer_events(c, &a, pg);
	}
	parts_free(part, ARRAY_LEN(part));
}

void event_get(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *one = NULL;
	struct pg *pg = query_begin(c);
	enum oc_err err;

	if (!pg)
		return;
	err = observed_event(pg, c->tenant_id, c->path_id, &one, &fail);
	query_end(c, pg);
	if (err != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_data(c, 200, one);
}
