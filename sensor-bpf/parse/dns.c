/* dns.c - DNS: questions and answers with the same id and name (RFC 1035). */
#include "sensor-bpf/parse/parser.h"

#define HEAD 12

struct message {
	uint16_t id;
	bool answer;
	unsigned code, type;
	char name[96];
};

/* The first question's name and type; names in questions are not compressed. */
static bool message_read(struct message *m, const uint8_t *p, size_t n)
{
	char name[256];
	size_t at = HEAD, used = 0;

	if (n < HEAD + 5)
		return false;
	m->id = (uint16_t)be16(p);
	m->answer = p[2] & 0x80;
	m->code = p[3] & 0x0f;
	if (((p[2] >> 3) & 0x0f) > 5 || be16(p + 4) != 1 || (p[3] & 0x40))
		return false;
	while (at < n && p[at]) {
		size_t len = p[at];

		if (len > 63 || at + 1 + len >= n || used + len + 2 > sizeof(name))
			return false;
		if (used)
			name[used++] = '.';
		for (size_t i = 0; i < len; i++)
			name[used++] = (char)tolower(p[at + 1 + i]);
		at += len + 1;
	}
	if (at + 5 > n)
		return false;
	m->type = be16(p + at + 1);
	if (be16(p + at + 3) != 1 && be16(p + at + 3) != 255)
		return false;
	name[used] = '\0';
	route_fold_dotted(m->name, sizeof(m->name), used ? name : ".", used ? used : 1);
	return true;
}

/* Over TCP two bytes of length stand in front. */
static const uint8_t *datagram(const struct flow *f, const uint8_t *p, size_t *n)
{
	if (!f->tcp)
		return p;
	if (*n < 2)
		return NULL;
	*n -= 2;
	return p + 2;
}

static enum sniffed sniff(const struct flow *f, const uint8_t *p, size_t kept, size_t size)
{
	struct message m;

	(void)size;
	p = datagram(f, p, &kept);
	if (!p || !message_read(&m, p, kept))
		return SNIFF_NO;
	return m.answer ? SNIFF_ANSWERS : SNIFF_ASKS;
}

static const char *type_name(unsigned type, char *out, size_t size)
{
	static const struct {
		unsigned type;
		const char *name;
	} types[] = {
		{ 1,   "A"     },
                { 2,   "NS"    },
                { 5,   "CNAME" },
                { 6,   "SOA"   },
		{ 12,  "PTR"   },
                { 15,  "MX"    },
                { 16,  "TXT"   },
                { 28,  "AAAA"  },
		{ 33,  "SRV"   },
                { 64,  "SVCB"  },
                { 65,  "HTTPS" },
                { 255, "ANY"   },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].type == type)
			return types[i].name;
	snprintf(out, size, "TYPE%u", type);
	return out;
}

static const char *code_name(unsigned code, char *out, size_t size)
{
	static const char *const codes[] = {
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"
	};

	if (code < ARRAY_LEN(codes))
		return codes[code];
	snprintf(out, size, "%u", code);
	return out;
}

static void feed(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	char word[16];
	struct message m;
	struct asked *a;

	(void)asks; /* a resolver asks others on the socket on which it is asked: the message says which it is */
	p = datagram(f, p, &kept);
	if (!p || !message_read(&m, p, kept))
		return;
	if (!m.answer) {
		a = asked_new(f, (uint64_t)m.type << 16 | m.id, at, size,
			      type_name(m.type, word, sizeof(word)));
		memcpy(a->route, m.name, sizeof(a->route));
		return;
	}
	a = asked_find(f, (uint64_t)m.type << 16 | m.id);
	if (!a || !str_eq(a->route, m.name))
		return;
	a->answered_bytes = size;
	/* that a name does not exist is an answer; the server failed only at these */
	asked_tell(f, a, at, code_name(m.code, word, sizeof(word)),
		   m.code == 2 || m.code == 5 || m.code == 1);
}

const struct parser parser_dns = { .proto = PROTO_DNS, .sniff = sniff, .feed = feed };
