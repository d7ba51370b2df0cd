/* What script.exec promises beyond the contract, through the host. */
#include "with_host.h"
#include <poll.h>
#include <pthread.h>
#include "base/text.h"
#include "wire/json/json.h"

static char *dir, *scratch, *state_dir, *world, *settings;
static struct registry *registry;
static struct host *host;

static void start(const char *user)
{
	char made[] = "/tmp/opscase-script-XXXXXX";
	AUTO(str) char *so = NULL;
	struct oc_fail fail = { 0 };
	struct host_config config = { .runner_path = RUNNER, .grace_ms = 2000, .term_ms = 300 };

	assert_non_null(mkdtemp(made));
	chmod(made, 0755);
	dir = mem_strdup(made);
	scratch = mem_printf("%s/scratch", dir);
	state_dir = mem_printf("%s/state", dir);
	world = mem_printf("%s/world", dir);
	settings = mem_printf("{\"script\":{\"write_paths\":[\"%s\"]%s%s%s}}", world,
			      user ? ",\"user\":\"" : "", user ? user : "", user ? "\"" : "");
	so = mem_printf("%s/script.so", dir);
	mkdir(scratch, 0711);
	mkdir(state_dir, 0700);
	mkdir(world, 0777);
	assert_int_equal(symlink(OPSCASE_BINARY_DIR "/lib/opscase/adapters/script.so", so), 0);
	if (registry_open(&(struct registry_config){ .runner_path = RUNNER, .dir = dir }, &registry, &fail) !=
	    OC_OK)
		fail_msg("%s", fail.text);
	config.registry_ref = registry;
	config.settings = settings;
	config.scratch_dir = scratch;
	config.state_dir = state_dir;
	if (host_new(&config, &host, &fail) != OC_OK)
		fail_msg("%s", fail.text);
}

static int set_up(void **state)
{
	(void)state;
	start(NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	host_free(host);
	registry_free(registry);
	scratch_remove(dir);
	free(dir);
	free(scratch);
	free(state_dir);
	free(world);
	free(settings);
	return 0;
}

static struct host_answer call(enum host_entry entry, const char *params, const char *expected)
{
	struct host_answer a;
	struct oc_fail fail = { 0 };

	if (host_call(host,
		      &(struct host_call){ .entry = entry,
					   .operation = "script.exec",
					   .params = params,
					   .idempotency_key = KEY,
					   .expected_binding = expected,
					   .target = "{\"urn\":\"urn:host:here\"}",
					   .timeout_ms = 20000 },
		      &a, &fail) != OC_OK)
		fail_msg("%s at %s", fail.text, fail.field);
	assert_true(a.everything_gone);
	return a;
}

static void expect(enum host_entry entry, const char *params, enum opscase_outcome outcome, const char *out)
{
	struct host_answer a = call(entry, params, NULL);

	if (a.outcome != outcome || (out && !strstr(a.out, out)))
		fail_msg("%s %s: %s %s\nout: %s\nerr: %s", host_entry_name(entry), params,
			 host_outcome_name(a.outcome), a.json, a.out, a.err);
	host_answer_done(&a);
}

/* A fresh key for what is not about keys. */
static void forget(void)
{
	AUTO(str) char *marks = mem_printf("%s/script", state_dir);

	scratch_wipe(marks);
}

static void run_gives(const char *params, enum opscase_outcome outcome, const char *out)
{
	forget();
	expect(HOST_RUN, params, outcome, out);
}

static void argv_reaches_the_program_as_it_is(void **state)
{
	(void)state;
	run_gives("{\"argv\":[\"printf\",\"<%s>\",\"a b\",\"$HOME;`id`\",\"\"]}", OPSCASE_DONE,
		  "<a b><$HOME;`id`><>");
}

static void a_script_body_is_read_by_its_interpreter(void **state)
{
	(void)state;
	run_gives("{\"script\":\"x=one\\necho $x two\\n\"}", OPSCASE_DONE, "one two\n");
	run_gives("{\"script\":\"echo $BASH_VERSION\",\"interpreter\":\"/bin/bash\"}", OPSCASE_DONE, "5.");
}

static void environment_input_and_folder_are_the_steps_own(void **state)
{
	(void)state;
	run_gives("{\"argv\":[\"env\"],\"env\":{\"A\":\"b c\",\"LANG\":\"C\"}}", OPSCASE_DONE, "A=b c");
	run_gives("{\"script\":\"env | cut -d= -f1 | sort | tr '\\\\n' ' '\"}", OPSCASE_DONE,
		  "HOME LANG OPSCASE_KEY OPSCASE_TARGET PATH PWD TMPDIR ");
	run_gives("{\"argv\":[\"cat\"],\"stdin\":\"hello there\"}", OPSCASE_DONE, "hello there");
	run_gives("{\"argv\":[\"pwd\"]}", OPSCASE_DONE, scratch);
	run_gives("{\"argv\":[\"pwd\"],\"cwd\":\"/usr\"}", OPSCASE_DONE, "/usr\n");
	run_gives("{\"script\":\"ls /proc/self/fd | wc -l\"}", OPSCASE_DONE, "4\n"); /* 0 1 2 and ls's own */
}

static void the_exit_code_decides(void **state)
{
	(void)state;
	run_gives("{\"argv\":[\"false\"]}", OPSCASE_FAILED, NULL);
	run_gives("{\"script\":\"exit 3\",\"expect_exit\":[0,3]}", OPSCASE_DONE, NULL);
	run_gives("{\"script\":\"kill -9 $$\"}", OPSCASE_FAILED, NULL);
	run_gives("{\"argv\":[\"no-such-program\"]}", OPSCASE_NOT_APPLIED, NULL);
	expect(HOST_PROBE, "{\"argv\":[\"no-such-program\"]}", OPSCASE_NOT_APPLIED,
	       NULL); /* and no mark stays */
}

static void files_are_written_only_where_it_may(void **state)
{
	AUTO(str) char *outside = mem_printf("{\"argv\":[\"touch\",\"%s/x\"]}", world);
	AUTO(str)
	char *allowed = mem_printf("{\"argv\":[\"touch\",\"%s/x\"],\"write_paths\":[\"%s\"]}", world, world);
	AUTO(str) char *link_path = mem_printf("%s/link", world);
	AUTO(str) char *by_link = mem_printf("{\"argv\":[\"true\"],\"write_paths\":[\"%s\"]}", link_path);

	(void)state;
	run_gives(outside, OPSCASE_FAILED, NULL);
	run_gives("{\"argv\":[\"touch\",\"/etc/opscase-was-here\"]}", OPSCASE_FAILED, NULL);
	run_gives("{\"script\":\"echo x > in-scratch && cat in-scratch && echo y > /dev/null\"}",
		  OPSCASE_DONE, "x\n");
	run_gives(allowed, OPSCASE_DONE, NULL);
	run_gives("{\"argv\":[\"true\"],\"write_paths\":[\"/etc\"]}", OPSCASE_REFUSED, NULL);
	assert_int_equal(symlink("/etc", link_path), 0);
	run_gives(by_link, OPSCASE_NOT_APPLIED, NULL);
}

static void there_is_no_network_unless_the_step_asks(void **state)
{
	static const char dial[] =
		"\"argv\":[\"bash\",\"-c\",\"exec 3<>/dev/tcp/127.0.0.1/9\"],\"expect_exit\":[1]";
	AUTO(str) char *without = mem_printf("{%s}", dial);
	AUTO(str) char *with = mem_printf("{%s,\"network\":true}", dial);
	struct host_answer a;

	(void)state;
	forget();
	a = call(HOST_RUN, without, NULL);
	assert_non_null(strstr(a.err, "Operation not permitted"));
	host_answer_done(&a);
	forget();
	a = call(HOST_RUN, with, NULL);
	assert_non_null(strstr(a.err, "refused"));
	host_answer_done(&a);
}

static void others_are_signalled_only_if_the_step_asks(void **state)
{
	pid_t other = fork();
	AUTO(str) char *without = NULL;
	AUTO(str) char *with = NULL;

	(void)state;
	if (other == 0) {
		for (;;)
			pause();
	}
	without = mem_printf("{\"argv\":[\"/bin/kill\",\"-0\",\"%d\"],\"expect_exit\":[1]}", (int)other);
	with = mem_printf("{\"argv\":[\"/bin/kill\",\"-0\",\"%d\"],\"signals\":true}", (int)other);
	run_gives(without, OPSCASE_DONE, NULL);
	run_gives(with, OPSCASE_DONE, NULL);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
}

static void limits_hold(void **state)
{
	(void)state;
	run_gives(
		"{\"script\":\"ulimit -n; ulimit -t; ulimit -f\",\"limits\":{\"files\":64,\"cpu_s\":5,\"file_mb\":1}}",
		OPSCASE_DONE, "64\n5\n2048");
	run_gives("{\"argv\":[\"head\",\"-c\",\"2000000\",\"/dev/zero\"],\"limits\":{\"file_mb\":0}}",
		  OPSCASE_DONE, NULL); /* a pipe is no file */
	run_gives("{\"script\":\"head -c 2000000 /dev/zero > big\",\"limits\":{\"file_mb\":1}}",
		  OPSCASE_FAILED, NULL);
}

static void a_daemon_that_a_script_starts_does_not_outlive_it(void **state)
{
	AUTO(str)
	char *params =
		mem_printf("{\"script\":\"setsid sh -c 'trap \\\"\\\" TERM; echo $$ > %s/pid; sleep 600' &\\n"
			   "while [ ! -s %s/pid ]; do sleep 0.01; done\",\"write_paths\":[\"%s\"]}",
			   world, world, world);
	AUTO(str) char *file = mem_printf("%s/pid", world);
	pid_t pid = 0;

	(void)state;
	run_gives(params, OPSCASE_DONE, NULL);
	assert_int_equal(pids_read(file, &pid, 1), 1);
	assert_false(alive(pid));
}

/* ---- marks */

static void the_same_key_runs_once(void **state)
{
	AUTO(str)
	char *params = mem_printf("{\"script\":\"echo x >> %s/n; wc -l < %s/n\",\"write_paths\":[\"%s\"]}",
				  world, world, world);
	struct host_answer a;

	(void)state;
	expect(HOST_PROBE, params, OPSCASE_NOT_APPLIED, NULL);
	expect(HOST_RUN, params, OPSCASE_DONE, "1\n");
	a = call(HOST_RUN, params, NULL);
	assert_int_equal(a.outcome, OPSCASE_DONE);
	assert_non_null(strstr(a.json, "\"already\":true"));
	assert_string_equal(a.out, "");
	host_answer_done(&a);
	expect(HOST_PROBE, params, OPSCASE_APPLIED, NULL);
}

static void *kill_worker_soon(void *arg)
{
	pid_t sleeper = 0;
	char path[64], line[512] = "", *end;
	int parent = 0;
	FILE *f;

	while (pids_read(arg, &sleeper, 1) == 0)
		poll(NULL, 0, 2);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)sleeper);
	f = fopen(path, "r");
	if (f && fgets(line, sizeof(line), f) && (end = strrchr(line, ')')))
		sscanf(end + 1, " %*c %d", &parent);
	if (f)
		fclose(f);
	if (parent > 1)
		kill(parent, SIGKILL);
	return NULL;
}

static void crash_while_running(const char *more)
{
	AUTO(str)
	char *params = mem_printf("{\"script\":\"echo $$ > %s/pid; sleep 30\",\"write_paths\":[\"%s\"]%s}",
				  world, world, more);
	AUTO(str) char *file = mem_printf("%s/pid", world);
	pthread_t killer;

	unlink(file);
	pthread_create(&killer, NULL, kill_worker_soon, file);
	expect(HOST_RUN, params, OPSCASE_UNCLEAR, NULL);
	pthread_join(killer, NULL);
}

static void after_a_crash_without_a_check_nobody_knows(void **state)
{
	(void)state;
	crash_while_running("");
	expect(HOST_PROBE, "{\"argv\":[\"true\"]}", OPSCASE_UNCLEAR, NULL);
	expect(HOST_RUN, "{\"argv\":[\"true\"]}", OPSCASE_UNCLEAR, NULL); /* and it is not run again */
}

static void after_a_crash_the_check_knows(void **state)
{
	(void)state;
	crash_while_running(",\"check\":{\"argv\":[\"false\"]}");
	expect(HOST_PROBE, "{\"argv\":[\"true\"],\"check\":{\"argv\":[\"false\"]}}", OPSCASE_NOT_APPLIED,
	       NULL);
	expect(HOST_PROBE, "{\"argv\":[\"true\"],\"check\":{\"argv\":[\"true\"]}}", OPSCASE_APPLIED, NULL);
	expect(HOST_PROBE, "{\"argv\":[\"true\"],\"check\":{\"argv\":[\"sh\",\"-c\",\"exit 2\"]}}",
	       OPSCASE_UNCLEAR, NULL);
	expect(HOST_RUN, "{\"argv\":[\"echo\",\"again\"],\"check\":{\"argv\":[\"false\"]}}", OPSCASE_DONE,
	       "again");
}

static void a_check_writes_nothing(void **state)
{
	AUTO(str)
	char *params = mem_printf(
		"{\"argv\":[\"true\"],\"write_paths\":[\"%s\"],\"check\":{\"argv\":[\"touch\",\"%s/looked\"]}}",
		world, world);

	(void)state;
	expect(HOST_PROBE, params, OPSCASE_NOT_APPLIED, NULL); /* touch says 1 */
}

static void a_program_that_was_replaced_is_not_run(void **state)
{
	AUTO(str) char *program = mem_printf("%s/mend", world);
	AUTO(str) char *params = mem_printf("{\"argv\":[\"%s\"]}", program);
	AUTO(str)
	char *command =
		mem_printf("printf '#!/bin/sh\\necho good\\n' > '%s' && chmod 755 '%s'", program, program);
	AUTO(str)
	char *replace = mem_printf(
		"printf '#!/bin/sh\\necho evil\\n' > '%s.new' && chmod 755 '%s.new' && mv '%s.new' '%s'",
		program, program, program, program);
	AUTO(str) char *binding = NULL;
	struct host_answer a;

	(void)state;
	assert_int_equal(system(command), 0);
	a = call(HOST_PROBE, params, NULL);
	{
		AUTO(json) json_t *v = NULL;

		assert_int_equal(json_read_own(a.json, &v, NULL), OC_OK);
		binding = json_text(json_object_get(v, "binding"));
	}
	host_answer_done(&a);
	assert_int_equal(system(replace), 0);
	a = call(HOST_RUN, params, binding);
	assert_int_equal(a.outcome, OPSCASE_WORLD_CHANGED);
	assert_string_equal(a.out, "");
	host_answer_done(&a);
}

static void undo_is_what_the_step_says_and_once(void **state)
{
	AUTO(str)
	char *params = mem_printf(
		"{\"argv\":[\"true\"],\"write_paths\":[\"%s\"],\"undo\":{\"script\":\"echo u >> %s/undone; wc -l < %s/undone\"}}",
		world, world, world);

	(void)state;
	expect(HOST_RUN, params, OPSCASE_DONE, NULL);
	expect(HOST_UNDO, params, OPSCASE_DONE, "1\n");
	expect(HOST_UNDO, params, OPSCASE_DONE, "");
	expect(HOST_PROBE, params, OPSCASE_NOT_APPLIED, NULL);
	expect(HOST_RUN, params, OPSCASE_DONE, NULL);
	expect(HOST_UNDO, params, OPSCASE_DONE, "2\n");
	expect(HOST_UNDO, "{\"argv\":[\"true\"]}", OPSCASE_REFUSED, NULL);
}

static void the_approver_sees_what_would_run(void **state)
{
	struct host_answer a = call(
		HOST_DRY_RUN,
		"{\"argv\":[\"systemctl\",\"restart\",\"it's\"],\"network\":true,\"check\":{\"argv\":[\"true\"]}}",
		NULL);
	AUTO(json) json_t *v = NULL;
	const char *diff;

	(void)state;
	assert_int_equal(json_read_own(a.json, &v, NULL), OC_OK);
	diff = json_str(v, "diff");
	assert_non_null(strstr(diff, "+ systemctl restart 'it'\\''s'\n"));
	assert_non_null(strstr(diff, "network: yes"));
	assert_non_null(strstr(diff, "checked by"));
	host_answer_done(&a);
}

static void programs_run_as_the_user_of_the_settings(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	tear_down(NULL);
	start("nobody");
	run_gives("{\"script\":\"id -un; echo x > mine && cat mine\"}", OPSCASE_DONE, "nobody\nx\n");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(argv_reaches_the_program_as_it_is),
		T(a_script_body_is_read_by_its_interpreter),
		T(environment_input_and_folder_are_the_steps_own),
		T(the_exit_code_decides),
		T(files_are_written_only_where_it_may),
		T(there_is_no_network_unless_the_step_asks),
		T(others_are_signalled_only_if_the_step_asks),
		T(limits_hold),
		T(a_daemon_that_a_script_starts_does_not_outlive_it),
		T(the_same_key_runs_once),
		T(after_a_crash_without_a_check_nobody_knows),
		T(after_a_crash_the_check_knows),
		T(a_check_writes_nothing),
		T(a_program_that_was_replaced_is_not_run),
		T(undo_is_what_the_step_says_and_once),
		T(the_approver_sees_what_would_run),
		T(programs_run_as_the_user_of_the_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
