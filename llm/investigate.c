#include "llm/llm_impl.h"
#include "base/clock.h"
#include "base/mem.h"

#define WARNINGS_MAX 2 /* after the last step: who still does not end is given up */

/* The talk so far. */
struct talk {
	struct wire_turn *turn;
	size_t count, room;
};

static void talk_done(struct talk *t)
{
	for (size_t i = 0; i < t->count; i++) {
		free((char *)t->turn[i].text);
		free((char *)t->turn[i].answers);
		json_decref((json_t *)t->turn[i].calls);
	}
	free(t->turn);
}

/* Takes over text and calls. */
static void turn_add(struct talk *t, bool assistant, char *text, json_t *calls, const char *answers)
{
	if (t->count == t->room) {
		t->room = t->room ? t->room * 2 : 16;
		t->turn = mem_grow(t->turn, t->room, sizeof(*t->turn));
	}
	t->turn[t->count++] = (struct wire_turn){
		.assistant = assistant, .text = text, .calls = calls, .answers = mem_strdup(answers)
	};
}

/* One provider's investigation. */
struct hunt {
	struct llm *llm;
	const struct llm_task *task;
	const struct llm_tools *tools;
	struct llm_result *ret;
	struct talk talk;
	struct text last; /* findings against the last document */
	unsigned warned;
	int64_t until_ms;
};

/* What was called, and whether by the protocol's own calls; else {"tool","input"} in the text. */
static json_t *calls_in(const struct wire_said *said, bool *ret_native)
{
	AUTO(json) json_t *doc = NULL;

	*ret_native = said->calls != NULL;
	if (said->calls)
		return json_incref(said->calls);
	doc = wire_extract(said->text ? said->text : "");
	if (!json_str(doc, "tool"))
		return NULL;
	return json_pack("[{s:s, s:s, s:o}]", "id", "said", "name", json_str(doc, "tool"), "input",
			 json_is_object(json_object_get(doc, "input"))
				 ? json_incref(json_object_get(doc, "input"))
				 : json_null());
}

/* The answer to one call. *ret_fault: it was none that could be done. */
static enum oc_err one_call(struct hunt *h, const json_t *call, char **ret, bool *ret_fault,
			    struct oc_fail *reterr)
{
	const char *name = json_str_or(call, "name", "");
	const json_t *input = json_object_get(call, "input");
	AUTO(text) struct text findings = { 0 };
	AUTO(json) json_t *named = NULL;
	AUTO(str) char *shown = NULL;
	struct oc_fail why = { 0 };
	enum oc_err err;

	if (!json_is_object(input)) {
		*ret_fault = true;
		*ret = mem_strdup("error: the input of the call is no JSON object");
		return OC_OK;
	}
	if (str_eq(name, h->task->name)) {
		h->ret->doc = llm_stand(h->task, input, &findings);
		if (h->ret->doc)
			return OC_OK;
		h->last.len = 0;
		text_add(&h->last, text_str(&findings));
		*ret_fault = true;
		shown = h->task->redact ? redact_text(h->task->redact, findings.s) : mem_strdup(findings.s);
		*ret = mem_printf("That document was refused:\n%s\nCall %s again, mended.", shown, name);
		return OC_OK;
	}
	if (h->ret->steps >= h->tools->steps) {
		h->warned++;
		*ret = mem_printf("error: all %u steps are used; call %s now", h->tools->steps,
				  h->task->name);
		return OC_OK;
	}
	named = h->task->redact ? redact_json_back(h->task->redact, input) : json_incref((json_t *)input);
	err = h->tools->call(h->task->ctx, h->ret->steps++, name, named, ret, &why);
	if (err == OC_STALE)
		return oc_fail(reterr, err, "%s", why.text);
	if (err != OC_OK) {
		AUTO(str)
		char *clean = h->task->redact ? redact_text(h->task->redact, why.text) : mem_strdup(why.text);

		*ret = mem_printf("error: %s", clean);
	}
	return OC_OK;
}

/* Everything that one answer of the model called. */
static enum oc_err answer_calls(struct hunt *h, const struct wire_said *said, struct oc_fail *reterr)
{
	bool native, fault = false;
	AUTO(json) json_t *calls = calls_in(said, &native);
	const json_t *call;
	size_t i;

	if (!calls) {
		h->last.len = 0;
		text_add(&h->last,
			 said->cut ? "the answer was cut at its limit of tokens\n" : "nothing was called\n");
		h->ret->repairs++;
		turn_add(&h->talk, true, mem_strdup(said->text && *said->text ? said->text : "(nothing)"),
			 NULL, NULL);
		turn_add(&h->talk, false,
			 mem_printf("%sCall one of the tools, or %s with what you found.", text_str(&h->last),
				    h->task->name),
			 NULL, NULL);
		return OC_OK;
	}
	turn_add(&h->talk, true, mem_strdup(native ? said->words : said->text),
		 native ? json_incref(calls) : NULL, NULL);
	json_array_foreach(calls, i, call)
	{
		AUTO(str) char *shown = NULL;
		enum oc_err err = one_call(h, call, &shown, &fault, reterr);

		if (err != OC_OK || h->ret->doc)
			return err;
		turn_add(&h->talk, false, TAKE(shown), NULL, native ? json_str_or(call, "id", "") : NULL);
	}
	h->ret->repairs += fault;
	return OC_OK;
}

static enum oc_err hunt(struct hunt *h, struct provider *p, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;

	while (err == OC_OK && !h->ret->doc) {
		struct wire_said said = { 0 };

		if (h->ret->repairs > LLM_REPAIRS)
			return oc_fail(reterr, OC_INVALID,
				       "the model's document was refused %d times: %.600s", LLM_REPAIRS + 1,
				       text_str(&h->last));
		if (h->warned > WARNINGS_MAX)
			return oc_fail(reterr, OC_INVALID, "the model did not end after its %u steps",
				       h->tools->steps);
		if (h->tools->tokens && h->ret->tokens >= h->tools->tokens)
			return oc_fail(reterr, OC_BUSY, "the investigation has used its %lld tokens",
				       h->tools->tokens);
		err = llm_check_budget(h->llm, h->task, reterr);
		if (err == OC_OK)
			err = llm_say(h->llm, p, h->task, h->talk.turn, h->talk.count, &said, h->ret,
				      h->until_ms, reterr);
		if (err == OC_OK)
			err = answer_calls(h, &said, reterr);
		wire_said_done(&said);
	}
	return err;
}

/* The tools, and the document as one more. */
static json_t *with_document(const struct llm_task *task, const struct llm_tools *tools)
{
	json_t *list = json_copy((json_t *)tools->list);

	json_array_append_new(list, json_pack("{s:s, s:s, s:O}", "name", task->name, "description",
					      "Ends the investigation with what was found.", "schema",
					      task->schema));
	return list;
}

enum oc_err llm_investigate(struct llm *llm, const struct llm_task *task, const struct llm_tools *tools,
			    struct llm_result *ret, struct oc_fail *reterr)
{
	struct oc_fail why = { .err = OC_UNAVAILABLE, .text = "every provider is out of order" };
	AUTO(json) json_t *list = with_document(task, tools);
	struct llm_task with = *task;
	struct hunt h = { .llm = llm,
			  .task = &with,
			  .tools = tools,
			  .ret = ret,
			  .until_ms = clock_mono_ms() + LLM_TOTAL_MS };
	enum oc_err err = OC_UNAVAILABLE;

	*ret = (struct llm_result){ 0 };
	with.tools = list;
	for (size_t i = 0; i < llm_providers(llm); i++) {
		if (!llm_may_serve(llm, llm_provider(llm, i), task, &why) ||
		    !llm_may_call(llm, llm_provider(llm, i)))
			continue;
		/* Another provider begins again: what one has called means nothing to the next. Steps stay counted. */
		h.talk = (struct talk){ 0 };
		h.warned = 0;
		ret->repairs = 0;
		turn_add(&h.talk, false, mem_strdup(task->user), NULL, NULL);
		err = hunt(&h, llm_provider(llm, i), &why);
		talk_done(&h.talk);
		if (err == OC_OK || err == OC_BUSY || err == OC_STALE)
			break;
	}
	text_done(&h.last);
	if (err != OC_OK)
		return oc_fail(reterr, err, "%s", why.text);
	return OC_OK;
}
