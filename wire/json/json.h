/* json.h - JSON values. The one place where jansson's header appears; its reading and building calls
 * (json_object_get, json_pack, ...) are used as they are by whoever includes this.
 *
 * Parsing from outside goes through json_read, which bounds size and depth first and refuses
 * duplicate keys, invalid UTF-8 and trailing bytes. Not thread-safe per value. */
#pragma once
#include <jansson.h>
#include "base/err.h"
#include "base/hash.h"
#include "base/text.h"

DEFINE_AUTO(json, json_t *, json_decref);

struct json_limits {
	size_t bytes;   /* 0: 1 MiB */
	unsigned depth; /* 0: 64 */
};

/* OC_BAD_REQUEST with line and column, OC_TOO_LARGE. */
MUST_CHECK enum oc_err json_read(const char *text, size_t len, const struct json_limits *limits, json_t **ret,
				 struct oc_fail *reterr);
/* For text of our own (rows, contracts): default limits of 16 MiB. */
MUST_CHECK enum oc_err json_read_own(const char *text, json_t **ret, struct oc_fail *reterr);

char *json_text(const json_t *v);   /* compact; yours */
char *json_pretty(const json_t *v); /* two blanks; yours */
/* Canonical: compact, keys sorted by code unit, as jansson prints numbers. What hashes are made of. */
char *json_canonical(const json_t *v);
void json_hash(const json_t *v, char out[HASH_HEX]);

/* Lent; NULL / fallback when absent or of another type. */
const char *json_str(const json_t *obj, const char *key);
const char *json_str_or(const json_t *obj, const char *key, const char *fallback);
long long json_int_or(const json_t *obj, const char *key, long long fallback);
double json_num_or(const json_t *obj, const char *key, double fallback);
bool json_bool_or(const json_t *obj, const char *key, bool fallback);
json_t *json_at(const json_t *v, const char *pointer);         /* RFC 6901 pointer; lent */
void json_put(json_t *obj, const char *key, const char *text); /* NULL text: JSON null */
/* Appends s as a JSON string with quotes to out. */
void json_quote(struct text *out, const char *s);
