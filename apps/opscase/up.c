/* up.c - opscase up: everything on this machine, from nothing, and back again after any kill.
 *
 * Starts PostgreSQL and nats-server of its own, brings the schema, makes the first tokens, runs opscased with
 * all roles, and keeps the three alive until it is told to stop. What it must remember lies in the data folder
 * (datadir.h); killed at any point, the next start goes on from there. */
#define LOG_ROOM "up"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "apps/opscase/cli.h"
#include "apps/opscase/datadir.h"
#include "apps/opscase/out.h"
#include "apps/opscase/up_identity.h"
#include "apps/opscase/up_nats.h"
#include "apps/opscase/up_postgres.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"
#include "store/restore.h"
#include "store/tenant.h"
#include "store/token.h"
#include "wire/http/client.h"

extern char **environ;

struct up {
	struct cli *cli;
	char *data;
	struct settings *settings;
	struct datadir_lock lock;
	struct up_postgres postgres;
	struct up_nats nats;
	struct child service;
	struct pg *pg; /* as superuser */
	struct up_identity mark;
	unsigned http_port;
	char url[300];
	bool new_tokens, with_service, quiet;
	int64_t began_ms;
	char trouble[512]; /* why effects are off */
};

static volatile sig_atomic_t stop_asked, reload_asked;
static volatile int in_a_hurry;

static void on_signal(int sig)
{
	if (sig == SIGHUP) {
		reload_asked = 1;
		return;
	}
	in_a_hurry = stop_asked;
	stop_asked = 1;
}

/* One line of progress: name, what happened. */
static void tell(const struct up *up, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void tell(const struct up *up, const char *name, const char *fmt, ...)
{
	AUTO(text) struct text line = { 0 };
	char words[1024], left[24];
	va_list ap;

	if (up->quiet)
		return;
	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	snprintf(left, sizeof(left), "  %-11s", name);
	out_styled(&line, up->cli->colour, OUT_INFO, left);
	text_addf(&line, " %s\n", words);
	fputs(line.s, stdout);
	fflush(stdout);
}

static char *in(const struct up *up, const char *name)
{
	return mem_printf("%s/%s", up->data, name);
}

/* --- settings: the user's, and what only we know */

static enum oc_err load_settings(struct up *up, struct settings **ret, struct oc_fail *reterr)
{
	AUTO(settings) struct settings *s = settings_new();
	AUTO(text) struct text odd = { 0 };
	AUTO(str) char *own = in(up, "opscase.conf");
	static const enum setting_id ours[] = { SET_DB_OWNER, SET_DB_API, SET_DB_WORKER, SET_NATS_URL,
						SET_NATS_TOKEN };
	enum oc_err err = OC_OK;

	if (access(own, F_OK) == 0)
		err = settings_read_file(s, own, reterr);
	if (err == OC_OK)
		err = settings_load(s, up->cli->settings, up->cli->setting, (const char *const *)environ,
				    &odd, reterr);
	if (err != OC_OK)
		return err;
	if (odd.len)
		log_warn("%s", odd.s);
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (!str_eq(setting_source(s, ours[i]), "default"))
			return oc_fail(
				reterr, OC_INVALID,
				"%s is set (%s), but `opscase up` brings its own PostgreSQL and bus; for others run opscased "
				"itself",
				setting_row(ours[i])->name, setting_source(s, ours[i]));
	*ret = TAKE(s);
	return OC_OK;
}

static void conf_line(struct text *conf, enum setting_id id, const char *value)
{
	text_addf(conf, "%s = \"%s\"\n", setting_row(id)->name, value);
}

static enum oc_err write_service_conf(struct up *up, struct oc_fail *reterr)
{
	AUTO(str) char *path = in(up, "run/opscased.conf");
	AUTO(str) char *api = up_postgres_conninfo(&up->postgres, "opscase_api", "opscase");
	AUTO(str) char *worker = up_postgres_conninfo(&up->postgres, "opscase_worker", "opscase");
	AUTO(str) char *bus = mem_printf("nats://127.0.0.1:%u", up->nats.port);
	AUTO(str) char *port = mem_printf("%u", up->http_port);
	AUTO(str) char *here = program_dir();
	AUTO(str) char *adapters = mem_printf("%s/../lib/opscase/adapters", here);
	AUTO(text) struct text conf = { 0 };

	text_add(
		&conf,
		"# written at every start by opscase up; put your own settings into opscase.conf beside tokens/\n");
	for (unsigned i = 0; i < SETTING_COUNT; i++)
		if (!str_eq(setting_source(up->settings, i), "default"))
			conf_line(&conf, i, setting_value(up->settings, i));
	conf_line(&conf, SET_DB_API, api);
	conf_line(&conf, SET_DB_WORKER, worker);
	conf_line(&conf, SET_NATS_URL, bus);
	conf_line(&conf, SET_NATS_TOKEN, up->nats.token);
	conf_line(&conf, SET_DATA_DIR, up->data);
	conf_line(&conf, SET_HTTP_PORT, port);
	if (!setting_given(up->settings, SET_ADAPTERS_DIR) && access(adapters, F_OK) == 0)
		conf_line(&conf, SET_ADAPTERS_DIR, adapters);
	return file_put(path, conf.s, 0600, reterr);
}

static void choose_http_port(struct up *up)
{
	bool given = !str_eq(setting_source(up->settings, SET_HTTP_PORT), "default");

	if (given && setting_int(up->settings, SET_HTTP_PORT) != 0)
		up->http_port = (unsigned)setting_int(up->settings, SET_HTTP_PORT);
	else
		up->http_port = port_choose(up->data, "http", given ? 0 : 8080);
	snprintf(up->url, sizeof(up->url), "%s://%s:%u",
		 setting_given(up->settings, SET_HTTP_TLS_CERT) ? "https" : "http",
		 /* where it listens everywhere, this machine reaches it by loopback */
		 str_eq(setting_text(up->settings, SET_HTTP_ADDRESS), "0.0.0.0")
			 ? "127.0.0.1"
			 : setting_text(up->settings, SET_HTTP_ADDRESS),
		 up->http_port);
}

/* --- first start */

/* The file is written before the row: a crash between them leaves a token that opens nothing and is made anew. */
static enum oc_err make_token(struct up *up, const char *name, enum token_role role, long long tenant_id,
			      struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/tokens/%s", up->data, name);
	AUTO(str) char *have = file_line(path);
	char token[TOKEN_TEXT], id[UUID_TEXT];
	unsigned char hash[HASH_LEN];
	struct token known;
	enum oc_err err;

	if (have) {
		hash_sha256(have, strlen(have), hash);
		err = token_find(up->pg, hash, &known, reterr);
		if (err != OC_UNAUTHENTICATED)
			return err;
		/* revoked by somebody: that is an answer, and not ours to take back */
		if (!up->postgres.fresh && !up->new_tokens)
			return OC_OK;
	}
	err = token_create(up->pg, &(struct token_new){ .tenant_id = tenant_id, .name = name, .role = role },
			   token, id, reterr);
	if (err == OC_CONFLICT) /* the row is there and the file is gone: somebody moved it away */
		return OC_OK;
	if (err == OC_OK)
		err = file_put(path, token, 0600, reterr);
	explicit_bzero(token, sizeof(token));
	up->new_tokens |= err == OC_OK;
	return err;
}

static enum oc_err first_rows(struct up *up, struct oc_fail *reterr)
{
	struct tenant tenant;
	enum oc_err err = tenant_find(up->pg, "default", &tenant, reterr);

	if (err == OC_NOT_FOUND)
		err = tenant_create(up->pg, "default", "default", NULL, &tenant, reterr);
	if (err == OC_OK)
		err = make_token(up, "admin", ROLE_ADMIN, 0, reterr);
	if (err == OC_OK)
		err = make_token(up, "approver", ROLE_APPROVER, tenant.id, reterr);
	return err;
}

/* --- the service */

static enum oc_err service_prepare(struct up *up, struct oc_fail *reterr)
{
	AUTO(str) char *here = program_dir();
	AUTO(str) char *program = mem_printf("%s/opscased", here);
	struct child *c = &up->service;

	if (access(program, X_OK) != 0) {
		free(program);
		program = program_find("opscased");
	}
	if (!program)
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "there is no opscased beside this program, nor in PATH");
	c->name = "opscased";
	c->log = in(up, "log/opscased.log");
	c->stop_signal = SIGTERM;
	child_word(c, "%s", program);
	child_word(c, "--config");
	child_word(c, "%s/run/opscased.conf", up->data);
	return OC_OK;
}

static enum oc_err service_wait(struct up *up, int timeout_ms, struct oc_fail *reterr)
{
	int64_t until = clock_mono_ms() + timeout_ms, now;
	char last[1100] = "";
	enum oc_err err;

	while ((now = clock_mono_ms()) < until && !stop_asked) {
		AUTO(http_client)
		struct http_client *http = http_client_new(
			&(struct http_client_config){ .base_url = up->url, .timeout_ms = 5000 });
		struct http_answer answer = { 0 };
		struct oc_fail fail = { 0 };

		if (child_reap(&up->service, now)) {
			AUTO(str) char *tail = child_log_tail(&up->service, 12);

			if (up->service.deaths > 3 || port_is_free(up->http_port) ||
			    !str_eq(setting_source(up->settings, SET_HTTP_PORT), "default"))
				return oc_fail(reterr, OC_UNAVAILABLE,
					       "opscased ended at its start (%s):\n%s",
					       child_death(&up->service), tail);
			/* somebody was quicker at the port */
			choose_http_port(up);
			err = write_service_conf(up, reterr);
			if (err == OC_OK)
				err = child_start(&up->service, reterr);
			if (err != OC_OK)
				return err;
			continue; /* the client has the old port */
		}
		if (http_client_call(http, "GET", "/readyz", NULL, NULL, &answer, &fail) == OC_OK) {
			bool ready = answer.status == 200;

			snprintf(last, sizeof(last), "%s", answer.body);
			http_answer_done(&answer);
			/* Somebody else's, if he was quicker at the port: ours is about to find that out. */
			if (ready && port_is_of(up->http_port, up->service.pid))
				return OC_OK;
		} else {
			snprintf(last, sizeof(last), "%s", fail.text);
		}
		nanosleep(&(struct timespec){ .tv_nsec = 25000000 }, NULL);
	}
	if (stop_asked)
		return OC_OK;
	AUTO(str) char *tail = child_log_tail(&up->service, 12);
	return oc_fail(reterr, OC_UNAVAILABLE, "opscased is not ready after %d s: %s\n%s", timeout_ms / 1000,
		       last, tail);
}

/* --- up */

static enum oc_err note_children(struct up *up, struct oc_fail *reterr)
{
	AUTO(str) char *path = in(up, "run/children.json");
	struct child *all[] = { &up->service, &up->nats.child, &up->postgres.child };

	return children_note(path, all, ARRAY_LEN(all), reterr);
}

static enum oc_err folders(struct up *up, struct oc_fail *reterr)
{
	static const struct {
		const char *name;
		mode_t mode;
	} dirs[] = {
		{ "run",      0711 },
                { "log",      0755 },
                { "tokens",   0700 },
		{ "postgres", 0700 },
                { "nats",     0700 },
                { "detail",   0700 },
		{ "scratch",  0711 },
                { "adapters", 0700 },
                { "secrets",  0700 }
	};
	enum oc_err err = datadir_make(up->data, 0755, reterr);

	for (size_t i = 0; i < ARRAY_LEN(dirs) && err == OC_OK; i++) {
		AUTO(str) char *path = in(up, dirs[i].name);

		err = datadir_make(path, dirs[i].mode, reterr);
	}
	return err;
}

static enum oc_err start_all(struct up *up, struct oc_fail *reterr)
{
	AUTO(str) char *url_file = in(up, "url"), *old = in(up, "run/children.json");
	AUTO(text) struct text trouble = { 0 };
	const struct passwd *as = NULL;
	int64_t at = clock_mono_ms();
	int applied = 0;
	enum oc_err err = folders(up, reterr);

	if (err == OC_OK)
		err = datadir_lock(up->data, &up->lock, reterr);
	if (err == OC_OK)
		err = child_user(&as, reterr);
	if (err != OC_OK)
		return err;
	unlink(url_file);
	if (children_end_old(old, up->quiet))
		tell(up, "before", "ended what a killed supervisor had left");

	/* the bus comes up while PostgreSQL does */
	err = up_nats_prepare(&up->nats, up->data, as, reterr);
	if (err == OC_OK)
		err = child_start(&up->nats.child, reterr);
	if (err == OC_OK)
		err = up_postgres_prepare(&up->postgres, up->data, as, reterr);
	if (err == OC_OK)
		err = child_start(&up->postgres.child, reterr);
	if (err == OC_OK)
		err = note_children(up, reterr);
	if (err == OC_OK)
		err = up_postgres_wait(&up->postgres, 120000, reterr);
	if (err != OC_OK)
		return err;
	tell(up, "postgres", "%s%s%s in %.1f s", up->postgres.fresh ? "made and started" : "started",
	     as ? " as user " : "", as ? as->pw_name : "", (double)(clock_mono_ms() - at) / 1000);
	at = clock_mono_ms();
	err = up_postgres_setup(&up->postgres, &applied, reterr);
	if (err != OC_OK)
		return err;
	tell(up, "schema", applied ? "%d migrations applied in %.1f s" : "up to date", applied,
	     (double)(clock_mono_ms() - at) / 1000);
	AUTO(str) char *conninfo = up_postgres_conninfo(&up->postgres, "postgres", "opscase");
	err = pg_open(conninfo, "opscase up", &up->pg, reterr);
	if (err == OC_OK)
		err = up_identity_check(up->pg, up->data, up->postgres.fresh, &trouble, reterr);
	if (err == OC_OK && trouble.len == 0)
		err = up_identity_write(up->pg, up->data, &up->mark, reterr);
	if (err == OC_OK)
		err = first_rows(up, reterr);
	if (err == OC_OK)
		err = up_nats_wait(&up->nats, 20000, reterr);
	if (err != OC_OK)
		return err;
	snprintf(up->trouble, sizeof(up->trouble), "%s", text_str(&trouble));
	tell(up, "nats", "JetStream on 127.0.0.1:%u", up->nats.port);
	if (up->new_tokens)
		tell(up, "tokens", "made: %s/tokens/admin and %s/tokens/approver; only you can read them",
		     up->data, up->data);
	choose_http_port(up);
	if (!port_is_free(up->http_port))
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "port %u is in use by another program; choose another: --http.port=N (%s)",
			       up->http_port, setting_source(up->settings, SET_HTTP_PORT));
	err = write_service_conf(up, reterr);
	if (err == OC_OK && up->with_service) {
		at = clock_mono_ms();
		err = service_prepare(up, reterr);
		if (err == OC_OK)
			err = child_start(&up->service, reterr);
		if (err == OC_OK)
			err = note_children(up, reterr);
		if (err == OC_OK)
			err = service_wait(up, 60000, reterr);
		if (err == OC_OK && !stop_asked)
			tell(up, "opscased", "ready in %.1f s, all roles",
			     (double)(clock_mono_ms() - at) / 1000);
	}
	if (err == OC_OK)
		err = note_children(up, reterr);
	if (err == OC_OK && up->with_service)
		err = file_put(url_file, up->url, 0644, reterr);
	return err;
}

static void stop_all(struct up *up)
{
	AUTO(str) char *url_file = in(up, "url"), *list = in(up, "run/children.json");
	struct oc_fail fail;

	if (up->lock.fd >= 0)
		unlink(url_file);
	child_stop(&up->service, 30000, &in_a_hurry);
	if (up->pg && pg_alive(up->pg) && !up->trouble[0])
		(void)!up_identity_write(up->pg, up->data, &up->mark, &fail);
	pg_close(TAKE(up->pg));
	child_stop(&up->nats.child, 10000, &in_a_hurry);
	child_stop(&up->postgres.child, 60000, &in_a_hurry);
	if (up->lock.fd >= 0) {
		unlink(list);
		close(TAKE_FD(up->lock.fd));
	}
}

static void say_ready(const struct up *up)
{
	double took = (double)(clock_mono_ms() - up->began_ms) / 1000;

	if (up->cli->json) {
		AUTO(json)
		json_t *doc = json_pack("{s:s,s:s,s:i,s:i,s:s}", "url", up->with_service ? up->url : "",
					"data", up->data, "pid", (int)getpid(), "ready_ms",
					(int)(took * 1000), "effects", up->trouble[0] ? "off" : "on");
		AUTO(str) char *line = json_text(doc);

		puts(line);
		fflush(stdout);
		return;
	}
	AUTO(text) struct text out = { 0 };
	text_add(&out, "\n");
	if (up->with_service) {
		out_styled(&out, up->cli->colour, OUT_BOLD, up->url);
		text_addf(&out, "  ready after %.1f s; Ctrl-C stops it\n", took);
	} else {
		text_addf(
			&out,
			"without a service, after %.1f s; for one of your own: opscased --config %s/run/opscased.conf\n",
			took, up->data);
	}
	if (up->trouble[0]) {
		out_styled(&out, up->cli->colour, OUT_BAD, "effects are off: ");
		text_addf(&out, "%s\n  nothing will be executed until: opscase restore --finish --data %s\n",
			  up->trouble, up->data);
	}
	AUTO(str) char *usual = datadir_path(NULL);
	if (up->with_service)
		text_addf(&out, "try: opscase case list%s%s\n", str_eq(usual, up->data) ? "" : " --data ",
			  str_eq(usual, up->data) ? "" : up->data);
	fputs(out.s, stdout);
	fflush(stdout);
}

static void reload(struct up *up)
{
	AUTO(settings) struct settings *now = NULL;
	AUTO(text) struct text restart = { 0 };
	struct oc_fail fail = { 0 };

	reload_asked = 0;
	if (load_settings(up, &now, &fail) != OC_OK) {
		log_error("settings stay as they were: %s", fail.text);
		return;
	}
	settings_take_reloadable(up->settings, now, &restart);
	if (restart.len)
		log_warn("these need a restart to change: %s", restart.s);
	if (write_service_conf(up, &fail) != OC_OK)
		log_error("%s", fail.text);
	else if (up->service.pid > 0)
		kill(up->service.pid, SIGHUP);
}

/* Somebody said `opscase restore --finish`, which wrote the new mark. */
static bool effects_are_on(struct up *up)
{
	struct restore_mark mark;

	return restore_mark_read(up->pg, &mark, NULL) == OC_OK && str_eq(mark.effects, "on");
}

static void keep_alive(struct up *up)
{
	struct child *all[] = { &up->postgres.child, &up->nats.child, &up->service };
	int64_t marked_ms = 0, tidied_ms = 0;
	struct oc_fail fail = { 0 };

	while (!stop_asked) {
		int64_t now = clock_mono_ms();
		bool changed = false, waiting = false;

		for (size_t i = 0; i < ARRAY_LEN(all); i++) {
			struct child *c = all[i];

			if (child_reap(c, now))
				log_error("%s ended (%s); starting it again in %lld ms; its log: %s", c->name,
					  child_death(c), (long long)(c->restart_at_ms - now), c->log);
			if (c->restart_at_ms && c->restart_at_ms <= now) {
				if (child_start(c, &fail) == OC_OK)
					changed = true;
				else
					log_error("%s", fail.text);
			}
			waiting |= c->restart_at_ms != 0;
		}
		if (changed && note_children(up, &fail) != OC_OK)
			log_error("%s", fail.text);
		if (reload_asked)
			reload(up);
		if (up->trouble[0] && now - marked_ms >= 3000 && effects_are_on(up)) {
			tell(up, "effects", "on again");
			up->trouble[0] = '\0';
		}
		/* While effects are off the old mark must stand: it is what says so. */
		if (now - marked_ms >= 3000 && !up->trouble[0]) {
			if (up_identity_write(up->pg, up->data, &up->mark, &fail) != OC_OK)
				log_debug("mark: %s", fail.text);
			marked_ms = now;
		}
		if (now - tidied_ms >= 60000) {
			for (size_t i = 0; i < ARRAY_LEN(all); i++)
				if (all[i]->log)
					child_tidy_log(all[i]);
			tidied_ms = now;
		}
		/* SIGCHLD, SIGTERM and SIGHUP interrupt it; one that came just before is seen a second later */
		poll(NULL, 0, waiting ? 100 : 1000);
	}
}

static void on_child(int sig)
{
	(void)sig;
}

static void take_signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };

	stop_asked = reload_asked = 0;
	for (size_t i = 0; i < ARRAY_LEN(sigs); i++)
		sigaction(sigs[i], &sa, NULL);
	sa.sa_handler = on_child;
	sigaction(SIGCHLD, &sa, NULL);
}

enum oc_err cli_up(struct cli *cli, struct oc_fail *reterr)
{
	struct up up = { .cli = cli,
			 .lock.fd = -1,
			 .quiet = cli->json,
			 .began_ms = clock_mono_ms(),
			 .with_service = !cli_flag(cli, "no-service") };
	enum oc_err err;

	if (!getenv("OPSCASE_LOG"))
		log_set_level(LOG_WARN);
	up.data = datadir_path(cli_option(cli, "data"));
	err = load_settings(&up, &up.settings, reterr);
	if (err == OC_OK) {
		take_signals();
		umask(022);
		if (!up.quiet)
			printf("opscase %s, data in %s\n", OPSCASE_VERSION, up.data);
		err = start_all(&up, reterr);
	}
	if (err == OC_OK && !stop_asked) {
		say_ready(&up);
		keep_alive(&up);
	}
	if (err == OC_OK && !up.quiet) {
		printf("stopping\n");
		fflush(stdout);
	}
	stop_all(&up);
	child_done(&up.service);
	up_nats_done(&up.nats);
	up_postgres_done(&up.postgres);
	settings_free(up.settings);
	free(up.data);
	return err;
}

/* --- down: the other end of the same rope */

enum oc_err cli_down(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(str) char *data = datadir_path(cli_option(cli, "data"));
	pid_t pid = datadir_holder(data);

	if (!pid)
		return oc_fail(reterr, OC_NOT_FOUND, "nothing runs on %s", data);
	if (kill(pid, SIGTERM) != 0)
		return oc_fail(reterr, OC_FORBIDDEN, "pid %d: %s", (int)pid, strerror(errno));
	for (int i = 0; i < 1200; i++) {
		if (datadir_holder(data) != pid) {
			if (!cli->json)
				printf("stopped (pid %d)\n", (int)pid);
			return OC_OK;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
	return oc_fail(reterr, OC_UNKNOWN, "pid %d still runs after two minutes", (int)pid);
}
