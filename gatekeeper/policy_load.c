/* From YAML to a compiled set: every mistake is found here and named by file and line. */
#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "gatekeeper/policy_reader.h"
#include "policy_files.h"

#define FILES_MAX 256
#define RULES_MAX 100000

/* ---- rules ---- */

static bool id_ok(const char *id)
{
	if (str_empty(id) || strlen(id) > 64 || str_starts(id, "builtin."))
		return false;
	return strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(id);
}

static enum oc_err place_rule(struct loader *l, const json_t *v, const char *id, size_t *ret)
{
	struct policy *p = l->p;
	const json_t *before = json_object_get(l->ids, id);
	bool replaces = json_bool_or(v, "replaces", false);

	if (before && !replaces)
		return load_wrong(
			l, "there is a rule '%s' already, at %s; say replaces: true to put this in its place",
			id, p->rules[json_integer_value(before)].where);
	if (!before && replaces)
		return load_wrong(l, "rule '%s' replaces nothing: no file before this one has it", id);
	if (before) {
		*ret = (size_t)json_integer_value(before);
		free(p->rules[*ret].where);
		p->rules[*ret] = (struct rule){ 0 };
		return OC_OK;
	}
	if (p->rules_count == RULES_MAX)
		return load_wrong(l, "the policy has more than %d rules", RULES_MAX);
	if (p->rules_count == l->rules_cap) {
		l->rules_cap = l->rules_cap ? l->rules_cap * 2 : 64;
		p->rules = mem_grow(p->rules, l->rules_cap, sizeof(*p->rules));
	}
	*ret = p->rules_count++;
	p->rules[*ret] = (struct rule){ 0 };
	json_object_set_new(l->ids, id, json_integer((json_int_t)*ret));
	return OC_OK;
}

static enum oc_err read_rule(struct loader *l, const json_t *v)
{
	const json_t *item;
	const char *id;
	struct rule r = { 0 };
	enum oc_err err;
	size_t was, at = 0;

	err = ONLY_KEYS(l, v, "a rule", "id", "when", "answer", "approvers", "expires", "reason", "replaces");
	if (err != OC_OK)
		return err;
	id = json_str(v, "id");
	if (!id_ok(id))
		return load_wrong(
			l,
			"a rule needs an id of up to 64 letters, digits, '.', '_' and '-' (builtin. is taken)");
	item = json_object_get(v, "replaces");
	if (item && !json_is_boolean(item))
		return load_wrong(l, "replaces is true or false");
	err = place_rule(l, v, id, &at);
	if (err != OC_OK)
		return err;
	r.id = id;
	r.where = mem_printf("%s:%d", yaml_name(l->doc), yaml_line(l->doc, l->at));
	l->p->rules[at] = r; /* so that it is freed whatever comes */

	was = load_enter(l, "answer");
	err = load_answer(l, json_object_get(v, "answer"), &r.answer);
	if (err != OC_OK)
		return err;
	load_leave(l, was);

	r.reason = "";
	if (json_object_get(v, "reason")) {
		was = load_enter(l, "reason");
		err = load_text(l, json_object_get(v, "reason"), 500, &r.reason);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	item = json_object_get(v, "approvers");
	if (item) {
		was = load_enter(l, "approvers");
		if (r.answer != POLICY_ASK)
			return load_wrong(l, "approvers make sense only where the answer is ask");
		err = load_approvers(l, item, &r.roles, &r.quorum);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	item = json_object_get(v, "expires");
	if (item) {
		was = load_enter(l, "expires");
		err = load_seconds(l, item, EXPIRES_MAX_S, &r.expires_s);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	item = json_object_get(v, "when");
	if (!item)
		return load_wrong(l, "rule '%s' says no when (the word always is one)", id);
	was = load_enter(l, "when");
	r.cond = (uint32_t)l->p->conds_count;
	err = load_when(l, item, 0);
	if (err != OC_OK)
		return err;
	load_leave(l, was);
	l->p->rules[at] = r;
	return OC_OK;
}

/* ---- the top of a file ---- */

static enum oc_err read_default(struct loader *l, const json_t *v)
{
	struct policy *p = l->p;
	enum oc_err err;
	size_t was;

	err = ONLY_KEYS(l, v, "default", "answer", "approvers", "expires", "reason");
	if (err != OC_OK)
		return err;
	if (json_object_get(v, "answer")) {
		was = load_enter(l, "answer");
		err = load_answer(l, json_object_get(v, "answer"), &p->default_answer);
		if (err == OC_OK && p->default_answer == POLICY_ALLOW)
			err = load_wrong(l, "what no rule speaks of is asked or denied, never allowed");
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	if (json_object_get(v, "approvers")) {
		was = load_enter(l, "approvers");
		err = load_approvers(l, json_object_get(v, "approvers"), &p->default_roles,
				     &p->default_quorum);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	if (json_object_get(v, "expires")) {
		was = load_enter(l, "expires");
		err = load_seconds(l, json_object_get(v, "expires"), EXPIRES_MAX_S, &p->default_expires_s);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	if (json_object_get(v, "reason")) {
		was = load_enter(l, "reason");
		err = load_text(l, json_object_get(v, "reason"), 500, &p->default_reason);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	return OC_OK;
}

static enum oc_err read_version(struct loader *l, const json_t *v)
{
	if (!json_is_integer(v) || json_integer_value(v) != 1)
		return load_wrong(l, "version must be 1, the only one there is");
	return OC_OK;
}

static enum oc_err read_self_approval(struct loader *l, const json_t *v)
{
	if (str_eq(json_string_value(v), "deny"))
		l->p->self_approval = SELF_APPROVAL_DENY;
	else if (str_eq(json_string_value(v), "warn"))
		l->p->self_approval = SELF_APPROVAL_WARN;
	else
		return load_wrong(l, "self_approval is deny or warn");
	return OC_OK;
}

static enum oc_err read_freeze_answer(struct loader *l, const json_t *v)
{
	enum oc_err err = load_answer(l, v, &l->p->freeze_answer);

	if (err == OC_OK && l->p->freeze_answer == POLICY_ALLOW)
		return load_wrong(l, "a freeze asks or denies");
	return err;
}

static enum oc_err read_break_glass(struct loader *l, const json_t *v)
{
	enum oc_err err = ONLY_KEYS(l, v, "break_glass", "roles");
	size_t was;

	if (err != OC_OK)
		return err;
	was = load_enter(l, "roles");
	err = load_roles(l, json_object_get(v, "roles"), &l->p->break_glass);
	if (err == OC_OK)
		load_leave(l, was);
	return err;
}

static enum oc_err read_kill_switch(struct loader *l, const json_t *v)
{
	enum oc_err err;
	size_t was;

	if (json_is_boolean(v)) {
		l->p->killed_all |= json_is_true(v);
		return OC_OK;
	}
	err = ONLY_KEYS(l, v, "kill_switch", "global", "tenants");
	if (err != OC_OK)
		return err;
	if (json_object_get(v, "global") && !json_is_boolean(json_object_get(v, "global"))) {
		load_enter(l, "global");
		return load_wrong(l, "global is true or false");
	}
	l->p->killed_all |= json_bool_or(v, "global", false);
	if (!json_object_get(v, "tenants"))
		return OC_OK;
	was = load_enter(l, "tenants");
	err = load_globs(l, json_object_get(v, "tenants"), NULL);
	if (err != OC_OK)
		return err;
	load_leave(l, was);
	json_array_extend(l->p->killed, json_object_get(v, "tenants"));
	return OC_OK;
}

static enum oc_err read_permits(struct loader *l, const json_t *v)
{
	const char *need;
	json_t *list;

	if (!json_is_object(v))
		return load_wrong(l, "permits is a mapping: a need, and the tenants that have it");
	json_object_foreach((json_t *)v, need, list)
	{
		size_t was = load_enter(l, need);
		json_t *have = json_object_get(l->p->permits, need);
		enum oc_err err;

		if (!id_ok(need))
			return load_wrong(l,
					  "a need is a name of up to 64 letters, digits, '.', '_' and '-'");
		err = load_globs(l, list, NULL);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
		if (!have) {
			json_object_set_new(l->p->permits, need, json_array());
			have = json_object_get(l->p->permits, need);
		}
		json_array_extend(have, list);
	}
	return OC_OK;
}

static enum oc_err each(struct loader *l, const json_t *v,
			enum oc_err (*one)(struct loader *, const json_t *), const char *what)
{
	size_t i;
	json_t *item;

	if (!json_is_array(v))
		return load_wrong(l, "must be a list of %s", what);
	json_array_foreach(v, i, item)
	{
		size_t was = load_enter_at(l, i);
		enum oc_err err = one(l, item);

		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	return OC_OK;
}

static enum oc_err read_rules(struct loader *l, const json_t *v)
{
	return each(l, v, read_rule, "rules");
}

static enum oc_err read_freezes(struct loader *l, const json_t *v)
{
	return each(l, v, load_freeze, "freeze windows");
}

static enum oc_err read_budgets(struct loader *l, const json_t *v)
{
	return each(l, v, load_budget, "budgets");
}

static const struct {
	const char *name;
	enum oc_err (*read)(struct loader *, const json_t *);
	bool once; /* in one file only: two files that differ would be a riddle */
} sections[] = {
	{ "version",       read_version,       false },
	{ "default",       read_default,       true  },
	{ "self_approval", read_self_approval, true  },
	{ "break_glass",   read_break_glass,   true  },
	{ "freeze_answer", read_freeze_answer, true  },
	{ "kill_switch",   read_kill_switch,   false },
	{ "permits",       read_permits,       false },
	{ "budgets",       read_budgets,       false },
	{ "freeze",        read_freezes,       false },
	{ "rules",         read_rules,         false },
};

static enum oc_err read_file(struct loader *l, const json_t *v)
{
	const char *key;
	json_t *item;

	l->at[0] = '\0';
	if (!json_is_object(v))
		return load_wrong(l, "a policy file is a mapping with version, rules and so on");
	if (!json_object_get(v, "version"))
		return load_wrong(l, "version: 1 is missing");
	json_object_foreach((json_t *)v, key, item)
	{
		size_t was = load_enter(l, key), i;
		enum oc_err err;

		for (i = 0; i < ARRAY_LEN(sections) && !str_eq(sections[i].name, key); i++)
			;
		if (i == ARRAY_LEN(sections))
			return load_wrong(
				l,
				"there is no '%s' in a policy; there are version, default, self_approval, break_glass, "
				"freeze_answer, kill_switch, permits, budgets, freeze, rules",
				key);
		if (sections[i].once && json_object_get(l->set_once, key))
			return load_wrong(l, "'%s' is set in %s already", key, json_str(l->set_once, key));
		if (sections[i].once)
			json_put(l->set_once, key, yaml_name(l->doc));
		err = sections[i].read(l, item);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	return OC_OK;
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->rules_count; i++)
		free(p->rules[i].where);
	free(p->rules);
	free(p->conds);
	free(p->lists);
	free(p->freezes);
	free(p->budgets);
	json_decref(p->permits);
	json_decref(p->killed);
	json_decref(p->files);
	free(p->text);
	free(p->slots);
	free(p->cand);
	free(p->always);
	free(p);
}

static void loader_done(struct loader *l)
{
	json_decref(l->ids);
	json_decref(l->set_once);
}
static inline void oc_auto_loader(struct loader *l)
{
	loader_done(l);
}

enum oc_err policy_compile(const struct policy_source *files, size_t count, struct policy **ret,
			   struct oc_fail *reterr)
{
	AUTO(policy) struct policy *p = mem_alloc(sizeof(*p));
	AUTO(loader)
	struct loader l = { .p = p, .reterr = reterr, .ids = json_object(), .set_once = json_object() };

	p->files = json_array();
	p->permits = json_object();
	p->killed = json_array();
	p->default_answer = POLICY_ASK;
	p->default_reason = "no rule speaks of it";
	p->default_roles = ROLE_APPROVER | ROLE_ADMIN;
	p->default_quorum = 1;
	p->default_expires_s = 4 * 3600;
	p->freeze_answer = POLICY_DENY;
	p->budgets = mem_array(1, sizeof(*p->budgets));
	p->budgets[p->budgets_count++] = (struct budget_row){
		.tenant = "*", .operation = "*", .budget = { .limit = 2, .window_s = DAY_S }
	};

	if (count > FILES_MAX)
		return oc_fail(reterr, OC_INVALID, "more than %d policy files", FILES_MAX);
	for (size_t i = 0; i < count; i++) {
		AUTO(yaml) struct yaml_doc *doc = NULL;
		enum oc_err err = yaml_read(files[i].name, files[i].text, files[i].len, &doc, reterr);

		if (err != OC_OK)
			return err;
		l.doc = doc;
		json_array_append(p->files, yaml_value(doc));
		err = read_file(&l, yaml_value(doc));
		if (err != OC_OK)
			return err;
	}
	p->text = json_canonical(p->files);
	hash_sha256_hex(p->text, strlen(p->text), p->hash);
	policy_index(p);
	*ret = TAKE(p);
	return OC_OK;
}

enum oc_err policy_builtin(struct policy **ret, struct oc_fail *reterr)
{
	struct policy_source files[16];
	size_t n = 0;

	for (const struct embedded_file *e = policy_files; e->name && n < ARRAY_LEN(files); e++)
		files[n++] = (struct policy_source){ .name = e->name, .text = e->text, .len = e->len };
	return policy_compile(files, n, ret, reterr);
}

/* ---- a folder ---- */

struct folder {
	struct policy_source files[FILES_MAX];
	size_t count;
};

static void folder_done(struct folder *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free((char *)f->files[i].name);
		free((char *)f->files[i].text);
	}
}
static inline void oc_auto_folder(struct folder *f)
{
	folder_done(f);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct policy_source *)a)->name, ((const struct policy_source *)b)->name);
}

static int is_policy(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && ((n > 5 && str_eq(e->d_name + n - 5, ".yaml")) ||
				       (n > 4 && str_eq(e->d_name + n - 4, ".yml")));
}

#define FILE_MAX ((size_t)4 << 20)

static enum oc_err slurp(const char *path, char **ret, size_t *ret_len, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(text) struct text t = { 0 };
	char buf[16384];
	size_t n;

	if (!f)
		return oc_fail(reterr, OC_NOT_FOUND, "%s: %m", path);
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0) {
		text_add_n(&t, buf, n);
		if (t.len > FILE_MAX)
			return oc_fail(reterr, OC_TOO_LARGE, "%s is larger than %zu bytes", path, FILE_MAX);
	}
	if (ferror(f))
		return oc_fail(reterr, OC_UNAVAILABLE, "%s: %m", path);
	*ret_len = t.len;
	*ret = text_take(&t);
	return OC_OK;
}

enum oc_err policy_load(const char *dir, struct policy **ret, struct oc_fail *reterr)
{
	AUTO(folder) struct folder folder = { .count = 0 };
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return oc_fail(reterr, OC_NOT_FOUND, "policy folder %s: %m", dir);
	while ((e = readdir(d))) {
		struct policy_source *f = &folder.files[folder.count];
		AUTO(str) char *path = NULL, *text = NULL;
		enum oc_err err;

		if (!is_policy(e))
			continue;
		if (folder.count == FILES_MAX) {
			closedir(d);
			return oc_fail(reterr, OC_INVALID, "policy folder %s has more than %d files", dir,
				       FILES_MAX);
		}
		path = mem_printf("%s/%s", dir, e->d_name);
		err = slurp(path, &text, &f->len, reterr);
		if (err != OC_OK) {
			closedir(d);
			return err;
		}
		f->name = TAKE(path);
		f->text = TAKE(text);
		folder.count++;
	}
	closedir(d);
	if (folder.count == 0)
		return oc_fail(reterr, OC_INVALID, "policy folder %s has no *.yaml file", dir);
	qsort(folder.files, folder.count, sizeof(folder.files[0]), by_name);
	return policy_compile(folder.files, folder.count, ret, reterr);
}
