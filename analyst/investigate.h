/* investigate.h - a model looks into a case: with tools that only read, so many steps, and a document at the end.
 *
 * What rows and rules say came first, and the model is told. It may name others, or trust it less; that is all: the
 * document is checked (docs/models.md), and nothing that it says opens, closes or runs anything. No I/O but the hooks. */
#pragma once
#include "llm/llm.h"

#define INVESTIGATE_STEPS  12
#define INVESTIGATE_TOKENS 60000

struct investigate_case {
	long long tenant_id;
	const char *case_id, *title, *run; /* run: which attempt this is, "epoch.attempt" */
	const json_t *labels;              /* may be NULL */
	const char *summary;               /* what was found without a model */
	const json_t *root_cause;          /* of incident.h; may be NULL */
	int64_t onset_us, now_us;
};

/* What the model sees the case with. */
struct investigate_eyes {
	/* Answers one tool: {"rows": [{"table","keys","values"}], ...}; yours. from_us and to_us are what its "from" and "to" say.
	 * The same call again must read the same rows: that is how a citation is looked up. OC_INVALID, OC_NOT_FOUND: told to it. */
	enum oc_err (*look)(void *ctx, const struct investigate_case *c, const char *tool,
			    const json_t *input, int64_t from_us, int64_t to_us, json_t **ret,
			    struct oc_fail *reterr);
	/* Which of these URNs were there at that time: an array of texts; yours. */
	enum oc_err (*observed)(void *ctx, long long tenant_id, const json_t *urns, int64_t at_us,
				json_t **ret, struct oc_fail *reterr);
	/* Writes a look down before the model reads it; failing ends the investigation. May be NULL. */
	enum oc_err (*noted)(void *ctx, const struct investigate_case *c, unsigned step, const char *tool,
			     const json_t *input, const char *shown, const char *outcome, int took_ms,
			     struct oc_fail *reterr);
	void *ctx;
	unsigned steps;   /* 0: INVESTIGATE_STEPS */
	long long tokens; /* 0: INVESTIGATE_TOKENS */
};

/* {"decision": "findings"|"unresolved", "summary", "confidence", "hypotheses": [{"resource","says","confidence","claims"}],
 * "missing", "hash", ...} with provider, model, tokens, cost, steps; or {"refused": why, ...}. Never NULL; yours. */
json_t *investigate(struct llm *llm, const struct investigate_case *c, const struct investigate_eyes *eyes);
/* What is believed after it: never more than before. */
double investigate_trust(const json_t *said, double before);

/* From the records of a run: `responses` in order, the request of the last; and what was looked at: [{"tool","input"}].
 * ret_hash is that of the document, ret_looks whether the calls are those that were written down. OC_INVALID: no document. */
MUST_CHECK enum oc_err investigate_replay(const json_t *responses, const json_t *last_request,
					  const json_t *looks, char ret_hash[HASH_HEX], bool *ret_looks,
					  struct oc_fail *reterr);
