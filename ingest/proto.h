/* proto.h - protobuf's wire format, read in place and written by hand. Pure.
 *
 * Telemetry comes at hundreds of thousands of points a second; a generated reader allocates an object for each
 * of them. This one walks the bytes: nothing is copied, nothing is trusted, and a message ends where its
 * parent said. Groups (wire types 3 and 4) are refused: proto3 has none. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "base/text.h"

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb {
	const uint8_t *p, *end;
	bool bad; /* a length or a number that goes beyond the end; stays set */
};

struct pb_field {
	uint32_t num;
	enum pb_wire wire;
	uint64_t u;       /* varint, fixed32, fixed64 */
	const uint8_t *s; /* bytes */
	uint32_t n;
};

static inline struct pb pb_of(const void *p, size_t n)
{
	return (struct pb){ p, (const uint8_t *)p + n, false };
}
static inline struct pb pb_sub(const struct pb_field *f)
{
	return f->s ? pb_of(f->s, f->n) : pb_of("", 0);
}

static inline bool pb_varint(struct pb *r, uint64_t *ret)
{
	uint64_t v = 0;

	if (r->p < r->end && *r->p < 0x80) {
		*ret = *r->p++;
		return true;
	}
	for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
		uint8_t c = *r->p++;

		if (shift == 63 && c > 1)
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*ret = v;
			return true;
		}
	}
	r->bad = true;
	return false;
}

/* The next field; false at the end, or with r->bad. */
static inline bool pb_next(struct pb *r, struct pb_field *f)
{
	uint64_t key, len;

	if (r->bad || r->p >= r->end || !pb_varint(r, &key))
		return false;
	f->s = NULL;
	f->n = 0;
	f->u = 0;
	f->num = (uint32_t)(key >> 3);
	f->wire = (enum pb_wire)(key & 7);
	if (key >> 32 || f->num == 0)
		goto bad;
	switch (f->wire) {
	case PB_VARINT:
		return pb_varint(r, &f->u);
	case PB_FIXED64:
		if (r->end - r->p < 8)
			goto bad;
		memcpy(&f->u, r->p, 8); /* little-endian, as the machines that we run on */
		r->p += 8;
		return true;
	case PB_FIXED32: {
		uint32_t w;

		if (r->end - r->p < 4)
			goto bad;
		memcpy(&w, r->p, 4);
		f->u = w;
		r->p += 4;
		return true;
	}
	case PB_BYTES:
		if (!pb_varint(r, &len))
			return false;
		if (len > (uint64_t)(r->end - r->p))
			goto bad;
		f->s = r->p;
		f->n = (uint32_t)len;
		r->p += len;
		return true;
	}
bad:
	r->bad = true;
	return false;
}

static inline double pb_double(const struct pb_field *f)
{
	double d = 0;

	if (f->wire == PB_FIXED64)
		memcpy(&d, &f->u, 8);
	return d;
}
static inline int64_t pb_zigzag(uint64_t u)
{
	return (int64_t)(u >> 1) ^ -(int64_t)(u & 1);
}

/* ---- writing: appended to a text. A message is opened, filled and closed; its length has room for 2^28 bytes. */

static inline void pb_put_varint(struct text *t, uint64_t v)
{
	char b[10];
	size_t n = 0;

	while (v >= 0x80) {
		b[n++] = (char)(v | 0x80);
		v >>= 7;
	}
	b[n++] = (char)v;
	text_add_n(t, b, n);
}
static inline void pb_put_key(struct text *t, uint32_t num, enum pb_wire wire)
{
	pb_put_varint(t, (uint64_t)num << 3 | wire);
}
static inline void pb_put_uint(struct text *t, uint32_t num, uint64_t v)
{
	pb_put_key(t, num, PB_VARINT);
	pb_put_varint(t, v);
}
static inline void pb_put_fixed64(struct text *t, uint32_t num, uint64_t v)
{
	pb_put_key(t, num, PB_FIXED64);
	text_add_n(t, (const char *)&v, 8);
}
static inline void pb_put_double(struct text *t, uint32_t num, double d)
{
	uint64_t v;

	memcpy(&v, &d, 8);
	pb_put_fixed64(t, num, v);
}
static inline void pb_put_bytes(struct text *t, uint32_t num, const void *s, size_t n)
{
	pb_put_key(t, num, PB_BYTES);
	pb_put_varint(t, n);
	text_add_n(t, s, n);
}
/* Returns what pb_close() wants. */
static inline size_t pb_open(struct text *t, uint32_t num)
{
	pb_put_key(t, num, PB_BYTES);
	text_add_n(t, "\x80\x80\x80\x00", 4);
	return t->len;
}
static inline void pb_close(struct text *t, size_t at)
{
	uint32_t n = (uint32_t)(t->len - at);

	for (int i = 0; i < 4; i++)
		t->s[at - 4 + (size_t)i] = (char)((n >> (7 * i) & 0x7f) | (i < 3 ? 0x80 : 0));
}
