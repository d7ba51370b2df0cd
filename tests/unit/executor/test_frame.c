#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "executor/frame.h"

static void a_message_may_come_in_pieces(void **state)
{
	struct frame_in in = { 0 };
	char *text = NULL;
	size_t len = 0;
	int s[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(frame_next(&in, 100, &text, &len), 0);
		assert_int_equal(write(s[0], &"\2\0\0\0{}"[i], 1), 1);
		assert_int_equal(frame_read(&in, s[1], false), FRAME_BYTES);
	}
	assert_int_equal(frame_next(&in, 100, &text, &len), 1);
	assert_string_equal(text, "{}");
	assert_int_equal(frame_read(&in, s[1], false), FRAME_AGAIN);
	close(s[0]);
	assert_int_equal(frame_read(&in, s[1], false), FRAME_EOF);
	close(s[1]);
	free(text);
	frame_done(&in);
}

static void an_absurd_length_is_nonsense_and_takes_no_memory(void **state)
{
	struct frame_in in = { 0 };
	char *text = NULL;
	size_t len;
	int s[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	assert_int_equal(write(s[0], "\xff\xff\xff\x7f", 4), 4);
	assert_int_equal(frame_read(&in, s[1], true), FRAME_BYTES);
	assert_int_equal(frame_next(&in, FRAME_MAX, &text, &len), -1);
	assert_true(in.cap <= 16384);
	close(s[0]);
	close(s[1]);
	frame_done(&in);
}

static void a_reader_who_does_not_read_is_not_waited_for_longer_than_said(void **state)
{
	size_t len = (size_t)4 << 20;
	char *big = calloc(1, len);
	int s[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	assert_false(frame_send(s[0], big, len, clock_mono_us() + 50000));
	close(s[1]);
	assert_false(frame_send(s[0], big, len, clock_mono_us() + 50000)); /* and no SIGPIPE */
	close(s[0]);
	free(big);
}

static void quoted_text_is_json_whatever_it_holds(void **state)
{
	AUTO(text) struct text t = { 0 };

	(void)state;
	frame_quote(&t, "a\"b\\c\nd\0e\xff\xc3\xa4", 12);
	assert_string_equal(t.s, "\"a\\\"b\\\\c\\u000ad?e?\xc3\xa4\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_may_come_in_pieces),
		cmocka_unit_test(an_absurd_length_is_nonsense_and_takes_no_memory),
		cmocka_unit_test(a_reader_who_does_not_read_is_not_waited_for_longer_than_said),
		cmocka_unit_test(quoted_text_is_json_whatever_it_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
