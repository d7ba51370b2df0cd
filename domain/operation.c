#include "domain/operation.h"
#include <string.h>
#include "base/mem.h"

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct operation *)a)->name, ((const struct operation *)b)->name);
}

const struct operation *operation_find(const struct operation_list *list, const char *name)
{
	struct operation key = { .name = (char *)name };

	if (!name || list->count == 0)
		return NULL;
	return bsearch(&key, list->item, list->count, sizeof(key), by_name);
}

const char *operation_blast_name(enum operation_blast blast)
{
	static const char *const names[] = { "none", "service", "host", "cluster" };

	return (size_t)blast < ARRAY_LEN(names) ? names[blast] : "?";
}

const char *operation_isolation_name(enum operation_isolation iso)
{
	return iso == ISOLATION_SHARED ? "shared" : "process";
}

struct operation *operation_list_add(struct operation_list *list)
{
	list->item = mem_grow(list->item, list->count + 1, sizeof(*list->item));
	memset(&list->item[list->count], 0, sizeof(*list->item));
	return &list->item[list->count++];
}

void operation_list_sort(struct operation_list *list)
{
	if (list->count > 1)
		qsort(list->item, list->count, sizeof(*list->item), by_name);
}

static void names_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

void operation_list_done(struct operation_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct operation *op = &list->item[i];

		free(op->name);
		free(op->adapter);
		free(op->adapter_version);
		free(op->summary);
		free(op->params_schema_text);
		free(op->reversible_pointer);
		free(op->network_pointer);
		names_free(op->binding, op->binding_count);
		names_free(op->writes, op->writes_count);
		names_free(op->secrets, op->secrets_count);
		for (size_t k = 0; k < op->needs_count; k++) {
			free(op->needs[k].name);
			free(op->needs[k].pointer);
		}
		free(op->needs);
	}
	free(list->item);
	*list = (struct operation_list){ 0 };
}
