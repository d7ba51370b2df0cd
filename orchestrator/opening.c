#define LOG_ROOM "opening"
#include "orchestrator/opening.h"
#include <math.h>
#include <pthread.h>
#include "base/handover.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "base/waker.h"
#include "orchestrator/batch.h"
#include "orchestrator/door.h"
#include "orchestrator/kept.h"
#include "store/case_doc.h"
#include "store/step.h"

#define POOL_WAIT_MS 2000

enum { CASE_ARRAYS = 18, BODY_ARRAYS = 7, LINE_ARRAYS = 11, OUT_ARRAYS = 12, KEY_ARRAYS = 6 };

enum oc_err opening_check(const struct case_create *c, struct oc_fail *reterr)
{
	if (str_empty(c->title) || strlen(c->title) > 500)
		return oc_fail_field(reterr, OC_INVALID, "/title", "a case needs a title of 1 to 500 bytes");
	if (!str_utf8_ok(c->title, strlen(c->title)))
		return oc_fail_field(reterr, OC_BAD_REQUEST, "/title", "the title is not valid UTF-8");
	return OC_OK;
}

/* ---- what a group writes ---- */

/* One case of it. */
struct newborn {
	struct opening *opening_ref;
	char id[UUID_TEXT];
	struct case_move move; /* the last: create, or for drive auto start_analysis */
	int steps;
	long long cmd_id;
	bool by_hand;
};

struct group {
	struct newborn *cases;
	size_t n;
	struct text case_rows[CASE_ARRAYS], bodies[BODY_ARRAYS], lines[LINE_ARRAYS], out[OUT_ARRAYS],
		keys[KEY_ARRAYS];
	size_t keyed;
	bool by_bus;
};

static void add_row(struct text *arrays, const char *const *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pg_array_add(&arrays[i], values[i]);
}
#define ADD_ROW(arrays, ...) add_row(arrays, PG_ARGS(__VA_ARGS__))

static void texts_done(struct text *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text_done(&t[i]);
}

static void group_done(struct group *g)
{
	texts_done(g->case_rows, CASE_ARRAYS);
	texts_done(g->bodies, BODY_ARRAYS);
	texts_done(g->lines, LINE_ARRAYS);
	texts_done(g->out, OUT_ARRAYS);
	texts_done(g->keys, KEY_ARRAYS);
	free(g->cases);
}

static enum oc_err send_rows(struct pg *pg, const char *sql, struct text *arrays, size_t n, const char *extra,
			     struct oc_fail *reterr)
{
	const char *args[CASE_ARRAYS + 1];

	for (size_t i = 0; i < n; i++)
		args[i] = pg_array_end(&arrays[i]);
	args[n] = extra;
	return pg_send(pg, sql, args, (unsigned)n + (extra != NULL), reterr);
}

static char *fact_text(const struct newborn *b, const struct case_now *from, enum case_event_kind event,
		       const struct case_move *m)
{
	AUTO(json) json_t *fact = json_object();

	json_put(fact, "case_id", b->id);
	json_put(fact, "title", b->opening_ref->ask->title);
	json_put(fact, "event", case_event_name(event));
	json_put(fact, "from", case_state_name(from->state));
	json_put(fact, "to", case_state_name(m->to));
	json_object_set_new(fact, "version", json_integer(b->steps));
	json_put(fact, "actor", b->opening_ref->ask->actor);
	return json_text(fact);
}

/* The rows of one event of the new case: timeline and fact. *head holds the chain's hash before and after. */
static void add_step(struct group *g, struct newborn *b, enum case_event_kind event, const char *tenant,
		     const struct pg_result *spares, unsigned row, const json_t *meta, char head[HASH_HEX])
{
	const struct case_create *c = b->opening_ref->ask;
	struct case_now now = { .state = b->steps ? CASE_NEW : CASE_ABSENT, .drive = c->drive };
	AUTO(str) char *canonical = NULL;
	AUTO(str) char *fact = NULL;
	AUTO(str) char *meta_text = json_text(meta);
	char seq[16], spare[24], hash[HASH_HEX];

	b->move = case_step(&now, &(struct case_event){ .kind = event });
	b->steps++;
	snprintf(seq, sizeof(seq), "%d", b->steps);
	snprintf(spare, sizeof(spare), "%lld", pg_int(spares, row, (unsigned)b->steps));
	canonical = timeline_seal(&(struct timeline_row){ .tenant = c->tenant,
							  .case_id = b->id,
							  .event = case_event_name(event),
							  .from = case_state_name(now.state),
							  .to = case_state_name(b->move.to),
							  .actor = c->actor,
							  .seq = b->steps,
							  .version = b->steps,
							  .epoch = b->steps,
							  .at_us = pg_int(spares, row, 0),
							  .meta = meta },
				  head, hash);
	memcpy(head, hash, HASH_HEX);
	ADD_ROW(g->lines, tenant, b->id, seq, case_event_name(event), c->actor, NULL, NULL, meta_text,
		canonical, hash, NULL);
	fact = fact_text(b, &now, event, &b->move);
	ADD_ROW(g->out, spare, tenant, b->id, "x", "evt.case.transition.v1", c->tenant, fact, seq, seq, "1",
		c->trace_id, "bus");
}

static void add_command(struct group *g, struct newborn *b, const char *tenant, const char *version,
			const char *cmd)
{
	const char *topic = case_ask_topic(b->move.ask);
	char attempts[8];

	b->by_hand = handover_room(door_hand(), topic);
	g->by_bus = g->by_bus || !b->by_hand;
	snprintf(attempts, sizeof(attempts), "%d", case_ask_attempts(b->move.ask));
	ADD_ROW(g->out, cmd, tenant, b->id, "c", topic, b->opening_ref->ask->tenant,
		"{\"drive\":\"auto\",\"from_event\":\"start_analysis\",\"args\":{}}", version, version,
		attempts, b->opening_ref->ask->trace_id, b->by_hand ? "hand" : "bus");
}

static void add_case(struct group *g, struct newborn *b, const struct pg_result *spares, unsigned row)
{
	const struct case_create *c = b->opening_ref->ask;
	bool automatic = c->drive == DRIVE_AUTO;
	char tenant[24], version[16], deadline[32], head[HASH_HEX] = "";
	AUTO(json) json_t *meta = json_object();
	AUTO(str) char *labels = c->labels ? json_text(c->labels) : mem_strdup("{}");
	AUTO(str) char *evidence = c->evidence ? json_text(c->evidence) : mem_strdup("[]");
	AUTO(str) char *params = c->params ? json_text(c->params) : mem_strdup("{}");
	const char *cmd = NULL, *topic = NULL;

	uuid_new(b->id);
	snprintf(tenant, sizeof(tenant), "%lld", c->tenant_id);
	json_put(meta, "title", c->title);
	json_put(meta, "drive", automatic ? "auto" : "manual");
	if (c->trace_id)
		json_put(meta, "trace_id", c->trace_id);
	/* create, and for an auto case start_analysis: two rows of the timeline in the same commit. */
	add_step(g, b, EV_CREATE, tenant, spares, row, meta, head);
	if (automatic)
		add_step(g, b, EV_START_ANALYSIS, tenant, spares, row, meta, head);
	snprintf(version, sizeof(version), "%d", b->steps);
	snprintf(deadline, sizeof(deadline), "%.3f", state_deadline_s(b->move.to, false, NAN, NAN));
	if (b->move.ask != ASK_NOTHING) {
		b->cmd_id = pg_int(spares, row, 3);
		cmd = pg_text(spares, row, 3);
		topic = case_ask_topic(b->move.ask);
		add_command(g, b, tenant, version, cmd);
	}
	ADD_ROW(g->case_rows, b->id, tenant, c->tenant, c->title, case_state_name(b->move.to), version,
		version, automatic ? "auto" : "manual", c->severity ? c->severity : "ERROR", c->actor,
		c->trace_id, c->follows_id, c->parent_id, version, head, cmd, topic, cmd ? deadline : NULL);
	ADD_ROW(g->bodies, b->id, tenant, c->summary, labels, evidence, c->template_name, params);
	if (c->idem.key) {
		ADD_ROW(g->keys, tenant, c->idem.principal, c->idem.route, c->idem.key, c->idem.body_hash,
			b->id);
		g->keyed++;
	}
}

static void opened(struct newborn *b, const struct pg_result *docs, unsigned row)
{
	struct transition_result *ret = b->opening_ref->ret;

	transition_result_case(ret, docs, row, 1);
	ret->accepted = true;
	ret->from = CASE_ABSENT;
	ret->to = b->move.to;
	ret->version = ret->epoch = b->steps;
	ret->cmd_id = b->cmd_id;
	if (b->by_hand)
		/* Nobody there any more: the sweep offers it in a few seconds. */
		(void)handover_give(door_hand(), case_ask_topic(b->move.ask), b->cmd_id);
	metric_inc(M_CASE_TRANSITION, "(none)", "NEW", "create");
	if (b->steps > 1)
		metric_inc(M_CASE_TRANSITION, "NEW", "ANALYZING", "start_analysis");
}

/* The second round trip. */
static enum oc_err write_group(struct pg *pg, struct group *g, struct oc_fail *reterr)
{
	struct pg_result *res[8] = { 0 };
	unsigned docs_at = g->keyed ? 6 : 5;
	char keyed[24];
	enum oc_err err;

	snprintf(keyed, sizeof(keyed), "%zu", g->keyed);
	err = pg_send(pg, "BEGIN", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = send_rows(pg, SQL_STEP_NEW_CASES, g->case_rows, CASE_ARRAYS, NULL, reterr);
	if (err == OC_OK)
		err = send_rows(pg, SQL_STEP_NEW_BODIES, g->bodies, BODY_ARRAYS, NULL, reterr);
	if (err == OC_OK)
		err = send_rows(pg, SQL_STEP_TIMELINE, g->lines, LINE_ARRAYS, NULL, reterr);
	if (err == OC_OK)
		err = send_rows(pg, SQL_STEP_OUTBOX, g->out, OUT_ARRAYS, NULL, reterr);
	if (err == OC_OK && g->keyed)
		err = send_rows(pg, SQL_STEP_IDEM_KEEP_NEW, g->keys, KEY_ARRAYS, keyed, reterr);
	if (err == OC_OK)
		err = pg_send(pg, SQL_STEP_CASE_DOCS, PG_ARGS(g->case_rows[1].s, g->case_rows[0].s), reterr);
	if (err == OC_OK)
		err = pg_send(pg, "COMMIT", PG_NO_ARGS, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, ARRAY_LEN(res), reterr);
	if (err == OC_OK) {
		for (size_t i = 0; i < g->n; i++)
			opened(&g->cases[i], res[docs_at], (unsigned)i);
		if (g->by_bus)
			waker_poke(door_waker());
		else
			waker_poke_within(door_waker(), HANDOVER_FACTS_MS);
	}
	for (size_t i = 0; i < ARRAY_LEN(res); i++)
		pg_result_free(res[i]);
	return err;
}

/* The first round trip: what is kept under the keys, the clock, and ids. */
static enum oc_err ask_first(struct pg *pg, struct opening *list, size_t n, struct pg_result *res[2],
			     struct oc_fail *reterr)
{
	struct text keys[5] = { 0 };
	char count[24];
	size_t keyed = 0;
	enum oc_err err = OC_OK;

	snprintf(count, sizeof(count), "%zu", n);
	for (size_t i = 0; i < n; i++) {
		const struct case_create *c = list[i].ask;
		char ord[24], tenant[24];

		if (!c->idem.key)
			continue;
		snprintf(ord, sizeof(ord), "%zu", i);
		snprintf(tenant, sizeof(tenant), "%lld", c->tenant_id);
		ADD_ROW(keys, ord, tenant, c->idem.principal, c->idem.route, c->idem.key);
		keyed++;
	}
	err = pg_send(pg, SQL_STEP_SPARES, PG_ARGS(count), reterr);
	if (err == OC_OK && keyed)
		err = send_rows(pg, SQL_STEP_IDEM_KEPT, keys, ARRAY_LEN(keys), NULL, reterr);
	if (err == OC_OK)
		err = pg_sync(pg, res, 2, reterr);
	texts_done(keys, ARRAY_LEN(keys));
	return err;
}

enum oc_err opening_write(struct pg *pg, struct opening *list, size_t n, struct oc_fail *reterr)
{
	struct pg_result *res[2] = { 0 };
	struct group g = { .cases = mem_array(n, sizeof(*g.cases)) };
	bool *answered = mem_array(n, sizeof(*answered));
	enum oc_err err = ask_first(pg, list, n, res, reterr);

	for (size_t i = 0; i < n && err == OC_OK; i++)
		list[i].err = OC_OK;
	for (unsigned i = 0; err == OC_OK && res[1] && i < pg_rows(res[1]); i++) {
		size_t ord = (size_t)pg_int(res[1], i, 0);

		answered[ord] = kept_ends(res[1], i, 1, &list[ord].ask->idem, list[ord].ret, &list[ord].err,
					  list[ord].fail);
	}
	for (size_t i = 0; err == OC_OK && i < n; i++)
		if (!answered[i]) {
			g.cases[g.n].opening_ref = &list[i];
			add_case(&g, &g.cases[g.n++], res[0], (unsigned)i);
		}
	if (err == OC_OK && g.n > 0)
		err = write_group(pg, &g, reterr);
	group_done(&g);
	free(answered);
	pg_result_free(res[0]);
	pg_result_free(res[1]);
	return err;
}

/* ---- many callers ---- */

struct caller {
	struct opening opening;
	struct caller *next_ref;
	pthread_cond_t turn;
	bool done, alone; /* alone: its group could not be written, so it goes by itself */
};

struct openings {
	struct pg_pool *pool_ref;
	unsigned writers, writing;
	struct caller *first_ref, **last_ref;
	pthread_mutex_t lock;
};

struct openings *openings_new(struct pg_pool *pool_ref, unsigned writers)
{
	struct openings *o = mem_alloc(sizeof(*o));

	o->pool_ref = pool_ref;
	o->writers = writers ? writers : 1;
	o->last_ref = &o->first_ref;
	pthread_mutex_init(&o->lock, NULL);
	return o;
}

void openings_free(struct openings *o)
{
	if (!o)
		return;
	pthread_mutex_destroy(&o->lock);
	free(o);
}

static bool same_key(const struct case_create *a, const struct case_create *b)
{
	return a->idem.key && b->idem.key && str_eq(a->idem.key, b->idem.key) &&
	       a->tenant_id == b->tenant_id && str_eq(a->idem.principal, b->idem.principal) &&
	       str_eq(a->idem.route, b->idem.route);
}

/* Takes callers off the queue, in order, up to a group; one whose key is in the group already stays. */
static size_t take_group(struct openings *o, struct caller *group[OPENINGS_MAX])
{
	struct caller **at = &o->first_ref;
	size_t n = 0;

	while (*at && n < OPENINGS_MAX) {
		struct caller *c = *at;
		bool twice = false;

		for (size_t i = 0; i < n && !twice; i++)
			twice = same_key(c->opening.ask, group[i]->opening.ask);
		if (twice) {
			at = &c->next_ref;
			continue;
		}
		*at = c->next_ref;
		c->next_ref = NULL;
		group[n++] = c;
	}
	o->last_ref = &o->first_ref;
	while (*o->last_ref)
		o->last_ref = &(*o->last_ref)->next_ref;
	return n;
}

static enum oc_err take_connection(struct openings *o, struct pg **ret, struct oc_fail *reterr)
{
	struct oc_fail why = { 0 };

	if (pg_pool_take(o->pool_ref, POOL_WAIT_MS, ret, &why) == OC_OK)
		return OC_OK;
	/* Host names and socket paths are nobody's business out there. */
	log_warn("no connection: %s", why.text);
	return oc_fail(reterr, OC_UNAVAILABLE, "the database does not answer now, or is busy");
}

static void write_for(struct openings *o, struct caller *group[OPENINGS_MAX], size_t n)
{
	struct opening list[OPENINGS_MAX];
	struct oc_fail fail = { 0 };
	struct pg *pg = NULL;
	enum oc_err err = take_connection(o, &pg, &fail);
	bool connected = err == OC_OK;

	for (size_t i = 0; i < n; i++)
		list[i] = group[i]->opening;
	if (connected) {
		err = opening_write(pg, list, n, &fail);
		pg_pool_give(o->pool_ref, pg);
	}
	for (size_t i = 0; i < n; i++) {
		group[i]->alone = connected && err != OC_OK;
		group[i]->opening.err = err == OC_OK ? list[i].err : err;
		if (err != OC_OK && group[i]->opening.fail)
			*group[i]->opening.fail = fail;
	}
}

static enum oc_err create_alone(struct openings *o, const struct case_create *c,
				struct transition_result *ret, struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = take_connection(o, &pg, reterr);

	transition_result_done(ret);
	if (err != OC_OK)
		return err;
	err = transition_create(pg, c, ret, reterr);
	pg_pool_give(o->pool_ref, pg);
	return err;
}

enum oc_err openings_create(struct openings *o, const struct case_create *c, struct transition_result *ret,
			    struct oc_fail *reterr)
{
	struct caller me = {
		.opening = { .ask = c, .ret = ret, .fail = reterr }
	};
	enum oc_err err = opening_check(c, reterr);

	*ret = (struct transition_result){ 0 };
	if (err != OC_OK)
		return err;
	pthread_cond_init(&me.turn, NULL);
	pthread_mutex_lock(&o->lock);
	*o->last_ref = &me;
	o->last_ref = &me.next_ref;
	while (!me.done) {
		struct caller *group[OPENINGS_MAX];
		size_t n;

		/* Somebody who is taken into a group waits for its end, however many may write. */
		if (o->writing >= o->writers || !o->first_ref) {
			pthread_cond_wait(&me.turn, &o->lock);
			continue;
		}
		n = take_group(o, group);
		o->writing++;
		pthread_mutex_unlock(&o->lock);
		write_for(o, group, n);
		pthread_mutex_lock(&o->lock);
		o->writing--;
		for (size_t i = 0; i < n; i++) {
			group[i]->done = true;
			pthread_cond_signal(&group[i]->turn);
		}
		if (o->first_ref)
			pthread_cond_signal(&o->first_ref->turn);
	}
	pthread_mutex_unlock(&o->lock);
	pthread_cond_destroy(&me.turn);
	return me.alone ? create_alone(o, c, ret, reterr) : me.opening.err;
}
