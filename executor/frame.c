#include "executor/frame.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/mem.h"

static bool wait_for_room(int fd, int64_t until_us)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int64_t left = until_us ? (until_us - clock_mono_us() + 999) / 1000 : 0;

	if (until_us && left <= 0)
		return false;
	if (poll(&p, 1, until_us ? (int)(left > 60000 ? 60000 : left) : -1) < 0)
		return errno == EINTR;
	return true;
}

bool frame_send(int fd, const char *text, size_t len, int64_t until_us)
{
	unsigned char head[4] = { (unsigned char)len, (unsigned char)(len >> 8), (unsigned char)(len >> 16),
				  (unsigned char)(len >> 24) };
	struct iovec part[2] = {
		{ head,         sizeof(head) },
                { (void *)text, len          }
	};
	struct msghdr msg = { .msg_iov = part, .msg_iovlen = 2 };

	if (len > FRAME_MAX)
		return false;
	while (msg.msg_iovlen) {
		ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if ((errno == EAGAIN || errno == EWOULDBLOCK) && wait_for_room(fd, until_us))
				continue;
			return false;
		}
		while (msg.msg_iovlen && (size_t)n >= msg.msg_iov->iov_len) {
			n -= (ssize_t)msg.msg_iov->iov_len;
			msg.msg_iov++;
			msg.msg_iovlen--;
		}
		if (msg.msg_iovlen) {
			msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
			msg.msg_iov->iov_len -= (size_t)n;
		}
	}
	return true;
}

enum frame_got frame_read(struct frame_in *in, int fd, bool wait)
{
	ssize_t n;

	if (in->cap - in->len < 4096) {
		/* Not realloc: the old block may hold secrets and must be wiped. */
		size_t cap = in->cap ? in->cap * 2 : 16384;
		char *bigger;

		if (cap > 4 * FRAME_MAX)
			return FRAME_ERROR;
		bigger = mem_alloc(cap);
		if (in->len)
			memcpy(bigger, in->buf, in->len);
		if (in->buf)
			explicit_bzero(in->buf, in->cap);
		free(in->buf);
		in->buf = bigger;
		in->cap = cap;
	}
	do
		n = recv(fd, in->buf + in->len, in->cap - in->len, wait ? 0 : MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? FRAME_AGAIN
		       : errno == ECONNRESET                   ? FRAME_EOF
							       : FRAME_ERROR;
	if (n == 0)
		return FRAME_EOF;
	in->len += (size_t)n;
	return FRAME_BYTES;
}

int frame_next(struct frame_in *in, size_t max, char **ret_text, size_t *ret_len)
{
	const unsigned char *h = (const unsigned char *)in->buf;
	size_t len;

	if (in->len < 4)
		return 0;
	len = (size_t)h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 | (size_t)h[3] << 24;
	if (len > max || len > FRAME_MAX)
		return -1;
	if (in->len - 4 < len)
		return 0;
	*ret_text = mem_alloc(len + 1);
	memcpy(*ret_text, in->buf + 4, len);
	*ret_len = len;
	in->len -= 4 + len;
	memmove(in->buf, in->buf + 4 + len, in->len);
	explicit_bzero(in->buf + in->len, 4 + len);
	return 1;
}

void frame_done(struct frame_in *in)
{
	if (in->buf)
		explicit_bzero(in->buf, in->cap);
	free(in->buf);
	*in = (struct frame_in){ 0 };
}

/* How many bytes the character at s takes; 0: it is none. */
static size_t utf8_at(const char *s, size_t n)
{
	unsigned char c = (unsigned char)*s;
	size_t len = c < 0x80                ? 1
		     : c >= 0xc2 && c < 0xe0 ? 2
		     : c >= 0xe0 && c < 0xf0 ? 3
		     : c >= 0xf0 && c < 0xf5 ? 4
					     : 0;

	if (c == 0 || len == 0 || len > n || (len > 1 && !str_utf8_ok(s, len)))
		return 0;
	return len;
}

static void quote_one(struct text *out, unsigned char c)
{
	if (c == '"' || c == '\\')
		text_addf(out, "\\%c", c);
	else
		text_addf(out, "\\u%04x", c);
}

static void add_clean(struct text *out, const char *s, size_t n, bool quote)
{
	size_t from = 0;

	for (size_t i = 0; i < n;) {
		size_t len = utf8_at(s + i, n - i);
		unsigned char c = (unsigned char)s[i];

		if (len && !(quote && (c == '"' || c == '\\' || c < 0x20))) {
			i += len;
			continue;
		}
		text_add_n(out, s + from, i - from);
		if (len)
			quote_one(out, c);
		else
			text_add_n(out, "?", 1);
		from = ++i;
	}
	text_add_n(out, s + from, n - from);
}

void frame_quote(struct text *out, const char *s, size_t n)
{
	text_add_n(out, "\"", 1);
	add_clean(out, s, n, true);
	text_add_n(out, "\"", 1);
}

void frame_clean(struct text *out, const char *s, size_t n)
{
	add_clean(out, s, n, false);
}
