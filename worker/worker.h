/* worker.h - the harness every role runs in: lease, work, answer.
 *
 * A command is a row of the outbox. A worker thread takes ids from its seat, where they come by hand from
 * whoever committed them in this process, or by the bus (or, when it is silent, from a sweep once a second), leases up
 * to `max_batch` rows in one short transaction together with the role's own reading of what it needs, acks the bus, calls
 * the role for each command outside of any transaction, and commits all answers in one second transaction:
 * the products, one evt.* row each, and the commands marked done, all fenced by command id + lease token + epoch.
 * An answer whose lease or epoch was lost is dropped whole and counted. A batch that fails is split; a lone failure
 * leaves the lease to run out, which counts the attempt; exhausted ones become events of the janitor.
 *
 * The lease, and an answer that ends in an event, do not wait for the disk: whatever is committed later by anybody takes
 * them along, and nothing leaves the house before that (an executor's intent, the step of the case). A crash of
 * PostgreSQL may forget the last of them; the command is then open and taken again, as after any crash.
 *
 * A role's `work` is called from several threads at once (never twice for one command at a time). */
#pragma once
#include <stdatomic.h>
#include <stdint.h>
#include "base/err.h"
#include "base/waker.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

struct bus;
struct handover;

struct command {
	long long id; /* outbox id */
	long long tenant_id;
	const char *tenant; /* code */
	const char *case_id;
	const char *topic; /* "cmd.plan.generate" */
	int epoch, attempts, max_attempts;
	const char *trace_id;
	const char *lease_token;
	const json_t *payload;       /* the command's arguments; always an object */
	const struct pg_result *row; /* what load_sql found for this command; see role.load_sql */
	unsigned row_at;             /* the row's number in it */
	int64_t now_us;              /* PostgreSQL's clock at the lease */
};

/* What a role says. Set evt, or later_ms, or neither (done without an event: the gate waits for people). */
struct answer;
void answer_event(struct answer *a, const char *evt_topic, const char *product_id);
/* Facts for the timeline's meta; borrowed reference is taken over. At most 64 KiB is kept. */
void answer_meta(struct answer *a, json_t *take_meta);
void answer_reason(struct answer *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Not now: offer the command again after so many milliseconds; does not count as an attempt. */
void answer_later(struct answer *a, int64_t ms);
/* A statement of the result transaction (store/ statements; arguments are copied). It runs only if the
 * lease still holds. Order is kept. */
void answer_do(struct answer *a, const char *sql, const char *const *args, unsigned n);

struct role {
	const char *name;      /* "planner"; also the durable consumer's name */
	const char *topics[4]; /* "cmd.plan.generate", NULL */
	/* Read with the lease, one row per command: $1 is bigint[] of outbox ids; must return the column
	 * `id` (outbox id) and what else the role wants. NULL: nothing. Every statement has a tenant
	 * predicate (join on tenant_id). */
	const char *load_sql;
	unsigned threads, max_batch;
	int lease_ms;
	/* OC_OK with an answer; anything else leaves the command to be offered again. */
	enum oc_err (*work)(void *ctx, const struct command *cmd, struct answer *ans, struct oc_fail *reterr);
	void *ctx;
};

struct worker_deps {
	const char *conninfo;     /* as opscase_worker */
	struct bus *bus;          /* may be disconnected at any time; NULL: none */
	struct waker *relay_wake; /* poked after each commit that wrote outbox rows */
	struct handover *hand;    /* or NULL: ids come by the bus alone */
};

struct worker;
MUST_CHECK enum oc_err worker_start(const struct role *role, const struct worker_deps *deps,
				    struct worker **ret, struct oc_fail *reterr);
/* Takes no more work from now on; returns at once. Several are told before the first is waited for. */
void worker_quit(struct worker *w);
void worker_stop(struct worker *w); /* lets running work end; returns when all threads are gone */
DEFINE_AUTO(worker, struct worker *, worker_stop);

/* For work that lasts: move the lease on. OC_STALE when it was lost (somebody else has the command, the
 * epoch moved, or it is done): stop without a trace. */
MUST_CHECK enum oc_err command_renew(struct pg *pg, const struct command *cmd, int lease_ms,
				     struct oc_fail *reterr);
