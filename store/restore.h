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

/* --- finishing: one transaction by the caller, in this order */
struct restore_case {
	char tenant_id[24], case_id[40], tenant[64], status[16], head_hex[65];
	int version, epoch, seq;
};
/* Locks the cases that may have gone on after the backup: every open one from before effects went off. */
MUST_CHECK enum oc_err restore_cases(struct pg *pg, struct restore_case **ret, size_t *ret_count,
				     struct oc_fail *reterr);
/* Parks one as outcome_unknown, with the row of its timeline that says so (sealed by the caller). */
struct restore_row {
	const char *event, *actor, *reason, *meta, *canonical, *hash_hex;
};
MUST_CHECK enum oc_err restore_park(struct pg *pg, const struct restore_case *c, const char *sentence,
				    const struct restore_row *row, struct oc_fail *reterr);
/* Leases, pending approvals, running runs and target locks are void; ids go on behind `mark`, so that none is given
 * out twice; a new installation id; effects on. */
struct restore_sum {
	long long leases, decisions, runs, steps;
	char installation[40];
};
MUST_CHECK enum oc_err restore_void(struct pg *pg, long long mark, struct restore_sum *ret,
				    struct oc_fail *reterr);
