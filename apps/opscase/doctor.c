/* doctor.c - one line for each thing that has to be right: OK, WARN or FAIL, and what to do. Changes nothing. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include "apps/opscase/datadir.h"
#include "apps/opscase/local.h"
#include "apps/opscase/out.h"
#include "apps/opscase/up_children.h"
#include "apps/opscase/up_postgres.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/settings.h"
#include "gatekeeper/policy.h"
#include "planner/template.h"
#include "store/migrate.h"
#include "store/health.h"
#include "wire/bus/bus.h"
#include "wire/http/client.h"

extern char **environ;

enum verdict { FINE, WARN, FAIL };

struct doctor {
	struct cli *cli;
	char *data;
	struct settings *settings;
	struct text out;
	json_t *list;
	unsigned warned, failed;
};

static void say(struct doctor *d, enum verdict v, const char *what, const char *fmt, ...) PRINTF_LIKE(4, 5);
static void say(struct doctor *d, enum verdict v, const char *what, const char *fmt, ...)
{
	static const char *const words[] = { "OK  ", "WARN", "FAIL" };
	static const enum out_style styles[] = { OUT_GOOD, OUT_WARN, OUT_BAD };
	char text[1400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->warned += v == WARN;
	d->failed += v == FAIL;
	out_styled(&d->out, d->cli->colour, styles[v], words[v]);
	text_addf(&d->out, "  %-12s ", what);
	out_clean(&d->out, text, false);
	text_add(&d->out, "\n");
	json_array_append_new(d->list, json_pack("{s:s,s:s,s:s}", "what", what, "verdict",
						 v == FINE   ? "ok"
						 : v == WARN ? "warn"
							     : "fail",
						 "text", text));
}

/* --- the parts */

static void programs(struct doctor *d)
{
	AUTO(str) char *bin = up_postgres_bin(), *nats = program_find("nats-server");
	AUTO(text) struct text missing = { 0 };

	if (!bin)
		say(d, WARN, "programs",
		    "PostgreSQL 17 is not installed here; `opscase up` needs it: apt-get install postgresql-17");
	else
		up_postgres_missing(bin, &missing);
	if (missing.len)
		say(d, WARN, "programs", "`opscase up` needs: apt-get install %s", missing.s);
	if (!nats)
		say(d, WARN, "programs",
		    "nats-server is not installed here; `opscase up` needs it: apt-get install nats-server");
	if (bin && nats && !missing.len)
		say(d, FINE, "programs", "PostgreSQL 17 in %s, its extensions, %s", bin, nats);
}

static void database(struct doctor *d)
{
	AUTO(pg) struct pg *pg = NULL;
	struct health h;
	struct oc_fail fail = { 0 };

	if (local_database(d->cli, "postgres", &pg, &fail) != OC_OK || health_read(pg, &h, &fail) != OC_OK) {
		say(d, FAIL, "postgres", "%s", fail.text);
		return;
	}
	if (h.version / 10000 < 17)
		say(d, FAIL, "postgres", "version %d.%d; 17 or later is needed", h.version / 10000,
		    h.version % 10000);
	else
		say(d, FINE, "postgres", "version %d.%d, database of %lld MB, %d of %d connections in use",
		    h.version / 10000, h.version % 10000, h.bytes >> 20, h.connections, h.connections_max);
	if (!str_eq(h.fsync, "on") || !str_eq(h.full_page_writes, "on"))
		say(d, FAIL, "durability",
		    "fsync = %s, full_page_writes = %s: a crash of the machine loses intents; set both on",
		    h.fsync, h.full_page_writes);
	else if (str_eq(h.synchronous_commit, "off"))
		say(d, FAIL, "durability",
		    "synchronous_commit = off: an intent may be forgotten after its effect took place; set it on");
	else
		say(d, FINE, "durability", "fsync on, full_page_writes on, synchronous_commit %s",
		    h.synchronous_commit);
	if (*h.missing)
		say(d, FAIL, "extensions",
		    "missing in the database: %s; `opscase migrate up` makes them once they are installed",
		    h.missing);
	else
		say(d, FINE, "extensions", "%s", h.extensions);
	if (migrate_check(pg, &fail) != OC_OK)
		say(d, FAIL, "migrations", "%s", fail.text);
	else
		say(d, FINE, "migrations", "at version %d", migrate_latest());
	if (*h.broken_role)
		say(d, FAIL, "roles",
		    "%s is a superuser or has BYPASSRLS: tenants would see each other; ALTER ROLE %s NOSUPERUSER NOBYPASSRLS",
		    h.broken_role, h.broken_role);
	else
		say(d, FINE, "roles", "opscase_api and opscase_worker are held by row-level security");
	if (!str_eq(h.effects, "on"))
		say(d, FAIL, "effects", "off: %s; after looking: opscase restore --finish", h.effects_reason);
	else
		say(d, FINE, "effects", "on");
	if (h.outbox_lag_s > 60)
		say(d, WARN, "outbox", "the oldest message waits for %lld s: is a relay running?",
		    h.outbox_lag_s);
	else
		say(d, FINE, "outbox", "nothing waits for long");
	if (h.dead_letters)
		say(d, WARN, "dead letters", "%lld that nobody has looked at", h.dead_letters);
	/* asked in one statement, so the way there and back counts at most once */
	double off = (double)(h.now_us - clock_wall_us()) / 1e6;
	if (off > 5 || off < -5)
		say(d, WARN, "clock",
		    "this machine and the database differ by %.1f s: run a time service on both", off);
	else
		say(d, FINE, "clock", "%.3f s from the database's", off);
}

/* sync_interval of our own server is in its file; of another one its monitoring page says it, if there is one. */
static void bus_durability(struct doctor *d, const char *url)
{
	AUTO(str) char *path = mem_printf("%s/run/nats.conf", d->data), *conf = file_slurp(path);
	AUTO(str) char *host = NULL, *monitor = NULL;
	AUTO(http_client) struct http_client *http = NULL;
	struct http_answer answer = { 0 };
	long long replicas = setting_int(d->settings, SET_NATS_REPLICAS);
	const char *at;

	if (replicas >= 3) {
		say(d, FINE, "bus", "streams have %lld replicas", replicas);
		return;
	}
	if (conf && !setting_given(d->settings, SET_DB_WORKER)) {
		bool always = strstr(conf, "sync_interval: always");

		say(d, always ? FINE : FAIL, "bus",
		    always ? "sync_interval: always (%s)" : "no sync_interval: always in %s", path);
		return;
	}
	at = strstr(url, "://");
	at = at ? at + 3 : url;
	if (strchr(at, '@'))
		at = strchr(at, '@') + 1;
	host = mem_strndup(at, strcspn(at, ":/,"));
	monitor = mem_printf("http://%s:8222/varz", host);
	http = http_client_new(
		&(struct http_client_config){ .base_url = "", .connect_ms = 500, .timeout_ms = 2000 });
	if (http_client_call(http, "GET", monitor, NULL, NULL, &answer, NULL) != OC_OK ||
	    answer.status != 200) {
		say(d, WARN, "bus",
		    "whether %s syncs always cannot be seen (no monitoring page at %s): set `sync_interval: always`, or "
		    "nats.replicas = 3 with three servers",
		    host, monitor);
		return;
	}
	bool always = strstr(answer.body, "\"sync_always\": true") ||
		      strstr(answer.body, "\"sync_always\":true");
	say(d, always ? FINE : WARN, "bus",
	    always ? "%s syncs always"
		   : "%s syncs every two minutes and has no replicas: set "
		     "`sync_interval: always`, or nats.replicas = 3",
	    host);
	http_answer_done(&answer);
}

static void bus(struct doctor *d)
{
	AUTO(str) char *conf_path = mem_printf("%s/run/opscased.conf", d->data);
	AUTO(settings) struct settings *s = settings_new();
	AUTO(bus) struct bus *b = NULL;
	struct oc_fail fail = { 0 };
	const struct settings *from = d->settings;

	if (!setting_given(d->settings, SET_DB_WORKER) && settings_read_file(s, conf_path, NULL) == OC_OK)
		from = s;
	if (bus_open(&(struct bus_config){ .url = setting_text(from, SET_NATS_URL),
					   .token = setting_text(from, SET_NATS_TOKEN),
					   .name = "opscase doctor",
					   .prefix = setting_text(from, SET_NATS_PREFIX),
					   .replicas = (int)setting_int(from, SET_NATS_REPLICAS) },
		     &b, &fail) != OC_OK) {
		say(d, FAIL, "bus", "%s", fail.text);
		return;
	}
	for (int i = 0; i < 100 && !bus_connected(b); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	if (!bus_connected(b)) {
		say(d, FAIL, "bus",
		    "nobody answers at %s: cases go on, but slower; start nats-server, or see nats.url",
		    setting_text(from, SET_NATS_URL));
		return;
	}
	say(d, FINE, "bus", "%s answers", setting_text(from, SET_NATS_URL));
	bus_durability(d, setting_text(from, SET_NATS_URL));
}

static void adapters(struct doctor *d)
{
	AUTO(registry) struct registry *registry = NULL;
	AUTO(plan_contract) struct plan_contract *contract = NULL;
	AUTO(runbook_set) struct runbook_set *set = NULL;
	AUTO(runbook_findings) struct runbook_findings findings = { 0 };
	AUTO(str) char *dir = local_adapters_dir(d->cli);
	const char *runbooks = setting_text(d->settings, SET_RUNBOOKS_DIR);
	struct oc_fail fail = { 0 };
	size_t refused = 0;
	enum oc_err err;

	if (local_registry(d->cli, &registry, &fail) != OC_OK) {
		say(d, FAIL, "adapters", "%s", fail.text);
		return;
	}
	for (size_t i = 0; i < registry_adapter_count(registry); i++)
		if (registry_adapter_at(registry, i)->refusal) {
			refused++;
			say(d, WARN, "adapters", "refused: %s", registry_adapter_at(registry, i)->refusal);
		}
	say(d, registry_adapter_count(registry) > refused ? FINE : WARN, "adapters",
	    "%zu loaded from %s, %zu operations", registry_adapter_count(registry) - refused, dir,
	    registry_operations(registry)->count);
	if (plan_contract_new(registry_operations(registry), &contract, &fail) != OC_OK) {
		say(d, FAIL, "adapters", "%s", fail.text);
		return;
	}
	err = *runbooks ? runbook_set_load(runbooks, contract, &set, &findings, &fail)
			: runbook_set_builtin(contract, &set, &findings, &fail);
	if (err != OC_OK)
		say(d, FAIL, "runbooks", "%zu findings, the first: %s", findings.count, fail.text);
	else
		say(d, FINE, "runbooks", "%zu %s", runbook_count(set), *runbooks ? runbooks : "built in");
}

static void policies(struct doctor *d)
{
	const char *dir = setting_text(d->settings, SET_POLICIES_DIR);
	AUTO(policy) struct policy *p = NULL;
	struct oc_fail fail = { 0 };

	if ((*dir ? policy_load(dir, &p, &fail) : policy_builtin(&p, &fail)) != OC_OK)
		say(d, FAIL, "policies", "%s", fail.text);
	else
		say(d, FINE, "policies", "%zu rules %s%s, version %.12s", policy_rule_count(p),
		    *dir ? "in " : "built in", dir, policy_hash(p));
}

static void service(struct doctor *d)
{
	AUTO(str) char *url_file = mem_printf("%s/url", d->data), *here = file_line(url_file);
	const char *url = cli_option(d->cli, "url") ? cli_option(d->cli, "url")
			  : here                    ? here
						    : getenv("OPSCASE_URL");
	AUTO(http_client) struct http_client *http = NULL;
	struct http_answer answer = { 0 };
	struct oc_fail fail = { 0 };

	if (str_empty(url)) {
		say(d, WARN, "service", "nothing runs on %s: opscase up", d->data);
		return;
	}
	http = http_client_new(&(struct http_client_config){
		.base_url = url, .timeout_ms = 10000, .ca_file = getenv("OPSCASE_CA") });
	if (http_client_call(http, "GET", "/readyz", NULL, NULL, &answer, &fail) != OC_OK)
		say(d, FAIL, "service", "%s", fail.text);
	else if (answer.status == 200)
		say(d, FINE, "service", "%s is ready", url);
	else
		say(d, FAIL, "service", "%s is not ready: %.300s", url, answer.body);
	http_answer_done(&answer);
}

static void disk(struct doctor *d)
{
	AUTO(str) char *tokens = mem_printf("%s/tokens", d->data);
	struct statvfs fs;
	struct stat st;
	double free_gb, share;

	if (statvfs(d->data, &fs) != 0) {
		say(d, errno == ENOENT ? WARN : FAIL, "disk", "%s: %s", d->data, strerror(errno));
		return;
	}
	free_gb = (double)fs.f_bavail * (double)fs.f_frsize / 1e9;
	share = fs.f_blocks ? 100.0 * (double)fs.f_bavail / (double)fs.f_blocks : 0;
	say(d,
	    free_gb < 0.5              ? FAIL
	    : free_gb < 5 || share < 5 ? WARN
				       : FINE,
	    "disk", "%.1f GB free (%.0f %%) for %s%s", free_gb, share, d->data,
	    free_gb < 5 || share < 5 ? ": make room before PostgreSQL stops" : "");
	if (stat(tokens, &st) == 0 && st.st_mode & 077)
		say(d, FAIL, "tokens", "others may look into %s: chmod 700 %s", tokens, tokens);
}

enum oc_err cli_doctor(struct cli *cli, struct oc_fail *reterr)
{
	struct doctor d = { .cli = cli,
			    .data = datadir_path(cli_option(cli, "data")),
			    .settings = settings_new(),
			    .list = json_array() };
	AUTO(str) char *own = mem_printf("%s/opscase.conf", d.data);
	enum oc_err err = OC_OK;

	if (access(own, R_OK) == 0)
		err = settings_read_file(d.settings, own, reterr);
	if (err == OC_OK)
		err = settings_load(d.settings, cli->settings, cli->setting, (const char *const *)environ,
				    NULL, reterr);
	if (err == OC_OK) {
		programs(&d);
		database(&d);
		bus(&d);
		adapters(&d);
		policies(&d);
		service(&d);
		disk(&d);
		if (cli->json) {
			AUTO(str) char *text = json_pretty(d.list);

			puts(text);
		} else {
			fputs(text_str(&d.out), stdout);
		}
		if (d.failed)
			err = oc_fail(reterr, OC_UNAVAILABLE, "%u of these must be put right", d.failed);
	}
	text_done(&d.out);
	json_decref(d.list);
	settings_free(d.settings);
	free(d.data);
	return err;
}
