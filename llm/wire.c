#include "llm/wire.h"
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include "base/mem.h"

#define ANSWER_MAX ((size_t)4 << 20)
#define DOCS_TRIED 16 /* braces in a text that are tried as the begin of an object */

const char *wire_path(enum wire_kind kind)
{
	return kind == WIRE_ANTHROPIC ? "/v1/messages" : "/v1/chat/completions";
}

/* --- requests */

/* What the assistant called, as OpenAI writes it: arguments are text. */
static json_t *openai_calls(const json_t *calls)
{
	json_t *list = json_array();
	const json_t *call;
	size_t i;

	json_array_foreach(calls, i, call)
	{
		AUTO(str) char *input = json_text(json_object_get(call, "input"));

		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", json_str_or(call, "id", ""),
						"type", "function", "function", "name",
						json_str_or(call, "name", ""), "arguments", input));
	}
	return list;
}

static json_t *openai_turns(const struct wire_ask *ask)
{
	json_t *list = json_array();

	if (ask->system)
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "role", "system", "content", ask->system));
	for (size_t i = 0; i < ask->count; i++) {
		const struct wire_turn *t = &ask->turns[i];
		json_t *o = json_pack("{s:s, s:s?}", "role",
				      t->answers     ? "tool"
				      : t->assistant ? "assistant"
						     : "user",
				      "content", t->text);

		if (t->answers)
			json_put(o, "tool_call_id", t->answers);
		if (t->calls)
			json_object_set_new(o, "tool_calls", openai_calls(t->calls));
		json_array_append_new(list, o);
	}
	return list;
}

/* Blocks; results that follow each other are one message of the user. */
static json_t *anthropic_turns(const struct wire_ask *ask)
{
	json_t *list = json_array(), *results = NULL;

	for (size_t i = 0; i < ask->count; i++) {
		const struct wire_turn *t = &ask->turns[i];
		const json_t *call;
		json_t *blocks;
		size_t k;

		if (t->answers) {
			if (!results) {
				results = json_array();
				json_array_append_new(list, json_pack("{s:s, s:o}", "role", "user", "content",
								      results));
			}
			json_array_append_new(results,
					      json_pack("{s:s, s:s, s:s}", "type", "tool_result",
							"tool_use_id", t->answers, "content", t->text));
			continue;
		}
		results = NULL;
		if (!t->calls) {
			json_array_append_new(list, json_pack("{s:s, s:s}", "role",
							      t->assistant ? "assistant" : "user", "content",
							      t->text));
			continue;
		}
		blocks = json_array();
		if (t->text && *t->text)
			json_array_append_new(blocks,
					      json_pack("{s:s, s:s}", "type", "text", "text", t->text));
		json_array_foreach(t->calls, k, call)
		{
			const json_t *input = json_object_get(call, "input");

			json_array_append_new(blocks,
					      json_pack("{s:s, s:s, s:s, s:o}", "type", "tool_use", "id",
							json_str_or(call, "id", ""), "name",
							json_str_or(call, "name", ""), "input",
							json_is_object(input) ? json_incref((json_t *)input)
									      : json_object()));
		}
		json_array_append_new(list, json_pack("{s:s, s:o}", "role", "assistant", "content", blocks));
	}
	return list;
}

/* The tools in one schema, for whoever answers with a document only. */
static json_t *step_schema(const json_t *tools)
{
	json_t *any = json_array();
	const json_t *tool;
	size_t i;

	json_array_foreach(tools, i, tool)
		json_array_append_new(any,
				      json_pack("{s:s, s:[s, s], s:b, s:{s:{s:s}, s:O}}", "type", "object",
						"required", "tool", "input", "additionalProperties", 0,
						"properties", "tool", "const", json_str_or(tool, "name", ""),
						"input", json_object_get(tool, "schema")));
	return json_pack("{s:o}", "anyOf", any);
}

static json_t *openai(enum wire_structured how, const struct wire_ask *ask)
{
	json_t *o = json_pack("{s:s, s:o, s:i, s:i, s:b}", "model", ask->model, "messages", openai_turns(ask),
			      "max_tokens", (int)ask->max_tokens, "temperature", 0, "stream", ask->stream);
	json_t *list;
	const json_t *tool;
	size_t i;

	if (ask->stream)
		json_object_set_new(o, "stream_options", json_pack("{s:b}", "include_usage", 1));
	if ((!ask->schema && !ask->tools) || how == WIRE_TEXT)
		return o;
	if (how == WIRE_SCHEMA) {
		json_object_set_new(o, "response_format",
				    json_pack("{s:s, s:{s:s, s:o}}", "type", "json_schema", "json_schema",
					      "name", ask->tools ? "step" : ask->name, "schema",
					      ask->tools ? step_schema(ask->tools)
							 : json_incref((json_t *)ask->schema)));
		return o;
	}
	if (ask->tools) {
		list = json_array();
		json_array_foreach(ask->tools, i, tool)
			json_array_append_new(list,
					      json_pack("{s:s, s:{s:s, s:s, s:O}}", "type", "function",
							"function", "name", json_str_or(tool, "name", ""),
							"description", json_str_or(tool, "description", ""),
							"parameters", json_object_get(tool, "schema")));
		json_object_set_new(o, "tools", list);
		json_put(o, "tool_choice", "required");
		return o;
	}
	json_object_set_new(o, "tools",
			    json_pack("[{s:s, s:{s:s, s:O}}]", "type", "function", "function", "name",
				      ask->name, "parameters", ask->schema));
	json_object_set_new(o, "tool_choice",
			    json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", ask->name));
	return o;
}

static json_t *anthropic(enum wire_structured how, const struct wire_ask *ask)
{
	json_t *o = json_pack("{s:s, s:o, s:i, s:i, s:b}", "model", ask->model, "messages",
			      anthropic_turns(ask), "max_tokens", (int)ask->max_tokens, "temperature", 0,
			      "stream", ask->stream);
	json_t *list;
	const json_t *tool;
	size_t i;

	if (ask->system)
		json_put(o, "system", ask->system);
	if (how == WIRE_TEXT)
		return o;
	if (ask->tools) {
		list = json_array();
		json_array_foreach(ask->tools, i, tool)
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:O}", "name",
							json_str_or(tool, "name", ""), "description",
							json_str_or(tool, "description", ""), "input_schema",
							json_object_get(tool, "schema")));
		json_object_set_new(o, "tools", list);
		json_object_set_new(o, "tool_choice", json_pack("{s:s}", "type", "any"));
	} else if (ask->schema) {
		/* It has no response_format: a schema is a tool that must be used. */
		json_object_set_new(o, "tools",
				    json_pack("[{s:s, s:O}]", "name", ask->name, "input_schema",
					      ask->schema));
		json_object_set_new(o, "tool_choice",
				    json_pack("{s:s, s:s}", "type", "tool", "name", ask->name));
	}
	return o;
}

json_t *wire_request(enum wire_kind kind, enum wire_structured how, const struct wire_ask *ask)
{
	return kind == WIRE_ANTHROPIC ? anthropic(how, ask) : openai(how, ask);
}

/* --- answers */

void wire_said_done(struct wire_said *s)
{
	free(s->text);
	free(s->words);
	json_decref(s->calls);
	*s = (struct wire_said){ 0 };
}

/* A call as it comes together: OpenAI numbers calls, Anthropic blocks. */
struct heard {
	long long index;
	char id[128], name[128];
	struct text input;
};

/* What comes together from one answer or from many events. */
struct gather {
	struct text text;
	struct heard call[WIRE_CALLS_MAX];
	size_t calls;
	struct wire_said said;
	bool ended, any;
	char error[300];
};

static void gather_done(struct gather *g)
{
	text_done(&g->text);
	for (size_t i = 0; i < g->calls; i++)
		text_done(&g->call[i].input);
}

/* The call with this number, a new one if need be; NULL: there are too many. */
static struct heard *heard(struct gather *g, long long index)
{
	for (size_t i = 0; i < g->calls; i++)
		if (g->call[i].index == index)
			return &g->call[i];
	if (g->calls == WIRE_CALLS_MAX)
		return NULL;
	g->call[g->calls].index = index;
	return &g->call[g->calls++];
}

static void name_call(struct heard *h, const char *id, const char *name)
{
	if (id)
		snprintf(h->id, sizeof(h->id), "%.120s", id);
	if (name)
		snprintf(h->name, sizeof(h->name), "%.120s", name);
}

static void usage(struct gather *g, const json_t *u)
{
	long long in = json_int_or(u, "prompt_tokens", json_int_or(u, "input_tokens", -1));
	long long out = json_int_or(u, "completion_tokens", json_int_or(u, "output_tokens", -1));

	if (in >= 0)
		g->said.tokens_in = in;
	if (out >= 0)
		g->said.tokens_out = out;
}

static void add(struct text *t, const char *s)
{
	if (s && t->len + strlen(s) <= ANSWER_MAX)
		text_add(t, s);
}

static void stopped(struct gather *g, const char *why)
{
	if (!why)
		return;
	g->ended = true;
	g->said.cut |= str_eq(why, "length") || str_eq(why, "max_tokens");
	g->said.refused |= str_eq(why, "content_filter") || str_eq(why, "refusal");
}

static void error_of(struct gather *g, const json_t *doc)
{
	const json_t *e = json_object_get(doc, "error");
	const char *text = json_is_string(e) ? json_string_value(e) : json_str(e, "message");

	if (e && !json_is_null(e))
		snprintf(g->error, sizeof(g->error), "%.250s", text ? text : "an error without words");
}

static void openai_doc(struct gather *g, const json_t *doc)
{
	const json_t *choice = json_array_get(json_object_get(doc, "choices"), 0);
	const json_t *m = json_object_get(choice, "message"), *call;
	size_t i;

	error_of(g, doc);
	usage(g, json_object_get(doc, "usage"));
	if (!choice)
		return;
	if (!m)
		m = json_object_get(choice, "delta");
	g->any = true;
	add(&g->text, json_str(m, "content"));
	if (json_str(m, "refusal")) {
		g->said.refused = true;
		add(&g->text, json_str(m, "refusal"));
	}
	json_array_foreach(json_object_get(m, "tool_calls"), i, call)
	{
		const json_t *f = json_object_get(call, "function");
		struct heard *h = heard(g, json_int_or(call, "index", (long long)i));

		if (!h)
			continue;
		name_call(h, json_str(call, "id"), json_str(f, "name"));
		add(&h->input, json_str(f, "arguments"));
	}
	stopped(g, json_str(choice, "finish_reason"));
}

static void anthropic_doc(struct gather *g, const json_t *doc)
{
	const json_t *block, *content = json_object_get(doc, "content"),
			     *delta = json_object_get(doc, "delta");
	const char *type = json_str_or(doc, "type", "");
	size_t i;

	error_of(g, doc);
	usage(g, json_object_get(doc, "usage"));
	usage(g, json_object_get(json_object_get(doc, "message"), "usage"));
	json_array_foreach(content, i, block)
	{
		g->any = true;
		if (str_eq(json_str(block, "type"), "text"))
			add(&g->text, json_str(block, "text"));
		if (str_eq(json_str(block, "type"), "tool_use") && heard(g, (long long)i)) {
			AUTO(str) char *input = json_text(json_object_get(block, "input"));

			name_call(heard(g, (long long)i), json_str(block, "id"), json_str(block, "name"));
			add(&heard(g, (long long)i)->input, input);
		}
	}
	if (json_is_array(content))
		stopped(g, json_str(doc, "stop_reason"));
	block = json_object_get(doc, "content_block");
	if (str_eq(type, "content_block_start") && str_eq(json_str(block, "type"), "tool_use") &&
	    heard(g, json_int_or(doc, "index", 0)))
		name_call(heard(g, json_int_or(doc, "index", 0)), json_str(block, "id"),
			  json_str(block, "name"));
	if (str_eq(type, "content_block_delta")) {
		g->any = true;
		add(&g->text, json_str(delta, "text"));
		if (json_str(delta, "partial_json") && heard(g, json_int_or(doc, "index", 0)))
			add(&heard(g, json_int_or(doc, "index", 0))->input, json_str(delta, "partial_json"));
	}
	if (str_eq(type, "message_delta"))
		stopped(g, json_str(delta, "stop_reason"));
}

static enum oc_err read_doc(struct gather *g, enum wire_kind kind, const char *text, size_t len,
			    struct oc_fail *reterr)
{
	AUTO(json) json_t *doc = NULL;
	enum oc_err err =
		json_read(text, len, &(struct json_limits){ .bytes = ANSWER_MAX, .depth = 64 }, &doc, reterr);

	if (err != OC_OK)
		return oc_fail(reterr, OC_INVALID, "the provider's answer is no JSON");
	if (kind == WIRE_ANTHROPIC)
		anthropic_doc(g, doc);
	else
		openai_doc(g, doc);
	return OC_OK;
}

static enum oc_err read_events(struct gather *g, enum wire_kind kind, const char *body, size_t len,
			       struct oc_fail *reterr)
{
	const char *end = body + len;

	for (const char *line = body; line < end;) {
		const char *nl = memchr(line, '\n', (size_t)(end - line)), *data;
		size_t n = nl ? (size_t)(nl - line) : (size_t)(end - line);
		enum oc_err err = OC_OK;

		data = line + 5;
		while (n && (line[n - 1] == '\r' || line[n - 1] == ' '))
			n--;
		if (n > 5 && memcmp(line, "data:", 5) == 0) {
			while (data < line + n && *data == ' ')
				data++;
			if (line + n - data == 6 && memcmp(data, "[DONE]", 6) == 0)
				g->ended = true;
			else
				err = read_doc(g, kind, data, (size_t)(line + n - data), reterr);
		}
		if (err != OC_OK)
			return err;
		line = nl ? nl + 1 : end;
	}
	return OC_OK;
}

static json_t *calls_of(const struct gather *g)
{
	json_t *list = g->calls ? json_array() : NULL;

	for (size_t i = 0; i < g->calls; i++) {
		const struct heard *h = &g->call[i];
		/* a tool without arguments is called with none */
		const char *text = h->input.len ? h->input.s : "{}";
		json_t *input = NULL;

		if (json_read(text, strlen(text), &(struct json_limits){ .bytes = ANSWER_MAX, .depth = 64 },
			      &input, NULL) != OC_OK ||
		    !json_is_object(input)) {
			json_decref(input);
			input = json_null();
		}
		json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "id", h->id, "name", h->name,
						      "input", input));
	}
	return list;
}

enum oc_err wire_read(enum wire_kind kind, const char *content_type, const char *body, size_t len,
		      struct wire_said *ret, struct oc_fail *reterr)
{
	__attribute__((cleanup(gather_done))) struct gather g = { 0 };
	enum oc_err err;

	if (len > ANSWER_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "the provider's answer has %zu bytes", len);
	err = str_starts(content_type ? content_type : "", "text/event-stream")
		      ? read_events(&g, kind, body, len, reterr)
		      : read_doc(&g, kind, body, len, reterr);
	if (err != OC_OK)
		return err;
	if (g.error[0])
		return oc_fail(reterr, OC_INVALID, "the provider says: %s", g.error);
	if (!g.any)
		return oc_fail(reterr, OC_INVALID, "the provider's answer has nothing in it");
	/* An end that was never said may be half of a document that happens to parse. */
	if (!g.ended)
		return oc_fail(reterr, OC_INVALID, "the provider's answer ended before its end");
	*ret = g.said;
	ret->calls = calls_of(&g);
	/* One document was asked for: a second call is none. */
	if (g.calls && g.call[0].input.len) {
		ret->words = g.text.len ? text_take(&g.text) : NULL;
		ret->text = text_take(&g.call[0].input);
	} else {
		ret->text = text_take(&g.text);
	}
	return OC_OK;
}

/* --- embeddings */

json_t *wire_embed_request(const char *model, const char *const *texts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(texts[i]));
	return json_pack("{s:s, s:o}", "model", model, "input", list);
}

enum oc_err wire_embed_read(const char *body, size_t len, size_t count, size_t dims, float *ret,
			    long long *ret_tokens, struct oc_fail *reterr)
{
	AUTO(json) json_t *doc = NULL;
	const json_t *data, *one, *value;
	AUTO(free) void *seen_mem = mem_array(count ? count : 1, sizeof(bool));
	bool *seen = seen_mem;
	size_t i, k, at, got = 0;

	if (json_read(body, len, &(struct json_limits){ .bytes = (size_t)64 << 20 }, &doc, reterr) != OC_OK)
		return oc_fail(reterr, OC_INVALID, "the provider's answer is no JSON");
	if (ret_tokens) {
		long long said = json_int_or(json_object_get(doc, "usage"), "prompt_tokens",
					     json_int_or(json_object_get(doc, "usage"), "total_tokens", 0));

		/* a negative count would give budget back */
		*ret_tokens = said < 0 ? 0 : said > INT_MAX ? INT_MAX : said;
	}
	data = json_object_get(doc, "data");
	json_array_foreach(data, i, one)
	{
		const json_t *v = json_object_get(one, "embedding");

		at = (size_t)json_int_or(one, "index", (long long)i);
		if (at >= count || seen[at] || json_array_size(v) != dims)
			return oc_fail(reterr, OC_INVALID,
				       "the provider gave %zu values for a text, %zu were said",
				       json_array_size(v), dims);
		seen[at] = true;
		got++;
		json_array_foreach(v, k, value)
		{
			double x = json_is_number(value) ? json_number_value(value) : NAN;

			if (!isfinite(x))
				return oc_fail(reterr, OC_INVALID,
					       "the provider gave something that is no number");
			ret[at * dims + k] = (float)x;
		}
	}
	if (got != count)
		return oc_fail(reterr, OC_INVALID, "the provider gave %zu vectors for %zu texts", got, count);
	return OC_OK;
}

/* --- the document in a text */

/* Bytes of the balanced object that begins here; 0: it never ends. */
static size_t balanced(const char *s)
{
	unsigned depth = 0;
	bool quoted = false;

	for (const char *p = s; *p; p++) {
		if (quoted) {
			if (*p == '\\' && p[1])
				p++;
			else if (*p == '"')
				quoted = false;
		} else if (*p == '"') {
			quoted = true;
		} else if (*p == '{') {
			depth++;
		} else if (*p == '}' && --depth == 0) {
			return (size_t)(p - s) + 1;
		}
	}
	return 0;
}

json_t *wire_extract(const char *text)
{
	const char *at = text;

	for (unsigned tries = 0; tries < DOCS_TRIED && (at = strchr(at, '{')); tries++) {
		size_t n = balanced(at);
		json_t *doc = NULL;

		if (n && json_read(at, n, &(struct json_limits){ .bytes = ANSWER_MAX, .depth = 64 }, &doc,
				   NULL) == OC_OK)
			return doc;
		at++;
	}
	return NULL;
}
