/* upstream.h - one `upstream NAME { ... }` block of an nginx file, read and rewritten as text.
 *
 * Pure. Only the `server` lines and our own mark are ever touched; comments and other directives stay
 * byte for byte. A server is {"server", "weight", "backup"?, "down"?, "options"?}. */
#ifndef ADAPTERS_GATEWAY_UPSTREAM_H
#define ADAPTERS_GATEWAY_UPSTREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define UPSTREAM_MARK "# opscase: "

struct upstream {
	const char *text_ref; /* the whole file */
	size_t len;
	size_t body, body_end; /* what is between the braces */
	json_t *servers;       /* in the order of the file */
	char mark[65];         /* idempotency key of the last flip, "" if none */
};

/* False if the file has no such block, is no nginx file, or has a server in it that could not be written back. */
bool upstream_parse(const char *text, size_t len, const char *name, struct upstream *ret);
void upstream_done(struct upstream *up);

/* A copy without regard to order: what bindings hold and comparisons use. */
json_t *upstream_sorted(const json_t *servers);

/* What params.to asks for. Options that it does not name are kept from a server of the same address. */
json_t *upstream_wanted(const json_t *to, const json_t *now);

/* The body with these servers and this mark ("" for none). The caller frees. */
char *upstream_render(const struct upstream *up, const json_t *servers, const char *mark);

/* The whole file with another body. The caller frees. */
char *upstream_splice(const struct upstream *up, const char *body);

/* A unified diff of two texts, one hunk. The caller frees; "" if they are the same. */
char *upstream_diff(const char *path, const char *from, const char *to);

#endif
