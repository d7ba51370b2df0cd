/* plan.h - the planner's statements: what is known about a case when a plan is asked for, and the plan
 * that comes of it. The insert runs in the transaction of the answer, behind the command's fence. */
#pragma once

/* $1 bigint[] of outbox ids; one row for each whose case is there. */
extern const char SQL_PLAN_LOAD[];
enum plan_load_col {
	PL_ID, /* outbox id; the column is named `id` */
	PL_TITLE,
	PL_SEVERITY,
	PL_LABELS,
	PL_PARAMS,
	PL_TEMPLATE,
	PL_EVIDENCE,
	PL_DEFAULTS,     /* the tenant's labels.defaults */
	PL_FINDING,      /* body of the newest finding */
	PL_EVIDENCE_NOW, /* what tells one finding from another; NULL: none yet */
	PL_PLAN_ID,      /* the case's current plan, and what it is */
	PL_PLAN_TEXT,
	PL_PLAN_KIND,
	PL_PLAN_SOURCE,
	PL_PLAN_TEMPLATE,
	PL_PLAN_BY,
	/* [{"seq","before"}] of the current plan's steps that took effect or may have; `before` is from before the
	 * case's first try of such a step, since a later try finds what the first one left */
	PL_APPLIED,
	PL_FAILED, /* [{"fingerprint","evidence"}] of plans that did not help */
	PL_CREATED_US,
};

/* $1 id, $2 tenant, $3 case, $4 plan_text (canonical), $5 epoch, $6 kind, $7 source, $8 template, $9 hash,
 * $10 fingerprint, $11 complete, $12 findings, $13 exec_budget_s, $14 verify_budget_s, $15 rollback_of,
 * $16 created_by. Takes the case's next revision. */
extern const char SQL_PLAN_INSERT[];
