/* tuple.bpf.h - reads the two ends of a socket, in the kernel. */
#pragma once
#include "sensor-bpf/kernel_drift.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "sensor-bpf/probes/tuple.h"

static __always_inline void tuple_v4(unsigned char out[16], u32 addr)
{
	__builtin_memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	__builtin_memcpy(out + 12, &addr, 4);
}

static __always_inline void tuple_read(struct tuple *t, const struct sock_common *sk)
{
	t->local_port = BPF_CORE_READ(sk, skc_num);
	t->remote_port = bpf_ntohs(BPF_CORE_READ(sk, skc_dport));
	t->netns = BPF_CORE_READ(sk, skc_net.net, ns.inum);
	if (BPF_CORE_READ(sk, skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&t->local, sk, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&t->remote, sk, skc_v6_daddr);
	} else {
		tuple_v4(t->local, BPF_CORE_READ(sk, skc_rcv_saddr));
		tuple_v4(t->remote, BPF_CORE_READ(sk, skc_daddr));
	}
}
