#include "wire/json/json.h"
#include "base/mem.h"

#define OWN_LIMIT ((size_t)16 << 20)

/* jansson has a depth limit of 2048 built in, which is deep for a stack of threads. Ours is checked on
 * the bytes, before anything is allocated. */
static bool too_deep(const char *s, size_t n, unsigned max)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < n; i++) {
		if (in_string) {
			if (s[i] == '\\')
				i++;
			else if (s[i] == '"')
				in_string = false;
		} else if (s[i] == '"') {
			in_string = true;
		} else if (s[i] == '{' || s[i] == '[') {
			if (++depth > max)
				return true;
		} else if ((s[i] == '}' || s[i] == ']') && depth) {
			depth--;
		}
	}
	return false;
}

enum oc_err json_read(const char *s, size_t len, const struct json_limits *limits, json_t **ret,
		      struct oc_fail *reterr)
{
	size_t max = limits && limits->bytes ? limits->bytes : (size_t)1 << 20;
	unsigned depth = limits && limits->depth ? limits->depth : 64;
	json_error_t e;
	json_t *v;

	if (len > max)
		return oc_fail(reterr, OC_TOO_LARGE, "the JSON has %zu bytes; at most %zu are taken", len,
			       max);
	if (too_deep(s, len, depth))
		return oc_fail(reterr, OC_BAD_REQUEST, "the JSON is nested deeper than %u levels", depth);
	v = json_loadb(s ? s : "", len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (!v)
		return oc_fail(reterr, OC_BAD_REQUEST, "not valid JSON: %s (line %d, column %d)", e.text,
			       e.line, e.column);
	*ret = v;
	return OC_OK;
}

enum oc_err json_read_own(const char *s, json_t **ret, struct oc_fail *reterr)
{
	return json_read(s, s ? strlen(s) : 0, &(struct json_limits){ .bytes = OWN_LIMIT, .depth = 512 }, ret,
			 reterr);
}

static char *dump(const json_t *v, size_t flags)
{
	char *s = json_dumps(v, flags | JSON_ENCODE_ANY);

	return s ? s : mem_strdup("null");
}

char *json_text(const json_t *v)
{
	return dump(v, JSON_COMPACT);
}
char *json_pretty(const json_t *v)
{
	return dump(v, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
}
char *json_canonical(const json_t *v)
{
	return dump(v, JSON_COMPACT | JSON_SORT_KEYS);
}

void json_hash(const json_t *v, char out[HASH_HEX])
{
	AUTO(str) char *s = json_canonical(v);

	hash_sha256_hex(s, strlen(s), out);
}

const char *json_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

const char *json_str_or(const json_t *obj, const char *key, const char *fallback)
{
	const char *s = json_str(obj, key);

	return s ? s : fallback;
}

long long json_int_or(const json_t *obj, const char *key, long long fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

double json_num_or(const json_t *obj, const char *key, double fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_number(v) ? json_number_value(v) : fallback;
}

bool json_bool_or(const json_t *obj, const char *key, bool fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

json_t *json_at(const json_t *v, const char *pointer)
{
	char token[256];

	while (v && *pointer == '/') {
		size_t n = 0;
		long long i;

		for (pointer++; *pointer && *pointer != '/' && n < sizeof(token) - 1; pointer++) {
			char c = *pointer;

			if (c == '~' && (pointer[1] == '0' || pointer[1] == '1'))
				c = *++pointer == '0' ? '~' : '/';
			token[n++] = c;
		}
		token[n] = '\0';
		if (*pointer && *pointer != '/')
			return NULL;
		if (json_is_array(v))
			v = str_to_long(token, 0, 1 << 30, &i) ? json_array_get(v, (size_t)i) : NULL;
		else
			v = json_object_get(v, token);
	}
	return *pointer ? NULL : (json_t *)v;
}

void json_put(json_t *obj, const char *key, const char *s)
{
	json_t *v = s ? json_string(s) : json_null();

	/* Rows and pipes can carry bytes that are not UTF-8; the fact matters more than the bytes. */
	json_object_set_new(obj, key, v ? v : json_string("(not UTF-8)"));
}

void json_quote(struct text *out, const char *s)
{
	const char *plain = s;

	text_add_n(out, "\"", 1);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		text_add_n(out, plain, (size_t)(s - plain));
		plain = s + 1;
		if (c == '"' || c == '\\')
			text_addf(out, "\\%c", c);
		else if (c == '\n')
			text_add(out, "\\n");
		else
			text_addf(out, "\\u%04x", c);
	}
	text_add_n(out, plain, (size_t)(s - plain));
	text_add_n(out, "\"", 1);
}
