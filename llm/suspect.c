#include "llm/suspect.h"
#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"

#define LOOK_MAX ((size_t)64 << 10) /* bytes of one text that are looked at */
#define PEEL_MAX 3                  /* encodings inside encodings */

static const struct {
	const char *letters, *what;
} signs[] = {
#define SIGN(letters, what) { letters, what },
#include "llm/suspect.def"
#undef SIGN
};

/* --- decoding */

static size_t utf8(const unsigned char *s, size_t n, uint32_t *ret)
{
	if (s[0] < 0x80)
		return *ret = s[0], 1;
	if (s[0] >= 0xc0 && s[0] < 0xe0 && n >= 2)
		return *ret = (uint32_t)(s[0] & 31) << 6 | (s[1] & 63), 2;
	if (s[0] >= 0xe0 && s[0] < 0xf0 && n >= 3)
		return *ret = (uint32_t)(s[0] & 15) << 12 | (uint32_t)(s[1] & 63) << 6 | (s[2] & 63), 3;
	if (s[0] >= 0xf0 && n >= 4)
		return *ret = (uint32_t)(s[0] & 7) << 18 | (uint32_t)(s[1] & 63) << 12 |
			      (uint32_t)(s[2] & 63) << 6 | (s[3] & 63),
		       4;
	return *ret = ' ', 1;
}

/* Letters that look like Latin ones, and Latin ones with marks; 0: not such. */
static char look_alike(uint32_t c)
{
	static const struct {
		uint32_t from;
		const char *to;
	} blocks[] = {
		{ 0x00e0,  "aaaaaaaceeeeiiiidnooooo*ouuuuypy" },
		{ 0x00c0,  "aaaaaaaceeeeiiiidnooooo*ouuuuyps" },
		{ 0xff41,  "abcdefghijklmnopqrstuvwxyz"       },
		{ 0xff21,  "abcdefghijklmnopqrstuvwxyz"       },
		{ 0xff10,  "0123456789"                       },
		{ 0x24d0,  "abcdefghijklmnopqrstuvwxyz"       },
		{ 0x1d41a, "abcdefghijklmnopqrstuvwxyz"       },
		{ 0x1d44e, "abcdefghijklmnopqrstuvwxyz"       },
		{ 0xe0061, "abcdefghijklmnopqrstuvwxyz"       }, /* tags: seen by nobody but a model */
	};

	for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
		if (c >= blocks[i].from && c < blocks[i].from + strlen(blocks[i].to))
			return blocks[i].to[c - blocks[i].from] == '*' ? 0 : blocks[i].to[c - blocks[i].from];
	return 0;
}

/* Cyrillic and Greek that stand inside of Latin words. */
static char borrowed(uint32_t c)
{
	static const struct {
		uint32_t c;
		char as;
	} pairs[] = {
		{ 0x430, 'a' },
                { 0x435, 'e' },
                { 0x43e, 'o' },
                { 0x440, 'p' },
                { 0x441, 'c' },
		{ 0x443, 'y' },
                { 0x445, 'x' },
                { 0x456, 'i' },
                { 0x455, 's' },
                { 0x458, 'j' },
		{ 0x3bf, 'o' },
                { 0x3b9, 'i' },
                { 0x3bd, 'v' },
                { 0x410, 'a' },
                { 0x415, 'e' },
		{ 0x41e, 'o' },
                { 0x420, 'p' },
                { 0x421, 'c' }
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (pairs[i].c == c)
			return pairs[i].as;
	return 0;
}

/* Letters and digits alone, small. `latin`: borrowed letters count as Latin ones. `leet`: 1 is i, 0 is o, ... */
static char *letters(const char *text, size_t n, bool latin, bool leet)
{
	struct text out = { 0 };
	static const char digit_as[] = "oizeasgtbg";

	for (size_t i = 0; i < n;) {
		uint32_t c;
		size_t k = utf8((const unsigned char *)text + i, n - i, &c);
		char as;

		if (c < 0x80) {
			char one = (char)tolower((int)c);

			if (leet && isdigit((unsigned char)one))
				one = digit_as[one - '0'];
			if (isalnum((unsigned char)one))
				text_add_n(&out, &one, 1);
		} else if ((as = look_alike(c)) || (latin && (as = borrowed(c)))) {
			text_add_n(&out, &as, 1);
		} else if (c >= 0x410 && c <= 0x42f) { /* small Cyrillic */
			char two[2] = { (char)(0xc0 | (c + 32) >> 6), (char)(0x80 | ((c + 32) & 63)) };

			text_add_n(&out, two, 2);
		} else if (c > 0x2ff && !(c >= 0x2000 && c <= 0x2bff) && !(c >= 0x3000 && c <= 0x303f) &&
			   !(c >= 0xfe00 && c <= 0xfeff) && c < 0xe0000) {
			text_add_n(&out, text + i, k);
		}
		i += k;
	}
	return text_take(&out);
}

static bool signs_in(const char *text, size_t n, char *what, size_t size)
{
	for (unsigned way = 0; way < 4; way++) {
		AUTO(str) char *s = letters(text, n, way & 1, way & 2);

		for (size_t i = 0; i < ARRAY_LEN(signs); i++)
			if (strstr(s, signs[i].letters)) {
				snprintf(what, size, "%s", signs[i].what);
				return true;
			}
	}
	return false;
}

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower(c) - 'a' + 10 : -1;
}

/* %41, \x41, \u0041, &#65;, &#x41;, &lt; : all at once; NULL when there was none. */
static char *unescape(const char *s, size_t n)
{
	struct text out = { 0 };
	bool any = false;

	for (size_t i = 0; i < n;) {
		char c = s[i];
		size_t k = 1;
		long code = -1;

		if (c == '%' && i + 2 < n + 0 && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
			code = hex(s[i + 1]) * 16 + hex(s[i + 2]);
			k = 3;
		} else if (c == '\\' && i + 3 < n && s[i + 1] == 'x' && hex(s[i + 2]) >= 0 &&
			   hex(s[i + 3]) >= 0) {
			code = hex(s[i + 2]) * 16 + hex(s[i + 3]);
			k = 4;
		} else if (c == '\\' && i + 5 < n && s[i + 1] == 'u' && hex(s[i + 2]) >= 0 &&
			   hex(s[i + 3]) >= 0 && hex(s[i + 4]) >= 0 && hex(s[i + 5]) >= 0) {
			code = ((hex(s[i + 2]) * 16 + hex(s[i + 3])) * 16 + hex(s[i + 4])) * 16 +
			       hex(s[i + 5]);
			k = 6;
		} else if (c == '&' && i + 2 < n && s[i + 1] == '#') {
			bool x = s[i + 2] == 'x' || s[i + 2] == 'X';
			char *end;

			code = strtol(s + i + (x ? 3 : 2), &end, x ? 16 : 10);
			k = (size_t)(end - (s + i)) + (*end == ';');
			if (end == s + i + (x ? 3 : 2) || code > 0xffff)
				code = -1, k = 1;
		}
		if (code < 0) {
			text_add_n(&out, s + i, 1);
		} else {
			any = true;
			if (code < 0x80 || c == '%' || (c == '\\' && s[i + 1] == 'x'))
				text_add_n(&out, &(char){ (char)(code ? code : ' ') }, 1);
			else if (code < 0x800)
				text_add_n(&out,
					   (char[]){ (char)(0xc0 | code >> 6), (char)(0x80 | (code & 63)) },
					   2);
			else
				text_add_n(&out,
					   (char[]){ (char)(0xe0 | code >> 12),
						     (char)(0x80 | (code >> 6 & 63)),
						     (char)(0x80 | (code & 63)) },
					   3);
		}
		i += k;
	}
	if (any)
		return text_take(&out);
	text_done(&out);
	return NULL;
}

static int b64(char c)
{
	static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c == '-' ? abc + 62 : c == '_' ? abc + 63 : c ? strchr(abc, c) : NULL;

	return at ? (int)(at - abc) : -1;
}

/* Runs of base64 or hex that hold readable text. */
static void decoded_runs(const char *s, size_t n, struct text *out)
{
	for (size_t i = 0; i < n;) {
		size_t k = 0, h = 0, good = 0;
		AUTO(text) struct text run = { 0 };

		while (i + k < n && b64(s[i + k]) >= 0)
			k++;
		while (h < k && hex(s[i + h]) >= 0)
			h++;
		if (k < 16) {
			i += k ? k : 1;
			continue;
		}
		if (h == k && k % 2 == 0) {
			for (size_t p = 0; p + 1 < k; p += 2)
				text_add_n(&run, &(char){ (char)(hex(s[i + p]) * 16 + hex(s[i + p + 1])) },
					   1);
		} else {
			uint32_t bits = 0;

			for (size_t p = 0; p < k; p++) {
				bits = bits << 6 | (uint32_t)b64(s[i + p]);
				if (p % 4 == 3)
					text_add_n(&run,
						   (char[]){ (char)(bits >> 16), (char)(bits >> 8),
							     (char)bits },
						   3);
			}
			if (k % 4 == 2)
				text_add_n(&run, &(char){ (char)(bits >> 4) }, 1);
			if (k % 4 == 3)
				text_add_n(&run, (char[]){ (char)(bits >> 10), (char)(bits >> 2) }, 2);
		}
		for (size_t p = 0; p < run.len; p++)
			good += isprint((unsigned char)run.s[p]) || (unsigned char)run.s[p] >= 0x80 ||
				run.s[p] == '\n';
		if (run.len && good * 10 >= run.len * 9) {
			text_add_n(out, run.s, run.len);
			text_add(out, "\n");
		}
		i += k;
	}
}

static bool look(const char *text, size_t n, unsigned depth, char *what, size_t size)
{
	AUTO(text) struct text runs = { 0 };
	AUTO(str) char *plain = NULL;
	AUTO(str) char *back = NULL;

	if (signs_in(text, n, what, size))
		return true;
	/* letters one by one from the end */
	back = mem_alloc(n + 1);
	for (size_t i = 0; i < n; i++)
		back[i] = text[n - 1 - i];
	if (depth == 0 && signs_in(back, n, what, size))
		return true;
	if (depth == PEEL_MAX)
		return false;
	plain = unescape(text, n);
	if (plain && look(plain, strlen(plain), depth + 1, what, size))
		return true;
	decoded_runs(text, n, &runs);
	return runs.len && look(runs.s, runs.len, depth + 1, what, size);
}

bool suspect_text(const char *text, char *what, size_t size)
{
	size_t n = strlen(text);

	return look(text, n < LOOK_MAX ? n : LOOK_MAX, 0, what, size);
}
