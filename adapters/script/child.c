#include "child.h"

#include "common/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TERM_MS 500 /* between TERM and KILL of the program's group */

bool child_find(const char *name, char *out, size_t size)
{
	const char *path = CHILD_PATH;
	struct stat st;

	if (strchr(name, '/')) {
		if (snprintf(out, size, "%s", name) >= (int)size)
			return false;
		return stat(out, &st) == 0 && S_ISREG(st.st_mode) && access(out, X_OK) == 0;
	}
	while (*path && *name) {
		size_t n = strcspn(path, ":");

		if (snprintf(out, size, "%.*s/%s", (int)n, path, name) < (int)size && stat(out, &st) == 0 &&
		    S_ISREG(st.st_mode) && access(out, X_OK) == 0)
			return true;
		path += n + (path[n] == ':');
	}
	return false;
}

/* Standard input as a file that nobody else sees: no writer has to be fed while the program runs. */
static int input_file(const char *text)
{
	int fd = text ? memfd_create("stdin", MFD_CLOEXEC) : open("/dev/null", O_RDONLY | O_CLOEXEC);
	size_t n = text ? strlen(text) : 0, at = 0;

	while (fd >= 0 && at < n) {
		ssize_t w = write(fd, text + at, n - at);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			close(fd);
			return -1;
		}
		at += (size_t)w;
	}
	if (fd >= 0 && text)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

/* After fork: says over `report` what failed; silence means that the program runs. */
static void become(const struct child *c, const char *program, int input, int report)
{
	const char *failed = "the working folder";
	char text[512];
	int null;

	setpgid(0, 0);
	dup2(input, 0);
	if (c->quiet && (null = open("/dev/null", O_WRONLY | O_CLOEXEC)) >= 0) {
		dup2(null, 1);
		dup2(null, 2);
	}
	/* The host's lines, and all else that is open. */
	dup2(report, 3);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	close_range(4, ~0u, 0);
	signal(SIGPIPE, SIG_DFL);
	if (chdir(c->cwd) == 0 && !(failed = jail_enter(&c->jail))) {
		execve(program, c->argv, c->env);
		failed = program;
	}
	snprintf(text, sizeof(text), "%.400s: %s", failed, strerror(errno));
	if (write(3, text, strlen(text)) < 0)
		_exit(126);
	_exit(127);
}

/* How long to sleep: short at first, so that a quick program costs little. */
static void nap(int64_t since_ms)
{
	int64_t age = answer_clock_ms() - since_ms;

	poll(NULL, 0, age < 20 ? 1 : age < 200 ? 5 : 25);
}

static void wait_for(const struct child *c, pid_t pid, struct child_result *r)
{
	int64_t began = answer_clock_ms(), killed_at = 0;
	int status;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);
		int64_t now = answer_clock_ms();

		if (got == pid || (got < 0 && errno != EINTR))
			break;
		if (!killed_at && (atomic_load(c->stop_ref) || now >= c->until_ms)) {
			r->end = CHILD_STOPPED;
			r->out_of_time = !atomic_load(c->stop_ref);
			killed_at = now;
			kill(-pid, SIGTERM);
		} else if (killed_at && now >= killed_at + TERM_MS) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
		}
		nap(began);
	}
	if (r->end == CHILD_STOPPED)
		return;
	r->end = WIFSIGNALED(status) ? CHILD_SIGNALLED : CHILD_EXITED;
	r->number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

struct child_result child_run(const struct child *c)
{
	struct child_result r = { .end = CHILD_NOT_STARTED };
	char program[4096];
	int report[2], input;
	ssize_t n;
	pid_t pid;

	if (!child_find(c->argv[0], program, sizeof(program))) {
		snprintf(r.why, sizeof(r.why), "there is no program '%.200s' that can be executed",
			 c->argv[0]);
		return r;
	}
	input = input_file(c->input);
	if (input < 0 || pipe2(report, O_CLOEXEC) != 0) {
		snprintf(r.why, sizeof(r.why), "standard input: %s", strerror(errno));
		if (input >= 0)
			close(input);
		return r;
	}
	pid = fork();
	if (pid == 0)
		become(c, program, input, report[1]);
	close(input);
	close(report[1]);
	n = pid > 0 ? read(report[0], r.why, sizeof(r.why) - 1) : -1;
	close(report[0]);
	if (pid < 0) {
		snprintf(r.why, sizeof(r.why), "no process: %s", strerror(errno));
	} else if (n > 0) {
		r.why[n] = 0;
		waitpid(pid, NULL, 0);
	} else {
		wait_for(c, pid, &r);
	}
	return r;
}
