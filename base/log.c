#include "base/log.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static _Atomic int threshold = -1;

enum log_level log_level_parse(const char *text)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };

	for (size_t i = 0; text && i < ARRAY_LEN(names); i++)
		if (strcmp(text, names[i]) == 0)
			return (enum log_level)i;
	return LOG_INFO;
}

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

void log_line(enum log_level level, const char *room, const char *fmt, ...)
{
	static const char letters[] = "DIWE";
	char line[2048];
	struct timespec ts;
	struct tm tm;
	va_list ap;
	int at = atomic_load(&threshold), n, m;

	if (at < 0) {
		at = (int)log_level_parse(getenv("OPSCASE_LOG"));
		atomic_store(&threshold, at);
	}
	if ((int)level < at)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = snprintf(line, sizeof(line), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %c %s: ", tm.tm_year + 1900,
		     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000000,
		     letters[level], room);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	n += m < (int)sizeof(line) - n - 1 ? m : (int)sizeof(line) - n - 2;
	/* One fact, one line: what came from outside may not forge a second one. */
	for (int i = 0; i < n; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)n);
}
