/* step.h - the statements of the one door: lock cases, read the facts, write the step.
 *
 * Only orchestrator/ uses these. Every statement is set-based, so that many cases' steps share one
 * transaction; each writes only rows of the tenant it names. */
#pragma once

/* Blocks until the cases are free. $1 bigint[] tenants, $2 uuid[] cases. */
extern const char SQL_STEP_LOCK[];
/* The facts of locked cases. $1 int[] ordinals, $2 bigint[] tenants, $3 uuid[] cases, $4 uuid[] products. */
extern const char SQL_STEP_READ[];
/* In a transaction that holds the case: fails with 40001 where the facts of a case are no longer those whose hash was
 * read with SQL_STEP_GUESS. $1 tenant, $2 case, $3 hash. */
extern const char SQL_STEP_SAME[];
/* Open events and their cases, those that are free now, in id order. $1 bigint[] outbox ids. */
extern const char SQL_STEP_READ_EVENTS[];
/* Which of these events still wait. $1 bigint[]. */
extern const char SQL_STEP_OPEN_EVENTS[];   /* and whether their case exists */
extern const char SQL_STEP_EVENT_ORPHANS[]; /* $1 bigint[]: events of cases that do not exist, to dead_letter */

/* Columns of both reads, in order. */
enum step_col {
	SC_ORD,
	SC_TENANT_ID,
	SC_TENANT,
	SC_CASE_ID,
	SC_STATUS,
	SC_VERSION,
	SC_EPOCH,
	SC_DRIVE,
	SC_PARK_REASON,
	SC_PLAN_ID,
	SC_PLAN_KIND,
	SC_DECISION_ID,
	SC_RUN_ID,
	SC_CMD_ID,
	SC_CMD_STATE,
	SC_CANCEL,
	SC_ROLLBACKS,
	SC_RESUMES,
	SC_SEQ,
	SC_HEAD,
	SC_DISPATCHED,
	SC_APPLIED,
	SC_REOPENABLE,
	SC_NOW,
	SC_SPARE_1,
	SC_SPARE_2,
	SC_CUR_FINGERPRINT,
	SC_CUR_EXEC_S,
	SC_CUR_VERIFY_S,
	SC_P_COMPLETE,
	SC_P_EPOCH,
	SC_P_KIND,
	SC_D_BINDS,
	SC_D_EPOCH,
	SC_R_STATUS,
	SC_R_APPLIED,
	SC_R_DISPATCHED,
	SC_R_EPOCH,
	SC_V_VERDICT,
	SC_V_EPOCH,
	SC_PARENT_OPEN,
	SC_TITLE,
	/* of the event's outbox row; only SQL_STEP_READ_EVENTS fills these */
	SC_EV_ID,
	SC_EV_TOPIC,
	SC_EV_EPOCH,
	SC_EV_PRODUCT,
	SC_EV_PAYLOAD,
	SC_EV_TRACE,
	SC_COUNT
};

/* $1 tenants, $2 cases, $3 versions, $4 status, $5 epoch growth, $6 park_reason, $7 sentence, $8 resolution,
 * $9 plan, $10 plan_kind, $11 decision, $12 run, $13 cmd id, $14 cmd topic, $15 cancel, $16 rollback growth,
 * $17 resume growth, $18 failed fingerprint, $19 deadline seconds (-1 keeps, NULL clears), $20 seq, $21 head,
 * $22 row count. */
extern const char SQL_STEP_CASE[];
/* $1 tenants, $2 cases, $3 seq, $4 event, $5 actor, $6 reason, $7 correlation, $8 meta, $9 canonical,
 * $10 hash, $11 refusal key. */
extern const char SQL_STEP_TIMELINE[];
/* $1 ids, $2 tenants, $3 cases, $4 kinds, $5 topics, $6 keys, $7 payloads, $8 epochs, $9 versions,
 * $10 max attempts, $11 traces, $12 way: "bus", "hand" (not published: somebody here has the id after the commit) or
 * "held" (until it is released). */
extern const char SQL_STEP_OUTBOX[];
extern const char SQL_STEP_COMMANDS_OVER[]; /* $1 bigint[]: commands whose state was left */
extern const char SQL_STEP_RELEASE[];       /* $1 bigint[]: held commands let go */
/* $1 ids, $2 count: inbox rows and the events marked done, or the whole step is undone. */
extern const char SQL_STEP_EVENTS_DONE[];
extern const char SQL_STEP_EVENT_FAILED[]; /* $1 id, $2 reason: an attempt; exhausted ones go to dead_letter */

/* One row about a refusal, or one more count on the row that says the same. $1 tenant, $2 case, $3 seq, $4 event,
 * $5 actor, $6 reason, $7 correlation, $8 meta, $9 canonical, $10 hash, $11 refusal key. */
extern const char SQL_STEP_REFUSAL[];
/* $1 tenants, $2 cases, $3 seq, $4 heads: rows without a version, many at once. */
extern const char SQL_STEP_HEADS[];

extern const char SQL_STEP_IDEM_CLAIM[];      /* $1 tenant, $2 principal, $3 route, $4 key, $5 body hash */
extern const char SQL_STEP_IDEM_CLAIM_FREE[]; /* the same, or 40001 where somebody has it */
extern const char SQL_STEP_IDEM_SEEN[];       /* $1..$4: body_hash, state, status, response */
extern const char SQL_STEP_IDEM_KEEP[];       /* $1..$4, $5 status, $6 response */
extern const char SQL_STEP_IDEM_KEEP_CASE[];  /* $1..$4, $5 status, $6 case: the case as it is now */
extern const char
	SQL_STEP_CASE_DOC[]; /* $1 tenant, $2 case: its command's id, then the columns of store/case_doc.h */

/* A whole step of a case that is as it was guessed to be, as one statement: the case, its timeline row, its command
 * and fact. Always one row. Where the guess was right it has from GC_CMD_ID on the new command's id and the columns
 * of store/case_doc.h. Where it was wrong nothing was written; GC_SEEN is an array of what SQL_STEP_READ gives (NULL:
 * there is no such case) up to SC_TITLE, then the hash for SQL_STEP_SAME, and the kept answer of the key follows.
 * $1 tenant, $2 case; the guess: $3 status, $4 drive, no command yet, $5 version and $6 epoch (0: any);
 * $7 status, $8 epoch growth, $9 topic of the command, $10 deadline seconds;
 * the canonical text up to the time ($11), to the epoch ($12), to seq ($13), to the tenant ($14), to the version ($15);
 * $16 event, $17 actor, $18 reason, $19 correlation, $20 meta, $21 the command's payload, $22 the fact's without title,
 * version and epoch, $23 attempts, $24 trace, $25 by hand? (the command is not published). */
#define SEEN_HASH SC_EV_ID
enum guess_col { GC_SEEN, GC_IDEM_BODY, GC_IDEM_STATE, GC_IDEM_STATUS, GC_IDEM_ANSWER, GC_CMD_ID, GC_DOC };
extern const char SQL_STEP_GUESS[];
extern const char SQL_STEP_GUESS_KEYED[]; /* and $26 principal, $27 route, $28 key, $29 body hash */

/* New cases, many at once. */
extern const char SQL_STEP_SPARES[];    /* $1 rows; now, nextval x 3 */
extern const char SQL_STEP_IDEM_KEPT[]; /* $1 int[] ordinals, $2 tenants, $3 principals, $4 routes, $5 keys */
/* $1 ids, $2 tenants, $3 tenant codes, $4 titles, $5 status, $6 versions, $7 epochs, $8 drives, $9 severities,
 * $10 actors, $11 traces, $12 follows, $13 parents, $14 seq, $15 heads, $16 cmd ids, $17 cmd topics, $18 deadlines (s). */
extern const char SQL_STEP_NEW_CASES[];
/* $1 cases, $2 tenants, $3 summaries, $4 labels, $5 evidence, $6 templates, $7 params. */
extern const char SQL_STEP_NEW_BODIES[];
/* $1 tenants, $2 principals, $3 routes, $4 keys, $5 body hashes, $6 cases, $7 row count: 40001 where one is in use. */
extern const char SQL_STEP_IDEM_KEEP_NEW[];
extern const char SQL_STEP_CASE_DOCS[]; /* $1 tenants, $2 cases: as SQL_STEP_CASE_DOC, in this order */
