#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/text.h"
#include "domain/promql.h"

#define S1                                                  \
	{                                                   \
		{ (char *)"__name__", (char *)"lag"       },      \
		{ (char *)"disk",     (char *)"sda"       },          \
		{ (char *)"resource", (char *)"urn:svc:a" } \
}
#define S2                                                  \
	{                                                   \
		{ (char *)"__name__", (char *)"lag"       },      \
		{ (char *)"disk",     (char *)"sdb"       },          \
		{ (char *)"resource", (char *)"urn:svc:a" } \
	}

/* avg max min sum count p95 */
static struct promql_point first[] = {
	{ 0,   { 1, 5, 0, 10, 10, 4 } },
        { 60,  { 3, 9, 1, 30, 10, 8 } },
        { 120, { 2, 4, 2, 60, 30, 3 } }
};
static struct promql_point second[] = {
	{ 0,  { 10, 10, 10, 10, 1, 10 } },
        { 60, { 20, 20, 20, 20, 1, 20 } }
};
static struct promql_label label1[] = S1, label2[] = S2;
static const struct promql_series series[] = {
	{ label1, 3, first,  3 },
        { label2, 3, second, 2 }
};

/* "{disk=sda,resource=..} 1 2 -\n..." at steps of a minute from 0. */
static char *answers(const char *text, size_t steps)
{
	AUTO(promql) struct promql p = { 0 };
	struct promql_answer *list;
	struct text out = { 0 };
	struct promql_series taken[2];
	char why[200];
	size_t n = 0, k = 0;

	if (!promql_parse(text, &p, why))
		fail_msg("%s: %s", text, why);
	text_add(&out, "");
	if (p.number) {
		text_addf(&out, "%g", p.value);
		return text_take(&out);
	}
	for (size_t i = 0; i < 2; i++)
		if (promql_takes_name(&p, "lag") && promql_takes(&p, series[i].labels, series[i].labels_n))
			taken[k++] = series[i];
	list = promql_eval(&p, taken, k, 0, 60, steps, &n);
	for (size_t i = 0; i < n; i++) {
		text_add(&out, i ? "|" : "");
		for (size_t l = 0; l < list[i].labels_n; l++)
			text_addf(&out, "%s=%s ", list[i].labels[l].name, list[i].labels[l].value);
		for (size_t v = 0; v < steps; v++)
			if (isnan(list[i].values[v]))
				text_add(&out, ". ");
			else
				text_addf(&out, "%g ", list[i].values[v]);
	}
	promql_answers_free(list, n);
	return text_take(&out);
}

static void what_is_asked_is_answered(void **state)
{
	static const struct answer_row {
		const char *text, *want;
		size_t steps;
	} rows[] = {
		/* the last bucket, for five minutes */
		{ "lag{disk=\"sda\"}",					"__name__=lag disk=sda resource=urn:svc:a 1 3 2 2 2 2 2 . ", 8 },
		{ "lag{stat=\"p95\",disk=\"sdb\"}",                           "__name__=lag disk=sdb resource=urn:svc:a 10 20 ",           2 },
		/* an average over time goes by the samples: (1*10 + 3*10 + 2*30) / 50 */
		{ "avg_over_time(lag{disk=\"sda\"}[5m])",                     "disk=sda resource=urn:svc:a 1 2 2 ",                        3 },
		{ "max_over_time(lag{disk=~'sd[a]'}[2m])",                    "disk=sda resource=urn:svc:a 5 9 9 ",                        3 },
		{ "min_over_time(lag{disk!=\"sdb\"}[1m])",                    "disk=sda resource=urn:svc:a 0 1 2 ",                        3 },
		{ "count_over_time(lag{disk!~\"x|sdb\"}[5m])",                "disk=sda resource=urn:svc:a 10 20 50 ",                     3 },
		/* what was counted in the window, and a second of it */
		{ "increase(lag{disk=\"sda\"}[2m])",                          "disk=sda resource=urn:svc:a 10 40 90 ",                     3 },
		{ "rate(lag{disk=\"sda\"}[2m]) * 120",                        "disk=sda resource=urn:svc:a 10 40 90 ",                     3 },
		{ "sum(lag)",						 "11 23 22 ",						 3 },
		{ "max by (disk) (lag)",                                      "disk=sda 1 3 2 |disk=sdb 10 20 20 ",                        3 },
		{ "avg(lag) by (resource)",                                   "resource=urn:svc:a 5.5 11.5 11 ",                           3 },
		{ "sum without (disk, resource) (increase(lag[1m])) / 2 - 1", "9 24 29 ",                                                  3 },
		{ "count(lag{missing=\"\"})",                                 "2 2 2 ",                                                    3 },
		{ "count(lag{disk=\"sdc\"})",                                 "",							  3 },
		{ "{__name__=~\"l.g\",disk=\"sda\"} + 1",                     "disk=sda resource=urn:svc:a 2 4 3 ",                        3 },
		{ "1 + 2 * 3 - 4 / 2",					"5",							 1 }, /* a client's first question is 1+1 */
		{ "sum(lag) + 2 * 10",					"31 43 42 ",                                                 3 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(str) char *got = answers(rows[i].text, rows[i].steps);

		if (!str_eq(got, rows[i].want))
			fail_msg("%s: '%s' and not '%s'", rows[i].text, got, rows[i].want);
	}
}

static void what_is_not_known_is_refused_with_its_place(void **state)
{
	static const struct wrong_row {
		const char *text, *why;
	} rows[] = {
		{ "",			     "at character 1"        },
		{ "lag{",                         "a label is expected"   },
		{ "lag{disk}",                    "=, !=, =~ or !~"       },
		{ "lag{disk=sda}",                "in quotes"             },
		{ "lag{disk=\"sda}",              "not closed"            },
		{ "lag{disk=~\"(\"}",             "no regular expression" },
		{ "lag{stat=\"median\"}",         "stat is one of"        },
		{ "{disk!=\"sda\"}",              "at least one matcher"  },
		{ "rate(lag)",                    "'['"                   },
		{ "rate(lag[5y])",                "a time like 5m"        },
		{ "rate(lag[0s])",                "from 1s"               },
		{ "sum(lag",                      "')'"                   },
		{ "sum by (disk lag)",            "',' or ')'"            },
		{ "lag / lag",                    "only numbers"          },
		{ "lag > 1",                      "not known here"        },
		{ "histogram_quantile(0.9, lag)", "not known here"        },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(promql) struct promql p = { 0 };
		char why[200];

		assert_false(promql_parse(rows[i].text, &p, why));
		if (!strstr(why, rows[i].why))
			fail_msg("%s: %s", rows[i].text, why);
	}
}

static void names_are_found_with_dots_and_without(void **state)
{
	static const char *const texts[] = { "http_server_duration", "{\"http.server.duration\"}",
					     "{__name__=\"http.server.duration\"}",
					     "{__name__=~\"http_.*\"}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		AUTO(promql) struct promql p = { 0 };
		char why[200];

		assert_true(promql_parse(texts[i], &p, why));
		assert_true(promql_takes_name(&p, "http.server.duration"));
		assert_false(promql_takes_name(&p, "lag"));
	}
}

static void a_regex_that_is_read_otherwise_or_grows_is_refused(void **state)
{
	static const char *const bad[] = { "((a{60}){60}){60}", "\\\\d", "(a)\\\\1", "(?i)a", "[\\\\d]" };
	static const char *const good[] = { "a|b", "urn:.*", "a\\\\.b", "[^]{]+", "a\\\\{b" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad) + ARRAY_LEN(good); i++) {
		bool wanted = i >= ARRAY_LEN(bad);
		AUTO(promql) struct promql p = { 0 };
		AUTO(str)
		char *text = mem_printf("lag{disk=~\"%s\"}", wanted ? good[i - ARRAY_LEN(bad)] : bad[i]);
		char why[200];

		if (promql_parse(text, &p, why) != wanted)
			fail_msg("%s: %s", text, wanted ? why : "it was taken");
	}
}

static void more_values_than_are_answered_are_not_made(void **state)
{
	AUTO(promql) struct promql each = { 0 }, all = { 0 };
	size_t steps = PROMQL_VALUES_MAX / 2 + 1, n = 0;
	struct promql_answer *list;
	char why[200];

	(void)state;
	assert_true(promql_parse("lag", &each, why));
	assert_null(promql_eval(&each, series, 2, 0, 60, steps, &n));
	assert_int_equal(n, 0);
	list = promql_eval(&each, series, 2, 0, 60, steps - 1, &n);
	assert_non_null(list);
	assert_int_equal(n, 2);
	promql_answers_free(list, n);
	assert_true(promql_parse("sum(lag)", &all, why));
	list = promql_eval(&all, series, 2, 0, 60, steps, &n);
	assert_int_equal(n, 1);
	promql_answers_free(list, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_is_answered),
		cmocka_unit_test(what_is_not_known_is_refused_with_its_place),
		cmocka_unit_test(names_are_found_with_dots_and_without),
		cmocka_unit_test(a_regex_that_is_read_otherwise_or_grows_is_refused),
		cmocka_unit_test(more_values_than_are_answered_are_not_made),
	};

	return cmocka_run_group_tests_name("promql", tests, NULL, NULL);
}
