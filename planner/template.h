/* template.h - runbooks: plans with blanks, and what fills them.
 *
 * Pure: a runbook and what is known about a case give a plan, or the list of what is missing. A set is
 * read-only once it is made; any thread may use it. YAML files come from people: every complaint says
 * file:line. */
#pragma once
#include "contracts/plan.h"
#include "wire/yaml/yaml.h"

struct runbook;
struct runbook_set;

/* --- sets */

struct runbook_findings {
	size_t count;      /* may be more than are kept */
	struct text lines; /* "runbooks/a.yaml:12: /params/x: ...\n" for each */
};
void runbook_findings_done(struct runbook_findings *f);
static inline void oc_auto_runbook_findings(struct runbook_findings *f)
{
	runbook_findings_done(f);
}

/* One runbook from YAML text. `contract` NULL: its plan is not held against the operations. OC_INVALID: the
 * first finding is in reterr, all are in f (may be NULL). A runbook is filled with its examples and defaults,
 * and the plan that comes out is linted. */
MUST_CHECK enum oc_err runbook_read(const char *name, const char *text, size_t len,
				    const struct plan_contract *contract, struct runbook **ret,
				    struct runbook_findings *f, struct oc_fail *reterr);
void runbook_free(struct runbook *rb);
DEFINE_AUTO(runbook, struct runbook *, runbook_free);

struct runbook_text {
	const char *name; /* for messages: "runbooks/a.yaml" */
	const char *text;
	size_t len;
};
/* All or nothing: a set with a bad file is none, so that a reload keeps the last good one. Two runbooks of one
 * name are a finding. */
MUST_CHECK enum oc_err runbook_set_read(const struct runbook_text *texts, size_t count,
					const struct plan_contract *contract, struct runbook_set **ret,
					struct runbook_findings *f, struct oc_fail *reterr);
/* Every *.yaml of a folder (or the one file) in name order. */
MUST_CHECK enum oc_err runbook_set_load(const char *path, const struct plan_contract *contract,
					struct runbook_set **ret, struct runbook_findings *f,
					struct oc_fail *reterr);
/* The runbooks that are built in. */
MUST_CHECK enum oc_err runbook_set_builtin(const struct plan_contract *contract, struct runbook_set **ret,
					   struct runbook_findings *f, struct oc_fail *reterr);
void runbook_set_free(struct runbook_set *set);
DEFINE_AUTO(runbook_set, struct runbook_set *, runbook_set_free);

size_t runbook_count(const struct runbook_set *set);
const struct runbook *runbook_at(const struct runbook_set *set, size_t i); /* in name order */
const struct runbook *runbook_find(const struct runbook_set *set, const char *name);
const char *runbook_name(const struct runbook *rb);
const char *runbook_title(const struct runbook *rb);
const json_t *runbook_json(const struct runbook *rb); /* as it was written; lent */

/* For `opscase runbook lint FILE|DIR`: OC_OK when nothing is wrong. */
MUST_CHECK enum oc_err runbook_lint(const char *path, const struct plan_contract *contract,
				    struct runbook_findings *f, struct oc_fail *reterr);
/* Markdown: every runbook with its parameters, and the rules of the plan's lint. docs/runbooks.md is this. */
void runbook_print_reference(const struct runbook_set *set, struct text *out);
/* [{"id","title","summary","match","params"}]; yours. */
json_t *runbook_set_json(const struct runbook_set *set);

/* --- filling */

/* What is known about a case. Every field may be NULL; nothing is kept. */
struct case_facts {
	const char *case_id, *title, *severity;
	const json_t *labels, *params; /* objects: of the case */
	const json_t *evidence;        /* array of {"kind",...}: of the case and of its finding */
	const json_t *finding;         /* object: the finding's body */
	const json_t *tenant_defaults; /* object: dim_tenant.labels.defaults */
	const json_t *asked;           /* object: the request's own params */
};

/* The runbook whose match fits best: most conditions, then fewest wildcards, then name. NULL: none fits. */
const struct runbook *runbook_match(const struct runbook_set *set, const struct case_facts *facts);

/* Fills the blanks: from the request, then the case, its evidence, the tenant's defaults, the default.
 * OC_OK: ret_plan is a document for plan_lint, ret_filled says where each value came from
 * ({"image":{"value":"a:2","from":"labels.image"}}). OC_INVALID: ret_missing lists each parameter that has no
 * value or a wrong one: [{"param","text","from":[...]}], and reterr names them in one sentence. The rets may be
 * NULL; ret_filled is given in both cases. */
MUST_CHECK enum oc_err runbook_fill(const struct runbook *rb, const struct case_facts *facts,
				    json_t **ret_plan, json_t **ret_filled, json_t **ret_missing,
				    struct oc_fail *reterr);
