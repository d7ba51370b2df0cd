/* role.h - the gate: asks policy about a plan, binds the answer to plan, arguments and world.
 *
 * Owns the policy set in force and swaps it on reload; any thread may use one struct gate at once.
 * It knows no adapter: apps/ lends it the two calls it makes into them (struct gate_world). The role
 * answers cmd.gate.eval; gate_check_approval() says for everybody whether a person may approve;
 * gate_dispatch_check() is asked by the executor right before the first effect. */
#pragma once
#include "domain/operation.h"
#include "gatekeeper/approval.h"
#include "gatekeeper/policy.h"
#include "worker/worker.h"

struct gate;

/* --- the adapters, as the gate sees them */
enum gate_entry { GATE_DRY_RUN, GATE_PROBE };
struct gate_call {
	enum gate_entry entry;
	const char *operation, *params, *target; /* JSON objects as text */
	const char *idempotency_key;
	const char *tenant, *case_id, *plan_hash;
	int64_t timeout_ms;
};
enum gate_said {
	GATE_NO_ENTRY,    /* the adapter has no such entry: no preview, world not bound */
	GATE_NO_ANSWER,   /* asked, and it failed, crashed, was late or said UNCLEAR */
	GATE_REFUSED,     /* the params are wrong (OPSCASE_REFUSED) */
	GATE_WOULD_DO,    /* dry run: json is {"changes":[..],"diff":".."} */
	GATE_APPLIED,     /* probe: the wanted state is in place already; json has binding and info */
	GATE_NOT_APPLIED, /* probe: it is not; json has binding and info */
};
struct gate_reply {
	enum gate_said said;
	char *json;         /* malloc'd by the callee, freed by the gate; may be NULL */
	char sentence[512]; /* why there is no answer */
};
struct gate_world {
	void *ctx;
	/* NULL when no loaded adapter offers it. Lent. */
	const struct operation *(*operation)(void *ctx, const char *name);
	/* Called from several threads at once; must return within timeout_ms and a little. */
	void (*call)(void *ctx, const struct gate_call *call, struct gate_reply *ret);
};

struct gate_config {
	const char *policy_dir; /* NULL: the files below; without those policy_builtin() */
	const struct policy_source *builtin;
	size_t builtin_count;
	const char *conninfo; /* as opscase_worker: budget and blast radius are read outside of the lease */
	struct gate_world world;
	int call_timeout_ms;         /* of each dry run and probe; 0: 5000 */
	unsigned threads, max_batch; /* 0: 2 and 16 */
	struct waker *relay_wake;    /* poked when a reload queued commands; may be NULL */
};
/* Refuses a bad policy with file:line. */
MUST_CHECK enum oc_err gate_new(const struct gate_config *config, struct gate **ret, struct oc_fail *reterr);
void gate_free(struct gate *gate);
DEFINE_AUTO(gate, struct gate *, gate_free);
/* On SIGHUP: takes the new files, or keeps the last good set and says why. Stores the version and queues a new
 * look at every pending decision that was made under another one. */
MUST_CHECK enum oc_err gate_reload(struct gate *gate, struct oc_fail *reterr);
/* May plans of this tenant do what needs this permit? For 422 before anything is written. */
bool gate_permits(struct gate *gate, const char *need, const char *tenant);
void gate_policy_hash(struct gate *gate, char out[HASH_HEX]);

/* The role for worker_start(); ctx is the gate, which must outlive the worker. */
struct role gate_role(struct gate *gate);

/* --- right before effects, for the executor
 *
 * OC_OK: ret->go says whether the run may begin. go: the decision is marked used by this run (asking again for
 * the same run is harmless) and the budget is charged. Not go: ret->sentence and ret->changed say what changed
 * and the decision is void; the executor answers evt.exec.void.v1. An error means that nothing was decided:
 * try again later. The connection must not be inside a transaction. */
struct gate_dispatch {
	long long tenant_id;
	const char *tenant, *case_id, *plan_id, *decision_id, *run_id;
	int epoch; /* of the case in EXECUTING */
};
struct gate_go {
	bool go;
	char sentence[1024];
	json_t *changed; /* {"steps":[{"step":0,"field":"replicas","was":2,"is":3}]} or NULL; yours */
	json_t *world;   /* per step {"binding","info"} or null, as bound; yours. What run() expects. */
	char plan_hash[HASH_HEX];
};
MUST_CHECK enum oc_err gate_dispatch_check(struct gate *gate, struct pg *pg, const struct gate_dispatch *d,
					   struct gate_go *ret, struct oc_fail *reterr);
void gate_go_done(struct gate_go *go);
