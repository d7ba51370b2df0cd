/* Who may approve what, and the card they are shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/mem.h"
#include "contracts/plan.h"
#include "gatekeeper/card.h"

/* ---- may they? ---- */

static enum oc_err may(const char *self_approval, const char *principal, const char *role, const char *reason,
		       struct gate_may *ret, struct oc_fail *fail)
{
	AUTO(json)
	json_t *terms = json_pack("{s:[s,s],s:i,s:s,s:[s,s],s:[s]}", "roles", "approver", "admin", "quorum",
				  2, "self_approval", self_approval, "authors", "olivia", "planner",
				  "break_glass", "admin");
	struct gate_ask ask = { .status = "pending", .expires_us = 1000, .now_us = 999, .terms = terms };

	*ret = (struct gate_may){ 0 };
	return gate_check_approval(&ask, &(struct gate_person){ principal, role, reason }, ret, fail);
}

static void an_approver_who_is_not_the_author_may(void **state)
{
	struct gate_may m;

	(void)state;
	assert_int_equal(may("deny", "anna", "approver", NULL, &m, NULL), OC_OK);
	assert_false(m.self);
	assert_int_equal(may("deny", "anna", "admin", NULL, &m, NULL), OC_OK);
}

static void a_role_that_is_not_asked_may_not_and_is_told_how_to_make_one(void **state)
{
	static const char *const roles[] = { "viewer", "operator", "service", "", "ADMIN" };
	struct gate_may m;
	struct oc_fail fail;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		assert_int_equal(may("warn", "anna", roles[i], NULL, &m, &fail), OC_FORBIDDEN);
		assert_non_null(strstr(fail.text, "opscase token create --role approver --name NAME"));
	}
}

static void the_author_may_only_where_policy_warns(void **state)
{
	struct gate_may m;
	struct oc_fail fail;

	(void)state;
	assert_int_equal(may("deny", "olivia", "admin", NULL, &m, &fail), OC_FORBIDDEN);
	assert_non_null(strstr(fail.text, "self_approval"));
	assert_int_equal(may("warn", "olivia", "admin", NULL, &m, &fail), OC_OK);
	assert_true(m.self);
}

static void breaking_the_glass_needs_the_role_and_a_reason(void **state)
{
	struct gate_may m;
	struct oc_fail fail;

	(void)state;
	assert_int_equal(may("deny", "olivia", "admin", "break-glass: all is down", &m, &fail), OC_OK);
	assert_true(m.break_glass);
	assert_true(m.self);
	assert_int_equal(may("deny", "olivia", "admin", "break-glass:  ", &m, &fail), OC_FORBIDDEN);
	assert_int_equal(may("deny", "anna", "approver", "break-glass: all is down", &m, &fail),
			 OC_FORBIDDEN);
}

static void what_does_not_wait_cannot_be_approved(void **state)
{
	static const char *const rows[][2] = {
		{ "approved", "approved"       },
                { "rejected", "rejected"       },
                { "expired",  "expired"        },
		{ "used",     "used"           },
                { "void",     "replicas was 3" },
                { NULL,       "unknown"        },
	};
	AUTO(json) json_t *terms = json_pack("{s:[s]}", "roles", "approver");
	struct gate_may m;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct gate_ask ask = { .status = rows[i][0],
					.void_reason = "replicas was 3 and is 5",
					.expires_us = 2,
					.now_us = 1,
					.terms = terms };
		struct oc_fail fail;

		assert_int_equal(gate_check_approval(&ask, &(struct gate_person){ "anna", "approver", NULL },
						     &m, &fail),
				 OC_ILLEGAL);
		assert_non_null(strstr(fail.text, rows[i][1]));
	}
}

static void the_moment_of_expiry_is_too_late(void **state)
{
	AUTO(json) json_t *terms = json_pack("{s:[s]}", "roles", "approver");
	struct gate_ask ask = { .status = "pending", .expires_us = 5, .now_us = 5, .terms = terms };
	struct gate_may m;

	(void)state;
	assert_int_equal(gate_check_approval(&ask, &(struct gate_person){ "anna", "approver", NULL }, &m,
					     NULL),
			 OC_ILLEGAL);
	ask.now_us = 4;
	assert_int_equal(gate_check_approval(&ask, &(struct gate_person){ "anna", "approver", NULL }, &m,
					     NULL),
			 OC_OK);
}

static void terms_that_cannot_be_read_let_nobody_through(void **state)
{
	AUTO(json) json_t *list = json_array();
	struct gate_may m;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct gate_ask ask = {
			.status = "pending", .expires_us = 5, .now_us = 1, .terms = i ? list : NULL
		};

		assert_int_equal(gate_check_approval(&ask, &(struct gate_person){ "anna", "admin", NULL }, &m,
						     NULL),
				 OC_FORBIDDEN);
		assert_int_equal(
			gate_check_approval(&ask, &(struct gate_person){ "anna", "admin", "break-glass: x" },
					    &m, NULL),
			OC_FORBIDDEN);
	}
}

/* ---- the card ---- */

static const struct operation op = { .name = "svc.restart",
				     .adapter = "svc",
				     .risk = 0.4,
				     .reversible = true,
				     .has_undo = true,
				     .has_probe = true,
				     .has_dry_run = true,
				     .blast = BLAST_SERVICE };

static const struct operation *find(void *ctx, const char *name)
{
	(void)ctx;
	return str_eq(name, op.name) ? &op : NULL;
}

/* ctx: the diff that the dry run shows */
static void call(void *ctx, const struct gate_call *c, struct gate_reply *ret)
{
	if (c->entry == GATE_PROBE) {
		ret->said = GATE_NO_ANSWER;
		snprintf(ret->sentence, sizeof(ret->sentence), "connection refused");
		return;
	}
	ret->said = GATE_WOULD_DO;
	ret->json = mem_strdup(ctx);
}

static json_t *card_of(const char *dry_run, struct text *printed)
{
	static const char yaml[] =
		"version: 1\nself_approval: warn\nrules: [{id: ask-two, answer: ask, approvers: {count: 2},"
		" when: {action: svc.restart}, reason: two look}]\n";
	struct policy_source file = { "t.yaml", yaml, sizeof(yaml) - 1 };
	struct gate_world w = { .ctx = (void *)dry_run, .operation = find, .call = call };
	struct look_ask ask = { .world_ref = &w,
				.tenant = "t",
				.case_id = "c",
				.plan_hash = "h",
				.timeout_ms = 100,
				.dry_run = true };
	AUTO(policy) struct policy *p = NULL;
	AUTO(plan) struct plan *plan = NULL;
	AUTO(plan_look) struct plan_look look = { 0 };
	struct policy_decision d;
	struct facts f = { 0 };
	struct oc_fail fail;
	json_t *card;

	assert_int_equal(policy_compile(&file, 1, &p, &fail), OC_OK);
	if (plan_parse_text(
		    "{\"title\":\"r\",\"steps\":[{\"action\":\"svc.restart\",\"params\":{},\"timeout_s\":60,\"retry\":0}],"
		    "\"rollback\":{},\"verify\":{\"checks\":[{\"kind\":\"probe\",\"step\":0}]}}",
		    &plan, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	plan_look(&ask, plan, &look);
	fact_text(&f, FACT_ACTION, "svc.restart");
	fact_text(&f, FACT_TENANT, "t");
	policy_ask_plan(p, &f, 1, &d);
	card = card_make(&(struct card_in){ .case_id = "c",
					    .title = "p95 spike",
					    .tenant = "t",
					    .plan_id = "p",
					    .plan_hash = "abc",
					    .kind = "forward",
					    .source = "person",
					    .plan = plan,
					    .look = &look,
					    .facts = &f,
					    .policy = p,
					    .decision = &d,
					    .nearest = "",
					    .opened_by = "olivia",
					    .created_by = "planner",
					    .model_says = "quite safe, risk 0.0\x1b[2J",
					    .model_calls = 3,
					    .model_tokens = 4567,
					    .model_money = 0.0123 });
	if (printed)
		card_print(card, printed);
	return card;
}

static bool warned(const json_t *card, const char *part)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(card, "warnings"), i,
			   v) if (strstr(json_string_value(v), part)) return true;
	return false;
}

static void the_card_shows_diff_terms_and_what_to_beware_of(void **state)
{
	AUTO(text) struct text t = { 0 };
	AUTO(json)
	json_t *card =
		card_of("{\"changes\":[{\"what\":\"pods\",\"from\":2,\"to\":3}],\"diff\":\"+ one\"}", &t);

	(void)state;
	assert_int_equal(json_int_or(json_object_get(card, "terms"), "quorum", 0), 2);
	assert_string_equal(json_str(json_object_get(card, "terms"), "self_approval"), "warn");
	assert_int_equal(json_array_size(json_at(card, "/terms/authors")), 2);
	assert_true(warned(card, "world not bound (connection refused)"));
	assert_true(warned(card, "self approval is possible"));
	assert_true(warned(card, "not known whether rule builtin.kill-switch holds"));
	assert_non_null(strstr(text_str(&t), "~ pods: 2 -> 3"));
	assert_non_null(strstr(text_str(&t), "+ one"));
	assert_non_null(strstr(text_str(&t), "two look"));
	assert_non_null(strstr(text_str(&t), "how many depend on it is not known"));
}

static void the_card_tells_risk_and_cost_as_the_server_computed_them(void **state)
{
	AUTO(text) struct text t = { 0 };
	AUTO(json) json_t *card = card_of("{}", &t);
	const json_t *risk = json_object_get(card, "risk");

	(void)state;
	/* the manifest says 0.4, whatever the model's words say */
	assert_float_equal(json_num_or(risk, "highest", 0), 0.4, 1e-9);
	assert_string_equal(json_str(json_object_get(risk, "text"), "en"),
			    "Risk 0.40 of 1, that of svc.restart, which touches a service; "
			    "how many depend on it is not known.");
	assert_non_null(strstr(json_str(json_object_get(risk, "text"), "zh"), "风险 0.40"));
	assert_non_null(strstr(json_str(json_object_get(risk, "text"), "zh"), "svc.restart，影响一个服务"));
	assert_int_equal(json_int_or(json_at(card, "/cost/models"), "tokens", 0), 4567);
	assert_non_null(strstr(text_str(&t), "risk       Risk 0.40 of 1"));
	assert_non_null(strstr(text_str(&t), "cost       3 calls to models so far, 4567 tokens, 0.0123\n"));
	assert_non_null(strstr(text_str(&t),
			       "model says quite safe, risk 0.0\\x1b[2J (words; nobody checked them)\n"));
	assert_null(strchr(text_str(&t), '\x1b'));
}

static void a_diff_cannot_steer_the_approvers_terminal(void **state)
{
	AUTO(text) struct text t = { 0 };
	AUTO(json) json_t *card = card_of("{\"diff\":\"a\\u001b[2Jb\\u009b31mc\\rd\"}", &t);

	(void)state;
	assert_non_null(card);
	assert_null(strchr(text_str(&t), '\x1b'));
	assert_null(strchr(text_str(&t), '\r'));
	assert_null(strstr(text_str(&t), "\xc2\x9b"));
	assert_non_null(strstr(text_str(&t), "a\\x1b[2Jb\\u009b31mc\\x0dd"));
}

static void a_huge_diff_is_cut_between_characters_and_says_so(void **state)
{
	AUTO(text) struct text dry = { 0 };
	AUTO(json) json_t *card = NULL;
	const char *diff;

	(void)state;
	text_add(&dry, "{\"diff\":\"x");
	for (int i = 0; i < 20000; i++)
		text_add(&dry, "\xc3\xa4");
	text_add(&dry, "\"}");
	card = card_of(text_str(&dry), NULL);
	diff = json_str(json_at(card, "/steps/0"), "diff");
	assert_non_null(diff);
	assert_true(strlen(diff) < 17000);
	assert_true(str_utf8_ok(diff, strlen(diff)));
	assert_non_null(strstr(diff, "bytes more"));
}

static void an_answer_of_an_adapter_that_is_no_preview_is_survived(void **state)
{
	static const char *const answers[] = { "[]", "{\"changes\":7,\"diff\":9}", "{", "null",
					       "{\"changes\":[1,null,\"x\"]}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		AUTO(text) struct text t = { 0 };
		AUTO(json) json_t *card = card_of(answers[i], &t);

		assert_non_null(card);
		assert_true(t.len > 100);
	}
}

/* ---- what changed ---- */

static void the_difference_of_two_worlds_names_step_field_and_values(void **state)
{
	AUTO(json)
	json_t *was = json_pack("[{s:{s:i,s:i}},n,{s:{s:i}}]", "binding", "a", 1, "b", 2, "binding", "c", 3);
	AUTO(json) json_t *is = json_pack("[{s:{s:i,s:i}},n,n]", "binding", "a", 1, "b", 5);
	AUTO(json) json_t *diff = NULL;
	AUTO(text) struct text t = { 0 };

	(void)state;
	diff = world_difference(was, is, &t);
	assert_int_equal(json_array_size(json_object_get(diff, "steps")), 2);
	assert_int_equal(json_int_or(json_at(diff, "/steps/0"), "was", 0), 2);
	assert_int_equal(json_int_or(json_at(diff, "/steps/0"), "is", 0), 5);
	assert_string_equal(text_str(&t),
			    "step 1: b was 2 and is 5; step 3: state was {\"c\":3} and is nothing");
	text_done(&t);
	assert_null(world_difference(was, was, &t));
	/* what was not bound does not count */
	assert_null(world_difference(json_array_get(was, 1), is, &t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_approver_who_is_not_the_author_may),
		cmocka_unit_test(a_role_that_is_not_asked_may_not_and_is_told_how_to_make_one),
		cmocka_unit_test(the_author_may_only_where_policy_warns),
		cmocka_unit_test(breaking_the_glass_needs_the_role_and_a_reason),
		cmocka_unit_test(what_does_not_wait_cannot_be_approved),
		cmocka_unit_test(the_moment_of_expiry_is_too_late),
		cmocka_unit_test(terms_that_cannot_be_read_let_nobody_through),
		cmocka_unit_test(the_card_shows_diff_terms_and_what_to_beware_of),
		cmocka_unit_test(the_card_tells_risk_and_cost_as_the_server_computed_them),
		cmocka_unit_test(a_diff_cannot_steer_the_approvers_terminal),
		cmocka_unit_test(a_huge_diff_is_cut_between_characters_and_says_so),
		cmocka_unit_test(an_answer_of_an_adapter_that_is_no_preview_is_survived),
		cmocka_unit_test(the_difference_of_two_worlds_names_step_field_and_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
