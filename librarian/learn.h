/* learn.h - what a verified case teaches, as a page that a person can read, correct and accept.
 *
 * Pure. Only what the case's own rows say: what it looked like, what was done, what proved it. */
#pragma once
#include "wire/json/json.h"

struct learn_case {
	const char *case_id, *title, *summary, *finding; /* any but the first two may be NULL */
	const json_t *evidence, *plan, *checks;          /* arrays, an object, an array; or NULL */
	const char *timeline;                            /* "event by actor; ..." */
};
char *learn_page(const struct learn_case *c); /* Markdown; yours */
