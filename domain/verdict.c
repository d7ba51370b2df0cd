#include "domain/verdict.h"
#include "base/text.h"

static const struct {
	const char *name, *help;
} verdicts[VERDICT_COUNT] = {
	[VERDICT_PASS] = { "PASS",              "every check was measured and holds"        },
	[VERDICT_FAIL] = { "FAIL",              "a check was measured and does not hold"    },
	[VERDICT_INCONCLUSIVE] = { "INCONCLUSIVE",      "what was measured says nothing either way" },
	[VERDICT_INSUFFICIENT_DATA] = { "INSUFFICIENT_DATA", "too few samples"                           },
	[VERDICT_SOURCE_ERROR] = { "SOURCE_ERROR",      "the source could not be asked"             },
};

const char *verdict_name(enum verdict v)
{
	return v < VERDICT_COUNT ? verdicts[v].name : "";
}

const char *verdict_help(enum verdict v)
{
	return v < VERDICT_COUNT ? verdicts[v].help : "";
}

enum verdict verdict_parse(const char *name)
{
	for (int i = 0; i < VERDICT_COUNT; i++)
		if (str_eq(verdicts[i].name, name))
			return i;
	return VERDICT_COUNT;
}

enum verdict verdict_combine(const enum verdict *v, size_t n)
{
	enum verdict worst = VERDICT_PASS;

	if (!n)
		return VERDICT_INCONCLUSIVE;
	for (size_t i = 0; i < n; i++) {
		if (v[i] == VERDICT_FAIL)
			return VERDICT_FAIL;
		if (v[i] > worst)
			worst = v[i];
	}
	return worst;
}
