/* exec.h - runs and steps of the executor: intents before effects, results after. */
#pragma once

/* With the lease of cmd.exec.run: $1 bigint[] outbox ids. */
extern const char SQL_EXEC_LOAD[];
enum exec_load_col { XL_ID, XL_PLAN_ID, XL_PLAN, XL_HASH, XL_DECISION, XL_CANCEL, XL_STATUS, XL_TENANT_ENV };

/* One run per case and epoch: $1 id, $2 tenant, $3 case, $4 plan, $5 decision, $6 cmd, $7 epoch, $8 steps.
 * Returns the run's id and status, the old one's if there is one. */
extern const char SQL_EXEC_RUN_OPEN[];
extern const char
	SQL_EXEC_STEPS[]; /* $1 tenant, $2 run: seq, attempt, status, before, result; newest attempt only */
enum exec_step_col { XS_SEQ, XS_ATTEMPT, XS_STATUS, XS_BEFORE, XS_RESULT, XS_ID };

/* Fenced by the lease: $1 tenant, $2 run, $3 case, $4 seq, $5 attempt, $6 action, $7 target, $8 params, $9 key,
 * $10 epoch, $11 lease token, $12 before, $13 cmd id. Returns the step's id; no row: the lease is lost. */
extern const char SQL_EXEC_INTENT[];
/* $1 step id, $2 tenant, $3 status, $4 result, $5 log_ref: returns id. */
extern const char SQL_EXEC_RESULT[];
/* $1 tenant, $2 case, $3 key(tenant code), $4 payload, $5 epoch, $6 trace: the fact evt.exec.step_result.v1. */
extern const char SQL_EXEC_STEP_FACT[];
/* $1 run, $2 tenant, $3 status, $4 applied, $5 dispatched, $6 reason. In the answer's transaction. */
extern const char SQL_EXEC_RUN_END[];
extern const char SQL_EXEC_RUN_COUNT[]; /* $1 run, $2 tenant, $3 applied, $4 dispatched: while it runs */

/* $1 tenant, $2 target, $3 run, $4 ms. Returns a row when it is ours. */
extern const char SQL_TARGET_LOCK[];
extern const char SQL_TARGET_EXTEND[]; /* $1 tenant, $2 run, $3 ms */
extern const char SQL_TARGET_UNLOCK[]; /* $1 tenant, $2 run */
