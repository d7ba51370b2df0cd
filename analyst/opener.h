/* opener.h - turns signals into cases, and tells a case when its signals have ended.
 *
 * A signal opens a case when it has outlived its debounce, is sure enough, and no maintenance window covers it. One whose
 * fingerprint has an open case joins that case; one whose case closed a little while ago opens a case that follows it; a closed case never
 * takes one in. When many come at once a storm has begun: one parent is opened and analysed, and each signal's own case is
 * opened under it and absorbed at once, so that one plan is made.
 *
 * Cases are opened through the one door by functions that are handed in: this room does not know the orchestrator. One leader per
 * installation (advisory lock); a crash between opening a case and remembering it opens no second one, since the door keeps the key. */
#pragma once
#include "analyst/slo_watch.h"
#include "analyst/watch.h"
#include "base/uuid.h"
#include "domain/case.h"
#include "store/signal.h"

struct opener_case {
	long long tenant_id;
	const char *tenant, *title, *summary, *severity;
	const json_t *labels, *evidence;
	const char *follows_id, *parent_id; /* or NULL */
	enum case_drive drive;
	const char *key; /* the same key opens one case */
};

struct opener_door {
	enum oc_err (*open)(void *ctx, struct pg *pg, const struct opener_case *c, char ret_id[UUID_TEXT],
			    struct oc_fail *reterr);
	/* absorbed, signal_cleared. A refusal is an answer, too: OC_ILLEGAL, OC_INVALID. */
	enum oc_err (*tell)(void *ctx, struct pg *pg, long long tenant_id, const char *case_id,
			    enum case_event_kind event, const char *reason, struct oc_fail *reterr);
	void *ctx;
};

struct opener_config {
	double least_confidence; /* 0 to 1 */
	int storm_signals;       /* more than so many in storm_s are a storm */
	int storm_s;
	int follow_s; /* so long after its case closed, a signal's new case follows it */
};

struct opener_done {
	unsigned opened, joined, followed, absorbed, cleared, failed;
};

/* One pass at the time now_us. What fails is logged and tried again by the next pass. */
void opener_pass(struct pg *pg, const struct opener_config *config, const struct opener_door *door,
		 int64_t now_us, struct opener_done *ret);

struct opener;
/* A thread that, while it leads, looks at what has closed (watch.h) and passes, once a second, and at the objectives once
 * a minute. conninfo (as opscase_worker) and slos are lent. */
MUST_CHECK enum oc_err opener_start(const char *conninfo, const struct opener_config *config,
				    const struct watch_config *watch, const struct slo_watch *slos,
				    const struct opener_door *door, struct opener **ret,
				    struct oc_fail *reterr);
void opener_stop(struct opener *o); /* NULL is fine */
