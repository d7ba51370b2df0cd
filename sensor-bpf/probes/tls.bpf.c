/* tls.bpf.c - plain text on its way into and out of OpenSSL.
 *
 * Which socket an SSL object stands for is learned from the system calls that it makes on the same thread
 * (calls.bpf.c does that); an object that reads through memory of its own has none and is told without peers. */
#include "sensor-bpf/probes/calls.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct inside {
	u64 buf, ret_size; /* ret_size: where the _ex calls leave how much it was, else 0 */
	u64 object;
	u8 what, pad[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u64);
	__type(value, struct inside);
} tls_calls SEC(".maps");

static __always_inline int enter(u64 object, u64 buf, u64 ret_size, u8 what)
{
	u64 id = bpf_get_current_pid_tgid();
	struct inside in = { .buf = buf, .ret_size = ret_size, .object = object, .what = what };

	bpf_map_update_elem(&tls_inside, &id, &object, BPF_ANY);
	if (what)
		bpf_map_update_elem(&tls_calls, &id, &in, BPF_ANY);
	return 0;
}

static __always_inline int leave(long ret)
{
	u64 id = bpf_get_current_pid_tgid(), key, size = ret, *sock;
	struct tls_key tls = {};
	struct inside *in = bpf_map_lookup_elem(&tls_calls, &id);
	struct calls_conn *conn, fresh = {};
	struct calls_room *room;
	u64 kept;

	bpf_map_delete_elem(&tls_inside, &id);
	if (!in)
		return 0;
	tls.object = in->object;
	tls.tgid = id >> 32;
	room = room_get();
	if (ret <= 0 || !room)
		goto out;
	if (in->ret_size && bpf_probe_read_user(&size, sizeof(size), (void *)in->ret_size))
		goto out;
	sock = bpf_map_lookup_elem(&tls_socks, &tls);
	key = sock ? *sock : tls.object ^ ((u64)tls.tgid << 40);
	conn = bpf_map_lookup_elem(&calls_conns, &key);
	if (conn && (conn->mode == CALLS_IGNORE))
		goto out;
	if (!conn) {
		struct calls_opened *o = (struct calls_opened *)room->bytes;

		fresh.id = bpf_ktime_get_ns();
		fresh.mode = CALLS_SECRET;
		bpf_map_update_elem(&calls_conns, &key, &fresh, BPF_ANY);
		conn = bpf_map_lookup_elem(&calls_conns, &key);
		if (!conn)
			goto out;
		__builtin_memset(o, 0, sizeof(*o));
		o->tgid = tls.tgid;
		o->tcp = 1;
		bpf_get_current_comm(o->comm, sizeof(o->comm));
		room->head = (struct calls_head){
			.what = CALLS_OPENED, .sock = key, .id = conn->id, .at_ns = conn->id
		};
		room_send(room, sizeof(*o));
	}
	kept = size < CALLS_BYTES_MAX ? size : CALLS_BYTES_MAX;
	BOUND(kept, 2 * CALLS_BYTES_MAX - 1);
	if (bpf_probe_read_user(room->bytes, kept, (void *)in->buf))
		kept = 0;
	room->head = (struct calls_head){ .what = in->what,
					  .plain = 1,
					  .size = size,
					  .sock = key,
					  .id = conn->id,
					  .at_ns = bpf_ktime_get_ns(),
					  .seq = conn->seq++ };
	room_send(room, kept);
out:
	bpf_map_delete_elem(&tls_calls, &id);
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(tls_read, u64 object, u64 buf)
{
	return enter(object, buf, 0, CALLS_IN);
}

SEC("uprobe")
int BPF_KPROBE(tls_write, u64 object, u64 buf)
{
	return enter(object, buf, 0, CALLS_OUT);
}

SEC("uprobe")
int BPF_KPROBE(tls_read_ex, u64 object, u64 buf, u64 num, u64 ret_size)
{
	return enter(object, buf, ret_size, CALLS_IN);
}

SEC("uprobe")
int BPF_KPROBE(tls_write_ex, u64 object, u64 buf, u64 num, u64 ret_size)
{
	return enter(object, buf, ret_size, CALLS_OUT);
}

SEC("uprobe")
int BPF_KPROBE(tls_shake, u64 object)
{
	return enter(object, 0, 0, 0);
}

SEC("uretprobe")
int BPF_KRETPROBE(tls_done, int ret)
{
	return leave(ret);
}
