/* pgtemp.h - a private PostgreSQL 17 for tests: unix socket, own folder, gone with the test.
 *
 * A watcher process owns the server. It sees the end of the test program through a pipe, also the end by
 * kill -9, then stops the server and removes the folder. Started as root it runs the server as an
 * unprivileged user. Trouble aborts the test with a sentence: there is no test without a database. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "wire/pg/pg.h"

struct pgtemp {
	/* set before the start */
	bool durable;        /* fsync and synchronous_commit on; off by default */
	bool empty;          /* leave the database `opscase` without our tables */
	const char *options; /* more for postgres, "-c max_connections=200 -c ..." */
	/* filled by it */
	char dir[64];
	char super[160], owner[160], worker[160], api[160]; /* conninfo of each role, database `opscase` */
	pid_t watcher;
	int pipe_fd;
};

void pgtemp_start(struct pgtemp *t);
void pgtemp_stop(struct pgtemp *t); /* twice is fine */

/* One for the whole test program: started at the first call, stopped at its end. */
struct pgtemp *pgtemp_shared(void);

/* For another database or role of the same server. */
void pgtemp_conninfo(const struct pgtemp *t, const char *role, const char *dbname, char *out, size_t size);
void pgtemp_database(const struct pgtemp *t, const char *dbname); /* makes an empty one, dropping the old */

/* Opens a connection, or aborts. */
struct pg *pgtemp_open(const char *conninfo);
/* Runs statements as the superuser (several are fine), or aborts. */
void pgtemp_exec(const struct pgtemp *t, const char *sql);
/* The tenant with this code, made when missing. */
long long pgtemp_tenant(const struct pgtemp *t, const char *code);
