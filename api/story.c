/* story.c - GET /case/{id}/story: everything around a case in one ordered list. */
#include "store/story.h"
#include "api/call.h"

void case_story_get(struct api_call *c)
{
	struct oc_fail fail = { 0 };
	json_t *list = NULL;
	struct pg *pg = call_api_pg(c);
	enum oc_err err;

	if (!pg)
		return;
	err = story_read(pg, c->tenant_id, c->path_id, &list, &fail);
	pg_pool_give(c->deps->api_pool, pg);
	if (err != OC_OK)
		call_problem(c, &fail, NULL);
	else
		call_page(c, list, NULL);
}
