/* err.h - errors sorted by what the caller does next, not by where they came from.
 *
 * Functions that can fail return enum oc_err and fill a caller-owned struct oc_fail with a sentence
 * and, where there is one, the field at fault (JSON pointer or parameter name). reterr may be NULL. */
#pragma once
#include "base/cleanup.h"

enum oc_err {
#define ERR(id, http, exitcode, title, advice) id,
#include "base/err.def"
#undef ERR
	OC_ERR_COUNT
};

struct oc_fail {
	enum oc_err err;
	char field[160];
	char text[1024];
};

/* Fills reterr and returns err, so that `return oc_fail(...)` reads well. */
enum oc_err oc_fail(struct oc_fail *reterr, enum oc_err err, const char *fmt, ...) PRINTF_LIKE(3, 4);
enum oc_err oc_fail_field(struct oc_fail *reterr, enum oc_err err, const char *field, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
int oc_err_http(enum oc_err err);
int oc_err_exit(enum oc_err err);
const char *oc_err_name(enum oc_err err); /* "OC_STALE" */
const char *oc_err_title(enum oc_err err);
const char *oc_err_advice(enum oc_err err);
