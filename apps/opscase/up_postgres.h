/* up_postgres.h - the private PostgreSQL of an embedded installation.
 *
 * Made once with initdb, reached only by a unix socket in a folder that nobody else may enter, and by
 * passwords that lie in the data folder. Runs as an unprivileged user when we are root. One thread. */
#pragma once
#include "apps/opscase/up_children.h"
#include "wire/pg/pg.h"

struct up_postgres {
	struct child child;
	char *data;       /* the installation's folder */
	char *bin;        /* folder of postgres and initdb */
	char *cluster;    /* data/postgres/17 */
	char *socket_dir; /* short: a socket's path has at most 107 bytes */
	char *admin;      /* password of the superuser */
	char *owner, *api, *worker;
	const struct passwd *as;
	bool fresh; /* made by this start */
};

/* Finds the programs and extensions, makes the cluster when there is none, fills the child's command line. */
MUST_CHECK enum oc_err up_postgres_prepare(struct up_postgres *p, const char *data, const struct passwd *as,
					   struct oc_fail *reterr);
/* Until it answers. OC_UNAVAILABLE with the end of its log. */
MUST_CHECK enum oc_err up_postgres_wait(struct up_postgres *p, int timeout_ms, struct oc_fail *reterr);
/* Database, migrations, passwords of the three roles. ret_applied: migrations run now. */
MUST_CHECK enum oc_err up_postgres_setup(struct up_postgres *p, int *ret_applied, struct oc_fail *reterr);
/* role: "opscase_owner", "opscase_api", "opscase_worker" or "postgres" (the superuser). Yours. */
char *up_postgres_conninfo(const struct up_postgres *p, const char *role, const char *dbname);
void up_postgres_done(struct up_postgres *p);

/* For other commands: the conninfo of a running embedded installation. NULL when the folder has none. Yours. */
char *up_postgres_conninfo_of(const char *data, const char *role);
/* Folder of postgres 17; NULL when there is none. Yours. */
char *up_postgres_bin(void);
/* Extensions and libraries that are not installed, as Debian packages: "postgresql-17-age ..."; "" if none. */
void up_postgres_missing(const char *bin, struct text *out);
