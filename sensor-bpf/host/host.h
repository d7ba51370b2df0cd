/* host.h - what the probes share: settings, series, names, spans, and their own places.
 *
 * One thread runs everything here; only sending has one of its own (sender.h). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/settings.h"
#include "sensor-bpf/host/budget.h"
#include "sensor-bpf/host/names.h"
#include "sensor-bpf/host/series.h"
#include "sensor-bpf/host/spans.h"

enum probe_state { PROBE_OFF, PROBE_LOADED, PROBE_DEGRADED, PROBE_REFUSED };

/* What doctor prints of a probe. */
struct probe_report {
	enum probe_state state;
	char why[400];
};

struct host;

struct probe {
	const char *name; /* its word in sensor.probes */
	const char *sees, *hooks;
	/* Loads and attaches what it can. Says how that went; never ends the program. */
	void (*load)(struct host *h, struct probe_report *r);
	/* Every few milliseconds: takes what the kernel has put down. Returns how many records that were. */
	unsigned (*drain)(struct host *h);
	/* Before each export. May be NULL. */
	void (*tick)(struct host *h, int64_t now_ns);
	/* Records that the kernel could not hand over, since the start. May be NULL. */
	uint64_t (*lost)(struct host *h);
	void (*unload)(struct host *h);
};

enum probe_id {
	PROBE_TCP_ID,
	PROBE_CALLS_ID,
	PROBE_TLS_ID,
	PROBE_PROCESS_ID,
	PROBE_BLOCK_ID,
	PROBE_RUNQ_ID,
	PROBE_GROWTH_ID,
	PROBE_COUNT
};
extern const struct probe probe_tcp, probe_calls, probe_tls, probe_process, probe_block, probe_runq,
	probe_growth;
const struct probe *probe_by_id(enum probe_id id);

struct host {
	const struct settings *settings;
	const char *proc; /* "/proc" */
	struct series_set *series;
	struct names *names;
	struct spans *spans;
	struct budget budget;
	struct probe_report report[PROBE_COUNT];
	void *own[PROBE_COUNT]; /* each probe's state */
	uint64_t told_lost[PROBE_COUNT];
	bool no_bpf; /* the kernel takes no program of ours: /proc and sock_diag stand in */
	char no_bpf_why[300];
};

/* Series of a service: shorthands that build the attributes. Pairs of name and value, ended by NULL. */
struct series *host_series(struct host *h, enum series_kind kind, const char *service, const char *metric,
			   const char *unit, ...) __attribute__((sentinel));
/* A process is gone or is another program now: probes that know it by number forget it. */
void host_forget_process(struct host *h, unsigned tgid);
int64_t host_mono_ns(void);
/* What the kernel's clock says as time since 1970. */
int64_t host_wall_ns(int64_t mono_ns);
/* Fills the report from errno-like results of libbpf. */
void probe_refused(struct probe_report *r, const char *what, int error);
void probe_degraded(struct probe_report *r, const char *what, int error);
