#include "orchestrator/kept.h"
#include "base/mem.h"
#include "base/metrics.h"

/* Adds the legal events to the stored case. */
static char *with_legal(const char *case_text)
{
	AUTO(json) json_t *v = NULL;

	if (!case_text || json_read_own(case_text, &v, NULL) != OC_OK || !json_is_object(v) ||
	    !json_str(v, "status"))
		return mem_strdup(case_text ? case_text : "{}");
	json_object_set_new(v, "legal",
			    transition_legal(case_state_parse(json_str(v, "status")),
					     case_reason_parse(json_str_or(v, "park_reason", ""))));
	return json_text(v);
}

bool kept_ends(const struct pg_result *r, unsigned row, unsigned first, const struct idem_key *k,
	       struct transition_result *ret, enum oc_err *ret_code, struct oc_fail *reterr)
{
	const char *state = row < pg_rows(r) ? pg_text(r, row, first + 1) : NULL;

	if (!state)
		return false;
	if (!str_eq(state, "done")) {
		*ret_code = oc_fail(reterr, OC_CONFLICT,
				    "a request with this Idempotency-Key is still under way");
		return true;
	}
	if (!str_eq(pg_text(r, row, first), k->body_hash)) {
		*ret_code = oc_fail_field(reterr, OC_INVALID, "Idempotency-Key",
					  "this Idempotency-Key was used before with another body");
		return true;
	}
	metric_inc(M_IDEMPOTENT_REPLAY, NULL, NULL, NULL);
	ret->replayed = true;
	ret->stored_status = (int)pg_int(r, row, first + 2);
	ret->case_json = with_legal(pg_text(r, row, first + 3));
	*ret_code = OC_OK;
	return true;
}
