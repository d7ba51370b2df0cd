#include "jail.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/cleanup.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Nothing that mends a service needs these; each of them is a way round the rest of the jail, or a
 * way to harm the machine as a whole. */
static const int never[] = {
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_kcmp,
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_fsopen,
	SYS_fsconfig,
	SYS_fsmount,
	SYS_fspick,
	SYS_move_mount,
	SYS_open_tree,
	SYS_mount_setattr,
	SYS_setns,
	SYS_unshare,
	SYS_swapon,
	SYS_swapoff,
	SYS_reboot,
	SYS_kexec_load,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_io_uring_setup,
	SYS_io_uring_enter,
	SYS_io_uring_register,
	SYS_keyctl,
	SYS_add_key,
	SYS_request_key,
	SYS_acct,
	SYS_quotactl,
	SYS_settimeofday,
	SYS_clock_settime,
	SYS_adjtimex,
	SYS_clock_adjtime,
	SYS_open_by_handle_at,
	SYS_sethostname,
	SYS_setdomainname,
	SYS_pidfd_getfd,
#ifdef SYS_kexec_file_load
	SYS_kexec_file_load,
#endif
#ifdef SYS_iopl
	SYS_iopl,
	SYS_ioperm,
#endif
};

static const int starts_process[] = {
#ifdef SYS_fork
	SYS_fork,
	SYS_vfork,
#endif
	SYS_execve,
	SYS_execveat,
};

/* Their first argument is the process they mean. */
static const int signals[] = {
	SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_open
};

struct program {
	struct sock_filter f[512];
	unsigned short n;
};

static void add(struct program *p, struct sock_filter f)
{
	if (p->n < sizeof(p->f) / sizeof(p->f[0]))
		p->f[p->n++] = f;
}

#define DENY(e) (SECCOMP_RET_ERRNO | ((e) & SECCOMP_RET_DATA))
#define LOAD_NR(p) \
	add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)))
/* The low half: all of a pid, a domain or clone's flags. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LOAD_ARG(p, i) \
	add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[i])))
#endif

static void deny_equal(struct program *p, uint32_t value, int e)
{
	add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
	add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, DENY((unsigned)e)));
}

static void skip_unless_equal(struct program *p, uint32_t value, unsigned char skip)
{
	add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip));
}

static void guard_signals(struct program *p, const struct jail *jail)
{
	const uint32_t untouchable[] = { (uint32_t)jail->keeper, (uint32_t)-jail->keeper,
					 (uint32_t)jail->host, (uint32_t)-1 };

	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		unsigned char n = 0;

		for (size_t k = 0; k < ARRAY_LEN(untouchable); k++)
			n = (unsigned char)(n + (untouchable[k] ? 2 : 0));
		LOAD_NR(p);
		skip_unless_equal(p, (uint32_t)signals[i], (unsigned char)(n + 1));
		LOAD_ARG(p, 0);
		for (size_t k = 0; k < ARRAY_LEN(untouchable); k++) {
			if (untouchable[k])
				deny_equal(p, untouchable[k], EPERM);
		}
	}
	LOAD_NR(p);
}

static void guard_clone(struct program *p, const struct jail *jail)
{
	const uint32_t spaces = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS |
				CLONE_NEWIPC | CLONE_NEWCGROUP;

	/* Its flags are in memory, where a filter cannot look; libc then uses clone. */
	deny_equal(p, SYS_clone3, ENOSYS);
	skip_unless_equal(p, SYS_clone, jail->alone ? 6 : 3);
	LOAD_ARG(p, 0);
	add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, spaces, 0, 1));
	add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, DENY(EPERM)));
	if (jail->alone) {
		add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0));
		add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, DENY(EPERM)));
		add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	}
	LOAD_NR(p);
}

static bool filter_calls(const struct jail *jail)
{
	struct program p = { .n = 0 };
	struct sock_fprog prog;

	add(&p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
	add(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	add(&p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, DENY(EPERM)));
	LOAD_NR(&p);
#if defined(__x86_64__)
	/* x32 has numbers of its own for the same calls. */
	add(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1));
	add(&p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, DENY(EPERM)));
#endif
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		deny_equal(&p, (uint32_t)never[i], EPERM);
	if (jail->alone) {
		for (size_t i = 0; i < ARRAY_LEN(starts_process); i++)
			deny_equal(&p, (uint32_t)starts_process[i], EPERM);
	}
	if (!jail->network) {
		skip_unless_equal(&p, SYS_socket, 4);
		LOAD_ARG(&p, 0);
		add(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0));
		add(&p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, DENY(EPERM)));
		add(&p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	}
	guard_clone(&p, jail);
	guard_signals(&p, jail);
	add(&p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	prog = (struct sock_fprog){ .len = p.n, .filter = p.f };
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

static bool rule_below(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	AUTO(fd) int fd = open(path, O_PATH | O_CLOEXEC);

	rule.parent_fd = fd;
	return fd >= 0 && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

/* Reading stays as it is; writing only in the scratch folder and to /dev/null. */
static bool write_only_in(const char *scratch)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
				     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
				     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
				     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
				     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM,
	};
	AUTO(fd) int ruleset = -1;

	if (abi < 1)
		return true; /* an older kernel: the other walls stand */
	if (abi >= 2)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
			       offsetof(struct landlock_ruleset_attr, handled_access_net), 0);
	if (ruleset < 0)
		return false;
	if (scratch && !rule_below(ruleset, scratch, attr.handled_access_fs))
		return false;
	rule_below(ruleset, "/dev/null",
		   attr.handled_access_fs & (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE));
	return syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
}

/* For a service that runs as root: what no adapter is for. Also from the bounding set, or an exec
 * would bring it back. */
static void drop_capabilities(void)
{
	static const int dropped[] = { CAP_SYS_PTRACE, CAP_SYS_MODULE, CAP_SYS_RAWIO,    CAP_SYS_BOOT,
				       CAP_SYS_TIME,   CAP_MAC_ADMIN,  CAP_MAC_OVERRIDE, CAP_BPF,
				       CAP_PERFMON,    CAP_SYSLOG,     CAP_MKNOD };
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &head, data) != 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(dropped); i++) {
		uint32_t bit = 1u << (dropped[i] % 32);

		prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0);
		data[dropped[i] / 32].effective &= ~bit;
		data[dropped[i] / 32].permitted &= ~bit;
		data[dropped[i] / 32].inheritable &= ~bit;
	}
	syscall(SYS_capset, &head, data);
}

static void limit(int what, rlim_t value)
{
	struct rlimit now;

	if (getrlimit((__rlimit_resource_t)what, &now) != 0)
		return;
	if (now.rlim_max != RLIM_INFINITY && value > now.rlim_max)
		value = now.rlim_max;
	setrlimit((__rlimit_resource_t)what, &(struct rlimit){ value, value });
}

bool jail_enter(const struct jail *jail, char *why, size_t size)
{
	umask(077);
	if (jail->scratch && chdir(jail->scratch) != 0) {
		snprintf(why, size, "the scratch folder cannot be entered: %s", strerror(errno));
		return false;
	}
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, 4096);
#if !defined(OPSCASE_ASAN) && !defined(OPSCASE_TSAN)
	if (jail->memory)
		limit(RLIMIT_AS, jail->memory);
#endif
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	drop_capabilities();
	if (jail->scratch_only && !write_only_in(jail->scratch)) {
		snprintf(why, size, "the file jail cannot be closed: %s", strerror(errno));
		return false;
	}
	if (!filter_calls(jail)) {
		snprintf(why, size, "this kernel takes no filter of system calls: %s", strerror(errno));
		return false;
	}
	return true;
}
