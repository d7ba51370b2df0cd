/* health.c - alive, ready, own metrics. */
#include <stdio.h>
#include "api/call.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/migrate.h"

void healthz(struct api_call *c)
{
	json_t *doc = json_object();

	json_put(doc, "status", "alive");
	json_put(doc, "version", c->deps->version);
	call_document(c, 200, doc);
}

static void part(json_t *doc, bool *ready, const char *name, bool ok, const char *word)
{
	json_t *parts = json_object_get(doc, "parts"), *one = json_object();

	json_object_set_new(one, "ready", json_boolean(ok));
	json_put(one, "word", word);
	json_object_set_new(parts, name, one);
	*ready = *ready && ok;
}

void readyz(struct api_call *c)
{
	json_t *doc = json_object();
	struct oc_fail fail = { 0 };
	struct pg *pg = NULL;
	char word[160];
	bool ready = true;
	enum oc_err err;

	json_object_set_new(doc, "status", json_null());
	json_object_set_new(doc, "parts", json_object());
	err = pg_pool_take(c->deps->api_pool, 1000, &pg, &fail);
	if (err == OC_OK)
		err = pg_query(pg, "SELECT 1", PG_NO_ARGS, NULL, &fail);
	part(doc, &ready, "postgresql", err == OC_OK, err == OC_OK ? "answers" : "does not answer");
	if (err == OC_OK) {
		err = migrate_check(pg, &fail);
		part(doc, &ready, "migrations", err == OC_OK, err == OC_OK ? "in place" : fail.text);
	}
	if (pg)
		pg_pool_give(c->deps->api_pool, pg);
	for (const struct api_ready *r = c->deps->ready; r && r->name; r++) {
		bool ok;

		word[0] = '\0';
		ok = r->check(r->ctx, word, sizeof(word));
		part(doc, &ready, r->name, ok, word);
	}
	json_put(doc, "status", ready ? "ready" : "not ready");
	if (!ready)
		call_header(c, "Retry-After", "1");
	call_document(c, ready ? 200 : 503, doc);
}

void metrics_get(struct api_call *c)
{
	struct text out = { 0 };

	metrics_print(&out);
	call_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", text_take(&out));
}
