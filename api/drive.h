/* drive.h - the manual drive: ask for a command, wait for the transition that answers it.
 *
 * Nothing is decided or kept here: each step is an event through the one door with a key of its own, so
 * that a caller who comes again (or two at once) joins what is under way. While it waits it holds no
 * connection. */
#pragma once
#include "api/call.h"
#include "api/waiters.h"

struct drive {
	struct api_call *c;
	char case_id[40];
	const char *reason;    /* of the caller */
	struct waiter *waiter; /* NULL when nothing shall be waited for */
	int64_t until_us;
	struct case_read now;
};
/* False: answered already (no such case, too many wait). */
bool drive_begin(struct drive *d, struct api_call *c, const char *case_id);
void drive_end(struct drive *d);
static inline void oc_auto_drive(struct drive *d)
{
	drive_end(d);
}

/* Reads the case again; false: answered with the failure. */
bool drive_read(struct drive *d);
/* Sends the event; false: answered with the refusal. *ret_epoch (may be NULL): the case's epoch after it. */
bool drive_event(struct drive *d, enum case_event_kind ev, const json_t *args, int *ret_epoch);
/* Sleeps until something may have happened, reads again. False: answered (202 when the time is over). */
bool drive_wait(struct drive *d, const char *for_what);

/* Brings a case before PLANNING to where the analysis is done. False: answered. */
bool drive_through_analysis(struct drive *d);
/* Waits while the case is in this state and epoch. False: answered, 202 also when people must answer first. */
bool drive_while(struct drive *d, enum case_state state, int epoch, const char *for_what);

void drive_done(struct drive *d); /* 200 with the case */
/* 202 with the case and what it waits for: a command, or people. */
void drive_pending(struct drive *d, const char *for_what);
