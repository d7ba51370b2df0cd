#include "planner/runbook.h"

static void cell(struct text *out, const char *s)
{
	for (; s && *s; s++) {
		if (*s == '|')
			text_add(out, "\\");
		if (*s == '\n')
			text_add(out, " ");
		else
			text_add_n(out, s, 1);
	}
}

static void json_cell(struct text *out, const json_t *v)
{
	AUTO(str) char *s = v ? json_text(v) : NULL;

	if (!s)
		return;
	if (json_is_real(v)) {
		text_addf(out, "`%.15g`", json_real_value(v));
		return;
	}
	text_add(out, "`");
	cell(out, s);
	text_add(out, "`");
}

static void list_cell(struct text *out, const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		text_add(out, i ? ", `" : "`");
		cell(out, json_string_value(item));
		text_add(out, "`");
	}
}

static void print_match(struct text *out, const json_t *match)
{
	const json_t *severity = json_object_get(match, "severity"), *kind = json_object_get(match, "kind");
	const char *label, *sep = "";
	json_t *glob;

	if (!match) {
		text_add(out, "Chosen by name only.\n\n");
		return;
	}
	text_add(out, "Chosen for cases with ");
	json_object_foreach(json_object_get(match, "labels"), label, glob)
	{
		text_addf(out, "%slabel `%s: %s`", sep, label, json_string_value(glob));
		sep = " and ";
	}
	if (severity) {
		text_addf(out, "%sseverity ", sep);
		json_cell(out, severity);
		sep = " and ";
	}
	if (kind) {
		text_addf(out, "%skind ", sep);
		json_cell(out, kind);
	}
	text_add(out, ".\n\n");
}

static void print_range(struct text *out, const struct runbook_param *p)
{
	if (p->values)
		list_cell(out, p->values);
	else if (p->has_min && p->has_max)
		text_addf(out, "%g to %g", p->min, p->max);
	else if (p->has_min)
		text_addf(out, "at least %g", p->min);
	else if (p->has_max)
		text_addf(out, "at most %g", p->max);
	if ((p->type == PARAM_STRING || p->type == PARAM_URN) && (p->has_min || p->has_max))
		text_add(out, " characters");
}

static void print_runbook(struct text *out, const struct runbook *rb)
{
	const char *summary = json_str(yaml_value(rb->doc), "summary");
	const json_t *step;
	size_t i;

	text_addf(out, "### `%s`\n\n%s.", rb->name, rb->title);
	if (summary)
		text_addf(out, " %s", summary);
	text_add(out, "\n\n");
	print_match(out, rb->match);
	text_add(out, "Steps: ");
	json_array_foreach(json_object_get(rb->plan, "steps"), i, step)
	{
		const char *title = json_str(step, "title");

		text_addf(out, "%s`%s`%s%s%s", i ? ", then " : "", json_str_or(step, "action", "?"),
			  title ? " (" : "", title ? title : "", title ? ")" : "");
	}
	text_add(
		out,
		".\n\n| parameter | type | default | range | found in | what it is |\n|---|---|---|---|---|---|\n");
	for (i = 0; i < rb->param_count; i++) {
		const struct runbook_param *p = &rb->param[i];

		text_addf(out, "| `%s` | %s | ", p->name, param_type_name(p->type));
		if (p->fallback)
			json_cell(out, p->fallback);
		else
			text_add(out, p->required ? "needed" : "may be left out");
		text_add(out, " | ");
		print_range(out, p);
		text_add(out, " | ");
		if (p->from)
			list_cell(out, p->from);
		else
			text_addf(out, "`params.%s`, `labels.%s`", p->name, p->name);
		text_add(out, " | ");
		cell(out, p->help);
		text_add(out, " |\n");
	}
	text_add(out, "\n");
}

void runbook_print_reference(const struct runbook_set *set, struct text *out)
{
	text_add(
		out,
		"# Runbooks\n\n"
		"<!-- Printed by `opscase runbook reference`; a test compares. Change the runbooks or the tables, not this page. -->\n\n"
		"A runbook is a plan with blanks, as YAML under `runbooks/`: which cases it is for (`match`), its parameters\n"
		"(`params`), and a ChangePlan (`plan`). `contracts/runbook.schema.json` says what a file may hold;\n"
		"`opscase runbook lint FILE|DIR` tries every runbook with its examples and holds the plan against the loaded\n"
		"adapters. A service does not start with a bad runbook, and on reload keeps the last good ones.\n\n"
		"Which runbook: the one asked for by name, else the case's own wish, else the best match: every condition must fit,\n"
		"most conditions win, then the one with fewer wildcards, then the name. None fits: no plan, and the case says so.\n\n"
		"A blank is `${name}`. A text that is nothing but a blank takes the value with its type; inside a longer text the\n"
		"value is printed; `$${` is a plain `${`. A field without a value, and what then has no field left, is left out.\n"
		"Values never go into a script's body: they would be read as code.\n\n"
		"A parameter's value is looked for in this order: the request, the case's params and labels, the evidence and the\n"
		"finding, the tenant's `labels.defaults`, the parameter's default. Its type is one of ");
	for (int t = 0; t < PARAM_TYPE_COUNT; t++)
		text_addf(out, "%s`%s`", t ? ", " : "", param_type_name((enum param_type)t));
	text_add(
		out,
		".\n\n## What every plan must pass\n\n"
		"First `contracts/plan.schema.json` with the loaded adapters' operations and the schema of their params; then:\n\n");
	plan_lint_reference(out);
	text_add(out, "\n## The built-in runbooks\n\n");
	for (size_t i = 0; i < set->count; i++)
		print_runbook(out, set->item[i]);
}
