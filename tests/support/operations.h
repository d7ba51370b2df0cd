/* operations.h - the operations of the adapters' manifests in the source tree, for tests that need the
 * real ones without loading code. An adapter that can do what its manifest says has the entries for it. */
#pragma once
#include "base/mem.h"
#include "domain/operation.h"
#include "wire/json/json.h"

static inline char *support_read_file(const char *path)
{
	AUTO(file) FILE *f = fopen(path, "re");
	struct text t = { 0 };
	char buf[4096];
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add_n(&t, buf, n);
	return text_take(&t);
}

static inline void support_add_manifest(struct operation_list *list, const char *manifest_text)
{
	static const char *const blasts[] = { "none", "service", "host", "cluster" };
	AUTO(json) json_t *m = NULL;
	json_t *o, *need;
	size_t i, k;

	if (json_read_own(manifest_text, &m, NULL) != OC_OK)
		abort();
	json_array_foreach(json_object_get(m, "operations"), i, o)
	{
		struct operation *op = operation_list_add(list);

		op->name = mem_strdup(json_str(o, "name"));
		op->adapter = mem_strdup(json_str(m, "name"));
		op->adapter_version = mem_strdup(json_str(m, "version"));
		op->summary = mem_strdup(json_str(o, "summary"));
		op->params_schema_text = json_text(json_object_get(o, "params"));
		op->risk = json_num_or(o, "risk", 0);
		op->reversible = json_bool_or(o, "reversible", false);
		op->reversible_pointer = mem_strdup(json_str(o, "reversible_when"));
		op->repeatable = json_bool_or(o, "repeatable", false);
		op->dedup = json_bool_or(o, "dedup", false);
		for (k = 0; k < ARRAY_LEN(blasts); k++)
			if (str_eq(blasts[k], json_str(o, "blast")))
				op->blast = (enum operation_blast)k;
		op->has_probe = json_array_size(json_object_get(o, "binding")) > 0;
		op->has_undo = op->reversible;
		op->has_dry_run = true;
		op->timeout_default_s = (unsigned)json_int_or(json_object_get(o, "timeout_s"), "default", 60);
		op->timeout_max_s = (unsigned)json_int_or(json_object_get(o, "timeout_s"), "max", 600);
		json_array_foreach(json_object_get(o, "needs"), k, need)
		{
			op->needs = mem_grow(op->needs, op->needs_count + 1, sizeof(*op->needs));
			op->needs[op->needs_count].name = mem_strdup(json_str(need, "name"));
			op->needs[op->needs_count].pointer = mem_strdup(json_str(need, "when"));
			op->needs_count++;
		}
	}
	operation_list_sort(list);
}

/* Every adapter of the source tree whose manifest is there. */
static inline void support_operations(struct operation_list *list)
{
	static const char *const names[] = { "noop", "script", "k8s", "gateway", "http" };

	memset(list, 0, sizeof(*list));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(str)
		char *path = mem_printf("%s/adapters/%s/%s.json", OPSCASE_SOURCE_DIR, names[i], names[i]);
		AUTO(str) char *text = support_read_file(path);

		if (text)
			support_add_manifest(list, text);
	}
}
