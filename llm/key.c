#include "llm/key.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/text.h"

#define KEY_MAX 4096

enum oc_err llm_key_read(const char *dir, const char *ref, char **ret, struct oc_fail *reterr)
{
	AUTO(str) char *path = NULL;
	AUTO(fd) int fd = -1;
	struct stat st;
	char key[KEY_MAX + 1];
	ssize_t n;

	if (!dir || strchr(ref, '/') || *ref == '.')
		return oc_fail(reterr, OC_NOT_FOUND, "no key '%s': keys are files below secrets.dir/llm",
			       ref);
	path = mem_printf("%s/llm/%s", dir, ref);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return oc_fail(reterr, OC_NOT_FOUND, "key llm/%s: %s", ref, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		return oc_fail(reterr, OC_FORBIDDEN, "key llm/%s: others could read the file; chmod 600 it",
			       ref);
	n = read(fd, key, KEY_MAX);
	while (n > 0 && strchr("\r\n ", key[n - 1]))
		n--;
	if (n <= 0)
		return oc_fail(reterr, OC_NOT_FOUND, "key llm/%s is empty", ref);
	key[n] = '\0';
	*ret = mem_strdup(key);
	explicit_bzero(key, sizeof(key));
	return OC_OK;
}
