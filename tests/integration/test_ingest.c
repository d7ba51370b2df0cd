/* OTLP metrics into metric_1m, on a real PostgreSQL. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "domain/sketch.h"
#include "ingest/otlp_metrics.h"
#include "tests/support/pgtemp.h"

static struct pgtemp *server;
static struct pg *db;
static struct pg_pool *pool;
static long long tenant;
static struct ingest *in;
static int64_t minute_us; /* the beginning of a minute a little ago */

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

static struct pg_result *ask(const char *sql, const char *arg)
{
	struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	must(pg_query(db, sql, &arg, arg ? 1 : 0, &r, &why), &why);
	return r;
}

static char *send(const char *body)
{
	struct oc_fail why = { 0 };
	char *answer = NULL;

	must(ingest_otlp_metrics(in, tenant, body, strlen(body), &answer, &why), &why);
	return answer;
}

/* One metric of one point, `offset_s` after the minute. `data` is the kind with %s for the point. */
static char *request(const char *metric, const char *kind_open, const char *value, int64_t start_s,
		     int64_t offset_s)
{
	return mem_printf(
		"{\"resourceMetrics\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":"
		"\"cart\"}},{\"key\":\"service.namespace\",\"value\":{\"stringValue\":\"shop\"}}]},\"scopeMetrics\":[{"
		"\"metrics\":[{\"name\":\"%s\",%s\"dataPoints\":[{\"startTimeUnixNano\":\"%lld\",\"timeUnixNano\":\"%lld\",%s}]}}]}]}]}",
		metric, kind_open, (long long)(minute_us + start_s * 1000000) * 1000,
		(long long)(minute_us + offset_s * 1000000) * 1000, value);
}

static void gauge(const char *metric, double value, int64_t offset_s)
{
	AUTO(str) char *v = mem_printf("\"asDouble\":%.17g", value);
	AUTO(str) char *body = request(metric, "\"gauge\":{", v, 0, offset_s);
	AUTO(str) char *answer = send(body);

	assert_string_equal(answer, "{}");
}

static void counter(const char *metric, double value, int64_t start_s, int64_t offset_s)
{
	AUTO(str) char *v = mem_printf("\"asDouble\":%.17g", value);
	AUTO(str)
	char *body = request(metric, "\"sum\":{\"aggregationTemporality\":2,\"isMonotonic\":true,", v,
			     start_s, offset_s);
	AUTO(str) char *answer = send(body);

	assert_string_equal(answer, "{}");
}

#define ROWS                                                                                                               \
	"SELECT m.count, m.avg_val, m.max_val, m.min_val, m.p95_val, m.sum, m.revision, m.sketch, r.urn FROM metric_1m m " \
	"JOIN dim_resource r USING (tenant_id, resource_id) WHERE m.metric = $1 ORDER BY m.bucket"

static void points_of_several_requests_meet_in_one_bucket(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(sketch) struct sketch *s = NULL;

	(void)state;
	for (int i = 0; i < 10; i++)
		gauge("temp", i + 1, i);
	gauge("temp", 100, 60); /* the next minute */
	r = ask(ROWS, "temp");
	assert_int_equal(pg_rows(r), 2);
	assert_int_equal(pg_int(r, 0, 0), 10);
	assert_true(fabs(pg_num(r, 0, 1) - 5.5) < 1e-9);
	assert_true(pg_num(r, 0, 2) == 10 && pg_num(r, 0, 3) == 1 && pg_num(r, 0, 5) == 55);
	assert_true(fabs(pg_num(r, 0, 4) - 9) <= 0.1);
	s = sketch_unhex(pg_text(r, 0, 7));
	assert_non_null(s);
	assert_int_equal(sketch_count(s), 10);
	assert_string_equal(pg_text(r, 0, 8), "urn:k8s:svc:shop/cart");
	assert_int_equal(pg_int(r, 1, 0), 1);
}

static void the_same_body_counts_once(void **state)
{
	AUTO(str)
	char *body = request("once", "\"sum\":{\"aggregationTemporality\":1,\"isMonotonic\":true,",
			     "\"asInt\":\"7\"", 0, 10);
	AUTO(pg_result) struct pg_result *r = NULL;

	(void)state;
	for (int i = 0; i < 3; i++) {
		AUTO(str) char *answer = send(body);

		assert_string_equal(answer, "{}");
	}
	r = ask(ROWS, "once");
	assert_int_equal(pg_int(r, 0, 0), 1);
	assert_true(pg_num(r, 0, 5) == 7);
}

static void a_counter_is_remembered_between_requests_and_processes(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;

	(void)state;
	counter("reqs", 1000, -90000, 0); /* long under way */
	counter("reqs", 1060, -90000, 10);
	/* another process goes on */
	ingest_free(in);
	in = ingest_new(&(struct ingest_config){ .bucket_s = 60 }, pool);
	counter("reqs", 1100, -90000, 20);
	counter("reqs", 5, 21, 25); /* restarted */
	r = ask(ROWS, "reqs");
	assert_int_equal(pg_rows(r), 1);
	assert_int_equal(pg_int(r, 0, 0), 3);
	assert_true(pg_num(r, 0, 5) == 60 + 40 + 5);
	assert_true(fabs(pg_num(r, 0, 2) - 6) < 1e-9); /* 60 in ten seconds */
}

static void late_data_opens_a_closed_bucket_with_a_new_revision(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;

	(void)state;
	gauge("late", 1, -600); /* its bucket has been over for long; it is new, though */
	gauge("late", 2, -599);
	r = ask(ROWS, "late");
	assert_int_equal(pg_int(r, 0, 0), 2);
	assert_int_equal(pg_int(r, 0, 6), 1);
}

static void what_is_too_old_is_refused_and_said(void **state)
{
	AUTO(str) char *body = request("old", "\"gauge\":{", "\"asInt\":1", -90000, -90000);
	AUTO(str) char *ahead = request("ahead", "\"gauge\":{", "\"asInt\":1", 0, 90000);
	AUTO(str) char *a = send(body), *b = send(ahead);
	AUTO(pg_result) struct pg_result *r = ask(ROWS, "old"), *q = ask(ROWS, "ahead");

	(void)state;
	assert_non_null(strstr(a, "\"rejectedDataPoints\":\"1\""));
	assert_non_null(strstr(b, "in the future"));
	assert_int_equal(pg_rows(r) + pg_rows(q), 0);
}

static void tenants_have_resources_of_the_same_name(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	long long mine = tenant;

	(void)state;
	gauge("shared", 1, 0);
	tenant = pgtemp_tenant(server, "second");
	gauge("shared", 2, 0);
	tenant = mine;
	r = ask("SELECT m.tenant_id, m.avg_val, r.resource_id FROM metric_1m m JOIN dim_resource r USING (tenant_id, resource_id) "
		"WHERE m.metric = 'shared' ORDER BY m.tenant_id",
		NULL);
	assert_int_equal(pg_rows(r), 2);
	assert_true(pg_num(r, 0, 1) != pg_num(r, 1, 1));
	assert_int_not_equal(pg_int(r, 0, 2), pg_int(r, 1, 2));
}

#define SENDERS 4
#define EACH    25

static void *sender(void *arg)
{
	int who = *(int *)arg;

	for (int i = 0; i < EACH; i++) {
		/* every body differs, all go into the same bucket of the same series */
		AUTO(str) char *value = mem_printf("\"asDouble\":%d", who * EACH + i + 1);
		AUTO(str) char *body = request("busy", "\"gauge\":{", value, 0, 1 + (who * EACH + i) % 50);
		AUTO(str) char *answer = NULL;
		struct oc_fail why = { 0 };

		if (ingest_otlp_metrics(in, tenant, body, strlen(body), &answer, &why) != OC_OK) {
			fprintf(stderr, "%s\n", why.text);
			return arg;
		}
	}
	return NULL;
}

static void many_senders_into_one_bucket_lose_nothing(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	pthread_t thread[SENDERS];
	int who[SENDERS];

	(void)state;
	for (int i = 0; i < SENDERS; i++) {
		who[i] = i;
		assert_int_equal(pthread_create(&thread[i], NULL, sender, &who[i]), 0);
	}
	for (int i = 0; i < SENDERS; i++) {
		void *failed;

		pthread_join(thread[i], &failed);
		assert_null(failed);
	}
	r = ask(ROWS, "busy");
	assert_int_equal(pg_rows(r), 1);
	assert_int_equal(pg_int(r, 0, 0), SENDERS * EACH);
	assert_true(pg_num(r, 0, 5) == SENDERS * EACH * (SENDERS * EACH + 1) / 2);
	assert_true(pg_num(r, 0, 2) == SENDERS * EACH && pg_num(r, 0, 3) == 1);
}

static void histograms_end_as_average_and_p95(void **state)
{
	AUTO(str)
	char *body =
		request("lat", "\"histogram\":{\"aggregationTemporality\":\"AGGREGATION_TEMPORALITY_DELTA\",",
			"\"count\":\"100\",\"sum\":2100,\"bucketCounts\":[\"0\",\"90\",\"0\",\"10\",\"0\"],"
			"\"explicitBounds\":[10,20,50,100]",
			0, 10);
	AUTO(str) char *answer = send(body);
	AUTO(pg_result) struct pg_result *r = ask(ROWS, "lat");

	(void)state;
	assert_int_equal(pg_int(r, 0, 0), 100);
	assert_true(fabs(pg_num(r, 0, 1) - 21) < 1e-9);
	assert_true(pg_num(r, 0, 4) > 60 && pg_num(r, 0, 4) < 90);
}

static void a_large_request_is_stored_whole(void **state)
{
	enum { SERIES = 2000, POINTS = 10 };
	AUTO(text) struct text body = { 0 };
	AUTO(str) char *answer = NULL;
	AUTO(pg_result) struct pg_result *r = NULL;

	(void)state;
	text_add(
		&body,
		"{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"large\",\"gauge\":{\"dataPoints\":[");
	for (int s = 0; s < SERIES; s++)
		for (int i = 0; i < POINTS; i++)
			text_addf(
				&body,
				"%s{\"timeUnixNano\":\"%lld\",\"asInt\":\"%d\",\"attributes\":[{\"key\":\"pod\",\"value\":"
				"{\"stringValue\":\"pod \\\"%d\\\"\"}}]}",
				s || i ? "," : "", (long long)(minute_us + i * 5000000) * 1000, s, s);
	text_add(&body, "]}}]}]}]}");
	answer = send(body.s);
	assert_string_equal(answer, "{}");
	r = ask("SELECT count(*), sum(count), count(DISTINCT labels->>'pod'), sum(sum) FROM metric_1m WHERE metric = $1",
		"large");
	assert_int_equal(pg_int(r, 0, 0), SERIES);
	assert_int_equal(pg_int(r, 0, 1), SERIES * POINTS);
	assert_int_equal(pg_int(r, 0, 2), SERIES);
	assert_true(pg_num(r, 0, 3) == (double)POINTS * SERIES * (SERIES - 1) / 2);
}

static void a_broken_request_changes_nothing(void **state)
{
	char *answer = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	assert_int_equal(ingest_otlp_metrics(in, tenant, "{\"resourceMetrics\":", 19, &answer, &why),
			 OC_BAD_REQUEST);
	assert_null(answer);
}

static void the_specs_example_is_stored_at_any_age(void **state)
{
	const char *root = getenv("OPSCASE_SOURCE_DIR");
	AUTO(str)
	char *path =
		mem_printf("%s/../shared/data/otlp_examples/metrics.json", root ? root : OPSCASE_SOURCE_DIR);
	AUTO(file) FILE *f = fopen(path, "r");
	AUTO(str) char *body = mem_alloc(65536), *answer = NULL;
	AUTO(ingest) struct ingest *any = ingest_new(&(struct ingest_config){ .max_age_s = -1 }, pool);
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };
	size_t n;

	(void)state;
	if (!f) {
		print_message("skipped: no example at %s\n", path);
		skip();
	}
	n = fread(body, 1, 65535, f);
	must(ingest_otlp_metrics(any, tenant, body, n, &answer, &why), &why);
	assert_non_null(strstr(answer, "\"rejectedDataPoints\":\"0\""));
	r = ask("SELECT metric, count, sum, labels::text FROM metric_1m WHERE metric LIKE 'my.%' ORDER BY metric",
		NULL);
	assert_int_equal(pg_rows(r), 3);
	assert_true(pg_num(r, 0, 2) == 5 && pg_num(r, 1, 2) == 10 && pg_num(r, 2, 2) == 3);
	assert_string_equal(pg_text(r, 0, 3), "{\"my.counter.attr\": \"some value\"}");
}

static int begin(void **state)
{
	(void)state;
	server = pgtemp_shared();
	db = pgtemp_open(server->super);
	pool = pg_pool_new(server->worker, "test", 6);
	tenant = pgtemp_tenant(server, "ten");
	in = ingest_new(&(struct ingest_config){ .bucket_s = 60 }, pool);
	minute_us = clock_wall_us() - 180 * INT64_C(1000000);
	minute_us -= minute_us % 60000000;
	return 0;
}

static int end(void **state)
{
	(void)state;
	ingest_free(in);
	pg_pool_free(pool);
	pg_close(db);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_of_several_requests_meet_in_one_bucket),
		cmocka_unit_test(the_same_body_counts_once),
		cmocka_unit_test(a_counter_is_remembered_between_requests_and_processes),
		cmocka_unit_test(late_data_opens_a_closed_bucket_with_a_new_revision),
		cmocka_unit_test(what_is_too_old_is_refused_and_said),
		cmocka_unit_test(tenants_have_resources_of_the_same_name),
		cmocka_unit_test(many_senders_into_one_bucket_lose_nothing),
		cmocka_unit_test(histograms_end_as_average_and_p95),
		cmocka_unit_test(a_large_request_is_stored_whole),
		cmocka_unit_test(a_broken_request_changes_nothing),
		cmocka_unit_test(the_specs_example_is_stored_at_any_age),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
