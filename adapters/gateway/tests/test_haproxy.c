/* Real HAProxy: a backend of two servers, which are two more frontends of the same process. */
#include "harness.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct lb {
	char *folder;
	char socket[100], conf[128];
	int front, hole_front, hole, hole_fd;
	pid_t pid;
	void *ctx;
};

/* One command of our own over the runtime socket. */
static char *ask(const char *path, const char *command)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	static char text[65536];
	size_t used = 0;
	ssize_t n;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
	    send(fd, command, strlen(command), 0) > 0)
		while (used < sizeof text - 1 && (n = recv(fd, text + used, sizeof text - 1 - used, 0)) > 0)
			used += (size_t)n;
	close(fd);
	text[used] = '\0';
	return text;
}

/* status and weight as HAProxy's own `show stat` has them: "UP 100" */
static const char *stat_of(const struct lb *lb, const char *server)
{
	static char said[2][64];
	static int turn;
	char wanted[64], *line = ask(lb->socket, "show stat -1 4 -1\n"), *out = said[turn ^= 1];

	snprintf(wanted, sizeof wanted, "web,%s,", server);
	out[0] = '\0';
	for (line = strtok(line, "\n"); line; line = strtok(NULL, "\n")) {
		char *p = line;
		int i;

		if (strncmp(line, wanted, strlen(wanted)) != 0)
			continue;
		for (i = 0; i < 17 && p; i++) /* status is the 18th column, weight the next */
			p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL;
		if (p)
			snprintf(out, 64, "%.*s %d", (int)strcspn(p, ","), p, atoi(strchr(p, ',') + 1));
	}
	return out;
}

static int lb_up(void **state)
{
	struct lb *lb = calloc(1, sizeof *lb);
	char *config = NULL;
	int blue = harness_port(), green = harness_port();

	lb->folder = harness_folder();
	lb->front = harness_port();
	lb->hole_front = harness_port();
	lb->hole_fd = harness_listen(&lb->hole);
	snprintf(lb->socket, sizeof lb->socket, "%s/admin.sock", lb->folder);
	snprintf(lb->conf, sizeof lb->conf, "%s/haproxy.cfg", lb->folder);
	harness_write(
		lb->conf,
		"global\n\tstats socket %s level admin mode 600\n\tnbthread 1\n"
		"defaults\n\tmode http\n\ttimeout connect 2s\n\ttimeout client 60s\n\ttimeout server 60s\n"
		"frontend front\n\tbind 127.0.0.1:%d\n\tdefault_backend web\n"
		"frontend blue\n\tbind 127.0.0.1:%d\n\thttp-request return status 200 content-type text/plain string blue\n"
		"frontend green\n\tbind 127.0.0.1:%d\n\thttp-request return status 200 content-type text/plain string green\n"
		"backend web\n\tbalance roundrobin\n\tserver blue 127.0.0.1:%d weight 100\n"
		"\tserver green 127.0.0.1:%d weight 100 disabled\n\tserver hole 127.0.0.1:%d weight 0\n"
		"backend fixed\n\tbalance source\n\thash-type map-based\n\tserver blue 127.0.0.1:%d\n"
		"frontend to_hole\n\tbind 127.0.0.1:%d\n\tuse_backend web_hole\n"
		"backend web_hole\n\tserver only 127.0.0.1:%d\n",
		lb->socket, lb->front, blue, green, blue, green, lb->hole, blue, lb->hole_front, lb->hole);
	lb->pid = harness_start((char *[]){ "/usr/sbin/haproxy", "-q", "-db", "-f", lb->conf, NULL });
	assert_true(harness_wait_get(lb->front, "/"));
	assert_true(asprintf(&config, "{\"gateways\":{\"lb\":{\"kind\":\"haproxy\",\"socket\":\"%s\"}}}",
			     lb->socket) > 0);
	lb->ctx = harness_open(config);
	free(config);
	*state = lb;
	return 0;
}

static int lb_down(void **state)
{
	struct lb *lb = *state;

	adapter->close(lb->ctx);
	harness_stop(lb->pid);
	close(lb->hole_fd);
	harness_remove(lb->folder);
	free(lb->folder);
	free(lb);
	return 0;
}

#define FLIP                                                                         \
	"{\"gateway\":\"lb\",\"kind\":\"haproxy\",\"backend\":\"web\",\"servers\":[" \
	"{\"name\":\"blue\",\"state\":\"drain\"},{\"name\":\"green\",\"state\":\"ready\",\"weight\":50}]}"

static void assert_probe(const struct lb *lb, const char *params, enum opscase_outcome outcome)
{
	struct answered a = harness_call(lb->ctx, PROBE, params, (struct given){ 0 });

	assert_outcome(a, outcome);
	assert_true(json_is_object(json_object_get(a.json, "binding")));
	answered_done(&a);
}

static void a_flip_moves_the_traffic(void **state)
{
	struct lb *lb = *state;
	struct answered a;

	assert_string_equal(harness_get(lb->front, "/"), "blue");
	assert_string_equal(stat_of(lb, "green"), "MAINT 100");
	assert_probe(lb, FLIP, OPSCASE_NOT_APPLIED);
	a = harness_call(lb->ctx, RUN, FLIP, (struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	/* green is let in before blue is sent away */
	assert_string_equal(json_string_value(json_array_get(json_object_get(a.json, "did"), 2)),
			    "blue state drain");
	answered_done(&a);
	assert_string_equal(harness_get(lb->front, "/"), "green");
	assert_string_equal(stat_of(lb, "blue"), "DRAIN 100");
	assert_string_equal(stat_of(lb, "green"), "no check 50");
	assert_probe(lb, FLIP, OPSCASE_APPLIED);
}

static void a_dry_run_changes_nothing(void **state)
{
	struct lb *lb = *state;
	struct answered a = harness_call(lb->ctx, DRY_RUN, FLIP, (struct given){ 0 });

	assert_outcome(a, OPSCASE_WOULD_DO);
	assert_int_equal(json_array_size(json_object_get(a.json, "changes")), 2);
	assert_non_null(
		strstr(answered_text(&a, "diff"), "-blue weight 100 ready\n+blue weight 100 drain\n"));
	assert_non_null(
		strstr(answered_text(&a, "diff"), "-green weight 100 maint\n+green weight 50 ready\n"));
	answered_done(&a);
	assert_string_equal(stat_of(lb, "blue"), "no check 100");
	assert_string_equal(stat_of(lb, "green"), "MAINT 100");
}

static void the_same_step_twice_finds_it_done(void **state)
{
	struct lb *lb = *state;
	struct answered a = harness_call(lb->ctx, RUN, FLIP, (struct given){ 0 });

	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	a = harness_call(lb->ctx, RUN, FLIP, (struct given){ .expected = "{\"servers\":[]}" });
	assert_outcome(a, OPSCASE_DONE);
	assert_true(json_is_true(json_object_get(a.json, "already")));
	answered_done(&a);
}

static void a_world_that_changed_is_left_alone(void **state)
{
	struct lb *lb = *state;
	struct answered a = harness_call(lb->ctx, PROBE, FLIP, (struct given){ 0 });
	char *binding = answered_json(&a, "binding");

	answered_done(&a);
	ask(lb->socket, "set server web/blue weight 7\n");
	a = harness_call(lb->ctx, RUN, FLIP, (struct given){ .expected = binding });
	assert_outcome(a, OPSCASE_WORLD_CHANGED);
	answered_done(&a);
	assert_string_equal(stat_of(lb, "blue"), "no check 7");
	ask(lb->socket, "set server web/blue weight 100\n");
	a = harness_call(lb->ctx, RUN, FLIP, (struct given){ .expected = binding });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	free(binding);
}

static void undo_brings_back_weights_and_states(void **state)
{
	struct lb *lb = *state;
	struct answered a = harness_call(lb->ctx, PROBE, FLIP, (struct given){ 0 });
	char *before = answered_json(&a, "info");

	answered_done(&a);
	a = harness_call(lb->ctx, RUN, FLIP, (struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	a = harness_call(lb->ctx, UNDO, FLIP, (struct given){ .before = before });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	assert_string_equal(stat_of(lb, "blue"), "no check 100");
	assert_string_equal(stat_of(lb, "green"), "MAINT 100");
	assert_string_equal(harness_get(lb->front, "/"), "blue");
	a = harness_call(lb->ctx, UNDO, FLIP, (struct given){ .before = before });
	assert_outcome(a, OPSCASE_DONE);
	assert_true(json_is_true(json_object_get(a.json, "already")));
	answered_done(&a);
	ask(lb->socket, "set server web/blue weight 3\n"); /* neither what was nor what the flip made */
	a = harness_call(lb->ctx, UNDO, FLIP, (struct given){ .before = before });
	assert_outcome(a, OPSCASE_WORLD_CHANGED);
	answered_done(&a);
	free(before);
}

static void weights_share_the_traffic(void **state)
{
	struct lb *lb = *state;
	struct answered a;
	int green = 0;

	a = harness_call(
		lb->ctx, RUN,
		"{\"gateway\":\"lb\",\"backend\":\"web\",\"servers\":[{\"name\":\"blue\",\"weight\":10},"
		"{\"name\":\"green\",\"state\":\"ready\",\"weight\":30}]}",
		(struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	for (int i = 0; i < 40; i++)
		green += strcmp(harness_get(lb->front, "/"), "green") == 0;
	assert_in_range(green, 28, 32);
}

static void a_server_that_is_not_there_is_said_before_anything_is_done(void **state)
{
	struct lb *lb = *state;
	static const char *const params =
		"{\"gateway\":\"lb\",\"backend\":\"web\",\"servers\":[{\"name\":\"blue\",\"state\":\"maint\"},"
		"{\"name\":\"red\",\"state\":\"ready\"}]}";
	struct answered a = harness_call(lb->ctx, RUN, params, (struct given){ 0 });

	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "error"), "no server 'red'"));
	answered_done(&a);
	assert_string_equal(stat_of(lb, "blue"), "no check 100");
	a = harness_call(
		lb->ctx, RUN,
		"{\"gateway\":\"lb\",\"backend\":\"wobble\",\"servers\":[{\"name\":\"blue\",\"state\":\"maint\"}]}",
		(struct given){ 0 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "error"), "wobble"));
	answered_done(&a);
}

static void what_haproxy_refuses_comes_back_in_its_own_words(void **state)
{
	struct lb *lb = *state;
	struct answered a;

	a = harness_call(
		lb->ctx, RUN, /* a static algorithm takes only 0 and 100 % */
		"{\"gateway\":\"lb\",\"backend\":\"fixed\",\"servers\":[{\"name\":\"blue\",\"weight\":77}]}",
		(struct given){ 0 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "error"), "static LB algorithm"));
	answered_done(&a);
}

static void no_socket_no_change(void **state)
{
	struct lb *lb = *state;
	struct answered a;

	harness_stop(lb->pid);
	lb->pid = 0;
	a = harness_call(lb->ctx, RUN, FLIP, (struct given){ 0 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	answered_done(&a);
	unlink(lb->socket);
	a = harness_call(lb->ctx, RUN, FLIP, (struct given){ 0 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "error"), "cannot reach HAProxy"));
	answered_done(&a);
	assert_probe(lb, FLIP, OPSCASE_UNCLEAR);
	a = harness_call(lb->ctx, DRY_RUN, FLIP, (struct given){ 0 });
	assert_outcome(a, OPSCASE_REFUSED);
	answered_done(&a);
}

static void *cancel_soon(void *ctx)
{
	struct timespec pause = { 0, 400000000 };

	nanosleep(&pause, NULL);
	adapter->cancel(ctx);
	return NULL;
}

static int hold_a_session(const struct lb *lb)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons((uint16_t)lb->hole_front),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	assert_true(send(fd, request, strlen(request), 0) > 0);
	assert_true(accept(lb->hole_fd, NULL, NULL) >= 0);
	return fd;
}

static void draining_waits_for_sessions_and_then_takes_the_server_out(void **state)
{
	struct lb *lb = *state;
	int fd = hold_a_session(lb);
	struct answered a;

	a = harness_call(lb->ctx, RUN,
			 "{\"gateway\":\"lb\",\"backend\":\"web_hole\",\"drain_s\":1,"
			 "\"servers\":[{\"name\":\"only\",\"state\":\"maint\"}]}",
			 (struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	assert_int_equal(json_integer_value(json_object_get(a.json, "sessions_left")), 1);
	assert_string_equal(json_string_value(json_array_get(json_object_get(a.json, "did"), 0)),
			    "only state drain");
	assert_string_equal(json_string_value(json_array_get(json_object_get(a.json, "did"), 1)),
			    "only state maint");
	answered_done(&a);
	close(fd);
}

static void a_cancel_ends_the_waiting(void **state)
{
	struct lb *lb = *state;
	int fd = hold_a_session(lb);
	struct answered a;
	pthread_t t;

	pthread_create(&t, NULL, cancel_soon, lb->ctx);
	a = harness_call(lb->ctx, RUN,
			 "{\"gateway\":\"lb\",\"backend\":\"web_hole\",\"drain_s\":60,"
			 "\"servers\":[{\"name\":\"only\",\"state\":\"drain\"}]}",
			 (struct given){ .deadline_ms = 90000 });
	pthread_join(t, NULL);
	assert_outcome(a, OPSCASE_DONE); /* it drains; only the waiting was cut short */
	answered_done(&a);
	ask(lb->socket, "set server web_hole/only state ready\n");
	pthread_create(&t, NULL, cancel_soon, lb->ctx);
	a = harness_call(lb->ctx, RUN,
			 "{\"gateway\":\"lb\",\"backend\":\"web_hole\",\"drain_s\":60,"
			 "\"servers\":[{\"name\":\"only\",\"state\":\"maint\"}]}",
			 (struct given){ .deadline_ms = 90000 });
	pthread_join(t, NULL);
	assert_outcome(a, OPSCASE_FAILED); /* half: it drains, but `maint` was not set */
	assert_int_equal(json_array_size(json_object_get(a.json, "did")), 1);
	answered_done(&a);
	close(fd);
}

/* A peer that takes the command and says nothing, or nonsense. */
struct liar {
	int fd;
	const char *says; /* NULL: nothing at all */
};

static void *lie(void *arg)
{
	struct liar *liar = arg;
	char drop[512];
	int peer = accept(liar->fd, NULL, NULL);

	if (recv(peer, drop, sizeof drop, 0) > 0 && liar->says)
		send(peer, liar->says, strlen(liar->says), MSG_NOSIGNAL);
	if (!liar->says)
		recv(peer, drop, sizeof drop, 0); /* until the adapter gives up */
	close(peer);
	return NULL;
}

static void a_peer_that_is_no_haproxy_does_no_harm(void **state)
{
	static const char *const says[] = {
		NULL,
		"",
		"\n",
		"#",
		"# be_name srv_name\n1 2\n",
		"1\n# be_id be_name srv_name srv_admin_state srv_uweight",
		"1\n# be_id be_name srv_name srv_admin_state srv_uweight\n3 web\n3 web blue x\n",
		"Permission denied\n"
	};
	struct lb *lb = *state;
	char path[120], *config = NULL;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	void *ctx;

	snprintf(path, sizeof path, "%s/liar.sock", lb->folder);
	assert_true(asprintf(&config, "{\"gateways\":{\"lb\":{\"kind\":\"haproxy\",\"socket\":\"%s\"}}}",
			     path) > 0);
	ctx = harness_open(config);
	memcpy(addr.sun_path, path, strlen(path) < sizeof addr.sun_path ? strlen(path) : 0);
	for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
		struct liar liar = { socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), says[i] };
		struct answered a;
		pthread_t t;

		unlink(path);
		assert_int_equal(bind(liar.fd, (struct sockaddr *)&addr, sizeof addr), 0);
		assert_int_equal(listen(liar.fd, 4), 0);
		pthread_create(&t, NULL, lie, &liar);
		a = harness_call(ctx, RUN, FLIP, (struct given){ .deadline_ms = 500 });
		pthread_join(t, NULL);
		assert_outcome(a, OPSCASE_NOT_APPLIED);
		answered_done(&a);
		close(liar.fd);
	}
	adapter->close(ctx);
	free(config);
}

#define with_lb(f) cmocka_unit_test_setup_teardown(f, lb_up, lb_down)

int haproxy_tests(void)
{
	const struct CMUnitTest tests[] = {
		with_lb(a_flip_moves_the_traffic),
		with_lb(a_dry_run_changes_nothing),
		with_lb(the_same_step_twice_finds_it_done),
		with_lb(a_world_that_changed_is_left_alone),
		with_lb(undo_brings_back_weights_and_states),
		with_lb(weights_share_the_traffic),
		with_lb(a_server_that_is_not_there_is_said_before_anything_is_done),
		with_lb(what_haproxy_refuses_comes_back_in_its_own_words),
		with_lb(no_socket_no_change),
		with_lb(draining_waits_for_sessions_and_then_takes_the_server_out),
		with_lb(a_cancel_ends_the_waiting),
		with_lb(a_peer_that_is_no_haproxy_does_no_harm),
	};

	return cmocka_run_group_tests_name("gateway: haproxy", tests, NULL, NULL);
}
