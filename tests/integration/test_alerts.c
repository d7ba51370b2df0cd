/* Other people's alerts through the real API on a real PostgreSQL, sent by a real Alertmanager where there is one. */
#include "tests/integration/rig.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "analyst/opener.h"
#include "api/api.h"
#include "api/waiters.h"
#include "apps/opscased/case_door.h"
#include "base/hash.h"
#include "store/token.h"
#include "wire/http/client.h"

#define ALERTMANAGER "/usr/bin/prometheus-alertmanager"

static struct api *api;
static struct waiters *waiters;
static struct pg_pool *api_pool, *worker_pool;
static char token[TOKEN_TEXT], viewer[TOKEN_TEXT], url[64];

static enum oc_err secret(void *ctx, const char *of_tenant, const char *sender, char **ret,
			  struct oc_fail *reterr)
{
	(void)ctx;
	if (!str_eq(of_tenant, "t-alerts") || !str_eq(sender, "grafana"))
		return oc_fail(reterr, OC_NOT_FOUND, "none");
	*ret = mem_strdup("hush");
	return OC_OK;
}

static int post(const char *bearer, const char *path, const char *const *headers, const char *body,
		json_t **ret)
{
	AUTO(http_client)
	struct http_client *c =
		http_client_new(&(struct http_client_config){ .base_url = url, .bearer = bearer });
	struct http_answer a = { 0 };
	struct oc_fail fail = { 0 };
	int status;

	if (http_client_call(c, "POST", path, headers, body, &a, &fail) != OC_OK)
		fail_msg("%s: %s", path, fail.text);
	status = a.status;
	if (ret)
		assert_int_equal(json_read_own(a.body, ret, &fail), OC_OK);
	http_answer_done(&a);
	return status;
}

static int number(const json_t *doc, const char *name)
{
	return (int)json_int_or(json_object_get(doc, "data"), name, -1);
}

static int begin(void **state)
{
	static const struct api_ready ready[] = { { 0 } };
	struct api_deps deps = { .version = "test", .ready = ready, .webhook_secret = secret };
	struct oc_fail fail = { 0 };
	char id[UUID_TEXT];

	(void)state;
	db = pgtemp_shared();
	pg = pgtemp_open(db->worker);
	tenant = pgtemp_tenant(db, "t-alerts");
	assert_int_equal(token_create(pg,
				      &(struct token_new){
					      .tenant_id = tenant, .name = "am", .role = ROLE_SERVICE },
				      token, id, &fail),
			 OC_OK);
	assert_int_equal(
		token_create(pg, &(struct token_new){ .tenant_id = tenant, .name = "v", .role = ROLE_VIEWER },
			     viewer, id, &fail),
		OC_OK);
	waiters = waiters_new(4);
	deps.waiters_ref = waiters;
	deps.api_pool = api_pool = pg_pool_new(db->api, "api", 4);
	deps.worker_pool = worker_pool = pg_pool_new(db->worker, "door", 4);
	if (api_start(&(struct api_config){ .head_ms = 30000 }, &deps, &api, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", api_port(api));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	api_stop(api);
	waiters_free(waiters);
	pg_pool_free(api_pool);
	pg_pool_free(worker_pool);
	pg_close(pg);
	return 0;
}

static void an_alert_opens_a_signal_once_and_a_resolved_one_ends_it(void **state)
{
	static const char firing[] =
		"{\"version\":\"4\",\"alerts\":[{\"status\":\"firing\",\"labels\":{\"alertname\":\"A1\",\"severity\":\"page\"},\"startsAt\":"
		"\"2026-01-01T00:00:00Z\",\"fingerprint\":\"a1\"}]}";
	static const char more[] =
		"{\"version\":\"4\",\"groupKey\":\"g\",\"alerts\":[{\"status\":\"firing\",\"labels\":{\"alertname\":\"A1\",\"severity\":"
		"\"page\"},\"startsAt\":\"2026-01-01T00:00:00Z\",\"fingerprint\":\"a1\"}]}";
	static const char resolved[] =
		"{\"version\":\"4\",\"alerts\":[{\"status\":\"resolved\",\"labels\":{\"alertname\":\"A1\"},\"startsAt\":"
		"\"2026-01-01T00:00:00Z\",\"endsAt\":\"2026-01-01T00:10:00Z\",\"fingerprint\":\"a1\"}]}";
	AUTO(json) json_t *first = NULL, *again = NULL, *second = NULL, *end = NULL;
	AUTO(str) char *row = NULL;

	(void)state;
	assert_int_equal(post(token, "/alert/alertmanager", NULL, firing, &first), 202);
	assert_int_equal(number(first, "opened"), 1);
	assert_int_equal(post(token, "/alert/alertmanager", NULL, firing, &again), 200);
	assert_true(json_is_true(json_object_get(json_object_get(again, "data"), "seen_before")));
	assert_int_equal(post(token, "/alert/alertmanager", NULL, more, &second), 202);
	assert_int_equal(number(second, "counted"), 1);
	row = one("SELECT status || ' ' || times || ' ' || severity FROM signal WHERE title = $1", "A1");
	assert_string_equal(row, "open 2 FATAL");
	assert_int_equal(post(token, "/alert/alertmanager", NULL, resolved, &end), 202);
	assert_int_equal(number(end, "cleared"), 1);
	/* A replay of the beginning opens nothing. */
	assert_int_equal(post(token, "/alert/alertmanager", NULL, firing, NULL), 200);
	free(row);
	row = one("SELECT count(*) FROM signal WHERE title = $1 AND status = 'open'", "A1");
	assert_string_equal(row, "0");
}

static void only_senders_may_and_bad_bodies_name_their_fault(void **state)
{
	AUTO(json) json_t *bad = NULL;

	(void)state;
	assert_int_equal(post(NULL, "/alert/generic", NULL, "{\"title\":\"x\"}", NULL), 401);
	assert_int_equal(post(viewer, "/alert/generic", NULL, "{\"title\":\"x\"}", NULL), 403);
	assert_int_equal(post(token, "/alert/generic", NULL, "{\"title\":", NULL), 400);
	assert_int_equal(post(token, "/alert/alertmanager", NULL, "{\"version\":\"4\",\"alerts\":[5]}", &bad),
			 422);
	assert_true(strstr(json_str_or(bad, "detail", ""), "object with labels") != NULL);
}

static void where_there_is_a_secret_the_signature_has_to_fit(void **state)
{
	static const char body[] = "{\"alerts\":[{\"status\":\"firing\",\"labels\":{\"alertname\":\"G1\"}}]}";
	unsigned char mac[HASH_LEN];
	char hex[2 * HASH_LEN + 1];
	AUTO(str) char *good = NULL;

	(void)state;
	hash_hmac_sha256("hush", 4, body, strlen(body), mac);
	str_hex(mac, HASH_LEN, hex);
	good = mem_printf("X-Grafana-Alerting-Signature: %s", hex);
	assert_int_equal(post(token, "/alert/grafana", NULL, body, NULL), 403);
	assert_int_equal(post(token, "/alert/grafana",
			      (const char *const[]){ "X-Grafana-Alerting-Signature: 00", NULL }, body, NULL),
			 403);
	assert_int_equal(post(token, "/alert/grafana", (const char *const[]){ good, NULL }, body, NULL), 202);
}

static void every_other_shape_comes_in(void **state)
{
	AUTO(json) json_t *ce = NULL, *again = NULL, *pd = NULL, *any = NULL;
	AUTO(str) char *n = NULL;

	(void)state;
	assert_int_equal(post(token, "/alert/cloudevents",
			      (const char *const[]){ "ce-specversion: 1.0", "ce-id: 1", "ce-source: /m",
						     "ce-type: disk.full", NULL },
			      "{\"title\":\"disk\"}", &ce),
			 202);
	assert_int_equal(number(ce, "opened"), 1);
	assert_int_equal(
		post(token, "/alert/cloudevents", NULL,
		     "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/m\",\"type\":\"disk.full\",\"data\":{\"title\":\"disk\"}}",
		     &again),
		200);
	assert_int_equal(
		post(token, "/alert/pagerduty", NULL,
		     "{\"event_action\":\"trigger\",\"dedup_key\":\"p\",\"payload\":{\"summary\":\"pd\",\"source\":\"h\","
		     "\"severity\":\"error\"}}",
		     &pd),
		202);
	assert_int_equal(number(pd, "opened"), 1);
	assert_int_equal(post(token, "/alert/generic?title=/what&status=/s&ended=over", NULL,
			      "{\"what\":\"gen\",\"s\":\"on\"}", &any),
			 202);
	assert_int_equal(number(any, "opened"), 1);
	n = one("SELECT count(DISTINCT source) FROM signal WHERE title IN ('disk', 'pd', 'gen') AND $1 = $1",
		"x");
	assert_string_equal(n, "3");
}

/* ---- a real Alertmanager ---- */

static int free_port(void)
{
	for (;;) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		uint16_t port = 0;

		/* Below the range that the kernel gives to outgoing connections. */
		hash_random(&port, sizeof(port));
		port = (uint16_t)(20000 + port % 12000);
		a.sin_port = htons(port);
		if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return port;
	}
}

static pid_t alertmanager_start(const char *dir, int port)
{
	AUTO(str) char *config = mem_printf("%s/alertmanager.yml", dir);
	AUTO(str) char *config_arg = mem_printf("--config.file=%s", config);
	AUTO(str) char *storage_arg = mem_printf("--storage.path=%s", dir);
	AUTO(str) char *listen_arg = mem_printf("--web.listen-address=127.0.0.1:%d", port);
	AUTO(str) char *log = mem_printf("%s/log", dir);
	FILE *f = fopen(config, "w");
	pid_t pid;

	assert_non_null(f);
	fprintf(f,
		"route:\n  receiver: opscase\n  group_by: [alertname]\n  group_wait: 0s\n  group_interval: 1s\n  repeat_interval: 1h\n"
		"receivers:\n- name: opscase\n  webhook_configs:\n  - url: %s/alert/alertmanager\n    send_resolved: true\n"
		"    http_config:\n      authorization:\n        credentials: %s\n",
		url, token);
	fclose(f);
	pid = fork();
	if (pid == 0) {
		int out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out, 1);
		dup2(out, 2);
		execl(ALERTMANAGER, ALERTMANAGER, config_arg, storage_arg, listen_arg,
		      "--cluster.listen-address=", NULL);
		_exit(127);
	}
	return pid;
}

/* Says it again until the fact is there: an Alertmanager that is just starting has no ear yet. */
static bool until(int port, const char *body, const char *sql, const char *want)
{
	AUTO(str) char *base = mem_printf("http://127.0.0.1:%d", port);
	AUTO(http_client)
	struct http_client *c = http_client_new(&(struct http_client_config){ .base_url = base });
	bool sent = false;

	for (int64_t end = clock_mono_ms() + 60000; clock_mono_ms() < end;) {
		AUTO(str) char *now = one(sql, "Watched");

		if (str_eq(now, want))
			return true;
		if (!sent) {
			struct http_answer a = { 0 };

			sent = http_client_call(c, "POST", "/api/v2/alerts", NULL, body, &a, NULL) == OC_OK &&
			       a.status == 200;
			http_answer_done(&a);
		}
		nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000000L }, NULL);
	}
	return false;
}

static void a_real_alertmanager_is_heard_firing_grouped_and_resolved(void **state)
{
	char dir[] = "/tmp/opscase-am-XXXXXX", began[32], ended[32];
	AUTO(str) char *firing = NULL, *resolved = NULL, *clean = NULL, *id = NULL, *status = NULL;
	struct opener_config config = {
		.least_confidence = .5, .storm_signals = 10, .storm_s = 300, .follow_s = 3600
	};
	struct opener_done done;
	int64_t now_us = clock_wall_us();
	int port = free_port();
	pid_t pid;

	(void)state;
	if (access(ALERTMANAGER, X_OK) != 0) {
		print_message("skipped: there is no " ALERTMANAGER "\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	pid = alertmanager_start(dir, port);
	assert_true(pid > 0);
	clock_format(now_us - INT64_C(60000000), began, sizeof(began));
	clock_format(now_us - INT64_C(1000000), ended, sizeof(ended));
	firing = mem_printf(
		"[{\"labels\":{\"alertname\":\"Watched\",\"severity\":\"critical\",\"service\":\"cart\"},\"startsAt\":\"%s\"},"
		"{\"labels\":{\"alertname\":\"Watched\",\"severity\":\"critical\",\"service\":\"shop\"},\"startsAt\":\"%s\"}]",
		began, began);
	resolved = mem_printf(
		"[{\"labels\":{\"alertname\":\"Watched\",\"severity\":\"critical\",\"service\":\"cart\"},\"startsAt\":\"%s\","
		"\"endsAt\":\"%s\"},{\"labels\":{\"alertname\":\"Watched\",\"severity\":\"critical\",\"service\":\"shop\"},"
		"\"startsAt\":\"%s\",\"endsAt\":\"%s\"}]",
		began, ended, began, ended);
	assert_true(
		until(port, firing, "SELECT count(*) FROM signal WHERE title = $1 AND status = 'open'", "2"));
	opener_pass(pg, &config, &case_door, clock_wall_us(), &done);
	id = one("SELECT case_id FROM signal WHERE title = $1 AND resource = 'urn:svc:cart'", "Watched");
	assert_int_equal(strlen(id), 36);
	assert_true(until(port, resolved,
			  "SELECT count(*) FROM signal WHERE title = $1 AND status = 'cleared'", "2"));
	opener_pass(pg, &config, &case_door, clock_wall_us(), &done);
	status = one("SELECT status || ' ' || resolution FROM ops_case WHERE id = $1::uuid", id);
	assert_string_equal(status, "CLOSED resolved_by_itself");
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	clean = mem_printf("rm -rf %s", dir);
	assert_int_equal(system(clean), 0);
}

static void what_a_real_alertmanager_once_sent_is_understood(void **state)
{
	const char *data = getenv("OPSCASE_DATA");
	AUTO(str)
	char *dir = data ? mem_printf("%s/prom_capture/alertmanager_webhook", data)
			 : mem_strdup(OPSCASE_SOURCE_DIR "/../shared/data/prom_capture/alertmanager_webhook");

	(void)state;
	if (access(dir, R_OK) != 0) {
		print_message("skipped: no captured webhooks under %s\n", dir);
		skip();
	}
	for (int i = 0; i < 1000; i++) {
		AUTO(str) char *path = mem_printf("%s/%03d.json", dir, i);
		AUTO(json) json_t *doc = json_load_file(path, 0, NULL), *said = NULL;
		AUTO(str) char *body = doc ? json_text(doc) : NULL;
		int alerts = (int)json_array_size(json_object_get(doc, "alerts"));

		if (!doc)
			break;
		assert_int_equal(post(token, "/alert/alertmanager", NULL, body, &said), 202);
		assert_int_equal(number(said, "opened") + number(said, "counted") + number(said, "cleared") +
					 number(said, "not_open"),
				 alerts);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_alert_opens_a_signal_once_and_a_resolved_one_ends_it),
		cmocka_unit_test(only_senders_may_and_bad_bodies_name_their_fault),
		cmocka_unit_test(where_there_is_a_secret_the_signature_has_to_fit),
		cmocka_unit_test(every_other_shape_comes_in),
		cmocka_unit_test(a_real_alertmanager_is_heard_firing_grouped_and_resolved),
		cmocka_unit_test(what_a_real_alertmanager_once_sent_is_understood),
	};

	return cmocka_run_group_tests(tests, begin, finish);
}
