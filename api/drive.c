#include "api/drive.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"

bool drive_begin(struct drive *d, struct api_call *c, const char *case_id)
{
	const char *prefer = http_header(c->req, "Prefer");
	int wait_s = prefer_wait(prefer, c->api->default_wait_s);
	struct oc_fail fail = { 0 };

	*d = (struct drive){ .c = c, .reason = c->body ? json_str(c->body, "reason") : NULL };
	snprintf(d->case_id, sizeof(d->case_id), "%s", case_id);
	d->until_us = clock_mono_us() + (int64_t)wait_s * 1000000;
	if (prefer) {
		char applied[16];

		snprintf(applied, sizeof(applied), "wait=%d", wait_s);
		call_header(c, "Preference-Applied", applied);
	}
	/* Before the first read: what happens after it is then not missed. */
	if (wait_s > 0 && c->deps->waiters_ref &&
	    waiter_enter(c->deps->waiters_ref, case_id, &d->waiter, &fail) != OC_OK) {
		call_problem(c, &fail, NULL);
		return false;
	}
	return drive_read(d);
}

void drive_end(struct drive *d)
{
	waiter_leave(d->waiter);
	case_read_done(&d->now);
	d->waiter = NULL;
}

bool drive_read(struct drive *d)
{
	struct oc_fail fail = { 0 };

	case_read_done(&d->now);
	if (call_read_case(d->c, d->case_id, 0, &d->now, &fail) == OC_OK)
		return true;
	call_problem(d->c, &fail, NULL);
	return false;
}

bool drive_event(struct drive *d, enum case_event_kind ev, const json_t *args, int *ret_epoch)
{
	struct transition_result res = { 0 };
	struct oc_fail fail = { 0 };
	enum oc_err err =
		call_transition(d->c, d->case_id, ev, args, d->reason, 0, case_event_name(ev), &res, &fail);
	bool replayed = res.replayed;
	int stored = res.stored_status;

	if (err == OC_OK && replayed && stored >= 400) {
		call_replayed(d->c, &res);
		transition_result_done(&res);
		return false;
	}
	transition_result_done(&res);
	if (err != OC_OK) {
		call_refused(d->c, d->case_id, &fail);
		return false;
	}
	if (!drive_read(d))
		return false;
	/* A replay tells nothing about now: an answer given meanwhile is then simply seen by the read. */
	if (ret_epoch)
		*ret_epoch = replayed ? d->now.epoch : res.epoch ? res.epoch : d->now.epoch;
	return true;
}

void drive_done(struct drive *d)
{
	call_case(d->c, 200, TAKE(d->now.json));
}

void drive_pending(struct drive *d, const char *for_what)
{
	json_t *waits = json_object();

	json_put(waits, "for", for_what);
	if (d->now.pending_decision[0] && d->now.command == CASE_COMMAND_NONE) {
		AUTO(str) char *approve = mem_printf("/case/%s/approve", d->case_id);
		AUTO(str) char *card = mem_printf("/case/%s?include=decisions", d->case_id);

		json_put(waits, "for", "people");
		json_put(waits, "decision_id", d->now.pending_decision);
		json_put(waits, "approve", approve);
		json_put(waits, "card", card);
	}
	json_object_set_new(d->now.json, "waits_for", waits);
	call_case(d->c, 202, TAKE(d->now.json));
}

bool drive_wait(struct drive *d, const char *for_what)
{
	int64_t left_ms = (d->until_us - clock_mono_us()) / 1000;

	if (!d->waiter || left_ms <= 0 || waiters_closed(d->c->deps->waiters_ref)) {
		drive_pending(d, for_what);
		return false;
	}
	waiter_wait(d->waiter, left_ms > 1000 ? 1000 : (int)left_ms + 1);
	return drive_read(d);
}

bool drive_while(struct drive *d, enum case_state state, int epoch, const char *for_what)
{
	while (d->now.state == state && d->now.epoch == epoch) {
		/* A command that ended without moving the case: the gate has answered, and waits for people. (Without a
		 * pending decision its event is merely on its way.) */
		if (state == CASE_WAIT_GATE && d->now.command == CASE_COMMAND_NONE &&
		    d->now.pending_decision[0]) {
			drive_pending(d, "people");
			return false;
		}
		if (!drive_wait(d, for_what))
			return false;
	}
	return true;
}

bool drive_through_analysis(struct drive *d)
{
	if (d->now.state == CASE_NEW && !drive_event(d, EV_START_ANALYSIS, NULL, NULL))
		return false;
	while (d->now.state == CASE_ANALYZING)
		if (!drive_wait(d, "analysis"))
			return false;
	return true;
}
