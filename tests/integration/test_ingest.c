/* OTLP metrics over the stream into metric_1m: real NATS and PostgreSQL. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "domain/sketch.h"
#include "ingest/aggregator.h"
#include "ingest/receive.h"
#include "tests/support/natstemp.h"
#include "tests/support/pgtemp.h"
#include "wire/bus/stream.h"

static struct pgtemp *server;
static struct pg *db;
static struct natstemp nats;
static struct bus *bus;
static long long tenant;
static char tenant_code[32] = "ten";
static struct aggregators *folders;
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

static void folders_start(const struct window_config *window)
{
	struct oc_fail why = { 0 };

	must(aggregators_start(&(struct aggregator_config){ .window = *window,
							    .gather_ms = 10,
							    .bus_ref = bus,
							    .conninfo = server->worker },
			       &folders, &why),
	     &why);
}

static void folders_restart(const struct window_config *window)
{
	aggregators_stop(folders);
	folders_start(window);
}

/* Until everything that is on the stream is folded. Messages of one request are last among all. */
static void settle(void)
{
	struct stream_info info;
	struct oc_fail why = { 0 };

	must(stream_info(bus, &info, &why), &why);
	for (int64_t until = clock_mono_ms() + 60000;;) {
		AUTO(pg_result)
		struct pg_result *r = ask(
			"SELECT coalesce(max(seq) FILTER (WHERE kind <> 'dead'), 0), coalesce(max(seq), 0) FROM tel_position",
			NULL);

		if ((uint64_t)pg_int(r, 0, 1) >= info.last && (uint64_t)pg_int(r, 0, 0) + 1 >= info.last)
			return;
		if (clock_mono_ms() > until)
			fail_msg("seq %lld of %llu after a minute", pg_int(r, 0, 1),
				 (unsigned long long)info.last);
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
}

static enum oc_err try_send(enum receive_way way, const char *body, char **ret_answer, struct oc_fail *why)
{
	struct receive_answer a = { 0 };
	enum oc_err err = receive(&(struct receiver){ .bus_ref = bus, .partitions = 1 },
				  &(struct receive_request){ .way = way,
							     .tenant_id = tenant,
							     .tenant = tenant_code,
							     .body = body,
							     .len = strlen(body) },
				  &a, why);

	*ret_answer = a.body;
	return err;
}

static char *send_by(enum receive_way way, const char *body)
{
	struct oc_fail why = { 0 };
	char *answer = NULL;

	must(try_send(way, body, &answer, &why), &why);
	settle();
	return answer;
}

static char *send(const char *body)
{
	return send_by(RECEIVE_OTLP_METRICS, body);
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
	folders_restart(&(struct window_config){ .bucket_s = 60 });
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

static void what_is_too_old_is_counted_and_not_folded(void **state)
{
	double late = metric_read(M_INGEST_POINTS, "metrics", "late", NULL);
	double ahead = metric_read(M_INGEST_POINTS, "metrics", "ahead", NULL);
	AUTO(str) char *body = request("old", "\"gauge\":{", "\"asInt\":1", -90000, -90000);
	AUTO(str) char *later = request("ahead", "\"gauge\":{", "\"asInt\":1", 0, 90000);
	AUTO(str) char *a = send(body), *b = send(later);
	AUTO(pg_result) struct pg_result *r = ask(ROWS, "old"), *q = ask(ROWS, "ahead");

	(void)state;
	assert_int_equal(pg_rows(r) + pg_rows(q), 0);
	assert_true(metric_read(M_INGEST_POINTS, "metrics", "late", NULL) == late + 1);
	assert_true(metric_read(M_INGEST_POINTS, "metrics", "ahead", NULL) == ahead + 1);
}

static void a_rejected_point_is_a_dead_letter_with_its_reason(void **state)
{
	AUTO(str) char *body = request("nan", "\"gauge\":{", "\"asDouble\":\"NaN\"", 0, 10);
	AUTO(str) char *answer = send(body);
	AUTO(pg_result)
	struct pg_result *r =
		ask("SELECT source, reason, body FROM dead_letter WHERE kind = 'telemetry' AND reason LIKE $1",
		    "nan:%");

	(void)state;
	assert_non_null(strstr(answer, "\"rejectedDataPoints\":\"1\""));
	assert_int_equal(pg_rows(r), 1);
	assert_string_equal(pg_text(r, 0, 0), "otlp/metrics");
	assert_string_equal(pg_text(r, 0, 1), "nan: NaN or infinite");
	assert_non_null(strstr(pg_text(r, 0, 2), "\"name\":\"nan\""));
}

static void tenants_have_resources_of_the_same_name(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	long long mine = tenant;

	(void)state;
	gauge("shared", 1, 0);
	tenant = pgtemp_tenant(server, "second");
	strcpy(tenant_code, "second");
	gauge("shared", 2, 0);
	strcpy(tenant_code, "ten");
	tenant = mine;
	r = ask("SELECT m.tenant_id, m.avg_val, r.resource_id FROM metric_1m m JOIN dim_resource r USING (tenant_id, resource_id) "
		"WHERE m.metric = 'shared' ORDER BY m.tenant_id",
		NULL);
	assert_int_equal(pg_rows(r), 2);
	assert_true(pg_num(r, 0, 1) != pg_num(r, 1, 1));
	assert_int_not_equal(pg_int(r, 0, 2), pg_int(r, 1, 2));
}

#define SENDERS 4
#define EACH    14 /* all of them in one minute, each at a second of its own */

static void *sender(void *arg)
{
	int who = *(int *)arg;

	for (int i = 0; i < EACH; i++) {
		/* every body differs, all go into the same bucket of the same series */
		AUTO(str) char *value = mem_printf("\"asDouble\":%d", who * EACH + i + 1);
		AUTO(str) char *body = request("busy", "\"gauge\":{", value, 0, 1 + who * EACH + i);
		AUTO(str) char *answer = NULL;
		struct oc_fail why = { 0 };

		if (try_send(RECEIVE_OTLP_METRICS, body, &answer, &why) != OC_OK) {
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
	settle();
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
	assert_int_equal(try_send(RECEIVE_OTLP_METRICS, "{\"resourceMetrics\":", &answer, &why),
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
	AUTO(pg_result) struct pg_result *r = NULL;
	size_t n;

	(void)state;
	if (!f) {
		print_message("skipped: no example at %s\n", path);
		skip();
	}
	n = fread(body, 1, 65535, f);
	body[n] = '\0';
	folders_restart(&(struct window_config){ .max_age_s = -1 });
	answer = send(body);
	assert_non_null(strstr(answer, "\"rejectedDataPoints\":\"0\""));
	r = ask("SELECT metric, count, sum, labels::text FROM metric_1m WHERE metric LIKE 'my.%' ORDER BY metric",
		NULL);
	assert_int_equal(pg_rows(r), 3);
	assert_true(pg_num(r, 0, 2) == 5 && pg_num(r, 1, 2) == 10 && pg_num(r, 2, 2) == 3);
	assert_string_equal(pg_text(r, 0, 3), "{\"my.counter.attr\": \"some value\"}");
}

#define T(s) (long long)(minute_us + (int64_t)((s) * 1000000)) * 1000

/* "a" calls "b": both halves; a calls a database: one half; each named by its service. */
static char *span(const char *service, const char *kind, const char *id, const char *parent, double at_s,
		  double took_s, const char *more)
{
	return mem_printf(
		"{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"%s\"}}]},"
		"\"scopeSpans\":[{\"spans\":[{\"traceId\":\"5b8efff798038103d269b633813fc60c\",\"spanId\":\"%s\",\"parentSpanId\":\"%s\","
		"\"kind\":\"%s\",\"name\":\"x\",\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\"%s}]}]}]}",
		service, id, parent, kind, T(at_s), T(at_s + took_s), more);
}

#define CALLS                                                                                                                  \
	"SELECT s.urn, d.urn, sum(c.count), sum(c.errors), max(c.p95_ms), max(c.err_rate), max(c.rps) FROM service_call_5m c " \
	"JOIN dim_resource s ON s.resource_id = c.src_resource_id JOIN dim_resource d ON d.resource_id = c.dst_resource_id "   \
	"WHERE s.urn = $1 GROUP BY 1, 2 ORDER BY 2"

static void halves_of_a_call_meet_across_requests_in_any_order(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str)
	char *a = span("web", "SPAN_KIND_SERVER", "00000000000000b1", "00000000000000a1", 1, 0.05, "");
	AUTO(str)
	char *b = span("front", "SPAN_KIND_CLIENT", "00000000000000a1", "00000000000000f1", 1, 0.3, "");
	AUTO(str)
	char *c = span("front", "SPAN_KIND_CLIENT", "00000000000000a2", "00000000000000f1", 2, 0.3, "");
	AUTO(str)
	char *d = span("web", "SPAN_KIND_SERVER", "00000000000000b2", "00000000000000a2", 2, 0.2,
		       ",\"status\":{\"code\":2}");
	AUTO(str) char *x = send_by(RECEIVE_OTLP_TRACES, a), *y = send_by(RECEIVE_OTLP_TRACES, b);
	AUTO(str) char *z = send_by(RECEIVE_OTLP_TRACES, c), *q = send_by(RECEIVE_OTLP_TRACES, d);

	(void)state, (void)x, (void)y, (void)z, (void)q;
	r = ask(CALLS, "urn:svc:front");
	assert_int_equal(pg_rows(r), 1);
	assert_string_equal(pg_text(r, 0, 1), "urn:svc:web");
	assert_int_equal(pg_int(r, 0, 2), 2);
	assert_int_equal(pg_int(r, 0, 3), 1);
	assert_true(fabs(pg_num(r, 0, 4) - 300) <= 3.1); /* as the caller saw it */
	assert_true(pg_num(r, 0, 5) == 0.5 && fabs(pg_num(r, 0, 6) - 2 / 300.0) < 1e-9);
}

static void a_call_without_its_other_half_goes_by_what_the_client_says(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str)
	char *a = span(
		"lonely", "SPAN_KIND_CLIENT", "00000000000000c1", "00000000000000f1", 1, 0.1,
		",\"attributes\":[{\"key\":\"db.system\",\"value\":{\"stringValue\":\"postgresql\"}},{\"key\":\"db.name\",\"value\":{"
		"\"stringValue\":\"shop\"}},{\"key\":\"server.address\",\"value\":{\"stringValue\":\"db1\"}}]");
	AUTO(str) char *x = NULL;

	(void)state;
	folders_restart(&(struct window_config){ .join_s = 1 });
	x = send_by(RECEIVE_OTLP_TRACES, a);
	for (int64_t until = clock_mono_ms() + 60000; clock_mono_ms() < until;) {
		pg_result_free(r);
		r = ask(CALLS, "urn:svc:lonely");
		if (pg_rows(r))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	}
	assert_int_equal(pg_rows(r), 1);
	assert_string_equal(pg_text(r, 0, 1), "urn:db:postgresql:db1/shop");
}

static void log_lines_become_counts_of_their_patterns(void **state)
{
	AUTO(text) struct text t = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str) char *answer = NULL;

	(void)state;
	for (int i = 0; i < 30; i++)
		text_addf(
			&t,
			"{\"time\":%lld,\"service\":\"pay\",\"level\":\"%s\",\"message\":\"order %d took %d ms\"}\n",
			T(i) / 1000000, i % 3 ? "info" : "error", i * 77, i);
	text_add(&t, "{\"message\": broken\n");
	answer = send_by(RECEIVE_LINES, t.s);
	assert_non_null(strstr(answer, "\"accepted\":30,\"rejected\":1"));
	r = ask("SELECT p.pattern, sum(w.count_total), sum(w.count_error), max(p.severity) FROM log_pattern_5m w "
		"JOIN log_pattern p USING (tenant_id, fingerprint_id) JOIN dim_resource d USING (tenant_id, resource_id) WHERE d.urn = $1 GROUP BY 1",
		"urn:svc:pay");
	assert_int_equal(pg_rows(r), 1);
	assert_string_equal(pg_text(r, 0, 0), "order <*> took <*> ms");
	assert_int_equal(pg_int(r, 0, 1), 30);
	assert_int_equal(pg_int(r, 0, 2), 10);
	assert_string_equal(pg_text(r, 0, 3), "ERROR");
}

static void a_bulk_request_says_of_each_document_what_became_of_it(void **state)
{
	AUTO(str)
	char *answer = send_by(RECEIVE_BULK,
			       "{\"index\":{\"_index\":\"a\"}}\n{\"message\":\"bulk one\",\"host\":\"h9\"}\n"
			       "{\"create\":{\"_index\":\"a\"}}\nnonsense\n");
	AUTO(pg_result)
	struct pg_result *r = ask(
		"SELECT count(*) FROM log_pattern_5m JOIN dim_resource d USING (tenant_id, resource_id) WHERE d.urn = $1",
		"urn:host:h9");

	(void)state;
	assert_non_null(strstr(answer, "\"errors\":true"));
	assert_non_null(strstr(answer, "{\"index\":{\"_index\":\"a\",\"status\":201"));
	assert_non_null(strstr(answer, "{\"create\":{\"_index\":\"a\",\"status\":400"));
	assert_int_equal(pg_int(r, 0, 0), 1);
}

static int begin(void **state)
{
	struct oc_fail why = { 0 };

	(void)state;
	server = pgtemp_shared();
	natstemp_start(&nats);
	db = pgtemp_open(server->super);
	tenant = pgtemp_tenant(server, "ten");
	must(bus_open(&(struct bus_config){ .url = nats.url, .name = "test" }, &bus, &why), &why);
	folders_start(&(struct window_config){ .bucket_s = 60 });
	minute_us = clock_wall_us() - 180 * INT64_C(1000000);
	minute_us -= minute_us % 60000000;
	return 0;
}

static int end(void **state)
{
	(void)state;
	aggregators_stop(folders);
	bus_close(bus);
	pg_close(db);
	natstemp_stop(&nats);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_of_several_requests_meet_in_one_bucket),
		cmocka_unit_test(the_same_body_counts_once),
		cmocka_unit_test(a_counter_is_remembered_between_requests_and_processes),
		cmocka_unit_test(late_data_opens_a_closed_bucket_with_a_new_revision),
		cmocka_unit_test(what_is_too_old_is_counted_and_not_folded),
		cmocka_unit_test(a_rejected_point_is_a_dead_letter_with_its_reason),
		cmocka_unit_test(tenants_have_resources_of_the_same_name),
		cmocka_unit_test(many_senders_into_one_bucket_lose_nothing),
		cmocka_unit_test(histograms_end_as_average_and_p95),
		cmocka_unit_test(a_large_request_is_stored_whole),
		cmocka_unit_test(a_broken_request_changes_nothing),
		cmocka_unit_test(halves_of_a_call_meet_across_requests_in_any_order),
		cmocka_unit_test(a_call_without_its_other_half_goes_by_what_the_client_says),
		cmocka_unit_test(log_lines_become_counts_of_their_patterns),
		cmocka_unit_test(a_bulk_request_says_of_each_document_what_became_of_it),
		cmocka_unit_test(the_specs_example_is_stored_at_any_age),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
