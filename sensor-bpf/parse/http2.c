/* http2.c - HTTP/2 and gRPC: HEADERS frames of both directions, by stream (RFC 9113, 7541).
 *
 * HPACK remembers: a head that is not wholly to be seen leaves its direction blind. Calls are still counted and
 * timed then, with "?" for what cannot be read. */
#include <nghttp2/nghttp2.h>
#include "sensor-bpf/parse/parser.h"

#define PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_LEN 24
#define FRAME_HEAD  9
#define FRAME_LIMIT (1 << 20)
#define HEADERS_MAX 128

enum { FRAME_DATA, FRAME_HEADERS, FRAME_PRIORITY, FRAME_RST, FRAME_SETTINGS, FRAME_CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 0x20 };

struct own {
	nghttp2_hd_inflater *inflater[2];
	bool blind[2];
};

struct head {
	char method[24], path[96], status[16], grpc_status[8], trace[56];
	bool grpc;
};

static void done(struct flow *f)
{
	struct own *own = f->own;

	for (int i = 0; own && i < 2; i++)
		nghttp2_hd_inflate_del(own->inflater[i]);
	free(own);
}

static struct own *own_get(struct flow *f)
{
	struct own *own = f->own;

	if (own)
		return own;
	own = mem_alloc(sizeof(*own));
	f->own = own;
	for (int i = 0; i < 2; i++) {
		if (nghttp2_hd_inflate_new(&own->inflater[i]) != 0)
			own->blind[i] = true;
	}
	return own;
}

static void gap(struct flow *f)
{
	struct own *own = own_get(f);

	own->blind[0] = own->blind[1] = true;
}

static enum sniffed sniff(const struct flow *f, const uint8_t *p, size_t kept, size_t size)
{
	(void)f, (void)size;
	return starts(p, kept, PREFACE) ? SNIFF_ASKS : SNIFF_NO;
}

static void head_take(struct head *h, const nghttp2_nv *nv)
{
	static const struct {
		const char *name;
		size_t offset, size;
	} kept[] = {
		{ ":method",     offsetof(struct head, method),      sizeof(((struct head *)0)->method) },
		{ ":status",     offsetof(struct head, status),      sizeof(((struct head *)0)->status) },
		{ "grpc-status", offsetof(struct head, grpc_status),
                 sizeof(((struct head *)0)->grpc_status)                                                },
		{ "traceparent", offsetof(struct head, trace),       sizeof(((struct head *)0)->trace)  },
	};

	if (nv->namelen == 5 && memcmp(nv->name, ":path", 5) == 0)
		route_fold_path(h->path, sizeof(h->path), (const char *)nv->value, nv->valuelen);
	if (nv->namelen == 12 && memcmp(nv->name, "content-type", 12) == 0)
		h->grpc = starts(nv->value, nv->valuelen, "application/grpc");
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (strlen(kept[i].name) == nv->namelen && memcmp(nv->name, kept[i].name, nv->namelen) == 0)
			copy_word((char *)h + kept[i].offset, kept[i].size, nv->value, nv->valuelen);
}

/* False: the block is broken or not whole, and this direction blind from here on. */
static bool head_read(struct own *own, bool asks, const uint8_t *p, size_t n, struct head *h)
{
	for (unsigned k = 0; k < HEADERS_MAX; k++) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(own->inflater[asks], &nv, &flags, p, n, 1);

		if (used < 0)
			return false;
		p += used;
		n -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			head_take(h, &nv);
		if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			nghttp2_hd_inflate_end_headers(own->inflater[asks]);
			return true;
		}
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && n == 0)
			return false;
	}
	return false;
}

static void asked_head(struct flow *f, uint64_t at, uint32_t stream, const struct head *h, size_t len)
{
	struct asked *a = asked_find(f, stream);

	if (a) /* trailers of a request */
		return;
	a = asked_new(f, stream, at, len, h->method[0] ? h->method : "?");
	if (h->grpc)
		a->proto = PROTO_GRPC;
	snprintf(a->route, sizeof(a->route), "%s", h->path[0] ? h->path : "?");
	memcpy(a->trace, h->trace, sizeof(a->trace));
}

static void answered(struct flow *f, struct asked *a, uint64_t at)
{
	bool grpc = a->proto == PROTO_GRPC;
	/* gRPC: what the caller did wrong (3, 5, 6, 7, 11, 16, cancelled 1) is not the server's failure */
	static const char *const servers[] = { "2", "4", "8", "12", "13", "14", "15" };
	bool failed = !grpc && a->status[0] == '5';

	for (size_t i = 0; grpc && i < ARRAY_LEN(servers); i++)
		failed |= str_eq(a->status, servers[i]);
	asked_tell(f, a, at, a->status[0] ? a->status : "?", failed);
}

static void answer_head(struct flow *f, uint64_t at, uint32_t stream, const struct head *h, bool last)
{
	struct asked *a = asked_find(f, stream);

	if (!a || h->status[0] == '1')
		return;
	/* Plain HTTP is answered with its first head, as HTTP/1 is; gRPC's status is in the trailers. */
	if (h->grpc_status[0]) {
		a->proto = PROTO_GRPC;
		snprintf(a->status, sizeof(a->status), "%s", h->grpc_status);
	} else if (h->status[0] && (a->proto != PROTO_GRPC || h->status[0] != '2')) {
		snprintf(a->status, sizeof(a->status), "%s", h->status);
	}
	if (last || a->proto != PROTO_GRPC)
		answered(f, a, at);
}

static void headers(struct flow *f, bool asks, uint64_t at, const uint8_t *frame, size_t there, uint32_t len)
{
	struct own *own = own_get(f);
	uint8_t flags = frame[4];
	uint32_t stream = be32(frame + 5) & 0x7fffffff;
	size_t from = FRAME_HEAD, end = FRAME_HEAD + len;
	struct head h = { 0 };

	if (flags & PADDED) {
		if (there <= from || frame[from] >= len)
			return;
		end -= frame[from++];
	}
	if (flags & WITH_PRIORITY)
		from += 5;
	if (!own->blind[asks]) {
		if (from > end || end > there || !(flags & END_HEADERS) ||
		    !head_read(own, asks, frame + from, end - from, &h)) {
			memset(&h, 0, sizeof(h));
			own->blind[asks] = true;
		}
	}
	if (asks)
		asked_head(f, at, stream, &h, FRAME_HEAD + len);
	else
		answer_head(f, at, stream, &h, flags & END_STREAM);
}

static void one_frame(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t there, uint32_t len)
{
	struct asked *a = asked_find(f, be32(p + 5) & 0x7fffffff);

	switch (p[3]) {
	case FRAME_HEADERS:
		headers(f, asks, at, p, there, len);
		break;
	case FRAME_DATA:
		if (!a)
			break;
		if (asks)
			a->bytes += len;
		else
			a->answered_bytes += len;
		if (!asks && (p[4] & END_STREAM))
			answered(f, a, at);
		break;
	case FRAME_RST:
		if (a) {
			snprintf(a->status, sizeof(a->status), "reset");
			asked_tell(f, a, at, "reset", !asks);
		}
		break;
	default:
		break;
	}
}

static void feed(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	uint64_t i = walk_begin(f, asks, size);

	if (i == SIZE_MAX)
		return;
	if (asks && i == 0 && starts(p, kept, PREFACE))
		i = PREFACE_LEN;
	while (i + FRAME_HEAD <= kept) {
		uint32_t len = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
		uint64_t stop = i + FRAME_HEAD + len;

		if (len > FRAME_LIMIT || p[i + 3] > FRAME_CONTINUATION)
			break;
		one_frame(f, asks, at, p + i, (size_t)((stop < kept ? stop : kept) - i), len);
		i = stop;
	}
	/* A frame whose head is out of sight may have been one that HPACK remembers. */
	if (i < size && f->skip[asks] < 0 && i != size)
		own_get(f)->blind[asks] |= i + FRAME_HEAD > kept && kept < size;
	walk_end(f, asks, i, size);
}

const struct parser parser_http2 = {
	.proto = PROTO_HTTP2, .sniff = sniff, .feed = feed, .gap = gap, .done = done
};
