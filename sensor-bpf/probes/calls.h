/* calls.h - the first bytes of what sockets read and write: shared between the kernel's side and the host's.
 *
 * One record is a head of fixed size and up to CALLS_BYTES_MAX bytes of payload. The bytes stay in this process:
 * the parsers keep a method, a folded route, a status and sizes of them. */
#pragma once
#include "sensor-bpf/probes/tuple.h"

#define CALLS_BYTES_MAX 512
#define CALLS_SYSCALLS  512

enum calls_what {
	CALLS_OPENED = 1, /* the first that is seen of a connection: payload is struct calls_opened */
	CALLS_IN,         /* the process read */
	CALLS_OUT,        /* the process wrote */
	CALLS_CLOSED,
};

/* How much of a connection is told; the host sets it once it knows the protocol. */
enum calls_mode {
	CALLS_NEW,    /* not known yet: everything, for the first few records */
	CALLS_TURNS,  /* only what comes first after the direction changed: HTTP/1 */
	CALLS_ALL,    /* every read and write: protocols that carry several calls at once */
	CALLS_SECRET, /* TLS: the plain text comes from the library's side */
	CALLS_IGNORE,
};
#define CALLS_NEW_MAX 128 /* records of a connection, until the host has said what it is */

/* What a system call does with its descriptor. */
enum calls_kind {
	CALLS_NONE,
	CALLS_READ_BUF,
	CALLS_WRITE_BUF,
	CALLS_READ_IOV,
	CALLS_WRITE_IOV,
	CALLS_READ_MSG,
	CALLS_WRITE_MSG,
	CALLS_WRITE_MMSG,
};

struct calls_head {
	unsigned char what, plain; /* plain: from inside of TLS */
	unsigned short kept;       /* bytes of payload in this record */
	unsigned int size;         /* bytes that were read or written */
	unsigned long long sock, id, at_ns;
	unsigned int seq; /* per connection: a gap is a loss */
	unsigned int pad;
};

struct calls_opened {
	struct tuple tuple;
	unsigned int tgid;
	unsigned char tcp, pad[3];
	char comm[16];
};

/* The kernel's memory of a connection; the host writes mode. */
struct calls_conn {
	unsigned long long id;
	unsigned int seq, told;
	unsigned char mode, last, pad[6];
};

/* The host's order to the kernel: from now on this mode for that connection. */
struct calls_order {
	unsigned long long sock, id;
	unsigned int mode, pad;
};

enum { CALLS_COUNT_LOST, CALLS_COUNT_SEEN, CALLS_COUNT_TOLD, CALLS_COUNT_MAX };
