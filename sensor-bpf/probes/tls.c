/* tls.c - attaches to the OpenSSL libraries that processes have loaded, once for each file. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "sensor-bpf/host/host.h"
#include "sensor-bpf/probes/calls_host.h"
#include "calls.skel.h"
#include "tls.skel.h"

#define LIBRARIES_MAX 64
#define LINKS_EACH    10
#define CHECKED       4096

struct library {
	dev_t dev;
	ino_t ino;
	struct bpf_link *link[LINKS_EACH];
	unsigned links;
};

struct own {
	struct tls_bpf *skel;
	struct library library[LIBRARIES_MAX];
	unsigned count;
	unsigned checked[CHECKED]; /* processes whose libraries were looked at */
	int error;
};

static bool attach(struct library *l, struct bpf_program *prog, const char *path, const char *function,
		   bool at_return)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function, .retprobe = at_return);
	struct bpf_link *link = bpf_program__attach_uprobe_opts(prog, -1, path, 0, &opts);

	if (!link)
		return false;
	l->link[l->links++] = link;
	return true;
}

/* False: this file has not what OpenSSL has. */
static bool library_attach(struct own *own, struct library *l, const char *path)
{
	struct bpf_program *done = own->skel->progs.tls_done;
	bool ok = attach(l, done, path, "SSL_read", true) &&
		  attach(l, own->skel->progs.tls_read, path, "SSL_read", false) &&
		  attach(l, done, path, "SSL_write", true) &&
		  attach(l, own->skel->progs.tls_write, path, "SSL_write", false);

	if (!ok) {
		own->error = errno;
		return false;
	}
	/* before 1.1.1 these are not there */
	if (attach(l, done, path, "SSL_read_ex", true))
		attach(l, own->skel->progs.tls_read_ex, path, "SSL_read_ex", false);
	if (attach(l, done, path, "SSL_write_ex", true))
		attach(l, own->skel->progs.tls_write_ex, path, "SSL_write_ex", false);
	if (attach(l, done, path, "SSL_do_handshake", true))
		attach(l, own->skel->progs.tls_shake, path, "SSL_do_handshake", false);
	return true;
}

static void library_detach(struct library *l)
{
	for (unsigned i = 0; i < l->links; i++)
		bpf_link__destroy(l->link[i]);
	l->links = 0;
}

static void library_seen(struct own *own, const char *path)
{
	struct library *l;
	struct stat st;

	if (stat(path, &st) != 0 || own->count == LIBRARIES_MAX)
		return;
	for (unsigned i = 0; i < own->count; i++)
		if (own->library[i].dev == st.st_dev && own->library[i].ino == st.st_ino)
			return;
	/* remembered also when it does not fit, so that it is tried once */
	l = &own->library[own->count++];
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	if (!library_attach(own, l, path))
		library_detach(l);
}

void tls_look_at(struct host *h, unsigned tgid)
{
	struct own *own = h->own[PROBE_TLS_ID];
	char path[512], line[512], name[512];
	AUTO(file) FILE *f = NULL;

	if (!own || !own->skel || !tgid || own->checked[tgid % CHECKED] == tgid)
		return;
	own->checked[tgid % CHECKED] = tgid;
	snprintf(path, sizeof(path), "%s/%u/maps", h->proc, tgid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		int at = 0;

		if (!strstr(line, "libssl") || sscanf(line, "%*s r-x%*c %*s %*s %*s %n", &at) < 0 || !at)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if (line[at] != '/')
			continue;
		/* the file as that process sees it, whatever its mount namespace */
		snprintf(name, sizeof(name), "%s/%u/root%.300s", h->proc, tgid, line + at);
		library_seen(own, name);
	}
}

static void walk(struct host *h)
{
	DIR *d = opendir(h->proc);
	struct dirent *e;
	long long tgid;

	while (d && (e = readdir(d)))
		if (str_to_long(e->d_name, 1, INT32_MAX, &tgid))
			tls_look_at(h, (unsigned)tgid);
	if (d)
		closedir(d);
}

static unsigned attached(const struct own *own)
{
	unsigned n = 0;

	for (unsigned i = 0; i < own->count; i++)
		n += own->library[i].links > 0;
	return n;
}

static void load(struct host *h, struct probe_report *r)
{
	static const char *const paths[] = { "/usr/lib/x86_64-linux-gnu/libssl.so.3",
					     "/usr/lib/aarch64-linux-gnu/libssl.so.3",
					     "/usr/lib64/libssl.so.3" };
	struct own *own = h->own[PROBE_TLS_ID] = mem_alloc(sizeof(*own));
	struct calls_bpf *calls = calls_skeleton(h);
	int err;

	r->state = PROBE_REFUSED;
	if (!calls) {
		snprintf(r->why, sizeof(r->why), "%s",
			 h->no_bpf ? h->no_bpf_why : "the probe 'calls' is not there to read what it finds");
		return;
	}
	own->skel = tls_bpf__open();
	if (!own->skel) {
		probe_refused(r, "opening", errno);
		return;
	}
	err = bpf_map__reuse_fd(own->skel->maps.calls_ring, bpf_map__fd(calls->maps.calls_ring));
	if (!err)
		err = bpf_map__reuse_fd(own->skel->maps.calls_conns, bpf_map__fd(calls->maps.calls_conns));
	if (!err)
		err = bpf_map__reuse_fd(own->skel->maps.calls_counts, bpf_map__fd(calls->maps.calls_counts));
	if (!err)
		err = bpf_map__reuse_fd(own->skel->maps.tls_inside, bpf_map__fd(calls->maps.tls_inside));
	if (!err)
		err = bpf_map__reuse_fd(own->skel->maps.tls_socks, bpf_map__fd(calls->maps.tls_socks));
	if (!err)
		err = tls_bpf__load(own->skel);
	if (err) {
		probe_refused(r, "loading", err);
		tls_bpf__destroy(own->skel);
		own->skel = NULL;
		return;
	}
	/* the system's library at once: then also processes that start later are heard from their first byte */
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		library_seen(own, paths[i]);
	walk(h);
	r->state = PROBE_LOADED;
	if (attached(own))
		snprintf(r->why, sizeof(r->why),
			 "%u OpenSSL libraries attached; others follow when a process speaks TLS",
			 attached(own));
	else if (own->error)
		probe_degraded(r, "no OpenSSL library could be attached", own->error);
	else
		snprintf(r->why, sizeof(r->why),
			 "no OpenSSL library in use yet; it is attached when a process speaks TLS");
}

static unsigned drain(struct host *h)
{
	(void)h; /* its records come through the ring of 'calls' */
	return 0;
}

static void unload(struct host *h)
{
	struct own *own = h->own[PROBE_TLS_ID];

	for (unsigned i = 0; i < own->count; i++)
		library_detach(&own->library[i]);
	tls_bpf__destroy(own->skel);
	free(own);
}

const struct probe probe_tls = {
	.name = "tls",
	.sees = "the same calls inside of TLS, where programs use OpenSSL as a shared library",
	.hooks = "uprobes SSL_read, SSL_write, SSL_read_ex, SSL_write_ex, SSL_do_handshake",
	.load = load,
	.drain = drain,
	.unload = unload,
};
