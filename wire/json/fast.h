/* fast.h - JSON on hot paths: yyjson, several times as quick as json.h, for bodies of telemetry that are read once and
 * never changed. The one place where yyjson's header appears; its reading calls (yyjson_obj_get, yyjson_arr_iter, ...) are
 * used as they are by whoever includes this. Texts may hold NUL: look at their length. */
#pragma once
#include <yyjson.h>
#include "base/err.h"

DEFINE_AUTO(yyjson_doc, yyjson_doc *, yyjson_doc_free);

/* OC_BAD_REQUEST with the place; OC_TOO_LARGE beyond max bytes. The document has copies: the text may go. */
MUST_CHECK enum oc_err fast_json_read(const char *text, size_t len, size_t max, yyjson_doc **ret,
				      struct oc_fail *reterr);
/* Compact; yours, from malloc. */
char *fast_json_text(const yyjson_val *v, size_t *ret_len);
