#define LOG_ROOM "loop"
#include "orchestrator/loop.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/handover.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/waker.h"
#include "orchestrator/batch.h"
#include "store/command.h"
#include "store/step.h"
#include "wire/bus/bus.h"

#define BATCH   256
#define RACES   6
#define ROOM    8192 /* events may wait here; the cases they are of wait anyway */
#define STEPPED 16384
#define IDLE_MS 1000

struct loop {
	struct loop_deps deps;
	char *conninfo;
	struct seat *seat;
	pthread_t *threads, ear;
	unsigned started;
	bool has_ear;
	atomic_bool stopping;
	/* What was stepped here lately, by its id's last digits. An event that came by hand comes by the bus, too, since
	 * others listen; it is not looked up a second time. Overwriting costs a look, never an event. */
	atomic_llong stepped[STEPPED];
};

/* ---- one batch ---- */

/* What a role's event brings besides its product: {"meta":{...},"reason":"..."}. */
static json_t *event_payload(const struct pg_result *rows, unsigned i)
{
	json_t *payload = NULL;
	const char *text = pg_text(rows, i, SC_EV_PAYLOAD);

	if (!text || json_read_own(text, &payload, NULL) != OC_OK)
		payload = json_object();
	return payload;
}

struct pass {
	struct batch *batch;
	struct text orphans; /* events of cases that do not exist */
	size_t orphans_n, open_n;
	struct text done; /* event ids stepped, ignored or refused now */
	size_t done_n;
	char (*touched)[40];
	size_t touched_n;
	json_t *payloads[BATCH];
};

static enum oc_err step_rows(struct pass *p, const struct pg_result *rows)
{
	const char *last_case = NULL;

	for (unsigned i = 0; i < pg_rows(rows); i++) {
		const char *case_id = pg_text(rows, i, SC_CASE_ID), *topic = pg_text(rows, i, SC_EV_TOPIC);
		const char *trace = pg_text(rows, i, SC_EV_TRACE);
		struct step s = {
			.event = case_event_of_subject(topic), .who = WHO_ROLE, .row = rows, .at = i
		};

		/* One event a case and batch: what the second one would be decided on is not written yet. */
		if (str_eq(case_id, last_case))
			continue;
		last_case = case_id;
		pg_array_add(&p->done, pg_text(rows, i, SC_EV_ID));
		p->done_n++;
		if (s.event == EV_COUNT) {
			metric_inc(M_EVENT_IGNORED, "unknown", NULL, NULL);
			continue;
		}
		if (pg_int(rows, i, SC_EV_EPOCH) != pg_int(rows, i, SC_EPOCH)) {
			metric_inc(M_EVENT_IGNORED, case_event_name(s.event), NULL, NULL);
			continue;
		}
		p->payloads[i] = event_payload(rows, i);
		s.meta = json_object_get(p->payloads[i], "meta");
		if (!json_is_object(s.meta))
			s.meta = NULL;
		s.reason = json_str(p->payloads[i], "reason");
		s.product_id = pg_text(rows, i, SC_EV_PRODUCT);
		s.trace_id = trace;
		s.actor = topic + strlen("evt.");
		step_decide(&s);
		if (s.move.verdict == MOVE_ACCEPT) {
			batch_accept(p->batch, &s);
			snprintf(p->touched[p->touched_n++], sizeof(*p->touched), "%s", case_id);
		} else {
			metric_inc(M_EVENT_IGNORED, case_event_name(s.event), NULL, NULL);
			if (s.move.verdict == MOVE_REFUSE) {
				batch_refuse(p->batch, &s);
				log_warn("case %s: %s refused in %s%s%s", case_id, case_event_name(s.event),
					 case_state_name(s.now.state), s.move.guard ? ": " : "",
					 s.move.guard ? s.move.guard : "");
			}
		}
	}
	return OC_OK;
}

/* Which of them were not read, and why: heard before, busy, or of a case that does not exist. */
static enum oc_err sort_unread(struct pg *pg, const char *ids, long long *ret_again, size_t *ret_again_n,
			       struct pass *p, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *open = NULL;
	enum oc_err err = pg_query(pg, SQL_STEP_OPEN_EVENTS, PG_ARGS(ids), &open, reterr);

	p->open_n = pg_rows(open);
	for (unsigned i = 0; i < pg_rows(open); i++) {
		const char *id = pg_text(open, i, 0);
		AUTO(str) char *quoted = mem_printf("\"%s\"", id);

		if (!pg_bool(open, i, 1)) {
			pg_array_add(&p->orphans, id);
			p->orphans_n++;
		} else if (!p->done.s || !strstr(p->done.s, quoted)) {
			ret_again[(*ret_again_n)++] = strtoll(id, NULL, 10);
		}
	}
	return err;
}

static enum oc_err try_batch(struct pg *pg, const char *ids, size_t n, long long *ret_again,
			     size_t *ret_again_n, struct pass *p, struct oc_fail *reterr)
{
	struct pg_result *res[2] = { 0 };
	char count[16];
	unsigned sent;
	enum oc_err err;

	*ret_again_n = 0;
	p->open_n = n;
	err = pg_send(pg, "BEGIN", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_READ_EVENTS, PG_ARGS(ids), reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, 2, reterr);
	FAULT_POINT("loop.read");
	if (err == OC_OK)
		err = step_rows(p, res[1]);
	if (err == OC_OK && p->done_n < n)
		err = sort_unread(pg, ids, ret_again, ret_again_n, p, reterr);
	snprintf(count, sizeof(count), "%zu", p->done_n);
	if (err == OC_OK)
		err = batch_send(p->batch, pg, &sent, reterr);
	if (err == OC_OK && p->done_n)
		err = pg_send(pg, SQL_STEP_EVENTS_DONE, PG_ARGS(pg_array_end(&p->done), count), reterr);
	if (err == OC_OK && p->orphans.len)
		err = pg_send(pg, SQL_STEP_EVENT_ORPHANS, PG_ARGS(pg_array_end(&p->orphans)), reterr);
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, NULL, 0, reterr);
	FAULT_POINT("loop.stepped");
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		pg_result_free(res[i]);
	return err;
}

enum oc_err loop_step(struct pg *pg, const struct loop_deps *deps, const long long *ids, size_t n,
		      long long *ret_again, size_t *ret_again_n, struct oc_fail *reterr)
{
	struct text list = { 0 };
	enum oc_err err = OC_BUG;

	*ret_again_n = 0;
	if (n > BATCH)
		return oc_fail(reterr, OC_BUG, "a batch of %zu events; at most %d", n, BATCH);
	for (size_t i = 0; i < n; i++)
		pg_array_addf(&list, "%lld", ids[i]);
	pg_array_end(&list);
	for (int race = 0; race < RACES; race++) {
		struct pass p = { .batch = batch_new(deps->hand), .touched = mem_array(n, 40) };

		err = try_batch(pg, list.s, n, ret_again, ret_again_n, &p, reterr);
		if (err == OC_OK) {
			batch_committed(p.batch, deps->relay_wake);
			metric_add(M_INBOX_DEDUP, (double)(n - p.open_n), NULL, NULL, NULL);
			metric_add(M_DEAD_LETTER, (double)p.orphans_n, "event", NULL, NULL);
			for (size_t i = 0; deps->on_case && i < p.touched_n; i++)
				deps->on_case(deps->ctx, p.touched[i]);
		}
		for (size_t i = 0; i < ARRAY_LEN(p.payloads); i++)
			json_decref(p.payloads[i]);
		batch_free(p.batch);
		text_done(&p.done);
		text_done(&p.orphans);
		free(p.touched);
		if (err == OC_OK || !pg_retryable(pg)) {
			if (err != OC_OK)
				pg_rollback(pg);
			break;
		}
		pg_rollback(pg);
		metric_inc(M_CONFLICT, "race", NULL, NULL);
	}
	text_done(&list);
	return err;
}

/* ---- the threads ---- */

struct carry {
	long long ids[BATCH];
	size_t n;
};

static void mark_stepped(struct loop *l, const long long *ids, size_t n, const long long *busy, size_t busy_n)
{
	for (size_t i = 0; i < n; i++) {
		bool again = false;

		for (size_t b = 0; b < busy_n; b++)
			again |= busy[b] == ids[i];
		if (!again)
			atomic_store_explicit(&l->stepped[ids[i] % STEPPED], ids[i], memory_order_relaxed);
	}
}

static bool was_stepped(struct loop *l, long long id)
{
	return id > 0 && atomic_load_explicit(&l->stepped[id % STEPPED], memory_order_relaxed) == id;
}

static void step_or_split(struct loop *l, struct pg *pg, const long long *ids, size_t n, struct carry *again)
{
	struct oc_fail fail;
	long long busy[BATCH];
	size_t busy_n = 0;
	enum oc_err err = loop_step(pg, &l->deps, ids, n, busy, &busy_n, &fail);

	if (err == OC_OK) {
		mark_stepped(l, ids, n, busy, busy_n);
		for (size_t i = 0; i < busy_n && again->n < BATCH; i++)
			again->ids[again->n++] = busy[i];
		return;
	}
	if (err == OC_UNAVAILABLE) {
		log_warn("%s", fail.text);
		return; /* the sweep offers them again */
	}
	if (n > 1) {
		step_or_split(l, pg, ids, n / 2, again);
		step_or_split(l, pg, ids + n / 2, n - n / 2, again);
		return;
	}
	{
		AUTO(pg_result) struct pg_result *dead = NULL;
		char id[24];

		snprintf(id, sizeof(id), "%lld", ids[0]);
		log_error("event %lld: %s", ids[0], fail.text);
		if (pg_query(pg, SQL_STEP_EVENT_FAILED, PG_ARGS(id, fail.text), &dead, NULL) == OC_OK &&
		    pg_rows(dead))
			metric_inc(M_DEAD_LETTER, "event", NULL, NULL);
	}
}

static size_t take_sweep(struct pg *pg, long long *ids, size_t max)
{
	AUTO(pg_result) struct pg_result *open = NULL;
	char limit[16];
	size_t n = 0;

	snprintf(limit, sizeof(limit), "%zu", max);
	if (pg_query(pg, SQL_OUTBOX_EVENTS_OPEN, PG_ARGS(limit), &open, NULL) != OC_OK)
		return 0;
	for (; n < pg_rows(open); n++)
		ids[n] = pg_int(open, (unsigned)n, 0);
	return n;
}

static void nap(struct loop *l, int ms)
{
	for (; ms > 0 && !atomic_load(&l->stopping); ms -= 50)
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000000L }, NULL);
}

static void *loop_run(void *arg)
{
	struct loop *l = arg;
	struct carry carry = { .n = 0 };
	struct pg *pg = NULL;
	struct oc_fail fail;
	int64_t swept = 0;

	while (!atomic_load(&l->stopping)) {
		struct handed got[BATCH];
		long long ids[BATCH];
		size_t n = 0, handed_n;

		if (!pg && pg_open(l->conninfo, "orchestrator", &pg, &fail) != OC_OK) {
			log_warn("%s", fail.text);
			nap(l, 1000);
			continue;
		}
		memcpy(ids, carry.ids, carry.n * sizeof(*ids));
		n = carry.n;
		carry.n = 0;
		handed_n = seat_take(l->seat, got, BATCH - n, 0, n ? 25 : IDLE_MS);
		for (size_t i = 0; i < handed_n; i++)
			ids[n++] = got[i].id;
		/* Also after a second of silence: a bus that forgot our consumer is silent, too. And without the bus
		 * once a second in any case: what other processes answered comes no other way then. */
		if (n == 0 ||
		    (!bus_connected(l->deps.bus) && clock_mono_ms() - swept >= IDLE_MS && n < BATCH)) {
			n += take_sweep(pg, ids + n, BATCH - n);
			swept = clock_mono_ms();
		}
		FAULT_POINT(n ? "loop.heard" : "loop.idle");
		if (n)
			step_or_split(l, pg, ids, n, &carry);
		for (size_t i = 0; i < handed_n; i++)
			if (got[i].parcel)
				bus_ack(got[i].parcel);
		if (handed_n)
			seat_back(l->seat);
		FAULT_POINT(handed_n ? "loop.acked" : "loop.swept");
	}
	pg_close(pg);
	return NULL;
}

/* ---- the ear ---- */

static void to_seat(struct loop *l, struct bus_delivery *d)
{
	struct handed what = { .id = bus_delivery_id(d), .parcel = d };

	if (was_stepped(l, what.id)) {
		bus_ack(d);
		return;
	}
	while (!seat_put(l->seat, what, IDLE_MS))
		if (atomic_load(&l->stopping)) {
			bus_forget(d);
			return;
		}
}

static const char *const subjects[] = { "evt.analysis.>", "evt.plan.>",   "evt.gate.>",         "evt.exec.>",
					"evt.verify.>",   "evt.signal.>", "evt.case.absorbed.>" };

static void *ear_run(void *arg)
{
	struct loop *l = arg;
	struct bus_sub *sub = NULL;
	unsigned generation = 0;
	struct oc_fail fail;

	while (!atomic_load(&l->stopping)) {
		struct bus_delivery *got[BATCH];
		size_t n;

		if (sub && generation != bus_generation(l->deps.bus)) {
			bus_unsubscribe(sub);
			sub = NULL;
		}
		if (!sub)
			generation = bus_generation(l->deps.bus);
		if (!sub && bus_connected(l->deps.bus) &&
		    bus_subscribe(l->deps.bus, "EVT", "orchestrator", subjects, ARRAY_LEN(subjects), &sub,
				  &fail) != OC_OK)
			log_debug("%s", fail.text);
		if (!sub || !bus_connected(l->deps.bus)) {
			nap(l, IDLE_MS);
			continue;
		}
		n = bus_fetch(sub, got, BATCH, IDLE_MS);
		for (size_t i = 0; i < n; i++)
			to_seat(l, got[i]);
	}
	bus_unsubscribe(sub);
	return NULL;
}

enum oc_err loop_start(const struct loop_deps *deps, struct loop **ret, struct oc_fail *reterr)
{
	struct loop *l = mem_alloc(sizeof(*l));
	unsigned threads = deps->threads ? deps->threads : 1;

	l->deps = *deps;
	l->conninfo = mem_strdup(deps->conninfo);
	l->threads = mem_array(threads, sizeof(*l->threads));
	l->seat = seat_open(deps->hand, subjects, ARRAY_LEN(subjects), ROOM);
	for (; l->started < threads; l->started++)
		if (pthread_create(&l->threads[l->started], NULL, loop_run, l) != 0) {
			loop_stop(l);
			return oc_fail(reterr, OC_UNAVAILABLE, "loop: no thread to be had");
		}
	l->has_ear = deps->bus && pthread_create(&l->ear, NULL, ear_run, l) == 0;
	if (deps->bus && !l->has_ear) {
		loop_stop(l);
		return oc_fail(reterr, OC_UNAVAILABLE, "loop: no thread to be had");
	}
	*ret = l;
	return OC_OK;
}

void loop_stop(struct loop *l)
{
	struct handed left;

	if (!l)
		return;
	atomic_store(&l->stopping, true);
	seat_shut(l->seat);
	for (unsigned i = 0; i < l->started; i++)
		pthread_join(l->threads[i], NULL);
	if (l->has_ear)
		pthread_join(l->ear, NULL);
	while (seat_take(l->seat, &left, 1, 0, 0))
		if (left.parcel)
			bus_forget(left.parcel);
	seat_close(l->seat);
	free(l->threads);
	free(l->conninfo);
	free(l);
}
