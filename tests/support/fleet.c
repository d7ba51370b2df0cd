#include "tests/support/fleet.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "wire/http/client.h"
#include "wire/json/json.h"

static _Noreturn void die(const char *fmt, ...) PRINTF_LIKE(1, 2);
static _Noreturn void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("fleet: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	abort();
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

/* Below the range that the kernel gives to outgoing connections: a replica that is started again wants the same one,
 * and nobody else may have got it in between. */
static int free_port(void)
{
	for (int tries = 0; tries < 1000; tries++) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		uint16_t port = 0;

		hash_random((unsigned char *)&port, sizeof(port));
		port = (uint16_t)(20000 + port % 12000);
		a.sin_port = htons(port);
		if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return port;
	}
	die("no port: %s", strerror(errno));
}

/* The build folder: test programs lie in its tests/. */
static const char *build_dir(void)
{
	static char path[512];

	if (!*path) {
		ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

		path[n > 0 ? n : 0] = '\0';
		for (int i = 0; i < 2 && strrchr(path, '/'); i++)
			*strrchr(path, '/') = '\0';
	}
	return path;
}

static void write_file(const char *dir, const char *name, const char *text)
{
	AUTO(str) char *path = mem_printf("%s/%s", dir, name);
	AUTO(file) FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0)
		die("%s: %s", path, strerror(errno));
}

/* ---- processes, by /proc ---- */

struct proc {
	pid_t pid, parent;
	char name[20], state;
};

static bool proc_read(pid_t pid, struct proc *ret)
{
	char path[64], line[512], *open, *close;
	AUTO(file) FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f) || !(open = strchr(line, '(')) ||
	    !(close = strrchr(line, ')')))
		return false;
	ret->pid = pid;
	snprintf(ret->name, sizeof(ret->name), "%.*s", (int)(close - open - 1), open + 1);
	return sscanf(close + 1, " %c %d", &ret->state, &ret->parent) == 2 && ret->state != 'Z';
}

static size_t procs_all(struct proc *out, size_t max)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	while (dir && (e = readdir(dir)) && n < max)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && proc_read((pid_t)atoi(e->d_name), &out[n]))
			n++;
	if (dir)
		closedir(dir);
	return n;
}

/* Everything below a process, found anew in each call. */
static size_t descendants(pid_t root, pid_t *out, size_t max)
{
	static struct proc all[8192];
	size_t count = procs_all(all, ARRAY_LEN(all)), n = 0;

	if (max == 0)
		return 0;
	out[n++] = root;
	for (size_t at = 0; at < n; at++)
		for (size_t i = 0; i < count && n < max; i++)
			if (all[i].parent == out[at] && all[i].pid != out[at])
				out[n++] = all[i].pid;
	memmove(out, out + 1, --n * sizeof(*out));
	return n;
}

/* ---- PostgreSQL ---- */

static pid_t postmaster_pid(const struct fleet *f)
{
	AUTO(str) char *path = mem_printf("%s/data/postmaster.pid", f->db.dir);
	AUTO(file) FILE *file = fopen(path, "re");
	int pid = 0;

	return file && fscanf(file, "%d", &pid) == 1 ? (pid_t)pid : 0;
}

static void reap(pid_t pid)
{
	/* Ours, or the child of pgtemp's watcher: then it is a zombie there, and proc_read() does not see it. */
	struct proc p;

	for (int i = 0; i < 2000; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid || !proc_read(pid, &p))
			return;
		nap(10);
	}
	die("process %d does not end", (int)pid);
}

void fleet_postgres_kill(struct fleet *f)
{
	pid_t below[512];
	size_t n = descendants(f->postgres, below, ARRAY_LEN(below));

	kill(f->postgres, SIGKILL);
	for (size_t i = 0; i < n; i++)
		kill(below[i], SIGKILL);
	reap(f->postgres);
	f->postgres = 0;
}

void fleet_postgres_stop(struct fleet *f)
{
	kill(f->postgres, SIGINT);
	reap(f->postgres);
	f->postgres = 0;
}

void fleet_postgres_again(struct fleet *f)
{
	const struct passwd *pw = getuid() == 0 ? getpwnam("opscase") : NULL;
	AUTO(str)
	char *command = mem_printf(
		"exec /usr/lib/postgresql/17/bin/postgres -D '%s/data' -k '%s' -c listen_addresses='' "
		"-c shared_preload_libraries=timescaledb,age -c timescaledb.telemetry_level=off -c shared_buffers=64MB -c jit=off %s < /dev/null",
		f->db.dir, f->db.dir, f->db.options);
	AUTO(str) char *log_path = mem_printf("%s/postgres.log", f->db.dir);

	if (getuid() == 0 && !pw)
		pw = getpwnam("postgres");
	for (int tries = 0; tries < 100; tries++) {
		fflush(NULL);
		f->postgres = fork();
		if (f->postgres == 0) {
			/* As root, before it becomes somebody who may not. */
			int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

			dup2(log, 1);
			dup2(log, 2);
			if (pw && (setgroups(0, NULL) || setgid(pw->pw_gid) || setuid(pw->pw_uid)))
				_exit(126);
			prctl(PR_SET_PDEATHSIG, SIGQUIT);
			unsetenv("LD_PRELOAD");
			closefrom(3);
			execl("/bin/sh", "sh", "-c", command, (char *)NULL);
			_exit(127);
		}
		for (int i = 0; i < 1200; i++) {
			struct pg *pg = NULL;

			if (pg_open(f->db.worker, "fleet", &pg, NULL) == OC_OK) {
				pg_close(pg);
				return;
			}
			/* Killed ones may still hold the old shared memory: it is tried again. */
			if (waitpid(f->postgres, NULL, WNOHANG) == f->postgres)
				break;
			nap(25);
		}
		nap(100);
	}
	if (execlp("tail", "tail", "-20", log_path, (char *)NULL) != 0)
		die("PostgreSQL does not come back");
	abort();
}

/* ---- NATS ---- */

void fleet_nats_wipe(struct fleet *f)
{
	AUTO(str) char *command = mem_printf("rm -rf '%s/js'", f->nats.dir);

	natstemp_kill(&f->nats);
	if (system(command) != 0)
		die("%s", command);
	natstemp_again(&f->nats);
}

/* One request in NATS' own words; what it answers. Yours. */
static char *nats_ask(const struct fleet *f, const char *subject)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons((unsigned short)f->nats.port) };
	AUTO(str)
	char *words = mem_printf(
		"CONNECT {\"verbose\":false}\r\nSUB _INBOX.fleet 1\r\nPUB %s _INBOX.fleet 0\r\n\r\n",
		subject);
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct text heard = { 0 };
	const char *msg = NULL;

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || write(fd, words, strlen(words)) < 0)
		die("nats: %s", strerror(errno));
	while (!msg || !strstr(msg + 5, "}\r\n")) {
		char part[4096];
		ssize_t got = read(fd, part, sizeof(part));

		if (got <= 0)
			die("nats hung up: %s", text_str(&heard));
		text_add_n(&heard, part, (size_t)got);
		msg = strstr(heard.s, "MSG _INBOX.fleet");
	}
	return text_take(&heard);
}

void fleet_nats_forget(struct fleet *f)
{
	AUTO(str) char *cmd = nats_ask(f, "$JS.API.STREAM.DELETE.CMD");
	AUTO(str) char *evt = nats_ask(f, "$JS.API.STREAM.DELETE.EVT");

	/* While NATS itself was just away they may be gone already. */
	(void)cmd, (void)evt;
}

bool fleet_nats_streams(struct fleet *f)
{
	AUTO(str) char *names = nats_ask(f, "$JS.API.STREAM.NAMES");

	return strstr(names, "\"CMD\"") && strstr(names, "\"EVT\"");
}

/* ---- replicas ---- */

static void arg(char **argv, size_t *n, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void arg(char **argv, size_t *n, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	argv[(*n)++] = mem_strdup(text);
	argv[*n] = NULL;
}

void fleet_replica_start(struct fleet *f, unsigned i, const char *fault)
{
	struct replica *r = &f->replica[i];
	char *argv[32];
	size_t n = 0;

	arg(argv, &n, "%s/tests/crash/opscased", build_dir());
	arg(argv, &n, "--db.worker=%s", f->db.worker);
	arg(argv, &n, "--db.api=%s", f->db.api);
	arg(argv, &n, "--db.pool=8");
	arg(argv, &n, "--nats.url=%s", f->nats.url);
	arg(argv, &n, "--http.port=%d", r->port);
	arg(argv, &n, "--http.threads=8");
	arg(argv, &n, "--data.dir=%s/r%u", f->dir, i);
	arg(argv, &n, "--runner.path=%s/bin/opscase-runner", build_dir());
	arg(argv, &n, "--adapters.dir=%s/tests/adapters", build_dir());
	arg(argv, &n, "--policies.dir=%s/policies", f->dir);
	arg(argv, &n, "--runbooks.dir=%s/runbooks", f->dir);
	arg(argv, &n, "--exec.threads=4");
	fflush(NULL);
	r->pid = fork();
	if (r->pid < 0)
		die("fork: %s", strerror(errno));
	if (r->pid == 0) {
		int log = open(r->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* What steers the suite is not the service's. */
		unsetenv("OPSCASE_KEEP"), unsetenv("OPSCASE_CRASH"), unsetenv("OPSCASE_SEED");
		unsetenv("OPSCASE_SOURCE_DIR"), unsetenv("OPSCASE_BINARY_DIR");
		dup2(log, 1);
		dup2(log, 2);
		if (fault)
			setenv("OPSCASE_FAULT", fault, 1);
		else
			unsetenv("OPSCASE_FAULT");
		dprintf(2, "--- started with %s\n", fault ? fault : "no fault");
		execv(argv[0], argv);
		_exit(127);
	}
	for (size_t k = 0; k < n; k++)
		free(argv[k]);
	for (int64_t until = clock_mono_ms() + 60000; clock_mono_ms() < until; nap(20)) {
		if (!fleet_replica_alive(f, i)) {
			if (!fault)
				die("opscased ended at once; see %s", r->log);
			return;
		}
		if (fleet_call(f, i, "GET", "/healthz", NULL, NULL, NULL) == 200)
			return;
	}
	die("opscased does not answer; see %s", r->log);
}

bool fleet_replica_alive(struct fleet *f, unsigned i)
{
	struct replica *r = &f->replica[i];

	int status;

	if (r->pid > 0 && waitpid(r->pid, &status, WNOHANG) == r->pid) {
		r->pid = 0;
		/* Killed, by us or at a fault point; or ended in order. Everything else is a bug. */
		if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) &&
		    !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
			die("replica %u ended with status %d; see %s", i, status, r->log);
	}
	return r->pid > 0;
}

void fleet_replica_signal(struct fleet *f, unsigned i, int sig)
{
	struct replica *r = &f->replica[i];

	if (!fleet_replica_alive(f, i))
		return;
	kill(r->pid, sig);
	if (sig != SIGKILL && sig != SIGTERM)
		return;
	for (int64_t until = clock_mono_ms() + 60000; fleet_replica_alive(f, i); nap(10))
		if (clock_mono_ms() > until)
			die("replica %u does not end; see %s", i, r->log);
}

/* What apps/opscase-runner calls itself: before and after it took its place. */
static bool is_runner(const char *name)
{
	static const char *const names[] = { "opscase-runner", "opscase-keeper", "opscase-worker",
					     "opscase-shared" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(name, names[i]))
			return true;
	return false;
}

static size_t runners_of(const pid_t *pids, size_t n, pid_t *out, size_t max)
{
	size_t found = 0;
	struct proc p;

	for (size_t k = 0; k < n && found < max; k++)
		if (proc_read(pids[k], &p) && is_runner(p.name))
			out[found++] = pids[k];
	return found;
}

size_t fleet_runners(const struct fleet *f, unsigned i, pid_t *out, size_t max)
{
	pid_t below[512];

	if (f->replica[i].pid <= 0)
		return 0;
	return runners_of(below, descendants(f->replica[i].pid, below, ARRAY_LEN(below)), out, max);
}

/* A dead replica's runners belong to init now: they are known by the scratch folder they work in. */
bool fleet_runners_gone(const struct fleet *f, int wait_ms)
{
	for (int64_t until = clock_mono_ms() + wait_ms;; nap(20)) {
		static struct proc all[8192];
		size_t count = procs_all(all, ARRAY_LEN(all));
		bool any = false;

		for (size_t i = 0; i < count && !any; i++) {
			char path[64], cwd[512];
			ssize_t n;

			if (!is_runner(all[i].name))
				continue;
			snprintf(path, sizeof(path), "/proc/%d/cwd", (int)all[i].pid);
			n = readlink(path, cwd, sizeof(cwd) - 1);
			cwd[n > 0 ? n : 0] = '\0';
			any = str_starts(cwd, f->dir);
		}
		if (!any)
			return true;
		if (clock_mono_ms() > until)
			return false;
	}
}

/* ---- requests ---- */

int fleet_call(struct fleet *f, unsigned replica, const char *method, const char *path, const char *key,
	       const char *body, char **ret_body)
{
	AUTO(http_client)
	struct http_client *c =
		http_client_new(&(struct http_client_config){ .base_url = f->replica[replica].url,
							      .bearer = f->token,
							      .connect_ms = 1000,
							      .timeout_ms = 5000 });
	AUTO(str) char *header = key ? mem_printf("Idempotency-Key: %s", key) : NULL;
	const char *headers[] = { header, NULL };
	struct http_answer a = { 0 };
	int status = 0;

	if (http_client_call(c, method, path, header ? headers : NULL, body, &a, NULL) == OC_OK) {
		status = a.status;
		if (ret_body)
			*ret_body = TAKE(a.body);
	}
	http_answer_done(&a);
	return status;
}

bool fleet_try_open(struct fleet *f, unsigned replica, const char *name, const struct fleet_case *how,
		    char ret_id[UUID_TEXT])
{
	static const struct fleet_case plain;
	AUTO(str) char *answer = NULL;
	AUTO(json) json_t *doc = NULL;
	AUTO(str) char *body = NULL;
	int status;

	if (!how)
		how = &plain;
	body = mem_printf(
		"{\"title\":\"%s\",\"drive\":\"%s\",\"template\":\"ledger\",\"params\":{\"file\":\"%s/ledger/%s\","
		"\"sleep_ms\":%d,\"after_ms\":%d%s}}",
		name, how->manual ? "manual" : "auto", f->dir, name, how->sleep_ms, how->after_ms,
		how->show_secret ? ",\"show\":\"secret\"" : "");
	status = fleet_call(f, replica, "POST", "/case/create", name, body, &answer);
	if (status >= 400 && status != 409 && status != 429 && status < 500)
		die("POST /case/create: %d %s", status, answer);
	if (status != 201 && status != 200)
		return false;
	if (json_read_own(answer, &doc, NULL) != OC_OK || !json_str(json_object_get(doc, "data"), "id"))
		die("POST /case/create answered %s", answer);
	snprintf(ret_id, UUID_TEXT, "%s", json_str(json_object_get(doc, "data"), "id"));
	f->cases++;
	return true;
}

void fleet_open(struct fleet *f, const char *name, const struct fleet_case *how, char ret_id[UUID_TEXT])
{
	for (int64_t until = clock_mono_ms() + 60000; clock_mono_ms() < until; nap(50))
		for (unsigned i = 0; i < FLEET_REPLICAS; i++)
			if (fleet_replica_alive(f, i) && fleet_try_open(f, i, name, how, ret_id))
				return;
	die("nobody takes the case %s", name);
}

/* ---- looking ---- */

char *fleet_one(struct fleet *f, const char *sql, const char *arg1)
{
	struct oc_fail fail = { 0 };

	for (int64_t until = clock_mono_ms() + 60000; clock_mono_ms() < until; nap(100)) {
		AUTO(pg_result) struct pg_result *r = NULL;

		if (!f->pg && pg_open(f->db.worker, "fleet", &f->pg, &fail) != OC_OK)
			continue;
		if (pg_query(f->pg, sql, &arg1, arg1 ? 1 : 0, &r, &fail) == OC_OK)
			return mem_strdup(pg_rows(r) ? pg_text_or(r, 0, 0, "") : "");
		pg_rollback(f->pg);
		if (fail.err != OC_UNAVAILABLE)
			break;
	}
	die("%s: %s", sql, fail.text);
}

long long fleet_count(struct fleet *f, const char *sql)
{
	AUTO(str) char *text = fleet_one(f, sql, NULL);

	return strtoll(text, NULL, 10);
}

static void print_rows(struct fleet *f, const char *sql)
{
	AUTO(pg_result) struct pg_result *r = NULL;

	if (pg_query(f->pg, sql, PG_NO_ARGS, &r, NULL) != OC_OK)
		return;
	for (unsigned i = 0; i < pg_rows(r) && i < 40; i++)
		fprintf(stderr, "  %s\n", pg_text_or(r, i, 0, ""));
}

bool fleet_drain(struct fleet *f, int ms)
{
	static const char open[] =
		"SELECT (SELECT count(*) FROM ops_case WHERE status NOT IN ('CLOSED', 'PARKED') AND drive = 'auto')"
		" + (SELECT count(*) FROM outbox WHERE done_at IS NULL)";

	for (int64_t until = clock_mono_ms() + ms; clock_mono_ms() < until; nap(200))
		if (fleet_count(f, open) == 0)
			return true;
	fprintf(stderr, "still open after %d s:\n", ms / 1000);
	print_rows(
		f,
		"SELECT 'case ' || title || ' ' || status || ' epoch ' || epoch || ' command ' || coalesce(cmd_id::text, '-') || ' since '"
		" || (now() - entered_at) FROM ops_case WHERE status NOT IN ('CLOSED', 'PARKED') ORDER BY id LIMIT 20");
	print_rows(
		f,
		"SELECT 'outbox ' || o.id || ' ' || o.kind || ' ' || o.topic || ' ' || coalesce(c.title, '') || ' attempts ' || o.attempts"
		" || ' lease ' || coalesce((o.lease_until - now())::text, '-') || ' published ' || coalesce((now() - o.published_at)::text, '-')"
		" || ' offers ' || o.publish_count FROM outbox o LEFT JOIN ops_case c ON c.id = o.case_id WHERE o.done_at IS NULL ORDER BY o.id LIMIT 20");
	return false;
}

/* ---- the ledger ---- */

/* Its lines begin with the step's key. */
static size_t ledger_keys(const struct fleet *f, const char *name, char (**ret)[HASH_HEX])
{
	AUTO(str) char *path = mem_printf("%s/ledger/%s", f->dir, name);
	AUTO(file) FILE *file = fopen(path, "re");
	char line[4096];
	size_t n = 0;

	*ret = NULL;
	while (file && fgets(line, sizeof(line), file)) {
		*ret = mem_grow(*ret, n + 1, sizeof(**ret));
		snprintf((*ret)[n++], HASH_HEX, "%.64s", line);
	}
	return n;
}

int fleet_lines(const struct fleet *f, const char *name)
{
	char(*keys)[HASH_HEX];
	size_t n = ledger_keys(f, name, &keys);

	free(keys);
	return (int)n;
}

static size_t times(char (*keys)[HASH_HEX], size_t n, const char *key)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		found += strcmp(keys[i], key) == 0;
	return found;
}

static unsigned bad(const char *fmt, ...) PRINTF_LIKE(1, 2);
static unsigned bad(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("NOT TRUE: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return 1;
}

/* What the rows say of each step against what the ledger says. */
static unsigned check_effects(struct fleet *f)
{
	AUTO(pg_result) struct pg_result *cases = NULL;
	unsigned wrong = 0;

	if (pg_query(f->pg,
		     "SELECT id, title, status, coalesce(resolution, park_reason) FROM ops_case ORDER BY id",
		     PG_NO_ARGS, &cases, NULL) != OC_OK)
		return bad("the cases cannot be read");
	for (unsigned c = 0; c < pg_rows(cases); c++) {
		const char *id = pg_text(cases, c, 0), *name = pg_text(cases, c, 1),
			   *how = pg_text_or(cases, c, 3, "");
		AUTO(pg_result) struct pg_result *steps = NULL;
		char(*keys)[HASH_HEX];
		size_t n = ledger_keys(f, name, &keys);

		if (pg_query(f->pg,
			     "SELECT DISTINCT ON (idempotency_key) idempotency_key, status, seq FROM exec_step WHERE case_id = $1::uuid"
			     " ORDER BY idempotency_key, attempt DESC",
			     PG_ARGS(id), &steps, NULL) != OC_OK)
			return bad("the steps cannot be read");
		for (size_t i = 0; i < n; i++) {
			bool intended = false;

			if (times(keys, n, keys[i]) > 1)
				wrong += bad("case %s (%s): the effect with key %s happened twice", name, how,
					     keys[i]);
			for (unsigned s = 0; s < pg_rows(steps); s++)
				intended = intended || str_eq(pg_text(steps, s, 0), keys[i]);
			if (!intended)
				wrong += bad("case %s (%s): an effect without an intent", name, how);
		}
		for (unsigned s = 0; s < pg_rows(steps); s++) {
			const char *status = pg_text(steps, s, 1);
			size_t found = times(keys, n, pg_text(steps, s, 0));

			if (str_eq(status, "succeeded") && found == 0)
				wrong += bad("case %s (%s): step %s succeeded without its effect", name, how,
					     pg_text(steps, s, 2));
			if ((str_eq(status, "not_applied") || str_eq(status, "cancelled")) && found)
				wrong += bad("case %s (%s): step %s is said not to be applied, and is", name,
					     how, pg_text(steps, s, 2));
		}
		if (str_eq(how, "verified") && n != 2)
			wrong += bad("case %s is closed as verified with %zu of 2 effects", name, n);
		free(keys);
	}
	return wrong;
}

/* SHA-256 over the stored bytes, row by row, up to the head that the case knows. */
static unsigned check_chain(struct fleet *f)
{
	AUTO(pg_result) struct pg_result *rows = NULL;
	char head[HASH_HEX] = "", last[UUID_TEXT] = "";
	unsigned wrong = 0;
	long long seq = 0;

	if (pg_query(
		    f->pg,
		    "SELECT t.case_id, t.seq, t.canonical, encode(t.hash, 'hex'), c.timeline_seq, encode(c.timeline_head, 'hex'), c.title"
		    " FROM case_timeline t JOIN ops_case c ON c.tenant_id = t.tenant_id AND c.id = t.case_id ORDER BY t.case_id, t.seq",
		    PG_NO_ARGS, &rows, NULL) != OC_OK)
		return bad("the timelines cannot be read");
	for (unsigned i = 0; i < pg_rows(rows); i++) {
		const char *canonical = pg_text(rows, i, 2);
		unsigned char before[HASH_LEN], hash[HASH_LEN];
		size_t before_len = 0;
		bool last_of_case = i + 1 == pg_rows(rows) ||
				    !str_eq(pg_text(rows, i, 0), pg_text(rows, i + 1, 0));

		if (!str_eq(last, pg_text(rows, i, 0))) {
			snprintf(last, sizeof(last), "%s", pg_text(rows, i, 0));
			head[0] = '\0';
			seq = 0;
		}
		if (str_unhex(head, before, HASH_LEN))
			before_len = HASH_LEN;
		hash_sha256_2(before, before_len, canonical, strlen(canonical), hash);
		str_hex(hash, HASH_LEN, head);
		if (!str_eq(head, pg_text(rows, i, 3)) || pg_int(rows, i, 1) != ++seq)
			wrong += bad("case %s: the chain of its timeline breaks at row %lld",
				     pg_text(rows, i, 6), pg_int(rows, i, 1));
		if (last_of_case && (!str_eq(head, pg_text(rows, i, 5)) || seq != pg_int(rows, i, 4)))
			wrong += bad("case %s: its head is not the end of its timeline", pg_text(rows, i, 6));
	}
	return wrong;
}

unsigned fleet_check(struct fleet *f)
{
	static const struct {
		const char *sql, *what;
	} none[] = {
		{ "SELECT count(*) FROM ops_case WHERE drive = 'auto' AND status NOT IN ('CLOSED', 'PARKED')",
                 "cases have not ended"																			 },
		{ "SELECT count(*) FROM ops_case WHERE status = 'PARKED' AND (coalesce(park_reason, '') = '' OR coalesce(sentence, '') = '')",
                 "cases are parked without a reason"																	    },
		{ "SELECT count(*) FROM outbox WHERE done_at IS NULL",									 "rows of the outbox are open"                    },
		{ "SELECT count(*) FROM ops_case c WHERE resolution = 'verified' AND NOT EXISTS (SELECT FROM verdict v WHERE v.case_id = c.id"
		  " AND v.tenant_id = c.tenant_id AND v.verdict = 'PASS')",						   "cases are closed as verified without a verdict" },
		{ "SELECT count(*) FROM (SELECT tenant_id, cmd_id FROM outbox WHERE kind = 'e' AND cmd_id IS NOT NULL GROUP BY 1, 2"
		  " HAVING count(*) > 1) twice",									      "commands were answered twice"                   },
		{ "SELECT count(*) FROM target_lock WHERE until > now()",                                                                      "targets are still locked"                       },
	};
	unsigned wrong = 0;
	long long known = fleet_count(f, "SELECT count(*) FROM ops_case");

	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		long long n = fleet_count(f, none[i].sql);

		if (n)
			wrong += bad("%lld %s", n, none[i].what);
	}
	if (known < (long long)f->cases)
		wrong += bad("%u cases were accepted, %lld are known", f->cases, known);
	return wrong + check_effects(f) + check_chain(f);
}

/* ---- life ---- */

static const char runbook[] =
	"name: ledger\n"
	"title: Two lines in the ledger\n"
	"summary: For the crash suite.\n"
	"params:\n"
	"  file: {type: string, max: 1024, example: /tmp/ledger, help: Where the lines go.}\n"
	"  sleep_ms: {type: int, default: 0, min: 0, max: 600000, help: Before the first line.}\n"
	"  after_ms: {type: int, default: 0, min: 0, max: 600000, help: After the first line.}\n"
	"  show: {type: string, required: false, example: secret, help: What to tell.}\n"
	"plan:\n"
	"  title: Two lines\n"
	"  steps:\n"
	"    - action: ledger.append\n"
	"      params: {file: \"${file}\", line: one, sleep_ms: \"${sleep_ms}\", after_ms: \"${after_ms}\", show: \"${show}\"}\n"
	"      timeout_s: 120\n"
	"      retry: 3\n"
	"    - action: ledger.append\n"
	"      params: {file: \"${file}\", line: two}\n"
	"      timeout_s: 20\n"
	"      retry: 3\n"
	"  rollback: {}\n"
	"  verify:\n"
	"    deadline_s: 300\n"
	"    checks:\n"
	"      - {kind: probe, step: 0}\n"
	"      - {kind: probe, step: 1}\n";
static const char policy[] = "version: 1\n"
			     "rules:\n"
			     "  - id: ledger\n"
			     "    when: {action: ledger.append}\n"
			     "    answer: allow\n"
			     "    reason: a drill\n";

void fleet_start(struct fleet *f)
{
	struct oc_fail fail = { 0 };
	char path[160], id[UUID_TEXT];

	*f = (struct fleet){
		.db = { .durable = true, .options = "-c max_connections=200" },
                  .nats = { .durable = true }
	};
	snprintf(f->dir, sizeof(f->dir), "/tmp/opscase-fleet-XXXXXX");
	if (!mkdtemp(f->dir))
		die("no folder: %s", strerror(errno));
	for (size_t i = 0; i < 5; i++) {
		static const char *const names[] = { "ledger", "policies", "runbooks", "r0", "r1" };

		snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		if (mkdir(path, 0755) != 0)
			die("%s: %s", path, strerror(errno));
	}
	write_file(f->dir, "policies/ledger.yaml", policy);
	write_file(f->dir, "runbooks/ledger.yaml", runbook);
	for (unsigned i = 0; i < FLEET_REPLICAS; i++) {
		struct replica *r = &f->replica[i];

		r->port = free_port();
		snprintf(r->url, sizeof(r->url), "http://127.0.0.1:%d", r->port);
		snprintf(r->log, sizeof(r->log), "%s/opscased-%u.log", f->dir, i);
	}
	pgtemp_start(&f->db);
	/* The watcher's own server would stay a zombie when it is killed, and the next one would take it for alive. */
	f->postgres = postmaster_pid(f);
	fleet_postgres_stop(f);
	fleet_postgres_again(f);
	natstemp_start(&f->nats);
	f->tenant = pgtemp_tenant(&f->db, "t-crash");
	f->pg = pgtemp_open(f->db.worker);
	if (token_create(f->pg,
			 &(struct token_new){ .tenant_id = f->tenant, .name = "crash", .role = ROLE_OPERATOR },
			 f->token, id, &fail) != OC_OK)
		die("%s", fail.text);
}

void fleet_stop(struct fleet *f)
{
	AUTO(str) char *command = mem_printf("rm -rf '%s'", f->dir);

	for (unsigned i = 0; i < FLEET_REPLICAS; i++) {
		fleet_replica_signal(f, i, SIGCONT);
		fleet_replica_signal(f, i, SIGKILL);
	}
	pg_close(f->pg);
	if (f->postgres)
		fleet_postgres_kill(f);
	pgtemp_stop(&f->db);
	natstemp_stop(&f->nats);
	if (!getenv("OPSCASE_KEEP") && system(command) != 0)
		fprintf(stderr, "fleet: %s stays\n", f->dir);
	*f = (struct fleet){ 0 };
}
