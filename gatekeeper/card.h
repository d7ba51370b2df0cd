/* card.h - what an approver sees: one JSON object, and the same as text for a terminal.
 *
 * Pure. The card is kept with the decision, so that later nobody has to guess what was known when it was
 * approved. Its "terms" are what gate_check_approval() goes by. */
#pragma once
#include "gatekeeper/look.h"
#include "gatekeeper/policy.h"

struct card_in {
	const char *case_id, *title, *tenant;
	const char *plan_id, *plan_hash, *kind, *source, *template_name; /* template may be NULL */
	int revision;
	const struct plan *plan;
	const struct plan_look *look;
	const struct facts *facts; /* per step of the plan */
	const struct policy *policy;
	const struct policy_decision *decision;
	const char *nearest; /* policy_nearest_flip() */
	int64_t expires_us;
	int exec_budget_s, verify_budget_s;
	const char *opened_by, *created_by;
	const char *model_says; /* why the model that wrote the plan wants it, in its words; NULL: none did */
	long long model_calls, model_tokens; /* of the case, so far */
	double model_money;
	const char *before; /* why the decision before this one is void; or NULL */
};
json_t *card_make(const struct card_in *in);
/* Lines of at most about 100 columns; nothing in it can steer a terminal. */
void card_print(const json_t *card, struct text *out);
