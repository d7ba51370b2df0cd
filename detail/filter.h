/* filter.h - is this trace in there? "No" is certain, "yes" is wrong about once in a hundred.
 *
 * A Bloom filter in blocks of 64 bytes (Putze, Sanders, Singler 2007): one hash picks the block, six bits inside of it must
 * be set; 12 bits per trace. One look touches one block, so that SQL can ask a filter kept as bytea, stored external,
 * by fetching 64 bytes of it: see SQL_DETAIL_TRACE in store/locator.c. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_BLOCK 64
#define FILTER_BITS  6
#define TRACE_ID     16

struct filter_place {
	uint32_t hash;             /* modulo the number of blocks: which one */
	uint16_t bit[FILTER_BITS]; /* inside of it: 8 * byte + bit, the lowest first, as get_bit() of PostgreSQL counts */
};
struct filter_place filter_place(const uint8_t id[TRACE_ID]);

/* Sorts the ids and removes those that come twice; the number that is left. */
size_t filter_unique(uint8_t (*id)[TRACE_ID], size_t n);
/* A multiple of FILTER_BLOCK; 0 for no ids. */
size_t filter_size(size_t ids);
/* `bits` is zeroed, filter_size(n) long. */
void filter_fill(uint8_t *bits, size_t size, const uint8_t (*id)[TRACE_ID], size_t n);
bool filter_has(const uint8_t *bits, size_t size, const struct filter_place *place);
