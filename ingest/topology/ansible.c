#include "ingest/topology/ansible.h"
#include <ctype.h>
#include "base/mem.h"
#include "ingest/topology/playbook.h"

#define DEPTH_MAX 16
#define WORD_MAX  255
/* A text is looked through for names up to here: templates are small, what is larger is data. */
#define SCAN_MAX  ((size_t)256 << 10)

struct reader {
	struct topo *t;
	const struct topo_file *files;
	size_t count;
	struct inventory *inv;
	json_t *host;  /* name -> index */
	json_t *role;  /* name -> index */
	json_t *alias; /* ansible_host address -> host's name */
	struct oc_fail *reterr;
};

bool ansible_knows(const struct topo_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		AUTO(str) char *role = playbook_role_of(files[i].path);

		if (role || inventory_path(files[i].path) || strstr(files[i].path, "group_vars/"))
			return true;
	}
	return false;
}

static enum oc_err add_host(struct reader *r, const char *name, size_t *ret)
{
	const json_t *known = json_object_get(r->host, name), *vars = inventory_vars(r->inv, name);
	const char *address;
	enum oc_err err;

	if (known) {
		*ret = (size_t)json_integer_value(known);
		return OC_OK;
	}
	err = topo_add(r->t, "host", name, name, ret, r->reterr);
	if (err != OC_OK)
		return err;
	json_object_set_new(r->host, name, json_integer((json_int_t)*ret));
	topo_label(&r->t->resource[*ret], "stack", r->t->stack);
	address = json_str(vars, "ansible_host");
	topo_label(&r->t->resource[*ret], "ansible_host", address);
	if (!str_empty(address) && !strstr(address, "{{"))
		json_object_set_new(r->alias, address, json_string(name));
	return OC_OK;
}

static enum oc_err add_role(struct reader *r, const char *name, size_t *ret)
{
	const json_t *known = json_object_get(r->role, name);
	AUTO(str) char *full = NULL;
	enum oc_err err;

	if (known) {
		*ret = (size_t)json_integer_value(known);
		return OC_OK;
	}
	full = mem_printf("%s/%s", r->t->stack, name);
	err = topo_add(r->t, "ansible:role", full, name, ret, r->reterr);
	if (err != OC_OK)
		return err;
	json_object_set_new(r->role, name, json_integer((json_int_t)*ret));
	topo_label(&r->t->resource[*ret], "stack", r->t->stack);
	return OC_OK;
}

/* ---- whom a text names ---- */

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

/* The host of the inventory that a word is: by its name, its address, or its name without the domain of a URL. */
static const json_t *host_named(const struct reader *r, const char *word)
{
	const json_t *known = json_object_get(r->host, word);

	if (!known) {
		const char *name = json_string_value(json_object_get(r->alias, word));

		known = name ? json_object_get(r->host, name) : NULL;
	}
	return known;
}

static const char *database_kind(const char *scheme, size_t n)
{
	static const struct {
		const char *scheme, *kind;
	} rows[] = {
		{ "postgres",   "postgres" },
                { "postgresql", "postgres" },
                { "mysql",      "mysql"    },
		{ "mysql2",     "mysql"    },
                { "mariadb",    "mariadb"  },
                { "mongodb",    "mongodb"  },
		{ "redis",      "redis"    },
                { "rediss",     "redis"    },
                { "amqp",       "rabbitmq" },
		{ "amqps",      "rabbitmq" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strlen(rows[i].scheme) == n && strncmp(rows[i].scheme, scheme, n) == 0)
			return rows[i].kind;
	return NULL;
}

/* postgresql://user:secret@db1:5432/shop: the host, and the database as a resource of its own. `at` is at "://". */
static enum oc_err connection(struct reader *r, size_t src, const char *text, const char *at, const char *end,
			      const char *via)
{
	const char *scheme = at, *host = at + 3, *host_end, *path, *p;
	AUTO(str) char *name = NULL;
	AUTO(str) char *db = NULL;
	AUTO(str) char *full = NULL;
	AUTO(str) char *type = NULL;
	const char *kind;
	const json_t *known;
	size_t index;
	enum oc_err err;

	while (scheme > text && isalnum((unsigned char)scheme[-1]))
		scheme--;
	kind = database_kind(scheme, (size_t)(at - scheme));
	for (p = host; p < end && !strchr("/ \t\r\n\"'?", *p); p++)
		if (*p == '@')
			host = p + 1;
	for (host_end = host; host_end < end && is_word(*host_end); host_end++)
		;
	if (host_end == host || host_end - host > WORD_MAX)
		return OC_OK;
	name = mem_strndup(host, (size_t)(host_end - host));
	known = host_named(r, name);
	if (known) {
		err = topo_link(r->t, src, (size_t)json_integer_value(known), TOPO_DEPENDS_ON, via,
				r->reterr);
		if (err != OC_OK)
			return err;
	}
	if (!kind)
		return OC_OK;
	path = host_end;
	while (path < end && !strchr("/ \t\r\n\"'?", *path))
		path++;
	for (p = path; p < end && (*p == '/' || is_word(*p)); p++)
		;
	db = p > path + 1 && *path == '/' ? mem_strndup(path + 1, (size_t)(p - path - 1)) : NULL;
	full = db ? mem_printf("%s/%s", name, db) : mem_strdup(name);
	type = mem_printf("db:%s", kind);
	err = topo_add(r->t, type, full, NULL, &index, r->reterr);
	if (err == OC_OK)
		err = topo_link(r->t, src, index, TOPO_DEPENDS_ON, via, r->reterr);
	if (err == OC_OK && known)
		err = topo_link(r->t, index, (size_t)json_integer_value(known), TOPO_RUNS_ON, via, r->reterr);
	return err;
}

/* groups['db'], groups["db"], groups.db: `at` stands behind "groups" */
static enum oc_err group_reference(struct reader *r, size_t src, const char *at, const char *end,
				   const char *via)
{
	AUTO(str) char *group = NULL;
	AUTO(json) json_t *hosts = NULL;
	const char *from = at, *p;
	json_t *host;
	size_t i;

	if (from < end && *from == '[' && from + 1 < end && (from[1] == '\'' || from[1] == '"'))
		from += 2;
	else if (from < end && *from == '.')
		from++;
	else
		return OC_OK;
	for (p = from; p < end && (is_word(*p) && (*at != '.' || *p != '.')); p++)
		;
	if (p == from || p - from > WORD_MAX)
		return OC_OK;
	group = mem_strndup(from, (size_t)(p - from));
	if (str_eq(group, "all"))
		return OC_OK; /* for /etc/hosts and the like: everybody needs nobody */
	hosts = inventory_group_hosts(r->inv, group);
	json_array_foreach(hosts, i, host)
	{
		const json_t *known = json_object_get(r->host, json_string_value(host));
		enum oc_err err = OC_OK;

		if (known)
			err = topo_link(r->t, src, (size_t)json_integer_value(known), TOPO_DEPENDS_ON, via,
					r->reterr);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static enum oc_err scan(struct reader *r, size_t src, const char *text, size_t len, const char *via)
{
	const char *end = text + (len > SCAN_MAX ? SCAN_MAX : len), *p = text;

	while (p < end) {
		const char *from = p;
		enum oc_err err = OC_OK;

		if (p + 3 <= end && strncmp(p, "://", 3) == 0)
			err = connection(r, src, text, p, end, via);
		if (err != OC_OK)
			return err;
		if (!is_word(*p)) {
			p++;
			continue;
		}
		while (p < end && is_word(*p))
			p++;
		if (p - from == 6 && strncmp(from, "groups", 6) == 0)
			err = group_reference(r, src, p, end, via);
		else if (p - from > 7 && strncmp(from, "groups.", 7) == 0)
			err = group_reference(r, src, from + 6, end, via);
		else if (p - from <= WORD_MAX) {
			AUTO(str) char *word = mem_strndup(from, (size_t)(p - from));
			const json_t *known = host_named(r, word);

			if (known)
				err = topo_link(r->t, src, (size_t)json_integer_value(known), TOPO_DEPENDS_ON,
						via, r->reterr);
		}
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static enum oc_err scan_value(struct reader *r, size_t src, const json_t *v, const char *via, unsigned depth)
{
	const json_t *one;
	const char *key;
	size_t i;
	enum oc_err err = OC_OK;

	if (depth > DEPTH_MAX)
		return OC_OK;
	if (json_is_string(v))
		return scan(r, src, json_string_value(v), json_string_length(v), via);
	json_array_foreach(v, i, one)
	{
		err = scan_value(r, src, one, via, depth + 1);
		if (err != OC_OK)
			return err;
	}
	json_object_foreach((json_t *)v, key, one)
	{
		/* how to reach a host is about the host itself, or about a jump host, which nothing runs on */
		if (depth == 0 && str_starts(key, "ansible_"))
			continue;
		err = scan_value(r, src, one, depth == 0 ? key : via, depth + 1);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

/* ---- roles ---- */

static bool says_version(const char *key)
{
	static const char *const ends[] = { "version",  "_image", "image_tag", "_tag",
					    "_release", "_ami",   "_build" };
	size_t n = strlen(key);

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		size_t m = strlen(ends[i]);

		if (n >= m && strcmp(key + n - m, ends[i]) == 0)
			return true;
	}
	return str_eq(key, "image") || str_eq(key, "tag") || str_eq(key, "release");
}

static bool mentions(const struct topo_file *f, const char *name)
{
	size_t n = strlen(name);
	const char *at = f->text, *end = f->text + f->len;

	while ((at = memmem(at, (size_t)(end - at), name, n))) {
		bool before = at > f->text && is_word(at[-1]) && at[-1] != '.';
		bool after = at + n < end && is_word(at[n]) && at[n] != '.';

		if (!before && !after)
			return true;
		at += n;
	}
	return false;
}

static void take_version(json_t *into, const char *key, const json_t *v)
{
	AUTO(str) char *text = NULL;

	if (!says_version(key) || json_object_size(into) >= 16 || strlen(key) > 200)
		return;
	if (json_is_string(v))
		text = mem_strdup(json_string_value(v));
	else if (json_is_number(v))
		text = json_is_integer(v) ? mem_printf("%lld", (long long)json_integer_value(v))
					  : mem_printf("%.6g", json_real_value(v));
	if (text && *text && strlen(text) <= 255 && !strstr(text, "{{"))
		json_object_set_new(into, key, json_string(text));
}

/* Versions that the variables of the role's hosts give, where its files speak of them. */
static void role_versions(struct reader *r, size_t index, const char *role, const json_t *hosts)
{
	json_t *into = r->t->resource[index].versions;
	const json_t *vars = inventory_vars(r->inv, json_string_value(json_array_get(hosts, 0))), *v;
	const char *key;

	json_object_foreach((json_t *)vars, key, v)
	{
		if (!says_version(key))
			continue;
		for (size_t i = 0; i < r->count; i++) {
			AUTO(str) char *owner = playbook_role_of(r->files[i].path);

			if (str_eq(owner, role) && mentions(&r->files[i], key)) {
				take_version(into, key, v);
				break;
			}
		}
	}
}

static enum oc_err role_files(struct reader *r, size_t index, const char *role)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct topo_file *f = &r->files[i];
		AUTO(str) char *owner = playbook_role_of(f->path);
		const char *base = strrchr(f->path, '/');
		enum oc_err err;

		if (!str_eq(owner, role) || strstr(f->path, "/files/") || strstr(f->path, "/meta/"))
			continue;
		err = scan(r, index, f->text, f->len, base ? base + 1 : f->path);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static enum oc_err one_role(struct reader *r, const char *role, const json_t *hosts)
{
	bool is_new = json_object_get(r->role, role) == NULL;
	AUTO(json) json_t *needs = NULL;
	size_t index, host, i;
	json_t *one;
	enum oc_err err = add_role(r, role, &index);

	json_array_foreach(hosts, i, one)
	{
		if (err == OC_OK)
			err = add_host(r, json_string_value(one), &host);
		if (err == OC_OK)
			err = topo_link(r->t, index, host, TOPO_RUNS_ON, "play", r->reterr);
	}
	if (err != OC_OK)
		return err;
	role_versions(r, index, role, hosts);
	if (!is_new)
		return OC_OK;
	err = role_files(r, index, role);
	needs = playbook_role_needs(r->files, r->count, role);
	json_array_foreach(needs, i, one)
	{
		size_t other;

		if (err == OC_OK)
			err = add_role(r, json_string_value(one), &other);
		if (err == OC_OK)
			err = topo_link(r->t, index, other, TOPO_DEPENDS_ON, "meta", r->reterr);
	}
	return err;
}

static enum oc_err read_plays(struct reader *r, const json_t *plays)
{
	const json_t *play, *role;
	size_t i, k;

	json_array_foreach(plays, i, play)
	{
		json_array_foreach(json_object_get(play, "roles"), k, role)
		{
			enum oc_err err =
				one_role(r, json_string_value(role), json_object_get(play, "hosts"));

			if (err != OC_OK)
				return err;
		}
	}
	return OC_OK;
}

static enum oc_err read_all(struct reader *r, const struct ansible_ask *ask)
{
	json_t *plays = NULL;
	AUTO(json) json_t *hosts = NULL;
	json_t *one;
	size_t i, index;
	enum oc_err err = inventory_read(r->files, r->count, ask->inventory, &r->inv, r->reterr);

	if (err != OC_OK)
		return err;
	json_array_extend(r->t->notes, (json_t *)inventory_notes(r->inv));
	hosts = inventory_match(r->inv, "all");
	json_array_foreach(hosts, i, one)
	{
		err = add_host(r, json_string_value(one), &index);
		if (err != OC_OK)
			return err;
	}
	err = playbook_read(r->files, r->count, r->inv, r->t->notes, &plays, r->reterr);
	if (err != OC_OK)
		return err;
	r->t->detail = json_pack("{s:o,s:o}", "inventory", inventory_json(r->inv), "plays", plays);
	/* variables hold passwords: they are read, and not handed on */
	json_object_del(json_object_get(r->t->detail, "inventory"), "_meta");
	json_array_foreach(hosts, i, one)
	{
		const char *name = json_string_value(one);

		err = scan_value(r, (size_t)json_integer_value(json_object_get(r->host, name)),
				 inventory_vars(r->inv, name), "vars", 0);
		if (err != OC_OK)
			return err;
	}
	return read_plays(r, plays);
}

enum oc_err ansible_read(const struct topo_file *files, size_t count, const struct ansible_ask *ask,
			 struct topo *ret, struct oc_fail *reterr)
{
	struct reader r = { .t = ret, .files = files, .count = count, .reterr = reterr };
	enum oc_err err;

	topo_init(ret, "ansible", "ansible", ask->stack);
	r.host = json_object();
	r.role = json_object();
	r.alias = json_object();
	err = read_all(&r, ask);
	inventory_free(r.inv);
	json_decref(r.host);
	json_decref(r.role);
	json_decref(r.alias);
	if (err != OC_OK)
		topo_done(ret);
	return err;
}
