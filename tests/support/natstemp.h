/* natstemp.h - a private nats-server with JetStream for tests: loopback, a port of its own, gone with the test. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

struct natstemp {
	bool durable; /* sync_interval: always */
	char dir[64], url[64];
	int port;
	pid_t pid;
};

void natstemp_start(struct natstemp *n); /* aborts with a sentence when there is none */
void natstemp_kill(struct natstemp *n);  /* SIGKILL; the data stays */
void natstemp_again(struct natstemp *n); /* starts again on the same data and port */
void natstemp_stop(struct natstemp *n);  /* and removes the data; twice is fine */
