/* detail.h - what a step printed, kept as a file of the detail store with an oo_locator row. */
#pragma once
#include "base/err.h"

/* Writes DIR/<tenant>/exec/<run>/<seq>-<attempt>.json whole or not at all; ret_key is relative to dir. */
MUST_CHECK enum oc_err detail_write(const char *dir, const char *tenant, const char *run_id, int seq,
				    int attempt, const char *text, char **ret_key, struct oc_fail *reterr);
