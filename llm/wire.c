#include "llm/wire.h"
#include <ctype.h>
#include <math.h>
#include "base/mem.h"

#define ANSWER_MAX ((size_t)4 << 20)
#define DOCS_TRIED 16 /* braces in a text that are tried as the begin of an object */

const char *wire_path(enum wire_kind kind)
{
	return kind == WIRE_ANTHROPIC ? "/v1/messages" : "/v1/chat/completions";
}

/* --- requests */

static json_t *turns(const struct wire_ask *ask, bool with_system)
{
	json_t *list = json_array();

	if (with_system && ask->system)
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "role", "system", "content", ask->system));
	for (size_t i = 0; i < ask->count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "role",
						      ask->turns[i].assistant ? "assistant" : "user",
						      "content", ask->turns[i].text));
	return list;
}

static json_t *openai(enum wire_structured how, const struct wire_ask *ask)
{
	json_t *o = json_pack("{s:s, s:o, s:i, s:i, s:b}", "model", ask->model, "messages", turns(ask, true),
			      "max_tokens", (int)ask->max_tokens, "temperature", 0, "stream", ask->stream);

	if (ask->stream)
		json_object_set_new(o, "stream_options", json_pack("{s:b}", "include_usage", 1));
	if (!ask->schema || how == WIRE_TEXT)
		return o;
	if (how == WIRE_SCHEMA) {
		json_object_set_new(o, "response_format",
				    json_pack("{s:s, s:{s:s, s:O}}", "type", "json_schema", "json_schema",
					      "name", ask->name, "schema", ask->schema));
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
	json_t *o = json_pack("{s:s, s:o, s:i, s:i, s:b}", "model", ask->model, "messages", turns(ask, false),
			      "max_tokens", (int)ask->max_tokens, "temperature", 0, "stream", ask->stream);

	if (ask->system)
		json_put(o, "system", ask->system);
	/* It has no response_format: a schema is a tool that must be used. */
	if (ask->schema && how != WIRE_TEXT) {
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
	*s = (struct wire_said){ 0 };
}

/* What comes together from one answer or from many events. */
struct gather {
	struct text text, tool;
	struct wire_said said;
	bool ended, any;
	char error[300];
};

static void gather_done(struct gather *g)
{
	text_done(&g->text);
	text_done(&g->tool);
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
		/* one document was asked for: a second call is none */
		if (json_int_or(call, "index", (long long)i) == 0)
			add(&g->tool, json_str(json_object_get(call, "function"), "arguments"));
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
		if (str_eq(json_str(block, "type"), "tool_use") && !g->tool.len) {
			AUTO(str) char *input = json_text(json_object_get(block, "input"));

			add(&g->tool, input);
		}
	}
	if (json_is_array(content))
		stopped(g, json_str(doc, "stop_reason"));
	if (str_eq(type, "content_block_delta")) {
		g->any = true;
		add(&g->text, json_str(delta, "text"));
		add(&g->tool, json_str(delta, "partial_json"));
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
	ret->text = text_take(g.tool.len ? &g.tool : &g.text);
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
			    struct oc_fail *reterr)
{
	AUTO(json) json_t *doc = NULL;
	const json_t *data, *one, *value;
	AUTO(free) void *seen_mem = mem_array(count ? count : 1, sizeof(bool));
	bool *seen = seen_mem;
	size_t i, k, at, got = 0;

	if (json_read(body, len, &(struct json_limits){ .bytes = (size_t)64 << 20 }, &doc, reterr) != OC_OK)
		return oc_fail(reterr, OC_INVALID, "the provider's answer is no JSON");
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
