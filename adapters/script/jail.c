#include "jail.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READS (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITES                                                                                            \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |       \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |    \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)
#define ON_A_FILE                                                                                    \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | \
	 LANDLOCK_ACCESS_FS_TRUNCATE)

static bool allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .parent_fd = open(path, O_PATH | O_CLOEXEC) };
	struct stat st;
	bool good;

	if (rule.parent_fd < 0)
		return false;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		access &= ON_A_FILE;
	rule.allowed_access = access;
	good = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
	close(rule.parent_fd);
	return good;
}

static const char *close_files(const struct jail *jail)
{
	static const char *const system_paths[] = { "/usr",  "/lib", "/lib64", "/bin", "/sbin", "/etc",
						    "/proc", "/sys", "/dev",   "/run", "/opt" };
	static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/tty" };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = { .handled_access_fs = WRITES };
	size_t size = offsetof(struct landlock_ruleset_attr, handled_access_net);
	int ruleset;

	if (abi < 1)
		return NULL; /* this kernel has none; the limits and the runner's jail stand */
	if (abi >= 2)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 6 && !jail->signals) {
		attr.scoped = LANDLOCK_SCOPE_SIGNAL;
		size = sizeof(attr);
	}
	if (jail->read_closed)
		attr.handled_access_fs |= READS;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0)
		return "landlock";
	if (!allow(ruleset, jail->scratch, attr.handled_access_fs))
		return "the scratch folder";
	for (size_t i = 0; i < jail->write_count; i++) {
		if (!allow(ruleset, jail->write_paths[i], attr.handled_access_fs))
			return jail->write_paths[i];
	}
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		allow(ruleset, devices[i], attr.handled_access_fs);
	for (size_t i = 0; jail->read_closed && i < sizeof(system_paths) / sizeof(system_paths[0]); i++)
		allow(ruleset, system_paths[i], READS);
	for (size_t i = 0; jail->read_closed && i < jail->read_count; i++)
		allow(ruleset, jail->read_paths[i], READS);
	return syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 ? NULL : "landlock";
}

static void limit(int what, long long value)
{
	struct rlimit now;
	rlim_t v = (rlim_t)value;

	if (getrlimit((__rlimit_resource_t)what, &now) != 0)
		return;
	if (now.rlim_max != RLIM_INFINITY && v > now.rlim_max)
		v = now.rlim_max;
	setrlimit((__rlimit_resource_t)what, &(struct rlimit){ v, v });
}

const char *jail_enter(const struct jail *jail)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_CPU, jail->cpu_s);
	limit(RLIMIT_NOFILE, jail->files);
	limit(RLIMIT_NPROC, jail->processes);
	limit(RLIMIT_FSIZE, jail->file_mb * 1048576);
#if !defined(OPSCASE_ASAN) && !defined(OPSCASE_TSAN)
	limit(RLIMIT_AS, jail->memory_mb * 1048576);
#endif
	if (jail->uid != (uid_t)-1 &&
	    (setgroups(0, NULL) != 0 || setgid(jail->gid) != 0 || setuid(jail->uid) != 0))
		return "the user";
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return close_files(jail);
}
