/* topology.c - who needs whom, now and earlier; and the way in for descriptions of installations. */
#include <stdio.h>
#include "api/query.h"
#include "base/mem.h"
#include "store/topology.h"

#define KIND "topology"

void topology_get(struct api_call *c)
{
	struct topology_filter f = { .source = query_text(c, "source"),
				     .relation = query_text(c, "relation"),
				     .urn = query_text(c, "resource") };
	char *part[3] = { 0 }, rest[64];
	long long limit = 200, src = 0, dst = 0;
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	struct pg *pg;
	enum oc_err err;

	if (!query_time(c, "at", &f.at_us) || !query_int(c, "limit", 1, 1000, &limit) ||
	    !query_cursor_read(c, KIND, 3, part))
		return;
	f.limit = (int)limit;
	f.after_rest = part[2];
	if (part[0] && (!str_to_long(part[0], 0, INT64_MAX, &f.after_src) ||
			!str_to_long(part[1], 0, INT64_MAX, &f.after_dst))) {
		query_bad(c, "cursor", "this is no cursor of this list");
	} else if ((pg = query_begin(c))) {
		err = topology_edges_read(pg, c->tenant_id, &f, &list, &src, &dst, rest, &fail);
		query_end(c, pg);
		if (err != OC_OK) {
			call_problem(c, &fail, NULL);
		} else {
			char a[24], b[24];

			snprintf(a, sizeof(a), "%lld", src);
			snprintf(b, sizeof(b), "%lld", dst);
			call_page(c, list,
				  rest[0] ? query_cursor(KIND, (const char *const[]){ a, b, rest }, 3)
					  : NULL);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(part); i++)
		free(part[i]);
}

void topology_readings_get(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	long long limit = 50;
	struct pg *pg;
	enum oc_err err;

	if (!query_int(c, "limit", 1, 500, &limit))
		return;
	pg = query_begin(c);
	if (!pg)
		return;
	err = topology_discoveries_read(pg, c->tenant_id, (int)limit, &list, &fail);
	query_end(c, pg);
	if (err != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_page(c, list, NULL);
}

void topology_import(struct api_call *c)
{
	struct api_topology_ask ask = { .tenant_id = c->tenant_id,
					.stack = query_text(c, "stack"),
					.inventory = query_text(c, "inventory") };
	struct oc_fail fail = { 0 };
	json_t *answer = NULL;
	size_t len;
	const char *body = http_body(c->req, &len);

	if (!query_bool(c, "applied", &ask.applied) || !query_bool(c, "force", &ask.force) ||
	    !query_bool(c, "dry_run", &ask.dry_run) || !query_time(c, "at", &ask.at_us))
		return;
	if (ask.stack && (strlen(ask.stack) > 100 || strpbrk(ask.stack, " \t\r\n:"))) {
		query_bad(c, "stack", "stack is a word of at most 100 bytes, without blanks and colons");
		return;
	}
	if (!c->deps->topology) {
		oc_fail(&fail, OC_UNAVAILABLE, "this process reads no descriptions");
		call_problem(c, &fail, NULL);
		return;
	}
	if (c->deps->topology(c->deps->ctx, &ask, body, len, &answer, &fail) != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_data(c, 200, answer);
}
