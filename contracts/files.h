/* files.h - the schemas under contracts/, embedded into the program. Any thread. */
#pragma once
#include "wire/json/schema.h"

/* "contracts/plan.schema.json", "contracts/events/evt.plan.proposed.v1.schema.json". NULL if there is none. */
const char *contract_file(const char *name);
/* The same compiled; one contract may refer to another, nothing is fetched. OC_NOT_FOUND. */
MUST_CHECK enum oc_err contract_compile(const char *name, struct json_schema **ret, struct oc_fail *reterr);
/* Of a message on the bus, by its type: "cmd.plan.generate", "evt.plan.proposed.v1". OC_NOT_FOUND. */
MUST_CHECK enum oc_err contract_event(const char *type, struct json_schema **ret, struct oc_fail *reterr);
/* Calls fn for each embedded file. */
void contract_each(void (*fn)(void *ctx, const char *name, const char *text), void *ctx);
