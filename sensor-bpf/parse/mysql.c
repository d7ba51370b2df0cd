/* mysql.c - MySQL's client protocol: three bytes of length, a sequence number, a command; the first packet of the
 * answer says how it went. */
#include "sensor-bpf/parse/parser.h"

#define PREPARED_MAX 24

struct prepared {
	uint32_t id;
	char method[24], route[96];
};

struct own {
	struct prepared prepared[PREPARED_MAX];
	unsigned next;
	bool greeted; /* the server spoke first: what follows is the login, until its OK */
};

enum command {
	COM_QUIT = 1,
	COM_INIT_DB = 2,
	COM_QUERY = 3,
	COM_FIELD_LIST = 4,
	COM_PING = 0x0e,
	COM_CHANGE_USER = 0x11,
	COM_STMT_PREPARE = 0x16,
	COM_STMT_EXECUTE = 0x17,
	COM_STMT_SEND_LONG_DATA = 0x18,
	COM_STMT_CLOSE = 0x19,
	COM_STMT_RESET = 0x1a,
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

static bool is_greeting(const uint8_t *p, size_t kept, size_t size)
{
	/* protocol 10 and a version that begins with a digit and ends in 0 */
	return kept > 20 && le24(p) + 4 == size && p[3] == 0 && p[4] == 10 && isdigit(p[5]) &&
	       memchr(p + 5, 0, kept - 5 < 64 ? kept - 5 : 64);
}

static enum sniffed sniff(const struct flow *f, const uint8_t *p, size_t kept, size_t size)
{
	(void)f;
	if (is_greeting(p, kept, size))
		return SNIFF_ANSWERS;
	if (kept < 10 || le24(p) + 4 != size || p[3] != 0)
		return SNIFF_NO;
	if ((p[4] == COM_QUERY || p[4] == COM_STMT_PREPARE)) {
		char method[24], route[96];

		route_sql(method, sizeof(method), route, sizeof(route), (const char *)p + 5, kept - 5);
		return strlen(method) >= 3 ? SNIFF_ASKS : SNIFF_NO;
	}
	return SNIFF_NO;
}

static void request(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	static const struct {
		enum command command;
		const char *word;
	} words[] = {
		{ COM_INIT_DB,     "USE"    },
                { COM_FIELD_LIST,  "FIELDS" },
                { COM_PING,        "PING"   },
		{ COM_CHANGE_USER, "USER"   },
                { COM_STMT_RESET,  "RESET"  },
	};
	struct own *own = own_get(f);
	struct asked *a;

	/* a command begins a sequence; what follows it (the login, loaded files) does not */
	if (kept < 5 || p[3] != 0 || own->greeted)
		return;
	switch (p[4]) {
	case COM_QUIT:
	case COM_STMT_CLOSE:
	case COM_STMT_SEND_LONG_DATA:
		return; /* nobody answers these */
	case COM_QUERY:
	case COM_STMT_PREPARE:
		a = asked_new(f, p[4], at, size, "");
		route_sql(a->method, sizeof(a->method), a->route, sizeof(a->route), (const char *)p + 5,
			  kept - 5);
		return;
	case COM_STMT_EXECUTE:
		a = asked_new(f, p[4], at, size, "EXECUTE");
		for (unsigned i = 0; kept >= 9 && i < PREPARED_MAX; i++) {
			uint32_t id = le24(p + 5) | (uint32_t)p[8] << 24;

			if (own->prepared[i].id == id && own->prepared[i].method[0]) {
				memcpy(a->method, own->prepared[i].method, sizeof(a->method));
				memcpy(a->route, own->prepared[i].route, sizeof(a->route));
			}
		}
		return;
	default:
		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			if (p[4] == words[i].command)
				asked_new(f, p[4], at, size, words[i].word);
	}
}

static void answer(struct flow *f, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	struct own *own = own_get(f);
	struct asked *a = asked_oldest(f);
	char status[16] = "ok";

	if (is_greeting(p, kept, size)) {
		own->greeted = true;
		return;
	}
	if (kept < 5)
		return;
	if (own->greeted) { /* the login ends with OK or an error */
		if (p[4] == 0x00 || p[4] == 0xff)
			own->greeted = false;
		return;
	}
	if (!a || p[3] != 1) /* later packets of an answer that was told already */
		return;
	a->answered_bytes = size;
	if (p[4] == 0xff) {
		if (kept >= 13 && p[7] == '#')
			copy_word(status, 6, p + 8, 5);
		else
			snprintf(status, sizeof(status), "%u", kept >= 7 ? p[5] | (unsigned)p[6] << 8 : 0);
	} else if (a->id == COM_STMT_PREPARE && p[4] == 0 && kept >= 9) {
		struct prepared *s = &own->prepared[own->next++ % PREPARED_MAX];

		s->id = le24(p + 5) | (uint32_t)p[8] << 24;
		memcpy(s->method, a->method, sizeof(s->method));
		memcpy(s->route, a->route, sizeof(s->route));
	}
	asked_tell(f, a, at, status, p[4] == 0xff);
}

static void feed(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size)
{
	if (asks)
		request(f, at, p, kept, size);
	else
		answer(f, at, p, kept, size);
}

const struct parser parser_mysql = { .proto = PROTO_MYSQL, .sniff = sniff, .feed = feed, .done = done };
