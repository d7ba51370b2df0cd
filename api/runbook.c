/* runbook.c - GET /runbook: the templates that /plan/generate takes. */
#include "api/call.h"

void runbook_list(struct api_call *c)
{
	json_t *list = c->deps->runbooks ? c->deps->runbooks(c->deps->ctx) : NULL;

	call_page(c, list ? list : json_array(), NULL);
}
