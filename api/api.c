#define LOG_ROOM "api"
#include "api/api.h"
#include <stdio.h>
#include "api/call.h"
#include "api/waiters.h"
#include "base/log.h"
#include "base/mem.h"
#include "orchestrator/opening.h"

#define HANDLER_THREADS 64
/* One group of new cases is written while the next gathers. */
#define OPENING_WRITERS 1

/* What the server refuses before a handler sees it looks like every other problem. */
static void on_refuse(void *ctx, int status, const char *detail, struct http_response *a)
{
	static const struct refusal_row {
		int status;
		const char *title;
	} rows[] = {
		{ 400, "malformed request"       },
		{ 413, "too large"               },
		{ 431, "header fields too large" },
		{ 503, "not available now"       }
	};
	AUTO(json) json_t *doc = json_object();
	const char *title = "refused";
	char *text;

	(void)ctx;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			title = rows[i].title;
	json_put(doc, "type", "about:blank");
	json_put(doc, "title", title);
	json_object_set_new(doc, "status", json_integer(status));
	json_put(doc, "detail", detail);
	text = json_text(doc);
	http_content_type(a, "application/problem+json");
	http_answer_body(a, text, strlen(text));
}

static size_t on_body_max(void *ctx, const char *method, const char *path)
{
	size_t most = 0;
	char id[64];

	(void)ctx;
	for (enum route_method m = 0; m < METHOD_COUNT; m++) {
		const struct route *r = str_eq(route_method_name(m), method) ? route_find(m, path, id) : NULL;

		if (r && r->body_max > most)
			most = r->body_max;
	}
	/* A route without a body, and no route at all, may still be sent an empty object by a careless client:
	 * it gets its 404 or 405 then, not a 413. */
	return most ? most : 1024;
}

static void on_request(void *ctx, const struct http_request *r, struct http_response *a)
{
	api_dispatch(ctx, r, a);
}

enum oc_err api_start(const struct api_config *config, const struct api_deps *deps, struct api **ret,
		      struct oc_fail *reterr)
{
	struct api *api = mem_alloc(sizeof(*api));
	struct http_server_config http = {
		.address = config->address,
		.port = config->port,
		.tls_cert = config->tls_cert,
		.tls_key = config->tls_key,
		.plain_anywhere = config->plain_anywhere,
		.handler_threads = config->handler_threads,
		.per_address = config->per_address,
		.head_ms = config->head_ms,
		.body_ms = config->body_ms,
		.body_max = on_body_max,
		.handle = on_request,
		.refuse = on_refuse,
		.ctx = api,
	};
	enum oc_err err;

	api->deps = *deps;
	if (!http.handler_threads)
		http.handler_threads = HANDLER_THREADS;
	/* Each waiting call holds a thread: a quarter is always left for those who do not wait. */
	waiters_cap(deps->waiters_ref, http.handler_threads - http.handler_threads / 4);
	api->default_wait_s = config->default_wait_s ? config->default_wait_s : 30;
	api->auth = auth_new(deps->api_pool);
	api->openings = openings_new(deps->worker_pool, OPENING_WRITERS);
	err = http_server_start(&http, &api->server, reterr);
	if (err != OC_OK) {
		auth_free(api->auth);
		openings_free(api->openings);
		free(api);
		return err;
	}
	log_info("listening on %s port %u", config->address ? config->address : "127.0.0.1", api_port(api));
	*ret = api;
	return OC_OK;
}

unsigned api_port(const struct api *api)
{
	return http_server_port(api->server);
}

void api_stop(struct api *api)
{
	if (!api)
		return;
	waiters_close(api->deps.waiters_ref);
	http_server_stop(api->server, 2000);
	auth_free(api->auth);
	openings_free(api->openings);
	free(api);
}

void api_forget_tokens(struct api *api)
{
	auth_forget(api->auth);
}
