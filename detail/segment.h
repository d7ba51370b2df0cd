/* segment.h - many records in one compressed object: JSON lines in zstd blocks, with an index behind them.
 *
 *	block            a zstd frame of whole lines, about SEGMENT_BLOCK bytes before compression
 *	...
 *	index            a zstd *skippable* frame: for each block where it is, its times, its trace filter
 *
 * So `zstd -dc` of a segment prints its lines, with no program of ours; a look at a few of them reads the index and one block.
 * All numbers are little-endian. Lines begin with {"time_us":N, ... and are what whoever wrote them made of the record.
 *
 * Reading takes nothing on trust: a segment may have been cut, changed or made by somebody else. Pure, but for memory. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "detail/filter.h"

#define SEGMENT_BLOCK     ((size_t)256 << 10)
#define SEGMENT_RAW_MAX   ((size_t)64 << 20) /* of one segment, before compression: what a writer seals at */
#define SEGMENT_LINE_MAX  ((size_t)1 << 20)
#define SEGMENT_BYTES_MAX ((size_t)256 << 20) /* of an object that is read */
#define SEGMENT_SUFFIX    ".jsonl.zst"

struct segment_writer;
struct segment_writer *segment_writer_new(void);
void segment_writer_free(struct segment_writer *w);
DEFINE_AUTO(segment_writer, struct segment_writer *, segment_writer_free);

/* `line` without a line feed; trace_id may be NULL. False: longer than SEGMENT_LINE_MAX, or has a line feed. */
bool segment_add(struct segment_writer *w, int64_t time_us, const uint8_t *trace_id, const char *line,
		 size_t len);
size_t segment_raw(const struct segment_writer *w);
size_t segment_records(const struct segment_writer *w);

struct segment {
	unsigned char *bytes;
	size_t len, raw, records;
	int64_t from_us, to_us;
	uint8_t *filter; /* of all its traces, for whoever keeps it beside; NULL: there is none */
	size_t filter_len;
};
/* Empties the writer, which can be used again. At least one record. */
void segment_finish(struct segment_writer *w, struct segment *ret);
void segment_done(struct segment *s);

#define SEGMENT_TEXTS 4
struct segment_ask {
	bool has_trace;
	uint8_t trace_id[TRACE_ID];
	int64_t from_us, to_us;          /* both included; 0, 0: any time */
	const char *text[SEGMENT_TEXTS]; /* all of them must be in the line as they are; NULL: none */
	size_t skip, limit;              /* of lines that fit; limit 0: all */
};
struct segment_said {
	size_t lines;  /* that were handed out */
	size_t passed; /* that fit, with those skipped */
	bool more;     /* stopped at the limit */
	size_t blocks, blocks_read;
};
/* Lines in the order in which they were written. on_line may say stop with false. OC_INVALID: no segment, or a damaged one. */
MUST_CHECK enum oc_err segment_read(const unsigned char *bytes, size_t len, const struct segment_ask *ask,
				    bool (*on_line)(void *ctx, const char *line, size_t len), void *ctx,
				    struct segment_said *ret, struct oc_fail *reterr);
