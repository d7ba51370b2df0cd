/* redis.c - RESP: arrays of bulk strings ask, values answer, in order. */
#include "sensor-bpf/parse/parser.h"

#define DEPTH_MAX 1000000

/* "<letter>digits\r\n"; returns the bytes it takes, or 0. */
static size_t number_line(const uint8_t *p, size_t n, int64_t *ret)
{
	size_t at = 1;
	bool minus = false;
	int64_t v = 0;

	if (n > 1 && p[1] == '-') {
		minus = true;
		at++;
	}
	for (; at < n && isdigit(p[at]); at++) {
		if (v > INT32_MAX)
			return 0;
		v = 10 * v + (p[at] - '0');
	}
	if (at == 1 || n - at < 2 || p[at] != '\r' || p[at + 1] != '\n')
		return 0;
	*ret = minus ? -v : v;
	return at + 2;
}

static enum sniffed sniff(const struct flow *f, const uint8_t *p, size_t kept, size_t size)
{
	int64_t count, len;
	size_t n;

	(void)f, (void)size;
	if (kept < 4 || p[0] != '*')
		return SNIFF_NO;
	n = number_line(p, kept, &count);
	if (!n || count < 1 || count > 1024 * 1024 || n >= kept || p[n] != '$' ||
	    !number_line(p + n, kept - n, &len) || len < 1 || len > 64)
		return SNIFF_NO;
	/* pushed messages look alike, and go the other way */
	return SNIFF_ASKS;
}

static void requests(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	size_t i = walk_begin(f, true, size), begin;

	if (i == SIZE_MAX)
		return;
	while (i < kept) {
		int64_t count = 0, len = 0;
		size_t n;
		char word[24];

		begin = i;
		if (p[i] != '*' || !(n = number_line(p + i, kept - i, &count)) || count < 1 ||
		    count > 1024 * 1024)
			break;
		i += n;
		if (i >= kept || p[i] != '$' || !(n = number_line(p + i, kept - i, &len)) || len < 0)
			break;
		i += n;
		copy_word(word, sizeof(word), p + (i < kept ? i : kept),
			  i < kept ? ((size_t)len < kept - i ? (size_t)len : kept - i) : 0);
		for (char *c = word; *c; c++)
			*c = (char)toupper((unsigned char)*c);
		asked_new(f, 0, at, size - begin, word);
		i += (size_t)len + 2;
		for (int64_t k = 1; k < count; k++) {
			if (i >= kept || p[i] != '$' || !(n = number_line(p + i, kept - i, &len)) ||
			    len < 0) {
				/* where the next one begins is out of sight, unless this was all */
				f->skip[true] = -1;
				return;
			}
			i += n + (size_t)len + 2;
		}
	}
	walk_end(f, true, i, size);
}

/* The bytes that one value takes: 0 if that is not to be seen here. */
static uint64_t value_size(const uint8_t *p, size_t n)
{
	uint64_t at = 0;
	int64_t left = 1;

	while (left > 0) {
		int64_t v = 0;
		size_t line;
		const uint8_t *end;

		if (at >= n)
			return 0;
		switch (p[at]) {
		case '$':
		case '=':
		case '!':
			line = number_line(p + at, n - at, &v);
			if (!line)
				return 0;
			at += line + (v >= 0 ? (uint64_t)v + 2 : 0);
			break;
		case '*':
		case '~':
		case '>':
		case '%':
			line = number_line(p + at, n - at, &v);
			if (!line || v > DEPTH_MAX)
				return 0;
			left += v > 0 ? (p[at] == '%' ? 2 * v : v) : 0;
			at += line;
			break;
		case '+':
		case '-':
		case ':':
		case '_':
		case '#':
		case ',':
		case '(':
			end = memmem(p + at, n - at, "\r\n", 2);
			if (!end)
				return 0;
			at = (uint64_t)(end - p) + 2;
			break;
		default:
			return 0;
		}
		left--;
	}
	return at;
}

static void answers(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	size_t begin = walk_begin(f, false, size);
	uint64_t i = begin, n;

	if (begin == SIZE_MAX)
		return;
	while (i < kept && f->asked_count) {
		struct asked *a = asked_oldest(f);
		bool failed = p[i] == '-' || p[i] == '!';
		char status[16] = "ok";

		if (p[i] == '>') { /* pushed in between: nobody's answer */
			n = value_size(p + i, kept - i);
			if (!n)
				break;
			i += n;
			continue;
		}
		if (failed)
			copy_word(status, sizeof(status), p + i + 1, kept - (size_t)i - 1);
		n = value_size(p + i, kept - (size_t)i);
		a->answered_bytes = n ? n : size - i;
		asked_tell(f, a, at, status, failed);
		if (!n) {
			/* The rest is out of sight. What was asked together is answered together; were it kept, each
			 * later answer would go to the question before its own. */
			while ((a = asked_oldest(f)))
				asked_tell(f, a, at, "ok", false);
			f->skip[false] = -1;
			return;
		}
		i += n;
	}
	walk_end(f, false, i > size ? i : size, size);
}

static void feed(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	if (asks)
		requests(f, at, p, kept, size);
	else
		answers(f, at, p, kept, size);
}

const struct parser parser_redis = { .proto = PROTO_REDIS, .sniff = sniff, .feed = feed };
