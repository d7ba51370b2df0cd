/* saturation.h - a share of something that is on its way to being full.
 *
 * Looked at once per block of DETECT_BLOCK samples, for metrics whose name says that they are a share (`*.utilization` and the like
 * to 1, `*_percent` to 100): two forecasts in a row (detect.h) that reach the limit within half of the time that the trend
 * was seen for. A rise that does not go above what its hour of the day has held is the day's, and none. */
#pragma once
#include "analyst/watched.h"
#include "store/detector.h"

/* 0: the name is not one of a share. */
double saturation_limit(const char *metric);

enum saturation { SATURATION_SAME, SATURATION_BEGINS, SATURATION_GOES_ON, SATURATION_ENDS };
/* After detector_step() of a sample that ended a block (block_count is 0). Pure; SAME: nothing to be said. */
enum saturation saturation_step(struct kept *k, double limit, struct detect_forecast *ret);

/* Raises what BEGINS or GOES_ON, ends what ENDS. */
MUST_CHECK enum oc_err saturation_tell(const struct watched *s, struct pg *pg, const struct pg_result *r,
				       unsigned row, enum saturation what, double limit,
				       const struct detect_forecast *f, struct oc_fail *reterr);
