#include "wire/json/fast.h"
#include "base/mem.h"

enum oc_err fast_json_read(const char *text, size_t len, size_t max, yyjson_doc **ret, struct oc_fail *reterr)
{
	yyjson_read_err why;
	yyjson_doc *doc;

	if (len > max)
		return oc_fail(reterr, OC_TOO_LARGE, "%zu bytes of JSON, at most %zu", len, max);
	/* it reads only: without the in-place flag the text is not touched */
	doc = yyjson_read_opts((char *)(uintptr_t)text, len, 0, NULL, &why);
	if (!doc)
		return oc_fail(reterr, OC_BAD_REQUEST, "not JSON at byte %zu: %s", why.pos, why.msg);
	*ret = doc;
	return OC_OK;
}

char *fast_json_text(const yyjson_val *v, size_t *ret_len)
{
	size_t n = 0;
	char *s = yyjson_val_write(v, YYJSON_WRITE_ALLOW_INVALID_UNICODE, &n);

	if (!s)
		s = mem_strdup("null"), n = 4;
	if (ret_len)
		*ret_len = n;
	return s;
}
