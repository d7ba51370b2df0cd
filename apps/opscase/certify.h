/* certify.h - does a model do a duty well enough? It is asked about the golden incidents as the service would ask, over
 * rows that are in memory; nothing is written. */
#pragma once
#include "contracts/plan.h"
#include "llm/llm.h"

#define CERTIFY_SHARE 0.8 /* of the plain incidents and the red herrings; of the others every one */

/* duty: "plan" or "analysis". {"duty","passed","total","certified","golden","cases":[{"name","kind","passed","said"}]}; yours.
 * llm has one provider. OC_UNAVAILABLE: it does not answer, which says nothing about the model. */
MUST_CHECK enum oc_err certify_run(struct llm *llm, const struct plan_contract *contract, const char *duty,
				   json_t **ret, struct oc_fail *reterr);
