/* cleanup.h - owners that clean up after themselves.
 *
 * AUTO(plan) struct plan *p = NULL;  frees p with plan_free() when the scope ends. TAKE(p) hands it
 * over and leaves NULL behind. A type opts in with DEFINE_AUTO(plan, struct plan *, plan_free). */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTO(name) __attribute__((cleanup(oc_auto_##name)))
#define DEFINE_AUTO(name, type, free_fn)           \
	static inline void oc_auto_##name(type *p) \
	{                                          \
		if (*p)                            \
			free_fn(*p);               \
	}                                          \
	struct oc_auto_##name##_needs_semicolon

#define TAKE(p)                             \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a)           (sizeof(a) / sizeof((a)[0]))

DEFINE_AUTO(free, void *, free); /* AUTO(free) on char * goes through AUTO(str) below */
DEFINE_AUTO(str, char *, free);
DEFINE_AUTO(bytes, unsigned char *, free);
DEFINE_AUTO(file, FILE *, fclose);

static inline void oc_auto_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})
