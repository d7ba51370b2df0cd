/* The YAML form: groups in groups, each with hosts, vars and children. */
#include "base/mem.h"
#include "ingest/topology/inventory_impl.h"
#include "wire/yaml/yaml.h"

#define DEPTH_MAX 32

static enum oc_err read_hosts(struct inventory *inv, size_t group, const json_t *hosts)
{
	const char *pattern;
	const json_t *vars;
	enum oc_err err;

	json_object_foreach((json_t *)hosts, pattern, vars)
	{
		AUTO(json) json_t *names = NULL;
		json_t *name;
		size_t i;

		err = inventory_expand(pattern, &names, inv->reterr);
		if (err != OC_OK)
			return err;
		json_array_foreach(names, i, name)
		{
			err = inventory_host_add(inv, json_string_value(name), group);
			if (err != OC_OK)
				return err;
			if (json_is_object(vars))
				json_object_update(json_object_get(inv->hosts, json_string_value(name)),
						   (json_t *)vars);
		}
	}
	return OC_OK;
}

static enum oc_err read_group(struct inventory *inv, const char *name, const json_t *body, unsigned depth)
{
	const json_t *hosts = json_object_get(body, "hosts"), *vars = json_object_get(body, "vars"), *child;
	const char *child_name;
	size_t group;
	enum oc_err err = inventory_group_add(inv, name, &group);

	if (err != OC_OK)
		return err;
	if (depth > DEPTH_MAX)
		return oc_fail(inv->reterr, OC_INVALID, "groups nested deeper than %d", DEPTH_MAX);
	if (json_is_object(vars))
		json_object_update(inv->group[group].vars, (json_t *)vars);
	if (json_is_string(hosts)) { /* one host, not a table */
		err = inventory_host_add(inv, json_string_value(hosts), group);
		if (err != OC_OK)
			return err;
	}
	json_object_foreach(json_object_get(body, "children"), child_name, child)
	{
		err = inventory_child_add(inv, group, child_name);
		if (err == OC_OK)
			err = read_group(inv, child_name, child, depth + 1);
		if (err != OC_OK)
			return err;
	}
	return read_hosts(inv, group, hosts);
}

enum oc_err inventory_read_yaml(struct inventory *inv, const struct topo_file *file)
{
	AUTO(json) json_t *doc = NULL;
	const json_t *body;
	const char *name;
	enum oc_err err = yaml_read_loose(file->path, file->text, file->len, &doc, inv->reterr);

	if (err != OC_OK)
		return err;
	if (json_is_null(doc))
		return OC_OK;
	if (!json_is_object(doc))
		return oc_fail(inv->reterr, OC_INVALID, "%s: an inventory is a table of groups", file->path);
	json_object_foreach(doc, name, body)
	{
		if (!json_is_object(body) && !json_is_null(body))
			return oc_fail(inv->reterr, OC_INVALID, "%s: the group '%.60s' is no table",
				       file->path, name);
		err = read_group(inv, name, body, 0);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}
