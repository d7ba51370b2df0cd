/* caps.h - what the sensor may do after it has loaded everything. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

/* One row: capability, and what it is kept for. Doctor prints these. */
struct cap_row {
	const char *name, *why;
};
extern const struct cap_row caps_kept[];
extern const size_t caps_kept_count;

/* Gives up everything but the capabilities of the table, for good, no_new_privs included. Those that we never had are
 * no failure. */
MUST_CHECK enum oc_err caps_drop(struct oc_fail *reterr);
/* "cap_bpf cap_perfmon ..." of this process now. */
void caps_now(char *out, size_t size);
