#include "marks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Only what the host calls a key becomes part of a path. */
static bool key_ok(const char *key)
{
	size_t n = strlen(key);

	return n >= 8 && n <= 128 &&
	       strspn(key, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == n;
}

static bool path_of(char *out, size_t size, const char *dir, const char *key, const char *suffix)
{
	return dir && *dir == '/' && key_ok(key) &&
	       snprintf(out, size, "%s/%s.%s", dir, key, suffix) < (int)size;
}

static bool sync_folder(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return good;
}

/* Written beside and renamed: a mark is there as a whole or not at all. */
static bool write_mark(const char *dir, const char *key, const char *suffix, const char *text)
{
	char path[PATH_MAX], tmp[PATH_MAX + 16];
	size_t n = strlen(text);
	bool good;
	int fd;

	if (!path_of(path, sizeof(path), dir, key, suffix))
		return false;
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	good = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
	close(fd);
	if (good && rename(tmp, path) == 0)
		return sync_folder(dir);
	unlink(tmp);
	return false;
}

enum marks_state marks_look(const char *dir, const char *key, json_t **ret_info)
{
	char path[PATH_MAX];
	json_t *info;
	json_error_t e;

	if (!path_of(path, sizeof(path), dir, key, "done"))
		return MARKS_OFF;
	if (access(path, F_OK) == 0) {
		info = json_load_file(path, 0, &e);
		if (!info)
			return MARKS_BROKEN;
		if (ret_info)
			*ret_info = info;
		else
			json_decref(info);
		return MARKS_DONE;
	}
	if (errno != ENOENT)
		return MARKS_BROKEN;
	path_of(path, sizeof(path), dir, key, "start");
	if (access(path, F_OK) == 0)
		return MARKS_STARTED;
	return errno == ENOENT && access(dir, R_OK | X_OK) == 0 ? MARKS_NONE : MARKS_BROKEN;
}

bool marks_start(const char *dir, const char *key)
{
	return write_mark(dir, key, "start", "{}\n");
}

bool marks_finish(const char *dir, const char *key, const json_t *info)
{
	char *text = json_dumps(info, JSON_COMPACT);
	bool good = text && write_mark(dir, key, "done", text);

	free(text);
	return good;
}

bool marks_clear(const char *dir, const char *key)
{
	char path[PATH_MAX];
	bool good = true;

	/* The done mark first: between the two it reads as "started", never as "done". */
	if (!path_of(path, sizeof(path), dir, key, "done"))
		return false;
	good = (unlink(path) == 0 || errno == ENOENT) && good;
	path_of(path, sizeof(path), dir, key, "start");
	good = (unlink(path) == 0 || errno == ENOENT) && good;
	return sync_folder(dir) && good;
}
