/* admin.c - tenants and tokens, for admins. */
#include "api/call.h"
#include "store/tenant.h"

static void answer_list(struct api_call *c, enum oc_err err, json_t *list, const struct oc_fail *fail)
{
	if (err != OC_OK)
		call_problem(c, fail, NULL);
	else
		call_page(c, list, NULL);
}

void tenant_list_get(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	struct pg *pg = call_worker_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = tenant_list(pg, c->tenant_id, &list, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	answer_list(c, err, list, &fail);
}

void tenant_post(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	struct tenant t = { 0 };
	json_t *data = NULL;
	struct pg *pg;
	enum oc_err err;

	if (c->who.tenant_id) {
		oc_fail(&fail, OC_FORBIDDEN, "only an admin of the installation makes tenants");
		call_problem(c, &fail, NULL);
		return;
	}
	pg = call_worker_pg(c);
	if (!pg)
		return;
	err = tenant_create(pg, json_str(c->body, "code"), json_str(c->body, "name"),
			    json_is_object(json_object_get(c->body, "labels"))
				    ? json_object_get(c->body, "labels")
				    : NULL,
			    &t, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	data = json_object();
	json_object_set_new(data, "tenant_id", json_integer(t.id));
	json_put(data, "code", t.code);
	call_data(c, 201, data);
}

void token_list_get(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	struct pg *pg = call_worker_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = token_list(pg, c->tenant_id, &list, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	answer_list(c, err, list, &fail);
}

void token_post(struct api_call *c)
{
	struct token_new t = { .tenant_id = c->tenant_id,
			       .name = json_str(c->body, "name"),
			       .role = token_role_parse(json_str(c->body, "role")),
			       .expires_s = json_int_or(c->body, "expires_s", 0) };
	struct oc_fail fail = { 0 };
	char token[TOKEN_TEXT], id[UUID_TEXT];
	json_t *data;
	struct pg *pg = call_worker_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = token_create(pg, &t, token, id, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	data = json_object();
	json_put(data, "id", id);
	json_put(data, "name", t.name);
	json_put(data, "role", token_role_name(t.role));
	json_put(data, "tenant", c->tenant_id ? c->tenant : NULL);
	/* The text is shown once and kept nowhere, so not under the Idempotency-Key either. */
	c->keep = json_object();
	json_object_set_new(c->keep, "data", json_copy(data));
	json_put(data, "token", token);
	explicit_bzero(token, sizeof(token));
	call_header(c, "Cache-Control", "no-store");
	call_data(c, 201, data);
}

void token_delete(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *data;
	struct pg *pg = call_worker_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = token_revoke(pg, c->tenant_id, c->path_id, &fail);
	pg_pool_give(c->deps->worker_pool, pg);
	auth_forget(c->api->auth);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	data = json_object();
	json_put(data, "id", c->path_id);
	json_object_set_new(data, "revoked", json_true());
	call_data(c, 200, data);
}
