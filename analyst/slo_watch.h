/* slo_watch.h - the objectives of a folder, judged by what was measured: signals for burning ones, and the state of all.
 * The list does not change after slo_watch_new(); its functions may be called by several threads, each with a connection of its own. */
#pragma once
#include "analyst/slo.h"
#include "wire/json/json.h"
#include "store/slo.h"

struct slo_watch;
/* Reads *.yaml and *.yml of the folder; dir NULL or empty: none. A file with a fault is said and left out. */
struct slo_watch *slo_watch_new(const char *dir, double min_events);
void slo_watch_free(struct slo_watch *w);
DEFINE_AUTO(slo_watch, struct slo_watch *, slo_watch_free);

/* Raises and clears the signals of kind slo_violation, of every tenant that has the resource. */
MUST_CHECK enum oc_err slo_pass(const struct slo_watch *w, struct pg *pg, int64_t now_us,
				struct oc_fail *reterr);
/* [{"name","service","target","window_s","measured","alarm","budget_left","burn":{"5m":..}}]; yours. */
MUST_CHECK enum oc_err slo_status(const struct slo_watch *w, struct pg *pg, long long tenant_id,
				  int64_t now_us, json_t **ret, struct oc_fail *reterr);
