/* calls.bpf.h - how a record of a read or a write is made; used by system calls and by TLS libraries. */
#pragma once
#include "sensor-bpf/kernel_drift.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "sensor-bpf/probes/tuple.bpf.h"
#include "sensor-bpf/probes/calls.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 * 1024 * 1024);
} calls_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, u64);
	__type(value, struct calls_conn);
} calls_conns SEC(".maps");

struct calls_room {
	struct calls_head head;
	/* an offset and a length, each bounded by a power of two, stay inside: which the verifier can see */
	u8 bytes[3 * CALLS_BYTES_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct calls_room);
} calls_rooms SEC(".maps");

/* Which threads are inside of a TLS library right now, with which of its objects: filled by tls.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u64); /* pid_tgid */
	__type(value, u64);
} tls_inside SEC(".maps");

struct tls_key {
	u64 object;
	u32 tgid, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tls_key);
	__type(value, u64); /* the socket */
} tls_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_COUNT_MAX);
	__type(key, u32);
	__type(value, u64);
} calls_counts SEC(".maps");

static __always_inline void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&calls_counts, &which);

	if (n)
		(*n)++;
}

static __always_inline struct calls_room *room_get(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&calls_rooms, &zero);
}

/* Copies what an I/O vector holds, up to `most` bytes, out of at most three of its parts. */
struct span {
	u64 base, len;
};

/* Keeps the compiler from proving away a bound that the verifier has to see. */
#define BOUND(v, mask)                      \
	do {                                \
		asm volatile("" : "+r"(v)); \
		(v) &= (mask);              \
	} while (0)

static __always_inline u32 copy_iov(u8 *out, u64 iov, u64 parts, u64 most)
{
	struct span part;
	u64 at = 0, n;

	for (u64 i = 0; i < 3; i++) {
		if (i >= parts || at >= most)
			break;
		if (bpf_probe_read_user(&part, sizeof(part), (void *)(iov + i * sizeof(part))))
			break;
		n = most - at;
		if (part.len < n)
			n = part.len;
		if (n == 0)
			continue;
		BOUND(n, 2 * CALLS_BYTES_MAX - 1);
		BOUND(at, CALLS_BYTES_MAX - 1);
		if (bpf_probe_read_user(out + at, n, (void *)part.base))
			break;
		at += n;
	}
	return at;
}

static __always_inline void room_send(struct calls_room *room, u32 kept)
{
	if (kept > CALLS_BYTES_MAX)
		kept = CALLS_BYTES_MAX;
	room->head.kept = kept;
	/* No wake-up: the host looks every few milliseconds, and a wake-up for each record would cost more
	 * than everything else here. */
	if (bpf_ringbuf_output(&calls_ring, room, sizeof(room->head) + kept, BPF_RB_NO_WAKEUP))
		count(CALLS_COUNT_LOST);
	else
		count(CALLS_COUNT_TOLD);
}
