#include "detail/filter.h"
#include <stdlib.h>
#include <string.h>

static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

struct filter_place filter_place(const uint8_t id[TRACE_ID])
{
	struct filter_place p;
	uint64_t a = 0, b = 0, h;

	/* by bytes: the same on every machine, as filters are stored */
	for (int i = 0; i < 8; i++) {
		a = a << 8 | id[i];
		b = b << 8 | id[8 + i];
	}
	h = fold(a ^ UINT64_C(0xa0d8e3c15f6b2947), b ^ UINT64_C(0x71c94be60d35f28b));
	p.hash = (uint32_t)(h >> 33);
	h = fold(h ^ UINT64_C(0x4cf5ad432745937f), UINT64_C(0xd6e8feb86659fd93) ^ a);
	for (int i = 0; i < FILTER_BITS; i++) {
		p.bit[i] = (uint16_t)(h & (FILTER_BLOCK * 8 - 1));
		h >>= 9;
	}
	return p;
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, TRACE_ID);
}

size_t filter_unique(uint8_t (*id)[TRACE_ID], size_t n)
{
	size_t kept = 0;

	if (n) /* qsort() wants no NULL */
		qsort(id, n, TRACE_ID, by_bytes);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || memcmp(id[i], id[kept - 1], TRACE_ID) != 0)
			memmove(id[kept++], id[i], TRACE_ID);
	return kept;
}

size_t filter_size(size_t ids)
{
	return (ids * 12 + FILTER_BLOCK * 8 - 1) / (FILTER_BLOCK * 8) * FILTER_BLOCK;
}

void filter_fill(uint8_t *bits, size_t size, const uint8_t (*id)[TRACE_ID], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct filter_place p = filter_place(id[i]);
		uint8_t *block = bits + p.hash % (size / FILTER_BLOCK) * FILTER_BLOCK;

		for (int k = 0; k < FILTER_BITS; k++)
			block[p.bit[k] / 8] |= (uint8_t)(1u << p.bit[k] % 8);
	}
}

bool filter_has(const uint8_t *bits, size_t size, const struct filter_place *place)
{
	const uint8_t *block;

	if (size < FILTER_BLOCK)
		return false;
	block = bits + place->hash % (size / FILTER_BLOCK) * FILTER_BLOCK;
	for (int k = 0; k < FILTER_BITS; k++)
		if (!(block[place->bit[k] / 8] >> place->bit[k] % 8 & 1))
			return false;
	return true;
}
