/* A manifest is a stranger's JSON: it is taken with every limit kept, or refused with one sentence. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "executor/loader.h"
#include "wire/json/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	AUTO(str) char *text = mem_strndup((const char *)bytes, size);
	struct manifest m = { 0 };
	struct loader_fail fail = { 0 };

	if (manifest_read(text, &m, &fail) != LOADER_TAKEN) {
		if (!fail.text[0])
			abort();
		manifest_done(&m);
		return 0;
	}
	if (!m.name || !*m.name || m.operations.count == 0)
		abort();
	for (size_t i = 0; i < m.operations.count; i++) {
		const struct operation *op = &m.operations.item[i];
		AUTO(json_schema) struct json_schema *schema = NULL;
		struct oc_fail why = { 0 };

		if (!str_starts(op->name, m.name) || op->timeout_default_s < 1 ||
		    op->timeout_max_s < op->timeout_default_s || !(op->risk >= 0 && op->risk <= 1))
			abort();
		/* what the registry does next; a schema that does not compile is refused there */
		if (i == 0 && json_schema_compile(op->params_schema_text, &schema, &why) != OC_OK &&
		    !why.text[0])
			abort();
	}
	manifest_done(&m);
	return 0;
}
