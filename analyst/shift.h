/* shift.h - how far has a series moved since a moment, measured so that a few odd samples on either side do not decide. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct shift {
	bool known; /* three samples before and one after */
	double median,
		scatter; /* before; without the last quarter of it, which may already belong to after */
	double scale;    /* the scatter, a twentieth of the median at least */
	double mean;     /* after */
	double strength; /* ln(1 + |mean - median| / scale), times the share of earlier samples that were closer */
	double rare; /* share of the earlier samples that were as far from the median as the later mean */
	double chance_high[2],
		chance_low[2]; /* that a fifth, [1] a quarter and two at least, of the later samples
						 are as high, or low, as they are by chance */
	double since;          /* time of the first sample more than half-way from median to mean */
};

/* Memory used again from one series to the next; {0} to begin with. */
struct shift_room {
	double *before, *after, *away;
	size_t cap;
};

void shift_measure(struct shift_room *room, const double *time, const double *value, size_t count,
		   double onset, struct shift *ret);
void shift_room_done(struct shift_room *room);
