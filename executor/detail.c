#include "executor/detail.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "base/mem.h"

static enum oc_err make_dirs(char *path, struct oc_fail *reterr)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0750) != 0 && errno != EEXIST)
			return oc_fail(reterr, OC_UNAVAILABLE, "detail store: %s: %s", path, strerror(errno));
		*p = '/';
	}
	return OC_OK;
}

enum oc_err detail_write(const char *dir, const char *tenant, const char *run_id, int seq, int attempt,
			 const char *text, char **ret_key, struct oc_fail *reterr)
{
	AUTO(str) char *key = mem_printf("%s/exec/%s/%d-%d.json", tenant, run_id, seq, attempt);
	AUTO(str) char *path = mem_printf("%s/%s", dir, key);
	AUTO(str) char *temp = mem_printf("%s.part", path);
	size_t left = strlen(text);
	enum oc_err err = make_dirs(path, reterr);
	int fd;

	if (err != OC_OK)
		return err;
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "detail store: %s: %s", temp, strerror(errno));
	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		text += n;
		left -= (size_t)n;
	}
	if (left || fsync(fd) != 0 || close(fd) != 0 || rename(temp, path) != 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "detail store: %s: %s", path, strerror(errno));
	*ret_key = TAKE(key);
	return OC_OK;
}
