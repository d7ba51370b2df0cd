/* Signals become cases through the real door, on a real PostgreSQL. */
#include "tests/integration/rig.h"
#include "analyst/opener.h"
#include "analyst/slo_watch.h"
#include "analyst/watch.h"
#include "apps/opscased/case_door.h"
#include "store/signal.h"
#include "store/story.h"

#define S INT64_C(1000000)

static int64_t now_us;
static struct opener_config config = {
	.least_confidence = 0.5, .storm_signals = 4, .storm_s = 300, .follow_s = 3600
};

static void raise_at(const char *fingerprint, double confidence, int debounce_s, int64_t at_us)
{
	AUTO(json) json_t *labels = json_pack("{s:s, s:s}", "service", "cart", "fp", fingerprint);
	AUTO(json)
	json_t *links = json_pack("[{s:s, s:{s:s, s:{s:s}}, s:s}]", "dim", "metric", "ref_pg", "table",
				  "metric_1m", "keys", "metric", "cpu", "note", "cpu was 12, is 90");
	struct oc_fail why = { 0 };

	if (signal_raise(pg, tenant,
			 &(struct signal_new){ .fingerprint = fingerprint,
					       .source = "analyst",
					       .kind = "anomaly",
					       .title = "cpu of cart",
					       .severity = "ERROR",
					       .labels = labels,
					       .links = links,
					       .confidence = confidence,
					       .at_us = at_us,
					       .debounce_s = debounce_s },
			 NULL, &why) != OC_OK)
		fail_msg("%s", why.text);
}

static void end(const char *fingerprint, int64_t at_us)
{
	bool was_open;
	struct oc_fail why = { 0 };

	if (signal_clear(pg, tenant, fingerprint, at_us, &was_open, &why) != OC_OK)
		fail_msg("%s", why.text);
	assert_true(was_open);
}

static struct opener_done pass(int64_t at_us)
{
	struct opener_done done;

	opener_pass(pg, &config, &case_door, at_us, &done);
	assert_int_equal(done.failed, 0);
	return done;
}

static char *case_of(const char *fingerprint)
{
	return one("SELECT case_id FROM signal WHERE fingerprint = $1 ORDER BY first_at DESC LIMIT 1",
		   fingerprint);
}

static char *status_of(const char *id)
{
	return one("SELECT status || ' ' || coalesce(resolution, '') FROM ops_case WHERE id = $1::uuid", id);
}

static int fresh(void **state)
{
	(void)state;
	pgtemp_exec(
		db,
		"TRUNCATE metric_1m, service_call_5m, log_pattern_5m, detector_state;"
		"DELETE FROM signal; DELETE FROM maintenance_window; DELETE FROM evidence_link; DELETE FROM event_envelope;"
		"UPDATE ops_case SET status = 'CLOSED', resolution = 'cancelled', closed_at = now() - interval '1 day',"
		" created_at = created_at - interval '2 days', park_reason = NULL WHERE status <> 'CLOSED';"
		"UPDATE ops_case SET created_at = created_at - interval '2 days'");
	config.storm_signals = 4;
	now_us = clock_wall_us();
	return 0;
}

static void a_signal_that_lasts_opens_one_case_with_its_evidence(void **state)
{
	AUTO(str) char *id = NULL, *events = NULL, *opened_by = NULL, *asked = NULL, *times = NULL;

	(void)state;
	raise_at("a", .9, 60, now_us);
	assert_int_equal(pass(now_us + 30 * S).opened, 0);
	raise_at("a", .9, 60, now_us + 40 * S);
	assert_int_equal(pass(now_us + 61 * S).opened, 1);
	assert_int_equal(pass(now_us + 62 * S).opened, 0);
	id = case_of("a");
	opened_by = one("SELECT opened_by || ' ' || drive || ' ' || status FROM ops_case WHERE id = $1::uuid",
			id);
	assert_string_equal(opened_by, "service:analyst auto ANALYZING");
	asked = one("SELECT count(*) FROM outbox WHERE case_id = $1::uuid AND topic LIKE 'cmd.analysis.run%'",
		    id);
	assert_string_equal(asked, "1");
	events = one("SELECT count(*) FROM event_envelope e JOIN evidence_link l USING (tenant_id, event_id)"
		     " WHERE e.case_id = $1::uuid AND l.note = 'cpu was 12, is 90'",
		     id);
	assert_string_equal(events, "1");
	times = one("SELECT times FROM signal WHERE fingerprint = $1", "a");
	assert_string_equal(times, "2");
}

static void a_signal_that_ends_in_its_debounce_opens_none(void **state)
{
	(void)state;
	raise_at("short", .9, 60, now_us);
	end("short", now_us + 30 * S);
	assert_int_equal(pass(now_us + 120 * S).opened, 0);
}

static void one_that_is_not_sure_enough_opens_none_until_it_is(void **state)
{
	(void)state;
	raise_at("maybe", .2, 0, now_us);
	assert_int_equal(pass(now_us + S).opened, 0);
	raise_at("maybe", .8, 0, now_us + 2 * S);
	assert_int_equal(pass(now_us + 3 * S).opened, 1);
}

static void a_case_with_nothing_dispatched_closes_when_its_signals_end(void **state)
{
	AUTO(str) char *id = NULL, *status = NULL, *rows = NULL;

	(void)state;
	raise_at("gone", .9, 0, now_us);
	pass(now_us + S);
	id = case_of("gone");
	end("gone", now_us + 10 * S);
	assert_int_equal(pass(now_us + 11 * S).cleared, 1);
	status = status_of(id);
	assert_string_equal(status, "CLOSED resolved_by_itself");
	assert_int_equal(pass(now_us + 12 * S).cleared, 0);
	rows = one("SELECT count(*) FROM case_timeline WHERE case_id = $1::uuid AND event = 'signal_cleared'",
		   id);
	assert_string_equal(rows, "1");
}

static void a_closed_case_takes_no_signal_in_and_a_new_one_follows_it(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL, *third = NULL, *follows = NULL, *none = NULL;
	struct opener_done done;
	int64_t late_us = now_us + 3 * 3600 * S;

	(void)state;
	raise_at("again", .9, 0, now_us);
	pass(now_us + S);
	first = case_of("again");
	end("again", now_us + 2 * S);
	pass(now_us + 3 * S);
	raise_at("again", .9, 0, now_us + 20 * S);
	done = pass(now_us + 21 * S);
	assert_int_equal(done.opened, 1);
	assert_int_equal(done.followed, 1);
	second = case_of("again");
	assert_string_not_equal(first, second);
	follows = one("SELECT follows_id FROM ops_case WHERE id = $1::uuid", second);
	assert_string_equal(follows, first);
	/* Long after, it is a case of its own. */
	end("again", now_us + 30 * S);
	pass(now_us + 31 * S);
	raise_at("again", .9, 0, late_us);
	assert_int_equal(pass(late_us + S).followed, 0);
	third = case_of("again");
	none = one("SELECT coalesce(follows_id::text, 'none') FROM ops_case WHERE id = $1::uuid", third);
	assert_string_equal(none, "none");
}

static void a_new_episode_joins_the_case_that_is_still_open(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL;
	bool was_open;
	struct opener_done done;
	struct oc_fail why;

	(void)state;
	raise_at("flap", .9, 0, now_us);
	pass(now_us + S);
	first = case_of("flap");
	/* Ended and back before anybody looked. */
	assert_int_equal(signal_clear(pg, tenant, "flap", now_us + 2 * S, &was_open, &why), OC_OK);
	raise_at("flap", .9, 0, now_us + 3 * S);
	done = pass(now_us + 4 * S);
	assert_int_equal(done.joined, 1);
	assert_int_equal(done.opened, 0);
	second = case_of("flap");
	assert_string_equal(first, second);
	assert_int_equal(pass(now_us + 5 * S).cleared, 0);
}

static void a_storm_opens_one_parent_and_every_child_is_absorbed(void **state)
{
	AUTO(str) char *parents = NULL, *asked = NULL, *children = NULL, *parent = NULL, *status = NULL;
	struct opener_done done;
	char name[32];

	(void)state;
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "storm%d", i);
		raise_at(name, .9, 0, now_us);
	}
	done = pass(now_us + S);
	assert_int_equal(done.opened, 1);
	assert_int_equal(done.absorbed, 30);
	/* Latecomers join the same storm. */
	raise_at("late", .9, 0, now_us + 30 * S);
	done = pass(now_us + 31 * S);
	assert_int_equal(done.opened, 0);
	assert_int_equal(done.absorbed, 1);
	parents = one("SELECT count(*) FROM ops_case WHERE status <> 'CLOSED' AND $1 = $1", "x");
	assert_string_equal(parents, "1");
	parent = one("SELECT id FROM ops_case WHERE status <> 'CLOSED' AND $1 = $1", "x");
	children = one("SELECT count(*) FROM ops_case WHERE parent_id = $1::uuid AND resolution = 'merged'",
		       parent);
	assert_string_equal(children, "31");
	asked = one("SELECT count(*) FROM outbox WHERE done_at IS NULL AND topic LIKE 'cmd.analysis%'"
		    " AND case_id IN (SELECT id FROM ops_case WHERE id = $1::uuid OR parent_id = $1::uuid)",
		    parent);
	assert_string_equal(asked, "1");
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "storm%d", i);
		end(name, now_us + 60 * S);
	}
	assert_int_equal(pass(now_us + 61 * S).cleared, 0);
	end("late", now_us + 62 * S);
	assert_int_equal(pass(now_us + 63 * S).cleared, 1);
	status = status_of(parent);
	assert_string_equal(status, "CLOSED resolved_by_itself");
}

static void maintenance_holds_only_the_signals_that_it_names(void **state)
{
	AUTO(str) char *held = NULL;

	(void)state;
	pgtemp_exec(
		db,
		"INSERT INTO maintenance_window (tenant_id, starts_at, ends_at, labels, reason, created_by)"
		" SELECT tenant_id, now() - interval '1 minute', now() + interval '10 minutes', '{\"fp\":\"held\"}', 'move', 'me'"
		" FROM dim_tenant");
	raise_at("held", .9, 0, now_us);
	raise_at("free", .9, 0, now_us);
	assert_int_equal(pass(now_us + S).opened, 1);
	held = case_of("held");
	assert_string_equal(held, "");
	/* Still there when the window is over: now it is a case. */
	assert_int_equal(pass(now_us + 700 * S).opened, 1);
}

static void raise_of(const char *fingerprint, const char *source, const char *urn, int debounce_s,
		     int64_t at_us)
{
	AUTO(json) json_t *labels = json_pack("{s:s, s:s}", "resource", urn, "metric", "http.latency_ms");
	struct oc_fail why = { 0 };

	if (signal_raise(pg, tenant,
			 &(struct signal_new){ .fingerprint = fingerprint,
					       .source = source,
					       .kind = "anomaly",
					       .title = fingerprint,
					       .resource = urn,
					       .severity = "ERROR",
					       .labels = labels,
					       .confidence = .9,
					       .at_us = at_us,
					       .debounce_s = debounce_s },
			 NULL, &why) != OC_OK)
		fail_msg("%s", why.text);
}

/* web calls shop, shop calls shop-blue; other is called by nobody. shop is known to be behind a gateway. */
static void little_site(void)
{
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name, labels) SELECT %lld, 'urn:svc:' || n, 'svc', n, '{}' FROM unnest("
		"ARRAY['site-web', 'site-shop', 'site-blue', 'site-other']) n ON CONFLICT DO NOTHING;"
		"UPDATE dim_resource SET labels = '{\"gateway\":\"edge\",\"metric\":\"not this\",\"storm\":\"true\",\"n\":7}' WHERE urn ="
		" 'urn:svc:site-shop';"
		"INSERT INTO service_call_5m (bucket, tenant_id, src_resource_id, dst_resource_id, err_rate, p95_ms, count, errors)"
		" SELECT to_timestamp(%lld), a.tenant_id, a.resource_id, b.resource_id, 0, 10, 100, 0 FROM dim_resource a, dim_resource b WHERE"
		" a.tenant_id = %lld AND b.tenant_id = %lld AND (a.urn, b.urn) IN (('urn:svc:site-web', 'urn:svc:site-shop'),"
		" ('urn:svc:site-shop', 'urn:svc:site-blue'))",
		tenant, (long long)(now_us / (300 * S) * 300), tenant, tenant);

	pgtemp_exec(db, sql);
}

static void what_is_odd_at_both_ends_of_a_call_is_one_case_of_the_caller(void **state)
{
	AUTO(str)
	char *shop = NULL, *blue = NULL, *second = NULL, *other = NULL, *alert = NULL, *late = NULL,
	     *resource = NULL, *status = NULL;
	struct opener_done done;

	(void)state;
	config.storm_signals = 10;
	little_site();
	/* The callee is ready first, and waits for its caller's debounce. */
	raise_of("blue-latency", "analyst", "urn:svc:site-blue", 0, now_us);
	raise_of("shop-latency", "analyst", "urn:svc:site-shop", 5, now_us);
	done = pass(now_us + S);
	assert_int_equal(done.opened + done.joined, 0);
	raise_of("shop-errors", "slo", "urn:svc:site-shop", 5, now_us);
	done = pass(now_us + 6 * S);
	assert_int_equal(done.opened, 1);
	assert_int_equal(done.joined, 2);
	shop = case_of("shop-latency");
	blue = case_of("blue-latency");
	second = case_of("shop-errors");
	assert_string_equal(shop, blue);
	assert_string_equal(shop, second);
	/* It knows of its resource what is known; what the signal says goes first, and only a storm is one. */
	resource = one(
		"SELECT concat_ws(' ', labels->>'resource', labels->>'gateway', labels->>'metric', labels->>'storm', labels->>'n')"
		" FROM case_body WHERE case_id = $1::uuid",
		shop);
	assert_string_equal(resource, "urn:svc:site-shop edge http.latency_ms");
	/* Far away, or said by somebody else, is a case of its own. */
	raise_of("other-latency", "analyst", "urn:svc:site-other", 0, now_us + 7 * S);
	raise_of("shop-alert", "alertmanager", "urn:svc:site-shop", 0, now_us + 7 * S);
	assert_int_equal(pass(now_us + 8 * S).opened, 2);
	other = case_of("other-latency");
	alert = case_of("shop-alert");
	assert_string_not_equal(other, shop);
	assert_string_not_equal(alert, shop);
	/* All of its signals have to end. */
	end("shop-latency", now_us + 9 * S);
	end("shop-errors", now_us + 9 * S);
	assert_int_equal(pass(now_us + 10 * S).cleared, 0);
	end("blue-latency", now_us + 11 * S);
	assert_int_equal(pass(now_us + 12 * S).cleared, 1);
	status = status_of(shop);
	assert_string_equal(status, "CLOSED resolved_by_itself");
	/* A closed case takes nothing in. */
	raise_of("web-latency", "analyst", "urn:svc:site-web", 0, now_us + 13 * S);
	assert_int_equal(pass(now_us + 14 * S).opened, 1);
	late = case_of("web-latency");
	assert_string_not_equal(late, shop);
}

static void a_crash_between_opening_and_remembering_opens_no_second_case(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL, *n = NULL;

	(void)state;
	raise_at("crash", .9, 0, now_us);
	pass(now_us + S);
	first = case_of("crash");
	pgtemp_exec(db, "UPDATE signal SET case_id = NULL WHERE fingerprint = 'crash'");
	pass(now_us + 2 * S);
	second = case_of("crash");
	assert_string_equal(first, second);
	n = one("SELECT count(*) FROM ops_case WHERE status <> 'CLOSED' AND $1 = $1", "x");
	assert_string_equal(n, "1");
}

/* Two days of a quiet cpu, a bucket a minute, ending at `until`; from `from` on it is `by` higher. */
static void cpu_rows(int64_t until_us, int64_t from_us, double by)
{
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, 'urn:k8s:svc:shop/cart', 'k8s:svc', 'shop/cart')"
		" ON CONFLICT DO NOTHING;"
		"INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, avg_val, series_id, count)"
		" SELECT b, %lld, r.resource_id, 'cpu', 20 + 3 * sin(n) + 2 * cos(n * 1.7) + CASE WHEN b >= to_timestamp(%lld) THEN %g ELSE 0"
		" END, 77, 1 FROM generate_series(to_timestamp(%lld) - interval '2 days', to_timestamp(%lld), interval '1 minute')"
		" WITH ORDINALITY AS g(b, n), dim_resource r WHERE r.urn = 'urn:k8s:svc:shop/cart' AND r.tenant_id = %lld"
		" ON CONFLICT (bucket, tenant_id, series_id) DO UPDATE SET avg_val = excluded.avg_val",
		tenant, tenant, (long long)(from_us / S), by, (long long)(until_us / S),
		(long long)(until_us / S), tenant);

	pgtemp_exec(db, sql);
}

static void metric_rows_become_an_event_a_case_and_an_end(void **state)
{
	AUTO(watch)
	struct watch *w = watch_new(&(struct watch_config){
		.bucket_s = 60, .delay_s = 5, .false_alarms = .6, .debounce_s = 60, .history_s = 3 * 86400 });
	AUTO(str) char *id = NULL, *note = NULL, *status = NULL, *kept = NULL, *urn = NULL;
	struct watch_done done;
	struct oc_fail why = { 0 };
	int64_t minute = now_us / (60 * S) * 60 * S, t = minute;

	(void)state;
	cpu_rows(minute - 60 * S, minute + 86400 * S, 0);
	assert_int_equal(watch_pass(w, pg, minute + 6 * S, &done, &why), OC_OK);
	assert_true(done.samples > 2800);
	assert_int_equal(done.raised, 0);
	/* It jumps, and stays there for ten minutes; a minute is looked at as it closes. */
	cpu_rows(minute + 600 * S, minute, 60);
	for (; t <= minute + 600 * S; t += 60 * S)
		assert_int_equal(watch_pass(w, pg, t + 66 * S, &done, &why), OC_OK);
	assert_int_equal(pass(t).opened, 1);
	id = case_of("series:000000000000004d");
	urn = one("SELECT labels->>'resource' FROM case_body WHERE case_id = $1::uuid", id);
	assert_string_equal(urn, "urn:k8s:svc:shop/cart");
	note = one(
		"SELECT l.note FROM evidence_link l JOIN event_envelope e USING (tenant_id, event_id) WHERE e.case_id = $1::uuid"
		" AND l.ref_pg->>'table' = 'metric_1m' AND EXISTS (SELECT FROM metric_1m m WHERE m.bucket = (l.ref_pg->'keys'->>'bucket')"
		"::timestamptz AND m.series_id = (l.ref_pg->'keys'->>'series_id')::bigint)",
		id);
	assert_true(strstr(note, "its hour has held") != NULL);
	/* What was learned survives a restart. */
	assert_int_equal(watch_save(w, pg, &why), OC_OK);
	kept = one("SELECT count(*) FROM detector_state WHERE series_id = $1::bigint", "77");
	assert_string_equal(kept, "1");
	watch_free(w);
	w = watch_new(&(struct watch_config){
		.bucket_s = 60, .delay_s = 5, .false_alarms = .6, .debounce_s = 60, .history_s = 3 * 86400 });
	cpu_rows(minute + 1800 * S, minute + 86400 * S, 0);
	assert_int_equal(watch_pass(w, pg, minute + 1866 * S, &done, &why), OC_OK);
	assert_true(done.samples < 100);
	assert_int_equal(done.cleared, 1);
	assert_int_equal(pass(minute + 1870 * S).cleared, 1);
	status = status_of(id);
	assert_string_equal(status, "CLOSED resolved_by_itself");
}

static void a_new_error_pattern_is_a_signal_and_a_known_one_is_none(void **state)
{
	AUTO(watch)
	struct watch *w =
		watch_new(&(struct watch_config){ .bucket_s = 60, .delay_s = 5, .false_alarms = .6 });
	AUTO(str) char *title = NULL, *n = NULL;
	int64_t window = now_us / (300 * S) * 300 * S;
	struct watch_done done;
	struct oc_fail why = { 0 };
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, 'urn:k8s:svc:shop/cart', 'k8s:svc', 'shop/cart')"
		" ON CONFLICT DO NOTHING;"
		"INSERT INTO log_pattern (tenant_id, pattern) VALUES (%lld, 'served <*>'), (%lld, 'cannot reach <*>') ON CONFLICT DO NOTHING;"
		"INSERT INTO log_pattern_5m (bucket, tenant_id, resource_id, fingerprint_id, count_total, count_error)"
		" SELECT b, p.tenant_id, r.resource_id, p.fingerprint_id, 10, 0 FROM generate_series(to_timestamp(%lld) - interval '3 hours',"
		" to_timestamp(%lld), interval '5 minutes') b, log_pattern p, dim_resource r WHERE p.pattern = 'served <*>' AND p.tenant_id = %lld"
		" AND r.tenant_id = %lld AND r.urn = 'urn:k8s:svc:shop/cart';"
		"INSERT INTO log_pattern_5m (bucket, tenant_id, resource_id, fingerprint_id, count_total, count_error)"
		" SELECT to_timestamp(%lld), p.tenant_id, r.resource_id, p.fingerprint_id, 7, 7 FROM log_pattern p, dim_resource r"
		" WHERE p.pattern = 'cannot reach <*>' AND p.tenant_id = %lld AND r.tenant_id = %lld AND r.urn = 'urn:k8s:svc:shop/cart'",
		tenant, tenant, tenant, (long long)(window / S), (long long)(window / S), tenant, tenant,
		(long long)(window / S), tenant, tenant);

	(void)state;
	pgtemp_exec(db, sql);
	assert_int_equal(watch_pass(w, pg, window + 306 * S, &done, &why), OC_OK);
	n = one("SELECT count(*) FROM signal WHERE kind = $1", "log_pattern");
	assert_string_equal(n, "1");
	title = one("SELECT title FROM signal WHERE kind = $1", "log_pattern");
	assert_string_equal(title, "new log pattern at urn:k8s:svc:shop/cart: cannot reach <*>");
	assert_int_equal(pass(window + 307 * S).opened, 1);
}

/* Rows of a series of its own, one a minute in (from, until], with the values of the expression over n, the minute since `from`. */
static void metric_rows(const char *urn, const char *metric, int series, int64_t from_us, int64_t until_us,
			const char *value)
{
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, '%s', 'svc', 'x') ON CONFLICT DO NOTHING;"
		"INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, avg_val, series_id, count)"
		" SELECT to_timestamp(%lld + n * 60), r.tenant_id, r.resource_id, '%s', %s, %d, 1 FROM generate_series(1, %lld) n, dim_resource r"
		" WHERE r.tenant_id = %lld AND r.urn = '%s'",
		tenant, urn, (long long)(from_us / S), metric, value, series,
		(long long)((until_us - from_us) / (60 * S)), tenant, urn);

	pgtemp_exec(db, sql);
}

static struct watch *watching(void)
{
	return watch_new(&(struct watch_config){
		.bucket_s = 60, .delay_s = 5, .false_alarms = .6, .debounce_s = 60, .history_s = 3 * 86400 });
}

static struct watch_done look_at(struct watch *w, int64_t minute_us)
{
	struct watch_done done;
	struct oc_fail why = { 0 };

	if (watch_pass(w, pg, minute_us + 66 * S, &done, &why) != OC_OK)
		fail_msg("%s", why.text);
	return done;
}

#define OPEN_SILENT                                                                                                    \
	"SELECT coalesce(string_agg(fingerprint, ' ' ORDER BY fingerprint), '') FROM signal WHERE status = 'open' AND" \
	" fingerprint LIKE $1"

static void what_fell_silent_is_said_once_by_the_largest_that_did(void **state)
{
	AUTO(watch) struct watch *w = watching();
	AUTO(str)
	char *one_series = NULL, *one_resource = NULL, *everybody = NULL, *after = NULL, *id = NULL,
	     *last = NULL;
	int64_t minute = now_us / (60 * S) * 60 * S, t = minute - 300 * 60 * S, calm;

	(void)state;
	calm = minute - 30 * 60 * S;
	metric_rows("urn:svc:loud", "cpu", 101, t, minute - 12 * 60 * S, "20 + 3 * sin(n)");
	metric_rows("urn:svc:loud", "jobs", 102, t, calm, "7 + cos(n)");
	metric_rows("urn:svc:dead", "cpu", 103, t, calm, "20 + 3 * cos(n)");
	metric_rows("urn:svc:dead", "jobs", 104, t, calm, "9 + 3 * cos(n)");
	assert_int_equal(look_at(w, calm).raised, 0);
	/* A quarter of an hour later one series of a resource that is heard, and all of another, are gone. */
	assert_int_equal(look_at(w, calm + 15 * 60 * S).raised, 2);
	one_series = one(OPEN_SILENT, "silent-series:%");
	assert_string_equal(one_series, "silent-series:0000000000000066");
	one_resource = one(OPEN_SILENT, "silent:%");
	assert_string_equal(one_resource, "silent:urn:svc:dead");
	/* The one that is silent as a whole is a case, the single series none. */
	assert_int_equal(pass(calm + 20 * 60 * S).opened, 1);
	id = case_of("silent:urn:svc:dead");
	assert_int_not_equal(strlen(id), 0);
	/* Nothing new is said while it stays so; then the last one that was heard stops, and with it everything. */
	assert_int_equal(look_at(w, minute).raised, 1);
	everybody = one(OPEN_SILENT, "silent:*");
	assert_string_equal(everybody, "silent:*");
	/* One is heard again: not everything is silent, and not that resource. The dead one is still dead. */
	metric_rows("urn:svc:loud", "cpu", 101, minute + 60 * S, minute + 180 * S, "20");
	assert_true(look_at(w, minute + 180 * S).cleared >= 1);
	after = one(OPEN_SILENT, "silent:%");
	assert_string_equal(after, "silent:urn:svc:dead");
	metric_rows("urn:svc:dead", "cpu", 103, minute + 180 * S, minute + 300 * S, "20");
	look_at(w, minute + 300 * S);
	last = one(OPEN_SILENT, "silent:%");
	assert_string_equal(last, "");
}

static void silence_survives_a_restart_and_after_a_day_is_usual(void **state)
{
	AUTO(watch) struct watch *w = watching();
	AUTO(str) char *open = NULL, *later = NULL;
	struct oc_fail why = { 0 };
	int64_t minute = now_us / (60 * S) * 60 * S, t = minute - 400 * 60 * S, calm = minute - 30 * 60 * S;

	(void)state;
	metric_rows("urn:svc:heard", "cpu", 111, t, minute + 2 * 86400 * S, "20 + 3 * sin(n)");
	metric_rows("urn:svc:gone", "cpu", 112, t, calm, "20 + 3 * sin(n)");
	look_at(w, calm);
	assert_int_equal(look_at(w, calm + 15 * 60 * S).raised, 1);
	assert_int_equal(watch_save(w, pg, &why), OC_OK);
	watch_free(w);
	w = watching();
	assert_int_equal(look_at(w, calm + 20 * 60 * S).raised, 0);
	open = one(OPEN_SILENT, "silent:%");
	assert_string_equal(open, "silent:urn:svc:gone");
	look_at(w, calm + 86400 * S + 1800 * S);
	later = one(OPEN_SILENT, "silent:%");
	assert_string_equal(later, "");
}

static void a_disk_that_fills_is_told_before_it_is_full(void **state)
{
	AUTO(watch) struct watch *w = watching();
	AUTO(str) char *title = NULL, *n = NULL, *look = NULL, *gone = NULL, *id = NULL;
	int64_t minute = now_us / (60 * S) * 60 * S, t = minute - 600 * 60 * S;

	(void)state;
	/* Ten hours: from 60 % by .06 % a minute, full in an hour; next to it the same that is no share, and one that only moves. */
	metric_rows("urn:host:db1", "system.filesystem.utilization", 121, t, minute,
		    ".6 + .0006 * n + .001 * sin(n)");
	metric_rows("urn:host:db1", "orders", 122, t, minute, ".6 + .0006 * n + .001 * sin(n)");
	metric_rows("urn:host:db1", "system.cpu.utilization", 123, t, minute, ".6 + .1 * sin(n)");
	for (int64_t at = t; at <= minute; at += 600 * S)
		look_at(w, at);
	n = one("SELECT count(*) FROM signal WHERE fingerprint LIKE $1", "filling:%");
	assert_string_equal(n, "1");
	title = one("SELECT title FROM signal WHERE fingerprint = $1", "filling:0000000000000079");
	assert_non_null(strstr(title, "system.filesystem.utilization of urn:host:db1 reaches 1 in about "));
	look = one(
		"SELECT labels->>'look' || ' ' || severity || ' ' || (confidence > .7)::text FROM signal WHERE fingerprint = $1",
		"filling:0000000000000079");
	assert_string_equal(look, "saturation WARN true");
	pass(minute);
	id = case_of("filling:0000000000000079");
	assert_int_not_equal(strlen(id), 0);
	/* Somebody cleans up. */
	metric_rows("urn:host:db1", "system.filesystem.utilization", 121, minute, minute + 120 * 60 * S,
		    ".3");
	for (int64_t at = minute; at <= minute + 120 * 60 * S; at += 600 * S)
		look_at(w, at);
	gone = one("SELECT status FROM signal WHERE fingerprint = $1", "filling:0000000000000079");
	assert_string_equal(gone, "cleared");
}

/* Rows of a log pattern each five minutes in [from, until): `count` times, `errors` of them. */
static void pattern_rows(const char *pattern, int64_t from_us, int64_t until_us, int count, int errors)
{
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, 'urn:svc:logs', 'svc', 'logs') ON CONFLICT DO NOTHING;"
		"INSERT INTO log_pattern (tenant_id, pattern) SELECT %lld, '%s' WHERE NOT EXISTS (SELECT FROM log_pattern WHERE tenant_id = %lld"
		" AND pattern = '%s');"
		"INSERT INTO log_pattern_5m (bucket, tenant_id, resource_id, fingerprint_id, count_total, count_error)"
		" SELECT b, p.tenant_id, r.resource_id, p.fingerprint_id, %d, %d FROM generate_series(to_timestamp(%lld), to_timestamp(%lld),"
		" interval '5 minutes') b, log_pattern p, dim_resource r WHERE p.pattern = '%s' AND p.tenant_id = %lld AND r.tenant_id = %lld"
		" AND r.urn = 'urn:svc:logs'",
		tenant, tenant, pattern, tenant, pattern, count, errors, (long long)(from_us / S),
		(long long)((until_us - S) / S), pattern, tenant, tenant);

	pgtemp_exec(db, sql);
}

#define OPEN_LOG \
	"SELECT coalesce(string_agg(title, '; '), '') FROM signal WHERE status = 'open' AND kind = $1"

static void log_patterns_that_are_new_surge_or_vanish_are_told_and_end(void **state)
{
	AUTO(watch)
	struct watch *w =
		watch_new(&(struct watch_config){ .bucket_s = 60, .delay_s = 5, .false_alarms = .6 });
	AUTO(str) char *titles = NULL, *links = NULL, *open = NULL, *left = NULL;
	int64_t window = now_us / (300 * S) * 300 * S, day = window - 86400 * S, until = window + 1800 * S;

	(void)state;
	pattern_rows("served <*>", day, until, 100, 0);
	pattern_rows("heartbeat <*>", day, window, 12, 0);
	pattern_rows("retry <*>", day, window, 4, 0);
	pattern_rows("retry <*>", window, window + 300 * S, 80, 80);
	pattern_rows("retry <*>", window + 300 * S, until, 4, 0);
	pattern_rows("cannot reach <*>", window, window + 300 * S, 7, 7);
	/* New, but no error; and more often, but not by much: no news. */
	pattern_rows("hello <*>", window, until, 90, 0);
	look_at(w, window - 360 * S);
	for (int i = 0; i < 4; i++)
		look_at(w, window + (i + 1) * 300 * S);
	titles = one("SELECT string_agg(title, '; ' ORDER BY title) FROM signal WHERE kind = $1",
		     "log_pattern");
	assert_string_equal(
		titles,
		"new log pattern at urn:svc:logs: cannot reach <*>; surging log pattern at urn:svc:logs: retry <*>;"
		" vanished log pattern at urn:svc:logs: heartbeat <*>");
	/* What came is there to be opened; what vanished has no row in that window. */
	links = one(
		"SELECT count(*) FROM signal s JOIN evidence_link l ON l.tenant_id = s.tenant_id AND l.event_id = s.signal_id JOIN log_pattern_5m p"
		" ON p.bucket = (l.ref_pg->'keys'->>'bucket')::timestamptz AND p.fingerprint_id = (l.ref_pg->'keys'->>'fingerprint_id')::bigint"
		" WHERE s.kind = $1",
		"log_pattern");
	assert_string_equal(links, "2");
	/* Those with errors are sure enough for a case; the first two have ended by then, since nobody said more. */
	open = one(OPEN_LOG, "log_pattern");
	assert_string_equal(open, "vanished log pattern at urn:svc:logs: heartbeat <*>");
	assert_int_equal(pass(window + 1300 * S).opened, 0);
	/* It is back. */
	pattern_rows("heartbeat <*>", window + 1200 * S, until, 12, 0);
	look_at(w, window + 1500 * S);
	look_at(w, window + 1800 * S);
	look_at(w, window + 2100 * S);
	left = one(OPEN_LOG, "log_pattern");
	assert_string_equal(left, "");
}

static void the_story_of_a_case_is_one_list_in_the_order_of_time(void **state)
{
	AUTO(pg) struct pg *api = pgtemp_open(db->api);
	AUTO(json) json_t *story = NULL, *none = NULL;
	AUTO(str) char *id = NULL;
	struct oc_fail why = { 0 };
	const char *last = "", *const want[] = { "change", "signal", "log", "signal", "case", "case" };
	const json_t *e;
	size_t i, seen = 0;

	(void)state;
	pgtemp_exec(
		db,
		"INSERT INTO dim_resource (tenant_id, urn, type, name) SELECT tenant_id, 'urn:svc:told', 'svc', 'told' FROM dim_tenant WHERE code = 't-signals'"
		" ON CONFLICT DO NOTHING; INSERT INTO event_envelope (tenant_id, resource_id, severity, kind, title, detected_at)"
		" SELECT tenant_id, resource_id, 'INFO', 'deploy', 'told 2.0', now() - interval '5 minutes' FROM dim_resource"
		" WHERE urn = 'urn:svc:told';"
		"INSERT INTO signal (tenant_id, fingerprint, source, kind, resource, title, severity, confidence, first_at, last_at,"
		" ready_at) SELECT tenant_id, k, 'analyst', k, 'urn:svc:told', k, 'WARN', c, now() - a, now(), now() FROM (SELECT tenant_id FROM"
		" dim_tenant WHERE code = 't-signals') t, (VALUES ('anomaly', interval '4 minutes', .9), ('log_pattern', interval '3 minutes', .1)) AS x(k, a, c)");
	pass(now_us + S);
	id = case_of("anomaly");
	end("anomaly", now_us - S);
	pass(now_us + 2 * S);
	if (story_read(api, tenant, id, &story, &why) != OC_OK)
		fail_msg("%s", why.text);
	json_array_foreach(story, i, e)
	{
		assert_true(strcmp(last, json_str(e, "at")) <= 0);
		last = json_str(e, "at");
		assert_non_null(json_str(json_object_get(e, "ref"), "table"));
		if (seen < ARRAY_LEN(want) && str_eq(json_str(e, "kind"), want[seen]))
			seen++;
	}
	assert_int_equal(seen, ARRAY_LEN(want));
	assert_string_equal(json_str(json_array_get(story, 0), "what"), "told 2.0");
	/* Another tenant's is none. */
	assert_int_equal(story_read(api, tenant + 1000, id, &none, &why), OC_NOT_FOUND);
}

/* Six hours of calls of the cart, a thousand each five minutes; `bad` of them fail in the last two hours. */
static void cart_calls(int bad)
{
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, 'urn:k8s:svc:shop/cart', 'k8s:svc', 'shop/cart')"
		" ON CONFLICT DO NOTHING;"
		"INSERT INTO service_call_5m (bucket, tenant_id, src_resource_id, dst_resource_id, err_rate, p95_ms, count, errors)"
		" SELECT b, r.tenant_id, 1, r.resource_id, 0, 10, 1000, CASE WHEN b > to_timestamp(%lld) - interval '2 hours' THEN %d ELSE 0 END"
		" FROM generate_series(to_timestamp(%lld) - interval '6 hours', to_timestamp(%lld), interval '5 minutes') b, dim_resource r"
		" WHERE r.tenant_id = %lld AND r.urn = 'urn:k8s:svc:shop/cart'"
		" ON CONFLICT (bucket, tenant_id, src_resource_id, dst_resource_id) DO UPDATE SET errors = excluded.errors",
		tenant, (long long)(now_us / S), bad, (long long)(now_us / (300 * S) * 300),
		(long long)(now_us / (300 * S) * 300), tenant);

	pgtemp_exec(db, sql);
}

static void an_objective_that_burns_is_a_case_and_its_state_is_shown(void **state)
{
	AUTO(slo_watch) struct slo_watch *w = slo_watch_new(OPSCASE_SOURCE_DIR "/slo", 20);
	AUTO(str) char *row = NULL, *id = NULL, *status = NULL;
	AUTO(json) json_t *calm = NULL, *burning = NULL, *nobody = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	cart_calls(0);
	assert_int_equal(slo_pass(w, pg, now_us, &why), OC_OK);
	assert_int_equal(pass(now_us + S).opened, 0);
	assert_int_equal(slo_status(w, pg, tenant, now_us, &calm, &why), OC_OK);
	assert_string_equal(json_str(json_array_get(calm, 0), "alarm"), "quiet");
	assert_true(json_num_or(json_array_get(calm, 0), "budget_left", 0) == 1);
	/* 2 % of the calls fail where 0.1 % may. */
	cart_calls(20);
	assert_int_equal(slo_pass(w, pg, now_us, &why), OC_OK);
	row = one("SELECT kind || ' ' || severity || ' ' || resource FROM signal WHERE fingerprint = $1",
		  "slo:shop-cart-availability");
	assert_string_equal(row, "slo_violation FATAL urn:k8s:svc:shop/cart");
	assert_int_equal(pass(now_us + S).opened, 1);
	id = case_of("slo:shop-cart-availability");
	assert_int_equal(slo_status(w, pg, tenant, now_us, &burning, &why), OC_OK);
	assert_string_equal(json_str(json_array_get(burning, 0), "alarm"), "page");
	assert_true(json_num_or(json_object_get(json_array_get(burning, 0), "burn"), "1h", 0) > 19.9);
	assert_true(json_num_or(json_array_get(burning, 0), "budget_left", 9) < 0);
	cart_calls(0);
	assert_int_equal(slo_pass(w, pg, now_us + 60 * S, &why), OC_OK);
	assert_int_equal(pass(now_us + 61 * S).cleared, 1);
	status = status_of(id);
	assert_string_equal(status, "CLOSED resolved_by_itself");
	assert_int_equal(slo_status(w, pg, tenant + 1000, now_us, &nobody, &why), OC_OK);
	assert_null(json_str(json_array_get(nobody, 0), "alarm"));
}

static int begin(void **state)
{
	(void)state;
	db = pgtemp_shared();
	pg = pgtemp_open(db->worker);
	tenant = pgtemp_tenant(db, "t-signals");
	return 0;
}

static int finish(void **state)
{
	(void)state;
	pg_close(pg);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_signal_that_lasts_opens_one_case_with_its_evidence, fresh),
		cmocka_unit_test_setup(a_signal_that_ends_in_its_debounce_opens_none, fresh),
		cmocka_unit_test_setup(one_that_is_not_sure_enough_opens_none_until_it_is, fresh),
		cmocka_unit_test_setup(a_case_with_nothing_dispatched_closes_when_its_signals_end, fresh),
		cmocka_unit_test_setup(a_closed_case_takes_no_signal_in_and_a_new_one_follows_it, fresh),
		cmocka_unit_test_setup(a_new_episode_joins_the_case_that_is_still_open, fresh),
		cmocka_unit_test_setup(a_storm_opens_one_parent_and_every_child_is_absorbed, fresh),
		cmocka_unit_test_setup(maintenance_holds_only_the_signals_that_it_names, fresh),
		cmocka_unit_test_setup(metric_rows_become_an_event_a_case_and_an_end, fresh),
		cmocka_unit_test_setup(a_new_error_pattern_is_a_signal_and_a_known_one_is_none, fresh),
		cmocka_unit_test_setup(what_fell_silent_is_said_once_by_the_largest_that_did, fresh),
		cmocka_unit_test_setup(silence_survives_a_restart_and_after_a_day_is_usual, fresh),
		cmocka_unit_test_setup(a_disk_that_fills_is_told_before_it_is_full, fresh),
		cmocka_unit_test_setup(log_patterns_that_are_new_surge_or_vanish_are_told_and_end, fresh),
		cmocka_unit_test_setup(the_story_of_a_case_is_one_list_in_the_order_of_time, fresh),
		cmocka_unit_test_setup(an_objective_that_burns_is_a_case_and_its_state_is_shown, fresh),
		cmocka_unit_test_setup(what_is_odd_at_both_ends_of_a_call_is_one_case_of_the_caller, fresh),
		cmocka_unit_test_setup(a_crash_between_opening_and_remembering_opens_no_second_case, fresh),
	};

	return cmocka_run_group_tests(tests, begin, finish);
}
