/* out.h - what people see: tables that fit the terminal, a little colour, times and durations.
 *
 * Everything that came from outside passes through out_clean: a case's title may not move the cursor. */
#pragma once
#include <stdint.h>
#include "base/text.h"
#include "apps/opscase/cli.h"

enum out_style { OUT_PLAIN, OUT_BOLD, OUT_DIM, OUT_GOOD, OUT_WARN, OUT_BAD, OUT_INFO };

/* Adds text without control characters; line feeds become blanks unless lines is true. */
void out_clean(struct text *out, const char *text, bool lines);
void out_styled(struct text *out, bool colour, enum out_style style, const char *text);
enum out_style out_state_style(const char *case_state);

#define OUT_COLUMNS_MAX 12
struct out_table {
	const char *heads[OUT_COLUMNS_MAX];
	unsigned columns;
	struct out_cell {
		char *text;
		enum out_style style;
	} *cells;
	size_t count, cap;
};
/* "ID|STATUS|TITLE" */
void out_table_init(struct out_table *t, const char *heads);
void out_table_add(struct out_table *t, enum out_style style, const char *text); /* the next cell; NULL: "" */
void out_table_addf(struct out_table *t, enum out_style style, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Columns that do not fit into width are cut with "…", widest first; 0: no limit. */
void out_table_print(const struct out_table *t, unsigned width, bool colour, struct text *out);
void out_table_done(struct out_table *t);
static inline void oc_auto_out_table(struct out_table *t)
{
	out_table_done(t);
}

/* "3 min ago", "in 4 h"; "" for a time that cannot be read. `text` is RFC 3339 or PostgreSQL's. */
void out_ago(const char *text, int64_t now_us, char *out, size_t size);
/* "12:34:56" UTC of such a time. */
void out_clock(const char *text, char *out, size_t size);
/* Columns on a terminal, not bytes. */
unsigned out_width(const char *utf8);
