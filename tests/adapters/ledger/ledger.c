/* ledger - a test's adapter: every effect is a line in a file, and it misbehaves on request.
 *
 * Built twice: as `ledger` (a process per call) and as `ledgershared` (pooled). */
#include "common/answer.h"
#include LEDGER_MANIFEST

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct ledger {
	json_t *config;
	atomic_bool stop;
	bool hang_close;
};

static int ledger_open(void **ret_ctx, const char *config, struct opscase_reply *reply)
{
	struct ledger *l = calloc(1, sizeof(*l));
	const char *refuse;

	if (!l)
		return answer_error(reply, OPSCASE_REFUSED, "no memory");
	l->config = answer_object(config);
	refuse = json_string_value(json_object_get(l->config, "refuse"));
	*ret_ctx = l;
	if (refuse)
		return answer_error(reply, OPSCASE_REFUSED, "%s", refuse);
	return reply->send(reply, OPSCASE_VALID, "{}");
}

static void ledger_close(void *ctx)
{
	struct ledger *l = ctx;

	while (l->hang_close)
		pause();
	json_decref(l->config);
	free(l);
}

static void ledger_cancel(void *ctx)
{
	struct ledger *l = ctx;

	atomic_store(&l->stop, true);
}

/* The file, locked; -1 without one. */
static int file_open(const struct ledger *l, const json_t *params)
{
	const char *path = json_string_value(json_object_get(params, "file"));
	int fd;

	if (!path)
		path = json_string_value(json_object_get(l->config, "file"));
	fd = path ? open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

/* How many lines, and whether one begins with the key. */
static int file_count(int fd, const char *key, bool *ret_found)
{
	FILE *f = fdopen(dup(fd), "r");
	char line[4096];
	int n = 0;

	*ret_found = false;
	while (f && fgets(line, sizeof(line), f)) {
		n++;
		if (*key && strncmp(line, key, strlen(key)) == 0)
			*ret_found = true;
	}
	if (f)
		fclose(f);
	return n;
}

static bool nap(struct ledger *l, json_int_t ms)
{
	int64_t until = answer_clock_ms() + ms;

	while (answer_clock_ms() < until && !atomic_load(&l->stop))
		poll(NULL, 0, 5);
	return !atomic_load(&l->stop);
}

static void write_pid(const char *file)
{
	char text[32];
	int fd = open(file ? file : "/dev/null", O_WRONLY | O_APPEND | O_CREAT, 0600);
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (fd < 0 || write(fd, text, (size_t)n) != n)
		_exit(1);
	close(fd);
}

static void linger(const char *file, bool stubborn)
{
	if (stubborn) {
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
	}
	write_pid(file);
	for (;;)
		pause();
}

/* Leaves when the last one has written its id. */
static void leave(const char *how, const char *file)
{
	int n = strcmp(how, "many") == 0 ? 20 : 1;

	for (int i = 0; i < n; i++) {
		pid_t child = fork();

		if (child < 0)
			return;
		if (child == 0 && strcmp(how, "child") == 0)
			linger(file, false);
		if (child == 0) {
			setsid();
			if (fork() == 0) {
				setsid();
				linger(file, true);
			}
			_exit(0);
		}
		if (strcmp(how, "child") != 0)
			waitpid(child, NULL, 0);
	}
	for (int tries = 0; tries < 400; tries++) {
		FILE *f = file ? fopen(file, "r") : NULL;
		int lines = 0, c;

		while (f && (c = fgetc(f)) != EOF)
			lines += c == '\n';
		if (f)
			fclose(f);
		if (lines >= n || !file)
			return;
		poll(NULL, 0, 5);
	}
}

static json_t *show_jail(void)
{
	json_t *env = json_array(), *fds = json_array();
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	char cwd[512], to[600];
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), socket_errno = s < 0 ? errno : 0;
	int outside;

	for (char **p = environ; *p; p++)
		json_array_append_new(env, json_string(*p));
	while (dir && (e = readdir(dir)) != NULL) {
		int n = atoi(e->d_name);

		ssize_t len;
		char link[64];

		if (*e->d_name == '.' || n == dirfd(dir))
			continue;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", n);
		len = readlink(link, to, sizeof(to) - 1);
		to[len > 0 ? len : 0] = 0;
		json_array_append_new(fds, json_pack("{s:i,s:s}", "fd", n, "to", to));
	}
	if (dir)
		closedir(dir);
	if (s >= 0)
		close(s);
	outside = open("/tmp/opscase-ledger-outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 ? errno : 0;
	unlink("/tmp/opscase-ledger-outside");
	return json_pack("{s:o,s:o,s:s,s:i,s:i,s:i,s:i}", "env", env, "fds", fds, "cwd",
			 getcwd(cwd, sizeof(cwd)) ? cwd : "", "socket_errno", socket_errno, "outside_errno",
			 outside, "fork", (int)(fork() == 0 ? (_exit(0), 0) : errno), "sid_is_own",
			 getsid(0) == getpid());
}

static json_t *kill_parent(void)
{
	int keeper = kill(getppid(), SIGKILL) < 0 ? errno : 0;
	int all = kill(-1, SIGKILL) < 0 ? errno : 0;
	int group = kill(-getppid(), SIGKILL) < 0 ? errno : 0;

	return json_pack("{s:i,s:i,s:i}", "keeper", keeper, "all", all, "group", group);
}

static int misbehave(struct opscase_reply *reply, const char *how)
{
	char *big;
	int r;

	if (strcmp(how, "oversize") == 0) {
		size_t n = 3 * reply->limit;

		big = malloc(n + 1);
		if (!big)
			return -1;
		memset(big, 'x', n);
		memcpy(big, "{\"x\":\"", 6);
		memcpy(big + n - 2, "\"}", 3);
		r = reply->send(reply, OPSCASE_DONE, big);
		free(big);
		return r;
	}
	if (strcmp(how, "not_json") == 0)
		return reply->send(reply, OPSCASE_DONE, "{\"changed\":");
	if (strcmp(how, "not_object") == 0)
		return reply->send(reply, OPSCASE_DONE, "[1]");
	if (strcmp(how, "wrong_outcome") == 0)
		return reply->send(reply, (enum opscase_outcome)77, "{}");
	if (strcmp(how, "twice") == 0) {
		reply->send(reply, OPSCASE_DONE, "{\"first\":true}");
		return reply->send(reply, OPSCASE_FAILED, "{\"first\":false}");
	}
	if (strcmp(how, "utf8") == 0)
		return reply->send(reply, OPSCASE_DONE, "{\"x\":\"\xff\xfe\"}");
	if (strcmp(how, "bytes") == 0) {
		/* Past the runner's own code, straight onto its line. */
		for (int i = 0; i < 64; i++)
			if (write(3, "\xff\xff\xff\xff{\"t\":\"answer\"}", 18) < 0)
				break;
		return reply->send(reply, OPSCASE_DONE, "{}");
	}
	return 0;
}

static void print(json_int_t n)
{
	char block[1000];

	memset(block, 'o', sizeof(block));
	block[sizeof(block) - 1] = '\n';
	for (; n > 0; n -= (json_int_t)sizeof(block)) {
		if (write(1, block, (size_t)(n < (json_int_t)sizeof(block) ? n : (json_int_t)sizeof(block))) <
		    0)
			break;
	}
	fprintf(stderr, "printed\n");
}

/* The effect. 0: done; else the outcome to answer. */
static int effect(struct ledger *l, const struct opscase_action *act, const json_t *params,
		  struct opscase_reply *reply)
{
	const char *line = json_string_value(json_object_get(params, "line"));
	json_t *expected = answer_object(act->expected_binding);
	int fd = file_open(l, params), lines, r = 0;
	bool found;

	if (fd < 0) {
		json_decref(expected);
		answer_error(reply, OPSCASE_NOT_APPLIED, "there is no ledger: %s", strerror(errno));
		return 1;
	}
	lines = file_count(fd, act->idempotency_key, &found);
	if (json_is_true(json_object_get(params, "once")) && found) {
		answer(reply, OPSCASE_DONE, json_pack("{s:b,s:i}", "already", 1, "changed", 0));
		r = 1;
	} else if (json_object_get(expected, "lines") &&
		   (!json_is_integer(json_object_get(expected, "lines")) ||
		    json_integer_value(json_object_get(expected, "lines")) != lines)) {
		answer(reply, OPSCASE_WORLD_CHANGED,
		       json_pack("{s:O,s:{s:i}}", "expected", expected, "found", "lines", lines));
		r = 1;
	} else if (dprintf(fd, "%s %s\n", act->idempotency_key, line ? line : "") < 0 || fsync(fd) != 0) {
		answer_error(reply, OPSCASE_UNCLEAR, "writing: %s", strerror(errno));
		r = 1;
	}
	json_decref(expected);
	close(fd);
	return r;
}

static int run_with(struct ledger *l, const struct opscase_action *act, const json_t *p,
		    struct opscase_reply *reply)
{
	const char *crash = json_string_value(json_object_get(p, "crash")),
		   *show = json_string_value(json_object_get(p, "show"));
	const char *how = json_string_value(json_object_get(p, "answer"));
	const char *left = json_string_value(json_object_get(p, "leave"));

	l->hang_close = json_is_true(json_object_get(p, "hang_close"));
	for (json_int_t i = json_integer_value(json_object_get(p, "progress")); i > 0; i--)
		reply->progress(reply, "one more step");
	if (json_is_true(json_object_get(p, "kill_parent")))
		return answer(reply, OPSCASE_DONE, kill_parent());
	if (!nap(l, json_integer_value(json_object_get(p, "sleep_ms"))))
		return answer_error(reply, OPSCASE_CANCELLED, "stopped before the line was written");
	if (crash && strcmp(crash, "before") == 0)
		raise(SIGSEGV);
	if (!json_is_true(json_object_get(p, "silent")) && effect(l, act, p, reply))
		return 0;
	if (left)
		leave(left, json_string_value(json_object_get(p, "pid_file")));
	if (json_object_get(p, "print"))
		print(json_integer_value(json_object_get(p, "print")));
	if (crash)
		raise(SIGSEGV);
	if (json_is_true(json_object_get(p, "exit")))
		_exit(7);
	while (json_is_true(json_object_get(p, "hang")))
		poll(NULL, 0, 1000);
	if (!nap(l, json_integer_value(json_object_get(p, "after_ms"))))
		return answer_error(reply, OPSCASE_FAILED, "stopped after the line was written");
	if (how)
		return misbehave(reply, how);
	if (show && strcmp(show, "jail") == 0)
		return answer(reply, OPSCASE_DONE, show_jail());
	if (show)
		return answer(reply, OPSCASE_DONE,
			      json_pack("{s:i}", "secrets_bytes", (int)strlen(act->secrets)));
	return answer(reply, OPSCASE_DONE, json_pack("{s:i}", "changed", 1));
}

static int ledger_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct ledger *l = ctx;
	json_t *params = answer_object(act->params);
	int r;

	atomic_store(&l->stop, false);
	r = run_with(l, act, params, reply);
	json_decref(params);
	return r;
}

static int ledger_dry_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	(void)ctx;
	return answer(reply, OPSCASE_WOULD_DO,
		      json_pack("{s:[{s:s,s:n,s:s}],s:s}", "changes", "what", "a line", "from", "to",
				act->idempotency_key, "diff", "+ a line"));
}

static int ledger_probe(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct ledger *l = ctx;
	json_t *params = answer_object(act->params);
	int fd = file_open(l, params), lines = 0;
	bool found = false;

	json_decref(params);
	if (fd < 0)
		return answer_error(reply, OPSCASE_UNCLEAR, "there is no ledger");
	lines = file_count(fd, act->idempotency_key, &found);
	close(fd);
	return answer(reply, found ? OPSCASE_APPLIED : OPSCASE_NOT_APPLIED,
		      json_pack("{s:{s:i},s:{s:i}}", "binding", "lines", lines, "info", "lines", lines));
}

/* Takes the line of the key out again. */
static int ledger_undo(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct ledger *l = ctx;
	json_t *params = answer_object(act->params);
	int fd = file_open(l, params), taken = 0;
	struct stat st;
	char *all = NULL, *rest, *save = NULL;

	json_decref(params);
	if (fd < 0 || fstat(fd, &st) != 0 || !(all = calloc(1, (size_t)st.st_size + 1)) ||
	    pread(fd, all, (size_t)st.st_size, 0) != st.st_size || ftruncate(fd, 0) != 0) {
		free(all);
		return answer_error(reply, OPSCASE_UNCLEAR, "the ledger cannot be rewritten");
	}
	for (rest = strtok_r(all, "\n", &save); rest; rest = strtok_r(NULL, "\n", &save)) {
		if (strncmp(rest, act->idempotency_key, strlen(act->idempotency_key)) == 0)
			taken++;
		else
			dprintf(fd, "%s\n", rest);
	}
	fsync(fd);
	close(fd);
	free(all);
	return answer(reply, OPSCASE_DONE, json_pack("{s:i}", "changed", taken));
}

OPSCASE_EXPORT const struct opscase_adapter opscase_adapter = {
	.abi = OPSCASE_ABI,
	.size = sizeof(struct opscase_adapter),
	.name = LEDGER_NAME,
	.version = "1",
	.manifest = LEDGER_TEXT,
	.open = ledger_open,
	.dry_run = ledger_dry_run,
	.run = ledger_run,
	.probe = ledger_probe,
	.undo = ledger_undo,
	.cancel = ledger_cancel,
	.close = ledger_close,
};
