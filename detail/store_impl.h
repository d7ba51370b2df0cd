/* store_impl.h - what store.c and s3.c share; for them alone. */
#pragma once
#include <stdatomic.h>
#include "detail/store.h"

struct detail_s3;
MUST_CHECK enum oc_err s3_open(const struct detail_store_config *config, struct detail_s3 **ret,
			       struct oc_fail *reterr);
void s3_close(struct detail_s3 *s3);
MUST_CHECK enum oc_err s3_put(struct detail_s3 *s3, const char *key, const void *bytes, size_t len,
			      struct oc_fail *reterr);
MUST_CHECK enum oc_err s3_get(struct detail_s3 *s3, const char *key, unsigned char **ret, size_t *ret_len,
			      struct oc_fail *reterr);
MUST_CHECK enum oc_err s3_delete(struct detail_s3 *s3, const char *key, struct oc_fail *reterr);
MUST_CHECK enum oc_err s3_each(struct detail_s3 *s3, const char *bucket,
			       bool (*fn)(void *ctx, const struct detail_object *o), void *ctx,
			       struct oc_fail *reterr);
