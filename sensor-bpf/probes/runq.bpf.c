/* runq.bpf.c - how long runnable threads wait for a CPU. One wait in RUNQ_EVERY is measured: the shape stays the
 * same, and the scheduler's path stays short. */
#include "sensor-bpf/probes/latency.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10240);
	__type(key, u32);
	__type(value, u64);
} waiting SEC(".maps");

/* How many are being waited for: without any, a switch costs one look at this. */
__s64 open_waits = 0;

static __always_inline int ready(struct task_struct *task)
{
	u64 now;
	u32 pid;

	if (bpf_get_prandom_u32() % RUNQ_EVERY)
		return 0;
	pid = BPF_CORE_READ(task, pid);
	now = bpf_ktime_get_ns();
	if (pid && bpf_map_update_elem(&waiting, &pid, &now, BPF_NOEXIST) == 0)
		__sync_fetch_and_add(&open_waits, 1);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(runq_wakeup, struct task_struct *task)
{
	return ready(task);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(runq_new, struct task_struct *task)
{
	return ready(task);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(runq_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct latency_key key = { .op = LATENCY_RUNQ };
	u64 *since;
	u32 pid;

	if (preempt)
		ready(prev);
	if (open_waits <= 0)
		return 0;
	pid = BPF_CORE_READ(next, pid);
	since = bpf_map_lookup_elem(&waiting, &pid);
	if (!since)
		return 0;
	hist_add(&key, bpf_ktime_get_ns() - *since);
	bpf_map_delete_elem(&waiting, &pid);
	__sync_fetch_and_sub(&open_waits, 1);
	return 0;
}
