#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/text.h"
#include "executor/loader.h"
#include "executor/registry.h"
#include "executor/scratch.h"

#define RUNNER OPSCASE_BINARY_DIR "/bin/opscase-runner"
#define BAD    OPSCASE_BINARY_DIR "/tests/adapters_bad/"

static int some_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	(void)ctx, (void)act, (void)reply;
	return 0;
}

static struct opscase_adapter good_struct(void)
{
	return (struct opscase_adapter){ .abi = OPSCASE_ABI,
					 .size = sizeof(struct opscase_adapter),
					 .name = "x",
					 .version = "1",
					 .manifest = "{}",
					 .run = some_run };
}

/* ---- the struct */

static void an_older_and_shorter_struct_loads_and_the_rest_is_zero(void **state)
{
	struct opscase_adapter a = good_struct(), view;

	(void)state;
	a.size = offsetof(struct opscase_adapter, probe);
	a.probe = some_run; /* beyond what it says it has: not looked at */
	assert_int_equal(loader_view(&a, 0, &view, NULL), LOADER_TAKEN);
	assert_null(view.probe);
	assert_null(view.cancel);
	assert_non_null(view.run);
}

static void a_longer_struct_of_the_same_minor_loads(void **state)
{
	struct {
		struct opscase_adapter a;
		char more[64];
	} longer = { .a = good_struct() };
	struct opscase_adapter view;

	(void)state;
	longer.a.size = sizeof(longer);
	assert_int_equal(loader_view(&longer, sizeof(longer), &view, NULL), LOADER_TAKEN);
}

static void another_major_is_refused_before_anything_else_is_looked_at(void **state)
{
	uint32_t two[2] = { (OPSCASE_ABI_MAJOR + 1) << 16, 8 };
	struct opscase_adapter view;
	struct loader_fail fail;

	(void)state;
	assert_int_equal(loader_view(two, sizeof(two), &view, &fail), LOADER_OTHER_MAJOR);
	assert_non_null(strstr(fail.text, "it says 2.0, this service speaks 1.0"));
}

static void every_refusal_has_a_key_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < LOADER_REFUSALS; i++) {
		for (int k = 0; k < i; k++)
			assert_string_not_equal(loader_key((enum loader_refusal)i),
						loader_key((enum loader_refusal)k));
	}
}

/* ---- the manifest */

static void what_a_manifest_says_comes_back_as_values(void **state)
{
	static const char text[] =
		"{\"name\":\"m\",\"version\":\"2\",\"summary\":\"s\",\"isolation\":\"shared\",\"secrets\":[\"token\"],"
		"\"config\":{\"type\":\"object\",\"properties\":{\"state_dir\":{\"type\":\"string\"}}},"
		"\"operations\":[{\"name\":\"m.b\",\"summary\":\"two\",\"params\":{\"type\":\"object\"},\"risk\":0.25,\"reversible\":true,"
		"\"reversible_when\":\"/undo\",\"repeatable\":false,\"dedup\":true,\"blast\":\"cluster\",\"network\":false,"
		"\"network_when\":\"/net\",\"timeout_s\":{\"default\":5,\"max\":9},\"binding\":[\"u\",\"v\"],\"writes\":[\"v\"],"
		"\"needs\":[\"always\",{\"name\":\"sometimes\",\"when\":\"/x\"}]},"
		"{\"name\":\"m.a\",\"summary\":\"one\",\"params\":{\"type\":\"object\"},\"risk\":0,\"reversible\":false,\"repeatable\":true,"
		"\"dedup\":false,\"blast\":\"none\",\"network\":true,\"timeout_s\":{\"default\":1,\"max\":1}}]}";
	struct manifest m = { 0 };
	const struct operation *b;

	(void)state;
	assert_int_equal(manifest_read(text, &m, NULL), LOADER_TAKEN);
	assert_string_equal(m.operations.item[0].name, "m.a"); /* sorted */
	b = operation_find(&m.operations, "m.b");
	assert_non_null(b);
	assert_null(operation_find(&m.operations, "m.c"));
	assert_int_equal(m.isolation, ISOLATION_SHARED);
	assert_true(m.wants_state_dir);
	assert_true(b->reversible && b->dedup && !b->repeatable && !b->network);
	assert_string_equal(b->reversible_pointer, "/undo");
	assert_string_equal(b->network_pointer, "/net");
	assert_int_equal(b->blast, BLAST_CLUSTER);
	assert_int_equal(b->timeout_default_s, 5);
	assert_int_equal(b->binding_count, 2);
	assert_string_equal(b->writes[0], "v");
	assert_null(b->needs[0].pointer);
	assert_string_equal(b->needs[1].pointer, "/x");
	assert_string_equal(b->secrets[0], "token");
	manifest_done(&m);
}

/* ---- the files, asked in a child as the service does */

struct expectation {
	const char *file, *sentence;
};

static void each_bad_file_is_refused_with_a_sentence_of_its_own(void **state)
{
	static const struct expectation list[] = {
		{ "not_there",         "there is no such file"                  },
		{ "not_shared_object", "not a shared object"                    },
		{ "does_not_link",     "the dynamic linker refuses it"          },
		{ "no_symbol",         "exports no symbol"                      },
		{ "other_major",       "another major version"                  },
		{ "newer_minor",       "newer adapter interface"                },
		{ "size_too_small",    "too small"                              },
		{ "size_lies",         "larger than the symbol"                 },
		{ "no_name",           "it has no name"                         },
		{ "bad_name",          "name is not 1 to 32"                    },
		{ "file_name",         "not the name of the file"               },
		{ "no_run",            "no `run` entry"                         },
		{ "no_manifest",       "it has no manifest"                     },
		{ "manifest_not_json", "not a JSON object"                      },
		{ "manifest_name",     "another name or version"                },
		{ "manifest_field",    "a field of its manifest"                },
		{ "no_operations",     "offers no operation"                    },
		{ "operation_name",    "does not begin with the adapter's name" },
		{ "operation_twice",   "offered twice"                          },
		{ "operation_schema",  "no schema of its params"                },
		{ "operation_field",   "a field of an operation"                },
		{ "schema_bad",        "not valid JSON Schema"                  },
		{ "no_undo",           "no `undo` entry"                        },
		{ "crashes_at_load",   "ended or hung"                          },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(list); i++) {
		AUTO(str) char *file = mem_printf(BAD "%s.so", list[i].file);
		struct oc_fail fail = { 0 };

		if (registry_check_file(RUNNER, file, &fail) != OC_INVALID ||
		    !strstr(fail.text, list[i].sentence))
			fail_msg("%s: '%s'", list[i].file, fail.text);
	}
	assert_int_equal(registry_check_file(RUNNER, BAD "good.so", NULL), OC_OK);
}

static void one_bad_file_does_not_stop_the_others(void **state)
{
	AUTO(registry) struct registry *r = NULL;
	size_t refused = 0;

	(void)state;
	assert_int_equal(registry_open(&(struct registry_config){ .runner_path = RUNNER, .dir = BAD }, &r,
				       NULL),
			 OC_OK);
	assert_int_equal(registry_operations(r)->count, 1);
	assert_non_null(operation_find(registry_operations(r), "good"));
	for (size_t i = 0; i < registry_adapter_count(r); i++)
		refused += registry_adapter_at(r, i)->refusal != NULL;
	assert_int_equal(refused, registry_adapter_count(r) - 1);
	assert_null(registry_adapter_find(r, "other_major"));
}

static void the_real_adapters_make_the_closed_list(void **state)
{
	AUTO(registry) struct registry *r = NULL;
	const struct operation *op;
	struct schema_findings findings;
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(registry_open(&(struct registry_config){ .runner_path = RUNNER,
								  .dir = OPSCASE_BINARY_DIR
								  "/lib/opscase/adapters" },
				       &r, &fail),
			 OC_OK);
	op = operation_find(registry_operations(r), "noop");
	assert_non_null(op);
	assert_int_equal(op->isolation, ISOLATION_SHARED);
	assert_true(op->has_validate && op->has_dry_run && op->has_probe && op->has_undo);
	op = operation_find(registry_operations(r), "script.exec");
	assert_non_null(op);
	assert_string_equal(op->needs[0].name, "script_body");
	assert_int_equal(registry_check_params(r, "script.exec", "{\"argv\":[\"ls\"]}", NULL, &fail), OC_OK);
	assert_int_equal(registry_check_params(r, "script.exec", "{\"argv\":[7]}", &findings, &fail),
			 OC_INVALID);
	assert_true(findings.count >= 1);
	assert_int_equal(registry_check_params(r, "rm.rf", "{}", NULL, &fail), OC_NOT_FOUND);
}

static void without_a_runner_or_a_folder_there_is_no_registry(void **state)
{
	struct registry *r = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(registry_open(&(struct registry_config){ .runner_path = "/no/such/runner",
								  .dir = BAD },
				       &r, &fail),
			 OC_UNAVAILABLE);
	assert_non_null(strstr(fail.text, "/no/such/runner"));
	assert_int_equal(registry_open(&(struct registry_config){ .runner_path = RUNNER,
								  .dir = "/no/such/folder" },
				       &r, &fail),
			 OC_NOT_FOUND);
	assert_null(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_older_and_shorter_struct_loads_and_the_rest_is_zero),
		cmocka_unit_test(a_longer_struct_of_the_same_minor_loads),
		cmocka_unit_test(another_major_is_refused_before_anything_else_is_looked_at),
		cmocka_unit_test(every_refusal_has_a_key_of_its_own),
		cmocka_unit_test(what_a_manifest_says_comes_back_as_values),
		cmocka_unit_test(each_bad_file_is_refused_with_a_sentence_of_its_own),
		cmocka_unit_test(one_bad_file_does_not_stop_the_others),
		cmocka_unit_test(the_real_adapters_make_the_closed_list),
		cmocka_unit_test(without_a_runner_or_a_folder_there_is_no_registry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
