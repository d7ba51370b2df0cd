#include "sensor-bpf/host/fallback.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"
#include "sensor-bpf/host/host.h"

#define ESTABLISHED 1
#define WALK_MS     30000

struct fallback_tcp {
	char *proc;
	unsigned netns;
	long long retransmits, resets_out, fails;
};

struct fallback_tcp *fallback_tcp_new(const char *proc)
{
	struct fallback_tcp *f = mem_alloc(sizeof(*f));
	char path[128];
	struct stat st;

	f->proc = mem_strdup(proc);
	f->retransmits = f->resets_out = f->fails = -1;
	snprintf(path, sizeof(path), "%s/self/ns/net", proc);
	if (stat(path, &st) == 0)
		f->netns = (unsigned)st.st_ino;
	return f;
}

void fallback_tcp_free(struct fallback_tcp *f)
{
	if (!f)
		return;
	free(f->proc);
	free(f);
}

long long snmp_tcp(const char *text, const char *field)
{
	const char *names = strstr(text, "Tcp: "), *values;
	size_t n = strlen(field);

	if (!names || (names != text && names[-1] != '\n'))
		return -1;
	values = strstr(names + 5, "\nTcp: ");
	if (!values)
		return -1;
	for (const char *a = names + 5, *b = values + 6; *a && *a != '\n';) {
		size_t an = strcspn(a, " \n"), bn = strcspn(b, " \n");
		long long v;
		char word[32];

		if (an == n && strncmp(a, field, n) == 0 && bn < sizeof(word)) {
			memcpy(word, b, bn);
			word[bn] = '\0';
			return str_to_long(word, INT64_MIN, INT64_MAX, &v) ? v : -1;
		}
		if (a[an] != ' ' || b[bn] != ' ')
			return -1;
		a += an + 1;
		b += bn + 1;
	}
	return -1;
}

static void total(struct host *h, long long now, long long *before, const char *metric, const char *unit)
{
	if (now >= 0 && *before >= 0 && now > *before)
		series_add(host_series(h, SERIES_SUM, "host", metric, unit, NULL), (double)(now - *before));
	*before = now;
}

static void totals(struct fallback_tcp *f, struct host *h)
{
	char path[128], text[8192];
	AUTO(file) FILE *file = NULL;
	size_t n;

	snprintf(path, sizeof(path), "%s/net/snmp", f->proc);
	file = fopen(path, "re");
	if (!file)
		return;
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	total(h, snmp_tcp(text, "RetransSegs"), &f->retransmits, "tcp.retransmits", "{segment}");
	total(h, snmp_tcp(text, "OutRsts"), &f->resets_out, "tcp.resets", "{reset}");
	total(h, snmp_tcp(text, "AttemptFails"), &f->fails, "tcp.connects.failed", "{connection}");
}

static void one(struct fallback_tcp *f, struct host *h, const struct inet_diag_msg *m, size_t len)
{
	unsigned char addr[16] = { [10] = 0xff, [11] = 0xff };
	unsigned sport = ntohs(m->id.idiag_sport), dport = ntohs(m->id.idiag_dport);
	const char *service = names_of_port(h->names, f->netns, sport, WALK_MS), *name;
	char peer[80];

	if (m->idiag_family == AF_INET)
		memcpy(addr + 12, m->id.idiag_dst, 4);
	else
		memcpy(addr, m->id.idiag_dst, 16);
	if (service) {
		address_text(addr, 0, peer, sizeof(peer));
	} else {
		service = "host"; /* whose it is, only a walk over all open files would tell */
		name = address_is_loopback(addr) ? names_of_port(h->names, f->netns, dport, 0) : NULL;
		if (name)
			snprintf(peer, sizeof(peer), "%s", name);
		else
			address_text(addr, dport, peer, sizeof(peer));
	}
	series_add(host_series(h, SERIES_GAUGE, service, "tcp.connections", "{connection}", "peer", peer,
			       NULL),
		   1);
	for (const struct rtattr *a = (const struct rtattr *)(m + 1);
	     len >= sizeof(*a) && a->rta_len >= sizeof(*a) && a->rta_len <= len;) {
		size_t step = (a->rta_len + 3u) & ~3u;

		if (a->rta_type == INET_DIAG_INFO &&
		    a->rta_len >= sizeof(*a) + offsetof(struct tcp_info, tcpi_rttvar)) {
			const struct tcp_info *info = (const struct tcp_info *)(a + 1);

			if (info->tcpi_rtt)
				series_observe(host_series(h, SERIES_HISTOGRAM, service, "tcp.rtt", "s",
							   "peer", peer, NULL),
					       info->tcpi_rtt * 1e-6, 1);
		}
		if (step > len)
			break;
		len -= step;
		a = (const struct rtattr *)((const char *)a + step);
	}
}

static void sockets(struct fallback_tcp *f, struct host *h, int family)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 ask;
	} q = {
		.head = { .nlmsg_len = sizeof(q),
                         .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.ask = { .sdiag_family = (unsigned char)family,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_ext = 1 << (INET_DIAG_INFO - 1),
			 .idiag_states = 1 << ESTABLISHED },
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	char *buf = mem_alloc(32768);
	bool more = fd >= 0 && send(fd, &q, sizeof(q), 0) == (ssize_t)sizeof(q);

	while (more) {
		ssize_t got = recv(fd, buf, 32768, 0);
		size_t left = got > 0 ? (size_t)got : 0;

		more = left > 0;
		for (struct nlmsghdr *m = (struct nlmsghdr *)buf; NLMSG_OK(m, left);
		     m = NLMSG_NEXT(m, left)) {
			if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) {
				more = false;
				break;
			}
			if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
				one(f, h, NLMSG_DATA(m),
				    m->nlmsg_len - NLMSG_LENGTH(sizeof(struct inet_diag_msg)));
		}
	}
	free(buf);
	if (fd >= 0)
		close(fd);
}

void fallback_tcp_tick(struct fallback_tcp *f, struct host *h, int64_t now_ns)
{
	(void)now_ns;
	totals(f, h);
	sockets(f, h, AF_INET);
	sockets(f, h, AF_INET6);
}
