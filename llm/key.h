/* key.h - a provider's key by its reference: DIR/llm/NAME, a file that only this user can read. */
#pragma once
#include "base/err.h"

/* ret: yours; wipe it. OC_NOT_FOUND, OC_FORBIDDEN: others could read the file. dir may be NULL: there are none. */
MUST_CHECK enum oc_err llm_key_read(const char *dir, const char *ref, char **ret, struct oc_fail *reterr);
