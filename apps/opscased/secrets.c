#include "apps/opscased/secrets.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "base/text.h"

#define SECRET_MAX ((size_t)64 << 10)

enum oc_err secret_from_dir(void *arg, const struct host_call *call, const char *adapter, const char *name,
			    char **ret_value, struct oc_fail *reterr)
{
	const char *dir = arg, *tenant = call->tenant ? call->tenant : "";
	AUTO(str) char *path = NULL;
	AUTO(fd) int fd = -1;
	struct stat st;
	char *value;
	ssize_t n;

	if (!dir || strchr(tenant, '/') || strchr(adapter, '/') || strchr(name, '/') || *name == '.')
		return oc_fail(reterr, OC_NOT_FOUND, "no secret '%s'", name);
	path = mem_printf("%s/%s/%s/%s", dir, tenant, adapter, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return oc_fail(reterr, errno == ENOENT || errno == ENOTDIR ? OC_NOT_FOUND : OC_UNAVAILABLE,
			       "secret %s/%s/%s: %s", tenant, adapter, name, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		return oc_fail(reterr, OC_FORBIDDEN,
			       "secret %s/%s/%s: others could read the file; chmod 600 it", tenant, adapter,
			       name);
	if ((size_t)st.st_size > SECRET_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "secret %s/%s/%s is larger than %zu bytes", tenant,
			       adapter, name, SECRET_MAX);
	value = mem_alloc((size_t)st.st_size + 1);
	n = read(fd, value, (size_t)st.st_size);
	if (n < 0) {
		free(value);
		return oc_fail(reterr, OC_UNAVAILABLE, "secret %s/%s/%s: %s", tenant, adapter, name,
			       strerror(errno));
	}
	/* A newline at the end comes from an editor, not from whoever made the secret. */
	while (n > 0 && (value[n - 1] == '\n' || value[n - 1] == '\r'))
		n--;
	value[n] = '\0';
	*ret_value = value;
	return OC_OK;
}
