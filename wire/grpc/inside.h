/* inside.h - what the files of this room share: a call, its connection, and the queue between sockets and workers. */
#pragma once
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "wire/grpc/server.h"

#define TEXT_MAX 512 /* of a header that we keep */

/* One stream of HTTP/2. Its connection's list holds it until the stream is closed; while a worker has it, that
 * one holds it too, and the last to let go frees it. */
struct grpc_stream {
	struct grpc_stream *next; /* in its connection */
	struct grpc_stream
		*queue_next; /* waiting for a worker, or answered and waiting for the socket's thread */
	struct grpc_conn *conn_ref; /* NULL: the connection is gone, nobody waits for the answer */
	int32_t id;
	int64_t began_ms;
	bool post, grpc, complete, refused, answered;
	size_t header_bytes;
	char *path, *authorization, *tenant, *encoding;
	struct text body; /* the prefix of five bytes and the message, as sent */
	struct grpc_answer answer;
	size_t sent; /* of the answer's message, with its prefix */
};

struct grpc_conn {
	struct grpc_conn *next, *prev;
	struct grpc_server *server_ref;
	int fd;
	bool closing, wants_write;
	nghttp2_session *session;
	struct grpc_stream *streams;
	unsigned calls;
	int64_t touched_ms; /* the last time that it had a call */
	const uint8_t *out; /* lent by the session: what the socket has not taken yet */
	size_t out_n;
};

struct grpc_server {
	struct grpc_config config;
	int listener, epoll, wake;
	unsigned port;
	pthread_t io;
	bool has_io;
	/* the socket's thread alone */
	struct grpc_conn *conns;
	unsigned conn_count, under_way; /* calls that a worker has */
	size_t held;                    /* bytes of bodies */
	/* between the threads */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct grpc_stream *todo_first, *todo_last, *done_first;
	pthread_t *worker;
	unsigned workers;
	bool ending; /* workers go home */
	atomic_bool stopping;
	atomic_llong stop_at_ms;
};

/* stream.c */
struct grpc_stream *stream_new(struct grpc_conn *c, int32_t id);
void stream_free(struct grpc_stream *st);
/* A header of the request; what is too much refuses the call. */
void stream_header(struct grpc_stream *st, const char *name, size_t name_n, const char *value,
		   size_t value_n);
/* Bytes of the body. False: beyond the limits, the call is refused. */
bool stream_body(struct grpc_stream *st, const uint8_t *data, size_t n);
/* All of it is there: true if a worker shall have it, false if it is answered with what is wrong. */
bool stream_complete(struct grpc_stream *st);
void stream_refuse(struct grpc_stream *st, enum grpc_status status, const char *why);
/* Hands the answer to the session. */
void stream_answer(struct grpc_stream *st);

/* session.c */
bool conn_open(struct grpc_conn *c); /* makes the session and its settings */
