/* process.c - starts, ends and out-of-memory kills, per service. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "base/mem.h"
#include "sensor-bpf/host/host.h"
#include "sensor-bpf/probes/process.h"
#include "process.skel.h"

struct own {
	struct process_bpf *skel;
	struct ring_buffer *ring;
};

static void code_text(int code, char *out, size_t size)
{
	if (WIFSIGNALED(code))
		snprintf(out, size, "signal %d", WTERMSIG(code));
	else
		snprintf(out, size, "%d", WEXITSTATUS(code));
}

static int on_record(void *ctx, void *data, size_t size)
{
	struct host *h = ctx;
	const struct process_record *r = data;
	const char *name;
	char code[24];

	if (size < sizeof(*r))
		return 0;
	switch (r->what) {
	case PROCESS_STARTED:
		host_forget_process(h, r->tgid); /* the same process is another program now */
		name = names_of(h->names, r->tgid, r->comm, 0);
		series_add(host_series(h, SERIES_SUM, name, "process.starts", "{process}", NULL), 1);
		break;
	case PROCESS_ENDED:
		code_text(r->code, code, sizeof(code));
		name = names_of(h->names, r->tgid, r->comm, 0);
		series_add(host_series(h, SERIES_SUM, name, "process.ends", "{process}", "code", code, NULL),
			   1);
		series_observe(host_series(h, SERIES_HISTOGRAM, name, "process.duration", "s", NULL),
			       (double)r->lived_ns * 1e-9, 1);
		host_forget_process(h, r->tgid);
		break;
	case PROCESS_OOM:
		name = names_of(h->names, r->tgid, NULL, 0);
		series_add(host_series(h, SERIES_SUM, name, "process.oom_kills", "{process}", NULL), 1);
		break;
	default:
		break;
	}
	return 0;
}

static void load(struct host *h, struct probe_report *r)
{
	struct own *own = h->own[PROBE_PROCESS_ID] = mem_alloc(sizeof(*own));
	int err;

	r->state = PROBE_REFUSED;
	if (h->no_bpf) {
		snprintf(r->why, sizeof(r->why), "%s", h->no_bpf_why);
		return;
	}
	own->skel = process_bpf__open();
	if (!own->skel) {
		probe_refused(r, "opening", errno);
		return;
	}
	err = process_bpf__load(own->skel);
	if (err) {
		probe_refused(r, "loading", err);
		process_bpf__destroy(own->skel);
		own->skel = NULL;
		return;
	}
	own->ring = ring_buffer__new(bpf_map__fd(own->skel->maps.process_ring), on_record, h, NULL);
	if (!own->ring) {
		probe_refused(r, "ring buffer", errno);
		return;
	}
	r->state = PROBE_LOADED;
	own->skel->links.process_exec = bpf_program__attach(own->skel->progs.process_exec);
	if (!own->skel->links.process_exec)
		probe_degraded(r, "tp_btf/sched_process_exec (starts)", errno);
	own->skel->links.process_exit = bpf_program__attach(own->skel->progs.process_exit);
	if (!own->skel->links.process_exit)
		probe_degraded(r, "tp_btf/sched_process_exit (ends)", errno);
	own->skel->links.process_oom = bpf_program__attach(own->skel->progs.process_oom);
	if (!own->skel->links.process_oom)
		probe_degraded(r, "tracepoint/oom/mark_victim (needs tracefs at /sys/kernel/tracing)", errno);
}

static unsigned drain(struct host *h)
{
	struct own *own = h->own[PROBE_PROCESS_ID];
	int n = own->ring ? ring_buffer__consume(own->ring) : 0;

	return n > 0 ? (unsigned)n : 0;
}

static uint64_t lost(struct host *h)
{
	struct own *own = h->own[PROBE_PROCESS_ID];

	return own->skel ? own->skel->bss->process_lost : 0;
}

static void unload(struct host *h)
{
	struct own *own = h->own[PROBE_PROCESS_ID];

	ring_buffer__free(own->ring);
	process_bpf__destroy(own->skel);
	free(own);
}

const struct probe probe_process = {
	.name = "process",
	.sees = "processes that start and end, how they ended, and out-of-memory kills",
	.hooks = "tp_btf sched_process_exec, sched_process_exit; tracepoint oom/mark_victim",
	.load = load,
	.drain = drain,
	.lost = lost,
	.unload = unload,
};
