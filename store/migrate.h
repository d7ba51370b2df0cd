/* migrate.h - brings a database to the shape that this binary needs, and back.
 *
 * The migrations are compiled in (migrations/NNNN_name.up.sql, .down.sql). Each runs in a transaction of
 * its own, under one advisory lock, so that several replicas may start at once. What was applied is kept
 * with the checksum of its text: a file that changed afterwards is refused, not guessed at.
 *
 * Needs a connection as a superuser, or as opscase_owner; then a superuser has made the extensions and the
 * roles and let it into ag_catalog, and what is missing of that is said with the statement to run. */
#pragma once
#include "wire/json/json.h"
#include "wire/pg/pg.h"

#define MIGRATE_LATEST (-1)

/* The newest version that this binary knows. */
int migrate_latest(void);

/* Applies what is missing up to `target`. OC_INVALID: an applied one was changed; OC_ILLEGAL: the database
 * is newer than this binary; OC_UNAVAILABLE: the server, an extension or a preload is missing (says how
 * to get it). ret_applied (may be NULL): how many were run. */
MUST_CHECK enum oc_err migrate_up(struct pg *pg, int target, int *ret_applied, struct oc_fail *reterr);

/* Takes back everything above `target`; 0 leaves nothing of ours but extensions and roles that others use. */
MUST_CHECK enum oc_err migrate_down(struct pg *pg, int target, int *ret_undone, struct oc_fail *reterr);

/* [{"version":1,"name":"core","state":"applied|pending|changed|unknown","applied_at":..}], oldest first.
 * Takes no lock and writes nothing; any role may ask. */
MUST_CHECK enum oc_err migrate_status(struct pg *pg, json_t **ret, struct oc_fail *reterr);

/* OC_OK when the database is exactly what this binary needs; else a sentence with the command to run. */
MUST_CHECK enum oc_err migrate_check(struct pg *pg, struct oc_fail *reterr);
