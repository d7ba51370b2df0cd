#define LOG_ROOM "janitor"
#include "orchestrator/janitor.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "base/waker.h"
#include "orchestrator/transition.h"
#include "store/command.h"

#define LOCK_KEY       "727221002" /* advisory: the janitor's leader */
#define SWEEP_MS       1000
#define PRUNE_EVERY_MS 60000
#define MAX_ROWS       "200"

struct janitor {
	struct janitor_deps deps;
	char *conninfo;
	pthread_t thread, pruner;
	struct waker *end, *pruner_end; /* poked once: they sleep no longer */
	bool has_pruner;
	atomic_bool stopping, leading;
};

static enum oc_err say(struct pg *pg, const struct janitor_deps *deps, long long tenant_id,
		       const char *case_id, int epoch, enum case_event_kind event, const char *reason)
{
	struct transition_result done;
	struct oc_fail fail;
	enum oc_err err = transition(pg,
				     &(struct transition_request){ .tenant_id = tenant_id,
								   .case_id = case_id,
								   .event = event,
								   .who = WHO_TIMER,
								   .actor = "janitor",
								   .reason = reason,
								   .expected_epoch = epoch },
				     &done, &fail);

	metric_inc(M_SWEEP, case_event_name(event), NULL, NULL);
	if (err != OC_OK)
		log_warn("case %s: %s: %s", case_id, case_event_name(event), fail.text);
	else if (deps->on_case)
		deps->on_case(deps->ctx, case_id);
	transition_result_done(&done);
	return err;
}

static unsigned sweep_deadlines(struct pg *pg, const struct janitor_deps *deps)
{
	AUTO(pg_result) struct pg_result *rows = NULL;

	if (pg_query(pg, SQL_SWEEP_DEADLINES, PG_ARGS(MAX_ROWS), &rows, NULL) != OC_OK)
		return 0;
	for (unsigned i = 0; i < pg_rows(rows); i++) {
		enum case_state state = case_state_parse(pg_text(rows, i, 2));
		enum case_event_kind event = EV_DEADLINE;
		const char *reason = "the time for this state is over";

		if (state == CASE_EXECUTING && pg_text(rows, i, 3)) {
			event = EV_CANCEL_GRACE_OVER;
			reason = "cancel was asked and nobody proved that it stopped";
		} else if (state == CASE_VERIFYING) {
			event = EV_VERIFY_UNPROVEN;
			reason = "the time for verification is over";
		}
		(void)!say(pg, deps, pg_int(rows, i, 0), pg_text(rows, i, 1), (int)pg_int(rows, i, 4), event,
			   reason);
	}
	return pg_rows(rows);
}

static unsigned sweep_exhausted(struct pg *pg, const struct janitor_deps *deps)
{
	AUTO(pg_result) struct pg_result *rows = NULL;

	if (pg_query(pg, SQL_SWEEP_EXHAUSTED, PG_ARGS(MAX_ROWS), &rows, NULL) != OC_OK)
		return 0;
	for (unsigned i = 0; i < pg_rows(rows); i++) {
		AUTO(str)
		char *reason =
			mem_printf("%s was offered %s times", pg_text(rows, i, 3), pg_text(rows, i, 5));
		AUTO(pg_result) struct pg_result *gone = NULL;

		/* Given up only when the case has heard: else it would wait for an answer that nobody owes any more. */
		if (pg_bool(rows, i, 4) &&
		    say(pg, deps, pg_int(rows, i, 1), pg_text(rows, i, 2), (int)pg_int(rows, i, 6),
			EV_ATTEMPTS_EXHAUSTED, reason) != OC_OK)
			continue;
		/* The transition has marked the command of the state it left; what is still open was an errand. */
		if (pg_query(pg, SQL_SWEEP_GIVE_UP, PG_ARGS(pg_text(rows, i, 0), reason), &gone, NULL) ==
		    OC_OK)
			metric_add(M_DEAD_LETTER, pg_affected(gone), "command", NULL, NULL);
	}
	return pg_rows(rows);
}

static unsigned sweep_expired(struct pg *pg, const struct janitor_deps *deps)
{
	AUTO(pg_result) struct pg_result *rows = NULL;

	if (pg_query(pg, SQL_SWEEP_EXPIRED, PG_ARGS(MAX_ROWS), &rows, NULL) != OC_OK)
		return 0;
	for (unsigned i = 0; i < pg_rows(rows); i++) {
		if (pg_bool(rows, i, 3) &&
		    say(pg, deps, pg_int(rows, i, 0), pg_text(rows, i, 1), (int)pg_int(rows, i, 4),
			EV_GATE_EXPIRED, "nobody decided before the decision expired") != OC_OK)
			continue;
		(void)!pg_query(pg, SQL_SWEEP_EXPIRED_SAID, PG_ARGS(pg_text(rows, i, 0), pg_text(rows, i, 2)),
				NULL, NULL);
	}
	return pg_rows(rows);
}

static unsigned sweep_reoffer(struct pg *pg, const struct janitor_deps *deps)
{
	AUTO(pg_result) struct pg_result *rows = NULL;

	if (pg_query(pg, SQL_SWEEP_REOFFER, PG_ARGS("500"), &rows, NULL) != OC_OK || pg_rows(rows) == 0)
		return 0;
	for (unsigned i = 0; i < pg_rows(rows); i++)
		metric_inc(M_SWEEP, pg_text(rows, i, 0), NULL, NULL);
	waker_poke(deps->relay_wake);
	return pg_rows(rows);
}

unsigned janitor_sweep(struct pg *pg, const struct janitor_deps *deps)
{
	return sweep_deadlines(pg, deps) + sweep_exhausted(pg, deps) + sweep_expired(pg, deps) +
	       sweep_reoffer(pg, deps);
}

/* Retention may take long; deadlines and lost commands must not wait for it. */
static void *prune_run(void *arg)
{
	struct janitor *j = arg;
	struct pg *pg = NULL;
	int64_t pruned_ms = clock_mono_ms() - PRUNE_EVERY_MS;

	while (!atomic_load(&j->stopping)) {
		waker_wait(j->pruner_end, SWEEP_MS);
		if (clock_mono_ms() - pruned_ms < PRUNE_EVERY_MS || !atomic_load(&j->leading))
			continue;
		pruned_ms = clock_mono_ms();
		if (pg || pg_open(j->conninfo, "retention", &pg, NULL) == OC_OK)
			j->deps.prune(j->deps.ctx, pg);
	}
	pg_close(pg);
	return NULL;
}

static void *janitor_run(void *arg)
{
	struct janitor *j = arg;
	struct pg *pg = NULL;
	long long leader_pid = 0;

	while (!atomic_load(&j->stopping)) {
		AUTO(pg_result) struct pg_result *lock = NULL;
		struct oc_fail fail;

		waker_wait(j->end, SWEEP_MS);
		if (!pg && pg_open(j->conninfo, "janitor", &pg, &fail) != OC_OK) {
			log_warn("%s", fail.text);
			continue;
		}
		if (pg_query(pg,
			     leader_pid ? "SELECT true, pg_backend_pid()"
					: "SELECT pg_try_advisory_lock(" LOCK_KEY "), pg_backend_pid()",
			     PG_NO_ARGS, &lock, &fail) != OC_OK) {
			leader_pid = 0;
			continue;
		}
		/* Another backend than the one that took the lock: it was lost with the connection. */
		if (leader_pid && pg_int(lock, 0, 1) != leader_pid) {
			leader_pid = 0;
			continue;
		}
		if (!pg_bool(lock, 0, 0))
			continue;
		leader_pid = pg_int(lock, 0, 1);
		janitor_sweep(pg, &j->deps);
		atomic_store(&j->leading, true);
	}
	pg_close(pg);
	return NULL;
}

static void janitor_free(struct janitor *j)
{
	waker_free(j->end);
	waker_free(j->pruner_end);
	free(j->conninfo);
	free(j);
}

enum oc_err janitor_start(const struct janitor_deps *deps, struct janitor **ret, struct oc_fail *reterr)
{
	struct janitor *j = mem_alloc(sizeof(*j));

	j->deps = *deps;
	j->conninfo = mem_strdup(deps->conninfo);
	j->end = waker_new();
	j->pruner_end = waker_new();
	if (pthread_create(&j->thread, NULL, janitor_run, j) != 0) {
		janitor_free(j);
		return oc_fail(reterr, OC_UNAVAILABLE, "janitor: no thread to be had");
	}
	j->has_pruner = j->deps.prune && pthread_create(&j->pruner, NULL, prune_run, j) == 0;
	*ret = j;
	return OC_OK;
}

void janitor_stop(struct janitor *j)
{
	if (!j)
		return;
	atomic_store(&j->stopping, true);
	waker_poke(j->end);
	waker_poke(j->pruner_end);
	pthread_join(j->thread, NULL);
	if (j->has_pruner)
		pthread_join(j->pruner, NULL);
	janitor_free(j);
}
