#define LOG_ROOM "http"
#include "wire/http/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/http/message.h"

/* What a body may have beyond its limit and is still read, and thrown away, before the 413 leaves: who hears
 * only after his last byte, as most clients do, would else find the connection reset and no answer on it. */
#define OVER_MAX (8u << 20)

/* A sender who goes on beyond that, or stops in the middle, gets a last word on the socket. */
#define LATE_413                                                                                            \
	"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: application/problem+json\r\n" \
	"Content-Length: 98\r\n\r\n"                                                                        \
	"{\"type\":\"about:blank\",\"title\":\"too large\",\"status\":413,\"detail\":\"the body is over the limit\"     }"

enum phase { READ_HEAD, READ_BODY, HANDLE, WRITE };

/* One socket. Its phase tells the reaper how long it may sit still. */
struct conn {
	struct conn *next, *prev;
	struct http_server *server_ref;
	int fd;
	enum phase phase;
	int64_t since_ms;
	bool too_large; /* of the body that is being read */
};

/* One request, from its first line until MHD says that it is over. */
struct exchange {
	struct exchange *next; /* in the queue of the handler threads */
	struct http_server *server_ref;
	struct MHD_Connection *mhd;
	struct conn *conn_ref;
	char *target; /* as sent */
	struct http_request request;
	struct http_response response;
	size_t body_max, thrown;
	const char *too_large; /* a 413 in this sentence's words as soon as the body has ended */
	bool begun, handed, answered;
	atomic_bool done;
};

struct http_server {
	struct http_server_config config;
	struct MHD_Daemon *daemon;
	unsigned port;
	char *cert, *key;
	char trouble[256]; /* why it did not start, in the library's words */

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t work;
	pthread_cond_t change; /* for whoever stops the server; nobody else is woken by each request */
	pthread_cond_t reap;   /* the first connection came, or the end */
	struct exchange *first, *last;
	unsigned queued, running, threads, sockets;
	pthread_t *thread;
	struct conn *conns;
	bool ending; /* handler threads go home */
	atomic_bool stopping;
	pthread_t reaper;
	bool has_reaper;
};

/* Under the lock. */
static void changed(struct http_server *s)
{
	if (atomic_load(&s->stopping))
		pthread_cond_broadcast(&s->change);
}

static void phase_set(struct exchange *x, enum phase phase)
{
	if (!x->conn_ref)
		return;
	pthread_mutex_lock(&x->server_ref->lock);
	x->conn_ref->phase = phase;
	x->conn_ref->since_ms = clock_mono_ms();
	x->conn_ref->too_large = false;
	changed(x->server_ref);
	pthread_mutex_unlock(&x->server_ref->lock);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_ctx,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http_server *s = cls;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *fd =
			MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		struct conn *c = mem_alloc(sizeof(*c));

		*c = (struct conn){ .server_ref = s,
				    .fd = fd ? fd->connect_fd : -1,
				    .since_ms = clock_mono_ms() };
		pthread_mutex_lock(&s->lock);
		c->next = s->conns;
		if (s->conns)
			s->conns->prev = c;
		s->conns = c;
		if (s->sockets++ == 0)
			pthread_cond_signal(&s->reap);
		pthread_mutex_unlock(&s->lock);
		*socket_ctx = c;
	} else {
		struct conn *c = *socket_ctx;

		if (!c)
			return;
		/* MHD closes the socket after this: once off the list the reaper cannot hit a reused number. */
		pthread_mutex_lock(&s->lock);
		if (c->prev)
			c->prev->next = c->next;
		else
			s->conns = c->next;
		if (c->next)
			c->next->prev = c->prev;
		s->sockets--;
		changed(s);
		pthread_mutex_unlock(&s->lock);
		free(c);
		*socket_ctx = NULL;
	}
}

static void last_word(const struct http_server *s, int fd)
{
	if (!s->cert)
		(void)!send(fd, LATE_413, sizeof(LATE_413) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* MHD's own time-out starts anew with every byte; a sender of one byte a second would stay for ever. */
static void *reap(void *arg)
{
	struct http_server *s = arg;
	unsigned tick = s->config.head_ms < s->config.body_ms ? s->config.head_ms : s->config.body_ms;

	tick = tick / 4 < 50 ? 50 : tick / 4 > 1000 ? 1000 : tick / 4;
	pthread_mutex_lock(&s->lock);
	while (!s->ending) {
		struct timespec until;
		int64_t now;

		if (!s->conns) {
			pthread_cond_wait(&s->reap, &s->lock);
			continue;
		}
		now = clock_mono_ms();
		for (struct conn *c = s->conns; c; c = c->next) {
			unsigned limit = c->phase == READ_HEAD   ? s->config.head_ms
					 : c->phase == READ_BODY ? s->config.body_ms
					 : c->phase == WRITE     ? s->config.write_ms
								 : 0;

			if (limit && c->fd >= 0 && now - c->since_ms > (int64_t)limit) {
				if (c->phase == READ_BODY && c->too_large)
					last_word(s, c->fd);
				shutdown(c->fd, SHUT_RDWR);
				c->fd = -1;
			}
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (long)(tick % 1000) * 1000000;
		until.tv_sec += tick / 1000 + until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		while (!s->ending && pthread_cond_timedwait(&s->reap, &s->lock, &until) != ETIMEDOUT)
			;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void *handler_main(void *arg)
{
	struct http_server *s = arg;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		struct exchange *x;

		while (!s->first && !s->ending)
			pthread_cond_wait(&s->work, &s->lock);
		if (!s->first)
			break;
		x = s->first;
		s->first = x->next;
		if (!s->first)
			s->last = NULL;
		s->queued--;
		s->running++;
		pthread_mutex_unlock(&s->lock);

		s->config.handle(s->config.ctx, &x->request, &x->response);
		phase_set(x, WRITE);
		atomic_store(&x->done, true);
		/* From here on the exchange belongs to the event thread. */
		MHD_resume_connection(x->mhd);

		pthread_mutex_lock(&s->lock);
		s->running--;
		changed(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static bool enqueue(struct http_server *s, struct exchange *x)
{
	bool taken = false;

	pthread_mutex_lock(&s->lock);
	if (!atomic_load(&s->stopping)) {
		/* Threads that run nothing will take from the queue: what they take does not wait. */
		if (s->threads - s->running <= s->queued && s->threads < s->config.handler_threads &&
		    pthread_create(&s->thread[s->threads], NULL, handler_main, s) == 0)
			s->threads++;
		taken = s->threads > 0 && s->queued < s->config.queue_max + (s->threads - s->running);
	}
	if (taken) {
		/* Suspended before a handler can see it, so that its resume cannot come first. */
		MHD_suspend_connection(x->mhd);
		x->handed = true;
		if (x->conn_ref)
			x->conn_ref->phase = HANDLE;
		x->next = NULL;
		if (s->last)
			s->last->next = x;
		else
			s->first = x;
		s->last = x;
		s->queued++;
		pthread_cond_signal(&s->work);
	}
	pthread_mutex_unlock(&s->lock);
	return taken;
}

static enum MHD_Result send_answer(struct exchange *x)
{
	struct http_response *a = &x->response;
	struct MHD_Response *out;
	char *body = a->body ? a->body : mem_strdup("");
	size_t len = a->body ? a->len : 0;
	enum MHD_Result ok;

	a->body = NULL;
	out = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
	if (!out) {
		free(body);
		return MHD_NO;
	}
	if (a->content_type)
		MHD_add_response_header(out, "Content-Type", a->content_type);
	for (unsigned i = 0; i < a->headers; i++)
		MHD_add_response_header(out, a->header[i].name, a->header[i].value);
	MHD_add_response_header(out, "X-Content-Type-Options", "nosniff");
	if (atomic_load(&x->server_ref->stopping))
		MHD_add_response_header(out, "Connection", "close");
	x->answered = true;
	ok = MHD_queue_response(x->mhd, (unsigned)(a->status ? a->status : 500), out);
	MHD_destroy_response(out);
	return ok;
}

/* An answer of the server itself: nothing of the request is looked at any further. */
static enum MHD_Result refuse(struct exchange *x, int status, const char *detail)
{
	struct http_server *s = x->server_ref;

	http_status(&x->response, status);
	if (s->config.refuse) {
		s->config.refuse(s->config.ctx, status, detail, &x->response);
	} else {
		http_content_type(&x->response, "text/plain; charset=utf-8");
		http_answer_text(&x->response, detail);
	}
	if (status == 503)
		http_answer_header(&x->response, "Retry-After", "1");
	http_answer_header(&x->response, "Connection", "close");
	phase_set(x, WRITE);
	return send_answer(x);
}

struct header_walk {
	struct http_request *r;
	unsigned count, max;
	bool bad;
};

static enum MHD_Result each_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct header_walk *w = cls;

	(void)kind;
	if (++w->count > w->max || !http_request_header(w->r, name, value))
		return MHD_NO;
	if (value && !str_utf8_ok(value, strlen(value)))
		w->bad = true;
	return MHD_YES;
}

static void remote_of(struct MHD_Connection *mhd, char *out, size_t size)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	out[0] = '\0';
	if (!info || !info->client_addr)
		return;
	if (info->client_addr->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)info->client_addr)->sin_addr,
			  out, (socklen_t)size);
	else if (info->client_addr->sa_family == AF_INET6)
		inet_ntop(AF_INET6,
			  &((const struct sockaddr_in6 *)(const void *)info->client_addr)->sin6_addr, out,
			  (socklen_t)size);
}

/* From here on the body is only read to its end, within bounds of size and time. */
static void too_large(struct exchange *x, const char *sentence)
{
	x->too_large = sentence;
	text_done(&x->request.body);
	if (!x->conn_ref)
		return;
	pthread_mutex_lock(&x->server_ref->lock);
	x->conn_ref->too_large = true;
	pthread_mutex_unlock(&x->server_ref->lock);
}

static enum MHD_Result take_body(struct exchange *x, const char *data, size_t len)
{
	if (!x->too_large && x->request.body.len + len > x->body_max)
		too_large(x, "the body is over the limit");
	if (!x->too_large) {
		text_add_n(&x->request.body, data, len);
		return MHD_YES;
	}
	x->thrown += len;
	if (x->thrown > x->body_max + OVER_MAX) {
		const union MHD_ConnectionInfo *fd =
			MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

		if (fd)
			last_word(x->server_ref, fd->connect_fd);
		return MHD_NO;
	}
	return MHD_YES;
}

static enum MHD_Result begin(struct exchange *x, const char *method)
{
	struct http_server *s = x->server_ref;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct header_walk walk = { .r = &x->request, .max = s->config.headers_max };
	struct oc_fail fail = { 0 };
	const char *length;
	long long announced = 0;

	x->begun = true;
	x->conn_ref = info ? info->socket_context : NULL;
	phase_set(x, READ_BODY);
	if (atomic_load(&s->stopping))
		return refuse(x, 503, "the service is stopping");
	if (http_request_init(&x->request, method, x->target ? x->target : "", &fail) != OC_OK)
		return refuse(x, 400, fail.text);
	remote_of(x->mhd, x->request.remote, sizeof(x->request.remote));
	MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, each_header, &walk);
	if (walk.count > walk.max)
		return refuse(x, 431, "too many header fields");
	if (walk.bad)
		return refuse(x, 400, "a header value is not UTF-8");
	x->body_max = s->config.body_max ? s->config.body_max(s->config.ctx, method, http_path(&x->request))
					 : 1 << 20;
	length = http_header(&x->request, "Content-Length");
	if (length && !str_to_long(length, 0, INT64_MAX, &announced))
		return refuse(x, 400, "Content-Length is no number");
	if (announced > (long long)x->body_max) {
		const char *why = x->body_max ? "the body is over the limit" : "this route takes no body";

		if (announced - (long long)x->body_max > (long long)OVER_MAX)
			return refuse(x, 413, why);
		too_large(x, why);
	}
	return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
				  const char *version, const char *data, size_t *size, void **req_ctx)
{
	struct http_server *s = cls;
	struct exchange *x = *req_ctx;

	(void)mhd, (void)url, (void)version;
	if (!x)
		return MHD_NO;
	if (!x->begun)
		return begin(x, method);
	if (x->answered)
		return MHD_YES;
	if (atomic_load(&x->done))
		return send_answer(x);
	if (*size > 0) {
		enum MHD_Result ok = take_body(x, data, *size);

		*size = 0;
		return ok;
	}
	if (x->too_large)
		return refuse(x, 413, x->too_large);
	if (x->handed)
		return MHD_YES;
	if (!enqueue(s, x))
		return refuse(x, 503,
			      atomic_load(&s->stopping) ? "the service is stopping"
							: "too many requests are waiting");
	return MHD_YES;
}

/* The first sign of a request: MHD keeps what we return as its context. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
	struct exchange *x = mem_alloc(sizeof(*x));

	x->server_ref = cls;
	x->mhd = mhd;
	x->target = mem_strdup(target);
	return x;
}

/* Escapes are decoded by message.c: MHD would cut a path at %00. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *s)
{
	(void)cls, (void)mhd;
	return strlen(s);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **req_ctx,
			 enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *req_ctx;

	(void)cls, (void)mhd, (void)why;
	if (!x)
		return;
	phase_set(x, READ_HEAD);
	http_request_done(&x->request);
	http_response_done(&x->response);
	free(x->target);
	free(x);
	*req_ctx = NULL;
}

static void on_log(void *cls, const char *fmt, va_list args)
{
	struct http_server *s = cls;
	char line[512];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vsnprintf(line, sizeof(line), fmt, args);
#pragma GCC diagnostic pop
	line[strcspn(line, "\n")] = '\0';
	if (s->port == 0)
		snprintf(s->trouble, sizeof(s->trouble), "%.255s", line);
	/* What clients do wrong is their business; it must not fill the log. */
	log_debug("%s", line);
}

static enum oc_err address_of(const struct http_server_config *c, struct sockaddr_storage *ret,
			      socklen_t *ret_len, struct oc_fail *reterr)
{
	const char *text = c->address ? c->address : "127.0.0.1";
	struct sockaddr_in *four = (struct sockaddr_in *)(void *)ret;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)ret;
	bool loopback;

	memset(ret, 0, sizeof(*ret));
	if (str_eq(text, "localhost"))
		text = "127.0.0.1";
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)c->port);
		*ret_len = sizeof(*four);
		loopback = (ntohl(four->sin_addr.s_addr) >> 24) == 127;
	} else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)c->port);
		*ret_len = sizeof(*six);
		loopback = IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	} else {
		return oc_fail_field(reterr, OC_INVALID, "address", "'%s' is no IP address", text);
	}
	if (!loopback && !c->tls_cert && !c->plain_anywhere)
		return oc_fail_field(reterr, OC_INVALID, "address",
				     "'%s' is not loopback: tokens would travel in the clear; configure TLS",
				     text);
	return OC_OK;
}

static void server_free(struct http_server *s)
{
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->change);
	pthread_cond_destroy(&s->reap);
	pthread_mutex_destroy(&s->lock);
	free(s->thread);
	free(s->cert);
	free(s->key);
	free(s);
}

static void server_threads_end(struct http_server *s)
{
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_cond_broadcast(&s->work);
	pthread_cond_broadcast(&s->reap);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->threads; i++)
		pthread_join(s->thread[i], NULL);
	if (s->has_reaper)
		pthread_join(s->reaper, NULL);
}

#define DEFAULT(field, value)                      \
	do {                                       \
		if (!s->config.field)              \
			s->config.field = (value); \
	} while (0)

enum oc_err http_server_start(const struct http_server_config *config, struct http_server **ret,
			      struct oc_fail *reterr)
{
	struct http_server *s = mem_alloc(sizeof(*s));
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct sockaddr_storage addr;
	socklen_t addr_len = 0;
	pthread_condattr_t mono;
	const union MHD_DaemonInfo *info;
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_END, 0, NULL },
                { MHD_OPTION_END, 0, NULL },
                { MHD_OPTION_END, 0, NULL }
	};
	enum oc_err err;

	s->config = *config;
	DEFAULT(event_threads, 2);
	DEFAULT(handler_threads, 64);
	DEFAULT(queue_max, 256);
	DEFAULT(connections, 1024);
	DEFAULT(per_address, 512);
	DEFAULT(headers_max, 64);
	DEFAULT(head_bytes, 32 << 10);
	DEFAULT(head_ms, 15000);
	DEFAULT(body_ms, 30000);
	DEFAULT(write_ms, 60000);
	if (s->config.event_threads < 2)
		s->config.event_threads = 2;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&s->work, NULL);
	pthread_cond_init(&s->change, &mono);
	pthread_cond_init(&s->reap, &mono);
	pthread_condattr_destroy(&mono);
	s->thread = mem_array(s->config.handler_threads, sizeof(*s->thread));

	err = address_of(config, &addr, &addr_len, reterr);
	if (err != OC_OK) {
		server_free(s);
		return err;
	}
	if (config->tls_cert) {
		if (!config->tls_key) {
			server_free(s);
			return oc_fail_field(reterr, OC_INVALID, "tls_key",
					     "TLS needs the key of the certificate");
		}
		flags |= MHD_USE_TLS;
		s->cert = mem_strdup(config->tls_cert);
		s->key = mem_strdup(config->tls_key);
		tls[0] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_CERT, 0, s->cert };
		tls[1] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_KEY, 0, s->key };
	}
	if (addr.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	/* No MHD_OPTION_LISTENING_ADDRESS_REUSE: 0 there would take SO_REUSEADDR away, and a service that was killed
	 * with connections open would not get its port back for a minute. */
	s->daemon = MHD_start_daemon(flags, (uint16_t)config->port, NULL, NULL, on_request, s,
				     MHD_OPTION_EXTERNAL_LOGGER, on_log, s, MHD_OPTION_SOCK_ADDR_LEN,
				     addr_len, &addr, MHD_OPTION_THREAD_POOL_SIZE, s->config.event_threads,
				     MHD_OPTION_CONNECTION_LIMIT, s->config.connections,
				     MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->config.per_address,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->config.head_bytes,
				     MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1, MHD_OPTION_NOTIFY_CONNECTION,
				     on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
				     MHD_OPTION_URI_LOG_CALLBACK, on_target, s, MHD_OPTION_UNESCAPE_CALLBACK,
				     keep_escapes, s, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	if (!s->daemon) {
		char why[sizeof(s->trouble)];

		/* errno is that of its cleaning up by now */
		snprintf(why, sizeof(why), "%s", s->trouble);
		server_free(s);
		return oc_fail(reterr, OC_UNAVAILABLE, "cannot listen on %s port %u: %s",
			       config->address ? config->address : "127.0.0.1", config->port, why);
	}
	info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
	s->port = info ? info->port : config->port;
	s->has_reaper = pthread_create(&s->reaper, NULL, reap, s) == 0;
	if (!s->has_reaper)
		log_warn("no thread for slow clients: they stay until they leave by themselves");
	*ret = s;
	return OC_OK;
}

unsigned http_server_port(const struct http_server *s)
{
	return s->port;
}
bool http_server_stopping(const struct http_server *s)
{
	return atomic_load(&s->stopping);
}

static bool somebody_writes(const struct http_server *s)
{
	for (const struct conn *c = s->conns; c; c = c->next)
		if (c->phase == WRITE || c->phase == HANDLE)
			return true;
	return false;
}

void http_server_stop(struct http_server *s, unsigned grace_ms)
{
	struct timespec until;
	MHD_socket listener;

	if (!s)
		return;
	atomic_store(&s->stopping, true);
	listener = MHD_quiesce_daemon(s->daemon);

	/* Handlers hold memory of the connection: they are waited for, however long they take. */
	pthread_mutex_lock(&s->lock);
	while (s->queued > 0 || s->running > 0)
		pthread_cond_wait(&s->change, &s->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
	until.tv_sec += grace_ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (somebody_writes(s) && pthread_cond_timedwait(&s->change, &s->lock, &until) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&s->lock);

	MHD_stop_daemon(s->daemon);
	if (listener != MHD_INVALID_SOCKET)
		close(listener);
	server_threads_end(s);
	server_free(s);
}
