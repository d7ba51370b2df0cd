/* plan_verify.h - when to look: windows before and after, until when to wait, when to give up. Pure. */
#pragma once
#include "verifier/checks.h"

struct verify_clock {
	int64_t began_us, ended_us;         /* of the execution */
	int metric_bucket_s, call_bucket_s; /* settings window.metric_s, window.call_s */
	int delay_s;                        /* settings window.delay_s: lateness that a bucket is given */
};

struct verify_schedule {
	int64_t ready_us; /* every bucket of every window is closed from then on; no windows: after settling */
	int64_t deadline_us; /* no verdict by then: unproven */
	bool hopeless;       /* the deadline comes before the windows close */
};

/* The window of a metric or call check: the first whole bucket that begins after the execution ended and
 * things have settled, and as many as window_s asks for. */
struct check_window verify_window(const struct plan_verify *v, const struct plan_check *c,
				  const struct verify_clock *clock);
/* Whole buckets that ended before the execution began: baseline_s long, or as long as the window. */
struct check_window verify_baseline(const struct plan_verify *v, const struct plan_check *c,
				    const struct verify_clock *clock);
struct verify_schedule verify_schedule(const struct plan_verify *v, const struct verify_clock *clock);
