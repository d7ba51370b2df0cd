#include "base/fault.h"

#ifdef OPSCASE_FAULTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fault_point(const char *name)
{
	static atomic_int passed;
	const char *want = getenv("OPSCASE_FAULT"), *colon = want ? strchr(want, ':') : NULL;

	if (!colon || strlen(name) != (size_t)(colon - want) ||
	    strncmp(name, want, (size_t)(colon - want)) != 0)
		return;
	if (atomic_fetch_add(&passed, 1) + 1 != atoi(colon + 1))
		return;
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}
#endif
