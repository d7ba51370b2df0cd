/* series.h - what has been counted since the last export, and its shape as OTLP/HTTP JSON.
 *
 * Sums and histograms are deltas; they are kept until somebody took them for sending. Histograms have edges that grow by
 * 2^(1/16), so a quantile read from them is within 2.2 % and any two can be added up; only the part that was used
 * is sent. Bounded: beyond SERIES_MAX a new series is folded into the one of its metric without attributes, and counted.
 * One thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/text.h"

#define SERIES_MAX   4096
#define SERIES_STEPS 16 /* buckets for each doubling */
#define SERIES_BUCKETS \
	416 /* from 1 us: 26 doublings, up to 67 s; below and beyond in the first and the last */

enum series_kind { SERIES_SUM, SERIES_GAUGE, SERIES_HISTOGRAM };

struct series_set;
struct series;

struct series_set *series_set_new(const char *host_name);
void series_set_free(struct series_set *set);

/* `attrs` is made by attrs_add(); all texts are copied. The series stays where it is until the generation changes. */
struct series *series_get(struct series_set *set, enum series_kind kind, const char *service,
			  const char *metric, const char *unit, const char *attrs);
uint64_t series_generation(const struct series_set *set);
void series_add(struct series *s, double v);
void series_put(struct series *s, double v);
void series_observe(struct series *s, double seconds, uint64_t times);
uint64_t series_folded(const struct series_set *set); /* calls of series_get that found no room */

/* A quantile of what is not yet exported; NaN if nothing is. For people and tests. */
double series_quantile(const struct series *s, double q);
/* Walks what has something to tell. */
void series_each(const struct series_set *set,
		 void (*fn)(void *ctx, const char *service, const char *metric, const char *attrs,
			    const struct series *s),
		 void *ctx);
uint64_t series_count(const struct series *s);
double series_sum(const struct series *s);

/* ExportMetricsServiceRequest, as many as are needed to keep each under `body_max` bytes; afterwards everything is counted
 * from zero again, and series that had nothing to tell for a while are gone. */
void series_export(struct series_set *set, int64_t start_ns, int64_t now_ns, size_t body_max,
		   void (*take)(void *ctx, char *take_body), void *ctx);

/* --- JSON */
void json_text(struct text *out, const char *s); /* with its quotes */
/* {"key":..,"value":{"stringValue":..}} behind a comma where one is needed. */
void attrs_add(struct text *out, const char *name, const char *value);
