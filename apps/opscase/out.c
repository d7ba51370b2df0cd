#include "apps/opscase/out.h"
#include <stdarg.h>
#include <string.h>
#include <wchar.h>
#include "base/clock.h"
#include "base/mem.h"

static const char *const codes[] = {
	[OUT_PLAIN] = "",  [OUT_BOLD] = "1", [OUT_DIM] = "2",   [OUT_GOOD] = "32",
	[OUT_WARN] = "33", [OUT_BAD] = "31", [OUT_INFO] = "36",
};

/* One character: its length in bytes (at least 1) and its columns. What is no UTF-8 counts as one column a byte. */
static size_t char_at(const char *s, unsigned *ret_columns)
{
	unsigned char c = (unsigned char)*s;
	size_t n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 1;
	wchar_t w = n == 1 ? c : c & (0xff >> (n + 1));
	int columns;

	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80) {
			*ret_columns = 1;
			return 1;
		}
		w = w << 6 | ((unsigned char)s[i] & 0x3f);
	}
	columns = n == 1 ? 1 : wcwidth(w);
	*ret_columns = columns < 0 ? 1 : (unsigned)columns;
	return n;
}

unsigned out_width(const char *s)
{
	unsigned sum = 0, columns;

	while (*s) {
		s += char_at(s, &columns);
		sum += columns;
	}
	return sum;
}

void out_clean(struct text *out, const char *text, bool lines)
{
	while (*text) {
		unsigned char c = (unsigned char)*text;
		unsigned columns;
		size_t n = char_at(text, &columns);

		if (c == '\n' && lines)
			text_add(out, "\n");
		else if (c == '\t' && lines)
			text_add(out, "\t");
		else if (c < 0x20 || c == 0x7f || (n == 1 && c >= 0x80))
			text_add(out, c < 0x20 ? " " : "?");
		else if (n == 2 && c == 0xc2 &&
			 (unsigned char)text[1] < 0xa0) /* C1: a terminal obeys these, too */
			text_add(out, "?");
		else
			text_add_n(out, text, n);
		text += n;
	}
}

void out_styled(struct text *out, bool colour, enum out_style style, const char *text)
{
	if (!colour || style == OUT_PLAIN)
		text_add(out, text);
	else
		text_addf(out, "\033[%sm%s\033[0m", codes[style], text);
}

enum out_style out_state_style(const char *state)
{
	if (str_eq(state, "CLOSED"))
		return OUT_GOOD;
	if (str_eq(state, "PARKED"))
		return OUT_BAD;
	if (str_eq(state, "WAIT_GATE"))
		return OUT_WARN;
	return OUT_INFO;
}

/* --- tables */

void out_table_init(struct out_table *t, const char *heads)
{
	*t = (struct out_table){ 0 };
	/* the heads stay one text, cut by zeros */
	t->cells = mem_array(64, sizeof(*t->cells));
	t->cap = 64;
	t->cells[t->count++].text = mem_strdup(heads);
	for (char *h = t->cells[0].text; h && t->columns < OUT_COLUMNS_MAX;) {
		char *bar = strchr(h, '|');

		t->heads[t->columns++] = h;
		if (bar)
			*bar++ = '\0';
		h = bar;
	}
}

void out_table_add(struct out_table *t, enum out_style style, const char *text)
{
	AUTO(text) struct text clean = { 0 };

	out_clean(&clean, text ? text : "", false);
	if (t->count == t->cap) {
		t->cap *= 2;
		t->cells = mem_grow(t->cells, t->cap, sizeof(*t->cells));
	}
	t->cells[t->count].style = style;
	t->cells[t->count++].text = text_take(&clean);
}

void out_table_addf(struct out_table *t, enum out_style style, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out_table_add(t, style, text);
}

static void add_cell(struct text *out, bool colour, enum out_style style, const char *s, unsigned width,
		     bool last)
{
	AUTO(text) struct text cut = { 0 };
	unsigned have = out_width(s), used = 0, columns;

	if (have > width) {
		while (*s) {
			size_t n = char_at(s, &columns);

			if (used + columns > width - 1)
				break;
			text_add_n(&cut, s, n);
			used += columns;
			s += n;
		}
		text_add(&cut, "…");
		used++;
	} else {
		text_add(&cut, s);
		used = have;
	}
	out_styled(out, colour, style, text_str(&cut));
	if (!last)
		for (; used < width + 2; used++)
			text_add(out, " ");
}

void out_table_print(const struct out_table *t, unsigned width, bool colour, struct text *out)
{
	unsigned w[OUT_COLUMNS_MAX] = { 0 }, sum = 0;

	for (unsigned i = 0; i < t->columns; i++)
		w[i] = out_width(t->heads[i]);
	for (size_t i = 1; i < t->count; i++) {
		unsigned have = out_width(t->cells[i].text), at = (unsigned)((i - 1) % t->columns);

		w[at] = have > w[at] ? have : w[at];
	}
	for (unsigned i = 0; i < t->columns; i++)
		sum += w[i] + (i ? 2 : 0);
	while (width && sum > width) {
		unsigned widest = 0;

		for (unsigned i = 1; i < t->columns; i++)
			widest = w[i] > w[widest] ? i : widest;
		if (w[widest] <= 8)
			break;
		w[widest]--;
		sum--;
	}
	for (unsigned i = 0; i < t->columns; i++)
		add_cell(out, colour, OUT_DIM, t->heads[i], w[i], i + 1 == t->columns);
	text_add(out, "\n");
	for (size_t i = 1; i < t->count; i++) {
		unsigned at = (unsigned)((i - 1) % t->columns);

		add_cell(out, colour, t->cells[i].style, t->cells[i].text, w[at], at + 1 == t->columns);
		if (at + 1 == t->columns)
			text_add(out, "\n");
	}
}

void out_table_done(struct out_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i].text);
	free(t->cells);
	*t = (struct out_table){ 0 };
}

/* --- times */

void out_ago(const char *text, int64_t now_us, char *out, size_t size)
{
	static const struct {
		int64_t s;
		const char *unit;
	} units[] = {
		{ 86400, "d"   },
                { 3600,  "h"   },
                { 60,    "min" },
                { 1,     "s"   }
	};
	int64_t at, s;

	out[0] = '\0';
	if (!text || clock_parse(text, &at) != 0)
		return;
	s = (now_us - at) / 1000000;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		/* "90 s" says more than "1 min" */
		if (llabs(s) >= (i == 3 ? 1 : 2 * units[i].s)) {
			snprintf(out, size, s < 0 ? "in %lld %s" : "%lld %s ago",
				 (long long)llabs(s) / units[i].s, units[i].unit);
			return;
		}
	snprintf(out, size, "now");
}

void out_clock(const char *text, char *out, size_t size)
{
	char full[40];
	int64_t at;

	out[0] = '\0';
	if (!text || clock_parse(text, &at) != 0)
		return;
	clock_format(at, full, sizeof(full));
	snprintf(out, size, "%.8s", full + 11);
}
