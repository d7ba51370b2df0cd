/* latency_host.h - reads the kernel's histograms: what came since the last time. */
#pragma once

struct host;
struct latency;
struct latency *latency_new(int map_fd); /* the map stays its skeleton's */
void latency_free(struct latency *l);
/* Into series of the host; each count stands for `every`. */
void latency_read(struct latency *l, struct host *h, const char *metric, unsigned every);
