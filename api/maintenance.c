/* maintenance.c - /maintenance: times in which signals open no case. */
#include "store/maintenance.h"
#include "api/query.h"
#include "base/clock.h"

#define LONGEST_S (90 * 86400)

static bool read_time(struct api_call *c, const char *name, int64_t *ret_us)
{
	const char *text = json_str(c->body, name);
	struct oc_fail fail = { 0 };

	if (!text || clock_parse(text, ret_us) == 0)
		return true;
	oc_fail_field(&fail, OC_INVALID, name, "%s is a time like 2026-01-02T03:04:05Z", name);
	call_problem(c, &fail, NULL);
	return false;
}

static bool labels_ok(struct api_call *c, const json_t *labels)
{
	struct oc_fail fail = { 0 };
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)labels, key, v)
	{
		if (json_is_string(v))
			continue;
		oc_fail_field(&fail, OC_INVALID, "labels", "labels.%s is not a text", key);
		call_problem(c, &fail, NULL);
		return false;
	}
	return true;
}

void maintenance_post(struct api_call *c)
{
	int64_t now_us = clock_wall_us();
	long long for_s = json_int_or(c->body, "for_s", 0);
	struct maintenance_new m = { .starts_us = now_us,
				     .labels = json_object_get(c->body, "labels"),
				     .reason = json_str(c->body, "reason"),
				     .created_by = c->who.name };
	struct oc_fail fail = { 0 };
	char id[UUID_TEXT], starts[32], ends[32];
	struct pg *pg;
	enum oc_err err;

	if (!read_time(c, "starts_at", &m.starts_us) || !read_time(c, "ends_at", &m.ends_us) ||
	    !labels_ok(c, m.labels))
		return;
	if ((for_s > 0) == (m.ends_us != 0))
		oc_fail_field(&fail, OC_INVALID, "ends_at", "give either ends_at or for_s");
	else if (for_s > 0)
		m.ends_us = m.starts_us + for_s * 1000000;
	if (!fail.text[0] && (m.ends_us <= m.starts_us || m.ends_us <= now_us))
		oc_fail_field(&fail, OC_INVALID, "ends_at",
			      "the window is over before it begins, or already");
	if (!fail.text[0] && m.ends_us - m.starts_us > LONGEST_S * INT64_C(1000000))
		oc_fail_field(&fail, OC_INVALID, "ends_at", "a window is at most 90 days long");
	if (fail.text[0]) {
		call_problem(c, &fail, NULL);
		return;
	}
	pg = call_worker_pg(c);
	if (!pg)
		return;
	err = maintenance_add(pg, c->tenant_id, &m, id, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	clock_format(m.starts_us, starts, sizeof(starts));
	clock_format(m.ends_us, ends, sizeof(ends));
	call_data(c, 201, json_pack("{s:s, s:s, s:s}", "id", id, "starts_at", starts, "ends_at", ends));
}

void maintenance_list_get(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	bool past = false;
	struct pg *pg;
	enum oc_err err;

	if (!query_bool(c, "past", &past))
		return;
	pg = call_worker_pg(c);
	if (!pg)
		return;
	err = maintenance_list(pg, c->tenant_id, past, &list, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	if (err != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_page(c, list, NULL);
}

void maintenance_delete(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	struct pg *pg = call_worker_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = maintenance_end(pg, c->tenant_id, c->path_id, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	if (err != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_data(c, 200, json_pack("{s:s, s:b}", "id", c->path_id, "ended", 1));
}
