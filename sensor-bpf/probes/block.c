/* block.c - latency of block devices, from histograms in the kernel. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "sensor-bpf/host/host.h"
#include "sensor-bpf/probes/latency_host.h"
#include "block.skel.h"

struct own {
	struct block_bpf *skel;
	struct latency *latency;
};

static void load(struct host *h, struct probe_report *r)
{
	struct own *own = h->own[PROBE_BLOCK_ID] = mem_alloc(sizeof(*own));
	int err;

	r->state = PROBE_REFUSED;
	if (h->no_bpf) {
		snprintf(r->why, sizeof(r->why), "%s", h->no_bpf_why);
		return;
	}
	own->skel = block_bpf__open();
	if (!own->skel) {
		probe_refused(r, "opening", errno);
		return;
	}
	err = block_bpf__load(own->skel);
	if (!err)
		err = block_bpf__attach(own->skel);
	if (err) {
		probe_refused(r, "loading", err);
		block_bpf__destroy(own->skel);
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
	struct own *own = h->own[PROBE_BLOCK_ID];

	(void)now_ns;
	if (own->latency)
		latency_read(own->latency, h, "disk.io.duration", 1);
}

static void unload(struct host *h)
{
	struct own *own = h->own[PROBE_BLOCK_ID];

	latency_free(own->latency);
	block_bpf__destroy(own->skel);
	free(own);
}

const struct probe probe_block = {
	.name = "block",
	.sees = "how long block devices take, per device and direction",
	.hooks = "tp_btf block_rq_issue, block_rq_complete",
	.load = load,
	.drain = drain,
	.tick = tick,
	.unload = unload,
};
