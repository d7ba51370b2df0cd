/* postgres.c - PostgreSQL's protocol 3: a call is what lies between a query (or the first message of an extended one)
 * and ReadyForQuery. */
#include "sensor-bpf/parse/parser.h"

#define NAMED_MAX 24 /* prepared statements whose words are remembered, per connection */

struct named {
	char name[32], method[24], route[96];
};

struct own {
	struct named named[NAMED_MAX];
	unsigned count, next;
	bool in_batch; /* Parse, Bind, Execute ... until Sync: one call */
};

static struct own *own_get(struct flow *f)
{
	if (!f->own)
		f->own = mem_alloc(sizeof(struct own));
	return f->own;
}

static void done(struct flow *f)
{
	free(f->own);
}

static void gap(struct flow *f)
{
	if (f->own)
		own_get(f)->in_batch = false;
}

#define VERSION_3   196608
#define SSL_REQUEST 80877103
#define GSS_REQUEST 80877104

static bool is_startup(const uint8_t *p, size_t kept, size_t size)
{
	uint32_t code;

	if (kept < 8 || be32(p) != size)
		return false;
	code = be32(p + 4);
	return (code >> 16 == 3 && (code & 0xffff) < 16 && size > 8) ||
	       (size == 8 && (code == SSL_REQUEST || code == GSS_REQUEST));
}

/* All messages of one write, as far as they are to be seen, have a known letter and lengths that add up. */
static bool adds_up(const uint8_t *p, size_t kept, size_t size, const char *letters)
{
	uint64_t at = 0;

	while (at + 5 <= kept) {
		uint32_t len = be32(p + at + 1);

		if (!p[at] || !strchr(letters, p[at]) || len < 4)
			return false;
		at += 1 + (uint64_t)len;
	}
	return at == size || (at > kept && at < size);
}

static enum sniffed sniff(const struct flow *f, const uint8_t *p, size_t kept, size_t size)
{
	(void)f;
	if (is_startup(p, kept, size))
		return SNIFF_ASKS;
	if (kept < 6)
		return SNIFF_NO;
	/* a connection that is older than we are */
	if (p[0] == 'Q' && be32(p + 1) + 1 == size && isalpha(p[5]))
		return SNIFF_ASKS;
	if ((p[0] == 'P' || p[0] == 'B') && kept >= 10 && adds_up(p, kept, size, "PBDESHC"))
		return SNIFF_ASKS;
	return SNIFF_NO;
}

static const uint8_t *text_end(const uint8_t *p, const uint8_t *end)
{
	return p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
}

/* Parse: name, statement. Bind: portal, name. */
static void statement_parsed(struct flow *f, struct asked *a, const uint8_t *p, const uint8_t *end)
{
	struct own *own = own_get(f);
	const uint8_t *stop = text_end(p, end), *sql_end;
	struct named *n;
	unsigned i;

	if (!stop || stop + 1 >= end)
		return;
	sql_end = text_end(stop + 1, end);
	route_sql(a->method, sizeof(a->method), a->route, sizeof(a->route), (const char *)stop + 1,
		  (size_t)((sql_end ? sql_end : end) - (stop + 1)));
	for (i = 0; i < own->count; i++)
		if (strncmp(own->named[i].name, (const char *)p, sizeof(n->name) - 1) == 0)
			break;
	if (i == own->count) {
		if (own->count < NAMED_MAX)
			own->count++;
		else
			i = own->next++ % NAMED_MAX;
	}
	n = &own->named[i];
	snprintf(n->name, sizeof(n->name), "%.*s", (int)(stop - p), (const char *)p);
	memcpy(n->method, a->method, sizeof(n->method));
	memcpy(n->route, a->route, sizeof(n->route));
}

static void statement_bound(struct flow *f, struct asked *a, const uint8_t *p, const uint8_t *end)
{
	struct own *own = own_get(f);
	const uint8_t *stop = text_end(p, end);

	if (!stop || a->method[0] || !text_end(stop + 1, end))
		return;
	for (unsigned i = 0; i < own->count; i++)
		if (strncmp(own->named[i].name, (const char *)stop + 1, sizeof(own->named[i].name) - 1) ==
		    0) {
			memcpy(a->method, own->named[i].method, sizeof(a->method));
			memcpy(a->route, own->named[i].route, sizeof(a->route));
			return;
		}
}

/* One that asks again has had its answer: that the end of the last one was out of sight costs no call. */
static void settle(struct flow *f)
{
	struct asked *a;

	while ((a = asked_oldest(f)) && a->answered)
		asked_tell(f, a, a->last_ns, a->status[0] ? a->status : "ok", a->failed);
}

static void one_request(struct flow *f, uint64_t at, uint8_t kind, const uint8_t *p, const uint8_t *end,
			size_t size)
{
	struct own *own = own_get(f);
	struct asked *a;

	switch (kind) {
	case 'Q':
		settle(f);
		a = asked_new(f, 0, at, size, "");
		route_sql(a->method, sizeof(a->method), a->route, sizeof(a->route), (const char *)p,
			  (size_t)(end - p));
		break;
	case 'P':
	case 'B':
	case 'E':
	case 'D':
	case 'C':
		if (!own->in_batch) {
			settle(f);
			asked_new(f, 0, at, size, "");
			own->in_batch = true;
		}
		a = asked_newest(f);
		if (!a)
			break;
		if (kind == 'P')
			statement_parsed(f, a, p, end);
		else if (kind == 'B')
			statement_bound(f, a, p, end);
		break;
	case 'S':
		own->in_batch = false;
		break;
	default: /* Terminate, Flush, copied data, passwords */
		break;
	}
}

static void requests(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	uint64_t i = walk_begin(f, true, size);

	if (i == SIZE_MAX || is_startup(p, kept, size))
		return;
	while (i + 5 <= kept) {
		uint64_t len = (uint64_t)be32(p + i + 1) + 1, stop;

		if (!strchr("QPBEDCSHXFdcfp", p[i]) || !p[i] || len < 5)
			break;
		stop = i + len < kept ? i + len : kept;
		one_request(f, at, p[i], p + i + 5, p + stop, (size_t)(size - i));
		i += len;
	}
	/* where messages are no longer to be seen, the batch may have ended */
	if (i < size && f->own)
		own_get(f)->in_batch = false;
	walk_end(f, true, i, size);
}

/* The SQLSTATE is the field C. */
static void error_read(struct asked *a, const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p) {
		const uint8_t *stop = text_end(p, end);

		if (*p == 'C') {
			copy_word(a->status, sizeof(a->status), p + 1,
				  (size_t)((stop ? stop : end) - (p + 1)));
			break;
		}
		if (!stop)
			break;
		p = stop + 1;
	}
	a->failed = true;
}

static void answers(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	uint64_t i = walk_begin(f, false, size);
	struct asked *a = asked_oldest(f);

	if (a) {
		a->answered = true;
		a->last_ns = at;
		a->answered_bytes += size;
	}
	if (i == SIZE_MAX)
		return;
	while (i + 5 <= kept) {
		uint64_t len = (uint64_t)be32(p + i + 1) + 1, stop;

		if (!p[i] || !strchr("RSKZTDCEINnst123AVGHWdcfv", p[i]) || len < 5)
			break;
		stop = i + len < kept ? i + len : kept;
		if (p[i] == 'E' && a)
			error_read(a, p + i + 5, p + stop);
		if (p[i] == 'Z' && len == 6 && a) {
			asked_tell(f, a, at, a->status[0] ? a->status : "ok", a->failed);
			a = asked_oldest(f);
			if (a) { /* of a pipeline */
				a->answered = true;
				a->last_ns = at;
			}
		}
		i += len;
	}
	walk_end(f, false, i, size);
}

static void feed(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	if (asks)
		requests(f, at, p, kept, size);
	else
		answers(f, at, p, kept, size);
}

const struct parser parser_postgres = {
	.proto = PROTO_POSTGRES, .sniff = sniff, .feed = feed, .gap = gap, .done = done
};
