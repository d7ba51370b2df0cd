/* Certificates: models that do their duty, that always have a plan, and that obey; and what comes of the certificate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "apps/opscase/certify.h"
#include "apps/opscase/golden.h"
#include "base/mem.h"
#include "llm/llm.h"
#include "tests/support/operations.h"
#include "tests/support/scripted.h"

static struct operation_list ops;
static struct plan_contract *contract;

/* --- three models, as scripts: they read what they are shown and answer by it */

enum mind { CAREFUL, EAGER, OBEDIENT };

/* Rows that the talk has shown so far: [{"table","keys","values"}]. */
static json_t *rows_shown(const json_t *turns)
{
	json_t *rows = json_array();
	const json_t *turn;
	size_t i;

	json_array_foreach(turns, i, turn)
	{
		const char *line = json_str_or(turn, "content", "");

		for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
			AUTO(str) char *one = mem_strndup(line, strcspn(line, "\n"));
			json_t *row = NULL;

			if (str_starts(one, "row: ") && json_read_own(one + 5, &row, NULL) == OC_OK)
				json_array_append_new(rows, row);
		}
	}
	return rows;
}

/* The row that shows who is at its limit now; an eager mind takes any. */
static const json_t *decisive(const json_t *rows, enum mind mind)
{
	const json_t *row, *best = NULL;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *metric = json_str_or(json_object_get(row, "keys"), "metric", "");
		double avg = json_num_or(json_object_get(row, "values"), "avg", 0);

		if (mind != CAREFUL ? str_eq(json_str(row, "table"), "metric_1m")
				    : avg > .95 && strstr(metric, "utilization"))
			best = row;
	}
	return best;
}

static char *claim_of(const json_t *row)
{
	AUTO(str) char *keys = json_text(json_object_get(row, "keys"));

	return mem_printf("{\"table\":\"%s\",\"keys\":%s,\"field\":\"avg\",\"value\":%.9g}",
			  json_str(row, "table"), keys,
			  json_num_or(json_object_get(row, "values"), "avg", 0));
}

static char *plan_by(const json_t *row, enum mind mind)
{
	AUTO(str) char *claim = row ? claim_of(row) : NULL;
	const char *urn = mind == OBEDIENT ? "urn:svc:payroll"
					   : json_str(json_object_get(row, "keys"), "resource");

	if (!row)
		return mem_strdup(
			"{\"decision\":\"no_plan\",\"why\":\"nothing is at its limit\",\"claims\":[]}");
	return mem_printf(
		"{\"decision\":\"plan\",\"why\":\"it is at its limit\",\"claims\":[%s],\"plan\":{\"title\":\"Relieve it\",\"steps\":[{\"action\":"
		"\"noop\",\"params\":{},\"target\":{\"urn\":\"%s\"},\"timeout_s\":10,\"retry\":0}],\"rollback\":{},\"verify\":{\"checks\":[{\"kind\":"
		"\"metric\",\"resource\":\"%s\",\"metric\":\"cpu.utilization\",\"aggregate\":\"avg\",\"op\":\"<\",\"threshold\":0.8,\"window_s\":60}"
		"]}}}",
		claim, urn, urn);
}

/* Looks at every resource that it has heard of, then says who is at the limit. */
static char *findings_by(const json_t *turns, const json_t *rows, enum mind mind, const char **ret_tool)
{
	static const char *const urns[] = { "urn:svc:shop", "urn:svc:cart", "urn:svc:orders-db",
					    "urn:svc:mail" };
	const json_t *row = decisive(rows, mind), *turn;
	size_t at = 0, i;

	json_array_foreach(turns, i, turn) at += str_eq(json_str(turn, "role"), "assistant");
	*ret_tool = "query_metric";
	if (at < ARRAY_LEN(urns))
		return mem_printf("{\"resource\":\"%s\"}", urns[at]);
	*ret_tool = "findings";
	if (!row)
		return mem_strdup(
			"{\"decision\":\"unresolved\",\"summary\":\"Nothing is at its limit.\",\"confidence\":0}");
	{
		AUTO(str) char *claim = claim_of(row);

		return mem_printf(
			"{\"decision\":\"findings\",\"summary\":\"It is at its limit.\",\"confidence\":0.9,\"hypotheses\":[{\"resource\":\"%s\","
			"\"says\":\"full\",\"confidence\":0.9,\"claims\":[%s]}]}",
			mind == OBEDIENT ? "urn:svc:payroll"
					 : json_str(json_object_get(row, "keys"), "resource"),
			claim);
	}
}

static void thinks(void *ctx, unsigned n, const char *path, const char *head, const char *body,
		   struct scripted_answer *ret)
{
	enum mind mind = *(enum mind *)ctx;
	AUTO(json) json_t *asked = NULL, *rows = NULL;
	const json_t *turns;
	const char *tool = NULL;
	AUTO(str) char *say = NULL;

	(void)n, (void)path, (void)head;
	if (json_read_own(body, &asked, NULL) != OC_OK)
		abort();
	turns = json_object_get(asked, "messages");
	rows = rows_shown(turns);
	if (str_eq(json_string_value(json_at(asked, "/tools/0/function/name")), "change_plan")) {
		say = plan_by(decisive(rows, mind), mind);
		ret->body = scripted_says(say);
		return;
	}
	say = findings_by(turns, rows, mind, &tool);
	ret->body = scripted_calls(false, false, "c", tool, say, &ret->type);
}

static json_t *certify(enum mind mind, const char *duty)
{
	struct scripted *p = scripted_start(thinks, &mind);
	AUTO(str)
	char *config = mem_printf(
		"{\"providers\":[{\"name\":\"p\",\"url\":\"%s\",\"model\":\"m\",\"structured\":\"tool\"}]}",
		scripted_url(p));
	AUTO(llm) struct llm *llm = NULL;
	struct oc_fail why = { 0 };
	json_t *said = NULL;

	if (llm_new(config, &(struct llm_hooks){ 0 }, &llm, &why) != OC_OK ||
	    certify_run(llm, contract, duty, &said, &why) != OC_OK)
		fail_msg("%s", why.text);
	scripted_stop(p);
	return said;
}

static int set_up(void **state)
{
	(void)state;
	support_operations(&ops);
	return plan_contract_new(&ops, &contract, NULL) == OC_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	plan_contract_free(contract);
	operation_list_done(&ops);
	return 0;
}

static void the_set_has_every_kind_and_each_has_an_answer(void **state)
{
	unsigned of[GOLDEN_KINDS] = { 0 };

	(void)state;
	for (size_t i = 0; i < goldens_count; i++) {
		of[goldens[i].kind]++;
		if (goldens[i].kind == GOLDEN_HEALTHY || goldens[i].kind == GOLDEN_MISSING)
			assert_null(goldens[i].culprit);
		if (goldens[i].kind == GOLDEN_PLAIN || goldens[i].kind == GOLDEN_HERRING)
			assert_non_null(goldens[i].culprit);
	}
	for (size_t k = 0; k < GOLDEN_KINDS; k++)
		assert_true(of[k] >= 2);
}

static void a_careful_model_is_certified_for_both_duties(void **state)
{
	AUTO(json) json_t *plan = certify(CAREFUL, "plan"), *analysis = certify(CAREFUL, "analysis");
	const json_t *c;
	size_t i;

	(void)state;
	json_array_foreach(json_object_get(plan, "cases"), i, c) if (!json_bool_or(c, "passed", false))
		print_message("plan: %s: %s\n", json_str(c, "name"), json_str(c, "said"));
	json_array_foreach(json_object_get(analysis, "cases"), i, c) if (!json_bool_or(c, "passed", false))
		print_message("analysis: %s: %s\n", json_str(c, "name"), json_str(c, "said"));
	assert_true(json_bool_or(plan, "certified", false));
	assert_true(json_bool_or(analysis, "certified", false));
	assert_int_equal(json_int_or(plan, "total", 0), goldens_count);
	assert_int_equal(json_int_or(plan, "passed", 0), goldens_count);
}

static void who_always_has_an_answer_or_obeys_is_not(void **state)
{
	static const enum mind minds[] = { EAGER, OBEDIENT };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(minds); i++) {
		AUTO(json)
		json_t *plan = certify(minds[i], "plan"), *analysis = certify(minds[i], "analysis");

		assert_false(json_bool_or(plan, "certified", true));
		assert_false(json_bool_or(analysis, "certified", true));
		assert_true(json_int_or(plan, "passed", 99) < (long long)goldens_count);
	}
}

/* --- what comes of it */

static enum oc_err certified(void *ctx, long long tenant, const char *duty, const char *provider,
			     const char *model, bool *ret, struct oc_fail *reterr)
{
	(void)ctx, (void)tenant, (void)reterr;
	*ret = str_eq(duty, "plan") && str_eq(provider, "p") && str_eq(model, "m");
	return OC_OK;
}

static bool stands(void *ctx, const json_t *doc, struct text *findings)
{
	(void)ctx, (void)doc, (void)findings;
	return true;
}

static void a_duty_that_has_to_be_certified_is_not_given_to_another(void **state)
{
	static const char *const duties[] = { "plan", "analysis" };
	enum mind mind = CAREFUL;
	struct scripted *p = scripted_start(thinks, &mind);
	AUTO(str)
	char *config = mem_printf(
		"{\"require_certificate\":true,\"providers\":[{\"name\":\"p\",\"url\":\"%s\",\"model\":\"m\"}]}",
		scripted_url(p));
	AUTO(llm) struct llm *llm = NULL;
	AUTO(json) json_t *schema = json_object();

	(void)state;
	assert_int_equal(llm_new(config, &(struct llm_hooks){ .certified = certified }, &llm, NULL), OC_OK);
	for (size_t i = 0; i < 2; i++) {
		struct llm_result r;
		struct oc_fail why = { 0 };
		unsigned asked = scripted_requests(p);
		enum oc_err err = llm_document(llm,
					       &(struct llm_task){ .purpose = duties[i],
								   .system = "s",
								   .user = "u",
								   .name = "d",
								   .schema = schema,
								   .check = stands },
					       &r, &why);

		if (i == 0) {
			assert_true(scripted_requests(p) > asked);
		} else {
			assert_int_equal(err, OC_UNAVAILABLE);
			assert_non_null(strstr(why.text, "no certificate"));
			assert_int_equal(scripted_requests(p), asked);
		}
		llm_result_done(&r);
	}
	scripted_stop(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_set_has_every_kind_and_each_has_an_answer),
		cmocka_unit_test(a_careful_model_is_certified_for_both_duties),
		cmocka_unit_test(who_always_has_an_answer_or_obeys_is_not),
		cmocka_unit_test(a_duty_that_has_to_be_certified_is_not_given_to_another),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
