/* run.h - one run of a plan while a thread of ours has its lease: shared by the files of this room that make it.
 *
 * heart.c moves the lease on and hears of cancel; step.c carries one step out; role.c opens runs and answers. */
#pragma once
#include <pthread.h>
#include "base/uuid.h"
#include "executor/role.h"

#define LEASE_MS        30000
#define LEASE_MARGIN_MS 5000 /* the child is gone this long before somebody else may look */

struct run;

struct executor {
	struct executor_config cfg;
	char *conninfo;
	struct pg_pool *pool;
	pthread_mutex_t lock;
	struct run *running;
};

/* One run while a thread of ours has its lease. */
struct run {
	struct run *next;
	struct executor *x;
	const struct command *cmd;
	char id[UUID_TEXT];
	const struct plan *plan;
	const char *plan_hash, *decision_id;
	json_t *world;
	struct pg *pg;
	struct host_leash *leash;
	int applied, dispatched;
	bool locks;        /* it has targets that nobody else may touch meanwhile */
	bool smudged;      /* a try of the current step may have changed something */
	char barred[1024]; /* why nothing more may be dispatched; open intents are still settled */
	char reason[1600];

	/* set by the heartbeat, read by the run */
	pthread_mutex_t lock;
	pthread_cond_t beat;
	bool ended, cancelled, lost;
	pthread_t heart;
};

enum run_end { END_DONE, END_FAILED, END_UNKNOWN, END_CANCELLED, END_VOID, END_LOST };

struct step_known { /* what the rows say of a step of this run */
	int attempt;
	char status[24];
	bool last; /* no later step has a row */
	long long id;
};

bool run_flag(struct run *r, const bool *flag);
void run_stop(struct run *r, bool *flag); /* sets the flag, wakes who waits, pulls the leash */
bool run_pause(struct run *r, int ms);    /* true when the run was told to stop */
void run_beat(struct run *r);             /* moves the lease on now; hears of cancel and of a lost lease */
void *run_heart(void *run);               /* the thread that beats until the run has ended */

/* The sentence of the end goes into r->reason. */
enum run_end run_end_fail(struct run *r, enum run_end end, int seq, const char *action, const char *what);
/* *ret_go_on: the step is in place, and its own check holds. Else the answer is how the run ends. */
enum run_end run_step(struct run *r, const struct plan_step *s, int seq, const struct step_known *k,
		      bool *ret_go_on);
/* What two runs must not touch at once; yours. */
char *step_target(const struct plan_step *s);
