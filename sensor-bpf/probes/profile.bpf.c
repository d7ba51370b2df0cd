/* profile.bpf.c - what runs when the clock ticks: stacks, counted in the kernel. */
#include "sensor-bpf/kernel_drift.bpf.h"
#include <bpf/bpf_helpers.h>
#include "sensor-bpf/probes/profile.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, PROFILE_STACKS);
	__uint(key_size, sizeof(u32));
	__uint(value_size, PROFILE_DEPTH * sizeof(u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROFILE_STACKS);
	__type(key, struct profile_key);
	__type(value, u64);
} samples SEC(".maps");

const volatile __u32 only_tgid = 0;
__u64 profile_lost = 0;

SEC("perf_event")
int profile_tick(void *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), one = 1, *n;
	struct profile_key key = { .tgid = id >> 32 };

	/* pid 0 is a CPU with nothing to do */
	if (!(u32)id || (only_tgid && key.tgid != only_tgid))
		return 0;
	key.user = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	key.kernel = bpf_get_stackid(ctx, &stacks, 0);
	bpf_get_current_comm(key.comm, sizeof(key.comm));
	n = bpf_map_lookup_elem(&samples, &key);
	if (n)
		__sync_fetch_and_add(n, 1);
	else if (bpf_map_update_elem(&samples, &key, &one, BPF_NOEXIST))
		__sync_fetch_and_add(&profile_lost, 1);
	return 0;
}
