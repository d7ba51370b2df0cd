/* gate.h - the inside of struct gate, shared by role.c and dispatch.c. */
#pragma once
#include <pthread.h>
#include "gatekeeper/look.h"

/* A policy set that somebody may still be reading when another one comes into force. */
struct policy_lease {
	atomic_int refs;
	struct policy *policy;
};

struct gate {
	struct gate_config config;
	char *policy_dir, *conninfo;
	struct pg_pool *pool;
	pthread_mutex_t lock; /* guards `now` itself, not what it points to */
	struct policy_lease *now;
};

struct policy_lease *gate_policy(struct gate *gate); /* the set in force; give it back */
void policy_lease_give(struct policy_lease *lease);
DEFINE_AUTO(policy_lease, struct policy_lease *, policy_lease_give);

/* Facts that the database and the adapters know about each step; `texts` keeps the texts they point to. */
struct gather {
	const char *tenant; /* code */
	long long tenant_id;
	bool killed; /* the tenant's own switch in the database */
	int64_t now_us;
};
/* budget_left, for each step; OC_UNAVAILABLE when the database is away. */
MUST_CHECK enum oc_err gate_budget(struct pg *pg, const struct policy *p, const struct gather *g,
				   const struct plan_look *look, struct facts *facts, struct oc_fail *reterr);
/* What the clock, the files and the switches say now. */
void gate_set_now(const struct policy *p, const struct gather *g, struct facts *facts, size_t count);
