/* command.h - the outbox as its readers see it: lease, renew, answer, offer again, publish. */
#pragma once

/* This transaction's commit need not wait for the disk: a crash of PostgreSQL, not one of ours, may undo it, never
 * without undoing all that was committed after it. */
extern const char SQL_COMMIT_LAZILY[];

/* $1 bigint[] ids, $2 lease token, $3 lease ms, $4 text[] topics. Skips what somebody else holds. */
extern const char SQL_COMMAND_LEASE[];
enum command_col {
	CC_ID,
	CC_TENANT_ID,
	CC_TENANT,
	CC_CASE,
	CC_TOPIC,
	CC_EPOCH,
	CC_ATTEMPTS,
	CC_MAX,
	CC_TRACE,
	CC_PAYLOAD,
	CC_NOW
};
extern const char SQL_COMMAND_OPEN[];  /* $1 text[] topics, $2 limit: offered without the bus */
extern const char SQL_COMMAND_RENEW[]; /* $1 id, $2 token, $3 ms; no row: the lease is lost */
/* The fence of an answer: $1 bigint[] ids, $2 token. Returns the ids that still hold, locked. */
extern const char SQL_COMMAND_HOLD[];
/* $1 bigint[], $2 token: ours, but the case has left that epoch; nobody needs to try again. */
extern const char SQL_COMMAND_SUPERSEDED[];
extern const char SQL_COMMAND_RENEW_MANY[]; /* $1 bigint[], $2 token, $3 ms */
/* $1 bigint[] command ids, $2 text[] topics, $3 uuid[] products, $4 jsonb[] payloads, $5 by hand?: the evt rows. By
 * hand: the bus has them when they are stepped, or after a second. Returns their ids and topics. */
extern const char SQL_COMMAND_ANSWER[];
extern const char SQL_COMMAND_DONE[]; /* $1 bigint[] */
/* The three in one, when all of them are held: $1 bigint[] commands, $2 token, $3 their number, $4 bigint[] commands
 * that an event answers, $5 topics, $6 products, $7 payloads, $8 by hand?. 40001 when one is not. Returns the events' ids and topics,
 * or one row of NULLs. */
extern const char SQL_COMMAND_FINISH[];
extern const char SQL_COMMAND_LATER[]; /* $1 bigint[], $2 float8[] seconds; not an attempt */
extern const char SQL_COMMAND_BACK[];  /* $1 bigint[], $2 token, $3 seconds: try again soon */

/* The relay. $1 limit. Commands that are due and that nobody has; events also when the loop has heard them by hand: others
 * listen, too. */
extern const char SQL_OUTBOX_UNPUBLISHED[];
enum outbox_col {
	OB_ID,
	OB_KIND,
	OB_TOPIC,
	OB_KEY,
	OB_PAYLOAD,
	OB_EPOCH,
	OB_VERSION,
	OB_CASE,
	OB_CMD,
	OB_PRODUCT,
	OB_TRACE,
	OB_COUNT,
	OB_CREATED,
	OB_AGE,
	OB_PID
};
extern const char SQL_OUTBOX_PUBLISHED[];   /* $1 bigint[] */
extern const char SQL_OUTBOX_EVENTS_OPEN[]; /* $1 limit: events nobody has stepped, without the bus */

/* The janitor. */
extern const char SQL_SWEEP_REOFFER[];      /* $1 limit; the rows offered again */
extern const char SQL_SWEEP_DEADLINES[];    /* $1 limit: tenant, case, status, cancel cause, epoch */
extern const char SQL_SWEEP_EXHAUSTED[];    /* $1 limit: id, tenant, case, topic, current?, attempts, epoch */
extern const char SQL_SWEEP_GIVE_UP[];      /* $1 id, $2 reason: done, with a dead_letter row */
extern const char SQL_SWEEP_EXPIRED[];      /* $1 limit: tenant, case, decision, current?, epoch */
extern const char SQL_SWEEP_EXPIRED_SAID[]; /* $1 tenant, $2 decision: marked only after the case has heard */
extern const char SQL_INSTALLATION[];       /* id, effects */
