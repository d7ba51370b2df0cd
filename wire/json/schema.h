/* schema.h - JSON Schema 2020-12, by jsoncons behind a C interface.
 *
 * Right for plans and contracts (about 100 us each), wrong for a hot path. Schemas are only ever our
 * own or an adapter's, never a user's: patterns run in std::regex, which backtracks, and a `$ref` that
 * leads to itself is not noticed. Documents may come from anywhere: std::regex recurses once per
 * character, so long strings are checked on a stack that fits them, and a string over
 * SCHEMA_STRING_MAX is refused where the schema has patterns, and so is a number beyond 64 bits anywhere.
 * `format` is a note, not a rule.
 * Compiled schemas are read-only and may be used from several threads at once. */
#pragma once
#include "wire/json/json.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_schema;

struct schema_finding {
	char pointer[256]; /* where in the document, RFC 6901 */
	char keyword[64];  /* "required", "enum", ... */
	char text[512];
};

#define SCHEMA_FINDINGS_MAX 16
struct schema_findings {
	size_t count; /* may be more than are kept */
	struct schema_finding item[SCHEMA_FINDINGS_MAX];
};

#define SCHEMA_STRING_MAX ((size_t)64 << 10)

/* OC_INVALID when the schema itself is wrong. External $refs are refused, never fetched. */
MUST_CHECK enum oc_err json_schema_compile(const char *schema_text, struct json_schema **ret,
					   struct oc_fail *reterr);
/* The same with documents at hand: `lookup` answers the text of the schema with that URI, or NULL to
 * refuse it. For contracts that refer to each other; nothing is fetched here either. */
typedef const char *json_schema_lookup_fn(void *ctx, const char *uri);
MUST_CHECK enum oc_err json_schema_compile_with(const char *schema_text, json_schema_lookup_fn *lookup,
						void *ctx, struct json_schema **ret, struct oc_fail *reterr);
void json_schema_free(struct json_schema *schema);
DEFINE_AUTO(json_schema, struct json_schema *, json_schema_free);

/* OC_OK, or OC_INVALID with the first finding's pointer in reterr->field and all in ret (may be NULL). */
MUST_CHECK enum oc_err json_schema_check(const struct json_schema *schema, const char *doc_text,
					 struct schema_findings *ret, struct oc_fail *reterr);

#ifdef __cplusplus
}
#endif
