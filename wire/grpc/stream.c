#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "wire/grpc/inside.h"

#define PREFIX 5 /* one byte: is it packed; four: how long, most significant first */

struct grpc_stream *stream_new(struct grpc_conn *c, int32_t id)
{
	struct grpc_stream *st = mem_alloc(sizeof(*st));

	st->conn_ref = c;
	st->id = id;
	st->began_ms = clock_mono_ms();
	return st;
}

void stream_free(struct grpc_stream *st)
{
	if (!st)
		return;
	free(st->path);
	free(st->authorization);
	free(st->tenant);
	free(st->encoding);
	text_done(&st->body);
	text_done(&st->answer.message);
	free(st);
}

void stream_refuse(struct grpc_stream *st, enum grpc_status status, const char *why)
{
	if (st->refused)
		return;
	st->refused = true;
	st->answer.status = status;
	snprintf(st->answer.why, sizeof(st->answer.why), "%s", why);
}

static bool is(const char *name, size_t n, const char *what)
{
	return strlen(what) == n && memcmp(name, what, n) == 0;
}

void stream_header(struct grpc_stream *st, const char *name, size_t name_n, const char *value, size_t value_n)
{
	char **keep = is(name, name_n, ":path")              ? &st->path
		      : is(name, name_n, "authorization")    ? &st->authorization
		      : is(name, name_n, "x-opscase-tenant") ? &st->tenant
		      : is(name, name_n, "grpc-encoding")    ? &st->encoding
							     : NULL;

	if (is(name, name_n, ":method"))
		st->post = is(value, value_n, "POST");
	else if (is(name, name_n, "content-type"))
		st->grpc = value_n >= 16 && memcmp(value, "application/grpc", 16) == 0;
	if (!keep || *keep)
		return;
	if (value_n > TEXT_MAX)
		stream_refuse(st, GRPC_INVALID_ARGUMENT, "a header is too long");
	else
		*keep = mem_strndup(value, value_n);
}

bool stream_body(struct grpc_stream *st, const uint8_t *data, size_t n)
{
	struct grpc_server *s = st->conn_ref->server_ref;

	if (st->refused || st->complete)
		return false;
	if (st->body.len + n > s->config.message_max + PREFIX) {
		stream_refuse(st, GRPC_RESOURCE_EXHAUSTED, "the message is over the limit");
	} else if (s->held + n > s->config.held_max) {
		stream_refuse(st, GRPC_UNAVAILABLE, "too much is under way; send it again later");
		st->answer.retry_s = 1;
	} else {
		s->held += n;
		text_add_n(&st->body, (const char *)data, n);
		return true;
	}
	s->held -= st->body.len;
	text_done(&st->body);
	return false;
}

bool stream_complete(struct grpc_stream *st)
{
	const unsigned char *p = (const unsigned char *)st->body.s;
	size_t len = st->body.len >= PREFIX
			     ? (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]
			     : 0;

	st->complete = true;
	if (st->refused)
		return false;
	if (!st->post || !st->grpc || !st->path)
		stream_refuse(st, GRPC_INVALID_ARGUMENT, "not a gRPC call: POST with application/grpc");
	else if (st->body.len < PREFIX || p[0] > 1)
		stream_refuse(st, GRPC_INVALID_ARGUMENT, "the message has no prefix of a gRPC message");
	else if (st->body.len != len + PREFIX)
		stream_refuse(st, GRPC_UNIMPLEMENTED, "a unary call has one whole message");
	else if (p[0] == 1 && (!st->encoding || strcmp(st->encoding, "identity") == 0))
		stream_refuse(st, GRPC_INVALID_ARGUMENT, "a packed message without grpc-encoding");
	return !st->refused;
}

/* ---- the answer */

#define NV(n, v)                                                                            \
	(nghttp2_nv)                                                                        \
	{                                                                                   \
		(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), \
			NGHTTP2_NV_FLAG_NONE                                                \
	}

struct trailer {
	char status[12], details[160], why[3 * sizeof(((struct grpc_answer *)0)->why)];
	nghttp2_nv nv[3];
	size_t n;
};

/* When to come again, as senders look for it: a google.rpc.Status with a RetryInfo, in base64. */
static void retry_details(const struct grpc_answer *a, char *out, size_t size)
{
	static const char type[] = "type.googleapis.com/google.rpc.RetryInfo";
	const char seconds = (char)(a->retry_s < 127 ? a->retry_s : 127);
	AUTO(text) struct text any = { 0 }, status = { 0 };
	AUTO(str) char *line = NULL;

	text_add_n(&any, (const char[]){ 0x0a, sizeof(type) - 1 }, 2);
	text_add_n(&any, type, sizeof(type) - 1);
	text_add_n(&any, (const char[]){ 0x12, 4, 0x0a, 2, 0x08, seconds }, 6);
	text_add_n(&status, (const char[]){ 0x08, (char)a->status, 0x1a, (char)any.len }, 4);
	text_add_n(&status, any.s, any.len);
	line = hash_base64(status.s, status.len);
	snprintf(out, size, "%s", line);
}

/* grpc-message is percent-encoded: everything but printable ASCII, and the sign itself. */
static void trailer_fill(struct trailer *t, const struct grpc_answer *a)
{
	char *to = t->why;

	for (const unsigned char *p = (const unsigned char *)a->why; *p; p++)
		if (*p >= ' ' && *p <= '~' && *p != '%')
			*to++ = (char)*p;
		else
			to += sprintf(to, "%%%02X", *p);
	*to = '\0';
	snprintf(t->status, sizeof(t->status), "%d", (int)a->status);
	t->n = 0;
	t->nv[t->n++] = NV("grpc-status", t->status);
	if (t->why[0])
		t->nv[t->n++] = NV("grpc-message", t->why);
	if (a->retry_s) {
		retry_details(a, t->details, sizeof(t->details));
		t->nv[t->n++] = NV("grpc-status-details-bin", t->details);
	}
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
			   nghttp2_data_source *source, void *ctx)
{
	struct grpc_stream *st = source->ptr;
	const struct text *m = &st->answer.message;
	size_t n = 0;
	struct trailer t;

	(void)ctx;
	while (n < max && st->sent < PREFIX) {
		buf[n++] = st->sent == 0 ? 0 : (uint8_t)(m->len >> (8 * (PREFIX - 1 - st->sent)));
		st->sent++;
	}
	if (st->sent >= PREFIX && m->len) {
		size_t left = m->len - (st->sent - PREFIX), take = left < max - n ? left : max - n;

		memcpy(buf + n, m->s + (st->sent - PREFIX), take);
		st->sent += take;
		n += take;
	}
	if (st->sent == PREFIX + m->len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		trailer_fill(&t, &st->answer);
		if (nghttp2_submit_trailer(session, id, t.nv, t.n) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)n;
}

void stream_answer(struct grpc_stream *st)
{
	nghttp2_session *session = st->conn_ref->session;
	struct trailer t;
	nghttp2_nv head[3 + 3];

	if (st->answered)
		return;
	st->answered = true;
	st->conn_ref->server_ref->held -= st->body.len;
	text_done(&st->body);
	head[0] = NV(":status", "200");
	head[1] = NV("content-type", "application/grpc");
	head[2] = NV("grpc-accept-encoding", "identity,gzip");
	if (st->answer.status == GRPC_OK) {
		nghttp2_data_provider from = { .source.ptr = st, .read_callback = read_answer };

		(void)!nghttp2_submit_response(session, st->id, head, 3, &from);
		return;
	}
	trailer_fill(&t, &st->answer);
	memcpy(head + 3, t.nv, t.n * sizeof(*t.nv));
	(void)!nghttp2_submit_response(session, st->id, head, 3 + t.n, NULL);
}
