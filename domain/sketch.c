#include "domain/sketch.h"
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"

/* Values closer to zero than this count as zero: the index stays small. */
#define TINY        1e-12
#define VERSION     1
#define INDEX_LIMIT 200000 /* |index| of any finite double stays far below */

struct bin {
	int index;
	uint64_t count;
};

/* Sorted by index. One for each sign: magnitudes. */
struct store {
	struct bin *bin;
	size_t count, cap;
};

struct sketch {
	struct store pos, neg;
	uint64_t zero, total;
};

static double gamma_ln(void)
{
	return log((1 + SKETCH_ACCURACY) / (1 - SKETCH_ACCURACY));
}

static int index_of(double magnitude)
{
	return (int)ceil(log(magnitude) / gamma_ln());
}

/* The middle of the bin in the relative sense: within SKETCH_ACCURACY of everything in it. */
static double value_of(int index)
{
	double gamma = (1 + SKETCH_ACCURACY) / (1 - SKETCH_ACCURACY);

	return 2 * exp(index * gamma_ln()) / (gamma + 1);
}

struct sketch *sketch_new(void)
{
	return mem_alloc(sizeof(struct sketch));
}

void sketch_free(struct sketch *s)
{
	if (!s)
		return;
	free(s->pos.bin);
	free(s->neg.bin);
	free(s);
}

static void store_add(struct store *st, int index, uint64_t times)
{
	size_t lo = 0, hi = st->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (st->bin[mid].index < index)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < st->count && st->bin[lo].index == index) {
		st->bin[lo].count += times;
		return;
	}
	if (st->count == SKETCH_BINS) {
		if (lo == 0) { /* smaller than all: goes where the smallest are */
			st->bin[0].count += times;
			return;
		}
		/* the two smallest become one, in the larger of them */
		st->bin[1].count += st->bin[0].count;
		memmove(&st->bin[0], &st->bin[1], (st->count - 1) * sizeof(st->bin[0]));
		st->count--;
		lo--;
	}
	if (st->count == st->cap) {
		st->cap = st->cap ? st->cap * 2 : 8;
		st->bin = mem_grow(st->bin, st->cap, sizeof(st->bin[0]));
	}
	memmove(&st->bin[lo + 1], &st->bin[lo], (st->count - lo) * sizeof(st->bin[0]));
	st->bin[lo] = (struct bin){ .index = index, .count = times };
	st->count++;
}

bool sketch_add(struct sketch *s, double value, uint64_t times)
{
	if (!isfinite(value))
		return false;
	if (!times)
		return true;
	s->total += times;
	if (fabs(value) < TINY)
		s->zero += times;
	else
		store_add(value > 0 ? &s->pos : &s->neg, index_of(fabs(value)), times);
	return true;
}

void sketch_merge(struct sketch *into, const struct sketch *from)
{
	for (size_t i = 0; i < from->pos.count; i++)
		store_add(&into->pos, from->pos.bin[i].index, from->pos.bin[i].count);
	for (size_t i = 0; i < from->neg.count; i++)
		store_add(&into->neg, from->neg.bin[i].index, from->neg.bin[i].count);
	into->zero += from->zero;
	into->total += from->total;
}

uint64_t sketch_count(const struct sketch *s)
{
	return s->total;
}

double sketch_quantile(const struct sketch *s, double q)
{
	uint64_t rank, seen = 0;

	if (!s->total || !(q >= 0 && q <= 1))
		return NAN;
	rank = (uint64_t)(q * (double)(s->total - 1));
	for (size_t i = s->neg.count; i > 0; i--) {
		seen += s->neg.bin[i - 1].count;
		if (seen > rank)
			return -value_of(s->neg.bin[i - 1].index);
	}
	seen += s->zero;
	if (seen > rank)
		return 0;
	for (size_t i = 0; i < s->pos.count; i++) {
		seen += s->pos.bin[i].count;
		if (seen > rank)
			return value_of(s->pos.bin[i].index);
	}
	return s->pos.count ? value_of(s->pos.bin[s->pos.count - 1].index) : 0;
}

/* ---- bytes: version, zero, then each sign: bins, (index step, count)... as varints ---- */

static void put(struct text *t, uint64_t v)
{
	char byte;

	for (; v >= 0x80; v >>= 7) {
		byte = (char)(v | 0x80);
		text_add_n(t, &byte, 1);
	}
	byte = (char)v;
	text_add_n(t, &byte, 1);
}

static uint64_t zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static void put_store(struct text *t, const struct store *st)
{
	int64_t last = 0;

	put(t, st->count);
	for (size_t i = 0; i < st->count; i++) {
		put(t, zigzag(st->bin[i].index - last));
		put(t, st->bin[i].count);
		last = st->bin[i].index;
	}
}

unsigned char *sketch_encode(const struct sketch *s, size_t *ret_len)
{
	AUTO(text) struct text t = { 0 };

	put(&t, VERSION);
	put(&t, s->zero);
	put_store(&t, &s->pos);
	put_store(&t, &s->neg);
	*ret_len = t.len;
	return (unsigned char *)text_take(&t);
}

struct reader {
	const unsigned char *p, *end;
	bool bad;
};

static uint64_t get(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		unsigned char byte;

		if (r->p == r->end)
			break;
		byte = *r->p++;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static void get_store(struct reader *r, struct sketch *s, struct store *st)
{
	uint64_t n = get(r);
	int64_t index = 0;

	if (r->bad || n > SKETCH_BINS) {
		r->bad = true;
		return;
	}
	st->cap = n;
	st->bin = n ? mem_array(n, sizeof(st->bin[0])) : NULL;
	for (uint64_t i = 0; i < n && !r->bad; i++) {
		uint64_t z = get(r), count = get(r);
		int64_t step = (int64_t)(z >> 1) ^ -(int64_t)(z & 1);

		if (step < -INDEX_LIMIT || step > 2 * INDEX_LIMIT || (i && step <= 0) || !count ||
		    count > UINT64_MAX - s->total) {
			r->bad = true;
			return;
		}
		index += step;
		if (index < -INDEX_LIMIT || index > INDEX_LIMIT) {
			r->bad = true;
			return;
		}
		st->bin[i] = (struct bin){ .index = (int)index, .count = count };
		st->count = i + 1;
		s->total += count;
	}
}

struct sketch *sketch_decode(const unsigned char *bytes, size_t len)
{
	struct reader r = { .p = bytes, .end = bytes + len };
	AUTO(sketch) struct sketch *s = NULL;

	if (!bytes || !len || len > SKETCH_BYTES_MAX || get(&r) != VERSION)
		return NULL;
	s = sketch_new();
	s->zero = s->total = get(&r);
	if (!r.bad)
		get_store(&r, s, &s->pos);
	if (!r.bad)
		get_store(&r, s, &s->neg);
	if (r.bad || r.p != r.end)
		return NULL;
	return TAKE(s);
}

char *sketch_hex(const struct sketch *s)
{
	size_t len;
	AUTO(bytes) unsigned char *bytes = sketch_encode(s, &len);
	char *out = mem_alloc(2 * len + 3);

	memcpy(out, "\\x", 2);
	str_hex(bytes, len, out + 2);
	return out;
}

struct sketch *sketch_unhex(const char *hex)
{
	AUTO(bytes) unsigned char *bytes = NULL;
	size_t len;

	if (!hex || !str_starts(hex, "\\x") || (len = strlen(hex + 2)) % 2 || len / 2 > SKETCH_BYTES_MAX ||
	    !len)
		return NULL;
	bytes = mem_alloc(len / 2);
	if (!str_unhex(hex + 2, bytes, len / 2))
		return NULL;
	return sketch_decode(bytes, len / 2);
}
