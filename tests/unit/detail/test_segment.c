#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/text.h"
#include "detail/segment.h"

static void trace(uint8_t id[TRACE_ID], unsigned n)
{
	/* scattered, as real ones are */
	for (unsigned i = 0; i < TRACE_ID; i++)
		id[i] = (uint8_t)((n + 1) * 2654435761u >> (i % 4 * 8) ^ (i * 37 + n));
}

static size_t line_of(char *out, size_t size, unsigned n)
{
	uint8_t id[TRACE_ID];
	char hex[2 * TRACE_ID + 1];

	trace(id, n / 4);
	str_hex(id, TRACE_ID, hex);
	return (size_t)snprintf(
		out, size,
		"{\"time_us\":%u,\"resource\":\"urn:host:h%u\",\"trace_id\":\"%s\",\"body\":\"line %u of many\"}",
		1000000 + n, n % 3, hex, n);
}

static void fill(struct segment_writer *w, unsigned from, unsigned to)
{
	char line[256];
	uint8_t id[TRACE_ID];

	for (unsigned i = from; i < to; i++) {
		size_t len = line_of(line, sizeof(line), i);

		trace(id, i / 4);
		assert_true(segment_add(w, 1000000 + i, id, line, len));
	}
}

struct got {
	struct text all;
	size_t lines;
};

static bool take(void *ctx, const char *line, size_t len)
{
	struct got *g = ctx;

	text_add_n(&g->all, line, len);
	text_add(&g->all, "\n");
	g->lines++;
	return true;
}

static struct segment_said ask(const struct segment *s, const struct segment_ask *a, struct got *g)
{
	struct segment_said said;

	assert_int_equal(segment_read(s->bytes, s->len, a, take, g, &said, NULL), OC_OK);
	return said;
}

static void what_was_written_is_read(void **state)
{
	AUTO(segment_writer) struct segment_writer *w = segment_writer_new();
	struct segment s;
	struct got g = { 0 };
	struct text want = { 0 };
	char line[256];
	struct segment_said said;

	(void)state;
	fill(w, 0, 5000);
	for (unsigned i = 0; i < 5000; i++) {
		text_add_n(&want, line, line_of(line, sizeof(line), i));
		text_add(&want, "\n");
	}
	segment_finish(w, &s);
	assert_int_equal(s.records, 5000);
	assert_true(s.from_us == 1000000 && s.to_us == 1004999);
	assert_true(s.len < s.raw / 3);
	said = ask(&s, &(struct segment_ask){ 0 }, &g);
	assert_int_equal(said.lines, 5000);
	assert_true(said.blocks > 1 && said.blocks_read == said.blocks);
	assert_string_equal(text_str(&g.all), text_str(&want));
	text_done(&g.all);
	text_done(&want);
	segment_done(&s);
	/* and the writer is empty again */
	assert_int_equal(segment_records(w), 0);
}

static void a_trace_is_found_without_reading_everything(void **state)
{
	AUTO(segment_writer) struct segment_writer *w = segment_writer_new();
	struct segment s;
	struct got g = { 0 };
	struct segment_ask a = { .has_trace = true };
	struct segment_said said;

	(void)state;
	fill(w, 0, 40000);
	segment_finish(w, &s);
	trace(a.trace_id, 7000);
	said = ask(&s, &a, &g);
	assert_int_equal(said.lines, 4);
	assert_non_null(strstr(text_str(&g.all), "line 28002 of many"));
	assert_true(said.blocks >= 15 && said.blocks_read <= 3);
	text_done(&g.all);
	trace(a.trace_id, 999999);
	said = ask(&s, &a, &g);
	assert_int_equal(said.lines, 0);
	assert_true(said.blocks_read <= 3);
	segment_done(&s);
}

static void filters_say_no_when_it_is_no(void **state)
{
	enum { N = 20000 };
	uint8_t(*id)[TRACE_ID] = mem_array(N, TRACE_ID);
	size_t size = filter_size(N), wrong = 0;
	AUTO(bytes) uint8_t *bits = mem_alloc(size);
	struct filter_place p;

	(void)state;
	for (unsigned i = 0; i < N; i++)
		trace(id[i], i);
	filter_fill(bits, size, (const uint8_t(*)[TRACE_ID])id, N);
	for (unsigned i = 0; i < N; i++) {
		p = filter_place(id[i]);
		assert_true(filter_has(bits, size, &p));
	}
	for (unsigned i = 0; i < N; i++) {
		uint8_t other[TRACE_ID];

		trace(other, N + 17 + i);
		p = filter_place(other);
		wrong += filter_has(bits, size, &p);
	}
	assert_true(wrong < N * 3 / 100);
	memcpy(id[1], id[0], TRACE_ID);
	assert_int_equal(filter_unique(id, N), N - 1);
	free(id);
}

static void time_text_and_pages_narrow_it(void **state)
{
	AUTO(segment_writer) struct segment_writer *w = segment_writer_new();
	struct segment s;
	struct got g = { 0 };
	struct segment_said said;

	(void)state;
	fill(w, 0, 3000);
	segment_finish(w, &s);
	said = ask(&s, &(struct segment_ask){ .from_us = 1000010, .to_us = 1000019 }, &g);
	assert_int_equal(said.lines, 10);
	assert_true(said.blocks_read == 1);
	said = ask(&s,
		   &(struct segment_ask){
			   .text = { "urn:host:h1", "line 2" },
                             .limit = 5
        },
		   &g);
	assert_true(said.lines == 5 && said.more);
	text_done(&g.all);
	said = ask(&s, &(struct segment_ask){ .skip = 2998, .limit = 5 }, &g);
	assert_true(said.lines == 2 && !said.more && said.passed == 3000);
	assert_non_null(strstr(text_str(&g.all), "line 2999 of many"));
	text_done(&g.all);
	segment_done(&s);
}

static void a_line_that_is_none_is_refused(void **state)
{
	AUTO(segment_writer) struct segment_writer *w = segment_writer_new();
	AUTO(str) char *huge = mem_alloc(SEGMENT_LINE_MAX + 1);

	(void)state;
	memset(huge, 'x', SEGMENT_LINE_MAX);
	assert_false(segment_add(w, 1, NULL, huge, SEGMENT_LINE_MAX));
	assert_false(segment_add(w, 1, NULL, "two\nlines", 9));
	assert_true(segment_add(w, 1, NULL, huge, SEGMENT_LINE_MAX - 1));
	assert_int_equal(segment_records(w), 1);
}

static void damage_is_said_not_read(void **state)
{
	AUTO(segment_writer) struct segment_writer *w = segment_writer_new();
	struct segment s;
	struct segment_said said;
	struct got g = { 0 };
	unsigned found = 0;

	(void)state;
	fill(w, 0, 400);
	segment_finish(w, &s);
	for (size_t cut = 0; cut < s.len; cut += 7)
		assert_int_equal(segment_read(s.bytes, cut, &(struct segment_ask){ 0 }, take, &g, &said,
					      NULL),
				 OC_INVALID);
	for (size_t at = s.len - 24; at > s.len - 120; at--) {
		s.bytes[at] ^= 0x55;
		found += segment_read(s.bytes, s.len, &(struct segment_ask){ 0 }, take, &g, &said, NULL) !=
			 OC_OK;
		s.bytes[at] ^= 0x55;
	}
	(void)found; /* a changed filter is not seen, and does no harm: what counts is that nothing breaks */
	s.bytes[20] ^= 1;
	assert_int_equal(segment_read(s.bytes, s.len, &(struct segment_ask){ 0 }, take, &g, &said, NULL),
			 OC_INVALID);
	text_done(&g.all);
	segment_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(a_trace_is_found_without_reading_everything),
		cmocka_unit_test(filters_say_no_when_it_is_no),
		cmocka_unit_test(time_text_and_pages_narrow_it),
		cmocka_unit_test(a_line_that_is_none_is_refused),
		cmocka_unit_test(damage_is_said_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
