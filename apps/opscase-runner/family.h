/* family.h - every process that descends from this one, which is their subreaper.
 *
 * Whatever a descendant does (fork twice, setsid, lose its parent), it stays below us until we reap
 * it. So "no child is left" (ECHILD) proves that no descendant is left. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define FAMILY_SEEN 64

struct family {
	pid_t worker; /* the one that matters */
	bool worker_ended;
	int worker_status;
	pid_t seen[FAMILY_SEEN];
	size_t seen_count;
};

/* Reaps what has ended. True: nobody is left. */
bool family_reap(struct family *family);
/* Sends `sig` to all descendants; returns how many there were. */
size_t family_signal(struct family *family, int sig);
