#include "harness.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const struct opscase_adapter *adapter;

struct sink {
	struct opscase_reply reply;
	struct answered a;
	int sent;
};

static int sink_send(struct opscase_reply *reply, enum opscase_outcome outcome, const char *json)
{
	struct sink *sink = (struct sink *)reply;

	sink->sent++;
	sink->a.outcome = (int)outcome;
	json_decref(sink->a.json);
	sink->a.json = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	return (int)outcome;
}

static int sink_progress(struct opscase_reply *reply, const char *sentence)
{
	(void)reply, (void)sentence;
	return 0;
}

void *harness_open(const char *config)
{
	struct sink sink = {
		.reply = { sizeof sink.reply, 65536, sink_send, sink_progress }
	};
	void *ctx = NULL;

	adapter->open(&ctx, config, &sink.reply);
	json_decref(sink.a.json);
	assert_non_null(ctx);
	return ctx;
}

struct answered harness_call(void *ctx, enum entry entry, const char *params, struct given given)
{
	int (*entries[])(void *, const struct opscase_action *,
			 struct opscase_reply *) = { adapter->validate, adapter->dry_run, adapter->run,
						     adapter->probe, adapter->undo };
	struct sink sink = {
		.reply = { sizeof sink.reply, 65536, sink_send, sink_progress }
	};
	struct opscase_action act = {
		.size = sizeof act,
		.operation = "gateway.flip",
		.params = params,
		.target = "{}",
		.idempotency_key = given.key ? given.key : KEY_A,
		.tenant = "t",
		.case_id = "0",
		.decision_id = "",
		.plan_hash = "",
		.expected_binding = given.expected,
		.before = given.before,
		.secrets = "{}",
		.scratch_dir = "/tmp",
		.deadline_ms = given.deadline_ms ? given.deadline_ms : 20000,
	};
	int r = entries[entry](ctx, &act, &sink.reply);

	assert_int_equal(sink.sent, 1);
	assert_int_equal(r, sink.a.outcome);
	assert_true(json_is_object(sink.a.json));
	return sink.a;
}

void answered_done(struct answered *a)
{
	json_decref(a->json);
	a->json = NULL;
}

const char *answered_text(const struct answered *a, const char *name)
{
	const char *text = json_string_value(json_object_get(a->json, name));

	return text ? text : "";
}

char *answered_json(const struct answered *a, const char *name)
{
	return json_dumps(json_object_get(a->json, name), 0);
}

char *harness_folder(void)
{
	char *folder = strdup("/tmp/opscase-gateway-XXXXXX");

	assert_non_null(mkdtemp(folder));
	return folder;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

void harness_remove(const char *folder)
{
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int harness_listen(int *ret_port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	*ret_port = ntohs(addr.sin_port);
	return fd;
}

/* Not one that the kernel gives to whoever connects somewhere: it would be taken before its server has it. */
int harness_port(void)
{
	static unsigned next;

	if (next == 0)
		next = (unsigned)getpid() * 7919u;
	for (int tries = 0; tries < 1000; tries++) {
		struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int port = 20000 + (int)(next++ % 12000), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool is_free;

		at.sin_port = htons((uint16_t)port);
		is_free = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 1) == 0;
		if (fd >= 0)
			close(fd);
		if (is_free)
			return port;
	}
	fail_msg("no free port");
	return 0;
}

void harness_write(const char *path, const char *format, ...)
{
	FILE *out = fopen(path, "w");
	va_list args;

	assert_non_null(out);
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	assert_int_equal(fclose(out), 0);
}

char *harness_read(const char *path)
{
	static char text[65536];
	FILE *in = fopen(path, "r");
	size_t n = 0;

	if (in) {
		n = fread(text, 1, sizeof text - 1, in);
		fclose(in);
	}
	text[n] = '\0';
	return strdup(text);
}

pid_t harness_start(char *const argv[])
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(1);
		/* What ASan's runtime needs here would only slow a program that was not built with it. */
		unsetenv("LD_PRELOAD");
		execv(argv[0], argv);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

void harness_stop(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	for (int i = 0; i < 200; i++) {
		struct timespec pause = { 0, 10000000 };

		if (waitpid(pid, NULL, WNOHANG) == pid)
			return;
		nanosleep(&pause, NULL);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

const char *harness_get(int port, const char *path)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval wait = { .tv_sec = 5 };
	static char text[8192];
	char request[256];
	size_t used = 0;
	char *body;
	ssize_t n;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	text[0] = '\0';
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
	    send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
		while (used < sizeof text - 1 && (n = recv(fd, text + used, sizeof text - 1 - used, 0)) > 0)
			used += (size_t)n;
	close(fd);
	text[used] = '\0';
	body = strstr(text, "\r\n\r\n");
	return body ? body + 4 : "";
}

bool harness_wait_get(int port, const char *path)
{
	for (int i = 0; i < 500; i++) {
		struct timespec pause = { 0, 10000000 };

		if (*harness_get(port, path))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static void an_unknown_gateway_is_refused_with_the_names_there_are(void **state)
{
	void *ctx = harness_open("{\"gateways\":{\"edge\":{\"kind\":\"haproxy\",\"socket\":\"/nowhere\"}}}");
	struct answered a = harness_call(ctx, VALIDATE, "{\"gateway\":\"egde\"}", (struct given){ 0 });

	(void)state;
	assert_outcome(a, OPSCASE_REFUSED);
	assert_non_null(strstr(answered_text(&a, "error"), "edge"));
	answered_done(&a);
	adapter->close(ctx);
}

static void a_step_for_another_kind_is_refused(void **state)
{
	void *ctx = harness_open("{\"gateways\":{\"edge\":{\"kind\":\"haproxy\",\"socket\":\"/nowhere\"}}}");
	struct answered a;

	(void)state;
	a = harness_call(ctx, VALIDATE,
			 "{\"gateway\":\"edge\",\"kind\":\"nginx\",\"upstream\":\"u\",\"to\":\"a:1\"}",
			 (struct given){ 0 });
	assert_outcome(a, OPSCASE_REFUSED);
	answered_done(&a);
	a = harness_call(ctx, VALIDATE, "{\"gateway\":\"edge\",\"upstream\":\"u\",\"to\":\"a:1\"}",
			 (struct given){ 0 });
	assert_outcome(a, OPSCASE_REFUSED);
	assert_non_null(strstr(answered_text(&a, "error"), "backend"));
	answered_done(&a);
	adapter->close(ctx);
}

static void words_that_would_break_out_of_a_command_are_refused(void **state)
{
	void *ctx = harness_open(
		"{\"gateways\":{\"lb\":{\"kind\":\"haproxy\",\"socket\":\"/nowhere\"},"
		"\"edge\":{\"kind\":\"nginx\",\"conf\":\"/c\",\"upstream_file\":\"/u\",\"pid_file\":\"/p\"}}}");
	static const char *const bad[] = {
		"{\"gateway\":\"lb\",\"backend\":\"b; shutdown\",\"servers\":[{\"name\":\"s\",\"weight\":1}]}",
		"{\"gateway\":\"lb\",\"backend\":\"b\",\"servers\":[{\"name\":\"s\\nx\",\"weight\":1}]}",
		"{\"gateway\":\"lb\",\"backend\":\"b\",\"servers\":[{\"name\":\"s\",\"state\":\"gone\"}]}",
		"{\"gateway\":\"lb\",\"backend\":\"b\",\"servers\":[{\"name\":\"s\",\"weight\":257}]}",
		"{\"gateway\":\"lb\",\"backend\":\"b\",\"servers\":[{\"name\":\"s\"}]}",
		"{\"gateway\":\"lb\",\"backend\":\"b\",\"servers\":[7]}",
		"{\"gateway\":\"edge\",\"upstream\":\"u\",\"to\":\"a:1; } server {\"}",
		"{\"gateway\":\"edge\",\"upstream\":\"u\",\"to\":[{\"server\":\"a:1\\n\"}]}",
		"{\"gateway\":\"edge\",\"upstream\":\"u\",\"to\":[]}",
		"{\"gateway\":\"edge\",\"upstream\":\"u\",\"to\":[null]}",
		"{\"gateway\":7}",
		"[]",
		"not json",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct answered a = harness_call(ctx, VALIDATE, bad[i], (struct given){ 0 });

		assert_outcome(a, OPSCASE_REFUSED);
		answered_done(&a);
		for (enum entry e = DRY_RUN; e <= UNDO; e++) { /* nor do the others fall over them */
			a = harness_call(ctx, e, bad[i], (struct given){ 0 });
			assert_true(a.outcome != OPSCASE_DONE && a.outcome != OPSCASE_APPLIED);
			answered_done(&a);
		}
	}
	adapter->close(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_gateway_is_refused_with_the_names_there_are),
		cmocka_unit_test(a_step_for_another_kind_is_refused),
		cmocka_unit_test(words_that_would_break_out_of_a_command_are_refused),
	};
	void *so = dlopen(GATEWAY_SO, RTLD_NOW | RTLD_LOCAL);
	int failed;

	signal(SIGPIPE, SIG_IGN);
	adapter = so ? dlsym(so, "opscase_adapter") : NULL;
	if (!adapter) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	failed = cmocka_run_group_tests_name("gateway", tests, NULL, NULL);
	failed += nginx_tests();
	failed += haproxy_tests();
	return failed != 0;
}
