/* read.h - bringing detail back: the lines of one locator, or everything of one trace.
 *
 * `pg` is a connection on which the tenant may be read: opscase_worker, or opscase_api inside of a tenant's transaction. */
#pragma once
#include "detail/segment.h"
#include "detail/store.h"
#include "wire/pg/pg.h"

struct detail_row {
	long long id, bytes;
	char *dataset, *bucket, *key, *hint, *attributes; /* hint may be NULL; attributes: JSON */
	int64_t from_us, to_us, created_us;
	bool pinned;
	long long cited;
};
void detail_row_done(struct detail_row *r);
static inline void oc_auto_detail_row(struct detail_row *r)
{
	detail_row_done(r);
}

/* OC_NOT_FOUND: no such locator in this tenant. */
MUST_CHECK enum oc_err detail_row_read(struct pg *pg, long long tenant_id, long long id,
				       struct detail_row *ret, struct oc_fail *reterr);
/* The lines that fit. An object that is no segment (the output of a step) is one line. OC_NOT_FOUND: expired. */
MUST_CHECK enum oc_err detail_lines(struct detail_store *s, const struct detail_row *row,
				    const struct segment_ask *ask,
				    bool (*on_line)(void *ctx, const char *line, size_t len), void *ctx,
				    struct segment_said *ret, struct oc_fail *reterr);

struct detail_trace_said {
	size_t lines;
	unsigned segments;    /* that were opened */
	unsigned unavailable; /* that could not be read now: the answer may lack something */
	bool more;            /* stopped at the limit */
};
/* In two steps, so that no connection waits for objects: which segments may have it (dataset NULL: any), newest first;
 * then their lines, at most `limit`. */
MUST_CHECK enum oc_err detail_trace_find(struct pg *pg, long long tenant_id, const char *dataset,
					 const uint8_t trace_id[TRACE_ID], int64_t from_us, int64_t to_us,
					 struct pg_result **ret, struct oc_fail *reterr);
void detail_trace_lines(struct detail_store *s, const struct pg_result *found,
			const uint8_t trace_id[TRACE_ID], int64_t from_us, int64_t to_us, size_t limit,
			bool (*on_line)(void *ctx, const char *line, size_t len), void *ctx,
			struct detail_trace_said *ret);
