/* profile.h - what the profiler counts: shared with the kernel's side. */
#pragma once

#define PROFILE_DEPTH  64
#define PROFILE_STACKS 8192

struct profile_key {
	unsigned int tgid;
	int user, kernel; /* ids in the map of stacks; negative: none */
	char comm[16];
};
