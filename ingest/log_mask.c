#include "ingest/log_mask.h"
#include <stdbool.h>
#include <string.h>

enum {
	WORD = 1, /* part of a word */
	DIGIT = 2,
	LETTER = 4,
	SPACE = 8,
	TIGHT = 16, /* joins two values into one */
	DOT = 32,
	AT = 64,
	PATH = 128, /* part of a path, beside the slash */
};

static const uint8_t class_of[256] = {
	[0 ... ' '] = SPACE,
	[127] = SPACE,
	['0' ... '9'] = WORD | DIGIT | PATH,
	['a' ... 'z'] = WORD | LETTER | PATH,
	['A' ... 'Z'] = WORD | LETTER | PATH,
	[128 ... 255] = WORD | LETTER | PATH,
	['_'] = WORD | TIGHT | PATH,
	['-'] = WORD | TIGHT | PATH,
	['+'] = WORD | PATH,
	['~'] = WORD | PATH,
	['$'] = WORD | PATH,
	['.'] = WORD | TIGHT | DOT | PATH,
	['@'] = WORD | TIGHT | AT | PATH,
	[':'] = TIGHT,
	['/'] = TIGHT,
	[','] = TIGHT,
	['%'] = PATH,
	['#'] = PATH,
	['*'] = PATH,
};

#define CLASS(c) class_of[(uint8_t)(c)]

struct mask {
	const char *s;
	size_t n, i;
	char *out;
	size_t o;
	size_t star_end;    /* where the last star ends in out; 0: none */
	bool tight, listed; /* nothing but joints, or blanks and commas, since then */
};

static void put_star(struct mask *m)
{
	if (m->star_end && (m->tight || m->listed)) {
		m->o = m->star_end;
	} else {
		memcpy(m->out + m->o, LOG_STAR, LOG_STAR_LEN);
		m->o += LOG_STAR_LEN;
		m->star_end = m->o;
	}
	m->tight = m->listed = true;
}

static void put_char(struct mask *m, char c)
{
	m->out[m->o++] = c;
	m->tight = m->tight && (CLASS(c) & TIGHT);
	m->listed = m->listed && c == ',';
}

static void put_space(struct mask *m)
{
	if (m->o && m->out[m->o - 1] != ' ')
		m->out[m->o++] = ' ';
	m->tight = false;
}

static bool hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

static char at(const struct mask *m, size_t i)
{
	return i < m->n ? m->s[i] : ' ';
}

/* --- words that are values without a digit */

#define P2(a, b)       ((uint32_t)(a) << 8 | (uint32_t)(b))
#define P3(a, b, c)    (P2(a, b) << 8 | (uint32_t)(c))
#define P4(a, b, c, d) (P3(a, b, c) << 8 | (uint32_t)(d))

static uint32_t pack(const char *w, size_t n)
{
	uint32_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | (uint8_t)w[i];
	return v;
}

/* The first three letters of a day's or a month's name, and whether the word is that name. */
static bool day_or_month(const char *w, size_t n)
{
	static const char *const tail[] = { "uary",   "ruary",  "ch",   "il",    "",      "e",   "y",
					    "ust",    "tember", "ober", "ember", "ember", "day", "sday",
					    "nesday", "rsday",  "day",  "urday", "day" };
	int which;

	switch (pack(w, 3)) {
	case P3('J', 'a', 'n'):
		which = 0;
		break;
	case P3('F', 'e', 'b'):
		which = 1;
		break;
	case P3('M', 'a', 'r'):
		which = 2;
		break;
	case P3('A', 'p', 'r'):
		which = 3;
		break;
	case P3('M', 'a', 'y'):
		which = 4;
		break;
	case P3('J', 'u', 'n'):
		which = 5;
		break;
	case P3('J', 'u', 'l'):
		which = 6;
		break;
	case P3('A', 'u', 'g'):
		which = 7;
		break;
	case P3('S', 'e', 'p'):
		which = 8;
		break;
	case P3('O', 'c', 't'):
		which = 9;
		break;
	case P3('N', 'o', 'v'):
		which = 10;
		break;
	case P3('D', 'e', 'c'):
		which = 11;
		break;
	case P3('M', 'o', 'n'):
		which = 12;
		break;
	case P3('T', 'u', 'e'):
		which = 13;
		break;
	case P3('W', 'e', 'd'):
		which = 14;
		break;
	case P3('T', 'h', 'u'):
		which = 15;
		break;
	case P3('F', 'r', 'i'):
		which = 16;
		break;
	case P3('S', 'a', 't'):
		which = 17;
		break;
	case P3('S', 'u', 'n'):
		which = 18;
		break;
	default:
		return false;
	}
	return n == 3 || (strlen(tail[which]) == n - 3 && memcmp(w + 3, tail[which], n - 3) == 0);
}

/* The day or month is a part of a date: a digit or another such name follows. */
static bool in_date(const struct mask *m, size_t end)
{
	size_t i = end, j;

	while (i < m->n && (m->s[i] == ',' || CLASS(m->s[i]) & SPACE))
		i++;
	if (i == end || i >= m->n)
		return false;
	if (CLASS(m->s[i]) & DIGIT)
		return true;
	for (j = i; j < m->n && CLASS(m->s[j]) & LETTER; j++) {
	}
	return j - i >= 3 && j - i <= 9 && day_or_month(m->s + i, j - i);
}

/* What stands before the word: another value, or a mark that a value follows. */
static bool behind_value(const struct mask *m)
{
	return m->star_end && m->listed;
}

/* For a switch (on, enabled): a value stands here if a mark says so, or if nothing but the end of a phrase follows. */
static bool where_a_value_stands(const struct mask *m, size_t end)
{
	size_t o = m->o;

	if (o && m->out[o - 1] == ' ')
		o--;
	if (o && memchr("=([", m->out[o - 1], 3))
		return true;
	if (!behind_value(m) && !(o && m->out[o - 1] == ':'))
		return false;
	while (at(m, end) == ' ' && end < m->n)
		end++;
	return end >= m->n || memchr(")],;}", m->s[end], 5);
}

static bool value_word(const struct mask *m, size_t from, size_t end)
{
	const char *w = m->s + from;
	size_t n = end - from;

	switch (n) {
	case 1:
		return w[0] == 'B' && behind_value(m);
	case 2:
		switch (pack(w, 2)) {
		case P2('a', 'm'):
		case P2('p', 'm'):
		case P2('A', 'M'):
		case P2('P', 'M'):
			return behind_value(m);
		case P2('o', 'n'):
			return where_a_value_stands(m, end);
		case P2('K', 'B'):
		case P2('M', 'B'):
		case P2('G', 'B'):
		case P2('T', 'B'):
			return behind_value(m); /* sizes change their unit as they grow */
		default:
			return false;
		}
	case 3:
		switch (pack(w, 3)) {
		case P3('o', 'f', 'f'):
		case P3('y', 'e', 's'):
			return where_a_value_stands(m, end);
		case P3('n', 'i', 'l'):
			return true;
		case P3('U', 'T', 'C'):
		case P3('G', 'M', 'T'):
		case P3('C', 'E', 'T'):
		case P3('B', 'S', 'T'):
		case P3('I', 'S', 'T'):
		case P3('J', 'S', 'T'):
		case P3('P', 'S', 'T'):
		case P3('P', 'D', 'T'):
		case P3('M', 'S', 'T'):
		case P3('M', 'D', 'T'):
		case P3('C', 'S', 'T'):
		case P3('C', 'D', 'T'):
		case P3('E', 'S', 'T'):
		case P3('E', 'D', 'T'):
		case P3('K', 'i', 'B'):
		case P3('M', 'i', 'B'):
		case P3('G', 'i', 'B'):
		case P3('T', 'i', 'B'):
			return behind_value(m); /* the zone of a time; as above */
		default:
			return w[0] >= 'A' && w[0] <= 'W' && day_or_month(w, n) && in_date(m, end);
		}
	case 4:
		switch (pack(w, 4)) {
		case P4('t', 'r', 'u', 'e'):
		case P4('T', 'r', 'u', 'e'):
		case P4('n', 'u', 'l', 'l'):
		case P4('N', 'U', 'L', 'L'):
		case P4('N', 'o', 'n', 'e'):
			return true;
		case P4('C', 'E', 'S', 'T'):
			return behind_value(m);
		default:
			break;
		}
		break;
	case 5:
		if (memcmp(w + 1, "alse", 4) == 0 && (w[0] | 32) == 'f')
			return true;
		break;
	case 7:
	case 8:
		if (memcmp(w + n - 5, "abled", 5) == 0 &&
		    (memcmp(w, "en", 2) == 0 || memcmp(w, "dis", 3) == 0))
			return where_a_value_stands(m, end);
		break;
	case 6:
	case 9:
		break;
	default:
		return false;
	}
	return w[0] >= 'A' && w[0] <= 'W' && day_or_month(w, n) && in_date(m, end);
}

/* --- dotted names */

static bool one_of(const char *w, size_t n, const char *list)
{
	for (const char *p = strchr(list, ' '); p; p = strchr(p + 1, ' '))
		if (strncmp(p + 1, w, n) == 0 && p[n + 1] == ' ')
			return true;
	return false;
}

/* A host, a package: two dots or more and a small last part. A call is code. */
static bool host_name(const struct mask *m, size_t from, size_t end)
{
	static const char *const sources =
		" java go py c cc cpp h hpp rs js ts rb cs php scala kt swift m mm ";
	size_t dots = 0, last = from;
	char next = at(m, end);

	for (size_t i = from; i < end; i++)
		if (m->s[i] == '.') {
			dots++;
			last = i + 1;
		}
	if (m->s[from] == '.' || last == end || next == '(')
		return false;
	if (dots >= 2)
		return m->s[last] >= 'a' && m->s[last] <= 'z';
	/* host.tld:443, but not Thread.java:748 */
	return next == ':' && CLASS(at(m, end + 1)) & DIGIT && m->s[last] >= 'a' && m->s[last] <= 'z' &&
	       !one_of(m->s + last, end - last, sources);
}

/* --- longer shapes: each returns where it ends, or `from` */

static size_t skip_path(const struct mask *m, size_t i, size_t *ret_slashes)
{
	size_t slashes = 0;

	while (i < m->n && (m->s[i] == '/' || CLASS(m->s[i]) & PATH)) {
		slashes += m->s[i] == '/';
		i++;
	}
	if (ret_slashes)
		*ret_slashes = slashes;
	/* the full stop behind it is not a part of it */
	while (i > 0 && m->s[i - 1] == '.')
		i--;
	return i;
}

static size_t skip_until(const struct mask *m, size_t i, const char *stops)
{
	while (i < m->n && !(CLASS(m->s[i]) & SPACE) && !strchr(stops, m->s[i]))
		i++;
	while (i > 0 && (m->s[i - 1] == '.' || m->s[i - 1] == ','))
		i--;
	return i;
}

/* C:\x, \\server\share, Files\x\y */
static size_t skip_backslashes(const struct mask *m, size_t from, size_t i)
{
	size_t end = skip_until(m, i, "\",;)]}'<>|"), slashes = 0;

	for (size_t k = i; k < end; k++)
		slashes += m->s[k] == '\\';
	return slashes >= 2 || (i - from == 2 && slashes) ? end : from;
}

/* ff:eb:ea:00 */
static size_t skip_hex_pairs(const struct mask *m, size_t from)
{
	size_t i = from, pairs = 0;

	while (hex(at(m, i)) && hex(at(m, i + 1)) && !(CLASS(at(m, i + 2)) & WORD)) {
		pairs++;
		i += 2;
		if (at(m, i) != ':' || !hex(at(m, i + 1)))
			break;
		i++;
	}
	return pairs >= 4 ? i : from;
}

/* ="a b": the value of a key, unless it is the message itself. Returns where the closing quote stands, or 0. */
static size_t quoted_value(const struct mask *m)
{
	static const char *const talking =
		" msg message error err reason level lvl severity event status state title text description ";
	size_t key = m->i, i = m->i + 2;

	while (key && CLASS(m->s[key - 1]) & LETTER)
		key--;
	if (key == m->i || one_of(m->s + key, m->i - key, talking))
		return 0;
	while (i < m->n && i < m->i + 128 && m->s[i] != '"')
		i++;
	return at(m, i) == '"' && i > m->i + 2 ? i : 0;
}

/* =Word{...} without a blank inside: where it ends, or 0. */
static size_t bracketed_value(const struct mask *m)
{
	size_t i = m->i + 1, open;
	char close;

	while (i < m->n && CLASS(m->s[i]) & WORD)
		i++;
	if (i == m->i + 1 || i >= m->n)
		return 0;
	open = i;
	close = m->s[i] == '{' ? '}' : m->s[i] == '[' ? ']' : m->s[i] == '(' ? ')' : 0;
	if (!close)
		return 0;
	while (i < m->n && i < open + 128 && m->s[i] != close && !(CLASS(m->s[i]) & SPACE))
		i++;
	return at(m, i) == close ? i + 1 : 0;
}

static bool unit(const char *w, size_t n)
{
	return one_of(w, n, " sec secs s ms us ns min ");
}

/* --- the two kinds of steps */

static void take_word(struct mask *m)
{
	const char *s = m->s;
	size_t from = m->i, end = from, slashes;
	uint8_t seen = 0;
	char next;

	while (end < m->n && CLASS(s[end]) & WORD) {
		seen |= CLASS(s[end]);
		end++;
	}
	if (seen & DOT) {
		/* dots in a row draw a line; what is before and behind them are two words */
		for (size_t i = from; i + 1 < end; i++)
			if (s[i] == '.' && s[i + 1] == '.') {
				end = i;
				break;
			}
		if (end == from) {
			while (at(m, end) == '.')
				end++;
			if (at(m, end) == '/') { /* ../x */
				m->i = skip_path(m, end, NULL);
				put_star(m);
				return;
			}
			for (; m->i < end && m->o < LOG_MASK_MAX - 8; m->i++)
				put_char(m, '.');
			m->i = end;
			return;
		}
		while (end > from + 1 && s[end - 1] == '.')
			end--;
	}
	next = at(m, end);
	if (next == '/') {
		size_t to = skip_path(m, end, &slashes);

		/* a/b/c is a path, and/or is not; ./x and ~/x are; scheme:// comes below */
		if ((slashes >= 2 || (end - from == 1 && (s[from] == '.' || s[from] == '~')) ||
		     host_name(m, from, end)) &&
		    to > end + 1) {
			m->i = to;
			put_star(m);
			return;
		}
	} else if (next == ':') {
		size_t to = end;

		if (at(m, end + 1) == '/' && at(m, end + 2) == '/')
			to = skip_until(m, end, "\"'<>)]},;|");
		else if (at(m, end + 1) == '\\' && end - from == 1)
			to = skip_backslashes(m, from, end + 1);
		else if (end - from == 2 && hex(s[from]) && hex(s[from + 1]))
			to = skip_hex_pairs(m, from);
		if (to > end) {
			m->i = to;
			put_star(m);
			return;
		}
	} else if (next == '\\') {
		size_t to = skip_backslashes(m, from, end);

		if (to > end) {
			m->i = to;
			put_star(m);
			return;
		}
	}
	m->i = end;
	if (seen & DIGIT) {
		bool digit = true;

		if (seen & DOT) { /* it may have gone with what was cut off */
			digit = false;
			for (size_t i = from; i < end && !digit; i++)
				digit = CLASS(s[i]) & DIGIT;
		}
		if (digit) {
			put_star(m);
			return;
		}
	}
	if ((seen & DOT && host_name(m, from, end)) ||
	    (seen & AT && s[from] != '@' && s[end - 1] != '@' && memchr(s + from, '@', end - from)) ||
	    value_word(m, from, end)) {
		put_star(m);
		return;
	}
	if (end - from >= 8 && hex(s[from]) && hex(s[from + 1]) && hex(s[from + 2]) && hex(s[from + 3])) {
		size_t i = from;

		while (i < end && hex(s[i]))
			i++;
		if (i == end) {
			put_star(m);
			return;
		}
	}
	if (end - from > LOG_MASK_MAX - 8 - m->o) {
		end = from + (LOG_MASK_MAX - 8 - m->o);
		while (end > from && ((uint8_t)s[end] & 0xc0) == 0x80) /* not in the middle of a character */
			end--;
	}
	memcpy(m->out + m->o, s + from, end - from);
	m->o += end - from;
	m->tight = m->listed = false;
}

static void take_mark(struct mask *m)
{
	char c = m->s[m->i];
	char before = m->i ? m->s[m->i - 1] : ' ', next = at(m, m->i + 1);

	switch (c) {
	case '/':
		if (!(CLASS(before) & WORD) && (CLASS(next) & PATH || next == '/')) {
			size_t slashes, to = skip_path(m, m->i, &slashes);

			/* an address printed as /10.0.0.1 keeps its slash */
			if (to > m->i + 1 && !(slashes == 1 && CLASS(next) & DIGIT)) {
				m->i = to;
				put_star(m);
				return;
			}
		}
		break;
	case '\\':
		if (next == '\\' && !(CLASS(before) & WORD)) {
			size_t to = skip_backslashes(m, m->i, m->i);

			if (to > m->i + 2) {
				m->i = to;
				put_star(m);
				return;
			}
		}
		break;
	case '(':
		if (before == ' ' && next == ')') {
			put_char(m, '(');
			put_star(m);
			m->i++;
			return;
		}
		break;
	case '=': {
		size_t to;

		if (next == '"' && (to = quoted_value(m))) {
			put_char(m, '=');
			put_char(m, '"');
			put_star(m);
			m->i = to;
			return;
		}
		if (CLASS(next) & LETTER && (to = bracketed_value(m))) {
			put_char(m, '=');
			put_star(m);
			m->i = to;
			return;
		}
		break;
	}
	case '<':
		/* <1 sec: a value with a bound */
		if (CLASS(next) & DIGIT) {
			size_t i = m->i + 1, w;

			while (CLASS(at(m, i)) & WORD && i < m->n)
				i++;
			for (w = i + 1; w < m->n && CLASS(m->s[w]) & LETTER; w++) {
			}
			if (at(m, i) == ' ' && unit(m->s + i + 1, w - i - 1))
				i = w;
			m->i = i;
			put_star(m);
			return;
		}
		break;
	default:
		break;
	}
	m->i++;
	put_char(m, c);
}

size_t log_mask(const char *line, size_t len, char out[LOG_MASK_MAX])
{
	struct mask m = { .out = out };
	const char *end;
	bool more = false;

	while (len && CLASS(line[0]) & SPACE) {
		line++;
		len--;
	}
	while (len && CLASS(line[len - 1]) & SPACE)
		len--;
	end = len ? memchr(line, '\n', len) : NULL;
	m.s = line;
	m.n = end ? (size_t)(end - line) : len;
	more = end != NULL;
	while (m.i < m.n) {
		uint8_t c = CLASS(m.s[m.i]);

		if (m.o >= LOG_MASK_MAX - 8) {
			more = true;
			break;
		}
		if (c & SPACE) {
			put_space(&m);
			m.i++;
		} else if (c & WORD) {
			take_word(&m);
		} else {
			take_mark(&m);
		}
	}
	while (m.o && out[m.o - 1] == ' ')
		m.o--;
	if (more) {
		if (m.o && !(m.star_end == m.o)) {
			memcpy(out + m.o, " " LOG_STAR, LOG_STAR_LEN + 1);
			m.o += LOG_STAR_LEN + 1;
		} else if (!m.o) {
			memcpy(out, LOG_STAR, LOG_STAR_LEN);
			m.o = LOG_STAR_LEN;
		}
	}
	return m.o;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t load(const char *p, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

uint64_t log_hash(const char *text, size_t len)
{
	const uint64_t k0 = UINT64_C(0x9e6c63d0a3d5c7b1), k1 = UINT64_C(0xd1b54a32d192ed03),
		       k2 = UINT64_C(0x8cb92ba72f3d8dd7);
	uint64_t h = k0 ^ fold(len ^ k1, k2);
	size_t i = 0;

	for (; i + 16 <= len; i += 16)
		h = fold(load(text + i, 8) ^ k1, load(text + i + 8, 8) ^ h);
	if (i + 8 <= len) {
		h = fold(load(text + i, 8) ^ k2, h ^ k0);
		i += 8;
	}
	if (i < len)
		h = fold(load(text + i, len - i) ^ k1, h ^ k2);
	return fold(h ^ k0, k2);
}
