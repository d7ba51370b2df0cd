#include "ingest/topology/inventory.h"
#include <fnmatch.h>
#include <regex.h>
#include <stdio.h>
#include "base/mem.h"
#include "ingest/topology/inventory_impl.h"
#include "wire/yaml/yaml.h"

#define NAME_MAX_LEN 255
#define REGEX_MAX    200

/* ---- building ---- */

enum oc_err inventory_group_add(struct inventory *inv, const char *name, size_t *ret)
{
	const json_t *known = json_object_get(inv->group_index, name);

	if (known) {
		*ret = (size_t)json_integer_value(known);
		return OC_OK;
	}
	if (str_empty(name) || strlen(name) > NAME_MAX_LEN)
		return oc_fail(inv->reterr, OC_INVALID, "a group's name has 1 to %d bytes", NAME_MAX_LEN);
	if (inv->group_count >= INVENTORY_GROUPS_MAX)
		return oc_fail(inv->reterr, OC_TOO_LARGE, "more than %d groups", INVENTORY_GROUPS_MAX);
	if ((inv->group_count & (inv->group_count - 1)) == 0)
		inv->group = mem_grow(inv->group, inv->group_count ? inv->group_count * 2 : 1,
				      sizeof(*inv->group));
	inv->group[inv->group_count] = (struct group){ .name = mem_strdup(name),
						       .hosts = json_object(),
						       .children = json_object(),
						       .parents = json_object(),
						       .vars = json_object(),
						       .more = json_object() };
	json_object_set_new(inv->group_index, name, json_integer((json_int_t)inv->group_count));
	*ret = inv->group_count++;
	return OC_OK;
}

enum oc_err inventory_host_add(struct inventory *inv, const char *name, size_t group)
{
	if (str_empty(name) || strlen(name) > NAME_MAX_LEN)
		return oc_fail(inv->reterr, OC_INVALID, "a host's name has 1 to %d bytes", NAME_MAX_LEN);
	if (!json_object_get(inv->hosts, name)) {
		if (json_object_size(inv->hosts) >= INVENTORY_HOSTS_MAX)
			return oc_fail(inv->reterr, OC_TOO_LARGE, "more than %d hosts", INVENTORY_HOSTS_MAX);
		json_object_set_new(inv->hosts, name, json_object());
	}
	json_object_set_new(inv->group[group].hosts, name, json_true());
	return OC_OK;
}

enum oc_err inventory_child_add(struct inventory *inv, size_t parent, const char *child)
{
	size_t index;
	enum oc_err err = inventory_group_add(inv, child, &index);

	if (err != OC_OK)
		return err;
	json_object_set_new(inv->group[parent].children, child, json_true());
	json_object_set_new(inv->group[index].parents, inv->group[parent].name, json_true());
	return OC_OK;
}

static struct group *group_of(const struct inventory *inv, const char *name)
{
	const json_t *index = json_object_get(inv->group_index, name);

	return index ? &inv->group[json_integer_value(index)] : NULL;
}

/* Groups that nobody holds are below `all`; hosts that no group holds are in `ungrouped`. */
static enum oc_err settle(struct inventory *inv)
{
	AUTO(json) json_t *grouped = json_object();
	size_t all, ungrouped;
	const char *name;
	json_t *v;
	enum oc_err err = inventory_group_add(inv, "all", &all);

	if (err == OC_OK)
		err = inventory_group_add(inv, "ungrouped", &ungrouped);
	if (err == OC_OK)
		err = inventory_child_add(inv, all, "ungrouped");
	for (size_t i = 0; i < inv->group_count && err == OC_OK; i++) {
		struct group *g = &inv->group[i];

		if (i == all || i == ungrouped)
			continue;
		json_object_update(grouped, g->hosts);
		if (json_object_size(g->parents) == 0)
			err = inventory_child_add(inv, all, g->name);
	}
	if (err != OC_OK)
		return err;
	json_object_clear(inv->group[ungrouped].hosts);
	json_object_foreach(inv->hosts, name, v)
	{
		if (!json_object_get(grouped, name))
			json_object_set_new(inv->group[ungrouped].hosts, name, json_true());
	}
	return OC_OK;
}

/* How far below `all`: the longest way. A ring ends when nothing can be that deep. */
static enum oc_err depths(struct inventory *inv)
{
	bool moved = true;

	for (size_t round = 0; moved; round++) {
		moved = false;
		if (round > inv->group_count + 1)
			return oc_fail(inv->reterr, OC_INVALID, "a group is below itself");
		for (size_t i = 0; i < inv->group_count; i++) {
			const char *child;
			json_t *v;

			json_object_foreach(inv->group[i].children, child, v)
			{
				struct group *c = group_of(inv, child);

				if (c->depth < inv->group[i].depth + 1) {
					c->depth = inv->group[i].depth + 1;
					moved = true;
				}
			}
		}
	}
	return OC_OK;
}

/* ---- group_vars and host_vars ---- */

/* "prod/group_vars/web.yml" -> "web", "group_vars/web/a.yml" -> "web"; NULL where it is none */
static char *vars_owner(const char *path, const char *folder)
{
	const char *at = path, *hit = NULL;
	size_t n = strlen(folder), len;

	while ((at = strstr(at, folder))) {
		if ((at == path || at[-1] == '/') && at[n] == '/')
			hit = at + n + 1;
		at += n;
	}
	if (!hit || !*hit)
		return NULL;
	len = strcspn(hit, "/");
	if (hit[len] == '/')
		return mem_strndup(hit, len);
	for (size_t i = 0; i < 3; i++) {
		static const char *const ext[] = { ".yml", ".yaml", ".json" };
		size_t e = strlen(ext[i]);

		if (len > e && strcmp(hit + len - e, ext[i]) == 0)
			return mem_strndup(hit, len - e);
	}
	return mem_strndup(hit, len);
}

static bool hidden(const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	return *base == '.' || (*base && base[strlen(base) - 1] == '~');
}

static void read_vars(struct inventory *inv, const struct topo_file *f, json_t *into)
{
	AUTO(json) json_t *doc = NULL;
	struct oc_fail why = { 0 };

	/* whole files may be encrypted; the installation is readable without them */
	if (f->len > 14 && strncmp(f->text, "$ANSIBLE_VAULT", 14) == 0) {
		json_array_append_new(inv->notes,
				      json_sprintf("%.200s is encrypted and was passed over", f->path));
		return;
	}
	if (yaml_read_loose(f->path, f->text, f->len, &doc, &why) != OC_OK) {
		if (json_array_size(inv->notes) < 50)
			json_array_append_new(inv->notes, json_sprintf("%.200s", why.text));
		return;
	}
	if (json_is_object(doc))
		json_object_update(into, doc);
}

static int by_path(const void *a, const void *b)
{
	return strcmp((*(const struct topo_file *const *)a)->path,
		      (*(const struct topo_file *const *)b)->path);
}

static void read_var_files(struct inventory *inv, const struct topo_file *const *sorted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		AUTO(str) char *group = vars_owner(sorted[i]->path, "group_vars");
		AUTO(str) char *host = group ? NULL : vars_owner(sorted[i]->path, "host_vars");
		struct group *g = group ? group_of(inv, group) : NULL;

		if (hidden(sorted[i]->path))
			continue;
		if (g)
			read_vars(inv, sorted[i], g->more);
		if (host && json_object_get(inv->hosts, host)) {
			json_t *more = json_object_get(inv->host_more, host);

			if (!more) {
				more = json_object();
				json_object_set_new(inv->host_more, host, more);
			}
			read_vars(inv, sorted[i], more);
		}
	}
}

/* ---- merging ---- */

static int by_weight(const void *a, const void *b)
{
	const struct group *x = *(const struct group *const *)a, *y = *(const struct group *const *)b;
	long long px = json_int_or(x->vars, "ansible_group_priority", 1);
	long long py = json_int_or(y->vars, "ansible_group_priority", 1);

	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	if (px != py)
		return px < py ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void add_ancestors(const struct inventory *inv, const struct group *g, json_t *into)
{
	const char *name;
	json_t *v;

	json_object_foreach(g->parents, name, v)
	{
		if (json_object_get(into, name))
			continue;
		json_object_set_new(into, name, json_true());
		add_ancestors(inv, group_of(inv, name), into);
	}
}

static void merge_host(struct inventory *inv, const char *host, const struct group **order)
{
	AUTO(json) json_t *mine = json_object();
	json_t *vars = json_object();
	size_t n = 0;
	const char *name;
	json_t *v;

	for (size_t i = 0; i < inv->group_count; i++) {
		if (!json_object_get(inv->group[i].hosts, host))
			continue;
		json_object_set_new(mine, inv->group[i].name, json_true());
		add_ancestors(inv, &inv->group[i], mine);
	}
	json_object_foreach(mine, name, v) if (!str_eq(name, "all")) order[n++] = group_of(inv, name);
	if (n)
		qsort(order, n, sizeof(*order), by_weight);
	json_object_update(vars, group_of(inv, "all")->vars);
	json_object_update(vars, group_of(inv, "all")->more);
	for (size_t i = 0; i < n; i++)
		json_object_update(vars, order[i]->vars);
	for (size_t i = 0; i < n; i++)
		json_object_update(vars, order[i]->more);
	json_object_update(vars, json_object_get(inv->hosts, host));
	v = json_object_get(inv->host_more, host);
	if (v)
		json_object_update(vars, v);
	json_object_del(vars, "ansible_group_priority");
	json_object_set_new(inv->merged, host, vars);
}

static void merge_all(struct inventory *inv)
{
	const struct group **order = mem_array(inv->group_count + 1, sizeof(*order));
	const char *host;
	json_t *v;

	json_object_foreach(inv->hosts, host, v) merge_host(inv, host, order);
	free(order);
}

/* ---- which files ---- */

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), m = strlen(with);

	return n >= m && strcmp(s + n - m, with) == 0;
}

bool inventory_path(const char *path)
{
	static const char *const never[] = { ".md", ".txt", ".rst",   ".py",      ".sh",
					     ".j2", ".cfg", ".retry", ".orig",    ".bak",
					     "~",   ".pyc", ".swp",   ".json.j2", NULL };
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	const char *dir_end = base > path ? base - 1 : NULL;

	if (strstr(path, "group_vars/") || strstr(path, "host_vars/") || strstr(path, "roles/") ||
	    *base == '.' || strstr(path, "templates/") || strstr(path, "files/") || strstr(path, "tasks/") ||
	    strstr(path, "collections/"))
		return false;
	for (size_t i = 0; never[i]; i++)
		if (ends(base, never[i]))
			return false;
	if (str_starts(base, "hosts") || str_starts(base, "inventory") || ends(base, ".inventory") ||
	    (ends(base, ".ini") && !str_eq(base, "ansible.ini")))
		return true;
	/* every file of a folder that is called so */
	return dir_end && (strstr(path, "inventory/") == path || strstr(path, "inventories/") == path ||
			   strstr(path, "/inventory/") || strstr(path, "/inventories/"));
}

static enum oc_err read_sources(struct inventory *inv, const struct topo_file *const *sorted, size_t count,
				const char *only, struct oc_fail *reterr)
{
	size_t n = only ? strlen(only) : 0, taken = 0;

	inv->reterr = reterr;
	for (size_t i = 0; i < count; i++) {
		const struct topo_file *f = sorted[i];
		enum oc_err err;

		if (only ? !(strncmp(f->path, only, n) == 0 && (!f->path[n] || f->path[n] == '/'))
			 : !inventory_path(f->path))
			continue;
		if (only && (strstr(f->path + n, "group_vars/") || strstr(f->path + n, "host_vars/")))
			continue;
		taken++;
		err = ends(f->path, ".yml") || ends(f->path, ".yaml") || ends(f->path, ".json")
			      ? inventory_read_yaml(inv, f)
			      : inventory_read_ini(inv, f);
		if (err != OC_OK) {
			AUTO(str) char *text = reterr ? mem_strdup(reterr->text) : NULL;

			if (text && !strstr(text, f->path))
				oc_fail_field(reterr, err, f->path, "%s: %s", f->path, text);
			return err;
		}
	}
	if (only && !taken)
		return oc_fail_field(reterr, OC_NOT_FOUND, "inventory", "there is no file '%.200s'", only);
	return OC_OK;
}

static enum oc_err read_all(struct inventory *inv, const struct topo_file *const *sorted, size_t count,
			    const char *only, struct oc_fail *reterr)
{
	enum oc_err err = read_sources(inv, sorted, count, only, reterr);

	if (err == OC_OK)
		err = settle(inv);
	if (err == OC_OK)
		err = depths(inv);
	if (err != OC_OK)
		return err;
	read_var_files(inv, sorted, count);
	merge_all(inv);
	inv->reterr = NULL;
	return OC_OK;
}

enum oc_err inventory_read(const struct topo_file *files, size_t count, const char *only,
			   struct inventory **ret, struct oc_fail *reterr)
{
	AUTO(inventory) struct inventory *inv = mem_alloc(sizeof(*inv));
	const struct topo_file **sorted = mem_array(count + 1, sizeof(*sorted));
	enum oc_err err;

	inv->hosts = json_object();
	inv->host_more = json_object();
	inv->group_index = json_object();
	inv->merged = json_object();
	inv->notes = json_array();
	for (size_t i = 0; i < count; i++)
		sorted[i] = &files[i];
	if (count)
		qsort(sorted, count, sizeof(*sorted), by_path);
	err = read_all(inv, sorted, count, only, reterr);
	free(sorted);
	if (err == OC_OK)
		*ret = TAKE(inv);
	return err;
}

void inventory_free(struct inventory *inv)
{
	if (!inv)
		return;
	for (size_t i = 0; i < inv->group_count; i++) {
		free(inv->group[i].name);
		json_decref(inv->group[i].hosts);
		json_decref(inv->group[i].children);
		json_decref(inv->group[i].parents);
		json_decref(inv->group[i].vars);
		json_decref(inv->group[i].more);
	}
	free(inv->group);
	json_decref(inv->hosts);
	json_decref(inv->host_more);
	json_decref(inv->group_index);
	json_decref(inv->merged);
	json_decref(inv->notes);
	free(inv);
}

/* ---- asking ---- */

size_t inventory_host_count(const struct inventory *inv)
{
	return json_object_size(inv->hosts);
}

const json_t *inventory_vars(const struct inventory *inv, const char *host)
{
	return json_object_get(inv->merged, host);
}

const json_t *inventory_notes(const struct inventory *inv)
{
	return inv->notes;
}

static void hosts_below(const struct inventory *inv, const struct group *g, json_t *seen, json_t *into)
{
	const char *name;
	json_t *v;

	if (json_object_get(seen, g->name))
		return;
	json_object_set_new(seen, g->name, json_true());
	json_object_update(into, g->hosts);
	json_object_foreach(g->children, name, v) hosts_below(inv, group_of(inv, name), seen, into);
}

static json_t *in_order(const struct inventory *inv, const json_t *set)
{
	json_t *list = json_array(), *v;
	const char *name;

	json_object_foreach(inv->hosts, name, v)
	{
		if (json_object_get(set, name))
			json_array_append_new(list, json_string(name));
	}
	return list;
}

json_t *inventory_group_hosts(const struct inventory *inv, const char *group)
{
	AUTO(json) json_t *seen = json_object();
	AUTO(json) json_t *set = json_object();
	const struct group *g = group_of(inv, group);

	if (str_eq(group, "all"))
		return in_order(inv, inv->hosts);
	if (g)
		hosts_below(inv, g, seen, set);
	return in_order(inv, set);
}

/* One word of a pattern. */
static void match_word(const struct inventory *inv, const char *word, json_t *into)
{
	const char *name;
	json_t *v;
	regex_t re;

	if (*word == '~') {
		if (strlen(word) > REGEX_MAX || regcomp(&re, word + 1, REG_EXTENDED | REG_NOSUB) != 0)
			return;
		json_object_foreach(inv->hosts, name, v)
		{
			regmatch_t m[1];

			if (regexec(&re, name, 0, m, 0) == 0)
				json_object_set_new(into, name, json_true());
		}
		regfree(&re);
		return;
	}
	if (str_eq(word, "all") || str_eq(word, "*")) {
		json_object_foreach(inv->hosts, name, v) json_object_set_new(into, name, json_true());
		return;
	}
	for (size_t i = 0; i < inv->group_count; i++) {
		if (fnmatch(word, inv->group[i].name, 0) == 0) {
			AUTO(json) json_t *hosts = inventory_group_hosts(inv, inv->group[i].name);
			size_t k;

			json_array_foreach(hosts, k, v)
				json_object_set_new(into, json_string_value(v), json_true());
		}
	}
	json_object_foreach(inv->hosts, name, v)
	{
		if (fnmatch(word, name, 0) == 0)
			json_object_set_new(into, name, json_true());
	}
}

/* web[0], web[-1], web[0:2]: of those that the word means */
static void subscript(const struct inventory *inv, char *word, json_t *into)
{
	char *open = strrchr(word, '['), *end;
	long from, to;
	size_t n = strlen(word);

	if (!open || word[n - 1] != ']' || *word == '~' ||
	    strspn(open + 1, "0123456789:-") != n - 2 - (size_t)(open - word)) {
		match_word(inv, word, into);
		return;
	}
	word[n - 1] = '\0';
	*open = '\0';
	from = strtol(open + 1, &end, 10);
	to = *end == ':' ? (end[1] ? strtol(end + 1, NULL, 10) : -1) : from;
	{
		AUTO(json) json_t *set = json_object();
		AUTO(json) json_t *list = NULL;
		long count;

		match_word(inv, word, set);
		list = in_order(inv, set);
		count = (long)json_array_size(list);
		from = from < 0 ? from + count : from;
		to = to < 0 ? to + count : to;
		for (long i = from < 0 ? 0 : from; i <= to && i < count; i++)
			json_object_set_new(into, json_string_value(json_array_get(list, (size_t)i)),
					    json_true());
	}
}

json_t *inventory_match(const struct inventory *inv, const char *pattern)
{
	AUTO(json) json_t *set = json_object();
	const char *sep = strchr(pattern, ',') ? "," : ":";

	/* unions first, then what is left, then what is taken away, in whatever order they are written */
	for (int pass = 0; pass < 3; pass++) {
		AUTO(str) char *copy = mem_strdup(pattern);
		char *save = NULL;

		if (*sep == ':') /* a colon inside of [0:2] separates nothing */
			for (char *p = copy, in = 0; *p; p++) {
				in = *p == '[' ? 1 : *p == ']' ? 0 : in;
				if (in && *p == ':')
					*p = '\1';
			}
		for (char *w = strtok_r(copy, sep, &save); w; w = strtok_r(NULL, sep, &save)) {
			AUTO(json) json_t *one = json_object();
			const char *name;
			json_t *v;
			void *tmp;

			while (*w == ' ')
				w++;
			for (size_t n = strlen(w); n && w[n - 1] == ' '; n--)
				w[n - 1] = '\0';
			for (char *p = w; *p; p++)
				if (*p == '\1')
					*p = ':';
			if (!*w || pass != (*w == '&' ? 1 : *w == '!' ? 2 : 0))
				continue;
			subscript(inv, w + (pass > 0), one);
			if (pass == 0)
				json_object_update(set, one);
			else
				json_object_foreach_safe(set, tmp, name, v)
				{
					if ((json_object_get(one, name) != NULL) == (pass == 2))
						json_object_del(set, name);
				}
		}
	}
	return in_order(inv, set);
}

static json_t *keys(const json_t *set)
{
	json_t *list = json_array(), *v;
	const char *name;

	json_object_foreach((json_t *)set, name, v) json_array_append_new(list, json_string(name));
	return list;
}

json_t *inventory_json(const struct inventory *inv)
{
	json_t *doc = json_object(), *vars = json_object(), *v;
	const char *host;

	json_object_foreach(inv->merged, host, v) if (json_object_size(v)) json_object_set(vars, host, v);
	json_object_set_new(doc, "_meta", json_pack("{s:o}", "hostvars", vars));
	for (size_t i = 0; i < inv->group_count; i++) {
		const struct group *g = &inv->group[i];
		json_t *one = json_object();

		if (json_object_size(g->hosts) && !str_eq(g->name, "all"))
			json_object_set_new(one, "hosts", keys(g->hosts));
		if (json_object_size(g->children))
			json_object_set_new(one, "children", keys(g->children));
		if (json_object_size(one))
			json_object_set_new(doc, g->name, one);
		else
			json_decref(one);
	}
	return doc;
}
