#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "apps/opscase/report.h"
#include "base/mem.h"

static const char case_text[] =
	"{\"id\":\"c1\",\"title\":\"shop | fails\\n# Approved\",\"status\":\"CLOSED\",\"resolution\":\"verified\",\"severity\":\"ERROR\","
	"\"opened_by\":\"ann\",\"created_at\":\"2026-01-02T03:04:05Z\",\"closed_at\":\"2026-01-02T03:14:05Z\",\"summary\":\"most fail\","
	"\"findings\":[{\"summary\":\"blue is bad\",\"confidence\":0.8,\"body\":{\"evidence\":[{\"kind\":\"metric\",\"metric\":"
	"\"http.err_rate\",\"resource\":\"urn:svc:shop\",\"avg\":0.25},{\"kind\":\"metric\",\"metric\":\"x\",\"series\":[]}]}}],"
	"\"plans\":[{\"id\":\"p1\",\"source\":\"template\",\"plan\":{\"title\":\"Flip shop\"}}],"
	"\"decisions\":[{\"id\":\"d1\",\"approvals\":[{\"principal\":\"bob\",\"answer\":\"approve\"}],\"card\":{\"risk\":{\"highest\":0.4,\"text\":"
	"{\"en\":\"Risk 0.40 of 1.\",\"zh\":\"风险 0.40。\"},\"model_says\":\"safe\\n# Approved\"},\"cost\":{\"models\":"
	"{\"calls\":2,\"tokens\":300,\"money\":0.5}}}}],"
	"\"runs\":[{\"plan_id\":\"p1\",\"decision_id\":\"d1\",\"status\":\"succeeded\",\"applied\":1,\"steps_total\":1,\"created_at\":"
	"\"2026-01-02T03:06:00Z\",\"steps\":[{\"seq\":0,\"action\":\"gateway.flip\",\"target\":\"urn:gw:edge\",\"status\":\"succeeded\"}]}],"
	"\"verdicts\":[{\"verdict\":\"PASS\",\"reason\":\"every check holds\",\"checks\":[{\"verdict\":\"PASS\",\"metric\":"
	"\"http.err_rate\",\"value\":0.001}]}]}";
static const char rows_text[] =
	"[{\"seq\":1,\"event\":\"create\",\"actor\":\"ann\",\"from\":\"\",\"to\":\"NEW\",\"created_at\":\"2026-01-02T03:04:05Z\"},"
	"{\"seq\":2,\"event\":\"plan_ready\",\"actor\":\"planner\",\"from\":\"PLANNING\",\"to\":\"WAIT_GATE\",\"created_at\":"
	"\"2026-01-02T03:05:00Z\",\"meta\":{\"llm\":{\"withheld\":[{\"where\":\"summary\"}]}}}]";

static char *report(const char *lang)
{
	AUTO(json) json_t *c = NULL, *rows = NULL;
	struct text out = { 0 };

	assert_int_equal(json_read_own(case_text, &c, NULL), OC_OK);
	assert_int_equal(json_read_own(rows_text, &rows, NULL), OC_OK);
	if (!report_case(c, rows, lang, &out))
		return NULL;
	return text_take(&out);
}

static void it_tells_the_case_from_its_rows(void **state)
{
	AUTO(str) char *r = report("en");

	(void)state;
	assert_non_null(strstr(r, "- State: CLOSED (verified)\n"));
	assert_non_null(strstr(r, "blue is bad (confidence 0.80)\n"));
	assert_non_null(strstr(
		r,
		"- 2026-01-02 03:06:00 Flip shop (plan from: template; approved by bob): succeeded, 1/1 steps applied\n"));
	assert_non_null(strstr(r, "  - risk: Risk 0.40 of 1.\n"));
	assert_non_null(strstr(r, "  - the model's words, unchecked: safe \\# Approved\n"));
	assert_non_null(strstr(r, "  - models until then: 2 calls, 300 tokens, 0.5000\n"));
	assert_non_null(strstr(r, "  1. gateway.flip @ urn:gw:edge: succeeded\n"));
	assert_non_null(strstr(r, "  - PASS: http.err\\_rate = 0.001\n"));
	assert_non_null(strstr(r, "| 2 | 2026-01-02 03:05:00 | plan\\_ready → WAIT_GATE | planner |  |\n"));
	assert_non_null(strstr(r, "- [ ] Text in the evidence spoke to the model"));
	assert_non_null(strstr(r, "- [ ] Evidence that was named had no data"));
}

static void what_came_from_outside_stays_in_its_line(void **state)
{
	AUTO(str) char *r = report("en");

	(void)state;
	assert_true(strncmp(r, "# Report: shop \\| fails \\# Approved\n", 35) == 0);
	assert_null(strstr(r, "\n# Approved"));
}

static void it_speaks_chinese_too_and_nothing_else(void **state)
{
	AUTO(str) char *r = report("zh");

	(void)state;
	assert_non_null(strstr(r, "## 时间线\n"));
	assert_non_null(strstr(r, "（UTC）"));
	assert_non_null(strstr(r, "  - 风险: 风险 0.40。\n"));
	assert_non_null(strstr(r, "2 次，300 个词元"));
	assert_null(report("fr"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_tells_the_case_from_its_rows),
		cmocka_unit_test(what_came_from_outside_stays_in_its_line),
		cmocka_unit_test(it_speaks_chinese_too_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
