#include "sensor-bpf/host/names.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#define SLOTS       4096
#define SOCKETS_MAX 256
#define PORTS       4096
#define AGAIN_MS    30000 /* a program that did not listen yet is looked at again */

struct known {
	unsigned tgid;
	bool whole; /* the name says it all: no port behind it */
	int64_t at_ms;
	char name[NAME_MAX_LEN];
};

struct listener {
	unsigned netns, port;
	char name[NAME_MAX_LEN + 8];
};

struct names {
	char *proc;
	int64_t walked_ms;
	struct known slot[SLOTS];
	struct listener listener[PORTS];
	char with_port[NAME_MAX_LEN + 8];
};

struct names *names_new(const char *proc)
{
	struct names *n = mem_alloc(sizeof(*n));

	n->proc = mem_strdup(proc);
	return n;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	free(n->proc);
	free(n);
}

/* --- pure */

static void keep_name(char *out, size_t size, const char *s, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < n && used + 1 < size; i++)
		out[used++] = isalnum((unsigned char)s[i]) || strchr("._-@", s[i]) ? s[i] : '_';
	out[used] = '\0';
}

bool name_from_cgroup(const char *cgroup, char *out, size_t size)
{
	for (const char *line = cgroup; *line;) {
		size_t len = strcspn(line, "\n"), at = 0;

		/* the last part of the path that is a unit: those above it are managers */
		for (size_t end = len; end > 0; end = at) {
			const char *part;
			size_t n;

			for (at = end; at > 0 && line[at - 1] != '/'; at--)
				;
			part = line + at;
			n = end - at;
			at = at ? at - 1 : 0;
			if (n > 8 && memcmp(part + n - 8, ".service", 8) == 0 &&
			    strncmp(part, "user@", 5) != 0 && memchr(part, ':', n) == NULL) {
				keep_name(out, size, part, n - 8);
				return true;
			}
		}
		line += len + (line[len] == '\n');
	}
	return false;
}

bool cgroup_has_container(const char *cgroup)
{
	static const char *const marks[] = { "docker", "containerd", "kubepods", "libpod", "crio", "lxc" };

	for (size_t i = 0; i < ARRAY_LEN(marks); i++)
		if (strstr(cgroup, marks[i]))
			return true;
	return false;
}

static bool is_suffix(const char *s, size_t n)
{
	bool digit = false;

	for (size_t i = 0; i < n; i++) {
		if (!islower((unsigned char)s[i]) && !isdigit((unsigned char)s[i]))
			return false;
		digit |= isdigit((unsigned char)s[i]) != 0;
	}
	return n > 0 && n <= 10 && (digit || n == 5);
}

void name_from_pod(const char *hostname, char *out, size_t size)
{
	size_t n = strlen(hostname);

	for (int i = 0; i < 2; i++) {
		size_t at = n;

		while (at > 0 && hostname[at - 1] != '-')
			at--;
		if (at < 2 || !is_suffix(hostname + at, n - at))
			break;
		n = at - 1;
	}
	keep_name(out, size, hostname, n);
}

void name_from_program(const char *exe, const char *args, size_t args_len, char *out, size_t size)
{
	static const char *const interpreters[] = { "python", "node", "ruby", "perl", "java",
						    "php",    "bash", "sh",   "dash" };
	const char *base = strrchr(exe, '/');
	size_t n;

	base = base ? base + 1 : exe;
	n = strcspn(base, " ");
	for (size_t i = 0; i < ARRAY_LEN(interpreters); i++) {
		size_t len = strlen(interpreters[i]);
		const char *arg = memchr(args, 0, args_len), *end = args + args_len;

		if (strncmp(base, interpreters[i], len) != 0 ||
		    (base[len] && !isdigit((unsigned char)base[len]) && base[len] != '.' && base[len] != ' '))
			continue;
		while (arg && ++arg < end) {
			const char *stop = memchr(arg, 0, (size_t)(end - arg)), *slash;

			if (!stop)
				stop = end;
			if (*arg && *arg != '-') {
				for (slash = stop; slash > arg && slash[-1] != '/'; slash--)
					;
				keep_name(out, size, slash, (size_t)(stop - slash));
				if (strchr(out, '.'))
					*strrchr(out, '.') = '\0';
				if (*out)
					return;
			}
			/* what is run with -c or -m is no file */
			if (*arg == '-' && (arg[1] == 'c' || arg[1] == 'm' || arg[1] == 'e'))
				break;
			arg = stop < end ? stop : NULL;
		}
		break;
	}
	keep_name(out, size, base, n);
}

unsigned port_from_net(const char *net_tcp, const unsigned long *inodes, size_t count)
{
	unsigned low = 0;

	for (const char *line = net_tcp; *line;) {
		unsigned port = 0, state = 0;
		unsigned long inode = 0;

		if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &port,
			   &state, &inode) == 3) {
			if (state != 0x0a) /* listening ones come first */
				break;
			for (size_t i = 0; i < count; i++)
				if (inodes[i] == inode && port && (!low || port < low))
					low = port;
		}
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return low;
}

static bool is_v4(const unsigned char addr[16])
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

void address_text(const unsigned char addr[16], unsigned port, char *out, size_t size)
{
	char ip[INET6_ADDRSTRLEN];
	bool v4 = is_v4(addr);

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + 12 : addr, ip, sizeof(ip));
	if (!port)
		snprintf(out, size, "%s", ip);
	else
		snprintf(out, size, v4 ? "%s:%u" : "[%s]:%u", ip, port);
}

bool address_is_loopback(const unsigned char addr[16])
{
	static const unsigned char one[16] = { [15] = 1 };

	return is_v4(addr) ? addr[12] == 127 : memcmp(addr, one, 16) == 0;
}

/* --- from /proc */

static size_t read_proc(const struct names *n, unsigned tgid, const char *what, char *out, size_t size)
{
	char path[128];
	ssize_t got, all = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%u/%s", n->proc, tgid, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		out[0] = '\0';
		return 0;
	}
	while ((size_t)all + 1 < size && (got = read(fd, out + all, size - 1 - (size_t)all)) > 0)
		all += got;
	close(fd);
	out[all] = '\0';
	return (size_t)all;
}

/* Only this one variable is looked for; nothing else of the environment is kept. */
static bool variable(const char *environ_text, size_t len, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);

	for (const char *v = environ_text; v < environ_text + len; v += strlen(v) + 1)
		if (strncmp(v, name, n) == 0 && v[n] == '=' && v[n + 1]) {
			keep_name(out, size, v + n + 1, strlen(v + n + 1));
			return true;
		}
	return false;
}

static unsigned listening_port(const struct names *n, unsigned tgid)
{
	static char net[16384];
	unsigned long inodes[SOCKETS_MAX];
	size_t count = 0;
	char path[128], to[64];
	struct dirent *e;
	unsigned port, port6;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%u/fd", n->proc, tgid);
	d = opendir(path);
	if (!d)
		return 0;
	while ((e = readdir(d)) && count < SOCKETS_MAX) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);

		if (len <= 0)
			continue;
		to[len] = '\0';
		if (sscanf(to, "socket:[%lu]", &inodes[count]) == 1)
			count++;
	}
	closedir(d);
	if (!count)
		return 0;
	read_proc(n, tgid, "net/tcp", net, sizeof(net));
	port = port_from_net(net, inodes, count);
	read_proc(n, tgid, "net/tcp6", net, sizeof(net));
	port6 = port_from_net(net, inodes, count);
	return port && (!port6 || port < port6) ? port : port6;
}

static struct listener *listener_at(struct names *n, unsigned netns, unsigned port)
{
	return &n->listener[(netns * 2654435761u ^ port * 40503u) % PORTS];
}

static void learn_port(struct names *n, unsigned tgid, unsigned port, const char *name)
{
	struct listener *l;
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%u/ns/net", n->proc, tgid);
	if (!port || stat(path, &st) != 0)
		return;
	l = listener_at(n, (unsigned)st.st_ino, port);
	l->netns = (unsigned)st.st_ino;
	l->port = port;
	snprintf(l->name, sizeof(l->name), "%s", name);
}

/* True: that is its name. False: it is what the program is called. */
static bool find_out(struct names *n, unsigned tgid, const char *comm, char *out, size_t size)
{
	char cgroup[4096], exe[256], args[1024], environ_text[16384], host[NAME_MAX_LEN], path[128];
	ssize_t exe_len;
	size_t args_len, env_len;
	unsigned port = listening_port(n, tgid);

	env_len = read_proc(n, tgid, "environ", environ_text, sizeof(environ_text));
	if (variable(environ_text, env_len, "OTEL_SERVICE_NAME", out, size)) {
		learn_port(n, tgid, port, out);
		return true;
	}
	read_proc(n, tgid, "cgroup", cgroup, sizeof(cgroup));
	if (cgroup_has_container(cgroup)) {
		if (strstr(cgroup, "kubepods") &&
		    variable(environ_text, env_len, "HOSTNAME", host, sizeof(host))) {
			name_from_pod(host, out, size);
			learn_port(n, tgid, port, out);
			return true;
		}
	} else if (name_from_cgroup(cgroup, out, size)) {
		learn_port(n, tgid, port, out);
		return true;
	}
	snprintf(path, sizeof(path), "%s/%u/exe", n->proc, tgid);
	exe_len = readlink(path, exe, sizeof(exe) - 1);
	if (exe_len <= 0) {
		keep_name(out, size, comm && *comm ? comm : "unknown",
			  strlen(comm && *comm ? comm : "unknown"));
		return false;
	}
	exe[exe_len] = '\0';
	args_len = read_proc(n, tgid, "cmdline", args, sizeof(args));
	name_from_program(exe, args, args_len, out, size - 8);
	if (port)
		snprintf(out + strlen(out), 8, ":%u", port & 0xffff);
	learn_port(n, tgid, port, out);
	return port != 0;
}

const char *names_of(struct names *n, unsigned tgid, const char *comm, unsigned port)
{
	struct known *k = &n->slot[tgid % SLOTS];

	if (!tgid)
		return comm && *comm ? comm : "unknown";
	if (k->tgid != tgid || !k->name[0] || (!k->whole && clock_mono_ms() - k->at_ms > AGAIN_MS)) {
		k->tgid = tgid;
		k->at_ms = clock_mono_ms();
		k->whole = find_out(n, tgid, comm, k->name, sizeof(k->name));
	}
	/* one that gives each connection a process of its own listens in another */
	if (!port || k->whole)
		return k->name;
	snprintf(n->with_port, sizeof(n->with_port), "%s:%u", k->name, port);
	return n->with_port;
}

void names_forget(struct names *n, unsigned tgid)
{
	struct known *k = &n->slot[tgid % SLOTS];

	if (k->tgid == tgid)
		k->tgid = 0, k->name[0] = '\0';
}

static void walk(struct names *n)
{
	DIR *d = opendir(n->proc);
	struct dirent *e;
	long long tgid;

	while (d && (e = readdir(d)))
		if (str_to_long(e->d_name, 1, INT32_MAX, &tgid))
			names_of(n, (unsigned)tgid, NULL, 0);
	if (d)
		closedir(d);
}

const char *names_of_port(struct names *n, unsigned netns, unsigned port, unsigned walk_ms)
{
	const struct listener *l = listener_at(n, netns, port);
	int64_t now = clock_mono_ms();

	if (!port)
		return NULL;
	if ((l->netns != netns || l->port != port) && walk_ms &&
	    (!n->walked_ms || now - n->walked_ms > walk_ms)) {
		n->walked_ms = now;
		walk(n);
	}
	return l->netns == netns && l->port == port ? l->name : NULL;
}
