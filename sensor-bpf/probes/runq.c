/* runq.c - how long runnable threads wait for a CPU. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "sensor-bpf/host/host.h"
#include "sensor-bpf/probes/latency.h"
#include "sensor-bpf/probes/latency_host.h"
#include "runq.skel.h"

struct own {
	struct runq_bpf *skel;
	struct latency *latency;
};

static void load(struct host *h, struct probe_report *r)
{
	struct own *own = h->own[PROBE_RUNQ_ID] = mem_alloc(sizeof(*own));
	int err;

	r->state = PROBE_REFUSED;
	if (h->no_bpf) {
		snprintf(r->why, sizeof(r->why), "%s", h->no_bpf_why);
		return;
	}
	own->skel = runq_bpf__open();
	if (!own->skel) {
		probe_refused(r, "opening", errno);
		return;
	}
	err = runq_bpf__load(own->skel);
	if (!err)
		err = runq_bpf__attach(own->skel);
	if (err) {
		probe_refused(r, "loading", err);
		runq_bpf__destroy(own->skel);
		own->skel = NULL;
		return;
	}
	own->latency = latency_new(bpf_map__fd(own->skel->maps.hists));
	r->state = PROBE_LOADED;
}

static unsigned drain(struct host *h)
{
	(void)h; /* counted in the kernel, read before each export */
	return 0;
}

static void tick(struct host *h, int64_t now_ns)
{
	struct own *own = h->own[PROBE_RUNQ_ID];

	(void)now_ns;
	if (own->latency)
		latency_read(own->latency, h, "cpu.runqueue.duration", RUNQ_EVERY);
}

static void unload(struct host *h)
{
	struct own *own = h->own[PROBE_RUNQ_ID];

	latency_free(own->latency);
	runq_bpf__destroy(own->skel);
	free(own);
}

const struct probe probe_runq = {
	.name = "runq",
	.sees = "how long runnable threads wait for a CPU (one wait in 16 is measured)",
	.hooks = "tp_btf sched_wakeup, sched_wakeup_new, sched_switch",
	.load = load,
	.drain = drain,
	.tick = tick,
	.unload = unload,
};
