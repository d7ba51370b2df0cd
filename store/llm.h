/* llm.h - calls to models, what they have cost, and the rows that a model may cite.
 *
 * Every statement has a tenant predicate ($1). */
#pragma once

/* id, tenant, case or NULL, purpose, provider, model, request, response or NULL, request_hash, response_hash or NULL,
 * tokens_in, tokens_out, cost, latency_ms, outcome; $1 is the id here, $2 the tenant */
extern const char SQL_LLM_RECORD[];
/* tenant, case or NULL: tokens of the case, of this hour, of this day; and their cost */
extern const char SQL_LLM_SPENT[];
/* tenant, case: the calls for plans that were answered, oldest first: request, response, outcome, provider, model */
extern const char SQL_LLM_CALLS[];
extern const char SQL_LLM_PLANS[];  /* tenant, case: hashes of the plans that models wrote, newest first */
extern const char SQL_LLM_TENANT[]; /* case id: its tenant; for whoever has no tenant yet */

/* tenant, resources, metrics (lists that go together; '' is any metric): urn, metric, bucket, then avg, max, min, p95,
 * count over the bucket's series, and the sum of their revisions; the newest buckets, 60 at most */
extern const char SQL_CITE_ROWS[];
extern const char SQL_CITE_ONE[]; /* tenant, urn, metric, bucket: the same columns of one bucket */
/* tenant, urns, microseconds: those that were known by then and not gone */
extern const char SQL_CITE_OBSERVED[];
/* tenant, urn, metric, from, to in microseconds: the same columns, the newest 60 buckets */
extern const char SQL_CITE_RANGE[];

/* What a model looked at. tenant, case, epoch, attempt, seq, tool, input, shown, outcome, took_ms */
extern const char SQL_LOOK_INSERT[];
/* tenant, case, run ("epoch.attempt"): its looks in order: tool, input, shown, outcome */
extern const char SQL_LOOKS[];
/* tenant, case, run: its calls, oldest first: request, response, outcome, provider, model */
extern const char SQL_LLM_RUN_CALLS[];
/* tenant, case: the newest finding's body */
extern const char SQL_LLM_FINDING[];

/* Certificates, one for each tenant there is. provider, model, duty, hash of the golden set, passed, total, certified, detail;
 * tenant_id each */
extern const char SQL_LLM_CERTIFY[];
extern const char SQL_LLM_CERTIFIED[]; /* tenant, provider, model, duty: certified */
