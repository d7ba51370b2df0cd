#include "librarian/index.h"
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"
#include "librarian/words.h"

#define K1          1.2f
#define B           .75f
#define WIDEN_TOP   8   /* chunks that are looked at */
#define WIDEN_WORDS 10  /* words that are taken from them */
#define WIDEN_PART  .5f /* of the widened question */
#define WORDS_MAX   512 /* of a question */

/* --- id to number: open addressing, grown at half full */

struct map {
	uint64_t *key; /* 0: empty */
	uint32_t *value;
	size_t size, used;
};

static size_t map_at(const struct map *m, uint64_t key)
{
	size_t at = (key * 0x9e3779b97f4a7c15u >> 20) & (m->size - 1);

	while (m->key[at] && m->key[at] != key)
		at = (at + 1) & (m->size - 1);
	return at;
}

static bool map_get(const struct map *m, uint64_t key, uint32_t *ret)
{
	size_t at;

	if (!m->size)
		return false;
	at = map_at(m, key);
	if (!m->key[at])
		return false;
	*ret = m->value[at];
	return true;
}

static void map_put(struct map *m, uint64_t key, uint32_t value)
{
	size_t at;

	if (m->used * 2 >= m->size) {
		struct map old = *m;

		m->size = old.size ? old.size * 2 : 1024;
		m->key = mem_array(m->size, sizeof(*m->key));
		m->value = mem_array(m->size, sizeof(*m->value));
		m->used = 0;
		for (size_t i = 0; i < old.size; i++)
			if (old.key[i])
				map_put(m, old.key[i], old.value[i]);
		free(old.key);
		free(old.value);
	}
	at = map_at(m, key);
	m->used += !m->key[at];
	m->key[at] = key;
	m->value[at] = value;
}

static void map_done(struct map *m)
{
	free(m->key);
	free(m->value);
}

/* --- the index */

struct seen {
	uint32_t at; /* of a posting: the chunk; of a chunk: the word */
	float n;
};

struct word {
	struct seen *post;
	uint32_t count, cap, live; /* live: postings whose chunk was not dropped */
};

struct leaf {
	long long chunk_id;
	uint32_t page;
	uint32_t count; /* words */
	float length;
	bool gone;
	struct seen *words;
};

struct page {
	long long doc_id;
	char *title, *service, *kind;
	int64_t from_us, to_us;
	float trust;
	bool live;
	uint32_t leaves;
};

struct index {
	struct map word_map, leaf_map, page_map;
	struct word *words;
	size_t word_count, word_cap;
	struct leaf *leaves;
	size_t leaf_count, leaf_cap, live;
	struct page *pages;
	size_t page_count, page_cap;
	double length; /* of all live chunks */
	size_t seen;   /* postings, dropped ones too */
};

struct index *index_new(void)
{
	return mem_alloc(sizeof(struct index));
}

void index_free(struct index *ix)
{
	if (!ix)
		return;
	for (size_t i = 0; i < ix->word_count; i++)
		free(ix->words[i].post);
	for (size_t i = 0; i < ix->leaf_count; i++)
		free(ix->leaves[i].words);
	for (size_t i = 0; i < ix->page_count; i++) {
		free(ix->pages[i].title);
		free(ix->pages[i].service);
		free(ix->pages[i].kind);
	}
	free(ix->words);
	free(ix->leaves);
	free(ix->pages);
	map_done(&ix->word_map);
	map_done(&ix->leaf_map);
	map_done(&ix->page_map);
	free(ix);
}

/* Room for one more, doubled: mem_grow alone would copy everything each time. */
#define ROOM(list, count, cap)                                             \
	do {                                                               \
		if ((count) == (cap)) {                                    \
			(cap) = (cap) ? (cap) * 2 : 64;                    \
			(list) = mem_grow((list), (cap), sizeof(*(list))); \
		}                                                          \
	} while (0)

void index_put_page(struct index *ix, const struct index_page *p)
{
	struct page *page;
	uint32_t at;

	if (!map_get(&ix->page_map, (uint64_t)p->doc_id, &at)) {
		ROOM(ix->pages, ix->page_count, ix->page_cap);
		at = (uint32_t)ix->page_count++;
		ix->pages[at] = (struct page){ .doc_id = p->doc_id };
		map_put(&ix->page_map, (uint64_t)p->doc_id, at);
	}
	page = &ix->pages[at];
	mem_set(&page->title, p->title);
	mem_set(&page->service, p->service);
	mem_set(&page->kind, p->kind);
	page->from_us = p->from_us;
	page->to_us = p->to_us;
	page->trust = p->trust;
	page->live = p->live;
}

/* --- a text's words, counted */

struct counts {
	struct map map; /* word id to place */
	struct counted {
		uint64_t id;
		float n;
	} *v;
	size_t count, cap, max;
	float total;
};

static void count_word(void *ctx, const char *word, size_t n, float weight)
{
	struct counts *c = ctx;
	uint64_t id = word_id(word, n);
	uint32_t at;

	c->total += weight;
	if (map_get(&c->map, id, &at)) {
		c->v[at].n += weight;
		return;
	}
	if (c->max && c->count == c->max)
		return;
	ROOM(c->v, c->count, c->cap);
	map_put(&c->map, id, (uint32_t)c->count);
	c->v[c->count++] = (struct counted){ id, weight };
}

static void counts_done(struct counts *c)
{
	map_done(&c->map);
	free(c->v);
}

static uint32_t word_of(struct index *ix, uint64_t id)
{
	uint32_t at;

	if (map_get(&ix->word_map, id, &at))
		return at;
	ROOM(ix->words, ix->word_count, ix->word_cap);
	at = (uint32_t)ix->word_count++;
	ix->words[at] = (struct word){ 0 };
	map_put(&ix->word_map, id, at);
	return at;
}

static void drop_leaf(struct index *ix, uint32_t at)
{
	struct leaf *leaf = &ix->leaves[at];

	if (leaf->gone)
		return;
	leaf->gone = true;
	ix->live--;
	ix->length -= (double)leaf->length;
	ix->pages[leaf->page].leaves--;
	for (uint32_t i = 0; i < leaf->count; i++)
		ix->words[leaf->words[i].at].live--;
	free(leaf->words);
	leaf->words = NULL;
}

void index_put(struct index *ix, long long chunk_id, long long doc_id, const char *heading, const char *body)
{
	__attribute__((cleanup(counts_done))) struct counts c = { 0 };
	struct leaf leaf = { .chunk_id = chunk_id };
	uint32_t at, page;

	if (!map_get(&ix->page_map, (uint64_t)doc_id, &page))
		return;
	index_drop(ix, chunk_id);
	words_chunk(ix->pages[page].title, heading, body, count_word, &c);
	ROOM(ix->leaves, ix->leaf_count, ix->leaf_cap);
	at = (uint32_t)ix->leaf_count++;
	leaf.page = page;
	leaf.length = c.total;
	leaf.count = (uint32_t)c.count;
	leaf.words = mem_array(c.count ? c.count : 1, sizeof(*leaf.words));
	for (size_t i = 0; i < c.count; i++) {
		uint32_t w = word_of(ix, c.v[i].id);
		struct word *word = &ix->words[w];

		leaf.words[i] = (struct seen){ w, c.v[i].n };
		if (word->count == word->cap) {
			word->cap = word->cap ? word->cap * 2 : 2;
			word->post = mem_grow(word->post, word->cap, sizeof(*word->post));
		}
		word->post[word->count++] = (struct seen){ at, c.v[i].n };
		word->live++;
	}
	ix->leaves[at] = leaf;
	ix->pages[page].leaves++;
	ix->live++;
	ix->length += (double)c.total;
	ix->seen += c.count;
	map_put(&ix->leaf_map, (uint64_t)chunk_id, at);
}

void index_drop(struct index *ix, long long chunk_id)
{
	uint32_t at;

	if (map_get(&ix->leaf_map, (uint64_t)chunk_id, &at))
		drop_leaf(ix, at);
}

void index_sweep(struct index *ix, bool (*keep)(void *ctx, long long chunk_id), void *ctx)
{
	for (size_t i = 0; i < ix->leaf_count; i++)
		if (!ix->leaves[i].gone && !keep(ctx, ix->leaves[i].chunk_id))
			drop_leaf(ix, (uint32_t)i);
	for (size_t i = 0; i < ix->page_count; i++)
		if (!ix->pages[i].leaves)
			ix->pages[i].live = false;
}

size_t index_chunks(const struct index *ix)
{
	return ix->live;
}

size_t index_dropped(const struct index *ix)
{
	return ix->leaf_count - ix->live;
}

size_t index_bytes(const struct index *ix)
{
	return sizeof(*ix) + ix->seen * 3 * sizeof(struct seen) + ix->leaf_cap * sizeof(struct leaf) +
	       ix->page_cap * sizeof(struct page) + ix->word_cap * sizeof(struct word) +
	       (ix->word_map.size + ix->leaf_map.size + ix->page_map.size) * 12;
}

static bool fits(const struct page *p, const struct index_filter *f)
{
	return p->live && (!f->service || !p->service || str_eq(p->service, f->service)) &&
	       (!f->kind || str_eq(p->kind, f->kind)) &&
	       (!f->at_us || ((!p->from_us || p->from_us <= f->at_us) && (!p->to_us || f->at_us < p->to_us)));
}

bool index_page_fits(const struct index *ix, long long doc_id, const struct index_filter *filter,
		     float *ret_trust)
{
	uint32_t at;

	if (!map_get(&ix->page_map, (uint64_t)doc_id, &at) || !fits(&ix->pages[at], filter))
		return false;
	if (ret_trust)
		*ret_trust = ix->pages[at].trust;
	return true;
}

/* --- asking */

struct asked {
	uint32_t word;
	float weight;
};

static float idf(const struct index *ix, uint32_t word)
{
	double n = ix->words[word].live;

	return (float)log(1 + ((double)ix->live - n + .5) / (n + .5));
}

/* Adds each chunk's part to score; -1 marks chunks that may not answer. */
static void score(const struct index *ix, const struct asked *asked, size_t count, float *ret)
{
	float average = (float)(ix->length / (double)(ix->live ? ix->live : 1));

	for (size_t i = 0; i < count; i++) {
		const struct word *w = &ix->words[asked[i].word];
		float gain = asked[i].weight * idf(ix, asked[i].word) * (K1 + 1);

		for (uint32_t k = 0; k < w->count; k++) {
			const struct leaf *leaf = &ix->leaves[w->post[k].at];
			float n = w->post[k].n;

			if (ret[w->post[k].at] >= 0)
				ret[w->post[k].at] += gain * n /
						      (n + K1 * (1 - B + B * leaf->length / average));
		}
	}
}

struct best {
	float score;
	uint32_t leaf;
};

static bool better(const struct index *ix, const struct best *a, const struct best *b)
{
	if (a->score != b->score)
		return a->score > b->score;
	return ix->leaves[a->leaf].chunk_id < ix->leaves[b->leaf].chunk_id;
}

/* The best chunks with `one_a_page`: only the best of each page. Insertion into a short sorted list. */
static size_t top(const struct index *ix, const float *scores, bool one_a_page, struct best *ret, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < ix->leaf_count; i++) {
		struct best b = { scores[i], (uint32_t)i };
		size_t at, old = n;

		if (b.score <= 0 || (n == max && !better(ix, &b, &ret[n - 1])))
			continue;
		if (one_a_page)
			for (old = 0; old < n && ix->leaves[ret[old].leaf].page != ix->leaves[i].page; old++)
				;
		if (old < n) {
			if (!better(ix, &b, &ret[old]))
				continue;
		} else if (n < max) {
			old = n++;
		} else {
			old = n - 1;
		}
		for (at = old; at > 0 && better(ix, &b, &ret[at - 1]); at--)
			ret[at] = ret[at - 1];
		ret[at] = b;
	}
	return n;
}

/* RM3: what the best chunks say much of, and others little. */
static size_t widened(const struct index *ix, const float *scores, struct asked *asked, size_t count,
		      float total)
{
	struct best tops[WIDEN_TOP];
	struct counted words[WIDEN_WORDS];
	size_t n = top(ix, scores, false, tops, WIDEN_TOP), taken = 0, own = count;
	float sum = 0, mass = 0, *say = mem_array(ix->word_count ? ix->word_count : 1, sizeof(*say));

	for (size_t i = 0; i < n; i++)
		sum += tops[i].score;
	for (size_t i = 0; i < n; i++) {
		const struct leaf *leaf = &ix->leaves[tops[i].leaf];

		for (uint32_t k = 0; k < leaf->count; k++)
			say[leaf->words[k].at] += tops[i].score / sum * leaf->words[k].n / leaf->length;
	}
	for (size_t i = 0; i < n; i++) {
		const struct leaf *leaf = &ix->leaves[tops[i].leaf];

		for (uint32_t k = 0; k < leaf->count; k++) {
			uint32_t w = leaf->words[k].at;
			float v = say[w] * idf(ix, w);
			size_t at;

			if (v <= 0 || (taken == WIDEN_WORDS && v <= words[taken - 1].n))
				continue;
			say[w] = 0; /* once */
			at = taken < WIDEN_WORDS ? taken++ : taken - 1;
			for (; at > 0 && v > words[at - 1].n; at--)
				words[at] = words[at - 1];
			words[at] = (struct counted){ w, v };
		}
	}
	free(say);
	for (size_t i = 0; i < taken; i++)
		mass += words[i].n;
	for (size_t i = 0; i < own; i++)
		asked[i].weight *= (1 - WIDEN_PART) / total;
	for (size_t i = 0; i < taken; i++) {
		float v = WIDEN_PART * words[i].n / mass;
		size_t k = 0;

		while (k < own && asked[k].word != (uint32_t)words[i].id)
			k++;
		if (k < own)
			asked[k].weight += v;
		else
			asked[count++] = (struct asked){ (uint32_t)words[i].id, v };
	}
	return count;
}

static void mark(const struct index *ix, const struct index_filter *filter, float *ret)
{
	bool *may = mem_array(ix->page_count ? ix->page_count : 1, sizeof(*may));

	for (size_t i = 0; i < ix->page_count; i++)
		may[i] = fits(&ix->pages[i], filter);
	for (size_t i = 0; i < ix->leaf_count; i++)
		ret[i] = ix->leaves[i].gone || !may[ix->leaves[i].page] ? -1 : 0;
	free(may);
}

size_t index_search(const struct index *ix, const char *question, const struct index_filter *filter,
		    bool widen, struct index_hit *ret, size_t max)
{
	__attribute__((cleanup(counts_done))) struct counts c = { .max = WORDS_MAX };
	AUTO(free) void *scores_mem = mem_array(ix->leaf_count ? ix->leaf_count : 1, sizeof(float));
	AUTO(free) void *best_mem = mem_array(max ? max : 1, sizeof(struct best));
	struct asked asked[WORDS_MAX + WIDEN_WORDS];
	struct best *best = best_mem;
	float *scores = scores_mem, total = 0;
	size_t count = 0, n;
	uint32_t w;

	words_chunk(NULL, NULL, question, count_word, &c);
	for (size_t i = 0; i < c.count; i++)
		if (map_get(&ix->word_map, c.v[i].id, &w) && ix->words[w].live) {
			asked[count++] = (struct asked){ w, c.v[i].n };
			total += c.v[i].n;
		}
	if (!count || !max)
		return 0;
	mark(ix, filter, scores);
	score(ix, asked, count, scores);
	if (widen) {
		count = widened(ix, scores, asked, count, total);
		mark(ix, filter, scores);
		score(ix, asked, count, scores);
	}
	n = top(ix, scores, true, best, max);
	for (size_t i = 0; i < n; i++) {
		const struct leaf *leaf = &ix->leaves[best[i].leaf];

		ret[i] = (struct index_hit){ ix->pages[leaf->page].doc_id, leaf->chunk_id,
					     (double)best[i].score };
	}
	return n;
}
