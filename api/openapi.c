/* openapi.c - the routes table as an OpenAPI 3.1 page. */
#include "api/call.h"
#include "base/mem.h"

/* Schemas of answers; those of requests come from fields.def. */
static const struct answer_row {
	const char *name, *schema;
} answer_rows[] = {
	{ "Object",         "{\"type\":\"object\"}"									 },
	{ "Text",           "{\"type\":\"string\"}"									 },
	{ "List",
         "{\"type\":\"object\",\"required\":[\"data\"],\"properties\":{\"data\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"
	  "\"next_cursor\":{\"type\":[\"string\",\"null\"]}}}"                                                              },
	{ "CaseAnswer",
         "{\"type\":\"object\",\"required\":[\"data\"],\"properties\":{\"data\":{\"$ref\":\"#/components/schemas/Case\"}}}" },
	{ "CaseList",
         "{\"type\":\"object\",\"required\":[\"data\"],\"properties\":{\"data\":{\"type\":\"array\",\"items\":"
	  "{\"$ref\":\"#/components/schemas/Case\"}},\"next_cursor\":{\"type\":[\"string\",\"null\"]}}}"                    },
	{ "TimelineAnswer",
         "{\"type\":\"object\",\"required\":[\"data\"],\"properties\":{\"data\":{\"type\":\"array\",\"items\":"
	  "{\"type\":\"object\",\"required\":[\"seq\",\"event\",\"actor\",\"hash\"],\"properties\":{"
	  "\"seq\":{\"type\":\"integer\"},\"event\":{\"type\":\"string\"},\"actor\":{\"type\":\"string\"},"
	  "\"reason\":{\"type\":[\"string\",\"null\"]},\"refused\":{\"type\":\"boolean\"},\"repeats\":{\"type\":\"integer\"},"
	  "\"meta\":{\"type\":\"object\"},\"hash\":{\"type\":\"string\"},\"created_at\":{\"type\":\"string\"}}}},"
	  "\"next_cursor\":{\"type\":[\"string\",\"null\"]}}}"                                                              },
	{ "Problem",
         "{\"type\":\"object\",\"description\":\"RFC 9457\",\"required\":[\"type\",\"title\",\"status\",\"detail\"],\"properties\":{"
	  "\"type\":{\"type\":\"string\"},\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},"
	  "\"detail\":{\"type\":\"string\"},\"advice\":{\"type\":\"string\"},\"field\":{\"type\":\"string\"},"
	  "\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"pointer\":{\"type\":\"string\"},"
	  "\"text\":{\"type\":\"string\"}}}},\"legal\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
	  "\"trace_id\":{\"type\":\"string\"}}}"									    },
};

static json_t *case_schema(void)
{
	static const char *const texts[] = { "id",    "case_id",  "tenant",    "title",
					     "drive", "severity", "opened_by", "created_at" };
	static const char *const maybe[] = { "park_reason", "sentence",    "resolution", "plan_id",
					     "plan_kind",   "decision_id", "run_id",     "command",
					     "deadline_at", "closed_at",   "trace_id" };
	json_t *s = json_object(), *p = json_object(), *states = json_array();

	json_put(s, "type", "object");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		json_object_set_new(p, texts[i], json_pack("{s:s}", "type", "string"));
	for (size_t i = 0; i < ARRAY_LEN(maybe); i++)
		json_object_set_new(p, maybe[i], json_pack("{s:[s, s]}", "type", "string", "null"));
	for (enum case_state st = 0; st < CASE_STATE_COUNT; st++)
		json_array_append_new(states, json_string(case_state_name(st)));
	json_object_set_new(p, "status", json_pack("{s:s, s:o}", "type", "string", "enum", states));
	json_object_set_new(p, "version",
			    json_pack("{s:s, s:s}", "type", "integer", "description", "the ETag"));
	json_object_set_new(p, "epoch", json_pack("{s:s}", "type", "integer"));
	json_object_set_new(p, "legal",
			    json_pack("{s:s, s:{s:s}, s:s}", "type", "array", "items", "type", "string",
				      "description", "events that a person may send now"));
	json_object_set_new(p, "next",
			    json_pack("{s:s, s:{s:s}, s:s}", "type", "array", "items", "type", "string",
				      "description", "the commands for that"));
	json_object_set_new(p, "waits_for",
			    json_pack("{s:s, s:s}", "type", "object", "description",
				      "of a 202: the command or the people that it waits for"));
	json_object_set_new(s, "properties", p);
	return s;
}

static json_t *ref(const char *kind, const char *name)
{
	return json_pack("{s:o}", "$ref", json_sprintf("#/components/%s/%s", kind, name));
}

static json_t *content(const char *type, json_t *take_schema)
{
	return json_pack("{s:{s:o}}", type, "schema", take_schema);
}

static json_t *header_param(const char *name, bool required, const char *help)
{
	return json_pack("{s:s, s:s, s:b, s:s, s:{s:s}}", "name", name, "in", "header", "required", required,
			 "description", help, "schema", "type", "string");
}

static json_t *parameters(const struct route *r)
{
	json_t *list = json_array();

	if (strstr(r->path, "{id}"))
		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:{s:s, s:s}}", "name", "id", "in",
						      "path", "required", true, "schema", "type",
						      route_numbered(r) ? "integer" : "string", "format",
						      route_numbered(r) ? "int64" : "uuid"));
	if (r->key != KEY_NONE)
		json_array_append_new(
			list,
			header_param("Idempotency-Key", r->key == KEY_REQUIRED,
				     "same key and body: the first answer again; same key, other body: 422"));
	if (r->key == KEY_REQUIRED)
		json_array_append_new(list,
				      header_param("If-Match", false,
						   "the ETag that was seen; 412 when the case moved on"));
	if (r->tenant != NO_TENANT)
		json_array_append_new(list, header_param("X-Opscase-Tenant", false,
							 "with a token of the installation"));
	return list;
}

static void problem(json_t *responses, const char *status, const char *help)
{
	json_object_set_new(responses, status,
			    json_pack("{s:s, s:o}", "description", help, "content",
				      content("application/problem+json", ref("schemas", "Problem"))));
}

static json_t *operation(const struct route *r)
{
	static const char *const role_help[] = {
		"anyone",
		"viewer, operator, approver, admin, service",
		"operator, admin, service",
		"approver, operator, admin; the decision says which",
		"admin",
		"service, operator, admin",
	};
	json_t *op = json_object(), *responses = json_object(), *params = parameters(r);
	bool text = str_eq(r->answer, "Text"), writes = r->method != GET;
	AUTO(str) char *help = mem_printf("%s\n\nRoles: %s.", r->help, role_help[r->roles]);
	const char *good = str_eq(r->path, "/case/create") || (r->method == POST && r->roles == MAY_ADMIN)
				   ? "201"
				   : "200";

	json_put(op, "summary", r->summary);
	json_put(op, "description", help);
	if (json_array_size(params))
		json_object_set(op, "parameters", params);
	json_decref(params);
	if (r->request || r->raw) {
		json_t *schema = r->request ? ref("schemas", r->request->name)
					    : json_pack("{s:s}", "type", "object");

		json_object_set_new(op, "requestBody",
				    json_pack("{s:b, s:o}", "required", true, "content",
					      content("application/json", schema)));
	}
	json_object_set_new(responses, good,
			    json_pack("{s:s, s:o}", "description", "done", "content",
				      content(text ? "text/plain" : "application/json",
					      ref("schemas", r->answer))));
	if (r->key == KEY_OUTER && str_eq(r->answer, "CaseAnswer"))
		json_object_set_new(responses, "202",
				    json_pack("{s:s, s:o}", "description",
					      "not yet: waits_for says for what; Location is the case",
					      "content",
					      content("application/json", ref("schemas", r->answer))));
	if (r->roles != MAY_ALL) {
		problem(responses, "401", "no token, or not a living one");
		problem(responses, "403", "not with this role or tenant");
	}
	if (strstr(r->path, "{id}") || r->request)
		problem(responses, "404", "not there, or another tenant's");
	if (writes) {
		problem(responses, "400", "malformed");
		problem(responses, "409",
			"not legal in this state (legal says what is), or the same key is in flight");
		problem(responses, "413", "the body is over the limit");
		problem(responses, "422", "guard, schema or lint: errors has JSON pointers");
		problem(responses, "429", "too many wait; Retry-After");
	}
	if (r->key == KEY_REQUIRED) {
		problem(responses, "412", "the case moved on");
		problem(responses, "428", "Idempotency-Key is missing");
	}
	problem(responses, "503", "not now; Retry-After");
	json_object_set_new(op, "responses", responses);
	if (r->roles != MAY_ALL)
		json_object_set_new(op, "security", json_pack("[{s:[]}]", "bearer"));
	return op;
}

char *api_openapi_text(const char *version)
{
	static const char *const verbs[] = { "get", "post", "patch", "delete" };
	AUTO(json) json_t *doc = json_object();
	json_t *paths = json_object(), *schemas = json_object();

	json_put(doc, "openapi", "3.1.0");
	json_object_set_new(
		doc, "info",
		json_pack("{s:s, s:s, s:s}", "title", "opscase", "version", version, "description",
			  "Cases, from signal to verified repair. Errors are RFC 9457 problem documents."));
	for (size_t i = 0; i < route_count; i++) {
		json_t *path = json_object_get(paths, routes[i].path);

		if (!path) {
			path = json_object();
			json_object_set_new(paths, routes[i].path, path);
		}
		json_object_set_new(path, verbs[routes[i].method], operation(&routes[i]));
	}
	json_object_set_new(doc, "paths", paths);
	json_object_set_new(schemas, "Case", case_schema());
	for (size_t i = 0; i < ARRAY_LEN(answer_rows); i++) {
		json_t *s = NULL;

		if (json_read_own(answer_rows[i].schema, &s, NULL) == OC_OK)
			json_object_set_new(schemas, answer_rows[i].name, s);
	}
	for (const struct field_table *const *t = field_tables; *t; t++)
		json_object_set_new(schemas, (*t)->name, fields_schema(*t));
	json_object_set_new(doc, "components",
			    json_pack("{s:o, s:{s:{s:s, s:s}}}", "schemas", schemas, "securitySchemes",
				      "bearer", "type", "http", "scheme", "bearer"));
	return json_pretty(doc);
}

void openapi_get(struct api_call *c)
{
	call_text(c, 200, "application/json",
		  api_openapi_text(c->deps->version ? c->deps->version : OPSCASE_VERSION));
}
