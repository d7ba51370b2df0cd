/* latency.h - histograms that are kept in the kernel: shared with its side.
 *
 * Slot i counts what took from 2^i to 2^(i+1) - 1 nanoseconds. */
#pragma once

#define LATENCY_SLOTS 40
#define LATENCY_NAME  32
#define RUNQ_EVERY    16 /* one wait in so many is measured */

enum latency_op { LATENCY_READ, LATENCY_WRITE, LATENCY_OTHER, LATENCY_RUNQ };

struct latency_key {
	char device[LATENCY_NAME]; /* "" of run queues */
	unsigned int op;
};

struct latency_hist {
	unsigned long long slot[LATENCY_SLOTS], sum_ns, count;
};
