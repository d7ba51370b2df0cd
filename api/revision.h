/* revision.h - what the body of POST /adapter/exec asks for, as a whole plan. Pure. */
#pragma once
#include "domain/operation.h"
#include "wire/json/json.h"

/* OC_OK with the plan that the body stands for; it equals `current` when the body asks for nothing else.
 * OC_INVALID with the field at fault: an adapter that is not loaded, or that has several operations. */
MUST_CHECK enum oc_err revision_plan(const json_t *current, const json_t *body,
				     const struct operation_list *ops, json_t **ret, struct oc_fail *reterr);
/* Nothing but the case (and why): carry the approved plan out. */
bool revision_empty(const json_t *body);
