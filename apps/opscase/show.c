#include "apps/opscase/show.h"
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"

enum oc_err show_json(const json_t *doc)
{
	AUTO(str) char *text = json_pretty(doc);

	puts(text);
	return OC_OK;
}

bool case_asks_people(const json_t *c)
{
	const json_t *d;
	size_t i;

	if (!str_eq(json_str(c, "status"), "WAIT_GATE"))
		return false;
	if (str_eq(json_str(json_object_get(c, "waits_for"), "for"), "people"))
		return true;
	json_array_foreach(json_object_get(c, "decisions"), i,
			   d) if (str_eq(json_str(d, "status"), "pending") &&
				  json_int_or(d, "epoch", -1) == json_int_or(c, "epoch", 0)) return true;
	return false;
}

static void add_clean(struct text *out, const char *s)
{
	out_clean(out, s, false);
}

static void show_next(const struct cli *cli, const json_t *c, struct text *out)
{
	const json_t *next = json_object_get(c, "next"), *one;
	size_t i;

	if (json_array_size(next) == 0)
		return;
	out_styled(out, cli->colour, OUT_DIM, "next:");
	text_add(out, "\n");
	json_array_foreach(next, i, one)
	{
		text_add(out, "  ");
		add_clean(out, json_string_value(one));
		text_add(out, "\n");
	}
}

static void show_head(const struct cli *cli, const json_t *c, struct text *out)
{
	const char *status = json_str_or(c, "status", "?");
	const char *why = json_str_or(c, "park_reason", json_str(c, "resolution"));

	out_styled(out, cli->colour, OUT_BOLD, json_str_or(c, "id", "?"));
	text_add(out, "  ");
	out_styled(out, cli->colour, out_state_style(status), status);
	if (why) {
		text_add(out, " (");
		add_clean(out, why);
		text_add(out, ")");
	}
	text_addf(out, "  version %lld\n", json_int_or(c, "version", 0));
	if (json_str(c, "sentence")) {
		text_add(out, "  ");
		add_clean(out, json_str(c, "sentence"));
		text_add(out, "\n");
	}
}

static void show_waits(const struct cli *cli, const json_t *c, struct text *out)
{
	const json_t *waits = json_object_get(c, "waits_for");
	const char *what = json_str(waits, "for"), *command = json_str(c, "command");

	if (case_asks_people(c)) {
		out_styled(out, cli->colour, OUT_WARN, "  waits for people to answer");
		text_addf(out, "; the card: opscase gate show %s\n", json_str_or(c, "id", ""));
	} else if (what || command) {
		text_add(out, "  waits for ");
		add_clean(out, what ? what : command);
		text_add(out, "\n");
	}
}

enum oc_err show_answer(struct cli *cli, const json_t *c)
{
	AUTO(text) struct text out = { 0 };

	if (cli->json)
		return show_json(c);
	show_head(cli, c, &out);
	show_waits(cli, c, &out);
	show_next(cli, c, &out);
	fputs(out.s, stdout);
	return OC_OK;
}

void show_case_end(const struct cli *cli, const json_t *c, struct text *out)
{
	text_add(out, "\n");
	show_head(cli, c, out);
	show_waits(cli, c, out);
	show_next(cli, c, out);
}

/* --- parts of the whole */

static void field(const struct cli *cli, const char *name, const char *value, struct text *out)
{
	char left[24];

	if (str_empty(value))
		return;
	snprintf(left, sizeof(left), "  %-10s ", name);
	out_styled(out, cli->colour, OUT_DIM, left);
	add_clean(out, value);
	text_add(out, "\n");
}

static void section(const struct cli *cli, const char *name, struct text *out)
{
	text_add(out, "\n");
	out_styled(out, cli->colour, OUT_BOLD, name);
	text_add(out, "\n");
}

static void add_json_short(struct text *out, const json_t *v)
{
	AUTO(str) char *text = json_is_string(v) ? mem_strdup(json_string_value(v)) : json_text(v);

	add_clean(out, text);
}

void show_plan(const struct cli *cli, const json_t *row, struct text *out)
{
	const json_t *plan = json_object_get(row, "plan"), *steps = json_object_get(plan, "steps"), *step,
		     *one;
	const json_t *findings = json_object_get(row, "findings");
	size_t i;

	text_addf(out, "  revision %lld, %s, from %s", json_int_or(row, "revision", 0),
		  json_str_or(row, "kind", "?"), json_str_or(row, "source", "?"));
	if (json_str(row, "template"))
		text_addf(out, " %s", json_str(row, "template"));
	text_add(out, json_bool_or(row, "complete", true) ? "\n  " : ", incomplete\n  ");
	add_clean(out, json_str_or(plan, "title", ""));
	text_add(out, "\n");
	json_array_foreach(steps, i, step)
	{
		text_addf(out, "    %zu. ", i + 1);
		out_styled(out, cli->colour, OUT_INFO,
			   json_str_or(step, "action", json_bool_or(step, "undo", false) ? "undo" : "?"));
		text_add(out, " ");
		add_json_short(out, json_object_get(step, "params"));
		if (json_str(json_object_get(step, "target"), "urn")) {
			text_add(out, " on ");
			add_clean(out, json_str(json_object_get(step, "target"), "urn"));
		}
		text_add(out, "\n");
	}
	json_array_foreach(json_object_get(json_object_get(plan, "verify"), "checks"), i, one)
	{
		text_add(out, i ? "            " : "    verify: ");
		add_json_short(out, one);
		text_add(out, "\n");
	}
	json_array_foreach(findings, i, one)
	{
		text_add(out, "    ");
		out_styled(out, cli->colour, OUT_BAD, json_str_or(one, "pointer", "/"));
		text_add(out, ": ");
		add_clean(out, json_str_or(one, "text", ""));
		text_add(out, "\n");
	}
}

static void show_runs(const struct cli *cli, const json_t *runs, struct text *out)
{
	const json_t *run, *step;
	size_t i, k;

	json_array_foreach(runs, i, run)
	{
		text_addf(out, "  %s: %lld of %lld steps applied", json_str_or(run, "status", "?"),
			  json_int_or(run, "applied", 0), json_int_or(run, "steps_total", 0));
		if (json_str(run, "reason")) {
			text_add(out, "; ");
			add_clean(out, json_str(run, "reason"));
		}
		text_add(out, "\n");
		json_array_foreach(json_object_get(run, "steps"), k, step)
		{
			const char *status = json_str_or(step, "status", "?");

			text_addf(out, "    %lld. %s, try %lld: ", json_int_or(step, "seq", 0) + 1,
				  json_str_or(step, "action", "?"), json_int_or(step, "attempt", 1));
			out_styled(out, cli->colour,
				   str_eq(status, "succeeded") ? OUT_GOOD
				   : str_eq(status, "intent")  ? OUT_INFO
							       : OUT_BAD,
				   status);
			text_add(out, "\n");
		}
	}
}

static void show_verdicts(const struct cli *cli, const json_t *verdicts, struct text *out)
{
	const json_t *v, *check;
	size_t i, k;

	json_array_foreach(verdicts, i, v)
	{
		const char *verdict = json_str_or(v, "verdict", "?");

		text_add(out, "  ");
		out_styled(out, cli->colour,
			   str_eq(verdict, "PASS")   ? OUT_GOOD
			   : str_eq(verdict, "FAIL") ? OUT_BAD
						     : OUT_WARN,
			   verdict);
		if (json_str(v, "reason")) {
			text_add(out, ": ");
			add_clean(out, json_str(v, "reason"));
		}
		text_add(out, "\n");
		json_array_foreach(json_object_get(v, "checks"), k, check)
		{
			double value = json_num_or(check, "value", NAN);

			text_addf(out, "    %s ", json_str_or(check, "verdict", "?"));
			add_clean(out,
				  json_str_or(check, "title",
					      json_str_or(check, "metric", json_str_or(check, "kind", ""))));
			if (!isnan(value))
				text_addf(out, ": %g", value);
			if (json_str(check, "sentence")) {
				text_add(out, " - ");
				add_clean(out, json_str(check, "sentence"));
			}
			text_add(out, "\n");
		}
	}
}

void show_case_full(const struct cli *cli, const json_t *c, struct text *out)
{
	const json_t *plans = json_object_get(c, "plans"), *findings = json_object_get(c, "findings");
	const json_t *labels = json_object_get(c, "labels"), *v;
	struct show_timeline seen = { 0 };
	AUTO(text) struct text text = { 0 };
	const char *key;
	char ago[40];
	size_t i;

	show_head(cli, c, out);
	show_waits(cli, c, out);
	field(cli, "title", json_str(c, "title"), out);
	field(cli, "summary", json_str(c, "summary"), out);
	out_ago(json_str(c, "created_at"), clock_wall_us(), ago, sizeof(ago));
	text_addf(&text, "%s by %s, %s, drive %s, tenant %s", ago, json_str_or(c, "opened_by", "?"),
		  json_str_or(c, "severity", ""), json_str_or(c, "drive", ""), json_str_or(c, "tenant", ""));
	field(cli, "opened", text_str(&text), out);
	text_done(&text);
	json_object_foreach((json_t *)labels, key, v)
	{
		text_addf(&text, "%s%s=", text.len ? " " : "", key);
		add_json_short(&text, v);
	}
	field(cli, "labels", text_str(&text), out);
	if (json_str(c, "deadline_at")) {
		out_ago(json_str(c, "deadline_at"), clock_wall_us(), ago, sizeof(ago));
		field(cli, "deadline", ago, out);
	}
	json_array_foreach(findings, i, v)
	{
		if (i == 0)
			section(cli, "findings", out);
		text_add(out, "  ");
		add_clean(out, json_str_or(v, "summary", ""));
		text_add(out, "\n");
	}
	if (json_array_size(plans)) {
		section(cli, "plan", out);
		show_plan(cli, json_array_get(plans, 0), out);
	}
	json_array_foreach(json_object_get(c, "decisions"), i, v)
	{
		if (i == 0)
			section(cli, "gate", out);
		text_addf(out, "  %s, %s: ", json_str_or(v, "answer", "?"), json_str_or(v, "status", "?"));
		add_clean(out, json_str_or(v, "void_reason", json_str_or(v, "reason", "")));
		text_add(out, "\n");
	}
	if (json_array_size(json_object_get(c, "runs"))) {
		section(cli, "runs", out);
		show_runs(cli, json_object_get(c, "runs"), out);
	}
	if (json_array_size(json_object_get(c, "verdicts"))) {
		section(cli, "verdicts", out);
		show_verdicts(cli, json_object_get(c, "verdicts"), out);
	}
	section(cli, "timeline", out);
	show_timeline(cli, json_object_get(c, "timeline"), &seen, out);
	text_add(out, "\n");
	show_next(cli, c, out);
}

/* --- timeline */

static void show_row(const struct cli *cli, const json_t *row, struct show_timeline *io, struct text *out)
{
	const json_t *meta = json_object_get(row, "meta");
	const char *from = json_str_or(row, "from", ""), *to = json_str_or(row, "to", "");
	const char *why = json_str_or(meta, "park_reason", json_str(meta, "resolution"));
	bool refused = json_bool_or(row, "refused", false);
	char at[16], left[96];
	int64_t us = 0;

	out_clock(json_str(row, "created_at"), at, sizeof(at));
	if (clock_parse(json_str_or(row, "created_at", ""), &us) == 0 && !io->first_us)
		io->first_us = us;
	snprintf(left, sizeof(left), "%3lld  %s %+7.1fs  ", json_int_or(row, "seq", 0), at,
		 (double)(us - io->first_us) / 1e6);
	out_styled(out, cli->colour, OUT_DIM, left);
	if (refused) {
		out_styled(out, cli->colour, OUT_WARN, "refused ");
		add_clean(out, json_str_or(row, "event", "?"));
	} else if (str_eq(from, to)) {
		snprintf(left, sizeof(left), "%-11s", "");
		text_add(out, left);
		add_clean(out, json_str_or(row, "event", "?"));
	} else {
		snprintf(left, sizeof(left), "%-10.40s ", to);
		out_styled(out, cli->colour, out_state_style(to), left);
		add_clean(out, json_str_or(row, "event", "?"));
	}
	if (why) {
		text_add(out, " (");
		add_clean(out, why);
		text_add(out, ")");
	}
	text_add(out, ", ");
	add_clean(out, json_str_or(row, "actor", "?"));
	if (json_str(row, "reason")) {
		text_add(out, ": ");
		add_clean(out, json_str(row, "reason"));
	}
	if (json_int_or(row, "repeats", 0))
		text_addf(out, " (and %lld times more)", json_int_or(row, "repeats", 0));
	text_add(out, "\n");
	io->last_us = us;
	io->seq = (int)json_int_or(row, "seq", io->seq);
}

void show_timeline(const struct cli *cli, const json_t *rows, struct show_timeline *io, struct text *out)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) show_row(cli, row, io, out);
}
