#include "api/query.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "store/tenant_tx.h"

#define PARTS_MAX    8
#define CURSOR_MAX   1024
/* A question that takes longer is asked wrongly: nobody's page waits for it. */
#define SQL_PATIENCE "SET LOCAL statement_timeout = '20s'"

const char *query_text(struct api_call *c, const char *name)
{
	const char *v = http_query(c->req, name);

	return str_empty(v) ? NULL : v;
}

void query_bad(struct api_call *c, const char *name, const char *sentence)
{
	struct oc_fail fail = { 0 };

	oc_fail_field(&fail, OC_BAD_REQUEST, name, "%s", sentence);
	call_problem(c, &fail, NULL);
}

bool query_int(struct api_call *c, const char *name, long long min, long long max, long long *ret)
{
	const char *text = query_text(c, name);
	char sentence[120];

	if (!text || str_to_long(text, min, max, ret))
		return true;
	snprintf(sentence, sizeof(sentence), "%s is a number from %lld to %lld", name, min, max);
	query_bad(c, name, sentence);
	return false;
}

bool query_bool(struct api_call *c, const char *name, bool *ret)
{
	const char *text = query_text(c, name);
	char sentence[80];

	if (!text)
		return true;
	if (str_eq(text, "true") || str_eq(text, "1") || str_eq(text, "false") || str_eq(text, "0")) {
		*ret = *text == 't' || *text == '1';
		return true;
	}
	snprintf(sentence, sizeof(sentence), "%s is true or false", name);
	query_bad(c, name, sentence);
	return false;
}

bool query_time(struct api_call *c, const char *name, int64_t *ret_us)
{
	const char *text = query_text(c, name);
	char sentence[120], *end;
	double seconds;

	if (!text)
		return true;
	/* 1e9 and the like are seconds, as Prometheus takes them */
	seconds = strtod(text, &end);
	if (*end == '\0' && seconds >= 0 && seconds < 1e11) {
		*ret_us = (int64_t)(seconds * 1e6);
		return true;
	}
	if (clock_parse(text, ret_us) == 0)
		return true;
	snprintf(sentence, sizeof(sentence), "%s is a time like 2026-01-02T03:04:05Z, or seconds since 1970",
		 name);
	query_bad(c, name, sentence);
	return false;
}

bool query_range(struct api_call *c, int64_t span_s, int64_t max_s, int64_t *ret_from_us, int64_t *ret_to_us)
{
	int64_t to = clock_wall_us(), from;
	char sentence[120];

	if (!query_time(c, "to", &to))
		return false;
	from = to - span_s * 1000000;
	if (!query_time(c, "from", &from))
		return false;
	if (from >= to) {
		query_bad(c, "from", "from has to be before to");
		return false;
	}
	if (to - from > max_s * 1000000) {
		snprintf(sentence, sizeof(sentence), "from and to are at most %lld hours apart here",
			 (long long)(max_s / 3600));
		query_bad(c, "from", sentence);
		return false;
	}
	*ret_from_us = from;
	*ret_to_us = to;
	return true;
}

struct pg *query_begin(struct api_call *c)
{
	struct pg *pg = call_api_pg(c);
	struct oc_fail fail = { 0 };
	enum oc_err err;

	if (!pg)
		return NULL;
	err = tenant_tx_send_begin(pg, c->tenant_id, true, &fail);
	if (err == OC_OK)
		err = pg_send(pg, SQL_PATIENCE, PG_NO_ARGS, &fail);
	if (err == OC_OK)
		err = pg_sync(pg, NULL, TENANT_TX_SENT + 1, &fail);
	if (err == OC_OK)
		return pg;
	query_end(c, pg);
	call_problem(c, &fail, NULL);
	return NULL;
}

void query_end(struct api_call *c, struct pg *pg)
{
	pg_rollback(pg); /* nothing was written */
	pg_pool_give(c->deps->api_pool, pg);
}

char *query_cursor(const char *kind, const char *const *part, size_t n)
{
	AUTO(text) struct text plain = { 0 };
	char *out;

	text_add(&plain, kind);
	for (size_t i = 0; i < n; i++)
		text_addf(&plain, "\x1f%s", part[i] ? part[i] : "");
	out = mem_alloc(2 * plain.len + 1);
	str_hex((const unsigned char *)plain.s, plain.len, out);
	return out;
}

static bool parts_of(const char *plain, const char *kind, size_t n, char **ret_part)
{
	size_t k = strlen(kind), i = 0;

	if (strncmp(plain, kind, k) != 0 || plain[k] != '\x1f')
		return false;
	for (const char *at = plain + k; *at == '\x1f'; i++) {
		size_t len = strcspn(at + 1, "\x1f");

		if (i == n)
			return false;
		ret_part[i] = mem_strndup(at + 1, len);
		at += 1 + len;
	}
	return i == n;
}

bool query_cursor_read(struct api_call *c, const char *kind, size_t n, char **ret_part)
{
	const char *cursor = query_text(c, "cursor");
	unsigned char plain[CURSOR_MAX + 1] = "";
	size_t len = cursor ? strlen(cursor) : 0;

	if (!cursor)
		return true;
	if (len % 2 == 0 && len / 2 <= CURSOR_MAX && n <= PARTS_MAX && str_unhex(cursor, plain, len / 2) &&
	    strlen((char *)plain) == len / 2 && str_utf8_ok((char *)plain, len / 2) &&
	    parts_of((char *)plain, kind, n, ret_part))
		return true;
	for (size_t i = 0; i < n; i++) {
		free(ret_part[i]);
		ret_part[i] = NULL;
	}
	query_bad(c, "cursor", "this is no cursor of this list");
	return false;
}
