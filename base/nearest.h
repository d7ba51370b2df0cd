/* nearest.h - "did you mean": how far two names are apart. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Letters to insert, drop, change or swap with their neighbour, ignoring case. Beyond 64 letters: SIZE_MAX. */
size_t str_distance(const char *a, const char *b);

/* Keeps the best of the names offered one by one. */
struct nearest {
	const char *want; /* lent */
	const char *name; /* the best so far, NULL while nothing is near enough to be worth saying */
	size_t distance;
};
void nearest_offer(struct nearest *n, const char *name);
