/* mem.h - our own allocations abort when memory is gone: the truth is in PostgreSQL and restart is
 * a tested path. Sizes that outsiders choose are bounded by the caller before they come here. */
#pragma once
#include <stddef.h>
#include "base/cleanup.h"

void *mem_alloc(size_t size);               /* zeroed */
void *mem_array(size_t count, size_t size); /* zeroed, checked for overflow */
void *mem_grow(void *p, size_t count, size_t size);
char *mem_strdup(const char *s); /* NULL stays NULL */
char *mem_strndup(const char *s, size_t n);
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Replaces *dst by a copy of src. */
void mem_set(char **dst, const char *src);
