#include "analyst/detect.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"

#define WEEK_S       604800.0
#define WEEKS_KEPT   8 /* older peaks are forgotten */
#define FAST         0.15
#define SLOW         0.003
#define OVER_AFTER   24  /* samples without a larger one end a peak */
#define PEAK_CAP     4.0 /* times the largest: one monster does not blind for weeks */
#define PRIOR_ALPHA  4.0
#define PRIOR_WEIGHT 4.0
#define FLOOR_SHARE  0.02 /* of the range held so far: less than that is never odd */
#define HOUR_FORGET  0.1  /* a day's narrower hour draws the learned one in by so much */
#define DAYS_ENOUGH  6    /* of a kind: three weekends */
#define RANGE_FORGET 2e-5 /* a sample: half in about 35,000 */
#define FLAT_FLOOR   30   /* samples */
#define WARM_UP      100  /* samples before anything is called odd */
#define CALIBRATION  2.0  /* measured: see docs/analyst.md */

static const char *const look_names[DETECT_LOOKS] = {
	"jump", "season", "sustained", "level", "range", "flat"
};

const char *detect_look_name(enum detect_look look)
{
	return (unsigned)look < DETECT_LOOKS ? look_names[look] : "unknown";
}

void detector_init(struct detector *d)
{
	memset(d, 0, sizeof(*d));
	d->version = DETECT_VERSION;
}

/* ---- the tail of one look ---- */

static void tail_drop_old(struct detect_tail *t, unsigned week)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < t->count; i++) {
		if ((uint8_t)(week - t->week[i]) > WEEKS_KEPT)
			continue;
		t->peak[kept] = t->peak[i];
		t->week[kept++] = t->week[i];
	}
	t->count = (uint8_t)kept;
}

static void tail_put(struct detect_tail *t, float x, unsigned week)
{
	unsigned i;

	if (t->count > 3 && x > PEAK_CAP * t->peak[0])
		x = (float)PEAK_CAP * t->peak[0];
	if (t->count == DETECT_PEAKS) {
		if (x <= t->peak[DETECT_PEAKS - 1])
			return;
	} else {
		t->count++;
	}
	for (i = t->count - 1u; i > 0 && t->peak[i - 1] < x; i--) {
		t->peak[i] = t->peak[i - 1];
		t->week[i] = t->week[i - 1];
	}
	t->peak[i] = x;
	t->week[i] = (uint8_t)week;
}

/* How many peaks as large as x there should have been in the time looked back on. */
static double tail_expected(const struct detect_tail *t, double x, double floor)
{
	double base, sum = 0, inverse_alpha;

	if (!(x > floor))
		return INFINITY;
	if (t->count == 0)
		return pow(x / floor, -PRIOR_ALPHA);
	base = fmax(t->peak[t->count - 1], floor);
	if (x <= base)
		return t->count + 1.0;
	for (unsigned i = 0; i + 1u < t->count; i++)
		sum += t->peak[i] > base ? log(t->peak[i] / base) : 0;
	inverse_alpha = (sum + PRIOR_WEIGHT / PRIOR_ALPHA) / (t->count - 1 + PRIOR_WEIGHT);
	return t->count * pow(x / base, -1 / inverse_alpha);
}

static void tail_see(struct detect_tail *t, float x, double floor, unsigned week)
{
	if (x > t->open) {
		t->open = x;
		t->since = 0;
	} else if (++t->since > OVER_AFTER) {
		if (t->open > floor)
			tail_put(t, t->open, week);
		t->open = x;
		t->since = 0;
	}
}

/* ---- hours of the day ---- */

static unsigned hour_of(int64_t t)
{
	int64_t h = (t >= 0 ? t : t - 3599) / 3600;

	return (unsigned)(((h % 24) + 24) % 24);
}

static bool weekend_at(int64_t t)
{
	int64_t day = ((t >= 0 ? t : t - 86399) / 86400 + 4) % 7; /* 1970-01-01 was a Thursday; 0 is Sunday */

	day = (day + 7) % 7;
	return day == 0 || day == 6;
}

static void hours_learn(struct detect_hours *h, unsigned hour, float lo, float hi)
{
	if (!(h->seen & (1u << hour))) {
		h->lo[hour] = lo;
		h->hi[hour] = hi;
		h->seen |= 1u << hour;
		return;
	}
	h->lo[hour] = lo < h->lo[hour] ? lo : h->lo[hour] + (lo - h->lo[hour]) * (float)HOUR_FORGET;
	h->hi[hour] = hi > h->hi[hour] ? hi : h->hi[hour] + (hi - h->hi[hour]) * (float)HOUR_FORGET;
}

static void widen(const struct detect_hours *h, unsigned hour, float *lo, float *hi)
{
	if (h->lo[hour] < *lo)
		*lo = h->lo[hour];
	if (h->hi[hour] > *hi)
		*hi = h->hi[hour];
}

/* The hour and its neighbours, of this kind of day alone once it has been seen on days enough; the whole range
 * while an hour is not known. */
static void envelope(const struct detector *d, unsigned hour, bool weekend, float *ret_lo, float *ret_hi)
{
	const struct detect_hours *own = &d->hours[weekend], *other = &d->hours[!weekend];
	bool known = true, alone = own->days >= DAYS_ENOUGH;

	*ret_lo = INFINITY;
	*ret_hi = -INFINITY;
	for (unsigned i = 23; i <= 25; i++) {
		unsigned h = (hour + i) % 24;
		bool in_own = own->seen & (1u << h), in_other = other->seen & (1u << h);

		if (in_own)
			widen(own, h, ret_lo, ret_hi);
		if (in_other && !(in_own && alone))
			widen(other, h, ret_lo, ret_hi);
		known = known && (in_own || in_other);
	}
	if (!known) {
		*ret_lo = d->lo;
		*ret_hi = d->hi;
	}
}

static float outside(float x, float lo, float hi)
{
	return x > hi ? x - hi : x < lo ? lo - x : 0;
}

/* ---- one sample ---- */

static void begin(struct detector *d, int64_t t, float x)
{
	d->first_s = t;
	d->fast = d->slow = d->lo = d->hi = d->hour_lo = d->hour_hi = x;
	d->before[0] = d->before[1] = d->before[2] = x;
	d->hour = (uint8_t)hour_of(t);
	d->weekend = weekend_at(t);
}

static void learn(struct detector *d, int64_t t, float x)
{
	unsigned hour = hour_of(t);

	d->slow += (x - d->slow) * (float)SLOW;
	d->lo += (d->slow - d->lo) * (float)RANGE_FORGET;
	d->hi += (d->slow - d->hi) * (float)RANGE_FORGET;
	d->lo = fminf(d->lo, x);
	d->hi = fmaxf(d->hi, x);
	if (hour != d->hour) {
		hours_learn(&d->hours[d->weekend], d->hour, d->hour_lo, d->hour_hi);
		if (hour < d->hour && d->hours[d->weekend].days < UINT8_MAX)
			d->hours[d->weekend].days++;
		d->hour = (uint8_t)hour;
		d->weekend = weekend_at(t);
		d->hour_lo = d->hour_hi = x;
	}
	d->hour_lo = fminf(d->hour_lo, x);
	d->hour_hi = fmaxf(d->hour_hi, x);
	d->flat = x == d->before[0] ? d->flat + 1 : 0;
	if (!d->flat && d->samples)
		d->moved = 1;
	d->before[2] = d->before[1];
	d->before[1] = d->before[0];
	d->before[0] = x;
	d->block_sum += x;
	if (++d->block_count == DETECT_BLOCK) {
		d->block[d->block_at] = d->block_sum / DETECT_BLOCK;
		d->block_at = (uint16_t)((d->block_at + 1) % DETECT_BLOCKS);
		if (d->blocks < DETECT_BLOCKS)
			d->blocks++;
		d->block_sum = 0;
		d->block_count = 0;
	}
}

static void learn_step(struct detector *d, int64_t t)
{
	float gap = (float)(t - d->last_s);

	if (d->samples == 1)
		d->step_s = gap;
	else if (gap > d->longest_gap_s && gap > 2 * d->step_s)
		d->longest_gap_s = gap;
	/* A streaming median: a late sample hardly moves it. */
	d->step_s += gap > d->step_s ? d->step_s * 0.02f : gap < d->step_s ? -d->step_s * 0.02f : 0;
	if (fabsf(gap - d->step_s) < 0.02f * gap)
		d->step_s = gap;
}

void detector_step(struct detector *d, int64_t t, double value, double limit, struct detect_result *ret)
{
	double floor, weeks, together = 0, oddest = INFINITY;
	float seen[DETECT_LOOKS], median, x = (float)value;
	unsigned week;

	*ret = (struct detect_result){ .false_alarms = INFINITY };
	if (!isfinite(x) || (d->samples && t <= d->last_s))
		return;
	if (!d->samples)
		begin(d, t, x);
	else
		learn_step(d, t);
	d->last_s = t;

	envelope(d, hour_of(t), weekend_at(t), &ret->lo, &ret->hi);
	median = fmaxf(fminf(d->before[0], d->before[1]),
		       fminf(fmaxf(d->before[0], d->before[1]), d->before[2]));
	ret->level = d->slow;
	d->fast += (x - d->fast) * (float)FAST;
	seen[DETECT_JUMP] = fabsf(x - median);
	seen[DETECT_SEASON] = outside(x, ret->lo, ret->hi);
	seen[DETECT_SUSTAINED] = outside(d->fast, ret->lo, ret->hi);
	seen[DETECT_LEVEL] = fabsf(d->fast - d->slow);
	seen[DETECT_RANGE] = outside(x, d->lo, d->hi);
	seen[DETECT_FLAT] = d->moved && x == d->before[0] ? (float)d->flat + 1 : 0;

	floor = fmax(FLOOR_SHARE * (d->hi - d->lo), 1e-3 * fabs(d->slow) + 1e-9);
	weeks = fmin(fmax((double)(t - d->first_s) / WEEK_S, 1e-6), WEEKS_KEPT);
	week = (unsigned)((double)(t - d->first_s) / WEEK_S);
	for (unsigned i = 0; i < DETECT_LOOKS; i++) {
		double least = i == DETECT_FLAT ? FLAT_FLOOR : floor, rate;

		tail_drop_old(&d->tail[i], week);
		rate = tail_expected(&d->tail[i], seen[i], least) / weeks;
		if (rate < oddest) {
			oddest = rate;
			ret->look = (enum detect_look)i;
		}
		together += 1 / rate;
		tail_see(&d->tail[i], seen[i], least, week);
	}
	learn(d, t, x);
	d->samples++;
	if (d->quiet)
		d->quiet--;
	if (d->samples <= WARM_UP || together <= 0)
		return;
	ret->false_alarms = CALIBRATION / together;
	ret->odd = ret->false_alarms < limit;
	ret->alarm = ret->odd && !d->quiet;
	if (ret->alarm)
		d->quiet = DETECT_QUIET;
}

bool detector_gap(const struct detector *d, int64_t now_s)
{
	float gap = (float)(now_s - d->last_s);

	return d->samples > WARM_UP && gap > 5 * d->step_s && gap > 3 * d->longest_gap_s;
}

bool detector_hour_before(const struct detector *d, float *ret_lo, float *ret_hi)
{
	*ret_lo = INFINITY;
	*ret_hi = -INFINITY;
	/* An hour is learned when it is over: what is known of the present one is of other days. */
	for (size_t i = 0; i < 2; i++)
		if (d->hours[i].seen & (1u << d->hour))
			widen(&d->hours[i], d->hour, ret_lo, ret_hi);
	return *ret_lo <= *ret_hi;
}

/* ---- trends ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

bool detector_forecast(const struct detector *d, double limit, struct detect_forecast *ret)
{
	double slope[DETECT_BLOCKS * (DETECT_BLOCKS - 1) / 2], at[DETECT_BLOCKS], block_s, rest, spread;
	size_t n = 0, same = 0;

	*ret = (struct detect_forecast){ .reaches_in_s = -1 };
	if (d->blocks < DETECT_BLOCKS / 2 || !(d->step_s > 0))
		return false;
	block_s = (double)d->step_s * DETECT_BLOCK;
	for (unsigned i = 0; i < d->blocks; i++)
		at[i] = d->block[(d->block_at + DETECT_BLOCKS - d->blocks + i) % DETECT_BLOCKS];
	for (unsigned i = 0; i < d->blocks; i++)
		for (unsigned k = i + 1; k < d->blocks; k++)
			slope[n++] = (at[k] - at[i]) / ((k - i) * block_s);
	qsort(slope, n, sizeof(slope[0]), by_value);
	ret->slope_per_s = slope[n / 2];
	for (size_t i = 0; i < n; i++)
		same += ret->slope_per_s > 0 ? slope[i] > 0 : slope[i] < 0;
	ret->sure = (double)same / (double)n;
	/* The line goes through the median of what is left when the slope is taken out. */
	for (unsigned i = 0; i < d->blocks; i++)
		at[i] -= ret->slope_per_s * block_s * i;
	qsort(at, d->blocks, sizeof(at[0]), by_value);
	rest = at[d->blocks / 2];
	spread = at[d->blocks * 3 / 4] - at[d->blocks / 4];
	ret->now = rest + ret->slope_per_s * block_s * (d->blocks - 1);
	/* Worth the name: nearly all pairs agree, and it moved further than it scatters. */
	if (ret->sure < 0.9 || fabs(ret->slope_per_s) * block_s * (d->blocks - 1) < 2 * spread)
		return false;
	if ((limit - ret->now) * ret->slope_per_s > 0)
		ret->reaches_in_s = (limit - ret->now) / ret->slope_per_s;
	return true;
}
