/* fallback.h - what can be seen of TCP without BPF: sockets by sock_diag, totals by /proc/net/snmp. */
#pragma once
#include <stdint.h>

struct host;
struct fallback_tcp;
struct fallback_tcp *fallback_tcp_new(const char *proc);
void fallback_tcp_free(struct fallback_tcp *f);
/* Adds open connections and round trips per peer, and the host's retransmits and resets since the last tick. */
void fallback_tcp_tick(struct fallback_tcp *f, struct host *h, int64_t now_ns);

/* Pure: the value of a field of the TCP lines in the text of /proc/net/snmp; -1 if it is not there. */
long long snmp_tcp(const char *text, const char *field);
