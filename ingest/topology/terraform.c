#include "ingest/topology/terraform.h"
#include <stdio.h>
#include "base/mem.h"
#include "ingest/topology/attributes.h"

#define MODULE_DEPTH 24
#define NAME_MAX_LEN 400

struct reader {
	struct topo *t;
	const struct terraform_ask *ask;
	json_t *by_address; /* address -> index */
	json_t *by_config;  /* address without instance keys -> [index] */
	json_t *in_module;  /* module without instance keys -> [index] */
	json_t *attrs;      /* index -> attributes */
	struct attribute_ids *ids;
	struct oc_fail *reterr;
};

bool terraform_knows(const json_t *doc)
{
	if (json_object_get(doc, "resource_changes") || json_object_get(doc, "planned_values"))
		return true;
	if (json_object_get(doc, "format_version") && json_object_get(doc, "terraform_version"))
		return true;
	return json_is_integer(json_object_get(doc, "version")) &&
	       (json_object_get(doc, "lineage") || json_object_get(doc, "terraform_version"));
}

/* ---- addresses ---- */

/* module.a[0].aws_x.b["k"] -> module.a.aws_x.b */
static char *config_address(const char *address)
{
	AUTO(text) struct text t = { 0 };
	bool inside = false, quoted = false;

	for (const char *p = address; *p; p++) {
		if (inside) {
			if (*p == '"' && p[-1] != '\\')
				quoted = !quoted;
			inside = quoted || *p != ']';
		} else if (*p == '[') {
			inside = true;
		} else {
			text_add_n(&t, p, 1);
		}
	}
	return text_take(&t);
}

static void index_put(json_t *map, const char *key, size_t index)
{
	json_t *list = json_object_get(map, key);

	if (!list) {
		list = json_array();
		json_object_set_new(map, key, list);
	}
	json_array_append_new(list, json_integer((json_int_t)index));
}

/* module.a.module.b.aws_x.c -> module.a.module.b */
static size_t module_length(const char *config)
{
	const char *p = config;

	while (str_starts(p, "module.")) {
		const char *name_end = strchr(p + 7, '.');

		if (!name_end)
			return strlen(config);
		p = name_end + 1;
	}
	return p == config ? 0 : (size_t)(p - config) - 1;
}

/* module.a.module.b -> module.a -> "" */
static void cut_module(char *module)
{
	char *at = strrchr(module, '.'), *before;

	if (at)
		*at = '\0';
	before = at ? strrchr(module, '.') : NULL;
	*(before ? before : module) = '\0';
}

static enum oc_err add_resource(struct reader *r, const char *address, const char *type, const json_t *attrs,
				const char *provider, size_t *ret)
{
	AUTO(str) char *own_type = NULL;
	AUTO(str) char *own_name = NULL;
	AUTO(str) char *config = config_address(address);
	AUTO(str) char *module = mem_strndup(config, module_length(config));
	size_t index, before = r->t->resource_count;
	struct topo_resource *res;
	enum oc_err err;

	if (json_object_get(r->by_address, address)) {
		*ret = (size_t)json_integer_value(json_object_get(r->by_address, address));
		return OC_OK;
	}
	if (!attributes_identity(type, attrs, &own_type, &own_name)) {
		own_type = mem_printf("tf:%s", type);
		own_name = mem_printf("%s/%s", r->t->stack, address);
	}
	err = topo_add(r->t, own_type, own_name, address, &index, r->reterr);
	if (err != OC_OK)
		return err;
	if (r->t->resource_count ==
	    before) /* two that call themselves the same: the address tells them apart */
	{
		free(own_type);
		free(own_name);
		own_type = mem_printf("tf:%s", type);
		own_name = mem_printf("%s/%s", r->t->stack, address);
		err = topo_add(r->t, own_type, own_name, address, &index, r->reterr);
		if (err != OC_OK)
			return err;
	}
	res = &r->t->resource[index];
	topo_label(res, "address", address);
	topo_label(res, "stack", r->t->stack);
	topo_label(res, "tf_type", type);
	topo_label(res, "provider", provider);
	attributes_label(res, attrs);
	json_decref(res->versions);
	res->versions = attributes_versions(attrs);
	json_object_set_new(r->by_address, address, json_integer((json_int_t)index));
	index_put(r->by_config, config, index);
	while (*module) { /* and all modules round it */
		index_put(r->in_module, module, index);
		cut_module(module);
	}
	attribute_ids_add(r->ids, index, attrs);
	if (json_array_size(r->attrs) == index)
		json_array_append(r->attrs, json_is_object(attrs) ? (json_t *)attrs : json_null());
	*ret = index;
	return OC_OK;
}

/* An output of a module, or the whole of it: all that is in it. */
static const json_t *of_module(const struct reader *r, const char *module, const char *config)
{
	AUTO(str) char *name = mem_strndup(config, module_length(config));
	AUTO(str) char *inside = mem_printf("%s.%s", module, name);
	const json_t *list;

	/* a resource in it that is not there is no reason to depend on its neighbours */
	if (!*name || (config[strlen(name)] && strchr(config + strlen(name) + 1, '.')))
		return NULL;
	list = *module ? json_object_get(r->in_module, inside) : NULL;
	return list ? list : json_object_get(r->in_module, name);
}

static bool known(const struct reader *r, const char *address, size_t *ret)
{
	const json_t *v = json_object_get(r->by_address, address);

	*ret = (size_t)json_integer_value(v);
	return v != NULL;
}

/* Links to every instance that `to` can mean, seen from the module `module` ("" for the root). */
static enum oc_err link_to(struct reader *r, size_t src, const char *module, const char *to, const char *via,
			   bool *ret_found)
{
	AUTO(str) char *config = config_address(to);
	AUTO(str) char *inside = *module ? mem_printf("%s.%s", module, config) : NULL;
	const json_t *list, *one, *exact = json_object_get(r->by_address, to);
	size_t i;

	*ret_found = exact != NULL;
	if (exact)
		return topo_link(r->t, src, (size_t)json_integer_value(exact), TOPO_DEPENDS_ON, via,
				 r->reterr);
	list = inside ? json_object_get(r->by_config, inside) : NULL;
	if (!list)
		list = json_object_get(r->by_config, config);
	if (!list)
		list = of_module(r, module, config);
	*ret_found = list != NULL;
	json_array_foreach(list, i, one)
	{
		enum oc_err err = topo_link(r->t, src, (size_t)json_integer_value(one), TOPO_DEPENDS_ON, via,
					    r->reterr);

		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static enum oc_err refer(struct reader *r, size_t src, const char *module, const json_t *to)
{
	bool found = false;
	enum oc_err err;

	if (!json_is_string(to) || json_string_length(to) == 0 || json_string_length(to) > NAME_MAX_LEN)
		return OC_OK;
	err = link_to(r, src, module, json_string_value(to), "depends_on", &found);
	if (err == OC_OK)
		err = topo_refer(r->t, src, json_string_value(to), found, r->reterr);
	return err;
}

static enum oc_err refer_all(struct reader *r, size_t src, const char *module, const json_t *list)
{
	const json_t *to;
	size_t i;
	enum oc_err err = OC_OK;

	json_array_foreach(list, i, to)
	{
		err = refer(r, src, module, to);
		if (err != OC_OK)
			break;
	}
	return err;
}

static bool name_ok(const char *s)
{
	return !str_empty(s) && strlen(s) <= NAME_MAX_LEN;
}

/* ---- state, version 4 ---- */

static char *instance_address(const char *module, const char *mode, const char *type, const char *name,
			      const json_t *key)
{
	AUTO(text) struct text t = { 0 };

	if (!str_empty(module))
		text_addf(&t, "%s.", module);
	if (str_eq(mode, "data"))
		text_add(&t, "data.");
	text_addf(&t, "%s.%s", type, name);
	if (json_is_integer(key)) {
		text_addf(&t, "[%lld]", (long long)json_integer_value(key));
	} else if (json_is_string(key) && json_string_length(key) <= NAME_MAX_LEN) {
		text_add(&t, "[");
		json_quote(&t, json_string_value(key));
		text_add(&t, "]");
	}
	return text_take(&t);
}

/* What was made for nothing but reading is no part of an installation. */
static bool is_data(const json_t *res)
{
	return str_eq(json_str(res, "mode"), "data");
}

static enum oc_err state4(struct reader *r, const json_t *doc, bool link)
{
	const json_t *res, *inst;
	size_t i, j;
	enum oc_err err = OC_OK;

	json_array_foreach(json_object_get(doc, "resources"), i, res)
	{
		const char *type = json_str(res, "type"), *name = json_str(res, "name");
		const char *module = json_str_or(res, "module", "");

		if (is_data(res))
			continue;
		if (!name_ok(type) || !name_ok(name) || strlen(module) > NAME_MAX_LEN)
			return oc_fail_field(
				r->reterr, OC_INVALID, "/resources",
				"/resources/%zu: type, name and module are texts of at most %d bytes", i,
				NAME_MAX_LEN);
		json_array_foreach(json_object_get(res, "instances"), j, inst)
		{
			AUTO(str)
			char *address = instance_address(module, NULL, type, name,
							 json_object_get(inst, "index_key"));
			AUTO(str) char *bare = config_address(module);
			const json_t *attrs = json_object_get(inst, "attributes");
			size_t index;

			if (json_object_get(inst, "deposed"))
				continue; /* on its way out; the one that replaced it has the address */
			if (!attrs)
				attrs = json_object_get(inst, "attributes_flat");
			if (!link) {
				err = add_resource(r, address, type, attrs, json_str(res, "provider"),
						   &index);
			} else {
				if (!known(r, address, &index))
					continue;
				err = refer_all(r, index, bare, json_object_get(inst, "dependencies"));
				if (err == OC_OK)
					err = refer_all(r, index, bare, json_object_get(inst, "depends_on"));
			}
			if (err != OC_OK)
				return err;
		}
	}
	return OC_OK;
}

/* ---- state, versions 1 to 3 ---- */

/* ["root", "a", "b"] -> module.a.module.b */
static char *module_of_path(const json_t *path)
{
	AUTO(text) struct text t = { 0 };
	const json_t *one;
	size_t i;

	json_array_foreach(path, i, one)
	{
		if (i == 0 || !json_is_string(one) || json_string_length(one) > NAME_MAX_LEN ||
		    i > MODULE_DEPTH)
			continue;
		text_addf(&t, "%smodule.%s", t.len ? "." : "", json_string_value(one));
	}
	return text_take(&t);
}

/* aws_instance.web.0 -> aws_instance.web[0] */
static char *address_of_key(const char *module, const char *key)
{
	const char *dot = strrchr(key, '.');
	const char *sep = *module ? "." : "";

	if (dot && dot[1] && strspn(dot + 1, "0123456789") == strlen(dot + 1) && strchr(key, '.') != dot)
		return mem_printf("%s%s%.*s[%s]", module, sep, (int)(dot - key), key, dot + 1);
	return mem_printf("%s%s%s", module, sep, key);
}

static enum oc_err state3_one(struct reader *r, const char *module, const char *key, const json_t *res,
			      bool link)
{
	AUTO(str) char *address = address_of_key(module, key);
	AUTO(json) json_t *deps = NULL;
	const char *type = json_str(res, "type");
	const json_t *to;
	size_t index, i;

	if (!name_ok(type) || !name_ok(key))
		return oc_fail_field(r->reterr, OC_INVALID, "/modules",
				     "/modules: '%.60s': type and name are texts of at most %d bytes", key,
				     NAME_MAX_LEN);
	if (!link)
		return add_resource(r, address, type,
				    json_object_get(json_object_get(res, "primary"), "attributes"),
				    json_str(res, "provider"), &index);
	if (!known(r, address, &index))
		return OC_OK;
	deps = json_array();
	json_array_foreach(json_object_get(res, "depends_on"), i, to)
	{
		const char *s = json_string_value(to);
		size_t n = s ? strlen(s) : 0;
		AUTO(str) char *full = NULL;

		if (!n || n > NAME_MAX_LEN)
			continue;
		/* aws_instance.web.* and aws_instance.web.0; always of the same module */
		if (n > 2 && strcmp(s + n - 2, ".*") == 0)
			n -= 2;
		full = mem_printf("%s%s%.*s", module, *module ? "." : "", (int)n, s);
		json_array_append_new(deps, json_string(full));
	}
	return refer_all(r, index, "", deps);
}

static enum oc_err state3(struct reader *r, const json_t *doc, bool link)
{
	const json_t *mod, *res;
	const char *key;
	size_t i;

	json_array_foreach(json_object_get(doc, "modules"), i, mod)
	{
		AUTO(str) char *module = module_of_path(json_object_get(mod, "path"));

		json_object_foreach(json_object_get(mod, "resources"), key, res)
		{
			enum oc_err err;

			if (str_starts(key, "data."))
				continue;
			err = state3_one(r, module, key, res, link);
			if (err != OC_OK)
				return err;
		}
	}
	return OC_OK;
}

/* ---- show -json: values ---- */

static char *shown_address(const char *module, const json_t *res)
{
	const char *address = json_str(res, "address");
	const json_t *index = json_object_get(res, "index");
	AUTO(text) struct text t = { 0 };

	/* the first format left the module and the index out */
	if (*module && !str_starts(address, "module."))
		text_addf(&t, "%s.", module);
	text_add(&t, address);
	if (address[strlen(address) - 1] != ']') {
		if (json_is_integer(index)) {
			text_addf(&t, "[%lld]", (long long)json_integer_value(index));
		} else if (json_is_string(index)) {
			text_add(&t, "[");
			json_quote(&t, json_string_value(index));
			text_add(&t, "]");
		}
	}
	return text_take(&t);
}

static enum oc_err values_module(struct reader *r, const json_t *mod, unsigned depth, bool link)
{
	const char *module = json_str_or(mod, "address", "");
	AUTO(str) char *bare = config_address(module);
	const json_t *res, *child;
	size_t i;
	enum oc_err err = OC_OK;

	if (depth > MODULE_DEPTH)
		return oc_fail(r->reterr, OC_INVALID, "modules nested deeper than %d", MODULE_DEPTH);
	json_array_foreach(json_object_get(mod, "resources"), i, res)
	{
		const char *type = json_str(res, "type");
		AUTO(str) char *address = NULL;
		size_t index;

		if (is_data(res))
			continue;
		if (!name_ok(type) || !name_ok(json_str(res, "address")))
			return oc_fail_field(r->reterr, OC_INVALID, "/values",
					     "resources/%zu: type and address are texts of at most %d bytes",
					     i, NAME_MAX_LEN);
		address = shown_address(module, res);
		if (!link) {
			err = add_resource(r, address, type, json_object_get(res, "values"),
					   json_str(res, "provider_name"), &index);
		} else {
			/* what is gone after the plan has nothing to depend with */
			err = known(r, address, &index)
				      ? refer_all(r, index, bare, json_object_get(res, "depends_on"))
				      : OC_OK;
		}
		if (err != OC_OK)
			return err;
	}
	json_array_foreach(json_object_get(mod, "child_modules"), i, child)
	{
		err = values_module(r, child, depth + 1, link);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

/* ---- show -json of a plan: what the configuration refers to ---- */

struct config_module {
	const json_t *node, *call; /* call: how the parent calls it */
	const struct config_module *parent;
	const char *path; /* "module.a.module.b", "" */
	const char *name;
	unsigned depth;
};

static enum oc_err resolve(struct reader *r, const struct config_module *m, size_t src, const char *ref,
			   unsigned depth, bool *ret_found);

/* Every "references" below an expression. */
static enum oc_err resolve_all(struct reader *r, const struct config_module *m, size_t src, const json_t *v,
			       unsigned depth)
{
	const json_t *one;
	const char *key;
	size_t i;
	enum oc_err err = OC_OK;

	if (depth > MODULE_DEPTH)
		return OC_OK;
	json_array_foreach(v, i, one)
	{
		err = resolve_all(r, m, src, one, depth + 1);
		if (err != OC_OK)
			return err;
	}
	json_object_foreach((json_t *)v, key, one)
	{
		if (str_eq(key, "references") && json_is_array(one)) {
			const json_t *ref;

			json_array_foreach(one, i, ref)
			{
				bool found = false;

				if (json_is_string(ref) && json_string_length(ref) <= NAME_MAX_LEN)
					err = resolve(r, m, src, json_string_value(ref), depth + 1, &found);
				if (err != OC_OK)
					return err;
			}
		} else {
			err = resolve_all(r, m, src, one, depth + 1);
			if (err != OC_OK)
				return err;
		}
	}
	return OC_OK;
}

static enum oc_err resolve_module(struct reader *r, const struct config_module *m, size_t src,
				  const char *ref, unsigned depth, bool *ret_found)
{
	AUTO(str) char *name = mem_strndup(ref, strcspn(ref, ".["));
	const json_t *call = json_object_get(json_object_get(m->node, "module_calls"), name);
	const char *out = strchr(ref, '.');
	AUTO(str) char *output = out ? mem_strndup(out + 1, strcspn(out + 1, ".[")) : NULL;
	AUTO(str) char *path = mem_printf("%s%smodule.%s", m->path, *m->path ? "." : "", name);
	const json_t *expr;
	struct config_module in = { .node = json_object_get(call, "module"),
				    .call = call,
				    .parent = m,
				    .path = path,
				    .name = name,
				    .depth = m->depth + 1 };

	if (!call || in.depth > MODULE_DEPTH)
		return OC_OK;
	expr = output ? json_object_get(json_object_get(in.node, "outputs"), output) : NULL;
	if (expr) {
		*ret_found = true;
		return resolve_all(r, &in, src, json_object_get(expr, "expression"), depth + 1);
	}
	return link_to(r, src, m->path, path + (*m->path ? strlen(m->path) + 1 : 0), "configuration",
		       ret_found);
}

static enum oc_err resolve(struct reader *r, const struct config_module *m, size_t src, const char *ref,
			   unsigned depth, bool *ret_found)
{
	AUTO(str) char *copy = NULL;
	char *dot;

	if (depth > MODULE_DEPTH || str_starts(ref, "data.") || str_starts(ref, "local.") ||
	    str_starts(ref, "each.") || str_starts(ref, "count.") || str_starts(ref, "path.") ||
	    str_starts(ref, "terraform."))
		return OC_OK;
	if (str_starts(ref, "module."))
		return resolve_module(r, m, src, ref + 7, depth, ret_found);
	if (str_starts(ref, "var.")) {
		AUTO(str) char *name = mem_strndup(ref + 4, strcspn(ref + 4, ".["));

		/* what the parent hands in */
		return m->parent ? resolve_all(r, m->parent, src,
					       json_object_get(json_object_get(m->call, "expressions"), name),
					       depth + 1)
				 : OC_OK;
	}
	/* aws_x.y.attribute: the longest part that is a resource of this module, and only of it */
	copy = mem_printf("%s%s%s", m->path, *m->path ? "." : "", ref);
	for (;;) {
		AUTO(str) char *config = config_address(copy);
		const json_t *list = json_object_get(r->by_config, config), *one;
		size_t i;

		json_array_foreach(list, i, one)
		{
			enum oc_err err = topo_link(r->t, src, (size_t)json_integer_value(one),
						    TOPO_DEPENDS_ON, "configuration", r->reterr);

			if (err != OC_OK)
				return err;
		}
		if (list) {
			*ret_found = true;
			return OC_OK;
		}
		dot = strrchr(copy, '.');
		if (!dot || (size_t)(dot - copy) <= strlen(m->path))
			return OC_OK;
		*dot = '\0';
	}
}

static enum oc_err configuration(struct reader *r, const struct config_module *m)
{
	const json_t *res, *call, *one;
	const char *name;
	size_t i, j;
	enum oc_err err;

	if (m->depth > MODULE_DEPTH)
		return oc_fail(r->reterr, OC_INVALID, "modules nested deeper than %d", MODULE_DEPTH);
	json_array_foreach(json_object_get(m->node, "resources"), i, res)
	{
		const char *address = json_str(res, "address");
		AUTO(str) char *full = NULL;

		if (is_data(res) || !name_ok(address))
			continue;
		full = mem_printf("%s%s%s", m->path, *m->path ? "." : "", address);
		json_array_foreach(json_object_get(r->by_config, full), j, one)
		{
			size_t src = (size_t)json_integer_value(one);
			const json_t *dep;
			size_t k;

			err = resolve_all(r, m, src, json_object_get(res, "expressions"), 0);
			if (err != OC_OK)
				return err;
			json_array_foreach(json_object_get(res, "depends_on"), k, dep)
			{
				bool found = false;

				if (!json_is_string(dep) || json_string_length(dep) > NAME_MAX_LEN)
					continue;
				err = resolve(r, m, src, json_string_value(dep), 0, &found);
				if (err == OC_OK)
					err = topo_refer(r->t, src, json_string_value(dep), found, r->reterr);
				if (err != OC_OK)
					return err;
			}
		}
	}
	json_object_foreach(json_object_get(m->node, "module_calls"), name, call)
	{
		AUTO(str) char *path = mem_printf("%s%smodule.%s", m->path, *m->path ? "." : "", name);
		struct config_module in = { .node = json_object_get(call, "module"),
					    .call = call,
					    .parent = m,
					    .path = path,
					    .name = name,
					    .depth = m->depth + 1 };

		if (!name_ok(path))
			return oc_fail(r->reterr, OC_INVALID, "a module's address is too long");
		err = configuration(r, &in);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

/* ---- show -json of a plan: what it changes ---- */

static const char *action_of(const json_t *actions)
{
	const char *first = json_string_value(json_array_get(actions, 0));

	if (json_array_size(actions) == 2)
		return "replace";
	if (str_eq(first, "create") || str_eq(first, "update") || str_eq(first, "delete"))
		return first;
	return NULL; /* no-op, read */
}

static enum oc_err changes(struct reader *r, const json_t *doc)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(doc, "resource_changes"), i, one)
	{
		const json_t *change = json_object_get(one, "change");
		const json_t *was = json_object_get(change, "before"), *is = json_object_get(change, "after");
		const char *address = json_str(one, "address"), *type = json_str(one, "type");
		const char *action = action_of(json_object_get(change, "actions"));
		const json_t *known = address ? json_object_get(r->by_address, address) : NULL;
		AUTO(str) char *urn = NULL;

		if (!action || is_data(one) || !name_ok(address) || !name_ok(type))
			continue;
		if (known) {
			urn = mem_strdup(r->t->resource[json_integer_value(known)].urn);
		} else {
			AUTO(str) char *t = NULL;
			AUTO(str) char *n = NULL;

			if (!attributes_identity(type, json_is_object(was) ? was : is, &t, &n)) {
				t = mem_printf("tf:%s", type);
				n = mem_printf("%s/%s", r->t->stack, address);
			}
			urn = topo_urn(t, n);
		}
		if (r->t->change_count >= TOPO_RESOURCES_MAX)
			return oc_fail(r->reterr, OC_TOO_LARGE, "more than %d changes", TOPO_RESOURCES_MAX);
		topo_changed(r->t, urn, address, action, attributes_versions(was), attributes_versions(is));
	}
	return OC_OK;
}

/* ---- all of it ---- */

static enum oc_err shown(struct reader *r, const json_t *doc)
{
	const json_t *values = json_object_get(doc, "values");
	const json_t *prior = json_object_get(json_object_get(doc, "prior_state"), "values");
	const json_t *planned = json_object_get(doc, "planned_values"), *root;
	enum oc_err err;

	r->t->format = values ? "terraform show of a state" : "terraform show of a plan";
	if (!values && !r->ask->applied && prior)
		values = prior;
	if (!values)
		values = planned;
	root = json_object_get(values, "root_module");
	err = values_module(r, root, 0, false);
	if (err == OC_OK)
		err = values_module(r, root, 0, true);
	/* what stays as it was still depends on what it depended on */
	if (err == OC_OK && prior && values != prior) {
		json_t *was = json_object_get(prior, "root_module");

		err = values_module(r, was, 0, true);
	}
	if (err == OC_OK)
		err = configuration(r, &(struct config_module){
					       .node = json_object_get(json_object_get(doc, "configuration"),
								       "root_module"),
					       .path = "",
					       .name = "" });
	if (err == OC_OK)
		err = changes(r, doc);
	return err;
}

static enum oc_err read_any(struct reader *r, const json_t *doc)
{
	long long version = json_int_or(doc, "version", 0);
	enum oc_err err;

	if (!json_object_get(doc, "version"))
		return shown(r, doc);
	if (json_is_array(json_object_get(doc, "modules")) && version <= 3) {
		r->t->format = "terraform state 3";
		err = state3(r, doc, false);
		return err == OC_OK ? state3(r, doc, true) : err;
	}
	if (version > 4 || version < 1)
		return oc_fail_field(r->reterr, OC_INVALID, "/version",
				     "a Terraform state of version %lld is not known; 1 to 4 are", version);
	r->t->format = version == 4 ? "terraform state 4" : "terraform state 3";
	err = state4(r, doc, false);
	return err == OC_OK ? state4(r, doc, true) : err;
}

enum oc_err terraform_read(const json_t *doc, const struct terraform_ask *ask, struct topo *ret,
			   struct oc_fail *reterr)
{
	struct reader r = { .ask = ask, .t = ret, .reterr = reterr };
	enum oc_err err;

	topo_init(ret, "iac", "terraform", ask->stack);
	r.by_address = json_object();
	r.by_config = json_object();
	r.in_module = json_object();
	r.attrs = json_array();
	r.ids = attribute_ids_new();
	err = json_is_object(doc) ? read_any(&r, doc) : oc_fail(reterr, OC_BAD_REQUEST, "not a JSON object");
	for (size_t i = 0; err == OC_OK && i < json_array_size(r.attrs); i++)
		err = attribute_ids_link(r.ids, ret, i, json_array_get(r.attrs, i), reterr);
	attribute_ids_free(r.ids);
	json_decref(r.by_address);
	json_decref(r.by_config);
	json_decref(r.in_module);
	json_decref(r.attrs);
	if (err != OC_OK)
		topo_done(ret);
	return err;
}
