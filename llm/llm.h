/* llm.h - a document from a model: providers in order, with a contract, a budget and a record of every call.
 *
 * A model only ever writes documents; nothing it says is done because it said so. llm_document() asks, checks what
 * came, shows the findings at most twice, and gives up with a sentence: the caller then does without. Any thread.
 *
 * Providers, as JSON (docs/models.md): {"providers": [{"name", "kind": "openai"|"anthropic", "url", "model", "key"?,
 * "structured"?: "schema"|"tool"|"text", "stream"?, "max_tokens"?, "timeout_s"?, "price_in"?, "price_out"? (a million
 * tokens), "ca_file"?, "proxy"?, "embed_model"?, "embed_dims"?, "price_embed"?}], "budget": {"case_tokens"?, "hour_tokens"?,
 * "tenant_tokens"? (a day), "case_cost"?, "hour_cost"?, "tenant_cost"?}, "require_certificate"?} */
#pragma once
#include <stdint.h>
#include "llm/redact.h"
#include "llm/wire.h"

struct llm_spent { /* tokens and money so far */
	long long case_tokens, hour_tokens, tenant_tokens;
	double case_cost, hour_cost, tenant_cost;
};

/* One call, as it went over the wire: names are placeholders already, the key is not in it. Lent. */
struct llm_record {
	long long tenant_id;
	const char *case_id, *purpose, *provider, *model; /* case_id may be NULL */
	const json_t *request;                            /* {"body", "map"} */
	const char *response;                             /* NULL: none came */
	const char *outcome; /* "ok", "repair", "refused", "cut", "http 503", ... */
	long long tokens_in, tokens_out;
	double cost;
	int latency_ms;
};

struct llm_hooks {
	/* A key by its reference; yours. NULL hook: no provider may need one. */
	enum oc_err (*secret)(void *ctx, const char *ref, char **ret, struct oc_fail *reterr);
	/* Refusing it stops the call: who cannot count must not spend. NULL: nothing was spent. */
	enum oc_err (*spent)(void *ctx, long long tenant_id, const char *case_id, struct llm_spent *ret,
			     struct oc_fail *reterr);
	/* Before anything is done with the answer. Failing means that the answer is not used. NULL: not kept. */
	enum oc_err (*record)(void *ctx, const struct llm_record *r, struct oc_fail *reterr);
	/* Has this model passed the golden set for the duty (a task's purpose)? Asked only where the configuration says
	 * "require_certificate": true. NULL: it has not. */
	enum oc_err (*certified)(void *ctx, long long tenant_id, const char *duty, const char *provider,
				 const char *model, bool *ret, struct oc_fail *reterr);
	void (*pause)(void *ctx, unsigned ms); /* NULL: sleeps */
	void *ctx;
};

struct llm;
/* OC_INVALID names the field. */
MUST_CHECK enum oc_err llm_new(const char *config_text, const struct llm_hooks *hooks, struct llm **ret,
			       struct oc_fail *reterr);
void llm_free(struct llm *llm);
DEFINE_AUTO(llm, struct llm *, llm_free);

#define LLM_REPAIRS 2

struct llm_task {
	long long tenant_id;
	const char *case_id, *purpose;
	const char *system, *user; /* as they leave the house: redacted already */
	const char *name;          /* of the document */
	const json_t *schema;
	struct redact *redact; /* names come back before the document is checked; may be NULL */
	/* False with findings, one a line, when the document may not stand. */
	bool (*check)(void *ctx, const json_t *doc, struct text *findings);
	const char *run;     /* which of several attempts this is, for the record; may be NULL */
	const json_t *tools; /* of llm_investigate(), which sets it */
	void *ctx;
};
struct llm_result {
	json_t *doc;      /* checked; NULL on failure */
	unsigned calls;   /* that were answered */
	unsigned repairs; /* 0..LLM_REPAIRS */
	unsigned steps;   /* calls of tools */
	long long tokens;
	double cost;
	char provider[64], model[128];
};
void llm_result_done(struct llm_result *r);
/* OC_UNAVAILABLE: nobody answers; OC_BUSY: the budget is used up; OC_INVALID: no document that may stand.
 * ret is filled in every case: what was spent was spent. */
MUST_CHECK enum oc_err llm_document(struct llm *llm, const struct llm_task *task, struct llm_result *ret,
				    struct oc_fail *reterr);

/* What a model may look with before it writes its document. All of them only read. */
struct llm_tools {
	const json_t
		*list; /* [{"name","description","schema"}]; the document itself is called like a tool, too */
	unsigned steps;   /* calls at most; then the document is asked for */
	long long tokens; /* of the investigation, at most; 0: the budget alone */
	/* One call, as it happens: `step` counts from 0, input has its names again. ret: what the model is shown, redacted and
	 * fenced; yours. An error is shown to it in its sentence, but OC_STALE ends all. ctx is the task's. */
	enum oc_err (*call)(void *ctx, unsigned step, const char *name, const json_t *input, char **ret,
			    struct oc_fail *reterr);
};
/* As llm_document(), with tools: until the model calls task->name with a document that may stand. */
MUST_CHECK enum oc_err llm_investigate(struct llm *llm, const struct llm_task *task,
				       const struct llm_tools *tools, struct llm_result *ret,
				       struct oc_fail *reterr);

/* The provider that embeds: false when there is none. Its model and dimensions. */
bool llm_embeds(const struct llm *llm, const char **ret_model, unsigned *ret_dims);
/* Recorded and budgeted as documents are, with purpose "embed" and no case. OC_BUSY: the budget is used up. */
MUST_CHECK enum oc_err llm_embed(struct llm *llm, long long tenant_id, const char *const *texts, size_t count,
				 float *ret, struct oc_fail *reterr);
