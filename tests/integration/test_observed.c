/* What was observed, read through the API on a real PostgreSQL: answers against values worked out here. */
#include <math.h>
#include "base/uuid.h"
#include "domain/sketch.h"
#include "tests/integration/reading.h"

#define T0 1767225600 /* 2026-01-01T00:00:00Z */

static void run(const char *sql)
{
	free(rd_one(sql, NULL));
}

static void seed(long long tenant, const char *prefix)
{
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name) SELECT %lld, '%s:' || n, 'svc', n"
		" FROM unnest(ARRAY['shop', 'pay', 'db', 'mail']) AS n",
		tenant, prefix);

	run(sql);
}

/* Value v of series s in minute m: count m % 3 + 1, each with average 10 s + m. */
static void seed_metrics(void)
{
	for (int s = 1; s <= 3; s++)
		for (int m = 0; m < 30; m++) {
			AUTO(sketch) struct sketch *k = sketch_new();
			int n = m % 3 + 1;
			double v = 10 * s + m;
			AUTO(str) char *hex = NULL;
			AUTO(str) char *sql = NULL;

			sketch_add(k, v, (uint64_t)n);
			hex = sketch_hex(k);
			sql = mem_printf(
				"INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, avg_val, max_val, min_val, p95_val, labels,"
				" series_id, count, sum, sketch) SELECT to_timestamp(%d), tenant_id, resource_id, 'lag', %g, %g, %g, %g,"
				" '{\"disk\":\"%s\"}', %d, %d, %g, %s%s%s FROM dim_resource WHERE tenant_id = %lld AND urn = 'urn:svc:%s'",
				T0 + 60 * m, v, v + 1, v - 1, v, s == 1 ? "sda" : "sdb", s, n, v * n,
				s == 3 ? "NULL" : "'", s == 3 ? "" : hex, s == 3 ? "" : "'", rd.tenant,
				s == 3 ? "pay" : "shop");
			run(sql);
		}
}

static int setup(void **state)
{
	rd_start(state);
	seed(rd.tenant, "urn:svc");
	seed(rd.other, "urn:svc");
	seed_metrics();
	return 0;
}

#define RANGE "from=2026-01-01T00:00:00Z&to=2026-01-01T00:30:00Z"

static double value_at(const json_t *list, size_t series, size_t point, long long *ret_second)
{
	const json_t *p = json_array_get(json_object_get(json_array_get(list, series), "points"), point);

	if (ret_second)
		*ret_second = json_integer_value(json_array_get(p, 0));
	return json_is_null(json_array_get(p, 1)) ? NAN : json_number_value(json_array_get(p, 1));
}

static void near(double got, double want, double within)
{
	if (!(fabs(got - want) <= within * fabs(want) + 1e-9))
		fail_msg("%g and not %g", got, want);
}

static void a_metric_is_aggregated_over_time_series_and_resources(void **state)
{
	double sum = 0, n = 0;
	long long second = 0;

	(void)state;
	{
		/* two series of the shop, ten minutes a step: the average is weighted by the samples */
		AUTO(json)
		json_t *doc = rd_get("/metrics/query?metric=lag&resource=urn:svc:shop&step=600&" RANGE);
		const json_t *list = json_object_get(doc, "data");

		assert_int_equal(json_array_size(list), 1);
		assert_string_equal(json_str(json_array_get(list, 0), "resource"), "urn:svc:shop");
		assert_int_equal(json_array_size(json_object_get(json_array_get(list, 0), "points")), 3);
		for (int s = 1; s <= 2; s++)
			for (int m = 10; m < 20; m++)
				sum += (10 * s + m) * (m % 3 + 1), n += m % 3 + 1;
		near(value_at(list, 0, 1, &second), sum / n, 1e-12);
		assert_int_equal(second, T0 + 600);
	}
	{
		AUTO(json) json_t *doc = rd_get("/metrics/query?metric=lag&aggregate=max&by=series&" RANGE);
		const json_t *list = json_object_get(doc, "data");

		assert_int_equal(json_array_size(list), 3);
		assert_string_equal(json_str(json_array_get(list, 0), "resource"), "urn:svc:pay");
		assert_string_equal(json_str(json_object_get(json_array_get(list, 1), "labels"), "disk"),
				    "sda");
		near(value_at(list, 1, 29, NULL), 10 + 29 + 1, 0);
	}
	{
		AUTO(json)
		json_t *doc = rd_get("/metrics/query?metric=lag&aggregate=count&by=none&step=1800&" RANGE);
		const json_t *list = json_object_get(doc, "data");

		assert_int_equal(json_array_size(list), 1);
		near(value_at(list, 0, 0, NULL), 3 * 60, 0);
	}
	{
		AUTO(json)
		json_t *doc =
			rd_get("/metrics/query?metric=lag&label=disk:sda&aggregate=min&step=1800&" RANGE);

		near(value_at(json_object_get(doc, "data"), 0, 0, NULL), 9, 0);
	}
}

static void a_p95_is_merged_from_sketches_and_says_where_it_is_only_a_bound(void **state)
{
	AUTO(sketch) struct sketch *all = sketch_new();
	AUTO(json)
	json_t *doc =
		rd_get("/metrics/query?metric=lag&aggregate=p95&resource=urn:svc:shop&step=1800&" RANGE);
	AUTO(json)
	json_t *bound =
		rd_get("/metrics/query?metric=lag&aggregate=p95&resource=urn:svc:pay&step=1800&" RANGE);

	(void)state;
	for (int s = 1; s <= 2; s++)
		for (int m = 0; m < 30; m++)
			sketch_add(all, 10 * s + m, (uint64_t)(m % 3 + 1));
	near(value_at(json_object_get(doc, "data"), 0, 0, NULL), sketch_quantile(all, 0.95), 1e-12);
	assert_null(json_object_get(json_array_get(json_object_get(doc, "data"), 0), "p95"));
	near(value_at(json_object_get(bound, "data"), 0, 0, NULL), 30 + 29, 0);
	assert_string_equal(json_str(json_array_get(json_object_get(bound, "data"), 0), "p95"), "upper");
}

static void a_wrong_question_names_its_field(void **state)
{
	static const struct wrong_row {
		const char *path, *field;
		int status;
	} rows[] = {
		{ "/metrics/query",							      "metric",    400 },
		{ "/metrics/query?metric=lag&aggregate=median",                                  "aggregate", 400 },
		{ "/metrics/query?metric=lag&step=0",                                            "step",      400 },
		{ "/metrics/query?metric=lag&label=disk",                                        "label",     400 },
		{ "/metrics/query?metric=lag&resource=urn:svc:nobody",                           "resource",  404 },
		{ "/metrics/query?metric=lag&from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from",
                 400											      },
		{ "/metrics/query?metric=lag&from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from",
                 400											      },
		{ "/calls?limit=5000",							   "limit",     400 },
		{ "/calls?cursor=zz",							    "cursor",    400 },
		{ "/calls?src=urn:svc:nobody",						   "src",       404 },
		{ "/calls/top?limit=0",							  "limit",     400 },
		{ "/logs/patterns?severity=BAD",						 "severity",  400 },
		{ "/logs/patterns?fresh=perhaps",                                                "fresh",     400 },
		{ "/events?case_id=1",							   "case_id",   400 },
		{ "/events/00000000-0000-7000-8000-000000000000",                                "id",        404 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(json) json_t *doc = rd_call_as(rd.token, "GET", rows[i].path, NULL, rows[i].status);
		AUTO(str) char *text = json_text(doc);

		if (!strstr(text, rows[i].field))
			fail_msg("%s: %s", rows[i].path, text);
	}
}

static void calls_come_in_pages_and_the_worst_first(void **state)
{
	AUTO(str) char *cursor = NULL;
	size_t seen = 0;

	(void)state;
	/* the shop calls three; the p95 of pay is the worst, mail has as bad a p95 as db and more errors */
	run("INSERT INTO service_call_5m (bucket, tenant_id, src_resource_id, dst_resource_id, rps, err_rate, p50_ms, p95_ms, count, errors)"
	    " SELECT to_timestamp(1767225600 + 300 * i), s.tenant_id, s.resource_id, d.resource_id, 1, 0.1, 5,"
	    " CASE d.name WHEN 'pay' THEN 900 ELSE 20 END, 300, CASE d.name WHEN 'mail' THEN 30 ELSE 3 END"
	    " FROM generate_series(0, 5) i, dim_resource s JOIN dim_resource d ON d.tenant_id = s.tenant_id"
	    " WHERE s.name = 'shop' AND d.name IN ('pay', 'db', 'mail')");
	{
		AUTO(json) json_t *doc = rd_get("/calls/top?src=urn:svc:shop&" RANGE);
		const json_t *list = json_object_get(doc, "data");

		assert_int_equal(json_array_size(list), 3);
		assert_string_equal(json_str(json_array_get(list, 0), "dst"), "urn:svc:pay");
		assert_string_equal(json_str(json_array_get(list, 1), "dst"), "urn:svc:mail");
		assert_string_equal(json_str(json_array_get(list, 2), "dst"), "urn:svc:db");
		near(json_number_value(json_object_get(json_array_get(list, 1), "err_rate")), 0.1, 1e-12);
		near(json_number_value(json_object_get(json_array_get(list, 0), "rps")), 6 * 300 / 1800.0,
		     1e-12);
	}
	do {
		AUTO(str)
		char *path = mem_printf("/calls?limit=4&" RANGE "%s%s", cursor ? "&cursor=" : "",
					cursor ? cursor : "");
		AUTO(json) json_t *doc = rd_get(path);

		seen += json_array_size(json_object_get(doc, "data"));
		free(cursor);
		cursor = mem_strdup(json_str(doc, "next_cursor"));
		assert_true(seen <= 18);
	} while (cursor);
	assert_int_equal(seen, 18);
}

static void patterns_are_counted_found_by_words_and_known_as_new(void **state)
{
	AUTO(str) char *cursor = NULL;
	size_t seen = 0;

	(void)state;
	run("INSERT INTO log_pattern (tenant_id, pattern, sample_message, severity, first_seen, last_seen)"
	    " SELECT tenant_id, 'took <num> ms for 100% of step_' || i, 'took 5 ms', CASE i WHEN 3 THEN 'ERROR' ELSE 'INFO' END,"
	    " to_timestamp(1767225600) - CASE i WHEN 3 THEN interval '-1 minute' ELSE interval '1 day' END, to_timestamp(1767225600)"
	    " FROM dim_tenant, generate_series(1, 7) i WHERE code IN ('t-read', 't-other')");
	run("INSERT INTO log_pattern_5m (bucket, tenant_id, resource_id, fingerprint_id, count_total, count_error, first_seen, last_seen)"
	    " SELECT to_timestamp(1767225600 + 300 * b), p.tenant_id, r.resource_id, p.fingerprint_id, 10, 1, to_timestamp(1767225600),"
	    " to_timestamp(1767225600 + 300 * b + 9) FROM log_pattern p JOIN dim_resource r ON r.tenant_id = p.tenant_id AND"
	    " r.name IN ('shop', 'db'), generate_series(0, 3) b");
	{
		AUTO(json) json_t *doc = rd_get("/logs/patterns?text=100%25+of+STEP_3&" RANGE);
		const json_t *one = json_array_get(json_object_get(doc, "data"), 0);

		assert_int_equal(json_array_size(json_object_get(doc, "data")), 1);
		assert_int_equal(json_int_or(one, "count", 0), 80);
		assert_int_equal(json_int_or(one, "errors", 0), 8);
		assert_true(json_bool_or(one, "fresh", false));
		assert_int_equal(json_array_size(json_object_get(one, "resources")), 2);
		assert_string_equal(json_str(one, "last_seen"), "2026-01-01T00:15:09.000000Z");
	}
	{
		/* % and _ are only letters */
		AUTO(json) json_t *doc = rd_get("/logs/patterns?text=10%25of&" RANGE);

		assert_int_equal(json_array_size(json_object_get(doc, "data")), 0);
	}
	{
		AUTO(json) json_t *doc = rd_get("/logs/patterns?fresh=true&" RANGE);
		AUTO(json) json_t *bad = rd_get("/logs/patterns?severity=ERROR&resource=urn:svc:db&" RANGE);

		assert_int_equal(json_array_size(json_object_get(doc, "data")), 1);
		assert_int_equal(json_int_or(json_array_get(json_object_get(bad, "data"), 0), "count", 0),
				 40);
	}
	do {
		AUTO(str)
		char *path = mem_printf("/logs/patterns?limit=2&" RANGE "%s%s", cursor ? "&cursor=" : "",
					cursor ? cursor : "");
		AUTO(json) json_t *doc = rd_get(path);

		seen += json_array_size(json_object_get(doc, "data"));
		free(cursor);
		cursor = mem_strdup(json_str(doc, "next_cursor"));
		assert_true(seen <= 7);
	} while (cursor);
	assert_int_equal(seen, 7);
}

static void an_event_comes_with_its_rows_and_the_way_to_the_raw_detail(void **state)
{
	AUTO(str) char *id = NULL;
	AUTO(str) char *path = NULL;
	AUTO(str) char *cursor = NULL;
	size_t seen = 0;

	(void)state;
	run("INSERT INTO oo_locator (tenant_id, dataset, bucket, object_key, t_from, t_to, query_hint)"
	    " SELECT tenant_id, 'logs', 'b', 'k/1', to_timestamp(1767225600), to_timestamp(1767225660), '?text=refused' FROM dim_tenant"
	    " WHERE code = 't-read'");
	run("INSERT INTO event_envelope (detected_at, tenant_id, resource_id, severity, kind, title) SELECT"
	    " to_timestamp(1767225600) + i / 2 * interval '1 minute', r.tenant_id, r.resource_id, 'ERROR', CASE i WHEN 0 THEN 'deploy' ELSE"
	    " 'anomaly' END, 'event ' || i FROM dim_resource r, generate_series(0, 8) i WHERE r.name = 'pay'");
	id = rd_one(
		"SELECT e.event_id::text FROM event_envelope e JOIN dim_tenant t USING (tenant_id) WHERE title = 'event 5'"
		" AND t.code = 't-read'",
		NULL);
	free(rd_one(
		"INSERT INTO evidence_link (event_id, dim, ref_pg, ref_oo, note, tenant_id) SELECT e.event_id, 'log',"
		" '{\"table\":\"log_pattern_5m\"}', o.id, 'refused', e.tenant_id FROM event_envelope e JOIN oo_locator o USING (tenant_id)"
		" WHERE e.event_id = $1::uuid RETURNING 'x'",
		id));
	path = mem_printf("/events/%s", id);
	{
		AUTO(json) json_t *doc = rd_get(path);
		const json_t *e = json_object_get(doc, "data"),
			     *v = json_array_get(json_object_get(e, "evidence"), 0);

		assert_string_equal(json_str(e, "resource"), "urn:svc:pay");
		assert_string_equal(json_str(json_object_get(v, "row"), "table"), "log_pattern_5m");
		assert_string_equal(json_str(json_object_get(v, "locator"), "object_key"), "k/1");
		assert_string_equal(json_str(json_object_get(v, "locator"), "query_hint"), "?text=refused");
	}
	/* somebody else's is not there */
	json_decref(rd_call_as(rd.stranger, "GET", path, NULL, 404));
	{
		AUTO(json) json_t *doc = rd_get("/events?kind=deploy&" RANGE);

		assert_int_equal(json_array_size(json_object_get(doc, "data")), 1);
	}
	do {
		AUTO(str)
		char *page = mem_printf("/events?limit=2&resource=urn:svc:pay&" RANGE "%s%s",
					cursor ? "&cursor=" : "", cursor ? cursor : "");
		AUTO(json) json_t *doc = rd_get(page);

		seen += json_array_size(json_object_get(doc, "data"));
		free(cursor);
		cursor = mem_strdup(json_str(doc, "next_cursor"));
		assert_true(seen <= 9);
	} while (cursor);
	assert_int_equal(seen, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_metric_is_aggregated_over_time_series_and_resources),
		cmocka_unit_test(a_p95_is_merged_from_sketches_and_says_where_it_is_only_a_bound),
		cmocka_unit_test(a_wrong_question_names_its_field),
		cmocka_unit_test(calls_come_in_pages_and_the_worst_first),
		cmocka_unit_test(patterns_are_counted_found_by_words_and_known_as_new),
		cmocka_unit_test(an_event_comes_with_its_rows_and_the_way_to_the_raw_detail),
	};

	return cmocka_run_group_tests_name("observed", tests, setup, rd_stop);
}
