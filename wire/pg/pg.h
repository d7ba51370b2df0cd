/* pg.h - a PostgreSQL connection, its statements and its pool. The one room that sees libpq.
 *
 * Statements are prepared on first use under the hash of their text, so a statement should be a
 * constant. All parameters and results are text. One thread per connection. A broken connection
 * answers OC_UNAVAILABLE and is made again by the next call outside a transaction.
 *
 * A pipeline sends several statements in one round trip: pg_send() each, then pg_sync(). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/text.h"

struct pg;
struct pg_result;

#define PG_PARAMS_MAX 48

MUST_CHECK enum oc_err pg_open(const char *conninfo, const char *application, struct pg **ret,
			       struct oc_fail *reterr);
void pg_close(struct pg *pg);
DEFINE_AUTO(pg, struct pg *, pg_close);
bool pg_alive(const struct pg *pg);
int pg_socket(const struct pg *pg);
unsigned long pg_round_trips(
	const struct pg *pg);                 /* since it was opened: what a test holds a promise against */
const char *pg_sqlstate(const struct pg *pg); /* of the last failure, "" if none */
/* Worth running the whole transaction again: 40001, 40P01. */
bool pg_retryable(const struct pg *pg);

/* One statement. `args` are text or NULL. ret may be NULL. */
MUST_CHECK enum oc_err pg_query(struct pg *pg, const char *sql, const char *const *args, unsigned n,
				struct pg_result **ret, struct oc_fail *reterr);
#define PG_ARGS(...)                          \
	(const char *const[]){ __VA_ARGS__ }, \
		(unsigned)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))
#define PG_NO_ARGS NULL, 0
/* Several statements in one text, without parameters: migrations, settings. */
MUST_CHECK enum oc_err pg_script(struct pg *pg, const char *sql, struct oc_fail *reterr);

MUST_CHECK enum oc_err pg_begin(struct pg *pg, struct oc_fail *reterr);
MUST_CHECK enum oc_err pg_commit(struct pg *pg, struct oc_fail *reterr);
void pg_rollback(struct pg *pg); /* harmless when there is nothing to roll back */

/* Pipelining: send n statements, then sync reads one result each (NULL where you want none kept).
 * The first failure is reported; the statements after it did not run. Returns the index through
 * ret_at when it is not NULL. Results are yours also after a failure (those that arrived). */
MUST_CHECK enum oc_err pg_send(struct pg *pg, const char *sql, const char *const *args, unsigned n,
			       struct oc_fail *reterr);
MUST_CHECK enum oc_err pg_sync(struct pg *pg, struct pg_result **results, unsigned n, struct oc_fail *reterr);

/* COPY ... FROM STDIN. `rows` is text format. */
MUST_CHECK enum oc_err pg_copy_in(struct pg *pg, const char *copy_sql, const char *rows, size_t len,
				  struct oc_fail *reterr);

/* LISTEN: waits up to timeout_ms for a notification or input; true when one came. */
bool pg_wait_notify(struct pg *pg, int timeout_ms);

void pg_result_free(struct pg_result *r);
DEFINE_AUTO(pg_result, struct pg_result *, pg_result_free);
unsigned pg_rows(const struct pg_result *r);                                /* 0 for NULL */
unsigned pg_affected(const struct pg_result *r);                            /* rows written */
const char *pg_text(const struct pg_result *r, unsigned row, unsigned col); /* NULL for SQL NULL; lent */
const char *pg_text_or(const struct pg_result *r, unsigned row, unsigned col, const char *fallback);
long long pg_int(const struct pg_result *r, unsigned row, unsigned col); /* 0 for NULL */
double pg_num(const struct pg_result *r, unsigned row, unsigned col);    /* NaN for NULL */
bool pg_bool(const struct pg_result *r, unsigned row, unsigned col);
int pg_col(const struct pg_result *r, const char *name);                         /* -1 if absent */
const char *pg_named(const struct pg_result *r, unsigned row, const char *name); /* NULL for absent or NULL */

/* Array literals: pg_array_add(&t, "a") ...; then pg_array_end(&t) gives "{...}" (lent from t). */
void pg_array_add(struct text *t, const char *value); /* NULL: SQL NULL */
void pg_array_addf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *pg_array_end(struct text *t);
/* Reads "{a,b,NULL}" of a one-dimensional text array; calls fn per element. */
void pg_array_each(const char *literal, void (*fn)(void *ctx, const char *value), void *ctx);
/* One row whose columns are the elements; yours. NULL for NULL. */
struct pg_result *pg_array_row(const char *literal);

/* A bounded pool. `on_connect` SQL runs on each new connection. Thread-safe. */
struct pg_pool;
struct pg_pool *pg_pool_new(const char *conninfo, const char *application, unsigned max);
void pg_pool_free(struct pg_pool *pool);
/* OC_UNAVAILABLE when none is free within the time or the server is away. */
MUST_CHECK enum oc_err pg_pool_take(struct pg_pool *pool, int timeout_ms, struct pg **ret,
				    struct oc_fail *reterr);
void pg_pool_give(struct pg_pool *pool, struct pg *pg); /* rolls back what was left open */
