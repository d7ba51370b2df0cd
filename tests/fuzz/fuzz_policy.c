/* Policy files as strangers would write them: whatever comes is compiled and asked, or refused with a sentence.
 * The index must answer as a look at every rule does. */
#include <stdint.h>
#include <stdlib.h>
#include "gatekeeper/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void agree(const struct policy *p, const struct facts *f)
{
	struct policy_decision fast, slow;

	policy_ask(p, f, &fast);
	policy_ask_slowly(p, f, &slow);
	if (fast.answer != slow.answer || fast.hits_count != slow.hits_count || fast.quorum != slow.quorum ||
	    fast.roles != slow.roles)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_source file = { .name = "fuzz.yaml", .text = (const char *)data, .len = size };
	AUTO(policy) struct policy *p = NULL;
	AUTO(str) char *nearest = NULL;
	struct oc_fail fail = { 0 };
	struct policy_decision d;
	struct facts f = { 0 };

	if (policy_compile(&file, 1, &p, &fail) != OC_OK) {
		if (!fail.text[0])
			abort(); /* a refusal says why */
		return 0;
	}
	agree(p, &f); /* nothing is known */
	for (int i = 0; i < FACT_COUNT; i++) {
		switch (fact_row((enum fact_id)i)->type) {
		case FACT_IS_BOOL:
			fact_bool(&f, (enum fact_id)i, i % 2);
			break;
		case FACT_IS_NUMBER:
			fact_number(&f, (enum fact_id)i, i % 5);
			break;
		case FACT_IS_TEXT:
			fact_text(&f, (enum fact_id)i,
				  i == FACT_PLAN_KIND ? "forward"
				  : i % 2             ? "noop"
						      : "prod");
			break;
		}
		agree(p, &f); /* each thing known, one after the other */
	}
	policy_set_time(p, &f, INT64_C(1772452800000000));
	agree(p, &f);
	policy_ask_plan(p, &f, 1, &d);
	nearest = policy_nearest_flip(p, &f, 1, &d);
	(void)policy_budget(p, "prod", "noop");
	(void)policy_permits(p, "script_body", "prod");
	return 0;
}
