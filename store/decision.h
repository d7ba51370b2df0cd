/* decision.h - the gate's decisions: what they are made from, bound to, and the one time they are used. */
#pragma once

/* What the gate reads with a lease. $1 bigint[] outbox ids. Columns by name: id, the case's (status, epoch, drive,
 * severity, opened_by, opener_role, title, case_labels), the tenant's (tenant_labels, killed), the plan's (plan_id,
 * plan_text, plan_hash, kind, source, template, complete, created_by, revision, exec_budget_s, verify_budget_s,
 * envs), its history (times_succeeded, times_failed, last_failed_s) and the decision's that waits or was named in
 * args.decision_id (d_id, d_status, d_answer, ..., approvals). */
extern const char SQL_GATE_LOAD[];

/* $1 id, $2 tenant, $3 case, $4 plan, $5 epoch, $6 answer, $7 status, $8 plan_hash, $9 args_hash, $10 world_hash,
 * $11 world, $12 policy_hash, $13 rules, $14 facts, $15 card, $16 quorum, $17 who, $18 reason, $19 expires_s.
 * Decisions of the case that still waited are void: there is one plan, and one decision about it. */
extern const char SQL_DECISION_NEW[];
/* $1 tenant, $2 decision, $3 plan_approved.decision, $4 seconds it holds at least from now. pending -> approved, or 40001. */
extern const char SQL_DECISION_APPROVE[];
extern const char
	SQL_DECISION_APPROVED[]; /* $1 tenant, $2 decision, $3 jsonb: the plan_approved row of a new one */
extern const char SQL_DECISION_REJECT[]; /* $1 tenant, $2 decision, $3 reason. pending -> rejected, or 40001 */
extern const char SQL_DECISION_VOID[]; /* $1 tenant, $2 decision, $3 void_reason. pending or approved -> void */
/* The answer "not enough yet" holds only for the approvals that were counted. Two statements, since a statement sees
 * what was committed before it began: first the lock that whoever approves also takes, then the count, or 40001. */
extern const char SQL_DECISION_HOLD_CASE[]; /* $1 tenant, $2 case */
extern const char SQL_DECISION_COUNTED[];   /* $1 tenant, $2 decision, $3 rows that were counted */
extern const char SQL_DECISION_NOTIFY[];    /* $1 id, $2 tenant, $3 case, $4 sentence, $5 body */

/* What gate_check_approval wants. $1 tenant, $2 case, $3 decision or NULL (the newest). Columns: id, status,
 * void_reason, expires_us, now_us, terms, approved_by (text[]). */
extern const char SQL_DECISION_TERMS[];

/* At dispatch. $1 tenant, $2 case, $3 plan, $4 decision, $5 epoch of EXECUTING. One row with what there is:
 * see enum. */
extern const char SQL_DECISION_DISPATCH[];
enum dispatch_col {
	DC_STATUS,
	DC_EXPIRED,
	DC_USED_BY,
	DC_ANSWER,
	DC_PLAN_HASH,
	DC_ARGS_HASH,
	DC_WORLD_HASH,
	DC_WORLD,
	DC_FACTS,
	DC_QUORUM,
	DC_WHO,
	DC_CASE_OK,
	DC_PLAN_TEXT,
	DC_PLAN_KIND,
	DC_EFFECTS,
	DC_EFFECTS_REASON,
	DC_KILLED,
	DC_NOW,
	DC_APPROVERS,
	DC_BREAK_GLASS
};
/* $1 tenant, $2 decision, $3 run, $4 case, $5 plan, $6 plan_hash, $7 args_hash, $8 text[] targets, $9 text[] operations.
 * approved and unexpired -> used, with the budget charged, in one statement. One row when it went. */
extern const char SQL_DECISION_USE[];

extern const char SQL_POLICY_VERSION[]; /* $1 hash, $2 text */
/* $1 policy hash: a cmd.gate.eval for each decision that waits and was made under another one, once. */
extern const char SQL_DECISION_LOOK_AGAIN[];
