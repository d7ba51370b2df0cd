#include "peer.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void nap(int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 }, NULL);
}

static json_t *loads_quoted(const char *text)
{
	char *copy = strdup(text);
	json_t *value;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	value = json_loads(copy, JSON_DECODE_ANY, NULL);
	free(copy);
	return value;
}

/* --- the peer */

static bool peer_start(struct peer *peer)
{
	int in[2], out[2];
	char line[8192];
	size_t len = 0;

	snprintf(peer->dir, sizeof peer->dir, "/tmp/opscase-k8s-XXXXXX");
	if (!mkdtemp(peer->dir) || pipe(in) || pipe(out))
		return false;
	peer->pid = fork();
	if (peer->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 256; fd++)
			close(fd);
		execlp("node", "node", OPSCASE_SOURCE_DIR "/tests/peers/k8s-apiserver/server.mjs", "--dir",
		       peer->dir, "--seed", OPSCASE_SOURCE_DIR "/adapters/k8s/tests/seed.json", "--step-ms",
		       "15", "--ready-ms", "30", "--exit-with-stdin", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	peer->life = in[1];
	while (len < sizeof line - 1) {
		ssize_t n = read(out[0], line + len, sizeof line - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
		if (line[len - 1] == '\n')
			break;
	}
	close(out[0]);
	line[len] = '\0';
	peer->started = json_loads(line, 0, NULL);
	if (!peer->started) {
		close(peer->life);
		waitpid(peer->pid, NULL, 0);
		return false;
	}
	snprintf(peer->server, sizeof peer->server, "%s",
		 json_string_value(json_object_get(peer->started, "server")));
	snprintf(peer->ca_file, sizeof peer->ca_file, "%s",
		 json_string_value(json_object_get(peer->started, "ca_file")));
	snprintf(peer->token, sizeof peer->token, "%s",
		 json_string_value(json_object_get(peer->started, "token")));
	return true;
}

static void peer_stop(struct peer *peer)
{
	static const char *const files[] = { "ca.key",     "ca.pem",     "ca.srl",     "server.key",
					     "server.csr", "server.pem", "kubeconfig", "ext" };
	char path[160];

	close(peer->life);
	if (peer->pid > 0)
		waitpid(peer->pid, NULL, 0);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", peer->dir, files[i]);
		unlink(path);
	}
	rmdir(peer->dir);
	json_decref(peer->started);
}

static size_t keep(char *data, size_t size, size_t n, void *user)
{
	FILE *to = user;

	return fwrite(data, size, n, to);
}

static char *peer_ask(struct rig *rig, const char *path, const char *body, long *ret_http)
{
	char url[1024], auth[256], *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	CURL *easy = curl_easy_init();
	struct curl_slist *headers = NULL;

	snprintf(url, sizeof url, "%s%s", rig->peer.server, path);
	snprintf(auth, sizeof auth, "Authorization: Bearer %s", rig->peer.token);
	headers = curl_slist_append(headers, auth);
	headers = curl_slist_append(headers, "Content-Type: application/json");
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_CAINFO, rig->peer.ca_file);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, to);
	if (body)
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	assert_int_equal(curl_easy_perform(easy), CURLE_OK);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, ret_http);
	curl_easy_cleanup(easy);
	curl_slist_free_all(headers);
	fclose(to);
	return text;
}

static void peer_tell(struct rig *rig, const char *path, const char *quoted)
{
	json_t *value = loads_quoted(quoted);
	char *body = json_dumps(value, 0);
	long http = 0;

	assert_non_null(body);
	free(peer_ask(rig, path, body, &http));
	assert_int_equal(http, 200);
	free(body);
	json_decref(value);
}

void peer_fault(struct rig *rig, const char *fault)
{
	peer_tell(rig, "/__fault", fault);
}

void peer_change(struct rig *rig, const char *change)
{
	peer_tell(rig, "/__change", change);
}

char *peer_state(struct rig *rig)
{
	long http;

	return peer_ask(rig, "/__state", NULL, &http);
}

json_t *peer_get(struct rig *rig, const char *path)
{
	long http;
	char *text = peer_ask(rig, path, NULL, &http);
	json_t *value = http == 200 ? json_loads(text, 0, NULL) : NULL;

	free(text);
	return value;
}

int64_t peer_effects(struct rig *rig)
{
	json_t *value = peer_get(rig, "/__effects");
	int64_t n = json_integer_value(json_object_get(value, "effects"));

	json_decref(value);
	return n;
}

json_t *peer_object(struct rig *rig, const char *kind, const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "/apis/apps/v1/namespaces/shop/%s/%s", kind, name);
	return peer_get(rig, path);
}

void peer_settle(struct rig *rig, const char *kind, const char *name)
{
	for (int i = 0; i < 500; i++) {
		json_t *o = peer_object(rig, kind, name);
		json_t *status = json_object_get(o, "status");
		bool daemon = strcmp(kind, "daemonsets") == 0;
		json_t *want = daemon ? json_object_get(status, "desiredNumberScheduled")
				      : json_object_get(json_object_get(o, "spec"), "replicas");
		json_t *have = json_object_get(status, daemon ? "numberAvailable" : "availableReplicas");
		bool done = json_integer_value(want) == json_integer_value(have) &&
			    json_integer_value(want) > 0;

		json_decref(o);
		if (done)
			return;
		nap(10);
	}
	fail_msg("%s %s never settled", kind, name);
}

/* --- the adapter */

static int said_send(struct opscase_reply *reply, enum opscase_outcome outcome, const char *json)
{
	struct said *said = (struct said *)reply;

	said->outcome = outcome;
	said->answers++;
	json_decref(said->body);
	said->body = json_loads(json, 0, NULL);
	return 0;
}

static int said_progress(struct opscase_reply *reply, const char *sentence)
{
	struct said *said = (struct said *)reply;

	(void)sentence;
	said->sentences++;
	return 0;
}

static void said_reset(struct said *said)
{
	json_decref(said->body);
	*said = (struct said){
		.reply = { .size = sizeof(struct opscase_reply),
                          .limit = 1 << 20,
                          .send = said_send,
                          .progress = said_progress }
	};
}

enum opscase_outcome rig_open(struct rig *rig, const char *config)
{
	char usual[512];

	if (rig->ctx)
		rig->a->close(rig->ctx);
	rig->ctx = NULL;
	snprintf(usual, sizeof usual, "{\"server\":\"%s\",\"ca_file\":\"%s\",\"poll_ms\":20}",
		 rig->peer.server, rig->peer.ca_file);
	said_reset(&rig->said);
	rig->a->open(&rig->ctx, config ? config : usual, &rig->said.reply);
	assert_int_equal(rig->said.answers, 1);
	return rig->said.outcome;
}

bool rig_start(struct rig *rig)
{
	*rig = (struct rig){ .key = KEY_A, .deadline_ms = 20000 };
	if (!peer_start(&rig->peer))
		return false;
	rig->so = dlopen(K8S_SO, RTLD_NOW | RTLD_LOCAL);
	if (!rig->so)
		fail_msg("%s", dlerror());
	rig->a = dlsym(rig->so, "opscase_adapter");
	assert_non_null(rig->a);
	rig->token = rig->peer.token;
	assert_int_equal(rig_open(rig, NULL), OPSCASE_VALID);
	return true;
}

void rig_stop(struct rig *rig)
{
	if (rig->ctx)
		rig->a->close(rig->ctx);
	json_decref(rig->said.body);
	json_decref(rig->expected);
	json_decref(rig->before);
	if (rig->so)
		dlclose(rig->so);
	if (rig->peer.started)
		peer_stop(&rig->peer);
}

enum opscase_outcome rig_call(struct rig *rig, enum entry entry, const char *params)
{
	json_t *value = loads_quoted(params), *secrets = json_pack("{s:s}", "token", rig->token);
	char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : strdup(params);
	char *secrets_text = json_dumps(secrets, 0);
	char *expected = rig->expected ? json_dumps(rig->expected, 0) : NULL;
	char *before = rig->before ? json_dumps(rig->before, 0) : NULL;
	struct opscase_action act = { .size = sizeof act,
				      .operation = "k8s.rollout",
				      .params = text,
				      .target = "{}",
				      .idempotency_key = rig->key,
				      .tenant = "t1",
				      .case_id = "00000000-0000-0000-0000-000000000001",
				      .decision_id = "",
				      .plan_hash = "",
				      .expected_binding = expected,
				      .before = before,
				      .secrets = secrets_text,
				      .scratch_dir = rig->peer.dir,
				      .deadline_ms = rig->deadline_ms };
	int (*const entries[])(void *, const struct opscase_action *, struct opscase_reply *) = {
		[VALIDATE] = rig->a->validate, [DRY_RUN] = rig->a->dry_run, [RUN] = rig->a->run,
		[PROBE] = rig->a->probe,       [UNDO] = rig->a->undo,
	};
	int64_t began = now_ms();

	said_reset(&rig->said);
	entries[entry](rig->ctx, &act, &rig->said.reply);
	rig->said.took_ms = now_ms() - began;
	if (rig->said.answers != 1 || !json_is_object(rig->said.body))
		fail_msg("an entry answers exactly once, with an object (%d answers)", rig->said.answers);
	free(text);
	free(secrets_text);
	free(expected);
	free(before);
	json_decref(value);
	json_decref(secrets);
	return rig->said.outcome;
}

struct late {
	struct rig *rig;
	int after_ms;
};

static void *cancel_late(void *user)
{
	struct late *late = user;

	nap(late->after_ms);
	late->rig->a->cancel(late->rig->ctx);
	return NULL;
}

enum opscase_outcome rig_call_and_cancel(struct rig *rig, enum entry entry, const char *params, int after_ms)
{
	struct late late = { rig, after_ms };
	enum opscase_outcome outcome;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, cancel_late, &late), 0);
	outcome = rig_call(rig, entry, params);
	pthread_join(thread, NULL);
	return outcome;
}

const json_t *rig_remember(struct rig *rig, const char *params)
{
	rig_call(rig, PROBE, params);
	json_decref(rig->before);
	rig->before = json_incref(json_object_get(rig->said.body, "info"));
	assert_non_null(rig->before);
	return json_object_get(rig->said.body, "binding");
}

const json_t *rig_value(const struct rig *rig, const char *path)
{
	const json_t *at = rig->said.body;
	char copy[128], *save = NULL;

	snprintf(copy, sizeof copy, "%s", path);
	for (char *p = strtok_r(copy, "/", &save); p; p = strtok_r(NULL, "/", &save))
		at = json_is_array(at) ? json_array_get(at, (size_t)atoi(p)) : json_object_get(at, p);
	return at;
}

const char *rig_text(const struct rig *rig, const char *path)
{
	const char *s = json_string_value(rig_value(rig, path));

	return s ? s : "";
}

const char *rig_error(const struct rig *rig)
{
	return rig_text(rig, "error");
}
