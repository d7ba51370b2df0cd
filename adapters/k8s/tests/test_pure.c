/* What needs no server: judging rollouts (health has tests/adapters/k8s_health.c), params, marks, hashes, shares and patches. */
#include "digest.h"
#include "object.h"
#include "params.h"
#include "plan.h"
#include "rollout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *quoted(const char *text)
{
	char *copy = strdup(text);
	json_error_t error;
	json_t *value;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	value = json_loads(copy, 0, &error);
	if (!value)
		fail_msg("%s in %s", error.text, copy);
	free(copy);
	return value;
}

#define DEPLOY(spec, status)                                                                                \
	"{'kind':'Deployment','metadata':{'name':'web','generation':3},'spec':{" spec "},'status':{" status \
	"}}"
#define STATEFUL(spec, status)                                                                              \
	"{'kind':'StatefulSet','metadata':{'name':'db','generation':3},'spec':{" spec "},'status':{" status \
	"}}"
#define DAEMON(spec, status)                                                                                 \
	"{'kind':'DaemonSet','metadata':{'name':'agent','generation':3},'spec':{" spec "},'status':{" status \
	"}}"

static void a_rollout_is_judged_in_kubectls_words(void **state)
{
	static const struct {
		const char *object;
		enum rollout_state wanted;
		const char *sentence;
	} rows[] = {
		{ DEPLOY("'replicas':3",
                 "'observedGeneration':2,'updatedReplicas':3,'replicas':3,'availableReplicas':3"),
                 ROLLOUT_WAITING, "Waiting for deployment spec update to be observed..." },
		{ DEPLOY("'replicas':3",
                 "'observedGeneration':3,'updatedReplicas':1,'replicas':4,'availableReplicas':3"),
                 ROLLOUT_WAITING, "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated..." },
		{ DEPLOY("'replicas':3",
                 "'observedGeneration':3,'updatedReplicas':3,'replicas':4,'availableReplicas':3"),
                 ROLLOUT_WAITING, "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination..." },
		{ DEPLOY("'replicas':3",
                 "'observedGeneration':3,'updatedReplicas':3,'replicas':3,'availableReplicas':2"),
                 ROLLOUT_WAITING, "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available..." },
		{ DEPLOY("'replicas':3",
                 "'observedGeneration':3,'updatedReplicas':3,'replicas':3,'availableReplicas':3"),
                 ROLLOUT_COMPLETE, "deployment \"web\" successfully rolled out" },
		{ DEPLOY("'replicas':0", "'observedGeneration':3"), ROLLOUT_COMPLETE,
                 "deployment \"web\" successfully rolled out" },
		{ DEPLOY("'replicas':3",
                 "'observedGeneration':3,'conditions':[{'type':'Progressing','status':'False',"
			 "'reason':'ProgressDeadlineExceeded','message':'ReplicaSet \\\"web-1\\\" has timed out progressing.'}]"),
                 ROLLOUT_FAILED, "deployment \"web\" exceeded its progress deadline: ReplicaSet \"web-1\" has timed out progressing." },
		{ DEPLOY("'replicas':3",
                 "'observedGeneration':2,'conditions':[{'type':'Progressing','reason':'ProgressDeadlineExceeded'}]"),
                 ROLLOUT_WAITING, "Waiting for deployment spec update to be observed..." },
		{ DAEMON("'updateStrategy':{'type':'OnDelete'}", "'observedGeneration':3"), ROLLOUT_UNWATCHED,
                 "rollout status is only available for RollingUpdate strategy type" },
		{ DAEMON("'updateStrategy':{'type':'RollingUpdate'}",
                 "'observedGeneration':3,'desiredNumberScheduled':2,'updatedNumberScheduled':1,'numberAvailable':2"),
                 ROLLOUT_WAITING, "Waiting for daemon set \"agent\" rollout to finish: 1 out of 2 new pods have been updated..." },
		{ DAEMON("",
                 "'observedGeneration':3,'desiredNumberScheduled':2,'updatedNumberScheduled':2,'numberAvailable':1"),
                 ROLLOUT_WAITING, "Waiting for daemon set \"agent\" rollout to finish: 1 of 2 updated pods are available..." },
		{ DAEMON("",
                 "'observedGeneration':3,'desiredNumberScheduled':2,'updatedNumberScheduled':2,'numberAvailable':2"),
                 ROLLOUT_COMPLETE, "daemon set \"agent\" successfully rolled out" },
		{ STATEFUL("'replicas':2", ""), ROLLOUT_WAITING,
                 "Waiting for statefulset spec update to be observed..." },
		{ STATEFUL("'replicas':2", "'observedGeneration':3,'readyReplicas':1"), ROLLOUT_WAITING,
                 "Waiting for 1 pods to be ready..." },
		{ STATEFUL(
			  "'replicas':3,'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'partition':1}}",
                 "'observedGeneration':3,'readyReplicas':3,'updatedReplicas':1"),
                 ROLLOUT_WAITING, "Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated..." },
		{ STATEFUL(
			  "'replicas':3,'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'partition':1}}",
                 "'observedGeneration':3,'readyReplicas':3,'updatedReplicas':2"),
                 ROLLOUT_COMPLETE, "partitioned roll out complete: 2 new pods have been updated..." },
		{ STATEFUL(
			  "'replicas':2", "'observedGeneration':3,'readyReplicas':2,'updatedReplicas':1,'updateRevision':'b','currentRevision':'a'"),
                 ROLLOUT_WAITING, "waiting for statefulset rolling update to complete 1 pods at revision b..." },
		{ STATEFUL(
			  "'replicas':2", "'observedGeneration':3,'readyReplicas':2,'currentReplicas':2,'updateRevision':'b','currentRevision':'b'"),
                 ROLLOUT_COMPLETE, "statefulset rolling update complete 2 pods at revision b..." },
		{ "{'kind':'ConfigMap'}", ROLLOUT_UNWATCHED, "a ConfigMap has no rollout" },
		{ "{}", ROLLOUT_UNWATCHED, "a  has no rollout" },
		{ "{'kind':'Deployment','metadata':7,'spec':[],'status':'x'}", ROLLOUT_WAITING,
                 "Waiting for deployment \"\" rollout to finish: 0 out of 1 new replicas have been updated..." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		json_t *object = quoted(rows[i].object);
		struct rollout_view view;

		rollout_judge(object, &view);
		assert_string_equal(view.sentence, rows[i].sentence);
		assert_int_equal(view.state, rows[i].wanted);
		json_decref(object);
	}
}

static void params_that_make_no_sense_are_refused_with_a_sentence(void **state)
{
#define P(rest) "{'namespace':'shop','name':'web'," rest "}"
	static const struct {
		const char *params, *says; /* NULL: fine */
	} rows[] = {
		{ P("'action':'restart'"),							    NULL                              },
		{ P("'action':'restart','kind':'statefulset'"),                                       NULL                              },
		{ P("'action':'set_image','container':'app','image':'r.example:5000/a/b@sha256:00'"), NULL                              },
		{ P("'action':'scale','replicas':0"),                                                 NULL                              },
		{ P("'action':'undo','to_revision':3"),                                               NULL                              },
		{ P("'action':'weight','weight':0"),                                                  NULL                              },
		{ P("'action':'weight','weight':30,'replicas':10"),                                   NULL                              },
		{ P("'action':'canary','container':'app','image':'a:1','replicas':2"),                NULL                              },
		{ "[]",									       "no JSON object"                  },
		{ "{}",									       "'namespace'"                     },
		{ "{'namespace':'shop','action':'restart'}",                                          "'name'"                          },
		{ "{'namespace':'Shop','name':'web','action':'restart'}",                             "'namespace'"                     },
		{ "{'namespace':'shop/../x','name':'web','action':'restart'}",                        "'namespace'"                     },
		{ "{'namespace':'shop','name':'web?dryRun=All','action':'restart'}",                  "'name'"                          },
		{ "{'namespace':'shop','name':'..','action':'restart'}",                              "'name'"                          },
		{ "{'namespace':'shop','name':'','action':'restart'}",                                "'name'"                          },
		{ "{'namespace':'shop','name':'we\\u0000b','action':'restart'}",                      "no JSON object"                  },
		{ "{'namespace':'shop','name':7,'action':'restart'}",                                 "no text"                         },
		{ P("'kind':'pod','action':'restart'"),                                               "'kind'"                          },
		{ P("'kind':'deployment'"),							   "'action'"                        },
		{ P("'action':'delete'"),							     "'action'"                        },
		{ P("'action':'restart','force':true"),                                               "no parameter 'force'"            },
		{ P("'action':'restart','image':'x'"),                                                "takes no 'container' or 'image'" },
		{ P("'action':'set_image','image':'x'"),                                              "needs 'container' and 'image'"   },
		{ P("'action':'set_image','container':'app','image':'a b'"),                          "'image'"                         },
		{ P("'action':'set_image','container':'app','image':''"),                             "'image'"                         },
		{ P("'action':'set_image','container':'App','image':'a'"),                            "'container'"                     },
		{ P("'action':'set_image','container':'app','image':'a','replicas':2"),
                 "takes no 'replicas'"												  },
		{ P("'action':'scale'"),							      "needs 'replicas'"                },
		{ P("'action':'scale','replicas':-1"),                                                "no whole number"                 },
		{ P("'action':'scale','replicas':1.5"),                                               "no whole number"                 },
		{ P("'action':'scale','replicas':10001"),                                             "to 10000"                        },
		{ P("'action':'scale','kind':'daemonset','replicas':2"),                              "not scaled"                      },
		{ P("'action':'scale','replicas':1,'to_revision':1"),                                 "takes no 'to_revision'"          },
		{ P("'action':'canary','kind':'daemonset','container':'a','image':'b'"),              "for a deployment"                },
		{ P("'action':'canary','container':'a','image':'b','replicas':0"),                    "from 1"                          },
		{ P("'action':'weight'"),							     "needs 'weight'"                  },
		{ P("'action':'weight','weight':101"),                                                "needs 'weight' from 0 to 100"    },
		{ P("'action':'weight','weight':50,'replicas':1"),                                    "cannot be shared"                },
		{ P("'action':'restart','weight':5"),                                                 "takes no 'weight'"               },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *text = strdup(rows[i].params), why[256] = "";
		struct params p;
		bool ok;

		for (char *c = text; *c; c++)
			if (*c == '\'')
				*c = '"';
		ok = params_parse(text, &p, why, sizeof why);
		if (ok != (rows[i].says == NULL) || (rows[i].says && !strstr(why, rows[i].says)))
			fail_msg("%s: %s '%s'", text, ok ? "taken" : "refused", why);
		params_done(&p);
		free(text);
	}
}

static void a_weight_is_a_share_of_the_pods(void **state)
{
	static const struct {
		int64_t total, weight, canary; /* -1: cannot be */
	} rows[] = {
		{ 10, 0,   0  },
                { 10, 1,   1  },
                { 10, 10,  1  },
                { 10, 14,  1  },
                { 10, 15,  2  },
                { 10, 50,  5  },
		{ 10, 99,  9  },
                { 10, 100, 10 },
                { 2,  1,   1  },
                { 2,  99,  1  },
                { 3,  50,  2  },
                { 1,  0,   0  },
		{ 1,  100, 1  },
                { 1,  50,  -1 },
                { 0,  0,   -1 },
                { 4,  25,  1  },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t canary = -1, stable = -1;
		bool ok = weight_share(rows[i].total, rows[i].weight, &canary, &stable);

		assert_int_equal(ok, rows[i].canary >= 0);
		if (ok) {
			assert_int_equal(canary, rows[i].canary);
			assert_int_equal(canary + stable, rows[i].total);
		}
	}
}

static void the_digest_is_sha256(void **state)
{
	char hex[65], text[200];

	(void)state;
	digest_hex("", 0, hex);
	assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_hex("abc", 3, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
	assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(text, 'a', sizeof text);
	digest_hex(text, 119, hex);
	assert_string_equal(hex, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
	digest_hex(text, 128, hex);
	assert_string_equal(hex, "6836cf13bac400e9105071cd6af47084dfacad4e5e302c94bfed24e013afb73e");
}

static void a_template_has_the_same_hash_in_a_deployment_and_its_replicaset(void **state)
{
	json_t *a = quoted("{'metadata':{'labels':{'app':'web'}},'spec':{'x':1,'y':2}}");
	json_t *b =
		quoted("{'spec':{'y':2,'x':1},'metadata':{'labels':{'pod-template-hash':'7','app':'web'}}}");
	json_t *c = quoted("{'metadata':{'labels':{'app':'web'}},'spec':{'x':1,'y':3}}");
	char ha[65], hb[65], hc[65];

	(void)state;
	template_hash(a, ha);
	template_hash(b, hb);
	template_hash(c, hc);
	assert_string_equal(ha, hb);
	assert_string_not_equal(ha, hc);
	json_decref(a);
	json_decref(b);
	json_decref(c);
}

static void a_mark_keeps_the_last_keys(void **state)
{
	json_t *object = quoted("{'metadata':{'annotations':{}}}");
	char key[16];

	(void)state;
	assert_false(mark_has(object, "k0"));
	assert_false(mark_has(object, ""));
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof key, "k%d", i);
		json_object_set_new(json_object_get(json_object_get(object, "metadata"), "annotations"),
				    OBJECT_MARK, mark_add(object, key));
	}
	assert_string_equal(object_annotation(object, OBJECT_MARK), "k9,k8,k7,k6,k5,k4,k3,k2");
	assert_true(mark_has(object, "k9"));
	assert_true(mark_has(object, "k2"));
	assert_false(mark_has(object, "k1"));
	assert_false(mark_has(object, "k"));
	json_decref(object);
}

static void a_patch_carries_what_it_was_read_with(void **state)
{
	json_t *object = quoted(
		"{'metadata':{'name':'web','uid':'u1','resourceVersion':'7','annotations':{'opscase.io/key':'old'}},"
		"'spec':{'replicas':2,'template':{'spec':{'containers':[{'name':'app','image':'a:1'}],"
		"'initContainers':[{'name':'init','image':'i:1'}]}}}}");
	struct work work = { .how = WORK_PATCH, .mark = true, .replicas = 5 };
	json_t *patch, *wanted;

	(void)state;
	work.images = quoted("{'app':'a:2','init':'i:2'}");
	work.restarted = json_string("now");
	patch = work_patch(&work, object, "new");
	wanted = quoted(
		"{'metadata':{'uid':'u1','resourceVersion':'7','annotations':{'opscase.io/key':'new,old'}},"
		"'spec':{'replicas':5,'template':{'metadata':{'annotations':{'kubectl.kubernetes.io/restartedAt':'now'}},"
		"'spec':{'containers':[{'name':'app','image':'a:2'}],'initContainers':[{'name':'init','image':'i:2'}]}}}}");
	assert_true(json_equal(patch, wanted));
	json_decref(patch);
	json_decref(wanted);
	json_decref(work.images);
	json_decref(work.restarted);
	json_decref(object);
}

static void no_world_makes_the_planner_fall_over(void **state)
{
	static const char *const objects[] = {
		"{}",
		"{'metadata':[],'spec':'x','status':7}",
		"{'metadata':{'uid':7,'annotations':{'opscase.io/key':[]}},'spec':{'replicas':'many','template':{'spec':{'containers':{'a':1}}}}}",
		"{'metadata':{'uid':'u','name':'web','annotations':[]},'spec':{'selector':7,'template':{'metadata':{'labels':7},'spec':{'containers':[7,{},{'name':7}]}}}}",
		"{'metadata':{'uid':'u','ownerReferences':[7,{'uid':'u','controller':true}]},'data':{'spec':{'template':7}},'revision':'x'}",
	};
	static const char *const steps[] = {
		"'action':'restart'",
		"'action':'set_image','container':'a','image':'b'",
		"'action':'scale','replicas':1",
		"'action':'undo'",
		"'action':'status'",
		"'action':'canary','container':'a','image':'b'",
		"'action':'weight','weight':50",
		"'action':'promote','container':'a','image':'b'",
	};

	(void)state;
	for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++)
		for (size_t o = 0; o < sizeof objects / sizeof objects[0]; o++)
			for (size_t c = 0; c <= sizeof objects / sizeof objects[0]; c++) {
				json_t *stable = quoted(objects[o]);
				json_t *canary = c < sizeof objects / sizeof objects[0] ? quoted(objects[c])
											: NULL;
				json_t *list = json_pack("{s:[O]}", "items", stable), *before = NULL;
				char text[256], why[256];
				struct params p;
				struct plan plan = { 0 };
				struct world w = { .stable = stable,
						   .canary = canary,
						   .history = history_of(list, "u") };

				snprintf(text, sizeof text, "{'namespace':'shop','name':'web',%s}", steps[s]);
				for (char *q = text; *q; q++)
					if (*q == '\'')
						*q = '"';
				assert_true(params_parse(text, &p, why, sizeof why));
				for (int ours = 0; ours < 2; ours++) {
					json_t *notes = json_object_get(json_object_get(canary, "metadata"),
									"annotations");
					json_t *changes, *diff, *binding = world_binding(&p, &w);

					if (ours && json_is_object(notes))
						json_object_set_new(notes, OBJECT_CANARY_OF,
								    json_string("web"));
					before = world_info(&p, &w, "key");
					assert_non_null(before);
					assert_non_null(binding);
					for (int undo = 0; undo < 2; undo++) {
						if (undo ? plan_undo(&p, &w, before, &plan)
							 : plan_make(&p, &w, "key", "now", &plan)) {
							plan_changes(&p, &w, &plan, &changes, &diff);
							assert_true(json_is_string(diff));
							json_decref(changes);
							json_decref(diff);
							for (size_t i = 0; i < plan.n; i++)
								if (plan.works[i].how == WORK_PATCH)
									json_decref(work_patch(
										&plan.works[i],
										plan.works[i].canary ? canary
												     : stable,
										"key"));
						} else {
							assert_true(strlen(plan.why) > 0);
						}
						plan_done(&plan);
					}
					json_decref(before);
					json_decref(binding);
				}
				params_done(&p);
				json_decref(w.history);
				json_decref(list);
				json_decref(stable);
				json_decref(canary);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rollout_is_judged_in_kubectls_words),
		cmocka_unit_test(params_that_make_no_sense_are_refused_with_a_sentence),
		cmocka_unit_test(a_weight_is_a_share_of_the_pods),
		cmocka_unit_test(the_digest_is_sha256),
		cmocka_unit_test(a_template_has_the_same_hash_in_a_deployment_and_its_replicaset),
		cmocka_unit_test(a_mark_keeps_the_last_keys),
		cmocka_unit_test(a_patch_carries_what_it_was_read_with),
		cmocka_unit_test(no_world_makes_the_planner_fall_over),
	};

	return cmocka_run_group_tests_name("the k8s adapter's pure parts", tests, NULL, NULL);
}
