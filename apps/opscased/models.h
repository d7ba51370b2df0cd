/* models.h - models for the roles: their providers, keys, records and budget, and what the planner looks up for them.
 *
 * Without the setting llm.config there are none, and everything works without. Any thread. */
#pragma once
#include "analyst/role.h"
#include "base/settings.h"
#include "librarian/library.h"
#include "planner/model.h"

struct models;
/* *ret is NULL when no providers are set. */
MUST_CHECK enum oc_err models_new(const struct settings *st, struct pg_pool *pool, const char *secrets_dir,
				  struct models **ret, struct oc_fail *reterr);
void models_free(struct models *m);
/* Both are fine with NULL: no model. */
void models_embed_into(struct models *m, struct library_config *config);
struct planner_model models_for_planner(struct models *m);
struct analyst_model models_for_analyst(struct models *m);
/* The library that recalls; after models_embed_into() made it. */
void models_use(struct models *m, struct library *lib);
