/* role.h - carries an approved plan out: one leased run at a time per thread, intent before effect.
 *
 * The database side of the executor: reads the plan with the lease of cmd.exec.run, asks the gate whether the run
 * may begin, locks the targets, writes an exec_step intent before each call of the host and its result after,
 * probes what a crash or a timeout left open, stops at the first failure and undoes nothing by itself.
 * A heartbeat moves the lease on; when the lease is lost the child is ended before anybody else may look. */
#pragma once
#include "domain/plan.h"
#include "executor/host.h"
#include "worker/worker.h"

struct executor;
struct detail_store;

/* What the gate is asked right before the first effect; apps/ connects it. */
struct exec_permit {
	long long tenant_id;
	const char *tenant, *case_id, *plan_id, *decision_id, *run_id;
	int epoch;
};
struct exec_leave {
	bool go;
	char sentence[1024]; /* why not */
	json_t *changed;     /* or NULL; yours */
	json_t *world;       /* per step {"binding","info"} or null; yours */
};
struct exec_hold {
	const struct command *cmd;
	const struct plan *plan;
	const struct plan_verify *verify;
	const char *plan_hash, *decision_id;
	const json_t *keys;                 /* {"0": idempotency key, ...} of the plan's steps */
	int64_t began_us, ended_us, now_us; /* of the step, and now */
};
struct executor_config {
	struct host *host;
	const struct operation_list *operations_ref;
	const char *conninfo;        /* as opscase_worker */
	struct detail_store *detail; /* lent; what steps print goes there. NULL: nowhere */
	unsigned threads;            /* runs at once; 0: 8 */
	enum oc_err (*may_begin)(void *ctx, struct pg *pg, const struct exec_permit *ask,
				 struct exec_leave *ret, struct oc_fail *reterr);
	/* A step's own verification, looked at once. OC_OK with the verdict's name in ret_verdict ("PASS"), or ""
	 * when it is too early to say. Called until there is one, or the step's verify deadline is over. */
	enum oc_err (*hold)(void *ctx, const struct exec_hold *ask, char ret_verdict[32],
			    char ret_sentence[512], struct oc_fail *reterr);
	void *ctx;
};
MUST_CHECK enum oc_err executor_new(const struct executor_config *cfg, struct executor **ret,
				    struct oc_fail *reterr);
void executor_free(struct executor *x);
struct role executor_role(struct executor *x);        /* cmd.exec.run */
struct role executor_cancel_role(struct executor *x); /* cmd.exec.cancel: pulls the leash of a run of ours */
