/* verdict.h - what the verifier needs to know of a case, and the row that is its proof. */
#pragma once

/* $1 outbox ids. One row per command: id, and the columns of enum verify_load_col. */
extern const char SQL_VERIFY_LOAD[];
enum verify_load_col {
	VL_ID,
	VL_PLAN_ID,
	VL_PLAN_TEXT,
	VL_PLAN_HASH,
	VL_RUN_ID,
	VL_DECISION_ID,
	VL_BEGAN_US, /* the first step's dispatch, or the run's beginning */
	VL_ENDED_US, /* NULL: the run has not ended, or there is none */
	VL_KEYS,     /* JSON object: step number -> idempotency key */
};

/* $1 id, $2 tenant, $3 case, $4 plan, $5 run, $6 epoch, $7 verdict, $8 checks, $9 reason. */
extern const char SQL_VERDICT_INSERT[];
