#include "executor/scratch.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "base/text.h"

#define DEPTH_MAX 128

enum oc_err scratch_make(const char *dir, char **ret_path, struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/call-%d-XXXXXX", dir, (int)getpid());

	if (!mkdtemp(path))
		return oc_fail(reterr, OC_UNAVAILABLE, "no scratch folder below %s: %s", dir,
			       strerror(errno));
	*ret_path = TAKE(path);
	return OC_OK;
}

/* Swallows dir_fd. */
static void empty(int dir_fd, unsigned depth)
{
	DIR *dir;
	struct dirent *e;

	fchmod(dir_fd, 0700);
	dir = fdopendir(dir_fd);
	if (!dir) {
		close(dir_fd);
		return;
	}
	while ((e = readdir(dir)) != NULL) {
		int below;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(dir), e->d_name, 0) == 0 || depth >= DEPTH_MAX)
			continue;
		fchmodat(dirfd(dir), e->d_name, 0700, AT_SYMLINK_NOFOLLOW);
		below = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0)
			empty(below, depth + 1);
		unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
}

void scratch_wipe(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		empty(fd, 0);
}

void scratch_remove(const char *path)
{
	if (path && rmdir(path) != 0 && errno != ENOENT) {
		scratch_wipe(path);
		rmdir(path);
	}
}

void scratch_sweep(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		AUTO(str) char *path = NULL;
		long pid;

		if (sscanf(e->d_name, "call-%ld-", &pid) != 1 || pid <= 0)
			continue;
		if (pid == (long)getpid() || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
			continue;
		path = mem_printf("%s/%s", dir, e->d_name);
		scratch_remove(path);
	}
	if (d)
		closedir(d);
}
