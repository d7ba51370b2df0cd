/* facts.h - what policy knows about one step of a plan. Plain values; texts are lent.
 *
 * A fact that is not set is unknown, which is a third thing beside true and false: it satisfies no rule
 * that would allow. The list of facts is facts.def. */
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include "wire/json/json.h"

enum fact_id {
#define FACT(id, name, type, per, effort, values, help) id,
#include "gatekeeper/facts.def"
#undef FACT
	FACT_COUNT
};
_Static_assert(FACT_COUNT <= 64, "facts are kept as bits of one word");

enum fact_type { FACT_IS_BOOL, FACT_IS_NUMBER, FACT_IS_TEXT };
enum fact_per { FACT_PER_STEP, FACT_PER_PLAN };

struct fact_row {
	const char *name;
	enum fact_type type;
	enum fact_per per;
	int effort;
	const char *values, *help;
};

union fact_value {
	double number;
	bool truth;
	const char *text; /* lent */
};

struct facts {
	uint64_t known; /* bit per fact */
	union fact_value v[FACT_COUNT];
};

const struct fact_row *fact_row(enum fact_id id);
enum fact_id fact_find(const char *name); /* FACT_COUNT if there is none */
const char *fact_type_name(enum fact_type type);
/* True when text is one of the row's closed list, or the list is open. */
bool fact_value_ok(enum fact_id id, const char *text);

static inline bool fact_known(const struct facts *f, enum fact_id id)
{
	return f->known >> id & 1;
}
static inline void fact_forget(struct facts *f, enum fact_id id)
{
	f->known &= ~(UINT64_C(1) << id);
}
static inline void fact_bool(struct facts *f, enum fact_id id, bool v)
{
	f->known |= UINT64_C(1) << id;
	f->v[id].truth = v;
}
/* Not a number is not known. */
static inline void fact_number(struct facts *f, enum fact_id id, double v)
{
	if (isnan(v)) {
		fact_forget(f, id);
		return;
	}
	f->known |= UINT64_C(1) << id;
	f->v[id].number = v;
}
/* NULL is not known; the text must outlive the facts. */
static inline void fact_text(struct facts *f, enum fact_id id, const char *v)
{
	if (!v) {
		fact_forget(f, id);
		return;
	}
	f->known |= UINT64_C(1) << id;
	f->v[id].text = v;
}

/* {"action":"noop","risk":0,...}: only what is known. Yours. Infinity is written as 1e15. */
json_t *facts_json(const struct facts *f);
/* The other way; texts point into obj. null is unknown. OC_INVALID names the fact and what is wrong with it. */
MUST_CHECK enum oc_err facts_read(const json_t *obj, struct facts *ret, struct oc_fail *reterr);
