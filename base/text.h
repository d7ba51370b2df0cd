/* text.h - a growing text, and small questions about strings. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include "base/cleanup.h"

struct text {
	char *s; /* always ends in 0 once anything was added; NULL while empty */
	size_t len, cap;
};

void text_add(struct text *t, const char *s);
void text_add_n(struct text *t, const char *s, size_t n);
void text_addf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void text_done(struct text *t);
const char *text_str(const struct text *t); /* "" while empty */
char *text_take(struct text *t);            /* never NULL; leaves t empty */
static inline void oc_auto_text(struct text *t)
{
	text_done(t);
}

static inline bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}
bool str_starts(const char *s, const char *prefix);
/* Valid UTF-8 without NUL: overlong forms, surrogates and beyond U+10FFFF are refused. */
bool str_utf8_ok(const char *s, size_t n);
/* Whole text is a decimal number in [min, max]; else false and *ret untouched. */
bool str_to_long(const char *s, long long min, long long max, long long *ret);
void str_hex(const unsigned char *in, size_t n, char *out);   /* 2n + 1 bytes */
bool str_unhex(const char *in, unsigned char *out, size_t n); /* exactly 2n digits */
/* `*` any run, `?` one character. */
bool str_glob(const char *pattern, const char *s);
