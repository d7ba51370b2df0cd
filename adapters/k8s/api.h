/* api.h - one request at a time to the API server, over HTTPS, with a bearer token.
 *
 * Owns a curl multi handle, so that `api_wake` (any thread) ends a wait at once. Everything else
 * belongs to the thread that makes the calls. */
#ifndef K8S_API_H
#define K8S_API_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum api_result {
	API_OK,       /* 2xx with a JSON object                                      */
	API_HTTP,     /* answered with an error: see `http`                          */
	API_NOT_SENT, /* the request certainly did not reach the server              */
	API_LOST,     /* it may have: time ran out, the connection broke, no JSON    */
	API_STOPPED,  /* cancelled before anything was sent                          */
};

struct api_answer {
	enum api_result result;
	long http;
	int64_t retry_after_ms; /* of a 429; 0 if it did not say */
	json_t *body;           /* the object, or the Status of an error; may be NULL */
	char error[768];        /* one sentence */
};

struct api;

/* Texts are copied. `ca_file` and `ca` may be NULL. NULL when there is no memory. */
struct api *api_new(const char *server, const char *ca_file, const char *ca);
void api_free(struct api *api); /* NULL is fine */

/* The token of the calls that follow, lent until the next api_use. */
void api_use(struct api *api, const char *token);

/* Makes the request, at most until `until_ms` (monotonic). `stop` may be NULL: when it becomes true, reading
 * stops at once and a write that is under way gets a moment more to be answered. */
void api_call(struct api *api, const char *method, const char *path, const char *content_type,
	      const json_t *body, int64_t until_ms, const atomic_bool *stop, struct api_answer *ret_answer);
void api_answer_done(struct api_answer *answer);

/* Sleeps until then or until api_wake. */
void api_sleep(struct api *api, int64_t until_ms);
void api_wake(struct api *api);

/* `text` with everything but unreserved characters as %XX. free() it. */
char *api_escape(const char *text);

#endif
