/* calls.bpf.c - reads and writes on sockets, seen where system calls return.
 *
 * One hook sees both: when a call returns, its arguments still stand in the registers and the bytes in memory, so
 * nothing has to be remembered from its entry. Everything that is no socket leaves early; a connection that the
 * host has put to CALLS_IGNORE costs one look into a table. */
#include "sensor-bpf/probes/calls.bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile __u8 kinds[CALLS_SYSCALLS] = {};
const volatile __u32 self_tgid = 0;
/* Load shedding: only time slices whose number ends in so many zero bits are looked at. */
__u32 shed_mask = 0;

#define SLICE_SHIFT 27 /* 134 ms */

#if defined(__TARGET_ARCH_x86)
#define CALL_NUMBER(regs) BPF_CORE_READ(regs, orig_ax)
#define ARG1(regs)        BPF_CORE_READ(regs, di)
#define ARG2(regs)        BPF_CORE_READ(regs, si)
#define ARG3(regs)        BPF_CORE_READ(regs, dx)
#define ARG5(regs)        BPF_CORE_READ(regs, r8)
#elif defined(__TARGET_ARCH_arm64)
#define CALL_NUMBER(regs) BPF_CORE_READ(regs, syscallno)
#define ARG1(regs)        BPF_CORE_READ(regs, orig_x0)
#define ARG2(regs)        BPF_CORE_READ(regs, regs[1])
#define ARG3(regs)        BPF_CORE_READ(regs, regs[2])
#define ARG5(regs)        BPF_CORE_READ(regs, regs[4])
#endif

#define S_IFMT   0170000
#define S_IFSOCK 0140000

struct msg {
	u64 name;
	u32 name_len, pad;
	u64 iov, iov_len, control, control_len;
	u32 flags, pad2;
};

static __always_inline struct sock *sock_of(u32 fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file = 0;
	struct socket *socket;

	if (!fdt || fd >= BPF_CORE_READ(fdt, max_fds))
		return 0;
	files = BPF_CORE_READ(fdt, fd);
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	return socket ? BPF_CORE_READ(socket, sk) : 0;
}

#define DNS_PORT 53

/* The port of the address that a message is sent to; 0 if none is given. */
static __always_inline u16 port_to(u64 addr)
{
	struct {
		u16 family, port;
	} a = {};

	if (!addr || bpf_probe_read_user(&a, sizeof(a), (void *)addr))
		return 0;
	return a.family == AF_INET || a.family == AF_INET6 ? bpf_ntohs(a.port) : 0;
}

static __always_inline bool wanted(struct sock *sk, u8 kind, struct pt_regs *regs, bool *tcp)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family), protocol;
	struct msg msg;
	u64 addr = 0;

	if (family != AF_INET && family != AF_INET6)
		return false;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	*tcp = protocol == IPPROTO_TCP;
	if (*tcp)
		return true;
	if (protocol != IPPROTO_UDP)
		return false;
	if (BPF_CORE_READ(sk, __sk_common.skc_num) == DNS_PORT ||
	    BPF_CORE_READ(sk, __sk_common.skc_dport) == bpf_htons(DNS_PORT))
		return true;
	/* a socket that is not connected says with each message where it goes */
	if (kind == CALLS_WRITE_BUF)
		addr = ARG5(regs);
	else if (kind == CALLS_WRITE_MSG || kind == CALLS_WRITE_MMSG)
		addr = bpf_probe_read_user(&msg, sizeof(msg), (void *)ARG2(regs)) ? 0 : msg.name;
	return port_to(addr) == DNS_PORT;
}

static __always_inline void tell_opened(struct calls_room *room, struct sock *sk, u32 tgid, bool tcp)
{
	struct calls_opened *o = (struct calls_opened *)room->bytes;

	__builtin_memset(o, 0, sizeof(*o));
	tuple_read(&o->tuple, &sk->__sk_common);
	o->tgid = tgid;
	o->tcp = tcp;
	bpf_get_current_comm(o->comm, sizeof(o->comm));
	room->head.what = CALLS_OPENED;
	room->head.size = 0;
	room_send(room, sizeof(*o));
}

SEC("tp_btf/sys_exit")
int BPF_PROG(calls_exit, struct pt_regs *regs, long ret)
{
	u64 nr = CALL_NUMBER(regs), key, pid_tgid, now, *object;
	struct calls_conn *conn, fresh = {};
	struct calls_room *room;
	struct tls_key tls = {};
	struct msg msg;
	struct sock *sk;
	u32 tgid, size, most, kept = 0;
	bool tcp = false;
	u8 kind, what;

	if (ret <= 0 || nr >= CALLS_SYSCALLS)
		return 0;
	kind = kinds[nr];
	if (kind == CALLS_NONE)
		return 0;
	pid_tgid = bpf_get_current_pid_tgid();
	tgid = pid_tgid >> 32;
	if (tgid == self_tgid)
		return 0;
	sk = sock_of(ARG1(regs));
	if (!sk)
		return 0;
	key = (u64)sk;
	conn = bpf_map_lookup_elem(&calls_conns, &key);
	if (conn && conn->mode == CALLS_IGNORE)
		return 0;
	now = bpf_ktime_get_ns();
	if ((now >> SLICE_SHIFT) & shed_mask)
		return 0;
	count(CALLS_COUNT_SEEN);
	what = kind == CALLS_READ_BUF || kind == CALLS_READ_IOV || kind == CALLS_READ_MSG ? CALLS_IN
											  : CALLS_OUT;
	if (conn && conn->mode == CALLS_TURNS && conn->last == what)
		return 0;
	room = room_get();
	if (!room)
		return 0;
	if (!conn) {
		if (!wanted(sk, kind, regs, &tcp))
			return 0;
		fresh.id = now;
		bpf_map_update_elem(&calls_conns, &key, &fresh, BPF_ANY);
		conn = bpf_map_lookup_elem(&calls_conns, &key);
		if (!conn)
			return 0;
		room->head = (struct calls_head){ .sock = key, .id = now, .at_ns = now };
		tell_opened(room, sk, tgid, tcp);
	}
	if (conn->mode == CALLS_SECRET) {
		object = bpf_map_lookup_elem(&tls_inside, &pid_tgid);
		if (object) {
			tls.object = *object;
			tls.tgid = tgid;
			bpf_map_update_elem(&tls_socks, &tls, &key, BPF_ANY);
		}
		return 0;
	}
	if (conn->mode == CALLS_NEW && conn->told >= CALLS_NEW_MAX)
		return 0;
	conn->last = what;
	conn->told++;
	size = ret;
	if (kind == CALLS_WRITE_MMSG)
		size = CALLS_BYTES_MAX; /* it says how many messages, not how long they are */
	most = size < CALLS_BYTES_MAX ? size : CALLS_BYTES_MAX;
	if (kind == CALLS_READ_BUF || kind == CALLS_WRITE_BUF) {
		if (bpf_probe_read_user(room->bytes, most, (void *)ARG2(regs)) == 0)
			kept = most;
	} else if (kind == CALLS_READ_IOV || kind == CALLS_WRITE_IOV) {
		kept = copy_iov(room->bytes, ARG2(regs), ARG3(regs), most);
	} else if (bpf_probe_read_user(&msg, sizeof(msg), (void *)ARG2(regs)) == 0) {
		kept = copy_iov(room->bytes, msg.iov, msg.iov_len, most);
	}
	if (kind == CALLS_WRITE_MMSG)
		size = kept;
	/* TLS has to be known at once: by the time the host says so, the first request is over. HTTP/1 is known for
	 * certain by its answer, and short connections are not worth an order of the host. */
	if (conn->mode != CALLS_TURNS && kept >= 3 && room->bytes[0] == 0x16 && room->bytes[1] == 3)
		conn->mode = CALLS_SECRET;
	else if (conn->mode == CALLS_NEW && kept >= 7 && __builtin_memcmp(room->bytes, "HTTP/1.", 7) == 0)
		conn->mode = CALLS_TURNS;
	room->head = (struct calls_head){
		.what = what, .size = size, .sock = key, .id = conn->id, .at_ns = now, .seq = conn->seq++
	};
	room_send(room, kept);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(calls_state, struct sock *sk, int from, int to)
{
	u64 key = (u64)sk;
	struct calls_conn *conn;
	struct calls_room *room;

	if (to != TCP_CLOSE)
		return 0;
	conn = bpf_map_lookup_elem(&calls_conns, &key);
	if (!conn)
		return 0;
	room = room_get();
	/* A connection that is being ignored was closed for the host when it said so. */
	if (room && conn->mode != CALLS_IGNORE) {
		room->head = (struct calls_head){ .what = CALLS_CLOSED,
						  .sock = key,
						  .id = conn->id,
						  .at_ns = bpf_ktime_get_ns(),
						  .seq = conn->seq };
		room_send(room, 0);
	}
	bpf_map_delete_elem(&calls_conns, &key);
	return 0;
}

SEC("syscall")
int calls_order(struct calls_order *order)
{
	u64 key = order->sock;
	struct calls_conn *conn = bpf_map_lookup_elem(&calls_conns, &key);

	if (conn && conn->id == order->id)
		conn->mode = order->mode;
	return 0;
}
