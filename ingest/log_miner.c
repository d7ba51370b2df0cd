#include "ingest/log_miner.h"
#include <string.h>
#include "base/mem.h"
#include "base/text.h"

#define NONE       UINT32_MAX
#define HOLES_MAX  64   /* words of a variant that may become a variable */
#define BUCKET_MAX 1024 /* general templates of one shape */

/* A variant, or a template that a rule made of some. */
struct node {
	uint64_t fingerprint;
	const char *text;
	uint32_t len, stars;
	uint32_t bucket, next_general;
	uint32_t root, seen_at; /* root holds while the bucket is at seen_at */
	uint32_t used;
	uint8_t severity;
	bool promoted; /* by a rule, or loaded as such: covers words anywhere */
};

/* The shape: a word and a star are the same, the rest as it is. Only nodes of one shape can cover each other. */
struct bucket {
	uint64_t shape;
	uint32_t first_general, count, version;
};

struct hole {
	uint64_t key; /* the node with a hole at one position; 0: free */
	uint32_t count;
};

struct log_miner {
	struct log_miner_config config;
	struct node *node;
	uint32_t nodes, node_room;
	uint32_t *slot; /* fingerprint -> node, open addressing */
	size_t slots;
	struct bucket *bucket;
	uint32_t buckets, bucket_room;
	uint32_t *bucket_slot;
	size_t bucket_slots;
	struct hole *hole;
	size_t holes, hole_slots;
	char **chunk; /* texts */
	size_t chunks, chunk_used, bytes;
	uint32_t *todo; /* nodes whose holes are to be counted */
	size_t todos, todo_room;
	struct log_merge merge[LOG_MERGES_KEPT];
	size_t merge_first, merge_count;
	uint32_t clock;
	uint64_t lines, variants_seen, sweeps;
};

#define CHUNK (64u << 10)

/* --- text */

static bool letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 128;
}

static bool in_word(char c)
{
	return letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' || c == '~' ||
	       c == '$' || c == '.' || c == '@';
}

static bool star_at(const char *s, size_t i, size_t len)
{
	return i + LOG_STAR_LEN <= len && memcmp(s + i, LOG_STAR, LOG_STAR_LEN) == 0;
}

static size_t word_end(const char *s, size_t i, size_t len)
{
	while (i < len && in_word(s[i]))
		i++;
	return i;
}

static bool listed(const char *w, size_t n, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(list[i]) == n && strncasecmp(w, list[i], n) == 0)
			return true;
	return false;
}

/* How many different words make the position of this one a variable. */
static unsigned words_wanted(const char *s, size_t from, size_t end)
{
	static const char *const leads[] = { "for", "from", "by", "user", "of",   "in",   "on",  "at",
					     "to",  "with", "as", "host", "name", "file", "node" };
	static const char *const units[] = { "B",   "KB",   "MB",     "GB",      "TB",   "KiB",    "MiB",
					     "GiB", "TiB",  "k",      "M",       "G",    "K",      "ms",
					     "us",  "ns",   "s",      "sec",     "secs", "second", "seconds",
					     "min", "mins", "minute", "minutes", "h",    "hour",   "hours",
					     "day", "days", "byte",   "bytes" };
	size_t i = from, w;

	while (i && s[i - 1] == ' ')
		i--;
	if (i > 1 && (s[i - 1] == '"' || s[i - 1] == '\''))
		i--;
	if (i == 0)
		return LOG_WORDS_FIRST;
	if (s[i - 1] == '=' || s[i - 1] == ':' || s[i - 1] == '(')
		return LOG_WORDS_VALUE;
	if (i >= LOG_STAR_LEN && star_at(s, i - LOG_STAR_LEN, from))
		return listed(s + from, end - from, units, ARRAY_LEN(units)) ? LOG_WORDS_UNIT : LOG_WORDS_ANY;
	for (w = i; w && in_word(s[w - 1]); w--) {
	}
	return listed(s + w, i - w, leads, ARRAY_LEN(leads)) ? LOG_WORDS_VALUE : LOG_WORDS_ANY;
}

/* Does the template cover the other text of the same shape? */
static bool covers(const struct node *general, const struct node *n)
{
	const char *g = general->text, *t = n->text;
	size_t i = 0, j = 0, end;

	while (i < general->len && j < n->len) {
		if (star_at(g, i, general->len)) {
			i += LOG_STAR_LEN;
			if (star_at(t, j, n->len)) {
				j += LOG_STAR_LEN;
				continue;
			}
			if (!letter(t[j]))
				return false;
			end = word_end(t, j, n->len);
			if (!general->promoted && words_wanted(t, j, end) > LOG_WORDS_VALUE)
				return false;
			j = end;
		} else if (g[i++] != t[j++]) {
			return false;
		}
	}
	return i == general->len && j == n->len;
}

static uint64_t shape_of(const char *s, size_t len, uint32_t *ret_stars)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	uint32_t stars = 0;

	for (size_t i = 0; i < len;) {
		unsigned char c = 1;

		if (star_at(s, i, len)) {
			i += LOG_STAR_LEN;
			stars++;
		} else if (letter(s[i])) {
			i = word_end(s, i, len);
		} else {
			c = (unsigned char)s[i++];
		}
		h = (h ^ c) * UINT64_C(0x100000001b3);
	}
	*ret_stars = stars;
	return h;
}

/* --- tables */

static uint64_t scatter(uint64_t h)
{
	h ^= h >> 32;
	return h * UINT64_C(0x9e3779b97f4a7c15);
}

static const char *text_keep(struct log_miner *m, const char *s, size_t len)
{
	char *p;

	if (m->chunks == 0 || m->chunk_used + len > CHUNK) {
		m->chunk = mem_grow(m->chunk, m->chunks + 1, sizeof(*m->chunk));
		m->chunk[m->chunks++] = mem_alloc(CHUNK);
		m->chunk_used = 0;
	}
	p = m->chunk[m->chunks - 1] + m->chunk_used;
	memcpy(p, s, len);
	m->chunk_used += len;
	m->bytes += len;
	return p;
}

static size_t slot_of(const struct log_miner *m, uint64_t fingerprint, const char *s, size_t len)
{
	size_t i = scatter(fingerprint) & (m->slots - 1);

	while (m->slot[i] != NONE) {
		const struct node *n = &m->node[m->slot[i]];

		if (n->fingerprint == fingerprint && n->len == len && memcmp(n->text, s, len) == 0)
			break;
		i = (i + 1) & (m->slots - 1);
	}
	return i;
}

static void slots_grow(struct log_miner *m)
{
	free(m->slot);
	m->slots *= 2;
	m->slot = mem_array(m->slots, sizeof(*m->slot));
	memset(m->slot, 0xff, m->slots * sizeof(*m->slot));
	for (uint32_t i = 0; i < m->nodes; i++)
		m->slot[slot_of(m, m->node[i].fingerprint, m->node[i].text, m->node[i].len)] = i;
}

static uint32_t bucket_find(struct log_miner *m, uint64_t shape)
{
	size_t i = scatter(shape) & (m->bucket_slots - 1);

	while (m->bucket_slot[i] != NONE) {
		if (m->bucket[m->bucket_slot[i]].shape == shape)
			return m->bucket_slot[i];
		i = (i + 1) & (m->bucket_slots - 1);
	}
	if (m->buckets == m->bucket_room) {
		m->bucket_room *= 2;
		m->bucket = mem_grow(m->bucket, m->bucket_room, sizeof(*m->bucket));
	}
	m->bucket[m->buckets] = (struct bucket){ .shape = shape, .first_general = NONE, .version = 1 };
	m->bucket_slot[i] = m->buckets++;
	if ((size_t)m->buckets * 2 > m->bucket_slots) {
		free(m->bucket_slot);
		m->bucket_slots *= 2;
		m->bucket_slot = mem_array(m->bucket_slots, sizeof(*m->bucket_slot));
		memset(m->bucket_slot, 0xff, m->bucket_slots * sizeof(*m->bucket_slot));
		for (uint32_t b = 0; b < m->buckets; b++) {
			i = scatter(m->bucket[b].shape) & (m->bucket_slots - 1);
			while (m->bucket_slot[i] != NONE)
				i = (i + 1) & (m->bucket_slots - 1);
			m->bucket_slot[i] = b;
		}
	}
	return m->buckets - 1;
}

/* One more node with this hole; how many there are now. */
static uint32_t hole_count(struct log_miner *m, uint64_t key)
{
	size_t i;

	if (m->holes * 2 >= m->hole_slots) {
		struct hole *old = m->hole;
		size_t n = m->hole_slots;

		m->hole_slots *= 2;
		m->hole = mem_array(m->hole_slots, sizeof(*m->hole));
		for (size_t k = 0; k < n; k++) {
			if (!old[k].key)
				continue;
			i = scatter(old[k].key) & (m->hole_slots - 1);
			while (m->hole[i].key)
				i = (i + 1) & (m->hole_slots - 1);
			m->hole[i] = old[k];
		}
		free(old);
	}
	key += !key;
	i = scatter(key) & (m->hole_slots - 1);
	while (m->hole[i].key && m->hole[i].key != key)
		i = (i + 1) & (m->hole_slots - 1);
	if (!m->hole[i].key) {
		m->hole[i].key = key;
		m->holes++;
	}
	return ++m->hole[i].count;
}

static void tables_new(struct log_miner *m)
{
	m->slots = 1024;
	m->slot = mem_array(m->slots, sizeof(*m->slot));
	memset(m->slot, 0xff, m->slots * sizeof(*m->slot));
	m->node_room = 512;
	m->node = mem_array(m->node_room, sizeof(*m->node));
	m->bucket_room = 256;
	m->bucket = mem_array(m->bucket_room, sizeof(*m->bucket));
	m->bucket_slots = 512;
	m->bucket_slot = mem_array(m->bucket_slots, sizeof(*m->bucket_slot));
	memset(m->bucket_slot, 0xff, m->bucket_slots * sizeof(*m->bucket_slot));
	m->hole_slots = 4096;
	m->hole = mem_array(m->hole_slots, sizeof(*m->hole));
	m->nodes = m->buckets = 0;
	m->holes = m->bytes = m->chunks = m->chunk_used = 0;
	m->chunk = NULL;
}

static void tables_free(struct log_miner *m)
{
	for (size_t i = 0; i < m->chunks; i++)
		free(m->chunk[i]);
	free(m->chunk);
	free(m->node);
	free(m->slot);
	free(m->bucket);
	free(m->bucket_slot);
	free(m->hole);
}

struct log_miner *log_miner_new(const struct log_miner_config *config)
{
	struct log_miner *m = mem_alloc(sizeof(*m));

	m->config = config ? *config : (struct log_miner_config){ 0 };
	if (!m->config.variants_max)
		m->config.variants_max = 65536;
	if (m->config.variants_max < 64)
		m->config.variants_max = 64;
	if (!m->config.bytes_max)
		m->config.bytes_max = 16u << 20;
	tables_new(m);
	return m;
}

void log_miner_free(struct log_miner *m)
{
	if (!m)
		return;
	tables_free(m);
	free(m->todo);
	free(m);
}

/* --- learning */

static uint32_t node_add(struct log_miner *m, const char *s, size_t len, uint64_t fingerprint, bool promoted)
{
	size_t at = slot_of(m, fingerprint, s, len);
	struct node *n;
	struct bucket *b;
	uint64_t shape;
	uint32_t i;

	if (m->slot[at] != NONE) {
		n = &m->node[m->slot[at]];
		if (promoted && !n->promoted) { /* it covers more from now on */
			n->promoted = true;
			m->bucket[n->bucket].version++;
		}
		return m->slot[at];
	}
	if (m->nodes == m->node_room) {
		m->node_room *= 2;
		m->node = mem_grow(m->node, m->node_room, sizeof(*m->node));
	}
	i = m->nodes++;
	n = &m->node[i];
	*n = (struct node){ .fingerprint = fingerprint,
			    .text = text_keep(m, s, len),
			    .len = (uint32_t)len,
			    .promoted = promoted,
			    .root = i,
			    .next_general = NONE,
			    .used = m->clock,
			    .severity = (uint8_t)log_severity_guess(s, len) };
	m->slot[at] = i;
	shape = shape_of(s, len, &n->stars);
	n->bucket = bucket_find(m, shape);
	b = &m->bucket[n->bucket];
	if (n->stars && b->count < BUCKET_MAX) {
		n->next_general = b->first_general;
		b->first_general = i;
		b->count++;
		b->version++;
	}
	if ((size_t)m->nodes * 2 > m->slots)
		slots_grow(m);
	if (m->todos == m->todo_room) {
		m->todo_room = m->todo_room ? m->todo_room * 2 : 64;
		m->todo = mem_grow(m->todo, m->todo_room, sizeof(*m->todo));
	}
	m->todo[m->todos++] = i;
	return i;
}

/* The text with a star for the words [from[k], end[k]). */
static size_t with_stars(const struct node *n, const uint32_t (*word)[2], size_t words, char *out)
{
	size_t o = 0, i = 0;

	for (size_t k = 0; k < words; k++) {
		memcpy(out + o, n->text + i, word[k][0] - i);
		o += word[k][0] - i;
		memcpy(out + o, LOG_STAR, LOG_STAR_LEN);
		o += LOG_STAR_LEN;
		i = word[k][1];
	}
	memcpy(out + o, n->text + i, n->len - i);
	return o + n->len - i;
}

/* Counts the holes of one node; what they call for joins the set. */
static void node_learn(struct log_miner *m, uint32_t index)
{
	/* a star may be longer than the word that it stands for */
	char out[LOG_MASK_MAX + HOLES_MAX * LOG_STAR_LEN];
	uint32_t value[HOLES_MAX][2];
	struct node n = m->node[index];
	size_t values = 0, holes = 0, len;

	for (size_t i = 0, end; i < n.len && holes < HOLES_MAX; i = end) {
		uint32_t word[1][2];
		unsigned wanted;

		if (star_at(n.text, i, n.len)) {
			end = i + LOG_STAR_LEN;
			continue;
		}
		if (!letter(n.text[i])) {
			end = i + 1;
			continue;
		}
		end = word_end(n.text, i, n.len);
		wanted = words_wanted(n.text, i, end);
		word[0][0] = (uint32_t)i;
		word[0][1] = (uint32_t)end;
		holes++;
		if (wanted <= LOG_WORDS_VALUE) {
			value[values][0] = (uint32_t)i;
			value[values++][1] = (uint32_t)end;
		}
		len = with_stars(&n, word, 1, out);
		/* the place of the hole belongs to the key: another star of the text is no hole */
		if (hole_count(m, log_hash(out, len) ^ (i + 1) * UINT64_C(0x9e3779b97f4a7c15)) >= wanted &&
		    len <= LOG_MASK_MAX)
			node_add(m, out, len, log_hash(out, len), true);
	}
	if (values > 1 && !n.promoted) {
		len = with_stars(&n, value, values, out);
		if (hole_count(m, log_hash(out, len) ^ UINT64_C(0x6a09e667f3bcc909)) >= LOG_WORDS_COARSE &&
		    len <= LOG_MASK_MAX)
			node_add(m, out, len, log_hash(out, len), true);
	}
}

static void learn(struct log_miner *m)
{
	while (m->todos)
		node_learn(m, m->todo[--m->todos]);
}

static void merge_note(struct log_miner *m, uint64_t from, uint64_t to)
{
	size_t at = (m->merge_first + m->merge_count) % LOG_MERGES_KEPT;

	/* every variant of a template that moves on says so: once is enough */
	for (size_t k = 0; k < m->merge_count && k < 256; k++) {
		const struct log_merge *x = &m->merge[(at + LOG_MERGES_KEPT - 1 - k) % LOG_MERGES_KEPT];

		if (x->from == from && x->to == to)
			return;
	}
	m->merge[at] = (struct log_merge){ from, to };
	if (m->merge_count < LOG_MERGES_KEPT)
		m->merge_count++;
	else
		m->merge_first = (m->merge_first + 1) % LOG_MERGES_KEPT;
}

/* The template of a node: the most general one of its shape that covers it. */
static uint32_t root_of(struct log_miner *m, uint32_t index)
{
	struct node *n = &m->node[index];
	const struct bucket *b = &m->bucket[n->bucket];
	uint32_t best = index;

	if (n->seen_at == b->version)
		return n->root;
	for (uint32_t g = b->first_general; g != NONE; g = m->node[g].next_general) {
		const struct node *c = &m->node[g], *now = &m->node[best];

		if (c->stars < now->stars ||
		    (c->stars == now->stars && (best == index || c->fingerprint <= now->fingerprint)))
			continue;
		if (g != index && covers(c, n))
			best = g;
	}
	if (n->seen_at && n->root != best)
		merge_note(m, m->node[n->root].fingerprint, m->node[best].fingerprint);
	n->root = best;
	n->seen_at = b->version;
	return best;
}

/* --- forgetting */

static int by_use(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void sweep(struct log_miner *m)
{
	struct log_miner old = *m;
	uint32_t *used = mem_array(m->nodes, sizeof(*used)), limit, kept = 0;
	size_t bytes = 0;

	for (uint32_t i = 0; i < old.nodes; i++)
		used[i] = old.node[i].used;
	qsort(used, old.nodes, sizeof(*used), by_use);
	limit = used[old.nodes / 2];
	free(used);
	tables_new(m);
	m->sweeps++;
	/* from the newest: what was seen at the same moment is cut by number */
	for (uint32_t i = old.nodes; i-- > 0;) {
		const struct node *n = &old.node[i];

		if (n->used < limit || kept >= m->config.variants_max / 2 || bytes > m->config.bytes_max / 2)
			continue;
		m->clock = n->used;
		node_add(m, n->text, n->len, n->fingerprint, n->promoted);
		kept++;
		bytes += n->len;
	}
	m->clock = old.clock;
	learn(m);
	tables_free(&old);
}

/* --- the calls */

static void fill(struct log_miner *m, uint32_t index, bool fresh, struct log_hit *ret)
{
	uint32_t root = root_of(m, index);
	struct node *r = &m->node[root];

	m->node[index].used = r->used = m->clock;
	*ret = (struct log_hit){ .fingerprint = r->fingerprint,
				 .pattern_ref = r->text,
				 .len = r->len,
				 .severity = (enum log_severity)r->severity,
				 .general = r->promoted,
				 .fresh = fresh };
}

static uint32_t variant(struct log_miner *m, char *masked, size_t len, bool promoted, bool *ret_fresh)
{
	uint64_t h = log_hash(masked, len);
	uint32_t index = m->slot[slot_of(m, h, masked, len)];

	*ret_fresh = false;
	if (index != NONE && (!promoted || m->node[index].promoted))
		return index;
	if (index == NONE && !str_utf8_ok(masked, len)) {
		for (size_t i = 0; i < len; i++)
			if ((unsigned char)masked[i] >= 128 || !masked[i])
				masked[i] = '?';
		return variant(m, masked, len, promoted, ret_fresh);
	}
	*ret_fresh = index == NONE;
	if (m->nodes >= m->config.variants_max || m->bytes >= m->config.bytes_max)
		sweep(m);
	m->variants_seen++;
	index = node_add(m, masked, len, h, promoted);
	learn(m);
	return index;
}

void log_miner_feed(struct log_miner *m, const char *line, size_t len, struct log_hit *ret)
{
	char masked[LOG_MASK_MAX];
	size_t n = log_mask(line, len, masked);
	bool fresh;
	uint32_t index;

	m->clock = (uint32_t)(++m->lines >> 8);
	index = variant(m, masked, n, false, &fresh);
	fill(m, index, fresh, ret);
}

bool log_miner_load(struct log_miner *m, const char *pattern, size_t len, bool general)
{
	char copy[LOG_MASK_MAX];
	bool fresh;

	if (len > LOG_MASK_MAX)
		return false;
	memcpy(copy, pattern, len);
	variant(m, copy, len, general, &fresh);
	return true;
}

void log_miner_resolve(struct log_miner *m, const char *pattern, size_t len, struct log_hit *ret)
{
	char copy[LOG_MASK_MAX];
	uint32_t index;
	bool fresh;

	if (len > LOG_MASK_MAX)
		len = LOG_MASK_MAX;
	memcpy(copy, pattern, len);
	index = variant(m, copy, len, false, &fresh);
	fill(m, index, fresh, ret);
}

size_t log_miner_merges(struct log_miner *m, struct log_merge *out, size_t max)
{
	size_t n = 0;

	while (n < max && m->merge_count) {
		out[n++] = m->merge[m->merge_first];
		m->merge_first = (m->merge_first + 1) % LOG_MERGES_KEPT;
		m->merge_count--;
	}
	return n;
}

void log_miner_stats(struct log_miner *m, struct log_miner_stats *ret)
{
	bool *is_root = mem_alloc(m->nodes + 1);

	*ret = (struct log_miner_stats){ .lines = m->lines,
					 .variants_seen = m->variants_seen,
					 .sweeps = m->sweeps,
					 .variants = m->nodes,
					 .bytes = m->bytes };
	for (uint32_t i = 0; i < m->nodes; i++) {
		uint32_t r = root_of(m, i);

		ret->templates += !is_root[r];
		is_root[r] = true;
	}
	free(is_root);
}
