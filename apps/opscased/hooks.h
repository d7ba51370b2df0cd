/* hooks.h - what the API asks of rooms that it does not know. */
#pragma once
#include "analyst/slo_watch.h"
#include "api/api.h"
#include "gatekeeper/role.h"
#include "ingest/receive.h"
#include "librarian/library.h"
#include "planner/role.h"

struct hooks {
	struct gate *gate;
	struct planner *planner;
	struct receiver receiver; /* bus_ref NULL: nothing is received */
	char *secrets_dir;        /* lent, or NULL */
	const struct slo_watch *slos;
	struct library *library;
	struct pg_pool *pool; /* as opscase_worker */
};

void hooks_into(struct hooks *h, struct api_deps *deps);
/* May this tenant's plans do what needs the permit? For the planner; ctx is the hooks. */
bool hooks_permits(void *ctx, const char *need, const char *tenant);
