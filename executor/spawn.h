/* spawn.h - starts opscase-runner without copying this process: it may be large and have many threads.
 *
 * The child gets exactly the descriptors named, a closed environment, default signals and a session
 * of its own. Any thread. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "base/err.h"

struct spawn {
	const char *runner_path;
	const char *mode;  /* "--keep" */
	const char *name;  /* the adapter or file; seen in ps, so never anything private */
	const char *home;  /* HOME and TMPDIR; NULL: /nonexistent */
	int out, err;      /* its stdout and stderr; -1: /dev/null */
	int call, control; /* descriptors 3 and 4; -1: none */
};

MUST_CHECK enum oc_err spawn_runner(const struct spawn *spawn, pid_t *ret_pid, struct oc_fail *reterr);
/* `given`, else beside this program (or in ../bin), else in PATH. Yours. */
MUST_CHECK enum oc_err spawn_find_runner(const char *given, char **ret_path, struct oc_fail *reterr);
/* Waits up to wait_ms for the end of a child of ours, then kills it. The status as of waitpid. */
int spawn_reap(pid_t pid, int wait_ms);
/* A pipe / pair of sockets, closed on exec, whose numbers cannot be mistaken for a child's 0 to 4. */
bool spawn_pipe(int ret[2]);
bool spawn_pair(int ret[2]);
