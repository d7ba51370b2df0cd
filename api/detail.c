/* detail.c - GET /detail: raw log lines, spans and the output of steps, by locator or by trace. */
#include <string.h>
#include "api/call.h"
#include "base/clock.h"
#include "base/mem.h"
#include "detail/read.h"
#include "store/tenant_tx.h"

#define LINES_MAX  1000
#define BYTES_MAX  ((size_t)8 << 20) /* of lines in one answer */
#define TRACE_DAYS 7
#define US_A_DAY   (86400 * INT64_C(1000000))

struct lines {
	json_t *list;
	size_t bytes;
	bool full;
};

static bool take_line(void *ctx, const char *line, size_t len)
{
	struct lines *l = ctx;
	json_t *v = NULL;

	/* what was stored as JSON is answered as JSON; anything else as text */
	if (json_read(line, len, &(struct json_limits){ .bytes = 16 << 20 }, &v, NULL) != OC_OK)
		v = json_stringn(line, len);
	if (!v)
		v = json_string("(not text)");
	json_array_append_new(l->list, v);
	l->bytes += len;
	l->full = l->bytes > BYTES_MAX;
	return !l->full;
}

/* A word of the query; else of the locator's own hint, "?resource=urn:svc:shop&text=refused": what its evidence is about. */
static char *asked(struct api_call *c, const struct detail_row *row, const char *name)
{
	const char *given = http_query(c->req, name),
		   *p = row && row->hint && row->hint[0] == '?' ? row->hint + 1 : NULL;
	size_t n = strlen(name);

	if (given)
		return *given ? mem_strdup(given) : NULL;
	for (; p; p = strchr(p, '&'), p = p ? p + 1 : NULL)
		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return mem_strndup(p + n + 1, strcspn(p + n + 1, "&"));
	return NULL;
}

static bool asked_time(struct api_call *c, const struct detail_row *row, const char *name,
		       int64_t fallback_us, int64_t *ret, struct oc_fail *reterr)
{
	AUTO(str) char *text = asked(c, row, name);

	*ret = fallback_us;
	if (!text || clock_parse(text, ret) == 0)
		return true;
	oc_fail_field(reterr, OC_BAD_REQUEST, name, "'%.60s' is no time like 2026-01-02T03:04:05Z", text);
	return false;
}

static bool asked_limit(struct api_call *c, size_t *ret, struct oc_fail *reterr)
{
	const char *text = http_query(c->req, "limit");
	long long limit = 100;

	if (text && !str_to_long(text, 1, LINES_MAX, &limit)) {
		oc_fail_field(reterr, OC_BAD_REQUEST, "limit", "'%.20s' is no number from 1 to %d", text,
			      LINES_MAX);
		return false;
	}
	*ret = (size_t)limit;
	return true;
}

static bool trace_of(const char *text, uint8_t ret[TRACE_ID], struct oc_fail *reterr)
{
	if (strlen(text) == 2 * TRACE_ID && str_unhex(text, ret, TRACE_ID))
		return true;
	oc_fail_field(reterr, OC_BAD_REQUEST, "trace_id", "'%.40s' is no trace id of 32 hex digits", text);
	return false;
}

static json_t *described(const struct detail_row *r)
{
	json_t *o = json_object(), *attributes = NULL;
	char at[40];

	json_object_set_new(o, "id", json_integer(r->id));
	json_put(o, "dataset", r->dataset);
	clock_format(r->from_us, at, sizeof(at));
	json_put(o, "from", at);
	clock_format(r->to_us, at, sizeof(at));
	json_put(o, "to", at);
	json_put(o, "bucket", r->bucket);
	json_put(o, "object_key", r->key);
	json_put(o, "query_hint", r->hint);
	json_object_set_new(o, "bytes", json_integer(r->bytes));
	json_object_set_new(o, "pinned", json_boolean(r->pinned));
	json_object_set_new(o, "cited", json_integer(r->cited));
	if (json_read_own(r->attributes, &attributes, NULL) == OC_OK)
		json_object_set_new(o, "attributes", attributes);
	return o;
}

static bool no_store(struct api_call *c)
{
	struct oc_fail fail = { 0 };

	if (c->deps->detail)
		return false;
	oc_fail(&fail, OC_UNAVAILABLE, "this process has no detail store (detail.dir, detail.s3_url)");
	call_problem(c, &fail, NULL);
	return true;
}

static enum oc_err begin(struct pg *pg, long long tenant_id, struct oc_fail *reterr)
{
	struct pg_result *results[TENANT_TX_SENT] = { 0 };
	enum oc_err err = tenant_tx_send_begin(pg, tenant_id, true, reterr);

	if (err == OC_OK)
		err = pg_sync(pg, results, TENANT_TX_SENT, reterr);
	for (int i = 0; i < TENANT_TX_SENT; i++)
		pg_result_free(results[i]);
	return err;
}

static enum oc_err read_row(struct api_call *c, long long id, struct detail_row *ret, struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = call_take_pg(c, API_POOL, &pg, reterr);

	if (err != OC_OK)
		return err;
	err = begin(pg, c->tenant_id, reterr);
	if (err == OC_OK)
		err = detail_row_read(pg, c->tenant_id, id, ret, reterr);
	pg_rollback(pg);
	pg_pool_give(c->deps->api_pool, pg);
	return err;
}

void detail_get_one(struct api_call *c)
{
	AUTO(detail_row) struct detail_row row = { 0 };
	AUTO(str) char *trace = NULL;
	AUTO(str) char *resource = NULL;
	AUTO(str) char *resource_text = NULL;
	AUTO(str) char *text = NULL;
	const char *cursor = http_query(c->req, "cursor");
	struct segment_ask ask = { 0 };
	struct segment_said said;
	struct lines lines = { 0 };
	struct oc_fail fail = { 0 };
	long long id = 0, skip = 0;
	char unused[64];
	size_t texts = 0;
	json_t *doc, *data;
	char *next = NULL;

	if (no_store(c))
		return;
	if (!asked_limit(c, &ask.limit, &fail) ||
	    (cursor && cursor_read(cursor, "detail", &skip, unused, &fail) != OC_OK)) {
		call_problem(c, &fail, NULL);
		return;
	}
	if (!str_to_long(c->path_id, 1, INT64_MAX, &id) || read_row(c, id, &row, &fail) != OC_OK) {
		if (fail.err == OC_OK)
			oc_fail_field(&fail, OC_NOT_FOUND, "id", "'%.40s' is no locator", c->path_id);
		call_problem(c, &fail, NULL);
		return;
	}
	ask.skip = (size_t)skip;
	trace = asked(c, &row, "trace_id");
	resource = asked(c, &row, "resource");
	text = asked(c, &row, "text");
	if ((trace && !trace_of(trace, ask.trace_id, &fail)) ||
	    !asked_time(c, &row, "from", 0, &ask.from_us, &fail) ||
	    !asked_time(c, &row, "to", 0, &ask.to_us, &fail)) {
		call_problem(c, &fail, NULL);
		return;
	}
	ask.has_trace = trace != NULL;
	if (ask.from_us && !ask.to_us)
		ask.to_us = INT64_MAX;
	if (resource) {
		struct text quoted = { 0 };

		text_add(&quoted, "\"resource\":");
		json_quote(&quoted, resource);
		resource_text = text_take(&quoted);
		ask.text[texts++] = resource_text;
	}
	if (text)
		ask.text[texts++] = text;
	lines.list = json_array();
	if (detail_lines(c->deps->detail, &row, &ask, take_line, &lines, &said, &fail) != OC_OK) {
		json_decref(lines.list);
		call_problem(c, &fail, NULL);
		return;
	}
	if (said.more || lines.full)
		next = cursor_make("detail", skip + (long long)said.lines, NULL);
	data = described(&row);
	json_object_set_new(data, "lines", lines.list);
	doc = json_object();
	json_object_set_new(doc, "data", data);
	json_put(doc, "next_cursor", next);
	free(next);
	call_document(c, 200, doc);
}

void detail_get_trace(struct api_call *c)
{
	AUTO(pg_result) struct pg_result *found = NULL;
	const char *trace = http_query(c->req, "trace_id"), *dataset = http_query(c->req, "dataset");
	struct lines lines = { 0 };
	struct detail_trace_said said;
	struct oc_fail fail = { 0 };
	uint8_t id[TRACE_ID];
	int64_t now = clock_wall_us(), from, to;
	struct pg *pg = NULL;
	size_t limit;
	json_t *doc;
	enum oc_err err;

	if (no_store(c))
		return;
	if (!trace)
		oc_fail_field(&fail, OC_BAD_REQUEST, "trace_id", "which trace? 32 hex digits");
	if (!trace || !trace_of(trace, id, &fail) || !asked_limit(c, &limit, &fail) ||
	    !asked_time(c, NULL, "from", now - TRACE_DAYS * US_A_DAY, &from, &fail) ||
	    !asked_time(c, NULL, "to", now + US_A_DAY, &to, &fail) ||
	    call_take_pg(c, API_POOL, &pg, &fail) != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	err = begin(pg, c->tenant_id, &fail);
	if (err == OC_OK)
		err = detail_trace_find(pg, c->tenant_id, dataset, id, from, to, &found, &fail);
	pg_rollback(pg);
	pg_pool_give(c->deps->api_pool, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	lines.list = json_array();
	detail_trace_lines(c->deps->detail, found, id, from, to, limit, take_line, &lines, &said);
	doc = json_object();
	json_object_set_new(doc, "data", lines.list);
	json_object_set_new(doc, "segments", json_integer(said.segments));
	json_object_set_new(doc, "unavailable", json_integer(said.unavailable));
	json_object_set_new(doc, "more", json_boolean(said.more || lines.full));
	call_document(c, 200, doc);
}
