#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "analyst/slo.h"
#include "wire/yaml/yaml.h"

static const char ours[] =
	"apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: cart}\nspec:\n  service: shop\n  indicator:\n    spec:\n"
	"      ratioMetric:\n        bad: {metricSource: {type: opscase, spec: {calls: 'urn:svc:cart'}}}\n"
	"        total: {metricSource: {type: opscase, spec: {calls: 'urn:svc:cart'}}}\n"
	"  timeWindow: [{duration: 30d, isRolling: true}]\n  objectives: [{target: 0.999}]\n";

static unsigned notes;

static void count_note(void *ctx, const char *text)
{
	(void)ctx;
	assert_true(*text);
	notes++;
}

static enum oc_err read_yaml(const char *text, struct slo_list *ret, struct oc_fail *fail)
{
	AUTO(yaml) struct yaml_doc *doc = NULL;
	enum oc_err err = yaml_read("x.yaml", text, strlen(text), &doc, fail);

	notes = 0;
	return err == OC_OK ? slo_read(yaml_value(doc), ret, count_note, NULL, fail) : err;
}

static void an_objective_of_ours_is_read_and_measured(void **state)
{
	AUTO(slo_list) struct slo_list l = { 0 };
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(read_yaml(ours, &l, &fail), OC_OK);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.item[0].name, "cart");
	assert_true(l.item[0].target == 0.999 && l.item[0].window_s == 30 * 86400);
	assert_true(slo_measured(&l.item[0]));
	assert_string_equal(l.item[0].bad.resource, "urn:svc:cart");
	assert_int_equal(notes, 0);
}

static void promql_and_sloth_are_read_with_a_note(void **state)
{
	AUTO(slo_list) struct slo_list a = { 0 };
	AUTO(slo_list) struct slo_list b = { 0 };
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(
		read_yaml(
			"apiVersion: openslo/v1alpha\nkind: SLO\nmetadata: {name: a}\nspec:\n  objectives:\n    - target: 0.99\n"
			"      ratioMetrics:\n        good: {source: prometheus, query: g}\n        total: {source: prometheus, query: t}\n"
			"  timeWindows: [{count: 30, unit: Day}]\n",
			&a, &fail),
		OC_OK);
	assert_int_equal(notes, 1);
	assert_false(slo_measured(&a.item[0]));
	assert_int_equal(
		read_yaml(
			"version: prometheus/v1\nservice: s\nslos:\n  - name: x\n    objective: 99.9\n    sli: {events: {}}\n",
			&b, &fail),
		OC_OK);
	assert_int_equal(notes, 1);
	assert_true(fabs(b.item[0].target - .999) < 1e-9);
}

static void a_fault_is_named_by_its_place(void **state)
{
	static const struct {
		const char *text, *field;
	} bad[] = {
		{ "kind: SLO\n",										      "/apiVersion"                            },
		{ "apiVersion: openslo/v1\nkind: SLO\nspec: {objectives: [{target: 0.9}]}\n",
                 "/metadata/name"															      },
		{ "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec: {}\n",                               "/spec/objectives"                       },
		{ "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec: {objectives: [{target: 99.9}]}\n",
                 "/spec/objectives/0"															  },
		{ "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec: {timeWindow: [{duration: soon}]}\n",
                 "/spec/timeWindow/0/duration"														 },
		{ "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec: {objectives: [{target: 0.9}], indicator: {spec: {ratioMetric: "
		  "{total: {metricSource: {type: opscase, spec: {calls: 'urn:svc:a'}}}}}}}\n",       "/spec/indicator/spec/ratioMetric"       },
		{ "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec: {objectives: [{target: 0.9}], indicator: {spec: {ratioMetric: "
		  "{total: {metricSource: {type: opscase, spec: {calls: cart}}}}}}}\n",              "/spec/indicator/spec/ratioMetric/total" },
		{ "version: prometheus/v1\nslos: [{name: x, objective: 100, sli: {}}]\n",                             "/slos/0"                                },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		AUTO(slo_list) struct slo_list l = { 0 };
		struct oc_fail fail = { 0 };

		assert_int_equal(read_yaml(bad[i].text, &l, &fail), OC_INVALID);
		assert_string_equal(fail.field, bad[i].field);
	}
}

static const struct slo three_nines = { .name = "x", .target = .999, .window_s = 30 * 86400 };

/* Error ratio over each span; the events are per second. */
static void judge(const double ratio[SLO_SPANS], double per_s, struct slo_state *ret)
{
	struct slo_count c[SLO_SPANS];

	for (size_t i = 0; i < SLO_SPANS; i++) {
		c[i].total = per_s * (slo_span_s[i] ? slo_span_s[i] : three_nines.window_s);
		c[i].bad = ratio[i] * c[i].total;
	}
	slo_judge(&three_nines, c, 20, ret);
}

static void two_spans_have_to_burn_for_a_page(void **state)
{
	/*                 5m    30m   1h    2h    6h    1d    3d    30d */
	struct slo_state s;

	(void)state;
	judge((const double[]){ .02, .02, .015, .008, .003, .001, 0, 0 }, 10, &s);
	assert_int_equal(s.alarm, SLO_PAGE);
	assert_int_equal(s.by, SLO_1H);
	assert_true(fabs(s.limit - 14.4) < 1e-9 && fabs(s.burn[SLO_1H] - 15) < 1e-9);
	/* The hour still remembers, the last five minutes are well again. */
	judge((const double[]){ 0, .01, .015, .008, .003, .001, 0, 0 }, 10, &s);
	assert_int_equal(s.alarm, SLO_QUIET);
	judge((const double[]){ .001, .007, .005, .006, .0061, .002, 0, 0 }, 10, &s);
	assert_int_equal(s.alarm, SLO_PAGE);
	assert_int_equal(s.by, SLO_6H);
}

static void slower_burning_is_a_ticket(void **state)
{
	struct slo_state s;

	(void)state;
	judge((const double[]){ .001, .002, .003, .0035, .003, .0031, .001, 0 }, 10, &s);
	assert_int_equal(s.alarm, SLO_TICKET);
	assert_int_equal(s.by, SLO_1D);
	judge((const double[]){ .001, .001, .001, .001, .0011, .0011, .0011, .0005 }, 10, &s);
	assert_int_equal(s.alarm, SLO_TICKET);
	assert_int_equal(s.by, SLO_3D);
	assert_true(fabs(s.budget_left - .5) < 1e-9);
}

static void too_few_events_say_nothing(void **state)
{
	struct slo_state s;

	(void)state;
	/* Five in five minutes, all of them bad. */
	judge((const double[]){ 1, 1, 1, 1, 1, 1, 1, 1 }, 5.0 / 300, &s);
	assert_true(isnan(s.burn[SLO_5M]));
	assert_int_not_equal(s.by, SLO_1H);
	slo_judge(&three_nines, (const struct slo_count[SLO_SPANS]){ 0 }, 20, &s);
	assert_int_equal(s.alarm, SLO_QUIET);
	assert_true(isnan(s.budget_left));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_objective_of_ours_is_read_and_measured),
		cmocka_unit_test(promql_and_sloth_are_read_with_a_note),
		cmocka_unit_test(a_fault_is_named_by_its_place),
		cmocka_unit_test(two_spans_have_to_burn_for_a_page),
		cmocka_unit_test(slower_burning_is_a_ticket),
		cmocka_unit_test(too_few_events_say_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
