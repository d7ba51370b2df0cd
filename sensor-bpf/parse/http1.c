/* http1.c - HTTP/1: a request line, a status line, and traceparent when it is in the head (RFC 9112). */
#include "sensor-bpf/parse/parser.h"

static const char *const methods[] = { "GET ",     "POST ",  "PUT ",     "DELETE ", "HEAD ",
				       "OPTIONS ", "PATCH ", "CONNECT ", "TRACE " };

static const char *method_of(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (starts(p, n, methods[i]))
			return methods[i];
	return NULL;
}

static bool is_answer(const uint8_t *p, size_t n)
{
	return n >= 12 && memcmp(p, "HTTP/1.", 7) == 0 && p[8] == ' ' && isdigit(p[9]) && isdigit(p[10]) &&
	       isdigit(p[11]);
}

static enum sniffed sniff(const struct flow *f, const uint8_t *p, size_t kept, size_t size)
{
	const char *method = method_of(p, kept);

	(void)f, (void)size;
	if (is_answer(p, kept))
		return SNIFF_ANSWERS;
	/* a target begins with / or is a whole URL, * or host:port */
	return method && kept > strlen(method) && p[strlen(method)] > ' ' ? SNIFF_ASKS : SNIFF_NO;
}

/* The end of the head: behind the empty line, or NULL. */
static const uint8_t *head_end(const uint8_t *p, size_t n)
{
	const uint8_t *end = memmem(p, n, "\r\n\r\n", 4);

	return end ? end + 4 : NULL;
}

/* The value of a header, inside of the n bytes of a head; NULL if it is not there. */
static const uint8_t *header(const uint8_t *p, size_t n, const char *name, size_t *ret_len)
{
	const uint8_t *end = p + n, *line = p;
	size_t len = strlen(name);

	while ((line = memchr(line, '\n', (size_t)(end - line)))) {
		const uint8_t *stop;

		line++;
		if ((size_t)(end - line) < len + 1)
			return NULL;
		if (strncasecmp((const char *)line, name, len) != 0 || line[len] != ':')
			continue;
		line += len + 1;
		while (line < end && *line == ' ')
			line++;
		stop = memchr(line, '\r', (size_t)(end - line));
		*ret_len = (size_t)((stop ? stop : end) - line);
		return line;
	}
	return NULL;
}

static uint64_t body_length(const uint8_t *p, size_t n)
{
	size_t len;
	const uint8_t *v = header(p, n, "Content-Length", &len);
	uint64_t length = 0;

	for (size_t i = 0; v && i < len && isdigit(v[i]) && length < (UINT64_MAX >> 8); i++)
		length = 10 * length + (v[i] - '0');
	return length;
}

static void one_request(struct flow *f, uint64_t at, const uint8_t *p, size_t n, size_t size)
{
	const char *method = method_of(p, n);
	size_t len = strlen(method), end = len, value_len;
	char word[12];
	struct asked *a;
	const uint8_t *value;

	snprintf(word, sizeof(word), "%.*s", (int)len - 1, method);
	while (end < n && p[end] > ' ')
		end++;
	a = asked_new(f, 0, at, size, word);
	if (!str_eq(word, "CONNECT"))
		route_fold_path(a->route, sizeof(a->route), (const char *)p + len, end - len);
	value = header(p, n, "traceparent", &value_len);
	if (value && value_len == 55)
		copy_word(a->trace, sizeof(a->trace), value, value_len);
}

static void requests(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	size_t left = size;

	while (method_of(p, kept)) {
		const uint8_t *end = head_end(p, kept);
		uint64_t whole = end ? (uint64_t)(end - p) + body_length(p, (size_t)(end - p)) : left;

		one_request(f, at, p, end ? (size_t)(end - p) : kept, whole < left ? whole : left);
		/* pipelined ones follow at once */
		if (!end || whole >= kept)
			return;
		p += whole;
		kept -= whole;
		left -= whole;
	}
}

static void answers(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	while (is_answer(p, kept)) {
		const uint8_t *end = head_end(p, kept);
		int code = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
		struct asked *a = asked_oldest(f);
		uint64_t whole;
		char status[4] = { (char)p[9], (char)p[10], (char)p[11], '\0' };

		if (code == 101) { /* from here on it is another protocol */
			f->gave_up = true;
			return;
		}
		if (!end)
			whole = size;
		else
			whole = (uint64_t)(end - p) +
				(a && str_eq(a->method, "HEAD") ? 0 : body_length(p, (size_t)(end - p)));
		/* 1xx: the answer itself is still to come */
		if (code >= 200 && a) {
			a->answered_bytes = whole;
			asked_tell(f, a, at, status, code >= 500);
		}
		if (!end || whole >= kept)
			return;
		p += whole;
		kept -= whole;
		size -= whole;
	}
}

static void feed(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	if (asks)
		requests(f, at, p, kept, size);
	else
		answers(f, at, p, kept, size);
}

const struct parser parser_http1 = { .proto = PROTO_HTTP1, .turns = true, .sniff = sniff, .feed = feed };
