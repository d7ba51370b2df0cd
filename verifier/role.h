/* role.h - the verifier: hears cmd.verify.run, measures, writes a verdict row, answers evt.verify.*.
 *
 * Waits for windows to close by asking for the command again later, never by sleeping. What it cannot
 * know itself it asks of the world through function pointers that apps/ fills in. Thread-safe. */
#pragma once
#include "domain/plan.h"
#include "domain/verdict.h"
#include "verifier/plan_verify.h"
#include "worker/worker.h"

struct verify_probe {
	long long tenant_id;
	const char *tenant, *case_id, *plan_hash, *decision_id; /* "" where there is none */
	const char *idempotency_key;  /* of the step as it was run; "" if it was not */
	const struct plan_step *step; /* action, params, target; undo and before of an undo step */
};

struct verify_world {
	void *ctx;
	/* Asks the step's adapter whether its wanted state is there. `ret_info` (JSON text or NULL) is yours. An
	 * error means that it could not be asked. */
	enum oc_err (*probe)(void *ctx, const struct verify_probe *p, enum check_probe *ret, char **ret_info,
			     struct oc_fail *reterr);
	/* One GET. An error means that there was no answer. The destination rules are the callee's. */
	enum oc_err (*http)(void *ctx, long long tenant_id, const char *url, int *ret_status,
			    struct oc_fail *reterr);
};

struct verifier_config {
	int metric_bucket_s; /* 0: 60 */
	int call_bucket_s;   /* 0: 300 */
	int delay_s;         /* negative: 0 */
	int retry_ms;        /* between looks while data is missing; 0: a quarter bucket, 1 to 15 s */
	int threads;         /* 0: 2 */
};

struct verifier;
/* `pool` (as opscase_worker) and what `world` points to are lent and outlive it. */
struct verifier *verifier_new(const struct verifier_config *config, struct pg_pool *pool,
			      const struct verify_world *world);
void verifier_free(struct verifier *v);
DEFINE_AUTO(verifier, struct verifier *, verifier_free);
/* For worker_start(); the role points into v. */
struct role verifier_role(struct verifier *v);

/* ---- one look, also for the checks between two steps of a plan ---- */
struct verify_job {
	struct verify_probe who; /* without idempotency_key and step */
	const struct plan *plan; /* probe checks name its steps */
	const struct plan_verify *verify;
	const json_t *keys; /* {"0": idempotency key, ...} or NULL */
	int64_t began_us, ended_us, now_us;
};
struct verify_report {
	bool later; /* look again after so many milliseconds */
	int64_t later_ms;
	enum verdict verdict;
	char reason[400];
	json_t *checks; /* array: each check, what was seen, its verdict; yours */
};
/* An error: the database is away, nothing was learnt. Queries that fail are verdicts of their own. */
MUST_CHECK enum oc_err verifier_look(struct verifier *v, const struct verify_job *job,
				     struct verify_report *ret, struct oc_fail *reterr);
void verify_report_done(struct verify_report *r);
