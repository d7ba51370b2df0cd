#include "ingest/gunzip.h"
#include <stdint.h>
#include <strings.h>
#include <zlib.h>
#include "base/mem.h"

#define STEP ((size_t)64 << 10)

enum oc_err gunzip(const char *encoding, const void *body, size_t len, size_t max, struct text *ret,
		   bool *ret_inflated, struct oc_fail *reterr)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)body, .avail_in = (uInt)len };
	char *buf;
	int rc = Z_OK;

	*ret_inflated = false;
	if (str_empty(encoding) || strcasecmp(encoding, "identity") == 0)
		return OC_OK;
	if (strcasecmp(encoding, "gzip") != 0 && strcasecmp(encoding, "x-gzip") != 0 &&
	    strcasecmp(encoding, "deflate") != 0)
		return oc_fail_field(reterr, OC_INVALID, "Content-Encoding",
				     "'%.40s' is not known; send gzip, or none", encoding);
	if (inflateInit2(&z, 15 + 32) != Z_OK) /* gzip or zlib, as the bytes say */
		return oc_fail(reterr, OC_BUG, "zlib does not start");
	buf = mem_alloc(STEP);
	while (rc == Z_OK && ret->len <= max) {
		z.next_out = (Bytef *)buf;
		z.avail_out = (uInt)STEP;
		rc = inflate(&z, Z_NO_FLUSH);
		text_add_n(ret, buf, STEP - z.avail_out);
		/* gzip files may follow one another */
		if (rc == Z_STREAM_END && z.avail_in > 0 && inflateReset(&z) == Z_OK)
			rc = Z_OK;
	}
	free(buf);
	inflateEnd(&z);
	if (ret->len > max)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %zu bytes when inflated", max);
	if (rc != Z_STREAM_END)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "Content-Encoding", "broken, or ends too early");
	*ret_inflated = true;
	return OC_OK;
}
