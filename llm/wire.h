/* wire.h - what providers are told and what they answer, as JSON: OpenAI's chat completions (vLLM, llama.cpp, Ollama,
 * DeepSeek, Qwen and others speak it), Anthropic's messages, and OpenAI's embeddings.
 *
 * Pure. Answers come from outside: whatever they are, they are read within bounds or refused with a sentence. */
#pragma once
#include "wire/json/json.h"

#define WIRE_CALLS_MAX 8 /* of one answer; more are not read */

enum wire_kind { WIRE_OPENAI, WIRE_ANTHROPIC };
/* How a document is asked for: by what the provider can. */
enum wire_structured { WIRE_SCHEMA, WIRE_TOOL, WIRE_TEXT };

struct wire_turn {
	bool assistant; /* else the user */
	const char *text;
	const json_t *calls; /* the assistant's: [{"id","name","input"}], or NULL */
	const char *answers; /* the id of the call that `text` is the result of, or NULL */
};
struct wire_ask {
	const char *model, *system;
	const struct wire_turn *turns;
	size_t count;
	const char *name;     /* of the document: "change_plan" */
	const json_t *schema; /* NULL: text is wanted */
	/* [{"name","description","schema"}]: one of them has to be called; instead of name and schema. NULL: none.
	 * Who has no tools (WIRE_SCHEMA, WIRE_TEXT) answers {"tool": name, "input": {..}}. */
	const json_t *tools;
	unsigned max_tokens;
	bool stream;
};
json_t *wire_request(enum wire_kind kind, enum wire_structured how, const struct wire_ask *ask); /* yours */
const char *wire_path(enum wire_kind kind); /* below the base URL */

struct wire_said {
	char *text; /* the document as text, or what was said instead; yours */
	/* What was called, in order: [{"id","name","input"}]; input is null where it was no JSON object. NULL: nothing. Yours. */
	json_t *calls;
	char *words; /* what was said beside the calls; NULL: nothing. Yours. */
	long long tokens_in, tokens_out;
	bool cut;     /* stopped at its limit of tokens: not whole */
	bool refused; /* the provider says that the model would not */
};
void wire_said_done(struct wire_said *s);
/* A whole answer, or a stream of events. OC_INVALID: no answer of this kind, or a stream that was cut. */
MUST_CHECK enum oc_err wire_read(enum wire_kind kind, const char *content_type, const char *body, size_t len,
				 struct wire_said *ret, struct oc_fail *reterr);

json_t *wire_embed_request(const char *model, const char *const *texts, size_t count); /* yours */
/* `count` vectors of `dims` values, and the tokens that they cost (NULL: not asked; 0: not said). OC_INVALID: fewer, others, or something that is no number. */
MUST_CHECK enum oc_err wire_embed_read(const char *body, size_t len, size_t count, size_t dims, float *ret,
				       long long *ret_tokens, struct oc_fail *reterr);

/* The JSON object in a text: alone, in a fence, or the first that is balanced. NULL: none. Yours. */
json_t *wire_extract(const char *text);
