#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "planner/runbook.h"
#include "runbook_files.h"

/* --- findings */

void runbook_findings_done(struct runbook_findings *f)
{
	text_done(&f->lines);
}

struct lint {
	const char *name;
	const struct yaml_doc *doc;
	struct runbook_findings *f;
	char first[1024];
};

/* The line of the pointer, or of the nearest thing around it that stands in the file. */
static int nearest_line(const struct yaml_doc *doc, const char *pointer)
{
	char at[256];
	char *slash;

	snprintf(at, sizeof(at), "%s", pointer);
	for (;;) {
		int line = doc ? yaml_line(doc, at) : 0;

		if (line)
			return line;
		slash = strrchr(at, '/');
		if (!slash)
			return 1;
		*slash = '\0';
	}
}

static void found(struct lint *l, const char *pointer, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void found(struct lint *l, const char *pointer, const char *fmt, ...)
{
	char text[512], line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "%s:%d: %s%s%s", l->name, nearest_line(l->doc, pointer), pointer,
		 *pointer ? ": " : "", text);
	if (l->f->count++ == 0)
		snprintf(l->first, sizeof(l->first), "%s", line);
	if (l->f->count <= 200)
		text_addf(&l->f->lines, "%s\n", line);
}

static enum oc_err result(const struct lint *l, size_t before, struct oc_fail *reterr)
{
	size_t n = l->f->count - before;

	if (n == 0)
		return OC_OK;
	return oc_fail(reterr, OC_INVALID, n > 1 ? "%s (and %zu more)" : "%s", l->first, n - 1);
}

/* --- reading one */

static void read_param(struct lint *l, struct runbook *rb, const char *name, const json_t *o)
{
	struct runbook_param *p = &rb->param[rb->param_count++];
	const json_t *min = json_object_get(o, "min"), *max = json_object_get(o, "max");
	const char *pattern = json_str(o, "pattern");
	char at[128], where[200];

	p->name = name;
	p->type = param_type_parse(json_str(o, "type"));
	p->fallback = json_object_get(o, "default");
	p->required = json_bool_or(o, "required", true) && !p->fallback;
	p->example = json_object_get(o, "example");
	p->values = json_object_get(o, "values");
	p->from = json_object_get(o, "from");
	p->has_min = min != NULL;
	p->has_max = max != NULL;
	p->min = json_number_value(min);
	p->max = json_number_value(max);
	p->help = json_str(o, "help");
	snprintf(at, sizeof(at), "/params/%s", name);
	if (p->type == PARAM_ENUM && !p->values)
		found(l, at, "an enum needs values");
	if (p->type != PARAM_ENUM && p->values)
		found(l, at, "only an enum has values");
	if (p->has_min && p->has_max && p->min > p->max)
		found(l, at, "min %g is greater than max %g", p->min, p->max);
	if (p->type == PARAM_BOOL && (p->has_min || p->has_max))
		found(l, at, "a bool has no min and max");
	if (pattern) {
		AUTO(str) char *anchored = mem_printf("^(%s)$", pattern);

		snprintf(where, sizeof(where), "%s/pattern", at);
		if (p->type != PARAM_STRING && p->type != PARAM_URN)
			found(l, where, "only a string or a urn has a pattern");
		else if (regcomp(&p->pattern, anchored, REG_EXTENDED | REG_NOSUB) == 0)
			p->has_pattern = true;
		else
			found(l, where, "not a POSIX extended expression");
	}
}

static void check_samples(struct lint *l, const struct runbook *rb)
{
	for (size_t i = 0; i < rb->param_count; i++) {
		const struct runbook_param *p = &rb->param[i];
		const char *const keys[] = { "default", "example" };
		const json_t *const values[] = { p->fallback, p->example };
		char at[200];

		for (size_t k = 0; k < 2; k++) {
			struct oc_fail why = { 0 };
			AUTO(json) json_t *typed = NULL;

			snprintf(at, sizeof(at), "/params/%s/%s", p->name, keys[k]);
			if (values[k] && param_value(p, values[k], &typed, &why) != OC_OK)
				found(l, at, "the %s %s", keys[k], why.text);
		}
		snprintf(at, sizeof(at), "/params/%s", p->name);
		if (!p->fallback && !p->example)
			found(l, at, "needs an example (or a default): it is what the runbook is tried with");
	}
}

/* Walks the plan's texts: every blank must be a parameter. used[i] is set for each one seen. */
static void check_blanks(struct lint *l, const struct runbook *rb, const json_t *v, const char *at,
			 bool *used)
{
	char where[256];
	const char *key;
	json_t *item;
	size_t i, n, from = 0;

	if (json_is_string(v)) {
		const char *s = json_string_value(v);
		bool whole = placeholder_whole(s, &n);

		while (placeholder_next(s, &from, &n)) {
			const struct runbook_param *p = n ? runbook_param(rb, s + from + 2, n) : NULL;

			if (!n)
				found(l, at,
				      "a blank is not closed or has no name; write $${ for a plain ${");
			else if (!p)
				found(l, at, "'${%.*s}' is not a parameter of this runbook",
				      (int)(n > 64 ? 64 : n), s + from + 2);
			else if (!whole && !p->required && !p->fallback)
				found(l, at,
				      "'%s' may be without a value, so it cannot stand inside a longer text",
				      p->name);
			if (p)
				used[p - rb->param] = true;
			from += 2;
		}
		return;
	}
	json_array_foreach(v, i, item)
	{
		snprintf(where, sizeof(where), "%s/%zu", at, i);
		check_blanks(l, rb, item, where, used);
	}
	json_object_foreach((json_t *)v, key, item)
	{
		snprintf(where, sizeof(where), "%s/%s", at, key);
		if (strstr(key, "${"))
			found(l, where, "a key cannot be a blank");
		check_blanks(l, rb, item, where, used);
	}
}

/* A value inside a script body would be read as code. */
static void check_script(struct lint *l, const struct operation_list *ops, const json_t *step, const char *at)
{
	const struct operation *op = operation_find(ops, json_str(step, "action"));
	char where[256];

	for (size_t i = 0; op && i < op->needs_count; i++) {
		const struct operation_need *need = &op->needs[i];
		const json_t *v = need->pointer ? json_at(json_object_get(step, "params"), need->pointer)
						: NULL;
		const char *s = json_string_value(v);
		size_t from = 0, n;

		if (!s || !str_eq(need->name, "script_body") || placeholder_whole(s, &n) ||
		    !placeholder_next(s, &from, &n))
			continue;
		snprintf(where, sizeof(where), "%s/params%s", at, need->pointer);
		found(l, where, "a value inside a script would be read as code: give it through env or argv");
	}
	if (json_object_get(step, "compensate")) {
		snprintf(where, sizeof(where), "%s/compensate", at);
		check_script(l, ops, json_object_get(step, "compensate"), where);
	}
}

static void check_scripts(struct lint *l, const struct runbook *rb, const struct operation_list *ops)
{
	static const char *const lists[] = { "/steps", "/rollback/steps" };
	const json_t *step;
	char at[128];
	size_t i;

	for (size_t k = 0; k < ARRAY_LEN(lists); k++)
		json_array_foreach(json_at(rb->plan, lists[k]), i, step)
		{
			snprintf(at, sizeof(at), "/plan%s/%zu", lists[k], i);
			check_script(l, ops, step, at);
		}
}

/* Tried with its examples, the plan must pass the lint that every plan has to pass. */
static void check_plan(struct lint *l, const struct runbook *rb, const struct plan_contract *contract)
{
	AUTO(json) json_t *asked = json_object();
	AUTO(json) json_t *plan = NULL;
	struct plan_findings *pf;
	struct oc_fail why = { 0 };

	for (size_t i = 0; i < rb->param_count; i++)
		if (rb->param[i].example)
			json_object_set(asked, rb->param[i].name, (json_t *)rb->param[i].example);
	if (runbook_fill(rb, &(struct case_facts){ .asked = asked }, &plan, NULL, NULL, &why) != OC_OK) {
		found(l, "/params", "%s", why.text);
		return;
	}
	pf = mem_alloc(sizeof(*pf));
	if (plan_lint(contract, plan, &(struct plan_lint_options){ .kind = PLAN_FORWARD }, pf, NULL) != OC_OK)
		for (size_t i = 0; i < pf->count && i < PLAN_FINDINGS_MAX; i++) {
			AUTO(str) char *at = mem_printf("/plan%s", pf->item[i].pointer);

			found(l, at, "%s", pf->item[i].text);
		}
	free(pf);
}

static enum oc_err check_schema(struct lint *l, const json_t *v, struct oc_fail *reterr)
{
	AUTO(json_schema) struct json_schema *schema = NULL;
	AUTO(str) char *text = json_text(v);
	struct schema_findings f;
	enum oc_err err;

	err = json_schema_compile(contract_file("contracts/runbook.schema.json"), &schema, reterr);
	if (err != OC_OK)
		return err;
	if (json_schema_check(schema, text, &f, NULL) != OC_OK)
		for (size_t i = 0; i < f.count && i < SCHEMA_FINDINGS_MAX; i++)
			found(l, f.item[i].pointer, "%s", f.item[i].text);
	return OC_OK;
}

static void read_whole(struct lint *l, struct runbook *rb, const struct plan_contract *contract)
{
	const json_t *v = yaml_value(rb->doc), *params = json_object_get(v, "params");
	size_t before = l->f->count;
	AUTO(bytes) unsigned char *bits = NULL;
	bool *used;
	const char *key;
	json_t *o;

	rb->name = json_str(v, "name");
	rb->title = json_str(v, "title");
	rb->match = json_object_get(v, "match");
	rb->plan = json_object_get(v, "plan");
	rb->param = mem_array(json_object_size(params) + 1, sizeof(*rb->param));
	json_object_foreach((json_t *)params, key, o) read_param(l, rb, key, o);
	check_samples(l, rb);
	bits = mem_alloc(rb->param_count + 1);
	used = (bool *)bits;
	check_blanks(l, rb, rb->plan, "/plan", used);
	for (size_t i = 0; i < rb->param_count; i++)
		if (!used[i]) {
			AUTO(str) char *at = mem_printf("/params/%s", rb->param[i].name);

			found(l, at, "nothing in the plan uses it");
		}
	if (contract)
		check_scripts(l, rb, plan_contract_operations(contract));
	if (contract && l->f->count == before)
		check_plan(l, rb, contract);
}

enum oc_err runbook_read(const char *name, const char *text, size_t len, const struct plan_contract *contract,
			 struct runbook **ret, struct runbook_findings *f, struct oc_fail *reterr)
{
	AUTO(runbook_findings) struct runbook_findings unasked = { 0 };
	AUTO(runbook) struct runbook *rb = mem_alloc(sizeof(*rb));
	struct lint l = { .name = name, .f = f ? f : &unasked };
	struct oc_fail why = { 0 };
	size_t before = l.f->count;
	enum oc_err err;

	err = yaml_read(name, text, len, &rb->doc, &why);
	if (err != OC_OK) { /* says file:line itself */
		l.f->count++;
		text_addf(&l.f->lines, "%s\n", why.text);
		return oc_fail(reterr, OC_INVALID, "%s", why.text);
	}
	l.doc = rb->doc;
	err = check_schema(&l, yaml_value(rb->doc), reterr);
	if (err != OC_OK)
		return err;
	if (l.f->count == before) /* what follows relies on the schema */
		read_whole(&l, rb, contract);
	err = result(&l, before, reterr);
	if (err != OC_OK)
		return err;
	*ret = TAKE(rb);
	return OC_OK;
}

void runbook_free(struct runbook *rb)
{
	if (!rb)
		return;
	for (size_t i = 0; i < rb->param_count; i++)
		if (rb->param[i].has_pattern)
			regfree(&rb->param[i].pattern);
	free(rb->param);
	yaml_close(rb->doc);
	free(rb);
}

/* --- sets */

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct runbook *const *)a)->name, (*(struct runbook *const *)b)->name);
}

enum oc_err runbook_set_read(const struct runbook_text *texts, size_t count,
			     const struct plan_contract *contract, struct runbook_set **ret,
			     struct runbook_findings *f, struct oc_fail *reterr)
{
	AUTO(runbook_findings) struct runbook_findings unasked = { 0 };
	AUTO(runbook_set) struct runbook_set *set = mem_alloc(sizeof(*set));
	struct lint l = { .f = f ? f : &unasked };
	size_t before = l.f->count;
	struct oc_fail first = { 0 };

	set->item = mem_array(count ? count : 1, sizeof(*set->item));
	for (size_t i = 0; i < count; i++) {
		struct oc_fail why = { 0 };
		struct runbook *rb = NULL;

		if (runbook_read(texts[i].name, texts[i].text, texts[i].len, contract, &rb, l.f, &why) !=
		    OC_OK) {
			if (!first.text[0])
				first = why;
			continue;
		}
		l.name = texts[i].name;
		l.doc = rb->doc;
		for (size_t k = 0; k < set->count; k++)
			if (str_eq(set->item[k]->name, rb->name))
				found(&l, "/name", "there is a runbook '%s' already, in %s", rb->name,
				      yaml_name(set->item[k]->doc));
		set->item[set->count++] = rb;
	}
	if (l.f->count > before)
		return oc_fail(reterr, OC_INVALID, "%s", first.text[0] ? first.text : l.first);
	qsort(set->item, set->count, sizeof(*set->item), by_name);
	*ret = TAKE(set);
	return OC_OK;
}

struct pile {
	struct runbook_text *item;
	size_t count;
};

static void pile_done(struct pile *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free((char *)p->item[i].name);
		free((char *)p->item[i].text);
	}
	free(p->item);
}

static enum oc_err pile_add(struct pile *p, const char *path, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = fopen(path, "re");
	struct text t = { 0 };
	char buf[8192];
	size_t n;

	if (!f)
		return oc_fail(reterr, errno == ENOENT ? OC_NOT_FOUND : OC_INVALID, "%s: %s", path,
			       strerror(errno));
	while (t.len <= ((size_t)1 << 20) && (n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add_n(&t, buf, n);
	p->item = mem_grow(p->item, p->count + 1, sizeof(*p->item));
	p->item[p->count].name = mem_strdup(path);
	p->item[p->count].len = t.len;
	p->item[p->count].text = text_take(&t);
	p->count++;
	return OC_OK;
}

static int is_yaml(const struct dirent *e)
{
	return e->d_name[0] != '.' && str_glob("*.yaml", e->d_name);
}

static enum oc_err pile_read(const char *path, struct pile *p, struct oc_fail *reterr)
{
	struct dirent **names = NULL;
	struct stat st;
	enum oc_err err = OC_OK;
	int n;

	if (stat(path, &st) != 0)
		return oc_fail(reterr, OC_NOT_FOUND, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return pile_add(p, path, reterr);
	n = scandir(path, &names, is_yaml, alphasort);
	if (n < 0)
		return oc_fail(reterr, OC_INVALID, "%s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		AUTO(str) char *file = mem_printf("%s/%s", path, names[i]->d_name);

		if (err == OC_OK)
			err = pile_add(p, file, reterr);
		free(names[i]);
	}
	free(names);
	if (err == OC_OK && n == 0)
		return oc_fail(reterr, OC_INVALID, "%s: there is no *.yaml in this folder", path);
	return err;
}

enum oc_err runbook_set_load(const char *path, const struct plan_contract *contract, struct runbook_set **ret,
			     struct runbook_findings *f, struct oc_fail *reterr)
{
	__attribute__((cleanup(pile_done))) struct pile p = { 0 };
	enum oc_err err = pile_read(path, &p, reterr);

	if (err != OC_OK)
		return err;
	return runbook_set_read(p.item, p.count, contract, ret, f, reterr);
}

enum oc_err runbook_set_builtin(const struct plan_contract *contract, struct runbook_set **ret,
				struct runbook_findings *f, struct oc_fail *reterr)
{
	struct runbook_text texts[64];
	size_t n = 0;

	for (const struct embedded_file *e = runbook_files; e->name && n < ARRAY_LEN(texts); e++)
		texts[n++] = (struct runbook_text){ .name = e->name, .text = e->text, .len = e->len };
	return runbook_set_read(texts, n, contract, ret, f, reterr);
}

void runbook_set_free(struct runbook_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->count; i++)
		runbook_free(set->item[i]);
	free(set->item);
	free(set);
}

enum oc_err runbook_lint(const char *path, const struct plan_contract *contract, struct runbook_findings *f,
			 struct oc_fail *reterr)
{
	AUTO(runbook_set) struct runbook_set *set = NULL;

	return runbook_set_load(path, contract, &set, f, reterr);
}

size_t runbook_count(const struct runbook_set *set)
{
	return set->count;
}
const struct runbook *runbook_at(const struct runbook_set *set, size_t i)
{
	return i < set->count ? set->item[i] : NULL;
}
const char *runbook_name(const struct runbook *rb)
{
	return rb->name;
}
const char *runbook_title(const struct runbook *rb)
{
	return rb->title;
}
const json_t *runbook_json(const struct runbook *rb)
{
	return yaml_value(rb->doc);
}

const struct runbook *runbook_find(const struct runbook_set *set, const char *name)
{
	for (size_t i = 0; i < set->count; i++)
		if (str_eq(set->item[i]->name, name))
			return set->item[i];
	return NULL;
}

json_t *runbook_set_json(const struct runbook_set *set)
{
	static const char *const kept[] = { "title", "summary", "match", "params" };
	json_t *list = json_array();

	for (size_t i = 0; i < set->count; i++) {
		const json_t *v = yaml_value(set->item[i]->doc);
		json_t *o = json_object();

		json_put(o, "id", set->item[i]->name);
		for (size_t k = 0; k < ARRAY_LEN(kept); k++)
			if (json_object_get(v, kept[k]))
				json_object_set(o, kept[k], json_object_get(v, kept[k]));
		json_array_append_new(list, o);
	}
	return list;
}
