/* route.c - what is kept of paths, names and statements: their shape, without ids and without literals. */
#include "sensor-bpf/parse/parser.h"

#define SEGMENTS_MAX 8

void copy_word(char *out, size_t size, const uint8_t *p, size_t len)
{
	size_t n = 0;

	while (n < len && n + 1 < size && p[n] > ' ' && p[n] < 0x7f) {
		out[n] = (char)p[n];
		n++;
	}
	out[n] = '\0';
}

/* Is this part the name of one thing rather than of a kind of things? */
static bool is_id(const char *s, size_t n)
{
	size_t digits = 0, hex = 0, dashes = 0, upper = 0, other = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		digits += isdigit(c) != 0;
		hex += isxdigit(c) != 0;
		dashes += c == '-' || c == '_';
		upper += isupper(c) != 0;
		other += c >= 0x7f || c == '%' || c == '@' || c == '=' || c == '+' || c == ',' || c == ';';
	}
	if (n == 0)
		return false;
	if (digits + dashes == n && digits) /* 17, 2026-01-02 */
		return true;
	if (hex + dashes == n && n >= 8 && digits) /* hashes, UUIDs */
		return true;
	if (other) /* addresses, encoded text: whatever it is, people typed it */
		return true;
	if (n >= 16 && digits >= 2 && upper) /* base64 */
		return true;
	return n >= 24 && digits >= 2;
}

static void fold(char *out, size_t size, const char *s, size_t len, char sep, const char *mark)
{
	size_t at = 0, used = 0, parts = 0;

	while (at <= len && used + 1 < size) {
		const char *end = memchr(s + at, sep, len - at);
		size_t n = end ? (size_t)(end - s) - at : len - at;
		bool id = is_id(s + at, n);
		size_t put = id ? strlen(mark) : n;

		if (at > 0 || (n == 0 && len > 0)) {
			if (at > 0)
				out[used++] = sep;
			if (n > 0 && ++parts > SEGMENTS_MAX) {
				put = snprintf(out + used, size - used, "...") > 0 ? 3 : 0;
				used += put < size - used ? put : 0;
				break;
			}
		}
		if (put > size - used - 1)
			put = size - used - 1;
		memcpy(out + used, id ? mark : s + at, put);
		used += put;
		at += n + 1;
	}
	out[used] = '\0';
	for (size_t i = 0; i < used; i++)
		if ((unsigned char)out[i] <= ' ' || (unsigned char)out[i] >= 0x7f || out[i] == '"' ||
		    out[i] == '\\')
			out[i] = '_';
}

void route_fold_path(char *out, size_t size, const char *path, size_t len)
{
	const char *end;

	/* http://host/path, as proxies are asked */
	if (len > 7 && (strncmp(path, "http://", 7) == 0 || (len > 8 && strncmp(path, "https://", 8) == 0))) {
		const char *slash = memchr(path + 8, '/', len - 8);

		len = slash ? len - (size_t)(slash - path) : 1;
		path = slash ? slash : "/";
	}
	end = memchr(path, '?', len);
	if (end)
		len = (size_t)(end - path);
	end = memchr(path, '#', len);
	if (end)
		len = (size_t)(end - path);
	fold(out, size, path, len, '/', ":id");
}

void route_fold_dotted(char *out, size_t size, const char *name, size_t len)
{
	fold(out, size, name, len, '.', "*");
}

/* --- statements */

struct words {
	const char *p, *end;
};

static bool word_next(struct words *w, const char **ret, size_t *ret_len)
{
	for (;;) {
		while (w->p < w->end && (isspace((unsigned char)*w->p) || *w->p == '(' || *w->p == ';'))
			w->p++;
		if (w->end - w->p >= 2 && w->p[0] == '-' && w->p[1] == '-') {
			while (w->p < w->end && *w->p != '\n')
				w->p++;
		} else if (w->end - w->p >= 2 && w->p[0] == '/' && w->p[1] == '*') {
			w->p += 2;
			while (w->end - w->p >= 2 && !(w->p[0] == '*' && w->p[1] == '/'))
				w->p++;
			w->p = w->end - w->p >= 2 ? w->p + 2 : w->end;
		} else if (w->p < w->end && *w->p == '\'') {
			w->p++; /* a literal: over it */
			while (w->p < w->end && *w->p != '\'')
				w->p++;
			if (w->p < w->end)
				w->p++;
		} else {
			break;
		}
	}
	if (w->p >= w->end)
		return false;
	*ret = w->p;
	while (w->p < w->end && !isspace((unsigned char)*w->p) && !strchr("();,'", *w->p))
		w->p++;
	*ret_len = (size_t)(w->p - *ret);
	if (*ret_len == 0) {
		w->p++;
		*ret_len = 1;
	}
	return true;
}

static bool word_is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && strncasecmp(s, word, n) == 0;
}

void route_sql(char *method, size_t method_size, char *route, size_t route_size, const char *sql, size_t len)
{
	struct words w = { sql, sql + len };
	const char *word;
	size_t n, used = 0;
	bool table_next = false;

	method[0] = route[0] = '\0';
	if (!word_next(&w, &word, &n))
		return;
	for (size_t i = 0; i < n && i + 1 < method_size && isalpha((unsigned char)word[i]); i++)
		method[i] = (char)toupper((unsigned char)word[i]), method[i + 1] = '\0';
	if (strcmp(method, "UPDATE") == 0)
		table_next = true;
	else if (!str_eq(method, "SELECT") && !str_eq(method, "INSERT") && !str_eq(method, "DELETE") &&
		 !str_eq(method, "WITH") && !str_eq(method, "MERGE") && !str_eq(method, "COPY") &&
		 !str_eq(method, "REPLACE") && !str_eq(method, "TRUNCATE"))
		return;
	if (str_eq(method, "COPY") || str_eq(method, "TRUNCATE"))
		table_next = true;
	while (word_next(&w, &word, &n)) {
		if (table_next && (word_is(word, n, "only") || word_is(word, n, "table")))
			continue;
		if (table_next && !word_is(word, n, "select")) {
			for (size_t i = 0; i < n && used + 1 < route_size; i++)
				if (isalnum((unsigned char)word[i]) || word[i] == '_' || word[i] == '.')
					route[used++] = word[i];
			route[used] = '\0';
			return;
		}
		table_next = word_is(word, n, "from") || word_is(word, n, "into") || word_is(word, n, "join");
	}
}
