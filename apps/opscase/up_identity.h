/* up_identity.h - is this the database that this folder knew, as far as it had come?
 *
 * A database brought back from a backup has forgotten intents: steps that were carried out after the backup
 * was taken. So the folder remembers which PostgreSQL system it belongs to, its timeline, and the highest
 * outbox id ever seen committed. When the database is another one or behind that mark, or the mark is gone while
 * the database is not new, effects are switched off until `opscase restore --finish`.
 *
 * The file is no part of a backup: copying it together with the database would hide exactly this. */
#pragma once
#include "wire/pg/pg.h"

struct up_identity {
	char system[32], installation[40];
	long long timeline, high_water;
};

/* What the database says now (a superuser's connection). */
MUST_CHECK enum oc_err up_identity_read(struct pg *pg, struct up_identity *ret, struct oc_fail *reterr);
/* Compares with data/identity.json; when something is wrong effects are off when this returns, and
 * ret_trouble says why ("" if all is well). fresh: the cluster was made by this very start. */
MUST_CHECK enum oc_err up_identity_check(struct pg *pg, const char *data, bool fresh,
					 struct text *ret_trouble, struct oc_fail *reterr);
/* Moves the mark on; quick when nothing happened. io_last: what was written last. */
MUST_CHECK enum oc_err up_identity_write(struct pg *pg, const char *data, struct up_identity *io_last,
					 struct oc_fail *reterr);
