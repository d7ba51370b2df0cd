/* embed.h - the built-in embedding: needs no provider, knows Chinese and English.
 *
 * Pure. Words and runs of four characters inside of longer words are weighted by how rare they are (a snapshot of the
 * tenant's own pages, so vectors of two snapshots are two models) and how often they come, then each is thrown to two of
 * EMBED_DIMS places with a sign that its hash says (feature hashing). The vector has length 1, or is all zeros for a
 * text without words. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/text.h"

#define EMBED_DIMS    1536
#define EMBED_BUCKETS 131072 /* bytes of a snapshot */

/* How rare features are, by the bucket of their hash, in sixteenths. */
struct embed_stats {
	uint8_t idf[EMBED_BUCKETS];
};

/* Counts pages' features, then makes the snapshot. */
struct embed_census;
struct embed_census *embed_census_new(void);
void embed_census_free(struct embed_census *c);
void embed_census_add(struct embed_census *c, const char *title, const char *heading, const char *body);
size_t embed_census_count(const struct embed_census *c);
void embed_census_stats(const struct embed_census *c, struct embed_stats *ret);

void embed_chunk(const struct embed_stats *stats, const char *title, const char *heading, const char *body,
		 float ret[EMBED_DIMS]);
void embed_question(const struct embed_stats *stats, const char *text, float ret[EMBED_DIMS]);
/* As pgvector reads it: "[0.5,0,..]"; `dims` values, filled up with zeros to EMBED_DIMS. */
void embed_text(const float *v, size_t dims, struct text *out);
