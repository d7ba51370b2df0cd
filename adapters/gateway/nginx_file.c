#include "nginx_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_MAX_BYTES (1024 * 1024)

/* Reads the file and finds the block. False with the reason in ng->why. */
bool nginx_file_load(struct nginx *ng)
{
	int fd = open(ng->path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = -1;

	free(ng->text);
	upstream_done(&ng->up);
	json_decref(ng->found);
	ng->found = NULL;
	ng->text = malloc(FILE_MAX_BYTES + 1);
	if (fd < 0 || !ng->text || fstat(fd, &ng->st) != 0) {
		snprintf(ng->why, sizeof ng->why, "cannot read '%s': %s", ng->path, strerror(errno));
	} else {
		while (used <= FILE_MAX_BYTES &&
		       (n = read(fd, ng->text + used, FILE_MAX_BYTES + 1 - used)) > 0)
			used += (size_t)n;
		if (n < 0 || used > FILE_MAX_BYTES)
			snprintf(ng->why, sizeof ng->why, "cannot read '%s': %s", ng->path,
				 n < 0 ? strerror(errno) : "it is longer than 1 MiB");
		else if (!upstream_parse(ng->text, used, ng->name, &ng->up))
			snprintf(ng->why, sizeof ng->why,
				 "there is no upstream '%s' in '%s' whose servers could be written back",
				 ng->name, ng->path);
		else
			ng->found = upstream_sorted(ng->up.servers);
		if (used <= FILE_MAX_BYTES)
			ng->text[used] = '\0';
	}
	if (fd >= 0)
		close(fd);
	return ng->found;
}

/* The file's time is what workers are compared with, and their age is known to a clock tick (10 ms): the
 * time that is set lies two ticks ahead, so that no worker of before can look younger than the file. */
#define AHEAD_NS 20000000

void nginx_file_time(struct timespec times[2])
{
	int64_t ns = nginx_wall_ns() + AHEAD_NS;

	times[0] = times[1] = (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

/* Writes `text` beside the file, with the file's owner and mode, down to the disk. */
bool nginx_file_write_beside(struct nginx *ng, const char *text)
{
	size_t n = strlen(text), done = 0;
	struct timespec times[2];
	int fd;

	unlink(ng->side);
	fd = open(ng->side, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		snprintf(ng->why, sizeof ng->why, "cannot write beside '%s': %s", ng->path, strerror(errno));
		return false;
	}
	while (done < n) {
		ssize_t w = write(fd, text + done, n - done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			break;
		done += (size_t)w;
	}
	if (done < n || (fchown(fd, ng->st.st_uid, ng->st.st_gid) != 0) ||
	    fchmod(fd, ng->st.st_mode & 07777) != 0 || (nginx_file_time(times), futimens(fd, times)) != 0 ||
	    fsync(fd) != 0) {
		snprintf(ng->why, sizeof ng->why,
			 "cannot write '%s' with the owner and mode of the upstream file: %s", ng->side,
			 strerror(errno));
		close(fd);
		unlink(ng->side);
		return false;
	}
	close(fd);
	return true;
}

/* Both names change places at once; where the file system cannot, the old file gets a second name first. */
bool nginx_file_exchange(struct nginx *ng)
{
	char keep[PATH_MAX + 8];

	if (syscall(SYS_renameat2, AT_FDCWD, ng->side, AT_FDCWD, ng->path, 2 /* RENAME_EXCHANGE */) == 0)
		return true;
	if (errno != EINVAL && errno != ENOSYS)
		return false;
	snprintf(keep, sizeof keep, "%s-old", ng->side);
	unlink(keep);
	if (link(ng->path, keep) != 0 || rename(ng->side, ng->path) != 0)
		return false;
	return rename(keep, ng->side) == 0;
}

void nginx_file_sync(const struct nginx *ng)
{
	char dir[PATH_MAX];
	int fd;

	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(ng->path, '/') - ng->path + 1), ng->path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

bool nginx_file_put_back(struct nginx *ng)
{
	bool good = rename(ng->side, ng->path) == 0;

	nginx_file_sync(ng);
	return good;
}

/* The file that was swapped out must be the one that was read: nobody wrote in between. */
bool nginx_file_is_what_was_read(const struct nginx *ng)
{
	struct stat st;

	return stat(ng->side, &st) == 0 && st.st_ino == ng->st.st_ino && st.st_size == ng->st.st_size &&
	       st.st_mtim.tv_sec == ng->st.st_mtim.tv_sec && st.st_mtim.tv_nsec == ng->st.st_mtim.tv_nsec;
}
