/* The adapter against the API server of tests/peers/k8s-apiserver, which kubectl itself accepts. */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WEB(rest) "{'namespace':'shop','name':'web'," rest "}"
#define RESTART   WEB("'action':'restart'")
#define IMAGE2    WEB("'action':'set_image','container':'app','image':'shop/web:2'")
#define SCALE6    WEB("'action':'scale','replicas':6")
#define STATUS    WEB("'action':'status'")
#define UNDO1     WEB("'action':'undo'")
#define CANARY    WEB("'action':'canary','container':'app','image':'shop/web:2'")
#define WEIGHT50  WEB("'action':'weight','weight':50")
#define PROMOTE   WEB("'action':'promote','container':'app','image':'shop/web:2'")
#define BROKEN    WEB("'action':'set_image','container':'app','image':'shop/web:broken'")

/* How late a busy machine may make us; far from the 20 s that a call has here. */
enum { BUSY_MS = 5000 };

static int start(void **state)
{
	struct rig *rig = calloc(1, sizeof *rig);

	*state = rig;
	if (!rig_start(rig)) {
		free(rig);
		*state = NULL;
		return 0;
	}
	peer_settle(rig, "deployments", "web");
	return 0;
}

static int stop(void **state)
{
	if (*state) {
		rig_stop(*state);
		free(*state);
	}
	return 0;
}

static struct rig *rig_of(void **state)
{
	if (!*state) {
		print_message("skipped: needs node and openssl\n");
		skip();
	}
	return *state;
}

#define CALL(rig, entry, params, wanted)                                            \
	do {                                                                        \
		enum opscase_outcome got_ = rig_call(rig, entry, params);           \
                                                                                    \
		if (got_ != (wanted)) {                                             \
			char *text_ = json_dumps((rig)->said.body, JSON_INDENT(2)); \
                                                                                    \
			print_message("%s\n", text_);                               \
			free(text_);                                                \
		}                                                                   \
		assert_int_equal(got_, wanted);                                     \
	} while (0)

#define ASSERT_HAS(text, part)                                          \
	do {                                                            \
		if (!strstr(text, part))                                \
			fail_msg("'%s' does not say '%s'", text, part); \
	} while (0)

static json_int_t replicas_of(struct rig *rig, const char *name)
{
	json_t *o = peer_object(rig, "deployments", name);
	json_int_t n = o ? json_integer_value(json_object_get(json_object_get(o, "spec"), "replicas")) : -1;

	json_decref(o);
	return n;
}

static void image_is(struct rig *rig, const char *kind, const char *name, const char *image)
{
	json_t *o = peer_object(rig, kind, name);
	json_t *template = json_object_get(json_object_get(o, "spec"), "template");
	json_t *containers = json_object_get(json_object_get(template, "spec"), "containers");

	assert_string_equal(json_string_value(json_object_get(json_array_get(containers, 0), "image")),
			    image);
	json_decref(o);
}

static size_t replicasets(struct rig *rig)
{
	json_t *list = peer_get(rig, "/apis/apps/v1/namespaces/shop/replicasets?labelSelector=app%3Dweb");
	size_t n = json_array_size(json_object_get(list, "items"));

	json_decref(list);
	return n;
}

static json_int_t pods_with_image(struct rig *rig, const char *image)
{
	json_t *list = peer_get(rig, "/api/v1/namespaces/shop/pods?labelSelector=app%3Dweb"), *pod;
	json_int_t n = 0;
	size_t i;

	json_array_foreach(json_object_get(list, "items"), i, pod)
	{
		json_t *c = json_array_get(json_object_get(json_object_get(pod, "spec"), "containers"), 0);

		n += strcmp(json_string_value(json_object_get(c, "image")), image) == 0;
	}
	json_decref(list);
	return n;
}

/* --- each action */

static void a_restart_makes_new_pods_and_leaves_its_key(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, PROBE, RESTART, OPSCASE_NOT_APPLIED);
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	assert_int_equal(json_integer_value(rig_value(rig, "changed")), 1);
	assert_string_equal(rig_text(rig, "rollout/state"), "complete");
	assert_true(rig->said.sentences > 1);
	assert_int_equal(replicasets(rig), 2);
	CALL(rig, PROBE, RESTART, OPSCASE_APPLIED);
	rig->key = KEY_B;
	CALL(rig, PROBE, RESTART, OPSCASE_NOT_APPLIED);
}

static void the_same_key_twice_is_one_rollout(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	assert_true(json_is_true(rig_value(rig, "already")));
	assert_int_equal(peer_effects(rig), 1);
	assert_int_equal(replicasets(rig), 2);
}

static void an_older_key_is_still_known_after_other_steps(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	rig->key = KEY_B;
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	rig->key = KEY_C;
	CALL(rig, RUN, SCALE6, OPSCASE_DONE);
	rig->key = KEY_A;
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	assert_true(json_is_true(rig_value(rig, "already")));
	assert_int_equal(peer_effects(rig), 3);
}

static void a_restart_is_undone_by_the_old_template(void **state)
{
	struct rig *rig = rig_of(state);
	char *was = peer_state(rig), *now;

	rig_remember(rig, RESTART);
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	CALL(rig, UNDO, RESTART, OPSCASE_DONE);
	now = peer_state(rig);
	assert_string_equal(now, was);
	CALL(rig, PROBE, RESTART, OPSCASE_NOT_APPLIED);
	free(was);
	free(now);
}

static void an_image_is_set_and_waited_for_and_brought_back(void **state)
{
	struct rig *rig = rig_of(state);
	char *was = peer_state(rig), *now;

	rig_remember(rig, IMAGE2);
	assert_int_equal(rig->said.outcome, OPSCASE_NOT_APPLIED);
	CALL(rig, RUN, IMAGE2, OPSCASE_DONE);
	image_is(rig, "deployments", "web", "shop/web:2");
	assert_int_equal(pods_with_image(rig, "shop/web:2"), 4);
	assert_int_equal(pods_with_image(rig, "shop/web:1"), 0);
	CALL(rig, PROBE, IMAGE2, OPSCASE_APPLIED);
	assert_string_equal(rig_text(rig, "info/health/status"), "Healthy");
	CALL(rig, UNDO, IMAGE2, OPSCASE_DONE);
	assert_int_equal(pods_with_image(rig, "shop/web:1"), 4);
	now = peer_state(rig);
	assert_string_equal(now, was);
	CALL(rig, UNDO, IMAGE2, OPSCASE_DONE);
	assert_int_equal(json_integer_value(rig_value(rig, "changed")), 0);
	free(was);
	free(now);
}

static void an_init_container_can_get_an_image(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, WEB("'action':'set_image','container':'init','image':'shop/init:2'"), OPSCASE_DONE);
	image_is(rig, "deployments", "web", "shop/web:1");
	CALL(rig, PROBE, WEB("'action':'set_image','container':'init','image':'shop/init:2'"),
	     OPSCASE_APPLIED);
}

static void a_container_that_is_not_there_is_said_with_those_that_are(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, WEB("'action':'set_image','container':'nope','image':'x'"), OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "it has app, side, init");
	assert_int_equal(peer_effects(rig), 0);
}

static void scale_waits_for_the_pods_and_is_undone(void **state)
{
	struct rig *rig = rig_of(state);

	rig_remember(rig, SCALE6);
	CALL(rig, RUN, SCALE6, OPSCASE_DONE);
	assert_int_equal(replicas_of(rig, "web"), 6);
	assert_int_equal(pods_with_image(rig, "shop/web:1"), 6);
	CALL(rig, UNDO, SCALE6, OPSCASE_DONE);
	assert_int_equal(replicas_of(rig, "web"), 4);
}

static void scale_to_nothing_works(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, WEB("'action':'scale','replicas':0"), OPSCASE_DONE);
	assert_int_equal(pods_with_image(rig, "shop/web:1"), 0);
}

static void undo_goes_back_one_revision_and_can_itself_be_undone(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, IMAGE2, OPSCASE_DONE);
	rig->key = KEY_B;
	rig_remember(rig, UNDO1);
	CALL(rig, RUN, UNDO1, OPSCASE_DONE);
	image_is(rig, "deployments", "web", "shop/web:1");
	CALL(rig, PROBE, UNDO1, OPSCASE_APPLIED);
	CALL(rig, RUN, UNDO1, OPSCASE_DONE);
	assert_true(json_is_true(rig_value(rig, "already")));
	image_is(rig, "deployments", "web", "shop/web:1");
	CALL(rig, UNDO, UNDO1, OPSCASE_DONE);
	image_is(rig, "deployments", "web", "shop/web:2");
}

static void undo_goes_to_a_given_revision(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, IMAGE2, OPSCASE_DONE);
	rig->key = KEY_B;
	CALL(rig, RUN, WEB("'action':'set_image','container':'app','image':'shop/web:3'"), OPSCASE_DONE);
	rig->key = KEY_C;
	CALL(rig, RUN, WEB("'action':'undo','to_revision':1"), OPSCASE_DONE);
	image_is(rig, "deployments", "web", "shop/web:1");
	CALL(rig, RUN, WEB("'action':'undo','to_revision':77"),
	     OPSCASE_DONE); /* the key has had its effect */
	rig->key = KEY_A;
}

static void undo_without_history_says_so(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, UNDO1, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "no rollout history found");
	CALL(rig, RUN, WEB("'action':'undo','to_revision':77"), OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "unable to find specified revision 77");
}

static void statefulsets_and_daemonsets_roll_too(void **state)
{
	struct rig *rig = rig_of(state);
	static const struct {
		const char *kind, *plural, *name;
	} rows[] = {
		{ "statefulset", "statefulsets", "db"    },
                { "daemonset",   "daemonsets",   "agent" }
	};

	for (size_t i = 0; i < 2; i++) {
		char text[256], first[64], second[64];

		peer_settle(rig, rows[i].plural, rows[i].name);
		snprintf(first, sizeof first, "shop/%s:1", rows[i].name);
		snprintf(second, sizeof second, "shop/%s:2", rows[i].name);
		rig->key = KEY_A;
		snprintf(
			text, sizeof text,
			"{'namespace':'shop','kind':'%s','name':'%s','action':'set_image','container':'%s','image':'%s'}",
			rows[i].kind, rows[i].name, rows[i].name, second);
		CALL(rig, RUN, text, OPSCASE_DONE);
		image_is(rig, rows[i].plural, rows[i].name, second);
		rig->key = KEY_B;
		snprintf(text, sizeof text, "{'namespace':'shop','kind':'%s','name':'%s','action':'undo'}",
			 rows[i].kind, rows[i].name);
		rig_remember(rig, text);
		CALL(rig, RUN, text, OPSCASE_DONE);
		image_is(rig, rows[i].plural, rows[i].name, first);
		CALL(rig, UNDO, text, OPSCASE_DONE);
		image_is(rig, rows[i].plural, rows[i].name, second);
		rig->key = KEY_C;
		snprintf(text, sizeof text, "{'namespace':'shop','kind':'%s','name':'%s','action':'restart'}",
			 rows[i].kind, rows[i].name);
		CALL(rig, RUN, text, OPSCASE_DONE);
		CALL(rig, PROBE, text, OPSCASE_APPLIED);
		snprintf(text, sizeof text, "{'namespace':'shop','kind':'%s','name':'%s','action':'status'}",
			 rows[i].kind, rows[i].name);
		CALL(rig, RUN, text, OPSCASE_DONE);
	}
}

static void status_changes_nothing_and_tells_good_from_bad(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, STATUS, OPSCASE_DONE);
	assert_int_equal(peer_effects(rig), 0);
	peer_fault(rig, "{'kind':'never_available','image':'web:broken'}");
	rig->key = KEY_B;
	CALL(rig, RUN, BROKEN, OPSCASE_FAILED);
	CALL(rig, RUN, STATUS, OPSCASE_FAILED);
	ASSERT_HAS(rig_error(rig), "exceeded its progress deadline");
	CALL(rig, PROBE, STATUS, OPSCASE_NOT_APPLIED);
	assert_string_equal(rig_text(rig, "info/health/status"), "Degraded");
}

/* --- canary, weight, promote */

static void a_canary_is_made_weighted_and_promoted(void **state)
{
	struct rig *rig = rig_of(state);
	json_t *canary;

	CALL(rig, PROBE, CANARY, OPSCASE_NOT_APPLIED);
	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	canary = peer_object(rig, "deployments", "web-canary");
	assert_string_equal(json_string_value(json_object_get(
				    json_object_get(json_object_get(canary, "metadata"), "labels"), "track")),
			    "canary");
	json_decref(canary);
	assert_int_equal(pods_with_image(rig, "shop/web:2"), 1);
	assert_int_equal(pods_with_image(rig, "shop/web:1"), 4);
	CALL(rig, PROBE, CANARY, OPSCASE_APPLIED);
	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	assert_true(json_is_true(rig_value(rig, "already")));
	assert_int_equal(peer_effects(rig), 1);

	rig->key = KEY_B;
	CALL(rig, RUN, WEIGHT50, OPSCASE_DONE);
	assert_int_equal(replicas_of(rig, "web"), 2);
	assert_int_equal(replicas_of(rig, "web-canary"), 2);
	CALL(rig, PROBE, WEIGHT50, OPSCASE_APPLIED);

	rig->key = KEY_C;
	CALL(rig, RUN, PROMOTE, OPSCASE_DONE);
	image_is(rig, "deployments", "web", "shop/web:2");
	assert_int_equal(replicas_of(rig, "web"), 4);
	assert_int_equal(replicas_of(rig, "web-canary"), -1);
	CALL(rig, PROBE, PROMOTE, OPSCASE_APPLIED);
	CALL(rig, RUN, PROMOTE, OPSCASE_DONE);
	assert_true(json_is_true(rig_value(rig, "already")));
}

static void canary_weight_and_promote_are_undone_in_reverse(void **state)
{
	struct rig *rig = rig_of(state);
	json_t *canary_before, *weight_before;
	char *was = peer_state(rig), *now;

	rig_remember(rig, CANARY);
	canary_before = json_incref(rig->before);
	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	rig->key = KEY_B;
	rig_remember(rig, WEIGHT50);
	weight_before = json_incref(rig->before);
	CALL(rig, RUN, WEIGHT50, OPSCASE_DONE);
	rig->key = KEY_C;
	rig_remember(rig, PROMOTE);
	CALL(rig, RUN, PROMOTE, OPSCASE_DONE);

	CALL(rig, UNDO, PROMOTE, OPSCASE_DONE);
	image_is(rig, "deployments", "web", "shop/web:1");
	image_is(rig, "deployments", "web-canary", "shop/web:2");
	assert_int_equal(replicas_of(rig, "web"), 2);
	assert_int_equal(replicas_of(rig, "web-canary"), 2);
	json_decref(rig->before);
	rig->before = weight_before;
	CALL(rig, UNDO, WEIGHT50, OPSCASE_DONE);
	assert_int_equal(replicas_of(rig, "web"), 4);
	assert_int_equal(replicas_of(rig, "web-canary"), 1);
	json_decref(rig->before);
	rig->before = canary_before;
	CALL(rig, UNDO, CANARY, OPSCASE_DONE);
	now = peer_state(rig);
	assert_string_equal(now, was);
	free(was);
	free(now);
}

static void a_canary_that_goes_gives_the_pods_back_first(void **state)
{
	struct rig *rig = rig_of(state);

	rig_remember(rig, CANARY);
	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	rig->key = KEY_B;
	CALL(rig, RUN, WEB("'action':'weight','weight':100"), OPSCASE_DONE);
	assert_int_equal(replicas_of(rig, "web"), 0);
	rig->key = KEY_A;
	CALL(rig, UNDO, CANARY, OPSCASE_DONE);
	assert_int_equal(replicas_of(rig, "web"), 4);
	assert_int_equal(replicas_of(rig, "web-canary"), -1);
}

static void a_bad_canary_fails_and_leaves_stable_alone(void **state)
{
	struct rig *rig = rig_of(state);
	char *was = peer_state(rig), *now;
	const char *params =
		WEB("'action':'canary','container':'app','image':'shop/web:broken','replicas':2");

	peer_fault(rig, "{'kind':'never_available','image':'web:broken'}");
	rig_remember(rig, params);
	CALL(rig, RUN, params, OPSCASE_FAILED);
	assert_true(json_is_true(rig_value(rig, "applied")));
	assert_int_equal(pods_with_image(rig, "shop/web:1"), 4);
	CALL(rig, UNDO, params, OPSCASE_DONE);
	now = peer_state(rig);
	assert_string_equal(now, was);
	free(was);
	free(now);
}

static void weight_and_promote_need_a_canary_of_the_right_image(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, WEIGHT50, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "there is no canary");
	CALL(rig, RUN, PROMOTE, OPSCASE_NOT_APPLIED);
	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	rig->key = KEY_B;
	CALL(rig, RUN, WEB("'action':'promote','container':'app','image':'shop/web:3'"),
	     OPSCASE_WORLD_CHANGED);
	ASSERT_HAS(rig_error(rig), "the canary runs shop/web:2");
	image_is(rig, "deployments", "web", "shop/web:1");
}

static void pods_are_taken_away_only_when_the_others_are_there(void **state)
{
	struct rig *rig = rig_of(state);
	const char *canary = WEB("'action':'canary','container':'app','image':'shop/web:broken'");

	/* an earlier try has scaled the canary up, but its pods never came */
	peer_fault(rig, "{'kind':'never_available','image':'web:broken'}");
	CALL(rig, RUN, canary, OPSCASE_FAILED);
	rig->key = KEY_B;
	CALL(rig, RUN, WEIGHT50, OPSCASE_FAILED);
	assert_int_equal(replicas_of(rig, "web-canary"), 2);
	assert_int_equal(replicas_of(rig, "web"), 4);
	CALL(rig, RUN, WEIGHT50, OPSCASE_FAILED); /* only the taking is left to do */
	assert_int_equal(replicas_of(rig, "web"), 4);
	assert_int_equal(pods_with_image(rig, "shop/web:1"), 4);
	rig->key = KEY_C;
	CALL(rig, RUN, WEB("'action':'weight','weight':0"), OPSCASE_DONE);
	assert_int_equal(replicas_of(rig, "web-canary"), 0);
}

static void a_canary_that_never_came_up_is_not_promoted(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'never_available','image':'web:broken'}");
	CALL(rig, RUN, WEB("'action':'canary','container':'app','image':'shop/web:broken'"), OPSCASE_FAILED);
	rig->key = KEY_B;
	CALL(rig, RUN, WEB("'action':'promote','container':'app','image':'shop/web:broken'"), OPSCASE_FAILED);
	assert_true(json_is_false(rig_value(rig, "applied")));
	image_is(rig, "deployments", "web", "shop/web:1");
	assert_int_equal(peer_effects(rig), 1);
}

static void a_deployment_of_that_name_which_is_no_canary_is_left_alone(void **state)
{
	struct rig *rig = rig_of(state);
	int64_t effects;

	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	peer_change(rig, "{'kind':'deployments','namespace':'shop','name':'web-canary',"
			 "'patch':{'metadata':{'annotations':{'opscase.io/canary-of':null}}}}");
	effects = peer_effects(rig);
	rig->key = KEY_B;
	CALL(rig, RUN, CANARY, OPSCASE_NOT_APPLIED);
	CALL(rig, RUN, WEIGHT50, OPSCASE_NOT_APPLIED);
	CALL(rig, RUN, PROMOTE, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "left alone");
	assert_int_equal(peer_effects(rig), effects);
}

/* --- a dry run */

static void a_dry_run_shows_what_would_change_and_changes_nothing(void **state)
{
	struct rig *rig = rig_of(state);
	static const char *const steps[] = { RESTART, IMAGE2, SCALE6, CANARY, STATUS };
	char *was = peer_state(rig), *now;

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		CALL(rig, DRY_RUN, steps[i], OPSCASE_WOULD_DO);
		assert_true(json_is_array(rig_value(rig, "changes")));
	}
	CALL(rig, DRY_RUN, IMAGE2, OPSCASE_WOULD_DO);
	assert_string_equal(rig_text(rig, "changes/0/what"), "deployment shop/web image of app");
	assert_string_equal(rig_text(rig, "changes/0/from"), "shop/web:1");
	assert_string_equal(rig_text(rig, "changes/0/to"), "shop/web:2");
	assert_string_equal(rig_text(rig, "diff"),
			    "deployment shop/web\n- image of app: shop/web:1\n+ image of app: shop/web:2\n");
	CALL(rig, DRY_RUN, SCALE6, OPSCASE_WOULD_DO);
	assert_string_equal(rig_text(rig, "diff"), "deployment shop/web\n- replicas: 4\n+ replicas: 6\n");
	CALL(rig, DRY_RUN, RESTART, OPSCASE_WOULD_DO);
	ASSERT_HAS(rig_text(rig, "diff"), "+ pods restarted at: 2");
	CALL(rig, DRY_RUN, CANARY, OPSCASE_WOULD_DO);
	ASSERT_HAS(rig_text(rig, "diff"), "deployment shop/web-canary (new)\n+ image of app: shop/web:2\n");
	now = peer_state(rig);
	assert_string_equal(now, was);
	assert_int_equal(peer_effects(rig), 0);
	free(was);
	free(now);
}

static void a_dry_run_of_weight_and_promote_changes_nothing_either(void **state)
{
	struct rig *rig = rig_of(state);
	char *was, *now;

	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	was = peer_state(rig);
	rig->key = KEY_B;
	CALL(rig, DRY_RUN, WEIGHT50, OPSCASE_WOULD_DO);
	ASSERT_HAS(rig_text(rig, "diff"), "deployment shop/web-canary\n- replicas: 1\n+ replicas: 2\n");
	CALL(rig, DRY_RUN, PROMOTE, OPSCASE_WOULD_DO);
	ASSERT_HAS(rig_text(rig, "diff"), "deployment shop/web-canary (deleted)");
	now = peer_state(rig);
	assert_string_equal(now, was);
	free(was);
	free(now);
}

static void a_dry_run_hears_the_servers_refusal(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'refuse','verbs':['PATCH'],'dry':true}");
	CALL(rig, DRY_RUN, IMAGE2, OPSCASE_REFUSED);
	ASSERT_HAS(rig_error(rig), "is forbidden");
}

/* --- the world changes */

static void a_changed_world_stops_the_step(void **state)
{
	struct rig *rig = rig_of(state);

	rig_remember(rig, IMAGE2);
	rig->expected = json_deep_copy(rig_value(rig, "binding"));
	peer_change(
		rig,
		"{'kind':'deployments','namespace':'shop','name':'web','patch':{'spec':{'template':{'metadata':{'annotations':{'x':'y'}}}}}}");
	CALL(rig, RUN, IMAGE2, OPSCASE_WORLD_CHANGED);
	assert_string_equal(rig_text(rig, "differs/0"), "template_hash");
	assert_non_null(rig_value(rig, "expected/uid"));
	assert_non_null(rig_value(rig, "found/uid"));
	assert_int_equal(peer_effects(rig), 0);
	image_is(rig, "deployments", "web", "shop/web:1");
}

static void an_autoscaler_does_not_void_a_restart_but_does_void_a_scale(void **state)
{
	struct rig *rig = rig_of(state);
	json_t *for_restart;

	rig_remember(rig, RESTART);
	for_restart = json_deep_copy(rig_value(rig, "binding"));
	rig_remember(rig, SCALE6);
	rig->expected = json_deep_copy(rig_value(rig, "binding"));
	peer_change(rig,
		    "{'kind':'deployments','namespace':'shop','name':'web','patch':{'spec':{'replicas':5}}}");
	CALL(rig, RUN, SCALE6, OPSCASE_WORLD_CHANGED);
	assert_string_equal(rig_text(rig, "differs/0"), "replicas");
	json_decref(rig->expected);
	rig->expected = for_restart;
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
}

static void a_conflict_over_something_else_is_tried_again(void **state)
{
	struct rig *rig = rig_of(state);

	rig_remember(rig, IMAGE2);
	rig->expected = json_deep_copy(rig_value(rig, "binding"));
	peer_fault(rig, "{'kind':'conflict','verbs':['PATCH'],'times':3,'touch':true}");
	CALL(rig, RUN, IMAGE2, OPSCASE_DONE);
	assert_int_equal(peer_effects(rig), 1);
}

static void somebody_quicker_in_something_else_is_no_hindrance(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(
		rig,
		"{'kind':'interfere','verbs':['PATCH'],'times':2,'patch':{'metadata':{'labels':{'a':'b'}},'spec':{'minReadySeconds':0}}}");
	CALL(rig, RUN, IMAGE2, OPSCASE_DONE);
	assert_int_equal(peer_effects(rig), 1);
}

static void somebody_quicker_in_the_same_thing_wins(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(
		rig,
		"{'kind':'interfere','verbs':['PATCH'],'times':1,'patch':{'spec':{'template':{'metadata':{'annotations':{'x':'y'}}}}}}");
	CALL(rig, RUN, IMAGE2, OPSCASE_WORLD_CHANGED);
	ASSERT_HAS(rig_error(rig), "was changed by somebody else");
	image_is(rig, "deployments", "web", "shop/web:1");
	assert_int_equal(peer_effects(rig), 0);
	peer_fault(rig, "{'kind':'interfere','verbs':['PATCH'],'times':1,'patch':{'spec':{'replicas':2}}}");
	CALL(rig, RUN, SCALE6, OPSCASE_WORLD_CHANGED);
	assert_int_equal(replicas_of(rig, "web"), 2);
}

static void a_canary_of_ours_is_set_again(void **state)
{
	struct rig *rig = rig_of(state);
	int64_t effects;

	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	effects = peer_effects(rig);
	peer_fault(rig, "{'kind':'conflict','verbs':['PATCH'],'times':1}");
	peer_change(
		rig,
		"{'kind':'deployments','namespace':'shop','name':'web-canary','patch':{'spec':{'replicas':3}}}");
	rig->key = KEY_B;
	CALL(rig, RUN, CANARY, OPSCASE_DONE); /* ours, and nobody bound the step to what it was: set again */
	assert_int_equal(replicas_of(rig, "web-canary"), 1);
	assert_int_equal(peer_effects(rig), effects + 1);
}

static void a_conflict_that_never_ends_is_not_applied_at_the_deadline(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'conflict','verbs':['PATCH']}");
	rig->deadline_ms = 2000;
	CALL(rig, RUN, IMAGE2, OPSCASE_NOT_APPLIED);
	assert_true(rig->said.took_ms < 2000 + BUSY_MS);
	assert_int_equal(peer_effects(rig), 0);
}

static void what_a_later_hand_changed_is_not_changed_back_by_a_retry(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, IMAGE2, OPSCASE_DONE);
	peer_change(
		rig,
		"{'kind':'deployments','namespace':'shop','name':'web','patch':{'spec':{'template':{'spec':{'containers':["
		"{'name':'app','image':'shop/web:9'},{'name':'side','image':'shop/side:1'}]}}}}}");
	CALL(rig, RUN, IMAGE2, OPSCASE_WORLD_CHANGED);
	image_is(rig, "deployments", "web", "shop/web:9");
}

static void an_undo_of_an_object_made_anew_is_refused(void **state)
{
	struct rig *rig = rig_of(state);

	rig_remember(rig, IMAGE2);
	json_object_set_new(rig->before, "uid", json_string("another"));
	CALL(rig, UNDO, IMAGE2, OPSCASE_WORLD_CHANGED);
	json_decref(rig->before);
	rig->before = NULL;
	CALL(rig, UNDO, IMAGE2, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "nothing was recorded");
}

/* --- things go wrong */

static void a_refusal_is_not_applied_with_the_servers_words(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'refuse','verbs':['PATCH']}");
	CALL(rig, RUN, IMAGE2, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "403");
	ASSERT_HAS(rig_error(rig), "is forbidden: User");
	assert_string_equal(rig_text(rig, "detail/reason"), "Forbidden");
}

static void a_hanging_server_is_unclear_at_the_deadline(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'hang','verbs':['PATCH']}");
	rig->deadline_ms = 800;
	CALL(rig, RUN, RESTART, OPSCASE_UNCLEAR);
	assert_in_range(rig->said.took_ms, 600, 800 + BUSY_MS);
	peer_fault(rig, "{'kind':'clear'}");
	CALL(rig, PROBE, RESTART, OPSCASE_NOT_APPLIED);
}

static void a_server_that_hangs_before_the_write_leaves_all_as_it_was(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'hang','verbs':['GET']}");
	rig->deadline_ms = 500;
	CALL(rig, RUN, RESTART, OPSCASE_NOT_APPLIED);
	assert_in_range(rig->said.took_ms, 400, 500 + BUSY_MS);
	CALL(rig, PROBE, RESTART, OPSCASE_UNCLEAR);
	CALL(rig, RUN, STATUS, OPSCASE_NOT_APPLIED);
}

static void a_connection_closed_after_applying_is_unclear_then_applied(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'close_after_apply','verbs':['PATCH'],'times':1}");
	CALL(rig, RUN, RESTART, OPSCASE_UNCLEAR);
	CALL(rig, PROBE, RESTART, OPSCASE_APPLIED);
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	assert_true(json_is_true(rig_value(rig, "already")));
	assert_int_equal(peer_effects(rig), 1);
}

static void an_answer_that_never_comes_is_unclear_then_applied(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'hang_after_apply','verbs':['POST'],'times':1}");
	rig->deadline_ms = 600;
	CALL(rig, RUN, CANARY, OPSCASE_UNCLEAR);
	CALL(rig, PROBE, CANARY, OPSCASE_APPLIED);
	rig->deadline_ms = 10000;
	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	assert_int_equal(peer_effects(rig), 1);
}

static void a_promotion_cut_in_half_goes_on_with_the_same_key(void **state)
{
	struct rig *rig = rig_of(state);

	CALL(rig, RUN, CANARY, OPSCASE_DONE);
	rig->key = KEY_B;
	rig_remember(rig, PROMOTE);
	rig->expected = json_deep_copy(rig_value(rig, "binding"));
	peer_fault(rig, "{'kind':'refuse','verbs':['DELETE'],'times':1}");
	CALL(rig, RUN, PROMOTE, OPSCASE_FAILED);
	assert_true(json_is_true(rig_value(rig, "applied")));
	CALL(rig, PROBE, PROMOTE, OPSCASE_NOT_APPLIED);
	CALL(rig, RUN, PROMOTE, OPSCASE_DONE);
	CALL(rig, PROBE, PROMOTE, OPSCASE_APPLIED);
	assert_int_equal(peer_effects(rig), 3);
}

static void errors_of_the_server_after_a_write_are_unclear(void **state)
{
	struct rig *rig = rig_of(state);
	static const char *const faults[] = { "{'kind':'error','verbs':['PATCH'],'times':1}",
					      "{'kind':'unavailable','verbs':['PATCH'],'times':1}",
					      "{'kind':'garbage','verbs':['PATCH'],'times':1}",
					      "{'kind':'close_before','verbs':['PATCH'],'times':1}" };

	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		peer_fault(rig, faults[i]);
		CALL(rig, RUN, RESTART, OPSCASE_UNCLEAR);
		CALL(rig, PROBE, RESTART, OPSCASE_NOT_APPLIED);
	}
	assert_int_equal(peer_effects(rig), 0);
}

static void a_busy_server_is_asked_again(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'throttle','verbs':['PATCH'],'times':2,'retry_after':0}");
	peer_fault(rig, "{'kind':'unavailable','verbs':['GET'],'times':1}");
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	assert_int_equal(peer_effects(rig), 1);
}

static void a_rollout_past_its_progress_deadline_fails_with_the_reason(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'never_available','image':'web:broken'}");
	rig_remember(rig, BROKEN);
	CALL(rig, RUN, BROKEN, OPSCASE_FAILED);
	ASSERT_HAS(rig_error(rig), "deployment \"web\" exceeded its progress deadline");
	ASSERT_HAS(rig_error(rig), "has timed out progressing.");
	assert_string_equal(rig_text(rig, "rollout/state"), "failed");
	assert_true(json_is_true(rig_value(rig, "applied")));
	CALL(rig, PROBE, BROKEN, OPSCASE_APPLIED);
	assert_string_equal(rig_text(rig, "info/rollout/state"), "failed");
	CALL(rig, UNDO, BROKEN, OPSCASE_DONE);
	assert_int_equal(pods_with_image(rig, "shop/web:1"), 4);
}

static void a_rollout_not_through_in_time_is_unclear(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'freeze'}");
	rig->deadline_ms = 500;
	CALL(rig, RUN, RESTART, OPSCASE_UNCLEAR);
	assert_true(rig->said.took_ms < 500 + BUSY_MS);
	ASSERT_HAS(rig_error(rig), "Waiting for deployment spec update to be observed");
	assert_true(json_is_true(rig_value(rig, "applied")));
	CALL(rig, PROBE, RESTART, OPSCASE_APPLIED);
	assert_string_equal(rig_text(rig, "info/rollout/state"), "waiting");
	CALL(rig, RUN, STATUS, OPSCASE_FAILED); /* nothing to be unclear about: it only looked */
}

static void a_workload_that_is_not_there_is_said(void **state)
{
	struct rig *rig = rig_of(state);
	const char *params = "{'namespace':'shop','name':'nope','action':'restart'}";

	CALL(rig, PROBE, params, OPSCASE_NOT_APPLIED);
	assert_true(json_is_null(rig_value(rig, "binding/uid")));
	CALL(rig, RUN, params, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "there is no deployment nope in namespace shop");
	CALL(rig, DRY_RUN, params, OPSCASE_REFUSED);
}

static void a_paused_deployment_is_not_touched(void **state)
{
	struct rig *rig = rig_of(state);

	peer_change(rig,
		    "{'kind':'deployments','namespace':'shop','name':'web','patch':{'spec':{'paused':true}}}");
	CALL(rig, RUN, RESTART, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "paused");
	assert_int_equal(peer_effects(rig), 0);
}

static void a_wrong_token_a_wrong_ca_and_no_server_are_not_applied(void **state)
{
	struct rig *rig = rig_of(state);
	char config[256];

	rig->token = "not-the-token";
	CALL(rig, RUN, RESTART, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "401");
	CALL(rig, PROBE, RESTART, OPSCASE_UNCLEAR);
	rig->token = "";
	CALL(rig, RUN, RESTART, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "secret 'token'");
	rig->token = rig->peer.token;
	snprintf(config, sizeof config, "{\"server\":\"%s\",\"poll_ms\":20}",
		 rig->peer.server); /* the system's CAs */
	assert_int_equal(rig_open(rig, config), OPSCASE_VALID);
	CALL(rig, RUN, RESTART, OPSCASE_NOT_APPLIED);
	ASSERT_HAS(rig_error(rig), "certificate");
	assert_int_equal(rig_open(rig, "{\"server\":\"https://127.0.0.1:1\",\"poll_ms\":20}"), OPSCASE_VALID);
	CALL(rig, RUN, RESTART, OPSCASE_NOT_APPLIED);
	assert_int_equal(peer_effects(rig), 0);
}

static void the_ca_may_be_given_as_text(void **state)
{
	struct rig *rig = rig_of(state);
	json_t *config = json_pack("{s:s, s:O, s:i}", "server", rig->peer.server, "ca",
				   json_object_get(rig->peer.started, "ca"), "poll_ms", 20);
	char *text = json_dumps(config, 0);

	assert_int_equal(rig_open(rig, text), OPSCASE_VALID);
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	free(text);
	json_decref(config);
}

static void settings_without_https_are_refused(void **state)
{
	struct rig *rig = rig_of(state);
	static const char *const bad[] = { "{}",
					   "[]",
					   "no",
					   "{\"server\":\"http://127.0.0.1:1\"}",
					   "{\"server\":7}",
					   "{\"server\":\"https://user@host\"}" };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(rig_open(rig, bad[i]), OPSCASE_REFUSED);
}

static void the_token_is_in_no_answer(void **state)
{
	struct rig *rig = rig_of(state);
	static const enum entry entries[] = { DRY_RUN, RUN, PROBE, UNDO };

	rig_remember(rig, RESTART);
	for (size_t i = 0; i < 4; i++) {
		char *text;

		rig_call(rig, entries[i], RESTART);
		text = json_dumps(rig->said.body, 0);
		assert_null(strstr(text, rig->peer.token));
		free(text);
	}
	rig->token = "evil\r\nX-Other: header";
	CALL(rig, RUN, RESTART, OPSCASE_NOT_APPLIED);
}

/* --- cancel */

static void a_cancel_while_waiting_returns_soon_and_says_that_it_was_applied(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'freeze'}");
	assert_int_equal(rig_call_and_cancel(rig, RUN, RESTART, 300), OPSCASE_UNCLEAR);
	assert_in_range(rig->said.took_ms, 250, 300 + BUSY_MS);
	assert_true(json_is_true(rig_value(rig, "applied")));
	CALL(rig, PROBE, RESTART, OPSCASE_APPLIED);
}

static void a_cancel_before_the_write_changes_nothing(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'hang','verbs':['GET']}");
	assert_int_equal(rig_call_and_cancel(rig, RUN, RESTART, 200), OPSCASE_CANCELLED);
	assert_in_range(rig->said.took_ms, 150, 200 + BUSY_MS);
	peer_fault(rig, "{'kind':'clear'}");
	assert_int_equal(peer_effects(rig), 0);
	CALL(rig, RUN, RESTART, OPSCASE_DONE); /* the cancel was for that call only */
}

static void a_cancel_during_a_write_waits_a_moment_for_its_answer(void **state)
{
	struct rig *rig = rig_of(state);

	peer_fault(rig, "{'kind':'hang','verbs':['PATCH']}");
	assert_int_equal(rig_call_and_cancel(rig, RUN, RESTART, 200), OPSCASE_UNCLEAR);
	assert_in_range(rig->said.took_ms, 1500, 2200 + BUSY_MS);
}

static void a_cancel_of_an_undo_is_honoured(void **state)
{
	struct rig *rig = rig_of(state);

	rig_remember(rig, RESTART);
	CALL(rig, RUN, RESTART, OPSCASE_DONE);
	peer_fault(rig, "{'kind':'freeze'}");
	assert_int_equal(rig_call_and_cancel(rig, UNDO, RESTART, 200), OPSCASE_UNCLEAR);
	assert_true(rig->said.took_ms < 200 + BUSY_MS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_restart_makes_new_pods_and_leaves_its_key),
		T(the_same_key_twice_is_one_rollout),
		T(an_older_key_is_still_known_after_other_steps),
		T(a_restart_is_undone_by_the_old_template),
		T(an_image_is_set_and_waited_for_and_brought_back),
		T(an_init_container_can_get_an_image),
		T(a_container_that_is_not_there_is_said_with_those_that_are),
		T(scale_waits_for_the_pods_and_is_undone),
		T(scale_to_nothing_works),
		T(undo_goes_back_one_revision_and_can_itself_be_undone),
		T(undo_goes_to_a_given_revision),
		T(undo_without_history_says_so),
		T(statefulsets_and_daemonsets_roll_too),
		T(status_changes_nothing_and_tells_good_from_bad),
		T(a_canary_is_made_weighted_and_promoted),
		T(canary_weight_and_promote_are_undone_in_reverse),
		T(a_canary_that_goes_gives_the_pods_back_first),
		T(a_bad_canary_fails_and_leaves_stable_alone),
		T(weight_and_promote_need_a_canary_of_the_right_image),
		T(pods_are_taken_away_only_when_the_others_are_there),
		T(a_canary_that_never_came_up_is_not_promoted),
		T(a_deployment_of_that_name_which_is_no_canary_is_left_alone),
		T(a_dry_run_shows_what_would_change_and_changes_nothing),
		T(a_dry_run_of_weight_and_promote_changes_nothing_either),
		T(a_dry_run_hears_the_servers_refusal),
		T(a_changed_world_stops_the_step),
		T(an_autoscaler_does_not_void_a_restart_but_does_void_a_scale),
		T(a_conflict_over_something_else_is_tried_again),
		T(somebody_quicker_in_something_else_is_no_hindrance),
		T(somebody_quicker_in_the_same_thing_wins),
		T(a_canary_of_ours_is_set_again),
		T(a_conflict_that_never_ends_is_not_applied_at_the_deadline),
		T(what_a_later_hand_changed_is_not_changed_back_by_a_retry),
		T(an_undo_of_an_object_made_anew_is_refused),
		T(a_refusal_is_not_applied_with_the_servers_words),
		T(a_hanging_server_is_unclear_at_the_deadline),
		T(a_server_that_hangs_before_the_write_leaves_all_as_it_was),
		T(a_connection_closed_after_applying_is_unclear_then_applied),
		T(an_answer_that_never_comes_is_unclear_then_applied),
		T(a_promotion_cut_in_half_goes_on_with_the_same_key),
		T(errors_of_the_server_after_a_write_are_unclear),
		T(a_busy_server_is_asked_again),
		T(a_rollout_past_its_progress_deadline_fails_with_the_reason),
		T(a_rollout_not_through_in_time_is_unclear),
		T(a_workload_that_is_not_there_is_said),
		T(a_paused_deployment_is_not_touched),
		T(a_wrong_token_a_wrong_ca_and_no_server_are_not_applied),
		T(the_ca_may_be_given_as_text),
		T(settings_without_https_are_refused),
		T(the_token_is_in_no_answer),
		T(a_cancel_while_waiting_returns_soon_and_says_that_it_was_applied),
		T(a_cancel_before_the_write_changes_nothing),
		T(a_cancel_during_a_write_waits_a_moment_for_its_answer),
		T(a_cancel_of_an_undo_is_honoured),
	};

	return cmocka_run_group_tests_name("the k8s adapter", tests, NULL, NULL);
}
