#define LOG_ROOM "up"
#include "apps/opscase/up_children.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "apps/opscase/datadir.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/json/json.h"

#define LOG_MAX (64 << 20)

extern char **environ;

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

void child_word(struct child *c, const char *fmt, ...)
{
	va_list ap;
	size_t i;

	for (i = 0; i < CHILD_WORDS_MAX - 2 && c->argv[i]; i++)
		;
	va_start(ap, fmt);
	if (vasprintf(&c->argv[i], fmt, ap) < 0)
		abort();
	va_end(ap);
}

void child_done(struct child *c)
{
	for (size_t i = 0; i < CHILD_WORDS_MAX; i++) {
		free(c->argv[i]);
		free(c->env[i]);
	}
	free(c->log);
	*c = (struct child){ 0 };
}

enum oc_err child_user(const struct passwd **ret, struct oc_fail *reterr)
{
	static const char *const names[] = { "opscase", "postgres", "nobody" };

	*ret = NULL;
	if (getuid() != 0)
		return OC_OK;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if ((*ret = getpwnam(names[i])))
			return OC_OK;
	return oc_fail(
		reterr, OC_UNAVAILABLE,
		"PostgreSQL refuses to run as root, and there is no other user to run it as; make one: useradd -r opscase");
}

/* In the child, between fork and exec. */
static void become(const struct passwd *as, const char *dir, pid_t parent, int death_signal)
{
	sigset_t none;
	int fd;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	if (as && (setgroups(0, NULL) != 0 || setgid(as->pw_gid) != 0 || setuid(as->pw_uid) != 0))
		_exit(126);
	/* after setuid, which clears it */
	prctl(PR_SET_PDEATHSIG, death_signal);
	if (getppid() != parent || chdir(dir ? dir : "/") != 0)
		_exit(126);
	fd = open("/dev/null", O_RDONLY);
	if (fd >= 0)
		dup2(fd, 0);
	closefrom(3);
}

/* What is meant for us (settings, tokens) is nobody else's business. */
static void clean_environment(const struct passwd *as)
{
	char *keep[256];
	size_t n = 0;

	for (char **e = environ; *e && n < ARRAY_LEN(keep) - 4; e++)
		if (!str_starts(*e, "OPSCASE_") && !str_starts(*e, "PG") && !str_starts(*e, "LD_PRELOAD=") &&
		    !(as && (str_starts(*e, "HOME=") || str_starts(*e, "USER="))))
			keep[n++] = *e;
	if (as) {
		static char home[PATH_MAX + 8];

		snprintf(home, sizeof(home), "HOME=%s", as->pw_dir);
		keep[n++] = home;
	}
	keep[n] = NULL;
	clearenv();
	for (size_t i = 0; i < n; i++)
		putenv(keep[i]);
}

enum oc_err child_start(struct child *c, struct oc_fail *reterr)
{
	pid_t parent = getpid();
	AUTO(fd) int log = open(c->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (log < 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "%s cannot be opened: %s", c->log, strerror(errno));
	fflush(NULL);
	c->pid = fork();
	if (c->pid < 0) {
		c->pid = 0;
		return oc_fail(reterr, OC_UNAVAILABLE, "no new process for %s: %s", c->name, strerror(errno));
	}
	if (c->pid == 0) {
		dup2(log, 1);
		dup2(log, 2);
		become(c->as, c->dir, parent, c->stop_signal);
		clean_environment(c->as);
		for (size_t i = 0; c->env[i]; i++)
			putenv(c->env[i]);
		execv(c->argv[0], c->argv);
		dprintf(2, "%s: %s\n", c->argv[0], strerror(errno));
		_exit(127);
	}
	setpgid(c->pid, c->pid);
	c->started_ms = clock_mono_ms();
	c->restart_at_ms = 0;
	return OC_OK;
}

bool child_reap(struct child *c, int64_t now_ms)
{
	unsigned backoff_ms = 250;

	if (c->pid <= 0 || waitpid(c->pid, &c->status, WNOHANG) != c->pid)
		return false;
	c->pid = 0;
	if (now_ms - c->started_ms > 60000)
		c->deaths = 0;
	c->deaths++;
	for (unsigned i = 1; i < c->deaths && backoff_ms < 30000; i++)
		backoff_ms *= 2;
	c->restart_at_ms = now_ms + (backoff_ms < 30000 ? backoff_ms : 30000);
	return true;
}

void child_stop(struct child *c, unsigned timeout_ms, const volatile int *hurry)
{
	int64_t until = clock_mono_ms() + timeout_ms;

	if (c->pid <= 0)
		return;
	kill(c->pid, c->stop_signal);
	while (waitpid(c->pid, &c->status, WNOHANG) == 0) {
		if (clock_mono_ms() >= until || (hurry && *hurry)) {
			log_warn("%s does not end; killing it", c->name);
			kill(-c->pid, SIGKILL);
			kill(c->pid, SIGKILL);
			waitpid(c->pid, &c->status, 0);
			break;
		}
		nap(10);
	}
	c->pid = 0;
}

const char *child_death(const struct child *c)
{
	static char text[64];

	if (WIFSIGNALED(c->status))
		snprintf(text, sizeof(text), "signal %d (%s)", WTERMSIG(c->status),
			 strsignal(WTERMSIG(c->status)));
	else
		snprintf(text, sizeof(text), "exit code %d", WEXITSTATUS(c->status));
	return text;
}

void child_tidy_log(const struct child *c)
{
	AUTO(str) char *old = mem_printf("%s.1", c->log);
	AUTO(fd) int in = -1, out = -1;
	struct stat st;
	char part[65536];
	ssize_t n;

	if (stat(c->log, &st) != 0 || st.st_size < LOG_MAX)
		return;
	/* The child has it open for appending: copied and emptied, not renamed. */
	in = open(c->log, O_RDWR | O_CLOEXEC);
	out = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	while (in >= 0 && out >= 0 && (n = read(in, part, sizeof(part))) > 0)
		if (write(out, part, (size_t)n) != n)
			break;
	if (in >= 0)
		(void)!ftruncate(in, 0);
}

char *child_log_tail(const struct child *c, unsigned lines)
{
	AUTO(file) FILE *f = fopen(c->log, "re");
	AUTO(text) struct text out = { 0 };
	AUTO(str) char *tail = mem_alloc(8193);
	const char *at;
	size_t n;

	if (!f)
		return mem_strdup("");
	if (fseek(f, -8192, SEEK_END) != 0)
		rewind(f);
	n = fread(tail, 1, 8192, f);
	while (n > 0 && tail[n - 1] == '\n')
		n--;
	tail[n] = '\0';
	for (at = tail + n; at > tail && lines; at--)
		if (at[-1] == '\n' && --lines == 0)
			break;
	while (*at) {
		n = strcspn(at, "\n");
		text_addf(&out, "    %.*s\n", (int)n, at);
		at += n + (at[n] == '\n');
	}
	return text_take(&out);
}

/* --- across supervisors */

/* Start time in ticks since boot: together with the pid it names a process for good. 0: no such process. */
static long long process_start(pid_t pid)
{
	AUTO(str) char *path = mem_printf("/proc/%d/stat", (int)pid);
	AUTO(str) char *text = file_slurp(path);
	/* the name in brackets may hold anything, so count from the last bracket */
	char *at = text ? strrchr(text, ')') : NULL;
	char state = 0;
	unsigned long long start = 0;

	if (!at ||
	    sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		   &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : (long long)start;
}

enum oc_err children_note(const char *path, struct child *const *children, size_t count,
			  struct oc_fail *reterr)
{
	AUTO(json) json_t *list = json_array();
	AUTO(str) char *text = NULL;

	for (size_t i = 0; i < count; i++)
		if (children[i]->pid > 0)
			json_array_append_new(list, json_pack("{s:s,s:i,s:I,s:i}", "name", children[i]->name,
							      "pid", (int)children[i]->pid, "start",
							      (json_int_t)process_start(children[i]->pid),
							      "signal", children[i]->stop_signal));
	text = json_pretty(list);
	return file_put(path, text, 0644, reterr);
}

unsigned children_end_old(const char *path, bool quiet)
{
	AUTO(str) char *text = file_slurp(path);
	AUTO(json) json_t *list = NULL;
	unsigned found = 0;
	json_t *one;
	size_t i;

	if (!text || json_read_own(text, &list, NULL) != OC_OK)
		return 0;
	/* In the order of the list: the service before what it needs. */
	json_array_foreach(list, i, one)
	{
		pid_t pid = (pid_t)json_int_or(one, "pid", 0);
		long long start = json_int_or(one, "start", 0);
		int sig = (int)json_int_or(one, "signal", SIGTERM);

		if (pid <= 1 || start == 0 || process_start(pid) != start)
			continue;
		found++;
		if (!quiet)
			log_info("ending %s (pid %d), left by a supervisor that was killed",
				 json_str_or(one, "name", "?"), (int)pid);
		kill(pid, sig);
		for (int tries = 0; tries < 1500 && process_start(pid) == start; tries++) {
			if (tries == 1000)
				kill(pid, SIGKILL);
			nap(10);
		}
	}
	unlink(path);
	return found;
}

/* --- programs */

enum oc_err child_run(char *const *argv, const struct passwd *as, char **ret_output, struct oc_fail *reterr)
{
	AUTO(text) struct text said = { 0 };
	pid_t parent = getpid(), pid;
	int fds[2], status = 0;
	char part[4096];
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return oc_fail(reterr, OC_UNAVAILABLE, "no pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		become(as, NULL, parent, SIGKILL);
		clean_environment(as);
		execv(argv[0], argv);
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	while (pid > 0 && (n = read(fds[0], part, sizeof(part))) != 0)
		if (n > 0 && said.len < 1 << 20)
			text_add_n(&said, part, (size_t)n);
		else if (n < 0 && errno != EINTR)
			break;
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return oc_fail(reterr, OC_UNAVAILABLE, "%s did not run: %s", argv[0], strerror(errno));
	if (status != 0) {
		const char *s = text_str(&said);
		size_t len = strlen(s);

		return oc_fail(reterr, OC_UNAVAILABLE, "%s failed: %s", argv[0],
			       len > 800 ? s + len - 800 : s);
	}
	if (ret_output)
		*ret_output = text_take(&said);
	return OC_OK;
}

char *program_find(const char *name)
{
	const char *path = getenv("PATH");
	AUTO(str)
	char *all = mem_printf("%s:/usr/sbin:/usr/local/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
			       path ? path : "");
	char *save = NULL;

	for (char *dir = strtok_r(all, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		AUTO(str) char *file = mem_printf("%s/%s", dir, name);

		if (dir[0] == '/' && access(file, X_OK) == 0)
			return TAKE(file);
	}
	return NULL;
}

char *program_dir(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (n <= 0)
		return mem_strdup(".");
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	return mem_strdup(path);
}
