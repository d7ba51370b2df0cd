/* slo.c - GET /slo: the objectives, their error budgets and how fast these burn. */
#include "api/call.h"

void slo_list_get(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;

	if (!c->deps->slo_status)
		list = json_array();
	else if (c->deps->slo_status(c->deps->ctx, c->tenant_id, &list, &fail) != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	call_page(c, list, NULL);
}
