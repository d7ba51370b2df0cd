/* plan.h - the contract of a ChangePlan: schema, lint, canonical text, rollback.
 *
 * A plan is complete when it passes plan_lint: the JSON Schema, then what a schema cannot say. Pure;
 * nothing here touches a database or an adapter. A contract is made once from the list of operations,
 * is read-only afterwards, and any thread may use it. */
#pragma once
#include "contracts/files.h"
#include "domain/operation.h"
#include "domain/plan.h"
#include "wire/json/schema.h"

#define PLAN_BYTES_MAX    ((size_t)256 << 10) /* canonical text */
#define PLAN_STEPS_MAX    50
#define PLAN_FINDINGS_MAX 32

struct plan_contract;

/* Compiles the plan's schema with the operations' names, and each operation's params schema. `ops` must
 * outlive it. OC_INVALID names the operation whose schema is wrong. */
MUST_CHECK enum oc_err plan_contract_new(const struct operation_list *ops, struct plan_contract **ret,
					 struct oc_fail *reterr);
void plan_contract_free(struct plan_contract *contract);
DEFINE_AUTO(plan_contract, struct plan_contract *, plan_contract_free);
const struct operation_list *plan_contract_operations(const struct plan_contract *contract);
/* The whole contract as one JSON Schema, each action with its params: for models, docs and GET. Lent. */
const char *plan_contract_schema(const struct plan_contract *contract);

struct plan_finding {
	char pointer[256]; /* "/steps/0/params/image" */
	char keyword[64];  /* a JSON Schema keyword, or one of lint's own: see plan_lint_reference */
	char text[512];
};
struct plan_findings {
	size_t count; /* may be more than are kept */
	struct plan_finding item[PLAN_FINDINGS_MAX];
};

struct plan_lint_options {
	enum plan_kind kind; /* PLAN_NONE: what the plan itself says (forward if it says nothing) */
	bool undo_allowed;   /* undo steps: only in rollback plans that the system derived */
	bool none_allowed;   /* rollback {"none": reason}: only a person may say that there is no way back */
	const char *tenant;
	/* May this tenant's plans use what needs the permit `need` ("script_body")? NULL: yes, the gate asks. */
	bool (*permits)(void *ctx, const char *need, const char *tenant);
	void *ctx;
	int metric_bucket_s,
		call_bucket_s; /* a window shorter than a bucket can never be measured; 0: not checked */
};

/* OC_OK: complete. OC_INVALID: the first finding is in reterr (field is its pointer), all are in ret. Never
 * crashes on whatever plan is, NULL included. ret and options may be NULL. */
MUST_CHECK enum oc_err plan_lint(const struct plan_contract *contract, const json_t *plan,
				 const struct plan_lint_options *options, struct plan_findings *ret,
				 struct oc_fail *reterr);
bool plan_complete(const struct plan_contract *contract, const json_t *plan);
json_t *plan_findings_json(const struct plan_findings *f); /* [{"pointer","keyword","text"}]; yours */
/* The keywords of lint's own findings with a sentence each, as Markdown rows. */
void plan_lint_reference(struct text *out);

/* 60.0 becomes 60, everywhere in the document: to JSON Schema they are the same number, to C they are not, and an
 * adapter that reads a whole number would read 0. Whoever stores a plan does this first; lint does it to a copy. */
void plan_normalize(json_t *plan);

/* Any plan that passed lint parses. OC_INVALID with the pointer for others. */
MUST_CHECK enum oc_err plan_parse(const json_t *doc, struct plan **ret, struct oc_fail *reterr);
MUST_CHECK enum oc_err plan_parse_text(const char *plan_text, struct plan **ret, struct oc_fail *reterr);
/* One verify object by itself: {"checks":[...],...}; the caller frees it with plan_verify_free. */
MUST_CHECK enum oc_err plan_verify_parse(const json_t *doc, struct plan_verify **ret, struct oc_fail *reterr);

/* Canonical text (what plan_proposed.plan_text keeps) and its SHA-256. */
char *plan_canonical(const json_t *plan); /* yours */
void plan_hash(const json_t *plan, char out[HASH_HEX]);
/* Over action, target and params of the steps in order: what makes it the same repair. */
void plan_fingerprint(const json_t *plan, char out[HASH_HEX]);

/* --- rollback is a plan */
/* The adapter can undo the operation with these params. */
bool plan_can_undo(const struct operation *op, const json_t *params);
/* Nothing to take back: no blast, and running it again does no harm. */
bool plan_changes_nothing(const struct operation *op);
struct plan_applied {
	int seq;            /* index into the plan's steps */
	const char *before; /* exec_step.before, JSON text {"binding","info"}, or NULL */
};
/* A ChangePlan of kind rollback. Where `plan` gives rollback.steps: those. Else, for each applied step in
 * reverse order: its compensate, else a step {"undo":true,"undo_of":seq,"before":...} for the adapter's
 * undo entry; steps that change nothing (blast none, repeatable) are left out. Verified as
 * rollback.verify says, else as verify says, probe checks moved to the new steps; where nothing is
 * left to measure, by a probe of every step. OC_INVALID says why none can be made. */
MUST_CHECK enum oc_err plan_derive_rollback(const json_t *plan, const struct operation_list *ops,
					    const struct plan_applied *applied, size_t applied_count,
					    json_t **ret, struct oc_fail *reterr);
