#include "librarian/chunk.h"
#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"

#define DEPTH_MAX 6

void chunk_list_done(struct chunk_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->chunk[i].heading);
		free(list->chunk[i].body);
	}
	free(list->chunk);
	free(list->title);
	*list = (struct chunk_list){ 0 };
}

struct cutter {
	struct chunk_list list;
	char *path[DEPTH_MAX];
	struct text body;
	bool over, any;
};

static void cutter_done(struct cutter *c)
{
	chunk_list_done(&c->list);
	for (size_t i = 0; i < DEPTH_MAX; i++)
		free(c->path[i]);
	text_done(&c->body);
}

static bool blank(const char *s)
{
	return !s || s[strspn(s, " \t\r\n")] == '\0';
}

static void flush(struct cutter *c)
{
	AUTO(text) struct text heading = { 0 };
	struct chunk *chunk;

	/* The head of a page is a chunk of its own, though often there is nothing in it: then its name alone is found. Later
	 * headings with nothing under them are only the way to their parts. */
	if (blank(text_str(&c->body)) && c->any) {
		c->body.len = 0;
		return;
	}
	if (c->list.count == CHUNKS_MAX) {
		c->over = true;
		return;
	}
	for (size_t i = 0; i < DEPTH_MAX; i++)
		if (c->path[i])
			text_addf(&heading, "%s%s", heading.len ? " > " : "", c->path[i]);
	c->list.chunk = mem_grow(c->list.chunk, c->list.count + 1, sizeof(*c->list.chunk));
	chunk = &c->list.chunk[c->list.count++];
	*chunk = (struct chunk){ 0 };
	chunk->heading = text_take(&heading);
	while (c->body.len && isspace((unsigned char)c->body.s[c->body.len - 1]))
		c->body.s[--c->body.len] = '\0';
	chunk->body = text_take(&c->body);
	c->any = true;
}

/* "## Title ##": its depth, 0 for none. */
static size_t heading_of(const char *line, size_t n, const char **ret, size_t *ret_n)
{
	size_t depth = 0, at;

	while (depth < n && line[depth] == '#')
		depth++;
	if (depth == 0 || depth > DEPTH_MAX || depth == n || (line[depth] != ' ' && line[depth] != '\t'))
		return 0;
	for (at = depth; at < n && isspace((unsigned char)line[at]); at++)
		;
	while (n > at && (isspace((unsigned char)line[n - 1]) || line[n - 1] == '#'))
		n--;
	*ret = line + at;
	*ret_n = n - at;
	return n > at ? depth : 0;
}

/* Bytes that can be cut off the front of a line without splitting a character. */
static size_t whole_chars(const char *s, size_t n, size_t max)
{
	if (n <= max)
		return n;
	while (max > 0 && ((unsigned char)s[max] & 0xc0) == 0x80)
		max--;
	return max ? max : n;
}

enum oc_err chunk_markdown(const char *name, const char *text, size_t len, struct chunk_list *ret,
			   struct oc_fail *reterr)
{
	__attribute__((cleanup(cutter_done))) struct cutter c = { 0 };
	const char *end = text + len;
	bool fence = false;

	if (len > CHUNK_DOC_BYTES)
		return oc_fail(reterr, OC_TOO_LARGE, "%s has %zu bytes, %zu at most", name, len,
			       CHUNK_DOC_BYTES);
	if (!str_utf8_ok(text, len))
		return oc_fail(reterr, OC_INVALID, "%s is no UTF-8 text", name);
	for (const char *line = text; line < end && !c.over;) {
		const char *nl = memchr(line, '\n', (size_t)(end - line)), *title = NULL;
		size_t n = nl ? (size_t)(nl - line) : (size_t)(end - line), title_n = 0, depth, lead = 0;

		while (lead < n && lead < 4 && line[lead] == ' ')
			lead++;
		depth = fence ? 0 : heading_of(line, n, &title, &title_n);
		if (depth) {
			flush(&c);
			for (size_t i = depth - 1; i < DEPTH_MAX; i++) {
				free(c.path[i]);
				c.path[i] = NULL;
			}
			c.path[depth - 1] = mem_strndup(title, title_n < 300
								       ? title_n
								       : whole_chars(title, title_n, 300));
			if (!c.list.title)
				c.list.title = mem_strdup(c.path[depth - 1]);
		} else {
			bool mark = n - lead >= 3 && memcmp(line + lead, "```", 3) == 0;
			/* cut at an empty line, or where the section has run far beyond */
			bool gap = n == lead && !fence;

			if ((c.body.len > CHUNK_BYTES && gap) || c.body.len > 2 * CHUNK_BYTES) {
				if (fence)
					text_add(&c.body, "```");
				flush(&c);
				if (fence)
					text_add(&c.body, "```\n");
			}
			for (size_t at = 0; at < n;) {
				size_t piece = whole_chars(line + at, n - at, 2 * CHUNK_BYTES);

				text_add_n(&c.body, line + at, piece);
				at += piece;
				if (at < n)
					flush(&c);
			}
			text_add(&c.body, "\n");
			if (mark)
				fence = !fence;
		}
		line += n + 1;
	}
	flush(&c);
	if (c.over)
		return oc_fail(reterr, OC_TOO_LARGE, "%s has more than %zu sections", name, CHUNKS_MAX);
	if (!c.list.title)
		c.list.title = mem_strdup(name);
	for (size_t i = 0; i < c.list.count; i++) {
		struct chunk *k = &c.list.chunk[i];
		AUTO(str) char *all = mem_printf("%s\n%s\n%s", c.list.title, k->heading, k->body);

		hash_sha256_hex(all, strlen(all), k->hash);
	}
	*ret = c.list;
	c.list = (struct chunk_list){ 0 };
	return OC_OK;
}
