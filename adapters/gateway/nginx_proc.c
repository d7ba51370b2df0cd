#include "nginx_proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t nginx_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* Reads a small file of /proc; the length, or -1. */
static ssize_t read_small(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, used = 0;

	if (fd < 0)
		return -1;
	while ((size_t)used < size - 1 && (n = read(fd, text + used, size - 1 - (size_t)used)) > 0)
		used += n;
	close(fd);
	text[used] = '\0';
	return used;
}

static bool title_of(pid_t pid, char *title, size_t size)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	return read_small(path, title, size) > 0;
}

/* Parent and start of a process, on the wall clock. The kernel cuts the start to a clock tick; the end of
 * that tick is taken: a service that was configured and started at once is not called stale. */
static bool stat_of(pid_t pid, pid_t *ret_parent, int64_t *ret_start_ns)
{
	char path[64], text[2048], *p;
	unsigned long long ticks = 0;
	int parent = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (read_small(path, text, sizeof text) <= 0 || !(p = strrchr(text, ')')))
		return false;
	if (sscanf(p + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		   &parent, &ticks) != 2)
		return false;
	*ret_parent = parent;
	*ret_start_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME) +
			(int64_t)((ticks + 1) * (1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK)));
	return true;
}

bool nginx_master_find(const char *pid_file, struct nginx_master *ret, char *why, size_t why_size)
{
	struct nginx_master m = { .pidfd = -1 };
	char text[64], title[256];
	long pid;

	if (read_small(pid_file, text, sizeof text) <= 0) {
		snprintf(why, why_size, "nginx is not running: no pid in '%s'", pid_file);
		return false;
	}
	pid = strtol(text, NULL, 10);
	if (pid <= 1 || pid > 0x3fffffff) {
		snprintf(why, why_size, "'%s' holds no pid", pid_file);
		return false;
	}
	m.pid = (pid_t)pid;
	/* First the handle, then the look: the pid cannot become another process in between. */
	m.pidfd = (int)syscall(SYS_pidfd_open, m.pid, 0);
	if ((m.pidfd < 0 && errno == ESRCH) || !title_of(m.pid, title, sizeof title)) {
		snprintf(why, why_size, "nginx is not running: there is no process %ld, which '%s' names",
			 pid, pid_file);
		nginx_master_done(&m);
		return false;
	}
	if (strncmp(title, "nginx: master process", 21) != 0) {
		snprintf(why, why_size, "process %ld, which '%s' names, is not an nginx master", pid,
			 pid_file);
		nginx_master_done(&m);
		return false;
	}
	*ret = m;
	return true;
}

void nginx_master_done(struct nginx_master *master)
{
	if (master->pidfd >= 0)
		close(master->pidfd);
	master->pidfd = -1;
}

int nginx_master_reload(const struct nginx_master *master)
{
	int r = master->pidfd >= 0 ? (int)syscall(SYS_pidfd_send_signal, master->pidfd, SIGHUP, NULL, 0)
				   : kill(master->pid, SIGHUP);

	return r == 0 ? 0 : -errno;
}

static void count_worker(struct nginx_workers *w, pid_t pid, pid_t master)
{
	int64_t start_ns;
	char title[256];
	pid_t parent;

	if (!stat_of(pid, &parent, &start_ns) || parent != master || !title_of(pid, title, sizeof title))
		return;
	if (strncmp(title, "nginx: worker process", 21) != 0)
		return; /* cache manager and the like; or one so young that it has no title yet */
	if (strstr(title, "shutting down")) {
		w->finishing++;
		return;
	}
	if (w->current++ == 0 || start_ns < w->oldest_ns)
		w->oldest_ns = start_ns;
}

struct nginx_workers nginx_workers_look(const struct nginx_master *master)
{
	struct nginx_workers w = { 0 };
	char path[64], text[16384];

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)master->pid, (int)master->pid);
	if (read_small(path, text, sizeof text) >= 0) {
		for (char *p = text, *end; *p; p = end) {
			long pid = strtol(p, &end, 10);

			if (end == p)
				break;
			count_worker(&w, (pid_t)pid, master->pid);
		}
	} else {
		DIR *proc = opendir("/proc");

		for (struct dirent *e; proc && (e = readdir(proc));)
			if (isdigit((unsigned char)e->d_name[0]))
				count_worker(&w, (pid_t)strtol(e->d_name, NULL, 10), master->pid);
		if (proc)
			closedir(proc);
	}
	w.unseen = w.current == 0 && w.finishing == 0;
	return w;
}

static bool spawn(char *const argv[], int out, pid_t *ret_pid, int *ret_errno)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LC_ALL=C";
	char *env[] = { path, lang, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;

	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	posix_spawn_file_actions_adddup2(&files, out, 2);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	*ret_errno = posix_spawn(ret_pid, argv[0], &files, &attr, argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return *ret_errno == 0;
}

struct nginx_said nginx_command(struct gateway_call *call, char *const argv[])
{
	struct nginx_said said = { .end = WAIT_READY };
	size_t used = 0;
	int pipes[2], status = 0, e;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) != 0) {
		snprintf(said.text, sizeof said.text, "pipe: %s", strerror(errno));
		return said;
	}
	if (!spawn(argv, pipes[1], &pid, &e)) {
		snprintf(said.text, sizeof said.text, "cannot start '%s': %s", argv[0], strerror(e));
		close(pipes[0]);
		close(pipes[1]);
		return said;
	}
	close(pipes[1]);
	for (;;) {
		char drop[512];
		bool room = used < sizeof said.text - 1;
		ssize_t n;

		said.end = gateway_wait(call, pipes[0], POLLIN, gateway_left_ms(call));
		if (said.end != WAIT_READY)
			break;
		n = read(pipes[0], room ? said.text + used : drop,
			 room ? sizeof said.text - 1 - used : sizeof drop);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (room)
			used += (size_t)n;
	}
	close(pipes[0]);
	if (said.end != WAIT_READY)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno == EINTR)
			continue;
		status = -1; /* somebody else reaped it: nobody knows how it ended */
		break;
	}
	while (used > 0 && isspace((unsigned char)said.text[used - 1]))
		used--;
	said.text[used] = '\0';
	said.good = said.end == WAIT_READY && status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	return said;
}
