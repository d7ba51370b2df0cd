/* adapter.c - GET /adapter: what may be done here, from the registry of loaded adapters. */
#include "api/call.h"

static json_t *texts(char *const *list, size_t n)
{
	json_t *out = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(list[i]));
	return out;
}

static json_t *operation_json(const struct operation *op)
{
	json_t *o = json_object(), *schema = NULL, *needs = json_array();

	json_put(o, "action", op->name);
	json_put(o, "adapter", op->adapter);
	json_put(o, "adapter_version", op->adapter_version);
	json_put(o, "summary", op->summary);
	json_object_set_new(o, "risk", json_real(op->risk));
	json_object_set_new(o, "reversible", json_boolean(op->reversible));
	json_object_set_new(o, "repeatable", json_boolean(op->repeatable));
	json_object_set_new(o, "dry_run", json_boolean(op->has_dry_run));
	json_object_set_new(o, "probe", json_boolean(op->has_probe));
	json_object_set_new(o, "undo", json_boolean(op->has_undo));
	json_put(o, "blast", operation_blast_name(op->blast));
	json_put(o, "isolation", operation_isolation_name(op->isolation));
	json_object_set_new(o, "timeout_default_s", json_integer(op->timeout_default_s));
	json_object_set_new(o, "timeout_max_s", json_integer(op->timeout_max_s));
	json_object_set_new(o, "binding", texts(op->binding, op->binding_count));
	json_object_set_new(o, "secrets", texts(op->secrets, op->secrets_count));
	for (size_t i = 0; i < op->needs_count; i++)
		json_array_append_new(needs, json_pack("{s:s, s:s?}", "name", op->needs[i].name, "when",
						       op->needs[i].pointer));
	json_object_set_new(o, "needs", needs);
	if (op->params_schema_text && json_read_own(op->params_schema_text, &schema, NULL) == OC_OK)
		json_object_set_new(o, "params", schema);
	return o;
}

void adapter_list(struct api_call *c)
{
	const struct operation_list *ops = c->deps->operations_ref;
	json_t *list = json_array();

	for (size_t i = 0; ops && i < ops->count; i++)
		json_array_append_new(list, operation_json(&ops->item[i]));
	call_page(c, list, NULL);
}
