#include "with_host.h"
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include "executor/cgroup.h"
#include "wire/json/json.h"

static struct with_host W;

static int set_up(void **state)
{
	(void)state;
	with_host_init(&W, NULL);
	return 0;
}

static void without_cgroup(struct host_config *c)
{
	c->no_cgroup = true;
}

static int set_up_without_cgroup(void **state)
{
	(void)state;
	with_host_init(&W, without_cgroup);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	with_host_done(&W);
	return 0;
}

static unsigned lines_in_ledger(void)
{
	FILE *f = fopen(W.ledger, "r");
	unsigned n = 0;
	int c;

	while (f && (c = fgetc(f)) != EOF)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static json_t *parsed(const struct host_answer *a)
{
	json_t *v = NULL;

	assert_int_equal(json_read_own(a->json, &v, NULL), OC_OK);
	return v;
}

static unsigned entries_of(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* ---- what an ordinary call is */

static void a_call_answers_and_nothing_of_it_is_left(void **state)
{
	struct host_answer a = run(&W, "ledger.append", "{}", 5000);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_DONE);
	assert_true(a.everything_gone);
	assert_false(a.crashed || a.lost || a.garbage || a.timed_out || a.cancelled || a.shared);
	assert_int_equal(a.exit_code, 0);
	assert_int_equal(lines_in_ledger(), 1);
	assert_true(a.pids_count >= 1 && !alive(a.pids[0]));
	assert_int_equal(entries_of(W.scratch), 2);
	host_answer_done(&a);
}

static void a_shared_runner_serves_one_call_after_the_other(void **state)
{
	struct host_answer a = run(&W, "noop", "{\"changed\":3}", 5000), b = run(&W, "noop", "{}", 5000);
	struct host_answer other = run_as(&W, &(struct host_call){ .entry = HOST_RUN,
								   .operation = "noop",
								   .params = "{}",
								   .tenant = "another" });

	(void)state;
	assert_string_equal(a.json, "{\"changed\":3}");
	assert_int_equal(b.outcome, OPSCASE_DONE);
	assert_true(a.shared && b.shared && a.everything_gone);
	assert_int_equal(a.pids[0], b.pids[0]);
	assert_int_not_equal(a.pids[0], other.pids[0]);
	host_answer_done(&a);
	host_answer_done(&b);
	host_answer_done(&other);
}

static void an_idle_shared_runner_that_died_is_replaced_unnoticed(void **state)
{
	struct host_answer a = run(&W, "noop", "{}", 5000), b;

	(void)state;
	kill(a.pids[0], SIGKILL);
	while (alive(a.pids[0]))
		poll(NULL, 0, 1);
	poll(NULL, 0, 100); /* its second thread holds the line a moment longer */
	b = run(&W, "noop", "{}", 5000);
	assert_int_equal(b.outcome, OPSCASE_DONE);
	assert_int_not_equal(a.pids[0], b.pids[0]);
	host_answer_done(&a);
	host_answer_done(&b);
}

/* ---- a crash is unknown */

static void a_crash_is_unknown_and_the_probe_tells(void **state)
{
	struct host_answer before = run(&W, "ledger.append", "{\"crash\":\"before\"}", 5000), after;

	(void)state;
	assert_int_equal(before.outcome, OPSCASE_UNCLEAR);
	assert_true(before.crashed && before.everything_gone);
	assert_int_equal(probe(&W), OPSCASE_NOT_APPLIED);
	after = run(&W, "ledger.append", "{\"crash\":\"after\"}", 5000);
	assert_int_equal(after.outcome, OPSCASE_UNCLEAR);
	assert_true(after.crashed && after.everything_gone);
	assert_int_equal(probe(&W), OPSCASE_APPLIED);
	host_answer_done(&before);
	host_answer_done(&after);
}

static void a_crash_of_a_shared_runner_is_unknown_and_it_is_replaced(void **state)
{
	struct host_answer a = run(&W, "ledgershared.append", "{\"silent\":true}", 5000);
	struct host_answer b = run(&W, "ledgershared.append", "{\"silent\":true,\"crash\":\"after\"}", 5000);
	struct host_answer c = run(&W, "ledgershared.append", "{\"silent\":true}", 5000);

	(void)state;
	assert_int_equal(a.pids[0], b.pids[0]);
	assert_int_equal(b.outcome, OPSCASE_UNCLEAR);
	assert_true(b.crashed && b.everything_gone && !alive(b.pids[0]));
	assert_int_equal(c.outcome, OPSCASE_DONE);
	assert_int_not_equal(b.pids[0], c.pids[0]);
	host_answer_done(&a);
	host_answer_done(&b);
	host_answer_done(&c);
}

static void a_process_that_ends_without_an_answer_is_unknown(void **state)
{
	struct host_answer a = run(&W, "ledger.append", "{\"exit\":true}", 5000);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_UNCLEAR);
	assert_int_equal(a.exit_code, 7);
	assert_true(a.crashed && a.everything_gone);
	host_answer_done(&a);
}

static pid_t parent_of(pid_t pid)
{
	char path[64], line[512];
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f))
		(void)sscanf(strrchr(line, ')') + 1, " %*c %d", &parent);
	fclose(f);
	return parent;
}

static void *kill_keeper_soon(void *arg)
{
	pid_t pid = 0, parent = 0;

	while (pids_read(arg, &pid, 1) == 0)
		poll(NULL, 0, 2);
	/* Left alone, the child of the worker's child is the keeper's, who is ours: but only once its parent has ended. */
	for (int i = 0; i < 5000 && (parent == 0 || parent_of(parent) != getpid()); i++) {
		poll(NULL, 0, 2);
		parent = parent_of(pid);
	}
	if (parent > 0)
		kill(parent, SIGKILL);
	return NULL;
}

static void a_lost_runner_is_unknown(void **state)
{
	AUTO(str)
	char *params = mem_printf("{\"leave\":\"stubborn\",\"hang\":true,\"pid_file\":\"%s\"}", W.pid_file);
	char base[CGROUP_PATH];
	struct host_answer a;
	pthread_t killer;
	pid_t pid = 0;

	(void)state;
	pthread_create(&killer, NULL, kill_keeper_soon, W.pid_file);
	a = run(&W, "ledger.append", params, 20000);
	pthread_join(killer, NULL);
	assert_int_equal(a.outcome, OPSCASE_UNCLEAR);
	assert_true(a.lost);
	assert_int_equal(pids_read(W.pid_file, &pid, 1), 1);
	cgroup_base(base, sizeof(base));
	if (*base) {
		assert_true(a.everything_gone);
		assert_false(alive(pid));
	} else {
		assert_false(a.everything_gone); /* nobody can prove it, so nobody says it */
		kill(pid, SIGKILL);
	}
	host_answer_done(&a);
}

/* ---- nonsense */

static void nonsense_is_unknown_and_hurts_nobody(void **state)
{
	static const char *const how[] = { "not_json", "not_object", "wrong_outcome", "none", "bytes" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		AUTO(str) char *params = mem_printf("{\"answer\":\"%s\"}", how[i]);
		AUTO(str) char *quiet = mem_printf("{\"silent\":true,\"answer\":\"%s\"}", how[i]);
		struct host_answer a = run(&W, "ledger.append", params, 5000);
		struct host_answer b = run(&W, "ledgershared.append", quiet, 5000);

		if (a.outcome != OPSCASE_UNCLEAR || !a.garbage || !a.everything_gone)
			fail_msg("%s: %s %s", how[i], host_outcome_name(a.outcome), a.json);
		if (b.outcome != OPSCASE_UNCLEAR || !b.garbage || alive(b.pids[0]))
			fail_msg("shared %s: %s %s", how[i], host_outcome_name(b.outcome), b.json);
		host_answer_done(&a);
		host_answer_done(&b);
	}
}

static void the_first_of_two_answers_counts(void **state)
{
	struct host_answer a = run(&W, "ledger.append", "{\"answer\":\"twice\"}", 5000);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_DONE);
	assert_string_equal(a.json, "{\"first\":true}");
	host_answer_done(&a);
}

static void an_oversize_answer_is_cut_and_marked(void **state)
{
	struct host_answer a = run(&W, "ledger.append", "{\"answer\":\"oversize\"}", 5000);
	AUTO(json) json_t *v = parsed(&a);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_DONE);
	assert_true(a.json_cut);
	assert_true(json_is_true(json_object_get(v, "cut")));
	assert_int_equal(json_string_length(json_object_get(v, "text")), 256 * 1024);
	host_answer_done(&a);
}

static void output_is_kept_up_to_its_limit(void **state)
{
	struct host_answer a = run(&W, "ledger.append", "{\"print\":5000000}", 20000);
	struct host_answer b = run(&W, "ledgershared.append", "{\"silent\":true,\"print\":3000}", 20000);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_DONE);
	assert_true(a.out_cut);
	assert_int_equal(strlen(a.out), 1 << 20);
	assert_string_equal(a.err, "printed\n");
	assert_false(a.err_cut);
	assert_int_equal(strlen(b.out), 3000);
	host_answer_done(&a);
	host_answer_done(&b);
}

static void what_is_not_utf8_is_made_whole(void **state)
{
	struct host_answer a = run(&W, "ledger.append", "{\"answer\":\"utf8\"}", 5000);

	(void)state;
	assert_string_equal(a.json, "{\"x\":\"??\"}");
	host_answer_done(&a);
}

/* ---- the end, and the proof */

static void leave_and_look(const char *how, const char *more, int64_t timeout_ms, size_t expected,
			   struct host_answer *ret)
{
	AUTO(str)
	char *params = mem_printf("{\"leave\":\"%s\",\"pid_file\":\"%s\"%s}", how, W.pid_file, more);
	pid_t pids[64];
	size_t n;

	unlink(W.pid_file);
	*ret = run(&W, "ledger.append", params, timeout_ms);
	n = pids_read(W.pid_file, pids, ARRAY_LEN(pids));
	assert_int_equal(n, expected);
	assert_int_equal(count_alive(pids, n), 0);
	assert_true(ret->everything_gone);
}

static void what_a_call_leaves_behind_is_killed(void **state)
{
	static const char *const how[] = { "child", "double", "many" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		struct host_answer a;

		leave_and_look(how[i], "", 20000, strcmp(how[i], "many") == 0 ? 20 : 1, &a);
		assert_int_equal(a.outcome, OPSCASE_DONE);
		host_answer_done(&a);
	}
}

static void at_the_deadline_all_are_killed_also_who_forked_twice_and_called_setsid(void **state)
{
	struct host_answer a;
	pid_t stubborn = 0;
	bool seen = false;

	(void)state;
	leave_and_look("stubborn", ",\"hang\":true", 1000, 1, &a);
	assert_int_equal(a.outcome, OPSCASE_UNCLEAR);
	assert_true(a.timed_out);
	assert_true(a.duration_us < 8000000);
	pids_read(W.pid_file, &stubborn, 1);
	for (size_t i = 0; i < a.pids_count; i++)
		seen = seen || a.pids[i] == stubborn;
	assert_true(seen);
	host_answer_done(&a);
	leave_and_look("many", ",\"hang\":true", 1500, 20, &a);
	assert_true(a.timed_out);
	host_answer_done(&a);
}

struct pull {
	struct host_leash *leash;
	int after_ms;
};

static void *pull_soon(void *arg)
{
	struct pull *p = arg;

	poll(NULL, 0, p->after_ms);
	host_leash_cancel(p->leash);
	return NULL;
}

static struct host_answer cancel_while(const char *operation, const char *params, int after_ms)
{
	AUTO(host_leash) struct host_leash *leash = host_leash_new();
	struct pull p = { leash, after_ms };
	struct host_answer a;
	pthread_t thread;

	pthread_create(&thread, NULL, pull_soon, &p);
	a = run_as(&W, &(struct host_call){ .entry = HOST_RUN,
					    .operation = operation,
					    .params = params,
					    .idempotency_key = KEY,
					    .tenant = "t",
					    .timeout_ms = 60000,
					    .leash_ref = leash });
	pthread_join(thread, NULL);
	assert_true(a.duration_us < 10000000);
	assert_true(a.everything_gone);
	return a;
}

static void cancel_is_honoured_and_proven(void **state)
{
	struct host_answer a = cancel_while("ledger.append", "{\"sleep_ms\":60000}", 100);
	struct host_answer b = cancel_while("ledgershared.append", "{\"sleep_ms\":60000}", 100);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_CANCELLED);
	assert_true(a.cancelled);
	assert_int_equal(b.outcome, OPSCASE_CANCELLED);
	assert_true(b.cancelled && !alive(b.pids[0]));
	assert_int_equal(lines_in_ledger(), 0);
	host_answer_done(&a);
	host_answer_done(&b);
}

static void who_does_not_hear_cancel_is_killed_and_the_outcome_is_unknown(void **state)
{
	struct host_answer a = cancel_while("ledger.append", "{\"hang\":true}", 200);
	struct host_answer b = cancel_while("ledgershared.append", "{\"silent\":true,\"hang\":true}", 200);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_UNCLEAR);
	assert_true(a.cancelled && !a.crashed);
	assert_int_equal(b.outcome, OPSCASE_UNCLEAR);
	assert_true(b.cancelled && !alive(b.pids[0]));
	host_answer_done(&a);
	host_answer_done(&b);
}

static void a_cancel_before_the_start_starts_nothing(void **state)
{
	AUTO(host_leash) struct host_leash *leash = host_leash_new();
	struct host_answer a;

	(void)state;
	host_leash_cancel(leash);
	a = run_as(&W, &(struct host_call){ .entry = HOST_RUN,
					    .operation = "ledger.append",
					    .params = "{}",
					    .leash_ref = leash });
	assert_int_equal(a.outcome, OPSCASE_CANCELLED);
	assert_int_equal(a.pids_count, 0);
	assert_int_equal(lines_in_ledger(), 0);
	host_answer_done(&a);
}

static void the_deadline_of_a_shared_runner_holds(void **state)
{
	struct host_answer a = run(&W, "ledgershared.append", "{\"silent\":true,\"hang\":true}", 300);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_UNCLEAR);
	assert_true(a.timed_out && a.everything_gone && !alive(a.pids[0]));
	host_answer_done(&a);
}

static void a_lease_that_is_not_extended_ends_the_call(void **state)
{
	static const char *const operations[] = { "ledger.append", "ledgershared.append" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		AUTO(host_leash) struct host_leash *leash = host_leash_new();
		struct host_answer a;

		host_leash_extend(leash, 1200); /* of which 500 are needed to end it */
		a = run_as(&W, &(struct host_call){ .entry = HOST_RUN,
						    .operation = operations[i],
						    .params = "{\"silent\":true,\"hang\":true}",
						    .timeout_ms = 60000,
						    .leash_ref = leash });
		assert_int_equal(a.outcome, OPSCASE_UNCLEAR);
		assert_true(a.timed_out && a.everything_gone);
		assert_true(a.duration_us < 5000000);
		host_answer_done(&a);
	}
}

static atomic_bool call_is_over;

/* For as long as the call takes, however slow the machine is. */
static void *extend_often(void *arg)
{
	while (!atomic_load(&call_is_over)) {
		host_leash_extend(arg, 3000);
		poll(NULL, 0, 100);
	}
	return NULL;
}

static void a_lease_that_is_extended_does_not(void **state)
{
	AUTO(host_leash) struct host_leash *leash = host_leash_new();
	struct host_answer a;
	pthread_t thread;

	(void)state;
	atomic_store(&call_is_over, false);
	host_leash_extend(leash, 3000);
	pthread_create(&thread, NULL, extend_often, leash);
	a = run_as(&W, &(struct host_call){ .entry = HOST_RUN,
					    .operation = "ledger.append",
					    .params = "{\"sleep_ms\":3500}",
					    .timeout_ms = 60000,
					    .leash_ref = leash });
	atomic_store(&call_is_over, true);
	pthread_join(thread, NULL);
	assert_int_equal(a.outcome, OPSCASE_DONE);
	assert_false(a.timed_out);
	host_answer_done(&a);
}

static void an_answer_stands_even_if_close_hangs(void **state)
{
	struct host_answer a = run(&W, "ledger.append", "{\"hang_close\":true}", 30000);

	(void)state;
	assert_int_equal(a.outcome, OPSCASE_DONE);
	assert_true(a.everything_gone);
	assert_true(a.duration_us < 10000000);
	host_answer_done(&a);
}

/* The whole service is shot while a stubborn family runs. */
static void when_the_host_is_killed_everything_dies(const char *operation, const char *params,
						    size_t expected)
{
	pid_t pids[8], service = fork();
	size_t n = 0;

	if (service == 0) {
		struct host_answer a = run(&W, operation, params, 60000);

		_exit(a.outcome == OPSCASE_DONE);
	}
	while ((n = pids_read(W.pid_file, pids, ARRAY_LEN(pids))) < expected)
		poll(NULL, 0, 5);
	assert_int_equal(count_alive(pids, n), expected);
	kill(service, SIGKILL);
	waitpid(service, NULL, 0);
	for (int i = 0; i < 1000 && count_alive(pids, n); i++)
		poll(NULL, 0, 10);
	assert_int_equal(count_alive(pids, n), 0);
}

static void a_killed_service_takes_its_runners_with_it(void **state)
{
	AUTO(str)
	char *params = mem_printf("{\"leave\":\"stubborn\",\"hang\":true,\"pid_file\":\"%s\"}", W.pid_file);

	(void)state;
	when_the_host_is_killed_everything_dies("ledger.append", params, 1);
}

/* ---- the jail */

static bool holds_text(const json_t *list, const char *text)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (strstr(json_string_value(json_array_get(list, i)), text))
			return true;
	}
	return false;
}

static void the_environment_is_closed_and_no_descriptor_is_inherited(void **state)
{
	int not_cloexec = open("/dev/null", O_RDONLY);
	struct host_answer a;
	json_t *fds;

	(void)state;
	setenv("OPSCASE_SECRET_OF_THE_SERVICE", "tell nobody", 1);
	a = run(&W, "ledger.append", "{\"show\":\"jail\"}", 5000);
	{
		AUTO(json) json_t *v = parsed(&a);
		json_t *env = json_object_get(v, "env");

		assert_false(holds_text(env, "tell nobody"));
		assert_false(holds_text(env, "OPSCASE"));
		for (size_t i = 0; i < json_array_size(env); i++) {
			const char *e = json_string_value(json_array_get(env, i));

			assert_true(strncmp(e, "PATH=", 5) == 0 || strncmp(e, "LANG=", 5) == 0 ||
				    strncmp(e, "HOME=", 5) == 0 || strncmp(e, "TMPDIR=", 7) == 0 ||
				    strstr(e, "SAN_"));
		}
		fds = json_object_get(v, "fds");
		for (size_t i = 0; i < json_array_size(fds); i++)
			assert_true(json_int_or(json_array_get(fds, i), "fd", 99) <= 4);
		assert_true(str_starts(json_str(v, "cwd"), W.scratch));
		assert_int_equal(json_int_or(v, "socket_errno", 0), EPERM);
	}
	close(not_cloexec);
	unsetenv("OPSCASE_SECRET_OF_THE_SERVICE");
	host_answer_done(&a);
}

static void a_shared_runner_can_start_no_process_and_write_nowhere(void **state)
{
	struct host_answer a = run(&W, "ledgershared.append", "{\"silent\":true,\"show\":\"jail\"}", 5000);
	AUTO(json) json_t *v = parsed(&a);

	(void)state;
	assert_int_equal(json_int_or(v, "fork", 0), EPERM);
	assert_int_equal(json_int_or(v, "socket_errno", 0), EPERM);
	assert_int_equal(json_int_or(v, "outside_errno", 0), EACCES);
	host_answer_done(&a);
}

static void an_adapter_cannot_signal_its_keeper_nor_everybody(void **state)
{
	struct host_answer a = run(&W, "ledger.append", "{\"kill_parent\":true}", 5000);
	AUTO(json) json_t *v = parsed(&a);

	(void)state;
	assert_int_equal(json_int_or(v, "keeper", 0), EPERM);
	assert_int_equal(json_int_or(v, "all", 0), EPERM);
	assert_int_equal(json_int_or(v, "group", 0), EPERM);
	host_answer_done(&a);
}

#define SECRET "s3cr3t-of-the-target-0815"

static enum oc_err the_secret(void *arg, const struct host_call *call, const char *adapter, const char *name,
			      char **ret_value, struct oc_fail *reterr)
{
	(void)arg, (void)call, (void)adapter, (void)reterr;
	if (strcmp(name, "token") != 0)
		return OC_NOT_FOUND;
	*ret_value = mem_strdup(SECRET);
	return OC_OK;
}

static void with_secret(struct host_config *c)
{
	c->secret = the_secret;
}

static int set_up_with_secret(void **state)
{
	(void)state;
	with_host_init(&W, with_secret);
	return 0;
}

static atomic_bool looking;
static atomic_int looked_at;

static bool file_holds(const char *path, const char *needle)
{
	static _Thread_local char buf[131072];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, sizeof(buf)) : 0;

	if (fd >= 0)
		close(fd);
	return n > 0 && memmem(buf, (size_t)n, needle, strlen(needle));
}

static void *look_into_proc(void *arg)
{
	bool *found = arg;

	while (atomic_load(&looking)) {
		DIR *d = opendir("/proc");
		struct dirent *e;

		while ((e = readdir(d)) != NULL) {
			char path[300];

			if (atoi(e->d_name) <= 0)
				continue;
			snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
			if (file_holds(path, "opscase-runner"))
				atomic_fetch_add(&looked_at, 1);
			if (file_holds(path, SECRET))
				*found = true;
			snprintf(path, sizeof(path), "/proc/%s/environ", e->d_name);
			if (file_holds(path, SECRET))
				*found = true;
		}
		closedir(d);
	}
	return NULL;
}

static void secrets_are_in_no_command_line_and_no_environment(void **state)
{
	struct host_answer a;
	pthread_t thread;
	bool found = false;

	(void)state;
	atomic_store(&looking, true);
	pthread_create(&thread, NULL, look_into_proc, &found);
	a = run(&W, "ledger.append", "{\"show\":\"secret\",\"after_ms\":500}", 10000);
	atomic_store(&looking, false);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&looked_at) > 0);
	assert_false(found);
	{
		AUTO(json) json_t *v = parsed(&a);

		assert_int_equal(json_int_or(v, "secrets_bytes", 0), strlen("{\"token\":\"" SECRET "\"}"));
	}
	assert_null(strstr(a.json, SECRET));
	host_answer_done(&a);
}

/* ---- refusals before anything starts */

static void expect_error(const struct host_call *call, enum oc_err expected, const char *word)
{
	struct host_answer a;
	struct oc_fail fail = { 0 };
	enum oc_err err = host_call(W.host, call, &a, &fail);

	if (err != expected || !strstr(fail.text, word))
		fail_msg("%s %s", oc_err_name(err), fail.text);
	host_answer_done(&a);
}

static void what_cannot_be_called_is_refused_with_a_sentence(void **state)
{
	(void)state;
	expect_error(&(struct host_call){ .entry = HOST_RUN, .operation = "no.such", .params = "{}" },
		     OC_NOT_FOUND, "no.such");
	expect_error(&(struct host_call){ .entry = HOST_VALIDATE,
					  .operation = "ledger.append",
					  .params = "{}" },
		     OC_ILLEGAL, "no validate");
	expect_error(&(struct host_call){ .entry = HOST_RUN,
					  .operation = "ledger.append",
					  .params = "{\"line\":7}" },
		     OC_INVALID, "");
	expect_error(&(struct host_call){ .entry = HOST_RUN,
					  .operation = "ledger.append",
					  .params = "not json" },
		     OC_INVALID, "JSON");
}

static void refusing_settings(struct host_config *c)
{
	c->settings = "{\"ledger\":{\"refuse\":\"I want more\"},\"noop\":{\"x\":1}}";
}

static int set_up_refusing(void **state)
{
	(void)state;
	with_host_init(&W, refusing_settings);
	return 0;
}

static void settings_that_do_not_fit_stop_that_adapter_only(void **state)
{
	(void)state;
	assert_non_null(host_problem(W.host, "noop"));
	assert_null(host_problem(W.host, "ledger"));
	expect_error(&(struct host_call){ .entry = HOST_RUN, .operation = "noop", .params = "{}" },
		     OC_UNAVAILABLE, "settings");
	expect_error(&(struct host_call){ .entry = HOST_RUN, .operation = "ledger.append", .params = "{}" },
		     OC_UNAVAILABLE, "I want more");
}

static void count_progress(void *arg, const char *sentence)
{
	assert_string_equal(sentence, "one more step");
	++*(int *)arg;
}

static void progress_is_passed_on_up_to_a_limit(void **state)
{
	struct host_answer a;
	int n = 0;

	(void)state;
	a = run_as(&W, &(struct host_call){ .entry = HOST_RUN,
					    .operation = "ledger.append",
					    .params = "{\"progress\":5000}",
					    .progress = count_progress,
					    .progress_arg = &n });
	assert_int_equal(a.outcome, OPSCASE_DONE);
	assert_int_equal(n, 1000);
	host_answer_done(&a);
}

/* ---- many, and nothing left over */

static atomic_int good_calls;

static void *one_noop(void *arg)
{
	struct host_answer a;
	struct oc_fail fail;

	(void)arg;
	if (host_call(W.host,
		      &(struct host_call){ .entry = HOST_RUN,
					   .operation = "noop",
					   .params = "{}",
					   .tenant = "t",
					   .timeout_ms = 60000 },
		      &a, &fail) == OC_OK &&
	    a.outcome == OPSCASE_DONE && a.shared)
		atomic_fetch_add(&good_calls, 1);
	host_answer_done(&a);
	return NULL;
}

static void two_hundred_calls_at_once_share_a_few_runners(void **state)
{
	pthread_t threads[200];
	pthread_attr_t attr;

	(void)state;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 512 * 1024);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], &attr, one_noop, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	pthread_attr_destroy(&attr);
	assert_int_equal(atomic_load(&good_calls), 200);
	assert_true(entries_of(W.scratch) <= 2 + 4);
}

static void calls_of_every_kind_leave_no_descriptor_no_child_and_no_folder(void **state)
{
	static const char *const params[] = { "{}",
					      "{\"crash\":\"after\"}",
					      "{\"answer\":\"bytes\"}",
					      "{\"hang\":true}",
					      "{\"leave\":\"double\"}",
					      "{\"print\":200000}" };
	unsigned before = 0;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_LEN(params); i++) {
			struct host_answer a =
				run(&W, "ledger.append", params[i], strstr(params[i], "hang") ? 200 : 5000);
			struct host_answer b;

			host_answer_done(&a);
			b = run(&W, "ledgershared.append", "{\"silent\":true}", 5000);
			host_answer_done(&b);
		}
		host_renew(W.host);
		if (round == 0)
			before = entries_of("/proc/self/fd");
	}
	assert_int_equal(entries_of("/proc/self/fd"), before);
	assert_int_equal(entries_of(W.scratch), 2);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_folder_of_a_dead_service_is_swept(void **state)
{
	AUTO(str) char *stale = mem_printf("%s/call-%d-abcdef", W.scratch, 4194303);
	AUTO(str) char *inside = mem_printf("%s/x", stale);

	(void)state;
	mkdir(stale, 0700);
	mkdir(inside, 0000);
	scratch_sweep(W.scratch);
	assert_int_not_equal(access(stale, F_OK), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define T_BOTH(name)                                                                      \
	T(name),                                                                          \
	{                                                                                 \
		#name " (without a cgroup)", name, set_up_without_cgroup, tear_down, NULL \
	}
	const struct CMUnitTest tests[] = {
		T(a_call_answers_and_nothing_of_it_is_left),
		T(a_shared_runner_serves_one_call_after_the_other),
		T(an_idle_shared_runner_that_died_is_replaced_unnoticed),
		T(a_crash_is_unknown_and_the_probe_tells),
		T(a_crash_of_a_shared_runner_is_unknown_and_it_is_replaced),
		T(a_process_that_ends_without_an_answer_is_unknown),
		T(a_lost_runner_is_unknown),
		T(nonsense_is_unknown_and_hurts_nobody),
		T(the_first_of_two_answers_counts),
		T(an_oversize_answer_is_cut_and_marked),
		T(output_is_kept_up_to_its_limit),
		T(what_is_not_utf8_is_made_whole),
		T_BOTH(what_a_call_leaves_behind_is_killed),
		T_BOTH(at_the_deadline_all_are_killed_also_who_forked_twice_and_called_setsid),
		T(cancel_is_honoured_and_proven),
		T(who_does_not_hear_cancel_is_killed_and_the_outcome_is_unknown),
		T(a_cancel_before_the_start_starts_nothing),
		T(the_deadline_of_a_shared_runner_holds),
		T(a_lease_that_is_not_extended_ends_the_call),
		T(a_lease_that_is_extended_does_not),
		T(an_answer_stands_even_if_close_hangs),
		T_BOTH(a_killed_service_takes_its_runners_with_it),
		T(the_environment_is_closed_and_no_descriptor_is_inherited),
		T(a_shared_runner_can_start_no_process_and_write_nowhere),
		T(an_adapter_cannot_signal_its_keeper_nor_everybody),
		cmocka_unit_test_setup_teardown(secrets_are_in_no_command_line_and_no_environment,
						set_up_with_secret, tear_down),
		T(what_cannot_be_called_is_refused_with_a_sentence),
		cmocka_unit_test_setup_teardown(settings_that_do_not_fit_stop_that_adapter_only,
						set_up_refusing, tear_down),
		T(progress_is_passed_on_up_to_a_limit),
		T(two_hundred_calls_at_once_share_a_few_runners),
		T(calls_of_every_kind_leave_no_descriptor_no_child_and_no_folder),
		T(a_folder_of_a_dead_service_is_swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
