/* Recorded connections of real clients and servers (tests/sensor/record.py), and MySQL's and Kafka's bytes as their
 * specifications have them: the calls that come of each stand in tests/golden/sensor-calls.txt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"
#include "sensor-bpf/parse/flow.h"

static void write_down(void *ctx, const struct call *call)
{
	text_addf(ctx, "  %s %s %s %s%s%s%s%s\n", proto_name(call->proto),
		  call->method[0] ? call->method : "-", call->route[0] ? call->route : "-", call->status,
		  call->failed ? " failed" : "", call->one_way ? " one-way" : "",
		  call->we_serve ? "" : " (asked)", call->trace[0] ? " traced" : "");
}

static size_t load(const char *path, uint8_t *bytes, size_t room)
{
	AUTO(file) FILE *f = fopen(path, "re");
	size_t n;

	assert_non_null(f);
	n = fread(bytes, 1, room, f);
	assert_true(n < room);
	return n;
}

/* `mirror`: the same connection from the side that asks. */
static void replay(const char *path, bool mirror, struct text *out)
{
	static uint8_t bytes[1 << 20];
	const struct flow_sink sink = { write_down, out };
	size_t size = load(path, bytes, sizeof(bytes)), i = 1;
	AUTO(flow) struct flow *f = flow_new(bytes[0] & 1, 0, bytes[0] & 1 ? 0 : 53);
	uint64_t at = 0;

	while (i + 7 <= size) {
		size_t kept = bytes[i + 1] | (size_t)bytes[i + 2] << 8;
		uint32_t whole = (uint32_t)bytes[i + 3] | (uint32_t)bytes[i + 4] << 8 |
				 (uint32_t)bytes[i + 5] << 16 | (uint32_t)bytes[i + 6] << 24;
		bool outgoing = (bytes[i] & 1) != mirror;

		i += 7;
		assert_true(i + kept <= size);
		flow_feed(f, outgoing ? FLOW_OUT : FLOW_IN, at += 1000, bytes + i, kept, whole, &sink);
		i += kept;
	}
	if (flow_outstanding(f))
		text_addf(out, "  outstanding %u\n", flow_outstanding(f));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_sample(const struct dirent *d)
{
	return d->d_name[0] != '.' && strstr(d->d_name, ".flow") != NULL;
}

static void all(bool mirror, struct text *out)
{
	const char *folder = OPSCASE_SOURCE_DIR "/tests/fuzz/corpus/flow";
	struct dirent **list;
	int n = scandir(folder, &list, is_sample, by_name);

	assert_true(n >= 9);
	for (int i = 0; i < n; i++) {
		AUTO(str) char *path = mem_printf("%s/%s", folder, list[i]->d_name);

		text_addf(out, "%s\n", list[i]->d_name);
		replay(path, mirror, out);
		free(list[i]);
	}
	free(list);
}

static void recorded_connections_give_the_calls_that_were_made(void **state)
{
	static uint8_t golden[1 << 18];
	AUTO(text) struct text out = { 0 };
	size_t n;

	(void)state;
	all(false, &out);
	n = load(OPSCASE_SOURCE_DIR "/tests/golden/sensor-calls.txt", golden, sizeof(golden));
	golden[n] = '\0';
	if (strcmp(text_str(&out), (char *)golden) != 0)
		printf("%s", text_str(&out));
	assert_string_equal(text_str(&out), (char *)golden);
}

static void both_ends_of_a_connection_see_the_same_calls(void **state)
{
	AUTO(text) struct text here = { 0 }, there = { 0 };
	char *mark;

	(void)state;
	all(false, &here);
	all(true, &there);
	while ((mark = strstr(there.s, " (asked)")))
		memmove(mark, mark + 8, strlen(mark + 8) + 1);
	assert_string_equal(there.s, here.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_connections_give_the_calls_that_were_made),
		cmocka_unit_test(both_ends_of_a_connection_see_the_same_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
