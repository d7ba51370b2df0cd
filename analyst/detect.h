/* detect.h - is this sample of a series out of the ordinary? Pure, causal, streaming; no allocation.
 *
 * Six looks at each sample: its jump (against the median of the last three), how far it lies outside of what its hour of
 * the day has held (workdays and weekends apart, once there were enough of them), the same for a short average, how far the short
 * average is from the long one (change of level), how far it lies outside of everything held so far, and how long
 * the series has not moved (flat line). Each look keeps its own largest twelve peaks of the last weeks and extrapolates their tail
 * (Hill 1975, shrunk towards a prior; peaks over threshold as in Siffer et al., "Anomaly detection in streams with extreme
 * value theory", KDD 2017), so that no look needs a limit set by hand and a series that jumps a lot has to jump more.
 *
 * The score has a unit: how many samples as odd as this one an undisturbed series shows in a week, all looks together. The one setting is
 * how many of these one is ready to look at; see docs/analyst.md for what was measured. Lower is odder.
 * The state is plain bytes of DETECT_STATE_MAX at most: it may be stored and loaded by the same build's DETECT_VERSION. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define DETECT_VERSION              1
#define DETECT_STATE_MAX            1024
#define DETECT_FALSE_ALARMS_DEFAULT 0.6 /* per series and week */
#define DETECT_PEAKS                12
#define DETECT_QUIET                60 /* samples: an alarm within so many of the last one belongs to it */
#define DETECT_BLOCKS               32 /* averages of DETECT_BLOCK samples, for trends */
#define DETECT_BLOCK                15

enum detect_look {
	DETECT_JUMP,
	DETECT_SEASON,
	DETECT_SUSTAINED,
	DETECT_LEVEL,
	DETECT_RANGE,
	DETECT_FLAT,
	DETECT_LOOKS
};

struct detect_tail {
	float peak[DETECT_PEAKS]; /* largest first */
	uint8_t week[DETECT_PEAKS];
	float open; /* the peak that is not over yet */
	uint8_t since, count;
};

/* The lowest and highest of each hour, as learned. */
struct detect_hours {
	float lo[24], hi[24];
	uint32_t seen : 24, days : 8; /* a bit per hour; days of this kind that are over, at most 255 */
};

struct detector {
	uint32_t version, samples;
	int64_t first_s, last_s;
	float before[3], fast, slow, lo, hi, hour_lo, hour_hi, step_s, longest_gap_s;
	struct detect_hours hours[2]; /* workday, weekend */
	struct detect_tail tail[DETECT_LOOKS];
	float block[DETECT_BLOCKS], block_sum;
	uint16_t block_at, blocks;
	uint32_t flat;
	uint16_t quiet;
	uint8_t hour, block_count, moved, weekend;
};
_Static_assert(sizeof(struct detector) < DETECT_STATE_MAX, "a series' state stays under a KiB");

struct detect_result {
	double false_alarms;   /* a week: the score */
	enum detect_look look; /* the one that found it oddest */
	bool alarm;            /* the first sample of an episode */
	bool odd;              /* under the limit, whether first or not */
	float lo, hi;          /* what its hour has held */
	float level;           /* the long average before this sample */
};

void detector_init(struct detector *d);
/* A sample older than the last one, or none (NaN, infinite): nothing is found, nothing changes. limit: false alarms a week. */
void detector_step(struct detector *d, int64_t time_s, double value, double limit, struct detect_result *ret);
/* No sample for at least five steps and three times the longest gap so far. */
bool detector_gap(const struct detector *d, int64_t now_s);
/* What the present hour of the day held on earlier days; false: not known yet. */
bool detector_hour_before(const struct detector *d, float *ret_lo, float *ret_hi);
const char *detect_look_name(enum detect_look look); /* "jump" */

struct detect_forecast {
	double slope_per_s;  /* Theil-Sen over the blocks */
	double now;          /* the line's value at the last block */
	double reaches_in_s; /* the limit; negative: it moves away from it */
	double sure;         /* share of pairs of blocks whose slope has the line's sign, 0.5 to 1 */
};
/* When does the trend of the last 480 samples reach `limit`? False: too few blocks, or no trend worth the name. */
bool detector_forecast(const struct detector *d, double limit, struct detect_forecast *ret);
