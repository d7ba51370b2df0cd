/* The root cause in rows of a real PostgreSQL. */
#include "tests/integration/rig.h"
#include "analyst/incident.h"

#define S INT64_C(1000000)

static int64_t onset_us;

/* web calls shop calls db, shop calls mail; two hours of five-minute calls and one-minute cpu; from the onset db is slow. */
static int begin(void **state)
{
	static const char script[] =
		"INSERT INTO dim_resource (tenant_id, urn, type, name) SELECT %lld, 'urn:k8s:svc:' || n, 'k8s:svc', n"
		" FROM unnest(ARRAY['web', 'shop', 'db', 'mail', 'elsewhere']) n;"
		"INSERT INTO service_call_5m (bucket, tenant_id, src_resource_id, dst_resource_id, rps, err_rate, p50_ms, p95_ms, count)"
		" SELECT b, s.tenant_id, s.resource_id, d.resource_id, 1, 0, 5, e.ms + 2 * sin(n) + CASE WHEN b >= to_timestamp(%lld)"
		" THEN e.slow ELSE 0 END, 300 FROM generate_series(to_timestamp(%lld) - interval '3 hours', to_timestamp(%lld)"
		" + interval '10 minutes', interval '5 minutes') WITH ORDINALITY AS g(b, n), (VALUES ('lb', 'web', 30, 400),"
		" ('web', 'shop', 20, 400), ('shop', 'db', 10, 400), ('shop', 'mail', 10, 0)) AS e(src, dst, ms, slow)"
		" JOIN dim_resource s ON s.urn = 'urn:k8s:svc:' || CASE e.src WHEN 'lb' THEN 'elsewhere' ELSE e.src END"
		" JOIN dim_resource d ON d.urn = 'urn:k8s:svc:' || e.dst WHERE s.tenant_id = %lld AND d.tenant_id = %lld;"
		"INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, avg_val, series_id, count) SELECT b, r.tenant_id, r.resource_id,"
		" 'cpu', 20 + 3 * sin(n * 1.3) + CASE WHEN b >= to_timestamp(%lld) AND r.urn = 'urn:k8s:svc:db' THEN 70 ELSE 0 END, r.resource_id, 1"
		" FROM generate_series(to_timestamp(%lld) - interval '3 hours', to_timestamp(%lld) + interval '10 minutes', interval '1 minute')"
		" WITH ORDINALITY AS g(b, n), dim_resource r WHERE r.tenant_id = %lld;"
		"INSERT INTO event_envelope (tenant_id, resource_id, severity, kind, title, detected_at) SELECT r.tenant_id, r.resource_id,"
		" 'INFO', 'deploy', 'db 1.2 rolled out', to_timestamp(%lld) - interval '3 minutes' FROM dim_resource r"
		" WHERE r.tenant_id = %lld AND r.urn = 'urn:k8s:svc:db'";
	long long t;
	AUTO(str) char *sql = NULL;

	(void)state;
	db = pgtemp_shared();
	pg = pgtemp_open(db->worker);
	tenant = pgtemp_tenant(db, "t-incident");
	onset_us = clock_wall_us() / (300 * S) * 300 * S - 600 * S;
	t = onset_us / S;
	sql = mem_printf(script, tenant, t, t, t, tenant, tenant, t, t, t, tenant, t, tenant);
	pgtemp_exec(db, sql);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	pg_close(pg);
	return 0;
}

static json_t *explain(long long who, const char *urn, const char *metric, int64_t at_us, double *ret_sure,
		       char **ret_sentence)
{
	struct oc_fail why = { 0 };
	json_t *said = NULL;

	if (incident_explain(pg,
			     &(struct incident_ask){ .tenant_id = who,
						     .urn = urn,
						     .metric = metric,
						     .onset_us = at_us,
						     .now_us = at_us + 600 * S,
						     .before_s = 7200 },
			     &said, ret_sure, ret_sentence, &why) != OC_OK)
		fail_msg("%s", why.text);
	return said;
}

static void the_slow_database_is_named_with_rows_that_can_be_opened_and_the_way_there(void **state)
{
	AUTO(str) char *sentence = NULL, *n = NULL, *event = NULL;
	double sure;
	AUTO(json) json_t *said = explain(tenant, "urn:k8s:svc:web", "p95_ms", onset_us, &sure, &sentence);
	const json_t *top = json_array_get(json_object_get(said, "answers"), 0), *e;
	bool series = false, change = false;
	size_t i;

	(void)state;
	assert_true(json_is_true(json_object_get(said, "resolved")));
	assert_string_equal(json_str(top, "resource"), "urn:k8s:svc:db");
	assert_true(sure > .5);
	assert_true(strstr(sentence, "root cause: urn:k8s:svc:db") == sentence);
	assert_int_equal(json_array_size(json_object_get(top, "path")), 3);
	assert_string_equal(json_string_value(json_array_get(json_object_get(top, "path"), 1)),
			    "urn:k8s:svc:shop");
	json_array_foreach(json_object_get(top, "evidence"), i, e)
	{
		const json_t *ref = json_object_get(e, "ref_pg");

		if (str_eq(json_str(ref, "table"), "metric_1m")) {
			free(n);
			n = one("SELECT count(*) FROM metric_1m WHERE series_id = $1::bigint",
				json_str(ref, "series"));
			assert_true(atoi(n) > 100);
			assert_true(json_num_or(e, "before", 0) < 30 && json_num_or(e, "after", 0) > 80);
			series = true;
		}
		if (str_eq(json_str(ref, "table"), "event_envelope")) {
			event = one("SELECT title FROM event_envelope WHERE event_id = $1::uuid",
				    json_str(ref, "event_id"));
			assert_string_equal(event, "db 1.2 rolled out");
			change = true;
		}
	}
	assert_true(series && change);
}

static void a_quiet_hour_is_unresolved(void **state)
{
	AUTO(str) char *sentence = NULL;
	double sure;
	AUTO(json)
	json_t *said = explain(tenant, "urn:k8s:svc:web", "p95_ms", onset_us - 1800 * S, &sure, &sentence);

	(void)state;
	assert_true(json_is_false(json_object_get(said, "resolved")));
	assert_true(sure == 0);
	assert_true(strstr(sentence, "unresolved") != NULL);
}

static void what_the_alarmed_one_does_not_call_is_left_out(void **state)
{
	AUTO(str) char *sentence = NULL;
	double sure;
	AUTO(json) json_t *said = explain(tenant, "urn:k8s:svc:mail", "cpu", onset_us, &sure, &sentence);

	(void)state;
	/* mail itself and shop, which calls it. */
	assert_int_equal(json_int_or(json_object_get(said, "looked_at"), "resources", 0), 2);
}

static void another_tenant_sees_nothing_of_it(void **state)
{
	AUTO(str) char *sentence = NULL;
	double sure;
	long long other = pgtemp_tenant(db, "t-incident-2");
	AUTO(json) json_t *said = explain(other, NULL, NULL, onset_us, &sure, &sentence);

	(void)state;
	assert_int_equal(json_int_or(json_object_get(said, "looked_at"), "series", -1), 0);
	assert_int_equal(json_array_size(json_object_get(said, "answers")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_slow_database_is_named_with_rows_that_can_be_opened_and_the_way_there),
		cmocka_unit_test(a_quiet_hour_is_unresolved),
		cmocka_unit_test(what_the_alarmed_one_does_not_call_is_left_out),
		cmocka_unit_test(another_tenant_sees_nothing_of_it),
	};

	return cmocka_run_group_tests(tests, begin, finish);
}
