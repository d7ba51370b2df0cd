#include "detail/sweep.h"
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/locator.h"

#define BATCH 500

struct sweep {
	struct detail_store *store;
	struct pg *pg;
	int64_t before_us;
	const char *bucket; /* of the keys that wait */
	char *key[BATCH];
	long long bytes[BATCH];
	size_t keys;
	struct detail_swept *swept;
	enum oc_err err;
	struct oc_fail *reterr;
};

static void keys_done(struct sweep *w)
{
	for (size_t i = 0; i < w->keys; i++)
		free(w->key[i]);
	w->keys = 0;
}

static bool remove_object(struct sweep *w, const char *bucket, const char *key, const char *why)
{
	struct oc_fail fail = { 0 };

	if (detail_delete(w->store, bucket, key, &fail) != OC_OK) {
		log_warn("detail store: %s stays: %s", key, fail.text);
		return false;
	}
	metric_inc(M_DETAIL_SWEPT, why, NULL, NULL);
	return true;
}

/* Those of the keys without a row go. */
static enum oc_err settle(struct sweep *w)
{
	AUTO(pg_result) struct pg_result *rows = NULL;
	AUTO(text) struct text list = { 0 };
	enum oc_err err;

	if (!w->keys)
		return OC_OK;
	for (size_t i = 0; i < w->keys; i++)
		pg_array_add(&list, w->key[i]);
	err = pg_query(w->pg, SQL_LOCATOR_UNKNOWN, PG_ARGS(pg_array_end(&list), w->bucket), &rows, w->reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(rows); i++) {
		const char *key = pg_text(rows, i, 0);

		if (!remove_object(w, w->bucket, key, "unknown"))
			continue;
		w->swept->unknown++;
		for (size_t k = 0; k < w->keys; k++)
			if (str_eq(w->bucket, "local") && str_eq(w->key[k], key)) {
				w->swept->objects--;
				w->swept->bytes -= w->bytes[k];
			}
	}
	keys_done(w);
	return err;
}

static bool look_at(void *ctx, const struct detail_object *o)
{
	struct sweep *w = ctx;

	if (str_eq(o->bucket_ref, "local")) {
		w->swept->objects++;
		w->swept->bytes += o->bytes;
	}
	if (o->written_us >= w->before_us)
		return true;
	/* buckets are walked one after the other */
	if (w->keys == BATCH || (w->keys && w->bucket != o->bucket_ref)) {
		w->err = settle(w);
		if (w->err != OC_OK)
			return false;
	}
	w->bucket = o->bucket_ref;
	w->bytes[w->keys] = o->bytes;
	w->key[w->keys++] = mem_strdup(o->key_ref);
	return true;
}

static enum oc_err move_to_bucket(struct sweep *w)
{
	AUTO(pg_result) struct pg_result *rows = NULL;
	const char *s3 = detail_store_s3(w->store);
	enum oc_err err;

	if (!s3)
		return OC_OK;
	err = pg_query(w->pg, SQL_LOCATOR_OF_BUCKET, PG_ARGS("local", "200"), &rows, w->reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(rows); i++) {
		const char *key = pg_text(rows, i, 2);
		AUTO(bytes) unsigned char *bytes = NULL;
		AUTO(pg_result) struct pg_result *moved = NULL;
		struct oc_fail fail = { 0 };
		size_t len;

		err = detail_get(w->store, "local", key, &bytes, &len, &fail);
		if (err == OC_NOT_FOUND || err == OC_INVALID) { /* on another replica's disk */
			err = OC_OK;
			continue;
		}
		if (err == OC_OK)
			err = detail_put_s3(w->store, key, bytes, len, &fail);
		if (err != OC_OK) {
			log_info("detail store: what waits for the bucket goes on waiting: %s", fail.text);
			return OC_OK;
		}
		err = pg_query(w->pg, SQL_LOCATOR_MOVE, PG_ARGS(pg_text(rows, i, 0), pg_text(rows, i, 1), s3),
			       &moved, w->reterr);
		if (err == OC_OK && pg_rows(moved)) {
			w->swept->moved += remove_object(w, "local", key, "moved");
		}
	}
	return err;
}

static enum oc_err hold_quota(struct sweep *w)
{
	long long quota = detail_quota(w->store);

	if (!quota || detail_used(w->store) <= quota / 10 * 9)
		return OC_OK;
	while (detail_used(w->store) > quota / 10 * 8) {
		AUTO(pg_result) struct pg_result *rows = NULL;
		AUTO(pg_result) struct pg_result *gone = NULL;
		AUTO(text) struct text tenants = { 0 };
		AUTO(text) struct text ids = { 0 };
		long long over = detail_used(w->store) - quota / 10 * 8;
		unsigned n = 0;
		enum oc_err err =
			pg_query(w->pg, SQL_LOCATOR_OLDEST, PG_ARGS("local", "200"), &rows, w->reterr);

		if (err != OC_OK)
			return err;
		for (; n < pg_rows(rows) && over > 0; n++) {
			pg_array_add(&tenants, pg_text(rows, n, 0));
			pg_array_add(&ids, pg_text(rows, n, 1));
			over -= pg_int(rows, n, 3);
		}
		if (n) {
			err = pg_query(w->pg, SQL_LOCATOR_DROP,
				       PG_ARGS(pg_array_end(&tenants), pg_array_end(&ids)), &gone, w->reterr);
			if (err != OC_OK)
				return err;
		}
		if (!pg_rows(gone)) {
			log_warn("detail store: %lld of %lld bytes are used, and all of it is pinned or cited",
				 detail_used(w->store), quota);
			return OC_OK;
		}
		for (unsigned i = 0; i < pg_rows(gone); i++) {
			w->swept->forced += remove_object(w, "local", pg_text(gone, i, 0), "quota");
		}
	}
	return OC_OK;
}

enum oc_err detail_sweep(struct detail_store *s, struct pg *pg, int64_t now_us, int64_t grace_us,
			 struct detail_swept *ret, struct oc_fail *reterr)
{
	struct sweep w = {
		.store = s, .pg = pg, .before_us = now_us - grace_us, .swept = ret, .reterr = reterr
	};
	enum oc_err err;

	*ret = (struct detail_swept){ 0 };
	err = detail_each(s, look_at, &w, reterr);
	if (err == OC_OK)
		err = w.err;
	if (err == OC_OK)
		err = settle(&w);
	keys_done(&w);
	if (err != OC_OK)
		return err;
	detail_used_is(s, ret->bytes);
	err = move_to_bucket(&w);
	if (err == OC_OK)
		err = hold_quota(&w);
	metric_set(M_DETAIL_USED, (double)detail_used(s), NULL, NULL, NULL);
	return err;
}
