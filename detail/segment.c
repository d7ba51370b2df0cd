#include "detail/segment.h"
#include <string.h>
#include <zstd.h>
#include "base/mem.h"

#define LEVEL       3
#define SKIPPABLE   0x184D2A5Eu
#define INDEX_MAGIC "OCSEG\001\r\n"
#define INDEX_TAIL  16 /* the length of the index, and the magic */
#define BLOCK_FIXED 48
#define BLOCKS_MAX  65536

struct block {
	uint64_t at, packed, raw, records, filter_len;
	int64_t from_us, to_us;
	uint8_t *filter;
};

struct ids {
	uint8_t (*id)[TRACE_ID];
	size_t n, room;
};

struct segment_writer {
	char *raw; /* the block under way */
	size_t raw_room, raw_len, raw_total, records, block_records;
	int64_t from_us, to_us, block_from, block_to;
	struct ids ids, all;
	unsigned char *out;
	size_t len, room;
	struct block *block;
	size_t blocks;
	ZSTD_CCtx *zstd;
};

struct segment_writer *segment_writer_new(void)
{
	struct segment_writer *w = mem_alloc(sizeof(*w));

	w->zstd = ZSTD_createCCtx();
	/* a changed bit is found, not read */
	if (!w->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1)))
		abort();
	return w;
}

static void blocks_done(struct segment_writer *w)
{
	for (size_t i = 0; i < w->blocks; i++)
		free(w->block[i].filter);
	free(w->block);
	w->block = NULL;
	w->blocks = 0;
}

void segment_writer_free(struct segment_writer *w)
{
	if (!w)
		return;
	blocks_done(w);
	ZSTD_freeCCtx(w->zstd);
	free(w->ids.id);
	free(w->all.id);
	free(w->raw);
	free(w->out);
	free(w);
}

static void ids_add(struct ids *l, const uint8_t *id)
{
	/* lines of one trace often come together */
	if (l->n && memcmp(l->id[l->n - 1], id, TRACE_ID) == 0)
		return;
	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 256;
		l->id = mem_grow(l->id, l->room, TRACE_ID);
	}
	memcpy(l->id[l->n++], id, TRACE_ID);
}

static uint8_t *filter_of(struct ids *l, size_t *ret_len)
{
	uint8_t *bits;

	l->n = filter_unique(l->id, l->n);
	*ret_len = filter_size(l->n);
	if (!*ret_len)
		return NULL;
	bits = mem_alloc(*ret_len);
	filter_fill(bits, *ret_len, (const uint8_t(*)[TRACE_ID])l->id, l->n);
	return bits;
}

static unsigned char *room_for(struct segment_writer *w, size_t more)
{
	if (w->len + more > w->room) {
		w->room = (w->len + more) * 3 / 2;
		w->out = mem_grow(w->out, w->room, 1);
	}
	return w->out + w->len;
}

static void block_end(struct segment_writer *w)
{
	struct block b = { .at = w->len,
			   .raw = w->raw_len,
			   .records = w->block_records,
			   .from_us = w->block_from,
			   .to_us = w->block_to };
	size_t filter_len, packed;

	if (!w->block_records)
		return;
	room_for(w, ZSTD_compressBound(w->raw_len));
	packed = ZSTD_compress2(w->zstd, w->out + w->len, w->room - w->len, w->raw, w->raw_len);
	if (ZSTD_isError(packed))
		abort(); /* memory is gone, or our own mistake: the bound above is zstd's */
	b.packed = packed;
	w->len += packed;
	for (size_t i = 0; i < w->ids.n; i++)
		ids_add(&w->all, w->ids.id[i]);
	b.filter = filter_of(&w->ids, &filter_len);
	b.filter_len = filter_len;
	w->block = mem_grow(w->block, w->blocks + 1, sizeof(*w->block));
	w->block[w->blocks++] = b;
	w->raw_len = w->block_records = w->ids.n = 0;
}

bool segment_add(struct segment_writer *w, int64_t time_us, const uint8_t *trace_id, const char *line,
		 size_t len)
{
	if (len >= SEGMENT_LINE_MAX || memchr(line, '\n', len))
		return false;
	if (w->raw_len && w->raw_len + len > SEGMENT_BLOCK)
		block_end(w);
	/* most tenants say little: no whole block for each of them */
	if (w->raw_len + len + 1 > w->raw_room) {
		w->raw_room = (w->raw_len + len + 1) * 3 / 2 + 512;
		w->raw = mem_grow(w->raw, w->raw_room, 1);
	}
	memcpy(w->raw + w->raw_len, line, len);
	w->raw_len += len;
	w->raw[w->raw_len++] = '\n';
	w->raw_total += len + 1;
	if (!w->block_records++)
		w->block_from = w->block_to = time_us;
	if (!w->records++)
		w->from_us = w->to_us = time_us;
	w->block_from = time_us < w->block_from ? time_us : w->block_from;
	w->block_to = time_us > w->block_to ? time_us : w->block_to;
	w->from_us = time_us < w->from_us ? time_us : w->from_us;
	w->to_us = time_us > w->to_us ? time_us : w->to_us;
	if (trace_id)
		ids_add(&w->ids, trace_id);
	return true;
}

size_t segment_raw(const struct segment_writer *w)
{
	return w->raw_total;
}

size_t segment_records(const struct segment_writer *w)
{
	return w->records;
}

static void put64(unsigned char **p, uint64_t v)
{
	for (int i = 0; i < 8; i++, v >>= 8)
		*(*p)++ = (unsigned char)v;
}

static uint64_t get64(const unsigned char *p)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void segment_finish(struct segment_writer *w, struct segment *ret)
{
	size_t size = INDEX_TAIL;
	unsigned char *p;

	block_end(w);
	for (size_t i = 0; i < w->blocks; i++)
		size += BLOCK_FIXED + 8 + w->block[i].filter_len;
	p = room_for(w, 8 + size);
	for (int i = 0; i < 4; i++)
		*p++ = (unsigned char)(SKIPPABLE >> 8 * i);
	for (int i = 0; i < 4; i++)
		*p++ = (unsigned char)(size >> 8 * i);
	for (size_t i = 0; i < w->blocks; i++) {
		const struct block *b = &w->block[i];

		put64(&p, b->at);
		put64(&p, b->packed);
		put64(&p, b->raw);
		put64(&p, b->records);
		put64(&p, (uint64_t)b->from_us);
		put64(&p, (uint64_t)b->to_us);
		put64(&p, b->filter_len);
		if (b->filter_len)
			memcpy(p, b->filter, b->filter_len);
		p += b->filter_len;
	}
	put64(&p, size);
	memcpy(p, INDEX_MAGIC, 8);
	w->len += 8 + size;
	*ret = (struct segment){ .bytes = w->out,
				 .len = w->len,
				 .raw = w->raw_total,
				 .records = w->records,
				 .from_us = w->from_us,
				 .to_us = w->to_us };
	ret->filter = filter_of(&w->all, &ret->filter_len);
	w->out = NULL;
	w->len = w->room = w->raw_total = w->records = w->all.n = 0;
	blocks_done(w);
}

void segment_done(struct segment *s)
{
	free(s->bytes);
	free(s->filter);
	*s = (struct segment){ 0 };
}

/* --- reading */

static enum oc_err damaged(struct oc_fail *reterr, const char *how)
{
	return oc_fail(reterr, OC_INVALID, "not a segment of the detail store, or a damaged one: %s", how);
}

/* {"time_us":N */
static int64_t time_of(const char *line, size_t len)
{
	static const char lead[] = "{\"time_us\":";
	size_t i = sizeof(lead) - 1;
	int64_t v = 0;

	if (len <= i || memcmp(line, lead, i) != 0)
		return 0;
	for (int digits = 0; i < len && line[i] >= '0' && line[i] <= '9' && digits < 18; i++, digits++)
		v = v * 10 + (line[i] - '0');
	return v;
}

struct reading {
	const struct segment_ask *ask;
	char trace[TRACE_ID * 2 + 32];
	bool (*on_line)(void *ctx, const char *line, size_t len);
	void *ctx;
	struct segment_said said;
	bool stopped;
};

static bool fits(const struct reading *r, const char *line, size_t len)
{
	const struct segment_ask *a = r->ask;

	if (a->from_us || a->to_us) {
		int64_t t = time_of(line, len);

		if (t < a->from_us || t > a->to_us)
			return false;
	}
	if (a->has_trace && !memmem(line, len, r->trace, strlen(r->trace)))
		return false;
	for (size_t i = 0; i < SEGMENT_TEXTS && a->text[i]; i++)
		if (!memmem(line, len, a->text[i], strlen(a->text[i])))
			return false;
	return true;
}

static void block_lines(struct reading *r, const char *raw, size_t len)
{
	for (const char *p = raw, *end = raw + len; p < end && !r->stopped;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = nl ? (size_t)(nl - p) : (size_t)(end - p);

		if (fits(r, p, n)) {
			if (r->ask->limit && r->said.lines == r->ask->limit) {
				r->said.more = r->stopped = true;
				return;
			}
			if (r->said.passed++ >= r->ask->skip) {
				r->said.lines++;
				r->stopped = !r->on_line(r->ctx, p, n);
			}
		}
		p += n + 1;
	}
}

enum oc_err segment_read(const unsigned char *bytes, size_t len, const struct segment_ask *ask,
			 bool (*on_line)(void *ctx, const char *line, size_t len), void *ctx,
			 struct segment_said *ret, struct oc_fail *reterr)
{
	struct reading r = { .ask = ask, .on_line = on_line, .ctx = ctx };
	struct filter_place place = { 0 };
	const unsigned char *p, *end;
	AUTO(str) char *raw = NULL;
	size_t size, raw_room = 0, data, blocks = 0;

	*ret = r.said;
	if (len < 8 + INDEX_TAIL || memcmp(bytes + len - 8, INDEX_MAGIC, 8) != 0)
		return damaged(reterr, "it has no index at its end");
	size = get64(bytes + len - INDEX_TAIL);
	if (size < INDEX_TAIL || size > len - 8)
		return damaged(reterr, "the length of its index is wrong");
	data = len - size - 8;
	if (get32(bytes + data) != SKIPPABLE || get32(bytes + data + 4) != size)
		return damaged(reterr, "its index begins elsewhere");
	if (ask->has_trace) {
		size_t at;

		place = filter_place(ask->trace_id);
		at = (size_t)snprintf(r.trace, sizeof(r.trace), "\"trace_id\":\"");
		for (size_t i = 0; i < TRACE_ID; i++)
			at += (size_t)snprintf(r.trace + at, sizeof(r.trace) - at, "%02x", ask->trace_id[i]);
		snprintf(r.trace + at, sizeof(r.trace) - at, "\"");
	}
	p = bytes + data + 8;
	end = bytes + len - INDEX_TAIL;
	while (p < end && !r.stopped) {
		struct block b;
		size_t got;

		if ((size_t)(end - p) < BLOCK_FIXED + 8 || ++blocks > BLOCKS_MAX)
			return damaged(reterr, "its index is cut");
		b = (struct block){ .at = get64(p),
				    .packed = get64(p + 8),
				    .raw = get64(p + 16),
				    .from_us = (int64_t)get64(p + 32),
				    .to_us = (int64_t)get64(p + 40),
				    .filter_len = get64(p + 48) };
		p += BLOCK_FIXED + 8;
		if (b.filter_len > (size_t)(end - p) || b.filter_len % FILTER_BLOCK)
			return damaged(reterr, "a filter in its index is cut");
		if (b.at > data || b.packed > data - b.at || b.raw > SEGMENT_BLOCK + SEGMENT_LINE_MAX)
			return damaged(reterr, "a block lies outside of it");
		r.said.blocks++;
		if ((ask->has_trace && !filter_has(p, b.filter_len, &place)) ||
		    ((ask->from_us || ask->to_us) && (b.to_us < ask->from_us || b.from_us > ask->to_us))) {
			p += b.filter_len;
			continue;
		}
		p += b.filter_len;
		if (b.raw > raw_room) {
			free(raw);
			raw_room = b.raw;
			raw = mem_alloc(raw_room + 1);
		}
		got = ZSTD_decompress(raw, b.raw, bytes + b.at, b.packed);
		if (ZSTD_isError(got) || got != b.raw)
			return damaged(reterr, "a block does not unpack");
		r.said.blocks_read++;
		block_lines(&r, raw, got);
	}
	*ret = r.said;
	return OC_OK;
}
