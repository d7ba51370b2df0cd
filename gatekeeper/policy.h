/* policy.h - the rules of the gate: compiled from YAML once, then asked about facts.
 *
 * Pure: no clock, no I/O, and asking allocates nothing. A set is read-only after it was made, so any
 * thread may ask. A set is asked once for each step of a plan; deny beats ask beats allow, over the
 * rules and over the steps. No rule hit = the default (ask, unless the files say deny).
 *
 * Truth has three values. An allow rule counts only when it is certainly true. A deny or ask rule
 * whose truth cannot be known counts as ask: what would have stopped a plan must not be silent because
 * somebody forgot to label a tenant. */
#pragma once
#include "gatekeeper/facts.h"

struct policy;

enum policy_answer { POLICY_ALLOW, POLICY_ASK, POLICY_DENY };
enum policy_self_approval { SELF_APPROVAL_DENY, SELF_APPROVAL_WARN };

/* Roles as bits, in the order of the table api_token allows. */
enum policy_role { ROLE_VIEWER = 1, ROLE_OPERATOR = 2, ROLE_APPROVER = 4, ROLE_ADMIN = 8, ROLE_SERVICE = 16 };
unsigned policy_role_bit(const char *name); /* 0 if there is none */
json_t *policy_roles_json(unsigned roles);  /* ["approver","admin"]; yours */

/* --- making a set */
struct policy_source {
	const char *name; /* for messages: "policies/default.yaml" */
	const char *text;
	size_t len;
};
/* OC_INVALID or OC_BAD_REQUEST with "file:line: what is wrong". Files count in the order given. */
MUST_CHECK enum oc_err policy_compile(const struct policy_source *files, size_t count, struct policy **ret,
				      struct oc_fail *reterr);
/* Every *.yaml of a folder in name order. An empty folder is refused: it is more often a wrong path
 * than the wish to ask about everything. */
MUST_CHECK enum oc_err policy_load(const char *dir, struct policy **ret, struct oc_fail *reterr);
/* policies/default.yaml as it was built in: where no folder is set. */
MUST_CHECK enum oc_err policy_builtin(struct policy **ret, struct oc_fail *reterr);
void policy_free(struct policy *p);
DEFINE_AUTO(policy, struct policy *, policy_free);

const char *policy_hash(const struct policy *p); /* SHA-256 of policy_text(): the version */
const char *policy_text(const struct policy *p); /* canonical JSON of the files in order */
size_t policy_rule_count(const struct policy *p);
enum policy_self_approval policy_self_approval(const struct policy *p);
unsigned policy_break_glass_roles(const struct policy *p);
/* May this tenant's plans do what needs the permit `need` ("script_body")? */
bool policy_permits(const struct policy *p, const char *need, const char *tenant);
/* The budget that holds for it: the last row that fits. limit < 0: none. */
struct policy_budget {
	int limit;
	int64_t window_s;
};
struct policy_budget policy_budget(const struct policy *p, const char *tenant, const char *operation);
int64_t policy_budget_longest_s(const struct policy *p);
bool policy_killed(const struct policy *p, const char *tenant);
/* Sets hour, weekday and frozen (which looks at tenant, environment and action) for that time. */
void policy_set_time(const struct policy *p, struct facts *f, int64_t wall_us);

/* --- asking */
#define POLICY_HITS_MAX 32
struct policy_hit {
	const char *id, *reason; /* lent from the set */
	enum policy_answer answer;
	bool unsure; /* it could not be known whether the rule holds */
	int order;   /* -1 for what is built in */
};
struct policy_decision {
	enum policy_answer answer;
	unsigned hits_count; /* all of them; the first POLICY_HITS_MAX are kept, in the files' order */
	struct policy_hit hits[POLICY_HITS_MAX];
	unsigned roles;  /* who may approve */
	unsigned quorum; /* how many different people; 0 unless ask */
	int64_t expires_s;
	const char *reason; /* of the first rule with the strictest answer; never NULL */
	bool recurring;     /* denied because the budget is used up */
	bool by_default;    /* no rule said anything */
};
void policy_ask(const struct policy *p, const struct facts *f, struct policy_decision *ret);
/* The strictest over the steps. No step at all is denied. */
void policy_ask_plan(const struct policy *p, const struct facts *steps, size_t count,
		     struct policy_decision *ret);
/* The same answers by looking at every rule: what the index is held against in the tests. */
void policy_ask_slowly(const struct policy *p, const struct facts *f, struct policy_decision *ret);
/* Would what passed under `before` need more under `now`? */
bool policy_is_stricter(const struct policy_decision *now, const struct policy_decision *before);
const char *policy_answer_name(enum policy_answer a);
int policy_answer_parse(const char *name); /* -1 if none */

/* One sentence: the smallest change that would give a milder answer, "" if it is allowed already. Yours.
 * Not for the hot path. */
char *policy_nearest_flip(const struct policy *p, const struct facts *steps, size_t count,
			  const struct policy_decision *d);
json_t *policy_rules_json(const struct policy_decision *d); /* [{"id","answer","reason","unsure"?}]; yours */

/* docs/policy.md, from the tables. */
void policy_print_reference(struct text *out);
