/* case.h - reading cases, for people. Nothing here writes: a case changes through the one door only.
 *
 * Every read is one round trip: a read-only transaction with the session's tenant set, so that
 * row-level security holds also where a statement were wrong. For connections as opscase_api; they
 * must not be inside a transaction. */
#pragma once
#include <stdint.h>
#include "domain/case.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

/* The case as JSON text, one column. $1 tenant id, $2 case id. For whoever has a transaction of his own. */
extern const char SQL_CASE_JSON[];

enum case_include {
	INCLUDE_PLANS = 1,
	INCLUDE_DECISIONS = 2,
	INCLUDE_RUNS = 4,
	INCLUDE_VERDICTS = 8,
	INCLUDE_FINDINGS = 16,
	INCLUDE_TIMELINE = 32,
};
/* 0 for an unknown name. */
unsigned case_include_parse(const char *name);
extern const char *const case_include_names; /* "plans, decisions, ..." */

enum case_command { CASE_COMMAND_NONE, CASE_COMMAND_HELD, CASE_COMMAND_OUT };

struct case_read {
	json_t *json; /* with a key for each include */
	enum case_state state;
	enum case_reason reason;
	enum case_drive drive;
	enum case_command command; /* held: made, waits for a person; out: some role has it or will */
	int version, epoch;
	char plan_id[40], pending_decision[40]; /* "" if none; pending: of this epoch, waits for people */
	char opened_by[128];
};
void case_read_done(struct case_read *r);
static inline void oc_auto_case_read(struct case_read *r)
{
	case_read_done(r);
}

/* OC_NOT_FOUND also for another tenant's case. */
MUST_CHECK enum oc_err case_read(struct pg *pg, long long tenant_id, const char *case_id, unsigned include,
				 struct case_read *ret, struct oc_fail *reterr);

/* The case and what it was opened with as JSON members, ready to be put between braces: what a plain GET answers
 * with. One round trip of two statements, nothing parsed. */
struct case_peek {
	char *members; /* yours */
	enum case_state state;
	enum case_reason reason;
	int version;
	bool command; /* one is outstanding */
};
void case_peek_done(struct case_peek *p);
MUST_CHECK enum oc_err case_peek(struct pg *pg, long long tenant_id, const char *case_id,
				 struct case_peek *ret, struct oc_fail *reterr);

struct case_filter {
	const char *const *status;                 /* names, NULL-ended; or NULL */
	const char *severity, *park_reason, *text; /* or NULL */
	int64_t since_us, until_us;                /* by creation; 0: open */
	int limit;                                 /* 1..200 */
	int64_t after_us;                          /* keyset: cases older than this one; 0: from the start */
	const char *after_id;
};
/* Newest first. ret_next_us/ret_next_id (40 bytes) are the key of the next page, 0 when this is the last. */
MUST_CHECK enum oc_err case_list(struct pg *pg, long long tenant_id, const struct case_filter *f,
				 json_t **ret, int64_t *ret_next_us, char *ret_next_id,
				 struct oc_fail *reterr);

/* Rows with a higher seq, oldest first. ret_next: the seq to go on after, 0 when this is the last page. */
MUST_CHECK enum oc_err case_timeline(struct pg *pg, long long tenant_id, const char *case_id, int after_seq,
				     int limit, json_t **ret, int *ret_next, struct oc_fail *reterr);

/* The plan's document (as proposed); OC_NOT_FOUND. */
MUST_CHECK enum oc_err case_plan(struct pg *pg, long long tenant_id, const char *case_id, const char *plan_id,
				 json_t **ret, struct oc_fail *reterr);

/* Whose case is it? For a token of the installation that names no tenant; not under row-level security
 * (opscase_worker). Fills ret_tenant (64 bytes). */
MUST_CHECK enum oc_err case_tenant(struct pg *pg, const char *case_id, long long *ret_id, char *ret_tenant,
				   struct oc_fail *reterr);
