#include "analyst/saturation.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "store/detector.h"
#include "store/signal.h"

#define AGREE       2 /* forecasts in a row */
#define TOLD        0x80
#define DAYS_DIFFER 0.1 /* of the range held */

double saturation_limit(const char *metric)
{
	static const struct {
		const char *glob;
		double limit;
	} shares[] = {
		{ "*utilization",   1   },
                { "*used_ratio",    1   },
                { "*usage_ratio",   1   },
		{ "*saturation",    1   },
                { "*used_percent",  100 },
                { "*usage_percent", 100 },
		{ "*usage_pct",     100 },
                { "*used_pct",      100 },
	};

	for (size_t i = 0; i < ARRAY_LEN(shares); i++)
		if (str_glob(shares[i].glob, metric))
			return shares[i].limit;
	return 0;
}

static bool soon(const struct kept *k, double limit, struct detect_forecast *ret)
{
	double seen_s = (double)k->d.blocks * DETECT_BLOCK * (double)k->d.step_s;
	float lo, hi;

	if (!detector_forecast(&k->d, limit, ret) || ret->reaches_in_s < 0 || ret->reaches_in_s > seen_s / 2)
		return false;
	/* Once the hour is known, the day's own rise is no news; days differ a little. */
	return !detector_hour_before(&k->d, &lo, &hi) || ret->now > hi + DAYS_DIFFER * (k->d.hi - k->d.lo);
}

enum saturation saturation_step(struct kept *k, double limit, struct detect_forecast *ret)
{
	bool told = k->filling & TOLD, near = soon(k, limit, ret);
	unsigned agree = k->filling & ~TOLD & 0xffu;
	enum saturation what = SATURATION_SAME;

	if (near && agree < AGREE)
		agree++;
	else if (!near && agree)
		agree--;
	if (near && told)
		what = SATURATION_GOES_ON;
	else if (near && agree == AGREE)
		what = SATURATION_BEGINS;
	else if (told && !agree)
		what = SATURATION_ENDS;
	if (what != SATURATION_SAME)
		told = what != SATURATION_ENDS;
	k->filling = (uint8_t)((told ? TOLD : 0) | agree);
	return what;
}

enum oc_err saturation_tell(const struct watched *s, struct pg *pg, const struct pg_result *r, unsigned row,
			    enum saturation what, double limit, const struct detect_forecast *f,
			    struct oc_fail *reterr)
{
	const char *urn = pg_text(r, row, BK_URN), *metric = pg_text(r, row, BK_METRIC);
	AUTO(str) char *title = NULL, *note = NULL;
	AUTO(json) json_t *labels = NULL, *evidence = NULL, *links = NULL;
	char print[64], at[32];

	snprintf(print, sizeof(print), "filling:%016llx", (unsigned long long)s->series_id);
	if (what == SATURATION_ENDS)
		return signal_clear(pg, s->tenant_id, print, pg_int(r, row, BK_US), NULL, reterr);
	title = mem_printf("%s of %s reaches %g in about %.0f minutes", metric, urn, limit,
			   f->reaches_in_s / 60);
	note = mem_printf("it is at %.4g and grows by %.3g an hour; %.0f %% of all pairs of averages agree",
			  f->now, f->slope_per_s * 3600, f->sure * 100);
	clock_format(pg_int(r, row, BK_US), at, sizeof(at));
	labels = json_pack("{s:s, s:s, s:s}", "resource", urn, "metric", metric, "look", "saturation");
	evidence = json_pack("[{s:s, s:s, s:s}]", "kind", "metric", "resource", urn, "metric", metric);
	links = json_pack("[{s:s, s:{s:s, s:{s:s, s:I, s:s, s:s}}, s:s}]", "dim", "metric", "ref_pg", "table",
			  "metric_1m", "keys", "bucket", at, "series_id", (json_int_t)s->series_id,
			  "resource", urn, "metric", metric, "note", note);
	return signal_raise(pg, s->tenant_id,
			    &(struct signal_new){ .fingerprint = print,
						  .source = "analyst",
						  .kind = "anomaly",
						  .title = title,
						  .summary = note,
						  .resource = urn,
						  .severity = "WARN",
						  .labels = labels,
						  .evidence = evidence,
						  .links = links,
						  .confidence = .8 * f->sure,
						  .at_us = pg_int(r, row, BK_US),
						  .debounce_s = 0 },
			    NULL, reterr);
}
