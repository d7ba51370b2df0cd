#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <locale.h>
#include <string.h>
#include "apps/opscase/out.h"

static void print(struct text *out, unsigned width, bool colour)
{
	AUTO(out_table) struct out_table table;

	out_table_init(&table, "ID|STATUS|TITLE");
	out_table_add(&table, OUT_PLAIN, "1");
	out_table_add(&table, OUT_GOOD, "CLOSED");
	out_table_add(&table, OUT_PLAIN, "short");
	out_table_add(&table, OUT_PLAIN, "22");
	out_table_add(&table, OUT_BAD, "PARKED");
	out_table_add(&table, OUT_PLAIN, "a title that is much longer than the terminal is wide");
	out_table_print(&table, width, colour, out);
}

static void a_table_lines_its_columns_up(void **state)
{
	AUTO(text) struct text out = { 0 };

	(void)state;
	print(&out, 0, false);
	assert_string_equal(out.s, "ID  STATUS  TITLE\n"
				   "1   CLOSED  short\n"
				   "22  PARKED  a title that is much longer than the terminal is wide\n");
}

static void a_table_fits_the_terminal(void **state)
{
	(void)state;
	for (unsigned width = 24; width < 80; width++) {
		AUTO(text) struct text out = { 0 };

		print(&out, width, false);
		for (char *line = strtok(out.s, "\n"); line; line = strtok(NULL, "\n"))
			assert_true(out_width(line) <= width);
	}
}

static void a_cut_cell_says_that_it_was_cut(void **state)
{
	AUTO(text) struct text out = { 0 };

	(void)state;
	print(&out, 30, false);
	assert_non_null(strstr(out.s, "a title that is m…\n"));
}

static void colour_takes_no_room_and_is_only_there_when_wanted(void **state)
{
	AUTO(text) struct text plain = { 0 };
	AUTO(text) struct text colour = { 0 };
	AUTO(text) struct text bare = { 0 };

	(void)state;
	print(&plain, 40, false);
	print(&colour, 40, true);
	assert_null(strchr(plain.s, '\033'));
	assert_non_null(strstr(colour.s, "\033[31mPARKED\033[0m"));
	for (const char *c = colour.s; *c; c++)
		if (*c == '\033')
			c += strcspn(c, "m");
		else
			text_add_n(&bare, c, 1);
	assert_string_equal(bare.s, plain.s);
}

static void what_comes_from_outside_cannot_steer_the_terminal(void **state)
{
	static const char *const nasty[] = { "\033[2J\033]0;owned\007", "a\r\nb",
					     "\xc2\x9b"
					     "31m",
					     "\x9b"
					     "31m",
					     "\x7f\x08" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(nasty); i++) {
		AUTO(text) struct text out = { 0 };

		out_clean(&out, nasty[i], false);
		for (const char *c = out.s; *c; c++)
			assert_true((unsigned char)*c >= 0x20 && *c != 0x7f && (unsigned char)*c != 0x9b);
	}
}

static void text_of_other_scripts_stays_as_it_is(void **state)
{
	AUTO(text) struct text out = { 0 };

	(void)state;
	out_clean(&out, "Größe 数据库 🚀", false);
	assert_string_equal(out.s, "Größe 数据库 🚀");
	assert_int_equal(out_width("Größe"), 5);
	assert_int_equal(out_width("数据库"), 6);
}

static void times_are_told_as_people_do(void **state)
{
	static const struct {
		int64_t after_s;
		const char *says;
	} rows[] = {
		{ 0,      "now"       },
                { 5,      "5 s ago"   },
                { 90,     "90 s ago"  },
                { 150,    "2 min ago" },
		{ 7300,   "2 h ago"   },
                { 200000, "2 d ago"   },
                { -30,    "in 30 s"   },
                { -14400, "in 4 h"    }
	};
	char out[40];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		out_ago("2026-01-02T00:00:00Z", (INT64_C(1767312000) + rows[i].after_s) * 1000000, out,
			sizeof(out));
		assert_string_equal(out, rows[i].says);
	}
	out_ago("yesterday", 0, out, sizeof(out));
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_lines_its_columns_up),
		cmocka_unit_test(a_table_fits_the_terminal),
		cmocka_unit_test(a_cut_cell_says_that_it_was_cut),
		cmocka_unit_test(colour_takes_no_room_and_is_only_there_when_wanted),
		cmocka_unit_test(what_comes_from_outside_cannot_steer_the_terminal),
		cmocka_unit_test(text_of_other_scripts_stays_as_it_is),
		cmocka_unit_test(times_are_told_as_people_do),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
