/* llm_impl.h - what the parts of a talk with a provider share. Of this room alone. */
#pragma once
#include "llm/llm.h"

#define LLM_PROVIDERS_MAX 8
#define LLM_TOTAL_MS      240000 /* of one document: whoever asked holds a lease meanwhile */

struct provider;
size_t llm_providers(const struct llm *llm);
struct provider *llm_provider(struct llm *llm, size_t i);
/* The breaker lets it. */
bool llm_may_call(struct llm *llm, struct provider *p);
/* The golden set lets it, where one is asked for. */
bool llm_may_serve(struct llm *llm, const struct provider *p, const struct llm_task *task,
		   struct oc_fail *reterr);
/* OC_BUSY: used up. */
enum oc_err llm_check_budget(struct llm *llm, const struct llm_task *task, struct oc_fail *reterr);
/* What a provider said to this talk, recorded; OC_UNAVAILABLE: the next one may. */
enum oc_err llm_say(struct llm *llm, struct provider *p, const struct llm_task *task,
		    const struct wire_turn *turns, size_t count, struct wire_said *said,
		    struct llm_result *ret, int64_t until_ms, struct oc_fail *reterr);
/* The document with names, when nothing is wrong with it; else NULL and findings. Yours. */
json_t *llm_stand(const struct llm_task *task, const json_t *doc, struct text *findings);
