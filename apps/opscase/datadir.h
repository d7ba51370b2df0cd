/* datadir.h - the folder of an embedded installation: what lies where, for `up` and for those who talk to it.
 *
 *   lock            held by the running `opscase up`; says who
 *   url             where the API is
 *   tokens/NAME     bearer tokens, 0600: admin, approver
 *   opscase.conf    settings that people put there (may be missing)
 *   identity.json   which database this folder belongs to, and how far it had come: see up_identity.h
 *   passwords.json  of the private PostgreSQL, 0600
 *   ports.json      chosen once, kept while they are free
 *   postgres/ nats/ detail/ log/ run/ */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "base/err.h"

/* --data, else OPSCASE_DATA, else /var/lib/opscase (root) or ~/.local/share/opscase. Absolute; yours. */
char *datadir_path(const char *given);
/* Makes the folder and those above it; 0755. */
MUST_CHECK enum oc_err datadir_make(const char *path, mode_t mode, struct oc_fail *reterr);

/* At most 1 MiB; NULL when there is none. Yours. */
char *file_slurp(const char *path);
/* First line without its end; NULL when there is none. Yours. */
char *file_line(const char *path);
/* Whole or not at all, also after a loss of power. */
MUST_CHECK enum oc_err file_put(const char *path, const char *text, mode_t mode, struct oc_fail *reterr);

struct datadir_lock {
	int fd;
};
/* OC_CONFLICT with a sentence that says who has it. */
MUST_CHECK enum oc_err datadir_lock(const char *data, struct datadir_lock *ret, struct oc_fail *reterr);
/* The pid that holds it now, 0: nobody. */
pid_t datadir_holder(const char *data);
