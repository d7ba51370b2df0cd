/* desk.h - the library for whoever speaks JSON: the API's hook.
 *
 * what and its arguments:
 *   put     {"pages": [{"url","text","kind"?,"service"?,"valid_from"?,"valid_to"?}], "source"?, "keep"?: [url]}
 *   search  {"q", "service"?, "kind"?, "at"?, "limit"?, "how"?}
 *   list    {"state"?, "limit"?}
 *   decide  {"doc_id", "state", "by"?}
 *   embed   {"anew"?: "yes"} */
#pragma once
#include "librarian/library.h"

MUST_CHECK enum oc_err desk_ask(struct library *lib, struct pg *pg, long long tenant_id, const char *what,
				const json_t *args, const char *who, json_t **ret, struct oc_fail *reterr);
