#define LOG_ROOM "worker"
#include "worker/worker.h"
#include <pthread.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/handover.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "store/command.h"
#include "wire/bus/bus.h"

#define BATCH_MAX 256
#define META_MAX  (64 * 1024)
#define IDLE_MS   1000
#define PATIENCE_MS \
	5 /* so long a lane has for a batch before the next one joins in: a batch that only asks PostgreSQL takes less */

struct statement {
	struct statement *next;
	const char *sql;
	char *args[PG_PARAMS_MAX];
	unsigned n;
};

struct answer {
	char *evt, *product, *reason;
	json_t *meta;
	int64_t later_ms;
	struct statement *first, **end;
	enum oc_err err; /* of work() */
};

struct lane { /* one thread */
	struct worker *worker_ref;
	pthread_t thread;
	struct pg *pg;
	int64_t leased_ms; /* when the batch under work was leased or renewed */
	/* A batch that PostgreSQL was lost with: whether it was leased or answered is not known. NULL: none. */
	char *left_ids;
	char left_token[UUID_TEXT];
};

struct worker {
	struct role role;
	struct worker_deps deps;
	char *conninfo;
	char *topics; /* as an array literal */
	struct seat *seat;
	struct lane *lanes;
	unsigned started;
	pthread_t ear; /* brings from the bus to the seat */
	bool has_ear;
	atomic_bool stopping;
	atomic_llong swept_ms; /* when a lane last looked without the bus */
};

/* ---- answers ---- */

void answer_event(struct answer *a, const char *evt_topic, const char *product_id)
{
	mem_set(&a->evt, evt_topic);
	mem_set(&a->product, product_id);
}

void answer_meta(struct answer *a, json_t *take_meta)
{
	json_decref(a->meta);
	a->meta = take_meta;
	if (take_meta && json_dumpb(take_meta, NULL, 0, JSON_COMPACT) > META_MAX) {
		json_decref(take_meta);
		a->meta = json_pack("{s:b}", "meta_too_large", 1);
	}
}

void answer_reason(struct answer *a, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mem_set(&a->reason, text);
}

void answer_later(struct answer *a, int64_t ms)
{
	a->later_ms = ms > 0 ? ms : 1;
}

void answer_do(struct answer *a, const char *sql, const char *const *args, unsigned n)
{
	struct statement *s = mem_alloc(sizeof(*s));

	if (n > PG_PARAMS_MAX)
		abort();
	s->sql = sql;
	s->n = n;
	for (unsigned i = 0; i < n; i++)
		s->args[i] = mem_strdup(args[i]);
	if (!a->end)
		a->end = &a->first;
	*a->end = s;
	a->end = &s->next;
}

static void answer_clear(struct answer *a)
{
	struct statement *s, *next;

	for (s = a->first; s; s = next) {
		next = s->next;
		for (unsigned i = 0; i < s->n; i++)
			free(s->args[i]);
		free(s);
	}
	free(a->evt);
	free(a->product);
	free(a->reason);
	json_decref(a->meta);
	*a = (struct answer){ 0 };
}

/* ---- the answering transaction ---- */

struct pending {
	struct command *cmds;
	struct answer *answers;
	size_t n;
	const char *token;
};

static void ids_of(const struct pending *p, struct text *t)
{
	for (size_t i = 0; i < p->n; i++)
		pg_array_addf(t, "%lld", p->cmds[i].id);
	pg_array_end(t);
}

static bool held(const struct pg_result *hold, long long id)
{
	for (unsigned i = 0; i < pg_rows(hold); i++)
		if (pg_int(hold, i, 0) == id)
			return true;
	return false;
}

static char *evt_payload(const struct answer *a)
{
	AUTO(json) json_t *o = json_object();

	json_object_set_new(o, "meta", a->meta ? json_incref(a->meta) : json_object());
	if (a->reason)
		json_put(o, "reason", a->reason);
	return json_text(o);
}

/* What the answers to a batch come to, as arrays. */
struct writing {
	struct text ids, topics, products, payloads; /* of the events */
	struct text done, later, secs;
	size_t ok, events; /* answers given; how many of them by an event */
	unsigned lost, statements;
};

static void writing_done(struct writing *t)
{
	text_done(&t->ids), text_done(&t->topics), text_done(&t->products), text_done(&t->payloads);
	text_done(&t->done), text_done(&t->later), text_done(&t->secs);
}

static void write_one(struct writing *t, long long id, const struct answer *a)
{
	t->ok++;
	if (a->later_ms) {
		pg_array_addf(&t->later, "%lld", id);
		pg_array_addf(&t->secs, "%.3f", (double)a->later_ms / 1000);
		return;
	}
	pg_array_addf(&t->done, "%lld", id);
	if (a->evt) {
		AUTO(str) char *payload = evt_payload(a);

		t->events++;
		pg_array_addf(&t->ids, "%lld", id);
		pg_array_add(&t->topics, a->evt);
		pg_array_add(&t->products, a->product);
		pg_array_add(&t->payloads, payload);
	}
}

static enum oc_err send_statements(struct pg *pg, const struct answer *a, unsigned *n, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;

	for (struct statement *s = a->first; s && err == OC_OK; s = s->next) {
		err = pg_send(pg, s->sql, (const char *const *)s->args, s->n, reterr);
		++*n;
	}
	return err;
}

static void write_ends(struct writing *t)
{
	pg_array_end(&t->ids), pg_array_end(&t->topics), pg_array_end(&t->products),
		pg_array_end(&t->payloads);
	pg_array_end(&t->done), pg_array_end(&t->later), pg_array_end(&t->secs);
}

/* Is the loop in this process, with room for all of them? */
static bool all_by_hand(const struct worker *w, const struct pending *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->answers[i].err == OC_OK && p->answers[i].evt &&
		    !handover_room(w->deps.hand, p->answers[i].evt))
			return false;
	return true;
}

/* After the commit. What went by hand is published when it was stepped. */
static void tell_events(struct worker *w, const struct pg_result *events, bool by_hand)
{
	for (unsigned i = 0; by_hand && i < pg_rows(events); i++)
		if (pg_text(events, i, 0))
			(void)handover_give(w->deps.hand, pg_text(events, i, 1), pg_int(events, i, 0));
	if (!by_hand)
		waker_poke(w->deps.relay_wake);
}

/* One round trip, for when everything is as it should be: all are held, none is put off. Anything else and the
 * transaction is undone, to be gone through step by step. */
static enum oc_err answer_at_once(struct lane *lane, const struct pending *p, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *events = NULL;
	struct pg_result *res[4] = { 0 };
	struct writing t = { 0 };
	char count[24];
	enum oc_err err;
	bool by_hand = all_by_hand(lane->worker_ref, p), lazy;

	for (size_t i = 0; i < p->n; i++)
		if (p->answers[i].err == OC_OK)
			write_one(&t, p->cmds[i].id, &p->answers[i]);
	write_ends(&t);
	snprintf(count, sizeof(count), "%zu", t.ok);
	/* Each event is stepped by the loop before anybody else hears of it, and that commit takes ours along. Done
	 * without an event, people look at what we wrote: they must not see what a crash may undo. */
	lazy = by_hand && t.events == t.ok;
	FAULT_POINT("worker.held");
	err = pg_send(lane->pg, "BEGIN", PG_NO_ARGS, reterr);
	if (err == OC_OK && lazy)
		err = pg_send(lane->pg, SQL_COMMIT_LAZILY, PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_send(lane->pg, SQL_COMMAND_FINISH,
			      PG_ARGS(t.done.s, p->token, count, t.ids.s, t.topics.s, t.products.s,
				      t.payloads.s, by_hand ? "t" : "f"),
			      reterr);
	for (size_t i = 0; i < p->n && err == OC_OK; i++)
		if (p->answers[i].err == OC_OK)
			err = send_statements(lane->pg, &p->answers[i], &t.statements, reterr);
	if (err == OC_OK)
		err = pg_send(lane->pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(lane->pg, res, 2 + lazy, reterr);
	FAULT_POINT("worker.answered");
	events = TAKE(res[1 + lazy]);
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		pg_result_free(res[i]);
	writing_done(&t);
	if (err != OC_OK) {
		pg_rollback(lane->pg);
		return err;
	}
	if (t.events)
		tell_events(lane->worker_ref, events, by_hand);
	return OC_OK;
}

static enum oc_err answer_held(struct lane *lane, const struct pending *p, const struct pg_result *hold,
			       unsigned *ret_lost, struct oc_fail *reterr)
{
	struct pg_result **res = NULL;
	struct pg *pg = lane->pg;
	struct writing t = { 0 };
	bool by_hand = all_by_hand(lane->worker_ref, p);
	enum oc_err err = OC_OK;
	unsigned at = 0;

	for (size_t i = 0; i < p->n && err == OC_OK; i++) {
		if (p->answers[i].err != OC_OK)
			continue;
		if (!held(hold, p->cmds[i].id)) {
			t.lost++;
			continue;
		}
		err = send_statements(pg, &p->answers[i], &t.statements, reterr);
		write_one(&t, p->cmds[i].id, &p->answers[i]);
	}
	write_ends(&t);
	at = t.statements;
	res = mem_array(at + 1, sizeof(struct pg_result *));
	if (err == OC_OK && t.events)
		err = pg_send(pg, SQL_COMMAND_ANSWER,
			      PG_ARGS(t.ids.s, t.topics.s, t.products.s, t.payloads.s, by_hand ? "t" : "f"),
			      reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_COMMAND_DONE, PG_ARGS(t.done.s), reterr);
	if (err == OC_OK && t.lost) {
		struct text all = { 0 };

		ids_of(p, &all);
		err = pg_send(pg, SQL_COMMAND_SUPERSEDED, PG_ARGS(all.s, p->token), reterr);
		text_done(&all);
	}
	if (err == OC_OK)
		err = pg_send(pg, SQL_COMMAND_LATER, PG_ARGS(t.later.s, t.secs.s), reterr);
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, at + 1, reterr);
	FAULT_POINT("worker.answered");
	if (err == OC_OK && t.events)
		tell_events(lane->worker_ref, res[at], by_hand);
	for (unsigned i = 0; i <= at; i++)
		pg_result_free(res[i]);
	free(res);
	*ret_lost = t.lost;
	writing_done(&t);
	return err;
}

static size_t answered(const struct pending *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->answers[i].err == OC_OK;
	return n;
}

static void count_answers(const struct worker *w, const struct pending *p, unsigned lost)
{
	metric_add(M_COMMAND_DONE, (double)(answered(p) - lost), w->role.name, "done", NULL);
	if (lost)
		metric_add(M_COMMAND_DONE, lost, w->role.name, "lost", NULL);
}

static bool any_later(const struct pending *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->answers[i].err == OC_OK && p->answers[i].later_ms)
			return true;
	return false;
}

static enum oc_err commit_answers(struct lane *lane, const struct pending *p, struct oc_fail *reterr)
{
	enum oc_err err = OC_BUG;

	if (answered(p) == 0)
		return OC_OK;
	if (!any_later(p)) {
		err = answer_at_once(lane, p, reterr);
		if (err == OC_OK)
			count_answers(lane->worker_ref, p, 0);
		if (err == OC_OK || !pg_retryable(lane->pg))
			return err;
	}
	for (int tries = 0; tries < 5; tries++) {
		struct pg_result *res[2] = { 0 };
		struct text ids = { 0 };
		unsigned lost = 0;

		ids_of(p, &ids);
		err = pg_send(lane->pg, "BEGIN", PG_NO_ARGS, reterr);
		if (err == OC_OK)
			err = pg_send(lane->pg, SQL_COMMAND_HOLD, PG_ARGS(ids.s, p->token), reterr);
		if (err == OC_OK)
			err = pg_sync(lane->pg, res, 2, reterr);
		FAULT_POINT("worker.held");
		if (err == OC_OK)
			err = answer_held(lane, p, res[1], &lost, reterr);
		text_done(&ids);
		pg_result_free(res[0]);
		pg_result_free(res[1]);
		if (err == OC_OK) {
			count_answers(lane->worker_ref, p, lost);
			return OC_OK;
		}
		if (!pg_retryable(lane->pg)) {
			pg_rollback(lane->pg);
			return err;
		}
		pg_rollback(lane->pg);
	}
	return err;
}

/* Offered again soon, later with each attempt: an adapter that is away must not be hammered. */
static void give_back(struct lane *lane, const struct pending *p)
{
	for (size_t i = 0; i < p->n; i++) {
		char id[32], secs[16];

		if (p->answers[i].err == OC_OK)
			continue;
		snprintf(id, sizeof(id), "{%lld}", p->cmds[i].id);
		snprintf(secs, sizeof(secs), "%d",
			 1 << (p->cmds[i].attempts < 5 ? p->cmds[i].attempts - 1 : 5));
		(void)!pg_query(lane->pg, SQL_COMMAND_BACK, PG_ARGS(id, p->token, secs), NULL, NULL);
		metric_inc(M_COMMAND_DONE, lane->worker_ref->role.name, "failed", NULL);
	}
}

static void answer_all(struct lane *lane, struct pending *p)
{
	struct oc_fail fail;

	if (commit_answers(lane, p, &fail) == OC_OK) {
		give_back(lane, p);
		return;
	}
	if (p->n == 1) {
		log_warn("%s: the answer to command %lld (case %s) was not written: %s",
			 lane->worker_ref->role.name, p->cmds[0].id, p->cmds[0].case_id, fail.text);
		p->answers[0].err = fail.err;
		give_back(lane, p);
		return;
	}
	/* One bad row stops nobody: it is halved until that one is alone. */
	for (size_t i = 0, half = (p->n + 1) / 2; i < p->n; i += half) {
		struct pending part = { .cmds = &p->cmds[i],
					.answers = &p->answers[i],
					.n = p->n - i < half ? p->n - i : half,
					.token = p->token };

		answer_all(lane, &part);
	}
}

/* ---- lease and work ---- */

/* Work on the first of a batch may take long: the others must not fall to somebody else meanwhile. */
static void renew_rest(struct lane *lane, const struct pg_result *leased, unsigned from, const char *token)
{
	int lease_ms = lane->worker_ref->role.lease_ms;
	struct text ids = { 0 };
	char ms[16];

	if (from == 0)
		lane->leased_ms = clock_mono_ms();
	if (clock_mono_ms() - lane->leased_ms < lease_ms / 3)
		return;
	for (unsigned i = 0; i < pg_rows(leased); i++)
		pg_array_add(&ids, pg_text(leased, i, CC_ID));
	snprintf(ms, sizeof(ms), "%d", lease_ms);
	if (pg_query(lane->pg, SQL_COMMAND_RENEW_MANY, PG_ARGS(pg_array_end(&ids), token, ms), NULL, NULL) ==
	    OC_OK)
		lane->leased_ms = clock_mono_ms();
	text_done(&ids);
}

static void work_leased(struct lane *lane, const struct pg_result *leased, const struct pg_result *loaded,
			const char *token)
{
	struct worker *w = lane->worker_ref;
	unsigned n = pg_rows(leased);
	struct command *cmds = mem_array(n, sizeof(*cmds));
	struct answer *answers = mem_array(n, sizeof(*answers));
	json_t **payloads = mem_array(n, sizeof(*payloads));
	int id_col = loaded ? pg_col(loaded, "id") : -1;

	for (unsigned i = 0; i < n; i++) {
		struct command *c = &cmds[i];
		struct oc_fail fail = { 0 };

		if (json_read_own(pg_text(leased, i, CC_PAYLOAD), &payloads[i], NULL) != OC_OK)
			payloads[i] = json_object();
		*c = (struct command){
			.id = pg_int(leased, i, CC_ID),
			.tenant_id = pg_int(leased, i, CC_TENANT_ID),
			.tenant = pg_text(leased, i, CC_TENANT),
			.case_id = pg_text(leased, i, CC_CASE),
			.topic = pg_text(leased, i, CC_TOPIC),
			.epoch = (int)pg_int(leased, i, CC_EPOCH),
			.attempts = (int)pg_int(leased, i, CC_ATTEMPTS),
			.max_attempts = (int)pg_int(leased, i, CC_MAX),
			.trace_id = pg_text(leased, i, CC_TRACE),
			.lease_token = token,
			.payload = payloads[i],
			.now_us = pg_int(leased, i, CC_NOW),
		};
		for (unsigned r = 0; id_col >= 0 && r < pg_rows(loaded); r++)
			if (pg_int(loaded, r, (unsigned)id_col) == c->id) {
				c->row = loaded;
				c->row_at = r;
				break;
			}
		renew_rest(lane, leased, i, token);
		answers[i].err = w->role.work(w->role.ctx, c, &answers[i], &fail);
		if (answers[i].err != OC_OK)
			log_warn("%s: command %lld (case %s, attempt %d of %d): %s", w->role.name, c->id,
				 c->case_id, c->attempts, c->max_attempts, fail.text);
	}
	FAULT_POINT("worker.worked");
	answer_all(lane, &(struct pending){ .cmds = cmds, .answers = answers, .n = n, .token = token });
	for (unsigned i = 0; i < n; i++) {
		answer_clear(&answers[i]);
		json_decref(payloads[i]);
	}
	free(payloads);
	free(answers);
	free(cmds);
}

static enum oc_err lease_and_work(struct lane *lane, const char *ids, const struct handed *from, size_t n)
{
	struct worker *w = lane->worker_ref;
	struct pg_result *res[5] = { 0 };
	struct oc_fail fail;
	char token[UUID_TEXT], lease[16];
	enum oc_err err;

	uuid_new(token);
	snprintf(lease, sizeof(lease), "%d", w->role.lease_ms);
	err = pg_send(lane->pg, "BEGIN", PG_NO_ARGS, &fail);
	if (err == OC_OK)
		err = pg_send(lane->pg, SQL_COMMIT_LAZILY, PG_NO_ARGS, &fail);
	if (err == OC_OK)
		err = pg_send(lane->pg, SQL_COMMAND_LEASE, PG_ARGS(ids, token, lease, w->topics), &fail);
	if (err == OC_OK && w->role.load_sql)
		err = pg_send(lane->pg, w->role.load_sql, PG_ARGS(ids), &fail);
	if (err == OC_OK)
		err = pg_send(lane->pg, "COMMIT", PG_NO_ARGS, &fail);
	if (err == OC_OK)
		err = pg_sync(lane->pg, res, ARRAY_LEN(res), &fail);
	FAULT_POINT("worker.leased");
	/* The lease is committed, or PostgreSQL still has the row and will offer it again: either way the
	 * bus has done its part. */
	for (size_t i = 0; i < n; i++)
		if (from[i].parcel && err == OC_OK)
			bus_ack(from[i].parcel);
		else if (from[i].parcel)
			bus_forget(from[i].parcel);
	FAULT_POINT("worker.acked");
	if (err != OC_OK) {
		pg_rollback(lane->pg);
		log_warn("%s: lease: %s", w->role.name, fail.text);
	} else if (pg_rows(res[2]) > 0) {
		work_leased(lane, res[2], w->role.load_sql ? res[3] : NULL, token);
	}
	if (!pg_alive(lane->pg)) {
		mem_set(&lane->left_ids, ids);
		memcpy(lane->left_token, token, sizeof(token));
	}
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		pg_result_free(res[i]);
	return err;
}

/* Nobody works on what was left behind, and what was answered is done: the rest need not wait for its lease to end.
 * False: no database yet. */
static bool settle_left(struct lane *lane)
{
	struct oc_fail fail;

	if (!lane->left_ids)
		return true;
	if (pg_query(lane->pg, SQL_COMMAND_BACK, PG_ARGS(lane->left_ids, lane->left_token, "0"), NULL,
		     &fail) != OC_OK)
		return false;
	free(lane->left_ids);
	lane->left_ids = NULL;
	atomic_store(&lane->worker_ref->swept_ms, 0); /* the next look is now */
	return true;
}

/* What lies open, without anybody's word. False: nothing, or no database. */
static bool take_open(struct lane *lane)
{
	struct worker *w = lane->worker_ref;
	AUTO(pg_result) struct pg_result *open = NULL;
	struct text ids = { 0 };
	char max[16];
	bool done;

	snprintf(max, sizeof(max), "%u", w->role.max_batch);
	if (pg_query(lane->pg, SQL_COMMAND_OPEN, PG_ARGS(w->topics, max), &open, NULL) != OC_OK ||
	    pg_rows(open) == 0)
		return false;
	for (unsigned i = 0; i < pg_rows(open); i++)
		pg_array_add(&ids, pg_text(open, i, 0));
	pg_array_end(&ids);
	done = lease_and_work(lane, ids.s, NULL, 0) == OC_OK;
	text_done(&ids);
	return done;
}

/* Silence for a second is no proof that nothing is there: one lane a second looks for itself, whichever is free: a
 * fixed one could be busy for minutes. */
static bool my_turn(struct worker *w)
{
	long long last = atomic_load(&w->swept_ms), now = clock_mono_ms();

	return now - last >= IDLE_MS && atomic_compare_exchange_strong(&w->swept_ms, &last, now);
}

static void idle(struct worker *w, int ms)
{
	for (; ms > 0 && !atomic_load(&w->stopping); ms -= 50)
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000000L }, NULL);
}

static void work_handed(struct lane *lane, const struct handed *from, size_t n)
{
	struct text ids = { 0 };

	for (size_t i = 0; i < n; i++)
		pg_array_addf(&ids, "%lld", from[i].id);
	pg_array_end(&ids);
	FAULT_POINT("worker.heard");
	(void)!lease_and_work(lane, ids.s, from, n);
	text_done(&ids);
}

static void *lane_run(void *arg)
{
	struct lane *lane = arg;
	struct worker *w = lane->worker_ref;
	struct oc_fail fail;

	while (!atomic_load(&w->stopping)) {
		struct handed from[BATCH_MAX];
		size_t n;

		if (!lane->pg && pg_open(w->conninfo, w->role.name, &lane->pg, &fail) != OC_OK) {
			log_warn("%s: %s", w->role.name, fail.text);
			idle(w, IDLE_MS);
			continue;
		}
		if (!settle_left(lane)) {
			idle(w, IDLE_MS);
			continue;
		}
		n = seat_take(w->seat, from, w->role.max_batch, PATIENCE_MS, IDLE_MS);
		if (n) {
			work_handed(lane, from, n);
			seat_back(w->seat);
		}
		/* Without the bus there is no other way for what came from elsewhere, so also while there is work. */
		if ((n == 0 || !bus_connected(w->deps.bus)) && !atomic_load(&w->stopping) && my_turn(w))
			while (take_open(lane) && !atomic_load(&w->stopping))
				;
	}
	free(lane->left_ids);
	pg_close(lane->pg);
	return NULL;
}

/* ---- the ear ---- */

static void subscribe(struct worker *w, struct bus_sub **sub)
{
	char filters[4][64];
	const char *subjects[4];
	struct oc_fail fail;
	size_t n = 0;

	for (; n < ARRAY_LEN(w->role.topics) && w->role.topics[n]; n++) {
		snprintf(filters[n], sizeof(filters[n]), "%s.*", w->role.topics[n]);
		subjects[n] = filters[n];
	}
	if (bus_subscribe(w->deps.bus, "CMD", w->role.name, subjects, n, sub, &fail) != OC_OK)
		log_debug("%s: %s", w->role.name, fail.text);
}

/* Waits for room: what the lanes cannot take is better left where another replica finds it. */
static void to_seat(struct worker *w, struct bus_delivery *d)
{
	struct handed what = { .id = bus_delivery_id(d), .parcel = d };

	while (!seat_put(w->seat, what, IDLE_MS))
		if (atomic_load(&w->stopping)) {
			bus_forget(d);
			return;
		}
}

static void *ear_run(void *arg)
{
	struct worker *w = arg;
	struct bus_sub *sub = NULL;
	unsigned generation = 0;

	while (!atomic_load(&w->stopping)) {
		struct bus_delivery *got[BATCH_MAX];
		size_t n;

		if (sub && generation != bus_generation(w->deps.bus)) {
			bus_unsubscribe(sub);
			sub = NULL;
		}
		if (!sub && bus_connected(w->deps.bus)) {
			generation = bus_generation(w->deps.bus);
			subscribe(w, &sub);
		}
		if (!sub || !bus_connected(w->deps.bus)) {
			idle(w, IDLE_MS);
			continue;
		}
		n = bus_fetch(sub, got, w->role.max_batch, IDLE_MS);
		for (size_t i = 0; i < n; i++)
			to_seat(w, got[i]);
	}
	bus_unsubscribe(sub);
	return NULL;
}

enum oc_err worker_start(const struct role *role, const struct worker_deps *deps, struct worker **ret,
			 struct oc_fail *reterr)
{
	struct worker *w = mem_alloc(sizeof(*w));
	struct text topics = { 0 };
	size_t topics_n = 0;

	w->role = *role;
	w->role.max_batch = role->max_batch < 1           ? 1
			    : role->max_batch > BATCH_MAX ? BATCH_MAX
							  : role->max_batch;
	w->role.threads = role->threads < 1 ? 1 : role->threads;
	w->deps = *deps;
	w->conninfo = mem_strdup(deps->conninfo);
	for (; topics_n < ARRAY_LEN(role->topics) && role->topics[topics_n]; topics_n++)
		pg_array_add(&topics, role->topics[topics_n]);
	pg_array_end(&topics);
	w->topics = text_take(&topics);
	/* What is under work and as much again; more would lie here while another replica has time. */
	w->seat = seat_open(deps->hand, role->topics, topics_n,
			    (size_t)w->role.threads * w->role.max_batch * 2);
	w->lanes = mem_array(w->role.threads, sizeof(*w->lanes));
	for (; w->started < w->role.threads; w->started++) {
		struct lane *lane = &w->lanes[w->started];

		lane->worker_ref = w;
		if (pthread_create(&lane->thread, NULL, lane_run, lane) != 0) {
			worker_stop(w);
			return oc_fail(reterr, OC_UNAVAILABLE, "%s: no thread to be had", role->name);
		}
	}
	w->has_ear = deps->bus && pthread_create(&w->ear, NULL, ear_run, w) == 0;
	if (deps->bus && !w->has_ear) {
		worker_stop(w);
		return oc_fail(reterr, OC_UNAVAILABLE, "%s: no thread to be had", role->name);
	}
	*ret = w;
	return OC_OK;
}

void worker_quit(struct worker *w)
{
	if (!w)
		return;
	atomic_store(&w->stopping, true);
	seat_shut(w->seat);
}

void worker_stop(struct worker *w)
{
	struct handed left;

	if (!w)
		return;
	worker_quit(w);
	for (unsigned i = 0; i < w->started; i++)
		pthread_join(w->lanes[i].thread, NULL);
	if (w->has_ear)
		pthread_join(w->ear, NULL);
	/* By the bus it comes again; what came by hand is found by the sweep. */
	while (seat_take(w->seat, &left, 1, 0, 0))
		if (left.parcel)
			bus_forget(left.parcel);
	seat_close(w->seat);
	free(w->lanes);
	free(w->topics);
	free(w->conninfo);
	free(w);
}

enum oc_err command_renew(struct pg *pg, const struct command *cmd, int lease_ms, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char id[24], ms[16];
	enum oc_err err;

	snprintf(id, sizeof(id), "%lld", cmd->id);
	snprintf(ms, sizeof(ms), "%d", lease_ms);
	err = pg_query(pg, SQL_COMMAND_RENEW, PG_ARGS(id, cmd->lease_token, ms), &r, reterr);
	if (err == OC_OK && pg_rows(r) == 0)
		return oc_fail(reterr, OC_STALE, "the lease of command %lld is lost", cmd->id);
	return err;
}
