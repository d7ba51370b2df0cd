#include "family.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/mem.h"

struct process {
	pid_t pid, parent;
	unsigned long long started;
	bool ours;
};

static void note(struct family *family, pid_t pid)
{
	for (size_t i = 0; i < family->seen_count; i++) {
		if (family->seen[i] == pid)
			return;
	}
	if (family->seen_count < FAMILY_SEEN)
		family->seen[family->seen_count++] = pid;
}

bool family_reap(struct family *family)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return errno == ECHILD;
		if (pid == 0)
			return false;
		note(family, pid);
		if (pid == family->worker) {
			family->worker_ended = true;
			family->worker_status = status;
		}
	}
}

/* "pid (name) S ppid ... starttime": the name may hold anything, so from its last bracket on. */
static bool process_read(pid_t pid, struct process *ret)
{
	char path[64], buf[1024], *p;
	AUTO(fd) int fd = -1;
	ssize_t n;
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, buf, sizeof(buf) - 1) : -1;
	if (n <= 0)
		return false;
	buf[n] = 0;
	p = strrchr(buf, ')');
	if (!p ||
	    sscanf(p + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		   &parent, &ret->started) != 2)
		return false;
	ret->pid = pid;
	ret->parent = (pid_t)parent;
	ret->ours = false;
	return true;
}

static size_t all_processes(struct process **ret)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	size_t n = 0, cap = 0;

	while (dir && (e = readdir(dir)) != NULL) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid <= 0)
			continue;
		if (n == cap) {
			cap = cap ? cap * 2 : 256;
			*ret = mem_grow(*ret, cap, sizeof(**ret));
		}
		if (process_read(pid, &(*ret)[n]))
			n++;
	}
	if (dir)
		closedir(dir);
	return n;
}

static void mark_ours(struct process *list, size_t n)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			bool ours = list[i].parent == getpid();

			for (size_t k = 0; k < n && !ours && !list[i].ours; k++)
				ours = list[k].ours && list[k].pid == list[i].parent;
			if (ours && !list[i].ours) {
				list[i].ours = true;
				more = true;
			}
		}
	}
}

/* A pid may be somebody else's by now; the handle is taken first, then the identity is looked at again. */
static void signal_surely(const struct process *p, int sig)
{
	AUTO(fd) int handle = (int)syscall(SYS_pidfd_open, p->pid, 0);
	struct process now;

	if (handle >= 0 && process_read(p->pid, &now) && now.started == p->started)
		syscall(SYS_pidfd_send_signal, handle, sig, NULL, 0);
}

size_t family_signal(struct family *family, int sig)
{
	AUTO(free) void *owner = NULL;
	struct process *list = NULL;
	size_t n = all_processes(&list), count = 0;

	owner = list;
	mark_ours(list, n);
	for (size_t i = 0; i < n; i++) {
		if (!list[i].ours)
			continue;
		note(family, list[i].pid);
		signal_surely(&list[i], sig);
		count++;
	}
	return count;
}
