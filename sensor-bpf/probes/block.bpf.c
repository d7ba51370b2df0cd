/* block.bpf.c - how long block devices take. */
#include "sensor-bpf/probes/latency.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10240);
	__type(key, u64);
	__type(value, u64);
} issued SEC(".maps");

SEC("tp_btf/block_rq_issue")
int BPF_PROG(block_issue, struct request *rq)
{
	u64 key = (u64)rq, now = bpf_ktime_get_ns();

	bpf_map_update_elem(&issued, &key, &now, BPF_ANY);
	return 0;
}

#define REQ_OP_MASK 0xff

SEC("tp_btf/block_rq_complete")
int BPF_PROG(block_complete, struct request *rq, int error, unsigned int nr_bytes)
{
	u64 key = (u64)rq, *since = bpf_map_lookup_elem(&issued, &key);
	struct latency_key k = {};
	u32 op;

	if (!since)
		return 0;
	op = BPF_CORE_READ(rq, cmd_flags) & REQ_OP_MASK;
	k.op = op == 0 ? LATENCY_READ : op == 1 ? LATENCY_WRITE : LATENCY_OTHER;
	bpf_probe_read_kernel_str(k.device, sizeof(k.device), BPF_CORE_READ(rq, q, disk, disk_name));
	hist_add(&k, bpf_ktime_get_ns() - *since);
	bpf_map_delete_elem(&issued, &key);
	return 0;
}
