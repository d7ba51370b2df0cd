#include "apps/opscase/datadir.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

char *datadir_path(const char *given)
{
	const char *home = getenv("HOME"), *xdg = getenv("XDG_DATA_HOME");
	AUTO(str) char *path = NULL;
	char real[PATH_MAX];
	size_t n;

	if (str_empty(given))
		given = getenv("OPSCASE_DATA");
	if (!str_empty(given))
		path = mem_strdup(given);
	else if (getuid() == 0)
		path = mem_strdup("/var/lib/opscase");
	else if (!str_empty(xdg))
		path = mem_printf("%s/opscase", xdg);
	else
		path = mem_printf("%s/.local/share/opscase", home ? home : ".");
	if (realpath(path, real))
		return mem_strdup(real);
	for (n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	if (path[0] == '/')
		return TAKE(path);
	return getcwd(real, sizeof(real)) ? mem_printf("%s/%s", real, path) : TAKE(path);
}

enum oc_err datadir_make(const char *path, mode_t mode, struct oc_fail *reterr)
{
	AUTO(str) char *copy = mem_strdup(path);

	for (char *c = copy + 1;; c++) {
		char was = *c;

		if (was != '/' && was != '\0')
			continue;
		*c = '\0';
		if (mkdir(copy, was ? 0755 : mode) != 0 && errno != EEXIST)
			return oc_fail(reterr, OC_UNAVAILABLE, "the folder %s cannot be made: %s", copy,
				       strerror(errno));
		*c = was;
		if (!was)
			return OC_OK;
	}
}

char *file_slurp(const char *path)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(text) struct text all = { 0 };
	char part[8192];
	size_t n;

	if (!f)
		return NULL;
	while (all.len < 1 << 20 && (n = fread(part, 1, sizeof(part), f)) > 0)
		text_add_n(&all, part, n);
	return text_take(&all);
}

char *file_line(const char *path)
{
	char *text = file_slurp(path);

	if (text)
		text[strcspn(text, "\r\n")] = '\0';
	return text;
}

enum oc_err file_put(const char *path, const char *text, mode_t mode, struct oc_fail *reterr)
{
	AUTO(str) char *aside = mem_printf("%s.new", path);
	AUTO(str) char *copy = mem_strdup(path);
	size_t n = strlen(text);
	AUTO(fd) int fd = -1, dir = -1;

	/* Made anew, so that an old file's mode does not show a secret for a moment. */
	unlink(aside);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0 || fchmod(fd, mode) != 0 || write(fd, text, n) != (ssize_t)n || fsync(fd) != 0 ||
	    rename(aside, path) != 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
	dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		fsync(dir);
	return OC_OK;
}

enum oc_err datadir_lock(const char *data, struct datadir_lock *ret, struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/lock", data);
	AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	char line[128], since[40];

	if (fd < 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "%s cannot be opened: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		AUTO(str) char *who = file_line(path);
		AUTO(str) char *url_path = mem_printf("%s/url", data);
		AUTO(str) char *url = file_line(url_path);

		return oc_fail(reterr, OC_CONFLICT,
			       "%s is in use by `opscase up` (%s)%s%s; stop that one, or take another --data",
			       data, str_empty(who) ? "just starting" : who, url ? " at " : "",
			       url ? url : "");
	}
	clock_format(clock_wall_us(), since, sizeof(since));
	snprintf(line, sizeof(line), "pid %d, since %.19sZ\n", (int)getpid(), since);
	if (ftruncate(fd, 0) != 0 || write(fd, line, strlen(line)) < 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
	ret->fd = TAKE_FD(fd);
	return OC_OK;
}

pid_t datadir_holder(const char *data)
{
	AUTO(str) char *path = mem_printf("%s/lock", data);
	AUTO(str) char *line = file_line(path);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int pid = 0;

	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || !line || sscanf(line, "pid %d", &pid) != 1)
		return 0;
	return pid;
}
