/* worker.h - the process that loads one adapter and serves it.
 *
 * Calls come and answers go on one line; another one carries cancel, and its end means that nobody
 * waits any more. A keeper of 0 means that this runner is shared: then it may start no process, and
 * ends itself by a timer of the kernel. */
#pragma once
#include <sys/types.h>

int worker_main(int call_fd, int control_fd, pid_t keeper);
/* Loads the file in a jail and prints what it offers, as JSON. */
int worker_describe(const char *file);
