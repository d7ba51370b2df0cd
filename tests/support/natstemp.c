#include "tests/support/natstemp.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "natstemp: %s: %s\n", what, strerror(errno));
	exit(70);
}

static int free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		die("no port");
	close(fd);
	return ntohs(a.sin_port);
}

static bool answers(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	close(fd);
	return ok;
}

void natstemp_again(struct natstemp *n)
{
	char conf[96];

	snprintf(conf, sizeof(conf), "%s/nats.conf", n->dir);
	fflush(NULL);
	n->pid = fork();
	if (n->pid < 0)
		die("fork");
	if (n->pid == 0) {
		int log;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(conf, sizeof(conf), "%s/nats.log", n->dir);
		log = open(conf, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		dup2(log, 1);
		dup2(log, 2);
		snprintf(conf, sizeof(conf), "%s/nats.conf", n->dir);
		execlp("nats-server", "nats-server", "-c", conf, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 500; i++) {
		if (answers(n->port))
			return;
		if (waitpid(n->pid, NULL, WNOHANG) == n->pid)
			die("nats-server ended at once; is the package nats-server there?");
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	die("nats-server does not answer");
}

void natstemp_start(struct natstemp *n)
{
	char path[96];
	FILE *f;

	snprintf(n->dir, sizeof(n->dir), "/tmp/opscase-nats-XXXXXX");
	if (!mkdtemp(n->dir))
		die("no folder");
	n->port = free_port();
	snprintf(n->url, sizeof(n->url), "nats://127.0.0.1:%d", n->port);
	snprintf(path, sizeof(path), "%s/nats.conf", n->dir);
	f = fopen(path, "w");
	if (!f)
		die(path);
	fprintf(f, "host: 127.0.0.1\nport: %d\njetstream { store_dir: \"%s/js\"%s }\n", n->port, n->dir,
		n->durable ? ", sync_interval: always" : "");
	fclose(f);
	natstemp_again(n);
}

void natstemp_kill(struct natstemp *n)
{
	if (n->pid > 0) {
		kill(n->pid, SIGKILL);
		waitpid(n->pid, NULL, 0);
	}
	n->pid = 0;
}

void natstemp_stop(struct natstemp *n)
{
	char cmd[128];

	if (!*n->dir)
		return;
	natstemp_kill(n);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", n->dir);
	if (system(cmd) != 0)
		fprintf(stderr, "natstemp: %s stays\n", n->dir);
	n->dir[0] = '\0';
}
