/* jail.h - what a program is held to: limits, and which files it may write (landlock).
 *
 * Called between fork and exec; the network and dangerous system calls are the runner's to refuse. */
#ifndef ADAPTERS_SCRIPT_JAIL_H
#define ADAPTERS_SCRIPT_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define JAIL_PATHS 128

struct jail {
	long long cpu_s, memory_mb, files, processes, file_mb;
	const char *scratch;
	const char *write_paths[JAIL_PATHS];
	size_t write_count;
	const char *read_paths[JAIL_PATHS]; /* with read_closed: only these and the system's */
	size_t read_count;
	bool read_closed;
	bool signals; /* may signal what it did not start */
	uid_t uid;    /* (uid_t)-1: stay who we are */
	gid_t gid;
};

/* NULL, or what could not be had. */
const char *jail_enter(const struct jail *jail);

#endif
