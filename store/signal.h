/* signal.h - what somebody says is wrong, from its first word to its end: signal, event_envelope, evidence_link.
 *
 * As opscase_worker: every statement names the tenant. Times are microseconds since 1970; they are handed in. */
#pragma once
#include "wire/json/json.h"
#include "wire/pg/pg.h"

#define SIGNAL_TITLE_MAX 500

struct signal_new {
	const char *fingerprint; /* what is the same trouble; at most 128 bytes */
	const char *source, *kind, *title;
	const char *summary, *resource; /* or NULL */
	const char *severity;           /* a word of the type: "WARN", "ERROR", "FATAL" */
	const json_t *labels;           /* object of texts, or NULL */
	const json_t *evidence;         /* as a case names it, or NULL */
	const json_t *links;            /* [{"dim","ref_pg","note"}], or NULL: rows of evidence_link */
	double confidence;              /* 0 to 1 */
	int64_t at_us;
	int debounce_s;
};

/* Opens it, or counts on the open one: ret_new says which. */
MUST_CHECK enum oc_err signal_raise(struct pg *pg, long long tenant_id, const struct signal_new *s,
				    bool *ret_new, struct oc_fail *reterr);
/* Ends the open one if it began before that; none is no error. */
MUST_CHECK enum oc_err signal_clear(struct pg *pg, long long tenant_id, const char *fingerprint,
				    int64_t at_us, bool *ret_was_open, struct oc_fail *reterr);

/* Open, without a case, past their debounce, sure enough, outside of maintenance. $1 now (microseconds), $2 least confidence, $3
 * how many at most; columns: enum signal_col. */
extern const char SQL_SIGNAL_DUE[];
enum signal_col {
	SG_ID,
	SG_TENANT,
	SG_TENANT_CODE,
	SG_FINGERPRINT,
	SG_TITLE,
	SG_SUMMARY,
	SG_SEVERITY,
	SG_LABELS,
	SG_EVIDENCE,
	SG_SOURCE,
	SG_RESOURCE,
	SG_EARLIER_CASE, /* of the last signal with this fingerprint, or NULL */
	SG_EARLIER_OPEN,
	SG_EARLIER_CLOSED_US
};
/* $1 tenant, $2 signal, $3 now, $4 seconds: the case that was opened within them by a signal of detectors or objectives at the same resource, or at
 * one that calls it or that it calls; no row: none is open. */
extern const char SQL_SIGNAL_NEAR[];
/* $1 tenant, $2 now, $3 seconds: how many signals became cases in that time, and the open storm parent or NULL. */
extern const char SQL_SIGNAL_STORM[];
/* $1 tenant, $2 signal, $3 case: the case and its event are attached. */
extern const char SQL_SIGNAL_ATTACH[];
/* Cases all of whose signals have ended, and nobody said so: tenant, case. $1 how many at most. */
extern const char SQL_SIGNAL_ENDED[];
/* $1 tenant, $2 case, $3 now: it was said. */
extern const char SQL_SIGNAL_TOLD[];
/* Ten minutes without another word end what a log pattern has raised. $1 now. */
extern const char SQL_LOG_SIGNALS_OVER[];
