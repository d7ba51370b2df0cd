/* child.h - runs one program in the jail and waits for it.
 *
 * Its output goes where the adapter's own goes: to the host, which keeps as much as it allows. The
 * program gets a process group of its own; what it leaves behind is the runner's to end. */
#ifndef ADAPTERS_SCRIPT_CHILD_H
#define ADAPTERS_SCRIPT_CHILD_H

#include "jail.h"

#include <stdatomic.h>
#include <stdint.h>

struct child {
	char *const *argv;
	char *const *env;
	const char *cwd;
	const char *input; /* for stdin; NULL: nothing */
	bool quiet;        /* a check's output is nobody's */
	struct jail jail;
	int64_t until_ms; /* answer_clock_ms */
	atomic_bool *stop_ref;
};

enum child_end {
	CHILD_EXITED,     /* `number` is the exit code */
	CHILD_SIGNALLED,  /* `number` is the signal */
	CHILD_STOPPED,    /* cancelled or out of time: it was running, and was killed */
	CHILD_NOT_STARTED /* `why` says what stood in the way; certainly nothing ran */
};

struct child_result {
	enum child_end end;
	int number;
	bool out_of_time;
	char why[512];
};

struct child_result child_run(const struct child *child);
/* The file that argv[0] means, by the closed PATH; false if there is none that can be executed. */
bool child_find(const char *name, char *out, size_t size);

#define CHILD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#endif
