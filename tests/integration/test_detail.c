/* The detail store with a real PostgreSQL and a real folder: nothing is known that is not there, nothing is lost that is known. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "detail/read.h"
#include "detail/sweep.h"
#include "detail/writer.h"
#include "store/locator.h"
#include "tests/support/pgtemp.h"

#define HOUR INT64_C(3600000000)
#define T0   INT64_C(1790000000000000)

static struct pgtemp *server;
static struct pg *pg;
static long long tenant, other;
static char dir[64];

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

static struct detail_store *open_store(long long quota)
{
	struct detail_store *s = NULL;
	struct oc_fail why = { 0 };

	must(detail_store_open(&(struct detail_store_config){ .dir = dir, .quota_bytes = quota }, &s, &why),
	     &why);
	return s;
}

static void trace(uint8_t id[TRACE_ID], unsigned n)
{
	for (unsigned i = 0; i < TRACE_ID; i++)
		id[i] = (uint8_t)((n + 1) * 2654435761u >> (i % 4 * 8) ^ (i * 37 + n));
}

static void add(struct detail_writer *w, long long whose, const char *dataset, unsigned n, const char *body)
{
	char line[4096], hex[2 * TRACE_ID + 1];
	uint8_t id[TRACE_ID];
	int len;

	trace(id, n);
	str_hex(id, TRACE_ID, hex);
	len = snprintf(line, sizeof(line), "{\"time_us\":%lld,\"trace_id\":\"%s\",\"body\":\"%s %u\"}",
		       (long long)T0 + n, hex, body, n);
	detail_add(w, whose, whose == tenant ? "t-detail" : "t-other", dataset,
		   &(struct detail_record){
			   .time_us = T0 + n, .trace_id = id, .line = line, .len = (size_t)len });
}

static void flush(struct detail_writer *w)
{
	struct oc_fail why = { 0 };

	must(pg_begin(pg, &why), &why);
	must(detail_flush(w, pg, &why), &why);
	must(pg_commit(pg, &why), &why);
}

static bool take(void *ctx, const char *line, size_t len)
{
	text_add_n(ctx, line, len);
	text_add(ctx, "\n");
	return true;
}

static long long count(const char *from)
{
	AUTO(str) char *sql = mem_printf("SELECT count(*) FROM %s", from);
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	must(pg_query(pg, sql, PG_NO_ARGS, &r, &why), &why);
	return pg_int(r, 0, 0);
}

static bool count_object(void *ctx, const struct detail_object *o)
{
	(void)o;
	++*(long long *)ctx;
	return true;
}

static long long objects(struct detail_store *s)
{
	long long n = 0;
	struct oc_fail why = { 0 };

	must(detail_each(s, count_object, &n, &why), &why);
	return n;
}

static struct detail_swept sweep(struct detail_store *s, int64_t now_us)
{
	struct detail_swept swept;
	struct oc_fail why = { 0 };

	must(detail_sweep(s, pg, now_us, HOUR, &swept, &why), &why);
	return swept;
}

static struct detail_trace_said find(struct detail_store *s, long long whose, const char *dataset, unsigned n,
				     size_t limit, struct text *got)
{
	AUTO(pg_result) struct pg_result *found = NULL;
	struct detail_trace_said said;
	struct oc_fail why = { 0 };
	uint8_t id[TRACE_ID];

	trace(id, n);
	must(detail_trace_find(pg, whose, dataset, id, T0, T0 + HOUR, &found, &why), &why);
	detail_trace_lines(s, found, id, T0, T0 + HOUR, limit, take, got, &said);
	return said;
}

static int64_t soon(void)
{
	return clock_wall_us();
}

static void what_was_handed_over_comes_back_by_its_locator(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store(0);
	AUTO(detail_writer)
	struct detail_writer *w = detail_writer_new(&(struct detail_writer_config){ .store = s });
	AUTO(detail_row) struct detail_row row = { 0 };
	AUTO(text) struct text got = { 0 };
	struct segment_said said;
	struct oc_fail why = { 0 };
	long long id;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		add(w, tenant, "logs", i, "order");
	add(w, tenant, "traces", 5, "span");
	add(w, other, "logs", 7, "secret of another tenant");
	flush(w);
	id = detail_locator(w, tenant, "logs");
	assert_true(id > 0 && detail_locator(w, tenant, "traces") != id &&
		    detail_locator(w, tenant, "metrics") == 0);
	must(detail_row_read(pg, tenant, id, &row, &why), &why);
	assert_true(row.from_us == T0 && row.to_us == T0 + 999 && row.cited == 0);
	assert_string_equal(row.bucket, "local");
	must(detail_lines(s, &row, &(struct segment_ask){ .text = { "order 99" } }, take, &got, &said, &why),
	     &why);
	assert_int_equal(said.lines, 11);
	assert_non_null(strstr(text_str(&got), "\"body\":\"order 99\"}\n"));
	/* not somebody else's */
	detail_row_done(&row);
	assert_int_equal(detail_row_read(pg, other, id, &row, &why), OC_NOT_FOUND);
	/* flushing nothing writes nothing */
	flush(w);
	assert_int_equal(count("oo_locator"), 3);
}

static void a_trace_is_found_among_many_segments(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store(0);
	AUTO(detail_writer)
	struct detail_writer *w = detail_writer_new(&(struct detail_writer_config){ .store = s });
	AUTO(text) struct text got = { 0 };
	struct detail_trace_said said;

	(void)state;
	for (unsigned part = 0; part < 40; part++) {
		for (unsigned i = 0; i < 200; i++)
			add(w, tenant, part % 2 ? "traces" : "logs", 10000 + part * 200 + i, "hop");
		if (part == 3 || part == 20)
			add(w, tenant, "logs", 77777, "the one");
		flush(w);
	}
	said = find(s, tenant, NULL, 77777, 100, &got);
	assert_int_equal(said.lines, 2);
	assert_true(said.segments >= 2 && said.segments <= 6);
	said = find(s, tenant, NULL, 77777, 1, &got);
	assert_true(said.lines == 1 && said.more);
	assert_int_equal(find(s, other, NULL, 77777, 100, &got).lines, 0);
	assert_int_equal(find(s, tenant, "traces", 77777, 100, &got).lines, 0);
	assert_int_equal(find(s, tenant, NULL, 88888, 100, &got).lines, 0);
}

static void a_transaction_that_fails_leaves_no_locator_and_its_object_is_swept(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store(0);
	AUTO(detail_writer)
	struct detail_writer *w = detail_writer_new(&(struct detail_writer_config){ .store = s });
	long long rows = count("oo_locator"), before = objects(s);
	struct oc_fail why = { 0 };
	struct detail_swept swept;

	(void)state;
	add(w, tenant, "logs", 1, "will not be");
	must(pg_begin(pg, &why), &why);
	must(detail_flush(w, pg, &why), &why);
	pg_rollback(pg);
	detail_forget(w);
	assert_int_equal(count("oo_locator"), rows);
	assert_int_equal(objects(s), before + 1);
	/* it may be of a transaction that is still under way */
	assert_int_equal(sweep(s, soon()).unknown, 0);
	swept = sweep(s, soon() + 2 * HOUR);
	assert_int_equal(swept.unknown, 1);
	assert_int_equal(objects(s), before);
	assert_int_equal(count("oo_locator"), rows);
	/* and the writer goes on */
	add(w, tenant, "logs", 1, "will be");
	flush(w);
	assert_int_equal(count("oo_locator"), rows + 1);
}

static void a_row_that_expired_takes_its_object_along(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store(0);
	long long before = objects(s);

	(void)state;
	pgtemp_exec(server, "DELETE FROM oo_locator WHERE dataset = 'traces'");
	assert_true(sweep(s, soon() + 2 * HOUR).unknown > 0);
	assert_true(objects(s) < before);
	assert_int_equal(objects(s), count("oo_locator"));
	assert_int_equal(
		count("detail_filter f WHERE NOT EXISTS (SELECT FROM oo_locator l WHERE l.id = f.locator_id)"),
		0);
}

static void full_refuses_detail_and_nothing_else(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store(0);
	AUTO(detail_store) struct detail_store *full = open_store(detail_used(s) + 100);
	AUTO(detail_writer)
	struct detail_writer *w = detail_writer_new(&(struct detail_writer_config){ .store = full });
	double dropped = metric_read(M_DETAIL_RECORDS, "logs", "full", NULL);
	long long rows = count("oo_locator");

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		add(w, tenant, "logs", i, "too much");
	flush(w);
	assert_true(metric_read(M_DETAIL_RECORDS, "logs", "full", NULL) == dropped + 50);
	assert_int_equal(count("oo_locator"), rows);
	assert_int_equal(detail_locator(w, tenant, "logs"), 0);
}

static void a_disk_that_ends_in_the_middle_leaves_no_half_object(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store(0);
	AUTO(detail_writer)
	struct detail_writer *w = detail_writer_new(&(struct detail_writer_config){ .store = s });
	long long before = objects(s), rows = count("oo_locator");
	struct rlimit was, small = { .rlim_cur = 200, .rlim_max = RLIM_INFINITY };

	(void)state;
	for (unsigned i = 0; i < 500; i++)
		add(w, tenant, "logs", i, "does not fit");
	/* write() ends early and then fails, as on a full disk */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small.rlim_max = was.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	flush(w);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(objects(s), before);
	assert_int_equal(count("oo_locator"), rows);
}

static void near_its_quota_the_oldest_go_but_what_is_held_stays(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store(0);
	AUTO(detail_writer)
	struct detail_writer *w = detail_writer_new(&(struct detail_writer_config){ .store = s });
	AUTO(detail_store) struct detail_store *tight = NULL;
	AUTO(detail_row) struct detail_row row = { 0 };
	struct oc_fail why = { 0 };
	long long pinned, cited, oldest;
	struct detail_swept swept;

	(void)state;
	pgtemp_exec(server, "DELETE FROM oo_locator");
	sweep(s, soon() + 2 * HOUR);
	for (unsigned part = 0; part < 30; part++) {
		for (unsigned i = 0; i < 300; i++)
			add(w, tenant, "logs", part * 300 + i, "line");
		flush(w);
		if (part == 0)
			oldest = detail_locator(w, tenant, "logs");
		if (part == 1)
			pinned = detail_locator(w, tenant, "logs");
		if (part == 2)
			cited = detail_locator(w, tenant, "logs");
	}
	{
		AUTO(str)
		char *sql = mem_printf(
			"UPDATE oo_locator SET pinned = true WHERE id = %lld;"
			"INSERT INTO event_envelope (tenant_id, severity, kind) VALUES (%lld, 'ERROR', 'anomaly');"
			"INSERT INTO evidence_link (event_id, dim, ref_oo, tenant_id) SELECT event_id, 'log', %lld, tenant_id"
			" FROM event_envelope WHERE tenant_id = %lld",
			pinned, tenant, cited, tenant);

		pgtemp_exec(server, sql);
	}
	tight = open_store(detail_used(s));
	swept = sweep(tight, soon());
	assert_true(swept.forced >= 5 && swept.forced < 20);
	assert_true(detail_used(tight) <= detail_quota(tight) / 10 * 8);
	assert_int_equal(detail_row_read(pg, tenant, oldest, &row, &why), OC_NOT_FOUND);
	must(detail_row_read(pg, tenant, pinned, &row, &why), &why);
	detail_row_done(&row);
	must(detail_row_read(pg, tenant, cited, &row, &why), &why);
	assert_int_equal(row.cited, 1);
	assert_int_equal(objects(tight), count("oo_locator"));
}

static void keys_cannot_leave_the_store(void **state)
{
	static const char *const bad[] = { "",      "/etc/x",  "../x",  "a/../x", "a//b",
					   "a/./b", ".hidden", "a/b\n", "a/" };
	AUTO(detail_store) struct detail_store *s = open_store(0);
	const char *bucket;
	AUTO(bytes) unsigned char *bytes = NULL;
	size_t len;
	struct oc_fail why = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(detail_put(s, bad[i], "x", 1, &bucket, &why), OC_BAD_REQUEST);
		assert_int_equal(detail_get(s, "local", bad[i], &bytes, &len, &why), OC_BAD_REQUEST);
	}
	assert_int_equal(detail_get(s, "local", "no/such", &bytes, &len, &why), OC_NOT_FOUND);
	assert_int_equal(detail_get(s, "s3:elsewhere", "no/such", &bytes, &len, &why), OC_UNAVAILABLE);
}

static void early_segments_wait_for_their_rows(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store(0);
	AUTO(detail_writer)
	struct detail_writer *w =
		detail_writer_new(&(struct detail_writer_config){ .store = s, .buffer_max = 20000 });
	long long before = objects(s), rows = count("oo_locator");

	(void)state;
	for (unsigned i = 0; i < 2000; i++)
		add(w, tenant, "logs", i, "more than is kept in memory");
	assert_true(objects(s) > before + 2);
	assert_int_equal(count("oo_locator"), rows);
	flush(w);
	assert_int_equal(count("oo_locator") - rows, objects(s) - before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_handed_over_comes_back_by_its_locator),
		cmocka_unit_test(a_trace_is_found_among_many_segments),
		cmocka_unit_test(a_transaction_that_fails_leaves_no_locator_and_its_object_is_swept),
		cmocka_unit_test(a_row_that_expired_takes_its_object_along),
		cmocka_unit_test(full_refuses_detail_and_nothing_else),
		cmocka_unit_test(a_disk_that_ends_in_the_middle_leaves_no_half_object),
		cmocka_unit_test(near_its_quota_the_oldest_go_but_what_is_held_stays),
		cmocka_unit_test(keys_cannot_leave_the_store),
		cmocka_unit_test(early_segments_wait_for_their_rows),
	};
	AUTO(str) char *clean = NULL;
	int rc;

	snprintf(dir, sizeof(dir), "/tmp/opscase-test-detail-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	server = pgtemp_shared();
	pg = pgtemp_open(server->worker);
	tenant = pgtemp_tenant(server, "t-detail");
	other = pgtemp_tenant(server, "t-other");
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	pg_close(pg);
	clean = mem_printf("rm -rf '%s'", dir);
	return system(clean) == 0 ? rc : 1;
}
