/* golden.h - incidents whose right answer is known: what a model has to pass before it may take a duty.
 *
 * Pure data, in golden.c. */
#pragma once
#include "wire/json/json.h"

enum golden_kind {
	GOLDEN_PLAIN,
	GOLDEN_HEALTHY,
	GOLDEN_HERRING,
	GOLDEN_MISSING,
	GOLDEN_INJECTED,
	GOLDEN_KINDS
};
extern const char *const golden_kind_names[GOLDEN_KINDS];

#define GOLDEN_ROWS 8

struct golden {
	const char *name;
	enum golden_kind kind;
	const char *title, *summary;
	const char *alarmed; /* what the alarm is about; all else is found from there */
	struct {
		const char *urn, *metric;
		double before, now; /* half an hour before the onset, and since */
	} row[GOLDEN_ROWS];
	const char *calls[4][2]; /* who calls whom */
	const char *log, *change,
		*page;       /* a log line at the alarmed one, a deployment, a page of knowledge */
	const char *culprit; /* NULL: there is none, and saying so is right */
};
extern const struct golden goldens[];
extern const size_t goldens_count;
void golden_hash(char out[HASH_HEX]); /* of the whole set: another set is another certificate */
