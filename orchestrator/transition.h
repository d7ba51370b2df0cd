/* transition.h - the one door: only this changes a case.
 *
 * Decides with the pure case_step() and commits status + version, timeline, outbox and idempotency in
 * one transaction, or nothing at all: in one round trip where the case is as it nearly always is for such
 * an event (guess.h), else in two; a race lost to somebody else begins anew. Does no other I/O. A refusal of a
 * well-formed event leaves one timeline row (the same one again is counted on it).
 *
 * Thread-safe as long as each call has a connection of its own. */
#pragma once
#include "base/err.h"
#include "domain/case.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

/* The answer of a write, kept under its Idempotency-Key inside the same transaction. */
struct idem_key {
	const char *principal, *route, *key; /* key NULL: none */
	const char *body_hash;
};

struct transition_request {
	long long tenant_id;
	const char *case_id;
	enum case_event_kind event;
	unsigned who;               /* one bit of enum event_who: who is asking */
	const char *actor;          /* principal, as the timeline shows it */
	const char *role;           /* "operator", ...; for timeline.meta */
	const char *reason;         /* or NULL */
	const char *correlation_id; /* or NULL */
	const char *trace_id;       /* or NULL */
	int expected_version;       /* If-Match; 0: any. Mismatch: OC_STALE, nothing written */
	int expected_epoch; /* of a timer: another epoch means that it is too late; ignored, nothing written */
	const json_t *args; /* event arguments, or NULL: {"mode":"rollback"} (resume), {"outcome":"applied"}
					 * (settled), {"resolution":".."} (close), {"plan":{..}} (plan_revised), and what
					 * the asked command should get ({"template":..,"params":..}). At most 256 KiB */
	struct idem_key idem;
};

struct transition_result {
	bool accepted, ignored, replayed, joined; /* joined: the same command is already outstanding */
	char case_id[40];
	enum case_state from, to;
	int version, epoch;
	long long cmd_id;        /* the command asked for, 0 if none */
	enum case_reason reason; /* while it is PARKED */
	bool command;            /* one is outstanding */
	char *case_json;         /* the case, its legal events as the last member; yours */
	int stored_status;       /* of a replayed answer */
};
void transition_result_done(struct transition_result *r);

/* OC_NOT_FOUND, OC_STALE, OC_ILLEGAL (text names the legal events), OC_INVALID (guard), OC_FORBIDDEN (who),
 * OC_CONFLICT (lost a race after retries), OC_UNAVAILABLE. */
MUST_CHECK enum oc_err transition(struct pg *pg, const struct transition_request *req,
				  struct transition_result *ret, struct oc_fail *reterr);

struct case_create {
	long long tenant_id;
	const char *tenant;                     /* code */
	const char *title, *summary, *severity; /* summary may be NULL; severity NULL: ERROR */
	enum case_drive drive;
	const json_t *labels, *evidence, *params; /* or NULL */
	const char *template_name;                /* or NULL */
	const char *follows_id, *parent_id;       /* or NULL */
	const char *actor, *trace_id;
	struct idem_key idem;
};
/* Opens a case in NEW; with drive auto it asks for its analysis at once (one transaction). */
MUST_CHECK enum oc_err transition_create(struct pg *pg, const struct case_create *c,
					 struct transition_result *ret, struct oc_fail *reterr);

/* The events that are legal now for people, as a JSON array of names. */
json_t *transition_legal(enum case_state state, enum case_reason reason);

/* What the process that committed pokes: the relay. Set once at start. */
struct waker;
void transition_set_waker(struct waker *relay_wake);
/* Where commands for roles of this process go after the commit; NULL: by the bus. Set once at start. */
struct handover;
void transition_set_handover(struct handover *h);
