/* Questions as anybody may ask them: read or refused with a place; what is read matches and evaluates any points. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/mem.h"
#include "domain/promql.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct promql_label labels[] = {
		{ (char *)"__name__", (char *)"lag" },
                { (char *)"disk",     (char *)"sda" }
	};
	struct promql_point points[] = {
		{ 10, { 1, 2, 0, 4, 2, NAN } },
                { 70, { NAN, 3, 0, 4, 0, 2 } }
	};
	struct promql_series series[] = {
		{ labels, 2, points, 2 },
                { labels, 1, points, 1 },
                { labels, 2, NULL,   0 }
	};
	AUTO(promql) struct promql p = { 0 };
	AUTO(str) char *text = NULL;
	struct promql_answer *answers;
	char why[200];
	size_t n = 0;

	if (size > 4200)
		return 0;
	text = mem_strndup((const char *)bytes, size);
	if (!promql_parse(text, &p, why)) {
		if (!why[0])
			abort();
		return 0;
	}
	if (p.number)
		return 0;
	(void)promql_takes_name(&p, "lag");
	(void)promql_takes(&p, labels, 2);
	if (promql_reach_s(&p) < 1)
		abort();
	answers = promql_eval(&p, series, 3, 0, 30, 5, &n);
	if (n > 3)
		abort();
	promql_answers_free(answers, n);
	return 0;
}
