/* csv.h - whole CSV files of numbers and words, also gzipped, for the tools that measure. Not for bytes of strangers. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct csv {
	char *text;
	char **cell; /* rows * columns; what a row lacks is "" */
	size_t rows, columns;
};

/* The columns are those of the first line; further cells of a row are left out. Ends the program when it cannot be read. */
void csv_read(const char *path, struct csv *ret);
void csv_free(struct csv *c);
const char *csv_at(const struct csv *c, size_t row, size_t column);
double csv_number(const struct csv *c, size_t row, size_t column); /* NaN when empty */
size_t csv_column(const struct csv *c, const char *name);          /* ends the program when there is none */
