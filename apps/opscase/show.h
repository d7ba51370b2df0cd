/* show.h - a case for people: the state it is in, what is known, what can be done next. */
#pragma once
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"

/* The gate has answered and waits for people: known from a read with include=decisions, or from `waits_for`. */
bool case_asks_people(const json_t *c);
enum oc_err show_json(const json_t *doc); /* to standard output */
/* The answer of a write: the case, short, or as JSON. */
enum oc_err show_answer(struct cli *cli, const json_t *c);
void show_case_full(const struct cli *cli, const json_t *c, struct text *out);
/* What a watch ends with: how it ended, or what is legal next. */
void show_case_end(const struct cli *cli, const json_t *c, struct text *out);

/* Goes on where it stopped, so that times since the row before can be shown. */
struct show_timeline {
	int seq;
	int64_t first_us, last_us;
};
void show_timeline(const struct cli *cli, const json_t *rows, struct show_timeline *io, struct text *out);
void show_plan(const struct cli *cli, const json_t *plan_row, struct text *out);

/* Follows a case until it is closed or parked (--until, --timeout). In case.c. */
enum oc_err watch_case(struct cli *cli, struct remote *r, const char *id, struct oc_fail *reterr);
/* Appends the case's rows after that one, page by page. In case.c, too. */
MUST_CHECK enum oc_err remote_timeline(struct remote *r, const char *id, long long after, json_t *into,
				       struct oc_fail *reterr);
