/* The index: which rules are worth looking at for given facts.
 *
 * Most rules say "this action", "that tenant": equality conditions that the whole rule depends on. Each rule is put
 * under the values of up to three of them (its mask). Asking then costs one lookup for each different mask, whatever
 * the number of rules. */
#include <stdlib.h>
#include "base/mem.h"
#include "gatekeeper/policy_impl.h"

#define KEYS_MAX    3
#define PRODUCT_MAX 16 /* combinations of values that one rule is put under */

/* An equality condition that must hold for the rule to hold. */
struct key {
	enum fact_id fact;
	uint32_t count;
	const union fact_value *values;
};

struct entry {
	uint32_t hash;
	uint32_t rule;
};

struct builder {
	struct policy *p;
	struct entry *entries;
	size_t count, cap;
};

static void find_keys(const struct policy *p, uint32_t at, struct key *keys, unsigned *count)
{
	const struct cond *c = &p->conds[at];

	if (c->op == C_ALL) {
		for (uint32_t i = at + 1; i < c->next; i = p->conds[i].next)
			find_keys(p, i, keys, count);
		return;
	}
	if ((c->op != C_EQ && c->op != C_IN) || fact_row((enum fact_id)c->fact)->type != FACT_IS_TEXT)
		return;
	if (c->op == C_IN && (c->list.count == 0 || c->list.count > PRODUCT_MAX))
		return;
	for (unsigned i = 0; i < *count; i++)
		if (keys[i].fact == (enum fact_id)c->fact)
			return;
	keys[*count].fact = (enum fact_id)c->fact;
	keys[*count].count = c->op == C_EQ ? 1 : c->list.count;
	keys[(*count)++].values = c->op == C_EQ ? &c->v : &p->lists[c->list.at];
}

/* How many rules have such a condition on each fact, and how many different values there are: the best key is the
 * one with the most values. A set of hashes is exact enough for choosing. */
static void count_values(const struct policy *p, size_t distinct[FACT_COUNT])
{
	size_t size = 64;
	uint64_t *seen;

	while (size < p->conds_count * 2 + p->lists_count * 2)
		size *= 2;
	seen = mem_array(size, sizeof(*seen));
	for (size_t r = 0; r < p->rules_count; r++) {
		struct key keys[FACT_COUNT];
		unsigned n = 0;

		find_keys(p, p->rules[r].cond, keys, &n);
		for (unsigned k = 0; k < n; k++) {
			for (uint32_t v = 0; v < keys[k].count; v++) {
				uint64_t h = policy_mix((uint64_t)keys[k].fact + 1,
							policy_key_hash(keys[k].values[v].text)) |
					     1;
				size_t at = h >> 8 & (size - 1);

				while (seen[at] && seen[at] != h)
					at = (at + 1) & (size - 1);
				if (!seen[at])
					distinct[keys[k].fact]++;
				seen[at] = h;
			}
		}
	}
	free(seen);
}

static void sort_keys(struct key *keys, unsigned n, const size_t distinct[FACT_COUNT])
{
	for (unsigned i = 1; i < n; i++) {
		for (unsigned j = i; j > 0 && distinct[keys[j].fact] > distinct[keys[j - 1].fact]; j--) {
			struct key swap = keys[j];

			keys[j] = keys[j - 1];
			keys[j - 1] = swap;
		}
	}
}

static unsigned choose_keys(const struct policy *p, size_t rule, const size_t distinct[FACT_COUNT],
			    unsigned max, struct key *keys, uint64_t *mask)
{
	unsigned found = 0, n = 0;
	uint32_t product = 1;

	*mask = 0;
	find_keys(p, p->rules[rule].cond, keys, &found);
	sort_keys(keys, found, distinct);
	for (unsigned i = 0; i < found && n < max; i++) {
		if (product * keys[i].count > PRODUCT_MAX)
			continue;
		product *= keys[i].count;
		*mask |= UINT64_C(1) << keys[i].fact;
		keys[n++] = keys[i];
	}
	return n;
}

static bool collect_masks(struct policy *p, const size_t distinct[FACT_COUNT], unsigned max)
{
	p->masks_count = 0;
	p->key_facts = 0;
	for (size_t r = 0; r < p->rules_count; r++) {
		struct key keys[FACT_COUNT];
		uint64_t mask;
		unsigned m = 0;

		if (choose_keys(p, r, distinct, max, keys, &mask) == 0)
			continue;
		while (m < p->masks_count && p->masks[m] != mask)
			m++;
		if (m < p->masks_count)
			continue;
		if (m == MASKS_MAX)
			return false;
		p->masks[p->masks_count++] = mask;
		p->key_facts |= mask;
	}
	return true;
}

static void add_entry(struct builder *b, uint64_t hash, uint32_t rule)
{
	if (b->count == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 256;
		b->entries = mem_grow(b->entries, b->cap, sizeof(*b->entries));
	}
	b->entries[b->count++] = (struct entry){ (uint32_t)hash, rule };
}

/* Under each combination of values; `known` are the facts that are known in that case. */
static void add_known(struct builder *b, uint32_t rule, const struct key *keys, unsigned n, uint64_t mask,
		      uint64_t known)
{
	uint32_t at[KEYS_MAX] = { 0 };

	for (;;) {
		uint64_t h = policy_mix(mask, known);
		unsigned k;

		/* in the order of the fact ids, as the question does it */
		for (uint64_t bits = known; bits; bits &= bits - 1) {
			for (k = 0; keys[k].fact != (enum fact_id)__builtin_ctzll(bits); k++)
				;
			h = policy_mix(h, policy_key_hash(keys[k].values[at[k]].text));
		}
		add_entry(b, h, rule);
		for (k = 0; k < n; k++) {
			if (!(known >> keys[k].fact & 1))
				continue;
			if (++at[k] < keys[k].count)
				break;
			at[k] = 0;
		}
		if (k == n)
			return;
	}
}

static int entry_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static void make_slots(struct builder *b)
{
	struct policy *p = b->p;
	size_t size = 16, n = 0;

	if (b->count)
		qsort(b->entries, b->count, sizeof(*b->entries), entry_order);
	while (size < b->count * 2)
		size *= 2;
	p->slots = mem_array(size, sizeof(*p->slots));
	p->slots_mask = size - 1;
	p->cand = mem_array(b->count + 1, sizeof(*p->cand));
	for (size_t i = 0; i < b->count;) {
		uint32_t h = b->entries[i].hash;
		size_t at = h & p->slots_mask;
		uint32_t first = (uint32_t)n;

		for (; i < b->count && b->entries[i].hash == h; i++)
			if (n == first || p->cand[n - 1] != b->entries[i].rule)
				p->cand[n++] = b->entries[i].rule;
		while (p->slots[at].count)
			at = (at + 1) & p->slots_mask;
		p->slots[at] = (struct slot){ .hash = h, .at = first, .count = (uint32_t)n - first };
		if (n - first == 1) {
			p->slots[at].at = p->cand[--n];
			p->slots[at].cond = p->rules[p->slots[at].at].cond;
		}
	}
}

void policy_index(struct policy *p)
{
	struct builder b = { .p = p };
	size_t distinct[FACT_COUNT] = { 0 };
	unsigned max = KEYS_MAX;

	count_values(p, distinct);
	/* Too many different masks would cost more lookups than they save. One key: at most one mask per text fact. */
	while (max > 1 && !collect_masks(p, distinct, max))
		max--;
	if (max == 1)
		collect_masks(p, distinct, 1);
	p->always = mem_array(p->rules_count + 1, sizeof(*p->always));
	for (size_t r = 0; r < p->rules_count; r++) {
		struct key keys[FACT_COUNT];
		uint64_t mask;
		unsigned n = choose_keys(p, r, distinct, max, keys, &mask);
		bool have = false;

		for (unsigned m = 0; m < p->masks_count; m++)
			have |= p->masks[m] == mask;
		if (n == 0 || !have) {
			p->always[p->always_count++] = (uint32_t)r;
			continue;
		}
		add_known(&b, (uint32_t)r, keys, n, mask, mask);
		if (p->rules[r].answer == POLICY_ALLOW)
			continue;
		for (uint64_t known = (mask - 1) & mask;; known = (known - 1) & mask) {
			add_known(&b, (uint32_t)r, keys, n, mask, known);
			if (known == 0)
				break;
		}
	}
	make_slots(&b);
	free(b.entries);
}
