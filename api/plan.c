/* plan.c - POST /plan/generate. */
#include "api/drive.h"

static json_t *plan_args(const json_t *body)
{
	json_t *args = json_object();

	if (json_is_string(json_object_get(body, "template")))
		json_object_set(args, "template", json_object_get(body, "template"));
	if (json_is_object(json_object_get(body, "params")))
		json_object_set(args, "params", json_object_get(body, "params"));
	return args;
}

void plan_generate(struct api_call *c)
{
	__attribute__((cleanup(oc_auto_drive))) struct drive d = { 0 };
	AUTO(json) json_t *args = plan_args(c->body);
	int epoch = 0;

	if (!drive_begin(&d, c, json_str(c->body, "case_id")) || !drive_through_analysis(&d) ||
	    !drive_event(&d, EV_ASK_PLAN, args, &epoch) ||
	    !drive_while(&d, CASE_PLANNING, epoch, "cmd.plan.generate"))
		return;
	drive_done(&d);
}
