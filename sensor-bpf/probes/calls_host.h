/* calls_host.h - what the probes of calls and of TLS know of each other, on the host's side. */
#pragma once
#include <stdint.h>

struct host;
struct calls_bpf;

/* The loaded programs, whose maps the TLS side shares; NULL while they are not there. */
struct calls_bpf *calls_skeleton(struct host *h);
/* Reads and writes on sockets that the kernel's side has looked at. */
uint64_t calls_seen(struct host *h);
/* A process speaks TLS: attaches to its library, if that was not done yet. */
void tls_look_at(struct host *h, unsigned tgid);
