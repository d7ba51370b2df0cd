/* batch.h - many cases' steps in one transaction: the inside of the one door.
 *
 * transition.c (one case, for people) and loop.c (many, for roles' events) read rows, let case_step()
 * decide, and collect what each accepted step writes; batch_send() then puts everything into one
 * pipeline. Nothing here commits. Used by orchestrator/ only; one thread per batch. */
#pragma once
#include "orchestrator/fsm.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

/* One event for one case, before and after the decision. Texts are lent. */
struct step {
	enum case_event_kind event;
	unsigned who;
	const char *case_id; /* where there is no row: of a guess */
	const char *actor, *role, *reason, *correlation_id, *trace_id;
	const char *product_id; /* of a role's event */
	const json_t *args;     /* of the caller: goes into the command asked for */
	const json_t *meta;     /* of a role's event: goes onto the timeline */

	/* the case as it was read */
	const struct pg_result *row;
	unsigned at;
	struct case_now now;

	/* the answer */
	struct case_move move;
	int version, epoch; /* after the step */
	long long cmd_id;   /* the command asked for, or the outstanding one when joined */
};

struct handover;
struct waker;
struct batch;
struct batch *batch_new(struct handover *hand); /* NULL: commands go by the bus */
void batch_free(struct batch *b);
DEFINE_AUTO(batch, struct batch *, batch_free);

/* Fills now and the facts from the row, calls case_step(). */
void step_decide(struct step *s);
/* Calls case_step() about `now`, which is filled already; ev has the facts of product rows, if any. */
void step_ask(struct step *s, struct case_event *ev);
json_t *step_meta(const struct step *s);       /* of its timeline row; yours */
char *step_command_text(const struct step *s); /* payload of the command that it asks for; yours */
/* Collects the writes of an accepted step. */
void batch_accept(struct batch *b, struct step *s);
/* Collects the one timeline row of a refused role's event. */
void batch_refuse(struct batch *b, struct step *s);
/* Sends all of it into the connection's open pipeline; returns how many statements were sent. */
MUST_CHECK enum oc_err batch_send(struct batch *b, struct pg *pg, unsigned *ret_sent, struct oc_fail *reterr);
size_t batch_accepted(const struct batch *b);
/* After the commit: counts, hands the commands to the roles of this process, and wakes the relay for the rest. */
void batch_committed(struct batch *b, struct waker *relay_wake);

/* The same for a command that was written without a batch: by hand if handover_room() said so beforehand. */
void command_committed(struct handover *hand, struct waker *relay_wake, const char *topic, long long id,
		       bool by_hand);

/* A case's next timeline row: fills canonical text (yours) and the hash, in hex, over the previous head. */
struct timeline_row {
	const char *tenant, *case_id, *event, *from, *to, *actor, *reason, *correlation_id;
	int seq, version, epoch;
	int64_t at_us;
	const json_t *meta;
};
char *timeline_seal(const struct timeline_row *row, const char *head_hex, char ret_hash_hex[HASH_HEX]);

/* The canonical text with five gaps: time, epoch, seq, tenant and version are what the statement that writes it
 * fills in. It ends after the version with a brace. */
struct timeline_gaps {
	char *to_time, *to_epoch, *to_seq, *to_tenant, *to_version;
};
void timeline_gaps_make(const struct timeline_row *row, struct timeline_gaps *ret);
void timeline_gaps_done(struct timeline_gaps *g);

/* The seconds a state may take; negative: no deadline. */
double state_deadline_s(enum case_state state, bool waiting_for_person, double exec_budget_s,
			double verify_budget_s);
