/* names.h - which service a process is: by what it says itself, its systemd unit, its pod, its program and the port
 * on which it listens.
 *
 * Answers are kept until the process ends. One thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "sensor-bpf/probes/tuple.h"

#define NAME_MAX_LEN 64

struct names;
struct names *names_new(const char *proc); /* "/proc" */
void names_free(struct names *n);
/* `comm` is what the kernel called it, for a process that is gone; `port`, where not 0, is one it answers on. Lent
 * until names_forget or the next call. */
const char *names_of(struct names *n, unsigned tgid, const char *comm, unsigned port);
void names_forget(struct names *n, unsigned tgid);
/* Who listens on a port of a network namespace; NULL if nobody is known. Learned from what names_of saw, and by a walk
 * over all processes, at most once in `walk_ms` (0: none). Lent until the next call. */
const char *names_of_port(struct names *n, unsigned netns, unsigned port, unsigned walk_ms);

/* --- pure */
/* From the text of /proc/PID/cgroup: the systemd unit; false if it is in none that names a service. */
bool name_from_cgroup(const char *cgroup, char *out, size_t size);
/* Is it in a container? */
bool cgroup_has_container(const char *cgroup);
/* "shop-7d9c6b5f4-x2x7p" is a pod of "shop", "db-0" of "db". */
void name_from_pod(const char *hostname, char *out, size_t size);
/* From the program's path and its arguments (each ending in 0): interpreters are called after their script. */
void name_from_program(const char *exe, const char *args, size_t args_len, char *out, size_t size);
/* The lowest listening port in the text of /proc/net/tcp of those sockets; 0: none. */
unsigned port_from_net(const char *net_tcp, const unsigned long *inodes, size_t count);
/* "10.0.0.7:5432", "[fe80::1]:80"; without a port if that is 0. */
void address_text(const unsigned char addr[16], unsigned port, char *out, size_t size);
bool address_is_loopback(const unsigned char addr[16]);
