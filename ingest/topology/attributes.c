#include "ingest/topology/attributes.h"
#include <ctype.h>
#include "base/mem.h"

#define DEPTH_MAX    16
#define VERSIONS_MAX 16
#define ID_MIN       6

static const char *word(const json_t *attrs, const char *key)
{
	const char *s = json_str(attrs, key);

	return str_empty(s) || strlen(s) > 255 ? NULL : s;
}

/* metadata is a list of one object in Terraform, an object in Pulumi. */
static const json_t *first(const json_t *v)
{
	return json_is_array(v) ? json_array_get(v, 0) : v;
}

/* kubernetes_deployment_v1, kubernetes:apps/v1:Deployment -> deployment */
static bool kubernetes_kind(const char *kind, char *out, size_t size)
{
	const char *s;
	size_t n = 0;

	if (str_starts(kind, "kubernetes_"))
		s = kind + strlen("kubernetes_");
	else if (str_starts(kind, "kubernetes:") && strrchr(kind, ':'))
		s = strrchr(kind, ':') + 1;
	else
		return false;
	for (; s[n] && n + 1 < size; n++)
		out[n] = (char)tolower((unsigned char)s[n]);
	out[n] = '\0';
	if (n > 3 && strcmp(out + n - 3, "_v1") == 0)
		out[n - 3] = '\0';
	return true;
}

static bool kubernetes_identity(const char *kind, const json_t *attrs, char **ret_type, char **ret_name)
{
	static const struct {
		const char *kind, *type;
	} rows[] = {
		{ "service",      "k8s:svc"    },
                { "deployment",   "k8s:deploy" },
                { "stateful_set", "k8s:sts"    },
		{ "statefulset",  "k8s:sts"    },
                { "daemonset",    "k8s:ds"     },
                { "daemon_set",   "k8s:ds"     },
		{ "namespace",    "k8s:ns"     },
	};
	const json_t *meta = first(json_object_get(attrs, "metadata"));
	const char *name = word(meta, "name"), *ns = word(meta, "namespace");
	char bare[64];

	if (!name || !kubernetes_kind(kind, bare, sizeof(bare)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_eq(rows[i].kind, bare))
			continue;
		*ret_type = mem_strdup(rows[i].type);
		*ret_name = str_eq(bare, "namespace") ? mem_strdup(name)
						      : mem_printf("%s/%s", ns ? ns : "default", name);
		return true;
	}
	return false;
}

/* postgres, aurora-postgresql -> postgres */
static const char *engine_name(const char *engine)
{
	return strstr(engine, "postgres")                            ? "postgres"
	       : strstr(engine, "mysql")                             ? "mysql"
	       : strstr(engine, "mariadb")                           ? "mariadb"
	       : strstr(engine, "redis") || strstr(engine, "valkey") ? "redis"
	       : strstr(engine, "memcached")                         ? "memcached"
								     : NULL;
}

bool attributes_identity(const char *kind, const json_t *attrs, char **ret_type, char **ret_name)
{
	const char *engine = word(attrs, "engine"), *s;

	if (kubernetes_identity(kind, attrs, ret_type, ret_name))
		return true;
	engine = engine ? engine_name(engine) : NULL;
	if (engine) {
		s = word(attrs, "cluster_identifier");
		if (!s)
			s = word(attrs, "cluster_id");
		if (!s || word(attrs, "identifier"))
			s = word(attrs, "identifier") ? word(attrs, "identifier") : s;
		if (s) {
			*ret_type = mem_printf("db:%s", engine);
			*ret_name = mem_strdup(s);
			return true;
		}
	}
	/* a machine by the name that it gives itself */
	if (strstr(kind, "instance") || strstr(kind, "server") || strstr(kind, "virtual_machine") ||
	    strstr(kind, "droplet")) {
		s = word(attrs, "hostname");
		if (!s)
			s = word(attrs, "private_dns");
		if (!s)
			s = word(attrs, "privateDns");
		if (s) {
			*ret_type = mem_strdup("host");
			*ret_name = mem_strdup(s);
			return true;
		}
	}
	return false;
}

/* ---- versions ---- */

static bool says_version(const char *key)
{
	static const char *const words[] = { "image",
					     "image_id",
					     "imageId",
					     "image_uri",
					     "imageUri",
					     "image_tag",
					     "ami",
					     "engine_version",
					     "engineVersion",
					     "version",
					     "app_version",
					     "appVersion",
					     "chart_version",
					     "release",
					     "release_label",
					     "template_version",
					     "task_definition",
					     "taskDefinition",
					     "source_code_hash",
					     "sourceCodeHash",
					     "source_image",
					     "sourceImage",
					     "tag",
					     "revision",
					     "kubernetes_version",
					     "kubernetesVersion",
					     "node_version",
					     "package_version",
					     NULL };

	for (size_t i = 0; words[i]; i++)
		if (strcmp(words[i], key) == 0)
			return true;
	return false;
}

static void versions_in(const json_t *v, unsigned depth, const char *path, json_t *out)
{
	const json_t *one;
	const char *key;
	size_t i;

	if (depth > DEPTH_MAX || json_object_size(out) >= VERSIONS_MAX)
		return;
	json_array_foreach(v, i, one)
	{
		AUTO(str)
		char *at = json_array_size(v) == 1 ? mem_strdup(path) : mem_printf("%s/%zu", path, i);

		versions_in(one, depth + 1, at, out);
	}
	json_object_foreach((json_t *)v, key, one)
	{
		/* the top one under its bare name, one inside a container under the container's path */
		AUTO(str) char *at = *path ? mem_printf("%s/%s", path, key) : mem_strdup(key);

		if (json_is_string(one) && says_version(key) && json_string_length(one) > 0 &&
		    json_string_length(one) <= 255 && strlen(at) <= 200) {
			if (json_object_size(out) < VERSIONS_MAX)
				json_object_set(out, at, (json_t *)one);
		} else if (json_is_object(one) || json_is_array(one)) {
			versions_in(one, depth + 1, at, out);
		}
	}
}

json_t *attributes_versions(const json_t *attrs)
{
	json_t *out = json_object();

	versions_in(attrs, 0, "", out);
	return out;
}

void attributes_label(struct topo_resource *r, const json_t *attrs)
{
	static const char *const kept[] = { "id",       "name",          "arn",
					    "engine",   "instance_type", "region",
					    "location", "display_name",  "resource_group_name",
					    NULL };
	const char *tag = json_str(json_object_get(attrs, "tags"), "Name");

	for (size_t i = 0; kept[i]; i++)
		topo_label(r, kept[i], json_str(attrs, kept[i]));
	topo_label(r, "tag_name", tag);
	if (!r->region)
		r->region =
			mem_strdup(word(attrs, "region") ? word(attrs, "region") : word(attrs, "location"));
	if (!r->zone)
		r->zone = mem_strdup(word(attrs, "availability_zone") ? word(attrs, "availability_zone")
								      : word(attrs, "zone"));
}

/* ---- who holds whose id ---- */

struct attribute_ids {
	json_t *owner; /* value -> index; null when two share it */
};

struct attribute_ids *attribute_ids_new(void)
{
	struct attribute_ids *ids = mem_alloc(sizeof(*ids));

	ids->owner = json_object();
	return ids;
}

void attribute_ids_free(struct attribute_ids *ids)
{
	if (!ids)
		return;
	json_decref(ids->owner);
	free(ids);
}

static void own(struct attribute_ids *ids, size_t resource, const char *value)
{
	const json_t *was;

	/* "default", "true" and "5432" are ids of nothing */
	if (!value || strlen(value) < ID_MIN || strspn(value, "0123456789.") == strlen(value) ||
	    str_eq(value, "default"))
		return;
	was = json_object_get(ids->owner, value);
	if (was && json_is_integer(was) && (size_t)json_integer_value(was) == resource)
		return;
	json_object_set_new(ids->owner, value, was ? json_null() : json_integer((json_int_t)resource));
}

void attribute_ids_add(struct attribute_ids *ids, size_t resource, const json_t *attrs)
{
	own(ids, resource, json_str(attrs, "id"));
	own(ids, resource, json_str(attrs, "arn"));
	own(ids, resource, json_str(attrs, "self_link"));
}

static bool names_a_carrier(const char *attribute)
{
	static const char *const words[] = { "cluster",    "cluster_id",   "cluster_arn",
					     "clusterArn", "cluster_name", "clusterName",
					     "host_id",    "hostId",       "node",
					     "node_name",  "target_node",  "hypervisor",
					     NULL };

	for (size_t i = 0; words[i]; i++)
		if (strcmp(words[i], attribute) == 0)
			return true;
	return false;
}

static enum oc_err link_in(const struct attribute_ids *ids, struct topo *t, size_t resource,
			   const char *attribute, const json_t *v, unsigned depth, struct oc_fail *reterr)
{
	const json_t *one, *owner;
	const char *key;
	size_t i;
	enum oc_err err = OC_OK;

	if (depth > DEPTH_MAX)
		return OC_OK;
	if (json_is_string(v)) {
		owner = json_object_get(ids->owner, json_string_value(v));
		if (!json_is_integer(owner))
			return OC_OK;
		return topo_link(t, resource, (size_t)json_integer_value(owner),
				 names_a_carrier(attribute) ? TOPO_RUNS_ON : TOPO_DEPENDS_ON, attribute,
				 reterr);
	}
	json_array_foreach(v, i, one)
	{
		err = link_in(ids, t, resource, attribute, one, depth + 1, reterr);
		if (err != OC_OK)
			return err;
	}
	json_object_foreach((json_t *)v, key, one)
	{
		/* the flat attributes of old states: "security_groups.3982542233" */
		AUTO(str) char *name = mem_strndup(key, strcspn(key, "."));

		if (depth == 0 && (str_eq(key, "id") || str_eq(key, "arn") || str_eq(key, "self_link")))
			continue;
		err = link_in(ids, t, resource, str_empty(name) ? attribute : name, one, depth + 1, reterr);
		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

enum oc_err attribute_ids_link(const struct attribute_ids *ids, struct topo *t, size_t resource,
			       const json_t *attrs, struct oc_fail *reterr)
{
	return link_in(ids, t, resource, "", attrs, 0, reterr);
}
