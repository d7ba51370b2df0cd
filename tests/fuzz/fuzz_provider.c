/* A provider may answer anything: it is read within bounds, or refused; what came back is looked through for names. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "llm/redact.h"
#include "llm/suspect.h"
#include "llm/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(str) char *text = mem_strndup((const char *)data, size);
	AUTO(redact) struct redact *r = redact_new();
	AUTO(str) char *clean = redact_text(r, text);
	AUTO(str) char *back = redact_back(r, clean);
	float v[8];
	char sign[64];

	for (int kind = 0; kind < 2; kind++)
		for (int stream = 0; stream < 2; stream++) {
			struct wire_said said = { 0 };

			if (wire_read((enum wire_kind)kind, stream ? "text/event-stream" : "application/json",
				      text, strlen(text), &said, NULL) == OC_OK) {
				json_t *doc = wire_extract(said.text);

				json_decref(redact_json_back(r, doc));
				json_decref(doc);
				wire_said_done(&said);
			}
		}
	if (wire_embed_read(text, strlen(text), 2, 4, v, NULL, NULL) == OC_OK)
		assert(v[0] == v[0]);
	json_decref(wire_extract(text));
	(void)suspect_text(text, sign, sizeof(sign));
	return 0;
}
