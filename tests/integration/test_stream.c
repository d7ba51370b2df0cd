/* Telemetry on the stream of a real NATS: acknowledged when it is there, in order, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "ingest/otlp.h"
#include "ingest/publish.h"
#include "tests/support/natstemp.h"
#include "wire/bus/stream.h"

static struct natstemp nats;
static struct bus *bus;
static const struct tel_sender sender = { 7, "ten", "test" };

static char *logs(int first, int n, size_t fill)
{
	struct text t = { 0 };

	text_add(&t, "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[");
	for (int i = first; i < first + n; i++) {
		text_addf(&t, "%s{\"timeUnixNano\":\"%d000\",\"body\":{\"stringValue\":\"",
			  i > first ? "," : "", i + 1);
		for (size_t k = 0; k < fill; k++)
			text_add(&t, "x");
		text_addf(&t, "%d\"}}", i);
	}
	text_add(&t, "]}]}]}");
	return text_take(&t);
}

static enum oc_err publish(const char *body, unsigned partitions, bool *again, struct oc_fail *why)
{
	AUTO(tel_batch) struct tel_batch b;
	enum oc_err err = otlp_read_json(TEL_LOGS, body, strlen(body), &b, why);

	return err == OC_OK ? tel_publish(bus, partitions, &sender, &b, body, strlen(body), again, why) : err;
}

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), why->text);
}

/* How many records come after `after`, each time one later than the last. */
static uint32_t read_back(uint64_t after, uint64_t *ret_last)
{
	AUTO(stream_reader) struct stream_reader *r = NULL;
	struct oc_fail why = { 0 };
	struct stream_item it;
	int64_t time_us = 0;
	uint32_t n = 0;

	must(stream_read(bus, "tel.logs.*.ten", after, &r, &why), &why);
	while (stream_next(r, 500, &it)) {
		AUTO(tel_batch) struct tel_batch b;

		must(otlp_read_protobuf(TEL_LOGS, it.body, it.len, &b, &why), &why);
		assert_int_equal(it.tenant_id, 7);
		for (uint32_t i = 0; i < b.records; i++) {
			assert_true(b.log[i].time_us > time_us);
			time_us = b.log[i].time_us;
		}
		n += b.records;
		*ret_last = it.seq;
		stream_item_done(&it);
	}
	return n;
}

static void what_is_acknowledged_is_there_and_a_resend_counts_once(void **state)
{
	AUTO(str) char *one = logs(0, 10, 0), *two = logs(10, 5, 0);
	struct oc_fail why = { 0 };
	uint64_t last = 0, mid;
	bool again;

	(void)state;
	must(publish(one, 1, &again, &why), &why);
	assert_false(again);
	must(publish(one, 1, &again, &why), &why);
	assert_true(again);
	assert_int_equal(read_back(0, &last), 10);
	mid = last;
	must(publish(two, 1, &again, &why), &why);
	assert_int_equal(read_back(mid, &last), 5);
	/* what is purged up to a position leaves the rest */
	must(stream_purge(bus, "tel.logs.0.>", mid, &why), &why);
	assert_int_equal(read_back(0, &last), 5);
}

static void a_batch_larger_than_a_message_is_put_in_parts(void **state)
{
	AUTO(str) char *body = logs(100, 300, 10000);
	struct stream_info before, after;
	struct oc_fail why = { 0 };
	uint64_t last = 0;
	bool again;

	(void)state;
	must(stream_info(bus, &before, &why), &why);
	must(publish(body, 1, &again, &why), &why);
	must(stream_info(bus, &after, &why), &why);
	assert_true(after.last - before.last >= 3);
	assert_int_equal(read_back(before.last, &last), 300);
}

static void a_server_that_was_killed_still_has_what_it_acknowledged(void **state)
{
	AUTO(str) char *body = logs(1000, 20, 0), *other = logs(2000, 3, 0);
	struct stream_info before;
	struct oc_fail why = { 0 };
	uint64_t last = 0;
	int64_t until;
	bool again;

	(void)state;
	must(stream_info(bus, &before, &why), &why);
	must(publish(body, 1, &again, &why), &why);
	natstemp_kill(&nats);
	/* the client may take a moment to see it; either way nothing is acknowledged now */
	assert_int_equal(publish(other, 1, &again, &why), OC_UNAVAILABLE);
	natstemp_again(&nats);
	for (until = clock_mono_ms() + 60000; publish(body, 1, &again, &why) != OC_OK;)
		assert_true(clock_mono_ms() < until);
	assert_true(again);
	assert_int_equal(read_back(before.last, &last), 20);
}

static void a_full_stream_refuses_and_drops_nothing(void **state)
{
	struct bus *small = NULL, *mine = bus;
	struct oc_fail why = { 0 };
	enum oc_err err = OC_OK;
	struct stream_info before;
	uint32_t taken = 0;
	uint64_t last = 0;
	bool again;

	(void)state;
	must(bus_open(&(struct bus_config){ .url = nats.url,
					    .name = "small",
					    .prefix = "",
					    .tel_bytes = 1 << 20 },
		      &small, &why),
	     &why);
	must(stream_info(bus, &before, &why), &why);
	must(stream_purge(bus, "tel.>", before.last, &why), &why);
	bus = small;
	for (int i = 0; i < 50 && err == OC_OK; i++) {
		AUTO(str) char *body = logs(100000 + i * 10, 10, 10000);

		err = publish(body, 1, &again, &why);
		taken += err == OC_OK ? 10 : 0;
	}
	assert_int_equal(err, OC_BUSY);
	assert_true(taken > 0);
	assert_int_equal(read_back(0, &last), taken);
	bus = mine;
	bus_close(small);
}

static void records_of_one_resource_meet_in_one_partition(void **state)
{
	AUTO(str) char *body = logs(0, 100, 0);
	AUTO(tel_batch) struct tel_batch b;
	struct oc_fail why = { 0 };

	(void)state;
	must(otlp_read_json(TEL_LOGS, body, strlen(body), &b, &why), &why);
	for (uint32_t i = 1; i < b.records; i++)
		assert_int_equal(tel_partition(&b, i, 8), tel_partition(&b, 0, 8));
}

static int begin(void **state)
{
	struct oc_fail why = { 0 };

	(void)state;
	nats.durable = true;
	natstemp_start(&nats);
	return bus_open(&(struct bus_config){ .url = nats.url, .name = "test" }, &bus, &why) == OC_OK ? 0
												      : -1;
}

static int end(void **state)
{
	(void)state;
	bus_close(bus);
	natstemp_stop(&nats);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_acknowledged_is_there_and_a_resend_counts_once),
		cmocka_unit_test(a_batch_larger_than_a_message_is_put_in_parts),
		cmocka_unit_test(a_server_that_was_killed_still_has_what_it_acknowledged),
		cmocka_unit_test(a_full_stream_refuses_and_drops_nothing),
		cmocka_unit_test(records_of_one_resource_meet_in_one_partition),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
