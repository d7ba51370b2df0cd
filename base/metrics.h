/* metrics.h - the service's own counters, gauges and histograms, printed as Prometheus text.
 *
 * The list is metrics.def. Label values are given in the order of the row's label names. A series
 * that would exceed the cap per metric is folded into the label value "other", and counted. */
#pragma once
#include <stddef.h>
#include "base/text.h"

enum metric_id {
#define METRIC(id, kind, name, labels, help) id,
#include "base/metrics.def"
#undef METRIC
	METRIC_COUNT
};

void metric_add(enum metric_id id, double v, const char *l1, const char *l2, const char *l3);
void metric_set(enum metric_id id, double v, const char *l1, const char *l2, const char *l3);
void metric_observe(enum metric_id id, double seconds, const char *l1, const char *l2, const char *l3);
double metric_read(enum metric_id id, const char *l1, const char *l2, const char *l3); /* 0 if absent */
void metrics_print(struct text *out);
#define metric_inc(id, l1, l2, l3) metric_add(id, 1, l1, l2, l3)
