/* api.h - REST: requests in, envelopes out. Starts and stops the HTTP service.
 *
 * The API decides nothing: reads come from store/, a case changes through orchestrator/transition only,
 * commands are asked for through it as well, and what other rooms know comes through the hooks below,
 * which apps/ fills in. Every hook may be called from several threads at once. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "domain/operation.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

struct detail_store;
struct waiters;
struct plan_contract;

/* POST /topology/import, as asked for. */
struct api_topology_ask {
	long long tenant_id;
	const char *stack, *inventory; /* or NULL */
	bool applied, force, dry_run;
	int64_t at_us; /* 0: now */
};

struct api_ready {
	const char *name; /* "nats", "migrations" */
	/* True when ready. Puts a word for people into `word` either way. */
	bool (*check)(void *ctx, char *word, size_t size);
	void *ctx;
};

enum api_way { API_OTLP_METRICS, API_OTLP_LOGS, API_OTLP_TRACES, API_REMOTE_WRITE, API_LINES, API_BULK };

/* One request with telemetry, and what is answered. */
struct api_telemetry {
	enum api_way way;
	long long tenant_id;
	const char *tenant, *content_type, *content_encoding, *body;
	size_t len;
	bool whole; /* OC_INVALID where any record of it is no good, and nothing is taken */
	/* the answer */
	int status;
	const char *answer_type; /* constant */
	char *answer;            /* from malloc; taken over */
	size_t answer_len;
};

struct api_deps {
	struct pg_pool *api_pool;    /* as opscase_api: reads, under row-level security */
	struct pg_pool *worker_pool; /* as opscase_worker: transition(), tokens, writes with outbox rows */
	struct waiters *waiters_ref;
	const struct operation_list *operations_ref; /* or NULL */
	const struct plan_contract *contract_ref;    /* lints revisions; NULL: the planner alone lints */
	/* May this tenant's plans use what needs the permit ("script_body")? NULL: yes, the gate asks. */
	bool (*permits)(void *ctx, const char *need, const char *tenant);
	struct detail_store *detail; /* lent; NULL: nothing is read from it */
	const char *version;         /* "0.1.0" */

	/* May this principal answer the case's decision (NULL: its newest one)? Runs on the API's connection, inside
	 * its transaction; fills ret_decision (37 bytes). OC_FORBIDDEN with a sentence that says how to go on, OC_ILLEGAL
	 * when nothing is pending. Early help for people: the gatekeeper alone counts. NULL: the roles that the
	 * decision names, and never the one who opened the case. */
	enum oc_err (*may_approve)(void *ctx, struct pg *pg, long long tenant_id, const char *case_id,
				   const char *decision_id, const char *principal, const char *role,
				   const char *reason, bool reject, char *ret_decision,
				   struct oc_fail *reterr);
	/* The ways in for telemetry. Fills the answer when JetStream has all of it. */
	enum oc_err (*telemetry)(void *ctx, struct api_telemetry *t, struct oc_fail *reterr);
	/* Knowledge: what is asked by name ("put", "search", "list", "decide", "embed") with its arguments; the answer is the
	 * caller's. `who` is the principal. OC_INVALID names the field. */
	enum oc_err (*knowledge)(void *ctx, long long tenant_id, const char *what, const json_t *args,
				 const char *who, json_t **ret_answer, struct oc_fail *reterr);
	/* A description of an installation: read, compared, stored. ret_answer: what it did; the caller owns it. */
	enum oc_err (*topology)(void *ctx, const struct api_topology_ask *ask, const char *body, size_t len,
				json_t **ret_answer, struct oc_fail *reterr);
	/* The runbooks, [{"id","title","params",...}]; the caller owns it. */
	json_t *(*runbooks)(void *ctx);
	/* The objectives with their state; the caller owns it. NULL: there are none. */
	enum oc_err (*slo_status)(void *ctx, long long tenant_id, json_t **ret, struct oc_fail *reterr);
	/* What a tenant's sender of alerts signs with (POST /alert/...); yours. OC_NOT_FOUND: it does not sign. NULL: nobody does. */
	enum oc_err (*webhook_secret)(void *ctx, const char *tenant, const char *sender, char **ret,
				      struct oc_fail *reterr);
	void *ctx; /* of the hooks above */

	const struct api_ready *ready; /* ends with a NULL name; PostgreSQL is asked by the API itself */
};

struct api_config {
	const char *address;            /* NULL: 127.0.0.1 */
	unsigned port;                  /* 0: any */
	const char *tls_cert, *tls_key; /* PEM text */
	bool plain_anywhere;            /* TLS ends in front of us */
	unsigned handler_threads;       /* 0: 64; three quarters of them may wait for cases */
	unsigned per_address;           /* connections; 0: the server's default */
	unsigned head_ms, body_ms;      /* 0: the server's defaults */
	int default_wait_s;             /* 0: 30 */
};

struct api;
/* deps is copied; what it points at must outlive the API. */
MUST_CHECK enum oc_err api_start(const struct api_config *config, const struct api_deps *deps,
				 struct api **ret, struct oc_fail *reterr);
unsigned api_port(const struct api *api);
void api_stop(struct api *api); /* waiters end first, running requests end, then the sockets close */

/* The OpenAPI 3.1 document, printed from the routes table; yours. */
char *api_openapi_text(const char *version);
/* What a revoked or changed token needs at once in this process: forget every cached one. */
void api_forget_tokens(struct api *api);
