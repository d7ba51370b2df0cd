#include "librarian/embed.h"
#include <math.h>
#include <stdbool.h>
#include "base/mem.h"
#include "librarian/words.h"

#define GRAM         4
#define GRAM_PART    .35f
#define FEATURES_MAX 16384 /* of one text; what comes later is not counted */

/* --- features of a text: hash and weighted count */

struct feature {
	uint64_t id;
	float n, part;
};

struct features {
	struct feature *slot;
	size_t size, used; /* size: a power of two */
	float total;
};

static void feature_add(struct features *f, uint64_t id, float n, float part)
{
	size_t at;

	if (f->used * 2 >= f->size) {
		struct features old = *f;

		if (f->used >= FEATURES_MAX)
			return;
		f->size = old.size ? old.size * 2 : 256;
		f->slot = mem_array(f->size, sizeof(*f->slot));
		f->used = 0;
		f->total = 0;
		for (size_t i = 0; i < old.size; i++)
			if (old.slot[i].id)
				feature_add(f, old.slot[i].id, old.slot[i].n, old.slot[i].part);
		free(old.slot);
	}
	for (at = id & (f->size - 1); f->slot[at].id && f->slot[at].id != id; at = (at + 1) & (f->size - 1))
		;
	if (!f->slot[at].id) {
		f->slot[at].id = id;
		f->slot[at].part = part;
		f->used++;
	}
	f->slot[at].n += n;
	f->total += n * part;
}

/* Begins of characters; grams of bytes would cut them. */
static void grams(struct features *f, const char *w, size_t n, float weight)
{
	char framed[WORD_MAX + 2];
	size_t at[WORD_MAX + 3], count = 0;

	framed[0] = '^';
	for (size_t i = 0; i < n; i++)
		framed[i + 1] = w[i];
	framed[n + 1] = '$';
	for (size_t i = 0; i < n + 2; i++)
		if (((unsigned char)framed[i] & 0xc0) != 0x80)
			at[count++] = i;
	at[count] = n + 2;
	for (size_t i = 0; i + GRAM <= count; i++)
		feature_add(f, word_id(framed + at[i], at[i + GRAM] - at[i]) ^ 0x9e3779b97f4a7c15u, weight,
			    GRAM_PART);
}

static void on_word(void *ctx, const char *word, size_t n, float weight)
{
	struct features *f = ctx;

	feature_add(f, word_id(word, n), weight, 1);
	if (n > 3)
		grams(f, word, n, weight);
}

/* --- how rare they are */

struct embed_census {
	size_t count;
	uint32_t df[EMBED_BUCKETS];
};

struct embed_census *embed_census_new(void)
{
	return mem_alloc(sizeof(struct embed_census));
}

void embed_census_free(struct embed_census *c)
{
	free(c);
}

void embed_census_add(struct embed_census *c, const char *title, const char *heading, const char *body)
{
	struct features f = { 0 };

	words_chunk(title, heading, body, on_word, &f);
	for (size_t i = 0; i < f.size; i++)
		if (f.slot[i].id)
			c->df[f.slot[i].id % EMBED_BUCKETS]++;
	free(f.slot);
	c->count++;
}

size_t embed_census_count(const struct embed_census *c)
{
	return c->count;
}

void embed_census_stats(const struct embed_census *c, struct embed_stats *ret)
{
	for (size_t i = 0; i < EMBED_BUCKETS; i++) {
		double n = c->df[i] < c->count ? c->df[i] : c->count;
		double idf = log(1 + ((double)c->count - n + .5) / (n + .5)) * 16;

		ret->idf[i] = (uint8_t)(idf < 1 ? 1 : idf > 255 ? 255 : idf);
	}
}

/* --- vectors */

/* Saturated as BM25 does it; the average chunk counts as 160 weighted words. */
static void project(const struct embed_stats *stats, const struct features *f, bool question,
		    float ret[EMBED_DIMS])
{
	float length = question ? 1 : .25f + .75f * f->total / 160;
	double norm = 0;

	memset(ret, 0, sizeof(float) * EMBED_DIMS);
	for (size_t i = 0; i < f->size; i++) {
		const struct feature *x = &f->slot[i];
		float v;

		if (!x->id)
			continue;
		v = (float)stats->idf[x->id % EMBED_BUCKETS] / 16 * x->part * x->n * 2.2f /
		    (x->n + 1.2f * length);
		for (unsigned k = 0; k < 2; k++) {
			uint64_t h = (x->id + k * 0x632be59bd9b4e019u) * 0xff51afd7ed558ccdu;

			h ^= h >> 33;
			ret[h % EMBED_DIMS] += h >> 62 & 1 ? v : -v;
		}
	}
	for (size_t i = 0; i < EMBED_DIMS; i++)
		norm += (double)ret[i] * ret[i];
	if (norm > 0)
		for (size_t i = 0; i < EMBED_DIMS; i++)
			ret[i] = (float)(ret[i] / sqrt(norm));
}

void embed_chunk(const struct embed_stats *stats, const char *title, const char *heading, const char *body,
		 float ret[EMBED_DIMS])
{
	struct features f = { 0 };

	words_chunk(title, heading, body, on_word, &f);
	project(stats, &f, false, ret);
	free(f.slot);
}

void embed_question(const struct embed_stats *stats, const char *text, float ret[EMBED_DIMS])
{
	struct features f = { 0 };

	words_chunk(NULL, NULL, text, on_word, &f);
	project(stats, &f, true, ret);
	free(f.slot);
}

void embed_text(const float *v, size_t dims, struct text *out)
{
	for (size_t i = 0; i < EMBED_DIMS; i++) {
		float x = i < dims ? v[i] : 0;

		text_add(out, i ? "," : "[");
		if (x == 0)
			text_add(out, "0");
		else
			text_addf(out, "%.6g", (double)x);
	}
	text_add(out, "]");
}
