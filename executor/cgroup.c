#include "executor/cgroup.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"

static bool write_file(const char *dir, const char *name, const char *value)
{
	char path[CGROUP_PATH + 32];
	AUTO(fd) int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
}

/* "0::/some/where" of this process. */
static bool own_path(char *out, size_t size)
{
	AUTO(file) FILE *f = fopen("/proc/self/cgroup", "re");
	char line[CGROUP_PATH];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::", 3) == 0) {
			line[strcspn(line, "\n")] = 0;
			snprintf(out, size, "%s", strcmp(line + 3, "/") == 0 ? "" : line + 3);
			return true;
		}
	}
	return false;
}

void cgroup_base(char *out, size_t size)
{
	static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	char own[CGROUP_PATH], path[2 * CGROUP_PATH], probe[2 * CGROUP_PATH + 64];

	*out = 0;
	if (!own_path(own, sizeof(own)))
		return;
	for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", mounts[i]);
		if (access(path, F_OK) != 0)
			continue;
		snprintf(path, sizeof(path), "%s%s", mounts[i], own);
		snprintf(probe, sizeof(probe), "%s/opscase-try-%d", path, (int)getpid());
		if (mkdir(probe, 0755) != 0)
			continue;
		snprintf(probe, sizeof(probe), "%s/opscase-try-%d/cgroup.kill", path, (int)getpid());
		if (access(probe, W_OK) == 0 && strlen(path) < size && strlen(path) < CGROUP_PATH - 64)
			snprintf(out, size, "%s", path);
		probe[strlen(probe) - strlen("/cgroup.kill")] = 0;
		rmdir(probe);
		if (*out)
			return;
	}
}

bool cgroup_make(const char *path)
{
	return *path && (mkdir(path, 0755) == 0 || errno == EEXIST);
}
bool cgroup_enter(const char *path)
{
	return *path && write_file(path, "cgroup.procs", "0");
}

void cgroup_kill(const char *path)
{
	if (*path)
		write_file(path, "cgroup.kill", "1");
}

bool cgroup_empty(const char *path)
{
	char name[CGROUP_PATH + 32], line[64];
	AUTO(file) FILE *f = NULL;

	if (!*path)
		return false;
	snprintf(name, sizeof(name), "%s/cgroup.events", path);
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strcmp(line, "populated 0\n") == 0)
			return true;
	}
	return false;
}

void cgroup_remove(const char *path)
{
	if (*path)
		rmdir(path);
}
