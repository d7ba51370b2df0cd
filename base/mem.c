#include "base/mem.h"
#include <stdarg.h>
#include <string.h>
#include "base/log.h"

static void *must(void *p, size_t size)
{
	if (!p && size) {
		log_line(LOG_ERROR, "mem", "out of memory asking for %zu bytes", size);
		abort();
	}
	return p;
}

void *mem_alloc(size_t size)
{
	return must(calloc(1, size ? size : 1), size);
}
void *mem_array(size_t count, size_t size)
{
	return must(calloc(count ? count : 1, size), count);
}

void *mem_grow(void *p, size_t count, size_t size)
{
	return must(reallocarray(p, count ? count : 1, size), count);
}

char *mem_strdup(const char *s)
{
	return s ? must(strdup(s), 1) : NULL;
}
char *mem_strndup(const char *s, size_t n)
{
	return s ? must(strndup(s, n), 1) : NULL;
}

char *mem_printf(const char *fmt, ...)
{
	char *out = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return must(n < 0 ? NULL : out, 1);
}

void mem_set(char **dst, const char *src)
{
	char *copy = mem_strdup(src);

	free(*dst);
	*dst = copy;
}
