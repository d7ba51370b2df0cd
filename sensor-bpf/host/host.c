#define LOG_ROOM "sensor"
#include "sensor-bpf/host/host.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct probe *const probes[PROBE_COUNT] = {
	[PROBE_TCP_ID] = &probe_tcp,         [PROBE_CALLS_ID] = &probe_calls, [PROBE_TLS_ID] = &probe_tls,
	[PROBE_PROCESS_ID] = &probe_process, [PROBE_BLOCK_ID] = &probe_block, [PROBE_RUNQ_ID] = &probe_runq,
	[PROBE_GROWTH_ID] = &probe_growth,
};

const struct probe *probe_by_id(enum probe_id id)
{
	return probes[id];
}

struct series *host_series(struct host *h, enum series_kind kind, const char *service, const char *metric,
			   const char *unit, ...)
{
	AUTO(text) struct text attrs = { 0 };
	const char *name;
	va_list ap;

	va_start(ap, unit);
	while ((name = va_arg(ap, const char *)))
		attrs_add(&attrs, name, va_arg(ap, const char *));
	va_end(ap);
	return series_get(h->series, kind, service, metric, unit, text_str(&attrs));
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t host_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t host_wall_ns(int64_t mono_ns)
{
	return clock_ns(CLOCK_REALTIME) - (clock_ns(CLOCK_MONOTONIC) - mono_ns);
}

static void say(struct probe_report *r, enum probe_state state, const char *what, int error)
{
	size_t used = strlen(r->why);

	if (error < 0)
		error = -error;
	r->state = state;
	snprintf(r->why + used, sizeof(r->why) - used, "%s%s: %s%s", used ? "; " : "", what, strerror(error),
		 error == EPERM || error == EACCES ? " (needs CAP_BPF and CAP_PERFMON)" : "");
}

void probe_refused(struct probe_report *r, const char *what, int error)
{
	say(r, PROBE_REFUSED, what, error);
}

void probe_degraded(struct probe_report *r, const char *what, int error)
{
	say(r, PROBE_DEGRADED, what, error);
}
