#include "detail/read.h"
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "store/locator.h"

#define SEGMENTS_MAX "200" /* that one look for a trace opens */

void detail_row_done(struct detail_row *r)
{
	free(r->dataset);
	free(r->bucket);
	free(r->key);
	free(r->hint);
	free(r->attributes);
	*r = (struct detail_row){ 0 };
}

enum oc_err detail_row_read(struct pg *pg, long long tenant_id, long long id, struct detail_row *ret,
			    struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *rows = NULL;
	char tenant[24], number[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(number, sizeof(number), "%lld", id);
	err = pg_query(pg, SQL_LOCATOR_READ, PG_ARGS(tenant, number), &rows, reterr);
	if (err != OC_OK)
		return err;
	if (!pg_rows(rows))
		return oc_fail(reterr, OC_NOT_FOUND,
			       "no detail with the number %lld: it never was, or it expired", id);
	*ret = (struct detail_row){ .id = pg_int(rows, 0, 0),
				    .dataset = mem_strdup(pg_text(rows, 0, 1)),
				    .bucket = mem_strdup(pg_text(rows, 0, 2)),
				    .key = mem_strdup(pg_text(rows, 0, 3)),
				    .from_us = pg_int(rows, 0, 4),
				    .to_us = pg_int(rows, 0, 5),
				    .hint = mem_strdup(pg_text(rows, 0, 6)),
				    .attributes = mem_strdup(pg_text(rows, 0, 7)),
				    .bytes = pg_int(rows, 0, 8),
				    .pinned = pg_bool(rows, 0, 9),
				    .created_us = pg_int(rows, 0, 10),
				    .cited = pg_int(rows, 0, 11) };
	return OC_OK;
}

static bool is_segment(const char *key)
{
	size_t n = strlen(key), s = strlen(SEGMENT_SUFFIX);

	return n > s && strcmp(key + n - s, SEGMENT_SUFFIX) == 0;
}

static enum oc_err object_lines(struct detail_store *s, const char *bucket, const char *key,
				const struct segment_ask *ask,
				bool (*on_line)(void *ctx, const char *line, size_t len), void *ctx,
				struct segment_said *ret, struct oc_fail *reterr)
{
	AUTO(bytes) unsigned char *bytes = NULL;
	size_t len;
	enum oc_err err = detail_get(s, bucket, key, &bytes, &len, reterr);

	*ret = (struct segment_said){ 0 };
	if (err == OC_NOT_FOUND)
		return oc_fail(reterr, OC_NOT_FOUND, "the detail has expired: %s is not there any more", key);
	if (err != OC_OK)
		return err;
	if (is_segment(key))
		return segment_read(bytes, len, ask, on_line, ctx, ret, reterr);
	ret->passed = 1;
	if (ask->skip == 0) {
		ret->lines = 1;
		on_line(ctx, (const char *)bytes, len);
	}
	return OC_OK;
}

enum oc_err detail_lines(struct detail_store *s, const struct detail_row *row, const struct segment_ask *ask,
			 bool (*on_line)(void *ctx, const char *line, size_t len), void *ctx,
			 struct segment_said *ret, struct oc_fail *reterr)
{
	return object_lines(s, row->bucket, row->key, ask, on_line, ctx, ret, reterr);
}

enum oc_err detail_trace_find(struct pg *pg, long long tenant_id, const char *dataset,
			      const uint8_t trace_id[TRACE_ID], int64_t from_us, int64_t to_us,
			      struct pg_result **ret, struct oc_fail *reterr)
{
	struct filter_place place = filter_place(trace_id);
	char tenant[24], from[24], to[24], hash[24], bit[FILTER_BITS][8];

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(from, sizeof(from), "%lld", (long long)from_us);
	snprintf(to, sizeof(to), "%lld", (long long)to_us);
	snprintf(hash, sizeof(hash), "%u", place.hash);
	for (int i = 0; i < FILTER_BITS; i++)
		snprintf(bit[i], sizeof(bit[i]), "%u", (unsigned)place.bit[i]);
	return pg_query(pg, SQL_DETAIL_TRACE,
			PG_ARGS(tenant, dataset, from, to, hash, bit[0], bit[1], bit[2], bit[3], bit[4],
				bit[5], SEGMENTS_MAX),
			ret, reterr);
}

void detail_trace_lines(struct detail_store *s, const struct pg_result *found,
			const uint8_t trace_id[TRACE_ID], int64_t from_us, int64_t to_us, size_t limit,
			bool (*on_line)(void *ctx, const char *line, size_t len), void *ctx,
			struct detail_trace_said *ret)
{
	struct segment_ask ask = { .has_trace = true, .from_us = from_us, .to_us = to_us };

	*ret = (struct detail_trace_said){ 0 };
	memcpy(ask.trace_id, trace_id, TRACE_ID);
	for (unsigned i = 0; i < pg_rows(found) && !ret->more; i++) {
		struct segment_said said;
		struct oc_fail fail = { 0 };
		enum oc_err got;

		ask.limit = limit - ret->lines;
		got = object_lines(s, pg_text(found, i, 1), pg_text(found, i, 2), &ask, on_line, ctx, &said,
				   &fail);
		ret->segments++;
		if (got != OC_OK) {
			/* expired between the two looks is no news; anything else is said */
			ret->unavailable += got != OC_NOT_FOUND;
			log_warn("trace: locator %s: %s", pg_text(found, i, 0), fail.text);
			continue;
		}
		ret->lines += said.lines;
		ret->more = said.more || ret->lines >= limit;
	}
}
