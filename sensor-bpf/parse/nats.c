/* nats.c - NATS: lines that publish and deliver. A message with a reply subject is a call; it is answered by the message
 * on that subject. The server is the side that delivers (MSG), clients publish (PUB). */
#include "sensor-bpf/parse/parser.h"

static enum sniffed sniff(const struct flow *f, const uint8_t *p, size_t kept, size_t size)
{
	(void)f, (void)size;
	if (starts(p, kept, "INFO {"))
		return SNIFF_ANSWERS;
	if (starts(p, kept, "CONNECT {"))
		return SNIFF_ASKS;
	if ((starts(p, kept, "PUB ") || starts(p, kept, "HPUB ")) && memmem(p, kept, "\r\n", 2))
		return SNIFF_ASKS;
	if ((starts(p, kept, "MSG ") || starts(p, kept, "HMSG ")) && memmem(p, kept, "\r\n", 2))
		return SNIFF_ANSWERS;
	return SNIFF_NO;
}

static uint64_t name_hash(const char *s, size_t n)
{
	uint64_t h = 14695981039346656037ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 1099511628211ULL;
	return h;
}

struct line {
	const char *word[6];
	size_t len[6];
	unsigned words;
	uint64_t body; /* bytes behind the line, its end included */
};

static bool is_word(const struct line *l, const char *word)
{
	return l->words && strlen(word) == l->len[0] && strncasecmp(l->word[0], word, l->len[0]) == 0;
}

/* Splits a line of n bytes; the last number of those that carry a message is its length. */
static void line_read(struct line *l, const char *p, size_t n)
{
	size_t at = 0;

	memset(l, 0, sizeof(*l));
	while (at < n && l->words < ARRAY_LEN(l->word)) {
		size_t from;

		while (at < n && (p[at] == ' ' || p[at] == '\t'))
			at++;
		for (from = at; at < n && p[at] != ' ' && p[at] != '\t'; at++)
			;
		if (at > from) {
			l->word[l->words] = p + from;
			l->len[l->words++] = at - from;
		}
	}
	if (l->words >= 3 &&
	    (is_word(l, "PUB") || is_word(l, "HPUB") || is_word(l, "MSG") || is_word(l, "HMSG"))) {
		const char *last = l->word[l->words - 1];
		uint64_t v = 0;

		for (size_t i = 0;
		     i < l->len[l->words - 1] && isdigit((unsigned char)last[i]) && v < (1ULL << 32); i++)
			v = 10 * v + (uint64_t)(last[i] - '0');
		l->body = v + 2;
	}
}

/* Where the reply subject stands: PUB subject [reply] n, HPUB subject [reply] h n, MSG subject sid [reply] n,
 * HMSG subject sid [reply] h n. */
static unsigned reply_at(const struct line *l)
{
	unsigned plain = is_word(l, "PUB") ? 3 : is_word(l, "HPUB") || is_word(l, "MSG") ? 4 : 5;
	unsigned at = is_word(l, "PUB") || is_word(l, "HPUB") ? 2 : 3;

	return l->words == plain + 1 ? at : 0;
}

static void one_line(struct flow *f, bool asks, uint64_t at, const struct line *l)
{
	bool publishes = is_word(l, "PUB") || is_word(l, "HPUB"),
	     delivers = is_word(l, "MSG") || is_word(l, "HMSG");
	unsigned reply;
	struct asked *a;
	char route[96], status[16];

	if (publishes && asks && l->words >= 3) {
		reply = reply_at(l);
		route_fold_dotted(route, sizeof(route), l->word[1], l->len[1]);
		if (reply) {
			a = asked_new(f, name_hash(l->word[reply], l->len[reply]), at, (size_t)l->body,
				      "REQUEST");
			memcpy(a->route, route, sizeof(a->route));
			return;
		}
		/* an answer of somebody who serves; not a message of its own */
		if (strncmp(l->word[1], "_INBOX.", l->len[1] < 7 ? l->len[1] : 7) == 0)
			return;
		told_at_once(f, at, (size_t)l->body, "PUB", route, "ok", false);
	} else if (delivers && !asks && l->words >= 4) {
		a = asked_find(f, name_hash(l->word[1], l->len[1]));
		if (a) {
			a->answered_bytes = l->body;
			asked_tell(f, a, at, "ok", false);
		}
	} else if (is_word(l, "-ERR") && !asks) {
		copy_word(status, sizeof(status), (const uint8_t *)(l->words > 1 ? l->word[1] + 1 : "error"),
			  l->words > 1 && l->len[1] > 1 ? l->len[1] - 1 : 5);
		told_at_once(f, at, 0, "ERROR", "", status, true);
	}
}

static void feed(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	uint64_t i = walk_begin(f, asks, size);

	if (i == SIZE_MAX)
		return;
	while (i < kept) {
		const uint8_t *end = memmem(p + i, kept - (size_t)i, "\r\n", 2);
		struct line l;

		if (!end)
			break;
		line_read(&l, (const char *)p + i, (size_t)(end - (p + i)));
		one_line(f, asks, at, &l);
		i = (uint64_t)(end - p) + 2 + l.body;
	}
	walk_end(f, asks, i, size);
}

const struct parser parser_nats = { .proto = PROTO_NATS, .sniff = sniff, .feed = feed };
