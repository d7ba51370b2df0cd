#include "tests/support/pgtemp.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "store/migrate.h"

static void die(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("pgtemp: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	abort();
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static const char *bin_dir(void)
{
	static const char *const places[] = { "/usr/lib/postgresql/17/bin", "/usr/local/pgsql/bin",
					      "/usr/bin" };
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		snprintf(path, sizeof(path), "%s/initdb", places[i]);
		if (access(path, X_OK) == 0)
			return places[i];
	}
	die("no initdb: install postgresql-17");
	return NULL;
}

static const struct passwd *unprivileged(void)
{
	static const char *const names[] = { "opscase", "postgres", "nobody" };

	if (getuid() != 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct passwd *pw = getpwnam(names[i]);

		if (pw)
			return pw;
	}
	die("PostgreSQL refuses to run as root, and there is no other user to run it as");
	return NULL;
}

/* In the child, before exec. */
static void become(const struct passwd *pw, const char *log_path)
{
	int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (pw && (setgroups(0, NULL) || setgid(pw->pw_gid) || setuid(pw->pw_uid)))
		_exit(126);
	/* After setuid, which clears it: should even the watcher be killed, the server goes at once. */
	prctl(PR_SET_PDEATHSIG, SIGQUIT);
	if (fd >= 0) {
		dup2(fd, 1);
		dup2(fd, 2);
	}
	fd = open("/dev/null", O_RDONLY);
	if (fd >= 0)
		dup2(fd, 0);
	closefrom(3);
	/* asan's runtime must not look into somebody else's program */
	unsetenv("LD_PRELOAD");
}

static int rm_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

static void rm_dir(const char *dir)
{
	/* A server that is just leaving still writes: look twice. */
	for (int i = 0; i < 20 && nftw(dir, rm_one, 32, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT; i++)
		nap(50);
}

static void show_log(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		fputs(line, stderr);
	if (f)
		fclose(f);
}

static void run_initdb(const struct pgtemp *t, const struct passwd *pw)
{
	char path[160], data[128], log[128];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/initdb", bin_dir());
	snprintf(data, sizeof(data), "%s/data", t->dir);
	snprintf(log, sizeof(log), "%s/initdb.log", t->dir);
	pid = fork();
	if (pid == 0) {
		become(pw, log);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(t->dir) != 0)
			_exit(126);
		execl(path, path, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		      "--locale=C.UTF-8", "--no-sync", "--no-instructions", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		show_log(log);
		rm_dir(t->dir);
		die("initdb failed");
	}
}

static pid_t run_server(const struct pgtemp *t, const struct passwd *pw)
{
	char path[160], log[128], command[2048];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/postgres", bin_dir());
	snprintf(log, sizeof(log), "%s/postgres.log", t->dir);
	snprintf(
		command, sizeof(command),
		"exec '%s' -D '%s/data' -k '%s' -c listen_addresses='' -c shared_preload_libraries=timescaledb,age "
		"-c timescaledb.telemetry_level=off -c max_connections=100 -c shared_buffers=64MB -c jit=off "
		"-c autovacuum_naptime=10 -c log_statement=none %s %s",
		path, t->dir, t->dir,
		t->durable ? "" : "-c fsync=off -c synchronous_commit=off -c full_page_writes=off",
		t->options ? t->options : "");
	pid = fork();
	if (pid == 0) {
		become(pw, log);
		if (chdir(t->dir) != 0)
			_exit(126);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static volatile sig_atomic_t told_to_stop;

static void on_term(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

/* Lives until the pipe closes or somebody says TERM; leaves nothing behind. */
static void watch(const struct pgtemp *t, const struct passwd *pw, int pipe_fd, pid_t parent)
{
	struct sigaction sa = { .sa_handler = on_term };
	pid_t server;
	char byte;
	int status;

	setsid();
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prctl(PR_SET_NAME, "pgtemp-watcher");
	server = run_server(t, pw);
	/* EOF is the parent's end, and that of everybody who inherited the other end */
	while (!told_to_stop && getppid() == parent && read(pipe_fd, &byte, 1) < 0 && errno == EINTR)
		;
	if (server > 0) {
		kill(server, SIGQUIT);
		for (int i = 0; i < 100 && waitpid(server, &status, WNOHANG) == 0; i++) {
			nap(50);
			if (i == 60)
				kill(server, SIGKILL);
		}
	}
	rm_dir(t->dir);
	_exit(0);
}

void pgtemp_conninfo(const struct pgtemp *t, const char *role, const char *dbname, char *out, size_t size)
{
	snprintf(out, size, "host=%s user=%s dbname=%s connect_timeout=10", t->dir, role, dbname);
}

struct pg *pgtemp_open(const char *conninfo)
{
	struct oc_fail fail = { 0 };
	struct pg *pg = NULL;

	if (pg_open(conninfo, "test", &pg, &fail) != OC_OK)
		die("%s", fail.text);
	return pg;
}

static void script(const char *conninfo, const char *sql)
{
	AUTO(pg) struct pg *pg = pgtemp_open(conninfo);
	struct oc_fail fail = { 0 };

	if (pg_script(pg, sql, &fail) != OC_OK)
		die("%s (%s)", fail.text, sql);
}

void pgtemp_exec(const struct pgtemp *t, const char *sql)
{
	script(t->super, sql);
}

void pgtemp_database(const struct pgtemp *t, const char *dbname)
{
	char conninfo[160], sql[200];

	pgtemp_conninfo(t, "postgres", "postgres", conninfo, sizeof(conninfo));
	snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", dbname);
	script(conninfo, sql);
	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", dbname);
	script(conninfo, sql);
}

static void wait_ready(const struct pgtemp *t)
{
	char conninfo[160], log[128];
	struct oc_fail fail = { 0 };

	pgtemp_conninfo(t, "postgres", "postgres", conninfo, sizeof(conninfo));
	for (int i = 0; i < 1200; i++) {
		struct pg *pg = NULL;

		if (pg_open(conninfo, "pgtemp", &pg, &fail) == OC_OK) {
			pg_close(pg);
			return;
		}
		if (waitpid(t->watcher, NULL, WNOHANG) == t->watcher)
			break;
		nap(25);
	}
	snprintf(log, sizeof(log), "%s/postgres.log", t->dir);
	show_log(log);
	die("PostgreSQL did not come up: %s", fail.text);
}

void pgtemp_start(struct pgtemp *t)
{
	const struct passwd *pw = unprivileged();
	struct oc_fail fail = { 0 };
	pid_t parent = getpid();
	int fds[2];

	snprintf(t->dir, sizeof(t->dir), "/tmp/opscase-pg-XXXXXX");
	if (!mkdtemp(t->dir) || chmod(t->dir, 0755) != 0)
		die("no folder: %s", strerror(errno));
	if (pw && chown(t->dir, pw->pw_uid, pw->pw_gid) != 0)
		die("chown: %s", strerror(errno));
	run_initdb(t, pw);
	if (pipe2(fds, O_CLOEXEC) != 0)
		die("pipe: %s", strerror(errno));
	fflush(NULL);
	t->watcher = fork();
	if (t->watcher < 0)
		die("fork: %s", strerror(errno));
	if (t->watcher == 0) {
		close(fds[1]);
		watch(t, pw, fds[0], parent);
	}
	close(fds[0]);
	t->pipe_fd = fds[1];
	wait_ready(t);

	pgtemp_conninfo(t, "postgres", "opscase", t->super, sizeof(t->super));
	pgtemp_conninfo(t, "opscase_owner", "opscase", t->owner, sizeof(t->owner));
	pgtemp_conninfo(t, "opscase_worker", "opscase", t->worker, sizeof(t->worker));
	pgtemp_conninfo(t, "opscase_api", "opscase", t->api, sizeof(t->api));
	pgtemp_database(t, "opscase");
	if (!t->empty) {
		AUTO(pg) struct pg *pg = pgtemp_open(t->super);

		if (migrate_up(pg, MIGRATE_LATEST, NULL, &fail) != OC_OK)
			die("%s", fail.text);
	}
}

void pgtemp_stop(struct pgtemp *t)
{
	if (t->watcher <= 0)
		return;
	close(t->pipe_fd);
	kill(t->watcher, SIGTERM);
	while (waitpid(t->watcher, NULL, 0) < 0 && errno == EINTR)
		;
	t->watcher = 0;
}

static struct pgtemp shared;

static void stop_shared(void)
{
	pgtemp_stop(&shared);
}

struct pgtemp *pgtemp_shared(void)
{
	static pid_t made_by;

	if (made_by != getpid()) {
		made_by = getpid();
		pgtemp_start(&shared);
		atexit(stop_shared);
	}
	return &shared;
}

long long pgtemp_tenant(const struct pgtemp *t, const char *code)
{
	AUTO(pg) struct pg *pg = pgtemp_open(t->super);
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail fail = { 0 };

	if (pg_query(pg,
		     "INSERT INTO dim_tenant (code, name) VALUES ($1, $1) "
		     "ON CONFLICT (code) DO UPDATE SET name = EXCLUDED.name RETURNING tenant_id",
		     PG_ARGS(code), &r, &fail) != OC_OK)
		die("%s", fail.text);
	return pg_int(r, 0, 0);
}
