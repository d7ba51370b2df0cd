/* tcp.c - TCP connections, per service and peer. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "sensor-bpf/host/fallback.h"
#include "sensor-bpf/host/host.h"
#include "sensor-bpf/probes/tcp.h"
#include "tcp.skel.h"

#define WALK_MS 30000

/* What was told of a connection that is still open, so that its end tells only the rest. */
struct live {
	unsigned long long sock, sent, received;
};

struct own {
	struct tcp_bpf *skel;
	struct ring_buffer *ring;
	struct live *live;
	size_t live_cap; /* a power of two */
	struct fallback_tcp *fallback;
};

static const char *outcome(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return "refused";
	case ETIMEDOUT:
		return "timeout";
	case ECONNRESET:
		return "reset";
	case EHOSTUNREACH:
	case ENETUNREACH:
		return "unreachable";
	case 0: /* given up by the one who called */
		return "abandoned";
	default:
		return "failed";
	}
}

static void ends(struct host *h, const struct tcp_record *r, char *service, char *peer, size_t size)
{
	const char *name;
	bool ours = r->from_us;

	/* a connection older than we are: whoever has the well-known port is called */
	if (!r->tgid && !names_of_port(h->names, r->tuple.netns, r->tuple.local_port, WALK_MS))
		ours = true;
	if (ours) {
		name = r->tgid ? names_of(h->names, r->tgid, r->comm, 0) : "unknown";
		snprintf(service, size, "%s", name);
		name = address_is_loopback(r->tuple.remote)
			       ? names_of_port(h->names, r->tuple.netns, r->tuple.remote_port, WALK_MS)
			       : NULL;
		if (name)
			snprintf(peer, size, "%s", name);
		else
			address_text(r->tuple.remote, r->tuple.remote_port, peer, size);
	} else {
		name = names_of_port(h->names, r->tuple.netns, r->tuple.local_port, WALK_MS);
		if (name)
			snprintf(service, size, "%s", name);
		else
			snprintf(service, size, "port:%u", r->tuple.local_port);
		address_text(r->tuple.remote, 0, peer, size);
	}
}

static struct live *live_find(struct own *own, unsigned long long sock)
{
	if (!own->live_cap)
		return NULL;
	for (size_t i = (sock >> 6) * 0x9e3779b97f4a7c15ULL >> 20 & (own->live_cap - 1);;
	     i = (i + 1) & (own->live_cap - 1)) {
		if (!own->live[i].sock || own->live[i].sock == sock)
			return &own->live[i];
	}
}

static void bytes_add(struct host *h, const char *service, const char *peer, unsigned long long sent,
		      unsigned long long received)
{
	if (sent)
		series_add(host_series(h, SERIES_SUM, service, "tcp.io", "By", "peer", peer, "direction",
				       "transmit", NULL),
			   (double)sent);
	if (received)
		series_add(host_series(h, SERIES_SUM, service, "tcp.io", "By", "peer", peer, "direction",
				       "receive", NULL),
			   (double)received);
}

static void rtt_add(struct host *h, const struct tcp_record *r, const char *service, const char *peer)
{
	if (r->srtt_us)
		series_observe(host_series(h, SERIES_HISTOGRAM, service, "tcp.rtt", "s", "peer", peer, NULL),
			       r->srtt_us * 1e-6, 1);
}

static int on_record(void *ctx, void *data, size_t size)
{
	struct host *h = ctx;
	struct own *own = h->own[PROBE_TCP_ID];
	const struct tcp_record *r = data;
	char service[80], peer[80];
	struct live *live;

	if (size < sizeof(*r))
		return 0;
	ends(h, r, service, peer, sizeof(service));
	switch (r->what) {
	case TCP_SAID_CONNECTED:
		series_observe(host_series(h, SERIES_HISTOGRAM, service, "tcp.connect.duration", "s", "peer",
					   peer, NULL),
			       (double)r->took_ns * 1e-9, 1);
		series_add(host_series(h, SERIES_SUM, service, "tcp.connects", "{connection}", "peer", peer,
				       "outcome", "ok", NULL),
			   1);
		break;
	case TCP_SAID_FAILED:
		series_add(host_series(h, SERIES_SUM, service, "tcp.connects", "{connection}", "peer", peer,
				       "outcome", outcome(r->error), NULL),
			   1);
		break;
	case TCP_SAID_ACCEPTED:
		series_add(host_series(h, SERIES_SUM, service, "tcp.accepts", "{connection}", "peer", peer,
				       NULL),
			   1);
		break;
	case TCP_SAID_CLOSED:
		live = live_find(own, r->sock);
		if (live && live->sock) {
			bytes_add(h, service, peer, r->sent - live->sent, r->received - live->received);
			live->sock =
				1; /* its place is taken until the table is made anew; no socket has this address */
		} else {
			bytes_add(h, service, peer, r->sent, r->received);
		}
		rtt_add(h, r, service, peer);
		series_observe(host_series(h, SERIES_HISTOGRAM, service, "tcp.connection.duration", "s",
					   "peer", peer, NULL),
			       (double)r->took_ns * 1e-9, 1);
		break;
	case TCP_SAID_RETRANSMIT:
		series_add(host_series(h, SERIES_SUM, service, "tcp.retransmits", "{segment}", "peer", peer,
				       NULL),
			   1);
		break;
	case TCP_SAID_RESET_IN:
	case TCP_SAID_RESET_OUT:
		series_add(host_series(h, SERIES_SUM, service, "tcp.resets", "{reset}", "peer", peer,
				       "direction", r->what == TCP_SAID_RESET_IN ? "receive" : "transmit",
				       NULL),
			   1);
		break;
	default:
		break;
	}
	return 0;
}

/* One of those that are open now. */
static void on_live(struct host *h, struct own *own, const struct tcp_record *r, struct live *next)
{
	const struct live *before = live_find(own, r->sock);
	char service[80], peer[80];
	struct series *open;
	bool known = before && before->sock == r->sock && r->sent >= before->sent &&
		     r->received >= before->received;

	next->sock = r->sock;
	next->sent = r->sent;
	next->received = r->received;
	ends(h, r, service, peer, sizeof(service));
	/* what went over it before we came is not ours to tell */
	if (known || r->tgid)
		bytes_add(h, service, peer, r->sent - (known ? before->sent : 0),
			  r->received - (known ? before->received : 0));
	rtt_add(h, r, service, peer);
	open = host_series(h, SERIES_GAUGE, service, "tcp.connections", "{connection}", "peer", peer, NULL);
	series_add(open, 1);
}

#define LIVE_READ 64

static void tick(struct host *h, int64_t now_ns)
{
	struct own *own = h->own[PROBE_TCP_ID];
	struct tcp_record r[LIVE_READ];
	struct live *all = NULL, *old = own->live;
	size_t count = 0, cap = 0, have = 0;
	ssize_t got;
	int fd;

	if (own->fallback) {
		fallback_tcp_tick(own->fallback, h, now_ns);
		return;
	}
	if (!own->skel || !own->skel->links.tcp_open_ones)
		return;
	fd = bpf_iter_create(bpf_link__fd(own->skel->links.tcp_open_ones));
	if (fd < 0)
		return;
	while ((got = read(fd, (char *)r + have, sizeof(r) - have)) > 0) {
		size_t n = (have + (size_t)got) / sizeof(r[0]);

		for (size_t i = 0; i < n; i++) {
			if (count == cap) {
				cap = cap ? 2 * cap : 64;
				all = mem_grow(all, cap, sizeof(*all));
			}
			on_live(h, own, &r[i], &all[count++]);
		}
		have = have + (size_t)got - n * sizeof(r[0]);
		memmove(r, &r[n], have);
	}
	close(fd);
	own->live_cap = 64;
	while (own->live_cap < 2 * count + 2)
		own->live_cap *= 2;
	own->live = mem_array(own->live_cap, sizeof(*own->live));
	for (size_t i = 0; i < count; i++)
		*live_find(own, all[i].sock) = all[i];
	free(old);
	free(all);
}

static void attach(struct probe_report *r, struct bpf_program *prog, struct bpf_link **link, const char *what)
{
	*link = bpf_program__attach(prog);
	if (!*link)
		probe_degraded(r, what, errno);
}

static void load(struct host *h, struct probe_report *r)
{
	struct own *own = h->own[PROBE_TCP_ID] = mem_alloc(sizeof(*own));
	int err;

	own->skel = h->no_bpf ? NULL : tcp_bpf__open();
	if (own->skel) {
		own->skel->bss->self_tgid = (unsigned)getpid();
		err = tcp_bpf__load(own->skel);
		if (err) {
			tcp_bpf__destroy(own->skel);
			own->skel = NULL;
			probe_refused(r, "loading", err);
		}
	} else {
		snprintf(r->why, sizeof(r->why), "%s", h->no_bpf ? h->no_bpf_why : strerror(errno));
		r->state = PROBE_REFUSED;
	}
	if (!own->skel) {
		own->fallback = fallback_tcp_new(h->proc);
		snprintf(
			r->why + strlen(r->why), sizeof(r->why) - strlen(r->why),
			"; connections are counted by sock_diag and /proc/net instead, without connect latency and resets");
		r->state = PROBE_DEGRADED;
		return;
	}
	r->state = PROBE_LOADED;
	own->ring = ring_buffer__new(bpf_map__fd(own->skel->maps.tcp_ring), on_record, h, NULL);
	if (!own->ring) {
		probe_refused(r, "ring buffer", errno);
		return;
	}
	attach(r, own->skel->progs.tcp_state, &own->skel->links.tcp_state,
	       "tp_btf/inet_sock_set_state (connects, closes)");
	attach(r, own->skel->progs.tcp_again, &own->skel->links.tcp_again,
	       "tp_btf/tcp_retransmit_skb (retransmits)");
	attach(r, own->skel->progs.tcp_reset_in, &own->skel->links.tcp_reset_in,
	       "tp_btf/tcp_receive_reset (resets)");
	attach(r, own->skel->progs.tcp_reset_out, &own->skel->links.tcp_reset_out,
	       "tp_btf/tcp_send_reset (resets)");
	attach(r, own->skel->progs.tcp_open_ones, &own->skel->links.tcp_open_ones,
	       "iter/tcp (open connections)");
}

static unsigned drain(struct host *h)
{
	struct own *own = h->own[PROBE_TCP_ID];
	int n = own->ring ? ring_buffer__consume(own->ring) : 0;

	return n > 0 ? (unsigned)n : 0;
}

static uint64_t lost(struct host *h)
{
	struct own *own = h->own[PROBE_TCP_ID];

	return own->skel ? own->skel->bss->tcp_lost : 0;
}

static void unload(struct host *h)
{
	struct own *own = h->own[PROBE_TCP_ID];

	ring_buffer__free(own->ring);
	tcp_bpf__destroy(own->skel);
	fallback_tcp_free(own->fallback);
	free(own->live);
	free(own);
}

const struct probe probe_tcp = {
	.name = "tcp",
	.sees = "TCP: connects and how long they take, failures, resets, retransmits, round trips, bytes and life times, per peer",
	.hooks =
		"tp_btf inet_sock_set_state, tcp_retransmit_skb, tcp_receive_reset, tcp_send_reset; iter/tcp",
	.load = load,
	.drain = drain,
	.tick = tick,
	.lost = lost,
	.unload = unload,
};
