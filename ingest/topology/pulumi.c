#include "ingest/topology/pulumi.h"
#include "base/mem.h"
#include "ingest/topology/attributes.h"

#define URN_MAX 1024

struct reader {
	struct topo *t;
	json_t *by_urn; /* Pulumi's urn -> index */
	struct attribute_ids *ids;
	struct oc_fail *reterr;
};

static const json_t *resources(const json_t *doc)
{
	const json_t *deployment = json_object_get(doc, "deployment");

	return json_object_get(deployment ? deployment : json_object_get(doc, "checkpoint"), "resources");
}

bool pulumi_knows(const json_t *doc)
{
	return json_is_object(json_object_get(doc, "deployment")) ||
	       json_is_object(json_object_get(doc, "checkpoint"));
}

/* The stack and the providers are how Pulumi works, not what it made; what waits to be deleted is as good as gone. */
static bool is_real(const json_t *res)
{
	const char *type = json_str(res, "type");

	return type && !str_starts(type, "pulumi:") && !json_bool_or(res, "delete", false);
}

static const json_t *attributes(const json_t *res)
{
	const json_t *out = json_object_get(res, "outputs");

	return json_object_size(out) ? out : json_object_get(res, "inputs");
}

/* urn:pulumi:prod::shop::aws:ec2/instance:Instance::web: stack, project, type with its parents', name */
static enum oc_err add(struct reader *r, const json_t *res, size_t i)
{
	const char *urn = json_str(res, "urn"), *type = json_str(res, "type"), *name;
	AUTO(str) char *own_type = NULL;
	AUTO(str) char *own_name = NULL;
	const json_t *attrs = attributes(res);
	AUTO(json) json_t *with_id = NULL;
	size_t index, before = r->t->resource_count;
	enum oc_err err;

	if (str_empty(urn) || strlen(urn) > URN_MAX || !str_starts(urn, "urn:pulumi:") ||
	    strlen(type) > URN_MAX)
		return oc_fail_field(r->reterr, OC_INVALID, "/deployment/resources",
				     "/deployment/resources/%zu/urn: not a URN of Pulumi", i);
	if (!attributes_identity(type, attrs, &own_type, &own_name)) {
		own_type = mem_strdup("pulumi");
		own_name = mem_strdup(urn + strlen("urn:pulumi:"));
	}
	err = topo_add(r->t, own_type, own_name, urn, &index, r->reterr);
	if (err == OC_OK && r->t->resource_count == before)
		err = topo_add(r->t, "pulumi", urn + strlen("urn:pulumi:"), urn, &index, r->reterr);
	if (err != OC_OK)
		return err;
	name = strrchr(urn, ':');
	topo_label(&r->t->resource[index], "pulumi_urn", urn);
	topo_label(&r->t->resource[index], "pulumi_type", type);
	topo_label(&r->t->resource[index], "name", name + 1);
	attributes_label(&r->t->resource[index], attrs);
	topo_label(&r->t->resource[index], "id", json_str(res, "id"));
	json_decref(r->t->resource[index].versions);
	r->t->resource[index].versions = attributes_versions(attrs);
	with_id = json_is_object(attrs) ? json_copy((json_t *)attrs) : json_object();
	if (json_str(res, "id"))
		json_object_set(with_id, "id", json_object_get(res, "id"));
	attribute_ids_add(r->ids, index, with_id);
	json_object_set_new(r->by_urn, urn, json_integer((json_int_t)index));
	return OC_OK;
}

static enum oc_err depend(struct reader *r, size_t src, const json_t *on, const char *via)
{
	const char *urn = json_string_value(on);
	const json_t *dst = urn ? json_object_get(r->by_urn, urn) : NULL;
	enum oc_err err = OC_OK;

	if (!urn || strlen(urn) > URN_MAX)
		return OC_OK;
	if (dst)
		err = topo_link(r->t, src, (size_t)json_integer_value(dst), TOPO_DEPENDS_ON, via, r->reterr);
	if (err == OC_OK)
		err = topo_refer(r->t, src, urn, dst != NULL, r->reterr);
	return err;
}

static enum oc_err link_one(struct reader *r, const json_t *res)
{
	const json_t *known = json_object_get(r->by_urn, json_str(res, "urn")), *on, *list;
	size_t src = (size_t)json_integer_value(known), i;
	const char *property;
	enum oc_err err = OC_OK;

	json_array_foreach(json_object_get(res, "dependencies"), i, on)
	{
		err = depend(r, src, on, "dependencies");
		if (err != OC_OK)
			return err;
	}
	json_object_foreach(json_object_get(res, "propertyDependencies"), property, list)
	{
		json_array_foreach(list, i, on)
		{
			err = depend(r, src, on, property);
			if (err != OC_OK)
				return err;
		}
	}
	return attribute_ids_link(r->ids, r->t, src, attributes(res), r->reterr);
}

static enum oc_err read_all(struct reader *r, const json_t *list)
{
	const json_t *res;
	size_t i;
	enum oc_err err;

	if (list && !json_is_array(list) && !json_is_null(list))
		return oc_fail_field(r->reterr, OC_INVALID, "/deployment/resources",
				     "/deployment/resources is no list");
	json_array_foreach(list, i, res)
	{
		if (!is_real(res))
			continue;
		err = add(r, res, i);
		if (err != OC_OK)
			return err;
	}
	json_array_foreach(list, i, res)
	{
		if (!is_real(res))
			continue;
		err = link_one(r, res);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static char *stack_of(const json_t *list)
{
	const char *urn = json_str(json_array_get(list, 0), "urn");
	const char *end;

	if (!urn || !str_starts(urn, "urn:pulumi:"))
		return NULL;
	urn += strlen("urn:pulumi:");
	end = strstr(urn, "::");
	return mem_strndup(urn, end ? (size_t)(end - urn) : strlen(urn));
}

enum oc_err pulumi_read(const json_t *doc, const char *stack, struct topo *ret, struct oc_fail *reterr)
{
	const json_t *list = resources(doc);
	AUTO(str) char *own = stack_of(list);
	struct reader r = { .t = ret, .reterr = reterr };
	enum oc_err err;

	topo_init(ret, "iac", "pulumi", stack ? stack : own);
	r.by_urn = json_object();
	r.ids = attribute_ids_new();
	err = read_all(&r, list);
	json_decref(r.by_urn);
	attribute_ids_free(r.ids);
	if (err != OC_OK)
		topo_done(ret);
	return err;
}
