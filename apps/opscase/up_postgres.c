#define LOG_ROOM "up"
#include "apps/opscase/up_postgres.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "apps/opscase/datadir.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/migrate.h"
#include "wire/json/json.h"

#define MAJOR "17"

static const struct {
	const char *control, *package;
} extensions[] = {
	{ "timescaledb.control", "postgresql-" MAJOR "-timescaledb" },
	{ "age.control",         "postgresql-" MAJOR "-age"         },
	{ "vector.control",      "postgresql-" MAJOR "-pgvector"    },
};

char *up_postgres_bin(void)
{
	static const char *const places[] = { "/usr/lib/postgresql/" MAJOR "/bin", "/usr/pgsql-" MAJOR "/bin",
					      "/usr/local/pgsql/bin" };
	AUTO(str) char *program = NULL;
	char *slash;

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		AUTO(str) char *path = mem_printf("%s/initdb", places[i]);

		if (access(path, X_OK) == 0)
			return mem_strdup(places[i]);
	}
	program = program_find("initdb");
	if (!program)
		return NULL;
	slash = strrchr(program, '/');
	return mem_strndup(program, (size_t)(slash - program));
}

void up_postgres_missing(const char *bin, struct text *out)
{
	AUTO(str) char *config = mem_printf("%s/pg_config", bin);
	AUTO(str) char *share = NULL;
	char *argv[] = { config, (char *)"--sharedir", NULL };

	if (access(config, X_OK) != 0 || child_run(argv, NULL, &share, NULL) != OC_OK)
		share = mem_strdup("/usr/share/postgresql/" MAJOR);
	share[strcspn(share, "\n")] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
		AUTO(str) char *path = mem_printf("%s/extension/%s", share, extensions[i].control);

		if (access(path, R_OK) != 0)
			text_addf(out, "%s%s", out->len ? " " : "", extensions[i].package);
	}
}

static enum oc_err check_programs(struct up_postgres *p, struct oc_fail *reterr)
{
	AUTO(text) struct text missing = { 0 };
	AUTO(str) char *said = NULL;
	AUTO(str) char *postgres = NULL;
	int major = 0;

	p->bin = up_postgres_bin();
	if (!p->bin)
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "PostgreSQL " MAJOR " is not installed: apt-get install postgresql-" MAJOR);
	postgres = mem_printf("%s/postgres", p->bin);
	enum oc_err err = child_run((char *[]){ postgres, (char *)"--version", NULL }, p->as, &said, reterr);
	if (err != OC_OK)
		return err;
	if (sscanf(said, "postgres (PostgreSQL) %d", &major) != 1 || major != atoi(MAJOR))
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "%s is not PostgreSQL " MAJOR " (%.*s): apt-get install postgresql-" MAJOR,
			       postgres, (int)strcspn(said, "\n"), said);
	up_postgres_missing(p->bin, &missing);
	if (missing.len)
		return oc_fail(reterr, OC_UNAVAILABLE, "PostgreSQL lacks extensions: apt-get install %s",
			       missing.s);
	return OC_OK;
}

static void random_word(char out[33])
{
	unsigned char bytes[16];

	hash_random(bytes, sizeof(bytes));
	str_hex(bytes, sizeof(bytes), out);
}

static enum oc_err read_passwords(struct up_postgres *p, bool make, struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("%s/passwords.json", p->data);
	AUTO(str) char *text = file_slurp(path);
	AUTO(json) json_t *doc = NULL;
	static const char *const names[] = { "postgres", "opscase_owner", "opscase_api", "opscase_worker" };
	char **into[] = { &p->admin, &p->owner, &p->api, &p->worker };
	char word[33];

	if (!text && errno == EACCES)
		return oc_fail(reterr, OC_FORBIDDEN,
			       "%s belongs to somebody else: run this as the user of `opscase up`", path);
	if (!text && !make)
		return oc_fail(reterr, OC_NOT_FOUND,
			       "%s is missing: %s is no folder of an embedded installation", path, p->data);
	if (!text) {
		AUTO(str) char *made = NULL;

		doc = json_object();
		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			random_word(word);
			json_put(doc, names[i], word);
		}
		made = json_pretty(doc);
		enum oc_err err = file_put(path, made, 0600, reterr);
		if (err != OC_OK)
			return err;
	} else {
		enum oc_err err = json_read_own(text, &doc, reterr);
		if (err != OC_OK)
			return err;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = json_str(doc, names[i]);

		if (!value)
			return oc_fail(reterr, OC_INVALID, "%s has no password of %s", path, names[i]);
		mem_set(into[i], value);
	}
	return OC_OK;
}

static enum oc_err own_dir(const char *path, mode_t mode, const struct passwd *as, struct oc_fail *reterr)
{
	struct stat st;
	enum oc_err err = datadir_make(path, mode, reterr);

	if (err != OC_OK)
		return err;
	/* In /tmp somebody else may have been here first: never go into a folder that is not ours. */
	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) ||
	    (st.st_uid != getuid() && !(as && st.st_uid == as->pw_uid)))
		return oc_fail(reterr, OC_FORBIDDEN, "%s is not ours; take another --data", path);
	if (chmod(path, mode) != 0 || (as && chown(path, as->pw_uid, as->pw_gid) != 0))
		return oc_fail(reterr, OC_UNAVAILABLE, "%s: %s", path, strerror(errno));
	return OC_OK;
}

/* The socket lies in the data folder; where that path is too long for a socket, in a short one named after it. */
static char *socket_dir(const char *data)
{
	AUTO(str) char *dir = mem_printf("%s/run/postgres", data);
	char hash[HASH_HEX];

	if (strlen(dir) + strlen("/.s.PGSQL.5432.lock") < sizeof(((struct sockaddr_un *)0)->sun_path))
		return TAKE(dir);
	hash_sha256_hex(data, strlen(data), hash);
	return mem_printf("%s/opscase-%u-%.12s", getuid() == 0 ? "/run" : "/tmp", (unsigned)getuid(), hash);
}

static enum oc_err make_cluster(struct up_postgres *p, struct oc_fail *reterr)
{
	AUTO(str) char *home = mem_printf("%s/postgres", p->data);
	AUTO(str) char *version = mem_printf("%s/PG_VERSION", p->cluster);
	AUTO(str) char *aside = mem_printf("%s.new", p->cluster);
	AUTO(str) char *pwfile = mem_printf("%s/run/postgres.password", p->data);
	AUTO(str) char *pwarg = mem_printf("--pwfile=%s", pwfile);
	AUTO(str) char *initdb = mem_printf("%s/initdb", p->bin);
	AUTO(str) char *test = program_find("test"), *rm = program_find("rm");
	char *rm_argv[] = { rm, (char *)"-rf", (char *)"--", aside, NULL };
	char *argv[] = { initdb,
			 (char *)"-D",
			 aside,
			 (char *)"-U",
			 (char *)"postgres",
			 (char *)"-A",
			 (char *)"scram-sha-256",
			 (char *)"-E",
			 (char *)"UTF8",
			 (char *)"--locale=C.UTF-8",
			 (char *)"--no-instructions",
			 (char *)"--sync-method=syncfs",
			 pwarg,
			 NULL };
	enum oc_err err;

	if (access(version, F_OK) == 0 || errno == EACCES)
		return OC_OK;
	if (access(p->cluster, F_OK) == 0)
		return oc_fail(reterr, OC_INVALID, "%s is there but is no PostgreSQL cluster; move it away",
			       p->cluster);
	err = own_dir(home, 0700, p->as, reterr);
	if (err != OC_OK)
		return err;
	if (p->as && test &&
	    child_run((char *[]){ test, (char *)"-x", home, NULL }, p->as, NULL, NULL) != OC_OK)
		return oc_fail(
			reterr, OC_FORBIDDEN,
			"PostgreSQL must not run as root but as '%s', who cannot reach %s: take a --data folder below "
			"folders that everybody may pass, like /var/lib/opscase",
			p->as->pw_name, home);
	/* An initdb that was interrupted left this. */
	if (rm && access(aside, F_OK) == 0 && (err = child_run(rm_argv, p->as, NULL, reterr)) != OC_OK)
		return err;
	err = file_put(pwfile, p->admin, 0600, reterr);
	if (err != OC_OK)
		return err;
	if (p->as && chown(pwfile, p->as->pw_uid, p->as->pw_gid) != 0)
		err = oc_fail(reterr, OC_UNAVAILABLE, "%s: %s", pwfile, strerror(errno));
	if (err == OC_OK)
		err = child_run(argv, p->as, NULL, reterr);
	unlink(pwfile);
	if (err == OC_OK && rename(aside, p->cluster) != 0)
		err = oc_fail(reterr, OC_UNAVAILABLE, "%s: %s", p->cluster, strerror(errno));
	p->fresh = err == OC_OK;
	return err;
}

static void command_line(struct up_postgres *p)
{
	static const char *const settings[] = {
		"listen_addresses=",
		"unix_socket_permissions=0700",
		"shared_preload_libraries=timescaledb,age",
		"timescaledb.telemetry_level=off",
		"max_connections=200",
		"max_worker_processes=16",
		"fsync=on",
		"synchronous_commit=on",
		"full_page_writes=on",
		"jit=off",
		"log_checkpoints=off",
		"logging_collector=off",
		"log_destination=stderr",
		"cluster_name=opscase",
	};
	struct child *c = &p->child;

	c->name = "postgres";
	c->as = p->as;
	c->log = mem_printf("%s/log/postgres.log", p->data);
	c->stop_signal = SIGINT; /* fast shutdown: sessions are ended, nothing is lost */
	child_word(c, "%s/postgres", p->bin);
	child_word(c, "-D");
	child_word(c, "%s", p->cluster);
	child_word(c, "-k");
	child_word(c, "%s", p->socket_dir);
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		child_word(c, "-c");
		child_word(c, "%s", settings[i]);
	}
}

enum oc_err up_postgres_prepare(struct up_postgres *p, const char *data, const struct passwd *as,
				struct oc_fail *reterr)
{
	enum oc_err err;

	p->data = mem_strdup(data);
	p->as = as;
	p->cluster = mem_printf("%s/postgres/" MAJOR, data);
	p->socket_dir = socket_dir(data);
	err = check_programs(p, reterr);
	if (err == OC_OK)
		err = read_passwords(p, true, reterr);
	if (err == OC_OK)
		err = make_cluster(p, reterr);
	if (err == OC_OK)
		err = own_dir(p->socket_dir, 0700, as, reterr);
	if (err == OC_OK)
		command_line(p);
	return err;
}

char *up_postgres_conninfo(const struct up_postgres *p, const char *role, const char *dbname)
{
	const char *password = str_eq(role, "postgres")        ? p->admin
			       : str_eq(role, "opscase_owner") ? p->owner
			       : str_eq(role, "opscase_api")   ? p->api
							       : p->worker;
	AUTO(text) struct text host = { 0 };

	/* quoted as libpq wants it: a folder's name may have blanks */
	for (const char *c = p->socket_dir; *c; c++)
		text_addf(&host, "%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
	return mem_printf("host='%s' user=%s password=%s dbname=%s", text_str(&host), role, password, dbname);
}

enum oc_err up_postgres_wait(struct up_postgres *p, int timeout_ms, struct oc_fail *reterr)
{
	AUTO(str) char *conninfo = up_postgres_conninfo(p, "postgres", "postgres");
	int64_t until = clock_mono_ms() + timeout_ms, now;
	struct oc_fail fail = { 0 };

	while ((now = clock_mono_ms()) < until) {
		AUTO(pg) struct pg *pg = NULL;

		if (pg_open(conninfo, "opscase up", &pg, &fail) == OC_OK)
			return OC_OK;
		if (child_reap(&p->child, now)) {
			/* A server that was killed leaves shared memory until its last backend has gone: that passes. */
			AUTO(str) char *tail = child_log_tail(&p->child, 12);

			if (!strstr(tail, "shared memory block") && !strstr(tail, "lock file"))
				return oc_fail(reterr, OC_UNAVAILABLE,
					       "PostgreSQL ended at its start (%s):\n%s",
					       child_death(&p->child), tail);
			nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
			enum oc_err err = child_start(&p->child, reterr);
			if (err != OC_OK)
				return err;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	AUTO(str) char *tail = child_log_tail(&p->child, 12);
	return oc_fail(reterr, OC_UNAVAILABLE, "PostgreSQL does not answer after %d s (%s):\n%s",
		       timeout_ms / 1000, fail.text, tail);
}

static enum oc_err set_password(struct up_postgres *p, struct pg *pg, const char *role,
				struct oc_fail *reterr)
{
	AUTO(str) char *conninfo = up_postgres_conninfo(p, role, "opscase");
	const char *password = strstr(conninfo, "password=") + strlen("password=");
	AUTO(str)
	char *sql = mem_printf("ALTER ROLE %s LOGIN PASSWORD '%.*s'", role, (int)strcspn(password, " "),
			       password);
	AUTO(pg) struct pg *try = NULL;

	/* scram is slow on purpose: only where it is not so already */
	if (!p->fresh && pg_open(conninfo, "opscase up", &try, NULL) == OC_OK)
		return OC_OK;
	return pg_script(pg, sql, reterr);
}

enum oc_err up_postgres_setup(struct up_postgres *p, int *ret_applied, struct oc_fail *reterr)
{
	static const char *const roles[] = { "opscase_owner", "opscase_api", "opscase_worker" };
	AUTO(str) char *conninfo = up_postgres_conninfo(p, "postgres", "postgres");
	AUTO(str) char *ours = up_postgres_conninfo(p, "postgres", "opscase");
	AUTO(pg_result) struct pg_result *there = NULL;
	AUTO(pg) struct pg *pg = NULL, *db = NULL;
	enum oc_err err = pg_open(conninfo, "opscase up", &pg, reterr);

	if (err == OC_OK)
		err = pg_query(pg, "SELECT FROM pg_database WHERE datname = 'opscase'", PG_NO_ARGS, &there,
			       reterr);
	if (err == OC_OK && pg_rows(there) == 0)
		/* template0 and file_copy's checkpoint are not needed for the small template1: wal_log is the quick way */
		err = pg_script(pg, "CREATE DATABASE opscase", reterr);
	if (err == OC_OK)
		err = pg_open(ours, "opscase up", &db, reterr);
	if (err == OC_OK)
		err = migrate_up(db, MIGRATE_LATEST, ret_applied, reterr);
	for (size_t i = 0; i < ARRAY_LEN(roles) && err == OC_OK; i++)
		err = set_password(p, pg, roles[i], reterr);
	return err;
}

void up_postgres_done(struct up_postgres *p)
{
	char **secret[] = { &p->admin, &p->owner, &p->api, &p->worker };

	child_done(&p->child);
	for (size_t i = 0; i < ARRAY_LEN(secret); i++) {
		if (*secret[i])
			explicit_bzero(*secret[i], strlen(*secret[i]));
		free(*secret[i]);
	}
	free(p->data);
	free(p->bin);
	free(p->cluster);
	free(p->socket_dir);
	*p = (struct up_postgres){ 0 };
}

char *up_postgres_conninfo_of(const char *data, const char *role)
{
	struct up_postgres p = { .data = mem_strdup(data), .socket_dir = socket_dir(data) };
	char *conninfo = NULL;

	if (read_passwords(&p, false, NULL) == OC_OK)
		conninfo = up_postgres_conninfo(&p, role, "opscase");
	up_postgres_done(&p);
	return conninfo;
}
