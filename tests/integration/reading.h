/* reading.h - the API alone on a real database, for tests of what it reads. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "api/api.h"
#include "api/waiters.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ingest/discovery.h"
#include "store/token.h"
#include "tests/support/pgtemp.h"
#include "wire/http/client.h"

static __attribute__((unused)) struct {
	struct pgtemp *db;
	struct pg *pg; /* as opscase_worker */
	struct pg_pool *api_pool, *worker_pool;
	struct waiters *waiters;
	struct api *api;
	long long tenant, other;
	char token[TOKEN_TEXT], stranger[TOKEN_TEXT];
	char url[64];
} rd;

static enum oc_err rd_topology(void *ctx, const struct api_topology_ask *ask, const char *body, size_t len,
			       json_t **ret_answer, struct oc_fail *reterr)
{
	AUTO(json) json_t *doc = NULL;
	struct topo_file *files = NULL;
	size_t count = 0;
	enum oc_err err = discovery_files(body, len, &doc, &files, &count, reterr);

	(void)ctx;
	if (err != OC_OK)
		return err;
	err = discovery_run(rd.worker_pool, files, count,
			    &(struct discovery_ask){
				    .tenant_id = ask->tenant_id,
				    .how = { .stack = ask->stack, .applied = ask->applied },
				    .at_us = ask->at_us,
				    .force = ask->force,
				    .dry_run = ask->dry_run
        },
			    ret_answer, reterr);
	free(files);
	return err;
}

static __attribute__((unused)) int rd_start(void **state)
{
	static const struct api_ready ready[] = { { 0 } };
	struct api_deps deps = { .version = "test", .ready = ready, .topology = rd_topology };
	struct oc_fail fail = { 0 };
	char id[UUID_TEXT];

	(void)state;
	rd.db = pgtemp_shared();
	rd.pg = pgtemp_open(rd.db->worker);
	rd.tenant = pgtemp_tenant(rd.db, "t-read");
	rd.other = pgtemp_tenant(rd.db, "t-other");
	assert_int_equal(token_create(rd.pg,
				      &(struct token_new){
					      .tenant_id = rd.tenant, .name = "olga", .role = ROLE_OPERATOR },
				      rd.token, id, &fail),
			 OC_OK);
	assert_int_equal(token_create(rd.pg,
				      &(struct token_new){
					      .tenant_id = rd.other, .name = "otto", .role = ROLE_ADMIN },
				      rd.stranger, id, &fail),
			 OC_OK);
	rd.waiters = waiters_new(4);
	rd.api_pool = pg_pool_new(rd.db->api, "test-api", 4);
	rd.worker_pool = pg_pool_new(rd.db->worker, "test-worker", 4);
	deps.api_pool = rd.api_pool;
	deps.worker_pool = rd.worker_pool;
	deps.waiters_ref = rd.waiters;
	if (api_start(&(struct api_config){ .handler_threads = 8, .head_ms = 60000, .body_ms = 60000 }, &deps,
		      &rd.api, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	snprintf(rd.url, sizeof(rd.url), "http://127.0.0.1:%u", api_port(rd.api));
	return 0;
}

static __attribute__((unused)) int rd_stop(void **state)
{
	(void)state;
	waiters_close(rd.waiters);
	api_stop(rd.api);
	waiters_free(rd.waiters);
	pg_pool_free(rd.api_pool);
	pg_pool_free(rd.worker_pool);
	pg_close(rd.pg);
	return 0;
}

/* One call; the document is yours. */
static __attribute__((unused)) json_t *rd_call_as(const char *token, const char *method, const char *path,
						  const char *body, int want)
{
	AUTO(http_client)
	struct http_client *c = http_client_new(
		&(struct http_client_config){ .base_url = rd.url, .bearer = token, .timeout_ms = 120000 });
	struct http_answer a = { 0 };
	struct oc_fail fail = { 0 };
	json_t *doc;

	if (http_client_call(c, method, path, NULL, body, &a, &fail) != OC_OK)
		fail_msg("%s %s: %s", method, path, fail.text);
	if (a.status != want)
		fail_msg("%s %s: %d and not %d: %s", method, path, a.status, want, a.body);
	doc = json_loads(a.body, JSON_DECODE_ANY, NULL);
	http_answer_done(&a);
	return doc;
}

static __attribute__((unused)) json_t *rd_get(const char *path)
{
	return rd_call_as(rd.token, "GET", path, NULL, 200);
}

static __attribute__((unused)) char *rd_one(const char *sql, const char *arg)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail fail = { 0 };

	if (pg_query(rd.pg, sql, &arg, arg ? 1 : 0, &r, &fail) != OC_OK)
		fail_msg("%s: %s", sql, fail.text);
	return pg_rows(r) ? mem_strdup(pg_text_or(r, 0, 0, "")) : mem_strdup("");
}

static __attribute__((unused)) void rd_is(const char *sql, const char *arg, const char *want)
{
	AUTO(str) char *got = rd_one(sql, arg);

	if (!str_eq(got, want))
		fail_msg("%s: '%s' and not '%s'", sql, got, want);
}
