/* jail.h - what the process that loads an adapter gives up before it does so. One way. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct jail {
	bool network;        /* may make sockets other than AF_UNIX */
	bool alone;          /* may start no process at all */
	bool scratch_only;   /* may write only below `scratch` (landlock, where the kernel has it) */
	const char *scratch; /* or NULL */
	uint64_t memory;     /* RLIMIT_AS, 0: none; left out under a sanitizer */
	pid_t keeper, host;  /* may not be signalled; 0: none */
};

/* False, with a sentence, if something that the jail promises cannot be had. */
bool jail_enter(const struct jail *jail, char *why, size_t size);
