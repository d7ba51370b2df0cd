/* The INI form: sections of hosts, of variables and of children. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include "base/mem.h"
#include "ingest/topology/inventory_impl.h"

#define LITERAL_DEPTH 8
#define NAMES_MAX     20000
#define LINE_MAX_LEN  65536

/* ---- ranges ---- */

static bool read_bound(const char *s, size_t n, bool *ret_letter, long *ret)
{
	char buf[16];

	if (n == 1 && isalpha((unsigned char)*s)) {
		*ret_letter = true;
		*ret = (unsigned char)*s;
		return true;
	}
	if (n == 0 || n >= 9)
		return false;
	memcpy(buf, s, n);
	buf[n] = '\0';
	*ret_letter = false;
	*ret = strtol(buf, NULL, 10);
	return strspn(buf, "0123456789") == n;
}

static enum oc_err expand_into(const char *pattern, unsigned depth, json_t *out, struct oc_fail *reterr)
{
	const char *open = strchr(pattern, '['), *close = open ? strchr(open, ']') : NULL;
	const char *colon = open ? memchr(open, ':', close ? (size_t)(close - open) : 0) : NULL;
	const char *step_at = colon ? memchr(colon + 1, ':', (size_t)(close - colon - 1)) : NULL;
	bool letter = false, letter_end = false, no;
	long from = 0, to = 0, step = 1;
	int width;

	if (!open || !close || !colon) {
		if (json_array_size(out) >= NAMES_MAX)
			return oc_fail(reterr, OC_TOO_LARGE, "a range of more than %d hosts", NAMES_MAX);
		json_array_append_new(out, json_string(pattern));
		return OC_OK;
	}
	if (depth > 4)
		return oc_fail(reterr, OC_INVALID, "'%.60s': too many ranges in one name", pattern);
	if (colon == open + 1) /* [:5] begins at 0 */
		from = 0;
	else if (!read_bound(open + 1, (size_t)(colon - open - 1), &letter, &from))
		return oc_fail(reterr, OC_INVALID, "'%.60s': a range is [from:to]", pattern);
	if (!read_bound(colon + 1, (size_t)((step_at ? step_at : close) - colon - 1), &letter_end, &to) ||
	    letter != letter_end ||
	    (step_at &&
	     (!read_bound(step_at + 1, (size_t)(close - step_at - 1), &no, &step) || no || step < 1)))
		return oc_fail(reterr, OC_INVALID, "'%.60s': a range is [from:to] or [from:to:step]",
			       pattern);
	/* [01:10] has two digits in each */
	width = !letter && open[1] == '0' ? (int)(colon - open - 1) : 0;
	for (long i = from; i <= to; i += step) {
		AUTO(str)
		char *one =
			letter ? mem_printf("%.*s%c%s", (int)(open - pattern), pattern, (char)i, close + 1)
			       : mem_printf("%.*s%0*ld%s", (int)(open - pattern), pattern, width, i,
					    close + 1);
		enum oc_err err = expand_into(one, depth + 1, out, reterr);

		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

enum oc_err inventory_expand(const char *pattern, json_t **ret, struct oc_fail *reterr)
{
	AUTO(json) json_t *out = json_array();
	enum oc_err err = expand_into(pattern, 0, out, reterr);

	if (err == OC_OK)
		*ret = TAKE(out);
	return err;
}

/* ---- literals ---- */

struct literal {
	const char *s, *end;
	unsigned depth;
	bool bad;
};

static void blanks(struct literal *l)
{
	while (l->s < l->end && isspace((unsigned char)*l->s))
		l->s++;
}

static json_t *bad(struct literal *l)
{
	l->bad = true;
	return NULL;
}

static json_t *literal_text(struct literal *l)
{
	AUTO(text) struct text t = { 0 };
	char quote = *l->s++;

	for (; l->s < l->end && *l->s != quote; l->s++) {
		if (*l->s == '\\' && l->s + 1 < l->end) {
			l->s++;
			if (*l->s == 'n')
				text_add(&t, "\n");
			else if (*l->s == 't')
				text_add(&t, "\t");
			else if (*l->s == '\\' || *l->s == '\'' || *l->s == '"')
				text_add_n(&t, l->s, 1);
			else
				text_add_n(&t, l->s - 1, 2);
		} else {
			text_add_n(&t, l->s, 1);
		}
	}
	if (l->s >= l->end)
		return bad(l);
	l->s++;
	return json_string(text_str(&t));
}

static json_t *literal_value(struct literal *l);

static json_t *literal_list(struct literal *l, char close)
{
	json_t *list = json_array();

	l->s++;
	for (blanks(l); !l->bad && l->s < l->end && *l->s != close; blanks(l)) {
		json_t *v = literal_value(l);

		if (v)
			json_array_append_new(list, v);
		blanks(l);
		if (l->s < l->end && *l->s == ',')
			l->s++;
		else if (l->s >= l->end || *l->s != close)
			bad(l);
	}
	if (l->s >= l->end)
		bad(l);
	l->s++;
	return list;
}

static json_t *literal_map(struct literal *l)
{
	json_t *map = json_object();

	l->s++;
	for (blanks(l); !l->bad && l->s < l->end && *l->s != '}'; blanks(l)) {
		AUTO(json) json_t *key = literal_value(l);
		json_t *v;

		blanks(l);
		if (!json_is_string(key) || l->s >= l->end || *l->s != ':') {
			bad(l);
			break;
		}
		l->s++;
		v = literal_value(l);
		if (v)
			json_object_set_new(map, json_string_value(key), v);
		blanks(l);
		if (l->s < l->end && *l->s == ',')
			l->s++;
		else if (l->s >= l->end || *l->s != '}')
			bad(l);
	}
	if (l->s >= l->end)
		bad(l);
	l->s++;
	return map;
}

static json_t *literal_word(struct literal *l)
{
	const char *from = l->s;
	char buf[64], *end;
	size_t n;
	long long i;
	double d;

	while (l->s < l->end && (isalnum((unsigned char)*l->s) || strchr("+-._", *l->s)))
		l->s++;
	n = (size_t)(l->s - from);
	if (n == 0 || n >= sizeof(buf))
		return bad(l);
	memcpy(buf, from, n);
	buf[n] = '\0';
	if (str_eq(buf, "True") || str_eq(buf, "False"))
		return json_boolean(buf[0] == 'T');
	if (str_eq(buf, "None"))
		return json_null();
	/* 0755 is no number of Python's */
	if (!isdigit((unsigned char)buf[0]) && !strchr("+-.", buf[0]))
		return bad(l);
	if (buf[0] == '0' && buf[1] == 'x') {
		errno = 0;
		i = strtoll(buf, &end, 16);
		return *end || errno ? bad(l) : json_integer(i);
	}
	if (buf[0] == '0' && strspn(buf, "0123456789") == n && n > 1 && strspn(buf, "0") != n)
		return bad(l);
	errno = 0;
	i = strtoll(buf, &end, 10);
	if (!*end && !errno)
		return json_integer(i);
	d = strtod(buf, &end);
	return *end || !isfinite(d) || !strpbrk(buf, ".eE") ? bad(l) : json_real(d);
}

static json_t *literal_value(struct literal *l)
{
	json_t *v;

	blanks(l);
	if (l->s >= l->end || l->depth >= LITERAL_DEPTH)
		return bad(l);
	l->depth++;
	if (*l->s == '\'' || *l->s == '"')
		v = literal_text(l);
	else if (*l->s == '[')
		v = literal_list(l, ']');
	else if (*l->s == '(')
		v = literal_list(l, ')');
	else if (*l->s == '{')
		v = literal_map(l);
	else
		v = literal_word(l);
	l->depth--;
	return v;
}

json_t *inventory_literal(const char *s, size_t n)
{
	struct literal l = { .s = s, .end = s + n };
	json_t *v = literal_value(&l);

	blanks(&l);
	if (!l.bad && l.s == l.end)
		return v;
	json_decref(v);
	return json_stringn(s, n);
}

/* ---- lines ---- */

/* As a shell would split it: quotes hold together and go, # begins a comment at a word's beginning. */
static bool next_word(const char **at, struct text *out)
{
	const char *p = *at;
	char quote = 0;
	bool any = false;

	text_done(out);
	while (*p == ' ' || *p == '\t')
		p++;
	if (!*p || *p == '#') {
		*at = p + strlen(p);
		return false;
	}
	for (; *p && (quote || (*p != ' ' && *p != '\t')); p++) {
		any = true;
		if (!quote && (*p == '"' || *p == '\'')) {
			quote = *p;
		} else if (quote && *p == quote) {
			quote = 0;
		} else if (*p == '\\' && quote != '\'' && p[1]) {
			if (quote && p[1] != quote && p[1] != '\\')
				text_add_n(out, p, 1);
			p++;
			text_add_n(out, p, 1);
		} else {
			text_add_n(out, p, 1);
		}
	}
	*at = p;
	return any;
}

/* web01:2222 and [::1]:22; several colons without brackets are an address as it is */
static char *split_port(char *host, long long *ret_port)
{
	char *colon = strrchr(host, ':');
	bool bracketed = host[0] == '[' && strchr(host, ']') &&
			 !memchr(host, ':', (size_t)(strchr(host, ']') - host));

	*ret_port = 0;
	if (!colon || strchr(colon, ']') || (strchr(host, ':') != colon && !(host[0] == '[' && !bracketed)))
		return host;
	if (!str_to_long(colon + 1, 1, 65535, ret_port))
		return host;
	*colon = '\0';
	return host;
}

/* A colon inside of a range is none of a port's. */
static void hide_ranges(char *s, char from, char to)
{
	bool inside = false;

	for (; *s; s++) {
		inside = *s == '[' ? true : *s == ']' ? false : inside;
		if (inside && *s == from)
			*s = to;
	}
}

static enum oc_err host_line(struct inventory *inv, size_t group, const char *line)
{
	AUTO(text) struct text word = { 0 };
	AUTO(json) json_t *names = NULL;
	AUTO(json) json_t *vars = json_object();
	AUTO(str) char *pattern = NULL;
	long long port;
	json_t *name;
	size_t i;
	enum oc_err err;

	if (!next_word(&line, &word))
		return OC_OK;
	pattern = mem_strdup(text_str(&word));
	hide_ranges(pattern, ':', '\1');
	split_port(pattern, &port);
	hide_ranges(pattern, '\1', ':');
	if (port)
		json_object_set_new(vars, "ansible_port", json_integer(port));
	while (next_word(&line, &word)) {
		const char *eq = strchr(text_str(&word), '=');

		if (!eq) {
			if (json_array_size(inv->notes) < 50)
				json_array_append_new(inv->notes,
						      json_sprintf("host '%.60s': '%.60s' is no name=value",
								   pattern, text_str(&word)));
			continue;
		}
		{
			AUTO(str) char *key = mem_strndup(word.s, (size_t)(eq - word.s));

			json_object_set_new(vars, key, inventory_literal(eq + 1, strlen(eq + 1)));
		}
	}
	err = inventory_expand(pattern, &names, inv->reterr);
	if (err != OC_OK)
		return err;
	json_array_foreach(names, i, name)
	{
		err = inventory_host_add(inv, json_string_value(name), group);
		if (err != OC_OK)
			return err;
		json_object_update(json_object_get(inv->hosts, json_string_value(name)), vars);
	}
	return OC_OK;
}

static void var_line(struct group *g, const char *line)
{
	const char *eq = strchr(line, '='), *end, *v;

	if (!eq)
		return;
	end = eq;
	while (end > line && isspace((unsigned char)end[-1]))
		end--;
	v = eq + 1;
	while (isspace((unsigned char)*v))
		v++;
	{
		AUTO(str) char *key = mem_strndup(line, (size_t)(end - line));

		json_object_set_new(g->vars, key, inventory_literal(v, strlen(v)));
	}
}

enum section { HOSTS, VARS, CHILDREN };

static enum oc_err section_line(struct inventory *inv, char *line, size_t *group, enum section *kind)
{
	char *end = strchr(line, ']'), *colon;

	if (!end)
		return oc_fail(inv->reterr, OC_INVALID, "'%.60s': a section ends with ]", line);
	*end = '\0';
	line++;
	colon = strrchr(line, ':');
	*kind = HOSTS;
	if (colon) {
		*kind = str_eq(colon + 1, "vars") ? VARS : str_eq(colon + 1, "children") ? CHILDREN : HOSTS;
		if (*kind == HOSTS && !str_eq(colon + 1, "hosts"))
			return oc_fail(inv->reterr, OC_INVALID,
				       "'[%.60s]': a section is :vars, :children or hosts", line);
		*colon = '\0';
	}
	return inventory_group_add(inv, line, group);
}

/* [web] and not [01:20].example.org */
static bool is_section(const char *line)
{
	const char *end = strchr(line, ']');

	return *line == '[' && (!end || !end[1] || strchr(" \t#;", end[1]));
}

enum oc_err inventory_read_ini(struct inventory *inv, const struct topo_file *file)
{
	AUTO(str) char *text = mem_strndup(file->text, file->len);
	enum section kind = HOSTS;
	char *save = NULL;
	size_t group;
	enum oc_err err = inventory_group_add(inv, "ungrouped", &group);

	if (!str_utf8_ok(text, strlen(text)))
		return oc_fail(inv->reterr, OC_INVALID, "%s is not UTF-8", file->path);
	for (char *line = strtok_r(text, "\r\n", &save); line && err == OC_OK;
	     line = strtok_r(NULL, "\r\n", &save)) {
		size_t n = strlen(line);

		while (n && isspace((unsigned char)line[n - 1]))
			line[--n] = '\0';
		while (isspace((unsigned char)*line))
			line++;
		if (!*line || *line == '#' || *line == ';')
			continue;
		if (n > LINE_MAX_LEN)
			return oc_fail(inv->reterr, OC_TOO_LARGE, "%s has a line of %zu bytes", file->path,
				       n);
		if (is_section(line)) {
			err = section_line(inv, line, &group, &kind);
			continue;
		}
		if (kind == HOSTS) {
			err = host_line(inv, group, line);
		} else if (kind == VARS) {
			var_line(&inv->group[group], line);
		} else {
			line[strcspn(line, " \t#;")] = '\0';
			err = inventory_child_add(inv, group, line);
		}
	}
	return err;
}
