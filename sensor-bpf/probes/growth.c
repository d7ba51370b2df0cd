/* growth.c - open files and memory of processes, from /proc; no BPF. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "sensor-bpf/host/host.h"

#define PROCESSES_MAX 512 /* the largest ones by memory are looked at */

struct own {
	long page;
};

struct size {
	unsigned tgid;
	double rss;
};

static bool read_rss(struct host *h, unsigned tgid, double page, double *ret)
{
	char path[128];
	unsigned long long pages, resident;
	AUTO(file) FILE *f = NULL;

	snprintf(path, sizeof(path), "%s/%u/statm", h->proc, tgid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu %llu", &pages, &resident) != 2)
		return false;
	*ret = (double)resident * page;
	return true;
}

static unsigned count_fds(struct host *h, unsigned tgid)
{
	char path[128];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%u/fd", h->proc, tgid);
	d = opendir(path);
	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n > 2 ? n - 2 : 0;
}

static int larger(const void *a, const void *b)
{
	const struct size *x = a, *y = b;

	return x->rss < y->rss ? 1 : x->rss > y->rss ? -1 : 0;
}

static void tick(struct host *h, int64_t now_ns)
{
	struct own *own = h->own[PROBE_GROWTH_ID];
	struct size *all = NULL;
	size_t count = 0, cap = 0;
	DIR *d = opendir(h->proc);
	struct dirent *e;
	long long tgid;

	(void)now_ns;
	while (d && (e = readdir(d))) {
		struct size s;

		if (!str_to_long(e->d_name, 1, INT32_MAX, &tgid) ||
		    !read_rss(h, (unsigned)tgid, (double)own->page, &s.rss) || s.rss == 0)
			continue; /* threads of the kernel have none */
		s.tgid = (unsigned)tgid;
		if (count == cap) {
			cap = cap ? 2 * cap : 128;
			all = mem_grow(all, cap, sizeof(*all));
		}
		all[count++] = s;
	}
	if (d)
		closedir(d);
	if (count)
		qsort(all, count, sizeof(*all), larger);
	for (size_t i = 0; i < count && i < PROCESSES_MAX; i++) {
		const char *name = names_of(h->names, all[i].tgid, NULL, 0);

		/* what belongs to one service is added up */
		series_add(host_series(h, SERIES_GAUGE, name, "process.memory.usage", "By", NULL),
			   all[i].rss);
		series_add(host_series(h, SERIES_GAUGE, name, "process.open_file_descriptor.count",
				       "{file_descriptor}", NULL),
			   count_fds(h, all[i].tgid));
		series_add(host_series(h, SERIES_GAUGE, name, "process.count", "{process}", NULL), 1);
	}
	free(all);
}

static void load(struct host *h, struct probe_report *r)
{
	struct own *own = h->own[PROBE_GROWTH_ID] = mem_alloc(sizeof(*own));

	own->page = sysconf(_SC_PAGESIZE);
	if (access(h->proc, R_OK | X_OK) != 0) {
		snprintf(r->why, sizeof(r->why), "%s cannot be read", h->proc);
		r->state = PROBE_REFUSED;
		return;
	}
	r->state = PROBE_LOADED;
}

static unsigned drain(struct host *h)
{
	(void)h;
	return 0;
}

static void unload(struct host *h)
{
	free(h->own[PROBE_GROWTH_ID]);
}

const struct probe probe_growth = {
	.name = "growth",
	.sees = "memory and open files of each service",
	.hooks = "/proc (no BPF)",
	.load = load,
	.drain = drain,
	.tick = tick,
	.unload = unload,
};
