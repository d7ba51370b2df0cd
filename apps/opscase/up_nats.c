#define LOG_ROOM "up"
#include "apps/opscase/up_nats.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "apps/opscase/datadir.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/json/json.h"

/* --- ports */

static unsigned bind_port(unsigned port)
{
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int one = 1;

	/* As servers do it: what only lingers in TIME_WAIT is free. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) != 0)
		return 0;
	return ntohs(at.sin_port);
}

bool port_is_free(unsigned port)
{
	return port > 0 && port < 65536 && bind_port(port) == port;
}

/* The sockets that listen on the port, from /proc/net/tcp or tcp6. */
static size_t listeners(const char *table, unsigned port, unsigned long *inodes, size_t max)
{
	AUTO(file) FILE *f = fopen(table, "re");
	char line[512];
	size_t n = 0;

	while (f && n < max && fgets(line, sizeof(line), f)) {
		unsigned at, state;
		unsigned long inode;

		if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*d %lu", &at,
			   &state, &inode) == 3 &&
		    at == port && state == 0x0a)
			inodes[n++] = inode;
	}
	return n;
}

bool port_is_of(unsigned port, pid_t pid)
{
	AUTO(str) char *folder = mem_printf("/proc/%d/fd", (int)pid);
	unsigned long inodes[32];
	size_t n = listeners("/proc/net/tcp", port, inodes, 16);
	DIR *dir = pid > 0 ? opendir(folder) : NULL;
	struct dirent *e;
	bool found = false;

	n += listeners("/proc/net/tcp6", port, inodes + n, 16);
	if (!dir || access("/proc/net/tcp", R_OK) != 0) {
		if (dir)
			closedir(dir);
		return pid > 0 && kill(pid, 0) == 0;
	}
	while (!found && (e = readdir(dir)) != NULL) {
		char to[64];
		unsigned long inode;
		ssize_t len = readlinkat(dirfd(dir), e->d_name, to, sizeof(to) - 1);

		to[len > 0 ? len : 0] = '\0';
		if (sscanf(to, "socket:[%lu]", &inode) == 1)
			for (size_t i = 0; i < n; i++)
				found = found || inodes[i] == inode;
	}
	closedir(dir);
	return found;
}

unsigned port_choose(const char *data, const char *name, unsigned first)
{
	AUTO(str) char *path = mem_printf("%s/ports.json", data);
	AUTO(str) char *text = file_slurp(path);
	AUTO(json) json_t *ports = NULL;
	unsigned port;

	if (!text || json_read_own(text, &ports, NULL) != OC_OK || !json_is_object(ports)) {
		json_decref(ports);
		ports = json_object();
	}
	port = (unsigned)json_int_or(ports, name, 0);
	if (port_is_free(port))
		return port;
	for (port = first; first && port < first + 100 && !port_is_free(port); port++)
		;
	if (!first || port == first + 100)
		port = bind_port(0);
	json_object_set_new(ports, name, json_integer(port));
	AUTO(str) char *now = json_pretty(ports);
	/* forgetting it would only mean another port next time */
	(void)!file_put(path, now, 0644, NULL);
	return port;
}

/* --- the server */

static enum oc_err write_conf(struct up_nats *n, struct oc_fail *reterr)
{
	AUTO(text) struct text conf = { 0 };
	enum oc_err err;

	text_addf(
		&conf,
		"# written at every start by opscase up\nlisten: \"127.0.0.1:%u\"\nserver_name: \"opscase-%u\"\n",
		n->port, n->port);
	text_addf(&conf, "authorization { token: \"%s\" }\n", n->token);
	text_add(&conf, "max_payload: 8MB\n"
			"jetstream {\n  store_dir: ");
	json_quote(&conf, n->data);
	conf.s[--conf.len] = '\0'; /* the closing quote */
	text_add(&conf, "/nats\"\n  max_memory_store: 256MB\n  max_file_store: 8GB\n"
			"  # an acknowledged message is on the disk\n  sync_interval: always\n}\n");
	err = file_put(n->conf, conf.s, 0600, reterr);
	if (err == OC_OK && n->as && chown(n->conf, n->as->pw_uid, n->as->pw_gid) != 0)
		err = oc_fail(reterr, OC_UNAVAILABLE, "%s: %s", n->conf, strerror(errno));
	return err;
}

static enum oc_err read_token(struct up_nats *n, struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/tokens/nats", n->data);
	unsigned char bytes[24];
	char word[49];

	n->token = file_line(path);
	if (n->token && strlen(n->token) == 48)
		return OC_OK;
	hash_random(bytes, sizeof(bytes));
	str_hex(bytes, sizeof(bytes), word);
	mem_set(&n->token, word);
	return file_put(path, word, 0600, reterr);
}

enum oc_err up_nats_prepare(struct up_nats *n, const char *data, const struct passwd *as,
			    struct oc_fail *reterr)
{
	AUTO(str) char *store = mem_printf("%s/nats", data);
	enum oc_err err;

	n->data = mem_strdup(data);
	n->as = as;
	n->conf = mem_printf("%s/run/nats.conf", data);
	n->program = program_find("nats-server");
	if (!n->program)
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "nats-server is not installed: apt-get install nats-server");
	err = datadir_make(store, 0700, reterr);
	if (err == OC_OK && as && chown(store, as->pw_uid, as->pw_gid) != 0)
		err = oc_fail(reterr, OC_UNAVAILABLE, "%s: %s", store, strerror(errno));
	if (err == OC_OK)
		err = read_token(n, reterr);
	if (err != OC_OK)
		return err;
	n->port = port_choose(data, "nats", 0);
	n->child.name = "nats-server";
	n->child.as = as;
	n->child.log = mem_printf("%s/log/nats.log", data);
	n->child.stop_signal = SIGTERM;
	child_word(&n->child, "%s", n->program);
	child_word(&n->child, "-c");
	child_word(&n->child, "%s", n->conf);
	return write_conf(n, reterr);
}

/* The server speaks first. */
static bool greets(unsigned port)
{
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char said[5];

	return fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && poll(&ready, 1, 500) == 1 &&
	       read(fd, said, 5) == 5 && memcmp(said, "INFO ", 5) == 0;
}

enum oc_err up_nats_wait(struct up_nats *n, int timeout_ms, struct oc_fail *reterr)
{
	int64_t until = clock_mono_ms() + timeout_ms, now;
	enum oc_err err;

	while ((now = clock_mono_ms()) < until) {
		if (child_reap(&n->child, now)) {
			AUTO(str) char *tail = child_log_tail(&n->child, 8);

			if (port_is_free(n->port) || n->child.deaths > 5)
				return oc_fail(reterr, OC_UNAVAILABLE,
					       "nats-server ended at its start (%s):\n%s",
					       child_death(&n->child), tail);
			n->port = port_choose(n->data, "nats", 0);
			err = write_conf(n, reterr);
			if (err == OC_OK)
				err = child_start(&n->child, reterr);
			if (err != OC_OK)
				return err;
		}
		/* Our own, not somebody who took the port in between: ours is still alive. */
		if (greets(n->port) && !child_reap(&n->child, now))
			return OC_OK;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	AUTO(str) char *tail = child_log_tail(&n->child, 8);
	return oc_fail(reterr, OC_UNAVAILABLE, "nats-server does not answer after %d s:\n%s",
		       timeout_ms / 1000, tail);
}

void up_nats_done(struct up_nats *n)
{
	child_done(&n->child);
	if (n->token)
		explicit_bzero(n->token, strlen(n->token));
	free(n->data);
	free(n->program);
	free(n->conf);
	free(n->token);
	*n = (struct up_nats){ 0 };
}
