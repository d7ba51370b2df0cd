#define LOG_ROOM "loop"
#include "orchestrator/loop.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/waker.h"
#include "orchestrator/batch.h"
#include "store/command.h"
#include "store/step.h"
#include "wire/bus/bus.h"

#define BATCH 256
#define RACES 6

struct loop {
	struct loop_deps deps;
	char *conninfo;
	pthread_t *threads;
	unsigned started;
	atomic_bool stopping;
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

static enum oc_err try_batch(struct pg *pg, const char *ids, long long *ret_again, size_t *ret_again_n,
			     struct pass *p, struct oc_fail *reterr)
{
	struct pg_result *res[3] = { 0 };
	char count[16];
	unsigned sent;
	enum oc_err err;

	err = pg_send(pg, "BEGIN", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_OPEN_EVENTS, PG_ARGS(ids), reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_READ_EVENTS, PG_ARGS(ids), reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, 3, reterr);
	FAULT_POINT("loop.read");
	p->open_n = err == OC_OK ? pg_rows(res[1]) : 0;
	if (err == OC_OK)
		err = step_rows(p, res[2]);
	*ret_again_n = 0;
	if (err == OC_OK)
		for (unsigned i = 0; i < pg_rows(res[1]); i++) {
			const char *open = pg_text(res[1], i, 0);
			AUTO(str) char *quoted = mem_printf("\"%s\"", open);

			if (!pg_bool(res[1], i, 1)) {
				pg_array_add(&p->orphans, open);
				p->orphans_n++;
			} else if (!p->done.s || !strstr(p->done.s, quoted))
				ret_again[(*ret_again_n)++] = strtoll(open, NULL, 10);
		}
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

enum oc_err loop_step(struct pg *pg, const long long *ids, size_t n, long long *ret_again,
		      size_t *ret_again_n, void (*on_case)(void *ctx, const char *case_id), void *ctx,
		      struct oc_fail *reterr)
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
		struct pass p = { .batch = batch_new(), .touched = mem_array(n, 40) };

		err = try_batch(pg, list.s, ret_again, ret_again_n, &p, reterr);
		if (err == OC_OK) {
			batch_count_metrics(p.batch);
			metric_add(M_INBOX_DEDUP, (double)(n - p.open_n), NULL, NULL, NULL);
			metric_add(M_DEAD_LETTER, (double)p.orphans_n, "event", NULL, NULL);
			for (size_t i = 0; on_case && i < p.touched_n; i++)
				on_case(ctx, p.touched[i]);
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

static void step_or_split(struct loop *l, struct pg *pg, const long long *ids, size_t n, struct carry *again)
{
	struct oc_fail fail;
	long long busy[BATCH];
	size_t busy_n = 0;
	enum oc_err err = loop_step(pg, ids, n, busy, &busy_n, l->deps.on_case, l->deps.ctx, &fail);

	if (err == OC_OK) {
		for (size_t i = 0; i < busy_n && again->n < BATCH; i++)
			again->ids[again->n++] = busy[i];
		waker_poke(l->deps.relay_wake);
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

static size_t take_bus(struct loop *l, struct bus_sub *sub, struct bus_delivery **got, long long *ids,
		       size_t max, int wait_ms)
{
	size_t n = bus_fetch(sub, got, max, wait_ms);

	(void)l;
	for (size_t i = 0; i < n; i++)
		ids[i] = bus_delivery_id(got[i]);
	return n;
}

static size_t take_sweep(struct pg *pg, long long *ids)
{
	AUTO(pg_result) struct pg_result *open = NULL;
	size_t n = 0;

	if (pg_query(pg, SQL_OUTBOX_EVENTS_OPEN, PG_ARGS("256"), &open, NULL) != OC_OK)
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
	static const char *const subjects[] = { "evt.analysis.>",     "evt.plan.>",   "evt.gate.>",
						"evt.exec.>",         "evt.verify.>", "evt.signal.>",
						"evt.case.absorbed.>" };
	struct loop *l = arg;
	struct carry carry = { .n = 0 };
	struct bus_sub *sub = NULL;
	unsigned generation = 0;
	struct pg *pg = NULL;
	struct oc_fail fail;

	while (!atomic_load(&l->stopping)) {
		struct bus_delivery *got[BATCH];
		long long ids[BATCH];
		size_t n = 0, from_bus = 0;

		if (!pg && pg_open(l->conninfo, "orchestrator", &pg, &fail) != OC_OK) {
			log_warn("%s", fail.text);
			nap(l, 1000);
			continue;
		}
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
		memcpy(ids, carry.ids, carry.n * sizeof(*ids));
		n = carry.n;
		carry.n = 0;
		if (sub && bus_connected(l->deps.bus))
			from_bus = take_bus(l, sub, got, ids + n, BATCH - n, n ? 25 : 1000);
		/* Also after a second of silence: a bus that forgot our consumer is silent, too. */
		if (n + from_bus == 0)
			n = take_sweep(pg, ids);
		if (n + from_bus == 0 && !(sub && bus_connected(l->deps.bus)))
			nap(l, 1000);
		FAULT_POINT(n + from_bus ? "loop.heard" : "loop.idle");
		if (n + from_bus)
			step_or_split(l, pg, ids, n + from_bus, &carry);
		for (size_t i = 0; i < from_bus; i++)
			bus_ack(got[i]);
		FAULT_POINT(from_bus ? "loop.acked" : "loop.swept");
	}
	bus_unsubscribe(sub);
	pg_close(pg);
	return NULL;
}

enum oc_err loop_start(const struct loop_deps *deps, struct loop **ret, struct oc_fail *reterr)
{
	struct loop *l = mem_alloc(sizeof(*l));
	unsigned threads = deps->threads ? deps->threads : 1;

	l->deps = *deps;
	l->conninfo = mem_strdup(deps->conninfo);
	l->threads = mem_array(threads, sizeof(*l->threads));
	for (; l->started < threads; l->started++)
		if (pthread_create(&l->threads[l->started], NULL, loop_run, l) != 0) {
			loop_stop(l);
			return oc_fail(reterr, OC_UNAVAILABLE, "loop: no thread to be had");
		}
	*ret = l;
	return OC_OK;
}

void loop_stop(struct loop *l)
{
	if (!l)
		return;
	atomic_store(&l->stopping, true);
	for (unsigned i = 0; i < l->started; i++)
		pthread_join(l->threads[i], NULL);
	free(l->threads);
	free(l->conninfo);
	free(l);
}
