#include <string.h>
#include "base/clock.h"
#include "wire/grpc/inside.h"

static struct grpc_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct grpc_conn *c = ctx;
	struct grpc_stream *st;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	st = stream_new(c, frame->hd.stream_id);
	st->next = c->streams;
	c->streams = st;
	c->calls++;
	c->touched_ms = st->began_ms;
	if (atomic_load(&c->server_ref->stopping))
		stream_refuse(st, GRPC_UNAVAILABLE, "the service is stopping");
	nghttp2_session_set_stream_user_data(session, st->id, st);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
		     const uint8_t *value, size_t value_n, uint8_t flags, void *ctx)
{
	struct grpc_stream *st = stream_of(session, frame->hd.stream_id);

	(void)flags, (void)ctx;
	if (!st)
		return 0;
	/* the session bounds one block of headers; a call may come with trailers, too */
	st->header_bytes += name_n + value_n;
	if (st->header_bytes > 64 << 10)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	stream_header(st, (const char *)name, name_n, (const char *)value, value_n);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
		   void *ctx)
{
	struct grpc_stream *st = stream_of(session, id);

	(void)flags, (void)ctx;
	if (st && !st->answered && !stream_body(st, data, n))
		stream_answer(st);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct grpc_conn *c = ctx;
	struct grpc_server *s = c->server_ref;
	struct grpc_stream *st;

	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	st = stream_of(session, frame->hd.stream_id);
	if (!st || st->complete)
		return 0;
	if (!stream_complete(st)) {
		stream_answer(st);
		return 0;
	}
	s->under_way++;
	pthread_mutex_lock(&s->lock);
	st->queue_next = NULL;
	if (s->todo_last)
		s->todo_last->queue_next = st;
	else
		s->todo_first = st;
	s->todo_last = st;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* Who is still sending after he was answered hears that nobody listens: after the answer, or it would be lost. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct grpc_stream *st;

	(void)ctx;
	if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	st = stream_of(session, frame->hd.stream_id);
	if (st && !st->complete)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
	struct grpc_conn *c = ctx;
	struct grpc_stream *st = stream_of(session, id);

	(void)error;
	if (!st)
		return 0;
	for (struct grpc_stream **p = &c->streams; *p; p = &(*p)->next)
		if (*p == st) {
			*p = st->next;
			break;
		}
	c->calls--;
	c->touched_ms = clock_mono_ms();
	st->conn_ref = NULL;
	/* a worker has it: whoever takes its answer back frees it */
	if (st->complete && !st->refused && !st->answered)
		return 0;
	c->server_ref->held -= st->body.len;
	stream_free(st);
	return 0;
}

bool conn_open(struct grpc_conn *c)
{
	const struct grpc_config *config = &c->server_ref->config;
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config->calls },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,    1 << 20       },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,   16 << 10      },
		{ NGHTTP2_SETTINGS_ENABLE_PUSH,            0             },
	};
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;
	bool ok;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return false;
	if (nghttp2_option_new(&option) != 0) {
		nghttp2_session_callbacks_del(cb);
		return false;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_send_header_block_length(option, 16 << 10);
	ok = nghttp2_session_server_new2(&c->session, cb, c, option) == 0 &&
	     nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
				     sizeof(settings) / sizeof(*settings)) == 0 &&
	     nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 8 << 20) == 0;
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(option);
	return ok;
}
