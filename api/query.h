/* query.h - what stands behind the question mark, for routes that read: times, limits, words. */
#pragma once
#include "api/call.h"

const char *query_text(struct api_call *c, const char *name); /* NULL when absent or empty */
/* False: answered with the field at fault. Absent: *ret stays. */
bool query_int(struct api_call *c, const char *name, long long min, long long max, long long *ret);
bool query_bool(struct api_call *c, const char *name, bool *ret);
/* RFC 3339, or seconds since 1970 with or without a fraction. */
bool query_time(struct api_call *c, const char *name, int64_t *ret_us);
/* [from, to): `to` now and `from` `span_s` before it where they are absent; at most max_s apart. */
bool query_range(struct api_call *c, int64_t span_s, int64_t max_s, int64_t *ret_from_us, int64_t *ret_to_us);
void query_bad(struct api_call *c, const char *name, const char *sentence);

/* A connection of opscase_api in a transaction of the call's tenant, reading. NULL: answered. */
struct pg *query_begin(struct api_call *c);
void query_end(struct api_call *c, struct pg *pg);

/* A keyset cursor: up to four texts; opaque to clients. */
char *query_cursor(const char *kind, const char *const *part, size_t n);
/* False: answered. Parts are yours; those that are absent stay NULL. */
bool query_cursor_read(struct api_call *c, const char *kind, size_t n, char **ret_part);
