/* latency.bpf.h - a histogram in the kernel, one copy per CPU. */
#pragma once
#include "sensor-bpf/kernel_drift.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "sensor-bpf/probes/latency.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, struct latency_key);
	__type(value, struct latency_hist);
} hists SEC(".maps");

static __always_inline u32 log2_of(u64 v)
{
	u32 at = 0;

	for (int step = 32; step; step >>= 1)
		if (v >> step) {
			v >>= step;
			at += step;
		}
	return at < LATENCY_SLOTS ? at : LATENCY_SLOTS - 1;
}

static const struct latency_hist empty;

static __always_inline void hist_add(const struct latency_key *key, u64 ns)
{
	struct latency_hist *h = bpf_map_lookup_elem(&hists, key);
	u32 slot = log2_of(ns);

	if (!h) {
		bpf_map_update_elem(&hists, key, &empty, BPF_NOEXIST);
		h = bpf_map_lookup_elem(&hists, key);
		if (!h)
			return;
	}
	if (slot < LATENCY_SLOTS)
		h->slot[slot]++;
	h->sum_ns += ns;
	h->count++;
}
