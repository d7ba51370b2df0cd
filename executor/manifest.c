#include "executor/loader.h"
#include <string.h>
#include "base/mem.h"
#include "base/text.h"
#include "wire/json/json.h"

#define MANIFEST_MAX   ((size_t)1 << 20)
#define OPERATIONS_MAX 64u
#define NAMES_MAX      64u
#define TIMEOUT_MAX_S  86400

static bool operation_name_ok(const char *name, const char *adapter)
{
	size_t n = strlen(adapter), len = strlen(name);

	return len <= 64 && strncmp(name, adapter, n) == 0 &&
	       (name[n] == 0 || (name[n] == '.' && name[n + 1])) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.") == len;
}

/* A list of short names; absent is empty. */
static bool names_read(const json_t *list, char ***ret, size_t *ret_count)
{
	if (!list)
		return true;
	if (!json_is_array(list) || json_array_size(list) > NAMES_MAX)
		return false;
	*ret = mem_array(json_array_size(list), sizeof(**ret));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (!s || !*s || strlen(s) > 128)
			return false;
		(*ret)[(*ret_count)++] = mem_strdup(s);
	}
	return true;
}

static bool needs_read(const json_t *list, struct operation *op)
{
	if (!list)
		return true;
	if (!json_is_array(list) || json_array_size(list) > NAMES_MAX)
		return false;
	op->needs = mem_array(json_array_size(list), sizeof(*op->needs));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *name = json_is_string(item) ? json_string_value(item)
							: json_string_value(json_object_get(item, "name"));
		const json_t *when = json_object_get(item, "when");

		if (!name || !*name || (when && (!json_is_string(when) || *json_string_value(when) != '/')))
			return false;
		op->needs[op->needs_count++] =
			(struct operation_need){ mem_strdup(name), mem_strdup(json_string_value(when)) };
	}
	return true;
}

static bool flag_read(const json_t *obj, const char *key, bool *ret)
{
	const json_t *v = json_object_get(obj, key);

	*ret = json_is_true(v);
	return json_is_boolean(v);
}

static bool pointer_read(const json_t *obj, const char *key, char **ret)
{
	const json_t *v = json_object_get(obj, key);

	if (!v)
		return true;
	if (!json_is_string(v) || *json_string_value(v) != '/')
		return false;
	*ret = mem_strdup(json_string_value(v));
	return true;
}

static bool blast_read(const json_t *v, enum operation_blast *ret)
{
	for (int b = BLAST_NONE; b <= BLAST_CLUSTER; b++) {
		if (str_eq(json_string_value(v), operation_blast_name((enum operation_blast)b))) {
			*ret = (enum operation_blast)b;
			return true;
		}
	}
	return false;
}

static bool timeout_read(const json_t *obj, struct operation *op)
{
	long long normal = json_integer_value(json_object_get(obj, "default"));
	long long most = json_integer_value(json_object_get(obj, "max"));

	op->timeout_default_s = (unsigned)normal;
	op->timeout_max_s = (unsigned)most;
	return normal >= 1 && normal <= most && most <= TIMEOUT_MAX_S;
}

static enum loader_refusal operation_read(const json_t *m, const struct manifest *all, struct operation *op,
					  struct loader_fail *reterr)
{
	const json_t *params = json_object_get(m, "params"), *risk = json_object_get(m, "risk");
	const char *name = json_string_value(json_object_get(m, "name"));
	const char *bad = NULL;

	if (!name || !operation_name_ok(name, all->name))
		return loader_refuse(reterr, LOADER_OP_NAME, "'%.80s' of '%s'", name ? name : "", all->name);
	op->name = mem_strdup(name);
	op->adapter = mem_strdup(all->name);
	op->adapter_version = mem_strdup(all->version);
	op->isolation = all->isolation;
	if (!json_is_object(params) || !str_eq(json_string_value(json_object_get(params, "type")), "object"))
		return loader_refuse(reterr, LOADER_OP_SCHEMA,
				     "'%s' needs \"params\" with \"type\": \"object\"", name);
	op->params_schema_text = json_dumps(params, JSON_COMPACT);
	op->summary = mem_strdup(json_string_value(json_object_get(m, "summary")));
	op->risk = json_number_value(risk);
	if (str_empty(op->summary))
		bad = "summary";
	else if (!json_is_number(risk) || !(op->risk >= 0 && op->risk <= 1))
		bad = "risk";
	else if (!flag_read(m, "reversible", &op->reversible))
		bad = "reversible";
	else if (!pointer_read(m, "reversible_when", &op->reversible_pointer))
		bad = "reversible_when";
	else if (!flag_read(m, "repeatable", &op->repeatable))
		bad = "repeatable";
	else if (!flag_read(m, "dedup", &op->dedup))
		bad = "dedup";
	else if (!blast_read(json_object_get(m, "blast"), &op->blast))
		bad = "blast";
	else if (!flag_read(m, "network", &op->network))
		bad = "network";
	else if (!pointer_read(m, "network_when", &op->network_pointer))
		bad = "network_when";
	else if (!timeout_read(json_object_get(m, "timeout_s"), op))
		bad = "timeout_s";
	else if (!names_read(json_object_get(m, "binding"), &op->binding, &op->binding_count))
		bad = "binding";
	else if (!names_read(json_object_get(m, "writes"), &op->writes, &op->writes_count))
		bad = "writes";
	else if (!needs_read(json_object_get(m, "needs"), op))
		bad = "needs";
	if (bad)
		return loader_refuse(reterr, LOADER_OP_FIELD, "\"%s\" of '%s'", bad, name);
	for (size_t i = 0; i < all->secrets_count; i++) {
		op->secrets = mem_grow(op->secrets, i + 1, sizeof(*op->secrets));
		op->secrets[op->secrets_count++] = mem_strdup(all->secrets[i]);
	}
	return LOADER_TAKEN;
}

static enum loader_refusal read_fields(const json_t *m, struct manifest *out, struct loader_fail *reterr)
{
	const json_t *config = json_object_get(m, "config"), *ops = json_object_get(m, "operations");
	const char *isolation = json_string_value(json_object_get(m, "isolation"));
	const char *files = json_string_value(json_object_get(m, "files"));
	enum loader_refusal why;

	out->name = mem_strdup(json_string_value(json_object_get(m, "name")));
	out->version = mem_strdup(json_string_value(json_object_get(m, "version")));
	out->summary = mem_strdup(json_string_value(json_object_get(m, "summary")));
	if (str_empty(out->name) || str_empty(out->version))
		return loader_refuse(reterr, LOADER_MANIFEST_NAME,
				     "the manifest says nothing for one of them");
	if (str_empty(out->summary))
		return loader_refuse(reterr, LOADER_MANIFEST_FIELD, "\"summary\"");
	if (isolation && !str_eq(isolation, "process") && !str_eq(isolation, "shared"))
		return loader_refuse(reterr, LOADER_MANIFEST_FIELD, "\"isolation\" is process or shared");
	out->isolation = str_eq(isolation, "shared") ? ISOLATION_SHARED : ISOLATION_PROCESS;
	if (files && !str_eq(files, "any") && !str_eq(files, "scratch"))
		return loader_refuse(reterr, LOADER_MANIFEST_FIELD, "\"files\" is any or scratch");
	out->scratch_only = str_eq(files, "scratch");
	if (config && !json_is_object(config))
		return loader_refuse(reterr, LOADER_MANIFEST_FIELD, "\"config\" is a JSON Schema");
	out->config_schema_text = config ? json_dumps(config, JSON_COMPACT) : mem_strdup("{}");
	out->wants_state_dir = json_object_get(json_object_get(config, "properties"), "state_dir") != NULL;
	if (!names_read(json_object_get(m, "secrets"), &out->secrets, &out->secrets_count))
		return loader_refuse(reterr, LOADER_MANIFEST_FIELD, "\"secrets\" is a list of names");
	if (!json_is_array(ops) || json_array_size(ops) == 0)
		return loader_refuse(reterr, LOADER_NO_OPERATIONS, NULL);
	if (json_array_size(ops) > OPERATIONS_MAX)
		return loader_refuse(reterr, LOADER_MANIFEST_FIELD, "more than %u operations",
				     OPERATIONS_MAX);
	for (size_t i = 0; i < json_array_size(ops); i++) {
		why = operation_read(json_array_get(ops, i), out, operation_list_add(&out->operations),
				     reterr);
		if (why != LOADER_TAKEN)
			return why;
		for (size_t k = 0; k < i; k++) {
			if (str_eq(out->operations.item[k].name, out->operations.item[i].name))
				return loader_refuse(reterr, LOADER_OP_TWICE, "'%s'",
						     out->operations.item[i].name);
		}
	}
	operation_list_sort(&out->operations);
	return LOADER_TAKEN;
}

enum loader_refusal manifest_read(const char *text, struct manifest *ret, struct loader_fail *reterr)
{
	AUTO(json) json_t *m = NULL;
	struct manifest out = { 0 };
	enum loader_refusal why;
	json_error_t e;

	if (strnlen(text, MANIFEST_MAX + 1) > MANIFEST_MAX)
		return loader_refuse(reterr, LOADER_MANIFEST_BIG, NULL);
	m = json_loads(text, JSON_REJECT_DUPLICATES, &e);
	if (!m)
		return loader_refuse(reterr, LOADER_MANIFEST_JSON, "%s, line %d", e.text, e.line);
	if (!json_is_object(m))
		return loader_refuse(reterr, LOADER_MANIFEST_JSON, NULL);
	why = read_fields(m, &out, reterr);
	if (why == LOADER_TAKEN)
		*ret = out;
	else
		manifest_done(&out);
	return why;
}

void manifest_done(struct manifest *m)
{
	free(m->name);
	free(m->version);
	free(m->summary);
	free(m->config_schema_text);
	for (size_t i = 0; i < m->secrets_count; i++)
		free(m->secrets[i]);
	free(m->secrets);
	operation_list_done(&m->operations);
	*m = (struct manifest){ 0 };
}
