/* story.h - everything around a case in one order of time. For opscase_api, under row-level security, like case.h. */
#pragma once
#include "wire/json/json.h"
#include "wire/pg/pg.h"

#define STORY_MAX 2000 /* entries; the oldest stay */

/* [{"at","kind","what","resource","by","ref"}], oldest first: kind is signal, change, log, case, finding, plan, decision, action,
 * verdict or look (of a model); ref names the row. Signals and log patterns of the case and of what it absorbed, and of its resources from an hour before it to its end;
 * changes at those resources and at those that its findings name. OC_NOT_FOUND also for another tenant's case. */
MUST_CHECK enum oc_err story_read(struct pg *pg, long long tenant_id, const char *case_id, json_t **ret,
				  struct oc_fail *reterr);
