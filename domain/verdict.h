/* verdict.h - what a measurement may say. Plain values.
 *
 * Only PASS closes a case and only FAIL says that the plan did not help; the other three say that it
 * was not proven, which is never the same as either. */
#pragma once
#include <stddef.h>

enum verdict {
	VERDICT_PASS,
	VERDICT_FAIL,
	VERDICT_INCONCLUSIVE,      /* measured, but it says nothing: NaN, no baseline to compare with */
	VERDICT_INSUFFICIENT_DATA, /* too few samples */
	VERDICT_SOURCE_ERROR,      /* the source could not be asked */
	VERDICT_COUNT
};

const char *verdict_name(enum verdict v); /* "INSUFFICIENT_DATA" */
const char *verdict_help(enum verdict v);
enum verdict verdict_parse(const char *name);

/* Of several checks: PASS if every one passes, FAIL if any fails, else the worst (the last in the list above).
 * Nothing was checked: INCONCLUSIVE. */
enum verdict verdict_combine(const enum verdict *v, size_t n);
