#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "api/alert.h"
#include "base/mem.h"

struct said {
	const char *header[16], *query[16]; /* name, value, .. */
};

static const char *find(const char *const *pairs, const char *name)
{
	for (; *pairs; pairs += 2)
		if (str_eq(pairs[0], name))
			return pairs[1];
	return NULL;
}

static const char *header(const void *ctx, const char *name)
{
	return find(((const struct said *)ctx)->header, name);
}

static const char *query(const void *ctx, const char *name)
{
	return find(((const struct said *)ctx)->query, name);
}

static enum oc_err read_with(alert_reader *read, const struct said *said, const char *body,
			     struct alert_list *ret, struct oc_fail *fail)
{
	AUTO(json) json_t *doc = NULL;

	memset(ret, 0, sizeof(*ret));
	memset(fail, 0, sizeof(*fail));
	assert_int_equal(json_read(body, strlen(body), NULL, &doc, fail), OC_OK);
	return read(doc, &(struct alert_around){ .header = header, .query = query, .ctx = said }, ret, fail);
}

static const struct said nothing;

static void alertmanager_alerts_fire_and_resolve_by_themselves_whatever_the_group_says(void **state)
{
	static const char body[] =
		"{\"version\":\"4\",\"status\":\"firing\",\"alerts\":["
		"{\"status\":\"firing\",\"labels\":{\"alertname\":\"Slow\",\"namespace\":\"shop\",\"service\":\"cart\",\"severity\":\"critical\"},"
		"\"annotations\":{\"summary\":\"cart is slow\",\"description\":\"p95 at 2 s\"},\"startsAt\":\"2026-01-01T00:00:00Z\","
		"\"endsAt\":\"0001-01-01T00:00:00Z\",\"fingerprint\":\"aa\"},"
		"{\"status\":\"resolved\",\"labels\":{\"alertname\":\"Down\",\"instance\":\"10.0.0.1:9100\"},"
		"\"startsAt\":\"2026-01-01T00:00:00Z\",\"endsAt\":\"2026-01-01T00:05:00Z\",\"fingerprint\":\"bb\"}]}";
	AUTO(alert_list) struct alert_list l = { 0 };
	struct oc_fail fail;

	(void)state;
	assert_int_equal(read_with(alert_read_alertmanager, &nothing, body, &l, &fail), OC_OK);
	assert_int_equal(l.count, 2);
	assert_true(l.item[0].firing && !l.item[1].firing);
	assert_string_equal(l.item[0].title, "cart is slow");
	assert_string_equal(l.item[0].summary, "p95 at 2 s");
	assert_string_equal(l.item[0].severity, "FATAL");
	assert_string_equal(l.item[0].resource, "urn:k8s:svc:shop/cart");
	assert_string_equal(l.item[1].resource, "urn:host:10.0.0.1");
	assert_true(l.item[1].at_us - l.item[0].at_us == INT64_C(300000000));
	assert_string_not_equal(l.item[0].fingerprint, l.item[1].fingerprint);
	assert_true(l.delivery[0] != '\0');
}

static void without_a_fingerprint_the_labels_are_it_in_any_order(void **state)
{
	AUTO(alert_list) struct alert_list a = { 0 };
	AUTO(alert_list) struct alert_list b = { 0 };
	struct oc_fail fail;

	(void)state;
	assert_int_equal(
		read_with(alert_read_grafana, &nothing,
			  "{\"alerts\":[{\"status\":\"firing\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}]}", &a,
			  &fail),
		OC_OK);
	assert_int_equal(
		read_with(alert_read_grafana, &nothing,
			  "{\"alerts\":[{\"status\":\"resolved\",\"labels\":{\"b\":\"2\",\"a\":\"1\"}}]}", &b,
			  &fail),
		OC_OK);
	assert_string_equal(a.item[0].fingerprint, b.item[0].fingerprint);
}

static void a_bad_alert_names_its_place_and_leaves_nothing(void **state)
{
	static const struct {
		alert_reader *read;
		const char *body, *field;
	} bad[] = {
		{ alert_read_alertmanager, "{\"version\":\"3\",\"alerts\":[]}",                             "/version"      },
		{ alert_read_alertmanager, "{\"version\":\"4\"}",                                           "/alerts"       },
		{ alert_read_alertmanager,
                 "{\"version\":\"4\",\"alerts\":[{\"status\":\"firing\",\"labels\":{}},7]}",                "/alerts/1"     },
		{ alert_read_grafana,      "{\"alerts\":[{\"status\":\"odd\",\"labels\":{}}]}",             "/alerts/0"     },
		{ alert_read_grafana,
                 "{\"alerts\":[{\"status\":\"firing\",\"labels\":{},\"startsAt\":\"noon\"}]}",              "/alerts/0"     },
		{ alert_read_pagerduty,    "{\"event_action\":\"sing\"}",                                   "/event_action" },
		{ alert_read_pagerduty,    "{\"event_action\":\"resolve\"}",                                "/dedup_key"    },
		{ alert_read_pagerduty,    "{\"event_action\":\"trigger\",\"payload\":{\"source\":\"a\"}}",
                 "/payload/summary"											 },
		{ alert_read_cloudevents,  "{\"specversion\":\"0.3\"}",                                     "/specversion"  },
		{ alert_read_cloudevents,  "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\"}",       "/id"           },
		{ alert_read_generic,      "{\"name\":\"x\"}",                                              "/title"        },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO(alert_list) struct alert_list l = { 0 };
		struct oc_fail fail;

		assert_int_equal(read_with(bad[i].read, &nothing, bad[i].body, &l, &fail), OC_INVALID);
		assert_string_equal(fail.field, bad[i].field);
		assert_int_equal(l.count, 0);
	}
}

static void a_cloudevent_is_the_same_structured_and_binary_and_its_end_is_its_own(void **state)
{
	static const struct said binary = {
		.header = { "ce-specversion", "1.0", "ce-id", "7", "ce-source", "/mon", "ce-type",
                           "disk.full.raised", "ce-subject", "db1" }
	};
	static const struct said ended = {
		.header = { "ce-specversion", "1.0", "ce-id", "8", "ce-source", "/mon", "ce-type",
                           "disk.full.cleared", "ce-subject", "db1" }
	};
	AUTO(alert_list) struct alert_list a = { 0 };
	AUTO(alert_list) struct alert_list b = { 0 };
	AUTO(alert_list) struct alert_list c = { 0 };
	struct oc_fail fail;

	(void)state;
	assert_int_equal(read_with(alert_read_cloudevents, &binary,
				   "{\"title\":\"disk full\",\"severity\":\"warning\"}", &a, &fail),
			 OC_OK);
	assert_int_equal(
		read_with(
			alert_read_cloudevents, &nothing,
			"{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/mon\",\"type\":\"disk.full.raised\",\"subject\":"
			"\"db1\",\"data\":{\"title\":\"disk full\",\"severity\":\"warning\"}}",
			&b, &fail),
		OC_OK);
	assert_int_equal(read_with(alert_read_cloudevents, &ended, "{}", &c, &fail), OC_OK);
	assert_string_equal(a.item[0].fingerprint, b.item[0].fingerprint);
	assert_string_equal(a.delivery, b.delivery);
	assert_string_equal(a.item[0].severity, "WARN");
	assert_string_equal(a.item[0].fingerprint, c.item[0].fingerprint);
	assert_true(a.item[0].firing && !c.item[0].firing);
	assert_string_not_equal(a.delivery, c.delivery);
}

static void pagerduty_goes_by_its_dedup_key(void **state)
{
	AUTO(alert_list) struct alert_list a = { 0 };
	AUTO(alert_list) struct alert_list b = { 0 };
	AUTO(alert_list) struct alert_list c = { 0 };
	struct oc_fail fail;

	(void)state;
	assert_int_equal(
		read_with(
			alert_read_pagerduty, &nothing,
			"{\"event_action\":\"trigger\",\"dedup_key\":\"k\",\"payload\":{\"summary\":\"db down\",\"source\":\"db1\","
			"\"severity\":\"critical\",\"component\":\"postgres\"}}",
			&a, &fail),
		OC_OK);
	assert_int_equal(read_with(alert_read_pagerduty, &nothing,
				   "{\"event_action\":\"resolve\",\"dedup_key\":\"k\"}", &b, &fail),
			 OC_OK);
	assert_int_equal(read_with(alert_read_pagerduty, &nothing,
				   "{\"event_action\":\"acknowledge\",\"dedup_key\":\"k\"}", &c, &fail),
			 OC_OK);
	assert_string_equal(a.item[0].fingerprint, b.item[0].fingerprint);
	assert_string_equal(a.item[0].resource, "urn:svc:postgres");
	assert_false(b.item[0].firing);
	assert_int_equal(c.count, 0);
}

static void any_json_is_mapped_by_pointers(void **state)
{
	static const struct said map = {
		.query = { "each", "/data/list", "title", "/n", "fingerprint", "/id", "status", "/st",
                          "ended", "3,done", "severity", "/sev" },
		.header = { "Idempotency-Key", "d-1" }
	};
	AUTO(alert_list) struct alert_list l = { 0 };
	struct oc_fail fail;

	(void)state;
	assert_int_equal(
		read_with(
			alert_read_generic, &map,
			"{\"data\":{\"list\":[{\"n\":\"one\",\"id\":5,\"st\":1,\"sev\":\"low\"},{\"n\":\"two\",\"id\":6,\"st\":3}]}}",
			&l, &fail),
		OC_OK);
	assert_int_equal(l.count, 2);
	assert_true(l.item[0].firing && !l.item[1].firing);
	assert_string_equal(l.item[0].severity, "INFO");
	assert_true(l.delivery[0] != '\0');
}

static void a_flood_is_refused_and_long_texts_are_cut_between_characters(void **state)
{
	AUTO(text) struct text body = { 0 };
	AUTO(alert_list) struct alert_list l = { 0 };
	AUTO(alert_list) struct alert_list cut = { 0 };
	struct oc_fail fail;

	(void)state;
	text_add(&body, "{\"alerts\":[");
	for (int i = 0; i <= ALERTS_MAX; i++)
		text_addf(&body, "%s{\"status\":\"firing\",\"labels\":{\"n\":\"%d\"}}", i ? "," : "", i);
	text_add(&body, "]}");
	assert_int_equal(read_with(alert_read_grafana, &nothing, body.s, &l, &fail), OC_INVALID);
	assert_int_equal(l.count, 0);
	text_done(&body);
	text_add(&body, "{\"title\":\"");
	for (int i = 0; i < ALERT_TEXT_MAX; i++)
		text_add(&body, "\xe4\xb8\xad");
	text_add(&body, "\"}");
	assert_int_equal(read_with(alert_read_generic, &nothing, body.s, &cut, &fail), OC_OK);
	assert_int_equal(strlen(cut.item[0].title), ALERT_TEXT_MAX / 3 * 3);
}

static void a_signature_fits_its_body_its_secret_and_its_time(void **state)
{
	unsigned char mac[HASH_LEN];
	char hex[2 * HASH_LEN + 1];

	(void)state;
	hash_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
	str_hex(mac, HASH_LEN, hex);
	/* RFC 4231, test case 2 */
	assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	assert_true(alert_signature_ok("Jefe", NULL, "what do ya want for nothing?", 28, hex, 0));
	assert_false(alert_signature_ok("Jeff", NULL, "what do ya want for nothing?", 28, hex, 0));
	assert_false(alert_signature_ok("Jefe", NULL, "what do ya want for nothing!", 28, hex, 0));
	assert_false(alert_signature_ok("Jefe", NULL, "what do ya want for nothing?", 28, NULL, 0));
	hash_hmac_sha256("Jefe", 4, "1000:x", 6, mac);
	str_hex(mac, HASH_LEN, hex);
	assert_true(alert_signature_ok("Jefe", "1000", "x", 1, hex, INT64_C(1100) * 1000000));
	assert_false(alert_signature_ok("Jefe", "1000", "x", 1, hex, INT64_C(1400) * 1000000));
	assert_false(alert_signature_ok("Jefe", "1001", "x", 1, hex, INT64_C(1100) * 1000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alertmanager_alerts_fire_and_resolve_by_themselves_whatever_the_group_says),
		cmocka_unit_test(without_a_fingerprint_the_labels_are_it_in_any_order),
		cmocka_unit_test(a_bad_alert_names_its_place_and_leaves_nothing),
		cmocka_unit_test(a_cloudevent_is_the_same_structured_and_binary_and_its_end_is_its_own),
		cmocka_unit_test(pagerduty_goes_by_its_dedup_key),
		cmocka_unit_test(any_json_is_mapped_by_pointers),
		cmocka_unit_test(a_flood_is_refused_and_long_texts_are_cut_between_characters),
		cmocka_unit_test(a_signature_fits_its_body_its_secret_and_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
