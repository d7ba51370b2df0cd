/* incident.h - the rows about one moment, as cause.h takes them, and its answer as a finding shows it. */
#pragma once
#include "analyst/cause.h"
#include "store/incident.h"
#include "wire/json/json.h"

struct incident_ask {
	long long tenant_id;
	const char *urn, *metric; /* what was alarmed, or NULL */
	int64_t onset_us, now_us;
	int before_s; /* how far to look back from the onset */
};

/* {"resolved","why","onset","looked_at":{..},"answers":[{"resource","score",..,"path":[urn],"evidence":[..]}]}; yours. Each evidence names
 * the table and keys of its rows. ret_sure: 0 to 1. ret_sentence: yours. OC_UNAVAILABLE when the rows could not be read. */
MUST_CHECK enum oc_err incident_explain(struct pg *pg, const struct incident_ask *ask, json_t **ret,
					double *ret_sure, char **ret_sentence, struct oc_fail *reterr);
