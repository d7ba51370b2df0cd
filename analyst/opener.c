#define LOG_ROOM "analyst"
#include "analyst/opener.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/waker.h"
#include "store/signal.h"

#define LOCK_KEY "727221003" /* advisory: the opener's leader */
#define PASS_MS  1000
#define AT_ONCE  "200"
#define SAVE_MS  300000
#define SLO_MS   60000

struct pass {
	struct pg *pg;
	const struct opener_config *config;
	const struct opener_door *door;
	int64_t now_us;
	struct opener_done *done;
};

static bool attach(const struct pass *p, long long tenant_id, const char *signal, const char *case_id)
{
	char tenant[24];
	struct oc_fail why;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	if (pg_query(p->pg, SQL_SIGNAL_ATTACH, PG_ARGS(tenant, signal, case_id), NULL, &why) == OC_OK)
		return true;
	log_warn("signal %s: %s", signal, why.text);
	p->done->failed++;
	return false;
}

static bool open_case(const struct pass *p, const struct pg_result *r, unsigned i, const char *follows,
		      const char *parent, char ret_id[UUID_TEXT])
{
	AUTO(json) json_t *labels = NULL, *evidence = NULL;
	struct oc_fail why = { 0 };
	enum oc_err err = json_read_own(pg_text(r, i, SG_LABELS), &labels, &why);

	if (err == OC_OK)
		err = json_read_own(pg_text(r, i, SG_EVIDENCE), &evidence, &why);
	if (err == OC_OK && pg_text(r, i, SG_RESOURCE) && !json_object_get(labels, "resource"))
		json_object_set_new(labels, "resource", json_string(pg_text(r, i, SG_RESOURCE)));
	if (err == OC_OK)
		err = p->door->open(p->door->ctx, p->pg,
				    &(struct opener_case){ .tenant_id = pg_int(r, i, SG_TENANT),
							   .tenant = pg_text(r, i, SG_TENANT_CODE),
							   .title = pg_text(r, i, SG_TITLE),
							   .summary = pg_text(r, i, SG_SUMMARY),
							   .severity = pg_text(r, i, SG_SEVERITY),
							   .labels = labels,
							   .evidence = evidence,
							   .follows_id = follows,
							   .parent_id = parent,
							   .drive = parent ? DRIVE_MANUAL : DRIVE_AUTO,
							   .key = pg_text(r, i, SG_ID) },
				    ret_id, &why);
	if (err == OC_OK)
		return true;
	log_warn("signal %s opened no case: %s", pg_text(r, i, SG_ID), why.text);
	p->done->failed++;
	return false;
}

/* The case that the signal joins since it is about the same place; false: none, or nobody knows. */
static bool near(const struct pass *p, const struct pg_result *r, unsigned i, char ret_id[UUID_TEXT])
{
	AUTO(pg_result) struct pg_result *found = NULL;
	struct oc_fail why;
	char now[24], window[16];

	snprintf(now, sizeof(now), "%lld", (long long)p->now_us);
	snprintf(window, sizeof(window), "%d", p->config->storm_s);
	if (pg_query(p->pg, SQL_SIGNAL_NEAR,
		     PG_ARGS(pg_text(r, i, SG_TENANT), pg_text(r, i, SG_ID), now, window), &found,
		     &why) != OC_OK) {
		log_warn("signal %s: %s", pg_text(r, i, SG_ID), why.text);
		p->done->failed++;
		return false;
	}
	if (!pg_rows(found))
		return false;
	snprintf(ret_id, UUID_TEXT, "%s", pg_text(found, 0, 0));
	return true;
}

static void one(const struct pass *p, const struct pg_result *r, unsigned i)
{
	const char *earlier = pg_text(r, i, SG_EARLIER_CASE), *follows = NULL;
	char id[UUID_TEXT];

	if (earlier && pg_bool(r, i, SG_EARLIER_OPEN)) {
		p->done->joined += attach(p, pg_int(r, i, SG_TENANT), pg_text(r, i, SG_ID), earlier);
		return;
	}
	if (earlier &&
	    pg_int(r, i, SG_EARLIER_CLOSED_US) > p->now_us - p->config->follow_s * INT64_C(1000000))
		follows = earlier;
	if (near(p, r, i, id)) {
		p->done->joined += attach(p, pg_int(r, i, SG_TENANT), pg_text(r, i, SG_ID), id);
		log_info("case %s: joined by signal %s: %s", id, pg_text(r, i, SG_FINGERPRINT),
			 pg_text(r, i, SG_TITLE));
		return;
	}
	if (!open_case(p, r, i, follows, NULL, id) ||
	    !attach(p, pg_int(r, i, SG_TENANT), pg_text(r, i, SG_ID), id))
		return;
	p->done->opened++;
	p->done->followed += follows != NULL;
	log_info("case %s: opened by signal %s: %s", id, pg_text(r, i, SG_FINGERPRINT),
		 pg_text(r, i, SG_TITLE));
}

static bool open_parent(const struct pass *p, const struct pg_result *r, unsigned first, unsigned n,
			char ret_id[UUID_TEXT])
{
	AUTO(json) json_t *labels = json_pack("{s:s}", "storm", "true"), *evidence = json_array();
	AUTO(str)
	char *title = mem_printf("Storm: %u signals at once, the first: %s", n, pg_text(r, first, SG_TITLE));
	AUTO(str) char *key = mem_printf("storm:%s", pg_text(r, first, SG_ID));
	struct oc_fail why = { 0 };

	/* It is analysed by what all of them point at. */
	for (unsigned i = first; i < first + n && json_array_size(evidence) < 32; i++) {
		AUTO(json) json_t *own = NULL;

		if (json_read_own(pg_text(r, i, SG_EVIDENCE), &own, NULL) == OC_OK)
			json_array_extend(evidence, own);
	}
	if (strlen(title) > SIGNAL_TITLE_MAX)
		title[SIGNAL_TITLE_MAX] = '\0';
	for (size_t k = strlen(title); k && !str_utf8_ok(title, k);)
		title[--k] = '\0';
	if (p->door->open(p->door->ctx, p->pg,
			  &(struct opener_case){ .tenant_id = pg_int(r, first, SG_TENANT),
						 .tenant = pg_text(r, first, SG_TENANT_CODE),
						 .title = title,
						 .severity = "FATAL",
						 .labels = labels,
						 .evidence = evidence,
						 .drive = DRIVE_AUTO,
						 .key = key },
			  ret_id, &why) == OC_OK) {
		p->done->opened++;
		log_warn("case %s: %s", ret_id, title);
		return true;
	}
	log_warn("a storm of %u signals opened no case: %s", n, why.text);
	p->done->failed++;
	return false;
}

static void child(const struct pass *p, const struct pg_result *r, unsigned i, const char *parent)
{
	struct oc_fail why = { 0 };
	char id[UUID_TEXT];
	enum oc_err err;

	if (!open_case(p, r, i, NULL, parent, id))
		return;
	err = p->door->tell(p->door->ctx, p->pg, pg_int(r, i, SG_TENANT), id, EV_ABSORBED,
			    "one of the signals of a storm", &why);
	if (err != OC_OK)
		log_warn("case %s was not absorbed: %s", id, why.text);
	/* Closed or not, it is this signal's case. */
	if (attach(p, pg_int(r, i, SG_TENANT), pg_text(r, i, SG_ID), id))
		p->done->absorbed += err == OC_OK;
}

/* Rows [first, first + n) are one tenant's. */
static void tenant(const struct pass *p, const struct pg_result *r, unsigned first, unsigned n)
{
	AUTO(pg_result) struct pg_result *storm = NULL;
	struct oc_fail why = { 0 };
	char now[24], window[16], parent[UUID_TEXT];
	unsigned fresh = 0;

	snprintf(now, sizeof(now), "%lld", (long long)p->now_us);
	snprintf(window, sizeof(window), "%d", p->config->storm_s);
	if (pg_query(p->pg, SQL_SIGNAL_STORM, PG_ARGS(pg_text(r, first, SG_TENANT), now, window), &storm,
		     &why) != OC_OK) {
		log_warn("tenant %s: %s", pg_text(r, first, SG_TENANT_CODE), why.text);
		p->done->failed++;
		return;
	}
	for (unsigned i = first; i < first + n; i++)
		fresh += !pg_bool(r, i, SG_EARLIER_OPEN);
	if (!pg_text(storm, 0, 1) && fresh + pg_int(storm, 0, 0) <= p->config->storm_signals) {
		for (unsigned i = first; i < first + n; i++)
			one(p, r, i);
		return;
	}
	if (pg_text(storm, 0, 1))
		snprintf(parent, sizeof(parent), "%s", pg_text(storm, 0, 1));
	else if (!open_parent(p, r, first, n, parent))
		return;
	for (unsigned i = first; i < first + n; i++)
		if (pg_bool(r, i, SG_EARLIER_OPEN))
			one(p, r, i);
		else
			child(p, r, i, parent);
}

static void tell_ended(const struct pass *p)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };
	char now[24];

	snprintf(now, sizeof(now), "%lld", (long long)p->now_us);
	if (pg_query(p->pg, SQL_SIGNAL_ENDED, PG_ARGS(AT_ONCE), &r, &why) != OC_OK) {
		log_warn("signals that ended: %s", why.text);
		p->done->failed++;
		return;
	}
	for (unsigned i = 0; i < pg_rows(r); i++) {
		enum oc_err err = p->door->tell(p->door->ctx, p->pg, pg_int(r, i, 0), pg_text(r, i, 1),
						EV_SIGNAL_CLEARED, "all of its signals have ended", &why);

		/* Something was dispatched already: the case goes its way, and has heard. */
		if (err != OC_OK && err != OC_ILLEGAL && err != OC_INVALID) {
			log_warn("case %s was not told that its signals ended: %s", pg_text(r, i, 1),
				 why.text);
			p->done->failed++;
			continue;
		}
		if (pg_query(p->pg, SQL_SIGNAL_TOLD, PG_ARGS(pg_text(r, i, 0), pg_text(r, i, 1), now), NULL,
			     &why) == OC_OK)
			p->done->cleared++;
	}
}

void opener_pass(struct pg *pg, const struct opener_config *config, const struct opener_door *door,
		 int64_t now_us, struct opener_done *ret)
{
	struct pass p = { .pg = pg, .config = config, .door = door, .now_us = now_us, .done = ret };
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };
	char now[24], least[32];

	memset(ret, 0, sizeof(*ret));
	snprintf(now, sizeof(now), "%lld", (long long)now_us);
	snprintf(least, sizeof(least), "%.6f", config->least_confidence);
	if (pg_query(pg, SQL_SIGNAL_DUE, PG_ARGS(now, least, AT_ONCE), &r, &why) != OC_OK) {
		log_warn("signals: %s", why.text);
		ret->failed++;
		return;
	}
	for (unsigned i = 0, n; i < pg_rows(r); i += n) {
		for (n = 1; i + n < pg_rows(r) && pg_int(r, i + n, SG_TENANT) == pg_int(r, i, SG_TENANT); n++)
			;
		tenant(&p, r, i, n);
	}
	tell_ended(&p);
}

/* ---- the thread ---- */

struct opener {
	struct opener_config config;
	struct watch_config watch;
	const struct slo_watch *slos_ref;
	struct opener_door door;
	char *conninfo;
	pthread_t thread;
	struct waker *end; /* poked once: it sleeps no longer */
	atomic_bool stopping;
};

/* True while the lock is held by this very connection. */
static bool leads(struct pg *pg, long long *leader_pid)
{
	AUTO(pg_result) struct pg_result *r = NULL;

	if (pg_query(pg,
		     *leader_pid ? "SELECT true, pg_backend_pid()"
				 : "SELECT pg_try_advisory_lock(" LOCK_KEY "), pg_backend_pid()",
		     PG_NO_ARGS, &r, NULL) != OC_OK ||
	    (*leader_pid && pg_int(r, 0, 1) != *leader_pid)) {
		*leader_pid = 0;
		return false;
	}
	if (!pg_bool(r, 0, 0))
		return false;
	*leader_pid = pg_int(r, 0, 1);
	return true;
}

static void watch_now(struct watch *w, struct pg *pg, int64_t *saved_ms, bool last)
{
	struct watch_done done;
	struct oc_fail why;
	enum oc_err err = OC_OK;

	if (!last)
		err = watch_pass(w, pg, clock_wall_us(), &done, &why);
	if (err == OC_OK && (last || clock_mono_ms() - *saved_ms >= SAVE_MS)) {
		err = watch_save(w, pg, &why);
		*saved_ms = clock_mono_ms();
	}
	if (err != OC_OK)
		log_warn("detectors: %s", why.text);
}

static void *opener_run(void *arg)
{
	struct opener *o = arg;
	AUTO(watch) struct watch *w = NULL;
	struct pg *pg = NULL;
	long long leader_pid = 0;
	int64_t saved_ms = clock_mono_ms(), judged_ms = saved_ms - SLO_MS;

	while (!atomic_load(&o->stopping)) {
		struct opener_done done;
		struct oc_fail why;

		waker_wait(o->end, PASS_MS);
		if (!pg && pg_open(o->conninfo, "opener", &pg, &why) != OC_OK) {
			log_warn("%s", why.text);
			continue;
		}
		if (!leads(pg, &leader_pid)) {
			/* Whoever leads next goes on from what was stored; so do we when it is our turn again. */
			watch_free(w);
			w = NULL;
			continue;
		}
		if (!w)
			w = watch_new(&o->watch);
		watch_now(w, pg, &saved_ms, false);
		if (clock_mono_ms() - judged_ms >= SLO_MS) {
			judged_ms = clock_mono_ms();
			if (slo_pass(o->slos_ref, pg, clock_wall_us(), &why) != OC_OK)
				log_warn("objectives: %s", why.text);
		}
		opener_pass(pg, &o->config, &o->door, clock_wall_us(), &done);
	}
	if (w && pg && leads(pg, &leader_pid))
		watch_now(w, pg, &saved_ms, true);
	pg_close(pg);
	return NULL;
}

enum oc_err opener_start(const char *conninfo, const struct opener_config *config,
			 const struct watch_config *watch, const struct slo_watch *slos,
			 const struct opener_door *door, struct opener **ret, struct oc_fail *reterr)
{
	struct opener *o = mem_alloc(sizeof(*o));

	o->config = *config;
	o->watch = *watch;
	o->slos_ref = slos;
	o->door = *door;
	o->conninfo = mem_strdup(conninfo);
	o->end = waker_new();
	if (pthread_create(&o->thread, NULL, opener_run, o) != 0) {
		waker_free(o->end);
		free(o->conninfo);
		free(o);
		return oc_fail(reterr, OC_UNAVAILABLE, "analyst: no thread to be had");
	}
	*ret = o;
	return OC_OK;
}

void opener_stop(struct opener *o)
{
	if (!o)
		return;
	atomic_store(&o->stopping, true);
	waker_poke(o->end);
	pthread_join(o->thread, NULL);
	waker_free(o->end);
	free(o->conninfo);
	free(o);
}
