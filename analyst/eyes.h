/* eyes.h - what a model's tools read in an investigation: rows of the tenant, and pages by a hook. Nothing is written but
 * the row that says what was looked at. */
#pragma once
#include "analyst/investigate.h"
#include "store/metric.h"

struct eyes {
	struct pg_pool *pool_ref;
	/* Pages about this: [{"doc_id","heading","content",..}]; yours. NULL: there is no knowledge here. */
	enum oc_err (*recall)(void *ctx, long long tenant_id, const char *question, const char *service,
			      json_t **ret, struct oc_fail *reterr);
	void *ctx;
	int epoch, attempt; /* of the command */
};
struct investigate_eyes eyes_open(struct eyes *e); /* points into e */
