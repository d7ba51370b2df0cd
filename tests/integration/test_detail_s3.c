/* The detail store in a bucket: signed requests to a real S3 server, and what happens while it says 503. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "detail/read.h"
#include "detail/sweep.h"
#include "detail/writer.h"
#include "tests/support/pgtemp.h"

#define T0   INT64_C(1790000000000000)
#define HOUR INT64_C(3600000000)

static struct pgtemp *db;
static struct pg *pg;
static long long tenant;
static char dir[] = "/tmp/opscase-test-s3-XXXXXX", url[64];
static FILE *to_peer, *from_peer;
static pid_t peer;

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

static void say(const char *word)
{
	char line[32] = "";

	fprintf(to_peer, "%s\n", word);
	fflush(to_peer);
	assert_non_null(fgets(line, sizeof(line), from_peer));
}

static struct detail_store *open_store(const char *secret, const char *prefix, bool with_folder)
{
	AUTO(str) char *local = mem_printf("%s/local", dir);
	struct detail_store *s = NULL;
	struct oc_fail why = { 0 };

	must(detail_store_open(&(struct detail_store_config){ .dir = with_folder ? local : NULL,
							      .s3_url = url,
							      .s3_bucket = "detail",
							      .s3_key_id = "S3RVER",
							      .s3_secret = secret,
							      .s3_prefix = prefix },
			       &s, &why),
	     &why);
	return s;
}

static bool count_object(void *ctx, const struct detail_object *o)
{
	(void)o;
	++*(long long *)ctx;
	return true;
}

static long long objects(struct detail_store *s)
{
	struct oc_fail why = { 0 };
	long long n = 0;

	must(detail_each(s, count_object, &n, &why), &why);
	return n;
}

static void what_is_put_is_got_listed_and_deleted(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store("S3RVER", "opscase/", false);
	AUTO(bytes) unsigned char *bytes = NULL;
	AUTO(str) char *big = mem_alloc(300001);
	const char *bucket = NULL, *key = "t-1/logs/2026/01/02/03/an & odd=key+~.jsonl.zst";
	struct oc_fail why = { 0 };
	size_t len = 0;

	(void)state;
	for (size_t i = 0; i < 300000; i++)
		big[i] = (char)(i * 31 ^ i >> 7);
	assert_int_equal(detail_put(s, key, big, 300000, &bucket, &why),
			 OC_BAD_REQUEST); /* blanks are no part of a key */
	key = "t-1/logs/2026/01/02/03/an&odd=key+~.jsonl.zst";
	must(detail_put(s, key, big, 300000, &bucket, &why), &why);
	assert_string_equal(bucket, "s3:detail");
	must(detail_get(s, bucket, key, &bytes, &len, &why), &why);
	assert_int_equal(len, 300000);
	assert_memory_equal(bytes, big, len);
	assert_int_equal(objects(s), 1);
	free(TAKE(bytes));
	assert_int_equal(detail_get(s, bucket, "no/such", &bytes, &len, &why), OC_NOT_FOUND);
	must(detail_delete(s, bucket, key, &why), &why);
	must(detail_delete(s, bucket, key, &why), &why);
	assert_int_equal(objects(s), 0);
}

static void a_wrong_key_is_refused_by_the_server(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store("not the secret", "", false);
	const char *bucket;
	struct oc_fail why = { 0 };

	(void)state;
	assert_int_equal(detail_put(s, "t-1/x", "y", 1, &bucket, &why), OC_UNAVAILABLE);
	assert_non_null(strstr(why.text, "SignatureDoesNotMatch"));
}

static void lists_of_many_pages_are_read_to_their_end(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store("S3RVER", "many/", false);
	const char *bucket;
	struct oc_fail why = { 0 };
	char key[64];

	(void)state;
	/* a page has a thousand */
	for (int i = 0; i < 1050; i++) {
		snprintf(key, sizeof(key), "t-1/logs/%d", i);
		must(detail_put(s, key, "x", 1, &bucket, &why), &why);
	}
	assert_int_equal(objects(s), 1050);
}

static bool take(void *ctx, const char *line, size_t len)
{
	text_add_n(ctx, line, len);
	return true;
}

static void while_it_says_503_the_folder_takes_what_the_bucket_gets_later(void **state)
{
	AUTO(detail_store) struct detail_store *s = open_store("S3RVER", "spill/", true);
	AUTO(detail_store) struct detail_store *again = open_store("S3RVER", "spill/", true);
	AUTO(detail_writer)
	struct detail_writer *w = detail_writer_new(&(struct detail_writer_config){ .store = s });
	static const char line[] = "{\"time_us\":1790000000000000,\"body\":\"kept\"}";
	struct detail_record r = { .time_us = T0, .line = line, .len = sizeof(line) - 1 };
	AUTO(detail_row) struct detail_row row = { 0 };
	AUTO(text) struct text got = { 0 };
	double spilled = metric_read(M_DETAIL_SPILLED, NULL, NULL, NULL);
	struct detail_swept swept;
	struct segment_said said;
	struct oc_fail why = { 0 };
	long long id;

	(void)state;
	say("fail");
	detail_add(w, tenant, "t-s3", "logs", &r);
	must(detail_flush(w, pg, &why), &why);
	id = detail_locator(w, tenant, "logs");
	must(detail_row_read(pg, tenant, id, &row, &why), &why);
	assert_string_equal(row.bucket, "local");
	assert_true(metric_read(M_DETAIL_SPILLED, NULL, NULL, NULL) == spilled + 1);
	must(detail_lines(s, &row, &(struct segment_ask){ 0 }, take, &got, &said, &why), &why);
	assert_string_equal(text_str(&got), line);
	detail_row_done(&row);
	say("ok");
	/* another store, as the first one still gives the bucket its rest */
	must(detail_sweep(again, pg, clock_wall_us(), HOUR, &swept, &why), &why);
	assert_int_equal(swept.moved, 1);
	must(detail_row_read(pg, tenant, id, &row, &why), &why);
	assert_string_equal(row.bucket, "s3:detail");
	got.len = 0;
	must(detail_lines(again, &row, &(struct segment_ask){ 0 }, take, &got, &said, &why), &why);
	assert_int_equal(said.lines, 1);
	assert_int_equal(objects(again), 1);
	/* what no row knows goes from the bucket as well */
	must(pg_script(pg, "DELETE FROM oo_locator", &why), &why);
	must(detail_sweep(again, pg, clock_wall_us() + 2 * HOUR, HOUR, &swept, &why), &why);
	assert_int_equal(swept.unknown, 1);
	assert_int_equal(objects(again), 0);
}

/* True when the peer runs. */
static bool start(void)
{
	int in[2], out[2];
	char line[200] = "";

	if (pipe(in) != 0 || pipe(out) != 0)
		abort();
	peer = fork();
	if (peer == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execl("/bin/bash", "bash", OPSCASE_SOURCE_DIR "/tests/peers/s3.sh", dir, "detail",
		      (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	to_peer = fdopen(in[1], "w");
	from_peer = fdopen(out[0], "r");
	if (!fgets(line, sizeof(line), from_peer))
		snprintf(line, sizeof(line), "skip the S3 server did not start\n");
	if (strncmp(line, "port ", 5) != 0) {
		printf("skipped: %s", line + (strncmp(line, "skip ", 5) == 0 ? 5 : 0));
		return false;
	}
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", atoi(line + 5));
	return true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_is_got_listed_and_deleted),
		cmocka_unit_test(a_wrong_key_is_refused_by_the_server),
		cmocka_unit_test(lists_of_many_pages_are_read_to_their_end),
		cmocka_unit_test(while_it_says_503_the_folder_takes_what_the_bucket_gets_later),
	};
	AUTO(str) char *clean = NULL;
	int rc = 0;

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		return 1;
	if (start()) {
		db = pgtemp_shared();
		pg = pgtemp_open(db->worker);
		tenant = pgtemp_tenant(db, "t-s3");
		rc = cmocka_run_group_tests(tests, NULL, NULL);
		pg_close(pg);
	}
	fclose(to_peer);
	fclose(from_peer);
	kill(peer, SIGTERM); /* others may still hold its standard input */
	waitpid(peer, NULL, 0);
	clean = mem_printf("rm -rf '%s'", dir);
	return system(clean) == 0 ? rc : 1;
}
