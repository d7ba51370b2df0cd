/* up_nats.h - the private nats-server of an embedded installation: loopback, a token, JetStream that syncs. */
#pragma once
#include "apps/opscase/up_children.h"

struct up_nats {
	struct child child;
	char *data, *program, *conf, *token;
	const struct passwd *as;
	unsigned port;
};

/* Finds the program, chooses a port (the last one when it is free), writes run/nats.conf. */
MUST_CHECK enum oc_err up_nats_prepare(struct up_nats *n, const char *data, const struct passwd *as,
				       struct oc_fail *reterr);
/* Until it greets. Takes another port when somebody was quicker. */
MUST_CHECK enum oc_err up_nats_wait(struct up_nats *n, int timeout_ms, struct oc_fail *reterr);
void up_nats_done(struct up_nats *n);

/* --- ports of this installation, kept in ports.json */
bool port_is_free(unsigned port);
/* Is it this process that listens there? Also true where /proc does not tell. */
bool port_is_of(unsigned port, pid_t pid); /* on 127.0.0.1 */
/* The remembered one when it is free, else the first free one from `first` on (0: any). Remembers it. */
unsigned port_choose(const char *data, const char *name, unsigned first);
