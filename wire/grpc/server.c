#define LOG_ROOM "grpc"
#include "wire/grpc/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/grpc/inside.h"

#define SWEEP_MS 500

/* ---- workers */

static void *worker(void *arg)
{
	struct grpc_server *s = arg;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		struct grpc_stream *st = s->todo_first;
		uint64_t one = 1;

		if (!st) {
			if (s->ending)
				break;
			pthread_cond_wait(&s->work, &s->lock);
			continue;
		}
		s->todo_first = st->queue_next;
		if (!s->todo_first)
			s->todo_last = NULL;
		pthread_mutex_unlock(&s->lock);
		{
			const struct grpc_call call = { .path = st->path,
							.authorization = st->authorization,
							.tenant = st->tenant,
							.encoding = st->body.s[0] ? st->encoding : NULL,
							.message = st->body.s + 5,
							.len = st->body.len - 5 };

			s->config.call(s->config.ctx, &call, &st->answer);
		}
		pthread_mutex_lock(&s->lock);
		st->queue_next = s->done_first;
		s->done_first = st;
		(void)!write(s->wake, &one, sizeof(one));
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- connections; all of it in the socket's thread */

static void conn_close(struct grpc_conn *c)
{
	struct grpc_server *s = c->server_ref;

	epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->fd, NULL);
	/* deleting the session does not close its streams one by one */
	while (c->streams) {
		struct grpc_stream *st = c->streams;

		c->streams = st->next;
		st->conn_ref = NULL;
		if (st->complete && !st->refused && !st->answered)
			continue; /* a worker has it */
		s->held -= st->body.len;
		stream_free(st);
	}
	nghttp2_session_del(c->session);
	close(c->fd);
	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->conn_count--;
	free(c);
}

/* Writes what there is. False: the connection is over. */
static bool conn_write(struct grpc_conn *c)
{
	bool blocked = false;

	while (!blocked) {
		ssize_t n;

		if (c->out_n == 0) {
			n = nghttp2_session_mem_send(c->session, &c->out);
			if (n < 0)
				return false;
			c->out_n = (size_t)n;
			if (n == 0)
				break;
		}
		n = send(c->fd, c->out, c->out_n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		blocked = n < 0 && errno == EAGAIN;
		if (n > 0) {
			c->out += n;
			c->out_n -= (size_t)n;
		}
	}
	if (blocked != c->wants_write) {
		struct epoll_event ev = { .events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = c };

		c->wants_write = blocked;
		epoll_ctl(c->server_ref->epoll, EPOLL_CTL_MOD, c->fd, &ev);
	}
	return blocked || nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session);
}

static bool conn_read(struct grpc_conn *c)
{
	uint8_t buf[64 << 10];

	/* a few times only: the others wait */
	for (int i = 0; i < 8; i++) {
		ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n == 0)
			return false;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (nghttp2_session_mem_recv(c->session, buf, (size_t)n) < 0) {
			(void)conn_write(c); /* the GOAWAY that says why */
			return false;
		}
		if ((size_t)n < sizeof(buf))
			break;
	}
	return true;
}

static void accept_all(struct grpc_server *s)
{
	for (;;) {
		int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), on = 1;
		struct epoll_event ev = { .events = EPOLLIN };
		struct grpc_conn *c;

		if (fd < 0)
			return;
		if (s->conn_count >= s->config.connections || atomic_load(&s->stopping)) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		c = mem_alloc(sizeof(*c));
		*c = (struct grpc_conn){
			.next = s->conns, .server_ref = s, .fd = fd, .touched_ms = clock_mono_ms()
		};
		if (s->conns)
			s->conns->prev = c;
		s->conns = c;
		s->conn_count++;
		ev.data.ptr = c;
		if (!conn_open(c) || epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) != 0 || !conn_write(c))
			conn_close(c);
	}
}

/* Answers that workers have given go to their sessions. */
static void take_answers(struct grpc_server *s)
{
	struct grpc_stream *done, *next;
	uint64_t count;

	(void)!read(s->wake, &count, sizeof(count));
	pthread_mutex_lock(&s->lock);
	done = s->done_first;
	s->done_first = NULL;
	pthread_mutex_unlock(&s->lock);
	for (; done; done = next) {
		struct grpc_conn *c = done->conn_ref;

		next = done->queue_next;
		s->under_way--;
		if (!c) {
			s->held -= done->body.len;
			stream_free(done);
			continue;
		}
		stream_answer(done);
		if (!conn_write(c))
			conn_close(c);
	}
}

/* Who does not get on: calls that do not arrive, connections that nobody uses or reads. */
static void sweep(struct grpc_server *s)
{
	int64_t now = clock_mono_ms();

	for (struct grpc_conn *c = s->conns, *next; c; c = next) {
		bool slow = false;

		next = c->next;
		for (struct grpc_stream *st = c->streams; st; st = st->next)
			slow |= !st->complete && now - st->began_ms > s->config.arrive_ms;
		if (slow || (c->wants_write && now - c->touched_ms > 4 * (int64_t)s->config.arrive_ms) ||
		    (c->calls == 0 && now - c->touched_ms > s->config.idle_ms)) {
			nghttp2_session_terminate_session(c->session, slow ? NGHTTP2_ENHANCE_YOUR_CALM
									   : NGHTTP2_NO_ERROR);
			(void)conn_write(c);
			conn_close(c);
		}
	}
}

static bool all_quiet(const struct grpc_server *s)
{
	if (s->under_way)
		return false;
	for (const struct grpc_conn *c = s->conns; c; c = c->next)
		if (c->calls || c->out_n)
			return false;
	return true;
}

static void *io(void *arg)
{
	struct grpc_server *s = arg;
	struct epoll_event events[64];
	int64_t swept = clock_mono_ms();

	while (!atomic_load(&s->stopping) ||
	       (!all_quiet(s) && clock_mono_ms() < atomic_load(&s->stop_at_ms))) {
		int n = epoll_wait(s->epoll, events, 64, atomic_load(&s->stopping) ? 20 : SWEEP_MS);

		for (int i = 0; i < n; i++) {
			struct grpc_conn *c = events[i].data.ptr;

			if (events[i].data.ptr == &s->listener) {
				accept_all(s);
			} else if (events[i].data.ptr != &s->wake) {
				if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !conn_read(c)) ||
				    !conn_write(c))
					conn_close(c);
			}
		}
		/* last: an answer may close a connection whose event is still in the list */
		take_answers(s);
		if (clock_mono_ms() - swept >= SWEEP_MS) {
			sweep(s);
			swept = clock_mono_ms();
		}
	}
	return NULL;
}

/* ---- starting and stopping */

static enum oc_err listen_on(struct grpc_server *s, struct oc_fail *reterr)
{
	const char *text = s->config.address ? s->config.address : "127.0.0.1";
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)s->config.port) };
	socklen_t len = sizeof(at);
	int on = 1;

	if (inet_pton(AF_INET, text, &at.sin_addr) != 1 || ntohl(at.sin_addr.s_addr) >> 24 != 127)
		return oc_fail_field(
			reterr, OC_INVALID, "address",
			"'%s' is not a loopback address: gRPC has no TLS here, put a proxy in front", text);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listener < 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "no socket: %m");
	setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s->listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(s->listener, 128) != 0 ||
	    getsockname(s->listener, (struct sockaddr *)&at, &len) != 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "gRPC cannot listen on %s port %u: %m", text,
			       s->config.port);
	s->port = ntohs(at.sin_port);
	return OC_OK;
}

static enum oc_err threads_start(struct grpc_server *s, struct oc_fail *reterr)
{
	struct epoll_event listener = { .events = EPOLLIN, .data.ptr = &s->listener };
	struct epoll_event wake = { .events = EPOLLIN, .data.ptr = &s->wake };

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll < 0 || s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->listener, &listener) != 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &wake) != 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "no descriptors for gRPC: %m");
	s->worker = mem_array(s->config.workers, sizeof(*s->worker));
	for (; s->workers < s->config.workers; s->workers++)
		if (pthread_create(&s->worker[s->workers], NULL, worker, s) != 0)
			return oc_fail(reterr, OC_UNAVAILABLE, "no thread for gRPC");
	s->has_io = pthread_create(&s->io, NULL, io, s) == 0;
	return s->has_io ? OC_OK : oc_fail(reterr, OC_UNAVAILABLE, "no thread for gRPC");
}

enum oc_err grpc_server_start(const struct grpc_config *config, struct grpc_server **ret,
			      struct oc_fail *reterr)
{
	struct grpc_server *s = mem_alloc(sizeof(*s));
	enum oc_err err;

	s->config = *config;
	s->listener = s->epoll = s->wake = -1;
#define DEFAULT(field, value) \
	if (!s->config.field) \
	s->config.field = (value)
	DEFAULT(workers, 8);
	DEFAULT(connections, 256);
	DEFAULT(calls, 64);
	DEFAULT(message_max, 4 << 20);
	DEFAULT(held_max, 64 << 20);
	DEFAULT(arrive_ms, 30000);
	DEFAULT(idle_ms, 600000);
#undef DEFAULT
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	err = listen_on(s, reterr);
	if (err == OC_OK)
		err = threads_start(s, reterr);
	if (err != OC_OK) {
		grpc_server_stop(s, 0);
		return err;
	}
	log_info("listening on %s port %u", s->config.address ? s->config.address : "127.0.0.1", s->port);
	s->config.address = NULL; /* lent for the call */
	*ret = s;
	return OC_OK;
}

unsigned grpc_server_port(const struct grpc_server *s)
{
	return s->port;
}

void grpc_server_stop(struct grpc_server *s, unsigned grace_ms)
{
	uint64_t one = 1;

	if (!s)
		return;
	atomic_store(&s->stop_at_ms, clock_mono_ms() + grace_ms);
	atomic_store(&s->stopping, true);
	if (s->has_io) {
		(void)!write(s->wake, &one, sizeof(one));
		pthread_join(s->io, NULL);
	}
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_cond_broadcast(&s->work);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->workers; i++)
		pthread_join(s->worker[i], NULL);
	while (s->conns)
		conn_close(s->conns);
	for (struct grpc_stream *st = s->done_first, *next; st; st = next) {
		next = st->queue_next;
		stream_free(st);
	}
	if (s->listener >= 0)
		close(s->listener);
	if (s->epoll >= 0)
		close(s->epoll);
	if (s->wake >= 0)
		close(s->wake);
	free(s->worker);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->work);
	free(s);
}
