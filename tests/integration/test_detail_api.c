/* Raw detail over HTTP and by the command line: the lines that evidence is about, and nobody else's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "api/api.h"
#include "api/waiters.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "detail/writer.h"
#include "store/token.h"
#include "tests/support/pgtemp.h"
#include "wire/http/client.h"
#include "wire/json/json.h"

#define T0    INT64_C(1790000000000000) /* 2026-09-21T14:13:20Z */
#define TRACE "0102030405060708090a0b0c0d0e0f10"

static struct pgtemp *db;
static struct pg *pg;
static long long tenant, other;
static char viewer[TOKEN_TEXT], stranger[TOKEN_TEXT], url[64], dir[] = "/tmp/opscase-test-dapi-XXXXXX";
static struct detail_store *store;
static long long logs, output;

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

static json_t *get(const char *token, const char *path, int want)
{
	AUTO(http_client)
	struct http_client *c = http_client_new(
		&(struct http_client_config){ .base_url = url, .bearer = token, .timeout_ms = 60000 });
	struct http_answer a = { 0 };
	struct oc_fail why = { 0 };
	json_t *doc;

	must(http_client_call(c, "GET", path, NULL, NULL, &a, &why), &why);
	if (a.status != want)
		fail_msg("GET %s: %d, wanted %d: %s", path, a.status, want, a.body);
	doc = json_loads(a.body, JSON_DECODE_ANY, NULL);
	http_answer_done(&a);
	return doc;
}

static json_t *get_detail(long long id, const char *query, int want)
{
	AUTO(str) char *path = mem_printf("/detail/%lld%s", id, query);

	return get(viewer, path, want);
}

static const char *body_at(const json_t *doc, size_t i)
{
	return json_str(json_array_get(json_at(doc, "/data/lines"), i), "body");
}

static void a_locator_gives_its_lines_in_pages(void **state)
{
	AUTO(json) json_t *first = get_detail(logs, "?limit=30", 200);
	AUTO(str) char *next = mem_printf("?limit=100&cursor=%s", json_str(first, "next_cursor"));
	AUTO(json) json_t *rest = get_detail(logs, next, 200);

	(void)state;
	assert_string_equal(json_str(json_at(first, "/data"), "dataset"), "logs");
	assert_int_equal(json_array_size(json_at(first, "/data/lines")), 30);
	assert_string_equal(body_at(first, 29), "line 29");
	assert_int_equal(json_array_size(json_at(rest, "/data/lines")), 70);
	assert_string_equal(body_at(rest, 0), "line 30");
	assert_true(json_is_null(json_object_get(rest, "next_cursor")));
}

static void it_is_narrowed_by_trace_time_resource_and_text(void **state)
{
	AUTO(json) json_t *trace = get_detail(logs, "?trace_id=" TRACE, 200);
	AUTO(json)
	json_t *time =
		get_detail(logs, "?from=2026-09-21T14:13:20.000010Z&to=2026-09-21T14:13:20.000012Z", 200);
	AUTO(json) json_t *resource = get_detail(logs, "?resource=urn:host:h3&text=line%207", 200);

	(void)state;
	assert_int_equal(json_array_size(json_at(trace, "/data/lines")), 2);
	assert_string_equal(body_at(trace, 1), "line 51");
	assert_int_equal(json_array_size(json_at(time, "/data/lines")), 3);
	assert_string_equal(body_at(time, 0), "line 10");
	/* 7, 70 to 79 of every tenth host: h3 has 73 */
	assert_int_equal(json_array_size(json_at(resource, "/data/lines")), 1);
	assert_string_equal(body_at(resource, 0), "line 73");
}

static void what_evidence_is_about_holds_unless_the_query_says_otherwise(void **state)
{
	AUTO(str)
	char *sql = mem_printf("UPDATE oo_locator SET query_hint = '?text=line 5' WHERE id = %lld", logs);
	AUTO(str) char *undo = mem_printf("UPDATE oo_locator SET query_hint = NULL WHERE id = %lld", logs);
	AUTO(json) json_t *hinted = NULL;
	AUTO(json) json_t *all = NULL;

	(void)state;
	pgtemp_exec(db, sql);
	hinted = get_detail(logs, "", 200);
	all = get_detail(logs, "?text=", 200);
	pgtemp_exec(db, undo);
	assert_int_equal(json_array_size(json_at(hinted, "/data/lines")), 11);
	assert_int_equal(json_array_size(json_at(all, "/data/lines")), 100);
}

static void the_output_of_a_step_is_one_line(void **state)
{
	AUTO(json) json_t *doc = get_detail(output, "", 200);

	(void)state;
	assert_string_equal(json_str(json_at(doc, "/data/lines/0"), "stdout"), "restarted");
}

static void a_trace_is_found_without_a_locator(void **state)
{
	AUTO(json)
	json_t *doc = get(viewer,
			  "/detail?trace_id=" TRACE "&from=2026-09-01T00:00:00Z&to=2026-10-01T00:00:00Z",
			  200);
	AUTO(json)
	json_t *none = get(viewer,
			   "/detail?trace_id=ffffffffffffffffffffffffffffffff&from=2026-09-01T00:00:00Z",
			   200);

	(void)state;
	assert_int_equal(json_array_size(json_object_get(doc, "data")), 2);
	assert_int_equal(json_int_or(doc, "unavailable", -1), 0);
	assert_int_equal(json_array_size(json_object_get(none, "data")), 0);
}

static void what_is_wrong_is_said(void **state)
{
	AUTO(str) char *path = mem_printf("/detail/%lld", logs);
	AUTO(json) json_t *a = get(stranger, path, 404);
	AUTO(json) json_t *b = get(viewer, "/detail/99999999", 404);
	AUTO(json) json_t *c = get(viewer, "/detail/abc", 404);
	AUTO(json) json_t *d = get_detail(logs, "?trace_id=xyz", 400);
	AUTO(json) json_t *e = get_detail(logs, "?from=yesterday", 400);
	AUTO(json) json_t *f = get(viewer, "/detail", 400);
	AUTO(json) json_t *g = get_detail(logs, "?limit=100000", 400);
	AUTO(json) json_t *h = get_detail(logs, "?cursor=nonsense", 400);

	(void)state;
	assert_string_equal(json_str(d, "field"), "trace_id");
	assert_string_equal(json_str(e, "field"), "from");
	assert_string_equal(json_str(f, "field"), "trace_id");
	assert_string_equal(json_str(g, "field"), "limit");
	assert_non_null(strstr(json_str(b, "detail"), "expired"));
}

static char *run(const char *args, int *ret_code)
{
	AUTO(str)
	char *command = mem_printf(
		"OPSCASE_URL=%s OPSCASE_TOKEN=%s OPSCASE_DATA=/nonexistent NO_COLOR=1 %s/bin/opscase %s 2>&1",
		url, viewer, OPSCASE_BINARY_DIR, args);
	FILE *p = popen(command, "re");
	struct text out = { 0 };
	char buf[4096];
	size_t n;

	assert_non_null(p);
	while ((n = fread(buf, 1, sizeof(buf), p)) > 0)
		text_add_n(&out, buf, n);
	*ret_code = WEXITSTATUS(pclose(p));
	return text_take(&out);
}

static void the_command_line_prints_them_one_a_line(void **state)
{
	AUTO(str) char *get_args = mem_printf("detail get %lld --text 'line 9'", logs);
	int code;
	AUTO(str) char *lines = run(get_args, &code);
	AUTO(str) char *trace = NULL;
	AUTO(str) char *none = NULL;
	AUTO(str) char *wrong = NULL;

	(void)state;
	assert_int_equal(code, 0);
	assert_non_null(strstr(lines, "\"body\":\"line 9\""));
	assert_non_null(strstr(lines, "\"body\":\"line 99\""));
	assert_null(strstr(lines, "\"body\":\"line 8\""));
	trace = run("detail trace " TRACE " --from 2026-09-01T00:00:00Z", &code);
	assert_int_equal(code, 0);
	assert_non_null(strstr(trace, "\"body\":\"line 51\""));
	none = run("detail trace ffffffffffffffffffffffffffffffff", &code);
	assert_int_equal(code, 66);
	assert_string_equal(none, "");
	wrong = run("detail get last", &code);
	assert_int_equal(code, 64);
	assert_non_null(strstr(wrong, "no locator"));
}

static void fill(void)
{
	AUTO(detail_writer)
	struct detail_writer *w = detail_writer_new(&(struct detail_writer_config){ .store = store });
	static const char out[] = "{\"run_id\":\"r\",\"stdout\":\"restarted\"}";
	struct oc_fail why = { 0 };
	const char *bucket;
	AUTO(str) char *sql = NULL;
	AUTO(pg_result) struct pg_result *r = NULL;
	uint8_t id[16];

	str_unhex(TRACE, id, 16);
	for (unsigned i = 0; i < 100; i++) {
		bool traced = i / 2 == 25;
		AUTO(str)
		char *line =
			mem_printf("{\"time_us\":%lld,\"resource\":\"urn:host:h%u\"%s,\"body\":\"line %u\"}",
				   (long long)T0 + i, i % 10, traced ? ",\"trace_id\":\"" TRACE "\"" : "", i);

		detail_add(w, tenant, "t-dapi", "logs",
			   &(struct detail_record){ .time_us = T0 + i,
						    .trace_id = traced ? id : NULL,
						    .line = line,
						    .len = strlen(line) });
	}
	must(detail_flush(w, pg, &why), &why);
	logs = detail_locator(w, tenant, "logs");
	must(detail_put(store, "t-dapi/exec/run/0-1.json", out, strlen(out), &bucket, &why), &why);
	sql = mem_printf(
		"INSERT INTO oo_locator (tenant_id, dataset, bucket, object_key, t_from, t_to) VALUES (%lld, 'exec', '%s',"
		" 't-dapi/exec/run/0-1.json', now(), now()) RETURNING id",
		tenant, bucket);
	must(pg_query(pg, sql, PG_NO_ARGS, &r, &why), &why);
	output = pg_int(r, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_locator_gives_its_lines_in_pages),
		cmocka_unit_test(it_is_narrowed_by_trace_time_resource_and_text),
		cmocka_unit_test(what_evidence_is_about_holds_unless_the_query_says_otherwise),
		cmocka_unit_test(the_output_of_a_step_is_one_line),
		cmocka_unit_test(a_trace_is_found_without_a_locator),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(the_command_line_prints_them_one_a_line),
	};
	struct api_deps deps = { .version = "test" };
	struct pg_pool *api_pool, *worker_pool;
	struct waiters *waiters = waiters_new(4);
	struct oc_fail fail = { 0 };
	AUTO(str) char *clean = NULL;
	struct api *api = NULL;
	char id[UUID_TEXT];
	int rc;

	if (!mkdtemp(dir))
		return 1;
	db = pgtemp_shared();
	pg = pgtemp_open(db->worker);
	tenant = pgtemp_tenant(db, "t-dapi");
	other = pgtemp_tenant(db, "t-dapi-other");
	api_pool = pg_pool_new(db->api, "test", 4);
	worker_pool = pg_pool_new(db->worker, "test", 4);
	deps.api_pool = api_pool;
	deps.worker_pool = worker_pool;
	deps.waiters_ref = waiters;
	if (detail_store_open(&(struct detail_store_config){ .dir = dir }, &store, &fail) != OC_OK ||
	    token_create(pg, &(struct token_new){ .tenant_id = tenant, .name = "v", .role = ROLE_VIEWER },
			 viewer, id, &fail) != OC_OK ||
	    token_create(pg, &(struct token_new){ .tenant_id = other, .name = "s", .role = ROLE_VIEWER },
			 stranger, id, &fail) != OC_OK) {
		fprintf(stderr, "%s\n", fail.text);
		return 1;
	}
	deps.detail = store;
	fill();
	if (api_start(&(struct api_config){ .handler_threads = 4, .head_ms = 30000 }, &deps, &api, &fail) !=
	    OC_OK) {
		fprintf(stderr, "%s\n", fail.text);
		return 1;
	}
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", api_port(api));
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	waiters_close(waiters);
	api_stop(api);
	pg_pool_free(api_pool);
	pg_pool_free(worker_pool);
	waiters_free(waiters);
	detail_store_close(store);
	pg_close(pg);
	clean = mem_printf("rm -rf '%s'", dir);
	return system(clean) == 0 ? rc : 1;
}
