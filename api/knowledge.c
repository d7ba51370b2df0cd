/* knowledge.c - /kb: hands questions and pages on to the librarian. */
#include "api/call.h"

static void ask(struct api_call *c, const char *what, const json_t *args, bool page)
{
	struct oc_fail fail = { 0 };
	json_t *answer = NULL;

	if (!c->deps->knowledge)
		oc_fail(&fail, OC_UNAVAILABLE, "this process keeps no knowledge");
	else if (c->deps->knowledge(c->deps->ctx, c->tenant_id, what, args, c->who.name, &answer, &fail) ==
		 OC_OK) {
		if (page)
			call_page(c, answer, NULL);
		else
			call_data(c, 200, answer);
		return;
	}
	call_problem(c, &fail, NULL);
}

void knowledge_put(struct api_call *c)
{
	ask(c, "put", c->body, false);
}

void knowledge_decide(struct api_call *c)
{
	ask(c, "decide", c->body, false);
}

void knowledge_embed(struct api_call *c)
{
	ask(c, "embed", c->body, false);
}

static void take(struct api_call *c, json_t *args, const char *name)
{
	const char *v = http_query(c->req, name);

	if (!str_empty(v))
		json_put(args, name, v);
}

/* A number where the query gives one; the librarian says what fits. */
static bool take_number(struct api_call *c, json_t *args, const char *name, long long max)
{
	const char *v = http_query(c->req, name);
	struct oc_fail fail = { 0 };
	long long number;

	if (str_empty(v))
		return true;
	if (str_to_long(v, 1, max, &number)) {
		json_object_set_new(args, name, json_integer(number));
		return true;
	}
	oc_fail_field(&fail, OC_BAD_REQUEST, name, "%s is a number from 1 to %lld", name, max);
	call_problem(c, &fail, NULL);
	return false;
}

void knowledge_list(struct api_call *c)
{
	AUTO(json) json_t *args = json_object();

	take(c, args, "state");
	if (take_number(c, args, "limit", 1000))
		ask(c, "list", args, true);
}

void knowledge_search(struct api_call *c)
{
	static const char *const names[] = { "q", "service", "kind", "at", "how" };
	AUTO(json) json_t *args = json_object();

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		take(c, args, names[i]);
	if (take_number(c, args, "limit", 100))
		ask(c, "search", args, false);
}
