/* evidence.h - what a case names as evidence, and what a finding says about it. Pure. */
#pragma once
#include <stdint.h>
#include "wire/json/json.h"

#define EVIDENCE_MAX 32

struct evidence_wish {
	char resource[513], metric[256]; /* metric "": everything that is measured there */
	int64_t from_us, to_us;
	char unreadable[200]; /* why this one cannot be looked up; "" if it can */
	const json_t *named;  /* as the case has it, lent; NULL: from the label */
};

struct evidence_wishes {
	struct evidence_wish item[EVIDENCE_MAX + 1];
	size_t count, left_out;
};

/* Never fails: what cannot be understood becomes a wish that says so. */
void evidence_wishes_read(const json_t *labels, const json_t *evidence, int64_t now_us, int look_back_s,
			  struct evidence_wishes *ret);

/* One entry of the finding's "evidence": the wish with what was found; yours. */
json_t *evidence_answer(const struct evidence_wish *wish, const json_t *series, bool resource_known);

/* {"evidence":[...],"values":{metric: {...}}}; yours. trust: the share of what was named that has data, 0 if nothing was
 * named. The summary is one sentence. */
json_t *evidence_body(const json_t *gathered, double *ret_trust, char **ret_summary);
