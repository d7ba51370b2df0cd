#include "contracts/files.h"
#include "base/mem.h"
#include "contracts_files.h"

/* The URI that the schemas call themselves by; what follows is the path here. */
static const char base_uri[] = "https://opscase.dev/";

const char *contract_file(const char *name)
{
	for (const struct embedded_file *f = contracts_files; f->name; f++)
		if (str_eq(f->name, name))
			return f->text;
	return NULL;
}

static const char *lookup(void *ctx, const char *uri)
{
	AUTO(str) char *path = NULL;

	(void)ctx;
	if (!str_starts(uri, base_uri))
		return NULL;
	path = mem_strndup(uri + strlen(base_uri), strcspn(uri + strlen(base_uri), "#"));
	return contract_file(path);
}

enum oc_err contract_compile(const char *name, struct json_schema **ret, struct oc_fail *reterr)
{
	const char *text = contract_file(name);

	if (!text)
		return oc_fail(reterr, OC_NOT_FOUND, "there is no contract '%.200s'", name);
	return json_schema_compile_with(text, lookup, NULL, ret, reterr);
}

enum oc_err contract_event(const char *type, struct json_schema **ret, struct oc_fail *reterr)
{
	AUTO(str) char *name = mem_printf("contracts/events/%s.schema.json", type);

	return contract_compile(name, ret, reterr);
}

void contract_each(void (*fn)(void *ctx, const char *name, const char *text), void *ctx)
{
	for (const struct embedded_file *f = contracts_files; f->name; f++)
		fn(ctx, f->name, f->text);
}
