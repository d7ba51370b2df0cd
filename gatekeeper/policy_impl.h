/* policy_impl.h - the inside of a compiled policy set; only gatekeeper/policy*.c look at it. */
#pragma once
#include "gatekeeper/policy.h"

enum truth { UNKNOWN = -1, FALSE_ = 0, TRUE_ = 1 };

enum cond_op { C_ALL, C_ANY, C_NOT, C_ALWAYS, C_EQ, C_NE, C_GT, C_GE, C_LT, C_LE, C_IN, C_GLOB, C_EXISTS };

/* Conditions lie in one array in the order they were written; `next` jumps over a whole subtree. */
struct cond {
	uint8_t op;   /* enum cond_op */
	uint8_t fact; /* enum fact_id, of a leaf */
	bool small;   /* the text of an eq or ne is in `copy` too: one cache line less to wait for */
	uint32_t next;
	union fact_value v; /* of a leaf; of C_IN see list */
	union {
		struct {
			uint32_t at, count;
		} list;
		char copy[16];
	};
};

struct rule {
	const char *id, *reason;
	enum policy_answer answer;
	uint32_t cond;
	unsigned roles, quorum; /* 0: the default's */
	int64_t expires_s;      /* 0: the default's */
	char *where;            /* file:line */
};

struct cron {
	uint64_t minute;
	uint32_t hour, dom, month, dow;
};

struct freeze {
	const char *name;
	int64_t from_us, to_us; /* to_us is out */
	bool has_cron;
	struct cron cron;
	const json_t *tenants, *environments, *except; /* lists of globs, or NULL */
};

struct budget_row {
	const char *tenant, *operation; /* globs */
	struct policy_budget budget;
};

/* A slot of the index: the rules to look at when the key facts have these values. Values whose hashes are the same share
 * one: it names more rules then than it must, and each is asked all of its conditions. */
struct slot {
	uint32_t hash;
	uint32_t at, count; /* in `cand`, or the rule itself where it is one; count 0: empty */
	uint32_t cond;      /* of the one rule: both can be fetched at once */
};

#define MASKS_MAX 24

struct policy {
	json_t *files; /* owns every text that is pointed to */
	char *text;
	char hash[HASH_HEX];

	struct rule *rules;
	size_t rules_count;
	struct cond *conds;
	size_t conds_count;
	union fact_value *lists;
	size_t lists_count;

	struct freeze *freezes;
	size_t freezes_count;
	struct budget_row *budgets;
	size_t budgets_count;
	json_t *permits; /* need -> list of globs; owned */
	json_t *killed;  /* list of globs; owned */
	bool killed_all;

	/* what may be said once over all files */
	enum policy_answer default_answer;
	const char *default_reason;
	unsigned default_roles, default_quorum;
	int64_t default_expires_s;
	enum policy_self_approval self_approval;
	enum policy_answer freeze_answer;
	unsigned break_glass;

	/* Rules by the values of up to three of their equality conditions. A rule is found under the facts of its
	 * mask; a rule that denies or asks also under each subset of them being unknown, since then its truth is. */
	uint64_t masks[MASKS_MAX];
	unsigned masks_count;
	uint64_t key_facts; /* all masks together */
	struct slot *slots;
	size_t slots_mask; /* size - 1; the size is a power of two */
	uint32_t *cand;
	uint32_t *always; /* rules without such a condition */
	size_t always_count;
};

enum truth cond_truth(const struct policy *p, uint32_t at, const struct facts *f, bool allows);
uint64_t policy_key_hash(const char *text);
static inline uint64_t policy_mix(uint64_t h, uint64_t v)
{
	h ^= v + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
	h *= UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 32;
}
void policy_index(struct policy *p);
bool glob_in(const json_t *list, const char *text);
bool cron_parse(const char *text, struct cron *ret);
bool cron_fits(const struct cron *c, int64_t wall_us);
