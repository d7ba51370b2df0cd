/* dead_letter.c - what was given up: look at it, send it again. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "api/query.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/dead_letter.h"

#define KIND "deadletter"

void dead_list_get(struct api_call *c)
{
	struct dead_filter f = { .kind = query_text(c, "kind") };
	struct oc_fail fail = { 0 };
	char *part[1] = { 0 };
	long long limit = 50, more = 0;
	json_t *list = NULL;
	struct pg *pg = NULL;
	enum oc_err err;

	if (!query_int(c, "limit", 1, 500, &limit) || !query_bool(c, "replayed", &f.replayed) ||
	    !query_cursor_read(c, KIND, 1, part))
		return;
	f.limit = (int)limit;
	if (f.kind && !str_eq(f.kind, "command") && !str_eq(f.kind, "event") && !str_eq(f.kind, "telemetry"))
		query_bad(c, "kind", "kind is command, event or telemetry");
	else if (part[0] && !str_to_long(part[0], 1, INT64_MAX, &f.before))
		query_bad(c, "cursor", "this is no cursor of this list");
	else
		pg = query_begin(c);
	if (pg) {
		err = dead_list(pg, c->tenant_id, &f, &list, &more, &fail);
		query_end(c, pg);
		if (err != OC_OK) {
			call_problem(c, &fail, NULL);
		} else {
			char last[24];

			snprintf(last, sizeof(last), "%lld", more);
			call_page(c, list,
				  more ? query_cursor(KIND, (const char *const[]){ last }, 1) : NULL);
		}
	}
	free(part[0]);
}

static long long path_number(const struct api_call *c)
{
	long long id = 0;

	(void)!str_to_long(c->path_id, 1, INT64_MAX, &id); /* the dispatcher has looked */
	return id;
}

void dead_get(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *one = NULL;
	struct pg *pg = query_begin(c);
	enum oc_err err;

	if (!pg)
		return;
	err = dead_read(pg, c->tenant_id, path_number(c), &one, &fail);
	query_end(c, pg);
	if (err != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_data(c, 200, one);
}

static bool way_of(const char *source, enum api_way *ret)
{
	static const struct way_row {
		const char *source;
		enum api_way way;
	} rows[] = {
		{ "otlp/metrics", API_OTLP_METRICS },
		{ "otlp/logs",    API_OTLP_LOGS    },
		{ "otlp/traces",  API_OTLP_TRACES  },
		{ "remote-write", API_REMOTE_WRITE },
		{ "lines",        API_LINES        },
		{ "bulk",         API_BULK         },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eq(rows[i].source, source)) {
			*ret = rows[i].way;
			return true;
		}
	return false;
}

/* JSON and lines are kept as they are, everything else in base64. */
static bool is_text(enum api_way way, const char *body)
{
	while (isspace((unsigned char)*body))
		body++;
	return way == API_LINES || way == API_BULK || (way != API_REMOTE_WRITE && *body == '{');
}

/* Whole or not at all: what would be rejected again stays the dead letter that it is. */
static enum oc_err send_record(struct api_call *c, const struct dead_letter *d, const char *mended,
			       struct oc_fail *reterr)
{
	const char *body = mended ? mended : d->body;
	struct api_telemetry t = { .tenant_id = c->tenant_id, .tenant = c->tenant, .whole = true };
	AUTO(str) char *bytes = NULL;
	enum oc_err err;

	if (!c->deps->telemetry)
		return oc_fail(reterr, OC_UNAVAILABLE, "this process receives no telemetry");
	if (!way_of(d->source, &t.way))
		return oc_fail(reterr, OC_CONFLICT, "'%s' is no way in that a record can be sent to again",
			       d->source);
	if (!*body)
		return oc_fail(reterr, OC_CONFLICT, "the record itself was not kept; send it with `record`");
	if (is_text(t.way, body)) {
		t.content_type = "application/json";
		t.body = body;
		t.len = strlen(body);
	} else {
		t.content_type = "application/x-protobuf";
		bytes = hash_unbase64(body, &t.len);
		t.body = bytes;
		if (!bytes)
			return oc_fail_field(reterr, OC_INVALID, "/record",
					     "a record of %s is JSON, or protobuf in base64", d->source);
	}
	err = c->deps->telemetry(c->deps->ctx, &t, reterr);
	if (err == OC_OK)
		free(t.answer);
	return err;
}

void dead_replay(struct api_call *c)
{
	const char *mended = json_str(c->body, "record");
	struct dead_letter d = { 0 };
	struct oc_fail fail = { 0 };
	long long id = path_number(c);
	json_t *one = NULL;
	struct pg *pg = call_worker_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = pg_begin(pg, &fail);
	if (err == OC_OK)
		err = dead_claim(pg, c->tenant_id, id, c->who.name, &d, &fail);
	if (err == OC_OK && !str_eq(d.kind, "telemetry") && mended)
		err = oc_fail_field(&fail, OC_INVALID, "/record",
				    "only a record of telemetry may be mended; this is a %s", d.kind);
	else if (err == OC_OK)
		err = str_eq(d.kind, "telemetry") ? send_record(c, &d, mended, &fail)
						  : dead_reopen(pg, c->tenant_id, &d, &fail);
	if (err == OC_OK)
		err = dead_read(pg, c->tenant_id, id, &one, &fail);
	if (err == OC_OK)
		err = pg_commit(pg, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	dead_letter_done(&d);
	if (err == OC_OK) {
		call_data(c, 200, one);
	} else {
		json_decref(one);
		call_problem(c, &fail, NULL);
	}
}
