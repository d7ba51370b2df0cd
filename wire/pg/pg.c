#define LOG_ROOM "pg"
#include "wire/pg/pg.h"
#include <libpq-fe.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define RENEW_FIRST    16 /* uses after which a statement is planned anew; then after four times as many, .. */
#define PREPARED_SLOTS 512 /* power of two; a full table falls back to unnamed statements */

struct prepared {
	const char *sql_ref; /* constants: compared by address first, then by text */
	char *sql;
	unsigned id;
	unsigned long uses, renew_at;
};

struct pg {
	PGconn *conn;
	char sqlstate[6];
	unsigned next_id, sent;
	unsigned long round_trips;
	bool in_pipeline;
	bool in_tx; /* as of the last answer: a connection lost inside one is not silently made again */
	struct prepared prepared[PREPARED_SLOTS];
	unsigned char send_kind[PG_PARAMS_MAX * 4]; /* per sent item: 1 = a PREPARE answer comes first */
};

struct pg_result {
	PGresult *res;
};

/* ---- failures ---- */

static enum oc_err classify(const char *state, bool dead)
{
	if (dead || !state || !*state)
		return OC_UNAVAILABLE;
	if (str_starts(state, "08") || str_starts(state, "57P") || str_starts(state, "53") ||
	    str_eq(state, "25006"))
		return OC_UNAVAILABLE;
	if (str_eq(state, "40001") || str_eq(state, "40P01") || str_eq(state, "23505") ||
	    str_eq(state, "55P03"))
		return OC_CONFLICT;
	if (str_eq(state, "57014"))
		return OC_UNAVAILABLE;
	if (str_starts(state, "22") || str_starts(state, "23"))
		return OC_INVALID;
	if (str_eq(state, "42501"))
		return OC_FORBIDDEN;
	return OC_BUG;
}

static void chop(char *s)
{
	size_t n = strlen(s);

	while (n && (s[n - 1] == '\n' || s[n - 1] == ' '))
		s[--n] = '\0';
}

static enum oc_err fail_from(struct pg *pg, const PGresult *res, struct oc_fail *reterr)
{
	bool dead = PQstatus(pg->conn) != CONNECTION_OK;
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *where = res ? PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME) : NULL;
	char text[512];

	snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s", state ? state : "");
	snprintf(text, sizeof(text), "%s", primary ? primary : PQerrorMessage(pg->conn));
	chop(text);
	/* Nothing that was sent will be answered any more. A pipeline that stays open on a dead connection would
	 * keep the next call from making a new one, for ever. */
	if (dead) {
		pg->in_pipeline = false;
		pg->sent = 0;
	}
	return oc_fail_field(reterr, classify(state, dead), where, "PostgreSQL: %s%s%s%s", text,
			     state ? " [" : "", state ? state : "", state ? "]" : "");
}

static void forget_prepared(struct pg *pg)
{
	for (size_t i = 0; i < PREPARED_SLOTS; i++)
		free(pg->prepared[i].sql);
	memset(pg->prepared, 0, sizeof(pg->prepared));
	pg->next_id = 0;
	pg->in_pipeline = false;
	pg->sent = 0;
}

static void quiet(void *arg, const char *message)
{
	(void)arg;
	log_debug("notice: %s", message);
}

enum oc_err pg_open(const char *conninfo, const char *application, struct pg **ret, struct oc_fail *reterr)
{
	AUTO(pg) struct pg *pg = mem_alloc(sizeof(*pg));
	/* Our statements are constants, prepared once, and made to be planned once: with arrays of one element
	 * PostgreSQL would otherwise think a plan of its own for each call cheaper, and spend more time on planning
	 * than on everything else together. Reading a whole table is chosen only where there is no index: what
	 * looks cheapest on an empty outbox costs milliseconds a call minutes later. First, so that a conninfo
	 * with options of its own has the last word. */
	const char *keys[] = { "options", "dbname", "fallback_application_name", "connect_timeout", NULL };
	const char *vals[] = { "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c datestyle=ISO",
			       conninfo, application, "10", NULL };

	pg->conn = PQconnectdbParams(keys, vals, 1);
	if (PQstatus(pg->conn) != CONNECTION_OK) {
		char text[600];

		snprintf(text, sizeof(text), "%s", PQerrorMessage(pg->conn));
		chop(text);
		return oc_fail(reterr, OC_UNAVAILABLE, "%s", text);
	}
	PQsetNoticeProcessor(pg->conn, quiet, NULL);
	*ret = TAKE(pg);
	return OC_OK;
}

void pg_close(struct pg *pg)
{
	if (!pg)
		return;
	PQfinish(pg->conn);
	forget_prepared(pg);
	free(pg);
}

bool pg_alive(const struct pg *pg)
{
	return PQstatus(pg->conn) == CONNECTION_OK;
}
int pg_socket(const struct pg *pg)
{
	return PQsocket(pg->conn);
}
unsigned long pg_round_trips(const struct pg *pg)
{
	return pg->round_trips;
}

const char *pg_sqlstate(const struct pg *pg)
{
	return pg->sqlstate;
}

bool pg_retryable(const struct pg *pg)
{
	return str_eq(pg->sqlstate, "40001") || str_eq(pg->sqlstate, "40P01");
}

static enum oc_err ensure(struct pg *pg, struct oc_fail *reterr)
{
	pg->sqlstate[0] = '\0';
	if (PQstatus(pg->conn) == CONNECTION_OK)
		return OC_OK;
	if (pg->in_tx)
		return oc_fail(reterr, OC_UNAVAILABLE, "the connection was lost inside a transaction");
	PQreset(pg->conn);
	forget_prepared(pg);
	if (PQstatus(pg->conn) != CONNECTION_OK)
		return fail_from(pg, NULL, reterr);
	return OC_OK;
}

/* ---- statements ---- */

static struct prepared *slot_for(struct pg *pg, const char *sql)
{
	size_t h = 5381;

	for (const char *p = sql; *p; p++)
		h = h * 33 ^ (unsigned char)*p;
	for (size_t i = 0; i < 16; i++) {
		struct prepared *s = &pg->prepared[(h + i) & (PREPARED_SLOTS - 1)];

		if (!s->sql || strcmp(s->sql, sql) == 0)
			return s;
	}
	return NULL;
}

enum oc_err pg_send(struct pg *pg, const char *sql, const char *const *args, unsigned n,
		    struct oc_fail *reterr)
{
	struct prepared *slot;
	char name[24];
	int ok;

	if (!pg->in_pipeline) {
		enum oc_err err = PQtransactionStatus(pg->conn) == PQTRANS_IDLE ||
						  PQstatus(pg->conn) != CONNECTION_OK
					  ? ensure(pg, reterr)
					  : OC_OK;

		if (err != OC_OK)
			return err;
		pg->sqlstate[0] = '\0';
		if (!PQenterPipelineMode(pg->conn))
			return fail_from(pg, NULL, reterr);
		pg->in_pipeline = true;
		pg->sent = 0;
	}
	if (n > PG_PARAMS_MAX || pg->sent >= sizeof(pg->send_kind))
		return oc_fail(reterr, OC_BUG, "too many parameters or statements in one pipeline");
	slot = slot_for(pg, sql);
	pg->send_kind[pg->sent] = 0;
	if (!slot) {
		ok = PQsendQueryParams(pg->conn, sql, (int)n, NULL, args, NULL, NULL, 0);
	} else {
		/* A plan that was made when the tables were empty must not live for ever. The few old names stay in
		 * the server until the connection ends. */
		if (!slot->sql || ++slot->uses == slot->renew_at) {
			snprintf(name, sizeof(name), "s%u", ++pg->next_id);
			if (!PQsendPrepare(pg->conn, name, sql, 0, NULL))
				return fail_from(pg, NULL, reterr);
			if (!slot->sql)
				slot->sql = mem_strdup(sql);
			slot->renew_at = slot->uses ? slot->renew_at * 4 : RENEW_FIRST;
			slot->id = pg->next_id;
			pg->send_kind[pg->sent] = 1;
		}
		snprintf(name, sizeof(name), "s%u", slot->id);
		ok = PQsendQueryPrepared(pg->conn, name, (int)n, args, NULL, NULL, 0);
	}
	if (!ok)
		return fail_from(pg, NULL, reterr);
	pg->sent++;
	return OC_OK;
}

/* Reads the answers of one statement: its result, then the NULL that ends it. */
static PGresult *read_one(struct pg *pg)
{
	PGresult *res = PQgetResult(pg->conn), *extra;

	if (res && PQresultStatus(res) != PGRES_PIPELINE_SYNC)
		while ((extra = PQgetResult(pg->conn)) != NULL)
			PQclear(extra);
	return res;
}

enum oc_err pg_sync(struct pg *pg, struct pg_result **results, unsigned n, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;
	bool forget = false;

	if (!pg->in_pipeline || !PQpipelineSync(pg->conn))
		return fail_from(pg, NULL, reterr);
	pg->round_trips++;
	for (unsigned i = 0; i < pg->sent; i++) {
		PGresult *res = NULL;

		for (int part = pg->send_kind[i]; part >= 0; part--) {
			ExecStatusType st;

			PQclear(res);
			res = read_one(pg);
			st = res ? PQresultStatus(res) : PGRES_FATAL_ERROR;
			if (st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK)
				continue;
			if (err == OC_OK)
				err = fail_from(pg, res, reterr);
			/* A PREPARE in the aborted part never happened, whatever our table says. */
			forget = forget || pg->send_kind[i];
		}
		if (err == OC_OK && results && i < n) {
			results[i] = mem_alloc(sizeof(*results[i]));
			results[i]->res = res;
		} else {
			PQclear(res);
		}
	}
	PQclear(read_one(pg)); /* the sync itself */
	PQclear(PQgetResult(pg->conn));
	PQexitPipelineMode(pg->conn);
	pg->in_pipeline = false;
	pg->sent = 0;
	if (PQstatus(pg->conn) == CONNECTION_OK)
		pg->in_tx = PQtransactionStatus(pg->conn) != PQTRANS_IDLE;
	if (forget && PQstatus(pg->conn) == CONNECTION_OK) {
		unsigned keep = pg->next_id;

		/* Names that did get prepared stay in the server; ours go on from a higher number. */
		forget_prepared(pg);
		pg->next_id = keep;
	}
	return err;
}

enum oc_err pg_query(struct pg *pg, const char *sql, const char *const *args, unsigned n,
		     struct pg_result **ret, struct oc_fail *reterr)
{
	struct pg_result *one = NULL;
	enum oc_err err = pg_send(pg, sql, args, n, reterr);

	if (err != OC_OK)
		return err;
	err = pg_sync(pg, &one, 1, reterr);
	if (err == OC_OK && ret) {
		*ret = one;
		return OC_OK;
	}
	pg_result_free(one);
	return err;
}

enum oc_err pg_script(struct pg *pg, const char *sql, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;
	PGresult *res;

	if (PQtransactionStatus(pg->conn) == PQTRANS_IDLE || PQstatus(pg->conn) != CONNECTION_OK)
		err = ensure(pg, reterr);
	if (err != OC_OK)
		return err;
	res = PQexec(pg->conn, sql);
	if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK &&
	    PQresultStatus(res) != PGRES_EMPTY_QUERY) {
		const char *pos = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);

		err = fail_from(pg, res, reterr);
		if (reterr && pos)
			snprintf(reterr->field, sizeof(reterr->field), "character %s", pos);
	}
	PQclear(res);
	return err;
}

enum oc_err pg_begin(struct pg *pg, struct oc_fail *reterr)
{
	return pg_query(pg, "BEGIN", PG_NO_ARGS, NULL, reterr);
}

enum oc_err pg_commit(struct pg *pg, struct oc_fail *reterr)
{
	/* COMMIT of a failed transaction answers "ROLLBACK" and no error: that is not a commit. */
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err = pg_query(pg, "COMMIT", PG_NO_ARGS, &r, reterr);

	if (err == OC_OK && strcmp(PQcmdStatus(r->res), "COMMIT") != 0)
		return oc_fail(reterr, OC_CONFLICT, "the transaction was rolled back");
	return err;
}

void pg_rollback(struct pg *pg)
{
	if (pg->in_pipeline)
		(void)!pg_sync(pg, NULL, 0, NULL);
	if (PQstatus(pg->conn) == CONNECTION_OK && PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
		PQclear(PQexec(pg->conn, "ROLLBACK"));
	pg->in_tx = false;
}

enum oc_err pg_copy_in(struct pg *pg, const char *copy_sql, const char *rows, size_t len,
		       struct oc_fail *reterr)
{
	PGresult *res = PQexec(pg->conn, copy_sql);
	enum oc_err err = OC_OK;

	if (PQresultStatus(res) != PGRES_COPY_IN) {
		err = fail_from(pg, res, reterr);
		PQclear(res);
		return err;
	}
	PQclear(res);
	if (PQputCopyData(pg->conn, rows, (int)len) != 1 || PQputCopyEnd(pg->conn, NULL) != 1)
		err = fail_from(pg, NULL, reterr);
	while ((res = PQgetResult(pg->conn)) != NULL) {
		if (PQresultStatus(res) != PGRES_COMMAND_OK && err == OC_OK)
			err = fail_from(pg, res, reterr);
		PQclear(res);
	}
	return err;
}

bool pg_wait_notify(struct pg *pg, int timeout_ms)
{
	struct pollfd p = { .fd = PQsocket(pg->conn), .events = POLLIN };
	PGnotify *note;
	bool any = false;

	if (p.fd < 0 || poll(&p, 1, timeout_ms) <= 0)
		return false;
	if (!PQconsumeInput(pg->conn))
		return false;
	while ((note = PQnotifies(pg->conn)) != NULL) {
		any = true;
		PQfreemem(note);
	}
	return any;
}

/* ---- results ---- */

void pg_result_free(struct pg_result *r)
{
	if (!r)
		return;
	PQclear(r->res);
	free(r);
}

unsigned pg_rows(const struct pg_result *r)
{
	return r ? (unsigned)PQntuples(r->res) : 0;
}

unsigned pg_affected(const struct pg_result *r)
{
	return r ? (unsigned)strtoul(PQcmdTuples(r->res), NULL, 10) : 0;
}

const char *pg_text(const struct pg_result *r, unsigned row, unsigned col)
{
	return PQgetisnull(r->res, (int)row, (int)col) ? NULL : PQgetvalue(r->res, (int)row, (int)col);
}

const char *pg_text_or(const struct pg_result *r, unsigned row, unsigned col, const char *fallback)
{
	const char *s = pg_text(r, row, col);

	return s ? s : fallback;
}

long long pg_int(const struct pg_result *r, unsigned row, unsigned col)
{
	const char *s = pg_text(r, row, col);

	return s ? strtoll(s, NULL, 10) : 0;
}

double pg_num(const struct pg_result *r, unsigned row, unsigned col)
{
	const char *s = pg_text(r, row, col);

	return s ? strtod(s, NULL) : NAN;
}

bool pg_bool(const struct pg_result *r, unsigned row, unsigned col)
{
	const char *s = pg_text(r, row, col);

	return s && *s == 't';
}

int pg_col(const struct pg_result *r, const char *name)
{
	return PQfnumber(r->res, name);
}

const char *pg_named(const struct pg_result *r, unsigned row, const char *name)
{
	int col = PQfnumber(r->res, name);

	return col < 0 ? NULL : pg_text(r, row, (unsigned)col);
}

/* ---- arrays ---- */

void pg_array_add(struct text *t, const char *value)
{
	text_add(t, t->len ? "," : "{");
	if (!value) {
		text_add(t, "NULL");
		return;
	}
	text_add(t, "\"");
	for (const char *p = value; *p;) {
		size_t plain = strcspn(p, "\"\\");

		text_add_n(t, p, plain);
		p += plain;
		if (*p) {
			text_add(t, "\\");
			text_add_n(t, p++, 1);
		}
	}
	text_add(t, "\"");
}

void pg_array_addf(struct text *t, const char *fmt, ...)
{
	char buf[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	pg_array_add(t, buf);
}

const char *pg_array_end(struct text *t)
{
	if (!t->len)
		text_add(t, "{");
	text_add(t, "}");
	return t->s;
}

void pg_array_each(const char *literal, void (*fn)(void *ctx, const char *value), void *ctx)
{
	const char *p = literal;

	if (!p || *p++ != '{')
		return;
	while (*p && *p != '}') {
		AUTO(text) struct text item = { 0 };
		bool quoted = *p == '"';

		text_add(&item, "");
		if (quoted)
			for (p++; *p && *p != '"'; p++) {
				if (*p == '\\' && p[1])
					p++;
				text_add_n(&item, p, 1);
			}
		else
			for (; *p && *p != ',' && *p != '}'; p++)
				text_add_n(&item, p, 1);
		if (quoted && *p == '"')
			p++;
		fn(ctx, !quoted && str_eq(item.s, "NULL") ? NULL : item.s);
		if (*p == ',')
			p++;
	}
}

struct array_row {
	char **values;
	size_t n;
};

static void add_column(void *ctx, const char *value)
{
	struct array_row *row = ctx;

	row->values = mem_grow(row->values, row->n + 1, sizeof(*row->values));
	row->values[row->n++] = mem_strdup(value);
}

struct pg_result *pg_array_row(const char *literal)
{
	struct array_row row = { 0 };
	struct pg_result *r;
	PGresAttDesc *columns;
	bool ok;

	if (!literal)
		return NULL;
	pg_array_each(literal, add_column, &row);
	r = mem_alloc(sizeof(*r));
	r->res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	columns = mem_alloc((row.n + 1) * sizeof(*columns));
	for (size_t i = 0; i < row.n; i++)
		columns[i].name = (char *)"";
	ok = r->res && PQsetResultAttrs(r->res, (int)row.n, columns);
	for (size_t i = 0; i < row.n; i++) {
		char *v = row.values[i];

		ok = ok && PQsetvalue(r->res, 0, (int)i, v, v ? (int)strlen(v) : -1);
		free(v);
	}
	free(columns);
	free(row.values);
	if (!ok)
		abort(); /* memory is gone: as base/mem.h */
	return r;
}

/* ---- pool ---- */

struct pg_pool {
	char *conninfo, *application;
	unsigned max, made, idle;
	struct pg **free_conns;
	pthread_mutex_t lock;
	pthread_cond_t given;
};

struct pg_pool *pg_pool_new(const char *conninfo, const char *application, unsigned max)
{
	struct pg_pool *pool = mem_alloc(sizeof(*pool));
	pthread_condattr_t attr;

	pool->conninfo = mem_strdup(conninfo);
	pool->application = mem_strdup(application);
	pool->max = max;
	pool->free_conns = mem_array(max, sizeof(*pool->free_conns));
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->given, &attr);
	pthread_condattr_destroy(&attr);
	return pool;
}

void pg_pool_free(struct pg_pool *pool)
{
	if (!pool)
		return;
	for (unsigned i = 0; i < pool->idle; i++)
		pg_close(pool->free_conns[i]);
	pthread_cond_destroy(&pool->given);
	pthread_mutex_destroy(&pool->lock);
	free(pool->free_conns);
	free(pool->conninfo);
	free(pool->application);
	free(pool);
}

/* An idle connection has nothing to say: what is to be read there is the server's farewell. */
static bool said_farewell(const struct pg *pg)
{
	struct pollfd p = { .fd = PQsocket(pg->conn), .events = POLLIN };

	return p.fd < 0 || poll(&p, 1, 0) != 0;
}

enum oc_err pg_pool_take(struct pg_pool *pool, int timeout_ms, struct pg **ret, struct oc_fail *reterr)
{
	struct timespec until;
	struct pg *pg = NULL;
	enum oc_err err = OC_OK;
	bool make = false;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&pool->lock);
	for (;;) {
		if (pool->idle) {
			pg = pool->free_conns[--pool->idle];
			if (!said_farewell(pg))
				break;
			pg_close(pg);
			pg = NULL;
			pool->made--;
			continue;
		}
		if (pool->made < pool->max) {
			pool->made++;
			make = true;
			break;
		}
		if (pthread_cond_timedwait(&pool->given, &pool->lock, &until) != 0) {
			err = oc_fail(reterr, OC_UNAVAILABLE, "all %u database connections are busy",
				      pool->max);
			break;
		}
	}
	pthread_mutex_unlock(&pool->lock);
	if (err != OC_OK)
		return err;
	if (make) {
		err = pg_open(pool->conninfo, pool->application, &pg, reterr);
		if (err != OC_OK) {
			pthread_mutex_lock(&pool->lock);
			pool->made--;
			pthread_cond_signal(&pool->given);
			pthread_mutex_unlock(&pool->lock);
			return err;
		}
	}
	*ret = pg;
	return OC_OK;
}

void pg_pool_give(struct pg_pool *pool, struct pg *pg)
{
	bool alive;

	if (!pg)
		return;
	pg_rollback(pg);
	alive = pg_alive(pg);
	if (!alive)
		pg_close(pg);
	pthread_mutex_lock(&pool->lock);
	if (alive)
		pool->free_conns[pool->idle++] = pg;
	else
		pool->made--;
	pthread_cond_signal(&pool->given);
	pthread_mutex_unlock(&pool->lock);
}
