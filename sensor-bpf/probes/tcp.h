/* tcp.h - what the TCP probe says: one record for each thing that happened to a connection. */
#pragma once
#include "sensor-bpf/probes/tuple.h"

enum tcp_what {
	TCP_SAID_CONNECTED = 1, /* we called, they answered: took_ns */
	TCP_SAID_FAILED,        /* we called, and it came to nothing: error */
	TCP_SAID_ACCEPTED,
	TCP_SAID_CLOSED, /* took_ns is how long it was open; bytes and rtt are final */
	TCP_SAID_RETRANSMIT,
	TCP_SAID_RESET_IN,
	TCP_SAID_RESET_OUT,
	TCP_SAID_LIVE, /* from the iterator: a connection that is open now */
};

struct tcp_record {
	unsigned char what, state, from_us, pad;
	int error; /* errno, positive */
	unsigned int tgid, srtt_us;
	unsigned int retransmits, pad2; /* of the whole connection */
	unsigned long long sock, took_ns, sent, received;
	struct tuple tuple;
	char comm[16];
};
