/* chunk.h - a Markdown page as the pieces that are found and cited: one for each section, under its headings.
 *
 * Pure. Sections longer than CHUNK_BYTES are cut at paragraphs; a fence that is cut is closed and opened again, so
 * that every piece is Markdown of its own. Text without headings is one section. */
#pragma once
#include "base/err.h"
#include "base/hash.h"

#define CHUNK_BYTES     ((size_t)2400) /* where a section is cut */
#define CHUNK_DOC_BYTES ((size_t)2 << 20)
#define CHUNKS_MAX      ((size_t)2048) /* of one page */

struct chunk {
	char *heading; /* "Page > Section > Part", "" before the first heading */
	char *body;
	char hash[HASH_HEX]; /* over title, heading and body: what is embedded */
};

struct chunk_list {
	char *title; /* the first heading, else the name that was given */
	struct chunk *chunk;
	size_t count;
};
void chunk_list_done(struct chunk_list *list);
static inline void oc_auto_chunk_list(struct chunk_list *list)
{
	chunk_list_done(list);
}

/* `name` names a page without a heading: its file name. OC_TOO_LARGE, OC_INVALID for what is no UTF-8. */
MUST_CHECK enum oc_err chunk_markdown(const char *name, const char *text, size_t len, struct chunk_list *ret,
				      struct oc_fail *reterr);
