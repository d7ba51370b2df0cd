#define LOG_ROOM "worker"
#include "worker/worker.h"
#include <pthread.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "store/command.h"
#include "wire/bus/bus.h"

#define BATCH_MAX 256
#define META_MAX  (64 * 1024)
#define IDLE_MS   1000

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
	struct bus_sub *sub;
	unsigned generation; /* of the bus, when sub was made */
	int64_t leased_ms;   /* when the batch under work was leased or renewed */
};

struct worker {
	struct role role;
	struct worker_deps deps;
	char *conninfo;
	char *topics; /* as an array literal */
	struct lane *lanes;
	unsigned started;
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

static enum oc_err send_answers(struct pg *pg, const struct pending *p, const struct pg_result *hold,
				bool *ret_events, unsigned *ret_lost, struct oc_fail *reterr)
{
	struct text ids = { 0 }, topics = { 0 }, products = { 0 }, payloads = { 0 }, done = { 0 },
		    later = { 0 }, secs = { 0 };
	enum oc_err err = OC_OK;

	*ret_events = false;
	*ret_lost = 0;
	for (size_t i = 0; i < p->n && err == OC_OK; i++) {
		struct answer *a = &p->answers[i];

		if (a->err != OC_OK)
			continue;
		if (!held(hold, p->cmds[i].id)) {
			++*ret_lost;
			continue;
		}
		for (struct statement *s = a->first; s && err == OC_OK; s = s->next)
			err = pg_send(pg, s->sql, (const char *const *)s->args, s->n, reterr);
		if (a->later_ms) {
			pg_array_addf(&later, "%lld", p->cmds[i].id);
			pg_array_addf(&secs, "%.3f", (double)a->later_ms / 1000);
			continue;
		}
		pg_array_addf(&done, "%lld", p->cmds[i].id);
		if (a->evt) {
			AUTO(str) char *payload = evt_payload(a);

			pg_array_addf(&ids, "%lld", p->cmds[i].id);
			pg_array_add(&topics, a->evt);
			pg_array_add(&products, a->product);
			pg_array_add(&payloads, payload);
		}
	}
	if (err == OC_OK && ids.len) {
		*ret_events = true;
		pg_array_end(&topics), pg_array_end(&products), pg_array_end(&payloads);
		err = pg_send(pg, SQL_COMMAND_ANSWER,
			      PG_ARGS(pg_array_end(&ids), topics.s, products.s, payloads.s), reterr);
	}
	if (err == OC_OK && done.len)
		err = pg_send(pg, SQL_COMMAND_DONE, PG_ARGS(pg_array_end(&done)), reterr);
	if (err == OC_OK && *ret_lost) {
		struct text all = { 0 };

		ids_of(p, &all);
		err = pg_send(pg, SQL_COMMAND_SUPERSEDED, PG_ARGS(all.s, p->token), reterr);
		text_done(&all);
	}
	if (err == OC_OK && later.len) {
		pg_array_end(&secs);
		err = pg_send(pg, SQL_COMMAND_LATER, PG_ARGS(pg_array_end(&later), secs.s), reterr);
	}
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, NULL, 0, reterr);
	text_done(&ids), text_done(&topics), text_done(&products), text_done(&payloads);
	text_done(&done), text_done(&later), text_done(&secs);
	return err;
}

static size_t answered(const struct pending *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->answers[i].err == OC_OK;
	return n;
}

static enum oc_err commit_answers(struct lane *lane, const struct pending *p, struct oc_fail *reterr)
{
	struct worker *w = lane->worker_ref;
	enum oc_err err = OC_BUG;

	for (int tries = 0; tries < 5; tries++) {
		struct pg_result *res[2] = { 0 };
		struct text ids = { 0 };
		bool events = false;
		unsigned lost = 0;

		ids_of(p, &ids);
		err = pg_send(lane->pg, "BEGIN", PG_NO_ARGS, reterr);
		if (err == OC_OK)
			err = pg_send(lane->pg, SQL_COMMAND_HOLD, PG_ARGS(ids.s, p->token), reterr);
		if (err == OC_OK)
			err = pg_sync(lane->pg, res, 2, reterr);
		FAULT_POINT("worker.held");
		if (err == OC_OK)
			err = send_answers(lane->pg, p, res[1], &events, &lost, reterr);
		FAULT_POINT("worker.answered");
		text_done(&ids);
		pg_result_free(res[0]);
		pg_result_free(res[1]);
		if (err == OC_OK) {
			metric_add(M_COMMAND_DONE, (double)(answered(p) - lost), w->role.name, "done", NULL);
			if (lost)
				metric_add(M_COMMAND_DONE, lost, w->role.name, "lost", NULL);
			if (events)
				waker_poke(w->deps.relay_wake);
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
	/* One bad row stops nobody: each goes alone. */
	for (size_t i = 0; i < p->n; i++) {
		struct pending one = {
			.cmds = &p->cmds[i], .answers = &p->answers[i], .n = 1, .token = p->token
		};

		answer_all(lane, &one);
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

static enum oc_err lease_and_work(struct lane *lane, const char *ids, struct bus_delivery **deliveries,
				  size_t n_deliveries)
{
	struct worker *w = lane->worker_ref;
	struct pg_result *res[4] = { 0 };
	struct oc_fail fail;
	char token[UUID_TEXT], lease[16];
	enum oc_err err;

	uuid_new(token);
	snprintf(lease, sizeof(lease), "%d", w->role.lease_ms);
	err = pg_send(lane->pg, "BEGIN", PG_NO_ARGS, &fail);
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
	for (size_t i = 0; i < n_deliveries; i++)
		if (err == OC_OK)
			bus_ack(deliveries[i]);
		else
			bus_forget(deliveries[i]);
	FAULT_POINT("worker.acked");
	if (err != OC_OK) {
		pg_rollback(lane->pg);
		log_warn("%s: lease: %s", w->role.name, fail.text);
	} else if (pg_rows(res[1]) > 0) {
		work_leased(lane, res[1], w->role.load_sql ? res[2] : NULL, token);
	}
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		pg_result_free(res[i]);
	return err;
}

/* What lies open, without the bus. False: nothing, or no database. */
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

static bool my_turn(struct worker *w)
{
	long long last = atomic_load(&w->swept_ms), now = clock_mono_ms();

	return now - last >= IDLE_MS && atomic_compare_exchange_strong(&w->swept_ms, &last, now);
}

static void take_from_bus(struct lane *lane)
{
	struct worker *w = lane->worker_ref;
	struct bus_delivery *got[BATCH_MAX];
	struct text ids = { 0 };
	size_t n = bus_fetch(lane->sub, got, w->role.max_batch, IDLE_MS);

	if (n == 0) {
		/* Silence for a second is no proof that nothing is there: one lane a second looks for itself,
		 * whichever is free: a fixed one could be busy for minutes. */
		if (my_turn(w))
			take_open(lane);
		return;
	}
	for (size_t i = 0; i < n; i++)
		pg_array_addf(&ids, "%lld", bus_delivery_id(got[i]));
	pg_array_end(&ids);
	FAULT_POINT("worker.heard");
	(void)!lease_and_work(lane, ids.s, got, n);
	text_done(&ids);
}

static void idle(struct worker *w, int ms)
{
	for (; ms > 0 && !atomic_load(&w->stopping); ms -= 50)
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000000L }, NULL);
}

static void take_from_sweep(struct lane *lane)
{
	if (!take_open(lane))
		idle(lane->worker_ref, IDLE_MS);
}

static void subscribe(struct lane *lane)
{
	struct worker *w = lane->worker_ref;
	char filters[4][64];
	const char *subjects[4];
	struct oc_fail fail;
	size_t n = 0;

	for (; n < ARRAY_LEN(w->role.topics) && w->role.topics[n]; n++) {
		snprintf(filters[n], sizeof(filters[n]), "%s.*", w->role.topics[n]);
		subjects[n] = filters[n];
	}
	if (bus_subscribe(w->deps.bus, "CMD", w->role.name, subjects, n, &lane->sub, &fail) != OC_OK)
		log_debug("%s: %s", w->role.name, fail.text);
}

static void *lane_run(void *arg)
{
	struct lane *lane = arg;
	struct worker *w = lane->worker_ref;
	struct oc_fail fail;

	while (!atomic_load(&w->stopping)) {
		if (!lane->pg && pg_open(w->conninfo, w->role.name, &lane->pg, &fail) != OC_OK) {
			log_warn("%s: %s", w->role.name, fail.text);
			idle(w, IDLE_MS);
			continue;
		}
		if (lane->sub && lane->generation != bus_generation(w->deps.bus)) {
			bus_unsubscribe(lane->sub);
			lane->sub = NULL;
		}
		if (!lane->sub && bus_connected(w->deps.bus)) {
			lane->generation = bus_generation(w->deps.bus);
			subscribe(lane);
		}
		if (lane->sub && bus_connected(w->deps.bus))
			take_from_bus(lane);
		else
			take_from_sweep(lane);
	}
	bus_unsubscribe(lane->sub);
	pg_close(lane->pg);
	return NULL;
}

enum oc_err worker_start(const struct role *role, const struct worker_deps *deps, struct worker **ret,
			 struct oc_fail *reterr)
{
	struct worker *w = mem_alloc(sizeof(*w));
	struct text topics = { 0 };

	w->role = *role;
	w->role.max_batch = role->max_batch < 1           ? 1
			    : role->max_batch > BATCH_MAX ? BATCH_MAX
							  : role->max_batch;
	w->role.threads = role->threads < 1 ? 1 : role->threads;
	w->deps = *deps;
	w->conninfo = mem_strdup(deps->conninfo);
	for (size_t i = 0; i < ARRAY_LEN(role->topics) && role->topics[i]; i++)
		pg_array_add(&topics, role->topics[i]);
	pg_array_end(&topics);
	w->topics = text_take(&topics);
	w->lanes = mem_array(w->role.threads, sizeof(*w->lanes));
	for (; w->started < w->role.threads; w->started++) {
		struct lane *lane = &w->lanes[w->started];

		lane->worker_ref = w;
		if (pthread_create(&lane->thread, NULL, lane_run, lane) != 0) {
			worker_stop(w);
			return oc_fail(reterr, OC_UNAVAILABLE, "%s: no thread to be had", role->name);
		}
	}
	*ret = w;
	return OC_OK;
}

void worker_quit(struct worker *w)
{
	if (w)
		atomic_store(&w->stopping, true);
}

void worker_stop(struct worker *w)
{
	if (!w)
		return;
	atomic_store(&w->stopping, true);
	for (unsigned i = 0; i < w->started; i++)
		pthread_join(w->lanes[i].thread, NULL);
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
