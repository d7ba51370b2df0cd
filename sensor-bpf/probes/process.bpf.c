/* process.bpf.c - which programs start and end, and whom the kernel kills when memory is gone. */
#include "sensor-bpf/kernel_drift.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "sensor-bpf/probes/process.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 128 * 1024);
} process_ring SEC(".maps");

__u64 process_lost = 0;

static __always_inline struct process_record *record_new(u8 what)
{
	struct process_record *r = bpf_ringbuf_reserve(&process_ring, sizeof(*r), 0);

	if (!r) {
		__sync_fetch_and_add(&process_lost, 1);
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->what = what;
	return r;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct process_record *r = record_new(PROCESS_STARTED);

	if (!r)
		return 0;
	r->tgid = BPF_CORE_READ(task, tgid);
	r->parent = BPF_CORE_READ(task, real_parent, tgid);
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct process_record *r;

	/* one record for a process, not for each of its threads */
	if (BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	r = record_new(PROCESS_ENDED);
	if (!r)
		return 0;
	r->tgid = BPF_CORE_READ(task, tgid);
	r->parent = BPF_CORE_READ(task, real_parent, tgid);
	r->code = BPF_CORE_READ(task, exit_code);
	r->lived_ns = bpf_ktime_get_ns() - BPF_CORE_READ(task, start_time);
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

struct oom_args {
	u64 common;
	int pid;
};

SEC("tracepoint/oom/mark_victim")
int process_oom(struct oom_args *ctx)
{
	struct process_record *r = record_new(PROCESS_OOM);

	if (!r)
		return 0;
	r->tgid = ctx->pid;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}
