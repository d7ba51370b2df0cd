/* scripted.h - a provider of models for tests: real HTTP on loopback, and answers that a test has written.
 *
 * It speaks the providers' own protocols, and fails in their ways: a script may answer any status, any bytes, or stop in
 * the middle. One thread serves; scripts run on it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct scripted;
struct scripted_answer {
	int status;          /* 0: the connection is closed without a word */
	const char *headers; /* "Retry-After: 1\r\n", or NULL */
	const char *type;    /* NULL: application/json */
	char *body;          /* from malloc; taken */
	size_t cut;          /* send so many bytes of the body and close; 0: all */
};
/* `n` counts requests from 0; `body` is what was posted. */
typedef void scripted_fn(void *ctx, unsigned n, const char *path, const char *head, const char *body,
			 struct scripted_answer *ret);

struct scripted *scripted_start(scripted_fn *fn, void *ctx);
void scripted_stop(struct scripted *s);
const char *scripted_url(const struct scripted *s);
unsigned scripted_requests(const struct scripted *s);

/* An OpenAI answer whose message says `content`; yours. */
char *scripted_says(const char *content);

/* The same in each protocol: the model calls a tool with this input (JSON text). stream: as events. *ret_type is what to
 * say that it is; yours. */
char *scripted_calls(bool anthropic, bool stream, const char *id, const char *tool, const char *input,
		     const char **ret_type);
