/* store.h - where the objects of the detail store lie: a folder, or a bucket that speaks S3.
 *
 * An object is written whole or not at all, is never changed, and is known by a row of oo_locator: write it, then
 * insert the row in a transaction of your own. A crash in between leaves an object that nobody knows: detail_sweep() takes it
 * away after a while. So a locator never points at nothing, but for what retention and the tombstones of cases removed.
 *
 * Keys look like TENANT/DATASET/2026/01/31/13/UUID.jsonl.zst. In a folder: temp file, fsync, rename, fsync of the
 * folder. In S3: one PUT, signed by Signature Version 4.
 *
 * Full is no error of the caller's work: detail_put answers OC_TOO_LARGE when the quota is used up or the disk is full,
 * and the caller goes on without the detail, counted. Thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define DETAIL_KEY_MAX 512

struct sink;

struct detail_store_config {
	const char *
		dir; /* or NULL; used when there is no bucket, and for what was written before there was one */
	long long quota_bytes; /* of the folder; 0: none */
	const char *s3_url; /* "https://s3.eu-central-1.amazonaws.com", "http://127.0.0.1:9000"; NULL: no S3 */
	const char *s3_bucket, *s3_region, *s3_key_id, *s3_secret, *s3_prefix, *s3_ca_file;
	unsigned s3_timeout_ms; /* of one request; 0: 10 s */
	/* Lent: get a copy of every log record whose transaction is through; see sink.h. NULL-ended, or NULL. */
	struct sink *const *sinks;
};

struct detail_store;
MUST_CHECK enum oc_err detail_store_open(const struct detail_store_config *config, struct detail_store **ret,
					 struct oc_fail *reterr);
void detail_store_close(struct detail_store *s);
DEFINE_AUTO(detail_store, struct detail_store *, detail_store_close);

/* OC_BAD_REQUEST for a key that is none (.., empty parts), OC_TOO_LARGE: full, OC_UNAVAILABLE: try again later.
 * ret_bucket: what goes into oo_locator.bucket, "local" or "s3:BUCKET"; lent by the store. Where there is a bucket and it does not
 * answer, the object goes into the folder, if there is one: detail_sweep() takes it to the bucket later. */
MUST_CHECK enum oc_err detail_put(struct detail_store *s, const char *key, const void *bytes, size_t len,
				  const char **ret_bucket, struct oc_fail *reterr);
/* "s3:BUCKET", or NULL without one. */
const char *detail_store_s3(const struct detail_store *s);
/* Into the bucket alone. */
MUST_CHECK enum oc_err detail_put_s3(struct detail_store *s, const char *key, const void *bytes, size_t len,
				     struct oc_fail *reterr);
/* bucket: as the row says. OC_NOT_FOUND when it is gone. At most SEGMENT_BYTES_MAX. */
MUST_CHECK enum oc_err detail_get(struct detail_store *s, const char *bucket, const char *key,
				  unsigned char **ret_bytes, size_t *ret_len, struct oc_fail *reterr);
/* An object that is not there is fine. */
MUST_CHECK enum oc_err detail_delete(struct detail_store *s, const char *bucket, const char *key,
				     struct oc_fail *reterr);

struct detail_object {
	const char *bucket_ref, *key_ref;
	long long bytes;
	int64_t written_us;
};
/* Every object of the folder and of the bucket, in no order. The callback may delete it; false stops. */
MUST_CHECK enum oc_err detail_each(struct detail_store *s,
				   bool (*fn)(void *ctx, const struct detail_object *o), void *ctx,
				   struct oc_fail *reterr);
struct sink *const *detail_store_sinks(const struct detail_store *s); /* NULL-ended; NULL: none */
long long detail_used(const struct detail_store *s); /* bytes in the folder, as far as known */
long long detail_quota(const struct detail_store *s);
void detail_used_is(struct detail_store *s,
		    long long bytes); /* others write there, too: counted again by the sweep */
