#include "sensor-bpf/probes/latency_host.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "sensor-bpf/host/host.h"
#include "sensor-bpf/probes/latency.h"

#define KEYS_MAX 256

struct latency {
	int fd, cpus;
	struct latency_hist *per_cpu;
	struct {
		struct latency_key key;
		struct latency_hist seen;
	} known[KEYS_MAX];
	unsigned count;
};

struct latency *latency_new(int map_fd)
{
	struct latency *l = mem_alloc(sizeof(*l));

	l->fd = map_fd;
	l->cpus = libbpf_num_possible_cpus();
	l->per_cpu = mem_array(l->cpus > 0 ? (size_t)l->cpus : 1, sizeof(*l->per_cpu));
	return l;
}

void latency_free(struct latency *l)
{
	if (!l)
		return;
	free(l->per_cpu);
	free(l);
}

static struct latency_hist *seen_of(struct latency *l, const struct latency_key *key)
{
	for (unsigned i = 0; i < l->count; i++)
		if (memcmp(&l->known[i].key, key, sizeof(*key)) == 0)
			return &l->known[i].seen;
	if (l->count == KEYS_MAX)
		return NULL;
	l->known[l->count].key = *key;
	return &l->known[l->count++].seen;
}

static void one(struct latency *l, struct host *h, const struct latency_key *key, const char *metric,
		unsigned every)
{
	static const char *const ops[] = { "read", "write", "other", "" };
	struct latency_hist *seen = seen_of(l, key);
	struct series *s;

	if (!seen || bpf_map_lookup_elem(l->fd, key, l->per_cpu) != 0 || key->op >= ARRAY_LEN(ops))
		return;
	s = host_series(h, SERIES_HISTOGRAM, "host", metric, "s", "device", key->device, "direction",
			ops[key->op], NULL);
	for (unsigned i = 0; i < LATENCY_SLOTS; i++) {
		unsigned long long n = 0;

		for (int cpu = 0; cpu < l->cpus; cpu++)
			n += l->per_cpu[cpu].slot[i];
		/* in the middle of its slot, as people draw it */
		if (n > seen->slot[i])
			series_observe(s, exp2((double)i + 0.5) * 1e-9, (n - seen->slot[i]) * every);
		seen->slot[i] = n;
	}
}

void latency_read(struct latency *l, struct host *h, const char *metric, unsigned every)
{
	struct latency_key key, next;
	void *from = NULL;

	while (bpf_map_get_next_key(l->fd, from, &next) == 0) {
		key = next;
		from = &key;
		one(l, h, &key, metric, every);
	}
}
