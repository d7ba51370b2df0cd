#include "analyst/shift.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

#define LEAST_SHARE 0.05  /* of the median: a smaller scatter is measuring noise */
#define MOST        100.0 /* times its scatter: further nothing moves, also what was one value all along */
#define GUARD       4     /* the last quarter before the onset is left out, from this many samples on: */
#define GUARD_FROM  12

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double q)
{
	double at = (double)(n - 1) * q;
	size_t i = (size_t)at;

	return i + 1 < n ? sorted[i] + (sorted[i + 1] - sorted[i]) * (at - (double)i) : sorted[n - 1];
}

/* The share of the sorted that is at least x. */
static double share_from(const double *sorted, size_t n, double x)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (sorted[mid] < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (double)(n - lo) / (double)n;
}

/* That k of m are as far out as `share` of the n samples before: the Chernoff bound. */
static double chance(size_t k, size_t m, double share, size_t n)
{
	double p = (share * (double)n + 1) / ((double)n + 1), q = (double)k / (double)m;

	if (q <= p)
		return 1;
	return exp(-(double)m * (q * log(q / p) + (q < 1 ? (1 - q) * log((1 - q) / (1 - p)) : 0)));
}

static void find_since(const double *time, const double *value, size_t from, size_t count, struct shift *ret)
{
	double half = (ret->mean - ret->median) / 2;

	ret->since = count > from ? time[from] : 0;
	for (size_t i = from; i < count; i++) {
		double d = value[i] - ret->median;

		if (half >= 0 ? d > half : d < half) {
			ret->since = time[i];
			return;
		}
	}
}

void shift_measure(struct shift_room *room, const double *time, const double *value, size_t count,
		   double onset, struct shift *ret)
{
	size_t n = 0, used, later = 0, trusted = 0;
	double sum = 0, away;

	memset(ret, 0, sizeof(*ret));
	if (count > room->cap) {
		room->cap = count * 2;
		room->before = mem_grow(room->before, room->cap, sizeof(*room->before));
		room->after = mem_grow(room->after, room->cap, sizeof(*room->after));
		room->away = mem_grow(room->away, room->cap, sizeof(*room->away));
	}
	for (size_t i = 0; i < count; i++) {
		if (!isfinite(value[i]))
			continue;
		if (time[i] < onset) {
			room->before[n++] = value[i];
		} else {
			sum += value[i];
			room->after[later++] = value[i];
		}
	}
	used = n >= GUARD_FROM ? n - n / GUARD : n;
	if (used < 3 || !later)
		return;
	for (size_t i = 0; trusted < used && i < count; i++) {
		trusted += isfinite(value[i]);
		ret->since = (double)i;
	}
	trusted = (size_t)ret->since + 1;
	qsort(room->before, used, sizeof(*room->before), by_number);
	ret->known = true;
	ret->median = quantile(room->before, used, .5);
	ret->mean = sum / (double)later;
	for (size_t i = 0; i < used; i++)
		room->away[i] = fabs(room->before[i] - ret->median);
	qsort(room->away, used, sizeof(*room->away), by_number);
	ret->scatter = fmax(quantile(room->before, used, .75) - quantile(room->before, used, .25),
			    quantile(room->away, used, .8));
	ret->scale = fmax(ret->scatter, LEAST_SHARE * fabs(ret->median));
	away = fabs(ret->mean - ret->median);
	ret->scale += away > 0 ? away / MOST : 1;
	ret->rare = share_from(room->away, used, away);
	ret->strength = log1p(away / ret->scale) * (1 - ret->rare);
	qsort(room->after, later, sizeof(*room->after), by_number);
	for (size_t i = 0; i < 2; i++) {
		size_t k = i ? (later + 3) / 4 : (later + 4) / 5;

		k = k < i + 1 ? i + 1 : k;
		k = k > later ? later : k;
		ret->chance_high[i] =
			chance(k, later, share_from(room->before, used, room->after[later - k]), used);
		ret->chance_low[i] =
			chance(k, later,
			       1 - share_from(room->before, used, nextafter(room->after[k - 1], INFINITY)),
			       used);
	}
	find_since(time, value, trusted, count, ret);
}

void shift_room_done(struct shift_room *room)
{
	free(room->before);
	free(room->after);
	free(room->away);
	memset(room, 0, sizeof(*room));
}
