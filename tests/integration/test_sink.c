/* Sinks against peers that answer, refuse, fail for a while, and swallow answers. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/metrics.h"
#include "detail/sink.h"
#include "detail/writer.h"
#include "wire/http/client.h"
#include "wire/json/json.h"

#define PATIENCE 60000 /* of a slow machine */

static pid_t peer;
static char url[64];

static json_t *peer_says(const char *method, const char *path)
{
	AUTO(http_client)
	struct http_client *c = http_client_new(&(struct http_client_config){ .base_url = url });
	struct http_answer a = { 0 };
	struct oc_fail why = { 0 };
	json_t *doc;

	if (http_client_call(c, method, path, NULL, NULL, &a, &why) != OC_OK)
		fail_msg("%s", why.text);
	doc = json_loads(a.body, 0, NULL);
	http_answer_done(&a);
	return doc;
}

static int start(void **state)
{
	int out[2];
	FILE *from;

	(void)state;
	if (pipe(out) != 0)
		return -1;
	peer = fork();
	if (peer == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], 1);
		close(out[0]);
		execlp("python3", "python3", OPSCASE_SOURCE_DIR "/tests/peers/sinks.py", (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	from = fdopen(out[0], "r");
	url[0] = '\0';
	if (from && fgets(url, sizeof(url), from)) {
		int port = atoi(url);

		snprintf(url, sizeof(url), "http://127.0.0.1:%d", port);
	}
	if (from)
		fclose(from);
	return url[0] ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	return 0;
}

static struct sink *sink_to(enum sink_kind kind, const char *table, const char *password, size_t queue)
{
	struct sink_config c = { .kind = kind,
				 .url = url,
				 .table = table,
				 .user = "writer",
				 .password = password,
				 .batch_bytes = 4000,
				 .queue_bytes = queue,
				 .flush_ms = 20,
				 .pause_ms = 5,
				 .pause_max_ms = 50 };
	struct sink *s = NULL;
	struct oc_fail why = { 0 };

	if (sink_start(&c, &s, &why) != OC_OK)
		fail_msg("%s", why.text);
	return s;
}

static void add(struct sink *s, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		AUTO(str)
		char *line = mem_printf("{\"time_us\":%u,\"body\":\"line \\\"%u\\\"\"}", 1000 + i, i);

		sink_add(s, "t-1", 1000 + i, line, strlen(line));
	}
}

static double counted(const char *sink, const char *result)
{
	return metric_read(M_SINK_RECORDS, sink, result, NULL);
}

static void every_record_arrives_once_in_clickhouse(void **state)
{
	struct sink *s = sink_to(SINK_CLICKHOUSE, "logs.raw", "secret", 0);
	double sent = counted("clickhouse", "sent");

	(void)state;
	add(s, 0, 1000);
	assert_true(sink_drain(s, PATIENCE));
	{
		AUTO(json) json_t *got = peer_says("GET", "/state");
		const json_t *taken = json_object_get(got, "taken");

		assert_int_equal(json_array_size(taken), 1000);
		assert_string_equal(json_str(json_array_get(taken, 7), "tenant"), "t-1");
		assert_int_equal(json_int_or(json_array_get(taken, 7), "time_us", 0), 1007);
		assert_string_equal(json_str(json_array_get(taken, 999), "body"), "line \"999\"");
		/* in batches */
		assert_in_range(json_int_or(got, "requests", 0), 2, 200);
	}
	assert_true(counted("clickhouse", "sent") == sent + 1000);
	sink_stop(s, 1000);
}

static void what_fails_for_a_while_is_sent_again(void **state)
{
	static const char *const modes[] = { "503", "429" };
	double retries = metric_read(M_SINK_RETRIES, "clickhouse", NULL, NULL);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		AUTO(str) char *control = mem_printf("/control?mode=%s&times=4", modes[i]);
		struct sink *s = sink_to(SINK_CLICKHOUSE, "logs.raw", "secret", 0);

		json_decref(peer_says("POST", control));
		add(s, (unsigned)i * 100, (unsigned)i * 100 + 100);
		assert_true(sink_drain(s, PATIENCE));
		sink_stop(s, 1000);
	}
	{
		AUTO(json) json_t *got = peer_says("GET", "/state");

		assert_int_equal(json_array_size(json_object_get(got, "taken")), 200);
	}
	assert_true(metric_read(M_SINK_RETRIES, "clickhouse", NULL, NULL) == retries + 8);
}

static void an_answer_that_is_lost_doubles_nothing(void **state)
{
	struct sink *s = sink_to(SINK_CLICKHOUSE, "logs.raw", "secret", 0);
	AUTO(json) json_t *got = NULL;

	(void)state;
	json_decref(peer_says("POST", "/control?mode=swallow&times=2"));
	add(s, 0, 20);
	assert_true(sink_drain(s, PATIENCE));
	got = peer_says("GET", "/state");
	assert_int_equal(json_array_size(json_object_get(got, "taken")), 20);
	assert_true(json_int_or(got, "repeated", 0) >= 1);
	sink_stop(s, 1000);
}

static void what_is_refused_is_counted_and_does_not_stop_the_rest(void **state)
{
	struct sink *s = sink_to(SINK_CLICKHOUSE, "logs.raw", "secret", 0);
	double refused = counted("clickhouse", "refused");
	AUTO(json) json_t *got = NULL;

	(void)state;
	json_decref(peer_says("POST", "/control?mode=400&times=1"));
	add(s, 0, 10);
	assert_true(sink_drain(s, PATIENCE));
	add(s, 10, 20);
	assert_true(sink_drain(s, PATIENCE));
	got = peer_says("GET", "/state");
	assert_int_equal(json_array_size(json_object_get(got, "taken")), 10);
	assert_true(counted("clickhouse", "refused") == refused + 10);
	sink_stop(s, 1000);
}

static void openobserve_gets_its_timestamps_and_says_what_it_refused(void **state)
{
	struct sink *s = sink_to(SINK_OPENOBSERVE, "default/raw", "secret", 0);
	double sent = counted("openobserve", "sent"), refused = counted("openobserve", "refused");
	AUTO(json) json_t *got = NULL;

	(void)state;
	json_decref(peer_says("POST", "/control?mode=part&times=1"));
	add(s, 0, 10);
	assert_true(sink_drain(s, PATIENCE));
	got = peer_says("GET", "/state");
	assert_int_equal(json_array_size(json_object_get(got, "taken")), 9);
	assert_int_equal(json_int_or(json_array_get(json_object_get(got, "taken"), 0), "_timestamp", 0),
			 1001);
	assert_true(counted("openobserve", "sent") == sent + 9);
	assert_true(counted("openobserve", "refused") == refused + 1);
	sink_stop(s, 1000);
}

static void a_full_queue_drops_what_comes_and_counts_it(void **state)
{
	struct sink *s = sink_to(SINK_CLICKHOUSE, "logs.raw", "secret", 10000);
	double full = counted("clickhouse", "full"), stopped = counted("clickhouse", "stopped"),
	       sent = counted("clickhouse", "sent");

	(void)state;
	json_decref(peer_says("POST", "/control?mode=503&times=1000000"));
	add(s, 0, 1000);
	sink_stop(s, 50);
	assert_true(counted("clickhouse", "full") > full);
	/* nothing is lost without a count */
	assert_true(counted("clickhouse", "full") - full + counted("clickhouse", "stopped") - stopped +
			    counted("clickhouse", "sent") - sent ==
		    1000);
}

static void a_sink_gets_what_is_committed_and_nothing_else(void **state)
{
	char dir[] = "/tmp/opscase-test-sink-XXXXXX";
	struct sink *sinks[] = { sink_to(SINK_CLICKHOUSE, "logs.raw", "secret", 0), NULL };
	AUTO(detail_store) struct detail_store *store = NULL;
	AUTO(detail_writer) struct detail_writer *w = NULL;
	AUTO(json) json_t *got = NULL;
	AUTO(str) char *clean = NULL;
	struct oc_fail why = { 0 };
	const char *const lines[] = { "{\"time_us\":1,\"body\":\"comes again\"}",
				      "{\"time_us\":2,\"body\":\"stays\"}",
				      "{\"time_us\":3,\"body\":\"a span\"}" };

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(detail_store_open(&(struct detail_store_config){ .dir = dir, .sinks = sinks },
					   &store, &why),
			 OC_OK);
	w = detail_writer_new(&(struct detail_writer_config){ .store = store });
	for (int i = 0; i < 3; i++) {
		detail_add(w, 1, "t-1", i == 2 ? "traces" : "logs",
			   &(struct detail_record){
				   .time_us = i + 1, .line = lines[i], .len = strlen(lines[i]) });
		if (i == 0)
			detail_forget(w); /* the transaction failed */
	}
	detail_committed(w);
	detail_committed(w);
	assert_true(sink_drain(sinks[0], PATIENCE));
	got = peer_says("GET", "/state");
	assert_int_equal(json_array_size(json_object_get(got, "taken")), 1);
	assert_string_equal(json_str(json_array_get(json_object_get(got, "taken"), 0), "body"), "stays");
	sink_stop(sinks[0], 1000);
	clean = mem_printf("rm -rf '%s'", dir);
	assert_int_equal(system(clean), 0);
}

static void a_table_that_is_none_is_said_at_the_start(void **state)
{
	static const struct sink_config bad[] = {
		{ .kind = SINK_CLICKHOUSE, .url = "http://x", .table = "logs; DROP TABLE x" },
		{ .kind = SINK_CLICKHOUSE, .url = "http://x" },
		{ .kind = SINK_OPENOBSERVE, .url = "http://x", .table = "no-stream" },
		{ .kind = SINK_OPENOBSERVE, .table = "a/b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct sink *s = NULL;
		struct oc_fail why = { 0 };

		assert_int_equal(sink_start(&bad[i], &s, &why), OC_INVALID);
		assert_true(why.field[0] != '\0');
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_record_arrives_once_in_clickhouse),
		T(what_fails_for_a_while_is_sent_again),
		T(an_answer_that_is_lost_doubles_nothing),
		T(what_is_refused_is_counted_and_does_not_stop_the_rest),
		T(openobserve_gets_its_timestamps_and_says_what_it_refused),
		T(a_sink_gets_what_is_committed_and_nothing_else),
		T(a_full_queue_drops_what_comes_and_counts_it),
		cmocka_unit_test(a_table_that_is_none_is_said_at_the_start),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
