/* calls.c - service calls: the kernel's records of reads and writes become flows, and flows become calls. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/mem.h"
#include "sensor-bpf/host/host.h"
#include "sensor-bpf/parse/flow.h"
#include "sensor-bpf/probes/calls.h"
#include "sensor-bpf/probes/calls_host.h"
#include "calls.skel.h"

#define BUCKETS   16384
#define CONNS_MAX 32768
#define IDLE_NS   (300 * 1000000000LL)
#define WALK_MS   30000
#define SLICE_NS  (1LL << 27)

struct conn {
	uint64_t sock, id;
	struct conn *next, *next_tuple,
		*other; /* other: the same connection, seen from its far end on this machine */
	struct calls_opened opened;
	struct flow *flow;
	uint32_t seq;
	uint8_t mode;
	bool muted; /* the far end counts for both */
	int64_t last_ns;
	/* of the last call: most calls are like the one before */
	uint64_t generation;
	struct series *duration;
	char like_method[24], like_route[96], like_status[16];
	char service[80], peer[80];
	bool named;
};

struct own {
	struct calls_bpf *skel;
	struct ring_buffer *ring;
	struct conn *bucket[BUCKETS], *by_tuple[BUCKETS];
	unsigned count;
	uint64_t unknown; /* records of connections whose beginning was lost */
	uint64_t gaps;
	unsigned weight;
	int64_t slow_ns;
};

/* --- the table */

static size_t hash64(uint64_t v)
{
	return (size_t)(v * 0x9e3779b97f4a7c15ULL >> 40) & (BUCKETS - 1);
}

static size_t hash_tuple(const unsigned char *a, unsigned ap, const unsigned char *b, unsigned bp)
{
	uint64_t h = 14695981039346656037ULL ^ ((uint64_t)ap << 16 | bp);

	for (int i = 8; i < 16; i++)
		h = (h ^ a[i]) * 1099511628211ULL;
	for (int i = 8; i < 16; i++)
		h = (h ^ b[i]) * 1099511628211ULL;
	return hash64(h);
}

static struct conn *conn_find(struct own *own, uint64_t sock)
{
	struct conn *c = own->bucket[hash64(sock)];

	while (c && c->sock != sock)
		c = c->next;
	return c;
}

static bool has_tuple(const struct conn *c)
{
	return c->opened.tcp && c->opened.tuple.local_port && c->opened.tuple.remote_port;
}

/* The same connection from its other end: loopback only inside of one network namespace. */
static struct conn *conn_mirror(struct own *own, const struct tuple *t)
{
	struct conn *c = own->by_tuple[hash_tuple(t->remote, t->remote_port, t->local, t->local_port)];

	for (; c; c = c->next_tuple) {
		const struct tuple *o = &c->opened.tuple;

		if (o->local_port == t->remote_port && o->remote_port == t->local_port &&
		    memcmp(o->local, t->remote, 16) == 0 && memcmp(o->remote, t->local, 16) == 0 &&
		    (o->netns == t->netns || !address_is_loopback(t->local)))
			return c;
	}
	return NULL;
}

static void unlink_from(struct conn **at, const struct conn *c, bool tuple)
{
	while (*at && *at != c)
		at = tuple ? &(*at)->next_tuple : &(*at)->next;
	if (*at)
		*at = tuple ? c->next_tuple : c->next;
}

static void conn_drop(struct own *own, struct conn *c)
{
	const struct tuple *t = &c->opened.tuple;

	unlink_from(&own->bucket[hash64(c->sock)], c, false);
	if (has_tuple(c))
		unlink_from(&own->by_tuple[hash_tuple(t->local, t->local_port, t->remote, t->remote_port)], c,
			    true);
	if (c->other) {
		c->other->other = NULL;
		/* the kernel says nothing more of one that it ignores, not even its end */
		if (c->other->muted)
			conn_drop(own, c->other);
	}
	flow_free(c->flow);
	free(c);
	own->count--;
}

static struct conn *conn_add(struct own *own, const struct calls_head *head, const struct calls_opened *o)
{
	struct conn *c = conn_find(own, head->sock);
	const struct tuple *t;
	size_t at;

	if (c)
		conn_drop(own, c);
	if (own->count >= CONNS_MAX)
		return NULL;
	c = mem_alloc(sizeof(*c));
	c->sock = head->sock;
	c->id = head->id;
	c->opened = *o;
	c->last_ns = (int64_t)head->at_ns;
	t = &c->opened.tuple;
	c->flow = flow_new(o->tcp, t->local_port, t->remote_port);
	at = hash64(c->sock);
	c->next = own->bucket[at];
	own->bucket[at] = c;
	own->count++;
	if (has_tuple(c)) {
		c->other = conn_mirror(own, t);
		if (c->other)
			c->other->other = c;
		at = hash_tuple(t->local, t->local_port, t->remote, t->remote_port);
		c->next_tuple = own->by_tuple[at];
		own->by_tuple[at] = c;
	}
	return c;
}

/* --- modes */

static void kernel_mode(struct own *own, struct conn *c, uint8_t mode)
{
	struct calls_order order = { .sock = c->sock, .id = c->id, .mode = mode };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &order, .ctx_size_in = sizeof(order));

	c->mode = mode;
	bpf_prog_test_run_opts(bpf_program__fd(own->skel->progs.calls_order), &opts);
}

static void mode_follow(struct own *own, struct conn *c)
{
	static const uint8_t modes[] = {
		[FLOW_TELL_ALL] = CALLS_ALL,
		[FLOW_TELL_TURNS] = CALLS_TURNS,
		[FLOW_TELL_NOTHING] = CALLS_IGNORE,
	};
	uint8_t want = modes[flow_wants(c->flow)];

	/* not known yet, or inside of TLS, where the kernel has to see which object belongs to which socket */
	if (flow_proto(c->flow) == PROTO_NONE && want == CALLS_ALL)
		return;
	if (c->mode == CALLS_SECRET && want != CALLS_IGNORE)
		return;
	if (c->mode != want)
		kernel_mode(own, c, want);
}

/* Both ends are ours: the one that answers counts for both. */
static void mute_caller(struct own *own, struct conn *c)
{
	struct conn *caller = c->other;

	if (!caller || caller->muted || flow_proto(c->flow) == PROTO_NONE || !flow_we_serve(c->flow))
		return;
	caller->muted = true;
	c->named = false;
	kernel_mode(own, caller, CALLS_IGNORE);
}

/* --- calls */

struct sink {
	struct host *h;
	struct own *own;
	struct conn *c;
};

static void name_ends(struct host *h, struct conn *c, bool we_serve)
{
	const struct calls_opened *o = &c->opened;
	const struct conn *far = c->other;
	const char *name = NULL;

	snprintf(c->service, sizeof(c->service), "%s",
		 names_of(h->names, o->tgid, o->comm, we_serve ? o->tuple.local_port : 0));
	if (far)
		name = names_of(h->names, far->opened.tgid, far->opened.comm,
				we_serve ? 0 : far->opened.tuple.local_port);
	else if (!we_serve && address_is_loopback(o->tuple.remote))
		name = names_of_port(h->names, o->tuple.netns, o->tuple.remote_port, WALK_MS);
	if (name)
		snprintf(c->peer, sizeof(c->peer), "%s", name);
	else if (!o->tuple.netns)
		snprintf(c->peer, sizeof(c->peer), "unknown");
	else
		address_text(o->tuple.remote, we_serve ? 0 : o->tuple.remote_port, c->peer, sizeof(c->peer));
	c->named = true;
	c->duration = NULL;
}

static struct series *duration_of(struct host *h, struct conn *c, const struct call *call)
{
	bool http = call->proto == PROTO_HTTP1 || call->proto == PROTO_HTTP2;

	if (c->duration && c->generation == series_generation(h->series) &&
	    strcmp(c->like_route, call->route) == 0 && strcmp(c->like_method, call->method) == 0 &&
	    strcmp(c->like_status, call->status) == 0)
		return c->duration;
	memcpy(c->like_method, call->method, sizeof(c->like_method));
	memcpy(c->like_route, call->route, sizeof(c->like_route));
	memcpy(c->like_status, call->status, sizeof(c->like_status));
	c->duration = host_series(h, SERIES_HISTOGRAM, c->service, "service.call.duration", "s", "client",
				  call->we_serve ? c->peer : c->service, "server",
				  call->we_serve ? c->service : c->peer, "side",
				  call->we_serve ? "server" : "client", "network.protocol.name",
				  proto_name(call->proto), http ? "http.request.method" : "rpc.method",
				  call->method, http ? "http.route" : "rpc.target", call->route,
				  http ? "http.response.status_code" : "rpc.status", call->status, "error",
				  call->failed ? "true" : "false", NULL);
	c->generation = series_generation(h->series);
	return c->duration;
}

static void on_call(void *ctx, const struct call *call)
{
	struct sink *s = ctx;
	struct conn *c = s->c;
	int64_t took = (int64_t)(call->end_ns - call->start_ns);

	/* the far end, which answers, is ours as well */
	if (!call->we_serve && c->other &&
	    (c->muted || (flow_proto(c->other->flow) != PROTO_NONE && flow_we_serve(c->other->flow))))
		return;
	/* while slices are left out, a question and an answer of two slices need not belong together */
	if (s->own->weight > 1 && took > SLICE_NS)
		return;
	if (!c->named)
		name_ends(s->h, c, call->we_serve);
	if (call->one_way) {
		series_add(host_series(s->h, SERIES_SUM, c->service, "service.messages", "{message}",
				       "client", call->we_serve ? c->peer : c->service, "server",
				       call->we_serve ? c->service : c->peer, "network.protocol.name",
				       proto_name(call->proto), "rpc.method", call->method, "rpc.target",
				       call->route, "error", call->failed ? "true" : "false", NULL),
			   s->own->weight);
		return;
	}
	series_observe(duration_of(s->h, c, call), (double)took * 1e-9, s->own->weight);
	if (call->failed || took >= s->own->slow_ns)
		spans_offer(s->h->spans, c->service, c->peer, call, host_wall_ns((int64_t)call->start_ns));
}

static void lost_calls(struct host *h, struct own *own, struct conn *c)
{
	unsigned lost = flow_gap(c->flow);

	own->gaps++;
	if (lost)
		series_add(host_series(h, SERIES_SUM, "opscase-sensor", "sensor.calls.given_up", "{call}",
				       NULL),
			   lost);
}

static void on_bytes(struct host *h, struct own *own, const struct calls_head *head, const uint8_t *bytes)
{
	struct conn *c = conn_find(own, head->sock);
	struct sink ctx = { h, own, c };
	struct flow_sink sink = { on_call, &ctx };

	if (!c || c->id != head->id) {
		/* its beginning was lost: the kernel forgets it too, and tells it anew */
		own->unknown++;
		bpf_map_delete_elem(bpf_map__fd(own->skel->maps.calls_conns), &head->sock);
		return;
	}
	c->last_ns = (int64_t)head->at_ns;
	if (c->muted)
		return;
	if (head->seq > c->seq)
		lost_calls(h, own, c);
	c->seq = head->seq + 1;
	if (!head->plain && head->kept >= 3 && bytes[0] == 0x16 && bytes[1] == 3 && c->mode != CALLS_SECRET &&
	    c->mode != CALLS_TURNS) {
		/* what was plain until here asked for TLS: it begins again, inside */
		c->mode = CALLS_SECRET;
		flow_free(c->flow);
		c->flow = flow_new(true, c->opened.tuple.local_port, c->opened.tuple.remote_port);
		tls_look_at(h, c->opened.tgid);
		return;
	}
	if (c->mode == CALLS_SECRET && !head->plain)
		return;
	flow_feed(c->flow, head->what == CALLS_IN ? FLOW_IN : FLOW_OUT, head->at_ns, bytes, head->kept,
		  head->size, &sink);
	mute_caller(own, c);
	mode_follow(own, c);
}

static void on_closed(struct host *h, struct own *own, struct conn *c)
{
	unsigned outstanding = flow_outstanding(c->flow);

	if (outstanding && !c->muted && flow_proto(c->flow) != PROTO_NONE) {
		if (!c->named)
			name_ends(h, c, flow_we_serve(c->flow));
		series_add(host_series(h, SERIES_SUM, c->service, "service.calls.unanswered", "{call}",
				       "client", flow_we_serve(c->flow) ? c->peer : c->service, "server",
				       flow_we_serve(c->flow) ? c->service : c->peer, "network.protocol.name",
				       proto_name(flow_proto(c->flow)), NULL),
			   outstanding);
	}
	conn_drop(own, c);
}

static int on_record(void *ctx, void *data, size_t size)
{
	struct host *h = ctx;
	struct own *own = h->own[PROBE_CALLS_ID];
	const struct calls_head *head = data;
	const uint8_t *bytes = (const uint8_t *)(head + 1);
	struct conn *c;

	if (size < sizeof(*head) || size < sizeof(*head) + head->kept)
		return 0;
	switch (head->what) {
	case CALLS_OPENED:
		if (head->kept >= sizeof(struct calls_opened)) {
			struct calls_opened opened;

			memcpy(&opened, bytes, sizeof(opened));
			conn_add(own, head, &opened);
		}
		break;
	case CALLS_IN:
	case CALLS_OUT:
		on_bytes(h, own, head, bytes);
		break;
	case CALLS_CLOSED:
		c = conn_find(own, head->sock);
		if (c && c->id == head->id)
			on_closed(h, own, c);
		break;
	default:
		break;
	}
	return 0;
}

/* --- the probe */

static void kinds_fill(unsigned char *kinds)
{
	static const struct {
		int nr;
		enum calls_kind kind;
	} calls[] = {
		{ SYS_read,     CALLS_READ_BUF   },
                { SYS_recvfrom, CALLS_READ_BUF   },
		{ SYS_write,    CALLS_WRITE_BUF  },
                { SYS_sendto,   CALLS_WRITE_BUF  },
		{ SYS_readv,    CALLS_READ_IOV   },
                { SYS_writev,   CALLS_WRITE_IOV  },
		{ SYS_recvmsg,  CALLS_READ_MSG   },
                { SYS_sendmsg,  CALLS_WRITE_MSG  },
		{ SYS_sendmmsg, CALLS_WRITE_MMSG },
	};

	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (calls[i].nr < CALLS_SYSCALLS)
			kinds[calls[i].nr] = (unsigned char)calls[i].kind;
}

static void load(struct host *h, struct probe_report *r)
{
	struct own *own = h->own[PROBE_CALLS_ID] = mem_alloc(sizeof(*own));
	int err;

	own->weight = 1;
	own->slow_ns = setting_ms(h->settings, SET_SENSOR_SLOW) * 1000000;
	if (h->no_bpf) {
		r->state = PROBE_REFUSED;
		snprintf(r->why, sizeof(r->why), "%s; service calls cannot be seen without BPF",
			 h->no_bpf_why);
		return;
	}
	own->skel = calls_bpf__open();
	if (!own->skel) {
		probe_refused(r, "opening", errno);
		return;
	}
	own->skel->rodata->self_tgid = (unsigned)getpid();
	kinds_fill(own->skel->rodata->kinds);
	err = calls_bpf__load(own->skel);
	if (err) {
		probe_refused(r, "loading", err);
		calls_bpf__destroy(own->skel);
		own->skel = NULL;
		return;
	}
	own->ring = ring_buffer__new(bpf_map__fd(own->skel->maps.calls_ring), on_record, h, NULL);
	if (!own->ring) {
		probe_refused(r, "ring buffer", errno);
		return;
	}
	own->skel->links.calls_exit = bpf_program__attach(own->skel->progs.calls_exit);
	if (!own->skel->links.calls_exit) {
		probe_refused(r, "tp_btf/sys_exit", errno);
		return;
	}
	r->state = PROBE_LOADED;
	own->skel->links.calls_state = bpf_program__attach(own->skel->progs.calls_state);
	if (!own->skel->links.calls_state)
		probe_degraded(r, "tp_btf/inet_sock_set_state (ends of connections are found late)", errno);
}

static unsigned drain(struct host *h)
{
	struct own *own = h->own[PROBE_CALLS_ID];
	int n;

	if (!own->ring)
		return 0;
	own->weight = 1u << h->budget.level;
	own->skel->bss->shed_mask = own->weight - 1;
	n = ring_buffer__consume(own->ring);
	return n > 0 ? (unsigned)n : 0;
}

static uint64_t counted(const struct own *own, unsigned which)
{
	static __thread uint64_t per_cpu[1024];
	int cpus = libbpf_num_possible_cpus();
	uint64_t sum = 0;

	if (!own->skel || cpus <= 0 || cpus > (int)ARRAY_LEN(per_cpu) ||
	    bpf_map_lookup_elem(bpf_map__fd(own->skel->maps.calls_counts), &which, per_cpu) != 0)
		return 0;
	for (int i = 0; i < cpus; i++)
		sum += per_cpu[i];
	return sum;
}

uint64_t calls_seen(struct host *h)
{
	struct own *own = h->own[PROBE_CALLS_ID];

	return own ? counted(own, CALLS_COUNT_SEEN) : 0;
}

static uint64_t lost(struct host *h)
{
	struct own *own = h->own[PROBE_CALLS_ID];

	return counted(own, CALLS_COUNT_LOST) + own->unknown;
}

static void tick(struct host *h, int64_t now_ns)
{
	struct own *own = h->own[PROBE_CALLS_ID];

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct conn *c = own->bucket[i], *next; c; c = next) {
			next = c->next;
			/* one that is muted lives as long as its far end */
			if (now_ns - c->last_ns < IDLE_NS || c->muted)
				continue;
			bpf_map_delete_elem(bpf_map__fd(own->skel->maps.calls_conns), &c->sock);
			if (c->other && c->other == next) /* goes along when it is muted */
				next = next->next;
			conn_drop(own, c);
		}
	series_put(host_series(h, SERIES_GAUGE, "opscase-sensor", "sensor.connections", "{connection}", NULL),
		   own->count);
}

static void unload(struct host *h)
{
	struct own *own = h->own[PROBE_CALLS_ID];

	for (size_t i = 0; i < BUCKETS; i++)
		while (own->bucket[i])
			conn_drop(own, own->bucket[i]);
	ring_buffer__free(own->ring);
	calls_bpf__destroy(own->skel);
	free(own);
}

struct calls_bpf *calls_skeleton(struct host *h)
{
	struct own *own = h->own[PROBE_CALLS_ID];

	return own && own->ring ? own->skel : NULL;
}

const struct probe probe_calls = {
	.name = "calls",
	.sees = "calls of HTTP/1, HTTP/2, gRPC, PostgreSQL, MySQL, Redis, Kafka, NATS and DNS: rates, errors, latencies, who calls whom",
	.hooks = "tp_btf sys_exit, inet_sock_set_state",
	.load = load,
	.drain = drain,
	.tick = tick,
	.lost = lost,
	.unload = unload,
};
