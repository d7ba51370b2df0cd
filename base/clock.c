#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t clock_read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}
int64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}
int64_t clock_wall_us(void)
{
	return clock_read_us(CLOCK_REALTIME);
}

void clock_format(int64_t wall_us, char *out, size_t size)
{
	int64_t us = wall_us % 1000000;
	time_t s = (time_t)(wall_us / 1000000);
	struct tm tm;

	if (us < 0) {
		us += 1000000;
		s--;
	}
	gmtime_r(&s, &tm);
	snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)us);
}

int clock_parse(const char *text, int64_t *ret_wall_us)
{
	int y, mo, d, h, mi, s, n = 0, oh = 0, om = 0;
	int64_t us = 0, scale = 100000;
	struct tm tm = { 0 };
	char sep;

	if (!text || sscanf(text, "%4d-%2d-%2d%c%2d:%2d:%2d%n", &y, &mo, &d, &sep, &h, &mi, &s, &n) != 7 ||
	    (sep != 'T' && sep != ' ' && sep != 't'))
		return -1;
	if (mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || s > 60 || h < 0 || mi < 0 || s < 0)
		return -1;
	text += n;
	if (*text == '.')
		for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
			us += (*text - '0') * scale;
	tm = (struct tm){
		.tm_year = y - 1900, .tm_mon = mo - 1, .tm_mday = d, .tm_hour = h, .tm_min = mi, .tm_sec = s
	};
	*ret_wall_us = (int64_t)timegm(&tm) * 1000000 + us;
	if (*text == 'Z' || *text == 'z')
		return text[1] ? -1 : 0;
	if (*text == '+' || *text == '-') {
		int sign = *text == '-' ? 1 : -1;

		n = 0;
		if (sscanf(text + 1, "%2d:%2d%n", &oh, &om, &n) != 2 &&
		    sscanf(text + 1, "%2d%n", &oh, &n) != 1)
			return -1;
		if (text[1 + n])
			return -1;
		*ret_wall_us += (int64_t)sign * (oh * 3600 + om * 60) * 1000000;
		return 0;
	}
	return -1;
}
