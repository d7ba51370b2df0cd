/* Descriptions of installations over time, through the API, on a real PostgreSQL. */
#include "store/blast.h"
#include "tests/integration/reading.h"

/* A state whose app needs so many of a..z, with that image. */
static char *state_of(const char *needs, const char *image)
{
	AUTO(text) struct text t = { 0 };

	text_add(&t, "{\"version\":4,\"terraform_version\":\"1.5.0\",\"lineage\":\"l\",\"resources\":[");
	for (const char *p = needs; *p; p++)
		text_addf(
			&t,
			"{\"mode\":\"managed\",\"type\":\"a_part\",\"name\":\"%c\",\"instances\":[{\"attributes\":{}}]},",
			*p);
	text_addf(
		&t,
		"{\"mode\":\"managed\",\"type\":\"a_app\",\"name\":\"web\",\"instances\":[{\"attributes\":{\"image\":\"%s\"},"
		"\"dependencies\":[",
		image);
	for (const char *p = needs; *p; p++)
		text_addf(&t, "%s\"a_part.%c\"", p == needs ? "" : ",", *p);
	text_add(&t, "]}]}]}");
	return text_take(&t);
}

static json_t *import(const char *stack, const char *needs, const char *image, const char *more, int want)
{
	AUTO(str) char *body = state_of(needs, image);
	AUTO(str) char *path = mem_printf("/topology/import?stack=%s%s", stack, more);

	return rd_call_as(rd.token, "POST", path, body, want);
}

static void reads(const char *stack, const char *needs, const char *image, const char *more,
		  const char *status, int opened, int closed, int deployments)
{
	AUTO(json) json_t *doc = import(stack, needs, image, more, 200);
	const json_t *d = json_object_get(doc, "data");

	assert_string_equal(json_str(d, "status"), status);
	assert_int_equal(json_int_or(d, "opened", -1), opened);
	assert_int_equal(json_int_or(d, "closed", -1), closed);
	assert_int_equal(json_int_or(d, "deployments", -1), deployments);
}

static size_t edges_at(const char *at, const char *stack)
{
	AUTO(str)
	char *path = mem_printf("/topology?resource=urn:tf:a_app:%s/a_app.web%s%s", stack, at ? "&at=" : "",
				at ? at : "");
	AUTO(json) json_t *doc = rd_get(path);

	return json_array_size(json_object_get(doc, "data"));
}

static void the_same_description_twice_changes_nothing(void **state)
{
	(void)state;
	reads("same", "abc", "web:1", "", "applied", 3, 0, 0);
	reads("same", "abc", "web:1", "", "applied", 0, 0, 0);
	assert_int_equal(edges_at(NULL, "same"), 3);
}

static void what_is_gone_closes_and_is_still_there_in_the_past(void **state)
{
	(void)state;
	reads("time", "abcd", "web:1", "&at=2026-01-01T00:00:00Z&force=true", "applied", 4, 0, 0);
	reads("time", "abc", "web:1", "&at=2026-01-02T00:00:00Z", "applied", 0, 1, 0);
	reads("time", "abcd", "web:1", "&at=2026-01-03T00:00:00Z", "applied", 1, 0, 0);
	assert_int_equal(edges_at("2025-12-31T00:00:00Z", "time"), 0);
	assert_int_equal(edges_at("2026-01-01T12:00:00Z", "time"), 4);
	assert_int_equal(edges_at("2026-01-02T00:00:00Z", "time"), 3);
	assert_int_equal(edges_at("2026-01-02T23:59:59Z", "time"), 3);
	assert_int_equal(edges_at("2026-01-03T00:00:00Z", "time"), 4);
	assert_int_equal(edges_at(NULL, "time"), 4);
	rd_is("SELECT count(*) FROM topo_edge_time t JOIN dim_resource d ON d.resource_id = t.dst_resource_id"
	      " WHERE d.urn = $1",
	      "urn:tf:a_part:time/a_part.d", "2");
}

static void history_is_not_written_backwards(void **state)
{
	AUTO(json) json_t *doc = NULL;

	(void)state;
	reads("order", "a", "web:1", "", "applied", 1, 0, 0);
	doc = import("order", "ab", "web:1", "&at=2020-01-01T00:00:00Z", 409);
	assert_string_equal(json_str(doc, "field"), "at");
	assert_int_equal(edges_at(NULL, "order"), 1);
}

static void a_reading_that_shrank_closes_nothing_and_says_so(void **state)
{
	AUTO(json) json_t *doc = NULL;
	AUTO(json) json_t *readings = NULL;
	const json_t *last;

	(void)state;
	reads("shrink", "abcdefgh", "web:1", "", "applied", 8, 0, 0);
	doc = import("shrink", "ab", "web:1", "", 200);
	last = json_object_get(doc, "data");
	assert_string_equal(json_str(last, "status"), "shrunk");
	assert_int_equal(json_int_or(last, "kept", 0), 6);
	assert_int_equal(json_int_or(last, "closed", -1), 0);
	assert_non_null(strstr(json_str(last, "sentence"), "nothing was closed"));
	assert_int_equal(edges_at(NULL, "shrink"), 8);
	readings = rd_get("/topology/reading?limit=1");
	last = json_array_get(json_object_get(readings, "data"), 0);
	assert_string_equal(json_str(last, "status"), "shrunk");
	assert_int_equal(json_int_or(last, "kept", 0), 6);
	/* a person knows better */
	reads("shrink", "ab", "web:1", "&force=true", "applied", 0, 6, 0);
	assert_int_equal(edges_at(NULL, "shrink"), 2);
}

static void a_reading_that_failed_closes_nothing_and_is_written_down(void **state)
{
	AUTO(json) json_t *bad = NULL;
	AUTO(json) json_t *readings = NULL;
	const json_t *last;

	(void)state;
	reads("fail", "abc", "web:1", "", "applied", 3, 0, 0);
	bad = rd_call_as(rd.token, "POST", "/topology/import?stack=fail",
			 "{\"version\":4,\"lineage\":\"x\",\"resources\":[{}]}", 422);
	assert_non_null(strstr(json_str(bad, "detail"), "/resources/0"));
	assert_int_equal(edges_at(NULL, "fail"), 3);
	readings = rd_get("/topology/reading");
	last = json_array_get(json_object_get(readings, "data"), 0);
	assert_string_equal(json_str(last, "status"), "failed");
	assert_string_equal(json_str(last, "stack"), "fail");
	assert_non_null(json_str(last, "sentence"));
}

static void an_edge_of_two_descriptions_stays_until_neither_has_it(void **state)
{
	static const char one[] = "/topology/import?stack=one&force=true",
			  two[] = "/topology/import?stack=two&force=true";
	static const char with[] =
		"{\"files\":[{\"path\":\"hosts\",\"text\":\"[a]\\nh1\\n[b]\\nh2\\n\"},{\"path\":\"host_vars/h1.yml\","
		"\"text\":\"db: postgres://h2/x\\n\"}]}";
	static const char without[] =
		"{\"files\":[{\"path\":\"hosts\",\"text\":\"[a]\\nh1\\n[b]\\nh2\\n\"}]}";
	static const char sql[] =
		"SELECT count(*) FROM topo_edge_time t JOIN dim_resource d ON d.resource_id = t.dst_resource_id"
		" WHERE d.urn = 'urn:host:h2' AND t.relation = 'DEPENDS_ON' AND t.source = 'ansible' AND upper_inf(t.valid)"
		" AND t.tenant_id = $1::bigint";
	AUTO(str) char *tenant = mem_printf("%lld", rd.tenant);

	(void)state;
	json_decref(rd_call_as(rd.token, "POST", one, with, 200));
	json_decref(rd_call_as(rd.token, "POST", two, with, 200));
	rd_is(sql, tenant, "1");
	json_decref(rd_call_as(rd.token, "POST", one, without, 200));
	rd_is(sql, tenant, "1");
	json_decref(rd_call_as(rd.token, "POST", two, without, 200));
	rd_is(sql, tenant, "0");
}

static void another_version_is_a_deployment_with_its_evidence(void **state)
{
	static const char sql[] =
		"SELECT summary FROM event_envelope WHERE kind = 'deploy' AND labels->>'stack' = $1"
		" ORDER BY detected_at DESC LIMIT 1";

	(void)state;
	reads("ship", "a", "web:1", "", "applied", 1, 0, 0);
	reads("ship", "a", "web:2", "", "applied", 0, 0, 1);
	reads("ship", "a", "web:2", "", "applied", 0, 0, 0);
	rd_is(sql, "ship", "image: web:1 -> web:2");
	rd_is("SELECT l.dim || ' ' || (l.ref_pg->>'table') FROM event_envelope e JOIN evidence_link l USING (tenant_id, event_id)"
	      " WHERE e.labels->>'stack' = $1",
	      "ship", "change topo_resource");
}

static void an_applied_plan_is_told_once(void **state)
{
	static const char plan[] =
		"{\"format_version\":\"1.2\",\"terraform_version\":\"1\",\"planned_values\":{\"root_module\":{\"resources\":[{\"address\":"
		"\"a.b\",\"mode\":\"managed\",\"type\":\"a\",\"name\":\"b\",\"values\":{\"image\":\"x:2\"}}]}},\"resource_changes\":[{"
		"\"address\":\"a.b\",\"mode\":\"managed\",\"type\":\"a\",\"change\":{\"actions\":[\"update\"],\"before\":{\"image\":\"x:1\"},"
		"\"after\":{\"image\":\"x:2\"}}},{\"address\":\"a.old\",\"mode\":\"managed\",\"type\":\"a\",\"change\":{\"actions\":["
		"\"delete\"],\"before\":{},\"after\":null}}]}";
	static const char sql[] =
		"SELECT string_agg(title, ', ' ORDER BY title) FROM event_envelope WHERE labels->>'stack' = $1";

	(void)state;
	json_decref(rd_call_as(rd.token, "POST", "/topology/import?stack=planned", plan, 200));
	rd_is(sql, "planned", ""); /* a plan is no deed */
	json_decref(rd_call_as(rd.token, "POST", "/topology/import?stack=planned&applied=true", plan, 200));
	json_decref(rd_call_as(rd.token, "POST", "/topology/import?stack=planned&applied=true", plan, 200));
	rd_is(sql, "planned", "delete a.old, update a.b");
}

static void pages_follow_each_other_without_gap_or_repeat(void **state)
{
	AUTO(str) char *cursor = NULL;
	AUTO(json) json_t *seen = json_object();
	size_t pages = 0;

	(void)state;
	reads("page", "abcdefghijklm", "web:1", "", "applied", 13, 0, 0);
	do {
		AUTO(str)
		char *path = mem_printf("/topology?resource=urn:tf:a_app:page/a_app.web&limit=4%s%s",
					cursor ? "&cursor=" : "", cursor ? cursor : "");
		AUTO(json) json_t *doc = rd_get(path);
		const json_t *e;
		size_t i;

		json_array_foreach(json_object_get(doc, "data"), i, e)
		{
			assert_null(json_object_get(seen, json_str(e, "dst")));
			json_object_set_new(seen, json_str(e, "dst"), json_true());
		}
		mem_set(&cursor, json_str(doc, "next_cursor"));
		pages++;
	} while (cursor);
	assert_int_equal(json_object_size(seen), 13);
	assert_int_equal(pages, 4);
	json_decref(rd_call_as(rd.token, "GET", "/topology?cursor=00", NULL, 400));
	json_decref(rd_call_as(rd.token, "GET", "/topology?at=yesterday", NULL, 400));
}

static void the_gates_blast_radius_sees_what_was_described(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str) char *tenant = mem_printf("%lld", rd.tenant);
	struct oc_fail fail = { 0 };

	(void)state;
	reads("blast", "ab", "web:1", "", "applied", 2, 0, 0);
	if (pg_query(rd.pg, SQL_BLAST_RADIUS,
		     PG_ARGS(tenant, "{urn:tf:a_part:blast/a_part.a,urn:tf:a_app:blast/a_app.web}"), &r,
		     &fail) != OC_OK)
		fail_msg("%s", fail.text);
	assert_int_equal(pg_int(r, 0, 0), 1); /* the app needs the part */
	assert_int_equal(pg_int(r, 0, 1), 0);
	assert_int_equal(pg_int(r, 1, 0), 0);
	assert_int_equal(pg_int(r, 1, 1), 2);
}

static void another_tenant_sees_nothing_of_it(void **state)
{
	AUTO(json) json_t *edges = NULL;
	AUTO(json) json_t *readings = NULL;

	(void)state;
	reads("mine", "a", "web:1", "", "applied", 1, 0, 0);
	edges = rd_call_as(rd.stranger, "GET", "/topology", NULL, 200);
	assert_int_equal(json_array_size(json_object_get(edges, "data")), 0);
	readings = rd_call_as(rd.stranger, "GET", "/topology/reading", NULL, 200);
	assert_int_equal(json_array_size(json_object_get(readings, "data")), 0);
}

static void two_readings_at_once_never_overlap_an_edge(void **state)
{
	(void)state;
	/* what the table itself refuses, whoever writes: the same edge of one source twice at one moment */
	struct oc_fail fail = { 0 };
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO topo_edge_time (tenant_id, src_resource_id, dst_resource_id, relation, source, valid)"
		" SELECT tenant_id, src_resource_id, dst_resource_id, relation, source, tstzrange(now() + interval '1 hour', NULL)"
		" FROM topo_edge_time WHERE tenant_id = %lld AND upper_inf(valid) LIMIT 1",
		rd.tenant);

	reads("twice", "a", "web:1", "", "applied", 1, 0, 0);
	assert_int_not_equal(pg_query(rd.pg, sql, PG_NO_ARGS, NULL, &fail), OC_OK);
	assert_string_equal(pg_sqlstate(rd.pg), "23P01");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* in the order of their times: a source's history is written forwards */
		cmocka_unit_test(what_is_gone_closes_and_is_still_there_in_the_past),
		cmocka_unit_test(the_same_description_twice_changes_nothing),
		cmocka_unit_test(history_is_not_written_backwards),
		cmocka_unit_test(a_reading_that_shrank_closes_nothing_and_says_so),
		cmocka_unit_test(a_reading_that_failed_closes_nothing_and_is_written_down),
		cmocka_unit_test(an_edge_of_two_descriptions_stays_until_neither_has_it),
		cmocka_unit_test(another_version_is_a_deployment_with_its_evidence),
		cmocka_unit_test(an_applied_plan_is_told_once),
		cmocka_unit_test(pages_follow_each_other_without_gap_or_repeat),
		cmocka_unit_test(the_gates_blast_radius_sees_what_was_described),
		cmocka_unit_test(another_tenant_sees_nothing_of_it),
		cmocka_unit_test(two_readings_at_once_never_overlap_an_edge),
	};

	return cmocka_run_group_tests(tests, rd_start, rd_stop);
}
