#include "librarian/learn.h"
#include "base/mem.h"

/* One line, so that nothing from outside can begin a heading or a fence of its own. */
static void line(struct text *out, const char *s)
{
	size_t n = 0;

	for (; s && *s && n < 1000; s++, n++)
		text_add_n(out, (unsigned char)*s < ' ' || *s == '`' ? " " : s, 1);
	/* a cut character is taken off again */
	while (out->len && !str_utf8_ok(out->s, out->len))
		out->s[--out->len] = '\0';
}

static void evidence_line(struct text *out, const json_t *e)
{
	AUTO(str) char *value = json_object_get(e, "value") ? json_text(json_object_get(e, "value")) : NULL;

	text_add(out, "- ");
	line(out, json_str_or(e, "kind", "evidence"));
	if (json_str(e, "metric") || json_str(e, "resource")) {
		text_add(out, " ");
		line(out, json_str_or(e, "metric", ""));
		text_add(out, json_str(e, "resource") ? " at " : "");
		line(out, json_str_or(e, "resource", ""));
	}
	if (value) {
		text_add(out, ": ");
		line(out, value);
	}
	text_add(out, "\n");
}

static void steps(struct text *out, const json_t *plan)
{
	const json_t *list = json_object_get(plan, "steps"), *step;
	size_t i;

	json_array_foreach(list, i, step)
	{
		AUTO(str)
		char *params = json_object_get(step, "params") ? json_text(json_object_get(step, "params"))
							       : NULL;

		text_addf(out, "%zu. ", i + 1);
		line(out, json_str_or(step, "action", "?"));
		text_add(out, " on ");
		line(out, json_str_or(json_object_get(step, "target"), "urn", "nothing named"));
		if (params) {
			text_add(out, " with ");
			line(out, params);
		}
		text_add(out, "\n");
	}
}

static void proof(struct text *out, const json_t *checks)
{
	const json_t *check;
	size_t i;

	json_array_foreach(checks, i, check)
	{
		text_add(out, "- ");
		line(out, json_str_or(check, "text",
				      json_str_or(check, "reason", json_str_or(check, "kind", "a check"))));
		text_add(out, ": ");
		line(out, json_str_or(check, "verdict", "?"));
		text_add(out, "\n");
	}
}

char *learn_page(const struct learn_case *c)
{
	struct text out = { 0 };
	const json_t *e;
	size_t i;

	text_add(&out, "# ");
	line(&out, c->title);
	text_add(&out, "\n\n## What it looked like\n\n");
	line(&out, c->summary);
	text_add(&out, c->summary ? "\n\n" : "");
	line(&out, c->finding);
	text_add(&out, c->finding ? "\n\n" : "");
	json_array_foreach(c->evidence, i, e) if (i < 20) evidence_line(&out, e);
	text_add(&out, "\n## What was done\n\n");
	line(&out, json_str(c->plan, "title"));
	text_add(&out, "\n\n");
	steps(&out, c->plan);
	text_add(&out, "\n## What proved it\n\n");
	proof(&out, c->checks);
	text_addf(&out, "\n## Where this comes from\n\nCase %s: ", c->case_id);
	line(&out, c->timeline);
	text_add(&out, "\n");
	return text_take(&out);
}
