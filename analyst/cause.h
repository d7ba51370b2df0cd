/* cause.h - which service is at fault? Pure: no model, no I/O, nothing but the rows it is given; the same answer whatever
 * the order of the rows and whatever the services are called.
 *
 * Each series is compared before and after the onset by robust shift: distance of the later mean from the earlier median, in units of
 * the earlier inter-quartile range (as BARO does: L. Pham et al., FSE 2024), weighted with how rare such a distance was before. The
 * last quarter before the onset counts for neither side: an onset that is known late does not spoil the comparison.
 * Then three channels, each in units of what is usual among the services of this incident:
 *   shift    a service's own resources, or its symptoms (latency, errors, as it and as its callers see them) less the symptoms of whom it calls
 *   logs     its most surprising log pattern, new, surging or (if no error) vanished: root of the likelihood ratio G
 *   excess   where the symptom that was alarmed is known: time lost or calls failed beyond the usual, less that of whom it calls,
 *            among the services that can be reached from the alarmed one
 * Says `unresolved` when the alarmed symptom or the best candidate is not out of the ordinary, or the first two do not separate. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"

#define CAUSE_NONE         UINT32_MAX
#define CAUSE_ANSWERS_MAX  10
#define CAUSE_EVIDENCE_MAX 5
#define CAUSE_PATH_MAX     16

enum cause_kind {
	CAUSE_RESOURCE,
	CAUSE_LATENCY,
	CAUSE_ERRORS,  /* more is worse */
	CAUSE_SUCCESS, /* less is worse */
	CAUSE_REQUESTS,
	CAUSE_HOST /* of the machine, shared with others: not looked at */
};
/* By the words in a metric's name. */
enum cause_kind cause_kind_of(const char *metric);

struct cause_series {
	uint32_t service;
	uint32_t caller; /* CAUSE_NONE: the service's own word; else as that one sees its calls to `service` */
	enum cause_kind kind;
	bool average;               /* an average, as opposed to a quantile: what excess is counted with */
	const double *time, *value; /* in order of time, lent; NaN is no sample */
	size_t count;
};

struct cause_call {
	uint32_t from, to;
};

/* How often a pattern was seen at a service. */
struct cause_log {
	uint32_t service;
	uint64_t pattern; /* any number that names it, for a stable order */
	double before, after;
	bool error;
};

struct cause_change {
	uint32_t service;
	double time;
};

struct cause_scene {
	uint32_t services;
	const struct cause_series *series;
	size_t series_count;
	const struct cause_call *calls;
	size_t calls_count;
	const struct cause_log *logs;
	size_t logs_count;
	const struct cause_change *changes;
	size_t changes_count;
	double onset;
	uint32_t target;             /* CAUSE_NONE: only that something is wrong */
	enum cause_kind target_kind; /* CAUSE_LATENCY, CAUSE_ERRORS or CAUSE_SUCCESS */
};

enum cause_evidence_kind { CAUSE_BY_SERIES, CAUSE_BY_LOG, CAUSE_BY_CHANGE };

struct cause_evidence {
	enum cause_evidence_kind kind;
	size_t at;            /* in the scene's list of that kind */
	double before, after; /* series: median and mean; log: counts */
	double weight;
	double since; /* series: the first sample on the way to the later mean */
};

struct cause_answer {
	uint32_t service;
	double score;
	double shift, logs, excess; /* the channels, in their own units */
	double rarest;              /* share of the earlier samples as far off as its oddest series is now */
	struct cause_evidence evidence[CAUSE_EVIDENCE_MAX];
	size_t evidence_count;
	uint32_t path[CAUSE_PATH_MAX]; /* from the target down to the service */
	size_t path_count;
};

struct cause_verdict {
	bool resolved;
	const char *why;                               /* unresolved: a sentence; static text */
	struct cause_answer answer[CAUSE_ANSWERS_MAX]; /* best first, whether resolved or not */
	size_t count;
};

void cause_find(const struct cause_scene *scene, struct cause_verdict *ret);
