/* tcp.bpf.c - the life of TCP connections, from the kernel's own tracepoints. */
#include "sensor-bpf/kernel_drift.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "sensor-bpf/probes/tuple.bpf.h"
#include "sensor-bpf/probes/tcp.h"

char LICENSE[] SEC("license") = "GPL";

/* Who opened it and when: known only while that process runs in the kernel, needed when the socket closes. */
struct born {
	u64 asked_ns, open_ns;
	u32 tgid;
	u8 from_us;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, u64);
	__type(value, struct born);
} births SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 * 1024);
} tcp_ring SEC(".maps");

__u64 tcp_lost = 0;
__u32 self_tgid = 0;

static __always_inline struct tcp_record *record_new(u8 what, struct sock *sk)
{
	struct tcp_record *r = bpf_ringbuf_reserve(&tcp_ring, sizeof(*r), 0);

	if (!r) {
		__sync_fetch_and_add(&tcp_lost, 1);
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->what = what;
	r->sock = (u64)sk;
	r->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	tuple_read(&r->tuple, &sk->__sk_common);
	return r;
}

static __always_inline void record_born(struct tcp_record *r, const struct born *b)
{
	r->tgid = b->tgid;
	r->from_us = b->from_us;
	__builtin_memcpy(r->comm, b->comm, sizeof(r->comm));
}

static __always_inline void record_totals(struct tcp_record *r, const struct sock *sk)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;

	r->srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	r->retransmits = BPF_CORE_READ(tp, total_retrans);
	r->sent = BPF_CORE_READ(tp, bytes_acked);
	r->received = BPF_CORE_READ(tp, bytes_received);
}

/* How much reading is worth is decided by the host: the ring is woken only when it is a quarter full. */
static __always_inline void record_send(struct tcp_record *r)
{
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

static __always_inline void opened(struct sock *sk, u64 key, struct born *b, u64 now)
{
	struct tcp_record *r;

	b->open_ns = now;
	r = record_new(b->from_us ? TCP_SAID_CONNECTED : TCP_SAID_ACCEPTED, sk);
	if (!r)
		return;
	record_born(r, b);
	r->took_ns = b->from_us ? now - b->asked_ns : 0;
	record_send(r);
}

static __always_inline void closed(struct sock *sk, u64 key, u64 now)
{
	struct born *b = bpf_map_lookup_elem(&births, &key);
	struct tcp_record *r;
	int error;

	if (!b)
		return;
	if (b->open_ns || !b->from_us) {
		r = record_new(TCP_SAID_CLOSED, sk);
		if (r) {
			record_born(r, b);
			record_totals(r, sk);
			r->took_ns = b->open_ns ? now - b->open_ns : 0;
			record_send(r);
		}
	} else {
		r = record_new(TCP_SAID_FAILED, sk);
		if (r) {
			record_born(r, b);
			error = BPF_CORE_READ(sk, sk_err);
			r->error = error < 0 ? -error : error;
			r->took_ns = now - b->asked_ns;
			record_send(r);
		}
	}
	bpf_map_delete_elem(&births, &key);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int from, int to)
{
	u64 key = (u64)sk, now = bpf_ktime_get_ns();
	struct born fresh = {}, *b;

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	if (to == TCP_SYN_SENT) {
		fresh.tgid = bpf_get_current_pid_tgid() >> 32;
		if (fresh.tgid == self_tgid)
			return 0;
		fresh.asked_ns = now;
		fresh.from_us = 1;
		bpf_get_current_comm(fresh.comm, sizeof(fresh.comm));
		bpf_map_update_elem(&births, &key, &fresh, BPF_ANY);
	} else if (to == TCP_ESTABLISHED) {
		b = bpf_map_lookup_elem(&births, &key);
		if (b) {
			opened(sk, key, b, now);
		} else if (from == TCP_SYN_RECV) {
			/* An accepted one: made by an interrupt, so whoever runs now is not its owner. */
			opened(sk, key, &fresh, now);
			bpf_map_update_elem(&births, &key, &fresh, BPF_ANY);
		}
	} else if (to == TCP_CLOSE) {
		closed(sk, key, now);
	}
	return 0;
}

static __always_inline void happened(u8 what, struct sock *sk)
{
	u64 key = (u64)sk;
	struct born *b = bpf_map_lookup_elem(&births, &key);
	struct tcp_record *r = record_new(what, sk);

	if (!r)
		return;
	if (b)
		record_born(r, b);
	record_send(r);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(tcp_again, struct sock *sk, struct sk_buff *skb)
{
	happened(TCP_SAID_RETRANSMIT, sk);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(tcp_reset_in, struct sock *sk)
{
	happened(TCP_SAID_RESET_IN, sk);
	return 0;
}

/* A reset for a port where nobody listens has no socket. */
SEC("tp_btf/tcp_send_reset")
int BPF_PROG(tcp_reset_out, struct sock *sk, struct sk_buff *skb)
{
	if (sk)
		happened(TCP_SAID_RESET_OUT, sk);
	return 0;
}

SEC("iter/tcp")
int tcp_open_ones(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_record r = {};
	struct tcp_sock *tp;
	u64 key;
	struct born *b;

	if (!skc || skc->skc_state != TCP_ESTABLISHED)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0;
	r.what = TCP_SAID_LIVE;
	key = r.sock = (u64)skc;
	r.state = TCP_ESTABLISHED;
	tuple_read(&r.tuple, skc);
	r.srtt_us = tp->srtt_us >> 3;
	r.retransmits = tp->total_retrans;
	r.sent = tp->bytes_acked;
	r.received = tp->bytes_received;
	b = bpf_map_lookup_elem(&births, &key);
	if (b) {
		r.tgid = b->tgid;
		r.from_us = b->from_us;
		__builtin_memcpy(r.comm, b->comm, sizeof(r.comm));
	}
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}
