#include "executor/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "base/mem.h"
#include "base/text.h"

#define FIRST_FREE 10

static bool lift(int *fd)
{
	int high;

	if (*fd >= FIRST_FREE)
		return true;
	high = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE);
	if (high < 0)
		return false;
	close(*fd);
	*fd = high;
	return true;
}

static bool lift_both(int fd[2])
{
	if (lift(&fd[0]) && lift(&fd[1]))
		return true;
	close(fd[0]);
	close(fd[1]);
	return false;
}

bool spawn_pipe(int ret[2])
{
	return pipe2(ret, O_CLOEXEC) == 0 && lift_both(ret);
}
bool spawn_pair(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) == 0 && lift_both(ret);
}

enum oc_err spawn_find_runner(const char *given, char **ret_path, struct oc_fail *reterr)
{
	static const char *const beside[] = { "opscase-runner", "../bin/opscase-runner",
					      "../libexec/opscase-runner" };
	char self[PATH_MAX], *slash;
	ssize_t n;
	const char *path = getenv("PATH");

	if (given) {
		if (access(given, X_OK) != 0)
			return oc_fail(reterr, OC_UNAVAILABLE, "the runner %s cannot be started: %s", given,
				       strerror(errno));
		*ret_path = mem_strdup(given);
		return OC_OK;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < ARRAY_LEN(beside); i++) {
		AUTO(str) char *at = mem_printf("%.*s/%s", (int)(slash - self), self, beside[i]);

		if (access(at, X_OK) == 0) {
			*ret_path = TAKE(at);
			return OC_OK;
		}
	}
	while (path && *path) {
		size_t len = strcspn(path, ":");
		AUTO(str) char *at = mem_printf("%.*s/opscase-runner", (int)len, path);

		if (len && access(at, X_OK) == 0) {
			*ret_path = TAKE(at);
			return OC_OK;
		}
		path += len + (path[len] == ':');
	}
	return oc_fail(reterr, OC_UNAVAILABLE, "opscase-runner is neither beside this program nor in PATH");
}

/* What a child needs to find its libraries and to print readable text; nothing of ours. */
static size_t environment(const struct spawn *s, char *env[], size_t max)
{
	static const char *const sanitizers[] = { "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
						  "ASAN_SYMBOLIZER_PATH" };
	const char *home = s->home ? s->home : "/nonexistent";
	size_t n = 0;

	env[n++] = mem_strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	env[n++] = mem_strdup("LANG=C.UTF-8");
	env[n++] = mem_printf("HOME=%s", home);
	env[n++] = mem_printf("TMPDIR=%s", s->home ? home : "/tmp");
#if defined(OPSCASE_ASAN) || defined(OPSCASE_TSAN)
	for (size_t i = 0; i < ARRAY_LEN(sanitizers) && n + 1 < max; i++) {
		if (getenv(sanitizers[i]))
			env[n++] = mem_printf("%s=%s", sanitizers[i], getenv(sanitizers[i]));
	}
#else
	(void)sanitizers, (void)max;
#endif
	env[n] = NULL;
	return n;
}

static int actions_fill(posix_spawn_file_actions_t *a, const struct spawn *s)
{
	int e = posix_spawn_file_actions_addopen(a, 0, "/dev/null", O_RDONLY, 0);

	e = e             ? e
	    : s->out >= 0 ? posix_spawn_file_actions_adddup2(a, s->out, 1)
			  : posix_spawn_file_actions_addopen(a, 1, "/dev/null", O_WRONLY, 0);
	e = e             ? e
	    : s->err >= 0 ? posix_spawn_file_actions_adddup2(a, s->err, 2)
			  : posix_spawn_file_actions_addopen(a, 2, "/dev/null", O_WRONLY, 0);
	if (s->call >= 0)
		e = e ? e : posix_spawn_file_actions_adddup2(a, s->call, 3);
	if (s->control >= 0)
		e = e ? e : posix_spawn_file_actions_adddup2(a, s->control, 4);
	return e ? e : posix_spawn_file_actions_addclosefrom_np(a, s->control >= 0 ? 5 : 3);
}

static int attributes_fill(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int e;

	sigemptyset(&none);
	sigfillset(&all);
	e = posix_spawnattr_setflags(attr,
				     POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	e = e ? e : posix_spawnattr_setsigmask(attr, &none);
	return e ? e : posix_spawnattr_setsigdefault(attr, &all);
}

enum oc_err spawn_runner(const struct spawn *s, pid_t *ret_pid, struct oc_fail *reterr)
{
	char *argv[] = { "opscase-runner", (char *)s->mode, (char *)s->name, NULL };
	char *env[16];
	size_t env_count = environment(s, env, ARRAY_LEN(env));
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int e;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	e = actions_fill(&actions, s);
	e = e ? e : attributes_fill(&attr);
	e = e ? e : posix_spawn(ret_pid, s->runner_path, &actions, &attr, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	for (size_t i = 0; i < env_count; i++)
		free(env[i]);
	if (e)
		return oc_fail(reterr, OC_UNAVAILABLE, "the runner %s cannot be started: %s", s->runner_path,
			       strerror(e));
	return OC_OK;
}

int spawn_reap(pid_t pid, int wait_ms)
{
	AUTO(fd) int handle = -1;
	int status = 0;
	pid_t r = waitpid(pid, &status, WNOHANG);

	if (r == 0) {
		handle = (int)syscall(SYS_pidfd_open, pid, 0);
		if (handle >= 0 && wait_ms > 0) {
			struct pollfd p = { .fd = handle, .events = POLLIN };

			while (poll(&p, 1, wait_ms) < 0 && errno == EINTR)
				;
			r = waitpid(pid, &status, WNOHANG);
		}
	}
	if (r == 0) {
		/* Not reaped yet, so the number is still this child's. */
		kill(pid, SIGKILL);
		while ((r = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
			;
	}
	return status;
}
