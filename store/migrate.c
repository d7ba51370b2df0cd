#define LOG_ROOM "migrate"
#include "store/migrate.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "opscase_migrations.h"

#define MIGRATIONS_MAX 256
#define NAME_MAX_LEN   64

/* Any constant that nobody else on the server uses: "opscase" in ASCII. */
#define SQL_LOCK   "SELECT pg_advisory_lock(31370001983292261)"
#define SQL_UNLOCK "SELECT pg_advisory_unlock(31370001983292261)"

static const char SQL_TABLE[] = "CREATE TABLE IF NOT EXISTS public.schema_migration ("
				"version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, "
				"applied_at timestamptz NOT NULL DEFAULT now())";
static const char SQL_TABLE_THERE[] = "SELECT to_regclass('public.schema_migration') IS NOT NULL";
static const char SQL_APPLIED[] = "SELECT version, name, checksum, "
				  "to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') "
				  "FROM public.schema_migration ORDER BY version";
static const char SQL_NOTE[] =
	"INSERT INTO public.schema_migration (version, name, checksum) VALUES ($1, $2, $3)";
static const char SQL_FORGET[] = "DELETE FROM public.schema_migration WHERE version = $1";
static const char SQL_DROP_TABLE[] = "DROP TABLE IF EXISTS public.schema_migration";
/* The path is set for the migration alone: a database whose search_path starts with ag_catalog would get
 * half of our tables in there. */
static const char SQL_PATH[] = "SET LOCAL search_path = public";

/* What CREATE EXTENSION will ask for. The package is Debian's, without the version in the middle. */
static const struct extension {
	const char *name, *package_tail;
	bool preload;
} extensions[] = {
	{ "pgcrypto",    "",             false },
        { "pg_trgm",     "",             false },
	{ "btree_gist",  "",             false },
        { "timescaledb", "-timescaledb", true  },
	{ "vector",      "-pgvector",    false },
        { "age",         "-age",         true  },
};
static const char SQL_EXTENSIONS[] =
	"SELECT w.name, (SELECT count(*) FROM pg_available_extensions a WHERE a.name = w.name) > 0, "
	"(SELECT count(*) FROM pg_extension e WHERE e.extname = w.name) > 0, "
	"current_setting('server_version_num')::int / 10000, "
	"(SELECT rolsuper FROM pg_roles WHERE rolname = current_user), current_user "
	"FROM unnest($1::text[]) AS w (name)";
/* Only a superuser may read it. */
static const char SQL_PRELOADED[] = "SELECT btrim(u) FROM unnest(string_to_array("
				    "current_setting('shared_preload_libraries'), ',')) AS u";

/* Making a graph writes AGE's own catalog; the workers are let in by whoever may grant it. */
static const char SQL_GRAPH_ALLOWED[] =
	"SELECT has_schema_privilege('ag_catalog', 'USAGE WITH GRANT OPTION') "
	"AND has_database_privilege(current_database(), 'CREATE') "
	"AND has_table_privilege('ag_catalog.ag_graph', 'SELECT, INSERT, UPDATE, DELETE') "
	"AND has_table_privilege('ag_catalog.ag_label', 'SELECT, INSERT, UPDATE, DELETE')";

struct migration {
	int version;
	char name[NAME_MAX_LEN];
	const char *up, *down;
	char checksum[HASH_HEX];
};

struct migration_list {
	struct migration item[MIGRATIONS_MAX];
	size_t count;
};

static int by_version(const void *a, const void *b)
{
	return ((const struct migration *)a)->version - ((const struct migration *)b)->version;
}

static struct migration *list_slot(struct migration_list *list, int version)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->item[i].version == version)
			return &list->item[i];
	if (list->count == MIGRATIONS_MAX)
		return NULL;
	list->item[list->count].version = version;
	return &list->item[list->count++];
}

/* Our own files: what does not fit is our mistake, and shows itself in the first test. */
static enum oc_err list_load(struct migration_list *list, struct oc_fail *reterr)
{
	memset(list, 0, sizeof(*list));
	for (const struct embedded_file *f = opscase_migrations; f->name; f++) {
		const char *base = strrchr(f->name, '/') ? strrchr(f->name, '/') + 1 : f->name;
		char name[NAME_MAX_LEN], direction[8];
		struct migration *m;
		int version;

		if (sscanf(base, "%4d_%63[a-z0-9_].%7[a-z].sql", &version, name, direction) != 3)
			return oc_fail(reterr, OC_BUG, "migration '%s' has a strange name", f->name);
		m = list_slot(list, version);
		if (!m)
			return oc_fail(reterr, OC_BUG, "too many migrations");
		if (m->name[0] && !str_eq(m->name, name))
			return oc_fail(reterr, OC_BUG, "two migrations have the number %d", version);
		snprintf(m->name, sizeof(m->name), "%s", name);
		if (str_eq(direction, "up")) {
			m->up = f->text;
			hash_sha256_hex(f->text, f->len, m->checksum);
		} else {
			m->down = f->text;
		}
	}
	qsort(list->item, list->count, sizeof(list->item[0]), by_version);
	for (size_t i = 0; i < list->count; i++)
		if (!list->item[i].up || !list->item[i].down || list->item[i].version != (int)i + 1)
			return oc_fail(reterr, OC_BUG, "migration %zu has no up or no down file", i + 1);
	return OC_OK;
}

static const struct migration *list_find(const struct migration_list *list, int version)
{
	return version >= 1 && (size_t)version <= list->count ? &list->item[version - 1] : NULL;
}

int migrate_latest(void)
{
	struct migration_list list;

	return list_load(&list, NULL) == OC_OK ? (int)list.count : 0;
}

static enum oc_err applied_read(struct pg *pg, struct pg_result **ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *there = NULL;
	enum oc_err err = pg_query(pg, SQL_TABLE_THERE, PG_NO_ARGS, &there, reterr);

	if (err != OC_OK)
		return err;
	if (!pg_bool(there, 0, 0))
		return OC_OK;
	return pg_query(pg, SQL_APPLIED, PG_NO_ARGS, ret, reterr);
}

/* Refuses what this binary cannot vouch for: unknown numbers and changed texts. */
static enum oc_err applied_vouch(const struct migration_list *list, const struct pg_result *applied,
				 struct oc_fail *reterr)
{
	for (unsigned i = 0; i < pg_rows(applied); i++) {
		int version = (int)pg_int(applied, i, 0);
		const struct migration *m = list_find(list, version);

		if (!m)
			return oc_fail(reterr, OC_ILLEGAL,
				       "the database has migration %04d_%s, this opscase knows up to %04zu: "
				       "use the opscase that applied it, or a newer one",
				       version, pg_text(applied, i, 1), list->count);
		if (version != (int)i + 1)
			return oc_fail(reterr, OC_INVALID,
				       "migration %04u is missing from the database, but %04d is there",
				       i + 1, version);
		if (!str_eq(m->checksum, pg_text(applied, i, 2)))
			return oc_fail(
				reterr, OC_INVALID,
				"migration %04d_%s is not the one that was applied at %s: its text has changed since. "
				"Put the old text back and write a new migration for the change",
				version, m->name, pg_text(applied, i, 3));
	}
	return OC_OK;
}

static bool preloaded(const struct pg_result *libs, const char *name)
{
	for (unsigned i = 0; i < pg_rows(libs); i++) {
		const char *lib = pg_text(libs, i, 0);
		const char *slash = strrchr(lib, '/');

		if (str_eq(slash ? slash + 1 : lib, name))
			return true;
	}
	return false;
}

/* Says before the first statement what CREATE EXTENSION would only hint at. */
static enum oc_err extensions_check(struct pg *pg, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL, *libs = NULL, *graph = NULL;
	AUTO(text) struct text names = { 0 };
	bool super;
	enum oc_err err;

	for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
		pg_array_add(&names, extensions[i].name);
	err = pg_query(pg, SQL_EXTENSIONS, PG_ARGS(pg_array_end(&names)), &r, reterr);
	if (err != OC_OK)
		return err;
	super = pg_rows(r) && pg_bool(r, 0, 4);
	if (super) {
		err = pg_query(pg, SQL_PRELOADED, PG_NO_ARGS, &libs, reterr);
		if (err != OC_OK)
			return err;
	}
	for (unsigned i = 0; i < pg_rows(r) && i < ARRAY_LEN(extensions); i++) {
		const struct extension *e = &extensions[i];

		if (!pg_bool(r, i, 1))
			return oc_fail_field(
				reterr, OC_UNAVAILABLE, e->name,
				"PostgreSQL has no extension '%s': install the Debian package postgresql-%lld%s",
				e->name, pg_int(r, i, 3), e->package_tail);
		if (super && e->preload && !preloaded(libs, e->name))
			return oc_fail_field(reterr, OC_UNAVAILABLE, e->name,
					     "PostgreSQL has not loaded '%s': put shared_preload_libraries = "
					     "'timescaledb,age' into postgresql.conf and restart it",
					     e->name);
		if (!super && !pg_bool(r, i, 2))
			return oc_fail_field(
				reterr, OC_UNAVAILABLE, e->name,
				"the database has no extension '%s' yet and '%s' may not make it: run "
				"CREATE EXTENSION %s as a superuser once, or migrate as one",
				e->name, pg_text_or(r, i, 5, "this role"), e->name);
	}
	if (super)
		return OC_OK;
	err = pg_query(pg, SQL_GRAPH_ALLOWED, PG_NO_ARGS, &graph, reterr);
	if (err == OC_OK && !pg_bool(graph, 0, 0))
		return oc_fail_field(
			reterr, OC_UNAVAILABLE, "age",
			"'%s' may not make a graph: run as a superuser once GRANT CREATE ON DATABASE ... TO %s; "
			"GRANT USAGE ON SCHEMA ag_catalog TO %s WITH GRANT OPTION; "
			"GRANT SELECT, INSERT, UPDATE, DELETE ON ag_catalog.ag_graph, ag_catalog.ag_label TO %s",
			pg_text(r, 0, 5), pg_text(r, 0, 5), pg_text(r, 0, 5), pg_text(r, 0, 5));
	return err;
}

static enum oc_err run_one(struct pg *pg, const struct migration *m, bool up, struct oc_fail *reterr)
{
	struct oc_fail why = { 0 };
	int64_t began = clock_mono_ms();
	char version[16];
	enum oc_err err;

	snprintf(version, sizeof(version), "%d", m->version);
	err = pg_begin(pg, &why);
	if (err == OC_OK)
		err = pg_query(pg, SQL_PATH, PG_NO_ARGS, NULL, &why);
	if (err == OC_OK)
		err = pg_script(pg, up ? m->up : m->down, &why);
	if (err == OC_OK && up)
		err = pg_query(pg, SQL_NOTE, PG_ARGS(version, m->name, m->checksum), NULL, &why);
	else if (err == OC_OK)
		err = pg_query(pg, SQL_FORGET, PG_ARGS(version), NULL, &why);
	if (err == OC_OK)
		err = pg_commit(pg, &why);
	if (err != OC_OK) {
		pg_rollback(pg);
		return oc_fail(reterr, err, "migration %04d_%s.%s was rolled back: %s%s%s", m->version,
			       m->name, up ? "up" : "down", why.text, why.field[0] ? ", at " : "", why.field);
	}
	log_info("%s %04d_%s in %lld ms", up ? "applied" : "took back", m->version, m->name,
		 (long long)(clock_mono_ms() - began));
	return OC_OK;
}

static enum oc_err up_locked(struct pg *pg, int target, int *count, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *applied = NULL;
	struct migration_list list;
	enum oc_err err = list_load(&list, reterr);
	unsigned done;

	if (err == OC_OK)
		err = applied_read(pg, &applied, reterr);
	if (err == OC_OK)
		err = applied_vouch(&list, applied, reterr);
	if (err != OC_OK)
		return err;
	done = pg_rows(applied);
	if (target == MIGRATE_LATEST)
		target = (int)list.count;
	if (target < 0 || (size_t)target > list.count)
		return oc_fail(reterr, OC_BAD_REQUEST, "there is no migration %d; the newest is %zu", target,
			       list.count);
	if ((int)done >= target)
		return OC_OK;
	err = extensions_check(pg, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_TABLE, PG_NO_ARGS, NULL, reterr);
	for (int v = (int)done + 1; err == OC_OK && v <= target; v++) {
		err = run_one(pg, list_find(&list, v), true, reterr);
		if (err == OC_OK)
			(*count)++;
	}
	return err;
}

static enum oc_err down_locked(struct pg *pg, int target, int *count, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *applied = NULL;
	struct migration_list list;
	enum oc_err err = list_load(&list, reterr);

	if (target < 0)
		return oc_fail(reterr, OC_BAD_REQUEST, "there is no migration %d to go down to", target);
	if (err == OC_OK)
		err = applied_read(pg, &applied, reterr);
	if (err == OC_OK)
		err = applied_vouch(&list, applied, reterr);
	for (int v = (int)pg_rows(applied); err == OC_OK && v > target; v--) {
		err = run_one(pg, list_find(&list, v), false, reterr);
		if (err == OC_OK)
			(*count)++;
	}
	if (err == OC_OK && target == 0)
		err = pg_query(pg, SQL_DROP_TABLE, PG_NO_ARGS, NULL, reterr);
	return err;
}

static enum oc_err under_lock(struct pg *pg, int target, int *ret_count, struct oc_fail *reterr,
			      enum oc_err (*fn)(struct pg *, int, int *, struct oc_fail *))
{
	int count = 0;
	enum oc_err err = pg_query(pg, SQL_LOCK, PG_NO_ARGS, NULL, reterr);

	if (err != OC_OK)
		return err;
	err = fn(pg, target, &count, reterr);
	/* A lost connection has lost the lock as well. */
	if (pg_alive(pg))
		(void)!pg_query(pg, SQL_UNLOCK, PG_NO_ARGS, NULL, NULL);
	if (ret_count)
		*ret_count = count;
	return err;
}

enum oc_err migrate_up(struct pg *pg, int target, int *ret_applied, struct oc_fail *reterr)
{
	return under_lock(pg, target, ret_applied, reterr, up_locked);
}

enum oc_err migrate_down(struct pg *pg, int target, int *ret_undone, struct oc_fail *reterr)
{
	return under_lock(pg, target, ret_undone, reterr, down_locked);
}

enum oc_err migrate_status(struct pg *pg, json_t **ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *applied = NULL;
	AUTO(json) json_t *out = json_array();
	struct migration_list list;
	enum oc_err err = list_load(&list, reterr);

	if (err == OC_OK)
		err = applied_read(pg, &applied, reterr);
	if (err != OC_OK)
		return err;
	for (unsigned i = 0; i < pg_rows(applied); i++) {
		int version = (int)pg_int(applied, i, 0);
		const struct migration *m = list_find(&list, version);
		const char *state = !m                                            ? "unknown"
				    : str_eq(m->checksum, pg_text(applied, i, 2)) ? "applied"
										  : "changed";

		json_array_append_new(out, json_pack("{s:i, s:s, s:s, s:s}", "version", version, "name",
						     pg_text(applied, i, 1), "state", state, "applied_at",
						     pg_text(applied, i, 3)));
	}
	for (size_t i = pg_rows(applied); i < list.count; i++)
		json_array_append_new(out,
				      json_pack("{s:i, s:s, s:s, s:n}", "version", list.item[i].version,
						"name", list.item[i].name, "state", "pending", "applied_at"));
	*ret = TAKE(out);
	return OC_OK;
}

enum oc_err migrate_check(struct pg *pg, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *applied = NULL;
	struct migration_list list;
	enum oc_err err = list_load(&list, reterr);

	if (err == OC_OK)
		err = applied_read(pg, &applied, reterr);
	if (err == OC_OK)
		err = applied_vouch(&list, applied, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(applied) < list.count)
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "the database is at migration %u of %zu: run `opscase migrate up`",
			       pg_rows(applied), list.count);
	return OC_OK;
}
