#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/nearest.h"
#include "base/settings.h"

static enum oc_err load(struct settings *s, const char *file, const char *const *env, int argc, char **argv,
			struct oc_fail *fail)
{
	enum oc_err err = settings_read_text(s, "test.conf", file, fail);

	if (err == OC_OK)
		err = settings_read_env(s, env, NULL, fail);
	return err == OC_OK ? settings_read_args(s, argc, argv, NULL, fail) : err;
}

static void a_later_source_wins(void **state)
{
	AUTO(settings) struct settings *s = settings_new();
	const char *env[] = { "OPSCASE_HTTP_PORT=2", "OPSCASE_EXEC_THREADS=3", NULL };
	char *argv[] = { "--http.port=1" };

	(void)state;
	assert_int_equal(load(s, "http.port = 3\nexec.threads=4\nwindow.metric_s = 5\n", env, 1, argv, NULL),
			 OC_OK);
	assert_int_equal(setting_int(s, SET_HTTP_PORT), 1);
	assert_int_equal(setting_int(s, SET_EXEC_THREADS), 3);
	assert_int_equal(setting_int(s, SET_WINDOW_METRIC_S), 5);
	assert_int_equal(setting_int(s, SET_WINDOW_DELAY_S), 5);
	assert_string_equal(setting_source(s, SET_HTTP_PORT), "command line");
	assert_string_equal(setting_source(s, SET_EXEC_THREADS), "environment (OPSCASE_EXEC_THREADS)");
	assert_string_equal(setting_source(s, SET_WINDOW_METRIC_S), "test.conf:3");
	assert_string_equal(setting_source(s, SET_WINDOW_DELAY_S), "default");
}

static void an_unknown_name_is_refused_with_the_nearest_one(void **state)
{
	AUTO(settings) struct settings *s = settings_new();
	char *argv[] = { "--http.prot=80" };
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(settings_read_args(s, 1, argv, NULL, &fail), OC_INVALID);
	assert_string_equal(fail.field, "http.prot");
	assert_non_null(strstr(fail.text, "did you mean 'http.port'?"));
	assert_int_equal(settings_read_text(s, "c", "# fine\n\nwindow.metrics = 5\n", &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "c:3:"));
	assert_non_null(strstr(fail.text, "'window.metric_s'"));
	assert_int_equal(settings_set(s, "zzzzzzzzzzzz", "1", "here", &fail), OC_INVALID);
	assert_null(strstr(fail.text, "did you mean"));
}

static void a_value_that_does_not_fit_is_refused_and_changes_nothing(void **state)
{
	static const struct {
		const char *name, *value, *says;
	} bad[] = {
		{ "http.port",           "65536",        "from 0 to 65535"                 },
		{ "http.port",           "80x",          "http.port = '80x'"               },
		{ "http.port",           "",             "from 0 to 65535"                 },
		{ "http.port",           "-1",           "from 0 to 65535"                 },
		{ "window.metric_s",     "0",            "from 1 to 3600"                  },
		{ "http.wait",           "5 parsecs",    "from 0s to 2m"                   },
		{ "http.wait",           "3m",           "from 0s to 2m"                   },
		{ "http.plain_anywhere", "perhaps",      "true or false"                   },
		{ "log.level",           "loud",         "one of debug, info, warn, error" },
		{ "roles",               "planner,cook", "planner"                         },
		{ "roles",               " , ",          "a list"                          },
		{ "nats.url",            "nats://a\nb",  "control characters"              },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO(settings) struct settings *s = settings_new();
		struct oc_fail fail = { 0 };

		assert_int_equal(settings_set(s, bad[i].name, bad[i].value, "here", &fail), OC_INVALID);
		assert_string_equal(fail.field, bad[i].name);
		assert_non_null(strstr(fail.text, bad[i].says));
		assert_string_equal(setting_source(s, setting_find(bad[i].name)), "default");
	}
}

static void a_secret_is_never_printed(void **state)
{
	AUTO(settings) struct settings *s = settings_new();
	AUTO(text) struct text out = { 0 };
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(settings_set(s, "db.api", "password=hush", "here", NULL), OC_OK);
	assert_int_equal(settings_set(s, "nats.token", "hush\n", "here", &fail), OC_INVALID);
	assert_null(strstr(fail.text, "hush"));
	settings_print(s, &out);
	assert_null(strstr(out.s, "hush"));
	assert_non_null(strstr(out.s, "db.api = ***"));
}

static void durations_have_units(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{ "300ms", 300    },
                { "5s",    5000   },
                { "2m",    120000 },
                { "7",     7000   },
                { "0s",    0      }
	};
	AUTO(settings) struct settings *s = settings_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(settings_set(s, "http.wait", good[i].text, "here", NULL), OC_OK);
		assert_int_equal(setting_ms(s, SET_HTTP_WAIT), good[i].ms);
	}
}

static void all_roles_means_every_role(void **state)
{
	AUTO(settings) struct settings *s = settings_new();

	(void)state;
	assert_true(setting_has(s, SET_ROLES, "planner"));
	assert_int_equal(settings_set(s, "roles", "api, relay", "here", NULL), OC_OK);
	assert_true(setting_has(s, SET_ROLES, "api"));
	assert_true(setting_has(s, SET_ROLES, "relay"));
	assert_false(setting_has(s, SET_ROLES, "planner"));
	assert_false(setting_has(s, SET_ROLES, "rel"));
}

static void the_environment_may_hold_what_is_not_ours(void **state)
{
	AUTO(settings) struct settings *s = settings_new();
	AUTO(text) struct text odd = { 0 };
	const char *env[] = { "OPSCASE_SERVICE_HOST=10.0.0.1", "OPSCASE_HTTP_PROT=1", "OPSCASE_TOKEN=x",
			      "HOME=/", NULL };

	(void)state;
	assert_int_equal(settings_read_env(s, env, &odd, NULL), OC_OK);
	assert_non_null(strstr(odd.s, "OPSCASE_SERVICE_HOST"));
	assert_non_null(strstr(odd.s, "OPSCASE_HTTP_PROT is no setting, did you mean OPSCASE_HTTP_PORT?"));
	assert_null(strstr(odd.s, "OPSCASE_TOKEN is"));
	assert_null(strstr(odd.s, "HOME"));
}

static void the_command_line_is_taken_in_both_spellings(void **state)
{
	AUTO(settings) struct settings *s = settings_new();
	char *argv[] = { "--http.port", "81", "--http.plain_anywhere", "--log.level=warn", "rest" };
	struct oc_fail fail = { 0 };
	int used = 0;

	(void)state;
	assert_int_equal(settings_read_args(s, 5, argv, &used, NULL), OC_OK);
	assert_int_equal(used, 4);
	assert_int_equal(setting_int(s, SET_HTTP_PORT), 81);
	assert_true(setting_bool(s, SET_HTTP_PLAIN));
	assert_string_equal(setting_text(s, SET_LOG_LEVEL), "warn");
	assert_int_equal(settings_read_args(s, 1, argv, NULL, &fail), OC_INVALID);
	assert_non_null(strstr(fail.text, "--http.port needs a value"));
}

static void the_sample_reads_back_as_the_defaults(void **state)
{
	AUTO(settings) struct settings *s = settings_new();
	AUTO(text) struct text sample = { 0 };
	AUTO(text) struct text bare = { 0 };

	(void)state;
	settings_print_sample(&sample);
	/* as it is: nothing but comments */
	assert_int_equal(settings_read_text(s, "sample", sample.s, NULL), OC_OK);
	assert_string_equal(setting_source(s, SET_ROLES), "default");
	/* with every # before a name taken away: all of them, and they fit */
	for (const char *c = sample.s; *c; c++)
		if (*c != '#' || c[1] == ' ')
			text_add_n(&bare, c, 1);
	assert_int_equal(settings_read_text(s, "sample", bare.s, NULL), OC_OK);
	for (unsigned i = 0; i < SETTING_COUNT; i++)
		assert_true(str_starts(setting_source(s, i), "sample:"));
}

static void a_reload_takes_what_may_change_and_names_the_rest(void **state)
{
	AUTO(settings) struct settings *s = settings_new();
	AUTO(settings) struct settings *now = settings_new();
	AUTO(text) struct text restart = { 0 };

	(void)state;
	assert_int_equal(settings_set(now, "log.level", "debug", "here", NULL), OC_OK);
	assert_int_equal(settings_set(now, "http.port", "1", "here", NULL), OC_OK);
	settings_take_reloadable(s, now, &restart);
	assert_string_equal(setting_text(s, SET_LOG_LEVEL), "debug");
	assert_int_equal(setting_int(s, SET_HTTP_PORT), 8080);
	assert_string_equal(restart.s, "http.port");
}

static void folders_lie_in_the_data_folder_unless_given(void **state)
{
	AUTO(settings) struct settings *s = settings_new();
	char *dir = setting_dir(s, SET_DETAIL_DIR, "detail");

	(void)state;
	assert_null(dir);
	assert_int_equal(settings_set(s, "data.dir", "/d", "here", NULL), OC_OK);
	dir = setting_dir(s, SET_DETAIL_DIR, "detail");
	assert_string_equal(dir, "/d/detail");
	free(dir);
	assert_int_equal(settings_set(s, "detail.dir", "/other", "here", NULL), OC_OK);
	dir = setting_dir(s, SET_DETAIL_DIR, "detail");
	assert_string_equal(dir, "/other");
	free(dir);
}

static void the_page_in_docs_is_what_the_table_says(void **state)
{
	AUTO(file) FILE *f = fopen(OPSCASE_SOURCE_DIR "/docs/settings.md", "r");
	AUTO(text) struct text want = { 0 };
	AUTO(str) char *page = mem_alloc(1 << 18);

	(void)state;
	assert_non_null(f);
	page[fread(page, 1, (1 << 18) - 1, f)] = '\0';
	settings_print_reference(&want);
	assert_string_equal(page, want.s); /* opscase settings --format markdown > docs/settings.md */
}

static void names_are_told_apart_as_people_mistype_them(void **state)
{
	struct nearest n = { .want = "lsit" };

	(void)state;
	assert_int_equal(str_distance("port", "prot"), 1);
	assert_int_equal(str_distance("list", "list"), 0);
	assert_int_equal(str_distance("list", "lint"), 1);
	assert_int_equal(str_distance("", "abc"), 3);
	nearest_offer(&n, "reject");
	assert_null(n.name);
	nearest_offer(&n, "lint");
	nearest_offer(&n, "list");
	assert_string_equal(n.name, "list");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_later_source_wins),
		cmocka_unit_test(an_unknown_name_is_refused_with_the_nearest_one),
		cmocka_unit_test(a_value_that_does_not_fit_is_refused_and_changes_nothing),
		cmocka_unit_test(a_secret_is_never_printed),
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(all_roles_means_every_role),
		cmocka_unit_test(the_environment_may_hold_what_is_not_ours),
		cmocka_unit_test(the_command_line_is_taken_in_both_spellings),
		cmocka_unit_test(the_sample_reads_back_as_the_defaults),
		cmocka_unit_test(a_reload_takes_what_may_change_and_names_the_rest),
		cmocka_unit_test(folders_lie_in_the_data_folder_unless_given),
		cmocka_unit_test(the_page_in_docs_is_what_the_table_says),
		cmocka_unit_test(names_are_told_apart_as_people_mistype_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
