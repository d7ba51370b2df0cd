/* http.so, driven as the host would, against a real HTTP server of its own (tests/peer.js). */
#include <opscase/adapter.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "allow.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct opscase_adapter *adapter;
static pid_t peer;
static int port, other_port;
static void *ctx; /* may call 127.0.0.1, any port */

struct sink {
	struct opscase_reply reply;
	int outcome, sent;
	json_t *json;
};

struct answered {
	int outcome;
	json_t *json;
};

static int sink_send(struct opscase_reply *reply, enum opscase_outcome outcome, const char *json)
{
	struct sink *sink = (struct sink *)reply;

	assert_true(strlen(json) <= reply->limit);
	sink->sent++;
	sink->outcome = (int)outcome;
	json_decref(sink->json);
	sink->json = json_loads(json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	return (int)outcome;
}

enum entry { VALIDATE, DRY_RUN, RUN, PROBE, UNDO };

struct given {
	const char *operation, *expected, *secrets;
	void *ctx;
	int64_t deadline_ms;
	size_t limit;
};

/* `%d` in params is the peer's port. */
static struct answered call(enum entry entry, struct given given, const char *params)
{
	int (*entries[])(void *, const struct opscase_action *,
			 struct opscase_reply *) = { adapter->validate, adapter->dry_run, adapter->run,
						     adapter->probe, adapter->undo };
	struct sink sink = {
		.reply = { sizeof sink.reply, given.limit ? given.limit : 262144, sink_send, NULL }
	};
	char filled[16384] = "";
	size_t n = 0;

	for (const char *p = params; *p && n < sizeof filled - 16; p++) {
		if (strncmp(p, "PORT", 4) == 0) {
			bool other = strncmp(p, "PORT2", 5) == 0;

			n += (size_t)snprintf(filled + n, 16, "%d", other ? other_port : port);
			p += other ? 4 : 3;
		} else {
			filled[n++] = *p;
		}
	}
	filled[n] = '\0';
	struct opscase_action act = {
		.size = sizeof act,
		.operation = given.operation ? given.operation : "http.call",
		.params = filled,
		.target = "{}",
		.idempotency_key = KEY,
		.tenant = "t",
		.case_id = "0",
		.decision_id = "",
		.plan_hash = "",
		.expected_binding = given.expected,
		.secrets = given.secrets ? given.secrets : "{}",
		.scratch_dir = "/tmp",
		.deadline_ms = given.deadline_ms ? given.deadline_ms : 20000,
	};
	int r = entries[entry](given.ctx ? given.ctx : ctx, &act, &sink.reply);

	assert_int_equal(sink.sent, 1);
	assert_int_equal(r, sink.outcome);
	assert_true(json_is_object(sink.json));
	return (struct answered){ sink.outcome, sink.json };
}

static const char *text_of(const struct answered *a, const char *name)
{
	const char *text = json_string_value(json_object_get(a->json, name));

	return text ? text : "";
}

#define assert_outcome(a, wanted)                                             \
	do {                                                                  \
		if ((a).outcome != (int)(wanted))                             \
			print_error("answer: %s\n", json_dumps((a).json, 0)); \
		assert_int_equal((a).outcome, (wanted));                      \
	} while (0)

static void expect(enum entry entry, const char *operation, const char *params, enum opscase_outcome outcome,
		   const char *says)
{
	struct answered a = call(entry, (struct given){ .operation = operation }, params);
	char *all = json_dumps(a.json, 0);

	assert_outcome(a, outcome);
	if (says && !strstr(all, says))
		print_error("answer: %s\n", all);
	assert_true(!says || strstr(all, says));
	free(all);
	json_decref(a.json);
}

static int effects(void)
{
	struct answered a = call(RUN, (struct given){ .operation = "http.get" },
				 "{\"url\":\"http://127.0.0.1:PORT/effects\"}");
	int n = atoi(text_of(&a, "body"));

	assert_outcome(a, OPSCASE_DONE);
	json_decref(a.json);
	return n;
}

static void *open_ctx(const char *config)
{
	struct sink sink = {
		.reply = { sizeof sink.reply, 65536, sink_send, NULL }
	};
	void *made = NULL;

	adapter->open(&made, config, &sink.reply);
	json_decref(sink.json);
	return made;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define THING(name)                                                      \
	"{\"url\":\"http://127.0.0.1:PORT/things/" name                  \
	"\",\"method\":\"PUT\",\"body\":\"one\",\"expect_status\":201,"  \
	"\"probe\":{\"url\":\"http://127.0.0.1:PORT/things/" name "\"}," \
	"\"undo\":{\"url\":\"http://127.0.0.1:PORT/things/" name         \
	"\",\"method\":\"DELETE\",\"expect_status\":[200,\"201-204\"]}}"

static void a_get_expects_a_status_and_a_text(void **state)
{
	(void)state;
	expect(RUN, "http.get", "{\"url\":\"http://127.0.0.1:PORT/state\"}", OPSCASE_DONE, "\"changed\": 0");
	expect(RUN, "http.get", "{\"url\":\"http://127.0.0.1:PORT/status/404\",\"expect_status\":[200,404]}",
	       OPSCASE_DONE, "404");
	expect(RUN, "http.get", "{\"url\":\"http://127.0.0.1:PORT/status/404\"}", OPSCASE_FAILED, "refuses");
	expect(RUN, "http.get", "{\"url\":\"http://127.0.0.1:PORT/status/200\",\"contains\":\"status 200\"}",
	       OPSCASE_DONE, NULL);
	expect(RUN, "http.get", "{\"url\":\"http://127.0.0.1:PORT/status/200\",\"contains\":\"green\"}",
	       OPSCASE_FAILED, "does not hold");
	expect(RUN, "http.get", "{\"url\":\"http://127.0.0.1:PORT/echo\",\"method\":\"HEAD\"}", OPSCASE_DONE,
	       NULL);
	expect(VALIDATE, "http.get", "{\"url\":\"http://127.0.0.1:PORT/echo\",\"method\":\"POST\"}",
	       OPSCASE_REFUSED, "http.call");
	expect(PROBE, "http.get", "{\"url\":\"http://127.0.0.1:PORT/status/200\"}", OPSCASE_APPLIED, NULL);
	expect(PROBE, "http.get", "{\"url\":\"http://127.0.0.1:PORT/status/404\"}", OPSCASE_NOT_APPLIED,
	       NULL);
	expect(UNDO, "http.get", "{\"url\":\"http://127.0.0.1:PORT/state\"}", OPSCASE_NOT_APPLIED, NULL);
}

static void a_call_takes_effect_once_and_can_be_probed_and_undone(void **state)
{
	int before = effects();

	(void)state;
	expect(VALIDATE, "http.call", THING("a"), OPSCASE_VALID, NULL);
	expect(DRY_RUN, "http.call", THING("a"), OPSCASE_WOULD_DO, "PUT http://127.0.0.1");
	expect(PROBE, "http.call", THING("a"), OPSCASE_NOT_APPLIED, "\"probe_status\": 404");
	assert_int_equal(effects(), before);
	expect(RUN, "http.call", THING("a"), OPSCASE_DONE, "\"changed\": 1");
	expect(PROBE, "http.call", THING("a"), OPSCASE_APPLIED, "\"probe_etag\"");
	expect(RUN, "http.call", THING("a"), OPSCASE_DONE, "\"already\": true");
	assert_int_equal(effects(), before + 1);
	expect(UNDO, "http.call", THING("a"), OPSCASE_DONE, "\"changed\": 1");
	expect(PROBE, "http.call", THING("a"), OPSCASE_NOT_APPLIED, NULL);
	expect(UNDO, "http.call", THING("a"), OPSCASE_DONE, "\"already\": true");
	assert_int_equal(effects(), before + 2);
	expect(UNDO, "http.call", "{\"url\":\"http://127.0.0.1:PORT/things/a\"}", OPSCASE_NOT_APPLIED,
	       "does not say");
	expect(PROBE, "http.call", "{\"url\":\"http://127.0.0.1:PORT/things/a\"}", OPSCASE_UNCLEAR,
	       "no probe");
}

static void a_world_that_changed_is_left_alone(void **state)
{
	int before = effects();
	struct answered a =
		call(RUN, (struct given){ .expected = "{\"probe_status\":200,\"probe_etag\":\"\\\"9\\\"\"}" },
		     THING("w"));

	(void)state;
	assert_outcome(a, OPSCASE_WORLD_CHANGED);
	json_decref(a.json);
	assert_int_equal(effects(), before);
}

static void the_key_travels_in_a_header(void **state)
{
	(void)state;
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/echo\"}", OPSCASE_DONE,
	       "idempotency-key\\\":\\\"" KEY);
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/echo\",\"key_header\":\"X-Request-Id\"}",
	       OPSCASE_DONE, "x-request-id\\\":\\\"" KEY);
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/echo\",\"body\":{\"id\":\"{idempotency_key}\"}}",
	       OPSCASE_DONE, "\\\"id\\\\\\\":\\\\\\\"" KEY);
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/echo\",\"body\":{\"a\":1}}", OPSCASE_DONE,
	       "application/json");
}

static void statuses_mean_what_they_say(void **state)
{
	(void)state;
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/202\",\"expect_status\":\"200-201\"}",
	       OPSCASE_FAILED, "otherwise");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/400\"}", OPSCASE_FAILED, "400");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/409\"}", OPSCASE_FAILED, "conflict");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/425\"}", OPSCASE_NOT_APPLIED, "too early");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/429\"}", OPSCASE_NOT_APPLIED,
	       "\"retry_after\": \"7\"");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/500\"}", OPSCASE_FAILED, "500");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/502\"}", OPSCASE_UNCLEAR, "not known");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/503\"}", OPSCASE_FAILED, "not available");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/status/504\"}", OPSCASE_UNCLEAR, "not known");
	/* A probe that is shut out or broken says nothing about the effect. */
	expect(PROBE, NULL,
	       "{\"url\":\"http://127.0.0.1:PORT/x\",\"probe\":{\"url\":\"http://127.0.0.1:PORT/status/403\"}}",
	       OPSCASE_UNCLEAR, "says nothing");
	expect(RUN, NULL,
	       "{\"url\":\"http://127.0.0.1:PORT/echo\",\"probe\":{\"url\":\"http://127.0.0.1:PORT/status/503\"}}",
	       OPSCASE_NOT_APPLIED, "nothing was done");
}

static void refused_connections_are_not_applied(void **state)
{
	(void)state;
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:1/\"}", OPSCASE_NOT_APPLIED, "nothing was sent");
	expect(PROBE, NULL,
	       "{\"url\":\"http://127.0.0.1:PORT/\",\"probe\":{\"url\":\"http://127.0.0.1:1/\"}}",
	       OPSCASE_UNCLEAR, NULL);
	expect(RUN, NULL, "{\"url\":\"https://127.0.0.1:PORT/\"}", OPSCASE_NOT_APPLIED,
	       "nothing was sent"); /* no TLS there */
}

static void an_answer_that_does_not_come_is_unclear(void **state)
{
	(void)state;
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/slow\",\"timeout_s\":1}", OPSCASE_UNCLEAR,
	       "no answer came");
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/drop\"}", OPSCASE_UNCLEAR, "no answer came");
	/* With a status it is known, even if the body got stuck. */
	expect(RUN, NULL, "{\"url\":\"http://127.0.0.1:PORT/stall\",\"timeout_s\":1}", OPSCASE_DONE,
	       "\"cut\": true");
}

static void the_deadline_of_the_step_holds(void **state)
{
	int64_t began = now_ms();
	struct answered a = call(RUN, (struct given){ .deadline_ms = 500 },
				 "{\"url\":\"http://127.0.0.1:PORT/slow\",\"timeout_s\":60}");

	(void)state;
	assert_outcome(a, OPSCASE_UNCLEAR);
	assert_true(now_ms() - began < 2000);
	json_decref(a.json);
}

static void *cancel_soon(void *arg)
{
	struct timespec pause = { 0, 300000000 };

	(void)arg;
	nanosleep(&pause, NULL);
	adapter->cancel(ctx);
	return NULL;
}

static void a_cancel_ends_the_waiting_and_the_next_call_works(void **state)
{
	int64_t began = now_ms();
	struct answered a;
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, cancel_soon, NULL);
	a = call(RUN, (struct given){ .deadline_ms = 60000 },
		 "{\"url\":\"http://127.0.0.1:PORT/slow\",\"timeout_s\":60}");
	pthread_join(t, NULL);
	assert_outcome(a, OPSCASE_UNCLEAR);
	assert_non_null(strstr(text_of(&a, "error"), "cancelled"));
	assert_true(now_ms() - began < 2000);
	json_decref(a.json);
	effects();
}

static void long_answers_are_cut_and_broken_ones_mended(void **state)
{
	struct answered a = call(RUN, (struct given){ .operation = "http.get" },
				 "{\"url\":\"http://127.0.0.1:PORT/big\"}");

	(void)state;
	assert_outcome(a, OPSCASE_DONE);
	assert_int_equal(strlen(text_of(&a, "body")), 65536);
	assert_true(json_is_true(json_object_get(a.json, "cut")));
	json_decref(a.json);
	a = call(RUN, (struct given){ .operation = "http.get", .limit = 16384 },
		 "{\"url\":\"http://127.0.0.1:PORT/endless\"}");
	assert_outcome(a, OPSCASE_DONE);
	json_decref(a.json);
	a = call(RUN, (struct given){ .operation = "http.get" },
		 "{\"url\":\"http://127.0.0.1:PORT/binary\"}");
	assert_outcome(a, OPSCASE_DONE);
	assert_string_equal(text_of(&a, "body"), "a??b?");
	json_decref(a.json);
}

static void secrets_reach_the_service_and_nobody_else(void **state)
{
	static const char *const params =
		"{\"url\":\"http://127.0.0.1:PORT/echo\",\"headers\":{\"Authorization\":"
		"{\"secret\":\"token\",\"prefix\":\"Bearer \"},\"X-Plain\":\"p\"}}";
	struct given with = { .secrets = "{\"token\":\"s3cr3t-value\"}" };
	struct answered a = call(RUN, with, params);
	char *all = json_dumps(a.json, 0);

	(void)state;
	assert_outcome(a, OPSCASE_DONE);
	assert_non_null(strstr(all, "Bearer ************"));
	assert_null(strstr(all, "s3cr3t"));
	free(all);
	json_decref(a.json);
	a = call(DRY_RUN, with, params);
	all = json_dumps(a.json, 0);
	assert_outcome(a, OPSCASE_WOULD_DO);
	assert_non_null(strstr(all, "Bearer <secret token>"));
	assert_null(strstr(all, "s3cr3t"));
	free(all);
	json_decref(a.json);
	expect(RUN, NULL, params, OPSCASE_REFUSED, "was not given");
	a = call(RUN, (struct given){ .secrets = "{\"token\":\"a\\r\\nX-Evil: 1\"}" }, params);
	assert_outcome(a, OPSCASE_REFUSED);
	assert_null(strstr(text_of(&a, "error"), "Evil"));
	json_decref(a.json);
}

static void redirects_are_followed_only_when_asked(void **state)
{
	struct answered a;
	char *all;

	(void)state;
	expect(RUN, "http.get", "{\"url\":\"http://127.0.0.1:PORT/redirect/302?to=/echo\"}", OPSCASE_FAILED,
	       "points elsewhere");
	expect(RUN, "http.get", "{\"url\":\"http://127.0.0.1:PORT/redirect/302?to=/echo\",\"follow\":1}",
	       OPSCASE_DONE, "/echo");
	expect(RUN, NULL,
	       "{\"url\":\"http://127.0.0.1:PORT/redirect/307?to=/echo\",\"follow\":1,\"body\":\"b\"}",
	       OPSCASE_DONE, "\\\"method\\\":\\\"POST\\\"");
	expect(RUN, NULL,
	       "{\"url\":\"http://127.0.0.1:PORT/redirect/303?to=/echo\",\"follow\":1,\"body\":\"b\"}",
	       OPSCASE_DONE, "\\\"method\\\":\\\"GET\\\"");
	expect(RUN, "http.get",
	       "{\"url\":\"http://127.0.0.1:PORT/redirect/302?to=http%3A%2F%2Fexample.net%2F\",\"follow\":3}",
	       OPSCASE_FAILED, "points elsewhere");
	expect(RUN, "http.get",
	       "{\"url\":\"http://127.0.0.1:PORT/redirect/302?to=file%3A%2F%2F%2Fetc%2Fpasswd\",\"follow\":3}",
	       OPSCASE_FAILED, NULL);
	/* Another port is another place: secrets stay at home. */
	a = call(RUN, (struct given){ .operation = "http.get", .secrets = "{\"token\":\"s3cr3t-value\"}" },
		 "{\"url\":\"http://127.0.0.1:PORT/redirect/302?to=http%3A%2F%2F127.0.0.1%3APORT2%2Fecho\",\"follow\":1,"
		 "\"headers\":{\"Authorization\":{\"secret\":\"token\"},\"X-Plain\":\"p\"}}");
	all = json_dumps(a.json, 0);
	assert_outcome(a, OPSCASE_DONE);
	assert_non_null(strstr(all, "x-plain"));
	assert_null(strstr(all, "authorization"));
	free(all);
	json_decref(a.json);
}

static void expect_with(void *with, enum entry entry, const char *params, enum opscase_outcome outcome,
			const char *says)
{
	struct answered a = call(entry, (struct given){ .ctx = with }, params);

	assert_outcome(a, outcome);
	if (says)
		assert_non_null(strstr(text_of(&a, "error"), says));
	json_decref(a.json);
}

static void only_listed_destinations_are_called(void **state)
{
	void *nothing = open_ctx("{}"),
	     *named = open_ctx("{\"allow\":[\"localhost\",\"api.example.net:443\"]}");
	void *both = open_ctx("{\"allow\":[\"127.0.0.0/8\"]}");
	int before = effects();

	(void)state;
	expect_with(nothing, VALIDATE, "{\"url\":\"http://127.0.0.1:PORT/slow\"}", OPSCASE_REFUSED,
		    "to `allow` in the settings");
	expect_with(nothing, RUN, "{\"url\":\"http://127.0.0.1:PORT/slow\"}", OPSCASE_REFUSED,
		    "to `allow` in the settings");
	expect_with(named, VALIDATE, "{\"url\":\"http://api.example.net/\"}", OPSCASE_REFUSED,
		    "api.example.net:80");
	expect_with(named, VALIDATE, "{\"url\":\"https://api.example.net/\"}", OPSCASE_VALID, NULL);
	expect_with(named, VALIDATE, "{\"url\":\"http://127.0.0.1:PORT/slow\"}", OPSCASE_REFUSED, NULL);
	expect_with(named, VALIDATE, "{\"url\":\"http://2130706433:PORT/slow\"}", OPSCASE_REFUSED,
		    NULL); /* 127.0.0.1 as a number */
	/* The name is listed, but where it leads is not: this is what a bent name looks like. */
	expect_with(named, RUN, "{\"url\":\"http://localhost:PORT/slow\"}", OPSCASE_REFUSED,
		    "which is not on the allow-list");
	expect_with(both, RUN, "{\"url\":\"http://localhost:PORT/echo\"}", OPSCASE_DONE, NULL);
	assert_int_equal(effects(), before);
	adapter->close(nothing);
	adapter->close(named);
	adapter->close(both);
	assert_null(open_ctx("{\"allow\":[\"http://x/\"]}"));
	assert_null(open_ctx("{\"allow\":[7]}"));
	assert_null(open_ctx("[]"));
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"url\":7}",
		"{\"url\":\"ftp://127.0.0.1/\"}",
		"{\"url\":\"http://u:p@127.0.0.1:PORT/\"}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"method\":\"TRACE\"}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"method\":\"GET\",\"body\":\"x\"}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"headers\":{\"Host\":\"x\"}}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"headers\":{\"A\\r\\nB\":\"x\"}}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"headers\":{\"A\":\"x\\nB: y\"}}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"headers\":{\"A\":7}}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"expect_status\":\"2xx\"}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"expect_status\":[]}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"probe\":{\"url\":\"gopher://127.0.0.1/\"}}",
		"{\"url\":\"http://127.0.0.1:PORT/\",\"undo\":{\"url\":\"http://elsewhere.example/\",\"body\":\"x\",\"method\":\"GET\"}}",
		"[]",
		"not json",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		expect(VALIDATE, NULL, bad[i], OPSCASE_REFUSED, NULL);
}

static bool may(const struct allow *list, const char *host, int to_port, const char *address)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, address, &four.sin_addr) == 1)
		return allow_address(list, host, to_port, (struct sockaddr *)&four);
	assert_int_equal(inet_pton(AF_INET6, address, &six.sin6_addr), 1);
	return allow_address(list, host, to_port, (struct sockaddr *)&six);
}

static void the_list_is_read_as_people_mean_it(void **state)
{
	json_t *list = json_pack("[s,s,s,s,s,s]", "api.example.net", "*.Svc.Internal:8080", "10.1.0.0/16",
				 "[fd00::]/8:443", "192.0.2.7:80", "2001:db8::1");
	struct allow a;
	char why[256];

	(void)state;
	assert_true(allow_read(list, &a, why, sizeof why));
	assert_true(may(&a, "API.example.net.", 443, "203.0.113.1"));
	assert_true(may(&a, "api.example.net", 443,
			"10.200.0.1")); /* a private address of a listed name is usual */
	assert_false(may(&a, "api.example.net", 443, "127.0.0.1"));
	assert_false(may(&a, "api.example.net", 443, "169.254.169.254"));
	assert_false(may(&a, "api.example.net", 443, "::1"));
	assert_false(may(&a, "api.example.net", 443, "::ffff:127.0.0.1"));
	assert_false(may(&a, "api.example.net", 443, "64:ff9b::7f00:1"));
	assert_false(may(&a, "api.example.net", 443, "fe80::1"));
	assert_false(may(&a, "xapi.example.net", 443, "203.0.113.1"));
	assert_false(may(&a, "api.example.net.evil.net", 443, "203.0.113.1"));
	assert_true(may(&a, "db.svc.internal", 8080, "172.16.0.9"));
	assert_false(may(&a, "db.svc.internal", 8081, "172.16.0.9"));
	assert_false(may(&a, "svc.internal", 8080, "172.16.0.9"));
	assert_false(may(&a, "dbsvc.internal", 8080, "172.16.0.9"));
	assert_true(may(&a, "any.example.org", 22, "10.1.255.255"));
	assert_true(may(&a, "any.example.org", 22, "::ffff:10.1.2.3"));
	assert_false(may(&a, "any.example.org", 22, "10.2.0.0"));
	assert_true(may(&a, "x", 443, "fdab::1"));
	assert_false(may(&a, "x", 80, "fdab::1"));
	assert_false(may(&a, "x", 443, "fc00::1"));
	assert_true(may(&a, "192.0.2.7", 80, "192.0.2.7"));
	assert_false(may(&a, "192.0.2.7", 81, "192.0.2.7"));
	assert_true(may(&a, "x", 1, "2001:db8::1"));
	allow_done(&a);
	json_decref(list);
	static const char *const bad[] = { "",           "a b",    "10.0.0.0/33", "::/129", "host:0",
					   "host:99999", "host/8", "*.",          "a:b:c",  "http://a" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		list = json_pack("[s]", bad[i]);
		assert_false(allow_read(list, &a, why, sizeof why));
		json_decref(list);
	}
}

static int start_peer(void **state)
{
	int pipes[2];
	FILE *in;

	(void)state;
	if (pipe(pipes) != 0 || (peer = fork()) < 0)
		return -1;
	if (peer == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(pipes[1], 1);
		unsetenv("LD_PRELOAD");
		execlp("node", "node", HTTP_PEER, (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	in = fdopen(pipes[0], "r");
	if (!in || fscanf(in, "%d %d", &port, &other_port) != 2)
		return -1;
	fclose(in);
	ctx = open_ctx("{\"allow\":[\"127.0.0.1\"]}");
	return ctx ? 0 : -1;
}

static int stop_peer(void **state)
{
	(void)state;
	adapter->close(ctx);
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_list_is_read_as_people_mean_it),
		cmocka_unit_test(a_get_expects_a_status_and_a_text),
		cmocka_unit_test(a_call_takes_effect_once_and_can_be_probed_and_undone),
		cmocka_unit_test(a_world_that_changed_is_left_alone),
		cmocka_unit_test(the_key_travels_in_a_header),
		cmocka_unit_test(statuses_mean_what_they_say),
		cmocka_unit_test(refused_connections_are_not_applied),
		cmocka_unit_test(an_answer_that_does_not_come_is_unclear),
		cmocka_unit_test(the_deadline_of_the_step_holds),
		cmocka_unit_test(a_cancel_ends_the_waiting_and_the_next_call_works),
		cmocka_unit_test(long_answers_are_cut_and_broken_ones_mended),
		cmocka_unit_test(secrets_reach_the_service_and_nobody_else),
		cmocka_unit_test(redirects_are_followed_only_when_asked),
		cmocka_unit_test(only_listed_destinations_are_called),
		cmocka_unit_test(what_makes_no_sense_is_refused),
	};
	void *so = dlopen(HTTP_SO, RTLD_NOW | RTLD_LOCAL);

	signal(SIGPIPE, SIG_IGN);
	adapter = so ? dlsym(so, "opscase_adapter") : NULL;
	if (!adapter) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	return cmocka_run_group_tests_name("http", tests, start_peer, stop_peer);
}
