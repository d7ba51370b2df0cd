/* restore.h - a database that came back from a backup: recognising it, and making it safe to go on.
 *
 * Statements only; who decides is `opscase up` (recognise) and `opscase restore --finish`. For a superuser
 * or opscase_owner. */
#pragma once
#include "wire/pg/pg.h"

struct restore_mark {
	char system[32]; /* pg_control_system().system_identifier */
	long long timeline;
	char installation[40];
	/* `committed` was certainly written to disk; `highest` is what the sequence has given out, at least as much.
	 * A mark is made from the first and compared with the second, so a crash never looks like a restore. */
	long long committed, highest;
	char effects[8];
	char effects_reason[512];
};
MUST_CHECK enum oc_err restore_mark_read(struct pg *pg, struct restore_mark *ret, struct oc_fail *reterr);
MUST_CHECK enum oc_err restore_effects_off(struct pg *pg, const char *reason, struct oc_fail *reterr);
