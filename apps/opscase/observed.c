/* observed.c - what was observed: a metric over time, the worst calls, log patterns, events. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/clock.h"
#include "base/mem.h"

/* Adds NAME=VALUE for each option that was given; a word of the query may have another name than its option. */
static void add_options(const struct cli *cli, struct text *path, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *value = cli_option(cli, names[i]);

		if (!value)
			continue;
		text_addf(path, "%s%s=", strchr(text_str(path), '?') ? "&" : "?", names[i]);
		url_add(path, value);
	}
}
#define ADD_OPTIONS(cli, path, ...)                                  \
	add_options(cli, path, (const char *const[]){ __VA_ARGS__ }, \
		    sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static enum oc_err get(struct cli *cli, const struct text *path, struct remote_answer *ret,
		       struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	enum oc_err err = remote_open(cli, &r, reterr);

	return err == OC_OK ? remote_get(r, ret, reterr, "%s", text_str(path)) : err;
}

static void add_number(struct out_table *t, enum out_style style, const json_t *v, const char *unit)
{
	char text[40] = "-";

	if (json_is_integer(v))
		snprintf(text, sizeof(text), "%lld%s", (long long)json_integer_value(v), unit);
	else if (json_is_real(v))
		snprintf(text, sizeof(text), "%.4g%s", json_real_value(v), unit);
	out_table_add(t, style, text);
}

static void add_ago(struct out_table *t, const char *at)
{
	char ago[40];

	out_ago(at, clock_wall_us(), ago, sizeof(ago));
	out_table_add(t, OUT_DIM, ago);
}

/* ---- metrics ---- */

#define LINE_CELLS 48

/* One cell for so many points, from the smallest value to the largest; a blank where nothing was measured. */
static void sparkline(const json_t *points, double least, double most, char *out, size_t size)
{
	static const char *const levels[] = { "\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83", "\xe2\x96\x84",
					      "\xe2\x96\x85", "\xe2\x96\x86", "\xe2\x96\x87", "\xe2\x96\x88" };
	size_t n = json_array_size(points), cells = n < LINE_CELLS ? n : LINE_CELLS, len = 0;

	*out = '\0';
	for (size_t c = 0; c < cells; c++) {
		double sum = 0;
		size_t count = 0;
		const char *cell = " ";

		for (size_t i = c * n / cells; i < (c + 1) * n / cells; i++) {
			const json_t *v = json_array_get(json_array_get(points, i), 1);

			if (json_is_number(v)) {
				sum += json_number_value(v);
				count++;
			}
		}
		if (count) {
			double part = most > least ? (sum / (double)count - least) / (most - least) : 0;

			cell = levels[(size_t)fmin(7, fmax(0, floor(part * 8)))];
		}
		len += (size_t)snprintf(out + len, size - len, "%s", cell);
	}
}

enum oc_err cli_metrics_query(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer a = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text path = { 0 }, out = { 0 };
	const json_t *series;
	size_t i;
	enum oc_err err;

	text_add(&path, "/metrics/query?metric=");
	url_add(&path, cli_arg(cli, 0));
	ADD_OPTIONS(cli, &path, "resource", "label", "aggregate", "by", "step", "from", "to");
	out_table_init(&table, "RESOURCE|LABELS|LEAST|MOST|LAST|");
	err = get(cli, &path, &a, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(a.data);
	json_array_foreach(a.data, i, series)
	{
		const json_t *points = json_object_get(series, "points"), *p, *last = NULL;
		const json_t *labels = json_object_get(series, "labels");
		AUTO(str) char *label_text = labels ? json_text(labels) : NULL;
		double least = INFINITY, most = -INFINITY;
		char line[LINE_CELLS * 4 + 1];
		json_t *bound;
		size_t k;

		json_array_foreach(points, k, p)
		{
			const json_t *v = json_array_get(p, 1);

			if (json_is_number(v)) {
				least = fmin(least, json_number_value(v));
				most = fmax(most, json_number_value(v));
				last = v;
			}
		}
		sparkline(points, least, most, line, sizeof(line));
		out_table_add(&table, OUT_BOLD, json_str_or(series, "resource", "(all)"));
		out_table_add(&table, OUT_DIM, label_text && !str_eq(label_text, "{}") ? label_text : "");
		bound = last ? json_real(least) : json_null();
		add_number(&table, OUT_PLAIN, bound, "");
		json_decref(bound);
		bound = last ? json_real(most) : json_null();
		add_number(&table, OUT_PLAIN, bound, "");
		json_decref(bound);
		add_number(&table, OUT_PLAIN, last, "");
		out_table_add(&table, OUT_INFO, line);
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	return OC_OK;
}

/* ---- calls ---- */

enum oc_err cli_calls_top(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer a = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text path = { 0 }, out = { 0 };
	const json_t *c;
	size_t i;
	enum oc_err err;

	text_add(&path, "/calls/top");
	ADD_OPTIONS(cli, &path, "src", "dst", "from", "to", "limit");
	out_table_init(&table, "FROM|TO|CALLS|A SECOND|ERRORS|P50|P95");
	err = get(cli, &path, &a, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(a.data);
	json_array_foreach(a.data, i, c)
	{
		double share = json_number_value(json_object_get(c, "err_rate"));
		char errors[40];

		snprintf(errors, sizeof(errors), "%.1f %%", share * 100);
		out_table_add(&table, OUT_PLAIN, json_str(c, "src"));
		out_table_add(&table, OUT_BOLD, json_str(c, "dst"));
		add_number(&table, OUT_PLAIN, json_object_get(c, "count"), "");
		add_number(&table, OUT_PLAIN, json_object_get(c, "rps"), "");
		out_table_add(&table, share > 0.01 ? OUT_BAD : OUT_PLAIN, errors);
		add_number(&table, OUT_PLAIN, json_object_get(c, "p50_ms"), " ms");
		add_number(&table, OUT_PLAIN, json_object_get(c, "p95_ms"), " ms");
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	return OC_OK;
}

/* ---- log patterns ---- */

enum oc_err cli_logs_patterns(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer a = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text path = { 0 }, out = { 0 };
	const json_t *p;
	size_t i;
	enum oc_err err;

	text_add(&path, "/logs/patterns");
	ADD_OPTIONS(cli, &path, "resource", "text", "severity", "from", "to", "limit");
	if (cli_flag(cli, "fresh"))
		text_addf(&path, "%sfresh=true", strchr(text_str(&path), '?') ? "&" : "?");
	out_table_init(&table, "LINES|ERRORS|SEVERITY|LAST|PATTERN|");
	err = get(cli, &path, &a, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(a.data);
	json_array_foreach(a.data, i, p)
	{
		add_number(&table, OUT_BOLD, json_object_get(p, "count"), "");
		add_number(&table, json_int_or(p, "errors", 0) ? OUT_BAD : OUT_DIM,
			   json_object_get(p, "errors"), "");
		out_table_add(&table, OUT_PLAIN, json_str(p, "severity"));
		add_ago(&table, json_str(p, "last_seen"));
		out_table_add(&table, OUT_PLAIN, json_str(p, "pattern"));
		out_table_add(&table, OUT_WARN, json_bool_or(p, "fresh", false) ? "new" : "");
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	if (json_str(a.doc, "next_cursor"))
		fprintf(stderr, "there are more: --limit\n");
	return OC_OK;
}

/* ---- events ---- */

enum oc_err cli_event_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer a = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text path = { 0 }, out = { 0 };
	const json_t *e;
	size_t i;
	enum oc_err err;

	text_add(&path, "/events");
	ADD_OPTIONS(cli, &path, "kind", "severity", "resource", "from", "to", "limit");
	out_table_init(&table, "ID|WHEN|KIND|SEVERITY|RESOURCE|WHAT");
	err = get(cli, &path, &a, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(a.data);
	json_array_foreach(a.data, i, e)
	{
		out_table_add(&table, OUT_DIM, json_str(e, "event_id"));
		add_ago(&table, json_str(e, "detected_at"));
		out_table_add(&table, OUT_BOLD, json_str(e, "kind"));
		out_table_add(&table, OUT_PLAIN, json_str(e, "severity"));
		out_table_add(&table, OUT_PLAIN, json_str(e, "resource"));
		out_table_add(&table, OUT_PLAIN, json_str(e, "title"));
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	if (json_str(a.doc, "next_cursor"))
		fprintf(stderr, "there are more: --limit\n");
	return OC_OK;
}

enum oc_err cli_event_show(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer a = { 0 };
	AUTO(text) struct text path = { 0 }, out = { 0 }, clean = { 0 };
	const json_t *v;
	size_t i;
	enum oc_err err;

	text_add(&path, "/events/");
	url_add(&path, cli_arg(cli, 0));
	err = get(cli, &path, &a, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(a.data);
	text_addf(&out, "%s  %s at %s, %s\n", json_str_or(a.data, "kind", "?"),
		  json_str_or(a.data, "severity", "?"), json_str_or(a.data, "resource", "no resource"),
		  json_str_or(a.data, "detected_at", "?"));
	text_addf(&out, "  %s\n", json_str_or(a.data, "title", ""));
	if (json_str(a.data, "summary"))
		text_addf(&out, "  %s\n", json_str(a.data, "summary"));
	if (json_str(a.data, "case_id"))
		text_addf(&out, "  case %s\n", json_str(a.data, "case_id"));
	json_array_foreach(json_object_get(a.data, "evidence"), i, v)
	{
		const json_t *row = json_object_get(v, "row"), *locator = json_object_get(v, "locator");
		AUTO(str) char *row_text = row ? json_text(row) : NULL;

		if (i == 0)
			text_add(&out, "\nevidence\n");
		text_addf(&out, "  %-7s %s%s%s\n", json_str_or(v, "dim", "?"), json_str_or(v, "note", ""),
			  row_text ? "  " : "", row_text ? row_text : "");
		if (json_is_object(locator))
			text_addf(&out, "          opscase detail get %lld\n", json_int_or(locator, "id", 0));
	}
	out_clean(&clean, text_str(&out), true);
	fputs(text_str(&clean), stdout);
	return OC_OK;
}
