/* slo.h - service level objectives: read from OpenSLO (v1, v1alpha) and sloth files, judged by how fast their error budget burns. Pure.
 *
 * A source of type `opscase` is measured here: {calls: URN} counts the calls of that service (errors are the bad ones),
 * {resource: URN, metric: NAME} sums a metric. Other sources (PromQL, ...) are read and linted, and not measured.
 * Burn rates as in the SRE Workbook, chapter 5: page at 14.4 in an hour and five minutes, or 6 in six hours and half an hour; ticket
 * at 3 in a day and two hours, or 1 in three days and six hours; for another window than 30 days in proportion. */
#pragma once
#include "wire/json/json.h"

#define SLO_FILE_MAX 256 /* objectives in a file */

struct slo_source {
	bool given, ours;
	char resource[513], metric[256]; /* metric "": calls */
	char foreign[64];                /* the type, where it is not ours */
};

struct slo {
	char name[128], service[128];
	double target; /* 0 to 1 */
	int window_s;
	struct slo_source bad, good, total;
};

struct slo_list {
	struct slo *item;
	size_t count;
};
void slo_list_done(struct slo_list *l);
static inline void oc_auto_slo_list(struct slo_list *l)
{
	slo_list_done(l);
}
/* Adds to the list. OC_INVALID with the pointer into the document; `note` hears what is read and not measured. */
MUST_CHECK enum oc_err slo_read(const json_t *doc, struct slo_list *ret,
				void (*note)(void *ctx, const char *text), void *ctx, struct oc_fail *reterr);
bool slo_measured(const struct slo *s); /* all of its sources are ours */

enum slo_span { SLO_5M, SLO_30M, SLO_1H, SLO_2H, SLO_6H, SLO_1D, SLO_3D, SLO_WHOLE, SLO_SPANS };
extern const int slo_span_s[SLO_SPANS]; /* 0 for the whole window */

struct slo_count {
	double bad, total;
};
enum slo_alarm { SLO_QUIET, SLO_TICKET, SLO_PAGE };

struct slo_state {
	enum slo_alarm alarm;
	double burn[SLO_SPANS];
	double budget_left; /* 1: untouched; below 0: overdrawn; NaN: nothing was counted */
	enum slo_span by;   /* the long span of the rule that hit */
	double limit;       /* its burn rate */
};
/* A span with fewer than min_events in it says nothing. */
void slo_judge(const struct slo *s, const struct slo_count count[SLO_SPANS], double min_events,
	       struct slo_state *ret);
