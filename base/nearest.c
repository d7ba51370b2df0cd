#include "base/nearest.h"
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#define LONGEST 64

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t str_distance(const char *a, const char *b)
{
	size_t rows[3][LONGEST + 1], *before = rows[0], *above = rows[1], *row = rows[2];
	size_t an = strlen(a), bn = strlen(b);

	if (an > LONGEST || bn > LONGEST)
		return SIZE_MAX;
	for (size_t j = 0; j <= bn; j++)
		above[j] = j;
	for (size_t i = 1; i <= an; i++) {
		int ca = tolower((unsigned char)a[i - 1]);
		size_t *oldest = before;

		row[0] = i;
		for (size_t j = 1; j <= bn; j++) {
			int cb = tolower((unsigned char)b[j - 1]);

			row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
			    cb == tolower((unsigned char)a[i - 2]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = oldest;
	}
	return above[bn];
}

void nearest_offer(struct nearest *n, const char *name)
{
	size_t d = str_distance(n->want, name), len = strlen(n->want);

	/* A third of the letters wrong is a slip; more is another word. The beginning of a name is near, too. */
	if (len >= 3 && strncmp(n->want, name, len) == 0)
		d = 1;
	if (d <= len / 3 + 1 && (!n->name || d < n->distance)) {
		n->name = name;
		n->distance = d;
	}
}
