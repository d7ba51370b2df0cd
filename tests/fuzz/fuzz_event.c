/* Whatever comes over the bus as the data of an event or command, or as its whole envelope: it is held against
 * its contract, and what passes stays what it is when it is written canonically.
 *
 * Input: a byte that chooses the type (0: the envelope), the rest is JSON. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "contracts/files.h"
#include "domain/case.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct json_schema *schema[64];
static char *type_of[64];
static size_t schemas;

static void take_one(void *ctx, const char *name, const char *text)
{
	const char *begin = strstr(name, "events/"), *end = strstr(name, ".schema.json");

	(void)ctx, (void)text;
	if (!begin || !end || schemas == ARRAY_LEN(schema))
		return;
	type_of[schemas] = mem_strndup(begin + 7, (size_t)(end - begin - 7));
	if (contract_event(type_of[schemas], &schema[schemas], NULL) != OC_OK)
		abort();
	schemas++;
}

static void set_up(void)
{
	type_of[0] = mem_strdup("");
	if (contract_compile("contracts/event.schema.json", &schema[0], NULL) != OC_OK)
		abort();
	schemas = 1;
	contract_each(take_one, NULL);
	if (schemas < 20)
		abort(); /* a fuzzer of nothing finds nothing */
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct schema_findings findings = { 0 };
	AUTO(json) json_t *doc = NULL;
	AUTO(json) json_t *again = NULL;
	AUTO(str) char *text = NULL;
	AUTO(str) char *second = NULL;
	struct oc_fail fail = { 0 };
	enum oc_err err;
	size_t which;

	if (schemas == 0)
		set_up();
	if (size < 1 || json_read((const char *)bytes + 1, size - 1, NULL, &doc, &fail) != OC_OK)
		return 0;
	which = bytes[0] % schemas;
	(void)case_event_of_subject(type_of[which]);
	text = json_canonical(doc);
	err = json_schema_check(schema[which], text, &findings, &fail);
	if ((err == OC_OK) != (findings.count == 0) || (err != OC_OK && !fail.text[0]))
		abort();
	if (json_read(text, strlen(text), &(struct json_limits){ .bytes = (size_t)8 << 20 }, &again, &fail) !=
	    OC_OK)
		abort();
	second = json_canonical(again);
	if (!str_eq(text, second) || json_schema_check(schema[which], second, NULL, &fail) != err)
		abort();
	return 0;
}
