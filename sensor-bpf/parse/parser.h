/* parser.h - what the parsers of one protocol each share; for the files of this folder. */
#pragma once
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"
#include "sensor-bpf/parse/flow.h"

#define ASKED_MAX 64 /* calls outstanding on one connection; beyond it the oldest is given up */

struct asked {
	uint64_t id, start_ns, bytes, last_ns, answered_bytes;
	char method[24], route[96], status[16], trace[56];
	bool failed, answered;
	enum proto proto;
};

enum sniffed { SNIFF_NO, SNIFF_ASKS, SNIFF_ANSWERS };

struct flow {
	const struct parser *parser;
	const struct flow_sink *sink; /* while flow_feed runs */
	bool tcp, we_serve, gave_up;
	unsigned local_port, remote_port, unknown;
	struct asked *asked;
	unsigned asked_count, asked_cap, given_up;
	/* Where the next message begins, counted from the next byte that this direction carries; -1: not known, so the
	 * next read or write is taken to begin with one. */
	int64_t skip[2];
	void *own; /* the parser's, freed by it */
};

struct parser {
	enum proto proto;
	bool turns; /* one call at a time, whose first bytes say all */
	enum sniffed (*sniff)(const struct flow *f, const uint8_t *p, size_t kept, size_t size);
	/* `asks`: these bytes go towards the side that answers */
	void (*feed)(struct flow *f, bool asks, uint64_t at, const uint8_t *p, size_t kept, size_t size);
	void (*gap)(struct flow *f);
	void (*done)(struct flow *f);
};

extern const struct parser parser_http1, parser_http2, parser_postgres, parser_mysql, parser_redis,
	parser_kafka, parser_nats, parser_dns;

/* A new outstanding call; lent until the next one. */
struct asked *asked_new(struct flow *f, uint64_t id, uint64_t at, size_t bytes, const char *method);
struct asked *asked_find(struct flow *f, uint64_t id);
struct asked *asked_oldest(struct flow *f); /* NULL if nothing is outstanding */
struct asked *asked_newest(struct flow *f);
/* Tells it and forgets it. */
void asked_tell(struct flow *f, struct asked *a, uint64_t end_ns, const char *status, bool failed);
void asked_forget(struct flow *f, struct asked *a);
/* A message that nobody answers. */
void told_at_once(struct flow *f, uint64_t at, size_t bytes, const char *method, const char *route,
		  const char *status, bool failed);

/* --- words of routes */

/* "/a/17/b?x" becomes "/a/:id/b": segments that are numbers, hexadecimal, UUIDs or long with digits are folded. */
void route_fold_path(char *out, size_t size, const char *path, size_t len);
/* The same for names whose parts stand between dots. */
void route_fold_dotted(char *out, size_t size, const char *name, size_t len);
/* The verb of a statement, and the first table that it names; literals never leave. */
void route_sql(char *method, size_t method_size, char *route, size_t route_size, const char *sql, size_t len);
/* Copies at most size - 1 bytes that are printable ASCII; stops at the first that is not. */
void copy_word(char *out, size_t size, const uint8_t *p, size_t len);

static inline bool starts(const uint8_t *p, size_t n, const char *word)
{
	size_t len = strlen(word);

	return n >= len && memcmp(p, word, len) == 0;
}

static inline uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t le24(const uint8_t *p)
{
	return (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* Where in these bytes the next message begins; SIZE_MAX if not in this read or write at all. Afterwards the walk
 * is moved on with walk_on(). */
static inline size_t walk_begin(struct flow *f, bool asks, size_t size)
{
	int64_t skip = f->skip[asks];

	if (skip < 0)
		return 0;
	if ((uint64_t)skip >= size) {
		f->skip[asks] = skip - (int64_t)size;
		return SIZE_MAX;
	}
	return (size_t)skip;
}

/* The next message begins `at` bytes after the beginning of this read or write; at may lie beyond its end. If it lies
 * inside, but what was kept does not show its head, the place is lost. */
static inline void walk_end(struct flow *f, bool asks, uint64_t at, size_t size)
{
	f->skip[asks] = at >= size ? (int64_t)(at - size) : -1;
}
