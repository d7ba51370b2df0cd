#include <math.h>
#include "base/mem.h"
#include "planner/runbook.h"

/* --- types */

static const char *const type_names[] = { "string", "int", "number", "bool", "enum", "urn" };

const char *param_type_name(enum param_type t)
{
	return t < PARAM_TYPE_COUNT ? type_names[t] : "?";
}

enum param_type param_type_parse(const char *name)
{
	size_t i = 0;

	while (i < ARRAY_LEN(type_names) && !str_eq(type_names[i], name))
		i++;
	return (enum param_type)i;
}

#define PARAM_TEXT_MAX 4096

static enum oc_err text_value(const struct runbook_param *p, const json_t *v, json_t **ret,
			      struct oc_fail *reterr)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v), i;
	const json_t *item;

	if (!s)
		return oc_fail(reterr, OC_INVALID, "must be a text");
	if (p->type == PARAM_ENUM) {
		AUTO(text) struct text all = { 0 };

		json_array_foreach(p->values, i, item)
		{
			if (str_eq(json_string_value(item), s))
				break;
			text_addf(&all, "%s%s", all.len ? ", " : "", json_string_value(item));
		}
		if (i == json_array_size(p->values))
			return oc_fail(reterr, OC_INVALID, "is '%.100s', and must be one of %s", s,
				       text_str(&all));
	}
	if (p->type == PARAM_URN && (!str_starts(s, "urn:") || strpbrk(s, " \t\r\n")))
		return oc_fail(reterr, OC_INVALID, "is '%.100s', and must be a URN such as urn:host:NAME", s);
	if (p->type != PARAM_ENUM && n == 0 && !(p->has_min && p->min == 0))
		return oc_fail(reterr, OC_INVALID, "is empty");
	if (p->has_min && (double)n < p->min)
		return oc_fail(reterr, OC_INVALID, "has %zu characters, and needs at least %g", n, p->min);
	if ((double)n > (p->has_max ? p->max : PARAM_TEXT_MAX) || n > PARAM_TEXT_MAX)
		return oc_fail(reterr, OC_INVALID, "has %zu characters, and may have at most %g", n,
			       p->has_max ? p->max : (double)PARAM_TEXT_MAX);
	if (p->has_pattern && regexec(&p->pattern, s, 0, NULL, 0) != 0)
		return oc_fail(reterr, OC_INVALID, "is '%.100s', which is not of the form asked for", s);
	*ret = json_copy((json_t *)v);
	return OC_OK;
}

static enum oc_err number_value(const struct runbook_param *p, const json_t *v, json_t **ret,
				struct oc_fail *reterr)
{
	const char *s = json_string_value(v);
	double d = json_number_value(v);
	long long n = json_integer_value(v);
	bool whole = json_is_integer(v);
	char *end;

	/* labels are texts: "3" means 3 */
	if (s && str_to_long(s, -(1LL << 53), 1LL << 53, &n)) {
		whole = true;
		d = (double)n;
	} else if (s && *s && strspn(s, "0123456789+-.eE") == strlen(s)) {
		d = strtod(s, &end);
		if (*end || !isfinite(d))
			return oc_fail(reterr, OC_INVALID, "is '%.100s', and must be a number", s);
	} else if (!json_is_number(v)) {
		return oc_fail(reterr, OC_INVALID, "must be a %snumber",
			       p->type == PARAM_INT ? "whole " : "");
	}
	if (p->type == PARAM_INT && !whole)
		return oc_fail(reterr, OC_INVALID, "is %g, and must be a whole number", d);
	if (p->has_min && d < p->min)
		return oc_fail(reterr, OC_INVALID, "is %g, and must be at least %g", d, p->min);
	if (p->has_max && d > p->max)
		return oc_fail(reterr, OC_INVALID, "is %g, and must be at most %g", d, p->max);
	*ret = whole ? json_integer(n) : json_real(d);
	return OC_OK;
}

enum oc_err param_value(const struct runbook_param *p, const json_t *v, json_t **ret, struct oc_fail *reterr)
{
	const char *s = json_string_value(v);

	switch (p->type) {
	case PARAM_INT:
	case PARAM_NUMBER:
		return number_value(p, v, ret, reterr);
	case PARAM_BOOL:
		if (!json_is_boolean(v) && !str_eq(s, "true") && !str_eq(s, "false"))
			return oc_fail(reterr, OC_INVALID, "must be true or false");
		*ret = json_boolean(json_is_true(v) || str_eq(s, "true"));
		return OC_OK;
	default:
		return text_value(p, v, ret, reterr);
	}
}

const struct runbook_param *runbook_param(const struct runbook *rb, const char *name, size_t len)
{
	for (size_t i = 0; i < rb->param_count; i++)
		if (strlen(rb->param[i].name) == len && memcmp(rb->param[i].name, name, len) == 0)
			return &rb->param[i];
	return NULL;
}

/* --- placeholders */

bool placeholder_next(const char *s, size_t *at, size_t *name_len)
{
	for (const char *p = s + *at; *p; p++) {
		const char *end;

		if (p[0] == '$' && p[1] == '$' && p[2] == '{') {
			p += 2;
			continue;
		}
		if (p[0] != '$' || p[1] != '{')
			continue;
		end = strchr(p, '}');
		*at = (size_t)(p - s);
		*name_len = end ? (size_t)(end - p) - 2 : 0;
		return true;
	}
	return false;
}

bool placeholder_whole(const char *s, size_t *name_len)
{
	size_t at = 0;

	return placeholder_next(s, &at, name_len) && at == 0 && *name_len > 0 && s[*name_len + 3] == '\0';
}

/* --- where a value comes from */

/* "a/b.c" of "evidence.metric.a": the rest after the next dot, and the token before it. */
static const char *split(const char *path, char *token, size_t size)
{
	size_t n = strcspn(path, ".");

	snprintf(token, size, "%.*s", (int)n, path);
	return path[n] ? path + n + 1 : path + n;
}

/* A label may itself have dots ("app.kubernetes.io/name"): the whole rest is tried first. */
static const json_t *deep(const json_t *o, const char *path)
{
	const json_t *v = json_object_get(o, path);
	char token[256];

	while (!v && *path) {
		const char *rest = split(path, token, sizeof(token));

		o = json_object_get(o, token);
		if (!*rest)
			return o;
		path = rest;
		v = json_object_get(o, path);
	}
	return v;
}

static const json_t *from_evidence(const json_t *evidence, const char *path)
{
	char kind[256];
	const char *field = split(path, kind, sizeof(kind));
	const json_t *item, *v;
	size_t i;

	json_array_foreach(evidence, i, item)
	{
		if (!str_eq(json_str(item, "kind"), kind))
			continue;
		v = deep(item, field);
		if (v)
			return v;
	}
	return NULL;
}

static bool is_evidence(const char *path)
{
	return str_starts(path, "evidence.") || str_starts(path, "finding.");
}

/* A borrowed value or NULL; *own is for those that are made here. */
static const json_t *from_case(const struct case_facts *f, const char *path, json_t **own)
{
	const char *text = NULL;
	const json_t *v;

	if (str_starts(path, "params."))
		return json_object_get(f->params, path + 7);
	if (str_starts(path, "labels."))
		return deep(f->labels, path + 7);
	if (str_starts(path, "evidence."))
		return from_evidence(f->evidence, path + 9);
	if (str_starts(path, "finding.")) {
		v = deep(json_object_get(f->finding, "values"), path + 8);
		return v ? v : deep(f->finding, path + 8);
	}
	if (str_eq(path, "case.title"))
		text = f->title;
	else if (str_eq(path, "case.severity"))
		text = f->severity;
	else if (str_eq(path, "case.id"))
		text = f->case_id;
	return text ? *own = json_string(text) : NULL;
}

/* The case's own words come before what was measured, in the order that the runbook lists them. */
static const json_t *find_value(const struct runbook_param *p, const struct case_facts *f, char *where,
				size_t size, json_t **own)
{
	const json_t *v, *path;
	size_t i;

	snprintf(where, size, "request");
	v = json_object_get(f->asked, p->name);
	if (v && !json_is_null(v))
		return v;
	if (!p->from) {
		snprintf(where, size, "params.%s", p->name);
		v = json_object_get(f->params, p->name);
		if (v && !json_is_null(v))
			return v;
		snprintf(where, size, "labels.%s", p->name);
		v = json_object_get(f->labels, p->name);
		if (v && !json_is_null(v))
			return v;
	}
	for (int pass = 0; pass < 2; pass++)
		json_array_foreach(p->from, i, path)
		{
			const char *s = json_string_value(path);

			if (is_evidence(s) != (pass == 1))
				continue;
			snprintf(where, size, "%s", s);
			v = from_case(f, s, own);
			if (v && !json_is_null(v))
				return v;
		}
	snprintf(where, size, "tenant");
	v = json_object_get(f->tenant_defaults, p->name);
	if (v && !json_is_null(v))
		return v;
	snprintf(where, size, "default");
	return p->fallback;
}

/* --- substitution */

static void print_value(struct text *out, const json_t *v)
{
	AUTO(str) char *s = NULL;

	if (json_is_string(v)) {
		text_add_n(out, json_string_value(v), json_string_length(v));
		return;
	}
	if (json_is_real(v)) { /* 0.05 and not 0.050000000000000003 */
		text_addf(out, "%.15g", json_real_value(v));
		return;
	}
	s = json_text(v);
	text_add(out, s);
}

static json_t *fill_text(const char *s, const json_t *values)
{
	AUTO(text) struct text out = { 0 };
	size_t at = 0, done = 0, n;
	json_t *v;

	while (placeholder_next(s, &at, &n)) {
		AUTO(str) char *name = mem_strndup(s + at + 2, n);

		text_add_n(&out, s + done, at - done);
		print_value(&out, json_object_get(values, name));
		at += n + 3;
		done = at;
	}
	text_add(&out, s + done);
	/* $${ was only there to be told from a blank */
	for (char *p = out.s; p && (p = strstr(p, "$${")); p++)
		memmove(p, p + 1, strlen(p));
	v = json_string(text_str(&out));
	return v ? v : json_string("");
}

static json_t *fill(const json_t *t, const json_t *values);

static json_t *fill_object(const json_t *t, const json_t *values)
{
	json_t *out = json_object(), *v;
	const char *key;

	json_object_foreach((json_t *)t, key, v)
	{
		json_t *filled = fill(v, values);

		if (filled)
			json_object_set_new(out, key, filled);
	}
	return out;
}

static json_t *fill_array(const json_t *t, const json_t *values)
{
	json_t *out = json_array(), *v;
	size_t i;

	json_array_foreach(t, i, v)
	{
		json_t *filled = fill(v, values);

		if (filled)
			json_array_append_new(out, filled);
	}
	return out;
}

/* NULL: there is no value, and the field is left out; so is what had only such fields. */
static json_t *fill(const json_t *t, const json_t *values)
{
	const char *s = json_string_value(t);
	json_t *out, *v;
	size_t n;

	if (s && placeholder_whole(s, &n)) {
		AUTO(str) char *name = mem_strndup(s + 2, n);

		v = json_object_get(values, name);
		return v ? json_deep_copy(v) : NULL;
	}
	if (s)
		return fill_text(s, values);
	if (!json_is_object(t) && !json_is_array(t))
		return json_deep_copy(t);
	out = json_is_object(t) ? fill_object(t, values) : fill_array(t, values);
	if (json_object_size(out) + json_array_size(out) == 0 &&
	    json_object_size(t) + json_array_size(t) > 0) {
		json_decref(out);
		return NULL;
	}
	return out;
}

static void missing_add(json_t *list, const struct runbook_param *p, const char *name, const char *text)
{
	json_t *o = json_object();

	json_put(o, "param", name);
	json_put(o, "text", text);
	if (p) {
		json_put(o, "type", param_type_name(p->type));
		json_put(o, "help", p->help);
		if (p->from)
			json_object_set(o, "from", (json_t *)p->from);
	}
	json_array_append_new(list, o);
}

/* What a request asks for and the runbook does not know is more often misspelt than meant. */
static void asked_unknown(const struct runbook *rb, const json_t *asked, json_t *missing)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)asked, key, v)
	{
		AUTO(str) char *text = NULL;

		if (runbook_param(rb, key, strlen(key)))
			continue;
		text = mem_printf("the runbook '%s' has no parameter '%.64s'", rb->name, key);
		missing_add(missing, NULL, key, text);
	}
}

static void collect(const struct runbook *rb, const struct case_facts *facts, json_t *values, json_t *filled,
		    json_t *missing)
{
	for (size_t i = 0; i < rb->param_count; i++) {
		const struct runbook_param *p = &rb->param[i];
		AUTO(json) json_t *own = NULL;
		char where[256];
		const json_t *v = find_value(p, facts, where, sizeof(where), &own);
		struct oc_fail why = { 0 };
		json_t *typed = NULL;

		if (!v) {
			if (p->required)
				missing_add(missing, p, p->name, "no value was given or found");
			continue;
		}
		if (param_value(p, v, &typed, &why) != OC_OK) {
			AUTO(str) char *text = mem_printf("the value from %s %s", where, why.text);

			missing_add(missing, p, p->name, text);
			continue;
		}
		json_object_set_new(filled, p->name, json_pack("{s:O,s:s}", "value", typed, "from", where));
		json_object_set_new(values, p->name, typed);
	}
}

enum oc_err runbook_fill(const struct runbook *rb, const struct case_facts *facts, json_t **ret_plan,
			 json_t **ret_filled, json_t **ret_missing, struct oc_fail *reterr)
{
	AUTO(json) json_t *values = json_object();
	AUTO(json) json_t *filled = json_object();
	AUTO(json) json_t *missing = json_array();
	AUTO(text) struct text sentence = { 0 };
	const json_t *m;
	size_t i;

	asked_unknown(rb, facts->asked, missing);
	collect(rb, facts, values, filled, missing);
	if (ret_filled)
		*ret_filled = json_incref(filled);
	if (json_array_size(missing) == 0) {
		if (ret_plan)
			*ret_plan = fill(rb->plan, values);
		return OC_OK;
	}
	json_array_foreach(missing, i, m)
		text_addf(&sentence, "%s%s: %s", i ? "; " : "", json_str_or(m, "param", "?"),
			  json_str_or(m, "text", "?"));
	if (ret_missing)
		*ret_missing = json_incref(missing);
	return oc_fail(reterr, OC_INVALID, "the runbook '%s' cannot be filled: %s", rb->name,
		       text_str(&sentence));
}

/* --- choosing */

static bool glob_list(const json_t *globs, const char *s)
{
	const json_t *g;
	size_t i;

	if (!s)
		return false;
	if (json_is_string(globs))
		return str_glob(json_string_value(globs), s);
	json_array_foreach(globs, i, g) if (str_glob(json_string_value(g), s)) return true;
	return false;
}

static bool kind_fits(const json_t *globs, const struct case_facts *f)
{
	const json_t *item;
	size_t i;

	if (glob_list(globs, json_str(f->labels, "kind")) || glob_list(globs, json_str(f->finding, "kind")))
		return true;
	json_array_foreach(f->evidence, i, item) if (glob_list(globs, json_str(item, "kind"))) return true;
	return false;
}

/* -1: does not fit. Each condition counts 16, one without a wildcard a little more. */
static int fits(const struct runbook *rb, const struct case_facts *f)
{
	const json_t *severity = json_object_get(rb->match, "severity"),
		     *kind = json_object_get(rb->match, "kind");
	const char *label;
	json_t *glob;
	int score = 0;

	if (!rb->match)
		return -1;
	json_object_foreach(json_object_get(rb->match, "labels"), label, glob)
	{
		const json_t *have = json_object_get(f->labels, label);
		AUTO(str)
		char *s = have && !json_is_string(have) ? json_text(have)
							: mem_strdup(json_string_value(have));

		if (!s || !str_glob(json_string_value(glob), s))
			return -1;
		score += strpbrk(json_string_value(glob), "*?") ? 16 : 17;
	}
	if (severity && !glob_list(severity, f->severity))
		return -1;
	if (kind && !kind_fits(kind, f))
		return -1;
	return score + (severity ? 16 : 0) + (kind ? 16 : 0);
}

const struct runbook *runbook_match(const struct runbook_set *set, const struct case_facts *facts)
{
	const struct runbook *best = NULL;
	int best_score = 0;

	for (size_t i = 0; i < set->count; i++) {
		int score = fits(set->item[i], facts);

		if (score > best_score) {
			best = set->item[i];
			best_score = score;
		}
	}
	return best;
}
