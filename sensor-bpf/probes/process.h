/* process.h - the coming and going of processes: shared with the kernel's side. */
#pragma once

enum process_what { PROCESS_STARTED = 1, PROCESS_ENDED, PROCESS_OOM };

struct process_record {
	unsigned char what, pad[3];
	unsigned int tgid, parent;
	int code; /* as wait() tells it */
	unsigned long long lived_ns;
	char comm[16];
};
