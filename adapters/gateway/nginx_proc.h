/* nginx_proc.h - the running nginx, seen from outside: its master, and how old its workers are.
 *
 * A reload leaves no trace that can be asked for; what shows it is that all workers that still take
 * connections began after the new file was in place. */
#ifndef ADAPTERS_GATEWAY_NGINX_PROC_H
#define ADAPTERS_GATEWAY_NGINX_PROC_H

#include "gateway.h"

struct nginx_master {
	pid_t pid;
	int pidfd; /* -1 where the kernel has none */
};

struct nginx_workers {
	unsigned current;   /* take new connections */
	unsigned finishing; /* of an older configuration, ending */
	int64_t oldest_ns;  /* when the oldest current one began, on the wall clock */
	bool unseen;        /* processes of others are hidden from us */
};

/* False with a sentence if no master runs under that pid file. */
bool nginx_master_find(const char *pid_file, struct nginx_master *ret, char *why, size_t why_size);
void nginx_master_done(struct nginx_master *master);
/* Tells the master to read its configuration again. 0 or -errno. */
int nginx_master_reload(const struct nginx_master *master);
struct nginx_workers nginx_workers_look(const struct nginx_master *master);

struct nginx_said {
	enum gateway_wait end; /* WAIT_READY: it ended by itself */
	bool good;
	char text[4096];
};

/* Runs `argv` to its end, collecting what it says. It is killed at the deadline and on cancel. */
struct nginx_said nginx_command(struct gateway_call *call, char *const argv[]);

int64_t nginx_wall_ns(void);

#endif
