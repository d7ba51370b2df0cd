/* plan.h - a ChangePlan as plain values: what shall be done, how to take it back, how to prove it.
 *
 * Read from JSON by contracts/plan.h, which also says whether a plan is fit to be carried out. Owned
 * by whoever parsed it; read-only afterwards and then for any thread. JSON inside stays text. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"
#include "domain/case.h"

enum plan_check_kind {
	CHECK_METRIC, /* an aggregate over metric_1m */
	CHECK_CALL,   /* a field of service_call_5m between two resources */
	CHECK_PROBE,  /* the adapter confirms the wanted state of a step; of an undo step: that it is gone */
	CHECK_HTTP,   /* a URL answers with the expected status */
	CHECK_KIND_COUNT
};
enum plan_aggregate { AGG_AVG, AGG_MAX, AGG_MIN, AGG_P95, AGG_COUNT, AGG_SUM, AGG_NONE };
enum plan_op { OP_LT, OP_LE, OP_GT, OP_GE, OP_EQ, OP_NONE };
enum plan_no_data { NO_DATA_INSUFFICIENT, NO_DATA_FAIL };

struct plan_check {
	enum plan_check_kind kind;
	char *title;                      /* what a person calls it, or NULL */
	char *resource, *metric, *labels; /* metric: URN, name, JSON object or NULL (any labels) */
	char *src, *dst, *field;          /* call: URNs, "rps|err_rate|p50_ms|p95_ms" */
	enum plan_aggregate aggregate;    /* metric, call */
	enum plan_op op;
	bool against_baseline; /* value is a ratio to the baseline, else a threshold */
	double value;
	int window_s, min_samples; /* min_samples is at least 1 */
	enum plan_no_data no_data;
	int step;          /* probe: index into the plan's steps */
	char *url;         /* http */
	int expect_status; /* http; 200 unless it says another */
};

struct plan_verify {
	struct plan_check *check;
	size_t count;
	int settle_s;   /* wait this long after the last step before windows begin */
	int deadline_s; /* no verdict so long after the start: unproven. Filled in where the plan says none */
	int baseline_s; /* how far back the baseline reaches, before the first step; 0: none */
};

struct plan_step {
	char *action;     /* operation */
	char *params;     /* canonical JSON object */
	char *target;     /* canonical JSON object, "{}" if none */
	char *target_urn; /* NULL if none */
	int timeout_s, retry;
	struct plan_step *compensate; /* takes this step back; or NULL */
	struct plan_verify *verify;   /* must hold before the next step begins; or NULL */
	/* Only in derived rollback plans: run through the adapter's undo entry, with what was recorded. */
	bool undo;
	int undo_of;  /* seq of the step that is taken back */
	char *before; /* JSON: probe's `info` from before that step; NULL if there was none */
};

struct plan {
	char *title;
	enum plan_kind kind; /* PLAN_FORWARD or PLAN_ROLLBACK */
	bool has_risk;
	double risk_score;
	struct plan_step *step;
	size_t step_count;
	struct plan_verify verify;
	char *rollback_none; /* why there is no way back, as a person said; else NULL */
	bool rollback_given; /* else it is derived from the applied steps */
	struct plan_step *rollback;
	size_t rollback_count;
	struct plan_verify *rollback_verify; /* NULL: verify */
};

void plan_free(struct plan *plan); /* NULL is fine */
DEFINE_AUTO(plan, struct plan *, plan_free);
void plan_verify_free(struct plan_verify *verify);
DEFINE_AUTO(plan_verify, struct plan_verify *, plan_verify_free);

const char *plan_check_kind_name(enum plan_check_kind kind); /* "metric" */
enum plan_check_kind plan_check_kind_parse(const char *name);
const char *plan_aggregate_name(enum plan_aggregate a); /* "p95"; "" for AGG_NONE */
enum plan_aggregate plan_aggregate_parse(const char *name);
const char *plan_op_name(enum plan_op op); /* "<=" */
enum plan_op plan_op_parse(const char *name);
const char *plan_no_data_name(enum plan_no_data n); /* "insufficient" */
const char *plan_kind_name(enum plan_kind kind);    /* "forward", "rollback"; "" for PLAN_NONE */
enum plan_kind plan_kind_parse(const char *name);

/* Pause before try `attempt` (2 is the first retry): 2, 4, 8 s ... at most 60, before jitter of up to
 * half of it more. Said here so that the executor and the plan's budget agree. */
int plan_backoff_s(int attempt);
/* All steps with every retry, pause, inner verification and a margin for probes. */
int plan_exec_budget_s(const struct plan *plan);
int plan_verify_budget_s(const struct plan *plan);
