/* Real nginx: one instance whose front proxies to two pools, both served by the same nginx. */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NGINX "/usr/sbin/nginx"

struct edge {
	char *folder, *first; /* first: the upstream file as it was */
	char file[128], conf[128], pid_file[128], binary[128], to_green[128], to_blue[128];
	int front, blue, green, hole, hole_fd;
	pid_t pid;
	void *ctx;
};

static char *config_with(const struct edge *e, const char *binary, int reload_wait_s)
{
	char *config = NULL;

	assert_true(
		asprintf(
			&config,
			"{\"gateways\":{\"edge\":{\"kind\":\"nginx\",\"binary\":\"%s\",\"conf\":\"%s\","
			"\"prefix\":\"%s\",\"upstream_file\":\"%s\",\"pid_file\":\"%s\",\"reload_wait_s\":%d}}}",
			binary, e->conf, e->folder, e->file, e->pid_file, reload_wait_s) > 0);
	return config;
}

static void *open_with(const struct edge *e, const char *binary)
{
	char *config = config_with(e, binary, 10);
	void *ctx = harness_open(config);

	free(config);
	return ctx;
}

static int edge_up(void **state)
{
	struct edge *e = calloc(1, sizeof *e);

	e->folder = harness_folder();
	e->front = harness_port();
	e->blue = harness_port();
	e->green = harness_port();
	e->hole_fd = harness_listen(&e->hole); /* takes connections, never answers */
	snprintf(e->file, sizeof e->file, "%s/upstream.conf", e->folder);
	snprintf(e->conf, sizeof e->conf, "%s/nginx.conf", e->folder);
	snprintf(e->pid_file, sizeof e->pid_file, "%s/nginx.pid", e->folder);
	snprintf(e->binary, sizeof e->binary, "%s/fake-nginx", e->folder);
	snprintf(e->to_green, sizeof e->to_green,
		 "{\"gateway\":\"edge\",\"upstream\":\"pool\",\"to\":\"127.0.0.1:%d\"}", e->green);
	snprintf(e->to_blue, sizeof e->to_blue,
		 "{\"gateway\":\"edge\",\"upstream\":\"pool\",\"to\":\"127.0.0.1:%d\"}", e->blue);
	harness_write(e->file,
		      "# the pools; upstream pool { in a comment does not count\n"
		      "upstream other {\n\tserver 127.0.0.1:%d;\n}\n\n"
		      "upstream pool {\n"
		      "    least_conn;   # kept as it is\n"
		      "    server 127.0.0.1:%d max_fails=2 fail_timeout=4s; # blue\n"
		      "    keepalive 4;\n"
		      "}\n",
		      e->blue, e->blue);
	e->first = harness_read(e->file);
	assert_int_equal(chmod(e->file, 0640), 0);
	harness_write(e->conf,
		      "%sdaemon off;\nworker_processes 2;\npid %s;\nerror_log %s/error.log notice;\n"
		      "events { worker_connections 64; }\n"
		      "http {\n\taccess_log off;\n"
		      "\tclient_body_temp_path %s/t1;\n\tproxy_temp_path %s/t2;\n\tfastcgi_temp_path %s/t3;\n"
		      "\tuwsgi_temp_path %s/t4;\n\tscgi_temp_path %s/t5;\n"
		      "\tinclude %s/*.conf.d;\n\tinclude %s;\n"
		      "\tserver { listen 127.0.0.1:%d; location / { return 200 blue; } }\n"
		      "\tserver { listen 127.0.0.1:%d; location / { return 200 green; } }\n"
		      "\tserver { listen 127.0.0.1:%d;\n"
		      "\t\tlocation / { proxy_pass http://pool; }\n"
		      "\t\tlocation /other { proxy_pass http://other; }\n"
		      "\t\tlocation /hole { proxy_pass http://127.0.0.1:%d; } }\n}\n",
		      geteuid() == 0 ? "user root;\n" : "", e->pid_file, e->folder, e->folder, e->folder,
		      e->folder, e->folder, e->folder, e->folder, e->file, e->blue, e->green, e->front,
		      e->hole);
	e->pid = harness_start((char *[]){ NGINX, "-p", e->folder, "-c", e->conf, NULL });
	assert_true(harness_wait_get(e->front, "/"));
	e->ctx = open_with(e, NGINX);
	*state = e;
	return 0;
}

static int edge_down(void **state)
{
	struct edge *e = *state;

	adapter->close(e->ctx);
	harness_stop(e->pid);
	close(e->hole_fd);
	harness_remove(e->folder);
	free(e->folder);
	free(e->first);
	free(e);
	return 0;
}

static void assert_file(const struct edge *e, const char *text)
{
	char *now = harness_read(e->file);

	assert_string_equal(now, text);
	free(now);
}

/* The pids of nginx's children, to see whether a reload took place. */
static const char *children(const struct edge *e)
{
	static char text[2][512];
	static int turn;
	char path[64], *now;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)e->pid, (int)e->pid);
	now = harness_read(path);
	snprintf(text[turn ^= 1], sizeof text[0], "%s", now);
	free(now);
	return text[turn];
}

/* How often the master was told to read its configuration. */
static int reloads(const struct edge *e)
{
	char path[160], *log;
	int n = 0;

	snprintf(path, sizeof path, "%s/error.log", e->folder);
	log = harness_read(path);
	for (char *p = log; (p = strstr(p, ", reconfiguring")); p++)
		n++;
	free(log);
	return n;
}

static void assert_probe(const struct edge *e, const char *params, enum opscase_outcome outcome)
{
	struct answered a = harness_call(e->ctx, PROBE, params, (struct given){ 0 });

	assert_outcome(a, outcome);
	assert_true(json_is_object(json_object_get(a.json, "binding")));
	assert_true(json_is_object(json_object_get(a.json, "info")));
	answered_done(&a);
}

static void nothing_was_touched(const struct edge *e, const struct stat *before)
{
	struct stat now;
	char side[160];

	assert_file(e, e->first);
	assert_int_equal(stat(e->file, &now), 0);
	assert_int_equal(now.st_ino, before->st_ino);
	assert_int_equal(now.st_mode, before->st_mode);
	assert_memory_equal(&now.st_mtim, &before->st_mtim, sizeof now.st_mtim);
	assert_string_equal(harness_get(e->front, "/"), "blue");
	assert_int_equal(reloads(e), 0);
	snprintf(side, sizeof side, "%s/.upstream.conf.opscase", e->folder);
	assert_int_not_equal(access(side, F_OK), 0);
}

static void a_flip_moves_the_traffic_and_touches_only_its_servers(void **state)
{
	struct edge *e = *state;
	struct answered a;
	struct stat st;
	char *text;

	assert_string_equal(harness_get(e->front, "/"), "blue");
	assert_probe(e, e->to_green, OPSCASE_NOT_APPLIED);
	assert_probe(e, e->to_blue, OPSCASE_APPLIED);
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	assert_int_equal(json_integer_value(json_object_get(a.json, "changed")), 1);
	assert_int_equal(json_integer_value(json_object_get(a.json, "workers")), 2);
	answered_done(&a);
	assert_string_equal(harness_get(e->front, "/"), "green");
	assert_string_equal(harness_get(e->front, "/other"), "blue");
	assert_probe(e, e->to_green, OPSCASE_APPLIED);
	assert_probe(e, e->to_blue, OPSCASE_NOT_APPLIED);
	text = harness_read(e->file);
	assert_non_null(strstr(text, "    least_conn;   # kept as it is\n"));
	assert_non_null(strstr(text, "    keepalive 4;\n"));
	assert_non_null(strstr(text, "# opscase: " KEY_A "\n"));
	free(text);
	assert_int_equal(stat(e->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(reloads(e), 1);
}

static void a_dry_run_changes_nothing_and_shows_the_diff(void **state)
{
	struct edge *e = *state;
	char minus[128], plus[128];
	struct answered a;
	struct stat st;

	assert_int_equal(stat(e->file, &st), 0);
	a = harness_call(e->ctx, DRY_RUN, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_WOULD_DO);
	snprintf(minus, sizeof minus, "\n-    server 127.0.0.1:%d max_fails=2 fail_timeout=4s; # blue\n",
		 e->blue);
	snprintf(plus, sizeof plus, "\n+    server 127.0.0.1:%d;\n", e->green);
	assert_non_null(strstr(answered_text(&a, "diff"), minus));
	assert_non_null(strstr(answered_text(&a, "diff"), plus));
	assert_int_equal(json_array_size(json_object_get(a.json, "changes")), 1);
	answered_done(&a);
	nothing_was_touched(e, &st);
	a = harness_call(e->ctx, DRY_RUN, e->to_blue,
			 (struct given){ .key = "" }); /* as from outside a plan */
	assert_outcome(a, OPSCASE_WOULD_DO);
	assert_int_equal(json_array_size(json_object_get(a.json, "changes")), 0);
	answered_done(&a);
}

static void what_nginx_refuses_leaves_the_old_file_in_force(void **state)
{
	struct edge *e = *state;
	struct answered a;
	struct stat st;

	assert_int_equal(stat(e->file, &st), 0);
	a = harness_call(e->ctx, RUN,
			 "{\"gateway\":\"edge\",\"upstream\":\"pool\",\"to\":\"no-such-host.invalid:80\"}",
			 (struct given){ .deadline_ms = 60000 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "detail"), "host not found in upstream"));
	answered_done(&a);
	nothing_was_touched(e, &st);
	assert_probe(e, e->to_blue, OPSCASE_APPLIED);
}

static void the_same_key_twice_is_one_reload(void **state)
{
	struct edge *e = *state;
	struct answered a;
	const char *workers;

	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	workers = children(e);
	/* The binding that the approver saw is of before the first try; the mark says that we are the change. */
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ .expected = "{\"servers\":[]}" });
	assert_outcome(a, OPSCASE_DONE);
	assert_true(json_is_true(json_object_get(a.json, "already")));
	answered_done(&a);
	assert_string_equal(children(e), workers);
	assert_int_equal(reloads(e), 1);
}

static void a_world_that_changed_is_left_alone(void **state)
{
	struct edge *e = *state;
	struct answered a = harness_call(e->ctx, PROBE, e->to_green, (struct given){ 0 });
	char *binding = answered_json(&a, "binding"), *by_hand;

	answered_done(&a);
	harness_write(
		e->file,
		"upstream other { server 127.0.0.1:%d; }\nupstream pool { server 127.0.0.1:%d weight=3; }\n",
		e->blue, e->blue);
	by_hand = harness_read(e->file);
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ .expected = binding });
	assert_outcome(a, OPSCASE_WORLD_CHANGED);
	assert_non_null(json_object_get(json_object_get(a.json, "found"), "servers"));
	answered_done(&a);
	assert_file(e, by_hand);
	assert_int_equal(reloads(e), 0);
	free(by_hand);
	free(binding);
}

static void a_binding_that_holds_lets_the_flip_through(void **state)
{
	struct edge *e = *state;
	struct answered a = harness_call(e->ctx, PROBE, e->to_green, (struct given){ 0 });
	char *binding = answered_json(&a, "binding");

	answered_done(&a);
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ .expected = binding });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	free(binding);
}

static void what_somebody_set_after_our_flip_is_not_set_back(void **state)
{
	struct edge *e = *state;
	struct answered a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
	char *text, *p;

	answered_done(&a);
	text = harness_read(e->file);
	p = strstr(text, "server 127.0.0.1");
	p = strstr(p + 1, "server 127.0.0.1"); /* the one of `pool` */
	snprintf(p, 30, "server 127.0.0.1:%d;\n}", e->hole);
	harness_write(e->file, "%s", text);
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_WORLD_CHANGED);
	answered_done(&a);
	assert_int_equal(reloads(e), 1);
	free(text);
}

static void undo_brings_back_the_file_and_the_traffic(void **state)
{
	struct edge *e = *state;
	struct answered a = harness_call(e->ctx, PROBE, e->to_green, (struct given){ 0 });
	char *before = answered_json(&a, "info");

	answered_done(&a);
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	a = harness_call(e->ctx, UNDO, e->to_green, (struct given){ .before = before });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	assert_file(e, e->first);
	assert_string_equal(harness_get(e->front, "/"), "blue");
	assert_probe(e, e->to_green, OPSCASE_NOT_APPLIED);
	assert_int_equal(reloads(e), 2);
	a = harness_call(e->ctx, UNDO, e->to_green, (struct given){ .before = before });
	assert_outcome(a, OPSCASE_DONE);
	assert_true(json_is_true(json_object_get(a.json, "already")));
	answered_done(&a);
	assert_int_equal(reloads(e), 2);
	a = harness_call(e->ctx, UNDO, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_REFUSED);
	answered_done(&a);
	free(before);
}

static void undo_keeps_what_others_changed_beside_the_servers(void **state)
{
	struct edge *e = *state;
	struct answered a = harness_call(e->ctx, PROBE, e->to_green, (struct given){ 0 });
	char *before = answered_json(&a, "info"), *text, *p, server[64];

	answered_done(&a);
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
	answered_done(&a);
	text = harness_read(e->file);
	p = strstr(text, "keepalive 4;");
	p[10] = '8';
	harness_write(e->file, "%s", text);
	free(text);
	a = harness_call(e->ctx, UNDO, e->to_green, (struct given){ .before = before });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	text = harness_read(e->file);
	snprintf(server, sizeof server, "server 127.0.0.1:%d max_fails=2 fail_timeout=4s;", e->blue);
	assert_non_null(strstr(text, "keepalive 8;"));
	assert_non_null(strstr(text, server));
	assert_null(strstr(text, "opscase"));
	free(text);
	free(before);
}

static void undo_of_what_somebody_else_changed_is_refused(void **state)
{
	struct edge *e = *state;
	struct answered a = harness_call(e->ctx, PROBE, e->to_green, (struct given){ 0 });
	char *before = answered_json(&a, "info");

	answered_done(&a);
	harness_write(e->file,
		      "upstream other { server 127.0.0.1:%d; }\nupstream pool { server 127.0.0.1:%d; }\n",
		      e->blue, e->hole);
	a = harness_call(e->ctx, UNDO, e->to_green, (struct given){ .before = before });
	assert_outcome(a, OPSCASE_WORLD_CHANGED);
	answered_done(&a);
	free(before);
}

static void weights_are_written_and_known_options_kept(void **state)
{
	struct edge *e = *state;
	char params[512], line[128], *text;
	int blue = 0, green = 0;
	struct answered a;

	snprintf(
		params, sizeof params,
		"{\"gateway\":\"edge\",\"kind\":\"nginx\",\"upstream\":\"pool\",\"to\":[{\"server\":\"127.0.0.1:%d\","
		"\"max_fails\":7},{\"server\":\"127.0.0.1:%d\",\"weight\":3},{\"server\":\"127.0.0.1:%d\",\"down\":true}]}",
		e->blue, e->green, e->hole);
	a = harness_call(e->ctx, RUN, params, (struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	text = harness_read(e->file);
	snprintf(line, sizeof line, "    server 127.0.0.1:%d fail_timeout=4s max_fails=7;\n", e->blue);
	assert_non_null(strstr(text, line));
	snprintf(line, sizeof line, "    server 127.0.0.1:%d weight=3;\n", e->green);
	assert_non_null(strstr(text, line));
	snprintf(line, sizeof line, "    server 127.0.0.1:%d down;\n", e->hole);
	assert_non_null(strstr(text, line));
	free(text);
	for (int i = 0; i < 40; i++) {
		const char *who = harness_get(e->front, "/");

		blue += strcmp(who, "blue") == 0;
		green += strcmp(who, "green") == 0;
	}
	assert_int_equal(blue + green, 40);
	assert_true(green > blue && blue > 0);
	assert_probe(e, params, OPSCASE_APPLIED);
}

/* A stand-in for the binary, so that a test can decide what happens while nginx tests the file. */
static void *open_with_script(struct edge *e, const char *script)
{
	harness_write(e->binary, "#!/bin/sh\n%s\nexec " NGINX " \"$@\"\n", script);
	assert_int_equal(chmod(e->binary, 0755), 0);
	return open_with(e, e->binary);
}

static void killed_between_rename_and_reload_is_seen_and_finished_later(void **state)
{
	struct edge *e = *state;
	void *ctx = open_with_script(e, "kill -9 $PPID; sleep 30");
	struct answered a;
	char *note;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		harness_call(ctx, RUN, e->to_green, (struct given){ 0 });
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	adapter->close(ctx);

	assert_string_equal(harness_get(e->front, "/"), "blue");
	a = harness_call(e->ctx, PROBE, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_NOT_APPLIED); /* the file has it, nginx does not run it */
	assert_false(json_is_true(json_object_get(json_object_get(a.json, "info"), "reloaded")));
	note = json_dumps(a.json, 0);
	assert_non_null(strstr(note, "has not read the file"));
	free(note);
	answered_done(&a);

	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ .expected = "{\"servers\":[]}" });
	assert_outcome(a, OPSCASE_DONE);
	answered_done(&a);
	assert_string_equal(harness_get(e->front, "/"), "green");
	assert_int_equal(reloads(e), 1);
	assert_probe(e, e->to_green, OPSCASE_APPLIED);
}

static void killed_with_a_file_that_nginx_refuses_the_next_try_puts_the_old_one_back(void **state)
{
	static const char *const params =
		"{\"gateway\":\"edge\",\"upstream\":\"pool\",\"to\":\"no-such-host.invalid:80\"}";
	struct edge *e = *state;
	void *ctx = open_with_script(e, "kill -9 $PPID; sleep 30");
	struct answered a;
	struct stat st;
	pid_t pid;

	assert_int_equal(stat(e->file, &st), 0);
	pid = fork();
	if (pid == 0) {
		harness_call(ctx, RUN, params, (struct given){ 0 });
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	adapter->close(ctx);
	a = harness_call(e->ctx, RUN, params, (struct given){ .deadline_ms = 60000 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	answered_done(&a);
	nothing_was_touched(e, &st);
}

struct canceller {
	void *ctx;
	int after_ms;
};

static void *cancel_later(void *arg)
{
	struct canceller *c = arg;
	struct timespec pause = { c->after_ms / 1000, c->after_ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
	adapter->cancel(c->ctx);
	return NULL;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void cancelled_during_the_test_nothing_has_changed(void **state)
{
	struct edge *e = *state;
	void *ctx = open_with_script(e, "exec sleep 30");
	struct canceller c = { ctx, 300 };
	int64_t began = now_ms();
	struct answered a;
	struct stat st;
	pthread_t t;

	assert_int_equal(stat(e->file, &st), 0);
	pthread_create(&t, NULL, cancel_later, &c);
	a = harness_call(ctx, RUN, e->to_green, (struct given){ .deadline_ms = 40000 });
	pthread_join(t, NULL);
	assert_outcome(a, OPSCASE_CANCELLED);
	assert_true(now_ms() - began < 3000);
	answered_done(&a);
	adapter->close(ctx);
	nothing_was_touched(e, &st);
}

static void a_deadline_during_the_test_puts_the_old_file_back(void **state)
{
	struct edge *e = *state;
	void *ctx = open_with_script(e, "exec sleep 30");
	struct answered a;
	struct stat st;

	assert_int_equal(stat(e->file, &st), 0);
	a = harness_call(ctx, RUN, e->to_green, (struct given){ .deadline_ms = 400 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	answered_done(&a);
	adapter->close(ctx);
	nothing_was_touched(e, &st);
}

static int connect_to_the_hole(const struct edge *e)
{
	char request[] = "GET /hole HTTP/1.1\r\nHost: x\r\n\r\n";
	int port = e->front, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
	unsigned char addr[16] = { AF_INET, 0, (unsigned char)(port >> 8), (unsigned char)port, 127, 0, 0, 1 };

	assert_int_equal(connect(fd, (struct sockaddr *)addr, sizeof addr), 0);
	assert_true(send(fd, request, strlen(request), 0) > 0);
	peer = accept(e->hole_fd, NULL, NULL); /* nginx has a request under way now */
	assert_true(peer >= 0);
	return fd;
}

static void draining_waits_for_old_requests_but_the_flip_stands(void **state)
{
	struct edge *e = *state;
	struct canceller c = { e->ctx, 1200 };
	int fd = connect_to_the_hole(e);
	int64_t began = now_ms();
	struct answered a;
	char params[256];
	pthread_t t;

	snprintf(params, sizeof params,
		 "{\"gateway\":\"edge\",\"upstream\":\"pool\",\"to\":\"127.0.0.1:%d\",\"drain_s\":1}",
		 e->green);
	a = harness_call(e->ctx, RUN, params, (struct given){ 0 });
	assert_outcome(a, OPSCASE_DONE);
	assert_int_equal(json_integer_value(json_object_get(a.json, "old_workers_left")), 1);
	assert_true(now_ms() - began >= 1000);
	answered_done(&a);
	/* And a cancel ends the waiting, not the flip. */
	snprintf(params, sizeof params,
		 "{\"gateway\":\"edge\",\"upstream\":\"pool\",\"to\":\"127.0.0.1:%d\",\"drain_s\":60}",
		 e->blue);
	began = now_ms();
	pthread_create(&t, NULL, cancel_later, &c);
	a = harness_call(e->ctx, RUN, params, (struct given){ .key = KEY_B, .deadline_ms = 90000 });
	pthread_join(t, NULL);
	assert_outcome(a, OPSCASE_DONE);
	assert_true(now_ms() - began < 5000);
	answered_done(&a);
	assert_string_equal(harness_get(e->front, "/"), "blue");
	close(fd);
}

static void an_nginx_that_does_not_run_is_not_touched(void **state)
{
	struct edge *e = *state;
	struct answered a;

	harness_stop(e->pid);
	e->pid = 0;
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "error"), "not running"));
	answered_done(&a);
	assert_file(e, e->first);
	assert_probe(e, e->to_blue, OPSCASE_NOT_APPLIED); /* the file is right, but nothing runs it */
}

static void a_stale_pid_file_never_hits_a_stranger(void **state)
{
	struct edge *e = *state;
	struct answered a;

	harness_write(e->pid_file, "%d\n", (int)getpid()); /* a HUP would end this test */
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "error"), "not an nginx master"));
	answered_done(&a);
	assert_file(e, e->first);
}

static void a_reload_that_brings_no_new_workers_is_unclear(void **state)
{
	struct edge *e = *state;
	char *config = config_with(e, NGINX, 1);
	void *ctx = harness_open(config);
	struct answered a;

	kill(e->pid, SIGSTOP); /* the master gets the signal, but does nothing with it */
	a = harness_call(ctx, RUN, e->to_green, (struct given){ 0 });
	assert_outcome(a, OPSCASE_UNCLEAR);
	answered_done(&a);
	kill(e->pid, SIGCONT);
	assert_probe(e, e->to_green, OPSCASE_APPLIED); /* and the probe settles it */
	adapter->close(ctx);
	free(config);
}

static void one_flip_at_a_time(void **state)
{
	struct edge *e = *state;
	int fd = open(e->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct answered a;
	struct stat st;

	assert_int_equal(stat(e->file, &st), 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	a = harness_call(e->ctx, RUN, e->to_green, (struct given){ .deadline_ms = 300 });
	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "error"), "another flip holds it"));
	answered_done(&a);
	close(fd);
	nothing_was_touched(e, &st);
}

static void an_upstream_that_is_not_there_is_said(void **state)
{
	struct edge *e = *state;
	static const char *const params =
		"{\"gateway\":\"edge\",\"upstream\":\"poll\",\"to\":\"127.0.0.1:1\"}";
	struct answered a = harness_call(e->ctx, RUN, params, (struct given){ 0 });

	assert_outcome(a, OPSCASE_NOT_APPLIED);
	assert_non_null(strstr(answered_text(&a, "error"), "no upstream 'poll'"));
	answered_done(&a);
	assert_probe(e, params, OPSCASE_UNCLEAR);
}

static void a_server_that_could_not_be_written_back_is_left_alone(void **state)
{
	static const char *const odd[] = {
		"upstream pool { server caf\xe9:80; }",           /* no UTF-8: JSON cannot carry it */
		"upstream pool { server \"a b\":80; }",           /* needs its quotes */
		"upstream pool { server a weight=0; }",           /* would come back as 1 */
		"upstream pool { server a weight=99999999999; }", /* as another number */
		"upstream pool { server a { b; } }",
	};
	struct edge *e = *state;

	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		struct answered a;

		harness_write(e->file, "%s", odd[i]);
		a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
		assert_outcome(a, OPSCASE_NOT_APPLIED);
		assert_non_null(strstr(answered_text(&a, "error"), "could be written back"));
		answered_done(&a);
		assert_file(e, odd[i]);
	}
}

static void broken_files_are_read_without_harm(void **state)
{
	static const char *const broken[] = {
		"",
		"}",
		"{",
		"upstream",
		"upstream pool",
		"upstream pool {",
		"upstream pool { server",
		"upstream pool { server a",
		"upstream \"pool\" { server 'a",
		"upstream pool { server ${x",
		"#",
		"\\",
		"upstream pool { # }",
	};
	struct edge *e = *state;

	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
		struct answered a;

		harness_write(e->file, "%s", broken[i]);
		a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
		assert_outcome(a, OPSCASE_NOT_APPLIED);
		answered_done(&a);
		assert_file(e, broken[i]);
	}
	/* All on one line, with quotes: works all the same, and comes back byte for byte. */
	harness_write(e->file,
		      "upstream other{server 127.0.0.1:%d;}upstream \"pool\"{server '127.0.0.1:%d';}",
		      e->blue, e->blue);
	{
		char *first = harness_read(e->file);
		struct answered a = harness_call(e->ctx, PROBE, e->to_green, (struct given){ 0 });
		char *before = answered_json(&a, "info");

		answered_done(&a);
		a = harness_call(e->ctx, RUN, e->to_green, (struct given){ 0 });
		assert_outcome(a, OPSCASE_DONE);
		answered_done(&a);
		assert_string_equal(harness_get(e->front, "/"), "green");
		a = harness_call(e->ctx, UNDO, e->to_green, (struct given){ .before = before });
		assert_outcome(a, OPSCASE_DONE);
		answered_done(&a);
		assert_file(e, first);
		free(before);
		free(first);
	}
}

#define with_edge(f) cmocka_unit_test_setup_teardown(f, edge_up, edge_down)

int nginx_tests(void)
{
	const struct CMUnitTest tests[] = {
		with_edge(a_flip_moves_the_traffic_and_touches_only_its_servers),
		with_edge(a_dry_run_changes_nothing_and_shows_the_diff),
		with_edge(what_nginx_refuses_leaves_the_old_file_in_force),
		with_edge(the_same_key_twice_is_one_reload),
		with_edge(a_world_that_changed_is_left_alone),
		with_edge(a_binding_that_holds_lets_the_flip_through),
		with_edge(what_somebody_set_after_our_flip_is_not_set_back),
		with_edge(undo_brings_back_the_file_and_the_traffic),
		with_edge(undo_keeps_what_others_changed_beside_the_servers),
		with_edge(undo_of_what_somebody_else_changed_is_refused),
		with_edge(weights_are_written_and_known_options_kept),
		with_edge(killed_between_rename_and_reload_is_seen_and_finished_later),
		with_edge(killed_with_a_file_that_nginx_refuses_the_next_try_puts_the_old_one_back),
		with_edge(cancelled_during_the_test_nothing_has_changed),
		with_edge(a_deadline_during_the_test_puts_the_old_file_back),
		with_edge(draining_waits_for_old_requests_but_the_flip_stands),
		with_edge(an_nginx_that_does_not_run_is_not_touched),
		with_edge(a_stale_pid_file_never_hits_a_stranger),
		with_edge(a_reload_that_brings_no_new_workers_is_unclear),
		with_edge(one_flip_at_a_time),
		with_edge(an_upstream_that_is_not_there_is_said),
		with_edge(a_server_that_could_not_be_written_back_is_left_alone),
		with_edge(broken_files_are_read_without_harm),
	};

	return cmocka_run_group_tests_name("gateway: nginx", tests, NULL, NULL);
}
