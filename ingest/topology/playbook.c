#include "ingest/topology/playbook.h"
#include <stdio.h>
#include "base/mem.h"
#include "wire/yaml/yaml.h"

#define DEPTH_MAX 32

struct reader {
	const struct topo_file *files;
	size_t count;
	const struct inventory *inv;
	json_t *notes, *plays;
	json_t *index; /* path -> index of the file */
	json_t *docs;  /* path -> parsed */
	size_t tasks;
	struct oc_fail *reterr;
};

/* A play while it is read. */
struct play {
	json_t *roles, *tasks, *seen_roles;
	const char *dir; /* of the playbook: "", "site/" */
};

/* ---- files ---- */

static void note(struct reader *r, const char *text)
{
	if (json_array_size(r->notes) < 50)
		json_array_append_new(r->notes, json_sprintf("%.300s", text));
}

/* The parsed file; lent, NULL when there is none. */
static const json_t *document(struct reader *r, const char *path)
{
	const json_t *at = json_object_get(r->index, path);
	json_t *doc = json_object_get(r->docs, path);
	const struct topo_file *f;
	struct oc_fail why = { 0 };

	if (doc || !at)
		return doc;
	f = &r->files[json_integer_value(at)];
	if (yaml_read_loose(f->path, f->text, f->len, &doc, &why) != OC_OK) {
		note(r, why.text);
		doc = json_null();
	}
	json_object_set_new(r->docs, path, doc);
	return doc;
}

static const json_t *first_document(struct reader *r, const char *const *paths)
{
	for (; *paths; paths++) {
		const json_t *doc = document(r, *paths);

		if (doc)
			return doc;
	}
	return NULL;
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup("");
}

/* "a/b/../c.yml" -> "a/c.yml"; NULL where it leaves the tree */
static char *tidy(const char *path)
{
	AUTO(str) char *copy = mem_strdup(path);
	AUTO(text) struct text out = { 0 };
	char *save = NULL;

	for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (str_eq(part, "."))
			continue;
		if (str_eq(part, "..")) {
			char *slash = out.s ? strrchr(out.s, '/') : NULL;

			if (!out.len)
				return NULL;
			out.len = slash ? (size_t)(slash - out.s) : 0;
			out.s[out.len] = '\0';
			continue;
		}
		text_addf(&out, "%s%s", out.len ? "/" : "", part);
	}
	return text_take(&out);
}

char *playbook_role_of(const char *path)
{
	const char *at = path, *hit = NULL;

	while ((at = strstr(at, "roles/"))) {
		if (at == path || at[-1] == '/')
			hit = at + 6;
		at += 6;
	}
	return hit && strchr(hit, '/') ? mem_strndup(hit, strcspn(hit, "/")) : NULL;
}

/* Where a role lies: beside the playbook, at the top, or anywhere in the tree. "" with a slash at the end; NULL: nowhere. */
static char *role_folder(struct reader *r, const char *dir, const char *role)
{
	const char *places[] = { dir, "" };
	AUTO(str) char *suffix = mem_printf("roles/%s/", role);

	for (size_t p = 0; p < ARRAY_LEN(places); p++) {
		AUTO(str) char *want = mem_printf("%s%s", places[p], suffix);

		for (size_t i = 0; i < r->count; i++)
			if (str_starts(r->files[i].path, want))
				return TAKE(want);
	}
	for (size_t i = 0; i < r->count; i++) {
		const char *hit = strstr(r->files[i].path, suffix);

		if (hit && hit[-1] == '/')
			return mem_strndup(r->files[i].path,
					   (size_t)(hit - r->files[i].path) + strlen(suffix));
	}
	return NULL;
}

static const json_t *role_part(struct reader *r, const char *folder, const char *part)
{
	AUTO(str) char *yml = mem_printf("%s%s/main.yml", folder, part);
	AUTO(str) char *yaml = mem_printf("%s%s/main.yaml", folder, part);
	AUTO(str) char *bare = mem_printf("%s%s/main", folder, part);

	return first_document(r, (const char *const[]){ yml, yaml, bare, NULL });
}

/* ---- tags and names ---- */

static void add_tags(json_t *into, const json_t *tags)
{
	const json_t *one;
	size_t i;

	if (json_is_string(tags)) {
		AUTO(str) char *copy = mem_strdup(json_string_value(tags));
		char *save = NULL;

		for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
			while (*t == ' ')
				t++;
			json_object_set_new(into, t, json_true());
		}
	}
	json_array_foreach(tags, i, one) if (json_is_string(one)) add_tags(into, one);
}

static json_t *with_tags(const json_t *outer, const json_t *tags)
{
	json_t *all = json_copy((json_t *)outer);

	add_tags(all, tags);
	return all;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *sorted_keys(const json_t *set)
{
	size_t n = json_object_size(set), i = 0;
	const char **names = mem_array(n + 1, sizeof(*names));
	const char *name;
	json_t *list = json_array(), *v;

	json_object_foreach((json_t *)set, name, v) names[i++] = name;
	qsort(names, n, sizeof(*names), by_name);
	for (i = 0; i < n; i++)
		json_array_append_new(list, json_string(names[i]));
	free(names);
	return list;
}

/* What a task may say beside its action. */
static bool is_keyword(const char *key)
{
	static const char *const words[] = { "name",
					     "action",
					     "local_action",
					     "any_errors_fatal",
					     "args",
					     "async",
					     "become",
					     "become_exe",
					     "become_flags",
					     "become_method",
					     "become_user",
					     "changed_when",
					     "check_mode",
					     "collections",
					     "connection",
					     "debugger",
					     "delay",
					     "delegate_facts",
					     "delegate_to",
					     "diff",
					     "environment",
					     "failed_when",
					     "ignore_errors",
					     "ignore_unreachable",
					     "listen",
					     "loop",
					     "loop_control",
					     "module_defaults",
					     "no_log",
					     "notify",
					     "poll",
					     "port",
					     "register",
					     "remote_user",
					     "retries",
					     "run_once",
					     "sudo",
					     "sudo_user",
					     "tags",
					     "throttle",
					     "timeout",
					     "until",
					     "vars",
					     "when",
					     "rescue",
					     "always",
					     NULL };

	for (size_t i = 0; words[i]; i++)
		if (strcmp(words[i], key) == 0)
			return true;
	return str_starts(key, "with_");
}

/* ansible.builtin.include_role -> include_role */
static const char *short_name(const char *action)
{
	return str_starts(action, "ansible.builtin.")  ? action + 16
	       : str_starts(action, "ansible.legacy.") ? action + 15
						       : action;
}

static const char *action_of(const json_t *task, const json_t **ret_args)
{
	const char *key;
	const json_t *v;

	*ret_args = NULL;
	json_object_foreach((json_t *)task, key, v)
	{
		if (is_keyword(key))
			continue;
		*ret_args = v;
		return key;
	}
	v = json_object_get(task, "action");
	if (!v)
		v = json_object_get(task, "local_action");
	return json_is_string(v) ? json_string_value(v) : json_str(v, "module");
}

static bool in_loop(const json_t *task)
{
	const char *key;
	json_t *v;

	if (json_object_get(task, "loop"))
		return true;
	json_object_foreach((json_t *)task, key, v) if (str_starts(key, "with_")) return true;
	return false;
}

/* ---- tasks ---- */

static enum oc_err read_tasks(struct reader *r, struct play *p, const json_t *list, const char *role,
			      const char *folder, const json_t *tags, unsigned depth);
static enum oc_err read_role(struct reader *r, struct play *p, const char *role, const char *from,
			     const json_t *tags, bool again, unsigned depth);

static enum oc_err add_task(struct reader *r, struct play *p, const json_t *task, const char *action,
			    const char *role, const json_t *tags)
{
	AUTO(json) json_t *all = with_tags(tags, json_object_get(task, "tags"));
	const char *name = json_str(task, "name");

	if (r->tasks++ >= TASKS_MAX)
		return oc_fail(r->reterr, OC_TOO_LARGE, "more than %d tasks", TASKS_MAX);
	/* a task without a name is called by what it does, and then its role is not named */
	json_array_append_new(p->tasks, json_pack("{s:s?,s:s,s:o}", "role", str_empty(name) ? NULL : role,
						  "name", str_empty(name) ? (action ? action : "?") : name,
						  "tags", sorted_keys(all)));
	return OC_OK;
}

/* "tasks.yml tag=x" or {"file": ..}; yours */
static char *file_argument(const json_t *args)
{
	const char *s = json_is_string(args) ? json_string_value(args) : json_str(args, "file");

	if (!s)
		s = json_str(args, "_raw_params");
	return s ? mem_strndup(s, strcspn(s, " \t")) : NULL;
}

static enum oc_err follow_tasks(struct reader *r, struct play *p, const json_t *task, const json_t *args,
				const char *action, const char *role, const char *folder, const json_t *tags,
				unsigned depth)
{
	AUTO(json) json_t *all = with_tags(tags, json_object_get(task, "tags"));
	AUTO(str) char *file = file_argument(args);
	AUTO(str) char *joined = file ? mem_printf("%s%s", folder, file) : NULL;
	AUTO(str) char *path = joined ? tidy(joined) : NULL;
	AUTO(str) char *in_role = NULL;
	const json_t *doc = path ? document(r, path) : NULL;
	const char *tasks_at = role ? strstr(folder, "/tasks/") : NULL;

	if (!doc && file && tasks_at) {
		AUTO(str) char *top = mem_printf("%.*s/tasks/%s", (int)(tasks_at - folder), folder, file);

		in_role = tidy(top);
		doc = in_role ? document(r, in_role) : NULL;
	}
	if (!doc) {
		AUTO(str)
		char *text = mem_printf("%s%s: '%s' is not there", role ? role : "", role ? " " : "",
					file ? file : "?");

		note(r, text);
		return add_task(r, p, task, action, role, tags);
	}
	{
		AUTO(str) char *next = folder_of(in_role ? in_role : path);

		return read_tasks(r, p, doc, role, next, all, depth + 1);
	}
}

static enum oc_err read_task(struct reader *r, struct play *p, const json_t *task, const char *role,
			     const char *folder, const json_t *tags, unsigned depth)
{
	const json_t *block = json_object_get(task, "block"), *args;
	const char *action, *what;

	if (json_is_array(block)) {
		AUTO(json) json_t *all = with_tags(tags, json_object_get(task, "tags"));

		return read_tasks(r, p, block, role, folder, all, depth + 1);
	}
	action = action_of(task, &args);
	what = action ? short_name(action) : "";
	if (str_eq(what, "meta"))
		return OC_OK;
	if (str_eq(what, "import_tasks"))
		return follow_tasks(r, p, task, args, action, role, folder, tags, depth);
	if (str_eq(what, "include")) {
		AUTO(str) char *file = file_argument(args);

		/* known beforehand when neither a loop nor a template stands in the way */
		if (file && !strstr(file, "{{") && !in_loop(task))
			return follow_tasks(r, p, task, args, action, role, folder, tags, depth);
	}
	if (str_eq(what, "import_role") && json_str(args, "name")) {
		AUTO(json) json_t *all = with_tags(tags, json_object_get(task, "tags"));

		return read_role(r, p, json_str(args, "name"), json_str(args, "tasks_from"), all, true,
				 depth + 1);
	}
	/* a role that is only known when it runs is a role all the same */
	if (str_eq(what, "include_role") && json_str(args, "name") && !strstr(json_str(args, "name"), "{{"))
		json_object_set_new(p->roles, json_str(args, "name"), json_true());
	return add_task(r, p, task, action, role, tags);
}

static enum oc_err read_tasks(struct reader *r, struct play *p, const json_t *list, const char *role,
			      const char *folder, const json_t *tags, unsigned depth)
{
	const json_t *task;
	size_t i;

	if (depth > DEPTH_MAX)
		return oc_fail(r->reterr, OC_INVALID,
			       "tasks nested deeper than %d; do they import themselves?", DEPTH_MAX);
	json_array_foreach(list, i, task)
	{
		enum oc_err err = json_is_object(task) ? read_task(r, p, task, role, folder, tags, depth)
						       : OC_OK;

		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

/* ---- roles ---- */

static const char *role_name(const json_t *v)
{
	const char *name = json_is_string(v) ? json_string_value(v) : json_str(v, "role");

	return name ? name : json_str(v, "name");
}

static enum oc_err read_role(struct reader *r, struct play *p, const char *role, const char *from,
			     const json_t *tags, bool again, unsigned depth)
{
	AUTO(str) char *folder = NULL;
	AUTO(str) char *tasks = NULL;
	AUTO(str) char *from_path = NULL;
	const json_t *meta, *dep, *doc;
	size_t i;

	if (depth > DEPTH_MAX)
		return oc_fail(r->reterr, OC_INVALID, "the role '%.60s' depends on itself", role);
	if (strlen(role) > 255 || strstr(role, "{{"))
		return OC_OK;
	/* the same role of the same play runs once, unless it is imported */
	if (!again && json_object_get(p->seen_roles, role))
		return OC_OK;
	json_object_set_new(p->seen_roles, role, json_true());
	json_object_set_new(p->roles, role, json_true());
	folder = role_folder(r, p->dir, role);
	if (!folder) {
		AUTO(str) char *text = mem_printf("the role '%.200s' is not there", role);

		note(r, text);
		return OC_OK;
	}
	meta = role_part(r, folder, "meta");
	json_array_foreach(json_object_get(meta, "dependencies"), i, dep)
	{
		AUTO(json) json_t *all = with_tags(tags, json_object_get(dep, "tags"));
		enum oc_err err = OC_OK;

		if (role_name(dep))
			err = read_role(r, p, role_name(dep), NULL, all, false, depth + 1);
		if (err != OC_OK)
			return err;
	}
	tasks = mem_printf("%stasks/", folder);
	if (from) {
		from_path = mem_printf("%s%s%s", tasks, from, strstr(from, ".y") ? "" : ".yml");
		doc = document(r, from_path);
	} else {
		doc = role_part(r, folder, "tasks");
	}
	return doc ? read_tasks(r, p, doc, role, tasks, tags, depth + 1) : OC_OK;
}

json_t *playbook_role_needs(const struct topo_file *files, size_t count, const char *role)
{
	json_t *list = json_array();
	struct reader r = { .files = files, .count = count };
	AUTO(str) char *folder = role_folder(&r, "", role);
	const json_t *dep;
	size_t i;

	if (!folder)
		return list;
	r.index = json_object();
	r.docs = json_object();
	r.notes = json_array();
	for (i = 0; i < count; i++)
		json_object_set_new(r.index, files[i].path, json_integer((json_int_t)i));
	json_array_foreach(json_object_get(role_part(&r, folder, "meta"), "dependencies"), i, dep)
	{
		if (role_name(dep))
			json_array_append_new(list, json_string(role_name(dep)));
	}
	json_decref(r.index);
	json_decref(r.docs);
	json_decref(r.notes);
	return list;
}

/* ---- plays ---- */

static json_t *patterns(const json_t *hosts)
{
	json_t *list = json_array();
	const json_t *one;
	size_t i;

	if (json_is_string(hosts))
		json_array_append(list, (json_t *)hosts);
	json_array_foreach(hosts, i, one) if (json_is_string(one)) json_array_append(list, (json_t *)one);
	return list;
}

static json_t *hosts_of(const struct inventory *inv, const json_t *list)
{
	AUTO(text) struct text all = { 0 };
	const json_t *one;
	json_t *hosts;
	size_t i;

	json_array_foreach(list, i, one) text_addf(&all, "%s%s", i ? "," : "", json_string_value(one));
	hosts = inventory_match(inv, text_str(&all));
	/* the machine that runs Ansible is there without being listed */
	if (json_array_size(hosts) == 0 &&
	    (str_eq(text_str(&all), "localhost") || str_eq(text_str(&all), "127.0.0.1")))
		json_array_append_new(hosts, json_string(text_str(&all)));
	return hosts;
}

static enum oc_err read_play(struct reader *r, const char *path, const char *dir, const json_t *play)
{
	AUTO(json) json_t *tags = json_object();
	AUTO(json) json_t *roles = json_object();
	AUTO(json) json_t *tasks = json_array();
	AUTO(json) json_t *seen = json_object();
	AUTO(json) json_t *pattern = patterns(json_object_get(play, "hosts"));
	struct play p = { .roles = roles, .tasks = tasks, .seen_roles = seen, .dir = dir };
	const json_t *role;
	size_t i;
	enum oc_err err;

	if (json_array_size(r->plays) >= PLAYS_MAX)
		return oc_fail(r->reterr, OC_TOO_LARGE, "more than %d plays", PLAYS_MAX);
	add_tags(tags, json_object_get(play, "tags"));
	err = read_tasks(r, &p, json_object_get(play, "pre_tasks"), NULL, dir, tags, 0);
	json_array_foreach(json_object_get(play, "roles"), i, role)
	{
		AUTO(json) json_t *all = with_tags(tags, json_object_get(role, "tags"));

		if (err == OC_OK && role_name(role))
			err = read_role(r, &p, role_name(role), NULL, all, false, 0);
	}
	if (err == OC_OK)
		err = read_tasks(r, &p, json_object_get(play, "tasks"), NULL, dir, tags, 0);
	if (err == OC_OK)
		err = read_tasks(r, &p, json_object_get(play, "post_tasks"), NULL, dir, tags, 0);
	if (err != OC_OK)
		return err;
	{
		AUTO(text) struct text all = { 0 };
		json_t *one;

		json_array_foreach(pattern, i, one)
			text_addf(&all, "%s%s", i ? "," : "", json_string_value(one));
		json_array_append_new(r->plays,
				      json_pack("{s:s,s:s,s:O,s:o,s:o,s:O}", "playbook", path, "name",
						json_str_or(play, "name", text_str(&all)), "pattern", pattern,
						"hosts", hosts_of(r->inv, pattern), "roles",
						sorted_keys(roles), "tasks", tasks));
	}
	return OC_OK;
}

/* A list whose entries have hosts, or import others that do. */
static bool is_playbook(const json_t *doc)
{
	const json_t *one;
	size_t i;
	bool any = false;

	json_array_foreach(doc, i, one)
	{
		if (json_object_get(one, "hosts") || json_object_get(one, "import_playbook") ||
		    json_object_get(one, "ansible.builtin.import_playbook"))
			any = true;
	}
	return any;
}

static enum oc_err read_playbook(struct reader *r, const char *first, const char *path, unsigned depth)
{
	AUTO(str) char *dir = folder_of(path);
	const json_t *doc = document(r, path), *one;
	size_t i;

	if (depth > DEPTH_MAX)
		return oc_fail(r->reterr, OC_INVALID, "'%.200s' imports itself", path);
	if (!is_playbook(doc))
		return OC_OK;
	json_array_foreach(doc, i, one)
	{
		const json_t *import = json_object_get(one, "import_playbook");
		enum oc_err err = OC_OK;

		if (!import)
			import = json_object_get(one, "ansible.builtin.import_playbook");
		if (!import && !json_object_get(one, "hosts"))
			import = json_object_get(one, "include");
		if (json_is_string(import)) {
			AUTO(str) char *joined = mem_printf("%s%s", dir, json_string_value(import));
			AUTO(str) char *next = tidy(joined);

			if (next && json_object_get(r->index, next))
				err = read_playbook(r, first, next, depth + 1);
			else
				note(r, joined);
		} else if (json_object_get(one, "hosts")) {
			err = read_play(r, first, dir, one);
		}
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static bool may_be_playbook(const char *path)
{
	static const char *const never[] = { "roles/",    "group_vars/", "host_vars/",   "tasks/",
					     "handlers/", "templates/",  "files/",       "vars/",
					     "meta/",     "defaults/",   "collections/", "molecule/",
					     NULL };
	size_t n = strlen(path);

	for (size_t i = 0; never[i]; i++) {
		const char *hit = strstr(path, never[i]);

		if (hit && (hit == path || hit[-1] == '/'))
			return false;
	}
	return (n > 4 && strcmp(path + n - 4, ".yml") == 0) || (n > 5 && strcmp(path + n - 5, ".yaml") == 0);
}

enum oc_err playbook_read(const struct topo_file *files, size_t count, const struct inventory *inv,
			  json_t *notes, json_t **ret, struct oc_fail *reterr)
{
	AUTO(json) json_t *plays = json_array();
	AUTO(json) json_t *index = json_object();
	AUTO(json) json_t *docs = json_object();
	struct reader r = { .files = files,
			    .count = count,
			    .inv = inv,
			    .notes = notes,
			    .plays = plays,
			    .index = index,
			    .docs = docs,
			    .reterr = reterr };

	for (size_t i = 0; i < count; i++)
		json_object_set_new(index, files[i].path, json_integer((json_int_t)i));
	for (size_t i = 0; i < count; i++) {
		enum oc_err err = OC_OK;

		if (may_be_playbook(files[i].path) && !inventory_path(files[i].path))
			err = read_playbook(&r, files[i].path, files[i].path, 0);
		if (err != OC_OK)
			return err;
	}
	*ret = TAKE(plays);
	return OC_OK;
}
