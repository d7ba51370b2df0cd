/* fleet.h - a whole installation for tests of faults: a durable PostgreSQL and a nats-server that may be killed and
 * started again, replicas of opscased, and the ledger: an adapter whose every effect is a line in a file.
 *
 * The opscased is the one with fault points (build folder, tests/crash/opscased). Each case writes into a file of its
 * own, so that what was applied can be counted from outside. Everything goes with the test program, also when that is
 * killed. Trouble aborts the test with a sentence. One thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/uuid.h"
#include "store/token.h"
#include "tests/support/natstemp.h"
#include "tests/support/pgtemp.h"

#define FLEET_REPLICAS 2

struct fleet {
	struct pgtemp db;
	struct natstemp nats;
	pid_t postgres;
	struct replica {
		pid_t pid;
		int port;
		char url[64], log[160];
	} replica[FLEET_REPLICAS];
	char dir[64];
	char token[TOKEN_TEXT]; /* of an operator */
	long long tenant;
	struct pg *pg;  /* as opscase_worker; made again by itself */
	unsigned cases; /* accepted so far */
};

/* PostgreSQL and NATS run when this returns, no replica does. */
void fleet_start(struct fleet *f);
void fleet_stop(struct fleet *f);

/* fault: "worker.leased:2", see base/fault.h, or NULL. Returns when the API answers, or the process is dead already. */
void fleet_replica_start(struct fleet *f, unsigned i, const char *fault);
void fleet_replica_signal(struct fleet *f, unsigned i,
			  int sig); /* SIGKILL and SIGTERM also wait for its end */
bool fleet_replica_alive(struct fleet *f, unsigned i);
/* Process ids of the opscase-runner processes below a replica, its keepers and their children. */
size_t fleet_runners(const struct fleet *f, unsigned i, pid_t *out, size_t max);
/* No runner is left anywhere that was started by a replica of ours, alive or dead. */
bool fleet_runners_gone(const struct fleet *f, int wait_ms);

void fleet_postgres_kill(struct fleet *f);  /* SIGKILL to the server and all of its processes at once */
void fleet_postgres_stop(struct fleet *f);  /* in order */
void fleet_postgres_again(struct fleet *f); /* returns when it answers */
void fleet_nats_wipe(struct fleet *f);      /* kill -9, and it comes back with empty storage */
void fleet_nats_forget(struct fleet *f);    /* its streams are deleted while everybody is connected */

bool fleet_nats_streams(struct fleet *f); /* both are there */

/* A request to a replica; 0 when nobody answered. ret_body may be NULL; yours. */
int fleet_call(struct fleet *f, unsigned replica, const char *method, const char *path, const char *key,
	       const char *body, char **ret_body);

struct fleet_case {
	int sleep_ms, after_ms;   /* of the first step: before the effect, after it */
	bool manual, show_secret; /* the second: the answer says how many bytes of secrets it got */
};
/* Opens a case through the API of either replica, again and again until one says 201: then it is promised. */
void fleet_open(struct fleet *f, const char *name, const struct fleet_case *how, char ret_id[UUID_TEXT]);
/* The same, but false when nobody takes it now. */
bool fleet_try_open(struct fleet *f, unsigned replica, const char *name, const struct fleet_case *how,
		    char ret_id[UUID_TEXT]);

/* First column of the first row, "" when there is none. Tried again while PostgreSQL is away. Yours. */
char *fleet_one(struct fleet *f, const char *sql, const char *arg);
long long fleet_count(struct fleet *f, const char *sql);

/* Until every auto case has ended and no row of the outbox is open; false after ms, having said what is open. */
bool fleet_drain(struct fleet *f, int ms);
/* Lines in the ledger of a case. */
int fleet_lines(const struct fleet *f, const char *name);
/* Holds everything that must be true when nothing moves any more; prints each thing that is not and returns how many. */
unsigned fleet_check(struct fleet *f);
