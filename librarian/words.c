#include "librarian/words.h"
#include <ctype.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include "base/cleanup.h"

uint64_t word_id(const char *word, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)word[i]) * 0x100000001b3u;
	return h ? h : 1;
}

/* --- words that say nothing, and expansions: sorted once, then searched */

static const char *const stops[] = {
	"a",     "about", "all",  "also",  "an",    "and",    "any",  "are",   "as",    "at",    "be",
	"been",  "being", "but",  "by",    "can",   "could",  "did",  "do",    "does",  "for",   "from",
	"had",   "has",   "have", "he",    "her",   "here",   "his",  "how",   "i",     "if",    "in",
	"into",  "is",    "it",   "its",   "just",  "may",    "me",   "might", "more",  "most",  "must",
	"my",    "no",    "not",  "of",    "on",    "one",    "only", "onto",  "or",    "other", "our",
	"out",   "over",  "same", "shall", "she",   "should", "so",   "some",  "such",  "than",  "that",
	"the",   "their", "them", "then",  "there", "these",  "they", "this",  "those", "to",    "too",
	"under", "up",    "us",   "very",  "was",   "we",     "were", "what",  "when",  "where", "which",
	"while", "who",   "will", "with",  "would", "you",    "your",
};

static bool stop_word(const char *w)
{
	size_t lo = 0, hi = ARRAY_LEN(stops);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(w, stops[mid]);

		if (c == 0)
			return true;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return false;
}

static const struct gloss {
	const char *word, *also;
} glosses[] = {
#define GLOSS(word, also) { word, also },
#include "librarian/glossary.def"
#undef GLOSS
};

/* Open addressing over the table's rows; filled once. */
#define GLOSS_SLOTS 512
static unsigned short gloss_slot[GLOSS_SLOTS]; /* row + 1 */

static void gloss_init(void)
{
	for (size_t i = 0; i < ARRAY_LEN(glosses); i++) {
		size_t at = word_id(glosses[i].word, strlen(glosses[i].word)) % GLOSS_SLOTS;

		while (gloss_slot[at])
			at = (at + 1) % GLOSS_SLOTS;
		gloss_slot[at] = (unsigned short)(i + 1);
	}
}

static const char *gloss_find(const char *w, size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, gloss_init);
	for (size_t at = word_id(w, n) % GLOSS_SLOTS; gloss_slot[at]; at = (at + 1) % GLOSS_SLOTS) {
		const struct gloss *g = &glosses[gloss_slot[at] - 1];

		if (strncmp(g->word, w, n) == 0 && g->word[n] == '\0')
			return g->also;
	}
	return NULL;
}

/* --- endings */

static size_t strip(char *w, size_t n)
{
	/* ending, and how much has to be left of the word */
	static const struct {
		const char *end;
		unsigned char len, least;
		char put;
	} ends[] = {
		{ "ational", 7, 4, 0   },
                { "ization", 7, 4, 0   },
                { "fulness", 7, 4, 0   },
		{ "iveness", 7, 4, 0   },
                { "ations",  6, 4, 0   },
                { "ation",   5, 4, 0   },
		{ "ments",   5, 4, 0   },
                { "ingly",   5, 4, 0   },
                { "ment",    4, 4, 0   },
		{ "edly",    4, 4, 0   },
                { "ings",    4, 4, 0   },
                { "able",    4, 4, 0   },
		{ "ible",    4, 4, 0   },
                { "ably",    4, 4, 0   },
                { "ing",     3, 3, 0   },
		{ "ers",     3, 4, 0   },
                { "ies",     3, 3, 'y' },
                { "ied",     3, 3, 'y' },
		{ "ily",     3, 3, 'y' },
                { "ion",     3, 4, 0   },
                { "ive",     3, 4, 0   },
		{ "ed",      2, 3, 0   },
                { "er",      2, 4, 0   },
                { "ly",      2, 4, 0   },
		{ "es",      2, 3, 0   },
                { "al",      2, 4, 0   },
                { "s",       1, 3, 0   },
		{ "e",       1, 4, 0   },
	};

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		size_t k = ends[i].len;

		if (n < k + ends[i].least || memcmp(w + n - k, ends[i].end, k) != 0)
			continue;
		if (k == 1 && ends[i].end[0] == 's' && w[n - 2] == 's')
			return n;
		n -= k;
		if (ends[i].put)
			w[n++] = ends[i].put;
		else if (n > 3 && w[n - 1] == w[n - 2] && !strchr("lsz", w[n - 1]))
			n--; /* stopped: stop */
		else if (n > 3 && w[n - 1] == 'e')
			n--;
		break;
	}
	if (n > 3 && w[n - 1] == 'y')
		w[n - 1] = 'i';
	return n;
}

struct sink {
	words_fn *fn;
	void *ctx;
	float weight;
	bool expanding;
};

static void emit(struct sink *s, const char *from, size_t n)
{
	char w[WORD_MAX];
	const char *also;

	if (n < 2)
		return;
	if (n > WORD_MAX - 1)
		n = WORD_MAX - 1;
	for (size_t i = 0; i < n; i++)
		w[i] = (char)tolower((unsigned char)from[i]);
	w[n] = '\0';
	if (stop_word(w))
		return;
	also = s->expanding ? NULL : gloss_find(w, n);
	n = strip(w, n);
	w[n] = '\0';
	s->fn(s->ctx, w, n, s->weight);
	if (also) {
		struct sink more = { s->fn, s->ctx, s->weight * .5f, true };

		for (const char *a = also; *a;) {
			size_t k = strcspn(a, " ");

			emit(&more, a, k);
			a += k + (a[k] == ' ');
		}
	}
}

/* "KubeAPIDown2": the whole, and Kube, API, Down, 2. */
static void ascii_run(struct sink *s, const char *w, size_t n)
{
	size_t parts = 0, at = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (at = 0; at < n;) {
			size_t from = at;

			if (isdigit((unsigned char)w[at])) {
				while (at < n && isdigit((unsigned char)w[at]))
					at++;
			} else if (isupper((unsigned char)w[at])) {
				while (at < n && isupper((unsigned char)w[at]))
					at++;
				/* the last capital begins the next word, if small letters follow */
				if (at < n && islower((unsigned char)w[at])) {
					if (at - from > 1)
						at--;
					else
						while (at < n && islower((unsigned char)w[at]))
							at++;
				}
			} else {
				while (at < n && islower((unsigned char)w[at]))
					at++;
			}
			if (pass == 0)
				parts++;
			else
				emit(s, w + from, at - from);
		}
		if (pass == 0 && parts > 1)
			emit(s, w, n);
	}
}

/* --- Chinese: Han, kana and Hangul, in UTF-8 of three or four bytes */

static size_t wide_char(const char *p, const char *end, bool *ret_word)
{
	const unsigned char *u = (const unsigned char *)p;
	uint32_t c;

	*ret_word = false;
	if (u[0] < 0xc0 || end - p < 2 || (u[1] & 0xc0) != 0x80)
		return 1;
	if (u[0] < 0xe0)
		return 2;
	if (u[0] < 0xf0) {
		if (end - p < 3 || (u[2] & 0xc0) != 0x80)
			return 1;
		c = (uint32_t)(u[0] & 15) << 12 | (uint32_t)(u[1] & 63) << 6 | (u[2] & 63);
		*ret_word = (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) ||
			    (c >= 0xac00 && c <= 0xd7af) || (c >= 0xf900 && c <= 0xfaff);
		return 3;
	}
	if (end - p < 4 || (u[2] & 0xc0) != 0x80 || (u[3] & 0xc0) != 0x80)
		return 1;
	*ret_word = u[0] == 0xf0 && u[1] >= 0xa0 && u[1] <= 0xaf;
	return 4;
}

static void wide_run(struct sink *s, const char *const *at, size_t count)
{
	struct sink more = { s->fn, s->ctx, s->weight * .5f, true };

	/* at[count] is the end of the run */
	for (size_t i = 0; i < count; i++) {
		size_t two = i + 1 < count ? 2 : 1, n = (size_t)(at[i + two] - at[i]);
		char w[16];

		if (two == 2 || count == 1) {
			memcpy(w, at[i], n);
			w[n] = '\0';
			s->fn(s->ctx, w, n, s->weight);
		}
		for (size_t k = 2; k <= 4 && i + k <= count; k++) {
			const char *also = gloss_find(at[i], (size_t)(at[i + k] - at[i]));

			for (const char *a = also ? also : ""; *a;) {
				size_t len = strcspn(a, " ");

				emit(&more, a, len);
				a += len + (a[len] == ' ');
			}
		}
	}
}

void words_each(const char *text, size_t len, float weight, words_fn *fn, void *ctx)
{
	struct sink s = { fn, ctx, weight, false };
	const char *p = text, *end = text + len, *at[65];
	bool word;

	while (p < end) {
		size_t n = 0;

		if (isalnum((unsigned char)*p)) {
			while (p + n < end && isalnum((unsigned char)p[n]))
				n++;
			ascii_run(&s, p, n);
			p += n;
			continue;
		}
		for (n = 0; p < end && n < 64; n++) {
			size_t bytes = wide_char(p, end, &word);

			if (!word)
				break;
			at[n] = p;
			p += bytes;
		}
		at[n] = p;
		if (n)
			wide_run(&s, at, n);
		else
			p += wide_char(p, end, &word);
	}
}

/* --- chunks */

/* Prose without what only a machine reads: "](address)", bare addresses, comments. */
static void prose(struct sink *s, const char *p, size_t n)
{
	const char *end = p + n, *from = p;

	while (p < end) {
		const char *skip_to = NULL;

		if (*p == ']' && p + 1 < end && p[1] == '(') {
			skip_to = memchr(p, ')', (size_t)(end - p));
		} else if (end - p > 7 && (memcmp(p, "http://", 7) == 0 || memcmp(p, "https:/", 7) == 0)) {
			for (skip_to = p; skip_to < end && !isspace((unsigned char)*skip_to); skip_to++)
				;
		} else if (end - p > 6 && memcmp(p, "<!--", 4) == 0) {
			const char *close = memmem(p, (size_t)(end - p), "-->", 3);

			skip_to = close ? close + 3 : NULL;
		}
		if (!skip_to) {
			p++;
			continue;
		}
		words_each(from, (size_t)(p - from), s->weight, s->fn, s->ctx);
		from = p = skip_to;
		if (p < end && *p == ')')
			from = ++p;
	}
	if (from < end)
		words_each(from, (size_t)(end - from), s->weight, s->fn, s->ctx);
}

void words_chunk(const char *title, const char *heading, const char *body, words_fn *fn, void *ctx)
{
	struct sink s = { fn, ctx, 1, false };
	const char *line = body, *from = body;
	bool fence = false;

	if (title)
		words_each(title, strlen(title), 2, fn, ctx);
	if (heading)
		words_each(heading, strlen(heading), 2, fn, ctx);
	while (line && *line) {
		size_t n = strcspn(line, "\n"), blank = strspn(line, " \t");

		if (strncmp(line + blank, "```", 3) == 0) {
			if (fence)
				words_each(from, (size_t)(line - from), .25f, fn, ctx);
			else
				prose(&s, from, (size_t)(line - from));
			fence = !fence;
			from = line + n;
		}
		line += n + (line[n] == '\n');
	}
	if (from && *from) {
		if (fence)
			words_each(from, strlen(from), .25f, fn, ctx);
		else
			prose(&s, from, strlen(from));
	}
}
