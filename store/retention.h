/* retention.h - what is kept how long, whose it is, and who removes it. One row per table.
 *
 * Every table of the database has a row here; a test walks the catalog and fails for one without. Runs as
 * opscase_worker, batch after batch in transactions of its own, so that it never holds much. A
 * closed case goes as a whole, with everything that hangs on it, and leaves a case_tombstone with the head of
 * its timeline. */
#pragma once
#include "base/text.h"
#include "wire/pg/pg.h"

enum retention_how {
	KEEP,        /* never pruned: small, or the truth itself */
	WITH_CASE,   /* goes with its case */
	WITH_PARENT, /* goes with the row it belongs to (ON DELETE CASCADE) */
	BY_AGE,      /* rows older than so many days, in batches */
	BY_CHUNK,    /* hypertable: whole chunks */
	CASES,       /* closed cases, as a whole */
};

struct retention_rule {
	const char *table, *owner; /* owner: the room that writes it */
	enum retention_how how;
	int days;
	const char *
		which; /* BY_AGE: what may go, as SQL over the table with its age column compared to `limit_at` */
	const char *help;
};

/* Ended by a NULL table. */
extern const struct retention_rule retention_rules[];

struct retention_report {
	long long rows, chunks, cases;
};

/* One pass over all rules. `days_scale` shortens or stretches every retention (1 is as listed); batch 0: 1000 rows. Stops
 * early when stop (may be NULL) becomes true. An error of one table does not keep the others. */
MUST_CHECK enum oc_err retention_run(struct pg *pg, double days_scale, int batch, const volatile int *stop,
				     struct retention_report *ret, struct oc_fail *reterr);
/* The table as Markdown, for docs/. */
void retention_reference(struct text *out);
