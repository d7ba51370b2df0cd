/* gunzip.h - gzip and zlib bodies, inflated up to a bound: a few kilobytes that would become gigabytes are refused while they
 * grow, not after. Pure. */
#pragma once
#include <stddef.h>
#include "base/err.h"
#include "base/text.h"

/* encoding: the Content-Encoding, NULL or "identity": ret stays empty and the body is what it is. OC_INVALID: one that is
 * not known; OC_BAD_REQUEST: broken; OC_TOO_LARGE: more than max bytes. */
MUST_CHECK enum oc_err gunzip(const char *encoding, const void *body, size_t len, size_t max,
			      struct text *ret, bool *ret_inflated, struct oc_fail *reterr);
