/* Whatever stands in a YAML file: it becomes a JSON value that json_read would take too, or a sentence with
 * file:line; and as a runbook it is read, or refused with findings. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "planner/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	AUTO(yaml) struct yaml_doc *doc = NULL;
	AUTO(json) json_t *again = NULL;
	AUTO(str) char *text = NULL;
	AUTO(runbook) struct runbook *rb = NULL;
	AUTO(runbook_findings) struct runbook_findings findings = { 0 };
	struct oc_fail fail = { 0 };
	enum oc_err err;

	if (yaml_read("f.yaml", (const char *)bytes, size, &doc, &fail) != OC_OK) {
		if (!str_starts(fail.text, "f.yaml:"))
			abort();
		return 0;
	}
	if (yaml_line(doc, "") < 1)
		abort();
	text = json_text(yaml_value(doc));
	if (json_read(text, strlen(text), &(struct json_limits){ .bytes = (size_t)16 << 20, .depth = 65 },
		      &again, NULL) != OC_OK)
		abort();
	/* compiling the runbook schema costs a millisecond: only for what looks like one */
	if (!json_object_get(yaml_value(doc), "name"))
		return 0;
	err = runbook_read("f.yaml", (const char *)bytes, size, NULL, &rb, &findings, &fail);
	if ((err == OC_OK) != (findings.count == 0))
		abort();
	return 0;
}
