#include "tools/rca/csv.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "base/mem.h"

static char *read_all(const char *path)
{
	gzFile f = gzopen(path, "rb");
	char *text = NULL;
	size_t len = 0, cap = 1 << 16;
	int n;

	if (!f) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(2);
	}
	text = mem_alloc(cap);
	while ((n = gzread(f, text + len, (unsigned)(cap - len - 1))) > 0) {
		len += (size_t)n;
		if (len + 1 == cap)
			text = mem_grow(text, cap *= 2, 1);
	}
	gzclose(f);
	text[len] = '\0';
	return text;
}

/* Takes one cell off, its quotes too; ret_end: was it the row's last? */
static char *take_cell(char **at, bool *ret_end)
{
	char *in = *at, *out = *at, *cell = *at;
	bool quoted = *in == '"';

	if (quoted)
		in++;
	while (*in) {
		if (quoted && *in == '"') {
			if (in[1] != '"') {
				quoted = false;
				in++;
				continue;
			}
			in++;
		} else if (!quoted && (*in == ',' || *in == '\n')) {
			break;
		}
		*out++ = *in++;
	}
	*ret_end = *in != ',';
	*at = *in ? in + 1 : in;
	if (out > cell && out[-1] == '\r')
		out--;
	*out = '\0';
	return cell;
}

void csv_read(const char *path, struct csv *ret)
{
	static char nothing[] = "";
	size_t cap = 0, used = 0;
	char *at;

	memset(ret, 0, sizeof(*ret));
	at = ret->text = read_all(path);
	while (*at) {
		size_t n = 0;
		bool end = false;

		while (!end) {
			char *cell = take_cell(&at, &end);

			if (ret->rows && n >= ret->columns)
				continue;
			if (used == cap) {
				cap = cap ? cap * 2 : 4096;
				ret->cell = mem_grow(ret->cell, cap, sizeof(*ret->cell));
			}
			ret->cell[used++] = cell;
			n++;
		}
		if (!ret->rows)
			ret->columns = n;
		for (; n < ret->columns; n++) {
			if (used == cap) {
				cap *= 2;
				ret->cell = mem_grow(ret->cell, cap, sizeof(*ret->cell));
			}
			ret->cell[used++] = nothing;
		}
		ret->rows++;
	}
}

void csv_free(struct csv *c)
{
	free(c->text);
	free(c->cell);
	memset(c, 0, sizeof(*c));
}

const char *csv_at(const struct csv *c, size_t row, size_t column)
{
	return c->cell[row * c->columns + column];
}

double csv_number(const struct csv *c, size_t row, size_t column)
{
	const char *s = csv_at(c, row, column);
	char *end;
	double v = strtod(s, &end);

	return end == s ? NAN : v;
}

size_t csv_column(const struct csv *c, const char *name)
{
	for (size_t i = 0; i < c->columns; i++)
		if (strcmp(csv_at(c, 0, i), name) == 0)
			return i;
	fprintf(stderr, "no column '%s'\n", name);
	exit(2);
}
