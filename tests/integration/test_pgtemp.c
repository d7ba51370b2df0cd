/* The tests' own PostgreSQL: it comes up ready, and nothing of it stays. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "tests/support/pgtemp.h"

static bool gone_within(const char *path, int ms)
{
	for (; ms > 0 && access(path, F_OK) == 0; ms -= 20)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	return access(path, F_OK) != 0;
}

static void each_role_gets_in_as_itself(void **state)
{
	struct pgtemp *t = pgtemp_shared();
	const char *infos[] = { t->super, t->owner, t->worker, t->api };
	const char *names[] = { "postgres", "opscase_owner", "opscase_worker", "opscase_api" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(infos); i++) {
		AUTO(pg) struct pg *pg = pgtemp_open(infos[i]);
		AUTO(pg_result) struct pg_result *r = NULL;

		assert_int_equal(pg_query(pg, "SELECT current_user", PG_NO_ARGS, &r, NULL), OC_OK);
		assert_string_equal(pg_text(r, 0, 0), names[i]);
	}
}

static void the_same_tenant_is_made_once(void **state)
{
	struct pgtemp *t = pgtemp_shared();
	long long a = pgtemp_tenant(t, "t-001");

	(void)state;
	assert_true(a > 0);
	assert_int_equal(pgtemp_tenant(t, "t-001"), a);
	assert_int_not_equal(pgtemp_tenant(t, "t-002"), a);
}

static void a_test_killed_in_the_middle_leaves_no_server_behind(void **state)
{
	char dir[64] = "";
	int fds[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct pgtemp t = { .empty = true };

		pgtemp_start(&t);
		if (write(fds[1], t.dir, sizeof(t.dir)) != sizeof(t.dir))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(read(fds[0], dir, sizeof(dir)), sizeof(dir));
	close(fds[0]);
	assert_memory_equal(dir, "/tmp/opscase-pg-", 16);
	/* the folder goes last, after the server */
	assert_true(gone_within(dir, 15000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_role_gets_in_as_itself),
		cmocka_unit_test(the_same_tenant_is_made_once),
		cmocka_unit_test(a_test_killed_in_the_middle_leaves_no_server_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
