/* Templates of log lines in a real PostgreSQL: one row each, whoever brings them and however often. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "detail/read.h"
#include "ingest/detail_taker.h"
#include "ingest/log_miner.h"
#include "store/pattern.h"
#include "tests/support/pgtemp.h"

#define T0 INT64_C(1790000000000000)

static struct pgtemp *server;
static struct pg *pg;
static long long tenant;
static char t[24];

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

static char *one(const char *sql)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	must(pg_query(pg, sql, PG_NO_ARGS, &r, &why), &why);
	return mem_strdup(pg_text_or(r, 0, 0, "(nothing)"));
}

#define assert_sql(sql, text)                    \
	do {                                     \
		AUTO(str) char *got_ = one(sql); \
		assert_string_equal(got_, text); \
	} while (0)

/* What an aggregator does with the lines of a window: their templates, then what became of older ones. */
static void bring(struct log_miner *m, const char *const *line, size_t n, int64_t at_us)
{
	AUTO(text) struct text fps = { 0 };
	AUTO(text) struct text texts = { 0 };
	AUTO(text) struct text samples = { 0 };
	AUTO(text) struct text severities = { 0 };
	AUTO(text) struct text generals = { 0 };
	AUTO(text) struct text times = { 0 };
	AUTO(text) struct text from = { 0 };
	AUTO(text) struct text to = { 0 };
	struct log_merge merge[64];
	struct oc_fail why = { 0 };
	uint64_t seen[64];
	size_t known = 0, merges;
	const char *at;

	for (size_t i = 0; i < n; i++) {
		struct log_hit hit;
		size_t k = 0;

		log_miner_feed(m, line[i], strlen(line[i]), &hit);
		while (k < known && seen[k] != hit.fingerprint)
			k++;
		if (k < known)
			continue;
		seen[known++] = hit.fingerprint;
		AUTO(str) char *pattern = mem_strndup(hit.pattern_ref, hit.len);
		pg_array_addf(&fps, "%" PRId64, (int64_t)hit.fingerprint);
		pg_array_add(&texts, pattern);
		pg_array_add(&samples, line[i]);
		pg_array_add(&severities, log_severity_name(hit.severity));
		pg_array_add(&generals, hit.general ? "t" : "f");
		pg_array_addf(&times, "%" PRId64, at_us + (int64_t)i);
	}
	at = pg_array_end(&times);
	must(pg_query(pg, SQL_PATTERN_UPSERT,
		      PG_ARGS(t, pg_array_end(&fps), pg_array_end(&texts), pg_array_end(&samples),
			      pg_array_end(&severities), pg_array_end(&generals), at, at),
		      NULL, &why),
	     &why);
	merges = log_miner_merges(m, merge, 64);
	if (!merges)
		return;
	for (size_t i = 0; i < merges; i++) {
		pg_array_addf(&from, "%" PRId64, (int64_t)merge[i].from);
		pg_array_addf(&to, "%" PRId64, (int64_t)merge[i].to);
	}
	must(pg_query(pg, SQL_PATTERN_MERGE, PG_ARGS(t, pg_array_end(&from), pg_array_end(&to)), NULL, &why),
	     &why);
}

static void a_template_is_one_row_whoever_brings_it(void **state)
{
	static const char *const lines[] = { "connection from 10.0.0.1 refused", "worker 7 started in 12 ms",
					     "connection from 10.0.0.2 refused" };
	AUTO(log_miner) struct log_miner *a = log_miner_new(NULL);
	AUTO(log_miner) struct log_miner *b = log_miner_new(NULL);

	(void)state;
	bring(a, lines, 3, T0 + 1000);
	assert_sql("SELECT count(*) FROM log_pattern", "2");
	bring(b, lines, 3, T0);
	bring(a, lines, 3, T0 + 5000);
	assert_sql("SELECT count(*) FROM log_pattern", "2");
	assert_sql(
		"SELECT pattern || '|' || severity || '|' || sample_message FROM log_pattern WHERE pattern LIKE 'conn%'",
		"connection from <*> refused|ERROR|connection from 10.0.0.1 refused");
	/* seen first by b and last by a */
	assert_sql(
		"SELECT ((extract(epoch FROM last_seen) - extract(epoch FROM first_seen)) * 1000000)::bigint"
		" FROM log_pattern WHERE pattern LIKE 'conn%'",
		"5000");
}

static void what_became_more_general_is_followed(void **state)
{
	static const char *const early[] = { "session opened for user alice" };
	static const char *const later[] = { "session opened for user bob", "session opened for user carol",
					     "session opened for user alice" };
	AUTO(log_miner) struct log_miner *m = log_miner_new(NULL);
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(str) char *old = NULL;
	AUTO(str) char *list = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	bring(m, early, 1, T0);
	bring(m, later, 3, T0 + 60000000);
	assert_sql("SELECT count(*) FROM log_pattern WHERE pattern LIKE 'session%' AND merged_into IS NULL"
		   " AND pattern = 'session opened for user <*>'",
		   "1");
	old = one("SELECT fingerprint_id FROM log_pattern WHERE pattern = 'session opened for user alice'");
	list = mem_printf("{%s}", old);
	must(pg_query(pg, SQL_PATTERN_NOW, PG_ARGS(t, list), &r, &why), &why);
	assert_int_equal(pg_rows(r), 1);
	{
		AUTO(str)
		char *want = one(
			"SELECT fingerprint_id FROM log_pattern WHERE pattern = 'session opened for user <*>'");

		assert_string_equal(pg_text(r, 0, 1), want);
	}
	/* a template that generalised is no new one: it was there as early */
	assert_sql("SELECT (extract(epoch FROM first_seen) * 1000000)::bigint FROM log_pattern"
		   " WHERE pattern = 'session opened for user <*>'",
		   "1790000000000000");
}

static void a_restart_goes_on_with_the_same_templates(void **state)
{
	AUTO(log_miner) struct log_miner *m = log_miner_new(NULL);
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };
	struct log_hit hit;

	(void)state;
	must(pg_query(pg, SQL_PATTERN_LOAD, PG_ARGS(t, "1000"), &r, &why), &why);
	assert_true(pg_rows(r) >= 3);
	for (unsigned i = 0; i < pg_rows(r); i++)
		assert_true(log_miner_load(m, pg_text(r, i, 0), strlen(pg_text(r, i, 0)), pg_bool(r, i, 1)));
	log_miner_feed(m, "session opened for user dave", 28, &hit);
	assert_memory_equal(hit.pattern_ref, "session opened for user <*>", hit.len);
}

static void templates_are_found_by_words(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	must(pg_query(pg, SQL_PATTERN_LIKE, PG_ARGS(t, "conection from refusd", "5"), &r, &why), &why);
	assert_true(pg_rows(r) >= 1);
	assert_string_equal(pg_text(r, 0, 1), "connection from <*> refused");
}

static void the_same_window_twice_changes_nothing(void **state)
{
	struct oc_fail why = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++)
		must(pg_query(pg, SQL_PATTERN_5M_UPSERT,
			      PG_ARGS(t, "{1790000000000000}", "{5}", "{7}", "{100}", "{3}", "{NULL}",
				      "{1790000000000001}", "{1790000000000009}"),
			      NULL, &why),
		     &why);
	assert_sql("SELECT count_total || ' ' || count_error || ' ' || revision FROM log_pattern_5m",
		   "100 3 0");
	must(pg_query(pg, SQL_PATTERN_5M_UPSERT,
		      PG_ARGS(t, "{1790000000000000}", "{5}", "{7}", "{101}", "{3}", "{NULL}",
			      "{1790000000000001}", "{1790000000000009}"),
		      NULL, &why),
	     &why);
	assert_sql("SELECT count_total || ' ' || count_error || ' ' || revision FROM log_pattern_5m",
		   "101 3 1");
}

static bool take(void *ctx, const char *line, size_t len)
{
	text_add_n(ctx, line, len);
	text_add(ctx, "\n");
	return true;
}

static void records_of_the_stream_come_back_as_lines(void **state)
{
	char dir[] = "/tmp/opscase-test-taker-XXXXXX";
	AUTO(detail_store) struct detail_store *s = NULL;
	AUTO(detail_writer) struct detail_writer *w = NULL;
	AUTO(detail_row) struct detail_row row = { 0 };
	AUTO(tel_batch) struct tel_batch logs, spans;
	AUTO(text) struct text got = { 0 };
	AUTO(str) char *clean = NULL;
	struct tel_attrs *attrs = mem_alloc(sizeof(*attrs));
	struct tel_taker taker;
	struct segment_said said;
	struct oc_fail why = { 0 };
	struct tel_log *log;
	struct tel_span *span;
	uint32_t resource;

	(void)state;
	assert_non_null(mkdtemp(dir));
	must(detail_store_open(&(struct detail_store_config){ .dir = dir }, &s, &why), &why);
	w = detail_writer_new(&(struct detail_writer_config){ .store = s });
	taker = detail_taker(w);
	tel_batch_init(&logs, TEL_LOGS);
	tel_attrs_add(attrs, TEL_STR("host.name"), TEL_STR("h1"), TEL_LABEL_MAX);
	must(tel_resource_add(&logs, attrs, &resource, &why), &why);
	must(tel_log_add(&logs, &log, &why), &why);
	*log = (struct tel_log){
		.resource = resource,
		.severity = 17,
		.body = TEL_STR("a \"quoted\"\nline\x01"),
		.time_us = T0,
		.has_trace = true,
		.trace_id = { 1, 2, 3 }
	};
	tel_batch_init(&spans, TEL_SPANS);
	memset(attrs, 0, sizeof(*attrs));
	tel_attrs_add(attrs, TEL_STR("host.name"), TEL_STR("h1"), TEL_LABEL_MAX);
	must(tel_resource_add(&spans, attrs, &resource, &why), &why);
	must(tel_span_add(&spans, &span, &why), &why);
	*span = (struct tel_span){
		.resource = resource,
		.kind = TEL_SPAN_SERVER,
		.error = true,
		.trace_id = { 1, 2, 3 },
		.span_id = { 9 },
		.name = TEL_STR("GET /"),
		.start_us = T0,
		.end_us = T0 + 1500
	};
	taker.take(taker.ctx, tenant, "t-patterns", &logs, 1);
	taker.take(taker.ctx, tenant, "t-patterns", &spans, 2);
	must(taker.flush(taker.ctx, pg, 2, &why), &why);
	must(detail_row_read(pg, tenant, detail_locator(w, tenant, "logs"), &row, &why), &why);
	must(detail_lines(s, &row,
			  &(struct segment_ask){
				  .has_trace = true, .trace_id = { 1, 2, 3 }
        },
			  take, &got, &said, &why),
	     &why);
	assert_string_equal(
		text_str(&got),
		"{\"time_us\":1790000000000000,\"resource\":\"urn:host:h1\",\"severity\":\"ERROR\","
		"\"trace_id\":\"01020300000000000000000000000000\",\"body\":\"a \\\"quoted\\\"\\nline\\u0001\"}\n");
	detail_row_done(&row);
	got.len = 0;
	must(detail_row_read(pg, tenant, detail_locator(w, tenant, "traces"), &row, &why), &why);
	must(detail_lines(s, &row, &(struct segment_ask){ 0 }, take, &got, &said, &why), &why);
	assert_string_equal(
		text_str(&got),
		"{\"time_us\":1790000000000000,\"resource\":\"urn:host:h1\",\"trace_id\":\"01020300000000000000000000000000\","
		"\"span_id\":\"0900000000000000\",\"name\":\"GET /\",\"kind\":\"server\",\"error\":true,\"duration_us\":1500}\n");
	free(attrs);
	clean = mem_printf("rm -rf '%s'", dir);
	assert_int_equal(system(clean), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_template_is_one_row_whoever_brings_it),
		cmocka_unit_test(what_became_more_general_is_followed),
		cmocka_unit_test(a_restart_goes_on_with_the_same_templates),
		cmocka_unit_test(templates_are_found_by_words),
		cmocka_unit_test(the_same_window_twice_changes_nothing),
		cmocka_unit_test(records_of_the_stream_come_back_as_lines),
	};
	int rc;

	server = pgtemp_shared();
	pg = pgtemp_open(server->worker);
	tenant = pgtemp_tenant(server, "t-patterns");
	snprintf(t, sizeof(t), "%lld", tenant);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	pg_close(pg);
	return rc;
}
